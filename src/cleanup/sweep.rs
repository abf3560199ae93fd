//! Finding what runs left behind by their label, without a ledger: the second way back.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, ListParams};

use crate::api::forklift::{Hook, Migration, NetworkMap, Plan, Provider, StorageMap};
use crate::api::multus::NetworkAttachmentDefinition;
use crate::api::names::{CREATED_ANNOTATION, RUN_LABEL, RunId};
use crate::cluster::apply::{code_of, dynamic_api};
use crate::cluster::{Cluster, retry};
use crate::ledger::Thing;

/// Lists at once.
const AT_ONCE: usize = 4;

/// What a sweep looks for, in the order in which it is to be removed.
fn kinds() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<Migration>(&()),
        ApiResource::erase::<Plan>(&()),
        ApiResource::erase::<Hook>(&()),
        ApiResource::erase::<StorageMap>(&()),
        ApiResource::erase::<NetworkMap>(&()),
        ApiResource::erase::<NetworkAttachmentDefinition>(&()),
        ApiResource::erase::<Provider>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<Namespace>(&()),
    ]
}

/// Everything on the cluster that carries the run's label, in the order in which it is to be
/// removed. Kinds that are not installed or not ours to list are passed over.
pub async fn find_by_run(cluster: &Cluster, run: &RunId) -> Vec<Thing> {
    let selector = format!("{RUN_LABEL}={run}");
    let mut found: Vec<Thing> = list_all(cluster, &selector)
        .await
        .into_iter()
        .map(|(kind, object)| Thing::Object {
            api_version: kind.api_version,
            kind: kind.kind,
            plural: kind.plural,
            namespace: object.namespace(),
            name: object.name_any(),
            cluster: cluster.url().to_owned(),
        })
        .collect();
    found.extend(node_labels(cluster, run).await);
    found
}

/// Runs whose youngest object is older than `age`, oldest first, with that object's time.
pub async fn runs_older_than(cluster: &Cluster, age: Duration) -> Vec<(RunId, Timestamp)> {
    let mut youngest: BTreeMap<RunId, Timestamp> = BTreeMap::new();
    for (_, object) in list_all(cluster, RUN_LABEL).await {
        let Some(run) = object.labels().get(RUN_LABEL).and_then(|id| RunId::parse(id)) else { continue };
        let written = object.annotations().get(CREATED_ANNOTATION).and_then(|at| at.parse().ok());
        let Some(at) = written.or_else(|| object.creation_timestamp().map(|t| t.0)) else { continue };
        youngest.entry(run).and_modify(|known| *known = (*known).max(at)).or_insert(at);
    }
    let now = Timestamp::now();
    let mut old: Vec<(RunId, Timestamp)> =
        youngest.into_iter().filter(|(_, at)| now.duration_since(*at).unsigned_abs() >= age && *at <= now).collect();
    old.sort_by_key(|(_, at)| *at);
    old
}

async fn list_all(cluster: &Cluster, selector: &str) -> Vec<(ApiResource, DynamicObject)> {
    let params = ListParams::default().labels(selector);
    let lists = stream::iter(kinds().into_iter().map(|kind| {
        let params = params.clone();
        async move {
            match dynamic_api(cluster, &kind, None).list(&params).await {
                Ok(list) => list.items.into_iter().map(|item| (kind.clone(), item)).collect(),
                Err(error) => {
                    if code_of(&error) != Some(404) {
                        tracing::warn!(kind = kind.plural, error = %retry::short(&error), "not swept");
                    }
                    Vec::new()
                }
            }
        }
    }));
    let lists: Vec<Vec<(ApiResource, DynamicObject)>> = lists.buffered(AT_ONCE).collect().await;
    lists.into_iter().flatten().collect()
}

/// Labels that a run put on nodes: their value is exactly the run id.
async fn node_labels(cluster: &Cluster, run: &RunId) -> Vec<Thing> {
    let kind = ApiResource::erase::<Node>(&());
    let nodes = match dynamic_api(cluster, &kind, None).list(&ListParams::default()).await {
        Ok(nodes) => nodes.items,
        Err(error) => {
            tracing::warn!(error = %retry::short(&error), "node labels not swept");
            return Vec::new();
        }
    };
    let ours = |node: &DynamicObject| -> Vec<String> {
        node.labels().iter().filter(|(_, v)| v.as_str() == run.as_str()).map(|(k, _)| k.clone()).collect()
    };
    nodes
        .iter()
        .flat_map(|node| ours(node).into_iter().map(|key| (node.name_any(), key)))
        .map(|(name, key)| Thing::Setting {
            api_version: kind.api_version.clone(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
            namespace: None,
            name,
            pointer: format!("/metadata/labels/{}", crate::api::text::pointer_part(&key)),
            before: None,
            after: serde_json::Value::String(run.as_str().to_owned()),
            cluster: cluster.url().to_owned(),
        })
        .collect()
}
