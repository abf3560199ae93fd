//! StorageMap and NetworkMap.

use super::MtvError;
use super::adapter::SourceRef;
use super::ready::{self, Patience};
use crate::api::forklift::{
    NetworkDestination, NetworkMap, NetworkMapSpec, NetworkPair, Pair, StorageDestination, StorageMap, StorageMapSpec,
    StoragePair,
};
use crate::api::version::Version;
use crate::api::vm::{SourceNic, SourceVm};
use crate::cluster::Tracked;
use crate::config::Scenario;
use crate::matrix::support;

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

/// Where a source network lands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lands {
    OnPodNetwork,
    /// On so many NADs, a row each.
    OnNads(usize),
}

/// A source network and where it lands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    pub network: SourceRef,
    pub lands: Lands,
}

/// Whether a network has as many rows as a VM has NICs on it. From 2.11.1 on MTV shares a network's rows out among the
/// NICs of a VM, and 2.11 and 2.12 refuse a Plan in which two of them land on one NAD (`AllocateNetwork` and
/// `ValidateNetworkDuplicates`, pkg/controller/plan/adapter/base/network.go). An older one gives each NIC every row.
pub fn row_a_nic(scenario: &Scenario, mtv_version: Option<&str>) -> bool {
    let shares = mtv_version.is_none_or(|version| Version::parse(version) >= Version::parse(support::SHARED_ROWS));
    scenario.per_nic_network_map.unwrap_or(true) && shares
}

/// The first network on which no VM has two NICs lands on the pod network, as KubeVirt takes one NIC of a VM there; the
/// others land on NADs: one each, or as many as a VM has NICs there.
pub fn landings(networks: Vec<SourceRef>, vms: &[SourceVm], row_a_nic: bool) -> Vec<Landing> {
    let is_on = |nic: &SourceNic, network: &SourceRef| match &network.reference.id {
        Some(id) => *id == nic.network_id,
        None => network.name == nic.network_name,
    };
    let most = |network: &SourceRef| {
        vms.iter().map(|vm| vm.nics.iter().filter(|nic| is_on(nic, network)).count()).max().unwrap_or_default()
    };
    let pod = networks.iter().position(|network| most(network) <= 1);
    let landing = |(index, network): (usize, SourceRef)| {
        let rows = if row_a_nic { most(&network).max(1) } else { 1 };
        let lands = if Some(index) == pod { Lands::OnPodNetwork } else { Lands::OnNads(rows) };
        Landing { network, lands }
    };
    networks.into_iter().enumerate().map(landing).collect()
}

/// How many NADs that takes.
pub fn nads_needed(landings: &[Landing]) -> usize {
    let of = |landing: &Landing| match landing.lands {
        Lands::OnPodNetwork => 0,
        Lands::OnNads(count) => count,
    };
    landings.iter().map(of).sum()
}

/// The rows, with the NADs (namespace, name) in their order.
pub fn network_rows(landings: &[Landing], nads: &[(String, String)]) -> Vec<NetworkPair> {
    let mut multus = nads.iter().map(|(namespace, name)| NetworkDestination {
        type_: "multus".to_owned(),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
    });
    let mut rows = |landing: &Landing| -> Vec<NetworkPair> {
        let destinations: Vec<_> = match landing.lands {
            Lands::OnPodNetwork => {
                vec![NetworkDestination { type_: "pod".to_owned(), ..NetworkDestination::default() }]
            }
            Lands::OnNads(count) => multus.by_ref().take(count).collect(),
        };
        let row = |destination| NetworkPair { source: landing.network.reference.clone(), destination };
        destinations.into_iter().map(row).collect()
    };
    landings.iter().flat_map(&mut rows).collect()
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
        assert_eq!(mapped(&["a", "b", "c"], &[], true), ["a:pod", "b:nad-1", "c:nad-2"]);
    }

    #[test]
    fn a_network_on_which_a_vm_has_two_nics_lands_on_a_nad_for_each_of_them() {
        let vms = [vm(&["a", "a", "b"]), vm(&["a"])];
        assert_eq!(mapped(&["a", "b"], &vms, true), ["a:nad-1", "a:nad-2", "b:pod"]);
        assert_eq!(mapped(&["a"], &vms, true), ["a:nad-1", "a:nad-2"]);
        // Of three networks with one NIC each none needs a second row.
        assert_eq!(mapped(&["a", "b", "c"], &[vm(&["a", "b", "c"])], true), ["a:pod", "b:nad-1", "c:nad-2"]);
    }

    #[test]
    fn an_mtv_that_shares_no_rows_out_and_a_scenario_that_wants_none_get_one_row_a_network() {
        let vms = [vm(&["a", "a", "b"])];
        assert_eq!(mapped(&["a", "b"], &vms, false), ["a:nad-1", "b:pod"]);
        let asked = |asked: Option<bool>, version: Option<&str>| {
            let asked = serde_json::json!({"virtual_machines": [{"name": "v"}], "per_nic_network_map": asked});
            row_a_nic(&serde_json::from_value(asked).unwrap(), version)
        };
        assert!(asked(None, Some("2.11.1")) && asked(Some(true), Some("2.12.5")) && asked(None, None));
        assert!(!asked(Some(false), Some("2.12.5")) && !asked(None, Some("2.11.0")) && !asked(None, Some("2.10.6")));
    }

    #[test]
    fn vms_without_nics_need_no_rows() {
        assert_eq!(mapped(&[], &[vm(&[])], true), Vec::<String>::new());
    }

    fn mapped(networks: &[&str], vms: &[SourceVm], row_a_nic: bool) -> Vec<String> {
        let landings = landings(networks.iter().map(|id| source(id)).collect(), vms, row_a_nic);
        let nads: Vec<_> = (1..=nads_needed(&landings)).map(|n| ("ns".to_owned(), format!("nad-{n}"))).collect();
        targets(&network_rows(&landings, &nads))
    }

    fn vm(networks: &[&str]) -> SourceVm {
        let nic = |network: &&str| SourceNic {
            label: String::new(),
            mac: Mac::new(""),
            network_id: (*network).to_owned(),
            network_name: (*network).to_owned(),
            connected: true,
            starts_connected: None,
            model: None,
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
