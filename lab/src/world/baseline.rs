//! What the world was at the start, to say what was left behind.

use std::collections::BTreeMap;

use super::model::{State, Vm};

#[derive(Debug, Clone, PartialEq, Eq)]
struct VmMark {
    name: String,
    folder: String,
    powered_on: bool,
    template: bool,
    snapshots: Vec<String>,
    disks: Vec<(i32, i64)>,
    macs: Vec<String>,
}

impl VmMark {
    fn of(vm: &Vm) -> Self {
        Self {
            name: vm.name.clone(),
            folder: vm.folder.clone(),
            powered_on: vm.powered_on,
            template: vm.template,
            snapshots: vm.snapshots.iter().map(|snapshot| snapshot.name.clone()).collect(),
            disks: vm.disks.iter().map(|disk| (disk.key, disk.capacity)).collect(),
            macs: vm.nics.iter().map(|nic| nic.mac.clone()).collect(),
        }
    }
}

pub(super) struct Baseline {
    vms: BTreeMap<String, VmMark>,
    folders: BTreeMap<String, String>,
}

impl Baseline {
    pub(super) fn of(state: &State) -> Self {
        Self {
            vms: state.vms.iter().map(|(id, vm)| (id.clone(), VmMark::of(vm))).collect(),
            folders: state.folders.iter().map(|(id, folder)| (id.clone(), folder.name.clone())).collect(),
        }
    }

    pub(super) fn diff(&self, state: &State) -> Vec<String> {
        let mut found = Vec::new();
        for (id, vm) in &state.vms {
            match self.vms.get(id) {
                None => found.push(format!("VM {} ({id}) is left over", vm.name)),
                Some(before) => diff_vm(id, before, &VmMark::of(vm), &mut found),
            }
        }
        for (id, before) in &self.vms {
            if !state.vms.contains_key(id) {
                found.push(format!("VM {} ({id}) is gone", before.name));
            }
        }
        for (id, folder) in &state.folders {
            if !self.folders.contains_key(id) {
                found.push(format!("folder {} ({id}) is left over", folder.name));
            }
        }
        for task in state.tasks.values().filter(|task| !task.is_over()) {
            found.push(format!("task {} {} of {} is still going on", task.id, task.operation, task.entity_name));
        }
        found
    }
}

fn diff_vm(id: &str, before: &VmMark, after: &VmMark, found: &mut Vec<String>) {
    let name = &before.name;
    if before.name != after.name {
        found.push(format!("VM {name} ({id}) is now called {}", after.name));
    }
    if before.folder != after.folder {
        found.push(format!("VM {name} ({id}) moved to folder {}", after.folder));
    }
    if before.powered_on != after.powered_on {
        found.push(format!("VM {name} ({id}) was powered {}", if after.powered_on { "on" } else { "off" }));
    }
    if before.template != after.template {
        found.push(format!("VM {name} ({id}) changed between VM and template"));
    }
    for snapshot in after.snapshots.iter().filter(|snapshot| !before.snapshots.contains(snapshot)) {
        found.push(format!("snapshot {snapshot} of VM {name} ({id}) is left over"));
    }
    for snapshot in before.snapshots.iter().filter(|snapshot| !after.snapshots.contains(snapshot)) {
        found.push(format!("snapshot {snapshot} of VM {name} ({id}) is gone"));
    }
    if before.disks != after.disks {
        found.push(format!("the disks of VM {name} ({id}) changed"));
    }
    if before.macs != after.macs {
        found.push(format!("the NICs of VM {name} ({id}) changed"));
    }
}
