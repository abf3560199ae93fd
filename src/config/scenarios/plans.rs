//! `plans`: the VMs of a scenario split over several Plans, each with options of its own.
//!
//! A scenario that names none has one Plan with all of its VMs. What later rooms see of a Plan is a whole [`Scenario`]
//! with its VMs and its options, so that they need not know of others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PowerState, Scenario, ScenarioVm};
use crate::config::errors::hint;

/// A VM of the scenario: its name, or its place in `virtual_machines` from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct VmName(pub String);

impl VmName {
    /// Its index among the scenario's VMs; else what is wrong.
    pub fn index(&self, vms: &[ScenarioVm]) -> Result<usize, String> {
        let named: Vec<usize> = (0..vms.len()).filter(|&n| vms.get(n).is_some_and(|vm| vm.name == self.0)).collect();
        match named.as_slice() {
            [one] => Ok(*one),
            [] => match self.0.parse::<usize>() {
                Ok(place) if (1..=vms.len()).contains(&place) => Ok(place - 1),
                Ok(place) => Err(format!("there is no VM {place}: the scenario has {}", vms.len())),
                Err(_) => {
                    let hint = hint(&self.0, vms.iter().map(|vm| vm.name.as_str()), "");
                    Err(format!("the scenario has no VM `{}`{hint}", self.0))
                }
            },
            _ => Err(format!("more than one VM is called `{}`: write its place in `virtual_machines`, from 1", self.0)),
        }
    }
}

/// A Plan of the scenario, by its name in `plans`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PlanName(pub String);

/// One Plan of several. An option that is unset is the scenario's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanPart {
    /// How steps call it: small letters, digits and `-`, at most 20 of them.
    pub name: String,
    /// Its VMs, by name, or by their place in the scenario's list from 1.
    pub virtual_machines: Vec<VmName>,
    /// Instead of the scenario's.
    #[serde(default)]
    pub warm_migration: Option<bool>,
    /// Instead of the scenario's.
    #[serde(default)]
    pub preserve_static_ips: Option<bool>,
    /// Instead of the scenario's.
    #[serde(default)]
    pub target_power_state: Option<PowerState>,
    /// Instead of the scenario's.
    #[serde(default)]
    pub run_preflight_inspection: Option<bool>,
    /// Instead of the scenario's.
    #[serde(default)]
    pub copyoffload: Option<bool>,
}

/// Longest name of a Plan: names of objects are made with it.
const LONGEST: usize = 20;

/// A Plan of a scenario as it is told.
#[derive(Debug, Clone)]
pub struct Part {
    /// `None`: the only one, which steps need not name.
    pub name: Option<String>,
    /// Places in the scenario's list of VMs, from 0.
    pub members: Vec<usize>,
    /// The scenario as it is for this Plan: its VMs, its options.
    pub scenario: Scenario,
}

impl Scenario {
    /// The Plans, in order. VMs that the scenario does not have are left out: [`complaints`] tells of them.
    pub fn parts(&self) -> Vec<Part> {
        if self.plans.is_empty() {
            let members = (0..self.virtual_machines.len()).collect();
            return vec![Part { name: None, members, scenario: self.clone() }];
        }
        self.plans.iter().map(|plan| self.part(plan)).collect()
    }

    fn part(&self, plan: &PlanPart) -> Part {
        let vms = &self.virtual_machines;
        let members: Vec<usize> = plan.virtual_machines.iter().filter_map(|vm| vm.index(vms).ok()).collect();
        let mut scenario = self.clone();
        scenario.virtual_machines = members.iter().filter_map(|&at| vms.get(at).cloned()).collect();
        scenario.plans.clear();
        scenario.warm_migration = plan.warm_migration.unwrap_or(self.warm_migration);
        scenario.preserve_static_ips = plan.preserve_static_ips.unwrap_or(self.preserve_static_ips);
        scenario.target_power_state = plan.target_power_state.or(self.target_power_state);
        scenario.run_preflight_inspection = plan.run_preflight_inspection.or(self.run_preflight_inspection);
        scenario.copyoffload = plan.copyoffload.unwrap_or(self.copyoffload);
        Part { name: Some(plan.name.clone()), members, scenario }
    }

    /// Whether any of its Plans is warm.
    pub fn has_warm(&self) -> bool {
        if self.plans.is_empty() {
            return self.warm_migration;
        }
        self.plans.iter().any(|plan| plan.warm_migration.unwrap_or(self.warm_migration))
    }
}

/// What is wrong with the Plans, as (path inside the scenario, sentence).
pub(crate) fn complaints(scenario: &Scenario) -> Vec<(Vec<String>, String)> {
    let mut out = Vec::new();
    let mut taken: Vec<usize> = Vec::new();
    let path = |rest: &[&str]| std::iter::once("plans").chain(rest.iter().copied()).map(str::to_owned).collect();
    for (n, plan) in scenario.plans.iter().enumerate() {
        let at = n.to_string();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = plan.name.starts_with('-') || plan.name.ends_with('-');
        if plan.name.is_empty() || plan.name.len() > LONGEST || ends || !plan.name.chars().all(good) {
            let text =
                format!("`{}`: a Plan's name is made of small letters, digits and `-`, {LONGEST} at most", plan.name);
            out.push((path(&[&at, "name"]), text));
        }
        if scenario.plans.iter().take(n).any(|other| other.name == plan.name) {
            out.push((path(&[&at, "name"]), format!("there are two Plans called `{}`", plan.name)));
        }
        if plan.virtual_machines.is_empty() {
            out.push((path(&[&at]), format!("Plan `{}` has no VM", plan.name)));
        }
        for (m, vm) in plan.virtual_machines.iter().enumerate() {
            let place = path(&[&at, "virtual_machines", &m.to_string()]);
            match vm.index(&scenario.virtual_machines) {
                Err(why) => out.push((place, why)),
                Ok(index) if taken.contains(&index) => {
                    out.push((
                        place,
                        format!("VM `{}` is in two Plans: name it by its place, or clone it twice", vm.0),
                    ));
                }
                Ok(index) => taken.push(index),
            }
        }
    }
    if !scenario.plans.is_empty() {
        let left: Vec<&str> = (0..scenario.virtual_machines.len())
            .filter(|index| !taken.contains(index))
            .filter_map(|index| scenario.virtual_machines.get(index).map(|vm| vm.name.as_str()))
            .collect();
        if !left.is_empty() {
            out.push((path(&[]), format!("no Plan has {}", left.join(", "))));
        }
    }
    out
}

/// What to say where a step names a Plan that is none; `None`: it is one.
pub(crate) fn unknown(scenario: &Scenario, name: &str) -> Option<String> {
    if scenario.plans.iter().any(|plan| plan.name == name) {
        return None;
    }
    let near = hint(name, scenario.plans.iter().map(|plan| plan.name.as_str()), "");
    let none = if scenario.plans.is_empty() { ": it has no `plans`" } else { "" };
    Some(format!("the scenario has no Plan `{name}`{none}{near}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(plans: serde_json::Value) -> Scenario {
        let vms = serde_json::json!([{"name": "a"}, {"name": "b"}, {"name": "b"}]);
        serde_json::from_value(serde_json::json!({"virtual_machines": vms, "plans": plans})).unwrap()
    }

    #[test]
    fn vms_are_split_over_plans_and_an_option_is_the_plans_own_or_the_scenarios() {
        let whole = scenario(serde_json::json!([]));
        assert_eq!(whole.parts().len(), 1);
        assert_eq!((whole.parts()[0].name.as_deref(), &whole.parts()[0].members), (None, &vec![0, 1, 2]));
        let split = scenario(serde_json::json!([
            {"name": "one", "virtual_machines": ["a", "3"], "warm_migration": true},
            {"name": "two", "virtual_machines": ["2"], "target_power_state": "on"},
        ]));
        assert!(complaints(&split).is_empty(), "{:?}", complaints(&split));
        let parts = split.parts();
        assert_eq!((&parts[0].members, &parts[1].members), (&vec![0, 2], &vec![1]));
        assert!(parts[0].scenario.warm_migration && !parts[1].scenario.warm_migration && split.has_warm());
        assert_eq!(parts[1].scenario.target_power_state, Some(PowerState::On));
        assert_eq!(parts[0].scenario.virtual_machines.len(), 2);
    }

    #[test]
    fn a_vm_in_no_plan_or_in_two_and_a_bad_name_are_refused() {
        let bad = scenario(serde_json::json!([
            {"name": "One", "virtual_machines": ["a", "c"]},
            {"name": "two", "virtual_machines": ["1"]},
        ]));
        let said: Vec<String> = complaints(&bad).into_iter().map(|(_, text)| text).collect();
        for wanted in
            ["`One`: a Plan's name", "the scenario has no VM `c`", "VM `1` is in two Plans", "no Plan has b, b"]
        {
            assert!(said.iter().any(|text| text.contains(wanted)), "{wanted}: {said:?}");
        }
        assert!(unknown(&bad, "tow").is_some() && unknown(&bad, "two").is_none());
    }
}
