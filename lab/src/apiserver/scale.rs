//! `/scale`: the number of replicas of any kind that has one, as one and the same kind.

use std::sync::Arc;

use serde_json::{Value, json};

use super::State;
use super::error::ApiError;
use super::patch::{PatchKind, patched};
use super::resources::ResourceDef;
use super::store::{ObjectKey, metadata};
use super::write::{Part, Write};

fn pointer(path: &str) -> String {
    path.replace('.', "/")
}

/// The object's `Scale`.
pub(super) fn of(def: &ResourceDef, object: &Value) -> Option<Value> {
    let [wanted, there, selector] = def.scale.as_ref()?;
    let number = |path: &str| object.pointer(&pointer(path)).and_then(Value::as_i64).unwrap_or_default();
    let meta = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {},
        "status": {"replicas": number(there)},
    });
    // Go writes no zero here.
    if number(wanted) != 0 {
        scale["spec"]["replicas"] = json!(number(wanted));
    }
    let labels = if def.custom {
        object.pointer(&pointer(selector)).and_then(Value::as_str).map(str::to_owned)
    } else {
        let labels = object["spec"]["selector"]["matchLabels"].as_object();
        labels.map(|l| {
            l.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
        })
    };
    if let Some(labels) = labels.filter(|l| !l.is_empty()) {
        scale["status"]["selector"] = json!(labels);
    }
    Some(scale)
}

/// A PUT (no kind of patch) or PATCH of the scale.
pub(super) fn change(
    state: &State,
    def: &Arc<ResourceDef>,
    key: &ObjectKey,
    kind: Option<PatchKind>,
    body: &Value,
    write: &Write<'_>,
) -> Result<Value, ApiError> {
    let updated = state.update(def, key, Part::Scale, write, |current| {
        let none = ApiError::no_such_resource;
        let scale = of(def, current).ok_or_else(none)?;
        let scale = match kind {
            None => body.clone(),
            Some(kind) => patched(kind, &scale, body, None)?,
        };
        let version = metadata(&scale, "resourceVersion");
        if !version.is_empty() && version != metadata(current, "resourceVersion") {
            return Err(ApiError::stale(def, &key.name));
        }
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
        let [path, ..] = def.scale.as_ref().ok_or_else(none)?;
        if replicas < 0 {
            let why = format!("Invalid value: {replicas}: should be a non-negative integer");
            return Err(ApiError::invalid(def, &key.name, path, "FieldValueInvalid", &why));
        }
        let mut object = current.clone();
        if object.pointer(&pointer(path)).is_none() {
            object["spec"]["replicas"] = json!(replicas);
        } else if let Some(place) = object.pointer_mut(&pointer(path)) {
            *place = json!(replicas);
        }
        Ok(object)
    })?;
    of(def, &updated).ok_or_else(ApiError::no_such_resource)
}
