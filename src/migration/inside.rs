//! A command inside a migrated guest. A VM that is off is started for it and shut down again.

use super::boot::{self, GRACE_PERIOD};
use super::context::RunContext;
use super::prepared::{Prepared, PreparedVm};
use super::settle::login_of;
use crate::api::kubevirt::VirtualMachine;
use crate::api::vm::Power;
use crate::cluster::wait::{self, Poll};
use crate::cluster::{guest, switch::switch, target};
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
    let (cluster, namespace) = (&prepared.destination.cluster, prepared.target_namespace.as_str());
    let timeouts = &context.parts.settings.timeouts;
    let Some(found) = target::read_target(cluster, namespace, name).await.map_err(String::from)? else {
        return Ok(Ran::Failed(format!("there is no VirtualMachine {namespace}/{name}")));
    };
    let was_off = found.power == Power::Off;
    if was_off && !may_start {
        return Ok(Ran::NotTried("the VM is off, and `boot` is switched off: nobody starts it".to_owned()));
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
            return Ok(Ran::Failed(error.to_string()));
        }
    }
    let ran = guest::run(cluster, namespace, name, &login, command, timeouts.ssh).await;
    if was_off && let Err(because) = boot::shut_down(prepared, name, timeouts.power.max(GRACE_PERIOD)).await {
        context.note(Some(&cell.id), Level::Warning, format!("{name} was left running: {because}"));
    }
    ran.map(|ran| ran.map_or_else(Ran::Failed, Ran::Said))
}
