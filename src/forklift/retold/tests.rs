//! A Plan told again, from objects as a must-gather has them.

use serde_json::{Value, json};

use super::{Ask, Evidence, Retold, RetoldError};
use crate::api::world::{Firmware, Kind, Size, World};
use crate::config::load::scenario_texts;
use crate::config::world::parse_world;

fn plan(status: &Value, more: Value) -> Value {
    let mut spec = json!({
        "targetNamespace": "erp", "warm": false, "preserveStaticIPs": false,
        "provider": {"source": {"namespace": "mtv", "name": "vc"}, "destination": {"namespace": "mtv", "name": "host"}},
        "map": {"network": {"namespace": "mtv", "name": "n"}, "storage": {"namespace": "mtv", "name": "s"}},
        "vms": [{"id": "vm-7", "name": "erp-win2019"}],
    });
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Plan",
        "metadata": {"namespace": "mtv", "name": "Move-ERP.1"}, "spec": spec, "status": status})
}

fn provider(type_: &str) -> Value {
    json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Provider",
        "metadata": {"namespace": "mtv", "name": "vc"}, "spec": {"type": type_, "url": "https://vc", "secret": {}}})
}

fn status(condition: &str, error_at: Option<&str>) -> Value {
    let step = |name: &str, total: i64| {
        let mut step = json!({"name": name, "phase": "Completed", "started": "2026-01-01T00:00:00Z",
            "progress": {"completed": 1, "total": total}});
        if total > 1 {
            step["tasks"] = json!([{"name": "[fast] erp/erp.vmdk", "progress": {"completed": 0, "total": 40960}},
                {"name": "[slow] erp/erp.vmdk", "progress": {"completed": 0, "total": 1024}}]);
        }
        if Some(name) == error_at {
            step["error"] = json!({"phase": "Running", "reasons": ["virt-v2v: no space left on /tmp\nmore"]});
        }
        step
    };
    let held = json!([{"type": condition, "status": "True"}]);
    json!({"conditions": held, "migration": {"vms": [{"id": "vm-7", "name": "erp-win2019", "phase": "Completed",
        "restorePowerState": "On", "operatingSystem": "windows2019srv_64Guest", "conditions": held,
        "pipeline": [step("Initialize", 1), step("DiskTransfer", 41984), step("ImageConversion", 1)]}]}})
}

fn told(objects: &[Value], ask: &Ask) -> Retold {
    let mut evidence = Evidence::default();
    objects.iter().for_each(|object| evidence.add(object.clone()));
    let told = evidence.retell(ask).unwrap();
    // What is written is what this program reads.
    let world = serde_saphyr::to_string(&told.world).unwrap();
    let read = parse_world("w.yaml", &world).unwrap_or_else(|error| panic!("{error}\n{world}"));
    assert_eq!(read.source(Kind::Vsphere).vms, told.world.vsphere.vms);
    let named = std::collections::BTreeMap::from([(&told.name, &told.scenario)]);
    let text = serde_saphyr::to_string(&named).unwrap();
    let files = scenario_texts(&[("s.yaml".to_owned(), text.clone())]);
    let problems: Vec<String> = files.problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty() && files.warnings.is_empty(), "{problems:?} {:?}\n{text}", files.warnings);
    assert!(files.scenarios[&told.name].refused.is_empty(), "{text}");
    told
}

fn steps(told: &Retold) -> Value {
    serde_json::to_value(&told.scenario).unwrap()["steps"].clone()
}

#[test]
fn a_failed_conversion_becomes_a_story_that_ends_there_and_a_world_that_makes_it_end_there() {
    let told =
        told(&[plan(&status("Failed", Some("ImageConversion")), json!({})), provider("vsphere")], &Ask::default());
    assert_eq!(told.name, "recorded_move_erp_1");
    assert_eq!(steps(&told), json!(["start", {"expect": {"ended": "failed", "at": "ImageConversion"}}]));
    let vm = &told.world.vsphere.vms[0];
    let fails = vm.fails.as_ref().unwrap();
    assert_eq!((fails.at.as_str(), fails.error.as_str()), ("ImageConversion", "virt-v2v: no space left on /tmp"));
    // No inventory was gathered: its disks are those of its pipeline, and a note says what was made up.
    let disks = vm.all_disks();
    assert_eq!(disks.iter().map(|disk| disk.size).collect::<Vec<_>>(), [Size::gib(40), Size::gib(1)]);
    assert_eq!(disks[1].datastore.as_deref(), Some("slow"));
    assert!(vm.os.windows() && vm.is_on());
    assert!(told.notes.iter().any(|note| note.starts_with("erp-win2019 is in no inventory")), "{:?}", told.notes);
}

#[test]
fn what_the_inventory_showed_is_the_world_and_what_it_did_not_comes_from_maps_and_the_target() {
    let map = |kind: &str, name: &str, row: Value| {
        json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": kind, "metadata": {"namespace": "mtv", "name": name},
            "spec": {"map": [row]}, "status": {"references": [{"id": "dvportgroup-9", "name": "prod"}, {"id": "datastore-1", "name": "fast"}]}})
    };
    let objects = [
        json!({"apiVersion": "v1", "kind": "List", "items": [plan(&status("Succeeded", None), json!({})), provider("vsphere")]}),
        map("NetworkMap", "n", json!({"source": {"id": "dvportgroup-9"}, "destination": {"type": "pod"}})),
        map("StorageMap", "s", json!({"source": {"id": "datastore-1"}, "destination": {"storageClass": "x"}})),
    ];
    let mut evidence = Evidence::default();
    objects.iter().for_each(|object| evidence.add(object.clone()));
    let shown = json!({"vms": [{
        "id": "vm-7", "name": "erp-win2019", "powerState": "poweredOff", "firmware": "efi", "cpuCount": 4, "coresPerSocket": 2,
        "memoryMB": 8192, "guestId": "windows2019srv_64Guest", "diskEnableUuid": true,
        "disks": [{"key": 2000, "capacity": 5368709120_u64, "datastore": {"id": "datastore-1"}, "mode": "persistent"}],
        "nics": [{"mac": "00:50:56:00:00:07", "network": {"id": "dvportgroup-9"}, "deviceKey": 4000}],
    }]});
    evidence.gathered("inventory", shown);
    let told = evidence.retell(&Ask::default()).unwrap();
    let source = &told.world.vsphere;
    let vm = &source.vms[0];
    assert_eq!((vm.firmware, vm.cpus, vm.cores_per_socket, vm.memory), (Firmware::Efi, 4, 2, Size::gib(8)));
    assert_eq!((vm.all_disks()[0].size, vm.all_disks()[0].datastore.as_deref()), (Size::gib(5), Some("fast")));
    assert_eq!(vm.all_nics()[0].network.as_deref(), Some("prod"));
    assert!(source.networks[0].distributed && vm.fails.is_none());
    assert_eq!(steps(&told), json!(["migrate", "verify"]));
    assert_eq!(told.notes, Vec::<String>::new());
}

#[test]
fn options_hooks_and_a_cancel_are_told() {
    let hook = json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Hook",
        "metadata": {"namespace": "mtv", "name": "h"}, "spec": {"image": "i", "playbook": "LSBob3N0czogbG9jYWxob3N0Cg=="}});
    let more = json!({
        "warm": true, "preserveStaticIPs": true, "pvcNameTemplate": "{{.VmName}}", "targetLabels": {"team": "erp"},
        "targetPowerState": "off", "runPreflightInspection": false,
        "vms": [{"id": "vm-7", "hooks": [{"step": "PreHook", "hook": {"namespace": "mtv", "name": "h"}}]}],
    });
    let objects = [plan(&status("Canceled", None), more), provider("vsphere"), hook];
    let whole = told(&objects, &Ask::default());
    let scenario = serde_json::to_value(&whole.scenario).unwrap();
    assert_eq!(
        scenario["steps"],
        json!(["start", {"wait": {"for": {"step": "ImageConversion"}}}, "cancel", {"expect": {"ended": "canceled"}}])
    );
    assert_eq!(scenario["pre_hook"], json!({"playbook_base64": "LSBob3N0czogbG9jYWxob3N0Cg=="}));
    assert_eq!((&scenario["warm_migration"], &scenario["preserve_static_ips"]), (&json!(true), &json!(true)));
    assert_eq!((&scenario["target_labels"], &scenario["target_power_state"]), (&json!({"team": "erp"}), &json!("off")));
    // Nothing of the place is left where that was asked for.
    let plain = told(&objects, &Ask { anonymise: true, ..Ask::default() });
    let text =
        format!("{} {}", serde_json::to_string(&plain.scenario).unwrap(), serde_json::to_string(&plain.world).unwrap());
    for word in ["erp", "ERP", "mtv/", "VmName", "fast", "LSBo"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert_eq!(plain.name, "recorded");
}

#[test]
fn a_hook_that_failed_without_a_task_that_fails_is_told_by_one_that_does() {
    let hooked =
        json!({"vms": [{"id": "vm-7", "hooks": [{"step": "PostHook", "hook": {"namespace": "mtv", "name": "h"}}]}]});
    let mut failed = status("Failed", None);
    failed["migration"]["vms"][0]["error"] = json!({"phase": "PostHook", "reasons": ["Job has failed"]});
    let told = told(&[plan(&failed, hooked), provider("vsphere")], &Ask::default());
    let scenario = serde_json::to_value(&told.scenario).unwrap();
    assert_eq!(scenario["post_hook"], json!({"expected_result": "fail"}));
    assert_eq!(scenario["steps"][1], json!({"expect": {"ended": "failed", "at": "PostHook"}}));
    assert_eq!(told.world.vsphere.vms[0].fails, None, "the playbook fails, not the world");
}

#[test]
fn what_can_not_be_told_is_refused_with_what_would_help() {
    let mut evidence = Evidence::default();
    assert_eq!(evidence.retell(&Ask::default()).err(), Some(RetoldError::NoPlan));
    evidence.add(plan(&status("Succeeded", None), json!({})));
    assert_eq!(evidence.retell(&Ask::default()).err(), Some(RetoldError::NoProvider { provider: "mtv/vc".to_owned() }));
    let ask = Ask { kind: Some(Kind::Ovirt), ..Ask::default() };
    let world: World = evidence.retell(&ask).unwrap().world;
    assert!(world.ovirt.vms[0].template, "clones are made from templates there");
    let mut second = plan(&status("Succeeded", None), json!({}));
    second["metadata"]["name"] = json!("other");
    evidence.add(second);
    let several = RetoldError::Several { known: "mtv/Move-ERP.1, mtv/other".to_owned() };
    assert_eq!(evidence.retell(&ask).err(), Some(several));
    let named = Ask { plan: Some("other".to_owned()), ..ask };
    assert_eq!(evidence.retell(&named).unwrap().name, "recorded_other");
    let openshift = Evidence {
        objects: vec![plan(&status("Succeeded", None), json!({})), provider("openshift")],
        ..Evidence::default()
    };
    assert_eq!(
        openshift.retell(&Ask::default()).err(),
        Some(RetoldError::NoWorld { platform: "openshift".to_owned() })
    );
}
