//! What the services say of a server → the record that the checks compare. Pure.

use serde_json::Value;

use crate::api::vm::*;
use crate::source::SourceNetwork;

const GIB: u64 = 1 << 30;
/// MTV's name for the storage of a disk that has no volume.
pub(super) const GLANCE: &str = "glance";

/// A text at a JSON pointer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A volume as a server has it.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    /// `/dev/vda` …; empty where Nova does not tell.
    pub device: String,
    pub volume: Value,
}

impl Attached {
    pub(super) fn id(&self) -> &str {
        text(&self.volume, "/id")
    }

    /// By device, `/dev/vdb` before `/dev/vdaa`; without a device the bootable one first.
    pub(super) fn place(&self) -> (bool, usize, String, bool) {
        let bootable = text(&self.volume, "/bootable").eq_ignore_ascii_case("true");
        (self.device.is_empty(), self.device.len(), self.device.clone(), !bootable)
    }
}

/// Everything that is read of one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    pub server: Value,
    pub flavor: Value,
    /// Of the flavor.
    pub extra_specs: Value,
    /// Of a server that boots from an image; `null` otherwise, or when the image is gone.
    pub image: Value,
    pub volumes: Vec<Attached>,
    pub ports: Vec<Value>,
    pub networks: Vec<SourceNetwork>,
    pub subnets: Vec<Value>,
    pub types: Vec<Value>,
    pub snapshots: Vec<Value>,
}

pub(super) fn power(server: &Value) -> Power {
    match text(server, "/status") {
        "ACTIVE" => Power::On,
        "SHUTOFF" => Power::Off,
        other => Power::Other(other.to_lowercase()),
    }
}

pub(super) fn source_vm(parts: &Parts) -> SourceVm {
    let server = &parts.server;
    let power = power(server);
    SourceVm {
        id: text(server, "/id").to_owned(),
        // Nova gives the guest the server's id.
        uuid: Some(text(server, "/id").to_owned()),
        name: text(server, "/name").to_owned(),
        os: guest_os(parts),
        cpu: cpu(parts),
        memory_mib: parts.flavor.get("ram").and_then(Value::as_u64),
        firmware: Some(Firmware {
            kind: match property(parts, "hw_firmware_type") {
                "uefi" => FirmwareKind::Efi,
                _ => FirmwareKind::Bios,
            },
            secure_boot: property(parts, "os_secure_boot") == "required",
            tpm: !property(parts, "hw_tpm_version").is_empty(),
        }),
        nics: parts.ports.iter().map(|port| nic(parts, port, &power)).collect(),
        disks: disks(parts),
        snapshots: parts
            .snapshots
            .iter()
            .map(|snapshot| SourceSnapshot {
                id: text(snapshot, "/id").to_owned(),
                name: text(snapshot, "/name").to_owned(),
                created: Some(text(snapshot, "/created_at").to_owned()).filter(|t| !t.is_empty()),
                state: Some(text(snapshot, "/status").to_owned()).filter(|t| !t.is_empty()),
            })
            .collect(),
        guest_agent_running: None,
        power,
    }
}

/// A property of the image that the server boots from, or of the copy that its boot volume keeps.
fn property<'a>(parts: &'a Parts, key: &str) -> &'a str {
    let of_image = parts.image.get(key).and_then(Value::as_str);
    let of_volume = || parts.volumes.first()?.volume.get("volume_image_metadata")?.get(key)?.as_str();
    of_image.or_else(of_volume).unwrap_or_default()
}

fn guest_os(parts: &Parts) -> GuestOs {
    match (property(parts, "os_type"), property(parts, "os_distro")) {
        ("windows", _) => GuestOs::Windows,
        ("linux", _) => GuestOs::Linux,
        (_, "") => GuestOs::Unknown,
        (_, distro) if distro.starts_with("win") => GuestOs::Windows,
        _ => GuestOs::Linux,
    }
}

/// A socket a vCPU, unless flavor or image say otherwise.
fn cpu(parts: &Parts) -> Option<CpuTopology> {
    let vcpus = u32::try_from(parts.flavor.get("vcpus")?.as_u64()?).ok()?;
    let said = |flavor: &str, image: &str| -> Option<u32> {
        let of_flavor = parts.extra_specs.get(flavor).and_then(Value::as_str);
        of_flavor.unwrap_or(property(parts, image)).parse().ok().filter(|n| *n > 0)
    };
    let cores = said("hw:cpu_cores", "hw_cpu_cores").unwrap_or(1);
    let threads = said("hw:cpu_threads", "hw_cpu_threads").unwrap_or(1);
    let rest = (vcpus / cores.saturating_mul(threads).max(1)).max(1);
    let sockets = said("hw:cpu_sockets", "hw_cpu_sockets").unwrap_or(rest);
    Some(CpuTopology { sockets, cores, threads })
}

fn nic(parts: &Parts, port: &Value, power: &Power) -> SourceNic {
    let network_id = text(port, "/network_id");
    let network = parts.networks.iter().find(|n| n.id == network_id);
    let mac = Mac::new(text(port, "/mac_address"));
    // The guest itself tells nothing; Neutron tells what it gave the port.
    let guest = (*power == Power::On).then(|| GuestInterface {
        mac: Some(mac.clone()),
        addresses: port
            .get("fixed_ips")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|fixed| address(parts, fixed))
            .collect(),
        ..GuestInterface::default()
    });
    SourceNic {
        label: Some(text(port, "/name")).filter(|name| !name.is_empty()).unwrap_or(text(port, "/id")).to_owned(),
        mac,
        network_id: network_id.to_owned(),
        network_name: network.map(|n| n.name.clone()).unwrap_or_default(),
        connected: port.get("admin_state_up").and_then(Value::as_bool).unwrap_or(true),
        starts_connected: None,
        // A server that boots from a volume has no image, and MTV does not look into the volume for it.
        model: Some(text(&parts.image, "/hw_vif_model").to_owned()),
        guest: guest.filter(|guest| !guest.addresses.is_empty()),
    }
}

/// Neutron hands addresses out by DHCP where the subnet has it; how a guest on another subnet came
/// to its address nobody tells.
fn address(parts: &Parts, fixed: &Value) -> Option<GuestAddress> {
    let ip = text(fixed, "/ip_address").parse().ok()?;
    let subnet = parts.subnets.iter().find(|s| text(s, "/id") == text(fixed, "/subnet_id"));
    let dhcp = subnet.and_then(|s| s.get("enable_dhcp")?.as_bool()) == Some(true);
    Some(GuestAddress {
        ip,
        prefix: subnet.and_then(|s| text(s, "/cidr").rsplit('/').next()?.parse().ok()),
        origin: if dhcp { AddressOrigin::Dhcp } else { AddressOrigin::Unknown },
    })
}

/// The bus of all disks: the image's, else the last bootable volume's (`mapDisks`,
/// pkg/controller/plan/adapter/openstack/builder.go).
fn disk_bus(parts: &Parts) -> &str {
    let own = text(&parts.image, "/hw_disk_bus");
    let bootable = |attached: &&Attached| text(&attached.volume, "/bootable").eq_ignore_ascii_case("true");
    let mut of_volumes =
        parts.volumes.iter().filter(bootable).map(|it| text(&it.volume, "/volume_image_metadata/hw_disk_bus"));
    let of_volumes = of_volumes.rfind(|bus| !bus.is_empty());
    if own.is_empty() { of_volumes.unwrap_or_default() } else { own }
}

fn disks(parts: &Parts) -> Vec<SourceDisk> {
    let bus = disk_bus(parts);
    let mut disks = Vec::new();
    if let Some(image) = parts.server.pointer("/image/id").and_then(Value::as_str) {
        // The root disk lies on the hypervisor; MTV migrates it by an image.
        disks.push(SourceDisk {
            id: image.to_owned(),
            label: "root disk".to_owned(),
            file_name: None,
            interface: Some(bus.to_owned()),
            capacity_bytes: parts.flavor.get("disk").and_then(Value::as_u64).unwrap_or_default() * GIB,
            storage_id: GLANCE.to_owned(),
            storage_name: GLANCE.to_owned(),
            raw: false,
            shared: false,
        });
    }
    disks.extend(parts.volumes.iter().map(|attached| {
        let storage = text(&attached.volume, "/volume_type");
        let known = parts.types.iter().find(|t| text(t, "/name") == storage);
        SourceDisk {
            id: attached.id().to_owned(),
            label: Some(attached.device.as_str()).filter(|d| !d.is_empty()).unwrap_or(attached.id()).to_owned(),
            file_name: None,
            interface: Some(bus.to_owned()),
            capacity_bytes: attached.volume.get("size").and_then(Value::as_u64).unwrap_or_default() * GIB,
            storage_id: known.map_or(storage, |t| text(t, "/id")).to_owned(),
            storage_name: storage.to_owned(),
            raw: false,
            shared: false,
        }
    }));
    disks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parts() -> Parts {
        let volume = |id: &str, device: &str, bootable: &str| Attached {
            device: device.into(),
            volume: json!({
                "id": id, "size": 10, "bootable": bootable, "volume_type": "ceph",
                "volume_image_metadata": {"hw_firmware_type": "uefi", "os_type": "windows", "hw_cpu_cores": "2"},
            }),
        };
        let mut volumes = vec![volume("data", "/dev/vdb", "false"), volume("boot", "/dev/vda", "true")];
        volumes.sort_by_key(Attached::place);
        Parts {
            server: json!({"id": "s1", "name": "a", "status": "ACTIVE", "image": ""}),
            flavor: json!({"vcpus": 4, "ram": 8192, "disk": 20}),
            extra_specs: json!({"hw:cpu_threads": "2"}),
            image: Value::Null,
            volumes,
            ports: vec![json!({
                "id": "p1", "name": "", "network_id": "n1", "mac_address": "FA:16:3E:00:00:01",
                "fixed_ips": [{"subnet_id": "sn", "ip_address": "10.1.0.5"}],
            })],
            networks: vec![SourceNetwork { id: "n1".into(), name: "vm-net".into() }],
            subnets: vec![json!({"id": "sn", "cidr": "10.1.0.0/24", "enable_dhcp": true})],
            types: vec![json!({"id": "t1", "name": "ceph"})],
            snapshots: vec![
                json!({"id": "x", "name": "snap", "status": "available", "created_at": "2026-01-01T00:00:00"}),
            ],
        }
    }

    #[test]
    fn a_volume_backed_server_is_described_in_full() {
        let vm = source_vm(&parts());
        assert_eq!((vm.power, vm.os, vm.memory_mib), (Power::On, GuestOs::Windows, Some(8192)));
        assert_eq!(vm.cpu, Some(CpuTopology { sockets: 1, cores: 2, threads: 2 }));
        assert_eq!(vm.firmware.map(|f| (f.kind, f.secure_boot)), Some((FirmwareKind::Efi, false)));
        let disks: Vec<(&str, &str)> = vm.disks.iter().map(|d| (d.id.as_str(), d.storage_id.as_str())).collect();
        assert_eq!(disks, [("boot", "t1"), ("data", "t1")]);
        assert_eq!(vm.nics[0].network_name, "vm-net");
        let address = &vm.nics[0].guest.as_ref().unwrap().addresses[0];
        assert_eq!((address.prefix, address.origin), (Some(24), AddressOrigin::Dhcp));
        assert_eq!(vm.snapshots[0].name, "snap");
    }

    #[test]
    fn the_root_disk_of_an_image_backed_server_is_as_big_as_its_flavor_says() {
        let mut parts = parts();
        parts.server = json!({"id": "s1", "name": "a", "status": "SHUTOFF", "image": {"id": "i1"}});
        parts.image = json!({"id": "i1", "os_distro": "rhel"});
        parts.volumes.truncate(0);
        let vm = source_vm(&parts);
        assert_eq!((vm.os, vm.power), (GuestOs::Linux, Power::Off));
        assert_eq!((vm.disks[0].capacity_bytes, vm.disks[0].storage_name.as_str()), (20 * GIB, "glance"));
        assert!(vm.nics[0].guest.is_none(), "nobody has an address while the server is off");
    }

    #[test]
    fn devices_are_ordered_as_the_guest_sees_them() {
        let at = |device: &str| Attached { device: device.into(), volume: json!({"bootable": "false"}) };
        let mut all = [at(""), at("/dev/vdaa"), at("/dev/vdb"), at("/dev/vda")];
        all.sort_by_key(Attached::place);
        let order: Vec<&str> = all.iter().map(|a| a.device.as_str()).collect();
        assert_eq!(order, ["/dev/vda", "/dev/vdb", "/dev/vdaa", ""]);
    }
}
