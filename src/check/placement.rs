//! Where the VM runs, and the labels and affinity that the Plan asked for.

use serde_json::Value;

use crate::api::vm::TargetVm;

use super::{Facts, Judgement, failed, not_judged, not_running, part, passed, whole};

pub(super) fn node_applies(facts: &Facts<'_>) -> bool {
    !facts.scenario.target_node_selector.is_empty()
}

pub(super) fn node(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if let Some(off) = not_running(target) {
        return whole(off);
    }
    whole(match (facts.labelled_node, target.node.as_deref()) {
        (None, _) => not_judged("no worker carries the node selector's label"),
        (Some(wanted), Some(actual)) if wanted == actual => passed(actual),
        (Some(wanted), actual) => failed(wanted, actual.unwrap_or("no node")),
    })
}

pub(super) fn labels_apply(facts: &Facts<'_>) -> bool {
    !facts.scenario.target_labels.is_empty()
}

/// Each label of the Plan is on the VM; others may be there as well.
pub(super) fn labels(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let judge = |key: &String| {
        let Some(wanted) = facts.target_labels.get(key) else {
            return not_judged("the value that the Plan asked for is unknown");
        };
        match target.labels.get(key) {
            Some(actual) if actual == wanted => passed(format!("{key}={actual}")),
            Some(actual) => failed(format!("{key}={wanted}"), format!("{key}={actual}")),
            None => failed(format!("{key}={wanted}"), format!("no label {key} on the VM")),
        }
    };
    facts.scenario.target_labels.keys().map(|key| part(key.clone(), judge(key))).collect()
}

pub(super) fn affinity_applies(facts: &Facts<'_>) -> bool {
    facts.scenario.target_affinity.is_some()
}

/// Every leaf that was asked for is there; what the API server adds as defaults is no difference.
pub(super) fn affinity(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let Some(wanted) = &facts.scenario.target_affinity else { return Vec::new() };
    let Some(actual) = &target.affinity else {
        return whole(failed(wanted.to_string(), "no affinity on the VM"));
    };
    whole(match missing(wanted, actual, "") {
        None => passed("as asked"),
        Some(path) => {
            let expected = wanted.pointer(&path).map(Value::to_string).unwrap_or_default();
            let found = actual.pointer(&path).map_or("nothing".to_owned(), Value::to_string);
            failed(format!("{path}: {expected}"), format!("{path}: {found}"))
        }
    })
}

/// JSON pointer of the first thing in `wanted` that `actual` lacks.
pub(super) fn missing(wanted: &Value, actual: &Value, path: &str) -> Option<String> {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => {
            wanted.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
                let path = format!("{path}/{}", crate::api::text::pointer_part(key));
                match actual.get(key) {
                    Some(actual) => missing(value, actual, &path),
                    None => Some(path),
                }
            })
        }
        (Value::Array(wanted), Value::Array(actual)) if wanted.len() == actual.len() => wanted
            .iter()
            .zip(actual)
            .enumerate()
            .find_map(|(i, (wanted, actual))| missing(wanted, actual, &format!("{path}/{i}"))),
        (wanted, actual) => (wanted != actual).then(|| path.to_owned()),
    }
}
