//! What the engine answers → MTV's inventory (key names of forklift.md §8.6). Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::inventory::model::{InvDatastore, InvDisk, InvHost, InvNetwork, InvNic, InvVm, Inventory};
use crate::inventory::own::{OvirtAttachment, OvirtVm, OwnVm};

/// The engine's answers, by collection.
pub(super) type Answers = BTreeMap<&'static str, Value>;

/// Text at a path; empty where there is none.
pub(super) fn text(value: &Value, path: &str) -> String {
    let found = path.split('/').try_fold(value, |here, key| here.get(key));
    found.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, path: &str) -> i64 {
    text(value, path).parse().unwrap_or_default()
}

fn flag(value: &Value, path: &str) -> bool {
    text(value, path) == "true"
}

/// Items of a list under `key`, or of a whole answer.
pub(super) fn items<'a>(value: &'a Value, item: &str) -> &'a [Value] {
    value.get(item).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Names that paths are made of.
struct Names {
    /// Of data centers and clusters.
    by_id: BTreeMap<String, String>,
}

impl Names {
    fn of(&self, id: &str) -> String {
        self.by_id.get(id).cloned().unwrap_or_default()
    }
    /// MTV leaves the data center out.
    fn in_cluster(&self, cluster: &str, name: &str) -> String {
        format!("{}/{name}", self.of(cluster))
    }
}

/// What every resource begins with; some have no path.
fn base(value: &Value, path: impl Into<Option<String>>, revision: u64) -> Map<String, Value> {
    let mut base = Map::new();
    base.insert("id".into(), json!(text(value, "id")));
    base.insert("revision".into(), json!(revision));
    if let Some(path) = path.into() {
        base.insert("path".into(), json!(path));
    }
    base.insert("name".into(), json!(text(value, "name")));
    let description = text(value, "description");
    if !description.is_empty() {
        base.insert("description".into(), json!(description));
    }
    base
}

fn with(mut base: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        base.extend(more);
    }
    Value::Object(base)
}

/// The whole inventory.
pub(super) fn inventory(answers: &Answers, revision: u64) -> Inventory {
    let all = |name: &str, item: &str| answers.get(name).map_or(&[][..], |a| items(a, item));
    let (datacenters, clusters) = (all("datacenters", "data_center"), all("clusters", "cluster"));
    let names = Names { by_id: datacenters.iter().chain(clusters).map(|o| (text(o, "id"), text(o, "name"))).collect() };
    let profiles: BTreeMap<String, String> =
        all("vnicprofiles", "vnic_profile").iter().map(|p| (text(p, "id"), text(p, "network/id"))).collect();
    let disks: BTreeMap<String, &Value> = all("disks", "disk").iter().map(|d| (text(d, "id"), d)).collect();
    let efi_clusters: Vec<String> =
        clusters.iter().filter(|c| is_efi(&text(c, "bios_type"))).map(|c| text(c, "id")).collect();
    let vms = all("vms", "vm");
    let collect = |list: &[Value], make: &dyn Fn(&Value) -> Value| -> Vec<Arc<Value>> {
        list.iter().map(make).map(Arc::new).collect()
    };
    let collections = BTreeMap::from([
        ("datacenters".to_owned(), collect(datacenters, &|d| with(base(d, text(d, "name"), revision), json!({})))),
        ("clusters".to_owned(), collect(clusters, &|c| cluster(c, &names, revision))),
        ("hosts".to_owned(), collect(all("hosts", "host"), &|h| host(h, &names, revision))),
        ("networks".to_owned(), collect(all("networks", "network"), &|n| network(n, &names, revision))),
        ("nicprofiles".to_owned(), collect(all("vnicprofiles", "vnic_profile"), &|p| nic_profile(p, revision))),
        (
            "storagedomains".to_owned(),
            collect(all("storagedomains", "storage_domain"), &|d| domain(d, &names, revision)),
        ),
        (
            "diskprofiles".to_owned(),
            collect(all("diskprofiles", "disk_profile"), &|p| {
                let more = json!({"storageDomain": text(p, "storage_domain/id"), "qos": text(p, "qos/id")});
                with(base(p, None, revision), more)
            }),
        ),
        ("disks".to_owned(), collect(all("disks", "disk"), &|d| disk(d, revision))),
        (
            "servercpus".to_owned(),
            answers.get("options/ServerCPUList").map(|all| server_cpus(all, revision)).into_iter().collect(),
        ),
        ("vms".to_owned(), collect(vms, &|vm| vm_json(vm, &names, revision))),
    ]);
    Inventory {
        vms: vms.iter().map(|vm| Arc::new(record(vm, &profiles, &disks, &efi_clusters))).collect(),
        networks: all("networks", "network")
            .iter()
            .map(|n| InvNetwork { id: text(n, "id"), name: text(n, "name"), kind: "Network".to_owned(), key: None })
            .collect(),
        datastores: all("storagedomains", "storage_domain")
            .iter()
            .map(|d| InvDatastore {
                id: text(d, "id"),
                name: text(d, "name"),
                capacity: number(d, "available") + number(d, "used"),
                free: number(d, "available"),
                kind: text(d, "storage/type"),
            })
            .collect(),
        hosts: all("hosts", "host")
            .iter()
            .map(|h| InvHost {
                id: text(h, "id"),
                name: text(h, "name"),
                cluster_id: text(h, "cluster/id"),
                in_maintenance: text(h, "status") == "maintenance",
            })
            .collect(),
        collections,
        ..Inventory::default()
    }
}

/// The one resource that all are shown as.
fn server_cpus(answer: &Value, revision: u64) -> Arc<Value> {
    let values = answer.get("values").map_or(&[][..], |l| items(l, "system_option_value"));
    let shown = |v: &Value| json!({"value": text(v, "value"), "version": text(v, "version")});
    let id = values.first().map(|v| text(v, "version")).unwrap_or_default();
    let all: Vec<Value> = values.iter().map(shown).collect();
    Arc::new(json!({"id": id, "revision": revision, "name": "", "systemOptionValue": all}))
}

fn is_efi(bios: &str) -> bool {
    matches!(bios, "q35_ovmf" | "q35_secure_boot")
}

fn cluster(c: &Value, names: &Names, revision: u64) -> Value {
    let path = format!("{}/{}", names.of(&text(c, "data_center/id")), text(c, "name"));
    let more = json!({
        "dataCenter": text(c, "data_center/id"), "haReservation": flag(c, "ha_reservation"),
        "ksmEnabled": flag(c, "ksm/enabled"), "biosType": text(c, "bios_type"),
        "cpu": {"architecture": "", "type": text(c, "cpu/type")},
        "version": {"minor": text(c, "version/minor"), "major": text(c, "version/major")},
    });
    with(base(c, path, revision), more)
}

fn host(h: &Value, names: &Names, revision: u64) -> Value {
    let attachments = h.get("network_attachments").map_or(&[][..], |l| items(l, "network_attachment"));
    let nics = h.get("nics").map_or(&[][..], |l| items(l, "host_nic"));
    let more = json!({
        "cluster": text(h, "cluster/id"), "status": text(h, "status"), "productName": text(h, "os/type"),
        "productVersion": text(h, "os/version/full_version"), "inMaintenance": text(h, "status") == "maintenance",
        "cpuSockets": number(h, "cpu/topology/sockets"), "cpuCores": number(h, "cpu/topology/cores"),
        "networkAttachments": attachments.iter().map(|a| json!({"id": text(a, "id"), "network": text(a, "network/id")})).collect::<Vec<_>>(),
        "nics": nics.iter().map(|n| json!({"id": text(n, "id"), "name": text(n, "name"), "linkSpeed": number(n, "speed"),
            "mtu": number(n, "mtu"), "vlan": text(n, "vlan/id")})).collect::<Vec<_>>(),
    });
    with(base(h, names.in_cluster(&text(h, "cluster/id"), &text(h, "name")), revision), more)
}

fn network(n: &Value, names: &Names, revision: u64) -> Value {
    let path = format!("{}/{}", names.of(&text(n, "data_center/id")), text(n, "name"));
    let profiles = n.get("vnic_profiles").map_or(&[][..], |l| items(l, "vnic_profile"));
    let more = json!({
        "dataCenter": text(n, "data_center/id"), "vlan": text(n, "vlan/id"),
        "usages": n.get("usages").map_or(&[][..], |l| items(l, "usage")),
        "nicProfiles": profiles.iter().map(|p| text(p, "id")).collect::<Vec<_>>(),
    });
    with(base(n, path, revision), more)
}

fn nic_profile(p: &Value, revision: u64) -> Value {
    let more = json!({
        "network": text(p, "network/id"), "networkFilter": text(p, "network_filter/id"),
        "portMirroring": flag(p, "port_mirroring"), "qos": text(p, "qos/id"), "properties": [],
        "passThrough": text(p, "pass_through/mode") == "enabled",
    });
    with(base(p, None, revision), more)
}

fn domain(d: &Value, names: &Names, revision: u64) -> Value {
    let datacenter = d.get("data_centers").map_or(&[][..], |l| items(l, "data_center"));
    let datacenter = datacenter.first().map(|d| text(d, "id")).unwrap_or_default();
    let path = format!("{}/{}", names.of(&datacenter), text(d, "name"));
    let more = json!({
        "dataCenter": datacenter, "type": text(d, "type"), "capacity": number(d, "available"),
        "free": number(d, "available") - number(d, "used"), "storage": {"type": text(d, "storage/type")},
    });
    with(base(d, path, revision), more)
}

fn domain_of(d: &Value) -> String {
    let domains = d.get("storage_domains").map_or(&[][..], |l| items(l, "storage_domain"));
    domains.first().map(|d| text(d, "id")).unwrap_or_default()
}

fn disk(d: &Value, revision: u64) -> Value {
    let more = json!({
        "shared": flag(d, "sharable"), "storageDomain": domain_of(d), "profile": text(d, "disk_profile/id"),
        "provisionedSize": number(d, "provisioned_size"), "actualSize": number(d, "actual_size"),
        "storageType": text(d, "storage_type"), "status": text(d, "status"), "lunStorage": {"LogicalUnits": {"logicalUnit": null}},
    });
    with(base(d, None, revision), more)
}

fn nics(vm: &Value) -> &[Value] {
    vm.get("nics").map_or(&[], |l| items(l, "nic"))
}

fn attachments(vm: &Value) -> &[Value] {
    vm.get("disk_attachments").map_or(&[], |l| items(l, "disk_attachment"))
}

fn snapshots(vm: &Value) -> &[Value] {
    vm.get("snapshots").map_or(&[], |l| items(l, "snapshot"))
}

fn vm_json(vm: &Value, names: &Names, revision: u64) -> Value {
    let nic = |n: &Value| {
        json!({
            "id": text(n, "id"), "name": text(n, "name"), "interface": text(n, "interface"), "plugged": flag(n, "plugged"),
            "ipAddress": null, "profile": text(n, "vnic_profile/id"), "mac": text(n, "mac/address"),
        })
    };
    let attachment = |a: &Value| {
        json!({
            "id": text(a, "id"), "interface": text(a, "interface"), "scsiReservation": flag(a, "uses_scsi_reservation"),
            "disk": text(a, "disk/id"), "bootable": flag(a, "bootable"),
        })
    };
    let snapshot = |s: &Value| {
        json!({
            "id": text(s, "id"), "description": text(s, "description"), "type": text(s, "snapshot_type"),
            "persistMemory": flag(s, "persist_memorystate"),
        })
    };
    let cdrom = |c: &Value| match text(c, "file/id") {
        file if file.is_empty() => json!({"id": text(c, "id")}),
        file => json!({"id": text(c, "id"), "file": file}),
    };
    let cdroms = vm.get("cdroms").map_or(&[][..], |l| items(l, "cdrom"));
    let guest = format!(
        "{} {}",
        text(vm, "guest_operating_system/distribution"),
        text(vm, "guest_operating_system/version/full_version")
    );
    let more = json!({
        "cluster": text(vm, "cluster/id"), "status": text(vm, "status"), "host": text(vm, "host/id"),
        "revisionValidated": revision, "nics": nics(vm).iter().map(nic).collect::<Vec<_>>(),
        "diskAttachments": attachments(vm).iter().map(attachment).collect::<Vec<_>>(), "concerns": [],
        "policyVersion": 0, "guestName": guest,
        "cpuSockets": number(vm, "cpu/topology/sockets"), "cpuCores": number(vm, "cpu/topology/cores"),
        "cpuThreads": number(vm, "cpu/topology/threads"), "cpuShares": number(vm, "cpu_shares"), "cpuAffinity": [],
        "cpuPinningPolicy": text(vm, "cpu_pinning_policy"), "memory": number(vm, "memory"),
        "balloonedMemory": flag(vm, "memory_policy/ballooning"), "ioThreads": number(vm, "io/threads"),
        "bios": text(vm, "bios/type"), "display": text(vm, "display/type"),
        "hasIllegalImages": flag(vm, "has_illegal_images"), "numaNodeAffinity": [], "leaseStorageDomain": "",
        "storageErrorResumeBehaviour": text(vm, "storage_error_resume_behaviour"),
        "haEnabled": flag(vm, "high_availability/enabled"), "usbEnabled": flag(vm, "usb/enabled"),
        "bootMenuEnabled": flag(vm, "bios/boot_menu/enabled"),
        "placementPolicyAffinity": text(vm, "placement_policy/affinity"), "timezone": text(vm, "time_zone/name"),
        "stateless": text(vm, "stateless"), "serialNumber": text(vm, "serial_number/value"), "hostDevices": [],
        "cdroms": cdroms.iter().map(cdrom).collect::<Vec<_>>(),
        "watchDogs": [], "properties": [], "snapshots": snapshots(vm).iter().map(snapshot).collect::<Vec<_>>(),
        "guest": {"distribution": text(vm, "guest_operating_system/distribution"),
            "fullVersion": text(vm, "guest_operating_system/version/full_version")},
        "osType": text(vm, "os/type"), "customCpuModel": "",
    });
    with(base(vm, names.in_cluster(&text(vm, "cluster/id"), &text(vm, "name")), revision), more)
}

/// What the rest of MTV reads of a VM.
fn record(
    vm: &Value,
    profiles: &BTreeMap<String, String>,
    disks: &BTreeMap<String, &Value>,
    efi_clusters: &[String],
) -> InvVm {
    let count = |path: &str| u32::try_from(number(vm, path)).unwrap_or_default().max(1);
    let (sockets, cores) = (count("cpu/topology/sockets"), count("cpu/topology/cores"));
    let (bios, os, status) = (text(vm, "bios/type"), text(vm, "os/type"), text(vm, "status"));
    let by_cluster = bios == "cluster_default" && efi_clusters.contains(&text(vm, "cluster/id"));
    let nic = |n: &Value| InvNic {
        mac: text(n, "mac/address").to_lowercase(),
        network_id: profiles.get(&text(n, "vnic_profile/id")).cloned().unwrap_or_default(),
        vsphere: None,
    };
    let disk = |a: &Value| {
        let source = text(a, "disk/id");
        let found = disks.get(&source);
        let size = found.and_then(|d| u64::try_from(number(d, "provisioned_size")).ok());
        InvDisk {
            storage_id: found.map(|d| domain_of(d)).unwrap_or_default(),
            capacity_bytes: size.unwrap_or(0),
            source,
            ..InvDisk::default()
        }
    };
    let models = |n: &Value| (text(n, "mac/address").to_lowercase(), text(n, "interface"));
    let attachment = |a: &Value| OvirtAttachment {
        disk: text(a, "disk/id"),
        interface: text(a, "interface"),
        bootable: flag(a, "bootable"),
    };
    let given = |path: &str| Some(text(vm, path)).filter(|t| !t.is_empty());
    InvVm {
        id: text(vm, "id"),
        name: text(vm, "name"),
        power_on: matches!(status.as_str(), "up" | "powering_up"),
        firmware_efi: is_efi(&bios) || by_cluster,
        // MTV drops it on purpose.
        secure_boot: false,
        tpm: matches!(os.as_str(), "windows_2022" | "windows_11"),
        cpu_count: sockets * cores,
        cores_per_socket: cores,
        memory_mb: u64::try_from(number(vm, "memory")).unwrap_or_default() >> 20,
        guest_id: os.clone(),
        guest_name: os,
        snapshot_ids: snapshots(vm)
            .iter()
            .filter(|s| text(s, "snapshot_type") != "active")
            .map(|s| text(s, "id"))
            .collect(),
        nics: nics(vm).iter().map(nic).collect(),
        disks: attachments(vm).iter().map(disk).collect(),
        own: OwnVm::Ovirt(OvirtVm {
            attachments: attachments(vm).iter().map(attachment).collect(),
            models: nics(vm).iter().map(models).collect(),
            serial: given("serial_number/value"),
            timezone: given("time_zone/name"),
        }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small engine.
    pub fn answers() -> Answers {
        Answers::from([
            ("", json!({"product_info": {"name": "oVirt Engine", "version": {"full_version": "4.5.10-1.el8ev"}}})),
            ("datacenters", json!({"data_center": [{"id": "dc", "name": "MTV-CNV"}]})),
            (
                "clusters",
                json!({"cluster": [{"id": "c", "name": "C1", "bios_type": "q35_secure_boot", "data_center": {"id": "dc"}}]}),
            ),
            ("networks", json!({"network": [{"id": "n", "name": "ovirtmgmt", "data_center": {"id": "dc"}}]})),
            ("vnicprofiles", json!({"vnic_profile": [{"id": "p", "name": "ovirtmgmt", "network": {"id": "n"}}]})),
            (
                "storagedomains",
                json!({"storage_domain": [{"id": "s", "name": "data", "available": "5", "used": "2",
                "data_centers": {"data_center": [{"id": "dc"}]}}]}),
            ),
            (
                "disks",
                json!({"disk": [{"id": "d1", "name": "a", "provisioned_size": "1024", "status": "ok",
                "storage_domains": {"storage_domain": [{"id": "s"}]}}]}),
            ),
            (
                "vms",
                json!({"vm": [{"id": "v1", "name": "win", "status": "up", "memory": "4294967296", "cluster": {"id": "c"},
                "cpu": {"topology": {"sockets": "2", "cores": "3"}}, "bios": {"type": "cluster_default"}, "os": {"type": "windows_2022"},
                "nics": {"nic": [{"id": "x", "interface": "e1000", "mac": {"address": "56:6F:00:00:00:01"}, "vnic_profile": {"id": "p"}}]},
                "disk_attachments": {"disk_attachment": [
                    {"id": "d1", "interface": "virtio_scsi", "bootable": "false", "disk": {"id": "d1"}},
                    {"id": "d2", "interface": "virtio", "bootable": "true", "disk": {"id": "d2"}}]},
                "snapshots": {"snapshot": [{"id": "a", "snapshot_type": "active"}]}}, {"id": "v2", "name": "bare"}]}),
            ),
        ])
    }

    #[test]
    fn the_inventory_has_the_keys_and_paths_of_the_real_one() {
        let inventory = inventory(&answers(), 3);
        let vm = &inventory.collections["vms"][0];
        assert_eq!(vm["path"], "C1/win", "by its cluster alone");
        assert_eq!(
            vm["diskAttachments"][0],
            json!({"id": "d1", "interface": "virtio_scsi", "scsiReservation": false, "disk": "d1", "bootable": false})
        );
        assert_eq!((&vm["nics"][0]["profile"], &vm["nics"][0]["mac"]), (&json!("p"), &json!("56:6F:00:00:00:01")));
        assert_eq!((&vm["cpuSockets"], &vm["memory"]), (&json!(2), &json!(4_294_967_296_i64)));
        assert_eq!(inventory.collections["networks"][0]["path"], "MTV-CNV/ovirtmgmt");
        assert_eq!(inventory.collections["storagedomains"][0]["capacity"], 5, "what is free, as MTV has it");
        assert_eq!(inventory.collections["disks"][0]["storageDomain"], "s");
    }

    #[test]
    fn a_vm_is_read_through_profiles_disks_and_its_clusters_firmware() {
        let inventory = inventory(&answers(), 3);
        let vm = &inventory.vms[0];
        assert_eq!((vm.nics[0].network_id.as_str(), vm.nics[0].mac.as_str()), ("n", "56:6f:00:00:00:01"));
        assert_eq!((vm.disks[0].storage_id.as_str(), vm.disks[0].capacity_bytes), ("s", 1024));
        assert!(vm.firmware_efi && !vm.secure_boot && vm.tpm && vm.power_on);
        assert_eq!((vm.cpu_count, vm.cores_per_socket, vm.memory_mb), (6, 3, 4096));
        assert!(vm.snapshot_ids.is_empty());
    }
}
