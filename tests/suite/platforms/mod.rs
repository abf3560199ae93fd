//! Each source platform: its driver, the binary against the lab, and its official client where there
//! is one. One binary, so that the platforms wait side by side.

mod inventory_only;
mod networks;
mod openshift;
mod openstack;
mod ova;
mod ovirt;
mod sdk_openstack;
mod sdk_ovirt;
mod vsphere;
mod worlds;

use std::fs;

use serde_json::Value;

use crate::common::{Ended, LabServer, Place, RUN, Running};

const COLD: &str = "test_sanity_cold_mtv_migration";

/// A connection that fails may pass; nobody here waits long for that.
const GRACE: &str = "--set timeouts.blocker_grace=3s";

/// A run of the cold sanity scenario with these profiles, vSphere's beside them, on one lab.
fn run_beside_vsphere(place: &Place, lab: &LabServer, more: &[(&str, Value)], flags: &str) -> Ended {
    let mut providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let mut names = String::from("-p vsphere");
    for (name, profile) in more {
        providers[*name] = profile.clone();
        names.push_str(&format!(" -p {name}"));
    }
    let file = place.write("profiles.json", &providers.to_string());
    let args = format!("--providers-json {} run {RUN} {names} --results results -s {COLD} {flags}", file.display());
    Running::start(place.command(&args).env("KUBECONFIG", &lab.kubeconfig)).end()
}
