//! What a Plan's status says of its migration. Pure.

use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{Plan, VmStatus};

/// How a Plan's execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    Succeeded(Vec<VmStatus>),
    Failed(Vec<VmStatus>),
    Canceled(Vec<VmStatus>),
}

pub(super) fn conditions(plan: &Plan) -> &[Condition] {
    plan.status.as_ref().map_or(&[], |status| status.conditions.as_slice())
}

pub(super) fn vms(plan: &Plan) -> &[VmStatus] {
    plan.status.as_ref().and_then(|s| s.migration.as_ref()).map_or(&[], |m| m.vms.as_slice())
}

pub(super) fn ended(plan: &Plan) -> Option<Ended> {
    let conditions = plan.status.as_ref()?.conditions.as_slice();
    if conditions.holds("Executing") {
        return None;
    }
    if conditions.holds("Succeeded") {
        Some(Ended::Succeeded(vms(plan).to_vec()))
    } else if conditions.holds("Failed") {
        Some(Ended::Failed(vms(plan).to_vec()))
    } else if conditions.holds("Canceled") {
        Some(Ended::Canceled(vms(plan).to_vec()))
    } else {
        None
    }
}

/// What MTV says of a VM that failed, one line a reason.
pub fn failure_lines(vm: &VmStatus) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &vm.pipeline {
        let tasks =
            step.tasks.iter().filter_map(|t| t.error.as_ref().map(|e| (format!("{} {}", step.name, t.name), e)));
        let own = step.error.iter().map(|e| (step.name.clone(), e));
        for (place, error) in own.chain(tasks) {
            lines.push(format!("{}: {place}: {}", vm.name, error.reasons.join("; ")));
        }
    }
    if lines.is_empty()
        && let Some(error) = &vm.error
    {
        lines.push(format!("{}: {}: {}", vm.name, error.phase, error.reasons.join("; ")));
    }
    lines
}
