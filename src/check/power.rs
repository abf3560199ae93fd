//! Does the VM exist, and is each side powered as the scenario says?

use crate::api::vm::{Power, TargetVm};
use crate::config::PowerState;

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

/// The expected power: asked for, else set before migration, else as it was.
pub(super) fn target_power(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let asked = facts.vm.target_power_state.or(facts.scenario.target_power_state);
    let (expected, why) = match (asked, facts.vm.source_vm_power, &facts.before.power) {
        (Some(state), _, _) => (state, "as target_power_state asks"),
        (None, Some(state), _) => (state, "as the source was set to before migration"),
        (None, None, Power::On) => (PowerState::On, "as the source was before migration"),
        (None, None, Power::Off) => (PowerState::Off, "as the source was before migration"),
        (None, None, Power::Other(state)) => {
            return whole(not_judged(format!("the source was neither on nor off before migration: {state}")));
        }
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
