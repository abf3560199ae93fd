//! What a Plan refers to, and which of it does not exist.
//!
//! MTV writes no status for a Plan while it can't read something that the Plan names, so somebody has
//! to look.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;

use crate::api::forklift::{Hook, NetworkMap, ObjRef, PlanSpec, Provider, StorageMap};
use crate::api::multus::NetworkAttachmentDefinition;
use crate::cluster::Cluster;

/// One line for each object that the Plan names, directly or through another, and that is not there
/// or can't be read.
pub(super) async fn missing(cluster: &Cluster, plan: &PlanSpec) -> Vec<String> {
    let mut missing = Vec::new();
    let mut own_destination = false;
    for (side, reference) in [("source", &plan.provider.source), ("destination", &plan.provider.destination)] {
        let by = format!("the {side} of the Plan");
        let Some(provider) = look::<Provider>(cluster, reference, &by, &mut missing).await else { continue };
        own_destination = side == "destination" && provider.spec.url.is_empty();
        if provider.spec.secret.name.as_deref().is_some_and(|name| !name.is_empty()) {
            let by = format!("the secret of the {side} Provider");
            look::<Secret>(cluster, &provider.spec.secret, &by, &mut missing).await;
        }
    }
    look::<StorageMap>(cluster, &plan.map.storage, "the storage map of the Plan", &mut missing).await;
    let networks = look::<NetworkMap>(cluster, &plan.map.network, "the network map of the Plan", &mut missing).await;
    // Networks of another cluster are not ours to look at.
    for row in networks.iter().filter(|_| own_destination).flat_map(|map| &map.spec.map) {
        if row.destination.type_ == "multus" {
            let network = ObjRef { namespace: row.destination.namespace.clone(), name: row.destination.name.clone() };
            let by = "a destination of the network map";
            look::<NetworkAttachmentDefinition>(cluster, &network, by, &mut missing).await;
        }
    }
    let mut looked_for: Vec<&ObjRef> = Vec::new();
    for (vm, hook) in plan.vms.iter().flat_map(|vm| vm.hooks.iter().map(move |hook| (vm, hook))) {
        // All VMs of a Plan may name the same hook.
        if !looked_for.contains(&&hook.hook) {
            looked_for.push(&hook.hook);
            let vm = vm.id.as_deref().or(vm.name.as_deref()).unwrap_or("the Plan");
            look::<Hook>(cluster, &hook.hook, &format!("the {} of {vm}", hook.step), &mut missing).await;
        }
    }
    missing
}

/// Reads the object; where that is not possible, says so in `missing`.
async fn look<K>(cluster: &Cluster, reference: &ObjRef, by: &str, missing: &mut Vec<String>) -> Option<K>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let (namespace, name) = (reference.namespace.as_deref().unwrap_or(""), reference.name.as_deref().unwrap_or(""));
    let what = format!("{} {namespace}/{name}, {by}", K::kind(&()));
    if namespace.is_empty() || name.is_empty() {
        missing.push(format!("{} of {by} is not set", K::kind(&())));
        return None;
    }
    match Api::<K>::namespaced(cluster.client(), namespace).get_opt(name).await {
        Ok(Some(found)) => Some(found),
        Ok(None) => {
            missing.push(format!("{what}, does not exist"));
            None
        }
        // What this session may not read says nothing of what MTV can.
        Err(_) => None,
    }
}
