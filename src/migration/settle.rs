//! A migrated VM at rest: waits until it runs or is off as it should be, waits for its agent, reads it, logs in.
//!
//! Judges nothing: what does not come in time is the checks' to say.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::context::RunContext;
use super::prepared::{Prepared, PreparedVm};
use crate::api::condition::Conditions;
use crate::api::kubevirt::{VirtualMachine, VirtualMachineInstance};
use crate::api::vm::{GuestLogin, GuestOs, Power, SourceVm, TargetVm};
use crate::check::guest::{agent_is_owed, missing_address};
use crate::cluster::wait::{self, Poll};
use crate::cluster::{Cluster, guest, target};
use crate::config::Credentials;
use crate::event::Level;
use crate::matrix::Cell;

/// How a migrated VM is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// As it came, by the whole contract.
    Arrived,
    /// Started for it, by what its guest tells; shut down again.
    Booted,
}

/// Waits until the VM has settled (and, when it runs, until its agent answers), reads it, logs in.
/// What does not come in time is not an error here: the checks say what is missing.
pub(super) async fn read_settled(
    context: &RunContext,
    cell: &Cell,
    prepared: &Prepared,
    vm: &PreparedVm,
    name: &str,
    expected: &Power,
    look: Look,
) -> Result<Option<TargetVm>, String> {
    let cluster = &prepared.destination.cluster;
    let namespace = prepared.target_namespace.as_str();
    let timeouts = &context.parts.settings.timeouts;
    let wanted = if *expected == Power::On { "Running" } else { "Stopped" };
    let what = format!("VirtualMachine {namespace}/{name} to be {wanted}");
    let settled =
        wait::until(cluster, Some(namespace), name, &what, timeouts.power, |found: Option<&VirtualMachine>| {
            rests(found, wanted, look)
        })
        .await;
    let runs = match settled {
        Ok(runs) => runs,
        Err(error) => {
            context.note(Some(&cell.id), Level::Warning, error.to_string());
            // Late is not never: its agent still gets its time.
            *expected == Power::On
        }
    };
    // A VM that is missing or was left off has no agent to wait for.
    let owed = agent_is_owed(&vm.wanted, &vm.before) && runs;
    let until = Instant::now() + cell.scenario.guest_agent_timeout.unwrap_or(timeouts.guest_agent);
    let mut target = loop {
        let left = until.saturating_duration_since(Instant::now());
        if owed {
            wait_agent(context, cell, cluster, namespace, name, left).await;
        }
        let target = target::read_target(cluster, namespace, name).await.map_err(String::from)?;
        // A guest that restarts takes its agent along, also between the wait and the look.
        let gone = target.as_ref().is_some_and(|now| now.power == Power::On && now.agent_connected == Some(false));
        if !(owed && gone) || Instant::now() >= until {
            break target;
        }
    };
    if let Some(target) = &mut target {
        let login = log_in(context, prepared, vm, target).await;
        let login = login.map_err(|why| format!("no way to its guest: {why}"))?;
        target.login = match cell.scenario.preserve_static_ips {
            true => with_addresses(context, cell, prepared, vm, target, login).await,
            false => login,
        };
    }
    Ok(target)
}

/// Whether the VM has come to a rest, and runs there. `wanted`: as KubeVirt prints it.
fn rests(found: Option<&VirtualMachine>, wanted: &str, look: Look) -> Poll<bool> {
    let Some(found) = found else { return Poll::Done(false) };
    let now = match found.status.as_ref().map_or("", |s| s.printable_status.as_str()) {
        // Live migration moves a VM that runs.
        "Migrating" => "Running",
        now => now,
    };
    // A VM that is told to stay in the opposite state will not change by itself.
    let halted = found.spec.fields.get("runStrategy").and_then(|s| s.as_str()) == Some("Halted");
    let opposite = if wanted == "Running" { halted && now == "Stopped" } else { !halted && now == "Running" };
    // One that was started a moment ago may still be seen as it was before.
    let resting = now == wanted || (opposite && look == Look::Arrived);
    if resting { Poll::Done(now == "Running") } else { Poll::NotYet(now.to_owned()) }
}

/// Logs in again while a static address is missing: it may be set by a script of the first boot, which ends after the
/// guest lets in.
async fn with_addresses(
    context: &RunContext,
    cell: &Cell,
    prepared: &Prepared,
    vm: &PreparedVm,
    target: &TargetVm,
    first: GuestLogin,
) -> GuestLogin {
    let platform = prepared.open.profile.platform;
    let missing = |login: &GuestLogin| match login {
        GuestLogin::Ok { interfaces: Ok(interfaces) } => missing_address(platform, &vm.before, interfaces),
        GuestLogin::Ok { interfaces: Err(_) } | GuestLogin::Failed(_) | GuestLogin::NotTried(_) => None,
    };
    if missing(&first).is_none() {
        return first;
    }
    let last = Mutex::new(first);
    let what = format!("the static addresses of {}/{}", target.namespace, target.name);
    let came = wait::poll(&what, context.parts.settings.timeouts.static_ip, || async {
        // A login that fails in between says nothing of the addresses.
        let Ok(login @ GuestLogin::Ok { .. }) = log_in(context, prepared, vm, target).await else {
            return Poll::NotYet("no login".to_owned());
        };
        let missing = missing(&login);
        *last.lock().unwrap_or_else(PoisonError::into_inner) = login;
        missing.map_or(Poll::Done(()), |ip| Poll::NotYet(format!("{ip} is not there")))
    });
    if let Err(error) = came.await {
        context.note(Some(&cell.id), Level::Warning, error.to_string());
    }
    last.into_inner().unwrap_or_else(PoisonError::into_inner)
}

async fn wait_agent(
    context: &RunContext,
    cell: &Cell,
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    limit: Duration,
) {
    let what = format!("the guest agent of VirtualMachineInstance {namespace}/{name}");
    let connected =
        wait::until(cluster, Some(namespace), name, &what, limit, |found: Option<&VirtualMachineInstance>| {
            let Some(status) = found.and_then(|f| f.status.as_ref()) else { return Poll::NotYet("no VMI".to_owned()) };
            if status.conditions.holds("AgentConnected") {
                Poll::Done(())
            } else {
                Poll::NotYet(format!("phase {}, {}", status.phase, status.conditions.summary()))
            }
        })
        .await;
    if let Err(error) = connected {
        context.note(Some(&cell.id), Level::Warning, error.to_string());
    }
}

async fn log_in(
    context: &RunContext,
    prepared: &Prepared,
    vm: &PreparedVm,
    target: &TargetVm,
) -> Result<GuestLogin, String> {
    if target.power != Power::On {
        return Ok(GuestLogin::NotTried(format!("the VM is {}", target.printable_status)));
    }
    let credentials = match login_of(prepared, vm) {
        Ok(credentials) => credentials,
        Err(because) => return Ok(GuestLogin::NotTried(because)),
    };
    let cluster = &prepared.destination.cluster;
    let limit = context.parts.settings.timeouts.ssh;
    guest::login(cluster, &target.namespace, &target.name, vm.before.os, &credentials, limit).await
}

/// The login into the VM's guest; else what is missing.
pub(super) fn login_of(prepared: &Prepared, vm: &PreparedVm) -> Result<Credentials, String> {
    let own = prepared.open.access.driver().and_then(|driver| driver.guest_login(&vm.reference));
    own.or_else(|| credentials(prepared, &vm.before).cloned()).ok_or_else(|| {
        let keys = match vm.before.os {
            GuestOs::Windows => "`guest_vm_win_user` and `guest_vm_win_password`",
            GuestOs::Linux | GuestOs::Unknown => "`guest_vm_linux_user` and `guest_vm_linux_password`",
        };
        format!("profile {} has no {keys}", prepared.open.profile.name)
    })
}

fn credentials<'a>(prepared: &'a Prepared, vm: &SourceVm) -> Option<&'a Credentials> {
    let guest = &prepared.open.profile.guest;
    match vm.os {
        GuestOs::Windows => guest.windows.as_ref(),
        GuestOs::Linux | GuestOs::Unknown => guest.linux.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vm(strategy: &str, status: &str) -> VirtualMachine {
        let vm = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "a"},
            "spec": {"runStrategy": strategy, "template": {}}, "status": {"printableStatus": status}});
        serde_json::from_value(vm).unwrap()
    }

    fn runs(strategy: &str, status: &str, wanted: &str, look: Look) -> Option<bool> {
        match rests(Some(&vm(strategy, status)), wanted, look) {
            Poll::Done(runs) => Some(runs),
            Poll::NotYet(_) | Poll::Failed(_) => None,
        }
    }

    #[test]
    fn a_vm_that_is_being_live_migrated_runs() {
        assert_eq!(runs("Always", "Migrating", "Running", Look::Arrived), Some(true));
    }

    #[test]
    fn a_vm_that_starts_slowly_is_waited_for_and_one_that_was_left_off_is_not() {
        assert_eq!(runs("Always", "Starting", "Running", Look::Arrived), None);
        assert_eq!(runs("Always", "Stopped", "Running", Look::Arrived), None, "KubeVirt has not seen it yet");
        assert_eq!(runs("Halted", "Stopped", "Running", Look::Arrived), Some(false));
        assert_eq!(runs("Halted", "Stopped", "Running", Look::Booted), None, "it was started a moment ago");
    }
}
