//! Power of a server, and waiting for its states.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::OpenstackDriver;
use super::catalogue::Service;
use super::describe::text;
use super::session::Call;
use crate::net::Poll;
use crate::source::{SourceError, VmRef};

/// Status and what Nova is doing now.
fn state(server: &Value) -> String {
    match text(server, "/OS-EXT-STS:task_state") {
        "" => text(server, "/status").to_owned(),
        task => format!("{} ({task})", text(server, "/status")),
    }
}

impl OpenstackDriver {
    /// Waits for a status with no task going on; `ERROR` ends the wait with Nova's fault.
    pub(super) async fn wait_server(&self, vm: &VmRef, wanted: &str, deadline: Instant) -> Result<(), SourceError> {
        let what = format!("server {} to be {wanted}", vm.name);
        self.session
            .wait(&what, deadline, || async {
                let path = format!("/servers/{}", vm.id);
                let server = self.session.read(Service::Compute, path, "server").await?;
                match text(&server, "/status") {
                    status if status == wanted && text(&server, "/OS-EXT-STS:task_state").is_empty() => {
                        Ok(Poll::Done(()))
                    }
                    "ERROR" => {
                        let said = text(&server, "/fault/message");
                        let cause = if said.is_empty() { "the server is in ERROR" } else { said };
                        Err(self.session.refused(format!("bring server {} to {wanted}", vm.name), cause).into())
                    }
                    _ => Ok(Poll::NotYet(state(&server))),
                }
            })
            .await
    }

    async fn action(&self, vm: &VmRef, action: &str) -> Result<(), SourceError> {
        let call = Call::post(Service::Compute, format!("/servers/{}/action", vm.id), json!({action: null}));
        let what = || format!("{} server {}", action.trim_start_matches("os-"), vm.name);
        self.session.call(call).await.map(drop).map_err(|e| self.session.failed(what(), e))
    }

    pub(super) async fn stop(&self, vm: &VmRef) -> Result<(), SourceError> {
        self.action(vm, "os-stop").await
    }

    /// Nova's own stop asks the guest by ACPI and forces after its `shutdown_timeout`; it does not
    /// tell which of both it was.
    pub(super) async fn switch(&self, vm: &VmRef, on: bool) -> Result<String, SourceError> {
        let (wanted, action, already, done) = if on {
            ("ACTIVE", "os-start", "was on already", "powered on")
        } else {
            ("SHUTOFF", "os-stop", "was off already", "stopped by Nova, which asks the guest before it forces")
        };
        if text(&self.server(vm).await?, "/status") == wanted {
            return Ok(already.to_owned());
        }
        let deadline = Instant::now() + self.options.timeouts.power;
        match self.action(vm, action).await {
            Ok(()) => {}
            // A start or stop in the wrong state is a conflict: it may have got there by itself, or be on its
            // way by a request whose answer was lost.
            Err(error) => {
                let server = self.server(vm).await?;
                if text(&server, "/status") != wanted && text(&server, "/OS-EXT-STS:task_state").is_empty() {
                    return Err(error);
                }
            }
        }
        self.wait_server(vm, wanted, deadline).await?;
        Ok(done.to_owned())
    }

    /// The guest tells nothing; what can be waited for is that the server runs and Nova shows the
    /// addresses that Neutron gave it.
    pub(super) async fn addresses_known(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        let what = format!("Nova to show the addresses of {}", vm.name);
        self.session
            .wait(&what, Instant::now() + limit, || async {
                let path = format!("/servers/{}", vm.id);
                let server = self.session.read(Service::Compute, path, "server").await?;
                let addresses = server.get("addresses").and_then(Value::as_object).map_or(0, serde_json::Map::len);
                match text(&server, "/status") {
                    "ACTIVE" if addresses > 0 => Ok(Poll::Done(())),
                    _ => Ok(Poll::NotYet(format!("{}, addresses on {addresses} networks", state(&server)))),
                }
            })
            .await
    }
}
