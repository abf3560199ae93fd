//! The objects of a Plan as they are on a cluster, and what MTV's inventory shows of its source. Reads alone.

use kube::Api;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Evidence, RetoldError};
use crate::api::forklift::{Hook, Migration, NetworkMap, ObjRef, Plan, Provider, StorageMap};
use crate::api::world::Kind;
use crate::api::world::inventory::{Listed, collections};
use crate::cluster::{Cluster, ReadError};
use crate::forklift::address::inventory_address;
use crate::forklift::inventory::{Inventory, ProviderPath};

/// Why a Plan or an inventory can't be read.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    #[error("{what}: {cause}")]
    Object { what: String, cause: kube::Error },
    #[error(transparent)]
    Inventory(#[from] ReadError),
    #[error("{0}")]
    Collection(String),
    #[error(transparent)]
    Retold(#[from] RetoldError),
}

/// The object with its kind and version, which an API client leaves out.
fn whole<K: kube::Resource<DynamicType = ()> + Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["kind"] = json!(K::kind(&()));
    value["apiVersion"] = json!(K::api_version(&()));
    value
}

async fn read<K>(cluster: &Cluster, reference: &ObjRef) -> Result<K, GatherError>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let (namespace, name) = (reference.namespace.as_deref().unwrap_or(""), reference.name.as_deref().unwrap_or(""));
    let api: Api<K> = Api::namespaced(cluster.client(), namespace);
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    api.get(name).await.map_err(|cause| GatherError::Object { what, cause })
}

/// Adds an object that may be gone; that it is missing the telling says.
async fn add<K>(cluster: &Cluster, reference: &ObjRef, evidence: &mut Evidence)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    if let Ok(found) = read::<K>(cluster, reference).await {
        evidence.add(whole(&found));
    }
}

/// A Plan and what it names. Its source's inventory as well, where MTV has it.
pub async fn evidence(cluster: &Cluster, mtv_namespace: &str, plan: &ObjRef) -> Result<Evidence, GatherError> {
    let mut evidence = Evidence::default();
    let found: Plan = read(cluster, plan).await?;
    evidence.add(whole(&found));
    let spec = &found.spec;
    add::<Provider>(cluster, &spec.provider.source, &mut evidence).await;
    add::<Provider>(cluster, &spec.provider.destination, &mut evidence).await;
    add::<NetworkMap>(cluster, &spec.map.network, &mut evidence).await;
    add::<StorageMap>(cluster, &spec.map.storage, &mut evidence).await;
    for hook in spec.vms.iter().flat_map(|vm| &vm.hooks) {
        add::<Hook>(cluster, &hook.hook, &mut evidence).await;
    }
    let api: Api<Migration> = Api::namespaced(cluster.client(), plan.namespace.as_deref().unwrap_or(""));
    if let Ok(migrations) = api.list(&kube::api::ListParams::default()).await {
        migrations.items.iter().for_each(|migration| evidence.add(whole(migration)));
    }
    if let Ok((_, listed)) = listed(cluster, mtv_namespace, &spec.provider.source).await {
        evidence.listed = listed;
    }
    Ok(evidence)
}

/// What MTV's inventory shows of a Provider, as far as worlds are made from it, and the platform.
pub async fn listed(cluster: &Cluster, mtv_namespace: &str, provider: &ObjRef) -> Result<(Kind, Listed), GatherError> {
    let found: Provider = read(cluster, provider).await?;
    let type_ = found.spec.type_.clone();
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == type_);
    let kind = kind.ok_or_else(|| RetoldError::NoWorld { platform: type_.clone() })?;
    let address = inventory_address(cluster, mtv_namespace).await?;
    let inventory = Inventory::new(cluster.clone(), address);
    let path = ProviderPath {
        type_,
        uid: found.metadata.uid.clone().unwrap_or_default(),
        name: found.metadata.name.clone().unwrap_or_default(),
    };
    let mut listed = Listed::new();
    for collection in collections(kind) {
        match inventory.list(&path, collection).await {
            Ok(items) => {
                listed.insert((*collection).to_owned(), items);
            }
            // Which of them there are differs between the platforms that MTV alone shows.
            Err(_) if *collection != "vms" && !kind.is_managed() => {}
            Err(problem) => return Err(GatherError::Collection(problem.message)),
        }
    }
    Ok((kind, listed))
}
