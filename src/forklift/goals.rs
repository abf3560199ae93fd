//! Whether a running migration has come so far: to a step, a percentage, precopies, a phase, a condition. Pure.
//!
//! Reads the Plan's status alone, as the end of a migration is read. What an ended migration has not reached it never
//! will: that is told at once.

use super::ready::Look;
use super::status::{conditions, ended, failure_lines, vms};
use crate::api::condition::Conditions;
use crate::api::forklift::{Plan, Step, VmStatus};
use crate::config::steps::Goal;
use crate::event::Problem;

/// How near something is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Near {
    Reached,
    /// What is seen instead.
    NotYet(String),
    /// It can't come any more, because …
    Never(String),
}

pub(super) fn look(plan: &Plan, goal: &Goal, ids: &[String], what: &str) -> Look<()> {
    let over = ended(plan).is_some();
    let near: Vec<Near> = match goal {
        Goal::Condition(type_) if ids.is_empty() => {
            let conditions = conditions(plan);
            return if conditions.holds(type_) { Look::Done(()) } else { Look::NotYet(conditions.summary()) };
        }
        Goal::End if ids.is_empty() && over => return Look::Done(()),
        _ => vms(plan)
            .iter()
            .filter(|vm| ids.is_empty() || ids.contains(&vm.id))
            .map(|vm| of_vm(vm, goal, over))
            .collect(),
    };
    // MTV lists the VMs when it begins to execute.
    let missing = near.is_empty() || near.len() < ids.len();
    let (mut seen, mut never) = (Vec::new(), Vec::new());
    for one in near {
        match one {
            Near::Reached => {}
            Near::NotYet(text) => seen.push(text),
            Near::Never(text) => never.push(text),
        }
    }
    if !never.is_empty() {
        let mut problem = Problem::new(format!("gave up waiting for {what}: {}", never.join("; ")));
        problem.details = vms(plan).iter().flat_map(failure_lines).collect();
        return Look::Failed(problem);
    }
    if seen.is_empty() && !missing && (*goal != Goal::End || !ids.is_empty()) {
        return Look::Done(());
    }
    if missing {
        return Look::NotYet(conditions(plan).summary());
    }
    Look::NotYet(seen.join("; "))
}

fn of_vm(vm: &VmStatus, goal: &Goal, over: bool) -> Near {
    let reached = match goal {
        Goal::End => over || vm.completed.is_some(),
        Goal::Step(name) => match step(vm, name) {
            Some(step) => has_begun(step),
            None if vm.pipeline.is_empty() => false,
            None => {
                let steps: Vec<&str> = vm.pipeline.iter().map(|step| step.name.as_str()).collect();
                return Near::Never(format!("{} has no step {name}; its steps are {}", vm.name, steps.join(", ")));
            }
        },
        Goal::Percent(wanted) => step(vm, TRANSFER).is_some_and(|step| percent(step) >= f64::from(*wanted)),
        Goal::Precopies(wanted) => vm.warm.as_ref().is_some_and(|warm| warm.successes >= i64::from(*wanted)),
        Goal::Phase(phase) => vm.phase == *phase,
        Goal::Condition(type_) => vm.conditions.holds(type_),
    };
    if reached {
        return Near::Reached;
    }
    let seen = seen(vm, goal);
    if over || vm.completed.is_some() {
        Near::Never(format!("its migration has ended, with {seen}"))
    } else {
        Near::NotYet(seen)
    }
}

/// What copies disks, as MTV calls it where it does so itself; what virt-v2v copies begins with it.
const TRANSFER: &str = "DiskTransfer";

/// The pipeline's step of this name, else the one whose name begins with it.
fn step<'a>(vm: &'a VmStatus, name: &str) -> Option<&'a Step> {
    let exact = vm.pipeline.iter().find(|step| step.name == name);
    exact.or_else(|| vm.pipeline.iter().find(|step| step.name.starts_with(name)))
}

fn has_begun(step: &Step) -> bool {
    step.started.is_some() || matches!(step.phase.as_str(), "Running" | "Completed")
}

fn percent(step: &Step) -> f64 {
    match step.progress.total {
        0 => 0.0,
        total => step.progress.completed as f64 * 100.0 / total as f64,
    }
}

fn seen(vm: &VmStatus, goal: &Goal) -> String {
    let of = match goal {
        Goal::Percent(_) => step(vm, TRANSFER).map(|step| format!(", {} at {:.0} %", step.name, percent(step))),
        Goal::Precopies(_) => vm.warm.as_ref().map(|warm| format!(", {} precopies", warm.successes)),
        Goal::Condition(_) => Some(format!(", conditions: {}", vm.conditions.summary())),
        Goal::Step(_) | Goal::Phase(_) | Goal::End => None,
    };
    format!("{} in phase {}{}", vm.name, vm.phase, of.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(condition: &str, vms: serde_json::Value) -> Plan {
        let conditions = json!([{"type": condition, "status": "True", "category": "Advisory"}]);
        let status = json!({"conditions": conditions, "migration": {"vms": vms}});
        let spec = json!({"targetNamespace": "t", "vms": []});
        serde_json::from_value(json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Plan",
            "metadata": {"name": "p"}, "spec": spec, "status": status}))
        .unwrap()
    }

    fn copying(id: &str, completed: i64) -> serde_json::Value {
        json!({"id": id, "name": id, "phase": "CopyDisks", "pipeline": [
            {"name": "Initialize", "phase": "Completed", "progress": {"completed": 0, "total": 1}},
            {"name": "DiskTransferV2v", "phase": "Running", "progress": {"completed": completed, "total": 200}},
            {"name": "VirtualMachineCreation", "phase": "Pending", "progress": {"completed": 0, "total": 1}},
        ]})
    }

    fn said(plan: &Plan, goal: &Goal, ids: &[String]) -> String {
        match look(plan, goal, ids, "it") {
            Look::Done(()) => "reached".to_owned(),
            Look::NotYet(seen) => seen,
            Look::Held(problem) => format!("held: {}", problem.message),
            Look::Failed(problem) => problem.message,
        }
    }

    #[test]
    fn every_vm_or_the_one_that_is_named_must_have_come_so_far() {
        let running = plan("Executing", json!([copying("a", 100), copying("b", 20)]));
        let (half, b) = (Goal::Percent(50), ["b".to_owned()]);
        assert_eq!(said(&running, &half, &["a".to_owned()]), "reached");
        assert_eq!(said(&running, &half, &[]), "b in phase CopyDisks, DiskTransferV2v at 10 %");
        assert_eq!(said(&running, &Goal::Percent(10), &b), "reached");
        assert_eq!(said(&running, &Goal::Step("DiskTransfer".into()), &[]), "reached", "virt-v2v's is one, too");
        assert_eq!(said(&running, &Goal::Step("VirtualMachineCreation".into()), &b), "b in phase CopyDisks");
        assert_eq!(said(&running, &Goal::Condition("Executing".into()), &[]), "reached");
        assert_eq!(said(&running, &Goal::End, &[]), "a in phase CopyDisks; b in phase CopyDisks");
    }

    #[test]
    fn a_step_that_no_vm_has_and_an_end_before_it_are_told_at_once() {
        let running = plan("Executing", json!([copying("a", 0)]));
        let none = said(&running, &Goal::Step("PreHook".into()), &[]);
        assert!(none.contains("a has no step PreHook; its steps are Initialize, DiskTransferV2v"), "{none}");
        let over = plan("Canceled", json!([copying("a", 0)]));
        assert_eq!(said(&over, &Goal::End, &[]), "reached");
        let late = said(&over, &Goal::Percent(30), &[]);
        assert!(late.starts_with("gave up waiting for it: its migration has ended, with a in phase"), "{late}");
    }

    #[test]
    fn nothing_is_reached_before_mtv_lists_the_vms() {
        let ready = plan("Ready", json!([]));
        for goal in [Goal::End, Goal::Percent(0), Goal::Phase("CopyDisks".into())] {
            assert_ne!(said(&ready, &goal, &[]), "reached", "{goal:?}");
            assert_ne!(said(&ready, &goal, &["a".to_owned()]), "reached", "{goal:?}");
        }
    }
}
