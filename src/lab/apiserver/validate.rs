//! What the server checks of metadata before it stores an object.

use serde_json::Value;

use super::error::ApiError;
use super::resources::{NameRule, ResourceDef};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_label_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last())
}

fn bad_value(def: &ResourceDef, name: &str, field: &str, value: &str, why: &str) -> ApiError {
    ApiError::invalid(def, name, field, "FieldValueInvalid", &format!("Invalid value: \"{value}\": {why}"))
}

/// The name's form and length.
pub(super) fn name(def: &ResourceDef, name: &str) -> Result<(), ApiError> {
    let (good, limit, why) = match def.name_rule {
        NameRule::Subdomain => (name.split('.').all(is_label), 253, SUBDOMAIN),
        NameRule::Label => (is_label(name), 63, LABEL),
        NameRule::PathSegment => (!name.is_empty() && !name.contains(['/', '%']), 253, "may not contain '/' or '%'"),
    };
    if !good {
        return Err(bad_value(def, name, "metadata.name", name, why));
    }
    if name.len() > limit {
        return Err(bad_value(def, name, "metadata.name", name, &format!("must be no more than {limit} characters")));
    }
    Ok(())
}

/// Labels and owner references.
pub(super) fn metadata(def: &ResourceDef, object: &Value) -> Result<(), ApiError> {
    let name = super::store::metadata(object, "name");
    for (_, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        let Some(value) = value.as_str() else {
            return Err(ApiError::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal into Go struct field ObjectMeta.metadata.labels of type string",
                def.kind, def.version, def.kind
            )));
        };
        if value.len() > 63 {
            return Err(bad_value(def, name, "metadata.labels", value, "must be no more than 63 characters"));
        }
        if !is_label_value(value) {
            return Err(bad_value(def, name, "metadata.labels", value, LABEL_VALUE));
        }
    }
    for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let path = format!("metadata.ownerReferences.{field}");
                return Err(bad_value(def, name, &path, "", "must not be empty"));
            }
        }
    }
    Ok(())
}
