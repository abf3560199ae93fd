//! OpenShift as a source: the binary against the lab's own cluster and against a second lab.

use std::collections::BTreeSet;
use std::fs;

use super::run_beside_vsphere;
use crate::common::{Expired, LabServer, Place, RUN, Running};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";
const ON: &str = "openshift_on";

/// A scenario whose VM runs before and after, so that every check has something to look at.
fn with_a_running_vm(place: &Place) {
    let text = format!(
        "{ON}:\n  virtual_machines:\n    - name: mtv-tests-rhel9\n      source_vm_power: \"on\"\n      guest_agent: true\n"
    );
    place.write("own/scenarios/on.yaml", &text);
}

/// Names of the checks with this outcome, of all cells.
fn checks(place: &Place, outcome: &str) -> BTreeSet<String> {
    let events = place.results().lines("events.jsonl");
    let findings = events.iter().map(|e| &e["finding"]).filter(|f| f["outcome"] == outcome);
    findings.filter_map(|f| f["check"].as_str()).map(str::to_owned).collect()
}

#[test]
fn the_cells_of_openshift_pass_or_say_why_not_and_leave_nothing() {
    let place = Place::new();
    let ended = place.run("run --lab --lab-clock-scale 1500 -j 8 -p openshift* --results results").exits(0);
    // Three on the lab's own cluster, three from a second one.
    ended.says("hold nothing that this run made").says("6 passed, 10 skipped");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    for cell in results.run()["cells"].as_array().unwrap().iter().filter(|c| c["verdict"] == "skipped") {
        let why = cell["skipped_because"].as_str().unwrap();
        assert!(why.starts_with("openshift does not support "), "{why}");
    }
}

#[test]
fn a_running_vm_is_judged_whole_and_its_generated_password_logs_in() {
    let place = Place::new();
    with_a_running_vm(&place);
    let args = format!("--config own run --lab --lab-clock-scale 1500 -p openshift -s {ON} --results results");
    place.run(&args).exits(0).says("powered on").says("hold nothing that this run made");
    let passed = checks(&place, "passed");
    for check in
        ["cpu", "memory", "firmware", "network", "disk-size", "guest-agent", "ssh-login", "provider-tls", "power"]
    {
        assert!(passed.contains(check), "{check} did not pass: {passed:?}");
    }
    assert!(checks(&place, "failed").is_empty());
}

/// Every file below a folder, one after the other.
fn text_below(folder: &std::path::Path) -> String {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| entry.path())
        .map(|path| if path.is_dir() { text_below(&path) } else { fs::read_to_string(path).unwrap() })
        .collect()
}

#[test]
fn what_goes_wrong_with_a_clusters_vm_is_found_and_artifacts_keep_its_password() {
    let found = [
        ("wrong-cpu", "cpu"),
        ("new-mac", "network"),
        ("wrong-network", "network"),
        ("wrong-storage-class", "storage-class"),
        ("source-left-on", "source-power"),
        ("login-refused", "ssh-login"),
        ("lost-vm", "target-exists"),
    ];
    let one = |(defect, check): &(&str, &str)| {
        let place = Place::new();
        with_a_running_vm(&place);
        let args = format!("--config own run --lab --lab-clock-scale 1500 -p openshift -s {ON} --defect {defect}");
        place.run(&format!("{args} --results results")).exits(1);
        let failed = checks(&place, "failed");
        assert_eq!(failed.iter().map(String::as_str).collect::<Vec<_>>(), [*check], "{defect}");
        let cell = place.results().cell(&format!("openshift/{ON}"));
        let told = text_below(&place.results().dir.join("artifacts"));
        assert!(told.contains("userData") || *check == "target-exists", "{defect}: no VM in {cell:#}");
        assert!(!told.contains("cloud-config") && !told.contains("chpasswd"), "{defect}: a password is told");
    };
    std::thread::scope(|scope| {
        for chunk in found.chunks(4) {
            scope.spawn(move || chunk.iter().for_each(one));
        }
    });
}

#[test]
fn a_profile_that_cannot_be_used_errs_alone_with_its_name_its_endpoint_and_the_cause() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let expired = Expired::start();
    let second =
        |url: &str, token: &str, ca: &str| json!({"type": "openshift", "api_url": url, "token": token, "ca_pem": ca});
    let ca = fs::read_to_string(&lab.ca).unwrap();
    let late = format!("https://127.0.0.1:{}", expired.port);
    let profiles = [
        ("no-image", json!({"type": "openshift", "data_source": "no-such-image"})),
        ("no-type", json!({"type": "openshift", "instance_type": "no-such-type"})),
        ("bad-token", second(&lab.url, "not-the-password", &ca)),
        ("nobody", second("https://127.0.0.1:1", "x", &ca)),
        ("expired", second(&late, "x", &expired.ca_pem)),
    ];
    run_beside_vsphere(&place, &lab, &profiles, "-j 6 --set timeouts.provider_ready=5s").exits(3);
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    assert_eq!(results.verdict(&format!("vsphere/{COLD}")), "passed");
    let expected = [
        ("no-image", lab.url.as_str(), "DataSource"),
        ("no-type", lab.url.as_str(), "VirtualMachineClusterInstancetype"),
        ("bad-token", lab.url.as_str(), "401"),
        ("nobody", "https://127.0.0.1:1", "ConnectionTestFailed"),
        ("expired", late.as_str(), "ConnectionTestFailed"),
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
}

#[test]
fn a_second_cluster_is_a_source_and_nothing_stays_on_either() {
    let (place, far_place) = (Place::new(), Place::new());
    let near = LabServer::start(&place, "--clock-scale 1500");
    let far = LabServer::start(&far_place, "--clock-scale 1500");
    let ca = fs::read_to_string(&far.ca).unwrap();
    let profile = json!({"type": "openshift", "api_url": far.url, "token": far.token(), "ca_pem": ca});
    run_beside_vsphere(&place, &near, &[("far", profile)], "").exits(0).says("2 passed");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    let about = results.text("events.jsonl");
    assert!(about.contains("far: OpenShift 4.20.3"), "{about}");
    near.ends_clean();
    far.ends_clean();
}

#[test]
fn clean_removes_a_kept_source_vm_by_ledger_and_by_sweep() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    for clean in ["--results results", "--run-id"] {
        let args = format!("run --results results -p openshift -s {COLD} --keep always");
        Running::start(&mut lab.command(&place, &args)).end().exits(0);
        let run = place.results().run_id();
        let clean = if clean == "--run-id" {
            fs::remove_file(place.results().dir.join("ledger.jsonl")).unwrap();
            format!("clean --yes --run-id {run}")
        } else {
            format!("clean {clean}")
        };
        Running::start(&mut lab.command(&place, &clean)).end().exits(0).says("mtv-tests-rhel8").says("0 left");
        fs::remove_dir_all(place.path("results")).unwrap();
    }
    lab.ends_clean();
}

#[test]
fn a_second_cluster_is_a_destination_and_its_vms_are_read_there() {
    let (place, far_place) = (Place::new(), Place::new());
    let near = LabServer::start(&place, "--clock-scale 1500");
    let far = LabServer::start(&far_place, "--clock-scale 1500");
    let mut providers: Value = serde_json::from_str(&fs::read_to_string(&near.providers).unwrap()).unwrap();
    let ca = fs::read_to_string(&far.ca).unwrap();
    providers["far"] = json!({"type": "openshift", "api_url": far.url, "token": far.token(), "ca_pem": ca});
    let file = place.write("profiles.json", &providers.to_string());
    // The far lab knows no guest of the near one's platforms: its Windows takes no password of theirs.
    let remote = "-s test_cold_remote_ocp -s test_warm_remote_ocp --set remote_ocp_cluster=far --set boot=false --results results";
    let run = |flags: &str| {
        let args = format!("--providers-json {} run {RUN} {remote} {flags}", file.display());
        Running::start(place.command(&args).env("KUBECONFIG", &near.kubeconfig)).end()
    };
    // Out of MTV's own cluster, and from the far one to itself.
    run("-p vsphere -p openshift -p far").exits(0).says("4 passed, 2 skipped");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    assert!(checks(&place, "passed").contains("ssh-login"), "nobody logged in to a VM on the far cluster");
    let ledger = results.lines("ledger.jsonl");
    // By the cluster's own id, whatever its address: one of the run and one a cell here, one a cell there.
    let mut namespaces = std::collections::BTreeMap::<&str, usize>::new();
    for line in ledger.iter().filter(|l| l["kind"] == "Namespace") {
        *namespaces.entry(line["cluster"].as_str().unwrap()).or_default() += 1;
    }
    let mut counts: Vec<usize> = namespaces.into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [4, 5]);

    run("-p vsphere --keep always").exits(0);
    let id = place.results().run_id();
    fs::remove_file(place.results().dir.join("ledger.jsonl")).unwrap();
    let clean = format!("--providers-json {} clean --yes --run-id {id}", file.display());
    Running::start(place.command(&clean).env("KUBECONFIG", &near.kubeconfig)).end().exits(0).says("0 left");
    near.ends_clean();
    far.ends_clean();
}
