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
    run("/Datacenter/vm/none/twin", 3).says("VM or template `/Datacenter/vm/none/twin`");
}
