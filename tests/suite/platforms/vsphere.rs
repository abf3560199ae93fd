//! What only vSphere asks of a run: names that mean more than one VM, controllers for many disks.

use crate::common::Place;

#[test]
fn where_several_vms_have_a_name_one_is_meant_by_its_path_or_its_id() {
    let place = Place::new();
    place.write(
        "world.yaml",
        "vsphere:\n  folders: [older, newer]\n  vms:\n    - {name: twin, os: rhel8, folder: older, memory: 2Gi}\n    \
         - {name: twin, os: rhel8, folder: newer, memory: 4Gi}\n",
    );
    let run = |meant: &str, code: i32| {
        let scenario = format!("mine:\n  tags: [mine]\n  virtual_machines: [{{name: {meant}}}]\n");
        place.write("own/scenarios/mine.yaml", &scenario);
        place.run("-c own run --lab --world world.yaml -p vsphere --results results -s mine").exits(code)
    };
    let told = run("twin", 3).says("2 VMs have this name (vm-").says("or the path (/Datacenter/vm/folder/name)");
    let ids = told.out.split_once("2 VMs have this name (").unwrap().1.split_once(')').unwrap().0.to_owned();
    let memory = || {
        let told = place.results().text("events.jsonl");
        told.lines().filter(|line| line.contains("cloned ")).map(str::to_owned).collect::<String>()
    };
    run("/Datacenter/vm/newer/twin", 0).says("1 passed").says("hold nothing");
    assert!(memory().contains("cloned /Datacenter/vm/newer/twin as"), "{}", memory());
    let (older, _) = ids.split_once(", ").unwrap();
    run(older, 0).says("1 passed").says("hold nothing");
    run("/Datacenter/vm/none/twin", 3).says("there is no VM or template called /Datacenter/vm/none/twin");
}

#[test]
fn clones_are_put_on_the_host_that_is_asked_for_and_vms_that_share_a_disk_arrive_with_one_claim_for_it() {
    let place = Place::new();
    place.write(
        "own/scenarios/mine.yaml",
        "together:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8}, {name: mtv-win2019-79}]\n  \
         clone_to_same_host: true\n  disable_drs_for_vms: true\n\
         beside:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8}]\n  pin_to_non_dedicated_host: true\n\
         there:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8, target_esxi_host: esxi-3.lab.example}]\n\
         nowhere:\n  tags: [mine]\n  virtual_machines: [{name: mtv-tests-rhel8, target_esxi_host: esxi-9}]\n",
    );
    let run = "-c own run --lab -p vsphere --results results -t mine -j 4 --set max_concurrent=4";
    place.run(run).exits(3).says("3 passed, 1 errored").says("hold nothing");
    let told = place.results().text("events.jsonl");
    let cloned = |cell: &str| -> Vec<&str> {
        let cell = format!("\"vsphere/{cell}\"");
        told.lines().filter(|line| line.contains(&cell) && line.contains("cloned ")).collect()
    };
    let together = cloned("together");
    assert!(together.len() == 2 && !together[0].contains(" on host ") && together[1].contains(" on host host-"));
    assert!(cloned("beside")[0].contains(" on host host-"));
    assert!(cloned("there")[0].contains(" on host esxi-3.lab.example"));
    place.results().are_whole_and_tell_no_secret();

    place.run("run --lab -p vsphere --results results -t shared_disk -j 2").exits(0).says("2 passed");
    assert!(place.results().text("events.jsonl").contains("uses 1 disks of "));
    // Without an owner there is nothing to share, and two that own it are refused.
    let vm = "{name: mtv-feature-shared-rhel1, migrate_shared_disks: ";
    let both = format!("mine:\n  tags: [mine]\n  virtual_machines: [{vm}true}}, {vm}true}}]\n");
    place.write("own/scenarios/mine.yaml", &both);
    place.run("-c own list --lab -s mine").exits(2).says("one has `migrate_shared_disks: true`");
}
