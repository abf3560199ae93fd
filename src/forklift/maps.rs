//! StorageMap and NetworkMap.

use super::MtvError;
use super::adapter::SourceRef;
use super::ready::{self, Patience};
use crate::api::forklift::{
    NetworkDestination, NetworkMap, NetworkMapSpec, NetworkPair, Pair, StorageDestination, StorageMap, StorageMapSpec,
    StoragePair,
};
use crate::api::vm::{SourceNic, SourceVm};
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

/// The network that lands on the pod network: the first on which no VM has two NICs, as KubeVirt takes one NIC of a
/// VM there. `None`: there is no such network.
pub fn pod_network(networks: &[SourceRef], vms: &[SourceVm]) -> Option<usize> {
    let is_on = |nic: &SourceNic, network: &SourceRef| match &network.reference.id {
        Some(id) => *id == nic.network_id,
        None => network.name == nic.network_name,
    };
    let twice = |network: &SourceRef| vms.iter().any(|vm| vm.nics.iter().filter(|nic| is_on(nic, network)).count() > 1);
    networks.iter().position(|network| !twice(network))
}

/// The network at `pod` lands on the pod network, the others each on a NAD of `nads` (namespace, name).
pub fn network_rows(networks: &[SourceRef], pod: Option<usize>, nads: &[(String, String)]) -> Vec<NetworkPair> {
    let mut multus = nads.iter().map(|(namespace, name)| NetworkDestination {
        type_: "multus".to_owned(),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
    });
    let row = |(index, network): (usize, &SourceRef)| {
        let destination = if Some(index) == pod {
            NetworkDestination { type_: "pod".to_owned(), ..NetworkDestination::default() }
        } else {
            multus.next()?
        };
        Some(NetworkPair { source: network.reference.clone(), destination })
    };
    networks.iter().enumerate().filter_map(row).collect()
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
    use crate::api::vm::{GuestOs, Mac, Power};

    fn source(id: &str) -> SourceRef {
        SourceRef { reference: Ref::by_id(id), name: id.to_owned() }
    }

    #[test]
    fn the_first_network_lands_on_the_pod_network_and_the_others_on_nads_in_order() {
        let nads = [("ns".to_owned(), "nad-1".to_owned()), ("ns".to_owned(), "nad-2".to_owned())];
        let networks = [source("a"), source("b"), source("c")];
        assert_eq!(pod_network(&networks, &[]), Some(0));
        assert_eq!(targets(&network_rows(&networks, Some(0), &nads)), ["a:pod", "b:nad-1", "c:nad-2"]);
    }

    #[test]
    fn a_network_on_which_a_vm_has_two_nics_lands_on_a_nad() {
        let nads = [("ns".to_owned(), "nad-1".to_owned())];
        let networks = [source("a"), source("b")];
        let vms = [vm(&["a", "a", "b"]), vm(&["a"])];
        let pod = pod_network(&networks, &vms);
        assert_eq!(targets(&network_rows(&networks, pod, &nads)), ["a:nad-1", "b:pod"]);
        assert_eq!(pod_network(&networks[..1], &vms), None);
        assert_eq!(targets(&network_rows(&networks[..1], None, &nads)), ["a:nad-1"]);
    }

    #[test]
    fn vms_without_nics_need_no_rows() {
        assert_eq!((pod_network(&[], &[vm(&[])]), network_rows(&[], None, &[]).len()), (None, 0));
    }

    fn vm(networks: &[&str]) -> SourceVm {
        let nic = |network: &&str| SourceNic {
            label: String::new(),
            mac: Mac::new(""),
            network_id: (*network).to_owned(),
            network_name: (*network).to_owned(),
            connected: true,
            guest: None,
        };
        SourceVm {
            id: String::new(),
            uuid: None,
            name: String::new(),
            power: Power::Off,
            os: GuestOs::Linux,
            cpu: None,
            memory_mib: None,
            firmware: None,
            nics: networks.iter().map(nic).collect(),
            disks: Vec::new(),
            snapshots: Vec::new(),
            guest_agent_running: None,
        }
    }

    fn targets(rows: &[NetworkPair]) -> Vec<String> {
        rows.iter()
            .map(|r| {
                format!(
                    "{}:{}",
                    r.source.id.clone().unwrap(),
                    r.destination.name.clone().unwrap_or(r.destination.type_.clone())
                )
            })
            .collect()
    }
}
