//! Guest operations: a program that runs inside a VM, through its tools.
//!
//! Through vCenter alone: a transfer of files would need a way to the ESXi host.

use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::VsphereDriver;
use crate::api::vim::op::{self, GuestAuth};
use crate::config::Credentials;
use crate::net::Poll;
use crate::source::slot::Sessions as _;
use crate::source::{SourceError, VmRef, poll};

impl VsphereDriver {
    pub(super) async fn in_guest(
        &self,
        vm: &VmRef,
        login: &Credentials,
        program: &str,
        arguments: &str,
        limit: Duration,
    ) -> Result<i32, SourceError> {
        let what = format!("run {program} in the guest of {}", vm.name);
        let (session, moref, deadline) = (&self.session, Self::moref(vm), Instant::now() + limit);
        let live = session.live().await.map_err(|e| session.failed("log in", e))?;
        let none = || session.refused(&what, "this server has no guest operations");
        let operations = live.content.guest_operations_manager.clone().ok_or_else(none)?;
        let manager = self.props(&operations, &["processManager"]).await?.moref("processManager").ok_or_else(none)?;
        let auth = GuestAuth { username: &login.username, password: login.password.expose_secret() };
        let (moref, manager) = (&moref, &manager);
        // Tools that have just begun to run refuse for a while.
        let started = poll::until(session.profile_name(), &what, deadline, || async {
            let asked = session.call(|_| op::start_program(manager, moref, auth, program, arguments)).await;
            match asked {
                Ok(values) => Ok(Poll::Done(values)),
                Err(error) if error.is("GuestOperationsUnavailable") => {
                    Ok(Poll::NotYet("its guest operations are not available".to_owned()))
                }
                Err(error) => Err(session.failed(&what, error)),
            }
        });
        let values = started.await?;
        let pid = values.first().and_then(|value| value.text.trim().parse::<i64>().ok());
        let pid = pid.ok_or_else(|| session.refused(&what, "the start was answered without a pid"))?;
        poll::until(session.profile_name(), &what, deadline, || async {
            let asked = session.call(|_| op::list_process(manager, moref, auth, pid)).await;
            let values = asked.map_err(|error| session.failed(&what, error))?;
            Ok(match values.first() {
                None => Poll::NotYet(format!("process {pid} is not listed")),
                Some(process) => match process.parse_at::<i32>("exitCode") {
                    Some(code) => Poll::Done(code),
                    None => Poll::NotYet(format!("process {pid} runs")),
                },
            })
        })
        .await
    }
}
