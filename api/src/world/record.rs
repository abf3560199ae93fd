//! From VMs that drivers have read to a world in which the lab plays them: their shapes, no contents and no
//! logins. What a platform does not tell of a VM (an address while it is off, the exact release of its system)
//! is as the lab makes it up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{
    AddressOrigin, Cidr, Controller, Datastore, Disk, Firmware, Flavor, Guest, Image, Kind, Mac, Network, Nic, Os,
    Power, Size, Snapshot, Source, Tools, Vm, World,
};
use crate::vm::{self, FirmwareKind, GuestOs, SourceVm};

/// What OpenStack's driver calls the storage of a root disk that is no volume.
const IMAGE_STORAGE: &str = "glance";
/// vSphere's first keys of disks on these controllers.
const NVME_DISKS: u64 = 32_000;
const SATA_DISKS: u64 = 16_000;

impl World {
    /// A world with nothing but these VMs, and what they name, on one platform.
    pub fn recorded(kind: Kind, vms: &[SourceVm]) -> Self {
        let mut world = Self::default();
        *world.source_mut(kind) = recorded(kind, vms);
        world
    }
}

/// Each name once, in the order in which they come.
fn each<T>(all: &mut Vec<T>, name: &str, name_of: impl Fn(&T) -> &str, make: impl FnOnce() -> T) {
    if !name.is_empty() && !all.iter().any(|known| name_of(known) == name) {
        all.push(make());
    }
}

fn recorded(kind: Kind, vms: &[SourceVm]) -> Source {
    let mut source = Source::default();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut macs = BTreeSet::new();
    for vm in vms {
        for nic in &vm.nics {
            let (name, id) = (&nic.network_name, &nic.network_id);
            each(&mut source.networks, name, |network| &network.name, || network(kind, name, id, nic));
        }
        for disk in vm.disks.iter().filter(|disk| disk.storage_name != IMAGE_STORAGE) {
            let name = &disk.storage_name;
            let store = || Datastore {
                xcopy: true,
                name: name.clone(),
                kind: None,
                role: None,
                capacity: Size::gib(65_536),
                free: Size::gib(32_768),
            };
            each(&mut source.datastores, name, |store| &store.name, store);
        }
        let mut made = machine(kind, vm, &mut macs);
        let twins = names.entry(&vm.name).or_default();
        *twins += 1;
        if *twins > 1 && kind == Kind::Vsphere {
            // Which folder a VM lies in is not read; that names may repeat in several is all that counts.
            let folder = format!("recorded-{twins}");
            each(&mut source.folders, &folder, |folder| folder, || folder.clone());
            made.folder = Some(folder);
        }
        if kind == Kind::Openstack {
            boot(vm, &mut made, &mut source);
        }
        source.vms.push(made);
    }
    if kind == Kind::Openstack {
        // Neutron answers in no order.
        source.networks.sort_by(|one, other| one.name.cmp(&other.name));
    }
    source
}

fn network(kind: Kind, name: &str, id: &str, nic: &vm::SourceNic) -> Network {
    let address = nic.guest.iter().flat_map(|guest| &guest.addresses).find_map(|own| match own.ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    let [a, b, c, _] = address.map(|ip| ip.octets()).unwrap_or_default();
    let subnet = Cidr { address: IpAddr::from([a, b, c, 0]), prefix: 24 };
    Network {
        name: name.to_owned(),
        vlan: None,
        distributed: kind == Kind::Vsphere && id.starts_with("dvportgroup"),
        subnet: (kind == Kind::Openstack && address.is_some()).then_some(subnet),
    }
}

fn machine(kind: Kind, vm: &SourceVm, macs: &mut BTreeSet<String>) -> Vm {
    let windows = match vm.os {
        GuestOs::Windows => Some(true),
        GuestOs::Linux => Some(false),
        GuestOs::Unknown => None,
    };
    let firmware = vm.firmware.unwrap_or(vm::Firmware { kind: FirmwareKind::Bios, secure_boot: false, tpm: false });
    let efi = firmware.kind == FirmwareKind::Efi;
    let cores = vm.cpu.map_or(1, |cpu| cpu.cores.saturating_mul(cpu.threads).max(1));
    let on = vm.power == vm::Power::On;
    Vm {
        name: vm.name.clone(),
        os: Os::named_in(&vm.name, windows).unwrap_or_default(),
        guest: Guest {
            tools: match vm.guest_agent_running {
                Some(false) if on => Tools::Stopped,
                _ => Tools::Running,
            },
            ..Guest::default()
        },
        uuid: vm.uuid.as_deref().and_then(|uuid| uuid.parse().ok()),
        firmware: if efi { Firmware::Efi } else { Firmware::Bios },
        secure_boot: efi && firmware.secure_boot,
        tpm: firmware.tpm && kind == Kind::Vsphere,
        cpus: vm.cpu.map_or(1, |cpu| cpu.sockets.max(1).saturating_mul(cores)),
        cores_per_socket: if kind == Kind::Openstack { 1 } else { cores },
        memory: vm.memory_mib.map_or(Size::gib(4), |mib| Size(mib << 20)),
        power: if on { Power::On } else { Power::Off },
        disks: Some(vm.disks.iter().map(|it| disk(kind, it)).collect()),
        nics: Some(nics(kind, vm, macs)),
        snapshots: if kind == Kind::Openstack { Vec::new() } else { snapshots(vm) },
        ..Vm::default()
    }
}

fn snapshots(vm: &SourceVm) -> Vec<Snapshot> {
    let names = named_once(vm.snapshots.iter().map(|snapshot| snapshot.name.as_str()));
    names.map(|name| Snapshot { name, description: String::new() }).collect()
}

/// A second one of a name gets a number, because a world tells things by name.
pub(super) fn named_once<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    names.map(move |name| {
        let times = seen.entry(name).or_default();
        *times += 1;
        if *times == 1 { name.to_owned() } else { format!("{name} ({times})") }
    })
}

fn disk(kind: Kind, it: &vm::SourceDisk) -> Disk {
    let key: Option<u64> = it.id.parse().ok().filter(|_| kind == Kind::Vsphere);
    Disk {
        size: Size(it.capacity_bytes),
        name: (kind == Kind::Ovirt && !it.label.is_empty()).then(|| it.label.clone()),
        datastore: Some(it.storage_name.clone()).filter(|name| !name.is_empty()),
        controller: match key {
            Some(NVME_DISKS..) => Some(Controller::Nvme),
            Some(SATA_DISKS..) => Some(Controller::Sata),
            _ => None,
        },
        ..Disk::default()
    }
}

fn nics(kind: Kind, vm: &SourceVm, macs: &mut BTreeSet<String>) -> Vec<Nic> {
    let mut nics: Vec<Nic> = vm.nics.iter().map(|it| nic(kind, it, macs)).collect();
    if kind == Kind::Openstack {
        nics.sort_by(|one, other| (&one.network, &one.mac).cmp(&(&other.network, &other.mac)));
    }
    nics
}

fn nic(kind: Kind, it: &vm::SourceNic, macs: &mut BTreeSet<String>) -> Nic {
    let addresses: Vec<&vm::GuestAddress> = it
        .guest
        .iter()
        .flat_map(|guest| &guest.addresses)
        .filter(|own| !matches!(own.ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .collect();
    let said = |origin| addresses.iter().any(|own| own.origin == origin);
    let origin = if said(vm::AddressOrigin::Static) { AddressOrigin::Static } else { AddressOrigin::Dhcp };
    let written = |own: &&vm::GuestAddress| {
        let usual = if own.ip.is_ipv4() { 24 } else { 64 };
        Cidr { address: own.ip, prefix: own.prefix.filter(|prefix| *prefix > 0).unwrap_or(usual) }
    };
    Nic {
        network: Some(it.network_name.clone()).filter(|name| !name.is_empty()),
        // Two VMs with one MAC are there in the field; the lab tells guests by it.
        mac: it.mac.as_str().parse::<Mac>().ok().filter(|mac| macs.insert(mac.to_string())),
        adapter: None,
        disconnected: !it.connected && kind != Kind::Openstack,
        addresses: addresses.iter().map(written).collect(),
        origin: (!addresses.is_empty()).then_some(origin),
        dns: it.guest.iter().flat_map(|guest| guest.dns.iter().copied()).collect(),
    }
}

/// An OpenStack server's flavor, and the image that it boots from.
fn boot(vm: &SourceVm, made: &mut Vm, source: &mut Source) {
    let from_image = vm.disks.first().is_some_and(|disk| disk.storage_name == IMAGE_STORAGE);
    let root = vm.disks.first().filter(|_| from_image).map_or(Size::gib(20), |disk| Size(disk.capacity_bytes));
    let shape =
        [("hw:cpu_threads", vm.cpu.map_or(1, |cpu| cpu.threads)), ("hw:cpu_cores", vm.cpu.map_or(1, |cpu| cpu.cores))];
    let extra: BTreeMap<String, String> = shape
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(key, count)| (key.to_owned(), count.to_string()))
        .collect();
    let cpus = made.cpus;
    let told: String =
        extra.iter().map(|(key, count)| format!(".{}{count}", key.trim_start_matches("hw:cpu_"))).collect();
    let name = format!("recorded.{cpus}x{}x{root}{told}", made.memory);
    let flavor = || Flavor { name: name.clone(), cpus, memory: made.memory, disk: root, extra };
    each(&mut source.flavors, &name, |flavor| &flavor.name, flavor);
    made.flavor = Some(name);
    if from_image {
        let os = made.os;
        let name = format!("recorded-{}", format!("{os:?}").to_lowercase());
        each(&mut source.images, &name, |image| &image.name, || Image { name: name.clone(), os });
        made.image = Some(name);
        if let Some(disks) = &mut made.disks {
            disks.remove(0);
        }
    }
}
