//! Stories on the lab: the shipped lifecycle scenarios are green, and each red one says what was expected and seen.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a test has threads, clocks and an output of its own"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::Place;

#[test]
fn every_lifecycle_scenario_passes_and_nothing_of_it_is_left() {
    let place = Place::new();
    let ended = place.run("run --lab -t lifecycle --results results -j 5 --set max_concurrent=5").exits(0);
    ended.says("9 passed").says("hold nothing that this run made");
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    let junit = results.text("junit.xml");
    for case in [
        "step 3: cancel all VMs",
        "step 3: cancel mtv-win2019-79",
        "step 4: the Plan gets the condition VMAlreadyExists",
        "step 3: migrate once more, to the end",
        "step 1: start the migration, with its cutover 1h ago",
    ] {
        assert!(junit.contains(case), "no case `{case}`");
    }
    let spans = results.text("traces.jsonl");
    assert!(spans.contains("step 3: cancel all VMs"), "a step has a span");
    assert!(results.text("report.html").contains("step 3: cancel all VMs"));
}

/// One own scenario with these steps.
fn own(place: &Place, keys: &str, steps: &str) {
    let text =
        format!("mine:\n  tags: [mine]\n  virtual_machines: [{{name: mtv-tests-rhel8}}]\n{keys}  steps: {steps}\n");
    place.write("own/scenarios/mine.yaml", &text);
}

#[test]
fn an_expectation_that_is_not_met_fails_its_step_with_what_mtv_says_and_the_rest_is_not_told() {
    let place = Place::new();
    own(
        &place,
        "  pre_hook: {expected_result: fail}\n",
        "[start, {expect: {ended: failed, at: PostHook}}, {power: 'on'}]",
    );
    let ended = place.run("--config own run --lab --results results -s mine").exits(1);
    let cell = place.results().cell("vsphere/mine");
    let problem = cell["problem"]["message"].as_str().unwrap();
    assert!(
        problem.contains("mtv-tests-rhel8") && problem.ends_with("to fail at PostHook, but it failed at PreHook"),
        "{problem}"
    );
    ended.says("step 2 failed").says("hold nothing that this run made");
    let junit = place.results().text("junit.xml");
    assert!(junit.contains("step 2: expect: the migration ends failed at PostHook"), "{junit}");
    assert!(!junit.contains("step 3"), "the first step that fails ends the story");
}

#[test]
fn a_wait_that_mtv_does_not_meet_says_for_what_and_since_when() {
    let place = Place::new();
    own(&place, "", "[start, {wait: {for: {phase: Dreaming}, timeout: 2s}}, cancel]");
    let ended = place.run("--config own run --lab --lab-clock-scale 100 --results results -s mine").exits(1);
    ended.says("step 2, wait until every VM is in phase Dreaming, did not end within 2s");
    let details = place.results().cell("vsphere/mine")["problem"]["details"].to_string();
    assert!(details.contains("it was waiting for every VM is in phase Dreaming; last seen: "), "{details}");
    assert!(details.contains(", since 20"), "{details}");
}

#[test]
fn a_migrated_vm_whose_guest_does_not_come_is_found_by_its_boot() {
    let place = Place::new();
    let args = "run --lab --defect no-guest-agent --results results -s test_sanity_cold_mtv_migration --set timeouts.guest_agent=2s";
    let ended = place.run(args).exits(1);
    ended.says("guest-agent");
    let cell = place.results().cell("vsphere/test_sanity_cold_mtv_migration");
    assert!(cell["problem"]["message"].as_str().unwrap().contains("guest-agent of booted"), "{cell:#}");
    // Who does not boot does not see it: the VM ends powered off.
    place.run(&format!("{args} --set boot=false")).exits(0);
}

#[test]
fn a_story_is_told_in_words_without_a_cluster_and_a_wrong_one_is_refused_by_line() {
    let place = Place::new();
    let ended = place.run("list --explain lifecycle_cancel_in_precopy").exits(0);
    ended
        .says("-   the Plan becomes Ready (at most 6m, `timeouts.plan`)")
        .says("2.  wait until every VM has made 1 precopy (at most 1h, `timeouts.migrate`)")
        .says("remove everything that was made, however it ended");
    own(&place, "", "[start, {wiat: end}]");
    let ended = place.run("--config own list --explain mine").exits(2);
    ended.says("own/scenarios/mine.yaml:4: scenario `mine`: step 2: there is no step `wiat`; did you mean `wait`?");
}
