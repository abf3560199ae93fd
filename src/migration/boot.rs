//! `boot`: does the migrated VM start? It is started, looked at, shut down gently, and left off as it was.
//!
//! A VM that runs already has been judged as it runs, and is left alone.

use std::time::Duration;

use super::context::RunContext;
use super::prepared::{Prepared, PreparedVm};
use super::settle::{Look, read_settled};
use crate::api::kubevirt::VirtualMachine;
use crate::api::vm::{Power, TargetVm};
use crate::cluster::wait::{self, Poll, WaitError};
use crate::cluster::{switch::switch, target};
use crate::event::{Finding, Level, Outcome};
use crate::matrix::Cell;

/// KubeVirt's default grace period of a guest that is asked to shut down; MTV sets none.
pub(super) const GRACE_PERIOD: Duration = Duration::from_secs(180);

/// The check that says whether the VM starts, and the one that says whether it shuts down.
const BOOT: &str = "boot";
const SHUTDOWN: &str = "shutdown";

/// Why a VM was left running.
#[derive(Debug, thiserror::Error)]
pub(super) enum StillOn {
    /// Nobody took the question, or the answer: what the guest would have done is not known.
    #[error("{0}")]
    Unasked(String),
    /// It was asked, and did not do it in time.
    #[error("{0}")]
    Slow(String),
}

/// Starts the VM, reads it as it runs, shuts it down. No findings: it was not started, and the log says why. An error:
/// something could not be asked.
pub(super) async fn booted(
    context: &RunContext,
    cell: &Cell,
    prepared: &Prepared,
    vm: &PreparedVm,
    name: &str,
) -> (Result<Option<TargetVm>, String>, Vec<Finding>) {
    let cluster = &prepared.destination.cluster;
    let namespace = prepared.target_namespace.as_str();
    let found = match target::read_target(cluster, namespace, name).await {
        Ok(Some(found)) => found,
        // That it is not there is `verify`'s to say.
        Ok(None) => return (Ok(None), Vec::new()),
        Err(error) => return (Err(error.into()), Vec::new()),
    };
    if found.power != Power::Off {
        let message = format!("{name} is not booted: it is {} already", found.power);
        context.note(Some(&cell.id), Level::Info, message);
        return (Ok(Some(found)), Vec::new());
    }
    let finding =
        |check: &str, outcome| Finding { check: check.to_owned(), vm: vm.before.name.clone(), subject: None, outcome };
    if let Err(error) = switch(cluster, namespace, name, true).await {
        return (Err(format!("it could not be started: {error}")), Vec::new());
    }
    let target = read_settled(context, cell, prepared, vm, name, &Power::On, Look::Booted).await;
    let mut findings = Vec::new();
    if let Ok(target) = &target {
        findings.push(finding(BOOT, started(target.as_ref())));
    }
    // Whatever was seen, it is left as it was.
    let limit = context.parts.settings.timeouts.power.max(GRACE_PERIOD);
    match shut_down(prepared, name, limit).await {
        Ok(()) => findings.push(finding(SHUTDOWN, Outcome::Passed { actual: "shut down gently".to_owned() })),
        Err(why) => {
            let because = why.to_string();
            context.note(Some(&cell.id), Level::Warning, format!("{name} was left running: {because}"));
            findings.push(finding(SHUTDOWN, Outcome::NotJudged { because: because.clone() }));
            if matches!(why, StillOn::Unasked(_)) {
                return (Err(because), findings);
            }
        }
    }
    (target, findings)
}

fn started(target: Option<&TargetVm>) -> Outcome {
    let expected = "the VM runs".to_owned();
    match target {
        Some(target) if target.power == Power::On => Outcome::Passed { actual: target.printable_status.clone() },
        Some(target) => Outcome::Failed { expected, actual: format!("it is {}", target.printable_status) },
        None => Outcome::Failed { expected, actual: "it is gone".to_owned() },
    }
}

/// Asks the guest to shut down and waits until it has.
pub(super) async fn shut_down(prepared: &Prepared, name: &str, limit: Duration) -> Result<(), StillOn> {
    let cluster = &prepared.destination.cluster;
    let namespace = prepared.target_namespace.as_str();
    switch(cluster, namespace, name, false).await.map_err(|error| StillOn::Unasked(error.to_string()))?;
    let what = format!("VirtualMachine {namespace}/{name} to be Stopped");
    let stopped = wait::until(cluster, Some(namespace), name, &what, limit, |found: Option<&VirtualMachine>| {
        let status =
            found.and_then(|vm| vm.status.as_ref()).map_or("absent", |status| status.printable_status.as_str());
        if status == "Stopped" { Poll::Done(()) } else { Poll::NotYet(status.to_owned()) }
    });
    stopped.await.map_err(|error| match error {
        WaitError::Watch { .. } => StillOn::Unasked(error.to_string()),
        WaitError::Timeout { .. } | WaitError::Failed(_) => StillOn::Slow(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_that_does_not_run_after_its_start_has_failed() {
        assert!(matches!(started(None), Outcome::Failed { actual, .. } if actual == "it is gone"));
    }
}
