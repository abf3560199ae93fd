//! Copy-offload: proven, and with one thing after the other that does not fit.

use serde_json::json;

use super::super::*;
use super::World;
use crate::api::pods::SeenPod;
use crate::config::scenarios::Copier;

/// The healthy VM, whose disks an array copied.
fn offloaded() -> World {
    let mut world = World::healthy();
    world.scenario.copyoffload = true;
    world.mtv = "2.13.0";
    let log = |disk: u64| {
        let source = format!("[datastore1] vm/vm_{disk}.vmdk");
        [
            format!("I1129 07:00:00.000000       1 p.go:1] \"VMDK/Xcopy populate started\" method=\"vib\" source=\"{source}\""),
            "I1129 07:00:01.000000       1 p.go:1] \"xcopy\" logger=\"copy-offload.xcopy.clone\" xcopyUsed=1".to_owned(),
            "I1129 07:00:02.000000       1 p.go:1] \"copy-offload finished, waiting for metrics scrape\"".to_owned(),
        ]
        .join("\n")
    };
    let pod = |disk: u64| SeenPod {
        name: format!("populate-claim-{disk}"),
        labels: BTreeMap::from([("sourceHost".to_owned(), "host-1".to_owned())]),
        log: log(disk),
        begun: disk + 1,
        ended: Some(10),
        ..SeenPod::default()
    };
    let populator = |disk: u64| {
        let bytes = if disk == 0 { "1.073741824e+10" } else { "2.147483648e+10" };
        json!({"metadata": {"name": format!("vm-disk-{disk}")}, "spec": {"storageVendorProduct": "ontap"},
            "status": {"xcopyUsed": "1", "result": "success", "cloneMethod": "vib", "storageVendor": "ontap",
                "provisionedBytes": bytes}})
    };
    for disk in 0..2 {
        world.t().objects.claims.get_mut(&format!("vm-disk-{disk}")).unwrap()["metadata"]["uid"] =
            json!(format!("claim-{disk}"));
    }
    for ran in [&mut world.ran.migration] {
        let vm = &mut ran.as_mut().unwrap().as_mut().unwrap()["status"]["vms"][0];
        for (disk, task) in vm["pipeline"][1]["tasks"].as_array_mut().unwrap().iter_mut().enumerate() {
            task["name"] = json!(format!("[datastore1] vm/vm_{disk}.vmdk"));
            task["annotations"] = json!({"xcopyUsed": "1"});
        }
    }
    world.ran.offload = Some(Offloaded {
        array: Array { vendor: "ontap".into(), method: "vib".into(), ..Array::default() },
        pods: Ok(vec![pod(0), pod(1)]),
        populators: Ok(vec![populator(0), populator(1)]),
    });
    world
}

impl World {
    fn offload(&self) -> Vec<Finding> {
        self.judge().into_iter().filter(|finding| finding.check == "copy-offload").collect()
    }
    fn left(&mut self) -> &mut Offloaded {
        self.ran.offload.as_mut().unwrap()
    }
    fn pods(&mut self) -> &mut Vec<SeenPod> {
        self.left().pods.as_mut().unwrap()
    }
    fn populator(&mut self) -> &mut serde_json::Value {
        &mut self.left().populators.as_mut().unwrap()[0]
    }
}

#[test]
fn an_offload_is_proven_disk_by_disk_and_whatever_is_not_told_fails() {
    let passes = |world: &World| {
        let told = world.offload();
        assert_eq!(told.len(), 3, "{told:#?}");
        told.iter().all(|finding| matches!(finding.outcome, Outcome::Passed { .. }))
    };
    assert!(passes(&offloaded()), "{:#?}", offloaded().offload());
    let cases: &[fn(&mut World)] = &[
        |w| w.ran.offload = None,
        |w| w.left().pods = Err("forbidden".into()),
        |w| w.left().populators = Err("forbidden".into()),
        |w| w.pods().truncate(1),
        |w| w.left().populators.as_mut().unwrap().truncate(1),
        |w| w.pods()[0].log = w.pods()[0].log.replace("xcopyUsed=1", "xcopyUsed=0"),
        |w| w.pods()[0].log = w.pods()[0].log.replace("xcopyUsed=1", ""),
        |w| w.pods()[0].log = w.pods()[0].log.replace("copy-offload finished", "something else"),
        |w| w.pods()[0].log = w.pods()[0].log.replace("\"vib\"", "\"ssh\""),
        |w| w.pods()[0].log.push_str("\nE1129 07:00:09.2 1 p.go:1] \"copy-offload failed\" err=\"failed to map lun\""),
        |w| w.pods()[0].labels.clear(),
        |w| w.left().array.hosts = vec!["host-2".into()],
        |w| w.left().array.vendor = "vantara".into(),
        |w| w.left().array.method = "ssh".into(),
        |w| w.populator()["status"]["xcopyUsed"] = json!("0"),
        |w| w.populator()["status"]["cloneMethod"] = json!("ssh"),
        |w| w.populator()["status"]["provisionedBytes"] = json!("1"),
        |w| w.populator()["status"]["result"] = json!(null),
        |w| w.populator()["status"] = json!({}),
        |w| w.scenario.offload.expect = Copier::Host,
        |w| w.left().array.without_xcopy = Some("datastore1".into()),
        |w| w.scenario.offload.populators_in_flight = Some(1),
        |w| {
            w.ran.migration.as_mut().unwrap().as_mut().unwrap()["status"]["vms"][0]["pipeline"][1]["tasks"][0]["annotations"] =
                json!({})
        },
    ];
    for (number, break_it) in cases.iter().enumerate() {
        let mut world = offloaded();
        break_it(&mut world);
        let red = world.offload().iter().any(|finding| matches!(finding.outcome, Outcome::Failed { .. }));
        assert!(red, "{number}: {:#?}", world.offload());
    }
    // Before 2.12 the log alone tells.
    let mut older = offloaded();
    older.mtv = "2.11.7";
    older.populator()["status"] = json!({"progress": "100"});
    assert!(passes(&older), "{:#?}", older.offload());
    // The array copies a raw mapping by its own means, and XCOPY is not used then.
    let mut raw = offloaded();
    raw.before.disks[0].raw = true;
    raw.mtv = "2.11.7";
    raw.pods()[0].log =
        "I1129 07:00:00.0 1 p.go:1] \"RDM copy started\"\nI1129 07:00:00.0 1 p.go:1] \"copy-offload finished\"".into();
    assert!(passes(&raw), "{:#?}", raw.offload());
}
