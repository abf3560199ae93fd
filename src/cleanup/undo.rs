//! Undoing one thing that lives on a cluster, and verifying that it is undone.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, EvictParams, Preconditions, PropagationPolicy};
use serde_json::Value;

use super::borrowed::{Borrowed, HolderId, give_back};
use super::proof::{self, Consent, Judgement};
use crate::cluster::apply::{ApplyError, code_of, dynamic_api, place, read, resource};
use crate::cluster::{Cluster, Poll, wait};
use crate::ledger::{Ledger, OpenEntry, Thing};

/// Other writers may get in between; more often than this is a fight.
const CONFLICT_TRIES: usize = 10;

/// How an entry is undone.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub consent: Consent,
    /// For the thing to be gone.
    pub limit: Duration,
    /// How long what was never answered for may still come; zero where it was.
    pub late: Duration,
}

/// Undoes one ledger entry that lives on the cluster (an object or a setting), verifies it, writes *gone*.
/// Deletes an object only on proof, or with a person's consent where there is none to be had.
///
/// A setting that somebody else changed meanwhile is left as it is: the entry is closed, and the
/// error says so once.
pub async fn undo(cluster: &Cluster, ledger: &Ledger, entry: &OpenEntry, how: How) -> Result<(), ApplyError> {
    let undone = match once(cluster, ledger, entry, how).await {
        Ok(false) if !how.late.is_zero() => {
            let what = format!("{} to come after all", entry.thing.describe());
            let came = wait::poll(&what, how.late, || async {
                match once(cluster, ledger, entry, how).await {
                    Ok(true) => Poll::Done(Ok(())),
                    Ok(false) => Poll::NotYet("not there".to_owned()),
                    Err(error) => Poll::Done(Err(error)),
                }
            });
            // Nothing came, and nothing can come any more.
            came.await.unwrap_or(Ok(()))
        }
        other => other.map(drop),
    };
    match undone {
        Ok(()) => Ok(ledger.gone(entry.id)?),
        Err(changed @ ApplyError::SettingChanged { .. }) => {
            ledger.gone(entry.id)?;
            Err(changed)
        }
        Err(error) => Err(error),
    }
}

/// Whether there was anything to undo.
async fn once(cluster: &Cluster, ledger: &Ledger, entry: &OpenEntry, how: How) -> Result<bool, ApplyError> {
    let described = entry.thing.describe();
    match &entry.thing {
        Thing::Object { api_version, kind, plural, namespace, name, cluster: at } => {
            same_cluster(cluster, at, &described)?;
            let object = Object { kind: resource(api_version, kind, plural), namespace: namespace.as_deref(), name };
            let removed = remove(cluster, &object, ledger, how).await?;
            cluster.hub().gone(&object.kind, object.namespace, name);
            Ok(removed)
        }
        Thing::Setting { api_version, kind, plural, namespace, name, pointer, before, after, holder, cluster: at } => {
            same_cluster(cluster, at, &described)?;
            let kind = resource(api_version, kind, plural);
            let holder = HolderId::of_entry(holder.as_deref(), ledger.run());
            let borrowed = Borrowed { holder: &holder, pointer, before: before.as_ref(), after, consent: how.consent };
            give_back(cluster, &kind, namespace.as_deref(), name, &described, borrowed).await
        }
        Thing::SourceVm { .. } | Thing::SourceItem { .. } => Err(ApplyError::NotOnCluster { thing: described }),
    }
}

/// Whose the object of an entry is; `None`: it is not there. Changes nothing.
pub async fn judge(cluster: &Cluster, ledger: &Ledger, thing: &Thing) -> Result<Option<Judgement>, ApplyError> {
    let Thing::Object { api_version, kind, plural, namespace, name, cluster: at } = thing else {
        return Err(ApplyError::NotOnCluster { thing: thing.describe() });
    };
    let described = thing.describe();
    same_cluster(cluster, at, &described)?;
    let api = dynamic_api(cluster, &resource(api_version, kind, plural), namespace.as_deref());
    let there = read(&api, name).await.map_err(|error| unreadable(&described, &error))?;
    Ok(there.map(|there| proof::of_object(&there, kind, ledger.run(), ledger.marker())))
}

fn same_cluster(cluster: &Cluster, at: &str, thing: &str) -> Result<(), ApplyError> {
    if cluster.is_known_as(at) {
        return Ok(());
    }
    Err(ApplyError::OtherCluster { thing: thing.to_owned(), cluster: at.to_owned() })
}

struct Object<'a> {
    kind: ApiResource,
    namespace: Option<&'a str>,
    name: &'a str,
}

fn unreadable(thing: &str, error: &kube::Error) -> ApplyError {
    // Anything else that a 404 means than this one object.
    if code_of(error) == Some(404) {
        return ApplyError::UnknownKind { thing: thing.to_owned() };
    }
    ApplyError::request("read", thing, error)
}

/// Kills a pod that MTV or CDI made for this run, or the controller's: the caller has told it by their labels. It goes at
/// once, and only while it is the very one that was seen. Whether it was there.
pub async fn kill(cluster: &Cluster, namespace: &str, name: &str, uid: Option<&str>) -> Result<bool, ApplyError> {
    let kind = resource("v1", "Pod", "pods");
    let api = dynamic_api(cluster, &kind, Some(namespace));
    let held = Preconditions { uid: uid.map(str::to_owned), resource_version: None };
    let params = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(held), ..DeleteParams::default() };
    #[expect(clippy::disallowed_methods, reason = "a story kills what works for its own Plan, by its uid")]
    let killed = api.delete(name, &params).await;
    match killed {
        Ok(_) => Ok(true),
        Err(error) if matches!(code_of(&error), Some(404 | 409)) => Ok(false),
        Err(error) => Err(ApplyError::request("kill", &format!("Pod {namespace}/{name}"), &error)),
    }
}

/// Asks a pod off its node, as a drain does; told and held as in [`kill`]. Whether it was there.
pub async fn evict(cluster: &Cluster, namespace: &str, name: &str, uid: Option<&str>) -> Result<bool, ApplyError> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let held = Preconditions { uid: uid.map(str::to_owned), resource_version: None };
    let delete_options = Some(DeleteParams { preconditions: Some(held), ..DeleteParams::default() });
    match api.evict(name, &EvictParams { delete_options, ..EvictParams::default() }).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(code_of(&error), Some(404 | 409)) => Ok(false),
        Err(error) => Err(ApplyError::request("evict", &format!("Pod {namespace}/{name}"), &error)),
    }
}

/// Deletes the object if it is proven to be the run's, exactly as it was read, and waits until it is gone.
/// Whether it was there.
async fn remove(cluster: &Cluster, object: &Object<'_>, ledger: &Ledger, how: How) -> Result<bool, ApplyError> {
    let Object { kind, namespace, name } = object;
    let (namespace, name) = (*namespace, *name);
    let thing = format!("{} {}", kind.kind, place(namespace, name));
    let api = dynamic_api(cluster, kind, namespace);
    let mut conflict = None;
    let mut uid = None;
    for _ in 0..CONFLICT_TRIES {
        let there = match read(&api, name).await {
            Ok(Some(there)) => there,
            Ok(None) => return Ok(uid.is_some()),
            Err(error) => return Err(unreadable(&thing, &error)),
        };
        match proof::of_object(&there, &kind.kind, ledger.run(), ledger.marker()) {
            Judgement::Ours => {}
            Judgement::Unproven(_) if how.consent == Consent::Unproven => {}
            Judgement::Unproven(why) => return Err(ApplyError::Unproven { thing, why }),
            Judgement::Foreign(why) => return Err(ApplyError::NotOurs { thing, why }),
        }
        uid = there.uid();
        cluster.hub().told(kind, &there);
        // A second DELETE of a namespace on its way out is answered 409.
        if there.metadata.deletion_timestamp.is_some() {
            conflict = None;
            break;
        }
        let held = Preconditions { uid: there.uid(), resource_version: there.metadata.resource_version.clone() };
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(held),
            ..DeleteParams::default()
        };
        #[expect(clippy::disallowed_methods, reason = "what was judged right before goes, or nothing")]
        let deleted = api.delete(name, &params).await;
        match deleted {
            Ok(_) => {
                conflict = None;
                break;
            }
            Err(error) if code_of(&error) == Some(404) => return Ok(true),
            // Somebody wrote to it, or it is another object by now: it is read and judged again.
            Err(error) if code_of(&error) == Some(409) => {
                conflict = Some(ApplyError::request("delete", &thing, &error));
            }
            Err(error) => return Err(ApplyError::request("delete", &thing, &error)),
        }
    }
    if let Some(conflict) = conflict {
        return Err(conflict);
    }
    // Most objects are gone with the answer; one read is cheaper than a watch that is not there yet.
    if !cluster.hub().is_wide(kind, namespace, name) {
        match read(&api, name).await {
            Ok(None) => return Ok(true),
            Ok(Some(now)) if now.uid() != uid => return Ok(true),
            _ => {}
        }
    }
    let what = format!("{thing} to be gone");
    let gone = wait::until_dynamic(cluster, kind, namespace, name, &what, how.limit, |seen| match seen {
        None => Poll::Done(()),
        Some(seen) if seen.uid() != uid => Poll::Done(()),
        Some(seen) => Poll::NotYet(why_it_stays(seen)),
    });
    gone.await?;
    Ok(true)
}

/// Finalizers, and a namespace's own words about what remains in it.
fn why_it_stays(object: &DynamicObject) -> String {
    let mut said = match object.metadata.deletion_timestamp {
        Some(_) => "being deleted".to_owned(),
        None => "present".to_owned(),
    };
    if !object.finalizers().is_empty() {
        said.push_str(&format!(", finalizers {}", object.finalizers().join(", ")));
    }
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        let telling = matches!(
            text("type"),
            "NamespaceContentRemaining"
                | "NamespaceFinalizersRemaining"
                | "NamespaceDeletionDiscoveryFailure"
                | "NamespaceDeletionContentFailure"
        );
        if telling && text("status") == "True" {
            said.push_str(&format!("; {}", text("message")));
        }
    }
    said
}
