//! OVA files on an NFS share as MTV sees them (forklift.md §2.3, §3.3, §8.7): no login, no power,
//! each disk a storage of its own; nested objects are capitalised.

use std::collections::BTreeMap;

use serde_json::Value;

use super::adapter::{Adapter, Collections, ProviderWiring, SourceRef, distinct};
use super::read::{guest_os, items, number, text, topology};
use crate::api::vm::{Firmware, FirmwareKind, Mac, Power, SourceDisk, SourceNic, SourceVm};
use crate::config::ProviderProfile;

pub(super) struct Ova;

impl Adapter for Ova {
    fn wants_ca(&self, _: &ProviderProfile) -> bool {
        false
    }

    fn wire(&self, profile: &ProviderProfile, insecure: bool, _: Option<&str>) -> ProviderWiring {
        let secret = BTreeMap::from([
            ("url".to_owned(), profile.api_url.clone().into()),
            ("insecureSkipVerify".to_owned(), insecure.to_string().into()),
        ]);
        ProviderWiring { secret, settings: BTreeMap::new(), url: profile.api_url.clone() }
    }

    fn read_vm(&self, vm: &Value, _: &Collections) -> Result<SourceVm, String> {
        let networks: BTreeMap<&str, &str> = items(vm, "networks").map(|n| (text(n, "Name"), text(n, "ID"))).collect();
        let memory = bytes(number(vm, "memoryMB"), text(vm, "memoryUnits"), 1 << 20)?;
        let nics = items(vm, "nics").map(|nic| SourceNic {
            label: text(nic, "Name").to_owned(),
            mac: Mac::new(text(nic, "MAC")),
            network_id: networks.get(text(nic, "Network")).copied().unwrap_or_default().to_owned(),
            network_name: text(nic, "Network").to_owned(),
            connected: true,
            starts_connected: None,
            model: None,
            guest: None,
        });
        let disk = |disk: &Value| {
            Ok(SourceDisk {
                id: text(disk, "ID").to_owned(),
                // What MTV writes on the disk's PVC.
                label: format!("{}::{}", text(disk, "FilePath"), text(disk, "Name")),
                file_name: None,
                interface: None,
                capacity_bytes: bytes(number(disk, "Capacity"), text(disk, "CapacityAllocationUnits"), 1)?,
                storage_id: text(disk, "ID").to_owned(),
                storage_name: text(disk, "Name").to_owned(),
                raw: false,
                shared: false,
            })
        };
        Ok(SourceVm {
            id: text(vm, "id").to_owned(),
            uuid: Some(text(vm, "uuid").to_owned()).filter(|uuid| !uuid.is_empty()),
            name: text(vm, "name").to_owned(),
            // A file runs nowhere, and MTV takes it so.
            power: Power::Off,
            os: guest_os(text(vm, "osType"), text(vm, "name")),
            cpu: topology(number(vm, "cpuCount"), number(vm, "coresPerSocket")),
            memory_mib: Some(memory >> 20).filter(|mib| *mib > 0),
            // An OVF that says nothing leaves it to what virt-v2v finds on the disk.
            firmware: match text(vm, "firmware").to_lowercase().as_str() {
                "efi" | "uefi" => Some(FirmwareKind::Efi),
                "bios" => Some(FirmwareKind::Bios),
                _ => None,
            }
            .map(|kind| Firmware { kind, secure_boot: vm["secureBoot"] == true, tpm: false }),
            nics: nics.collect(),
            disks: items(vm, "disks").map(disk).collect::<Result<_, String>>()?,
            snapshots: Vec::new(),
            guest_agent_running: None,
        })
    }

    fn powerless(&self) -> Option<&'static str> {
        Some("an OVA is a file on a share, and a file does not run")
    }

    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.disks.iter().map(|d| (d.storage_id.clone(), d.storage_name.clone()))))
    }

    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.nics.iter().map(|n| (n.network_id.clone(), n.network_name.clone()))))
    }
}

/// A quantity in an OVF's units (`byte * 2^20`, `MegaBytes`, empty) as bytes.
fn bytes(amount: u64, units: &str, default_unit: u64) -> Result<u64, String> {
    let unknown = || format!("it counts in {units:?}, a unit that is not known");
    let unit = match units.trim().to_lowercase().as_str() {
        "" => Some(default_unit),
        "kilobytes" => Some(1 << 10),
        "megabytes" => Some(1 << 20),
        "gigabytes" => Some(1 << 30),
        other => other.split('*').map(str::trim).try_fold(1u64, |product, factor| product.checked_mul(power(factor)?)),
    };
    unit.and_then(|unit| amount.checked_mul(unit)).ok_or_else(unknown)
}

/// `byte`, `1024` or `2^20`.
fn power(factor: &str) -> Option<u64> {
    if matches!(factor, "byte" | "bytes") {
        return Some(1);
    }
    match factor.split_once('^') {
        Some((base, exponent)) => base.trim().parse::<u64>().ok()?.checked_pow(exponent.trim().parse().ok()?),
        None => factor.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::vm::{CpuTopology, GuestOs};

    #[test]
    fn sizes_are_read_in_the_units_of_the_ovf() {
        assert_eq!(bytes(2048, "byte * 2^20", 1), Ok(2 << 30));
        assert_eq!(bytes(2, "GigaBytes", 1), Ok(2 << 30));
        assert_eq!(bytes(16, "byte*1024 * 1024", 1), Ok(16 << 20));
        assert_eq!(bytes(512, "", 1 << 20), Ok(512 << 20));
        assert!(bytes(1, "furlong", 1).unwrap_err().contains("furlong"));
        assert!(bytes(u64::MAX, "byte * 2^20", 1).is_err());
    }

    #[test]
    fn a_vm_is_read_from_the_capitalised_json_of_the_inventory() {
        let vm = json!({
            "id": "vm-1", "name": "rhel8-ova", "uuid": "u-1", "osType": "rhel8_64Guest", "firmware": "efi", "secureBoot": true,
            "cpuCount": 4, "coresPerSocket": 2, "memoryMB": 2, "memoryUnits": "byte * 2^30",
            "nics": [{"Name": "Network adapter 1", "MAC": "00:50:56:0A:00:01", "Network": "VM Network", "Config": null}],
            "networks": [{"ID": "n-1", "Name": "VM Network"}],
            "disks": [{"ID": "d-1", "Name": "rhel8-disk1.vmdk", "FilePath": "/ova/rhel8.ova", "Capacity": 16, "CapacityAllocationUnits": "byte * 2^30"}],
        });
        let read = Ova.read_vm(&vm, &Collections::new()).unwrap();
        assert_eq!(read.cpu, Some(CpuTopology { sockets: 2, cores: 2, threads: 1 }));
        assert_eq!((read.memory_mib, read.os, read.power.clone()), (Some(2048), GuestOs::Linux, Power::Off));
        assert_eq!(read.firmware, Some(Firmware { kind: FirmwareKind::Efi, secure_boot: true, tpm: false }));
        assert_eq!((read.nics[0].network_id.as_str(), read.nics[0].mac.as_str()), ("n-1", "00:50:56:0a:00:01"));
        assert_eq!(
            (read.disks[0].label.as_str(), read.disks[0].capacity_bytes),
            ("/ova/rhel8.ova::rhel8-disk1.vmdk", 16 << 30)
        );
        // Each disk is a storage of its own.
        assert_eq!(Ova.storages(&[read])[0].reference.id.as_deref(), Some("d-1"));
    }

    #[test]
    fn what_an_ovf_does_not_say_is_unknown() {
        let read = Ova
            .read_vm(&json!({"id": "vm-2", "name": "bare", "cpuCount": 2, "coresPerSocket": 0}), &Collections::new());
        let read = read.unwrap();
        assert_eq!(read.cpu, Some(CpuTopology { sockets: 2, cores: 1, threads: 1 }), "0 cores a socket mean 1");
        assert_eq!((read.memory_mib, read.firmware, read.os), (None, None, GuestOs::Unknown));
    }
}
