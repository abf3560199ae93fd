//! StorageMap and NetworkMap: resolving sources in the inventory, checking destinations.

use std::sync::Arc;

use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Mtv;
use super::conditions::{condition, settle, write_status};
use super::patience::{Look, Patience};
use super::plan::seen;
use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{MapStatus, NetworkMap, NetworkPair, ObjRef, Pair, Provider, Ref, StorageMap, StoragePair};
use crate::api::multus::NetworkAttachmentDefinition;
use crate::controllers::objects::{Restart, one_task_each};
use crate::inventory::model::Inventory;

/// What the two kinds of map differ in.
trait MtvMap:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + DeserializeOwned
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    type Row: Send + Sync;
    /// As conditions name it.
    const WHAT: &'static str;
    const BAD_SOURCE: &'static str;

    fn providers(&self) -> &Pair;
    fn rows(&self) -> &[Self::Row];
    fn source(row: &Self::Row) -> &Ref;
    fn known_status(&self) -> Option<&MapStatus>;
    /// Ids and names that a row's source is looked up in.
    fn known(content: &Inventory) -> Vec<(&str, &str)>;
    /// What speaks against a row's destination.
    fn judge_destination(
        row: &Self::Row,
        there: &Client,
        sees: &Networks,
    ) -> impl Future<Output = Option<Condition>> + Send;
}

impl MtvMap for StorageMap {
    type Row = StoragePair;
    const WHAT: &'static str = "storage";
    const BAD_SOURCE: &'static str = "SourceStorageNotValid";

    fn providers(&self) -> &Pair {
        &self.spec.provider
    }
    fn rows(&self) -> &[StoragePair] {
        &self.spec.map
    }
    fn source(row: &StoragePair) -> &Ref {
        &row.source
    }
    fn known_status(&self) -> Option<&MapStatus> {
        self.status.as_ref()
    }
    fn known(content: &Inventory) -> Vec<(&str, &str)> {
        content.datastores.iter().map(|d| (d.id.as_str(), d.name.as_str())).collect()
    }

    async fn judge_destination(row: &StoragePair, there: &Client, _: &Networks) -> Option<Condition> {
        let class = &row.destination.storage_class;
        if matches!(Api::<StorageClass>::all(there.clone()).get_opt(class).await, Ok(Some(_))) {
            return None;
        }
        let message = "Destination storage not valid.";
        let bad = condition("DestinationStorageNotValid", "Critical", "NotFound", message);
        Some(Condition { items: vec![class.clone()], ..bad })
    }
}

impl MtvMap for NetworkMap {
    type Row = NetworkPair;
    const WHAT: &'static str = "network";
    const BAD_SOURCE: &'static str = "SourceNetworkNotValid";

    fn providers(&self) -> &Pair {
        &self.spec.provider
    }
    fn rows(&self) -> &[NetworkPair] {
        &self.spec.map
    }
    fn source(row: &NetworkPair) -> &Ref {
        &row.source
    }
    fn known_status(&self) -> Option<&MapStatus> {
        self.status.as_ref()
    }
    fn known(content: &Inventory) -> Vec<(&str, &str)> {
        content.networks.iter().map(|n| (n.id.as_str(), n.name.as_str())).collect()
    }

    async fn judge_destination(row: &NetworkPair, there: &Client, sees: &Networks) -> Option<Condition> {
        let destination = &row.destination;
        if destination.type_ != "multus" {
            return None;
        }
        nad_condition(there, sees, destination.namespace.as_deref(), destination.name.as_deref()).await
    }
}

/// Reconciles both kinds until `stop`.
pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    tokio::join!(run_kind::<StorageMap>(&mtv, stop.clone()), run_kind::<NetworkMap>(&mtv, stop));
}

async fn run_kind<K: MtvMap>(mtv: &Arc<Mtv>, stop: CancellationToken) {
    let work = |map| reconcile::<K>(mtv.clone(), map);
    one_task_each(mtv.client.clone(), &(), Restart::OnNewGeneration, stop, work, |_| {}).await;
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
                    format!("The {} provider is not valid.", side.to_lowercase()),
                ));
            }
            Some(p) if !p.status.as_ref().is_some_and(|s| s.conditions.holds("Ready")) => {
                let message = format!("The {} provider does not have the Ready condition.", side.to_lowercase());
                bad.push(condition(&format!("{side}ProviderNotReady"), "Critical", "", message));
            }
            Some(p) if side == "Destination" && p.spec.type_ != "openshift" => {
                bad.push(condition(
                    "DestinationProviderNotValid",
                    "Critical",
                    "TypeNotValid",
                    "The destination provider is not valid.",
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

/// A reference as conditions name it.
fn reference_text(reference: &Ref) -> String {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(" id:{} name:'{}' ", of(&reference.id), of(&reference.name))
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

/// What holds of a map now, `Ready` where nothing speaks against it.
async fn judge<K: MtvMap>(mtv: &Mtv, map: &K, look: Look) -> MapStatus {
    let mut status =
        MapStatus { observed_generation: map.meta().generation.unwrap_or_default(), ..MapStatus::default() };
    match pair(mtv, map.providers()).await {
        Err(bad) => status.conditions = bad,
        Ok((source, destination)) => {
            let content = seen(mtv, &source, look).await;
            let known = content.as_deref().map(K::known).unwrap_or_default();
            let there = mtv.clusters.of(&destination).await.unwrap_or_else(|_| mtv.client.clone());
            let sees = Networks::of(&destination, &mtv.namespace);
            for row in map.rows() {
                match resolve(K::source(row), known.iter().copied()) {
                    Ok(found) => status.references.push(found),
                    Err(reason) => {
                        let newer = mtv.version.at_least(12);
                        let mut bad = source_condition(K::BAD_SOURCE, K::WHAT, reason, newer);
                        if reason != "NotSet" {
                            bad.items.push(reference_text(K::source(row)));
                        }
                        status.conditions.push(bad);
                    }
                }
                status.conditions.extend(K::judge_destination(row, &there, &sees).await);
            }
        }
    }
    if status.conditions.blockers().is_empty() {
        let message = format!("The {} map is ready.", K::WHAT);
        status.conditions.push(condition("Ready", "Required", "", message));
    }
    status
}

/// Looks at a map until it is ready; its status is written when it changes.
async fn reconcile<K: MtvMap>(mtv: Arc<Mtv>, map: K) {
    let mut last = map.known_status().cloned().unwrap_or_default();
    let (mut patience, mut look) = (Patience::default(), Look::Now);
    loop {
        let mut status = judge(&mtv, &map, look).await;
        status.conditions = settle(status.conditions, &last.conditions);
        if status == last || write_status(&mtv.client, &map, &status).await {
            if status != last {
                patience = Patience::default();
            }
            last = status;
            if last.conditions.holds("Ready") {
                return;
            }
        }
        look = patience.again().await;
    }
}

/// Namespaces whose networks the inventory shows for a destination Provider.
enum Networks {
    All,
    /// Of a *restricted host*: a Provider without URL outside MTV's own namespace sees the networks of
    /// its own namespace and of `default` (`IsRestrictedHost`, `pkg/apis/forklift/v1beta1/provider.go`).
    Beside(String),
}

impl Networks {
    fn of(destination: &Provider, mtv_namespace: &str) -> Self {
        let namespace = destination.namespace().unwrap_or_default();
        if destination.spec.url.is_empty() && namespace != mtv_namespace { Self::Beside(namespace) } else { Self::All }
    }

    fn shows(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Beside(own) => namespace == own || namespace == "default",
        }
    }
}

async fn nad_condition(
    there: &Client,
    sees: &Networks,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Option<Condition> {
    let type_ = "DestinationNetworkNotValid";
    let Some(namespace) = namespace.filter(|n| !n.is_empty()) else {
        return Some(condition(type_, "Critical", "Ambiguous", "Destination network (NAD) namespace required."));
    };
    let name = name.unwrap_or_default();
    let api: Api<NetworkAttachmentDefinition> = Api::namespaced(there.clone(), namespace);
    if sees.shows(namespace) && matches!(api.get_opt(name).await, Ok(Some(_))) {
        return None;
    }
    let bad = condition(type_, "Critical", "NotFound", "Destination network (NAD) not found.");
    Some(Condition { items: vec![format!("{namespace}/{name}")], ..bad })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_outside_mtvs_namespace_sees_the_networks_beside_it_and_in_default() {
        let provider = |namespace: &str, url: &str| {
            let spec =
                crate::api::forklift::ProviderSpec { type_: "openshift".into(), url: url.into(), ..Default::default() };
            let mut provider = Provider::new("p", spec);
            provider.metadata.namespace = Some(namespace.to_owned());
            Networks::of(&provider, "openshift-mtv")
        };
        assert!(provider("openshift-mtv", "").shows("any") && provider("own", "https://api").shows("any"));
        let restricted = provider("own", "");
        assert!(restricted.shows("own") && restricted.shows("default") && !restricted.shows("any"));
    }

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
