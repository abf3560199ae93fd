//! Events have two forms, `v1` and `events.k8s.io/v1`; they are stored in the older one.

use serde_json::{Value, json};

use super::resources::ResourceDef;

/// Older name, newer name.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Whether the resource is the newer form.
pub(super) fn is_newer(def: &ResourceDef) -> bool {
    def.group == "events.k8s.io" && def.plural == "events"
}

fn renamed(object: &Value, names: impl Iterator<Item = (&'static str, &'static str)>) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        for (from, to) in names {
            if let Some(value) = map.shift_remove(from) {
                map.insert(to.to_owned(), value);
            }
        }
    }
    object
}

/// As it is stored.
pub(super) fn older(object: &Value) -> Value {
    let mut object = renamed(object, FIELDS.iter().map(|(old, new)| (*new, *old)));
    object["apiVersion"] = json!("v1");
    for (field, empty) in [
        ("source", json!({})),
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
        ("eventTime", Value::Null),
    ] {
        if object.get(field).is_none() {
            object[field] = empty;
        }
    }
    object
}

/// As the newer group shows it.
pub(super) fn newer(object: &Value) -> Value {
    let mut object = renamed(object, FIELDS.iter().copied());
    object["apiVersion"] = json!("events.k8s.io/v1");
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| *value != "");
    }
    object
}
