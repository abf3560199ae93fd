//! Hyper-V and EC2 on the lab: no driver, so the VM that the scenario names is migrated as it is.

use std::fs;

use super::GRACE;
use crate::common::{Expired, LabServer, Place, RUN, Results, Running};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";
const COMPREHENSIVE: &str = "test_cold_migration_comprehensive";

const RUNS_AFTERWARDS: &str = "runs_afterwards:
  virtual_machines:
    - name: mtv-rhel8-warm-2disks2nics
      guest_agent: true
    - name: mtv-win2022-ip-3disks
      guest_agent: true
  target_power_state: \"on\"
  target_labels:
    team: qe
  skip_clone: true
";

fn checks(results: &Results, outcome: &str) -> Vec<String> {
    let findings = results.lines("events.jsonl").into_iter().filter_map(|e| e.get("finding").cloned());
    findings.filter(|f| f["outcome"] == outcome).map(|f| f["check"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn shipped_scenarios_run_or_say_why_not_and_nothing_is_left() {
    let place = Place::new();
    let ended = place.run("run --lab --lab-clock-scale 1500 -p hyperv -p ec2 --results results").exits(0);
    ended
        .says("hold nothing that this run made")
        .says("the scenario begins with mtv-tests-rhel8-hv on, but it is off")
        .says("ec2 does not support a pre-hook");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    let verdict = |cell: &str| results.verdict(cell);
    for cell in [format!("hyperv/{COLD}"), format!("hyperv/{COMPREHENSIVE}"), format!("ec2/{COLD}")] {
        assert_eq!(verdict(&cell), "passed", "{cell}");
    }
    assert_eq!(verdict("hyperv/test_post_hook_retain_failed_vm"), "skipped");
    // The Hyper-V guest ran, so its static address is known and was judged; MTV left the source off.
    let good = checks(&results, "passed");
    for check in ["static-ip", "source-power", "ssh-login", "node-placement", "labels"] {
        assert!(good.iter().any(|name| name == check), "{check}: {good:?}");
    }
}

#[test]
fn a_vm_that_an_earlier_run_left_off_blocks_its_cell_and_the_run_is_not_green() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let run = || {
        let providers = lab.providers.display();
        let args = format!(
            "--providers-json {providers} run -p hyperv {RUN} {GRACE} --retries 1 --results results -s {COMPREHENSIVE}"
        );
        Running::start(place.command(&args).env("KUBECONFIG", &lab.kubeconfig)).end()
    };
    run().exits(0);
    run().exits(3).says("1 blocked");
    let results = place.results();
    let cell = results.cell(&format!("hyperv/{COMPREHENSIVE}"));
    assert_eq!(cell["verdict"], "blocked", "{cell:#}");
    assert_eq!(cell["attempt_verdicts"], json!(["blocked"]), "the world is as it is at a further attempt, too");
    assert!(cell["problem"].to_string().contains("switch it, or name another"), "{cell:#}");
    assert_eq!(results.run()["counts"]["blocked"], 1);
    lab.ends_clean();
}

#[test]
fn their_vms_are_really_checked() {
    let place = Place::new();
    place.write("own/scenarios/own.yaml", RUNS_AFTERWARDS);
    let run = |more: &str| {
        // The inventory may be late, so a source that is on is looked at until this bound.
        let args =
            "--config own --set timeouts.power=8s run --lab -p hyperv -p ec2 -s runs_afterwards --results results";
        place.run(&format!("{args}{more}"))
    };
    run(" --lab-clock-scale 1500").exits(0);
    let results = place.results();
    let good = checks(&results, "passed");
    for check in ["cpu", "firmware", "network", "disk-size", "disk-order", "source-power", "guest-agent", "ssh-login"] {
        assert!(good.iter().filter(|name| *name == check).count() >= 4, "{check} of four VMs: {good:?}");
    }
    let text = results.text("events.jsonl");
    // EC2 tells a type and no size, and MTV builds its template anew.
    assert!(text.contains("MTV builds the template anew for EC2"));
    assert!(text.contains("the source platform does not tell the memory size"));
    for (defect, check) in [
        ("wrong-cpu", "cpu"),
        ("wrong-network", "network"),
        ("lost-disk", "disk-count"),
        ("source-left-on", "source-power"),
    ] {
        run(&format!(" --lab-clock-scale 1500 --defect {defect}")).exits(1);
        let failed = checks(&place.results(), "failed");
        assert!(!failed.is_empty() && failed.iter().all(|name| name == check), "{defect}: {failed:?}");
    }
}

#[test]
fn wrong_logins_dead_endpoints_and_old_certificates_err_their_profile_alone() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let expired = Expired::start();
    let mut all = json!({"hyperv": providers["hyperv"], "ec2": providers["ec2"]});
    let mut vary = |name: &str, from: &str, change: &[(&str, Value)]| {
        all[name] = providers[from].clone();
        for (key, value) in change {
            all[name][*key] = value.clone();
        }
    };
    vary("hv-login", "hyperv", &[("password", json!("not-the-password"))]);
    vary("hv-share", "hyperv", &[("smb_url", json!("//127.0.0.1/other"))]);
    vary("hv-dead", "hyperv", &[("winrm_port", json!(1)), ("ca_pem", json!(expired.ca_pem))]);
    vary("hv-old", "hyperv", &[("winrm_port", json!(expired.port)), ("ca_pem", json!(expired.ca_pem))]);
    vary("hv-none", "hyperv", &[("vms", json!({"mtv-tests-rhel8": "no-such-vm"}))]);
    vary("ec2-login", "ec2", &[("secret_access_key", json!("not-the-password"))]);
    vary("ec2-region", "ec2", &[("region", json!("mars-north-1"))]);
    vary("ec2-dead", "ec2", &[("api_url", json!("https://127.0.0.1:1"))]);
    let file = place.write("all.json", &all.to_string());
    let args =
        format!("--providers-json {} run -p * {RUN} {GRACE} --jobs 10 --results results -s {COLD}", file.display());
    Running::start(place.command(&args).env("KUBECONFIG", &lab.kubeconfig)).end().exits(3);

    let results = place.results();
    results.are_whole_and_tell_no_secret();
    assert_eq!(results.verdict(&format!("hyperv/{COLD}")), "passed");
    assert_eq!(results.verdict(&format!("ec2/{COLD}")), "passed");
    for (profile, words) in [
        ("hv-login", vec!["ConnectionAuthFailed", "refused the login of Administrator", "endpoint //127.0.0.1/vms"]),
        ("hv-share", vec!["ConnectionTestFailed", "SMB share //127.0.0.1/other cannot be mounted"]),
        ("hv-dead", vec!["ConnectionTestFailed", "dial tcp 127.0.0.1:1: connect: connection refused"]),
        ("hv-old", vec!["ConnectionTestFailed", "x509: certificate has expired or is not yet valid"]),
        ("hv-none", vec!["has no VM no-such-vm"]),
        ("ec2-login", vec!["ConnectionAuthFailed", "endpoint https://127.0.0.1:"]),
        ("ec2-region", vec!["ConnectionTestFailed", "region mars-north-1 is not behind"]),
        ("ec2-dead", vec!["ConnectionTestFailed", "endpoint https://127.0.0.1:1"]),
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
