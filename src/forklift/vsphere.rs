//! vSphere as MTV sees it (forklift.md §2.3, §2.4, §3.3, §8.5).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::adapter::{Adapter, ProviderWiring, SourceRef, distinct, login_secret};
use crate::api::vm::{Mac, Power, SourceNic, SourceVm};
use crate::config::{EsxiCloneMethod, PlatformConfig, ProviderProfile};

pub(super) struct Vsphere;

impl Adapter for Vsphere {
    fn wants_ca(&self, _: &ProviderProfile) -> bool {
        true
    }

    fn vddk_image<'a>(&self, profile: &'a ProviderProfile) -> Option<&'a str> {
        match &profile.config {
            PlatformConfig::Vsphere(config) => config.vddk_init_image.as_deref(),
            _ => None,
        }
    }

    fn wire(&self, profile: &ProviderProfile, insecure: bool, ca_pem: Option<&str>) -> ProviderWiring {
        let secret = login_secret(profile, insecure, ca_pem);
        let mut settings = BTreeMap::new();
        if let PlatformConfig::Vsphere(config) = &profile.config {
            if let Some(image) = &config.vddk_init_image {
                settings.insert("vddkInitImage".to_owned(), image.clone());
            }
            let endpoint = if config.esxi { "esxi" } else { "vcenter" };
            settings.insert("sdkEndpoint".to_owned(), endpoint.to_owned());
            let method = config.copyoffload.as_ref().and_then(|section| section.esxi_clone_method);
            if method == Some(EsxiCloneMethod::Ssh) {
                settings.insert("esxiCloneMethod".to_owned(), "ssh".to_owned());
            }
        }
        ProviderWiring { secret, settings, url: profile.api_url.clone() }
    }

    fn complete(&self, vm: &Value, live: &SourceVm) -> Result<(), String> {
        let id = vm.get("id").and_then(Value::as_str).unwrap_or_default();
        if id != live.id {
            return Err(format!("the inventory knows it as {id}, the platform as {}", live.id));
        }
        let list = |key: &str| vm.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let disks = list("disks").len();
        if disks != live.disks.len() {
            return Err(format!("the inventory shows {disks} disks, the platform {}", live.disks.len()));
        }
        // One that was put in the place of another changes no number.
        let file_of = |disk: &'_ Value| disk.get("file")?.as_str()?.rsplit(['/', ' ', ']']).next().map(str::to_owned);
        let files: BTreeSet<String> = list("disks").iter().filter_map(file_of).collect();
        let shared = live.disks.iter().filter(|disk| disk.shared).filter_map(|disk| disk.file_name.as_deref());
        if let Some(file) = shared.into_iter().find(|file| !files.contains(*file)) {
            return Err(format!("the inventory does not show the shared disk {file}"));
        }
        let known: BTreeSet<Mac> =
            list("nics").iter().filter_map(|n| n.get("mac").and_then(Value::as_str)).map(Mac::new).collect();
        let wanted: BTreeSet<Mac> = live.nics.iter().map(|n| n.mac.clone()).collect();
        if known != wanted {
            return Err(format!("the inventory shows the MACs {known:?}, the platform {wanted:?}"));
        }
        let power = vm.get("powerState").and_then(Value::as_str).unwrap_or_default();
        let wanted = match live.power {
            Power::On => "poweredOn",
            Power::Off => "poweredOff",
            Power::Other(_) => power,
        };
        if power != wanted {
            return Err(format!("the inventory shows it {power}, the platform {wanted}"));
        }
        // From 2.11 a running VM whose tools the inventory has not seen yet blocks the Plan.
        let tools = vm.get("toolsRunningStatus").and_then(Value::as_str);
        if live.power == Power::On
            && live.guest_agent_running == Some(true)
            && tools.is_some_and(|tools| tools != "guestToolsRunning")
        {
            return Err(format!("the inventory shows its tools as {}", tools.unwrap_or_default()));
        }
        // The inventory must know the addresses before a Plan that keeps them is validated.
        // Bare addresses (old tools, no `ipConfig`: they have no prefix) it passes over.
        let told = |nic: &SourceNic| nic.guest.as_ref().is_some_and(|g| g.addresses.iter().any(|a| a.prefix.is_some()));
        if live.power == Power::On && live.nics.iter().any(told) && list("guestNetworks").is_empty() {
            return Err("the inventory has not seen the guest's addresses".to_owned());
        }
        Ok(())
    }

    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.disks.iter().map(|d| (d.storage_id.clone(), d.storage_name.clone()))))
    }

    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.nics.iter().map(|n| (n.network_id.clone(), n.network_name.clone()))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::vm::{GuestOs, SourceDisk};

    #[test]
    fn a_shared_disk_in_the_place_of_a_copy_changes_no_number_and_is_waited_for_all_the_same() {
        let disk = |file: &str, shared| SourceDisk {
            id: file.into(),
            label: "Hard disk".into(),
            file_name: Some(file.into()),
            interface: None,
            capacity_bytes: 1,
            storage_id: String::new(),
            storage_name: String::new(),
            raw: false,
            shared,
        };
        let live = SourceVm {
            id: "vm-1".into(),
            uuid: None,
            name: "a".into(),
            power: Power::Off,
            os: GuestOs::Linux,
            cpu: None,
            memory_mib: None,
            firmware: None,
            nics: Vec::new(),
            disks: vec![disk("a.vmdk", false), disk("owners_1.vmdk", true)],
            snapshots: Vec::new(),
            guest_agent_running: None,
        };
        let seen = |second: &str| {
            json!({"id": "vm-1", "powerState": "poweredOff", "nics": [],
                "disks": [{"file": "[nfs] a/a.vmdk"}, {"file": second}]})
        };
        assert_eq!(Vsphere.complete(&seen("[nfs] owners/owners_1.vmdk"), &live), Ok(()));
        let early = Vsphere.complete(&seen("[nfs] a/a_1.vmdk"), &live).unwrap_err();
        assert!(early.contains("owners_1.vmdk"), "{early}");
    }
}
