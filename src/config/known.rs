//! JSON Schemas of settings and scenarios: of the types, and of the files that the program accepts.

use serde_json::{Map, Value, json};

use super::node::parse_yaml;
use super::scenarios::Scenario;
use super::scenarios::steps;
use super::settings::Settings;
use super::{platforms, shipped, suite};

/// Keys of the Python suite that are read and do nothing.
pub(super) const DEAD_KEYS: &[&str] =
    &["target_ocp_version", "number_of_vms", "vm_name_search_pattern", "create_scale_report", "target_namespace"];

/// Names of the Python suite for settings that have another here.
pub(super) const ALIASES: &[&str] = &["plan_wait_timeout", "source_provider_type", "source_provider_version"];

/// Schema of the settings as they are merged: every key is there.
pub(crate) fn settings() -> Value {
    schemars::schema_for!(Settings).to_value()
}

/// Schema of one scenario as it is typed.
pub(crate) fn scenario() -> Value {
    schemars::schema_for!(Scenario).to_value()
}

/// `config/default.yaml` as JSON.
pub fn defaults() -> Value {
    parse_yaml(shipped::DEFAULTS.1).map(|node| node.to_json()).unwrap_or_default()
}

/// Schema of a `--config` file: any part of the settings, with scenarios and profiles in it. It accepts what
/// the program accepts: older names, and truths and numbers in quotes.
pub fn settings_file() -> Value {
    let mut schema = settings();
    loosen(&mut schema);
    let or_nothing = |schema: Value| json!({"anyOf": [schema, {"type": "null"}]});
    let scenarios = or_nothing(hoisted(&mut schema, scenarios_file()));
    let providers = or_nothing(hoisted(&mut schema, providers_file()));
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for key in ALIASES {
            properties.insert((*key).to_owned(), json!({"description": "The Python suite's name."}));
        }
        for key in DEAD_KEYS {
            properties.insert((*key).to_owned(), json!({"description": "No effect.", "deprecated": true}));
        }
        properties.insert("$schema".to_owned(), json!({"type": "string"}));
        properties.insert("scenarios".to_owned(), scenarios.clone());
        properties.insert("tests_params".to_owned(), scenarios);
        properties.insert("providers".to_owned(), providers);
    }
    schema
}

/// Schema of a file in `config/scenarios/`: name → scenario.
pub fn scenarios_file() -> Value {
    let mut schema = schemars::schema_for!(std::collections::BTreeMap<String, Scenario>).to_value();
    suite::extend(&mut schema);
    steps::extend(&mut schema);
    loosen_words(&mut schema);
    if let Value::Object(map) = &mut schema {
        map.insert("properties".into(), json!({"$schema": {"type": "string"}}));
    }
    schema
}

/// Schema of `providers.json`: name → profile.
pub fn providers_file() -> Value {
    let mut schema = platforms::providers_schema();
    loosen_words(&mut schema);
    schema
}

/// Moves the definitions of an inner schema to the outer one, where its references point.
fn hoisted(outer: &mut Value, mut inner: Value) -> Value {
    if let Some(map) = inner.as_object_mut() {
        map.remove("$schema");
        let own = map.remove("$defs");
        if let (Some(Value::Object(own)), Some(outer)) = (own, outer.as_object_mut())
            && let Some(all) = outer.entry("$defs").or_insert_with(|| Value::Object(Map::new())).as_object_mut()
        {
            all.extend(own);
        }
    }
    inner
}

/// No key must be there, and words may stand for values.
fn loosen(schema: &mut Value) {
    loosen_words(schema);
    fn walk(schema: &mut Value) {
        match schema {
            Value::Object(map) => {
                map.remove("required");
                map.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(schema);
}

/// `"true"` stands for true and `"4"` for 4, as the loader reads them.
fn loosen_words(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(loosen_words);
            let is = |map: &Map<String, Value>, name: &str| match map.get("type") {
                Some(Value::String(one)) => one == name,
                Some(Value::Array(many)) => many.iter().any(|t| t == name),
                _ => false,
            };
            let pattern = if is(map, "boolean") {
                "^\\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])\\s*$"
            } else if is(map, "integer") {
                "^\\s*[0-9]+\\s*$"
            } else {
                return;
            };
            let mut own = std::mem::take(map);
            for key in ["description", "default", "title"] {
                if let Some(value) = own.remove(key) {
                    map.insert(key.to_owned(), value);
                }
            }
            map.insert("anyOf".to_owned(), json!([own, {"type": "string", "pattern": pattern}]));
        }
        Value::Array(items) => items.iter_mut().for_each(loosen_words),
        _ => {}
    }
}
