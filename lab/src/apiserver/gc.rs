//! The controllers that come with an API server: garbage collection by owner references, foreground
//! deletion, the emptying of terminating namespaces, and the status of quotas and disruption budgets.
//! Driven by the store's work list, never by polling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::error::ApiError;
use super::resources::ResourceDef;
use super::store::{Action, ObjectKey, Work, has_finalizers, is_deleting, metadata};
use super::write::{DeleteOptions, Part, Verb, Write};
use super::{State, budgets, quota};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// How much is taken up at once.
const BATCH: usize = 256;

pub(super) async fn run(state: Arc<State>, mut inbox: UnboundedReceiver<Work>) {
    let mut batch = Vec::new();
    loop {
        let some = tokio::select! {
            () = state.store.stop.cancelled() => return,
            some = inbox.recv_many(&mut batch, BATCH) => some,
        };
        if some == 0 {
            return;
        }
        work(&state, batch.drain(..));
    }
}

/// Thirty objects that go with their namespace are thirty times word of it: it is looked at once, after them.
fn work(state: &State, batch: impl Iterator<Item = Work>) {
    let (mut emptied, mut counted) = (BTreeSet::new(), BTreeSet::new());
    for work in batch {
        match work {
            Work::Examine(key) => examine(state, &key),
            Work::Foreground(key) => {
                orphan(state, &key);
                foreground(state, &key);
            }
            Work::Namespace(name) => drop(emptied.insert(name)),
            Work::Count(name) => drop(counted.insert(name)),
        }
    }
    for name in emptied {
        namespace(state, &name);
    }
    for name in counted {
        quota::recount(state, &name);
        budgets::recount(state, &name);
    }
}

fn delete(state: &State, key: &ObjectKey) {
    if let Some(def) = state.registry.stored(&key.storage) {
        // It may be gone already, which is what is wanted.
        let _ = state.delete(&def, key, &DeleteOptions::default());
    }
}

/// Deletes an object whose owners are all gone. An owner of a kind that the server does not know
/// counts as there; so does one that is being deleted, unless it waits for its dependents.
fn examine(state: &State, key: &ObjectKey) {
    let Some(object) = state.store.get(key) else { return };
    let owners: Vec<Value> = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let text = |owner: &Value, field: &str| owner[field].as_str().unwrap_or_default().to_owned();
    let (mut gone, mut alive) = (Vec::new(), false);
    for owner in &owners {
        let known = state.registry.by_kind(&text(owner, "apiVersion"), &text(owner, "kind")).is_some();
        if known && !state.store.lock().has_uid(&text(owner, "uid")) {
            gone.push(text(owner, "uid"));
        } else {
            alive = true;
        }
    }
    if gone.is_empty() || is_deleting(&object) {
        return;
    }
    if !alive {
        return delete(state, key);
    }
    // Some owners live: the object stays, without the dead ones' references.
    let _ = state.store.write(key, |_, current| {
        let mut object = Value::clone(current.ok_or_else(ApiError::no_such_resource)?);
        if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
            owners.retain(|o| !gone.iter().any(|uid| o["uid"] == json!(uid)));
        }
        Ok(Action::Put(object))
    });
}

/// Deletes the dependents of an object that waits for them, and lets it go when there are none.
fn foreground(state: &State, key: &ObjectKey) {
    let Some(object) = state.store.get(key) else { return };
    let finalizers = object["metadata"]["finalizers"].as_array();
    if !is_deleting(&object) || !finalizers.is_some_and(|f| f.contains(&json!(FOREGROUND))) {
        return;
    }
    let dependents = state.store.dependents(metadata(&object, "uid"));
    if !dependents.is_empty() {
        for dependent in dependents.iter().filter(|d| state.store.get(d).is_some_and(|o| !is_deleting(&o))) {
            delete(state, dependent);
        }
        return;
    }
    let Some(def) = state.registry.stored(&key.storage) else { return };
    finish(state, &def, key, FOREGROUND);
}

/// Takes one of the collector's finalizers away.
fn finish(state: &State, def: &ResourceDef, key: &ObjectKey, finalizer: &str) {
    let _ = state.update(def, key, Part::Main, &Write::inside(Verb::Patch), |current| {
        let mut object = current.clone();
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|f| f != finalizer);
        }
        Ok(object)
    });
}

/// Lets an object's dependents live on without it.
fn orphan(state: &State, key: &ObjectKey) {
    let Some(object) = state.store.get(key) else { return };
    let finalizers = object["metadata"]["finalizers"].as_array();
    if !is_deleting(&object) || !finalizers.is_some_and(|f| f.contains(&json!(ORPHAN))) {
        return;
    }
    state.strip_owner(metadata(&object, "uid"));
    if let Some(def) = state.registry.stored(&key.storage) {
        finish(state, &def, key, ORPHAN);
    }
}

/// Empties a terminating namespace; removes it when nothing is left, else says what is.
fn namespace(state: &State, name: &str) {
    let storage = (String::new(), "namespaces".to_owned());
    let key = ObjectKey { storage, namespace: String::new(), name: name.to_owned() };
    if !state.store.get(&key).is_some_and(|n| is_deleting(&n)) {
        return;
    }
    for content in state.store.contents(name) {
        if state.store.get(&content).is_some_and(|o| !is_deleting(&o)) {
            delete(state, &content);
        }
    }
    let left = state.store.contents(name);
    let (resources, finalizers) = count(state, &left);
    let _ = state.store.write(&key, |_, current| {
        let current = current.ok_or_else(ApiError::no_such_resource)?;
        let mut namespace = Value::clone(current);
        if left.is_empty() && !has_finalizers(current) {
            namespace["spec"]["finalizers"] = json!([]);
            return Ok(Action::Remove(namespace));
        }
        set_conditions(&mut namespace, &resources, &finalizers);
        Ok(Action::Put(namespace))
    });
}

/// How often something is left in a namespace.
type Counts = BTreeMap<String, usize>;

/// What is left, by resource and by finalizer.
fn count(state: &State, left: &[ObjectKey]) -> (Counts, Counts) {
    let (mut resources, mut finalizers) = (Counts::new(), Counts::new());
    for key in left {
        *resources.entry(format!("{}.{}", key.storage.1, key.storage.0)).or_default() += 1;
        let object = state.store.get(key).unwrap_or_default();
        for finalizer in object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            *finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
    (resources, finalizers)
}

/// Says what a terminating namespace waits for.
fn set_conditions(namespace: &mut Value, resources: &Counts, finalizers: &Counts) {
    let list = |map: &Counts, what: &str| -> String {
        map.iter().map(|(name, n)| format!("{name} {what} {n} resource instances")).collect::<Vec<_>>().join(", ")
    };
    let remaining = format!("Some resources are remaining: {}", list(resources, "has"));
    let holding = format!("Some content in the namespace has finalizers remaining: {}", list(finalizers, "in"));
    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        ("NamespaceContentRemaining", !resources.is_empty(), "SomeResourcesRemain", remaining),
        ("NamespaceFinalizersRemaining", !finalizers.is_empty(), "SomeFinalizersRemain", holding),
    ];
    let conditions: Vec<Value> = wanted
        .into_iter()
        .map(|(kind, on, reason, message)| {
            let (status, reason, message) = match (on, kind) {
                (true, _) => ("True", reason, message),
                (false, "NamespaceContentRemaining") => {
                    ("False", "ContentRemoved", "All content successfully removed".to_owned())
                }
                (false, "NamespaceFinalizersRemaining") => {
                    ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
                }
                (false, _) => ("False", reason, message),
            };
            let old =
                namespace["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == json!(kind));
            let since = match old {
                Some(old) if old["status"] == json!(status) => old["lastTransitionTime"].clone(),
                _ => json!(super::write::now()),
            };
            json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message})
        })
        .collect();
    namespace["status"]["conditions"] = json!(conditions);
}
