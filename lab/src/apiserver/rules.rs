//! The few rules of native kinds that neither metadata nor a schema tells.

use serde_json::{Value, json};

use super::resources::ResourceDef;
use super::schema::validate::Cause;
use crate::cron::Schedule;

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn required(field: &str) -> Cause {
    Cause::new(field, "FieldValueRequired", "Required value")
}

/// What is wrong with `new`; `old` is there on an update.
pub(super) fn check(def: &ResourceDef, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (def.group.as_str(), def.plural.as_str()) {
        ("", "configmaps" | "secrets") => data(def, old, new, &mut causes),
        ("", "pods") if old.is_none() && new["spec"]["containers"].as_array().is_none_or(Vec::is_empty) => {
            causes.push(required("spec.containers"));
        }
        ("", "pods") if old.is_some_and(|old| containers(old) != containers(new)) => {
            let message = "Forbidden: pod updates may not add or remove containers";
            causes.push(Cause::new("spec.containers", "FieldValueForbidden", message));
        }
        ("", "persistentvolumeclaims") => claim(old, new, &mut causes),
        ("coordination.k8s.io", "leases") if new["spec"]["leaseDurationSeconds"].as_i64().is_some_and(|s| s <= 0) => {
            let message = format!("Invalid value: {}: must be greater than 0", new["spec"]["leaseDurationSeconds"]);
            causes.push(Cause::new("spec.leaseDurationSeconds", "FieldValueInvalid", message));
        }
        ("" | "events.k8s.io", "events") if old.is_none() => event(new, &mut causes),
        ("batch", "cronjobs") => causes.extend(schedule(new)),
        _ => {}
    }
    causes
}

/// `validateScheduleFormat` of Kubernetes' `pkg/apis/batch/validation`.
fn schedule(cron: &Value) -> Option<Cause> {
    let (field, text) = ("spec.schedule", cron["spec"]["schedule"].as_str().unwrap_or_default());
    if text.is_empty() {
        return Some(required(field));
    }
    let refused = |why: &str| Cause::new(field, "FieldValueInvalid", format!("Invalid value: {}: {why}", json!(text)));
    if text.contains("TZ") {
        return Some(refused("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
    }
    Schedule::parse(text).err().map(|why| refused(&why))
}

fn containers(pod: &Value) -> Vec<&str> {
    let list = pod["spec"]["containers"].as_array().into_iter().flatten();
    list.filter_map(|c| c["name"].as_str()).collect()
}

fn data(def: &ResourceDef, old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    for field in ["data", "binaryData"] {
        for key in new[field].as_object().into_iter().flatten().map(|(key, _)| key) {
            if !is_key(key) {
                let message = format!("Invalid value: {}: {KEY}", json!(key));
                causes.push(Cause::new(&format!("{field}[{key}]"), "FieldValueInvalid", message));
            }
            if field == "data" && new["binaryData"].get(key).is_some() {
                let message = format!("Invalid value: {}: duplicate of key present in binaryData", json!(key));
                causes.push(Cause::new(&format!("data[{key}]"), "FieldValueInvalid", message));
            }
        }
    }
    if let Some(old) = old {
        if def.plural == "secrets" && old["type"] != new["type"] {
            let message = format!("Invalid value: {}: field is immutable", new["type"]);
            causes.push(Cause::new("type", "FieldValueInvalid", message));
        }
        if old["immutable"] == json!(true) {
            for field in ["immutable", "data", "binaryData"].into_iter().filter(|f| old.get(*f) != new.get(*f)) {
                let message = "Forbidden: field is immutable when `immutable` is set";
                causes.push(Cause::new(field, "FieldValueForbidden", message));
            }
        }
    }
    let needed: &[&str] = match new["type"].as_str().unwrap_or_default() {
        // One of the two is enough.
        "kubernetes.io/basic-auth" if new["data"]["username"].is_null() && new["data"]["password"].is_null() => {
            &["username", "password"]
        }
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    if def.plural == "secrets" {
        let missing = needed.iter().filter(|key| new["data"].get(**key).is_none());
        causes.extend(missing.map(|key| required(&format!("data[{key}]"))));
    }
}

fn claim(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let spec = &new["spec"];
    if let Some(old) = old {
        let fixed = |claim: &Value| {
            let mut spec = claim["spec"].clone();
            if let Some(map) = spec.as_object_mut() {
                map.retain(|field, _| {
                    !matches!(field.as_str(), "volumeName" | "volumeAttributesClassName" | "volumeMode")
                });
            }
            if old["status"]["phase"] == json!("Bound") {
                drop(spec["resources"].as_object_mut().and_then(|r| r.shift_remove("requests")));
            }
            spec
        };
        if fixed(old) != fixed(new) {
            let message = "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            causes.push(Cause::new("spec", "FieldValueForbidden", message));
        }
    }
    if old.is_none() && spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
        let message = "Required value: at least 1 access mode is required";
        causes.push(Cause::new("spec.accessModes", "FieldValueRequired", message));
    }
    if old.is_none() && spec["resources"]["requests"]["storage"].is_null() {
        causes.push(required("spec.resources[storage]"));
    }
}

fn event(new: &Value, causes: &mut Vec<Cause>) {
    let object = new.get("involvedObject").or_else(|| new.get("regarding")).unwrap_or(&Value::Null);
    let (own, theirs) = (new["metadata"]["namespace"].as_str(), object["namespace"].as_str().unwrap_or_default());
    let fits = if theirs.is_empty() { own == Some("default") } else { own == Some(theirs) };
    if !fits {
        let message = format!("Invalid value: {}: does not match event.namespace", json!(theirs));
        causes.push(Cause::new("involvedObject.namespace", "FieldValueInvalid", message));
    }
}
