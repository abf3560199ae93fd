//! Skips that depend on MTV's own switches, decided once its ForkliftController is read.

use serde_json::Value;

use super::{Cell, Decision};
use crate::config::{Platform, Scenario};

/// A switch of the ForkliftController that a platform's cells depend on.
struct Gate {
    needed: fn(&Scenario) -> bool,
    platform: Platform,
    key: &'static str,
    /// What MTV's operator takes where the key is not written.
    by_default: bool,
    words: &'static str,
}

const GATES: &[Gate] = &[Gate {
    needed: |s| s.warm_migration,
    platform: Platform::Ovirt,
    key: "controller_ovirt_warm_migration",
    by_default: true,
    words: "warm migration from oVirt",
}];

/// Turns *run* into *skip* where a switch is off. `controller`: the ForkliftController's spec.
pub fn decide_gates(cells: &mut [Cell], controller: &Value) {
    for cell in cells.iter_mut().filter(|c| c.decision == Decision::Run) {
        let applies = |g: &&Gate| g.platform == cell.profile.platform && (g.needed)(&cell.scenario);
        let Some(gate) = GATES.iter().filter(applies).find(|g| !is_on(controller.get(g.key), g.by_default)) else {
            continue;
        };
        let Gate { key, words, .. } = gate;
        cell.decision = Decision::Skip(format!("{words} is switched off in MTV: `{key}` of its ForkliftController"));
    }
}

/// Up to 2.9 switches are booleans, later strings.
fn is_on(switch: Option<&Value>, by_default: bool) -> bool {
    match switch {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => by_default,
    }
}
