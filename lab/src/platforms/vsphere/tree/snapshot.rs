//! Snapshots: each as an object, and the tree of them that a VM shows.

use super::super::value::{Obj, Val, member, mo, obj, objs, refs, time};
use super::Scope;
use super::vm::config;
use crate::world::{Snapshot, Vm};

pub(super) fn property(scope: &Scope<'_>, id: &str, name: &str) -> Option<Val> {
    let (vm, snapshot) = scope.state.snapshot(id)?;
    Some(match name {
        "config" => {
            let depth = vm.snapshots.iter().position(|it| it.id == id).unwrap_or_default();
            config(scope.state, vm, &snapshot.disks, depth).into()
        }
        "childSnapshot" => refs(children(vm, Some(id)).map(|it| mo("VirtualMachineSnapshot", &it.id))),
        "vm" => mo("VirtualMachine", &vm.id).into(),
        _ => return None,
    })
}

pub(super) fn children<'a>(vm: &'a Vm, parent: Option<&'a str>) -> impl Iterator<Item = &'a Snapshot> {
    vm.snapshots.iter().filter(move |snapshot| snapshot.parent.as_deref() == parent)
}

fn snapshot_tree(vm: &Vm, snapshot: &Snapshot) -> Obj {
    let below = children(vm, Some(&snapshot.id)).map(|child| snapshot_tree(vm, child).into()).collect();
    let power = if snapshot.powered_on { "poweredOn" } else { "poweredOff" };
    obj("VirtualMachineSnapshotTree")
        .set("snapshot", mo("VirtualMachineSnapshot", &snapshot.id))
        .set("vm", mo("VirtualMachine", &vm.id))
        .set("name", &snapshot.name)
        .set("description", &snapshot.description)
        .set("id", snapshot.number)
        .set("createTime", time(&snapshot.created))
        .set("state", member("VirtualMachinePowerState", power))
        .set("quiesced", snapshot.quiesced)
        .list("childSnapshotList", "VirtualMachineSnapshotTree", below)
        .set("replaySupported", false)
}

/// Unset as soon as the last snapshot is gone.
pub(super) fn snapshot_info(vm: &Vm) -> Option<Obj> {
    let roots: Vec<Obj> = children(vm, None).map(|snapshot| snapshot_tree(vm, snapshot)).collect();
    if roots.is_empty() {
        return None;
    }
    let current = vm.current_snapshot.as_ref().map(|id| mo("VirtualMachineSnapshot", id));
    Some(
        obj("VirtualMachineSnapshotInfo")
            .opt("currentSnapshot", current)
            .set("rootSnapshotList", objs("VirtualMachineSnapshotTree", roots)),
    )
}
