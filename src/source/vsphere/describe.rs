//! A VM's properties → the record that the checks compare. Pure.

use std::collections::BTreeMap;

use crate::api::vim::device::{Hardware, Network};
use crate::api::vim::vm::{DefaultRoute, GuestNic, guest_nics, guest_routes, snapshots};
use crate::api::vim::{ObjectContent, decode_name};
use crate::api::vm::*;

/// What [`source_vm`] needs of a VirtualMachine.
pub(super) const PATHS: &[&str] = &[
    "name",
    "config.uuid",
    "config.guestId",
    "config.firmware",
    "config.bootOptions",
    "config.hardware.numCPU",
    "config.hardware.numCoresPerSocket",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "guest.net",
    "guest.ipStack",
    "guest.guestFamily",
    "guest.toolsRunningStatus",
    "runtime.powerState",
    "snapshot",
    "network",
    "datastore",
];

pub(super) fn power(state: Option<&str>) -> Power {
    match state {
        Some("poweredOn") => Power::On,
        Some("poweredOff") => Power::Off,
        Some(other) => Power::Other(other.to_owned()),
        None => Power::Other("unknown".to_owned()),
    }
}

/// `datastores`: names by id.
pub(super) fn source_vm(vm: &ObjectContent, networks: &[Network], datastores: &BTreeMap<String, String>) -> SourceVm {
    let hardware = Hardware::of(&vm.props);
    let power = power(vm.text("runtime.powerState"));
    let guests = guest_nics(&vm.props);
    let (routes, stack_dns) = guest_routes(&vm.props);
    let nics = hardware
        .nics
        .iter()
        .map(|nic| {
            let network = nic.backing.find(networks);
            SourceNic {
                label: nic.label.clone(),
                mac: Mac::new(&nic.mac),
                network_id: network.map(|n| n.moref.id.clone()).unwrap_or_default(),
                network_name: network.map(|n| n.name.clone()).unwrap_or_default(),
                // A card of a VM that is off is never connected; what counts then is what will be.
                connected: if power == Power::On { nic.connected } else { nic.start_connected },
                starts_connected: Some(nic.start_connected),
                model: None,
                guest: guests
                    .iter()
                    .zip(0_i64..)
                    .find(|(g, _)| Mac::new(&g.mac) == Mac::new(&nic.mac))
                    .map(|(g, index)| interface(index, g, &routes, &stack_dns)),
            }
        })
        .collect();
    let disks = hardware
        .disks
        .iter()
        .map(|disk| {
            let storage_id = disk.datastore.as_ref().map(|d| d.id.clone()).unwrap_or_default();
            SourceDisk {
                id: disk.key.to_string(),
                label: disk.label.clone(),
                file_name: disk.file_name().map(str::to_owned),
                interface: None,
                capacity_bytes: disk.capacity_bytes,
                storage_name: datastores.get(&storage_id).cloned().unwrap_or_default(),
                storage_id,
                raw: disk.is_raw(),
                shared: disk.shared,
            }
        })
        .collect();
    let firmware = vm.text("config.firmware").map(|kind| Firmware {
        kind: if kind == "efi" { FirmwareKind::Efi } else { FirmwareKind::Bios },
        secure_boot: vm
            .props
            .get("config.bootOptions")
            .and_then(|b| b.flag_at("efiSecureBootEnabled"))
            .unwrap_or(false),
        tpm: hardware.tpm,
    });
    SourceVm {
        id: vm.obj.id.clone(),
        uuid: vm.text("config.uuid").map(str::to_owned),
        name: decode_name(vm.text("name").unwrap_or_default()),
        power,
        os: guest_os(vm.text("guest.guestFamily"), vm.text("config.guestId")),
        cpu: cpu(vm),
        memory_mib: vm.parse_prop("config.hardware.memoryMB"),
        firmware,
        nics,
        disks,
        snapshots: snapshots(&vm.props)
            .into_iter()
            .map(|s| SourceSnapshot { id: s.moref.id, name: s.name, created: s.created, state: s.state })
            .collect(),
        guest_agent_running: vm.text("guest.toolsRunningStatus").map(|s| s == "guestToolsRunning"),
    }
}

fn cpu(vm: &ObjectContent) -> Option<CpuTopology> {
    let cpus: u32 = vm.parse_prop("config.hardware.numCPU")?;
    let cores: u32 = vm.parse_prop("config.hardware.numCoresPerSocket").filter(|c| *c > 0).unwrap_or(1);
    Some(CpuTopology { sockets: (cpus / cores).max(1), cores, threads: 1 })
}

/// The guest's own word wins; the configured id is what is left while it is off. `win` is only
/// looked for at the beginning: `darwin` contains it too.
fn guest_os(family: Option<&str>, guest_id: Option<&str>) -> GuestOs {
    match family {
        Some("windowsGuest") => return GuestOs::Windows,
        Some("linuxGuest") => return GuestOs::Linux,
        _ => {}
    }
    let id = guest_id.unwrap_or_default().to_lowercase();
    const LINUX: [&str; 14] = [
        "rhel",
        "centos",
        "sles",
        "suse",
        "opensuse",
        "ubuntu",
        "debian",
        "fedora",
        "oracle",
        "amazonlinux",
        "rocky",
        "alma",
        "coreos",
        "photon",
    ];
    if id.starts_with("win") {
        GuestOs::Windows
    } else if id.contains("linux") || LINUX.iter().any(|name| id.contains(name)) {
        GuestOs::Linux
    } else {
        GuestOs::Unknown
    }
}

/// `index`: its place in the guest's list of NICs, by which a route names its device. A device's key says nothing
/// of it: keys need not begin at 4000, and have gaps.
fn interface(index: i64, guest: &GuestNic, routes: &[DefaultRoute], stack_dns: &[std::net::IpAddr]) -> GuestInterface {
    let addresses: Vec<GuestAddress> = guest
        .ips
        .iter()
        .filter(|address| address.is_global())
        .map(|address| GuestAddress {
            ip: address.ip,
            prefix: address.prefix,
            origin: match address.origin.as_deref() {
                Some("manual") => AddressOrigin::Static,
                Some("dhcp") => AddressOrigin::Dhcp,
                _ => AddressOrigin::Unknown,
            },
        })
        .collect();
    // IPv4 first: it is what MTV preserves.
    let gateway =
        routes.iter().filter(|r| r.device == Some(index)).min_by_key(|r| r.gateway.is_ipv6()).map(|r| r.gateway);
    let dns = if guest.dns.is_empty() { stack_dns.to_vec() } else { guest.dns.clone() };
    GuestInterface { name: None, mac: Some(Mac::new(&guest.mac)), addresses, gateway, dns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::vim::{Element, MoRef, property};

    const ANSWER: &str = include_str!("describe_answer.xml");

    fn described() -> SourceVm {
        let (objects, _) = property::page(&[Element::parse(ANSWER.as_bytes()).unwrap()]);
        let networks = [Network {
            moref: MoRef::new("DistributedVirtualPortgroup", "dvportgroup-11"),
            name: "pg".into(),
            key: Some("dvportgroup-11".into()),
            opaque_id: None,
        }];
        source_vm(&objects[0], &networks, &BTreeMap::from([("datastore-10".into(), "datastore1".into())]))
    }

    #[test]
    fn a_canned_vm_is_described_in_full() {
        let vm = described();
        assert_eq!((vm.id.as_str(), vm.name.as_str()), ("vm-1", "win/a"));
        assert_eq!(vm.cpu, Some(CpuTopology { sockets: 2, cores: 2, threads: 1 }));
        assert_eq!(vm.memory_mib, Some(4096));
        assert_eq!(vm.firmware, Some(Firmware { kind: FirmwareKind::Efi, secure_boot: true, tpm: true }));
        assert_eq!(vm.os, GuestOs::Windows);
        assert_eq!(vm.power, Power::On);
        assert_eq!(vm.guest_agent_running, Some(true));
        assert_eq!(vm.disks[0].file_name.as_deref(), Some("win-000001.vmdk"));
        assert_eq!(vm.disks[0].storage_name, "datastore1");
        assert_eq!(vm.snapshots.len(), 2);
    }

    #[test]
    fn a_guest_address_knows_its_origin_and_its_gateway() {
        let vm = described();
        let nic = &vm.nics[0];
        assert_eq!(nic.network_id, "dvportgroup-11");
        let guest = nic.guest.as_ref().unwrap();
        assert_eq!(
            guest.addresses,
            [GuestAddress { ip: "10.0.0.5".parse().unwrap(), prefix: Some(24), origin: AddressOrigin::Static }]
        );
        assert_eq!(guest.gateway, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(guest.dns, ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
    }

    #[test]
    fn a_route_names_its_nic_by_its_place_in_the_guests_list_and_not_by_its_key() {
        let answer = ANSWER.replace(">4000<", ">4007<");
        assert_ne!(answer, ANSWER);
        let (objects, _) = property::page(&[Element::parse(answer.as_bytes()).unwrap()]);
        let vm = source_vm(&objects[0], &[], &BTreeMap::new());
        assert_eq!(vm.nics[0].guest.as_ref().unwrap().gateway, Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn darwin_is_no_windows() {
        assert_eq!(guest_os(None, Some("darwin21_64Guest")), GuestOs::Unknown);
        assert_eq!(guest_os(None, Some("windows2019srv_64Guest")), GuestOs::Windows);
        assert_eq!(guest_os(None, Some("rhel9_64Guest")), GuestOs::Linux);
        assert_eq!(guest_os(Some("linuxGuest"), Some("windows9Guest")), GuestOs::Linux);
    }
}
