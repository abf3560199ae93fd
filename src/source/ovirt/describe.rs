//! A VM's JSON → the record that the checks compare. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::lookup::{Profiles, domain_of};
use super::rest::{flag, inner, items, parsed, text, text_or_empty};
use crate::api::vm::*;

/// Inlined into a VM that [`source_vm`] reads.
pub(super) const FOLLOW: &str = "nics,disk_attachments.disk,snapshots";

pub(super) fn power(vm: &Value) -> Power {
    match text_or_empty(vm, "status").as_str() {
        "up" => Power::On,
        "down" => Power::Off,
        "" => Power::Other("unknown".to_owned()),
        other => Power::Other(other.to_owned()),
    }
}

/// `reported`: the VM's reported devices; `cluster`: its cluster; `domains`: names by id.
pub(super) fn source_vm(
    vm: &Value,
    reported: &Value,
    cluster: &Value,
    profiles: &Profiles,
    domains: &BTreeMap<String, String>,
) -> SourceVm {
    let id = text_or_empty(vm, "id");
    let devices = items(reported, "reported_device");
    let nics = inner(vm, "nics", "nic").iter().map(|nic| source_nic(nic, devices, profiles)).collect();
    let disks = inner(vm, "disk_attachments", "disk_attachment").iter().map(|a| source_disk(a, domains)).collect();
    let snapshots = inner(vm, "snapshots", "snapshot")
        .iter()
        // Every VM has one `active`: what runs now, no snapshot.
        .filter(|s| text(s, "snapshot_type").as_deref() != Some("active"))
        .map(|s| SourceSnapshot {
            id: text_or_empty(s, "id"),
            name: text_or_empty(s, "description"),
            created: date(s, "date"),
            state: text(s, "snapshot_status"),
        })
        .collect();
    let power = power(vm);
    SourceVm {
        // What MTV writes as serial: a serial number of the VM's own, else its id.
        uuid: text(vm, "serial_number/value").filter(|s| !s.is_empty()).or_else(|| Some(id.clone())),
        id,
        name: text_or_empty(vm, "name"),
        os: guest_os(vm),
        cpu: cpu(vm),
        memory_mib: parsed::<u64>(vm, "memory").map(|bytes| bytes >> 20),
        firmware: firmware(vm, cluster),
        nics,
        disks,
        snapshots,
        guest_agent_running: (power == Power::On).then(|| devices.iter().any(has_address)),
        power,
    }
}

/// Dates are epoch milliseconds in JSON; text of other engines is kept.
fn date(value: &Value, path: &str) -> Option<String> {
    match parsed::<i64>(value, path) {
        Some(millis) => jiff::Timestamp::from_millisecond(millis).ok().map(|t| t.to_string()),
        None => text(value, path),
    }
}

fn cpu(vm: &Value) -> Option<CpuTopology> {
    Some(CpuTopology {
        sockets: parsed(vm, "cpu/topology/sockets")?,
        cores: parsed(vm, "cpu/topology/cores")?,
        threads: parsed(vm, "cpu/topology/threads").unwrap_or(1),
    })
}

/// `cluster_default` is what the cluster says.
fn firmware(vm: &Value, cluster: &Value) -> Option<Firmware> {
    let own = text(vm, "bios/type").filter(|t| t != "cluster_default");
    let kind = own.or_else(|| text(cluster, "bios_type"))?;
    let efi = matches!(kind.as_str(), "q35_ovmf" | "q35_secure_boot");
    Some(Firmware {
        kind: if efi { FirmwareKind::Efi } else { FirmwareKind::Bios },
        secure_boot: kind == "q35_secure_boot",
        tpm: flag(vm, "tpm_enabled").unwrap_or(false),
    })
}

/// The guest's own word wins; the configured type is what is left while it is off.
fn guest_os(vm: &Value) -> GuestOs {
    match text_or_empty(vm, "guest_operating_system/family").to_lowercase().as_str() {
        "windows" => return GuestOs::Windows,
        "linux" => return GuestOs::Linux,
        _ => {}
    }
    const LINUX: [&str; 8] = ["rhel", "ubuntu", "debian", "sles", "suse", "centos", "fedora", "linux"];
    let configured = text_or_empty(vm, "os/type").to_lowercase();
    if configured.starts_with("windows") {
        GuestOs::Windows
    } else if LINUX.iter().any(|name| configured.contains(name)) {
        GuestOs::Linux
    } else {
        GuestOs::Unknown
    }
}

fn source_disk(attachment: &Value, domains: &BTreeMap<String, String>) -> SourceDisk {
    let nothing = Value::Null;
    let disk = attachment.get("disk").unwrap_or(&nothing);
    let storage_id = domain_of(disk);
    let label = text(disk, "alias").or_else(|| text(disk, "name")).unwrap_or_default();
    SourceDisk {
        id: text(disk, "id").unwrap_or_else(|| text_or_empty(attachment, "id")),
        label,
        file_name: None,
        interface: text(attachment, "interface"),
        capacity_bytes: parsed(disk, "provisioned_size").unwrap_or_default(),
        storage_name: domains.get(&storage_id).cloned().unwrap_or_default(),
        storage_id,
        raw: false,
        shared: false,
    }
}

fn source_nic(nic: &Value, devices: &[Value], profiles: &Profiles) -> SourceNic {
    let mac = Mac::new(&text_or_empty(nic, "mac/address"));
    let network = text(nic, "vnic_profile/id").and_then(|p| profiles.get(&p).cloned());
    let (network_id, network_name) = network.unwrap_or_default();
    let connected = flag(nic, "plugged").unwrap_or(true) && flag(nic, "linked").unwrap_or(true);
    SourceNic {
        label: text_or_empty(nic, "name"),
        guest: devices.iter().find(|d| Mac::new(&text_or_empty(d, "mac/address")) == mac).map(|d| interface(d, &mac)),
        mac,
        network_id,
        network_name,
        connected,
        starts_connected: None,
        model: text(nic, "interface"),
    }
}

fn interface(device: &Value, mac: &Mac) -> GuestInterface {
    GuestInterface {
        name: text(device, "name"),
        mac: Some(mac.clone()),
        // The engine tells neither prefix nor origin nor gateway.
        addresses: addresses(device)
            .map(|ip| GuestAddress { ip, prefix: None, origin: AddressOrigin::Unknown })
            .collect(),
        gateway: None,
        dns: Vec::new(),
    }
}

/// Addresses that the world outside a link can use.
fn addresses(device: &Value) -> impl Iterator<Item = std::net::IpAddr> + '_ {
    inner(device, "ips", "ip").iter().filter_map(|ip| text(ip, "address")?.parse().ok()).filter(
        |ip: &std::net::IpAddr| match ip {
            std::net::IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            std::net::IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        },
    )
}

pub(super) fn has_address(device: &Value) -> bool {
    addresses(device).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn described(change: impl FnOnce(&mut Value)) -> SourceVm {
        let mut vm = json!({
            "id": "v", "name": "win", "status": "up", "memory": "4294967296",
            "cpu": {"topology": {"sockets": "2", "cores": "4", "threads": "1"}},
            "bios": {"type": "cluster_default"}, "os": {"type": "windows_2019x64"},
            "nics": {"nic": [{"id": "n", "name": "nic1", "plugged": "true", "linked": "false",
                "mac": {"address": "56:6F:00:00:00:01"}, "vnic_profile": {"id": "p"}}]},
            "disk_attachments": {"disk_attachment": [{"id": "d", "bootable": "true", "disk": {"id": "d", "alias": "win_Disk1",
                "provisioned_size": "1024", "storage_domains": {"storage_domain": [{"id": "s"}]}}}]},
            "snapshots": {"snapshot": [{"id": "a", "snapshot_type": "active", "description": "Active VM"},
                {"id": "r", "snapshot_type": "regular", "description": "mine", "snapshot_status": "ok", "date": 0}]},
        });
        change(&mut vm);
        let reported = json!({"reported_device": [{"name": "Ethernet0", "mac": {"address": "56:6f:00:00:00:01"},
            "ips": {"ip": [{"address": "10.0.0.5", "version": "v4"}, {"address": "fe80::1", "version": "v6"}]}}]});
        let profiles = Profiles::from([("p".to_owned(), ("net".to_owned(), "VM Network".to_owned()))]);
        let domains = BTreeMap::from([("s".to_owned(), "data0".to_owned())]);
        source_vm(&vm, &reported, &json!({"bios_type": "q35_secure_boot"}), &profiles, &domains)
    }

    #[test]
    fn a_canned_vm_is_described_in_full() {
        let vm = described(|_| {});
        assert_eq!((vm.id.as_str(), vm.uuid.as_deref(), vm.power.clone()), ("v", Some("v"), Power::On));
        assert_eq!(vm.cpu, Some(CpuTopology { sockets: 2, cores: 4, threads: 1 }));
        assert_eq!(vm.memory_mib, Some(4096));
        assert_eq!(vm.firmware, Some(Firmware { kind: FirmwareKind::Efi, secure_boot: true, tpm: false }));
        assert_eq!(vm.os, GuestOs::Windows);
        let nic = &vm.nics[0];
        assert_eq!((nic.network_id.as_str(), nic.network_name.as_str(), nic.connected), ("net", "VM Network", false));
        let guest = nic.guest.as_ref().unwrap();
        assert_eq!(guest.name.as_deref(), Some("Ethernet0"));
        assert_eq!(guest.addresses.len(), 1, "a link-local address is of no use");
        assert_eq!((vm.disks[0].id.as_str(), vm.disks[0].storage_name.as_str()), ("d", "data0"));
        assert_eq!(vm.snapshots.len(), 1, "the active snapshot is none");
        assert_eq!(vm.snapshots[0].created.as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(vm.guest_agent_running, Some(true));
    }

    #[test]
    fn a_serial_number_of_its_own_and_the_guests_own_system_win() {
        let vm = described(|vm| {
            vm["serial_number"] = json!({"policy": "custom", "value": "X1"});
            vm["guest_operating_system"] = json!({"family": "Linux"});
            vm["bios"]["type"] = json!("q35_sea_bios");
            vm["status"] = json!("powering_down");
        });
        assert_eq!(vm.uuid.as_deref(), Some("X1"));
        assert_eq!(vm.os, GuestOs::Linux);
        assert_eq!(vm.firmware.map(|f| f.kind), Some(FirmwareKind::Bios));
        assert_eq!(vm.power, Power::Other("powering_down".to_owned()));
    }
}
