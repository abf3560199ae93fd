//! The world as vCenters are that people have worked with for years: what of the weather is in the inventory itself.
//!
//! Changes a fresh state, before anybody has seen it. Every VM stays what it is for its guest.

use super::model::{Controller, ControllerKind, Disk, Network, State, Vm, fresh_mac, fresh_uuid};
use super::seed::{FIRST_PORTGROUP, make_folder};
use crate::weather::{Sky, Weather};

/// The second SCSI bus, whose first disk has this key; a NIC that was the second once.
const SECOND_BUS: i32 = 1;
const DISKS_OF_A_BUS: i32 = 16;
/// The key of the first SATA controller; its disks count from there on.
const SATA: i32 = 15000;
const FIRST_OF_SATA: i32 = 16000;

/// Makes a fresh state as untidy as the weather says.
pub(super) fn make(state: &mut State, sky: &Sky) {
    let ids: Vec<String> = state.vms.keys().cloned().collect();
    let second_store = state.datastores.last().map(|store| store.id.clone()).unwrap_or_default();
    for id in &ids {
        let Some(vm) = state.vms.get_mut(id) else { continue };
        if sky.has(Weather::DeviceKeys) {
            late_keys(vm);
        }
        if sky.has(Weather::ManyDatastores) && !vm.powered_on {
            scatter(vm, &second_store);
        }
    }
    if sky.has(Weather::SameNames) {
        same_names(state);
    }
}

/// The first bus and the first NIC were taken away once.
fn late_keys(vm: &mut Vm) {
    for controller in &mut vm.controllers {
        controller.key += SECOND_BUS;
        controller.bus += SECOND_BUS;
    }
    for disk in &mut vm.disks {
        disk.controller += SECOND_BUS;
        disk.key += SECOND_BUS * DISKS_OF_A_BUS;
    }
    for nic in &mut vm.nics {
        nic.key += 1;
    }
}

/// Every second disk lies on another datastore, where it is the first of its VM and is called so; the last of three
/// hangs on another controller.
fn scatter(vm: &mut Vm, second_store: &str) {
    for disk in vm.disks.iter_mut().skip(1).step_by(2) {
        second_store.clone_into(&mut disk.datastore);
    }
    vm.name_disks();
    let sata = vm.controllers.iter().any(|it| it.kind == ControllerKind::Sata);
    if let Some(disk) = vm.disks.get_mut(2).filter(|_| !sata) {
        (disk.controller, disk.key, disk.unit) = (SATA, FIRST_OF_SATA, 0);
        vm.controllers.push(Controller { key: SATA, bus: 0, kind: ControllerKind::Sata });
    }
}

/// A network on the switch that is called as another one; two strangers of one name in two folders.
fn same_names(state: &mut State) {
    if let Some(name) = state.networks.iter().find(|network| network.vlan.is_none()).map(|it| it.name.clone()) {
        let number = FIRST_PORTGROUP + state.networks.iter().filter(|network| network.vlan.is_some()).count();
        state.networks.push(Network { id: format!("dvportgroup-{number}"), name, vlan: Some(130) });
    }
    let folder = make_folder(state, "old");
    let Some(first) = state.vms.values().find(|vm| vm.powered_on).cloned() else { return };
    state.last_id += 1;
    let mut twin = Vm {
        id: format!("vm-{}", state.last_id),
        folder,
        uuid: fresh_uuid(),
        instance_uuid: fresh_uuid(),
        powered_on: false,
        tools_running: false,
        boots: 0,
        suspended: false,
        ..first
    };
    for disk in &mut twin.disks {
        renew(disk);
    }
    for index in 0..twin.nics.len() {
        twin.nics[index].mac = fresh_mac(state);
        twin.nics[index].connected = false;
        twin.nics[index].guest.addresses.clear();
        twin.nics[index].guest.is_static = false;
    }
    state.vms.insert(twin.id.clone(), twin);
}

/// A copy on the same datastore: vCenter numbers the folder.
fn renew(disk: &mut Disk) {
    disk.uuid = fresh_uuid();
    if let Some((folder, file)) = disk.path.split_once('/') {
        disk.path = format!("{folder}_1/{file}");
    }
}
