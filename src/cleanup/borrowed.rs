//! Runs that borrow the same field of a shared object at the same time, such as the shards of one set.
//!
//! Every borrower leaves an annotation on the object with the field's former value. Who comes while others
//! hold it takes the former value from them, and who gives it back while others still hold it takes its
//! annotation away, no more: the last one restores. Both are one write, guarded by the object's version.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::names::{RunId, hash_chars};
use crate::cluster::apply::{ApplyError, code_of, dynamic_api, field, guarded, is_definite, merge_for, read};
use crate::cluster::{Cluster, Tracked};
use crate::ledger::{EntryId, Thing};

/// Other writers may get in between; more often than this is a fight.
const CONFLICT_TRIES: usize = 5;

/// A holder that is older has died, and its ledger with it.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// What an annotation says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    /// `null`: the field was absent.
    before: Option<Value>,
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
fn holds(object: &DynamicObject, pointer: &str, run: &RunId) -> bool {
    object.annotations().contains_key(&key(pointer, run))
}

/// Another run that holds the field with the value `after`.
fn other(object: &DynamicObject, pointer: &str, run: &RunId, after: &Value) -> Option<Holder> {
    let (prefix, own) = (prefix(pointer), key(pointer, run));
    let others = object.annotations().iter().filter(|(key, _)| key.starts_with(&prefix) && **key != own);
    let mut holders = others.filter_map(|(_, text)| serde_json::from_str::<Holder>(text).ok());
    let now = Timestamp::now();
    holders.find(|holder| holder.after == *after && now.duration_since(holder.at).unsigned_abs() < LONGEST)
}

/// Adds the annotation of `run` to a merge patch.
fn take(patch: &mut Value, pointer: &str, run: &RunId, before: Option<&Value>, after: &Value) {
    if is_shared(pointer) {
        let holder = Holder { before: before.cloned(), after: after.clone(), at: Timestamp::now() };
        json_patch::merge(patch, &json!({ "metadata": { "annotations": { key(pointer, run): text(&holder) } } }));
    }
}

/// Adds its removal to a merge patch. Not by [`json_patch::merge`], which would take null for "nothing".
fn leave(patch: &mut Value, pointer: &str, run: &RunId) {
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

/// Changes one field of a shared object and remembers its former value; `Ok(None)` when it already had it.
/// `K` names the object; `pointer` is a JSON pointer.
pub async fn borrow<K>(
    tracked: &Tracked,
    namespace: Option<&str>,
    name: &str,
    pointer: &str,
    value: Value,
) -> Result<Option<EntryId>, ApplyError>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let kind = ApiResource::erase::<K>(&());
    let api = dynamic_api(&tracked.cluster, &kind, namespace);
    let described = format!("{} {name}", kind.kind);
    let _turn = tracked.cluster.settings_turn().await;
    // The entry of a try that ended in a conflict, and the conflict.
    let mut tried: Option<(EntryId, ApplyError)> = None;
    for _ in 0..CONFLICT_TRIES {
        let there = api.get(name).await.map_err(|e| ApplyError::request("read", &described, &e))?;
        let now = field(&there, pointer);
        let held = other(&there, pointer, tracked.ledger.run(), &value).filter(|_| now.as_ref() == Some(&value));
        let own = holds(&there, pointer, tracked.ledger.run());
        if now.as_ref() == Some(&value) && (own || held.is_none()) {
            // A change whose answer was lost is repeated by the transport and then conflicts with itself.
            let Some((entry, _)) = tried else { return Ok(None) };
            tracked.ledger.done(entry, there.uid())?;
            return Ok(Some(entry));
        }
        // Another run brought it to this value: what is to come back is what that run found.
        let before = held.map_or(now, |holder| holder.before);
        if let Some((entry, _)) = tried.take() {
            tracked.ledger.gone(entry)?;
        }
        let thing = Thing::Setting {
            api_version: kind.api_version.clone(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            pointer: pointer.to_owned(),
            before: before.clone(),
            after: value.clone(),
            cluster: tracked.cluster.url().to_owned(),
        };
        let what = thing.describe();
        let entry = tracked.ledger.intent(tracked.cell.as_ref(), thing)?;
        let mut patch = merge_for(pointer, value.clone());
        take(&mut patch, pointer, tracked.ledger.run(), before.as_ref(), &value);
        let patch = guarded(patch, &there);
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => {
                tracked.ledger.done(entry, there.uid())?;
                return Ok(Some(entry));
            }
            Err(error) if code_of(&error) == Some(409) => {
                tried = Some((entry, ApplyError::request("change", &what, &error)));
            }
            Err(error) => {
                if is_definite(&error) {
                    tracked.ledger.gone(entry)?;
                }
                return Err(ApplyError::request("change", &what, &error));
            }
        }
    }
    // The last entry stays open: undo compares values and closes it.
    let never = || ApplyError::Malformed { thing: described.clone(), cause: "never tried".to_owned() };
    Err(tried.map_or_else(never, |(_, conflict)| conflict))
}

/// One lent field, as its entry tells of it.
pub(super) struct Borrowed<'a> {
    pub run: &'a RunId,
    pub pointer: &'a str,
    pub before: Option<&'a Value>,
    pub after: &'a Value,
}

/// Gives the field its former value, unless another run still needs it or somebody else changed it.
pub(super) async fn give_back(
    cluster: &Cluster,
    kind: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    thing: &str,
    borrowed: Borrowed<'_>,
) -> Result<(), ApplyError> {
    let api = dynamic_api(cluster, kind, namespace);
    let _turn = cluster.settings_turn().await;
    let mut last = None;
    for _ in 0..CONFLICT_TRIES {
        let there = match read(&api, name).await {
            Ok(Some(there)) => there,
            Ok(None) => return Ok(()),
            Err(error) => return Err(ApplyError::request("read", thing, &error)),
        };
        let now = field(&there, borrowed.pointer);
        let ours = now.as_ref() == Some(borrowed.after);
        let needed = ours && other(&there, borrowed.pointer, borrowed.run, borrowed.after).is_some();
        let mut end = Ok(());
        let mut patch = Value::Null;
        if ours && !needed && now.as_ref() != borrowed.before {
            // Null removes the field.
            patch = merge_for(borrowed.pointer, borrowed.before.cloned().unwrap_or(Value::Null));
        } else if !ours && now.as_ref() != borrowed.before {
            let show = |value: Option<&Value>| value.map_or("absent".to_owned(), ToString::to_string);
            end = Err(ApplyError::SettingChanged {
                thing: thing.to_owned(),
                found: show(now.as_ref()),
                before: show(borrowed.before),
            });
        }
        if holds(&there, borrowed.pointer, borrowed.run) {
            leave(&mut patch, borrowed.pointer, borrowed.run);
        }
        if patch.is_null() {
            return end;
        }
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&guarded(patch, &there))).await {
            Ok(_) => return end,
            Err(error) if code_of(&error) == Some(409) => {
                last = Some(ApplyError::request("give back", thing, &error));
            }
            Err(error) => return Err(ApplyError::request("give back", thing, &error)),
        }
    }
    last.map_or(Ok(()), Err)
}
