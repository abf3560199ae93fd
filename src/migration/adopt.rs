//! VMs of a platform that only MTV's inventory knows: found there, read there, never touched.
//!
//! Such a VM can't be cloned, so the one that the scenario (or the profile's `vms`) names is
//! migrated as it is, under a target name that no other run has.

use serde_json::Value;

use super::Failure;
use super::context::{OpenProfile, RunContext};
use super::prepared::PreparedVm;
use crate::api::vm::{GuestOs, Power, SourceVm};
use crate::cluster::wait::{self, Poll};
use crate::config::{PowerState, ScenarioVm};
use crate::event::{Level, Problem};
use crate::forklift::adapter::Collections;
use crate::forklift::inventory;
use crate::matrix::Cell;
use crate::source::VmRef;

/// Finds and reads every VM of the scenario.
pub(super) async fn adopt_vms(
    context: &RunContext,
    cell: &Cell,
    open: &OpenProfile,
) -> Result<Vec<PreparedVm>, Failure> {
    let (vms, collections) = read_inventory(context, open).await?;
    let adopt = |wanted| adopt_vm(context, cell, open, &vms, &collections, wanted);
    cell.scenario.virtual_machines.iter().map(adopt).collect()
}

/// The provider's VMs and whatever else its adapter looks into.
async fn read_inventory(context: &RunContext, open: &OpenProfile) -> Result<(Vec<Value>, Collections), Failure> {
    let parts = &context.parts;
    let path = &open.provider.path;
    let limit = parts.settings.timeouts.inventory;
    let vms = parts.inventory.wait_list(path, "vms", limit).await?;
    let mut collections = Collections::new();
    for name in open.adapter.collections() {
        collections.insert((*name).to_owned(), parts.inventory.wait_list(path, name, limit).await?);
    }
    Ok((vms, collections))
}

fn adopt_vm(
    context: &RunContext,
    cell: &Cell,
    open: &OpenProfile,
    vms: &[Value],
    collections: &Collections,
    wanted: &ScenarioVm,
) -> Result<PreparedVm, Failure> {
    let profile = &open.profile;
    let looked_for = profile.vms.get(&wanted.name).unwrap_or(&wanted.name);
    let Some(found) = named(vms, looked_for) else {
        let message = format!("{}: MTV's inventory of {} has no VM {looked_for}", profile.name, open.endpoint);
        return Err(Failure::environment(
            Problem::new(message).detail(format!("the nearest that it has: {}", nearest(vms, looked_for))).look_at(
                format!("`vms` of the profile gives the VM to take, e.g. {{\"{}\": \"<name>\"}}", wanted.name),
            ),
        ));
    };
    let mut before = open.adapter.read_vm(found, collections).map_err(|cause| {
        let name = inventory::name_of(found);
        Failure::environment(Problem::new(format!(
            "{}: the inventory's VM {name} can't be read: {cause}",
            profile.name
        )))
    })?;
    match wanted.win_os {
        Some(true) => before.os = GuestOs::Windows,
        Some(false) => before.os = GuestOs::Linux,
        None => {}
    }
    power_fits(context.has_migrated(&profile.name, &before.id), open, wanted, &before)?;
    let base = wanted.clone_name.as_deref().unwrap_or(&before.name);
    let target_name = context.parts.run.clone_name(base);
    let message = format!("took {} as it is, to become {target_name}", before.name);
    context.note(Some(&cell.id), Level::Info, message);
    let reference = VmRef { id: before.id.clone(), name: before.name.clone() };
    Ok(PreparedVm { wanted: wanted.clone(), reference, target_name: Some(target_name), luks: None, before })
}

/// The VM of exactly this name.
fn named<'a>(vms: &'a [Value], name: &str) -> Option<&'a Value> {
    vms.iter().find(|vm| inventory::name_of(vm) == name)
}

/// Names like the one that was looked for, the likest first. To take one of them unasked could be to migrate a
/// stranger's VM.
fn nearest(vms: &[Value], wanted: &str) -> String {
    const MOST: usize = 5;
    let mut names: Vec<&str> = vms.iter().map(inventory::name_of).collect();
    names.sort_by(|a, b| {
        let like = |name: &str| strsim::jaro_winkler(name, wanted);
        like(b).total_cmp(&like(a)).then(a.cmp(b))
    });
    names.truncate(MOST);
    if names.is_empty() { "no VM".to_owned() } else { names.join(", ") }
}

/// Nobody here can switch the VM, so it must be in the state that the scenario begins with.
fn power_fits(migrated: bool, open: &OpenProfile, wanted: &ScenarioVm, before: &SourceVm) -> Result<(), Failure> {
    let fits = match wanted.source_vm_power {
        None => true,
        Some(PowerState::On) => before.power == Power::On,
        Some(PowerState::Off) => before.power == Power::Off,
    };
    if fits {
        return Ok(());
    }
    let asked = wanted.source_vm_power.map_or("", PowerState::name);
    let message = format!(
        "the scenario begins with {} {asked}, but it is {}, and mtv-matrix has no way to switch VMs of {}",
        before.name, before.power, open.profile.platform
    );
    if migrated {
        return Err(Failure::skipped(format!("{message}; another cell of this run has migrated it")));
    }
    Err(Failure::blocked(format!("{message}; switch it, or name another in the profile's `vms`")))
}

/// The source after migration as the inventory shows it, once that shows it off or `timeouts.power`
/// is over: a collector that looks every few seconds is late, not wrong.
pub(super) async fn after_migration(
    context: &RunContext,
    open: &OpenProfile,
    vm: &PreparedVm,
) -> Result<SourceVm, String> {
    if let Some(why) = open.adapter.powerless() {
        return Err(why.to_owned());
    }
    let what = format!("MTV's inventory to show {} off", vm.reference.name);
    let look = || async {
        let (vms, collections) = match read_inventory(context, open).await {
            Ok(read) => read,
            Err(failure) => return Poll::NotYet(failure.problem.message),
        };
        let found = vms.iter().find(|found| found.get("id").and_then(Value::as_str) == Some(&vm.reference.id));
        let Some(found) = found else { return Poll::NotYet("not in the inventory".to_owned()) };
        match open.adapter.read_vm(found, &collections) {
            Ok(now) if now.power == Power::Off => Poll::Done(now),
            Ok(now) => Poll::NotYet(format!("{} is {}", now.name, now.power)),
            Err(cause) => Poll::NotYet(cause),
        }
    };
    match wait::poll(&what, context.parts.settings.timeouts.power, look).await {
        Ok(now) => Ok(now),
        // Still running is what the check is to say of it.
        Err(late) => {
            let (vms, collections) = read_inventory(context, open).await.map_err(|f| f.problem.message)?;
            let found = vms.iter().find(|found| found.get("id").and_then(Value::as_str) == Some(&vm.reference.id));
            found.ok_or_else(|| late.to_string()).and_then(|found| open.adapter.read_vm(found, &collections))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_vm_whose_name_only_begins_alike_is_a_strangers_and_is_left_alone() {
        let vms = ["mtv-tests-rhel8", "mtv-win2019-79"].map(|name| json!({"name": name}));
        assert_eq!(named(&vms, "mtv"), None);
        assert_eq!(named(&vms, "mtv-win2019-79"), Some(&vms[1]));
    }

    #[test]
    fn a_missing_vm_is_told_with_what_is_like_it() {
        let vms = ["db", "rhel8-b", "rhel8-a"].map(|name| json!({"name": name}));
        assert_eq!(nearest(&vms, "rhel8"), "rhel8-a, rhel8-b, db");
        assert_eq!(nearest(&[], "rhel8"), "no VM");
    }
}
