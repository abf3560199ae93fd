//! From the facts of a world file to the cloud that clients see.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;

use super::model::{Attachment, Flavor, Guest, Image, Network, Server, State, Subnet, Volume, now_bare, now_z, uuid};
use crate::api::world::{self as told, Firmware, Os, Source};

/// What the tools of an image or a boot volume know of the system on it.
fn properties(os: Os, firmware: Firmware, secure_boot: bool) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        os.openstack().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut set = |key: &str, value: &str| all.insert(key.to_owned(), value.to_owned());
    set("hw_disk_bus", "virtio");
    set("hw_vif_model", "virtio");
    if firmware == Firmware::Efi {
        set("hw_firmware_type", "uefi");
        set("hw_machine_type", "q35");
        if secure_boot {
            set("os_secure_boot", "required");
        }
    }
    all
}

pub(super) fn state(source: &Source) -> State {
    let types = source.datastores.iter().map(|store| (uuid(), store.name.clone()));
    let mut state = State { types: types.collect(), ..State::default() };
    for (number, it) in (1..).zip(&source.networks) {
        let network = Network { id: uuid(), name: it.name.clone(), created: now_z() };
        let base = it.subnet.and_then(|subnet| match subnet.address {
            IpAddr::V4(address) => Some(Ipv4Addr::from(u32::from(address) & !0xff)),
            IpAddr::V6(_) => None,
        });
        state.subnets.push(Subnet {
            id: uuid(),
            name: format!("{}-v4", it.name),
            network: network.id.clone(),
            base: base.unwrap_or(Ipv4Addr::new(10, 81, number, 0)),
        });
        state.networks.push(network);
    }
    state.flavors.extend(source.flavors.iter().map(flavor));
    for it in &source.images {
        let image = image(it);
        state.images.insert(image.id.clone(), image);
    }
    for it in &source.disks {
        let usual = state.types.first().map(|(_, name)| name.clone()).unwrap_or_default();
        let volume = volume(it, it.datastore.clone().unwrap_or(usual));
        state.volumes.insert(volume.id.clone(), volume);
    }
    grow(&mut state, &source.vms);
    state
}

/// Adds servers.
pub(super) fn grow(state: &mut State, vms: &[told::Vm]) {
    for vm in vms {
        add(state, vm);
    }
}

fn flavor(it: &told::Flavor) -> Flavor {
    Flavor {
        id: uuid(),
        name: it.name.clone(),
        vcpus: it.cpus,
        ram: it.memory.whole_mib(),
        disk: it.disk.ceil_gib(),
        extra: it.extra.clone(),
    }
}

/// The server's flavor: the one it names, one that fits, or one that is made for it. Answers its id.
fn flavor_of(state: &mut State, vm: &told::Vm) -> String {
    let fits = |flavor: &&Flavor| match &vm.flavor {
        Some(name) => flavor.name == *name,
        None => flavor.vcpus == vm.cpus && flavor.ram == vm.memory.whole_mib() && flavor.extra.is_empty(),
    };
    if let Some(found) = state.flavors.iter().find(fits) {
        return found.id.clone();
    }
    let made = flavor(&told::Flavor {
        name: format!("lab.{}x{}", vm.cpus, vm.memory),
        cpus: vm.cpus,
        memory: vm.memory,
        disk: told::Size::gib(20),
        extra: BTreeMap::new(),
    });
    let id = made.id.clone();
    state.flavors.push(made);
    id
}

fn image(it: &told::Image) -> Image {
    Image {
        id: uuid(),
        name: it.name.clone(),
        status: "active",
        disk_format: "qcow2".to_owned(),
        container_format: "bare".to_owned(),
        visibility: "public".to_owned(),
        size: Some(900 << 20),
        virtual_size: Some(10 << 30),
        min_disk: 10,
        properties: properties(it.os, Firmware::Bios, false),
        data: Bytes::new(),
        guest: Some(Guest {
            windows: it.os.windows(),
            pretty_name: it.os.pretty_name().to_owned(),
            hostname: "localhost".to_owned(),
            fails: None,
        }),
        created: now_z(),
        updated: now_z(),
        pending: None,
    }
}

/// A volume that nobody uses.
fn volume(it: &told::Disk, kind: String) -> Volume {
    Volume {
        id: uuid(),
        name: it.name.clone().unwrap_or_default(),
        size: it.size.ceil_gib(),
        status: "available",
        bootable: false,
        kind,
        snapshot: None,
        metadata: BTreeMap::new(),
        image_metadata: BTreeMap::new(),
        attached: None,
        guest: None,
        created: now_bare(),
        updated: now_bare(),
        pending: None,
    }
}

/// The server's volumes, each in use by it.
fn volumes(state: &mut State, vm: &told::Vm, server: &str, guest: &Guest) -> Vec<Attachment> {
    let usual = state.types.first().map(|(_, name)| name.clone()).unwrap_or_default();
    let mut attachments = Vec::new();
    for (number, disk) in vm.all_disks().into_iter().enumerate() {
        // Where an image is booted from, it is the first device.
        let place = number + usize::from(vm.image.is_some());
        let boot = place == 0;
        let letter = char::from(b'a' + u8::try_from(place % 26).unwrap_or_default());
        let (attachment, device) = (uuid(), format!("/dev/vd{letter}"));
        let kind = disk.datastore.clone().or_else(|| vm.datastore.clone()).unwrap_or_else(|| usual.clone());
        let mut made = volume(&disk, kind);
        if boot {
            made.name = disk.name.unwrap_or_else(|| format!("{}-boot", vm.name));
            made.bootable = true;
            made.image_metadata = properties(vm.os, vm.firmware, vm.secure_boot);
            made.guest = Some(guest.clone());
        }
        made.status = "in-use";
        made.attached = Some((server.to_owned(), device.clone(), attachment.clone(), now_bare()));
        attachments.push(Attachment { id: attachment, volume: made.id.clone(), device, delete_on_termination: false });
        state.volumes.insert(made.id.clone(), made);
    }
    attachments
}

/// The server's ports, with the addresses that are written, or ones of their networks.
fn ports(state: &mut State, vm: &told::Vm, server: &str) -> Vec<String> {
    let mut ports = Vec::new();
    for nic in vm.all_nics() {
        let named = |network: &&Network| nic.network.as_ref().is_none_or(|name| network.name == *name);
        let network = state.networks.iter().find(named).map(|network| network.id.clone()).unwrap_or_default();
        let mac = nic.mac.as_ref().map(|mac| mac.as_str().to_owned());
        let id = state.add_port("", &network, mac, &[]);
        if let Some(port) = state.ports.get_mut(&id) {
            server.clone_into(&mut port.device);
            let written = nic.addresses.iter().filter_map(|own| match own.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
            for ((_, given), address) in port.fixed.iter_mut().zip(written) {
                *given = address;
            }
        }
        ports.push(id);
    }
    ports
}

fn add(state: &mut State, vm: &told::Vm) {
    let id = vm.uuid.map_or_else(uuid, |uuid| uuid.to_string());
    let guest = Guest {
        windows: vm.os.windows(),
        pretty_name: vm.pretty_name().to_owned(),
        hostname: vm.hostname().to_owned(),
        fails: vm.fails.clone(),
    };
    let wanted = vm.image.as_ref();
    let image = wanted.and_then(|name| state.images.values().find(|i| i.name == *name)).map(|image| image.id.clone());
    let volumes = volumes(state, vm, &id, &guest);
    let ports = ports(state, vm, &id);
    let flavor = flavor_of(state, vm);
    let server = Server {
        id: id.clone(),
        name: vm.name.clone(),
        description: (!vm.notes.is_empty()).then(|| vm.notes.clone()),
        status: if vm.is_on() { "ACTIVE" } else { "SHUTOFF" },
        task: None,
        flavor,
        image,
        own_ports: ports.clone(),
        ports,
        volumes,
        metadata: vm.extra.clone(),
        guest: Some(guest),
        fault: None,
        key: None,
        created: now_z(),
        updated: now_z(),
        pending: None,
    };
    state.servers.insert(id, server);
}
