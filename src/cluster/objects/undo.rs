//! Undoing one ledger entry that lives on the cluster, and verifying that it is undone.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::Value;

use super::apply::{ApplyError, code_of, dynamic_api, field, guarded, merge_for, read};
use super::holders;
use crate::api::names::{RUN_LABEL, RunId};
use crate::cluster::{Cluster, Poll, wait};
use crate::ledger::{Ledger, OpenEntry, Thing};

/// Other writers may get in between; more often than this is a fight.
const CONFLICT_TRIES: usize = 5;

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

pub(crate) fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
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

struct Borrowed<'a> {
    run: &'a RunId,
    pointer: &'a str,
    before: Option<&'a Value>,
    after: &'a Value,
}

async fn give_back(
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
        let needed = ours && holders::other(&there, borrowed.pointer, borrowed.run, borrowed.after).is_some();
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
        if holders::holds(&there, borrowed.pointer, borrowed.run) {
            holders::leave(&mut patch, borrowed.pointer, borrowed.run);
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
