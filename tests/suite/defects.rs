//! The defect table: each way in which a migration goes wrong although MTV says Succeeded is found
//! by its own check, and by no other; and without a defect no check raises an alarm.
//!
//! Every row is a run of the binary on the lab, told from `events.jsonl` and `run.json` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mtv_matrix::check;
use mtv_matrix::lab::defects::{CATALOGUE, catalogue};
use mtv_matrix::lab::weather;
use serde_json::Value;

/// Three disks, static address, PVC names, node selector, labels, affinity.
const COLD: &str = "test_cold_migration_comprehensive";
/// The same, warm, with EFI and two NICs.
const WARM: &str = "test_warm_migration_comprehensive";
/// A Linux VM with a second NIC on a Multus network.
const TWO_NICS: &str = "test_mtv_migration_warm_2disks2nics";
/// A Linux VM that ends off, and is booted for its marker.
const SANITY: &str = "test_sanity_cold_mtv_migration";
/// Two disks that a storage array copies, off two of its datastores.
const OFFLOAD: &str = "test_copyoffload_multi_datastore_migration";
/// Two VMs that write to one disk.
const SHARED: &str = "test_shared_disk_rhel_migration";
/// Since then a populator's status says whether the array copied.
const TELLS_XCOPY: [&str; 2] = ["--lab-mtv-version", "2.12"];
/// Runs at once: they wait more than they compute.
const AT_ONCE: usize = 6;

/// A scenario in which the defect can be seen.
fn scenario_for(defect: &str) -> &'static str {
    match defect {
        // MTV makes snapshots for warm migrations only.
        "leftover-snapshot" | "wrong-firmware" => WARM,
        // A second NIC with a static address, and without a default route.
        "gained-gateway" => WARM,
        "wrong-network" | "no-guest-agent" => TWO_NICS,
        // Nobody starts a VM that MTV has started already.
        "does-not-start" | "lost-data" | "altered-data" => SANITY,
        "split-disk" => SHARED,
        "offload-fell-back" | "offload-untold" | "populator-log-cut" => OFFLOAD,
        _ => COLD,
    }
}

/// A run that ended, as its files tell it.
struct Ran {
    status: ExitStatus,
    events: Vec<Value>,
    summary: Value,
    stderr: String,
}

impl Ran {
    fn findings<'a>(&'a self, outcome: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().map(|event| &event["finding"]).filter(move |finding| finding["outcome"] == outcome)
    }
    /// The checks with this outcome.
    fn checks<'a>(&'a self, outcome: &'a str) -> BTreeSet<&'a str> {
        self.findings(outcome).filter_map(|finding| finding["check"].as_str()).collect()
    }
    fn end(&self) -> &Value {
        self.events.last().unwrap_or(&Value::Null)
    }
}

/// `mtv-matrix run --lab`, with nothing of the caller's environment in it.
fn run(arguments: &[&str]) -> Ran {
    let results = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mtv-matrix"))
        .args(["run", "--lab", "--log-format", "json", "--results"])
        .arg(results.path())
        .args(arguments)
        .current_dir(results.path())
        .env_clear()
        .env("MTV_SOURCE_PROVIDER", "vsphere")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let read = |file: &str| std::fs::read_to_string(latest(results.path()).join(file)).unwrap_or_default();
    let events = read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = serde_json::from_str(&read("run.json")).unwrap_or_default();
    Ran { status: output.status, events, summary, stderr }
}

fn latest(results: &Path) -> std::path::PathBuf {
    results.join("latest")
}

/// Does `work` for every item, a few at a time; what it complains of, in the items' order.
fn complaints<T: Sync>(items: &[T], work: impl Fn(&T) -> Vec<String> + Sync) -> Vec<String> {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                while let Some((index, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
                {
                    let found = work(item);
                    all.lock().unwrap().insert(index, found);
                }
            });
        }
    });
    all.into_inner().unwrap().into_values().flatten().collect()
}

/// Checks that see the same defect from another side.
fn also(check: &str) -> &'static [&'static str] {
    match check {
        // A VM that is off because its run strategy says so.
        "power" => &["run-strategy"],
        _ => &[],
    }
}

/// What is wrong with a run that should have failed in this one check.
fn not_only(ran: &Ran, check: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if ran.status.code() != Some(1) {
        wrong.push(format!("exit {:?} instead of 1; stderr: {}", ran.status.code(), ran.stderr.trim()));
    }
    let failed = ran.checks("failed");
    let others = failed.iter().filter(|other| **other != check && !also(check).contains(other)).count();
    if !failed.contains(check) || others > 0 {
        let told: Vec<String> = ran.findings("failed").map(Value::to_string).collect();
        wrong.push(format!("failed checks: {failed:?} instead of {check} alone {}", told.join(" ")));
    }
    for finding in ran.findings("failed") {
        for key in ["vm", "expected", "actual"] {
            if finding[key].as_str().is_none_or(str::is_empty) {
                wrong.push(format!("a finding without `{key}`: {finding}"));
            }
        }
    }
    // The defect is the migration's; teardown and every other stage went well.
    for event in &ran.events {
        if event["event"] == "stage-finished" && event["stage"] != "verify" && event["verdict"] != "passed" {
            wrong.push(format!("stage {} was not passed: {}", event["stage"], event["problem"]));
        }
    }
    if ran.end()["leftovers"] != 0 {
        wrong.push(format!("something was left behind: {}", ran.end()));
    }
    if ran.summary["verdict"] != "failed" || ran.summary["exit_code"] != 1 {
        wrong.push(format!("run.json says verdict {}, exit {}", ran.summary["verdict"], ran.summary["exit_code"]));
    }
    wrong
}

#[test]
fn every_check_has_a_defect_and_every_defect_a_check() {
    let written = catalogue::WRITTEN.iter().filter_map(|defect| defect.caught_by.first().copied());
    let proven: BTreeSet<&str> = CATALOGUE.iter().map(|(_, _, check)| *check).chain(written).collect();
    assert_eq!(proven, check::CONTRACT.iter().map(|check| check.name).collect::<BTreeSet<_>>());
}

#[test]
fn each_defect_is_found_by_its_own_check_and_by_no_other() {
    let mut rows: Vec<(&str, &str)> = CATALOGUE.iter().map(|(_, defect, check)| (*defect, *check)).collect();
    // It waits for an agent that does not come: the longest run first.
    rows.sort_by_key(|(defect, _)| *defect != "no-guest-agent");
    let wrong = complaints(&rows, |(defect, check)| {
        let scenario = scenario_for(defect);
        // Neither comes: a longer wait for it would prove nothing more.
        let bounds = ["--set", "timeouts.static_ip=2s", "--set", "timeouts.power=20s"];
        let version = if scenario == OFFLOAD { &TELLS_XCOPY[..] } else { &[] };
        let ran = run(&[&["--defect", defect, "-s", scenario], &bounds[..], version].concat());
        not_only(&ran, check).into_iter().map(|what| format!("{defect:<20} ({scenario}) {what}")).collect()
    });
    assert!(wrong.is_empty(), "{} of the defect table is not as it should be:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn without_a_defect_no_check_fails_and_every_check_passes_somewhere() {
    let ran = run(&["--jobs", "8"]);
    let failed: Vec<String> = ran.findings("failed").map(Value::to_string).collect();
    assert!(failed.is_empty(), "alarms without a defect:\n{}", failed.join("\n"));
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let ended = ran.events.iter().filter(|event| event["event"] == "cell-finished");
    assert_eq!(ended.filter(|event| event["verdict"] == "passed").count(), 8);
    // A check that is never anything but *not judged* would prove nothing.
    // What a step says of itself is no promise of MTV's.
    let all = check::CONTRACT.iter().map(|check| check.name).chain(["shutdown"]).collect::<BTreeSet<_>>();
    // Nobody copies by an array who does not ask for it.
    let offload = run(&[&["-s", OFFLOAD], &TELLS_XCOPY[..]].concat());
    assert_eq!(offload.checks("failed"), BTreeSet::new());
    let shared = run(&["-s", SHARED]);
    assert_eq!(shared.checks("failed"), BTreeSet::new());
    let asked: BTreeSet<&str> = offload.checks("passed").union(&shared.checks("passed")).copied().collect();
    let passed: BTreeSet<&str> = ran.checks("passed").union(&asked).copied().collect();
    assert_eq!(passed, all);
}

/// `playbook_base64` of the user's own, and a built-in one.
const HOOKS: &str = "
scenarios:
  test_both_hooks:
    virtual_machines:
      - name: mtv-tests-rhel8
    warm_migration: false
    pre_hook: {playbook_base64: LSBob3N0czogbG9jYWxob3N0CiAgdGFza3M6IFtdCg==}
    post_hook: {expected_result: succeed}
    essential: [hooks, disk-order]
";

#[test]
fn both_hooks_run_once_in_order_with_their_own_playbooks() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hooks.yaml");
    std::fs::write(&file, HOOKS).unwrap();
    let ran = run(&["--config", file.to_str().unwrap(), "-s", "test_both_hooks"]);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let told: Vec<&Value> = ran.findings("passed").filter(|finding| finding["check"] == "hooks").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["actual"], "2 hooks in its place");
}

#[test]
fn a_check_that_a_scenario_calls_essential_and_that_was_not_judged_leaves_its_cell_errored() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("essential.yaml");
    let with = |check: &str| {
        let text = HOOKS.replace("[hooks, disk-order]", &format!("[{check}]"));
        std::fs::write(&file, text).unwrap();
        run(&["--config", file.to_str().unwrap(), "-s", "test_both_hooks"])
    };
    // The VM is off: nobody logs in.
    let ran = with("ssh-login");
    assert_eq!((ran.status.code(), &ran.summary["verdict"]), (Some(3), &Value::from("errored")), "{}", ran.stderr);
    let ran = with("ssh-logn");
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stderr.contains("did you mean `ssh-login`?"), "{}", ran.stderr);
}

/// Under weather in which no agent comes, a scenario that asks for one is failed for that; the others stay right.
const NO_AGENT: &str = "no-agent";

#[test]
fn the_shipped_scenarios_stay_right_under_each_weather() {
    let switches: Vec<&str> = weather::SWITCHES.iter().map(|switch| switch.name).collect();
    let wrong = complaints(&switches, |name| {
        let own = format!("fair,{name}");
        let mut arguments = vec!["--lab-weather", own.as_str(), "--jobs", "8"];
        if *name == NO_AGENT {
            // It is waited for, and does not come.
            arguments.extend(["--set", "timeouts.guest_agent=2s", "-s", TWO_NICS]);
        }
        let ran = run(&arguments);
        let failed = ran.checks("failed");
        let wanted: BTreeSet<&str> = if *name == NO_AGENT { ["guest-agent"].into() } else { BTreeSet::new() };
        let code = if *name == NO_AGENT { Some(1) } else { Some(0) };
        if failed == wanted && ran.status.code() == code {
            return Vec::new();
        }
        let told: Vec<String> = ran.findings("failed").map(Value::to_string).collect();
        vec![format!("{name}: exit {:?}, {} {}", ran.status.code(), told.join(" "), ran.stderr)]
    });
    assert!(wrong.is_empty(), "{} kinds of weather raise an alarm:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_linux_guest_keeps_its_static_address_and_a_lost_one_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("static.yaml");
    let scenario = "
scenarios:
  test_linux_static_ip:
    virtual_machines:
      - name: mtv-rhel9-static
        source_vm_power: \"on\"
        guest_agent: true
    warm_migration: false
    target_power_state: \"on\"
    preserve_static_ips: true
";
    std::fs::write(&file, scenario).unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "-s", "test_linux_static_ip"];
    let wrong = complaints(&[false, true], |lost| {
        if *lost {
            let lost = ["--defect", "lost-static-ip", "--set", "timeouts.static_ip=2s"];
            return not_only(&run(&[&arguments[..], &lost].concat()), "static-ip");
        }
        let ran = run(&arguments);
        let passed: Vec<&Value> = ran.findings("passed").filter(|finding| finding["check"] == "static-ip").collect();
        let as_it_was = passed.len() == 1 && passed[0]["actual"] == "192.168.100.9/24";
        if as_it_was && ran.status.code() == Some(0) {
            return Vec::new();
        }
        vec![format!("exit {:?}, static-ip: {passed:?}, stderr: {}", ran.status.code(), ran.stderr)]
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
