//! Fields of shared objects that runs borrow: set for a while, and given back as they were.
//!
//! Every holder, a cell or a run, leaves an annotation on the object: which field, the value before *all*
//! holders, the value that it needs. Who comes while others hold the same value takes the former value
//! from them; who needs another value waits until they are gone. Who gives back while others still hold
//! takes its annotation away, no more: the last one restores. Each step is one write, guarded by the
//! object's version. So the object itself says what is lent, and a sweep needs no ledger to give it back.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::proof::Consent;
use crate::api::names::{CellId, RunId, hash_chars};
use crate::clock;
use crate::cluster::apply::{
    ApplyError, code_of, dynamic_api, field, guarded, is_absent, is_definite, merge_for, read,
};
use crate::cluster::{Cluster, Poll, Tracked, wait};
use crate::ledger::{EntryId, Thing};

/// Other writers may get in between; more often than this is a fight.
const CONFLICT_TRIES: usize = 10;
/// A holder that is older has died, and its ledger with it; what it found is still the value to restore.
const LONGEST: Duration = Duration::from_secs(48 * 3600);
/// What the annotations begin with; then comes a hash of the field, a dot, and the holder.
const PREFIX: &str = "mtv-matrix.io/borrowed-";

/// What an annotation says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// JSON pointer of the field; empty in annotations of version 0.1.
    #[serde(default)]
    pub pointer: String,
    /// `null`: the field was absent.
    pub before: Option<Value>,
    pub after: Value,
    at: Timestamp,
}

impl Holder {
    fn lives(&self) -> bool {
        clock::now().duration_since(self.at).unsigned_abs() < LONGEST
    }
}

/// Who holds: the run's id, and for a cell a hash of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HolderId(String);

impl HolderId {
    pub(super) fn new(run: &RunId, cell: Option<&CellId>) -> Self {
        Self(match cell {
            Some(cell) => format!("{run}.{}", hash_chars(cell.as_str(), 6)),
            None => run.to_string(),
        })
    }

    /// As a ledger entry has it.
    pub(super) fn of_entry(holder: Option<&str>, run: &RunId) -> Self {
        holder.map_or_else(|| Self::new(run, None), |holder| Self(holder.to_owned()))
    }

    fn run(&self) -> Option<RunId> {
        RunId::parse(self.0.split('.').next().unwrap_or_default())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&self, pointer: &str) -> String {
        format!("{PREFIX}{}.{self}", hash_chars(pointer, 8))
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everybody who holds something of the object.
pub(super) fn holders(object: &DynamicObject) -> Vec<(HolderId, Holder)> {
    let read = |(key, text): (&String, &String)| {
        let (_, holder) = key.strip_prefix(PREFIX)?.split_once('.')?;
        Some((HolderId(holder.to_owned()), serde_json::from_str(text).ok()?))
    };
    object.annotations().iter().filter_map(read).collect()
}

/// What this run holds of the object.
pub(super) fn held_by(object: &DynamicObject, run: &RunId) -> Vec<(HolderId, Holder)> {
    holders(object).into_iter().filter(|(id, _)| id.run().as_ref() == Some(run)).collect()
}

/// The other holders of one field. Their annotations are told by the field's hash, so that version 0.1's,
/// which do not name it, count, too.
fn others(object: &DynamicObject, pointer: &str, own: &HolderId) -> Vec<(HolderId, Holder)> {
    holders(object)
        .into_iter()
        .filter(|(id, _)| id != own && object.annotations().contains_key(&id.key(pointer)))
        .filter(|(_, holder)| holder.pointer.is_empty() || holder.pointer == pointer)
        .collect()
}

/// Sets or (with `None`) removes an annotation in a merge patch. Not by [`json_patch::merge`], which would
/// take null for "nothing".
fn annotate(patch: &mut Value, key: String, holder: Option<&Holder>) {
    if !patch.is_object() {
        *patch = json!({});
    }
    let Some(object) = patch.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        let text = holder.map(|holder| Value::from(serde_json::to_string(holder).unwrap_or_default()));
        annotations.insert(key, text.unwrap_or(Value::Null));
    }
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), ToString::to_string)
}

/// What came of asking for a field.
enum Asked {
    /// Held now; whether the value had to be changed.
    Lent { entry: EntryId, changed: bool },
    /// It has the value, and this login may not write to the object: nothing is held.
    AsItIs,
    /// Somebody holds it with another value.
    Busy(String),
    /// Somebody wrote in between.
    Again(ApplyError),
}

/// Sets one field of a shared object for the holder and remembers its former value. Waits, `limit` at
/// most, while others hold it with another value. `Ok(None)`: it has the value already.
/// `K` names the object; `pointer` is a JSON pointer.
pub async fn borrow<K>(
    tracked: &Tracked,
    namespace: Option<&str>,
    name: &str,
    pointer: &str,
    value: Value,
    limit: Duration,
) -> Result<Option<EntryId>, ApplyError>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let kind = ApiResource::erase::<K>(&());
    let what = format!("{pointer} of {} {name} to be free for the value {value}", kind.kind);
    let wanted = Wanted { tracked, kind: &kind, namespace, name, pointer, value: &value };
    let failed = std::sync::Mutex::new(None);
    let looked = wait::poll(&what, limit, || async {
        let mut last = None;
        for _ in 0..CONFLICT_TRIES {
            match wanted.ask().await {
                Ok(Asked::Again(conflict)) => last = Some(conflict),
                Ok(Asked::Busy(by)) => return Poll::NotYet(by),
                Ok(Asked::Lent { entry, changed }) => return Poll::Done(Ok(changed.then_some(entry))),
                Ok(Asked::AsItIs) => return Poll::Done(Ok(None)),
                Err(error) => return Poll::Done(Err(error)),
            }
        }
        if let (Some(conflict), Ok(mut failed)) = (last, failed.lock()) {
            *failed = Some(conflict);
        }
        Poll::NotYet("others write to it again and again".to_owned())
    })
    .await;
    match looked {
        Ok(result) => result,
        Err(late) => Err(failed.into_inner().ok().flatten().unwrap_or(ApplyError::Wait(late))),
    }
}

struct Wanted<'a> {
    tracked: &'a Tracked,
    kind: &'a ApiResource,
    namespace: Option<&'a str>,
    name: &'a str,
    pointer: &'a str,
    value: &'a Value,
}

impl Wanted<'_> {
    async fn ask(&self) -> Result<Asked, ApplyError> {
        let Self { tracked, kind, namespace, name, pointer, value } = *self;
        let ledger = &tracked.ledger;
        let api = dynamic_api(&tracked.cluster, kind, namespace);
        let described = format!("{} {name}", kind.kind);
        let own = HolderId::new(ledger.run(), tracked.cell.as_ref());
        let _turn = tracked.cluster.settings_turn().await;
        let there = api.get(name).await.map_err(|e| ApplyError::request("read", &described, &e))?;
        let now = field(&there, pointer);
        let others = others(&there, pointer, &own);
        let busy = others.iter().find(|(_, holder)| holder.lives() && holder.after != *value);
        if let Some((id, holder)) = busy.filter(|(_, holder)| now.as_ref() == Some(&holder.after)) {
            return Ok(Asked::Busy(format!("{id} holds it at {} since {}", holder.after, holder.at)));
        }
        // Somebody brought it to its value: what is to come back is what was there before all of them.
        let same = others.iter().find(|(_, holder)| now.as_ref() == Some(&holder.after));
        let before = same.map_or_else(|| now.clone(), |(_, holder)| holder.before.clone());
        let mine =
            there.annotations().get(&own.key(pointer)).and_then(|text| serde_json::from_str::<Holder>(text).ok());
        // Ours already: a change whose answer was lost is repeated, and its first *before* is the true one.
        let before = mine.map_or(before, |holder| holder.before);
        let thing = Thing::Setting {
            api_version: kind.api_version.clone(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            pointer: pointer.to_owned(),
            before: before.clone(),
            after: value.clone(),
            holder: Some(own.as_str().to_owned()),
            cluster: tracked.cluster.id().to_owned(),
        };
        let what = thing.describe();
        let entry = ledger.intent(tracked.cell.as_ref(), thing)?;
        // A field that is to be absent is so.
        let changed = now.as_ref().unwrap_or(&Value::Null) != value;
        let mut patch = if changed { merge_for(pointer, value.clone()) } else { json!({}) };
        let holder = Holder { pointer: pointer.to_owned(), before, after: value.clone(), at: clock::now() };
        annotate(&mut patch, own.key(pointer), Some(&holder));
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&guarded(patch, &there))).await {
            Ok(_) => {
                ledger.done(entry, there.uid())?;
                Ok(Asked::Lent { entry, changed: changed || !others.is_empty() })
            }
            Err(error) if code_of(&error) == Some(409) => {
                ledger.gone(entry)?;
                Ok(Asked::Again(ApplyError::request("change", &what, &error)))
            }
            Err(error) => {
                if is_definite(&error) {
                    ledger.gone(entry)?;
                }
                if !changed && code_of(&error) == Some(403) {
                    return Ok(Asked::AsItIs);
                }
                Err(ApplyError::request("change", &what, &error))
            }
        }
    }
}

/// One lent field, as its entry tells of it.
pub(super) struct Borrowed<'a> {
    pub holder: &'a HolderId,
    pub pointer: &'a str,
    pub before: Option<&'a Value>,
    pub after: &'a Value,
    pub consent: Consent,
}

/// Gives the field its former value, unless somebody still needs it or somebody else changed it. Whether
/// there was anything to give back.
pub(super) async fn give_back(
    cluster: &Cluster,
    kind: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    thing: &str,
    borrowed: Borrowed<'_>,
) -> Result<bool, ApplyError> {
    let api = dynamic_api(cluster, kind, namespace);
    let _turn = cluster.settings_turn().await;
    let mut last = None;
    for _ in 0..CONFLICT_TRIES {
        let there = match read(&api, name).await {
            Ok(Some(there)) => there,
            Ok(None) => return Ok(true),
            Err(error) => return Err(ApplyError::request("read", thing, &error)),
        };
        let (patch, end) = step(&there, thing, &borrowed);
        if patch.is_null() {
            return end.map(|()| false);
        }
        match send(&api, name, patch, &there).await {
            Ok(()) => return end.map(|()| true),
            Err(error) if code_of(&error) == Some(409) => {
                last = Some(ApplyError::request("give back", thing, &error));
            }
            // It went between the look and the write, and its field with it.
            Err(error) if is_absent(&error) => return Ok(true),
            Err(error) => return Err(ApplyError::request("give back", thing, &error)),
        }
    }
    last.map_or(Ok(true), Err)
}

async fn send(api: &Api<DynamicObject>, name: &str, patch: Value, seen: &DynamicObject) -> Result<(), kube::Error> {
    api.patch(name, &PatchParams::default(), &Patch::Merge(&guarded(patch, seen))).await.map(drop)
}

/// What to write to the object (`null`: nothing), and how giving back ends once that is written.
fn step(there: &DynamicObject, thing: &str, borrowed: &Borrowed<'_>) -> (Value, Result<(), ApplyError>) {
    let Borrowed { holder, pointer, before, after, consent } = *borrowed;
    let key = holder.key(pointer);
    let own: Option<Holder> = there.annotations().get(&key).and_then(|text| serde_json::from_str(text).ok());
    let others = others(there, pointer, holder);
    let now = field(there, pointer);
    // The object knows best: the ledger may have been written before the last holder came.
    let before = own.as_ref().map_or(before, |own| own.before.as_ref());
    let ours = now.as_ref().unwrap_or(&Value::Null) == after;
    if own.is_none() && ours && now.as_ref() != before && others.is_empty() && consent == Consent::Proven {
        let why = format!("it has no annotation {key}");
        return (Value::Null, Err(ApplyError::Unproven { thing: thing.to_owned(), why }));
    }
    let needed = others.iter().any(|(_, other)| other.lives() && other.after == *after);
    let another = others.iter().any(|(_, other)| now.as_ref() == Some(&other.after));
    let mut patch = Value::Null;
    let mut end = Ok(());
    if ours && !needed && (own.is_some() || others.is_empty()) && now.as_ref() != before {
        // Null removes the field.
        patch = merge_for(pointer, before.cloned().unwrap_or(Value::Null));
        // Who died while it held has nothing to give back any more.
        for (dead, _) in others.iter().filter(|(_, other)| other.after == *after) {
            annotate(&mut patch, dead.key(pointer), None);
        }
    } else if !ours && !another && now.as_ref() != before {
        end = Err(ApplyError::SettingChanged {
            thing: thing.to_owned(),
            found: show(now.as_ref()),
            before: show(before),
        });
    }
    if there.annotations().contains_key(&key) {
        annotate(&mut patch, key, None);
    }
    (patch, end)
}
