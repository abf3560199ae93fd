//! SIGTERM at any moment, and who may touch a ledger meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::common::{LabServer, Place, Results, Running};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

const COLD: &str = "test_sanity_cold_mtv_migration";
const WARM: &str = "test_sanity_warm_mtv_migration";
const HOOK: &str = "test_post_hook_retain_failed_vm";
/// Another seed is another sample; this one is kept so that a failure can be looked at again.
const SEED: u64 = 20_261_121;
const TIMES: usize = 20;
/// Processes at once.
const AT_ONCE: usize = 5;
/// Milliseconds; a little longer than the run takes when nobody stops it.
const LONGEST: u64 = 3500;

/// One run of the sample: when it gets the signal, and when once more.
struct Shot {
    number: usize,
    after: Duration,
    again: Option<Duration>,
    command: Command,
    results: PathBuf,
    message: PathBuf,
}

/// Starts the run, ends it after a while, and looks at what it leaves.
fn terminated(shot: Shot) {
    let Shot { number, after, again, mut command, results, message } = shot;
    let mut run = Running::start(&mut command);
    // Before this line there is nothing to report on.
    let first = run.until("run mm-");
    let id = first.split_whitespace().find_map(|word| word.strip_suffix(':').filter(|w| w.starts_with("mm-"))).unwrap();
    let results = Results { dir: results.join(id) };
    std::thread::sleep(after);
    run.signal_if_alive("TERM");
    if let Some(again) = again {
        std::thread::sleep(again);
        run.signal_if_alive("TERM");
    }
    let ended = run.end();
    let code = ended.code.unwrap_or_else(|| panic!("run {number} was killed by the signal"));
    assert!(matches!(code, 0 | 130), "run {number}: {code}\n{}\n{}", ended.out, ended.err);
    let run = results.run();
    assert_eq!((&run["exit_code"], &run["counts"]["total"]), (&json!(code), &json!(3)), "run {number}");
    assert!(code == 0 || run["interrupted_by"] == "SIGTERM", "{run:#}");
    let xml = results.text("junit.xml");
    let document = roxmltree::Document::parse(&xml).unwrap();
    assert!(document.root_element().children().filter(|n| n.has_tag_name("testsuite")).count() >= 3);
    let events = results.lines("events.jsonl");
    assert_eq!(events.last().unwrap()["event"], "run-finished", "run {number}");
    assert!(events.iter().zip(1..).all(|(event, seq)| event["seq"] == seq));
    assert!(results.lines("traces.jsonl").iter().all(|line| line["resourceSpans"].is_array()));
    assert!(results.text("report.html").ends_with("</html>\n"));
    let told = fs::read_to_string(&message).unwrap();
    assert!(told.len() <= 4096 && told.starts_with(run["verdict"].as_str().unwrap()), "{told}");
    assert!(!results.dir.join("ledger.lock").exists(), "run {number} still holds its ledger");
}

#[test]
fn sigterm_at_any_moment_leaves_whole_reports_and_nothing_that_clean_does_not_remove() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let mut random = StdRng::seed_from_u64(SEED);
    let mut millis = |most: u64| Duration::from_millis(random.random_range(0..most));
    // Every fourth run is told twice: what it can't tear down then is for `clean`.
    let mut plan: Vec<Shot> = (0..TIMES)
        .map(|number| {
            let message = place.write(&format!("messages/{number}"), "");
            let args = format!(
                "run --results results -p vsphere -s {COLD} -s {WARM} -s {HOOK} --set timeouts.grace=4s --termination-message {}",
                message.display()
            );
            let again = (number % 4 == 3).then(|| millis(400));
            let (command, results) = (lab.command(&place, &args), place.path("results"));
            Shot { number, after: millis(LONGEST), again, command, results, message }
        })
        .collect();
    while !plan.is_empty() {
        std::thread::scope(|scope| {
            for shot in plan.drain(..AT_ONCE.min(plan.len())) {
                scope.spawn(move || terminated(shot));
            }
        });
    }
    Running::start(&mut lab.command(&place, "clean --results results --set timeouts.request=5s"))
        .end()
        .exits(0)
        .says(", 0 left");
    lab.ends_clean();
}

#[test]
fn clean_keeps_off_the_ledger_of_a_run_that_is_going() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 240");
    let mut run = Running::start(&mut lab.command(&place, &format!("run --results results -p vsphere -s {COLD}")));
    run.until("migrate …");
    let results = place.results();
    let (id, dir) = (results.run_id(), place.path("results"));
    let clean = |args: String| Running::start(&mut lab.command(&place, &args)).end();
    clean(format!("clean --results {}", dir.join(&id).display())).exits(2).says("in use by a run on ");
    clean("clean --results results".to_owned()).exits(0).says("not touched: ").says("0 removed, 0 left");
    clean(format!("clean --run-id {id}")).exits(2).says("in use by a run on ");
    clean("clean --older-than 0s".to_owned()).exits(0).says("not touched: ").says("0 removed, 0 left");
    run.end().exits(0).says("1 passed");
    clean("clean --results results".to_owned()).exits(0).says("0 removed, 0 left");
}

#[test]
fn a_grace_period_that_ends_stops_the_teardown_and_says_what_is_left_for_clean() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 30");
    let args = format!("run --results results -p vsphere -s {WARM} --set timeouts.grace=1ms");
    let mut run = Running::start(&mut lab.command(&place, &args));
    run.until("migrate …");
    run.signal("TERM");
    let ended = run.end().exits(130).says("the grace period of 1ms is over").says("or its grace period was over");
    assert!(ended.out.contains("left behind"), "{}", ended.out);
    place.results().are_whole_and_tell_no_secret();
    Running::start(&mut lab.command(&place, "clean --results results --set timeouts.request=5s"))
        .end()
        .exits(0)
        .says(", 0 left");
}
