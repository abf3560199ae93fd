//! Runs that borrow the same field of a shared object at the same time, such as the shards of one set.
//!
//! Every borrower leaves an annotation on the object with the field's former value. Who comes while others
//! hold it takes the former value from them, and who gives it back while others still hold it takes its
//! annotation away, no more: the last one restores. Both are one write, guarded by the object's version.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::names::{RunId, hash_chars};

/// A holder that is older has died, and its ledger with it.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// What an annotation says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// `null`: the field was absent.
    pub before: Option<Value>,
    after: Value,
    at: Timestamp,
}

/// Labels carry the run's own id, so nobody shares them.
fn is_shared(pointer: &str) -> bool {
    !pointer.starts_with("/metadata/")
}

/// The annotations of one field.
fn prefix(pointer: &str) -> String {
    format!("mtv-matrix.io/borrowed-{}.", hash_chars(pointer, 8))
}

fn key(pointer: &str, run: &RunId) -> String {
    format!("{}{run}", prefix(pointer))
}

/// Whether `run` has its annotation on the object.
pub(crate) fn holds(object: &DynamicObject, pointer: &str, run: &RunId) -> bool {
    object.annotations().contains_key(&key(pointer, run))
}

/// Another run that holds the field with the value `after`.
pub(crate) fn other(object: &DynamicObject, pointer: &str, run: &RunId, after: &Value) -> Option<Holder> {
    let (prefix, own) = (prefix(pointer), key(pointer, run));
    let others = object.annotations().iter().filter(|(key, _)| key.starts_with(&prefix) && **key != own);
    let mut holders = others.filter_map(|(_, text)| serde_json::from_str::<Holder>(text).ok());
    let now = Timestamp::now();
    holders.find(|holder| holder.after == *after && now.duration_since(holder.at).unsigned_abs() < LONGEST)
}

/// Adds the annotation of `run` to a merge patch.
pub(crate) fn take(patch: &mut Value, pointer: &str, run: &RunId, before: Option<&Value>, after: &Value) {
    if is_shared(pointer) {
        let holder = Holder { before: before.cloned(), after: after.clone(), at: Timestamp::now() };
        json_patch::merge(patch, &json!({ "metadata": { "annotations": { key(pointer, run): text(&holder) } } }));
    }
}

/// Adds its removal to a merge patch. Not by [`json_patch::merge`], which would take null for "nothing".
pub(crate) fn leave(patch: &mut Value, pointer: &str, run: &RunId) {
    if !patch.is_object() {
        *patch = json!({});
    }
    let Some(object) = patch.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(key(pointer, run), Value::Null);
    }
}

fn text(holder: &Holder) -> String {
    serde_json::to_string(holder).unwrap_or_default()
}
