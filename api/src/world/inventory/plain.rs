//! Platforms whose VMs MTV's inventory alone shows: OVA, Hyper-V, EC2.

use serde_json::Value;

use super::super::{Disk, Firmware, Network, Nic, Os, Power, Size, Source, Vm};
use super::{Listed, Names, count, flag, items, list, mac, number, text, told};

pub(super) fn source(listed: &Listed) -> Source {
    let names = Names::of(items(listed, "networks"), |item| text(item, "/name"));
    let network = |item: &Value| Network { name: names.own(item), vlan: None, distributed: false, subnet: None };
    let mut source = Source {
        networks: items(listed, "networks").iter().map(network).collect(),
        vms: items(listed, "vms").iter().map(|it| vm(it, &names)).collect(),
        ..Source::default()
    };
    if source.networks.is_empty() {
        source.networks.push(Network { name: "network".to_owned(), vlan: None, distributed: false, subnet: None });
    }
    source
}

/// The first of these that is told.
fn first(item: &Value, pointers: &[&str]) -> u64 {
    pointers.iter().map(|pointer| number(item, pointer)).find(|number| *number > 0).unwrap_or_default()
}

fn vm(item: &Value, names: &Names) -> Vm {
    let name = text(item, "/name").to_owned();
    let told_of = [text(item, "/osType"), text(item, "/guestOS"), text(item, "/OsType"), name.as_str()];
    let on = ["/powerState", "/status", "/state"]
        .iter()
        .any(|key| matches!(text(item, key).to_lowercase().as_str(), "on" | "running" | "poweredon"));
    let efi = text(item, "/firmware").eq_ignore_ascii_case("efi") || text(item, "/firmware") == "uefi";
    let disks: Vec<Disk> = list(item, "/disks")
        .iter()
        .map(|it| Disk { size: size(it), ..Disk::default() })
        .filter(|disk| disk.size.bytes() > 0)
        .collect();
    let nic = |it: &Value| Nic {
        network: names.get(text(it, "/network/id")).or_else(|| told(it, "/network").filter(|own| names.has(own))),
        mac: mac(text(it, "/mac")).or_else(|| mac(text(it, "/MAC"))),
        ..Nic::default()
    };
    Vm {
        os: Os::told_by(&told_of),
        uuid: text(item, "/uuid").parse().ok(),
        firmware: if efi { Firmware::Efi } else { Firmware::Bios },
        secure_boot: efi && flag(item, "/secureBoot"),
        cpus: count(item, "/cpuCount").max(1),
        cores_per_socket: 1,
        memory: Size(first(item, &["/memoryMB", "/memoryMb"]).max(512) << 20),
        power: if on { Power::On } else { Power::Off },
        disks: (!disks.is_empty()).then_some(disks),
        nics: Some(list(item, "/nics").iter().map(nic).collect::<Vec<_>>()).filter(|nics| !nics.is_empty()),
        name,
        ..Vm::default()
    }
}

/// Whole GiB, as these platforms' VMs have them in the lab.
fn size(item: &Value) -> Size {
    let bytes = first(item, &["/capacity", "/Capacity", "/size"]);
    Size::gib(Size(bytes).ceil_gib())
}
