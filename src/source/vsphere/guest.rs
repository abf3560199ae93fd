//! Guest operations: a program that runs inside a VM, through its tools.
//!
//! Through vCenter alone: a transfer of files would need a way to the ESXi host.

use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::VsphereDriver;
use super::wait::Waited;
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
        self.operable(vm, deadline).await?;
        let (moref, manager) = (&moref, &manager);
        // Tools that have just begun to run refuse for a while, and a guest that boots lets nobody in.
        let started = poll::until(session.profile_name(), &what, deadline, || async {
            let asked = session.call(|_| op::start_program(manager, moref, auth, program, arguments)).await;
            match asked {
                Ok(values) => Ok(Poll::Done(values)),
                Err(error) if error.is("GuestOperationsUnavailable") => {
                    Ok(Poll::NotYet("its guest operations are not available".to_owned()))
                }
                Err(error) if error.is("InvalidGuestLogin") => {
                    Ok(Poll::NotYet(format!("the guest refuses the login of {}", login.username)))
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

    /// Waits until the platform says that programs can be run in the guest; one that does not tell is asked.
    async fn operable(&self, vm: &VmRef, deadline: Instant) -> Result<(), SourceError> {
        const READY: &str = "guest.guestOperationsReady";
        let (moref, limit) = (Self::moref(vm), deadline.saturating_duration_since(Instant::now()));
        let what = format!("the guest operations of {}", vm.name);
        let waited = self
            .session
            .wait_for(std::slice::from_ref(&moref), &[READY], limit, |known| {
                match known.get(&moref).and_then(|props| props.get(READY)).map(|ready| ready.text.as_str()) {
                    Some("false") => Poll::NotYet("not ready".to_owned()),
                    _ => Poll::Done(()),
                }
            })
            .await
            .map_err(|error| self.session.failed(format!("watch {what}"), error))?;
        match waited {
            Waited::Done(()) => Ok(()),
            Waited::Timeout { last } => Err(self.session.timeout(&what, limit, last)),
        }
    }
}
