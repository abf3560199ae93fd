//! Does the VM exist, and is each side powered as the scenario says?

use std::collections::BTreeMap;

use crate::api::vm::{GuestOs, Power, SourceVm, TargetVm};
use crate::config::{PowerState, Scenario, ScenarioVm};
use crate::matrix::support;

use super::{Facts, Judgement, failed, not_judged, passed, whole};

/// MTV said Succeeded: so there must be a VM.
pub(super) fn target_exists(facts: &Facts<'_>) -> Vec<Judgement> {
    whole(match &facts.target {
        Ok(Some(target)) => passed(format!("{}/{}", target.namespace, target.name)),
        Ok(None) => {
            let name = &facts.before.name;
            failed(format!("the migrated VM {name}"), "no such VM on the cluster")
        }
        Err(why) => not_judged(format!("the migrated VM could not be read: {why}")),
    })
}

/// A source left running next to its migrated twin has the same addresses.
pub(super) fn source_power(facts: &Facts<'_>) -> Vec<Judgement> {
    whole(match &facts.source_power_after {
        Ok(Power::Off) => match &facts.forced_off {
            None => passed("off"),
            Some(Ok(false)) => passed("off, not by force"),
            Some(Ok(true)) => {
                failed("source VM shut down by its guest", "somebody powered it off by force during the migration")
            }
            Some(Err(why)) => not_judged(format!("off, but how it was powered off could not be read: {why}")),
        },
        Ok(other) => failed("source VM off after migration", format!("source VM {other}")),
        Err(why) => not_judged(format!("the source's power could not be read: {why}")),
    })
}

/// The power that a migrated VM is to settle in, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Is(PowerState, &'static str),
    /// It can't be told, because …
    Unknown(String),
}

/// What decides about the power of a migrated VM.
pub struct PowerRule<'a> {
    pub scenario: &'a Scenario,
    pub vm: &'a ScenarioVm,
    /// The source before migration.
    pub before: &'a SourceVm,
    pub mtv_version: Option<&'a str>,
    /// Every key of the ForkliftController's `spec` that reads as a boolean.
    pub flags: &'a BTreeMap<String, bool>,
}

/// The power asked for, else the one set before migration, else the source's; but a Windows VM that is
/// not asked to be off runs where MTV waits for its reboots.
pub fn expected(rule: &PowerRule<'_>) -> Expected {
    let asked = rule.vm.target_power_state.or(rule.scenario.target_power_state);
    let usual = match (asked, rule.vm.source_vm_power, &rule.before.power) {
        (Some(state), _, _) => Expected::Is(state, "as target_power_state asks"),
        (None, Some(state), _) => Expected::Is(state, "as the source was set to before migration"),
        (None, None, Power::On) => Expected::Is(PowerState::On, "as the source was before migration"),
        (None, None, Power::Off) => Expected::Is(PowerState::Off, "as the source was before migration"),
        (None, None, Power::Other(state)) => {
            Expected::Unknown(format!("the source was neither on nor off before migration: {state}"))
        }
    };
    if rule.before.os != GuestOs::Windows || asked.is_some() || matches!(usual, Expected::Is(PowerState::On, _)) {
        return usual;
    }
    match rule.mtv_version {
        Some(version) if support::WINDOWS_REBOOT.acts(rule.flags, version) => {
            Expected::Is(PowerState::On, "as MTV starts a Windows VM to wait for its reboots")
        }
        Some(_) => usual,
        None => Expected::Unknown(
            "the MTV version, which decides whether a Windows VM is started after its migration, is unknown".to_owned(),
        ),
    }
}

pub(super) fn target_power(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Facts { scenario, vm, before, mtv_version, flags, .. } = *facts;
    let (expected, why) = match expected(&PowerRule { scenario, vm, before, mtv_version, flags }) {
        Expected::Is(state, why) => (state, why),
        Expected::Unknown(why) => return whole(not_judged(why)),
    };
    let matches = matches!((expected, &target.power), (PowerState::On, Power::On) | (PowerState::Off, Power::Off));
    whole(if matches {
        passed(target.power.to_string())
    } else {
        failed(
            format!("{} ({why})", expected.name()),
            format!("{} (printableStatus {})", target.power, target.printable_status),
        )
    })
}
