//! What the end of a migration means for the scenario that asked for it.

use serde_json::json;

use super::*;
use crate::config::{LoadRequest, load};
use crate::event::Verdict;

/// The settings by default, and a scenario without hooks.
fn by_default() -> (Settings, Scenario) {
    let loaded = load(&LoadRequest { scenarios_default: true, ..LoadRequest::default() });
    let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
    let mut scenario = loaded.scenarios.into_values().next().unwrap();
    (scenario.pre_hook, scenario.post_hook) = (None, None);
    (loaded.settings, scenario)
}

fn hook(expected_result: Option<ExpectedResult>, playbook: Option<&str>) -> Option<HookPlan> {
    Some(HookPlan { expected_result, playbook_base64: playbook.map(str::to_owned), aap_job_template_id: None })
}

/// A VM that failed at a step.
fn failed_at(vm: &str, step: &str) -> VmStatus {
    let error = json!({"phase": "Running", "reasons": ["it broke"]});
    serde_json::from_value(json!({"id": vm, "name": vm, "pipeline": [{"name": step, "error": error}]})).unwrap()
}

fn message(refused: Result<impl Sized, Failure>) -> String {
    match refused {
        Ok(_) => panic!("it was taken"),
        Err(failure) => {
            assert_eq!(failure.verdict, Verdict::Failed, "MTV's doing: {failure:?}");
            failure.problem.message
        }
    }
}

#[test]
fn a_plan_that_failed_is_told_with_its_step_and_mtvs_reasons() {
    let Err(failure) =
        expect_success(Ended::Failed(vec![failed_at("a", "DiskTransfer"), failed_at("b", "DiskTransfer")]))
    else {
        panic!("it was taken")
    };
    assert_eq!(failure.problem.message, "the migration failed at DiskTransfer");
    assert_eq!(failure.problem.details, ["a: DiskTransfer: it broke", "b: DiskTransfer: it broke"]);
    assert!(message(expect_success(Ended::Canceled(Vec::new()))).contains("cancelled by somebody else"));
    assert!(expect_success(Ended::Succeeded(Vec::new())).is_ok_and(|migrated| migrated.has_targets));
}

#[test]
fn an_expected_failure_must_come_at_the_step_that_was_told_to_fail() {
    let (_, mut scenario) = by_default();
    scenario.pre_hook = hook(Some(ExpectedResult::Succeed), None);
    scenario.post_hook = hook(Some(ExpectedResult::Fail), None);
    let at = |step: &str| expect_failure(&scenario, Ended::Failed(vec![failed_at("a", step), failed_at("b", step)]));
    let (migrated, step) = at("PostHook").unwrap_or_else(|f| panic!("{f:?}"));
    assert!(migrated.has_targets && step == "PostHook", "MTV keeps a VM whose PostHook failed");
    assert_eq!(message(at("PreHook")), "expected the migration to fail at PostHook, but it failed elsewhere");
    let mixed = Ended::Failed(vec![failed_at("a", "PostHook"), failed_at("b", "ImageConversion")]);
    assert!(message(expect_failure(&scenario, mixed)).contains("failed elsewhere"), "all VMs at the same step");
    assert!(message(expect_failure(&scenario, Ended::Succeeded(Vec::new()))).ends_with("but it succeeded"));
}

#[test]
fn where_no_hook_is_told_to_fail_one_with_a_playbook_of_its_own_may_else_any_step() {
    let (_, mut scenario) = by_default();
    let at = |scenario: &Scenario, step: &str| expect_failure(scenario, Ended::Failed(vec![failed_at("a", step)]));
    assert!(at(&scenario, "DiskTransfer").is_ok_and(|(migrated, _)| !migrated.has_targets));
    scenario.pre_hook = hook(None, Some("LSBob3N0czogYWxs"));
    assert!(at(&scenario, "PreHook").is_ok());
    assert!(message(at(&scenario, "DiskTransfer")).contains("at PreHook, but it failed elsewhere"));
}

#[test]
fn a_warm_migration_without_a_precopy_was_a_cold_one() {
    let vm = |precopies: usize| -> VmStatus {
        let precopies = vec![json!({"snapshot": "s"}); precopies];
        serde_json::from_value(json!({"name": format!("vm{}", precopies.len()), "warm": {"precopies": precopies}}))
            .unwrap()
    };
    assert!(require_precopies(&Ended::Succeeded(vec![vm(1), vm(2)])).is_ok());
    assert!(message(require_precopies(&Ended::Succeeded(vec![vm(1), vm(0)]))).contains("precopy of vm0"));
    assert!(require_precopies(&Ended::Failed(vec![vm(0)])).is_ok(), "a failure is told as such");
}

#[test]
fn minutes_of_the_settings_hold_unless_anybody_asked_for_precopies() {
    let (mut settings, mut scenario) = by_default();
    settings.cutover_after_precopies = None;
    let usual = Duration::from_secs(u64::from(settings.mins_before_cutover) * 60);
    let rule = |settings: &Settings, scenario: &Scenario| {
        let rule = cutover_rule(settings, scenario);
        (rule.after_precopies, rule.after)
    };
    assert_eq!(rule(&settings, &scenario), (None, Some(usual)));
    settings.cutover_after_precopies = Some(3);
    assert_eq!(rule(&settings, &scenario), (Some(3), None));
    scenario.cutover.after_precopies = Some(1);
    assert_eq!(rule(&settings, &scenario), (Some(1), None), "the scenario's own word counts more");
    scenario.cutover.minutes = Some(2);
    assert_eq!(rule(&settings, &scenario), (Some(1), Some(Duration::from_secs(120))), "whichever comes first");
}

#[test]
fn a_vm_whose_post_hook_failed_is_there_and_one_that_was_canceled_is_not() {
    let with = |mut vm: VmStatus, end: &str| {
        vm.conditions =
            serde_json::from_value(json!([{"type": end, "status": "True", "category": "Advisory"}])).unwrap();
        vm
    };
    assert!(!leaves_no_vm(&with(failed_at("a", "PostHook"), "Failed")));
    assert!(!leaves_no_vm(&with(VmStatus::default(), "Succeeded")));
    assert!(leaves_no_vm(&with(failed_at("a", "DiskTransfer"), "Failed")));
    assert!(leaves_no_vm(&with(VmStatus::default(), "Canceled")));
}
