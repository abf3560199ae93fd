//! OpenStack as a source: the binary against the lab's cloud.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::run_beside_vsphere;
use crate::common::{Expired, LabServer, Place, Running};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";
const ON: &str = "openstack_on";

/// VMs that run before and after, so that every check has something to look at: two volumes of two
/// types on two networks, EFI with a CPU of threads, and one without a volume of its own.
const RUNNING: &str = "openstack_on:
  virtual_machines:
    - name: mtv-rhel8-warm-2disks2nics
      source_vm_power: \"on\"
      guest_agent: true
    - name: mtv-rhel9-static
      source_vm_power: \"on\"
    - name: mtv-win2019-79
      source_vm_power: \"on\"
      add_disks:
        - size_gb: 3
";

/// The first of them alone.
const ONE: &str = "openstack_on:
  virtual_machines:
    - name: mtv-rhel8-warm-2disks2nics
      source_vm_power: \"on\"
      guest_agent: true
";

/// Names of the checks with this outcome, of all cells.
fn checks(place: &Place, outcome: &str) -> BTreeSet<String> {
    let events = place.results().lines("events.jsonl");
    let findings = events.iter().map(|e| &e["finding"]).filter(|f| f["outcome"] == outcome);
    findings.filter_map(|f| f["check"].as_str()).map(str::to_owned).collect()
}

#[test]
fn the_cells_of_openstack_pass_or_say_why_not_and_leave_nothing() {
    let place = Place::new();
    let ended = place.run("run --lab --lab-clock-scale 1500 -p openstack --results results").exits(0);
    ended.says("hold nothing that this run made").says("4 passed, 4 skipped");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    assert!(!results.text("ledger.jsonl").contains("lab-openstack"));
    for cell in results.run()["cells"].as_array().unwrap().iter().filter(|c| c["verdict"] == "skipped") {
        let why = cell["skipped_because"].as_str().unwrap();
        assert!(why.starts_with("openstack does not support warm migration"), "{why}");
    }
}

#[test]
fn running_vms_of_every_kind_are_judged_whole() {
    let place = Place::new();
    place.write("own/scenarios/on.yaml", RUNNING);
    let args = format!("--config own run --lab --lab-clock-scale 1500 -p openstack -s {ON} --results results");
    place.run(&args).exits(0).says("powered on").says("hold nothing that this run made");
    let passed = checks(&place, "passed");
    for check in [
        "power",
        "cpu",
        "memory",
        "firmware",
        "network",
        "disk-count",
        "disk-size",
        "disk-order",
        "storage-class",
        "guest-agent",
        "ssh-login",
        "provider-tls",
        "snapshots",
        "source-power",
    ] {
        assert!(passed.contains(check), "{check} did not pass: {passed:?}");
    }
    assert!(checks(&place, "failed").is_empty());
    let events = place.results().text("events.jsonl");
    for told in ["2 sockets × 1 core × 2 threads", "EFI", "boots from root disk", "boots from /dev/vda"] {
        assert!(events.contains(told), "{told}");
    }
}

/// MTV counts the time of ConvertOpenstackSnapshot to DiskTransfer: a step that is pending for ever,
/// also in a VM that was migrated.
fn plan_has_the_step_that_never_starts(place: &Place) -> bool {
    let mut dirs = vec![place.results().dir.join("artifacts")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let step = text.split("name: ").find(|part| part.starts_with("ConvertOpenstackSnapshot"));
            if step.is_some_and(|step| step.contains("phase: Pending") && !step.contains("started:")) {
                return true;
            }
        }
    }
    false
}

#[test]
fn what_goes_wrong_is_found_by_its_own_check_and_no_other() {
    let found = [
        ("wrong-cpu", "cpu"),
        ("wrong-memory", "memory"),
        ("wrong-firmware", "firmware"),
        ("new-mac", "network"),
        ("wrong-network", "network"),
        ("lost-disk", "disk-count"),
        ("truncated-disk", "disk-size"),
        ("swapped-disks", "disk-order"),
        ("wrong-storage-class", "storage-class"),
        ("leftover-snapshot", "snapshots"),
        ("source-left-on", "source-power"),
        ("lost-vm", "target-exists"),
    ];
    let one = |(defect, check): &(&str, &str)| {
        let place = Place::new();
        place.write("own/scenarios/on.yaml", ONE);
        let args = format!("--config own run --lab --lab-clock-scale 1500 -p openstack -s {ON} --defect {defect}");
        place.run(&format!("{args} --results results")).exits(1).says("hold nothing that this run made");
        let failed = checks(&place, "failed");
        let mut expected = BTreeSet::from([(*check).to_owned()]);
        if *defect == "wrong-storage-class" {
            // The other class has other modes.
            expected.extend(failed.iter().filter(|f| f.ends_with("-mode")).cloned());
        }
        assert_eq!(failed, expected, "{defect}");
        assert!(plan_has_the_step_that_never_starts(&place), "{defect}");
    };
    std::thread::scope(|scope| {
        for chunk in found.chunks(3) {
            scope.spawn(move || chunk.iter().for_each(one));
        }
    });
}

/// The lab's own profile with some keys changed.
fn profile(lab: &LabServer, changes: &[(&str, Value)]) -> Value {
    let providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let mut profile = providers["openstack"].clone();
    for (key, value) in changes {
        profile[*key] = value.clone();
    }
    profile
}

#[test]
fn a_profile_that_cannot_be_used_errs_alone_with_its_name_its_endpoint_and_the_cause() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let expired = Expired::start();
    let late = format!("https://127.0.0.1:{}/v3", expired.port);
    let own = profile(&lab, &[])["api_url"].as_str().unwrap().to_owned();
    let profiles = [
        ("bad-password", profile(&lab, &[("password", json!("not-the-password"))])),
        ("bad-project", profile(&lab, &[("project_name", json!("somebody-elses"))])),
        ("bad-region", profile(&lab, &[("region_name", json!("RegionTwo"))])),
        ("nobody", profile(&lab, &[("api_url", json!("https://127.0.0.1:1/v3")), ("ca_pem", json!(expired.ca_pem))])),
        ("expired", profile(&lab, &[("api_url", json!(late)), ("ca_pem", json!(expired.ca_pem))])),
    ];
    run_beside_vsphere(&place, &lab, &profiles, "-j 6 --set timeouts.provider_ready=5s").exits(3);
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    assert_eq!(results.verdict(&format!("vsphere/{COLD}")), "passed");
    let expected = [
        ("bad-password", own.as_str(), "ConnectionAuthFailed"),
        ("bad-project", own.as_str(), "ConnectionAuthFailed"),
        ("bad-region", own.as_str(), "No suitable endpoint could be found"),
        ("nobody", "https://127.0.0.1:1", "ConnectionTestFailed"),
        ("expired", late.as_str(), "xpired"),
    ];
    for (name, endpoint, cause) in expected {
        let cell = results.cell(&format!("{name}/{COLD}"));
        assert_eq!(cell["verdict"], "errored", "{cell:#}");
        let problem = cell["problem"].to_string();
        for word in [name, endpoint, cause] {
            assert!(problem.contains(word), "{name}: no `{word}` in {problem}");
        }
        assert!(cell["duration_ms"].as_u64().unwrap() < 10_000, "{cell:#}");
    }
    lab.ends_clean();
}

#[test]
fn an_application_credential_is_enough_by_id_and_by_name() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let credential = |more: &[(&str, Value)]| {
        let own = profile(&lab, more);
        let mut own = own.as_object().unwrap().clone();
        own.remove("password");
        own.remove("project_name");
        own.insert("auth_type".into(), json!("applicationcredential"));
        own.insert("application_credential_secret".into(), json!("lab-openstack-credential"));
        Value::Object(own)
    };
    let profiles = [
        ("by-id", credential(&[("application_credential_id", json!("7a1f8c5e2d3b4a6c9e8f7d6c5b4a3f21"))])),
        ("by-name", credential(&[("application_credential_name", json!("mtv-matrix"))])),
    ];
    run_beside_vsphere(&place, &lab, &profiles, "-j 4").exits(0).says("3 passed");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    assert!(!results.text("ledger.jsonl").contains("lab-openstack-credential"));
    lab.ends_clean();
}

#[test]
fn a_source_vm_that_is_not_there_is_named_with_one_that_is_nearly_called_so() {
    let place = Place::new();
    place.write("own/scenarios/none.yaml", "none:\n  virtual_machines:\n    - name: mtv-tests-rhel88\n");
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let mut run = lab.command(&place, "--config own run -p openstack -s none --results results");
    Running::start(&mut run).end().exits(3);
    let cell = place.results().cell("openstack/none");
    let message = cell["problem"]["message"].as_str().unwrap();
    assert_eq!(message, "openstack: there is no server called mtv-tests-rhel88; did you mean mtv-tests-rhel8?");
    lab.ends_clean();
}

/// Kills a run in the middle of its clone, as soon as a volume was made of a snapshot.
fn killed_while_cloning(place: &Place, lab: &LabServer) -> String {
    let args = format!("run --results results -p openstack -s {COLD}");
    let run = Running::start(&mut lab.command(place, &args));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !volume_is_made(&fs::read_to_string(place.path("results/latest/ledger.jsonl")).unwrap_or_default()) {
        assert!(Instant::now() < deadline, "no volume was made");
        std::thread::sleep(Duration::from_millis(20));
    }
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    place.results().run_id()
}

/// Whether the ledger's first volume exists; a last line may be torn.
fn volume_is_made(ledger: &str) -> bool {
    let lines: Vec<Value> = ledger.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let volume = lines.iter().find(|line| line["kind"] == "volume").map(|line| &line["entry"]);
    volume.is_some_and(|entry| lines.iter().any(|line| line["what"] == "done" && &line["entry"] == entry))
}

#[test]
fn clean_removes_what_a_killed_clone_was_made_of_by_ledger_and_by_sweep() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 60");
    for by_ledger in [true, false] {
        let run = killed_while_cloning(&place, &lab);
        let clean = if by_ledger {
            "clean --results results".to_owned()
        } else {
            fs::remove_file(place.results().dir.join("ledger.jsonl")).unwrap();
            // Without a ledger a source is touched only where that is asked for.
            format!("clean --yes --run-id {run}")
        };
        let ended = Running::start(&mut lab.command(&place, &clean)).end().exits(0).says(", 0 left");
        for what in ["removed snapshot ", "removed volume ", "removed port "] {
            assert!(ended.out.contains(what), "{what}:\n{}", ended.out);
        }
        fs::remove_dir_all(place.path("results")).unwrap();
    }
    lab.ends_clean();
}
