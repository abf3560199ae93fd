//! Several NICs of one VM on one network: MTV's releases differ in what they make of it.

use serde_json::Value;

use crate::common::{Ended, Place};

/// A VM with two NICs on the first network and one on the second, on each platform; its clone has them, too.
const WORLD: &str = "vsphere:
  vms: [{name: two-nics, os: rhel9, nics: [{}, {}, {network: Mgmt Network}]}, {name: no-nics, os: rhel9, nics: []}]
ovirt:
  vms: [{name: two-nics, os: rhel9, template: true, nics: [{}, {}]}]
";

const SCENARIOS: &str = "shared_out:
  virtual_machines: [{name: two-nics}]
  essential: [network]
asked_for:
  virtual_machines: [{name: two-nics}]
  per_nic_network_map: true
  essential: [network]
no_nics:
  virtual_machines: [{name: no-nics}]
  requires: {platforms: [vsphere]}
  essential: [network]
one_row:
  virtual_machines: [{name: two-nics}]
  per_nic_network_map: false
  steps: [create, {validate: {condition: VMDuplicateNADMappings}}]
";

/// A run on both platforms against this MTV, and where the NICs of `scenario`'s VM landed, by platform.
fn landed(version: &str, scenarios: &str, of: &str) -> (Ended, Vec<Vec<String>>) {
    let place = Place::new();
    place.write("world.yaml", WORLD);
    place.write("own/scenarios/own.yaml", SCENARIOS);
    let run = "--config own run --lab --lab-clock-scale 1500 --world world.yaml -p vsphere -p ovirt --results results";
    let ended = place.run(&format!("{run} --lab-mtv-version {version} {scenarios} --set keep_evidence=true")).exits(0);
    let results = place.results();
    let nics = |platform: &str| {
        let cell = results.cell(&format!("{platform}/{of}"));
        assert_eq!(cell["verdict"], "passed", "{cell:#}");
        let artifacts = cell["artifacts"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let file = artifacts.clone().find(|name| name.contains("evidence-")).unwrap();
        let evidence: Value = serde_json::from_slice(&std::fs::read(results.dir.join(file)).unwrap()).unwrap();
        let nics = evidence.pointer("/target/Ok/nics").unwrap().as_array().unwrap();
        let network = |nic: &Value| match nic.pointer("/network/multus/name") {
            Some(name) => name.as_str().unwrap().to_owned(),
            None => nic["network"].as_str().unwrap().to_owned(),
        };
        nics.iter().map(network).collect()
    };
    (ended, ["vsphere", "ovirt"].map(nics).to_vec())
}

fn different(names: &[String]) -> bool {
    names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len()
}

#[test]
fn two_nics_of_a_vm_on_one_network_land_on_two_nads_and_one_row_for_both_is_refused() {
    // Beside it a VM that has none, which needs no row.
    let all = "-s shared_out -s asked_for -s one_row -s no_nics";
    for nics in landed("2.12", all, "shared_out").1 {
        assert!(different(&nics), "{nics:?}");
        // The second network, where there is one, has the pod network for itself.
        assert_eq!(nics.get(2).map_or("pod", String::as_str), "pod", "{nics:?}");
    }
}

#[test]
fn an_mtv_that_shares_no_rows_out_gets_one_row_and_a_scenario_that_wants_more_is_skipped() {
    let (ended, all) = landed("2.10", "-s shared_out -s asked_for", "shared_out");
    for nics in all {
        assert_eq!(nics[0], nics[1], "{nics:?}");
    }
    ended.says("`per_nic_network_map`").says("needs MTV 2.11.1 or newer");
}

/// A VM whose second NIC is disconnected, migrated as it runs and as it is off, onto disks that one node alone may mount.
const CABLE_OUT: &str = "vsphere:
  vms: [{name: cable-out, os: rhel9, nics: [{}, {network: Mgmt Network, disconnected: true}]}]
cluster: {storage_classes: [{name: alone, default: true}]}
";

const AS_IT_IS: &str = "running:
  virtual_machines: [{name: cable-out, source_vm_power: \"on\"}]
  essential: [nic-devices, source-kept, instance, live-migration]
off:
  virtual_machines: [{name: cable-out, source_vm_power: \"off\"}]
  essential: [nic-devices, source-kept]
  steps: [migrate, verify, boot]
";

#[test]
fn a_disconnected_nic_and_a_vm_that_is_tied_to_its_node_are_no_alarm() {
    for version in ["2.12", "2.13"] {
        let place = Place::new();
        place.write("world.yaml", CABLE_OUT);
        place.write("own/scenarios/own.yaml", AS_IT_IS);
        let run = "--config own run --lab --lab-clock-scale 1500 --world world.yaml -p vsphere --results results";
        place.run(&format!("{run} -s running -s off --lab-mtv-version {version}")).exits(0);
        let events = place.results().text("events.jsonl");
        assert!(events.contains("not promised: ") && events.contains(" is ReadWriteOnce"), "{version}");
    }
}
