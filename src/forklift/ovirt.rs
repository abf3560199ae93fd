//! oVirt as MTV sees it (forklift.md §2.3, §3.3, §8.6).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::adapter::{Adapter, ProviderWiring, SourceRef, distinct, login_secret};
use crate::api::vm::{Mac, Power, SourceVm};
use crate::config::ProviderProfile;

pub(super) struct Ovirt;

impl Adapter for Ovirt {
    fn wants_ca(&self, _: &ProviderProfile) -> bool {
        true
    }

    /// Disks are copied from the hosts' image service, whose certificates only this CA signs.
    fn always_wants_ca(&self) -> bool {
        true
    }

    fn wire(&self, profile: &ProviderProfile, insecure: bool, ca_pem: Option<&str>) -> ProviderWiring {
        let secret = login_secret(profile, insecure, ca_pem);
        ProviderWiring { secret, settings: BTreeMap::new(), url: profile.api_url.clone() }
    }

    fn complete(&self, vm: &Value, live: &SourceVm) -> Result<(), String> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = text(vm, "id");
        if id != live.id {
            return Err(format!("the inventory knows it as {id}, the platform as {}", live.id));
        }
        let list = |key: &str| vm.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let known: BTreeSet<String> = list("diskAttachments").iter().map(|a| text(a, "disk")).collect();
        let wanted: BTreeSet<String> = live.disks.iter().map(|d| d.id.clone()).collect();
        if known != wanted {
            return Err(format!("the inventory shows the disks {known:?}, the platform {wanted:?}"));
        }
        let known: BTreeSet<Mac> = list("nics").iter().map(|n| Mac::new(&text(n, "mac"))).collect();
        let wanted: BTreeSet<Mac> = live.nics.iter().map(|n| n.mac.clone()).collect();
        if known != wanted {
            return Err(format!("the inventory shows the MACs {known:?}, the platform {wanted:?}"));
        }
        let status = text(vm, "status");
        let fits = match live.power {
            // MTV itself takes a VM that is coming up for one that is on.
            Power::On => matches!(status.as_str(), "up" | "powering_up"),
            Power::Off => status == "down",
            Power::Other(_) => true,
        };
        if fits { Ok(()) } else { Err(format!("the inventory shows it {status}, the platform {}", live.power)) }
    }

    /// Storage domains by id.
    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.disks.iter().map(|d| (d.storage_id.clone(), d.storage_name.clone()))))
    }

    /// Networks by id: a NIC knows its profile, and a profile its network. A NIC without a profile
    /// is plugged into nothing that could be mapped.
    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        let nics = vms.iter().flat_map(|vm| vm.nics.iter()).filter(|n| !n.network_id.is_empty());
        distinct(nics.map(|n| (n.network_id.clone(), n.network_name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::forklift::Ref;
    use crate::api::vm::{GuestOs, SourceDisk, SourceNic};
    use serde_json::json;

    fn live() -> SourceVm {
        let disk = |id: &str| SourceDisk {
            id: id.into(),
            label: id.into(),
            file_name: None,
            interface: None,
            capacity_bytes: 1,
            storage_id: "s1".into(),
            storage_name: "data0".into(),
            raw: false,
            shared: false,
        };
        let nic = |mac: &str, network: &str| SourceNic {
            label: "nic".into(),
            mac: Mac::new(mac),
            network_id: network.into(),
            network_name: network.into(),
            connected: true,
            starts_connected: None,
            model: None,
            guest: None,
        };
        SourceVm {
            id: "v".into(),
            uuid: None,
            name: "vm".into(),
            power: Power::On,
            os: GuestOs::Linux,
            cpu: None,
            memory_mib: None,
            firmware: None,
            nics: vec![nic("56:6f:00:00:00:01", "n1"), nic("56:6f:00:00:00:02", "")],
            disks: vec![disk("d1"), disk("d2")],
            snapshots: Vec::new(),
            guest_agent_running: None,
        }
    }

    fn seen() -> Value {
        json!({
            "id": "v", "status": "powering_up",
            "nics": [{"mac": "56:6F:00:00:00:01"}, {"mac": "56:6f:00:00:00:02"}],
            "diskAttachments": [{"id": "d2", "disk": "d2"}, {"id": "d1", "disk": "d1"}],
        })
    }

    #[test]
    fn the_inventory_is_complete_when_disks_nics_and_power_are_the_platforms() {
        assert_eq!(Ovirt.complete(&seen(), &live()), Ok(()));
        for (key, value, words) in [
            ("id", json!("w"), "knows it as w"),
            ("diskAttachments", json!([{"disk": "d1"}]), "the disks"),
            ("nics", json!([]), "the MACs"),
            ("status", json!("image_locked"), "shows it image_locked"),
        ] {
            let mut view = seen();
            view[key] = value;
            let why = Ovirt.complete(&view, &live()).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn maps_name_storage_domains_and_networks_by_id_once() {
        let references = |refs: Vec<SourceRef>| refs.into_iter().map(|r| r.reference).collect::<Vec<_>>();
        assert_eq!(references(Ovirt.storages(&[live()])), [Ref::by_id("s1")]);
        assert_eq!(references(Ovirt.networks(&[live()])), [Ref::by_id("n1")], "a NIC without a profile has none");
    }
}
