//! Server-side apply: a configuration is merged into the object, its applier owns the fields of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::State;
use super::error::ApiError;
use super::managers::{self, Entry};
use super::resources::ResourceDef;
use super::schema::Schema;
use super::schema::fields::{self, Fields, Path};
use super::store::{ObjectKey, metadata};
use super::write::{Part, Write};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How to apply.
pub(super) struct Apply<'a> {
    pub manager: &'a str,
    pub force: bool,
    pub part: Part,
}

fn conflict(conflicts: &[(String, Vec<Path>)]) -> ApiError {
    let count: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
    let causes: Vec<Value> = conflicts
        .iter()
        .flat_map(|(owner, paths)| {
            paths.iter().map(move |path| {
                let message = format!("conflict with {owner}");
                json!({"reason": "FieldManagerConflict", "message": message, "field": fields::readable(path)})
            })
        })
        .collect();
    let lines: Vec<String> = conflicts
        .iter()
        .map(|(owner, paths)| match paths.as_slice() {
            [one] if count == 1 => format!("conflict with {owner}: {}", fields::readable(one)),
            all => {
                let all: Vec<String> = all.iter().map(|p| format!("\n- {}", fields::readable(p))).collect();
                format!("conflicts with {owner}:{}", all.concat())
            }
        })
        .collect();
    let plural = if count == 1 { "" } else { "s" };
    let message = format!("Apply failed with {count} conflict{plural}: {}", lines.join("\n"));
    ApiError { details: Some(json!({ "causes": causes })), ..ApiError::new(409, "Conflict", message) }
}

/// What makes a configuration unfit for its schema, as structured-merge-diff says it.
fn unfit(schema: Schema<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    let expected = match schema.kind() {
        "object" if !value.is_object() => "map",
        "array" if !value.is_array() => "list",
        "string" if !value.is_string() && !schema.is_int_or_string() => "string",
        _ => "",
    };
    if !expected.is_empty() && !value.is_null() {
        let got = match value {
            Value::Array(list) => {
                let items: Vec<String> = list.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect();
                format!("&{{[{}]}}", items.join(" "))
            }
            other => format!("&{{{}}}", other.as_str().map_or(other.to_string(), str::to_owned)),
        };
        found.push(format!("{path}: expected {expected}, got {got}"));
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let below = format!("{path}.{name}");
                match schema.field(name) {
                    Some(field) => unfit(field, value, &below, found),
                    None if schema.is_open() => {}
                    None => found.push(format!("{below}: field not declared in schema")),
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items() else { return };
            for (at, item) in list.iter().enumerate() {
                let place = match schema.list() {
                    super::schema::ListKind::Map(keys) => {
                        let keys: Vec<String> = keys.iter().map(|k| format!("{k}={}", item[k])).collect();
                        format!("{path}[{}]", keys.join(","))
                    }
                    _ => format!("{path}[{at}]"),
                };
                unfit(items, item, &place, found);
            }
        }
        _ => {}
    }
}

fn check_typed(def: &ResourceDef, config: &Value) -> Result<(), ApiError> {
    let Some(schema) = def.schema() else { return Ok(()) };
    let mut found = Vec::new();
    unfit(schema, config, "", &mut found);
    if let Some((path, keys)) = fields::twice(Some(schema), config, &Path::new()) {
        found.push(format!("{}: duplicate entries for key {keys}", fields::readable(&path)));
    }
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    let what = if found.len() == 1 { found.concat() } else { format!("errors:\n  {}", found.join("\n  ")) };
    let group = if def.group.is_empty() { format!("/{}", def.version) } else { def.api_version() };
    let message = format!(
        "failed to create typed patch object ({}/{}; {group}, Kind={}): {what}",
        metadata(config, "namespace"),
        metadata(config, "name"),
        def.kind
    );
    Err(ApiError::new(500, "", message))
}

/// The stored object with `config` applied.
fn merged(def: &ResourceDef, live: Option<&Value>, config: &Value, apply: &Apply<'_>) -> Result<Value, ApiError> {
    let schema = def.schema();
    let nothing = json!({});
    let current = live.unwrap_or(&nothing);
    let mut entries = managers::read(current);
    if entries.is_empty()
        && let Some(live) = live
    {
        entries.push(managers::before_first_apply(def, schema, live));
    }
    let mut own = Entry::new(apply.manager, "Apply", def.api_version(), apply.part);
    own.fields = fields::set_by(schema, config);
    managers::ownable(def, apply.part, &mut own.fields);
    let before = match entries.iter().position(|e| e.is(&own)) {
        Some(at) => entries.remove(at).fields,
        None => Fields::new(),
    };
    let mut object = fields::merge(schema, current, config);
    drop_given_up(schema, &mut object, &before, &own.fields, &entries);
    // What kubectl applied before on its own side is kept up to date for it.
    if apply.manager == "kubectl" && current["metadata"]["annotations"][LAST_APPLIED].is_string() {
        object["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{config}\n"));
    }
    let mut compared = object.clone();
    for field in ["apiVersion", "kind"] {
        compared[field] = current[field].clone();
    }
    let mut found = fields::compare(schema, current, &compared);
    for fields in [&mut found.added, &mut found.modified, &mut found.removed] {
        managers::ownable(def, apply.part, fields);
    }
    let conflicts = managers::conflicts(&entries, &found);
    if !conflicts.is_empty() && !apply.force {
        return Err(conflict(&conflicts));
    }
    managers::release(&mut entries, &found);
    // What nobody changes keeps its owners beside the new one.
    entries.push(own);
    managers::write(&mut object, entries);
    Ok(object)
}

/// What this applier had and has no more goes, unless somebody else has it, or something in it.
fn drop_given_up(schema: Option<Schema<'_>>, object: &mut Value, before: &Fields, now: &Fields, others: &[Entry]) {
    let owned: BTreeSet<&Path> = now.iter().chain(others.iter().flat_map(|e| &e.fields)).collect();
    // Whole items go before what is in them, which says what they are.
    let mut gone: Vec<&Path> = before.iter().filter(|path| !owned.contains(*path)).collect();
    gone.sort_by_key(|path| path.len());
    for path in gone {
        let key_of_an_item = match path.as_slice() {
            [.., item, field] => item.strip_prefix("k:").zip(field.strip_prefix("f:")).is_some_and(|(keys, field)| {
                serde_json::from_str::<Value>(keys).is_ok_and(|keys| keys.get(field).is_some())
            }),
            _ => false,
        };
        let inhabited = owned.iter().any(|other| other.len() > path.len() && other.starts_with(path));
        if !inhabited && !key_of_an_item {
            fields::remove(schema, object, path);
        }
    }
}

/// Creates or updates; the second value tells whether it was created.
pub(super) fn apply(
    state: &State,
    def: &ResourceDef,
    key: &ObjectKey,
    config: Value,
    request: &Apply<'_>,
    write: &Write<'_>,
) -> Result<(Arc<Value>, bool), ApiError> {
    let (version, kind) =
        (config["apiVersion"].as_str().unwrap_or_default(), config["kind"].as_str().unwrap_or_default());
    if version != def.api_version() || kind != def.kind {
        let group = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
        let group = if version.is_empty() { "/".to_owned() } else { group };
        return Err(ApiError::bad_request(format!("invalid object type: {group}, Kind={kind}")));
    }
    if config["metadata"]["managedFields"].as_array().is_some_and(|f| !f.is_empty()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let name = metadata(&config, "name");
    if name.is_empty() {
        return Err(ApiError::unnamed(&key.name));
    }
    if name != key.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    check_typed(def, &config)?;
    if state.store.get(key).is_none() && request.part == Part::Main {
        let uid = metadata(&config, "uid");
        if !uid.is_empty() {
            let why = format!("Invalid value: \"{uid}\": field is immutable");
            return Err(ApiError::invalid(def, &key.name, "metadata.uid", "FieldValueInvalid", &why));
        }
        let mut object = merged(def, None, &config, request)?;
        drop(object["metadata"].as_object_mut().and_then(|m| m.shift_remove("resourceVersion")));
        let namespace = Some(&key.namespace).filter(|_| def.namespaced).map(String::as_str);
        match state.create(def, namespace, object, write) {
            // Somebody was faster: what is left is an update.
            Err(e) if e.reason == "AlreadyExists" => {}
            created => return created.map(|object| (object, true)),
        }
    }
    let change = |current: &Value| merged(def, Some(current), &config, request);
    state.update(def, key, request.part, write, change).map(|object| (object, false))
}
