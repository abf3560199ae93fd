//! Disks, NICs and the rest of a VM's devices, as they are written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::platform::{self, Devices, DiskSerial};
use super::super::storage::came_from;
use super::super::{Facts, Judgement, TargetVm, count, major_minor, not_judged, whole};
use super::{Compared, at, list, text};
use crate::api::vm::{Mac, TargetDisk};
use crate::config::Platform;

const DEVICES: &str = "/spec/template/spec/domain/devices";
const COPIED: &str = "MTV copies the source VM's own template, which its record does not hold";

/// What a platform's devices are to be; `None` where the source's own template is copied.
fn devices(facts: &Facts<'_>) -> Option<Devices> {
    let usual = platform::of(facts.platform).devices?;
    if !facts.scenario.skip_guest_conversion {
        return Some(usual);
    }
    // `useCompatibilityModeBus` (vsphere/utils.go): on where nobody says otherwise.
    if facts.scenario.use_compatibility_mode == Some(false) { Some(usual) } else { Some(usual.unconverted()) }
}

/// Name and claim of each volume that is a claim; other volumes have none.
fn volumes(spec: &Value) -> BTreeMap<&str, &str> {
    list(spec, "/volumes")
        .iter()
        .map(|volume| {
            let by_claim = text(volume, "/persistentVolumeClaim/claimName");
            (text(volume, "/name"), if by_claim.is_empty() { text(volume, "/dataVolume/name") } else { by_claim })
        })
        .collect()
}

/// A volume or a network is of one kind, which `known` knows: KubeVirt refuses a second, or takes one of them.
fn of_one_kind(what: &str, of: &Value, known: impl Fn(&str) -> bool, compared: &mut Compared) {
    let kinds = of.as_object().into_iter().flatten().filter(|(key, value)| *key != "name" && !value.is_null());
    let kinds: Vec<&str> = kinds.map(|(key, _)| key.as_str()).collect();
    let right = matches!(kinds.as_slice(), [kind] if known(kind));
    compared.holds(right, &format!("{what} {}", text(of, "/name")), "one kind", || {
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
    });
}

pub(in crate::check) fn disks(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let spec = at(&target.objects.vm, "/spec/template/spec");
    let disks = list(spec, "/domain/devices/disks");
    let mut compared = Compared::default();
    // Holds on every platform: a disk has a volume, a volume a disk.
    let volumes = volumes(spec);
    let mut named = BTreeSet::new();
    for disk in disks {
        let name = text(disk, "/name");
        compared.holds(named.insert(name), name, "names that differ", || "two disks of this name".to_owned());
        compared.holds(volumes.contains_key(name), name, "a volume of the disk's name", || "none".to_owned());
    }
    for name in volumes.keys() {
        compared.holds(named.contains(name), name, "a disk of the volume's name", || "none".to_owned());
    }
    list(spec, "/volumes").iter().for_each(|volume| of_one_kind("volume", volume, |_| true, &mut compared));
    let Some(devices) = devices(facts) else {
        if compared.wrong.is_empty() {
            compared.open("devices", COPIED);
        }
        return compared.judgements("");
    };
    for (name, claim) in &volumes {
        compared.holds(!claim.is_empty(), name, "a claim as its volume", || "another kind of volume".to_owned());
    }
    let (mut serials, mut orders) = (BTreeSet::new(), BTreeSet::new());
    for disk in disks {
        let name = text(disk, "/name");
        let bus = text(disk, "/disk/bus");
        // Of a disk whose source is known one bus is right, else any that the platform's disks may have.
        let source =
            claimed(target, &volumes, name).and_then(|disk| facts.before.disks.iter().find(|it| came_from(disk, it)));
        if facts.scenario.rdm_as_lun && source.is_some_and(|source| source.raw) {
            // `mapDisks` of vsphere/builder.go.
            compared.same(&format!("{name} lun bus"), "scsi", text(disk, "/lun/bus"));
            compared.none(&format!("{name} disk"), at(disk, "/disk"));
            continue;
        }
        let word = source.and_then(|source| devices.words.bus(source.interface.as_deref()?));
        let buses = word.as_ref().map_or(devices.buses, std::slice::from_ref);
        compared.holds(buses.contains(&bus), &format!("{name} bus"), &buses.join(" or "), || bus.to_owned());
        // `mapDisks` of vsphere/builder.go.
        let shared = source.is_some_and(|source| source.shared);
        if shared {
            compared.holds(at(disk, "/shareable") == &Value::Bool(true), &format!("{name} shareable"), "true", || {
                super::shown(at(disk, "/shareable"))
            });
            compared.same(&format!("{name} cache"), "none", text(disk, "/cache"));
        }
        let unset = ["lun", "cdrom", "disk/readonly", "io", "blockSize", "tag"];
        for key in unset.into_iter().chain(["shareable", "cache"].into_iter().filter(|_| !shared)) {
            compared.none(&format!("{name} {key}"), at(disk, &format!("/{key}")));
        }
        serial(facts, target, disk, name, &volumes, &mut serials, &mut compared);
        if let Some(order) = at(disk, "/bootOrder").as_u64() {
            compared
                .holds(orders.insert(order), &format!("{name} bootOrder"), "orders that differ", || order.to_string());
        } else {
            compared.none(&format!("{name} bootOrder"), at(disk, "/bootOrder"));
        }
    }
    if devices.boot_order && !disks.is_empty() {
        compared.holds(orders.contains(&1), "bootOrder", "one disk that is booted from (1)", || format!("{orders:?}"));
    }
    compared.judgements(format!("{} as MTV writes them", count(disks.len(), "disk")))
}

/// The record of the disk that has this volume.
fn claimed<'a>(target: &'a TargetVm, volumes: &BTreeMap<&str, &str>, name: &str) -> Option<&'a TargetDisk> {
    let claim = volumes.get(name)?;
    target.disks.iter().find(|disk| disk.pvc == *claim)
}

/// A serial names the source disk where MTV writes the disk's id there; elsewhere it is only nobody else's.
fn serial<'a>(
    facts: &Facts<'_>,
    target: &TargetVm,
    disk: &'a Value,
    name: &str,
    volumes: &BTreeMap<&str, &str>,
    seen: &mut BTreeSet<&'a str>,
    compared: &mut Compared,
) {
    /// KubeVirt's longest; MTV cuts to it from 2.12 on.
    const LONGEST: usize = 20;
    let serial = text(disk, "/serial");
    let subject = format!("{name} serial");
    // Ids that were cut to KubeVirt's length may well be alike.
    let whole = match devices(facts).map(|devices| devices.disk_serial) {
        None | Some(DiskSerial::Own) => true,
        Some(DiskSerial::Disk) => false,
        Some(DiskSerial::DiskSince(since)) => facts.mtv_version.and_then(major_minor).is_none_or(|now| now < since),
    };
    if !serial.is_empty() && whole {
        compared.holds(seen.insert(serial), &subject, "serials that differ", || serial.to_owned());
    }
    if whole {
        return;
    }
    let Some(wanted) = claimed(target, volumes, name).and_then(|disk| disk.disk_source.as_deref()) else { return };
    let cut: String = wanted.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(LONGEST).collect();
    compared.holds(serial == wanted || serial == cut, &subject, wanted, || serial.to_owned());
}

pub(in crate::check) fn nics(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let spec = at(&target.objects.vm, "/spec/template/spec");
    let interfaces = list(spec, "/domain/devices/interfaces");
    let networks = list(spec, "/networks");
    let mut compared = Compared::default();
    let (mut names, mut macs) = (BTreeSet::new(), BTreeSet::new());
    for interface in interfaces {
        let name = text(interface, "/name");
        compared.holds(names.insert(name), name, "names that differ", || "two NICs of this name".to_owned());
        let mac = text(interface, "/macAddress").to_lowercase();
        compared.holds(mac.is_empty() || macs.insert(mac.clone()), &format!("{name} MAC"), "MACs that differ", || {
            mac.clone()
        });
        let of_name = networks.iter().filter(|network| text(network, "/name") == name).count();
        compared.holds(of_name == 1, name, "one network of the NIC's name", || of_name.to_string());
    }
    for network in networks {
        let name = text(network, "/name");
        compared.holds(names.contains(name), name, "a NIC on the network", || "none".to_owned());
        of_one_kind("network", network, |kind| matches!(kind, "pod" | "multus"), &mut compared);
    }
    let Some(devices) = devices(facts) else {
        if compared.wrong.is_empty() {
            compared.open("NICs", COPIED);
        }
        return compared.judgements("");
    };
    let mut slots = BTreeSet::new();
    for interface in interfaces {
        let name = text(interface, "/name");
        let model = text(interface, "/model");
        let mac = Mac::new(text(interface, "/macAddress"));
        let source = facts.before.nics.iter().find(|nic| nic.mac == mac);
        let word = source.and_then(|nic| devices.words.model(nic.model.as_deref()?));
        let models = word.as_ref().map_or(devices.nic_models, std::slice::from_ref);
        compared.holds(models.contains(&model), &format!("{name} model"), &models.join(" or "), || model.to_owned());
        let told = facts.before.nics.iter().all(|nic| !nic.mac.as_str().is_empty());
        compared.holds(
            !told || !text(interface, "/macAddress").is_empty(),
            &format!("{name} MAC"),
            "the source's",
            || "none: KubeVirt makes one up".to_owned(),
        );
        binding(name, interface, networks, &mut compared);
        for key in ["bootOrder", "ports", "tag", "acpiIndex"] {
            compared.none(&format!("{name} {key}"), at(interface, &format!("/{key}")));
        }
        pci_address(&devices, name, interface, &mut slots, &mut compared);
        link(facts, name, interface, &mut compared);
    }
    if devices.nics_in_order {
        order(facts, interfaces, &mut compared);
    }
    compared.judgements(format!("{} as MTV writes them", count(interfaces.len(), "NIC")))
}

/// The pod network is reached behind a masquerade (or OpenShift's own bridge binding), others by a bridge.
fn binding(name: &str, interface: &Value, networks: &[Value], compared: &mut Compared) {
    const BINDINGS: [&str; 6] = ["masquerade", "bridge", "sriov", "passt", "slirp", "macvtap"];
    let has: Vec<&str> = BINDINGS.into_iter().filter(|binding| interface.get(*binding).is_some()).collect();
    let plugin = text(interface, "/binding/name");
    let network = networks.iter().find(|network| text(network, "/name") == name).unwrap_or(&Value::Null);
    let (wanted, right) = match (network.get("pod").is_some(), has.as_slice(), plugin) {
        (true, ["masquerade"], "") => ("masquerade", true),
        // A namespace whose primary network is user-defined.
        (true, [], "l2bridge" | "passt") => ("masquerade", true),
        (true, ..) => ("masquerade", false),
        (false, ["bridge" | "sriov"], "") => ("bridge", true),
        (false, ..) => ("bridge", false),
    };
    compared.holds(right, &format!("{name} binding"), wanted, || {
        if has.is_empty() { plugin.to_owned() } else { has.join(", ") }
    });
    let own = at(interface, &format!("/{wanted}"));
    compared.none(&format!("{name} {wanted}"), own);
}

/// From 2.12 on MTV keeps the slot of a vSphere NIC, so that a guest that names NICs by their slots finds them again
/// (`computePciAddress`, pkg/controller/provider/container/vsphere/model.go). No two devices share one.
fn pci_address<'a>(
    devices: &Devices,
    name: &str,
    interface: &'a Value,
    slots: &mut BTreeSet<&'a str>,
    compared: &mut Compared,
) {
    let subject = format!("{name} pciAddress");
    match text(interface, "/pciAddress") {
        slot if !slot.is_empty() && devices.keeps_slots => {
            let hex = |part: &str, width: usize| part.len() == width && part.chars().all(|c| c.is_ascii_hexdigit());
            let parts: Vec<&str> = slot.split([':', '.']).collect();
            let right = matches!(parts.as_slice(), [domain, bus, device, function]
                if hex(domain, 4) && hex(bus, 2) && hex(device, 2) && hex(function, 1));
            compared.holds(right, &subject, "a PCI address", || slot.to_owned());
            compared.holds(slots.insert(slot), &subject, "a slot of its own", || format!("{slot}, as another NIC"));
        }
        _ => compared.none(&subject, at(interface, "/pciAddress")),
    }
}

/// A NIC that was connected is not cut off. One that starts disconnected is kept so from MTV 2.13 on where the platform
/// tells it (`InterfaceStateLinkDown`, vsphere/builder.go); before, it may come up.
fn link(facts: &Facts<'_>, name: &str, interface: &Value, compared: &mut Compared) {
    const KEPT_SINCE: (u32, u32) = (2, 13);
    let mac = Mac::new(text(interface, "/macAddress"));
    let Some(nic) = facts.before.nics.iter().find(|nic| nic.mac == mac) else { return };
    let (state, subject) = (text(interface, "/state"), format!("{name} state"));
    let kept = facts.mtv_version.and_then(major_minor).is_some_and(|now| now >= KEPT_SINCE);
    match nic.starts_connected {
        Some(false) if kept => compared.holds(state == "down", &subject, "down", || {
            if state.is_empty() { "up".to_owned() } else { state.to_owned() }
        }),
        Some(false) => {}
        starts => {
            let cut_off = starts.unwrap_or(nic.connected) && !matches!(state, "" | "up");
            compared.holds(!cut_off, &subject, "up", || state.to_owned());
        }
    }
}

/// Guests name their NICs by the order in which they come.
fn order(facts: &Facts<'_>, interfaces: &[Value], compared: &mut Compared) {
    let position = |interface: &Value| {
        let mac = Mac::new(text(interface, "/macAddress"));
        facts.before.nics.iter().position(|nic| nic.mac == mac)
    };
    let found: Vec<usize> = interfaces.iter().filter_map(position).collect();
    compared.holds(found.is_sorted(), "order", "NICs in the source's order", || format!("{found:?}"));
}

/// Everything that is neither disk nor NIC.
pub(in crate::check) fn others(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if devices(facts).is_none() {
        return whole(not_judged(COPIED));
    }
    let devices = at(&target.objects.vm, DEVICES);
    let mut compared = Compared::default();
    for input in list(devices, "/inputs") {
        compared.same("input type", "tablet", text(input, "/type"));
        let bus = text(input, "/bus");
        compared.holds(matches!(bus, "virtio" | "usb"), "input bus", "virtio or usb", || bus.to_owned());
        compared.holds(!text(input, "/name").is_empty(), "input", "a name", || "none".to_owned());
    }
    for key in ["autoattachGraphicsDevice", "autoattachSerialConsole"] {
        let switch = at(devices, &format!("/{key}"));
        // An image of OpenStack may want no video (`mapVideo`, openstack/builder.go).
        if facts.platform == Platform::Openstack && key == "autoattachGraphicsDevice" && switch.is_boolean() {
            continue;
        }
        compared
            .holds(matches!(switch, Value::Null | Value::Bool(true)), key, "not switched off", || super::shown(switch));
    }
    // What a TPM holds must outlive a restart: without it an encrypted Windows disk stays locked.
    let tpm = at(devices, "/tpm");
    let on = tpm.is_object() && at(tpm, "/enabled") != &Value::Bool(false);
    compared
        .holds(!on || at(tpm, "/persistent") == &Value::Bool(true), "tpm", "a persistent TPM", || super::shown(tpm));
    for key in ["gpus", "hostDevices", "watchdog", "filesystems", "sound", "clientPassthrough", "downwardMetrics"] {
        compared.none(key, at(devices, &format!("/{key}")));
    }
    compared.none("utilityVolumes", at(&target.objects.vm, "/spec/template/spec/utilityVolumes"));
    compared.judgements("nothing but what MTV writes")
}
