//! What the server checks of metadata before it stores an object.

use serde_json::{Value, json};

use super::error::ApiError;
use super::resources::{NameRule, ResourceDef};
use super::schema::validate::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const STANDARD_FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_label_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
}

fn bad_value(field: &str, value: &str, why: &str) -> Cause {
    Cause::new(field, "FieldValueInvalid", format!("Invalid value: {}: {why}", json!(value)))
}

/// Why a text is no key of labels, if it is none.
pub(super) fn qualified_name(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) if !is_subdomain(prefix) => return Some(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".to_owned());
    }
    (!is_label_value(name)).then(|| NAME_PART.to_owned())
}

/// Why a text is no value of a label, if it is none.
pub(super) fn label_value(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!is_label_value(text)).then(|| LABEL_VALUE.to_owned())
}

fn bad_name(def: &ResourceDef, name: &str) -> Option<String> {
    let (good, limit, why) = match def.name_rule {
        NameRule::Subdomain => (is_subdomain(name), 253, SUBDOMAIN),
        NameRule::Label if name.contains('.') => (false, 63, "must not contain dots"),
        NameRule::Label => (is_label(name), 63, LABEL),
        NameRule::PathSegment if name.contains('/') => (false, 253, "may not contain '/'"),
        NameRule::PathSegment => (!name.is_empty() && !name.contains('%'), 253, "may not contain '%'"),
    };
    if !good {
        return Some(why.to_owned());
    }
    (name.len() > limit).then(|| format!("must be no more than {limit} characters"))
}

/// The name's form and length, and that of the prefix it was generated from.
pub(super) fn name(def: &ResourceDef, base: &str, name: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    // The rest of the name may begin with what a name may not end with.
    let prefix = base.strip_suffix('-').map_or_else(|| base.to_owned(), |p| format!("{p}a"));
    if !base.is_empty()
        && let Some(why) = bad_name(def, &prefix)
    {
        causes.push(bad_value("metadata.generateName", base, &why));
    }
    if let Some(why) = bad_name(def, name) {
        causes.push(bad_value("metadata.name", name, &why));
    }
    causes
}

/// Labels, annotations, finalizers and owner references.
pub(super) fn metadata(def: &ResourceDef, object: &Value) -> Vec<Cause> {
    let meta = &object["metadata"];
    let mut causes = Vec::new();
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        causes.extend(qualified_name(key).map(|why| bad_value("metadata.labels", key, &why)));
        let value = value.as_str().unwrap_or_default();
        causes.extend(label_value(value).map(|why| bad_value("metadata.labels", value, &why)));
    }
    for key in meta["annotations"].as_object().into_iter().flatten().map(|(key, _)| key) {
        causes.extend(qualified_name(&key.to_lowercase()).map(|why| bad_value("metadata.annotations", key, &why)));
    }
    owners(&meta["ownerReferences"], &mut causes);
    for (at, finalizer) in meta["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).enumerate() {
        causes.extend(qualified_name(finalizer).map(|why| bad_value("metadata.finalizers", finalizer, &why)));
        if !def.custom && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(bad_value(&format!("metadata.finalizers[{at}]"), finalizer, why));
        }
    }
    causes
}

fn owners(owners: &Value, causes: &mut Vec<Cause>) {
    let mut controllers = Vec::new();
    for owner in owners.as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let why = if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                causes.push(bad_value(&format!("metadata.ownerReferences.{field}"), "", why));
            }
        }
        if owner["controller"] == json!(true) {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            controllers.push(format!("{}/{}", text("kind"), text("name")));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let message = format!(
            "Invalid value: {owners}: Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        causes.push(Cause::new("metadata.ownerReferences", "FieldValueInvalid", message));
    }
}

/// All causes as one refusal.
pub(super) fn refuse(def: &ResourceDef, name: &str, causes: &[Cause]) -> Result<(), ApiError> {
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid_fields(def, name, causes)) }
}
