//! A command inside a migrated guest. A VM that is off is started for it and shut down again.

use super::boot::{self, GRACE_PERIOD};
use super::context::RunContext;
use super::prepared::{Prepared, PreparedVm};
use super::settle::login_of;
use crate::api::kubevirt::VirtualMachine;
use crate::api::vm::Power;
use crate::cluster::guest::{self, Answer};
use crate::cluster::wait::{self, Poll};
use crate::cluster::{switch::switch, target};
use crate::config::Credentials;
use crate::event::Level;
use crate::matrix::Cell;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ran {
    /// It ended with 0; its output.
    Said(String),
    /// The guest, or the VM, failed; why.
    Failed(String),
    /// Nobody could try; why.
    NotTried(String),
}

/// Runs it. `Err`: the way to the guest was closed, which says nothing of it. `may_start`: whether a VM that is off may
/// be started for it.
pub(super) async fn run(
    context: &RunContext,
    cell: &Cell,
    prepared: &Prepared,
    vm: &PreparedVm,
    (name, command): (&str, &str),
    may_start: bool,
) -> Result<Ran, String> {
    let login = match login_of(prepared, vm) {
        Ok(login) => login,
        Err(because) => return Ok(Ran::NotTried(because)),
    };
    let inside = Inside { context, cell, prepared, name, command, login: &login };
    match inside.once(may_start).await? {
        Tried::Ran(ran) => Ok(ran),
        // The look at its power had been told an older state: once more, and a VM that is off is started then.
        Tried::Absent(_) => Ok(match inside.once(may_start).await? {
            Tried::Ran(ran) => ran,
            Tried::Absent(because) => {
                Ran::NotTried(format!("nobody could log in, because the VM was not running: {because}"))
            }
        }),
    }
}

/// One guest, and what it is asked.
struct Inside<'a> {
    context: &'a RunContext,
    cell: &'a Cell,
    prepared: &'a Prepared,
    name: &'a str,
    command: &'a str,
    login: &'a Credentials,
}

/// How one try ended.
enum Tried {
    Ran(Ran),
    /// There was no such VM running; who said so.
    Absent(String),
}

impl Inside<'_> {
    /// Waits while the VM is on its way to run or to be off: one that MTV made a moment ago is neither yet. One that does not
    /// get there is told by what is seen next.
    async fn comes_to_rest(&self) {
        const ON_ITS_WAY: [&str; 5] = ["", "Provisioning", "Starting", "Stopping", "WaitingForVolumeBinding"];
        let (cluster, namespace, name) =
            (&self.prepared.destination.cluster, self.prepared.target_namespace.as_str(), self.name);
        let limit = self.context.parts.settings.timeouts.power;
        let what = format!("VirtualMachine {namespace}/{name} to run or to be off");
        let rests = wait::until(cluster, Some(namespace), name, &what, limit, |found: Option<&VirtualMachine>| {
            let Some(found) = found else { return Poll::Done(()) };
            let status = found.status.as_ref().map_or("", |status| status.printable_status.as_str());
            if ON_ITS_WAY.contains(&status) { Poll::NotYet(status.to_owned()) } else { Poll::Done(()) }
        });
        if let Err(error) = rests.await {
            self.context.note(Some(&self.cell.id), Level::Warning, error.to_string());
        }
    }

    async fn once(&self, may_start: bool) -> Result<Tried, String> {
        let Self { context, cell, prepared, name, command, login } = *self;
        let (cluster, namespace) = (&prepared.destination.cluster, prepared.target_namespace.as_str());
        let timeouts = &context.parts.settings.timeouts;
        self.comes_to_rest().await;
        let Some(found) = target::read_target(cluster, namespace, name).await.map_err(String::from)? else {
            return Ok(Tried::Ran(Ran::Failed(format!("there is no VirtualMachine {namespace}/{name}"))));
        };
        let was_off = found.power == Power::Off;
        if was_off && !may_start {
            let because = "the VM is off, and `boot` is switched off: nobody starts it".to_owned();
            return Ok(Tried::Ran(Ran::NotTried(because)));
        }
        if was_off {
            switch(cluster, namespace, name, true).await.map_err(|error| error.to_string())?;
            let what = format!("VirtualMachine {namespace}/{name} to be Running");
            let running =
                wait::until(cluster, Some(namespace), name, &what, timeouts.power, |found: Option<&VirtualMachine>| {
                    let status = found.and_then(|vm| vm.status.as_ref());
                    let status = status.map_or("absent", |status| status.printable_status.as_str());
                    if status == "Running" { Poll::Done(()) } else { Poll::NotYet(status.to_owned()) }
                });
            if let Err(error) = running.await {
                return Ok(Tried::Ran(Ran::Failed(error.to_string())));
            }
        }
        let ran = guest::run(cluster, namespace, name, login, command, timeouts.ssh).await;
        if was_off && let Err(because) = boot::shut_down(prepared, name, timeouts.power.max(GRACE_PERIOD)).await {
            context.note(Some(&cell.id), Level::Warning, format!("{name} was left running: {because}"));
        }
        Ok(match ran? {
            Answer::Output(text) => Tried::Ran(Ran::Said(text)),
            Answer::Failed(because) => Tried::Ran(Ran::Failed(because)),
            Answer::Absent(because) => Tried::Absent(because),
        })
    }
}
