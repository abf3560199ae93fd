//! StorageMap and NetworkMap: resolving sources in the inventory, checking destinations.

use std::sync::Arc;

use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Mtv;
use super::conditions::{condition, settle, write_status};
use super::plan::content;
use super::sources::openshift;
use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{MapStatus, NetworkMap, ObjRef, Pair, Provider, Ref, StorageMap};
use crate::api::multus::NetworkAttachmentDefinition;
use crate::controllers::objects::{Restart, one_task_each};

/// Real pause between two looks of a map that is not ready.
pub(super) const AGAIN: std::time::Duration = std::time::Duration::from_millis(150);

pub(super) async fn run_storage(mtv: Arc<Mtv>, stop: CancellationToken) {
    let api: Api<StorageMap> = Api::all(mtv.client.clone());
    let worker = mtv.clone();
    one_task_each(api, Restart::OnNewGeneration, stop, move |map| storage(worker.clone(), map), |_| {}).await;
}

pub(super) async fn run_network(mtv: Arc<Mtv>, stop: CancellationToken) {
    let api: Api<NetworkMap> = Api::all(mtv.client.clone());
    let worker = mtv.clone();
    one_task_each(api, Restart::OnNewGeneration, stop, move |map| network(worker.clone(), map), |_| {}).await;
}

/// The provider that a reference names.
pub(super) async fn provider(mtv: &Mtv, reference: &ObjRef) -> Option<Provider> {
    let api: Api<Provider> = Api::namespaced(mtv.client.clone(), reference.namespace.as_deref()?);
    api.get_opt(reference.name.as_deref()?).await.ok()?
}

/// Source and destination with the conditions that speak against them (they stop everything else).
pub(super) async fn pair(mtv: &Mtv, pair: &Pair) -> Result<(Provider, Provider), Vec<Condition>> {
    let (source, destination) = tokio::join!(provider(mtv, &pair.source), provider(mtv, &pair.destination));
    let mut bad = Vec::new();
    for (side, reference, found) in
        [("Source", &pair.source, &source), ("Destination", &pair.destination, &destination)]
    {
        match found {
            None => {
                let reason = if reference.name.is_none() { "NotSet" } else { "NotFound" };
                bad.push(condition(
                    &format!("{side}ProviderNotValid"),
                    "Critical",
                    reason,
                    format!("{side} provider is not valid."),
                ));
            }
            Some(p) if !p.status.as_ref().is_some_and(|s| s.conditions.holds("Ready")) => {
                let message = format!("{side} provider does not have the Ready condition.");
                bad.push(condition(&format!("{side}ProviderNotReady"), "Critical", "", message));
            }
            Some(p) if side == "Destination" && p.spec.type_ != "openshift" => {
                bad.push(condition(
                    "DestinationProviderNotValid",
                    "Critical",
                    "TypeNotValid",
                    "Destination provider is not valid.",
                ));
            }
            Some(_) => {}
        }
    }
    match (source, destination) {
        (Some(source), Some(destination)) if bad.is_empty() => Ok((source, destination)),
        _ => Err(bad),
    }
}

fn source_condition(type_: &str, what: &str, reason: &str, newer: bool) -> Condition {
    // From 2.12 a source that is not found is only a warning.
    let category = if reason == "NotFound" && newer { "Warn" } else { "Critical" };
    let message = match reason {
        "NotSet" => format!("Source {what}: either `ID` or `Name` required."),
        "Ambiguous" => format!("Source {what} has ambiguous ref."),
        _ => format!("Source {what} not found."),
    };
    condition(type_, category, reason, message)
}

/// The one object that a reference means, as (id, name).
fn resolve<'a>(reference: &Ref, known: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Ref, &'static str> {
    if reference.type_.as_deref() == Some("pod") {
        // Only a cluster has a pod network; there is one, and it has neither id nor name.
        return Ok(Ref { type_: Some("pod".to_owned()), ..Ref::default() });
    }
    if reference.id.is_none() && reference.name.is_none() {
        return Err("NotSet");
    }
    let hits: Vec<(&str, &str)> = known
        .filter(|(id, name)| {
            reference.id.as_deref().is_some_and(|r| r == *id)
                || (reference.id.is_none()
                    && reference.name.as_deref().is_some_and(|r| r == *name || r.rsplit('/').next() == Some(name)))
        })
        .collect();
    match hits.as_slice() {
        [] => Err("NotFound"),
        [(id, name)] => Ok(Ref { id: Some((*id).to_owned()), name: Some((*name).to_owned()), ..Ref::default() }),
        _ => Err("Ambiguous"),
    }
}

/// Ends one look at a map: `Ready` where nothing speaks against it, the status written on change.
/// True once a ready status is written.
async fn conclude<K>(mtv: &Mtv, map: &K, mut status: MapStatus, last: &mut MapStatus, ready: &str) -> bool
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    if status.conditions.blockers().is_empty() {
        status.conditions.push(condition("Ready", "Required", "", ready));
    }
    status.conditions = settle(status.conditions, &last.conditions);
    if status != *last {
        if !write_status(&mtv.client, map, &status).await {
            return false;
        }
        *last = status;
    }
    last.conditions.holds("Ready")
}

/// A client of the destination's cluster.
async fn there(mtv: &Mtv, destination: &Provider) -> Client {
    let found = openshift::client_of(&mtv.client, &mtv.db, destination).await;
    found.unwrap_or_else(|_| mtv.client.clone())
}

async fn storage(mtv: Arc<Mtv>, map: StorageMap) {
    let mut last = map.status.clone().unwrap_or_default();
    loop {
        let mut status =
            MapStatus { observed_generation: map.metadata.generation.unwrap_or_default(), ..MapStatus::default() };
        match pair(&mtv, &map.spec.provider).await {
            Err(bad) => status.conditions = bad,
            Ok((source, destination)) => {
                let content = content(&mtv, &source).await;
                let classes: Api<StorageClass> = Api::all(there(&mtv, &destination).await);
                for row in &map.spec.map {
                    let known =
                        content.iter().flat_map(|c| c.datastores.iter()).map(|d| (d.id.as_str(), d.name.as_str()));
                    match resolve(&row.source, known) {
                        Ok(found) => status.references.push(found),
                        Err(reason) => {
                            status.conditions.push(source_condition(
                                "SourceStorageNotValid",
                                "storage",
                                reason,
                                mtv.version.at_least(12),
                            ));
                        }
                    }
                    if !matches!(classes.get_opt(&row.destination.storage_class).await, Ok(Some(_))) {
                        let items = vec![row.destination.storage_class.clone()];
                        let message = "Destination storage not valid.";
                        let bad = condition("DestinationStorageNotValid", "Critical", "NotFound", message);
                        status.conditions.push(Condition { items, ..bad });
                    }
                }
            }
        }
        if conclude(&mtv, &map, status, &mut last, "The storage map is ready.").await {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn network(mtv: Arc<Mtv>, map: NetworkMap) {
    let mut last = map.status.clone().unwrap_or_default();
    loop {
        let mut status =
            MapStatus { observed_generation: map.metadata.generation.unwrap_or_default(), ..MapStatus::default() };
        match pair(&mtv, &map.spec.provider).await {
            Err(bad) => status.conditions = bad,
            Ok((source, destination)) => {
                let content = content(&mtv, &source).await;
                let there = there(&mtv, &destination).await;
                for row in &map.spec.map {
                    let known =
                        content.iter().flat_map(|c| c.networks.iter()).map(|n| (n.id.as_str(), n.name.as_str()));
                    match resolve(&row.source, known) {
                        Ok(found) => status.references.push(found),
                        Err(reason) => {
                            status.conditions.push(source_condition(
                                "SourceNetworkNotValid",
                                "network",
                                reason,
                                mtv.version.at_least(12),
                            ));
                        }
                    }
                    if row.destination.type_ == "multus" {
                        status.conditions.extend(
                            nad_condition(
                                &there,
                                row.destination.namespace.as_deref(),
                                row.destination.name.as_deref(),
                            )
                            .await,
                        );
                    }
                }
            }
        }
        if conclude(&mtv, &map, status, &mut last, "The network map is ready.").await {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn nad_condition(there: &Client, namespace: Option<&str>, name: Option<&str>) -> Option<Condition> {
    let type_ = "DestinationNetworkNotValid";
    let Some(namespace) = namespace.filter(|n| !n.is_empty()) else {
        return Some(condition(type_, "Critical", "Ambiguous", "Destination network (NAD) namespace required."));
    };
    let api: Api<NetworkAttachmentDefinition> = Api::namespaced(there.clone(), namespace);
    match api.get_opt(name.unwrap_or_default()).await {
        Ok(Some(_)) => None,
        _ => Some(condition(type_, "Critical", "NotFound", "Destination network (NAD) not found.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_found_by_id_or_by_the_end_of_its_path() {
        let known = [("datastore-10", "ds1"), ("datastore-11", "ds2"), ("datastore-12", "ds2")];
        let find = |r: Ref| resolve(&r, known.iter().copied()).map(|r| r.id.unwrap());
        assert_eq!(find(Ref::by_id("datastore-11")), Ok("datastore-11".to_owned()));
        assert_eq!(find(Ref::by_name("/DC/datastore/ds1")), Ok("datastore-10".to_owned()));
        assert_eq!(find(Ref::by_name("ds2")), Err("Ambiguous"));
        assert_eq!(find(Ref::by_name("ds9")), Err("NotFound"));
        assert_eq!(find(Ref::default()), Err("NotSet"));
    }
}
