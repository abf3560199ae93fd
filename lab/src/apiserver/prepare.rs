//! What an object looks like when it is stored: defaults, forced fields, and on an update the
//! parts that the writer may not change.

use serde_json::{Value, json};

use super::error::ApiError;
use super::resources::{ResourceDef, StatusMode};
use super::schema;
use super::schema::validate::Cause;
use super::store::{ObjectKey, is_deleting, metadata};
use super::validate;
use super::write::{Part, Verb};

/// Refuses a body of another kind or version; native kinds may leave both out.
pub(super) fn check_types(def: &ResourceDef, body: &mut Value) -> Result<(), ApiError> {
    if !body.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error",
            def.kind
        )));
    }
    let expected = def.api_version();
    let mut parts = [("apiVersion", &expected), ("kind", &def.kind)];
    if def.custom {
        parts.reverse();
    }
    for (field, wanted) in parts {
        match body[field].as_str().unwrap_or_default() {
            "" if def.custom && field == "kind" => {
                let text = body.to_string();
                let start: String = text.chars().take(30).collect();
                let start = if text.len() > 30 { format!("{start} ...") } else { text.clone() };
                return Err(ApiError::bad_request(format!(
                    "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{text}' ({start})",
                    def.kind
                )));
            }
            "" if def.custom => {
                return Err(ApiError::bad_request(format!(
                    "the API version in the data () does not match the expected API version ({wanted})"
                )));
            }
            "" => body[field] = json!(wanted),
            found if found != wanted && field == "apiVersion" => {
                return Err(ApiError::bad_request(if def.custom {
                    format!("the API version in the data ({found}) does not match the expected API version ({wanted})")
                } else {
                    let kind = body["kind"].as_str().unwrap_or(&def.kind);
                    let version = found.rsplit('/').next().unwrap_or_default();
                    format!(
                        "{kind} in version \"{version}\" cannot be handled as a {}: no kind \"{kind}\" is registered for version \"{found}\" in scheme \"pkg/runtime/scheme.go:111\"",
                        def.kind
                    )
                }));
            }
            found if found != wanted && def.custom => {
                let why = format!("Invalid value: \"{found}\": must be {wanted}");
                let name = metadata(body, "name");
                let mut error = ApiError::invalid(def, name, "kind", "FieldValueInvalid", &why);
                error.rename_kind(found, def);
                return Err(error);
            }
            found if found != wanted => {
                let why = if schema::native_name(&def.group, &def.version, found).is_some() {
                    let place = def.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
                    format!("converting ({}.{found}) to ({place}.{wanted}): unknown conversion", def.version)
                } else {
                    format!(
                        "no kind \"{found}\" is registered for version \"{expected}\" in scheme \"pkg/runtime/scheme.go:111\""
                    )
                };
                return Err(ApiError::bad_request(format!(
                    "{found} in version \"{}\" cannot be handled as a {wanted}: {why}",
                    def.version
                )));
            }
            _ => {}
        }
    }
    if body["metadata"].is_null() {
        body["metadata"] = json!({});
    }
    Ok(())
}

/// Secrets: `stringData` goes over `data` and is never stored.
pub(super) fn normalise(def: &ResourceDef, object: &mut Value) {
    if def.storage.0.is_empty() && def.plural == "secrets" {
        use base64::Engine;
        let texts = object.as_object_mut().and_then(|o| o.shift_remove("stringData"));
        for (name, text) in texts.as_ref().and_then(Value::as_object).into_iter().flatten() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
            object["data"][name] = json!(encoded);
        }
        if object["type"].as_str().is_none_or(str::is_empty) {
            object["type"] = json!("Opaque");
        }
    }
    if def.is_namespaces() {
        let name = metadata(object, "name").to_owned();
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
    }
}

/// Makes `wanted` storable: identity and generation from the stored object, only the `part` changed.
pub(super) fn prepare(
    def: &ResourceDef,
    key: &ObjectKey,
    part: Part,
    verb: Verb,
    current: &Value,
    mut wanted: Value,
) -> Result<Value, ApiError> {
    if !wanted["metadata"].is_object() {
        wanted["metadata"] = json!({});
    }
    let name = metadata(&wanted, "name");
    if name.is_empty() && verb == Verb::Update {
        return Err(ApiError::unnamed(&key.name));
    }
    if !name.is_empty() && name != key.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let namespace = metadata(&wanted, "namespace");
    if def.namespaced && !namespace.is_empty() && namespace != key.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let version = metadata(&wanted, "resourceVersion");
    if !version.is_empty() && version != metadata(current, "resourceVersion") {
        return Err(ApiError::stale(def, &key.name));
    }
    let uid = metadata(&wanted, "uid");
    if !uid.is_empty() && uid != metadata(current, "uid") {
        if verb != Verb::Update {
            let why = format!("Invalid value: \"{uid}\": field is immutable");
            return Err(ApiError::invalid(def, &key.name, "metadata.uid", "FieldValueInvalid", &why));
        }
        let place = if def.custom { format!("{}/{}", def.group, def.plural) } else { def.plural.clone() };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{place}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            key.namespace,
            key.name,
            metadata(current, "uid")
        );
        return Err(ApiError::conflict(def, &key.name, &why));
    }
    let mut object = match part {
        Part::Main => wanted,
        Part::Status => {
            let mut object = with_field(current, "status", &mut wanted);
            if let Some(fields) = wanted["metadata"].get_mut("managedFields") {
                object["metadata"]["managedFields"] = fields.take();
            }
            object
        }
        Part::Scale => with_field(current, "spec", &mut wanted),
        Part::Finalize => {
            // As the real one: metadata comes with it.
            let mut object = with_field(current, "spec", &mut wanted);
            object["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
            object["metadata"]["annotations"] = wanted["metadata"]["annotations"].clone();
            if let Some(meta) = object["metadata"].as_object_mut() {
                meta.retain(|_, value| !value.is_null());
            }
            object
        }
    };
    if part == Part::Main && (def.status == StatusMode::Separate) {
        match current.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => drop(object.as_object_mut().and_then(|fields| fields.shift_remove("status"))),
        }
    }
    // Of the other parts the object has been made of the stored one.
    if part == Part::Main {
        keep_identity(current, &mut object);
    }
    if is_deleting(current) {
        let had: Vec<&Value> = current["metadata"]["finalizers"].as_array().into_iter().flatten().collect();
        let now = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        if let Some(new) = now.into_iter().find(|f| !had.contains(f)) {
            let why = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{new}}}"
            );
            let cause = Cause::new("metadata.finalizers", "FieldValueForbidden", why);
            return Err(ApiError::invalid_fields(def, &key.name, &[cause]));
        }
    }
    normalise(def, &mut object);
    validate::refuse(def, &key.name, &validate::metadata(def, &object))?;
    Ok(object)
}

/// What no writer may change is as it is stored.
fn keep_identity(current: &Value, object: &mut Value) {
    const IDENTITY: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ];
    for field in ["apiVersion", "kind"] {
        object[field] = current[field].clone();
    }
    for field in IDENTITY {
        match current["metadata"].get(field) {
            Some(value) => object["metadata"][field] = value.clone(),
            None => drop(object["metadata"].as_object_mut().and_then(|m| m.shift_remove(field))),
        }
    }
}

/// Any difference outside metadata and status.
pub(super) fn changed(def: &ResourceDef, old: &Value, new: &Value) -> bool {
    let status_counts = def.status == StatusMode::None;
    let counts = |name: &str| name != "metadata" && (status_counts || name != "status");
    let fields = |object: &Value| {
        let all = object.as_object().into_iter().flatten();
        all.filter(|(name, _)| counts(name)).count()
    };
    let same = |(name, value): (&String, &Value)| !counts(name) || new.get(name) == Some(value);
    fields(old) != fields(new) || !old.as_object().into_iter().flatten().all(same)
}

/// A copy of `object` with one field of `other`'s, which loses it.
fn with_field(object: &Value, field: &str, other: &mut Value) -> Value {
    let new = other.get_mut(field).map(Value::take);
    let copied = |(name, value): (&String, &Value)| {
        // What is replaced is not copied first.
        (name.clone(), if name == field { Value::Null } else { value.clone() })
    };
    let mut object = Value::Object(object.as_object().into_iter().flatten().map(copied).collect());
    match new {
        Some(new) => object[field] = new,
        None => drop(object.as_object_mut().and_then(|fields| fields.shift_remove(field))),
    }
    object
}
