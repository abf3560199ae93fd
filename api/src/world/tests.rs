//! What a world may say, and what is made from a name.

use super::*;

fn world(edit: impl FnOnce(&mut World)) -> Vec<(String, String)> {
    let mut world = World::shipped().unwrap();
    edit(&mut world);
    world.problems().into_iter().map(|problem| (problem.path.join("."), problem.message)).collect()
}

#[test]
fn the_shipped_world_has_nothing_wrong_and_is_written_as_it_is_read() {
    assert_eq!(world(|_| ()), []);
    let shipped = World::shipped().unwrap();
    let again: World = serde_json::from_value(serde_json::to_value(&shipped).unwrap()).unwrap();
    assert_eq!(again, shipped);
}

#[test]
fn a_name_that_nothing_has_is_refused_where_it_stands() {
    let found = world(|world| {
        world.vsphere.vms[0].nics = Some(vec![Nic { network: Some("VM Netwrk".to_owned()), ..Nic::default() }]);
        world.vsphere.vms[1].folder = Some("prod".to_owned());
        world.ovirt.vms[0].datastore = Some("iso".to_owned());
        world.openstack.vms[0].flavor = Some("m1.tiny".to_owned());
    });
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    let wanted =
        ["vsphere.vms.0.nics.0.network", "vsphere.vms.1.folder", "ovirt.vms.0.datastore", "openstack.vms.0.flavor"];
    assert_eq!(paths, wanted);
    assert!(found[0].1.contains("`VM Netwrk`; there are VM Network, Mgmt Network"), "{}", found[0].1);
}

#[test]
fn what_there_can_be_only_one_of_is_refused_twice() {
    let found = world(|world| {
        let twin = Vm { folder: None, ..world.vsphere.vms[0].clone() };
        world.vsphere.vms.push(twin.clone());
        // In another folder it may have the name.
        world.vsphere.vms.push(Vm { folder: Some("templates".to_owned()), ..twin });
        let server = world.openstack.vms[0].clone();
        world.openstack.vms.push(server);
        let template = world.ovirt.vms[1].clone();
        world.ovirt.vms.push(template);
        let nic = || Some(vec![Nic { mac: Some("00:50:56:00:00:01".parse().unwrap()), ..Nic::default() }]);
        world.ova.vms[0].nics = nic();
        world.hyperv.vms[0].nics = nic();
    });
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    let last = format!("vsphere.vms.{}.name", World::shipped().unwrap().vsphere.vms.len());
    assert_eq!(paths, [last.as_str(), "ovirt.vms.10.name", "hyperv.vms.0.nics.0.mac"], "{found:?}");
}

#[test]
fn a_key_of_another_platform_is_refused_with_those_that_have_it() {
    let found = world(|world| {
        world.openstack.vms[0].tpm = true;
        world.ovirt.vms[0].disks = Some(vec![Disk { size: Size::gib(1), encrypted: true, ..Disk::default() }]);
        world.ec2.vms[0].snapshots = vec![Snapshot { name: "s".to_owned(), description: String::new() }];
        world.vsphere.vms[0].secure_boot = true;
    });
    let told: Vec<(&str, &str)> = found.iter().map(|(path, message)| (path.as_str(), message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("vsphere.vms.0.secure_boot", "only EFI boots securely: write `firmware: efi`"),
            ("ovirt.vms.0.disks", "`encrypted` of a disk is vsphere's alone"),
            ("openstack.vms.0.tpm", "openstack has none; it is of vsphere"),
            ("ec2.vms.0.snapshots", "ec2 has none; it is of vsphere, ovirt"),
        ]
    );
}

#[test]
fn a_vm_is_made_from_its_name_and_what_a_scenario_says() {
    let shipped = World::shipped().unwrap();
    let sketch = |name: &str| Sketch {
        name: name.to_owned(),
        windows: None,
        static_addresses: false,
        running: false,
        luks: false,
    };
    let vm = sketch("erp-win2019-3disks-2nics-efi").vm(Kind::Vsphere, &shipped.vsphere, 0);
    assert_eq!(vm.in_words(), "win2019, EFI, 3 disks, 2 NICs");
    let networks: Vec<_> = vm.all_nics().into_iter().filter_map(|nic| nic.network).collect();
    assert_eq!(networks, ["VM Network", "Mgmt Network"]);
    let fixed = Sketch { static_addresses: true, ..sketch("db") }.vm(Kind::Vsphere, &shipped.vsphere, 3);
    assert_eq!(fixed.in_words(), "rhel9, 1 disk, 1 NIC, static address");
    assert!(sketch("x").vm(Kind::Ovirt, &shipped.ovirt, 0).template, "clones are made from templates there");
    // A date is no number of disks.
    assert_eq!(sketch("backup-20240101disk").vm(Kind::Vsphere, &shipped.vsphere, 0).all_disks().len(), 1);
    // What was made up is right on every platform.
    for kind in Kind::ALL {
        let mut world = shipped.clone();
        let made = sketch("our-win2022-2disks-2nics-static").vm(kind, world.source(kind), 1);
        world.source_mut(kind).vms.push(made);
        assert_eq!(world.problems(), [], "{}", kind.name());
    }
}

#[test]
fn a_failure_in_a_step_that_mtv_has_not_is_refused_and_disks_are_copied_in_one_step_of_two_names() {
    let fails = |at: &str| Some(Failure { at: at.to_owned(), error: "e".to_owned() });
    let found = world(|world| {
        world.vsphere.vms[0].fails = fails("DiskTransfer");
        world.vsphere.vms[1].fails = fails("DiskTransfr");
    });
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["vsphere.vms.1.fails.at"]);
    assert!(
        fails("DiskTransfer").unwrap().is_in("DiskTransferV2v")
            && fails("DiskTransferV2v").unwrap().is_in("DiskTransfer")
    );
    assert!(!fails("DiskTransfer").unwrap().is_in("ImageConversion"));
}

#[test]
fn two_things_of_one_name_in_an_inventory_are_two_in_its_world() {
    let network = |id: &str| serde_json::json!({"id": id, "name": "prod", "variant": "Standard"});
    let vm = serde_json::json!({"id": "vm-1", "name": "a", "powerState": "poweredOn", "cpuCount": 2, "memoryMB": 1024,
        "disks": [{"key": 16000, "capacity": 1024, "datastore": {"id": "d-1"}}, {"key": 2000, "capacity": 2048}],
        "nics": [{"mac": "00:50:56:00:00:01", "network": {"id": "n-2"}}, {"mac": "00:50:56:00:00:01", "network": {"id": "n-1"}}]});
    let store = serde_json::json!({"id": "d-1", "name": "fast", "type": "VMFS", "capacity": 4096, "free": 8192});
    let listed = inventory::Listed::from([
        ("hosts".to_owned(), vec![serde_json::json!({"id": "host-1", "name": "esx"})]),
        ("networks".to_owned(), vec![network("n-1"), network("n-2")]),
        ("datastores".to_owned(), vec![store]),
        ("vms".to_owned(), vec![vm]),
    ]);
    let made = World::of_inventory(Kind::Vsphere, &listed);
    let source = &made.vsphere;
    let names: Vec<&str> = source.networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["prod", "prod (2)"]);
    let nics = source.vms[0].all_nics();
    assert_eq!(nics[0].network.as_deref(), Some("prod (2)"));
    // The lab tells guests by their MACs.
    assert!(nics[0].mac.is_some() && nics[1].mac.is_none());
    // Disks by key: the one of the SCSI controller is the first.
    let sizes: Vec<u64> = source.vms[0].all_disks().iter().map(|disk| disk.size.bytes()).collect();
    assert_eq!(sizes, [2048, 1024]);
    let whole = World { vsphere: source.clone(), ..World::shipped().unwrap() };
    assert_eq!(whole.problems(), []);
}
