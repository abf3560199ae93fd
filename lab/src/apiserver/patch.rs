//! The four kinds of patch.

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::error::ApiError;
use super::managers;
use super::schema::Schema;
use super::write::OfStatus;

/// By content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        Some(match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            "application/apply-patch+yaml" | "application/apply-patch+json" => Self::Apply,
            _ => return None,
        })
    }

    /// How much of the status this looks at, where it looks at nothing else.
    pub fn of_status(self, patch: &Value) -> Option<OfStatus> {
        match (self, patch) {
            (Self::Json, Value::Array(steps)) => {
                let of_status = |step: &Value| {
                    let below = |field: &str| match step.get(field) {
                        None => true,
                        Some(path) => {
                            path.as_str().is_some_and(|path| path == "/status" || path.starts_with("/status/"))
                        }
                    };
                    step.get("path").is_some() && below("path") && below("from")
                };
                let replaces =
                    |step: &Value| step["path"] == "/status" && matches!(step["op"].as_str(), Some("add" | "replace"));
                match steps.as_slice() {
                    [step] if replaces(step) => Some(OfStatus::Replaces),
                    [] => None,
                    steps => steps.iter().all(of_status).then_some(OfStatus::Changes),
                }
            }
            (Self::Merge | Self::Strategic, Value::Object(fields)) => {
                (fields.len() == 1 && fields.contains_key("status")).then_some(OfStatus::Changes)
            }
            _ => None,
        }
    }
}

impl PatchKind {
    /// Whether a patch may look at `metadata.managedFields`.
    fn may_reach_managers(self, patch: &Value) -> bool {
        let reaches = |path: &Value| {
            let path = path.as_str().unwrap_or_default();
            ["", "/", "/metadata"].contains(&path) || path.starts_with("/metadata/managedFields")
        };
        match (self, patch) {
            (Self::Json, Value::Array(steps)) => {
                steps.iter().any(|step| reaches(&step["path"]) || step.get("from").is_some_and(reaches))
            }
            (_, patch) => patch["metadata"].get("managedFields").is_some(),
        }
    }
}

/// Everything but apply.
pub(super) fn patched(
    kind: PatchKind,
    current: &Value,
    patch: &Value,
    schema: Option<Schema<'_>>,
) -> Result<Value, ApiError> {
    // Hardly ever is it the managers that are patched.
    let mut object = if kind.may_reach_managers(patch) { managers::whole(current) } else { current.clone() };
    match kind {
        PatchKind::Json => json_patch(&mut object, patch)?,
        PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply if !patch.is_object() => {
            let found = match patch {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            let head = if kind == PatchKind::Merge { "error decoding patch: " } else { "" };
            return Err(ApiError::bad_request(format!(
                "{head}json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
        }
        PatchKind::Merge => json_patch::merge(&mut object, patch),
        PatchKind::Strategic | PatchKind::Apply => strategic(&mut object, patch, schema),
    }
    Ok(object)
}

fn json_patch(object: &mut Value, patch: &Value) -> Result<(), ApiError> {
    if !patch.is_array() {
        let found = if patch.is_object() { "object" } else { "string" };
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        )));
    }
    for operation in patch.as_array().into_iter().flatten() {
        let operation = operation_of(operation).ok_or_else(ApiError::unprocessable)?;
        // As the real one: replacing a leaf that is missing adds it.
        let operation = match operation {
            json_patch::PatchOperation::Replace(replace) if object.pointer(replace.path.as_str()).is_none() => {
                json_patch::PatchOperation::Add(json_patch::AddOperation { path: replace.path, value: replace.value })
            }
            other => other,
        };
        json_patch::patch(object, &[operation]).map_err(|_| ApiError::unprocessable())?;
    }
    Ok(())
}

/// One step of a JSON patch. The frequent ones are read by hand: serde copies what is told by a tag twice, and a status
/// is large.
fn operation_of(operation: &Value) -> Option<json_patch::PatchOperation> {
    use json_patch::{AddOperation, PatchOperation, ReplaceOperation, TestOperation};
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let (path, value) = (|| text("path")?.parse().ok(), || operation.get("value").cloned());
    Some(match text("op")? {
        "add" => PatchOperation::Add(AddOperation { path: path()?, value: value()? }),
        "replace" => PatchOperation::Replace(ReplaceOperation { path: path()?, value: value()? }),
        "test" => PatchOperation::Test(TestOperation { path: path()?, value: value()? }),
        _ => return PatchOperation::deserialize(operation).ok(),
    })
}

/// The field by which strategic merge tells the items of a list apart: as the schema says, else by
/// custom.
fn merge_key<'a>(field: &str, schema: Option<Schema<'a>>) -> Option<&'a str> {
    if let Some(schema) = schema {
        return schema.patch_key().filter(|_| schema.patch_merges());
    }
    Some(match field {
        "conditions" => "type",
        "ownerReferences" => "uid",
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" | "secrets" => "name",
        "volumeMounts" => "mountPath",
        "ports" => "containerPort",
        "addresses" => "type",
        "taints" => "key",
        _ => return None,
    })
}

/// Merges `patch` into `target` as strategic merge does: maps by key, lists that merge by their
/// key or as sets, other lists replaced; null deletes.
fn strategic(target: &mut Value, patch: &Value, schema: Option<Schema<'_>>) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if changes.get("$patch") == Some(&json!("replace")) {
        let mut whole = patch.clone();
        if let Some(fields) = whole.as_object_mut() {
            fields.shift_remove("$patch");
        }
        *target = whole;
        return;
    }
    if !target.is_object() {
        *target = json!({});
    }
    for (field, change) in changes {
        if let Some(list) = field.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().cloned().unwrap_or_default();
            if let Some(items) = target[list].as_array_mut() {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if field.starts_with('$') {
            continue;
        }
        let below = schema.and_then(|s| s.field(field));
        match (change, merge_key(field, below)) {
            (Value::Null, _) => drop(target.as_object_mut().and_then(|t| t.shift_remove(field))),
            (Value::Object(_), _) => {
                if target.get(field).is_none() {
                    target[field] = json!({});
                }
                strategic(&mut target[field], change, below);
            }
            (Value::Array(items), Some(key)) => {
                merge_list(&mut target[field], items, key, below.and_then(|s| s.items()));
            }
            (Value::Array(items), None) if field == "finalizers" || below.is_some_and(|s| s.patch_merges()) => {
                let old = target[field].as_array().cloned().unwrap_or_default();
                let mut all = old.clone();
                all.extend(items.iter().filter(|i| !old.contains(i)).cloned());
                target[field] = Value::Array(in_order(all, &old, items, Value::clone));
            }
            (other, _) => target[field] = other.clone(),
        }
    }
}

fn merge_list(target: &mut Value, items: &[Value], key: &str, schema: Option<Schema<'_>>) {
    // Items without the key can only be taken as they are.
    if items.iter().any(|item| item.get(key).is_none() && item.get("$patch").is_none()) {
        *target = Value::Array(items.to_vec());
        return;
    }
    let old = target.as_array().cloned().unwrap_or_default();
    let mut merged = old.clone();
    if items.iter().any(|item| item["$patch"] == json!("replace")) {
        merged.clear();
    }
    for item in items {
        let place = merged.iter().position(|old| old.get(key).is_some() && old.get(key) == item.get(key));
        match (item["$patch"].as_str(), place) {
            (Some("delete"), Some(at)) => drop(merged.remove(at)),
            (Some(_), _) => {}
            (None, Some(at)) => strategic(&mut merged[at], item, schema),
            (None, None) => merged.push(item.clone()),
        }
    }
    let name = |item: &Value| item.get(key).cloned().unwrap_or_default();
    *target = Value::Array(in_order(merged, &old, items, name));
}

/// The patch's items in the patch's order; those that only the server has before the first one of
/// the patch's that followed them.
fn in_order(merged: Vec<Value>, old: &[Value], patch: &[Value], name: impl Fn(&Value) -> Value) -> Vec<Value> {
    let index = |list: &[Value], item: &Value| list.iter().position(|other| name(other) == name(item));
    let (mut ours, theirs): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| index(patch, item).is_some());
    ours.sort_by_key(|item| index(patch, item));
    let mut theirs = theirs.into_iter().peekable();
    let mut all = Vec::new();
    for item in ours {
        let place = index(old, &item);
        while let Some(next) = theirs.next_if(|next| place.is_some() && index(old, next) < place) {
            all.push(next);
        }
        all.push(item);
    }
    all.extend(theirs);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_of_the_status_alone_only_where_no_step_of_it_looks_elsewhere() {
        let whole = json!({"op": "add", "path": "/status", "value": {}});
        let below = json!({"op": "add", "path": "/status/phase", "value": "On"});
        let elsewhere = json!({"op": "copy", "from": "/spec/size", "path": "/status/size"});
        for (kind, patch, wanted) in [
            (PatchKind::Json, json!([whole]), Some(OfStatus::Replaces)),
            (PatchKind::Json, json!([{"op": "remove", "path": "/status"}]), Some(OfStatus::Changes)),
            (
                PatchKind::Json,
                json!([below, {"op": "move", "from": "/status/a", "path": "/status/b"}]),
                Some(OfStatus::Changes),
            ),
            (PatchKind::Json, json!([whole, below]), Some(OfStatus::Changes)),
            (PatchKind::Json, json!([below, elsewhere]), None),
            (PatchKind::Json, json!([{"op": "add", "path": "/statusX", "value": 1}]), None),
            (PatchKind::Json, json!([{"op": "add", "value": 1}]), None),
            (PatchKind::Json, json!([]), None),
            (PatchKind::Merge, json!({"status": {"phase": "On"}}), Some(OfStatus::Changes)),
            (PatchKind::Strategic, json!({"status": null}), Some(OfStatus::Changes)),
            (PatchKind::Merge, json!({"status": {}, "metadata": {"resourceVersion": "1"}}), None),
            (PatchKind::Merge, json!([whole]), None),
            (PatchKind::Apply, json!({"status": {}}), None),
        ] {
            assert_eq!(kind.of_status(&patch), wanted, "{patch}");
        }
    }
}
