//! StorageMap and NetworkMap.

use super::MtvError;
use super::adapter::SourceRef;
use super::ready::{self, Patience};
use crate::api::forklift::{
    NetworkDestination, NetworkMap, NetworkMapSpec, NetworkPair, Pair, StorageDestination, StorageMap, StorageMapSpec,
    StoragePair,
};
use crate::cluster::Tracked;

/// Every source storage lands on `storage_class`; CDI's StorageProfile decides the modes.
pub fn storage_rows(storages: &[SourceRef], storage_class: &str) -> Vec<StoragePair> {
    storages
        .iter()
        .map(|storage| StoragePair {
            source: storage.reference.clone(),
            destination: StorageDestination {
                storage_class: storage_class.to_owned(),
                ..StorageDestination::default()
            },
            offload_plugin: None,
        })
        .collect()
}

/// The first network lands on the pod network, the others each on a NAD of `nads` (namespace, name).
pub fn network_rows(networks: &[SourceRef], nads: &[(String, String)]) -> Vec<NetworkPair> {
    let pod = NetworkDestination { type_: "pod".to_owned(), ..NetworkDestination::default() };
    let multus = nads.iter().map(|(namespace, name)| NetworkDestination {
        type_: "multus".to_owned(),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
    });
    networks
        .iter()
        .zip(std::iter::once(pod).chain(multus))
        .map(|(network, destination)| NetworkPair { source: network.reference.clone(), destination })
        .collect()
}

/// Creates the map and waits until it is `Ready`.
pub async fn create_storage_map(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    provider: Pair,
    map: Vec<StoragePair>,
    patience: Patience,
) -> Result<(), MtvError> {
    let object = StorageMap::new(name, StorageMapSpec { provider, map });
    ready::create(tracked, namespace, object, patience, ready::nothing).await.map(drop)
}

/// Creates the map and waits until it is `Ready`.
pub async fn create_network_map(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    provider: Pair,
    map: Vec<NetworkPair>,
    patience: Patience,
) -> Result<(), MtvError> {
    let object = NetworkMap::new(name, NetworkMapSpec { provider, map });
    ready::create(tracked, namespace, object, patience, ready::nothing).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::forklift::Ref;

    fn source(id: &str) -> SourceRef {
        SourceRef { reference: Ref::by_id(id), name: id.to_owned() }
    }

    #[test]
    fn the_first_network_lands_on_the_pod_network_and_the_others_on_nads_in_order() {
        let nads = [("ns".to_owned(), "nad-1".to_owned()), ("ns".to_owned(), "nad-2".to_owned())];
        let rows = network_rows(&[source("a"), source("b"), source("c")], &nads);
        let targets: Vec<String> = rows
            .iter()
            .map(|r| {
                format!(
                    "{}:{}",
                    r.source.id.clone().unwrap(),
                    r.destination.name.clone().unwrap_or(r.destination.type_.clone())
                )
            })
            .collect();
        assert_eq!(targets, ["a:pod", "b:nad-1", "c:nad-2"]);
    }
}
