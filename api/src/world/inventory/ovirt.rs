//! oVirt's part of the inventory. MTV lists no templates; their disks are there as disks of nobody.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{
    Datastore, Disk, Firmware, Guest, Host, Network, Nic, Os, Power, Size, Snapshot, Source, Tools, Vm,
};
use super::{Listed, Names, count, flag, items, list, mac, number, text, told};

/// What the domains are called that hold disks.
const DATA: &str = "data";

struct Known<'a> {
    hosts: Names,
    domains: Names,
    networks: Names,
    profiles: &'a [Value],
    disks: &'a [Value],
}

pub(super) fn source(listed: &Listed) -> Source {
    let named = |item| text(item, "/name");
    let known = Known {
        hosts: Names::of(items(listed, "hosts"), named),
        domains: Names::of(items(listed, "storagedomains"), named),
        networks: Names::of(items(listed, "networks"), named),
        profiles: items(listed, "nicprofiles"),
        disks: items(listed, "disks"),
    };
    let vms = items(listed, "vms");
    let attached: BTreeSet<&str> =
        vms.iter().flat_map(|vm| list(vm, "/diskAttachments")).map(|it| text(it, "/disk")).collect();
    let lone = known.disks.iter().filter(|disk| !attached.contains(text(disk, "/id")));
    Source {
        hosts: items(listed, "hosts").iter().map(|it| Host { name: known.hosts.own(it), address: None }).collect(),
        datastores: items(listed, "storagedomains").iter().map(|it| domain(it, &known.domains)).collect(),
        networks: items(listed, "networks").iter().map(|it| network(it, &known.networks)).collect(),
        disks: lone.map(|it| disk(it, &known)).collect(),
        vms: vms.iter().map(|it| vm(it, &known)).collect(),
        ..Source::default()
    }
}

/// MTV shows what is available as `capacity`, and that without what is used as `free`.
fn domain(item: &Value, names: &Names) -> Datastore {
    let (available, rest) = (number(item, "/capacity"), item.pointer("/free").and_then(Value::as_i64));
    let used = rest.map_or(0, |rest| i64::try_from(available).unwrap_or(i64::MAX).saturating_sub(rest).max(0));
    Datastore {
        xcopy: true,
        name: names.own(item),
        kind: told(item, "/storage/type"),
        role: told(item, "/type").filter(|role| role != DATA),
        capacity: Size(available.saturating_add(used.unsigned_abs())),
        free: Size(available),
    }
}

fn network(item: &Value, names: &Names) -> Network {
    Network {
        name: names.own(item),
        vlan: text(item, "/vlan").parse().ok().filter(|vlan| *vlan > 0),
        distributed: false,
        subnet: None,
    }
}

fn disk(item: &Value, known: &Known<'_>) -> Disk {
    Disk {
        size: Size(number(item, "/provisionedSize")),
        name: told(item, "/name"),
        datastore: known.domains.get(text(item, "/storageDomain")),
        shared: flag(item, "/shared"),
        ..Disk::default()
    }
}

fn vm(item: &Value, known: &Known<'_>) -> Vm {
    let on = text(item, "/status") == "up";
    let os = Os::told_by(&[text(item, "/osType")]);
    let (firmware, secure_boot, bios_type) = match text(item, "/bios") {
        "q35_ovmf" => (Firmware::Efi, false, None),
        "q35_secure_boot" => (Firmware::Efi, true, None),
        "q35_sea_bios" | "" => (Firmware::Bios, false, None),
        other => (Firmware::Bios, false, Some(other.to_owned())),
    };
    let cores = count(item, "/cpuCores").max(1).saturating_mul(count(item, "/cpuThreads").max(1));
    let mut attachments: Vec<&Value> = list(item, "/diskAttachments").iter().collect();
    // A world's first disk is the one that is booted.
    attachments.sort_by_key(|it| !flag(it, "/bootable"));
    let attached = |it: &&Value| {
        let found = known.disks.iter().find(|disk| text(disk, "/id") == text(it, "/disk"))?;
        let usual = if os.windows() { "virtio_scsi" } else { "virtio" };
        Some(Disk { interface: told(it, "/interface").filter(|word| word != usual), ..disk(found, known) })
    };
    let regular = list(item, "/snapshots").iter().filter(|it| text(it, "/type") == "regular");
    let silent = on && text(item, "/guest/distribution").is_empty();
    Vm {
        name: text(item, "/name").to_owned(),
        os,
        guest: Guest {
            id: told(item, "/osType").filter(|id| id != os.ovirt_id()),
            tools: if silent { Tools::Stopped } else { Tools::Running },
            ..Guest::default()
        },
        uuid: text(item, "/id").parse().ok(),
        firmware,
        secure_boot,
        bios_type,
        cpus: count(item, "/cpuSockets").max(1).saturating_mul(cores),
        cores_per_socket: cores,
        memory: Size(number(item, "/memory").max(1 << 20)),
        power: if on { Power::On } else { Power::Off },
        host: known.hosts.get(text(item, "/host")),
        notes: text(item, "/description").to_owned(),
        disks: Some(attachments.iter().filter_map(attached).collect()),
        nics: Some(list(item, "/nics").iter().map(|it| nic(it, known)).collect()),
        snapshots: super::super::record::named_once(regular.map(|it| text(it, "/description")))
            .map(|name| Snapshot { name, description: String::new() })
            .collect(),
        ..Vm::default()
    }
}

fn nic(item: &Value, known: &Known<'_>) -> Nic {
    let profile = known.profiles.iter().find(|profile| text(profile, "/id") == text(item, "/profile"));
    Nic {
        network: profile.and_then(|profile| known.networks.get(text(profile, "/network"))),
        mac: mac(text(item, "/mac")),
        adapter: told(item, "/interface").filter(|word| word != "virtio"),
        disconnected: item.get("plugged").and_then(Value::as_bool) == Some(false),
        ..Nic::default()
    }
}
