//! From the facts of a world file to the engine that clients see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::model::{
    Attachment, Datacenter, Disk, Domain, Guest, Machine, Named, Network, Nic, Snapshot, State, fresh_id, now,
};
use crate::api::world::{self as told, Firmware, Provision, Source, Tools};

/// The state of a fresh engine.
pub fn state(source: &Source) -> State {
    let network = |network: &told::Network| Network {
        id: fresh_id(),
        name: network.name.clone(),
        vlan: network.vlan.map(u32::from),
        profile: fresh_id(),
    };
    let domain = |store: &told::Datastore| Domain {
        id: fresh_id(),
        name: store.name.clone(),
        kind: store.role.clone().unwrap_or_else(|| "data".to_owned()),
        storage: store.kind.clone().unwrap_or_else(|| "nfs".to_owned()),
        available: store.free.signed(),
        used: store.capacity.signed().saturating_sub(store.free.signed()),
    };
    let datacenter = |name, status| Datacenter { id: fresh_id(), name, status };
    let mut state = State {
        instance: fresh_id(),
        datacenters: vec![datacenter("MTV-CNV", "up"), datacenter("Default", "uninitialized")],
        cluster: Named { id: fresh_id(), name: "MTV-CNV".to_owned() },
        hosts: source.hosts.iter().map(|host| Named { id: fresh_id(), name: host.name.clone() }).collect(),
        networks: source.networks.iter().map(network).collect(),
        domains: source.datastores.iter().map(domain).collect(),
        templates: BTreeMap::new(),
        vms: BTreeMap::new(),
        disks: BTreeMap::new(),
        tags: BTreeMap::new(),
        events: Vec::new(),
        jobs: Vec::new(),
    };
    for (number, it) in source.disks.iter().enumerate() {
        let name = it.name.clone().unwrap_or_else(|| format!("disk-{}", number + 1));
        let disk = disk(it, name, domain_of(&state, it.datastore.as_ref()));
        state.disks.insert(disk.id.clone(), disk);
    }
    grow(&mut state, &source.vms);
    state.event_of(1, "Starting oVirt Engine.".to_owned(), None, "");
    state
}

/// Adds VMs and templates.
pub(super) fn grow(state: &mut State, vms: &[told::Vm]) {
    let written = vms.iter().flat_map(|vm| vm.nics.iter().flatten().filter_map(|nic| nic.mac.as_ref()));
    let taken: BTreeSet<String> = written.map(|mac| mac.as_str().to_owned()).collect();
    for vm in vms {
        let machine = build(vm, state, &taken);
        let all = if vm.template { &mut state.templates } else { &mut state.vms };
        all.insert(machine.id.clone(), machine);
    }
}

/// The engine's word for a firmware.
fn bios(vm: &told::Vm) -> String {
    let word = match (vm.firmware, vm.secure_boot) {
        (Firmware::Efi, true) => "q35_secure_boot",
        (Firmware::Efi, false) => "q35_ovmf",
        (Firmware::Bios, _) => "q35_sea_bios",
    };
    vm.bios_type.clone().unwrap_or_else(|| word.to_owned())
}

/// The domain of this name, or the first that holds disks; its id.
fn domain_of(state: &State, name: Option<&String>) -> String {
    let holds = |domain: &&Domain| name.map_or(domain.kind == "data", |name| domain.name == *name);
    state.domains.iter().find(holds).map(|domain| domain.id.clone()).unwrap_or_default()
}

fn disk(it: &told::Disk, name: String, domain: String) -> Disk {
    let raw = it.provision != Provision::Thin;
    Disk {
        id: fresh_id(),
        name,
        size: it.size.signed(),
        status: "ok",
        domain,
        image: fresh_id(),
        format: if raw { "raw" } else { "cow" }.to_owned(),
        sparse: !raw,
        shared: it.shared,
    }
}

fn build(vm: &told::Vm, state: &mut State, taken: &BTreeSet<String>) -> Machine {
    let windows = vm.os.windows();
    let guest = Guest {
        windows,
        hostname: vm.hostname().to_owned(),
        pretty_name: vm.pretty_name().to_owned(),
        distribution: vm.os.distribution(),
        release: vm.os.release(),
        tools: vm.guest.tools,
        fails: vm.fails.clone(),
    };
    let mut made = Vec::new();
    let mut attachments = Vec::new();
    for (number, told) in vm.all_disks().into_iter().enumerate() {
        let name = told.name.clone().unwrap_or_else(|| format!("{}_Disk{}", vm.name, number + 1));
        let it = disk(&told, name, domain_of(state, told.datastore.as_ref().or(vm.datastore.as_ref())));
        let usual = if windows { "virtio_scsi" } else { "virtio" };
        let interface = told.interface.unwrap_or_else(|| usual.to_owned());
        attachments.push(Attachment { disk: it.id.clone(), interface, bootable: number == 0 });
        made.push(it);
    }
    let images: Vec<(String, String)> = made.iter().map(|disk| (disk.id.clone(), fresh_id())).collect();
    let nic = |(number, nic): (usize, told::Nic)| {
        let named = |network: &&Network| nic.network.as_ref().is_none_or(|name| network.name == *name);
        let generated =
            || std::iter::repeat_with(|| state.fresh_mac()).find(|mac| !taken.contains(mac)).unwrap_or_default();
        let fourth = nic.addresses.iter().find_map(|own| match own.address {
            IpAddr::V4(address) => Some((address, own.prefix)),
            IpAddr::V6(_) => None,
        });
        let fixed: Option<(Ipv4Addr, u8)> = fourth;
        Nic {
            id: fresh_id(),
            name: format!("nic{}", number + 1),
            interface: nic.adapter.clone().unwrap_or_else(|| "virtio".to_owned()),
            profile: state.networks.iter().find(named).map(|network| network.profile.clone()),
            mac: match &nic.mac {
                // Templates have none.
                _ if vm.template => String::new(),
                Some(mac) => mac.as_str().to_owned(),
                None => generated(),
            },
            guest_name: if windows { format!("Ethernet{number}") } else { format!("eth{number}") },
            fixed,
            is_static: nic.is_static(),
            plugged: !nic.disconnected,
        }
    };
    let on = vm.is_on();
    let host = vm.host.as_ref().and_then(|name| state.hosts.iter().find(|host| host.name == *name));
    let snapshot = |snapshot: &told::Snapshot| Snapshot {
        goes: false,
        id: fresh_id(),
        description: snapshot.name.clone(),
        date: now(),
        status: "ok",
        images: images.clone(),
    };
    let machine = Machine {
        id: vm.uuid.map_or_else(fresh_id, |uuid| uuid.to_string()),
        name: vm.name.clone(),
        description: vm.notes.clone(),
        memory: vm.memory.signed(),
        sockets: vm.cpus / vm.cores_per_socket.max(1),
        cores: vm.cores_per_socket,
        os: vm.guest.id.clone().unwrap_or_else(|| vm.os.ovirt_id().to_owned()),
        bios: bios(vm),
        nics: vm.all_nics().into_iter().enumerate().map(nic).collect(),
        attachments,
        snapshots: if vm.template { Vec::new() } else { vm.snapshots.iter().map(snapshot).collect() },
        status: match (vm.template, on) {
            (true, _) => "ok",
            (false, true) => "up",
            (false, false) => "down",
        },
        created: now(),
        template: None,
        version: vm.version.unwrap_or(1),
        host: host.or(state.hosts.first()).filter(|_| on).map(|host| host.id.clone()),
        reports: on && guest.tools == Tools::Running,
        goes: None,
        boots: u64::from(on),
        active: fresh_id(),
        guest,
    };
    state.disks.extend(made.into_iter().map(|disk| (disk.id.clone(), disk)));
    machine
}
