//! Undoing one thing that lives on a cluster, and verifying that it is undone.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Preconditions, PropagationPolicy};
use serde_json::Value;

use super::borrowed::{Borrowed, give_back};
use crate::api::names::RUN_LABEL;
use crate::cluster::apply::{ApplyError, code_of, dynamic_api, read, resource};
use crate::cluster::{Cluster, Poll, wait};
use crate::ledger::{Ledger, OpenEntry, Thing};

/// Undoes one ledger entry that lives on the cluster (an object or a setting), verifies it, writes *gone*.
/// Never deletes an object without this run's label.
///
/// A setting that somebody else changed meanwhile is left as it is: the entry is closed, and the
/// error says so once.
pub async fn undo(cluster: &Cluster, ledger: &Ledger, entry: &OpenEntry, limit: Duration) -> Result<(), ApplyError> {
    let described = entry.thing.describe();
    match &entry.thing {
        Thing::Object { api_version, kind, plural, namespace, name, cluster: at } => {
            same_cluster(cluster, at, &described)?;
            let kind = resource(api_version, kind, plural);
            let run = ledger.run().as_str();
            remove(cluster, &kind, namespace.as_deref(), name, run, limit).await?;
        }
        Thing::Setting { api_version, kind, plural, namespace, name, pointer, before, after, cluster: at } => {
            same_cluster(cluster, at, &described)?;
            let kind = resource(api_version, kind, plural);
            let borrowed = Borrowed { run: ledger.run(), pointer, before: before.as_ref(), after };
            match give_back(cluster, &kind, namespace.as_deref(), name, &described, borrowed).await {
                Err(changed @ ApplyError::SettingChanged { .. }) => {
                    ledger.gone(entry.id)?;
                    return Err(changed);
                }
                other => other?,
            }
        }
        Thing::SourceVm { .. } | Thing::SourceItem { .. } => {
            return Err(ApplyError::NotOnCluster { thing: described });
        }
    }
    ledger.gone(entry.id)?;
    Ok(())
}

fn same_cluster(cluster: &Cluster, at: &str, thing: &str) -> Result<(), ApplyError> {
    if at.trim_end_matches('/') == cluster.url() {
        return Ok(());
    }
    Err(ApplyError::OtherCluster { thing: thing.to_owned(), cluster: at.to_owned() })
}

/// Deletes the object if it carries the run's label, and waits until it is gone.
async fn remove(
    cluster: &Cluster,
    kind: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    run: &str,
    limit: Duration,
) -> Result<(), ApplyError> {
    let thing = format!("{} {}", kind.kind, namespace.map_or(name.to_owned(), |ns| format!("{ns}/{name}")));
    let api = dynamic_api(cluster, kind, namespace);
    let there = match read(&api, name).await {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(()),
        Err(error) => return Err(ApplyError::request("read", &thing, &error)),
    };
    if there.labels().get(RUN_LABEL).map(String::as_str) != Some(run) {
        return Err(ApplyError::NotOurs { thing, run: run.to_owned() });
    }
    let uid = there.uid();
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: uid.clone().map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    };
    // A second DELETE of a namespace on its way out is answered 409.
    if there.metadata.deletion_timestamp.is_none() {
        match api.delete(name, &params).await {
            Ok(_) => {}
            Err(error) if code_of(&error) == Some(404) => return Ok(()),
            // Going already, or another object by now: the reads below tell.
            Err(error) if code_of(&error) == Some(409) => {}
            Err(error) => return Err(ApplyError::request("delete", &thing, &error)),
        }
    }
    // Most objects are gone with the answer; one read is cheaper than a watch.
    match read(&api, name).await {
        Ok(None) => return Ok(()),
        Ok(Some(now)) if now.uid() != uid => return Ok(()),
        _ => {}
    }
    let what = format!("{thing} to be gone");
    let gone = wait::until_dynamic(cluster, kind, namespace, name, &what, limit, |seen| match seen {
        None => Poll::Done(()),
        Some(seen) if seen.uid() != uid => Poll::Done(()),
        Some(seen) => Poll::NotYet(why_it_stays(seen)),
    });
    Ok(gone.await?)
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
