//! OpenStack's part of the inventory.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{Cidr, Datastore, Disk, Firmware, Flavor, Guest, Image, Network, Nic, Os, Power, Size, Source, Vm};
use super::{Listed, Names, address, count, items, list, mac, number, text, told};

struct Known<'a> {
    networks: Names,
    flavors: Names,
    images: Names,
    volumes: &'a [Value],
    listed: &'a Listed,
}

pub(super) fn source(listed: &Listed) -> Source {
    let named = |item| text(item, "/name");
    let known = Known {
        networks: Names::of(items(listed, "networks"), named),
        flavors: Names::of(items(listed, "flavors"), named),
        images: Names::of(items(listed, "images"), named),
        volumes: items(listed, "volumes"),
        listed,
    };
    let vms = items(listed, "vms");
    let attached: BTreeSet<&str> =
        vms.iter().flat_map(|vm| list(vm, "/attachedVolumes")).map(|it| text(it, "/ID")).collect();
    let lone = known.volumes.iter().filter(|volume| !attached.contains(text(volume, "/id")));
    let kind = |name: &str| Datastore {
        xcopy: true,
        name: name.to_owned(),
        kind: None,
        role: None,
        capacity: Size::gib(4096),
        free: Size::gib(2048),
    };
    Source {
        datastores: items(listed, "volumetypes").iter().map(|it| kind(text(it, "/name"))).collect(),
        networks: items(listed, "networks").iter().map(|it| network(it, &known)).collect(),
        flavors: items(listed, "flavors").iter().map(|it| flavor(it, &known.flavors)).collect(),
        images: items(listed, "images").iter().map(|it| image(it, &known.images)).collect(),
        disks: lone.map(disk).collect(),
        vms: vms.iter().map(|it| vm(it, &known)).collect(),
        ..Source::default()
    }
}

/// The first subnet that a lab's network can have: a /24 of IPv4, or the first /24 of a wider one.
fn network(item: &Value, known: &Known<'_>) -> Network {
    let own = items(known.listed, "subnets").iter().filter(|it| text(it, "/networkID") == text(item, "/id"));
    let subnet = own.filter_map(|it| text(it, "/cidr").parse::<Cidr>().ok()).find(|subnet| subnet.address.is_ipv4());
    Network {
        name: known.networks.own(item),
        vlan: None,
        distributed: false,
        subnet: subnet.map(|subnet| Cidr { prefix: 24, ..subnet }),
    }
}

fn flavor(item: &Value, names: &Names) -> Flavor {
    let specs = item.get("extraSpecs").and_then(Value::as_object).into_iter().flatten();
    Flavor {
        name: names.own(item),
        cpus: count(item, "/vcpus").max(1),
        memory: Size(number(item, "/ram").max(1) << 20),
        disk: Size::gib(number(item, "/disk")),
        extra: specs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
    }
}

/// What properties of an image, or those of the image that a volume was made from, say of the system.
fn os(properties: &Value) -> Option<Os> {
    let (kind, distro, version) =
        (text(properties, "/os_type"), text(properties, "/os_distro"), text(properties, "/os_version"));
    let exact = |os: &Os| os.openstack() == [("os_type", kind), ("os_distro", distro), ("os_version", version)];
    if kind.is_empty() && distro.is_empty() {
        return None;
    }
    let windows = kind == "windows" || distro == "windows";
    let found = Os::ALL.into_iter().find(exact);
    found.or_else(|| Os::named_in(&format!("{distro}{version}"), Some(windows)))
}

fn image(item: &Value, names: &Names) -> Image {
    let properties = item.get("properties").unwrap_or(&Value::Null);
    let name = names.own(item);
    let os = os(properties).or_else(|| Os::named_in(&name, None)).unwrap_or_default();
    Image { name, os }
}

fn disk(item: &Value) -> Disk {
    Disk {
        size: Size::gib(number(item, "/size").max(1)),
        name: told(item, "/name"),
        datastore: told(item, "/volumeType"),
        ..Disk::default()
    }
}

fn vm(item: &Value, known: &Known<'_>) -> Vm {
    let name = text(item, "/name").to_owned();
    let volumes: Vec<&Value> = list(item, "/attachedVolumes")
        .iter()
        .filter_map(|it| known.volumes.iter().find(|volume| text(volume, "/id") == text(it, "/ID")))
        .collect();
    let image = items(known.listed, "images").iter().find(|it| text(it, "/id") == text(item, "/imageID"));
    let of_image = image.and_then(|image| image.get("properties"));
    let of_volume = volumes.first().and_then(|volume| volume.get("volumeImageMetadata"));
    let properties = of_image.or(of_volume).unwrap_or(&Value::Null);
    let efi = text(properties, "/hw_firmware_type") == "uefi";
    let flavor = items(known.listed, "flavors").iter().find(|it| text(it, "/id") == text(item, "/flavorID"));
    let metadata = item.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let mut disks: Vec<Disk> = volumes.iter().map(|it| disk(it)).collect();
    // What a volume is called that the lab makes a server's first.
    if let Some(first) = disks.first_mut().filter(|_| image.is_none()) {
        first.name = first.name.take().filter(|own| *own != format!("{name}-boot"));
    }
    Vm {
        os: os(properties).or_else(|| Os::named_in(&name, None)).unwrap_or_default(),
        guest: Guest::default(),
        uuid: text(item, "/id").parse().ok(),
        firmware: if efi { Firmware::Efi } else { Firmware::Bios },
        secure_boot: efi && text(properties, "/os_secure_boot") == "required",
        cores_per_socket: 1,
        cpus: flavor.map_or(2, |flavor| count(flavor, "/vcpus").max(1)),
        memory: flavor.map_or(Size::gib(4), |flavor| Size(number(flavor, "/ram").max(1) << 20)),
        power: if text(item, "/status") == "ACTIVE" { Power::On } else { Power::Off },
        extra: metadata.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
        flavor: known.flavors.get(text(item, "/flavorID")),
        image: known.images.get(text(item, "/imageID")),
        disks: Some(disks),
        nics: Some(nics(item)),
        name,
        ..Vm::default()
    }
}

/// A NIC for every MAC, with its addresses; a floating one is not the NIC's.
fn nics(item: &Value) -> Vec<Nic> {
    let mut nics: Vec<(String, Nic)> = Vec::new();
    for (network, told) in item.get("addresses").and_then(Value::as_object).into_iter().flatten() {
        for one in told.as_array().into_iter().flatten() {
            if text(one, "/OS-EXT-IPS:type") == "floating" {
                continue;
            }
            let own = text(one, "/OS-EXT-IPS-MAC:mac_addr").to_lowercase();
            let at = nics.iter().position(|(mac, _)| *mac == own).unwrap_or_else(|| {
                let nic = Nic { network: Some(network.clone()), mac: mac(&own), ..Nic::default() };
                nics.push((own.clone(), nic));
                nics.len() - 1
            });
            if let Some((_, nic)) = nics.get_mut(at) {
                nic.addresses.extend(address(text(one, "/addr"), 24));
            }
        }
    }
    nics.into_iter().map(|(_, nic)| nic).collect()
}
