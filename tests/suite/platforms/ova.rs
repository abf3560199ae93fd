//! OVA files on the lab's share: found, migrated as they are, checked by what their OVF says.

use std::fs;

use super::GRACE;
use crate::common::{LabServer, Place, RUN, Running};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";

/// A scenario whose VMs run afterwards, so that guest and agent are looked at, too.
const RUNS_AFTERWARDS: &str = "runs_afterwards:
  virtual_machines:
    - name: mtv-rhel9-static
      guest_agent: true
    - name: mtv-rhel8-warm-2disks2nics
      guest_agent: true
    - name: mtv-win2022-ip-3disks
      guest_agent: true
  target_power_state: \"on\"
";

#[test]
fn shipped_scenarios_run_or_say_why_an_ova_cannot_and_nothing_is_left() {
    let place = Place::new();
    let ended = place.run("run --lab --lab-clock-scale 1500 -p ova --results results").exits(0);
    ended
        .says("hold nothing that this run made")
        .says("took mtv-tests-rhel8-ova as it is")
        .says("ova does not support warm migration: an OVA is a file and does not run");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    let run = results.run();
    assert_eq!((&run["counts"]["passed"], &run["counts"]["skipped"]), (&json!(2), &json!(6)), "{run:#}");
    let (ledger, id) = (results.text("ledger.jsonl"), results.run_id());
    assert!(!ledger.contains("source-vm"), "nothing on the source is this run's");
    // The migrated VM has a name that no other run has.
    assert!(results.text("events.jsonl").contains(&format!("to become {id}-mtv-tests-rhel8-ova-")));
}

#[test]
fn an_ova_vm_is_really_checked_against_its_ovf() {
    let place = Place::new();
    place.write("own/scenarios/ova.yaml", RUNS_AFTERWARDS);
    let run = |more: &str| {
        let args =
            format!("--config own run --lab --lab-clock-scale 1500 -p ova -s runs_afterwards --results results{more}");
        place.run(&args)
    };
    run("").exits(0);
    let passed = |results: &crate::common::Results, outcome: &str| -> Vec<String> {
        let findings = results.lines("events.jsonl").into_iter().filter_map(|e| e.get("finding").cloned());
        findings.filter(|f| f["outcome"] == outcome).map(|f| f["check"].as_str().unwrap().to_owned()).collect()
    };
    let results = place.results();
    let good = passed(&results, "passed");
    for check in
        ["cpu", "memory", "firmware", "serial", "network", "disk-size", "disk-order", "guest-agent", "ssh-login"]
    {
        assert!(good.iter().filter(|name| *name == check).count() >= 3, "{check} of three VMs: {good:?}");
    }
    // What a file cannot tell is said, not passed over.
    let text = results.text("events.jsonl");
    assert!(text.contains("an OVA is a file on a share, and a file does not run"));
    for (defect, check) in
        [("wrong-cpu", "cpu"), ("wrong-serial", "serial"), ("wrong-firmware", "firmware"), ("lost-disk", "disk-count")]
    {
        run(&format!(" --defect {defect}")).exits(1);
        let failed = passed(&place.results(), "failed");
        assert!(!failed.is_empty() && failed.iter().all(|name| name == check), "{defect}: {failed:?}");
    }
}

#[test]
fn a_share_that_is_not_there_or_not_a_share_and_a_missing_vm_err_their_profile_alone() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let mut all = json!({"ova": providers["ova"]});
    for (name, url) in [("away", "192.0.2.1:/share"), ("absent", "127.0.0.1:/not/there")] {
        all[name] = providers["ova"].clone();
        all[name]["api_url"] = json!(url);
    }
    all["other"] = providers["ova"].clone();
    all["other"]["vms"] = json!({"mtv-tests-rhel8": "no-such-vm"});
    all["mapped"] = providers["ova"].clone();
    all["mapped"]["vms"] = json!({"mtv-tests-rhel8": "mtv-rhel9-static-ova"});
    // What is no share as it is mounted is refused before anything is touched.
    let mut wrong = json!({"malformed": providers["ova"].clone()});
    wrong["malformed"]["api_url"] = json!("nfs://server/share");
    let file = place.write("wrong.json", &wrong.to_string());
    place.run(&format!("--providers-json {} list", file.display())).exits(2).says("the share as it is mounted");
    let file = place.write("all.json", &all.to_string());
    let args =
        format!("--providers-json {} run -p * {RUN} {GRACE} --jobs 6 --results results -s {COLD}", file.display());
    let ended = Running::start(place.command(&args).env("KUBECONFIG", &lab.kubeconfig)).end().exits(3);
    ended.says("took mtv-rhel9-static-ova as it is");

    let results = place.results();
    assert_eq!(results.verdict(&format!("ova/{COLD}")), "passed");
    assert_eq!(results.verdict(&format!("mapped/{COLD}")), "passed");
    for (profile, words) in [
        ("away", ["ConnectionTestFailed", "Connection timed out", "192.0.2.1:/share"]),
        ("absent", ["ConnectionTestFailed", "No such file or directory", "127.0.0.1:/not/there"]),
        ("other", ["has no VM no-such-vm", "the nearest that it has: ", "127.0.0.1:"]),
    ] {
        let cell = results.cell(&format!("{profile}/{COLD}"));
        assert_eq!(cell["verdict"], "errored", "{cell:#}");
        let problem = cell["problem"].to_string();
        for word in words.iter().chain([&profile]) {
            assert!(problem.contains(word), "{profile} lacks `{word}`: {problem}");
        }
        assert!(cell["duration_ms"].as_u64().unwrap() < 15_000, "{cell:#}");
    }
    lab.ends_clean();
}
