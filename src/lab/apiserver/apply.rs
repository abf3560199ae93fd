//! Server-side apply: merge by manager, with the appliers' fields in `managedFields`.
//!
//! Only appliers own fields here; writers by PUT and PATCH are not recorded, so they never conflict.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::State;
use super::error::ApiError;
use super::patch::{PatchKind, merge_key, patched};
use super::resources::ResourceDef;
use super::store::{ObjectKey, metadata};
use super::write::{Part, now};

/// How to apply.
pub(super) struct Apply<'a> {
    pub manager: &'a str,
    pub force: bool,
    pub part: Part,
    pub dry_run: bool,
}

/// `f:spec`, `k:{"name":"x"}` … down to one field.
type FieldPath = Vec<String>;

/// The fields that a configuration sets, identity left out.
fn fields(value: &Value, path: &FieldPath, found: &mut BTreeSet<FieldPath>) {
    let map = match value {
        Value::Object(map) if !map.is_empty() => map,
        _ => {
            found.insert(path.clone());
            return;
        }
    };
    for (name, value) in map {
        let mut path = path.clone();
        path.push(format!("f:{name}"));
        match (value, merge_key(name)) {
            (Value::Array(items), Some(key)) if items.iter().all(|i| i.get(key).is_some()) => {
                for item in items {
                    let mut path = path.clone();
                    path.push(format!("k:{}", json!({key: item[key]})));
                    fields(item, &path, found);
                }
            }
            _ => fields(value, &path, found),
        }
    }
}

fn owned(config: &Value) -> BTreeSet<FieldPath> {
    let mut config = config.clone();
    if let Some(map) = config.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(meta) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["name", "namespace", "uid", "resourceVersion", "managedFields"] {
                meta.remove(field);
            }
            if meta.is_empty() {
                map.remove("metadata");
            }
        }
    }
    let mut found = BTreeSet::new();
    fields(&config, &FieldPath::new(), &mut found);
    found.remove(&FieldPath::new());
    found
}

fn to_tree(paths: &BTreeSet<FieldPath>) -> Value {
    let mut tree = Value::Object(Map::new());
    for path in paths {
        let mut node = &mut tree;
        for segment in path {
            node = &mut node[segment.as_str()];
            if node.is_null() {
                *node = json!({});
            }
        }
    }
    tree
}

fn from_tree(tree: &Value, path: &FieldPath, found: &mut BTreeSet<FieldPath>) {
    match tree.as_object().filter(|map| !map.is_empty()) {
        None => drop(found.insert(path.clone())),
        Some(map) => {
            for (segment, below) in map {
                let mut path = path.clone();
                path.push(segment.clone());
                from_tree(below, &path, found);
            }
        }
    }
}

/// The place of one path segment in `value`.
fn step<'a>(value: &'a Value, segment: &str) -> Option<&'a Value> {
    match segment.split_at_checked(2)? {
        ("f:", name) => value.get(name),
        (_, key) => {
            let key: Map<String, Value> = serde_json::from_str(key).ok()?;
            value.as_array()?.iter().find(|item| key.iter().all(|(k, v)| item.get(k) == Some(v)))
        }
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((segment, rest)) = path.split_first() else { return };
    let Some((form, key)) = segment.split_at_checked(2) else { return };
    if form == "f:" {
        if rest.is_empty() {
            drop(value.as_object_mut().and_then(|map| map.remove(key)));
        } else if let Some(below) = value.get_mut(key) {
            remove(below, rest);
        }
        return;
    }
    let Ok(key) = serde_json::from_str::<Map<String, Value>>(key) else { return };
    let Some(items) = value.as_array_mut() else { return };
    let Some(at) = items.iter().position(|item| key.iter().all(|(k, v)| item.get(k) == Some(v))) else { return };
    if let Some(item) = items.get_mut(at) {
        remove(item, rest);
        // An item of which nothing is left has no owner any more.
        if item.as_object().is_some_and(Map::is_empty) {
            items.remove(at);
        }
    }
}

fn readable(path: &FieldPath) -> String {
    let part = |segment: &String| match segment.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some((_, key)) => format!("[{}]", key.trim_matches(['{', '}']).replace(':', "=")),
        None => segment.clone(),
    };
    path.iter().map(part).collect()
}

fn conflict(conflicts: &[(String, FieldPath)]) -> ApiError {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(manager, path)| {
            let message = format!("conflict with \"{manager}\"");
            json!({"reason": "FieldManagerConflict", "message": message, "field": readable(path)})
        })
        .collect();
    let lines: Vec<String> =
        conflicts.iter().map(|(manager, path)| format!("conflict with \"{manager}\": {}", readable(path))).collect();
    let plural = if conflicts.len() == 1 { "" } else { "s" };
    let message = format!("Apply failed with {} conflict{plural}: {}", conflicts.len(), lines.join("\n"));
    ApiError { details: Some(json!({ "causes": causes })), ..ApiError::new(409, "Conflict", message) }
}

/// The stored object with `config` applied.
fn merged(current: &Value, config: &Value, api_version: &str, apply: &Apply<'_>) -> Result<Value, ApiError> {
    let subresource = if apply.part == Part::Status { json!("status") } else { Value::Null };
    let wanted = owned(config);
    let mut entries = current["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut before = BTreeSet::new();
    let mut others = BTreeSet::new();
    let mut conflicts = Vec::new();
    for entry in &mut entries {
        let mut paths = BTreeSet::new();
        from_tree(&entry["fieldsV1"], &FieldPath::new(), &mut paths);
        if entry["manager"] == json!(apply.manager) && entry["subresource"] == subresource {
            before = paths;
            continue;
        }
        for path in wanted.intersection(&paths.clone()) {
            let value = |object| path.iter().try_fold(object, |value, segment| step(value, segment));
            if value(current) == value(config) {
                continue;
            }
            if apply.force {
                paths.remove(path);
            } else {
                conflicts.push((entry["manager"].as_str().unwrap_or_default().to_owned(), path.clone()));
            }
        }
        entry["fieldsV1"] = to_tree(&paths);
        others.extend(paths);
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    let mut object = current.clone();
    for path in before.iter().filter(|p| !wanted.contains(*p) && !others.contains(*p)) {
        remove(&mut object, path);
    }
    let mut object = patched(PatchKind::Apply, &object, config)?;
    entries.retain(|e| !(e["manager"] == json!(apply.manager) && e["subresource"] == subresource));
    let mut entry = json!({
        "manager": apply.manager,
        "operation": "Apply",
        "apiVersion": api_version,
        "time": now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": to_tree(&wanted),
    });
    if !subresource.is_null() {
        entry["subresource"] = subresource;
    }
    entries.push(entry);
    object["metadata"]["managedFields"] = Value::Array(entries);
    Ok(object)
}

/// Creates or updates; the second value tells whether it was created.
pub(super) fn apply(
    state: &State,
    def: &ResourceDef,
    key: &ObjectKey,
    config: Value,
    request: &Apply<'_>,
) -> Result<(Arc<Value>, bool), ApiError> {
    if !config["kind"].is_string() || !config["apiVersion"].is_string() {
        return Err(ApiError::bad_request("invalid object type: /, Kind="));
    }
    if config["metadata"]["managedFields"].as_array().is_some_and(|f| !f.is_empty()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let name = metadata(&config, "name");
    if !name.is_empty() && name != key.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let api_version = def.api_version();
    if state.store.get(key).is_none() && request.part == Part::Main {
        let mut object = merged(&json!({}), &config, &api_version, request)?;
        object["metadata"]["name"] = json!(key.name);
        match state.create(
            def,
            Some(&key.namespace).filter(|_| def.namespaced).map(String::as_str),
            object,
            request.dry_run,
        ) {
            // Somebody was faster: what is left is an update.
            Err(e) if e.reason == "AlreadyExists" => {}
            created => return created.map(|object| (object, true)),
        }
    }
    let change = |current: &Value| merged(current, &config, &api_version, request);
    state.update(def, key, request.part, request.dry_run, change).map(|object| (object, false))
}
