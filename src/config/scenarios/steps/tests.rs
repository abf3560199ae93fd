//! Steps as they are written, refused and put in order.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::story::chapters;
use super::*;
use crate::config::node::{Node, parse_yaml};
use crate::config::scenarios::Scenario;
use crate::config::{LoadRequest, load};

fn steps(yaml: &str) -> Vec<Step> {
    let mut node = parse_yaml(&format!("steps: {yaml}")).unwrap_or_else(|_| panic!("{yaml}"));
    normalise(&mut node);
    serde_json::from_value(node.to_json()["steps"].clone()).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

fn scenario(warm: bool, yaml: &str) -> Scenario {
    let vms = json!([{"name": "a"}, {"name": "b"}]);
    let mut scenario: Scenario =
        serde_json::from_value(json!({"virtual_machines": vms, "warm_migration": warm})).unwrap();
    scenario.steps = Some(steps(yaml));
    scenario
}

#[test]
fn a_step_is_a_name_a_name_with_its_main_argument_or_a_name_with_arguments() {
    let long = steps(
        "[{start: {}}, {wait: {for: end}}, {delete: {what: plan}}, {power: {state: 'on'}}, {expect: {ended: failed}}]",
    );
    assert_eq!(steps("[start, wait, {delete: plan}, {power: 'on'}, {expect: failed}]"), long);
    assert_eq!(steps("[{wait: null}]"), steps("[wait]"));
    let written = steps("[{wait: {for: {precopies: 2}, vm: a, timeout: 90s}}]");
    let Some(Step::Wait(wait)) = written.first() else { panic!("{written:?}") };
    assert_eq!((&wait.goal, wait.timeout), (&Goal::Precopies(2), Some(Duration::from_secs(90))));
}

#[test]
fn an_unknown_step_or_argument_is_refused_with_line_and_nearest_name_where_it_is_selected() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scenarios/mine.yaml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let text =
        "mine:\n  virtual_machines: [{name: a}]\n  steps:\n    - migrat\n    - wait:\n        fro: end\n    - xyzzy\n";
    std::fs::write(&file, text).unwrap();
    let secrets = dir.path().join("none");
    std::fs::create_dir_all(&secrets).unwrap();
    let loaded = load(&LoadRequest { config: vec![file], secrets_dir: Some(secrets), ..LoadRequest::default() });
    let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
    let refused = loaded.scenarios["mine"].refused.join("\n").replace(&format!("{}/", dir.path().display()), "");
    for line in [
        "scenarios/mine.yaml:4: scenario `mine`: step 1: there is no step `migrat`; did you mean `migrate`?",
        "scenarios/mine.yaml:6: scenario `mine`: step 2: `fro` is no argument of `wait`; did you mean `for`?",
        "scenarios/mine.yaml:7: scenario `mine`: step 3: there is no step `xyzzy`; known are create, validate, migrate",
    ] {
        assert!(refused.lines().any(|told| told.starts_with(line)), "missing: {line}\nin:\n{refused}");
    }
}

#[test]
fn a_story_that_cannot_be_told_is_refused_with_what_would_be_right() {
    for (warm, yaml, said) in [
        (false, "[]", "`steps` is empty"),
        (false, "[verify]", "nothing was migrated"),
        (false, "[wait]", "no migration runs here"),
        (false, "[start, wait]", "add `expect` or `verify`"),
        (false, "[start, verify]", "the migration may still run"),
        (false, "[migrate, migrate]", "write `retry`"),
        (false, "[{delete: plan}, validate]", "make it again with `create`"),
        (false, "[start, {wait: {for: {precopies: 1}}}, cancel]", "set `warm_migration: true`"),
        (false, "[start, {cancel: {vms: [c]}}, {expect: succeeded}]", "the scenario has no VM `c`"),
        (false, "[start, {expect: {}}, cancel]", "it expects nothing"),
        (false, "[start, {expect: {ended: succeeded, at: PreHook}}]", "write `ended: failed`"),
        (false, "[retry]", "it starts a migration again"),
        (false, "[migrate, {read-marker: {output: x}}]", "`output` is that of `command`"),
        (false, "[migrate, {read-marker: {windows: ver}}]", "`windows` stands for `command`"),
        (false, "[write-marker, {run: hostname}]", "nothing was migrated"),
        (false, "[{verify: {plan: x}}]", "the scenario has no Plan `x`: it has no `plans`"),
        (false, "[{kill: importer}, migrate]", "no migration runs here"),
        (false, "[start, {kill: {what: controller, vm: a}}, cancel]", "the controller is nobody's own"),
        (false, "[{fault: {what: quota, lasts: 1m, over: true}}, migrate]", "what is over does not last"),
        (false, "[resume]", "it starts a migration again"),
        (false, "[migrate, {expect: {overlap: [x]}}]", "`overlap` names two Plans"),
        (false, "[{patch: {what: controller, operations: [{op: add, path: spec}]}}, migrate]", "is no JSON pointer"),
    ] {
        let complaints = order::complaints(&scenario(warm, yaml));
        assert!(complaints.iter().any(|(_, text)| text.contains(said)), "{yaml}: {complaints:?}");
    }
    for (warm, yaml) in [
        (false, "[migrate, verify, boot, archive, absent]"),
        (false, "[{validate: VMAlreadyExists}]"),
        (false, "[start, {wait: {for: {percent: 30}}}, cancel, {expect: canceled}, {power: 'on'}]"),
        (false, "[start, {cancel: {vms: [b]}}, {expect: succeeded}, {expect: {vm: '2', ended: canceled}}, verify]"),
        (false, "[start, {expect: failed}, retry, {expect: failed}]"),
        (false, "[migrate, {delete: plan}, create, {validate: VMAlreadyExists}]"),
        (
            false,
            "[{fault: conversion}, start, {kill: virt-v2v}, {expect: failed}, resume, {expect: {pvcs: kept}}, verify]",
        ),
        (true, "[{start: {cutover: {ago: 1h}}}, wait, verify]"),
        (true, "[start, {cutover: {after_precopies: 2}}, wait, verify]"),
        (false, "[write-marker, snapshot, {power: 'on'}, migrate, verify, {read-marker: hostname}, shutdown]"),
        (false, "[start, {wait: {for: {percent: 30}}}, {delete: migration}, {expect: {vm: a, condition: Canceled}}]"),
    ] {
        assert_eq!(order::complaints(&scenario(warm, yaml)), [], "{yaml}");
    }
}

#[test]
fn each_plan_of_several_has_a_story_of_its_own() {
    let plans = json!([{"name": "one", "virtual_machines": ["a"], "warm_migration": true},
        {"name": "two", "virtual_machines": ["b"]}]);
    let said = |yaml: &str| {
        let mut scenario = scenario(false, yaml);
        scenario.plans = serde_json::from_value(plans.clone()).unwrap();
        order::complaints(&scenario).into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    };
    assert_eq!(
        said("[{start: {plan: one, cutover: now}}, {start: {plan: two}}, {expect: succeeded}, verify]"),
        [""; 0]
    );
    let half = said("[start, {expect: {plan: one, ended: succeeded}}, {verify: {plan: one}}]");
    assert!(half.iter().any(|text| text.contains("says how the migration of Plan two must end")), "{half:?}");
    let cold = said("[start, {cutover: {plan: two}}, {expect: succeeded}]");
    assert!(cold.iter().any(|text| text.contains("only a warm migration")), "{cold:?}");
    let near = said("[migrate, {verify: {plan: tow}}]");
    assert!(near.iter().any(|text| text.contains("no Plan `tow`; did you mean `two`?")), "{near:?}");
}

fn told(yaml: Option<&str>, boot: bool) -> Vec<String> {
    let mut scenario = scenario(true, yaml.unwrap_or("[]"));
    scenario.steps = yaml.map(steps);
    let line = |chapter: &story::Chapter| {
        let steps: Vec<String> = chapter
            .steps
            .iter()
            .map(|told| format!("{}{}", told.number.map(|n| format!("{n}.")).unwrap_or_default(), told.step.name()))
            .collect();
        format!("{}{}: {}", chapter.stage, if chapter.tells_itself() { "" } else { "*" }, steps.join(" "))
    };
    chapters(&scenario, boot).iter().map(line).collect()
}

#[test]
fn what_goes_without_saying_is_put_in_and_stages_only_go_forward() {
    let usual = ["plan: create validate", "migrate: 1.migrate", "verify: 2.verify"];
    assert_eq!(told(None, true), usual);
    assert_eq!(told(Some("[migrate, verify, boot]"), false), usual, "a boot that is switched off is left out");
    assert_eq!(
        told(Some("[migrate, verify, boot, archive]"), true),
        ["plan: create validate", "migrate: 1.migrate", "verify*: 2.verify 3.boot 4.archive"]
    );
    assert_eq!(
        told(Some("[{validate: X}, start, cutover, {expect: succeeded}]"), true),
        ["plan*: create 1.validate", "migrate*: 2.start 3.cutover 4.expect"]
    );
    assert_eq!(
        told(Some("[write-marker, migrate, verify]"), true),
        ["plan*: 1.write-marker create validate", "migrate: 2.migrate", "verify: 3.verify"],
        "what is done to the sources first is no Plan's matter"
    );
    assert_eq!(
        told(Some("[migrate, {delete: plan}, create, {validate: X}]"), true),
        ["plan: create validate", "migrate*: 1.migrate 2.delete 3.create 4.validate"]
    );
}

#[test]
fn every_step_of_the_schema_has_its_name_its_words_and_a_deadline() {
    let loaded = load(&LoadRequest { scenarios_default: true, ..LoadRequest::default() });
    let timeouts = loaded.unwrap_or_else(|e| panic!("{e}")).settings.timeouts;
    for name in read::names() {
        let arguments = match name.as_str() {
            "delete" => json!({"what": "plan"}),
            "power" => json!({"state": "on"}),
            "expect" => json!({"ended": "failed"}),
            "run" => json!({"command": "hostname"}),
            "patch" => json!({"what": "plan", "operations": []}),
            "kill" => json!({"what": "importer"}),
            "fault" => json!({"what": "quota"}),
            _ => json!({}),
        };
        let step: Step = serde_json::from_value(json!({&name: arguments})).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(step.name(), name);
        assert!(!step.to_string().is_empty() && step.deadline(&timeouts).0 > Duration::ZERO, "{name}");
    }
}

fn limit() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((1u64..100_000).prop_map(Duration::from_secs))
}

fn goal() -> impl Strategy<Value = Goal> {
    prop_oneof![
        Just(Goal::End),
        "[A-Z][a-z]{1,9}".prop_map(Goal::Step),
        (0u8..=100).prop_map(Goal::Percent),
        (1u32..1000).prop_map(Goal::Precopies),
        "[A-Z][a-z]{1,9}".prop_map(Goal::Condition),
    ]
}

fn moment() -> impl Strategy<Value = Moment> {
    let span = || (1u64..1_000_000).prop_map(Duration::from_secs);
    prop_oneof![Just(Moment::Now), span().prop_map(Moment::In), span().prop_map(Moment::Ago)]
}

fn vm() -> impl Strategy<Value = VmName> {
    "[a-z0-9-]{1,12}".prop_map(VmName)
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        limit().prop_map(|timeout| Step::Migrate(Plain { timeout, ..Plain::default() })),
        (prop::option::of(moment()), limit()).prop_map(|(cutover, timeout)| Step::Start(Start {
            cutover,
            timeout,
            ..Start::default()
        })),
        (goal(), prop::option::of(vm()), limit()).prop_map(|(goal, vm, timeout)| Step::Wait(Wait {
            goal,
            vm,
            timeout,
            ..Wait::default()
        })),
        (prop::option::of(1u32..1000), moment(), limit()).prop_map(|(after_precopies, at, timeout)| Step::Cutover(
            Cutover { after_precopies, at, timeout, ..Cutover::default() }
        )),
        (prop::collection::vec(vm(), 0..3), limit()).prop_map(|(vms, timeout)| Step::Cancel(Cancel {
            vms,
            timeout,
            ..Cancel::default()
        })),
        (prop::option::of(vm()), limit(), "[a-z.*]{1,8}").prop_filter_map(
            "a regular expression",
            |(vm, timeout, error)| {
                let error = Some(Pattern::try_from(error).ok()?);
                Some(Step::Expect(Expect { ended: Some(End::Failed), error, vm, timeout, ..Expect::default() }))
            }
        ),
        limit().prop_map(|timeout| Step::Delete(Delete { what: Deletable::Migration, plan: None, timeout })),
        limit().prop_map(|timeout| Step::Absent(Absent {
            kinds: vec![Kind::Pods, Kind::DataVolumes],
            timeout,
            ..Absent::default()
        })),
    ]
}

proptest! {
    #[test]
    fn a_story_that_is_written_down_is_read_back_as_it_was(story in prop::collection::vec(any_step(), 1..6)) {
        let mut node = Node::from_json(json!({"steps": serde_json::to_value(&story).unwrap()}));
        normalise(&mut node);
        let read: Vec<Step> = serde_json::from_value(node.to_json()["steps"].clone()).unwrap();
        prop_assert_eq!(read, story);
    }

    #[test]
    fn no_text_as_a_step_is_taken_for_another_or_ends_the_program(name in "\\PC{0,12}") {
        let known = read::names().contains(&name);
        let mut node = Node::from_json(json!({"steps": [name.clone()]}));
        normalise(&mut node);
        let step = serde_json::from_value::<Vec<Step>>(node.to_json()["steps"].clone());
        let needs_more = ["delete", "power", "patch", "run", "kill", "fault"].contains(&name.as_str());
        prop_assert_eq!(step.is_ok(), known && !needs_more);
        let told = unknown(&["steps".into(), "0".into(), name.clone()]).unwrap();
        prop_assert!(told.contains(&name));
    }
}

#[test]
fn the_schema_of_a_file_takes_every_form_and_no_step_that_nobody_knows() {
    let schema = crate::config::known::scenarios_file();
    let with = |step: Value| json!({"s": {"virtual_machines": [{"name": "a"}], "steps": [step]}});
    let errors = |step: Value| crate::config::tests::valid::errors(&schema, &with(step));
    for good in
        [json!("migrate"), json!({"verify": null}), json!({"delete": "plan"}), json!({"wait": {"for": {"percent": 3}}})]
    {
        assert_eq!(errors(good.clone()), Vec::<String>::new(), "{good}");
    }
    for bad in [json!("dance"), json!({"dance": {}}), json!({"wait": {"until": "end"}})] {
        assert!(!errors(bad.clone()).is_empty(), "{bad}");
    }
}
