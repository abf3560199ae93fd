//! Tests of the simulated world.

use super::*;
use crate::api::world as told;

/// The shipped world.
fn shipped() -> Arc<World> {
    World::new(&told::World::shipped().unwrap().vsphere)
}

fn clone_of(world: &World, source: &str, name: &str) -> Result<String, WorldError> {
    let order = world.read(|state| CloneOrder {
        source: state.vm_by_name(source).map(|vm| vm.id.clone()).unwrap_or_default(),
        folder: "group-v3".to_owned(),
        name: name.to_owned(),
        ..CloneOrder::default()
    });
    world.change(|state| {
        state.check_clone(&order)?;
        state.finish_clone(&order)
    })
}

#[test]
fn a_new_world_has_nothing_left_over() {
    assert_eq!(shipped().baseline_diff(), Vec::<String>::new());
}

#[test]
fn a_clone_has_its_own_macs_and_uuids_and_its_guest_is_found_by_them() {
    let world = shipped();
    let id = clone_of(&world, "mtv-win2019-3disks", "c1").unwrap();
    let (source, clone) =
        world.read(|state| (state.vm_by_name("mtv-win2019-3disks").unwrap().clone(), state.vm(&id).unwrap().clone()));
    assert_ne!(source.uuid, clone.uuid);
    assert_ne!(source.nics[0].mac, clone.nics[0].mac);
    let guest = world.by_mac(&clone.nics[0].mac.to_ascii_uppercase()).unwrap();
    assert!(guest.windows);
    assert!(guest.nics[0].is_static);
    assert_eq!(guest.nics[0].addresses[0].0.to_string(), "192.168.100.19");
    assert_eq!(guest.nics[0].gateway.unwrap().to_string(), "192.168.100.1");
    let other = "00:50:56:3f:00:01";
    world.change(|state| state.vms.get_mut(&id).unwrap().nics[0].mac = other.to_owned());
    assert!(world.by_mac(other).is_some() && world.by_mac(&clone.nics[0].mac).is_none(), "a card with another MAC");
    world.change(|state| state.destroy(&id)).unwrap();
    assert_eq!(world.by_mac(other), None);
    assert_eq!(world.baseline_diff(), Vec::<String>::new());
}

#[test]
fn leftovers_name_the_vm_the_power_and_the_snapshot() {
    let world = shipped();
    clone_of(&world, "mtv-tests-rhel8", "left").unwrap();
    world.change(|state| {
        let id = state.vm_by_name("mtv-win2019-79").unwrap().id.clone();
        state.set_power(&id, true).unwrap();
        state.take_snapshot(&id, "forgotten", "", false).unwrap();
    });
    let diff = world.baseline_diff().join("\n");
    assert!(diff.contains("VM left ("), "{diff}");
    assert!(diff.contains("mtv-win2019-79 (vm-103) was powered on"), "{diff}");
    assert!(diff.contains("snapshot forgotten of VM mtv-win2019-79"), "{diff}");
}

#[test]
fn a_name_can_be_taken_once_only() {
    let world = shipped();
    let first = clone_of(&world, "mtv-tests-rhel8", "twice").unwrap();
    let refused = clone_of(&world, "mtv-tests-rhel8", "twice").unwrap_err();
    assert_eq!(refused, WorldError::NameTaken { name: "twice".to_owned(), id: first });
}

#[test]
fn removing_a_snapshot_gives_its_children_to_its_parent() {
    let world = shipped();
    world.change(|state| {
        let id = state.vm_by_name("mtv-tests-rhel8").unwrap().id.clone();
        let first = state.take_snapshot(&id, "1", "", false).unwrap();
        let second = state.take_snapshot(&id, "2", "", false).unwrap();
        let third = state.take_snapshot(&id, "3", "", false).unwrap();
        state.remove_snapshot(&second, false).unwrap();
        let vm = state.vm(&id).unwrap();
        assert_eq!(vm.snapshots.len(), 2);
        assert_eq!(vm.snapshots[1].parent.as_deref(), Some(first.as_str()));
        assert_eq!(vm.current_snapshot.as_deref(), Some(third.as_str()));
        state.remove_snapshot(&first, true).unwrap();
        assert!(state.vm(&id).unwrap().snapshots.is_empty());
        assert_eq!(state.vm(&id).unwrap().current_snapshot, None);
    });
}

#[test]
fn a_change_that_fails_leaves_nothing_behind() {
    let world = shipped();
    let change = VmChange {
        annotation: Some("x".to_owned()),
        devices: vec![DeviceChange::Remove { key: 9999 }],
        ..VmChange::default()
    };
    let refused = world.change(|state| state.reconfigure("vm-101", &change)).unwrap_err();
    assert_eq!(refused, WorldError::BadDevice { index: 0 });
    assert_eq!(world.read(|state| state.vm("vm-101").unwrap().annotation.clone()), "");
}
