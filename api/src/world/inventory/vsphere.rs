//! vSphere's part of the inventory.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::{
    AddressOrigin, Controller, Datastore, Disk, DiskMode, Firmware, Guest, Host, Network, Nic, Os, Power, Rdm, Size,
    Snapshot, Source, Tools, Vm,
};
use super::{Listed, Names, address, count, flag, items, list, mac, number, text, told};

/// First keys of disks on these controllers.
const NVME_DISKS: u64 = 32_000;
const SATA_DISKS: u64 = 16_000;
/// Where the data center keeps its VMs.
const VM_FOLDER: &str = "vm";

/// Names by id of what VMs refer to.
struct Known {
    hosts: Names,
    stores: Names,
    networks: Names,
    /// Paths below the data center's own folder.
    folders: BTreeMap<String, String>,
}

pub(super) fn source(listed: &Listed) -> Source {
    let named = |item| text(item, "/name");
    let networks: Vec<&Value> =
        items(listed, "networks").iter().filter(|network| text(network, "/variant") != "DvSwitch").collect();
    let known = Known {
        hosts: Names::of(items(listed, "hosts"), named),
        stores: Names::of(items(listed, "datastores"), named),
        networks: Names::of(networks.iter().copied(), named),
        folders: items(listed, "folders").iter().filter_map(folder).collect(),
    };
    let mut folders: Vec<String> = known.folders.values().cloned().collect();
    folders.sort();
    folders.dedup();
    let vms: Vec<Vm> = items(listed, "vms").iter().map(|it| vm(it, &known)).chain(unlisted(listed, &known)).collect();
    Source {
        hosts: items(listed, "hosts").iter().map(|it| host(it, &known.hosts)).collect(),
        datastores: items(listed, "datastores").iter().map(|it| datastore(it, &known.stores)).collect(),
        networks: networks.into_iter().map(|it| network(it, &known.networks)).collect(),
        folders,
        vms: apart(vms),
        ..Source::default()
    }
}

/// MTV lists no templates; their folders tell that they are there, and nothing else.
fn unlisted(listed: &Listed, known: &Known) -> Vec<Vm> {
    let shown = |id: &str| items(listed, "vms").iter().any(|vm| text(vm, "/id") == id);
    let inside = |folder: &Value| {
        let vms = list(folder, "/children").iter().filter(|child| text(child, "/kind") == "VM");
        let path = known.folders.get(text(folder, "/id")).cloned();
        vms.filter(|child| !shown(text(child, "/id"))).map(|_| path.clone()).collect::<Vec<_>>()
    };
    let template = |(number, folder): (usize, Option<String>)| Vm {
        name: format!("recorded-template-{number}"),
        template: true,
        folder,
        cpus: super::super::cpus(),
        cores_per_socket: 1,
        memory: super::super::memory(),
        ..Vm::default()
    };
    (1..).zip(items(listed, "folders").iter().flat_map(inside)).map(template).collect()
}

/// Id and path of a folder for VMs: `/Datacenter/vm/prod/db` is `prod/db`.
fn folder(item: &Value) -> Option<(String, String)> {
    let mut parts = text(item, "/path").split('/').filter(|part| !part.is_empty()).skip(1);
    let below = (parts.next() == Some(VM_FOLDER)).then(|| parts.collect::<Vec<_>>().join("/"))?;
    (!below.is_empty()).then(|| (text(item, "/id").to_owned(), below))
}

fn host(item: &Value, names: &Names) -> Host {
    let address = list(item, "/networking/vNICs").iter().find_map(|nic| text(nic, "/ipAddress").parse().ok());
    Host { name: names.own(item), address }
}

fn datastore(item: &Value, names: &Names) -> Datastore {
    let (capacity, free) = (number(item, "/capacity"), number(item, "/free"));
    Datastore {
        xcopy: true,
        name: names.own(item),
        kind: told(item, "/type"),
        role: None,
        capacity: Size(capacity),
        free: Size(free.min(capacity)),
    }
}

fn network(item: &Value, names: &Names) -> Network {
    Network {
        name: names.own(item),
        vlan: text(item, "/vlanId").parse().ok().filter(|vlan| *vlan > 0),
        distributed: text(item, "/variant") == "DvPortGroup",
        subnet: None,
    }
}

fn vm(item: &Value, known: &Known) -> Vm {
    let on = text(item, "/powerState") == "poweredOn";
    let os = Os::told_by(&[text(item, "/guestName"), text(item, "/guestId"), text(item, "/guestNameFromVmwareTools")]);
    let efi = text(item, "/firmware") == "efi";
    let cpus = count(item, "/cpuCount").max(1);
    let cores = count(item, "/coresPerSocket").max(1);
    // By key, as the VM has them: MTV's order is by bus.
    let mut devices: Vec<&Value> = list(item, "/disks").iter().collect();
    devices.sort_by_key(|it| number(it, "/key"));
    let disks: Vec<Disk> = devices.into_iter().map(|it| disk(it, known)).collect();
    let extra = if item.get("diskEnableUuid").and_then(Value::as_bool) == Some(false) {
        BTreeMap::from([("disk.EnableUUID".to_owned(), "FALSE".to_owned())])
    } else {
        BTreeMap::new()
    };
    Vm {
        name: text(item, "/name").to_owned(),
        os,
        guest: guest(item, os, on),
        template: flag(item, "/isTemplate"),
        uuid: text(item, "/uuid").parse().ok(),
        firmware: if efi { Firmware::Efi } else { Firmware::Bios },
        secure_boot: efi && flag(item, "/secureBoot"),
        tpm: flag(item, "/tpmEnabled"),
        cpus,
        cores_per_socket: if cpus.is_multiple_of(cores) { cores } else { 1 },
        memory: Size(number(item, "/memoryMB").max(1) << 20),
        power: if on { Power::On } else { Power::Off },
        host: known.hosts.get(text(item, "/host")),
        folder: known.folders.get(text(item, "/parent/id")).cloned(),
        datastore: disks.first().and_then(|disk| disk.datastore.clone()),
        change_tracking: flag(item, "/changeTrackingEnabled"),
        extra,
        disks: Some(disks),
        nics: Some(list(item, "/nics").iter().map(|it| nic(it, item, known)).collect()),
        snapshots: told(item, "/snapshot/id")
            .map(|_| Snapshot { name: "recorded".to_owned(), description: String::new() })
            .into_iter()
            .collect(),
        ..Vm::default()
    }
}

fn guest(item: &Value, os: Os, on: bool) -> Guest {
    let other = |pointer: &str, usual: &str| told(item, pointer).filter(|word| word != usual);
    let tools = match text(item, "/toolsRunningStatus") {
        "guestToolsRunning" => Tools::Running,
        _ if text(item, "/toolsVersionStatus2") == "guestToolsNotInstalled" => Tools::Missing,
        _ if text(item, "/toolsStatus") == "toolsNotInstalled" => Tools::Missing,
        // Of a VM that is off nobody knows.
        _ if on => Tools::Stopped,
        _ => Tools::Running,
    };
    Guest {
        hostname: told(item, "/hostName").filter(|host| host != text(item, "/name")),
        id: other("/guestId", os.vsphere_id()),
        full_name: other("/guestName", os.full_name()),
        pretty_name: other("/guestNameFromVmwareTools", os.full_name()).filter(|name| name != os.pretty_name()),
        tools,
    }
}

fn disk(item: &Value, known: &Known) -> Disk {
    Disk {
        size: Size(number(item, "/capacity")),
        datastore: known.stores.get(text(item, "/datastore/id")),
        controller: match number(item, "/key") {
            NVME_DISKS.. => Some(Controller::Nvme),
            SATA_DISKS.. => Some(Controller::Sata),
            _ => None,
        },
        mode: match text(item, "/mode") {
            "independent_persistent" => DiskMode::IndependentPersistent,
            "independent_nonpersistent" => DiskMode::IndependentNonpersistent,
            _ => DiskMode::Persistent,
        },
        shared: flag(item, "/shared"),
        // How it is mapped the inventory does not tell.
        rdm: flag(item, "/rdm").then_some(Rdm::Virtual),
        ..Disk::default()
    }
}

fn nic(item: &Value, vm: &Value, known: &Known) -> Nic {
    let own = |device: &&Value| number(device, "/key") == number(item, "/deviceKey");
    let card = list(vm, "/devices").iter().find(own).map_or("", |device| text(device, "/kind"));
    let lower = text(item, "/mac").to_lowercase();
    let told_of: Vec<&Value> =
        list(vm, "/guestNetworks").iter().filter(|network| text(network, "/mac").to_lowercase() == lower).collect();
    let addresses: Vec<_> =
        told_of.iter().filter_map(|network| address(text(network, "/ip"), number(network, "/prefix"))).collect();
    let fixed = told_of.iter().any(|network| text(network, "/origin") == "manual");
    let origin = if fixed { AddressOrigin::Static } else { AddressOrigin::Dhcp };
    let dns = told_of.first().map(|network| list(network, "/dns")).unwrap_or_default();
    Nic {
        network: known.networks.get(text(item, "/network/id")),
        mac: mac(&lower),
        adapter: match card {
            "VirtualE1000e" => Some("e1000e".to_owned()),
            "VirtualE1000" => Some("e1000".to_owned()),
            _ => None,
        },
        disconnected: false,
        origin: (!addresses.is_empty()).then_some(origin),
        addresses,
        dns: dns.iter().filter_map(|server| server.as_str()?.parse().ok()).collect(),
    }
}

/// A world has no two VMs of a name in one folder; of an inventory of several data centers it may be so.
fn apart(mut vms: Vec<Vm>) -> Vec<Vm> {
    let mut seen: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
    for vm in &mut vms {
        let times = seen.entry((vm.name.clone(), vm.folder.clone())).or_default();
        *times += 1;
        if *times > 1 {
            vm.name = format!("{} ({times})", vm.name);
        }
    }
    vms
}
