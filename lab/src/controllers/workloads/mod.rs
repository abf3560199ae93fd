//! Kubernetes' own workloads, as far as they are looked at: a Deployment makes a ReplicaSet, a
//! ReplicaSet, StatefulSet, DaemonSet or Job makes pods, a CronJob Jobs, and their status follows. Who plays the
//! pods is no business of this room.
//!
//! Updates are simple: the new pods come, the old ones go once the new are ready. There are no
//! partitions, surges or deadlines.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::told::Teller;
use crate::clock::Clock;
use crate::controllers::glance;
use crate::controllers::storage::tolerate;

mod cron_jobs;
mod deployments;
mod jobs;
mod sets;
#[cfg(test)]
mod with_server;

/// After a failed write, in real time.
const RETRY: Duration = Duration::from_millis(100);
/// Labels by which pods of one template are told from those of another.
const TEMPLATE_HASH: &str = "pod-template-hash";
const REVISION_HASH: &str = "controller-revision-hash";

/// When to look again though nothing happens; `None` for never.
type Again = Option<Duration>;

/// Runs until `stop`.
pub(crate) async fn run(client: Client, clock: Clock, events: Teller, stop: CancellationToken) {
    let mut all = JoinSet::new();
    all.spawn(cron_jobs::run(Hands { client: client.clone(), events: events.clone() }, clock).boxed());
    all.spawn(control::<Deployment, ReplicaSet>(client.clone(), events.clone(), |object, hands| {
        deployments::deployment(object, hands).boxed()
    }));
    all.spawn(control::<ReplicaSet, Pod>(client.clone(), events.clone(), |object, hands| {
        deployments::replica_set(object, hands).boxed()
    }));
    all.spawn(control::<StatefulSet, Pod>(client.clone(), events.clone(), |object, hands| {
        sets::stateful_set(object, hands.client).boxed()
    }));
    all.spawn(control::<DaemonSet, Pod>(client.clone(), events.clone(), |object, hands| {
        sets::daemon_set(object, hands.client).boxed()
    }));
    all.spawn(control::<Job, Pod>(client, events, |object, hands| jobs::job(object, hands).boxed()));
    stop.cancelled().await;
    all.shutdown().await;
}

/// What a look works with.
#[derive(Clone)]
struct Hands {
    client: Client,
    events: Teller,
}

/// One look at an object.
type Look = BoxFuture<'static, Result<Again, kube::Error>>;

/// Looks at every object of a kind whenever it, or one of its children, changes. Boxed, because the
/// compiler has to prove of each that it may move between threads.
fn control<K, C>(client: Client, events: Teller, reconcile: fn(Arc<K>, Hands) -> Look) -> BoxFuture<'static, ()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    C: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let parents: Api<K> = Api::all(client.clone());
    let children: Api<C> = Api::all(client.clone());
    let look = move |object: Arc<K>, hands: Arc<Hands>| async move {
        let again = match object.meta().deletion_timestamp {
            None => reconcile(object, (*hands).clone()).await?,
            Some(_) => None,
        };
        Ok::<_, kube::Error>(again.map_or_else(Action::await_change, Action::requeue))
    };
    Controller::new(parents, watcher::Config::default())
        .owns(children, watcher::Config::default())
        .run(look, |_, error: &kube::Error, _| retry(error), Arc::new(Hands { client, events }))
        .for_each(|_| async {})
        .boxed()
}

fn retry(error: &kube::Error) -> Action {
    tracing::debug!(%error, "a workload will be looked at again");
    Action::requeue(RETRY)
}

/// A status as the kind's own controller would write it; `None` when it is there already.
async fn tell<K>(api: &Api<K>, name: &str, old: &Value, status: Value) -> Result<(), kube::Error>
where
    K: Resource + Clone,
{
    let news = status.as_object().into_iter().flatten().any(|(field, value)| &old[field] != value);
    if !news {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "status": status }));
    tolerate(glance::patch_status(api, name, &patch).await, 404)
}

/// The children that an object controls.
async fn owned<P, C>(api: &Api<C>, parent: &P) -> Result<Vec<C>, kube::Error>
where
    P: Resource,
    C: Resource + Clone + DeserializeOwned + Debug,
{
    let uid = parent.meta().uid.as_deref().unwrap_or_default();
    let controls = |child: &C| child.owner_references().iter().any(|o| o.controller == Some(true) && o.uid == uid);
    let mut all = api.list(&ListParams::default()).await?.items;
    all.retain(|child| child.meta().deletion_timestamp.is_none() && controls(child));
    Ok(all)
}

/// A pod of a template; `more` goes over what the template says.
fn pod<P>(parent: &P, template: &Value, labels: &[(&str, String)], name: Value, spec: Value) -> Value
where
    P: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let mut metadata = json!({"namespace": parent.namespace(), "labels": template.pointer("/metadata/labels"),
        "annotations": template.pointer("/metadata/annotations"), "ownerReferences": [parent.controller_owner_ref(&())]});
    for (key, value) in labels {
        metadata["labels"][*key] = json!(value);
    }
    merge(&mut metadata, name);
    let mut whole = template["spec"].clone();
    merge(&mut whole, spec);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole})
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    for (field, value) in more {
        into[field] = value;
    }
}

/// The new object; `None` where one of its name is there already.
async fn create<K>(api: &Api<K>, object: Value) -> Result<Option<K>, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + serde::Serialize + Debug,
{
    let object: K = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        made => made.map(Some),
    }
}

async fn delete<K>(api: &Api<K>, object: &K) -> Result<(), kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    tolerate(api.delete(&object.name_any(), &DeleteParams::default()).await, 404)
}

/// Whether a pod answers.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether a pod has ended; such a one is replaced.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A short name for a template that is the same for the same template only.
fn hash(template: &Value) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(template.to_string());
    digest.iter().take(10).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A condition; its time is that of the last change of its status.
fn condition(old: &Value, kind: &str, on: bool, reason: &str, message: &str) -> Value {
    let status = if on { "True" } else { "False" };
    let before = old["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == kind);
    if let Some(before) = before.filter(|c| c["status"] == status && c["reason"] == reason) {
        return before.clone();
    }
    let since =
        before.filter(|c| c["status"] == status).map_or_else(|| json!(now()), |c| c["lastTransitionTime"].clone());
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastUpdateTime": now(),
        "lastTransitionTime": since})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_nothing_changes() {
        let old = json!({"conditions": [{"type": "Available", "status": "True", "reason": "Fine", "lastTransitionTime": "then"}]});
        assert_eq!(condition(&old, "Available", true, "Fine", "")["lastTransitionTime"], "then");
        assert_ne!(condition(&old, "Available", false, "Gone", "")["lastTransitionTime"], "then");
    }

    #[test]
    fn the_same_template_has_the_same_hash() {
        assert_eq!(hash(&json!({"a": 1})), hash(&json!({"a": 1})));
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": 2})));
    }
}
