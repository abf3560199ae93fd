//! Run strategy, node selector, affinity and tolerations, as they are written and not only as they work out.

use serde_json::Value;

use super::super::power::{Expected, PowerRule, expected};
use super::super::{Facts, Judgement, TargetVm, failed, not_judged, passed, platform, whole};
use super::{Compared, at, shown, text};
use crate::config::{Platform, PowerState};

/// A zone is what an EC2 Provider's `target-az` selects by.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The VM stays as it was left: one that was to run comes back after its node fails, one that was to be off does
/// not start by itself.
pub(in crate::check) fn run_strategy(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Facts { scenario, vm, before, mtv_version, flags, .. } = *facts;
    let wanted = match expected(&PowerRule { scenario, vm, before, mtv_version, flags }) {
        Expected::Is(state, _) => state,
        Expected::Unknown(why) => return whole(not_judged(why)),
    };
    let spec = at(&target.objects.vm, "/spec");
    let (strategy, running) = (at(spec, "/runStrategy"), at(spec, "/running"));
    let told = match (strategy.as_str(), running) {
        (Some("Always" | "RerunOnFailure"), Value::Null) => Some(PowerState::On),
        (Some("Halted"), Value::Null) => Some(PowerState::Off),
        // The older way to say it.
        (None, Value::Bool(running)) if strategy.is_null() => {
            Some(if *running { PowerState::On } else { PowerState::Off })
        }
        _ => None,
    };
    let expected = match wanted {
        PowerState::On => "Always",
        PowerState::Off => "Halted",
    };
    // One that starts paused does not run, whatever its strategy says.
    let start = at(spec, "/template/spec/startStrategy");
    if platform::of(facts.platform).devices.is_some() && !super::unsaid(start) {
        return whole(failed("no start strategy", shown(start)));
    }
    let actual = if running.is_null() { shown(strategy) } else { format!("running {}", shown(running)) };
    whole(if told == Some(wanted) { passed(actual) } else { failed(expected, actual) })
}

/// Exactly what the Plan says about nodes.
pub(in crate::check) fn scheduling(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if platform::of(facts.platform).devices.is_none() {
        return whole(not_judged("MTV copies the source VM's own template, which its record does not hold"));
    }
    let spec = at(&target.objects.vm, "/spec/template/spec");
    let sent = &facts.ran.sent;
    let ec2 = facts.platform == Platform::Ec2;
    let mut compared = Compared::default();
    let (wanted, actual) = (at(sent, "/targetNodeSelector"), at(spec, "/nodeSelector"));
    let (empty, no_fields) = (serde_json::Map::new(), serde_json::Map::new());
    let (wanted, actual) = (wanted.as_object().unwrap_or(&empty), actual.as_object().unwrap_or(&no_fields));
    // An EC2 migration loses both, and says so in its own checks.
    if !ec2 {
        for (key, value) in wanted {
            let found = actual.get(key).unwrap_or(&Value::Null);
            compared.holds(found == value, &format!("nodeSelector {key}"), &shown(value), || shown(found));
        }
    }
    for (key, value) in actual {
        let asked = wanted.contains_key(key) || (ec2 && key == ZONE);
        compared.holds(asked, &format!("nodeSelector {key}"), "nothing", || shown(value));
    }
    if at(sent, "/targetAffinity").is_null() {
        compared.none("affinity", at(spec, "/affinity"));
    }
    for key in ["tolerations", "topologySpreadConstraints", "schedulerName", "priorityClassName", "resourceClaims"] {
        compared.none(key, at(spec, &format!("/{key}")));
    }
    let eviction = text(spec, "/evictionStrategy");
    compared.holds(
        eviction.is_empty() || eviction.starts_with("LiveMigrate"),
        "evictionStrategy",
        "LiveMigrate",
        || eviction.to_owned(),
    );
    compared.judgements("as the Plan says")
}
