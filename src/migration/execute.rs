//! What the end of a migration means for the scenario that asked for it, and when a warm one is cut over. Pure.

use std::time::Duration;

use super::Failure;
use crate::api::condition::Conditions;
use crate::api::forklift::VmStatus;
use crate::config::scenarios::Cutover;
use crate::config::steps::End;
use crate::config::{ExpectedResult, HookPlan, Scenario, Settings};
use crate::event::Problem;
use crate::forklift::execution::{self, CutoverRule, Ended};

/// What MTV left for `verify`.
pub(super) struct Migrated {
    pub vms: Vec<VmStatus>,
    /// Whether target VMs exist that can be judged.
    pub has_targets: bool,
}

/// What the end of a migration means for a scenario that migrates once, by its `expected_migration_result`.
pub(super) fn judge(scenario: &Scenario, end: Ended) -> Result<(Migrated, Option<String>), Failure> {
    if scenario.warm_migration {
        require_precopies(&end)?;
    }
    match scenario.expected_migration_result {
        ExpectedResult::Succeed => expect_success(end).map(|migrated| (migrated, None)),
        ExpectedResult::Fail => expect_failure(scenario, end).map(|(migrated, step)| (migrated, Some(step))),
    }
}

pub(super) fn cutover_rule(settings: &Settings, scenario: &Scenario) -> CutoverRule {
    let Cutover { after_precopies, minutes } = scenario.cutover.with(settings);
    CutoverRule { after_precopies, after: minutes.map(|m| Duration::from_secs(u64::from(m) * 60)) }
}

/// A warm migration that never copied ahead of its cutover was a cold one.
fn require_precopies(end: &Ended) -> Result<(), Failure> {
    let Ended::Succeeded(vms) = end else { return Ok(()) };
    let without: Vec<&str> = vms
        .iter()
        .filter(|vm| vm.warm.as_ref().is_none_or(|w| w.precopies.is_empty()))
        .map(|vm| vm.name.as_str())
        .collect();
    if without.is_empty() {
        return Ok(());
    }
    let message = format!("the warm migration ended without a single precopy of {}", without.join(", "));
    Err(Failure::product(Problem::new(message)))
}

pub(super) fn expect_success(end: Ended) -> Result<Migrated, Failure> {
    let (vms, word) = match end {
        Ended::Succeeded(vms) => return Ok(Migrated { vms, has_targets: true }),
        Ended::Failed(vms) => (vms, "failed"),
        Ended::Canceled(vms) => (vms, "was cancelled by somebody else"),
    };
    let mut problem = Problem::new(format!("the migration {word}{}", at_steps(&vms)));
    problem.details = vms.iter().flat_map(execution::failure_lines).collect();
    Err(Failure::product(problem))
}

pub(super) fn at_steps(vms: &[VmStatus]) -> String {
    let mut steps: Vec<String> = vms.iter().filter_map(execution::failed_step).collect();
    steps.dedup();
    if steps.is_empty() { String::new() } else { format!(" at {}", steps.join(", ")) }
}

/// The steps at which the scenario wants the migration to fail: the first hook that is told to;
/// where none is told, those with a playbook of the user's own. Empty: any step will do.
fn expected_steps(scenario: &Scenario) -> Vec<&'static str> {
    let steps = |wanted: fn(&HookPlan) -> bool| -> Vec<&'static str> {
        let hooks = [("PreHook", &scenario.pre_hook), ("PostHook", &scenario.post_hook)];
        hooks.into_iter().filter(|(_, hook)| hook.as_ref().is_some_and(wanted)).map(|(step, _)| step).collect()
    };
    let mut told = steps(|hook| hook.expected_result == Some(ExpectedResult::Fail));
    told.truncate(1);
    if told.is_empty() {
        steps(|hook| hook.playbook_base64.is_some() || hook.aap_job_template_id.is_some())
    } else {
        told
    }
}

/// Every VM must have failed, and all at the step that the scenario names; at which they did.
fn expect_failure(scenario: &Scenario, end: Ended) -> Result<(Migrated, String), Failure> {
    let expected = expected_steps(scenario);
    let wanted = if expected.is_empty() { "at some step".to_owned() } else { format!("at {}", expected.join(" or ")) };
    let vms = match end {
        Ended::Failed(vms) => vms,
        Ended::Succeeded(_) => {
            let message = format!("expected the migration to fail {wanted}, but it succeeded");
            return Err(Failure::product(Problem::new(message)));
        }
        Ended::Canceled(_) => {
            let message = format!("expected the migration to fail {wanted}, but it was cancelled");
            return Err(Failure::product(Problem::new(message)));
        }
    };
    let steps: Vec<(String, Option<String>)> =
        vms.iter().map(|vm| (vm.name.clone(), execution::failed_step(vm))).collect();
    let first = steps.first().and_then(|(_, step)| step.clone());
    let agree = first.is_some() && steps.iter().all(|(_, step)| *step == first);
    let right = agree && (expected.is_empty() || expected.iter().any(|&step| first.as_deref() == Some(step)));
    if !right {
        let mut problem = Problem::new(format!("expected the migration to fail {wanted}, but it failed elsewhere"));
        problem.details = steps
            .iter()
            .map(|(vm, step)| format!("{vm} failed at {}", step.as_deref().unwrap_or("a step that MTV does not name")))
            .chain(vms.iter().flat_map(execution::failure_lines))
            .collect();
        return Err(Failure::product(problem));
    }
    let step = first.unwrap_or_default();
    // A PostHook fails after the VM was created, and MTV keeps the VM (forklift.md §4.11).
    Ok((Migrated { vms, has_targets: step == "PostHook" }, step))
}

/// How the migration of one VM ended; `None`: it has not.
pub(super) fn own_end(vm: &VmStatus) -> Option<End> {
    let ends = [("Canceled", End::Canceled), ("Failed", End::Failed), ("Succeeded", End::Succeeded)];
    ends.into_iter().find(|(type_, _)| vm.conditions.holds(type_)).map(|(_, end)| end)
}

/// Whether MTV makes no VM of it, or takes it away again. One whose PostHook failed stays.
pub(super) fn leaves_no_vm(vm: &VmStatus) -> bool {
    match own_end(vm) {
        Some(End::Canceled) => true,
        Some(End::Failed) => execution::failed_step(vm).as_deref() != Some("PostHook"),
        Some(End::Succeeded) | None => false,
    }
}

#[cfg(test)]
#[path = "execute_tests.rs"]
mod tests;
