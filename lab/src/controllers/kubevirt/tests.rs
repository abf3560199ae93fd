//! Tests of the KubeVirt part's state machines.

use serde_json::{Value, json};

use super::vm::{Claims, decide};

const NOW: &str = "2026-01-01T00:00:00Z";

fn vm(strategy: &str) -> Value {
    json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {"runStrategy": strategy, "template": {"spec": {"domain": {}, "volumes": []}}}})
}

fn vmi(phase: &str) -> Value {
    json!({"metadata": {"name": "a", "namespace": "n", "uid": "i"}, "spec": {}, "status": {"phase": phase}})
}

#[test]
fn always_creates_an_instance_and_halted_deletes_it() {
    let started = decide(&vm("Always"), None, Claims::Bound, NOW);
    assert!(started.create_vmi);
    assert_eq!(started.status["printableStatus"], "Starting");
    let stopped = decide(&vm("Halted"), Some(&vmi("Running")), Claims::Bound, NOW);
    assert!(stopped.delete_vmi);
    assert_eq!(stopped.status["printableStatus"], "Stopping");
    let rest = decide(&vm("Halted"), None, Claims::Bound, NOW);
    assert_eq!(rest.status["printableStatus"], "Stopped");
    assert!(!rest.create_vmi);
    assert!(rest.status.get("ready").is_none() && rest.status.get("created").is_none(), "what is false is left out");
}

#[test]
fn a_status_that_was_written_is_not_written_again() {
    let mut machine = vm("Always");
    machine["status"] = decide(&machine, Some(&vmi("Running")), Claims::Bound, NOW).status;
    let again = decide(&machine, Some(&vmi("Running")), Claims::Bound, "2026-01-01T00:09:00Z");
    machine["status"].as_object_mut().unwrap().shift_remove("stateChangeRequests");
    let mut status = again.status;
    status.as_object_mut().unwrap().shift_remove("stateChangeRequests");
    assert_eq!(machine["status"], status);
}

#[test]
fn an_unbound_claim_shows_as_waiting_for_volume_binding() {
    let waiting = decide(&vm("Always"), Some(&vmi("Pending")), Claims::Unbound, NOW);
    assert_eq!(waiting.status["printableStatus"], "WaitingForVolumeBinding");
}

#[test]
fn a_stop_of_an_always_vm_rewrites_its_spec_and_a_second_start_is_refused() {
    use super::subresources::{Power, plan_power};
    let live = vmi("Running");
    let stop = plan_power(&vm("Always"), Some(&live), "stop");
    assert_eq!(stop, Ok(Power::Spec(json!({"spec": {"runStrategy": "Halted"}}))));
    assert_eq!(plan_power(&vm("Halted"), Some(&live), "start"), Err("VM is already running".to_owned()));
}

#[test]
fn a_node_selector_is_obeyed_unless_the_defect_says_otherwise() {
    let node = |name: &str| {
        json!({"metadata": {"name": name, "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/hostname": name}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    };
    let nodes = [node("worker-0"), node("worker-1")];
    let mut instance = vmi("Scheduling");
    instance["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "worker-1"});
    assert_eq!(super::nodes::choose(&nodes, &instance, false).as_deref(), Some("worker-1"));
    assert_eq!(super::nodes::choose(&nodes, &instance, true).as_deref(), Some("worker-0"));
}

#[test]
fn an_instance_that_a_disk_ties_to_its_node_says_why_it_cannot_be_migrated_live() {
    let condition = super::vmi::live_migratable(Some("disk"));
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("DisksNotLiveMigratable")));
    assert!(condition["message"].as_str().unwrap().contains("PVC disk is not shared"));
    assert_eq!(super::vmi::live_migratable(None)["status"], "True");
}

#[test]
fn an_instance_is_paused_once_and_goes_on_once() {
    use super::acts::on_instance;
    let mut running = vmi("Running");
    running["status"]["conditions"] =
        json!([{"type": "Ready", "status": "True"}, {"type": "AgentConnected", "status": "True"}]);
    assert_eq!(on_instance(&vmi("Pending"), "pause", NOW), Err("VMI is not running"));
    assert_eq!(on_instance(&running, "unpause", NOW), Err("VMI is not paused"));
    let paused = on_instance(&running, "pause", NOW).unwrap();
    running["status"]["conditions"] = paused["conditions"].clone();
    assert_eq!(on_instance(&running, "pause", NOW), Err("VMI is already paused"));
    assert_eq!(on_instance(&running, "softreboot", NOW), Err("VMI is paused"));
    let shown = decide(&vm("Always"), Some(&running), Claims::Bound, NOW);
    assert_eq!((&shown.status["printableStatus"], shown.status.get("ready")), (&json!("Paused"), None));
    let on = on_instance(&running, "unpause", NOW).unwrap();
    let kinds: Vec<&Value> = on["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(kinds, ["Ready", "AgentConnected"]);
}

#[test]
fn a_volume_is_plugged_in_and_only_such_a_one_is_plugged_out() {
    use super::acts::with_volume;
    let mut machine = vm("Always");
    machine["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "root", "persistentVolumeClaim": {"claimName": "r"}}]);
    let more = json!({"name": "data", "disk": {"disk": {"bus": "scsi"}}, "volumeSource": {"persistentVolumeClaim": {"claimName": "d"}}});
    let with = with_volume(&machine, true, &more).unwrap();
    assert_eq!(
        with["volumes"][1],
        json!({"name": "data", "persistentVolumeClaim": {"claimName": "d", "hotpluggable": true}})
    );
    assert_eq!(with_volume(&machine, true, &json!({"name": "data"})).unwrap_err().0, 400);
    machine["spec"]["template"]["spec"]["volumes"] = with["volumes"].clone();
    assert_eq!(with_volume(&machine, true, &more).unwrap_err().0, 409);
    assert_eq!(with_volume(&machine, false, &json!({"name": "root"})).unwrap_err().0, 409);
    assert_eq!(with_volume(&machine, false, &json!({"name": "data"})).unwrap()["volumes"].as_array().unwrap().len(), 1);
}
