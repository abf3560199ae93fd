//! vSphere's objects as MTV's inventory shows them: key names, casing and what is left out as Forklift's 2.12 does
//! (held against the real one in conformance/). References are `{kind, id}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::vim::device::Network;
use crate::api::vim::{Element, MoRef, ObjectContent, decode_name};
use crate::inventory::model::InvVm;

/// How vSphere calls the backing of a disk that is a mapped device.
const RAW_MAPPING: &str = "VirtualDiskRawDiskMappingVer1BackingInfo";

/// Everything that the collector was told.
pub(super) type Objects = BTreeMap<MoRef, ObjectContent>;
/// How an object is shown.
pub(super) type View = fn(&Objects, &ObjectContent) -> Value;

/// MTV's word for a kind of vSphere's.
fn kind(object: &MoRef) -> &str {
    match object.kind.as_str() {
        "ClusterComputeResource" | "ComputeResource" => "Cluster",
        "HostSystem" => "Host",
        "VirtualMachine" => "VM",
        "DistributedVirtualPortgroup" | "OpaqueNetwork" | "VmwareDistributedVirtualSwitch" => "Network",
        other => other,
    }
}

fn reference(object: &MoRef) -> Value {
    json!({"kind": kind(object), "id": object.id})
}

fn references(list: &[MoRef]) -> Value {
    list.iter().map(reference).collect()
}

fn none() -> Value {
    json!({"kind": "", "id": ""})
}

fn name(object: &ObjectContent) -> String {
    decode_name(object.text("name").unwrap_or_default())
}

/// From the data centre down; the root folder has a path of its own, which is not part of others.
pub(super) fn path(objects: &Objects, object: &ObjectContent) -> String {
    let mut names = vec![name(object)];
    let mut parent = object.moref("parent");
    while let Some(above) = parent.and_then(|parent| objects.get(&parent)) {
        parent = above.moref("parent");
        // The root itself.
        if parent.is_some() {
            names.push(name(above));
        }
    }
    names.reverse();
    format!("/{}", names.join("/"))
}

/// What every resource begins with.
fn base(objects: &Objects, object: &ObjectContent) -> Map<String, Value> {
    let parent = object.moref("parent").map_or_else(none, |parent| reference(&parent));
    let fields = json!({
        "id": object.obj.id, "parent": parent, "path": path(objects, object), "revision": 1, "name": name(object),
    });
    fields.as_object().cloned().unwrap_or_default()
}

fn with(mut base: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        base.extend(more);
    }
    Value::Object(base)
}

fn folder_of(object: &ObjectContent, kind: &str) -> String {
    object.moref("parent").filter(|parent| parent.kind == kind).map(|parent| parent.id).unwrap_or_default()
}

pub(super) fn folder(objects: &Objects, folder: &ObjectContent) -> Value {
    let more = json!({
        "folder": folder_of(folder, "Folder"), "datacenter": folder_of(folder, "Datacenter"),
        "children": references(&folder.morefs("childEntity")),
    });
    with(base(objects, folder), more)
}

pub(super) fn datacenter(objects: &Objects, datacenter: &ObjectContent) -> Value {
    let of = |path: &str| datacenter.moref(path).map_or_else(none, |found| reference(&found));
    let more = json!({
        "datastores": of("datastoreFolder"), "networks": of("networkFolder"), "clusters": of("hostFolder"),
        "vms": of("vmFolder"),
    });
    with(base(objects, datacenter), more)
}

pub(super) fn cluster(objects: &Objects, cluster: &ObjectContent) -> Value {
    let flag = |path: &str| cluster.flag(path).unwrap_or(false);
    let more = json!({
        "folder": folder_of(cluster, "Folder"), "networks": references(&cluster.morefs("network")),
        "datastores": references(&cluster.morefs("datastore")), "hosts": references(&cluster.morefs("host")),
        "dasEnabled": flag("configuration.dasConfig.enabled"), "dasVms": [],
        "drsEnabled": flag("configuration.drsConfig.enabled"),
        "drsBehavior": cluster.text("configuration.drsConfig.defaultVmBehavior").unwrap_or_default(), "drsVms": [],
    });
    with(base(objects, cluster), more)
}

/// A network, a port group or a switch, which MTV lists among them.
pub(super) fn network(objects: &Objects, network: &ObjectContent) -> Value {
    let mut more = json!({"variant": "Standard", "vlanId": "", "host": null});
    match network.obj.kind.as_str() {
        "DistributedVirtualPortgroup" => {
            more["variant"] = json!("DvPortGroup");
            more["dvSwitch"] =
                network.moref("config.distributedVirtualSwitch").map_or_else(none, |found| reference(&found));
            let vlan = network.props.get("config.defaultPortConfig").and_then(|config| config.text_at("vlan/vlanId"));
            more["vlanId"] = json!(vlan.unwrap_or_default());
            more["key"] = json!(network.text("key").unwrap_or_default());
        }
        "VmwareDistributedVirtualSwitch" => {
            more["variant"] = json!("DvSwitch");
            let members = network.props.get("config.host").map_or(&[][..], |hosts| hosts.children.as_slice());
            let host = |member: &Element| json!({"Host": member.moref_at("config/host").map_or_else(none, |host| reference(&host)), "PNIC": []});
            more["host"] = members.iter().map(host).collect();
        }
        "OpaqueNetwork" => more["variant"] = json!("OpaqueNetwork"),
        _ => {}
    }
    with(base(objects, network), more)
}

pub(super) fn datastore(objects: &Objects, datastore: &ObjectContent) -> Value {
    let number = |path: &str| datastore.parse_prop::<i64>(path).unwrap_or_default();
    let info = datastore.props.get("info");
    let extents = info.and_then(|info| info.child("vmfs")).into_iter().flat_map(|vmfs| vmfs.all("extent"));
    let devices: Vec<&str> = extents.filter_map(|extent| extent.text_at("diskName")).collect();
    let mut more = json!({
        "type": datastore.text("summary.type").unwrap_or_default(), "capacity": number("summary.capacity"),
        "free": number("summary.freeSpace"),
        "maintenance": datastore.text("summary.maintenanceMode").unwrap_or_default(), "backingDevicesNames": devices,
    });
    let iorm = datastore.props.get("iormConfiguration");
    let told = |key: &str| iorm.and_then(|iorm| iorm.text_at(key)).unwrap_or_default();
    // What lies outside of its range means the default.
    let within = |key: &str, least: i64, default: i64| {
        Some(told(key).parse().unwrap_or(0)).filter(|n| *n >= least).map_or(default, |n: i64| n.min(100))
    };
    let manual = told("congestionThresholdMode") == "manual";
    more["storageIORMSupported"] = json!(datastore.flag("capability.storageIORMSupported").unwrap_or(false));
    more["iormEnabled"] = json!(told("enabled") == "true");
    more["iormCongestionThreshold"] = json!(within("congestionThreshold", 5, 30));
    more["iormCongestionThresholdMode"] = json!(if manual { "manual" } else { "automatic" });
    more["iormPercentOfPeakThroughput"] = json!(within("percentOfPeakThroughput", 50, 90));
    for (key, path) in [("nasRemoteHost", "nas/remoteHost"), ("nasRemotePath", "nas/remotePath")] {
        if let Some(told) = info.and_then(|info| info.text_at(path)).filter(|told| !told.is_empty()) {
            more[key] = json!(told);
        }
    }
    with(base(objects, datastore), more)
}

/// Of the hardware, and of the networks, what the lab's own hosts have.
pub(super) fn host(objects: &Objects, host: &ObjectContent) -> Value {
    let text = |path: &str| host.text(path).unwrap_or_default();
    let number = |path: &str| host.parse_prop::<i64>(path).unwrap_or_default();
    let nics = host.props.get("config.network.vnic").map_or(&[][..], |nics| nics.children.as_slice());
    let of = |nic: &Element, path: &str| nic.text_at(path).unwrap_or_default().to_owned();
    let mtu = |nic: &Element| nic.parse_at::<i64>("spec/mtu").unwrap_or_default();
    let vnic = |nic: &Element| {
        json!({
            "key": of(nic, "key"), "device": of(nic, "device"), "portGroup": of(nic, "portgroup"), "dPortGroup": "",
            "ipAddress": of(nic, "spec/ip/ipAddress"), "ipV6Address": null, "subnetMask": of(nic, "spec/ip/subnetMask"),
            "mtu": mtu(nic),
        })
    };
    let adapter = |nic: &Element| {
        json!({
            "name": "", "ipAddress": of(nic, "spec/ip/ipAddress"), "subnetMask": of(nic, "spec/ip/subnetMask"),
            "linkSpeed": 0, "mtu": mtu(nic),
        })
    };
    let more = json!({
        "cluster": host.moref("parent").map(|parent| parent.id).unwrap_or_default(), "status": text("overallStatus"),
        "inMaintenance": host.flag("summary.runtime.inMaintenanceMode").unwrap_or(false),
        "managementServerIp": text("summary.managementServerIp"), "thumbprint": text("summary.config.sslThumbprint"),
        "timezone": text("config.dateTimeInfo.timeZone.name"), "cpuSockets": number("summary.hardware.numCpuPkgs"),
        "cpuCores": number("summary.hardware.numCpuCores"), "memoryBytes": number("summary.hardware.memorySize"),
        "vmotionSupported": host.flag("capability.vmotionSupported").unwrap_or(false),
        "storageVmotionSupported": host.flag("capability.storageVMotionSupported").unwrap_or(false),
        "productName": text("config.product.name"), "productVersion": text("config.product.version"),
        "networking": {"pNICs": null, "vNICs": nics.iter().map(vnic).collect::<Value>(), "portGroups": null, "switches": null},
        "networks": references(&host.morefs("network")), "datastores": references(&host.morefs("datastore")),
        "vms": null, "networkAdapters": nics.iter().map(adapter).collect::<Value>(), "hostScsiDisks": scsi_disks(host),
        "advancedOptions": null,
    });
    with(base(objects, host), more)
}

/// The SCSI disks that a host sees; `null` where it tells of none.
fn scsi_disks(host: &ObjectContent) -> Value {
    let luns = host.props.get("config.storageDevice.scsiLun").map_or(&[][..], |luns| luns.children.as_slice());
    let told = |lun: &Element, key: &str| lun.text_at(key).unwrap_or_default().trim().to_owned();
    let disk = |lun: &Element| {
        json!({
            "canonicalName": lun.text_at("canonicalName").unwrap_or_default(), "vendor": told(lun, "vendor"),
            "model": "", "key": told(lun, "key"),
        })
    };
    if luns.is_empty() { Value::Null } else { luns.iter().map(disk).collect() }
}

/// The network cards of a VM, as devices.
fn devices(raw: &ObjectContent) -> Value {
    let all = raw.props.get("config.hardware.device").map_or(&[][..], |devices| devices.children.as_slice());
    let card = |device: &&Element| device.child("macAddress").is_some();
    let shown = |device: &Element| {
        json!({
            "kind": device.xsi_type, "key": device.parse_at::<i64>("key").unwrap_or_default(),
            "pciSlotNumber": device.parse_at::<i64>("slotInfo/pciSlotNumber").unwrap_or_default(),
        })
    };
    all.iter().filter(card).map(shown).collect()
}

fn guest_disks(raw: &ObjectContent) -> Value {
    let all = raw.props.get("guest.disk").map_or(&[][..], |disks| disks.children.as_slice());
    let shown = |disk: &Element| {
        json!({
            "key": disk.parse_at::<i64>("mappings/key").unwrap_or_default(),
            "diskPath": disk.text_at("diskPath").unwrap_or_default(),
            "capacity": disk.parse_at::<i64>("capacity").unwrap_or_default(),
            "freeSpace": disk.parse_at::<i64>("freeSpace").unwrap_or_default(),
            "filesystemType": disk.text_at("filesystemType").unwrap_or_default(),
        })
    };
    all.iter().map(shown).collect()
}

pub(super) fn vm(vm: &InvVm, raw: &ObjectContent, objects: &Objects, known: &[Network]) -> Value {
    let network_name = |id: &str| known.iter().find(|n| n.moref.id == id).map(|n| n.name.clone()).unwrap_or_default();
    let own = vm.vsphere().cloned().unwrap_or_default();
    let text = |path: &str| raw.text(path).unwrap_or_default();
    let mut networks: Vec<String> = vm.nics.iter().map(|n| n.network_id.clone()).collect();
    networks.dedup();
    let hardware = raw.props.get("config.hardware.device").map_or(&[][..], |devices| devices.children.as_slice());
    let guest_disks = guest_disks(raw);
    let disks = vm.disks.iter().map(|d| {
        let device = d.vsphere().cloned().unwrap_or_default();
        let found = hardware.iter().find(|e| e.parse_at::<i64>("key") == Some(device.key));
        let of = |path: &str| found.and_then(|e| e.text_at(path)).unwrap_or_default();
        let sharing = of("backing/sharing");
        let backing = found.and_then(|e| e.child("backing"));
        let mapped = backing.is_some_and(|it| it.xsi_type.as_deref() == Some(RAW_MAPPING));
        let mut shown = json!({
            "key": device.key, "unitNumber": device.unit_number, "controllerKey": device.controller_key,
            "file": d.source, "datastore": {"kind": "Datastore", "id": d.storage_id}, "capacity": d.capacity_bytes,
            "shared": !sharing.is_empty() && sharing != "sharingNone", "rdm": mapped, "bus": device.bus,
            "mode": device.mode, "changeTrackingEnabled": own.changed_block_tracking, "parent": of("backing/parent/fileName"),
        });
        let mounted = guest_disks.as_array().into_iter().flatten().find(|g| g["key"] == json!(device.key));
        let letter = mounted.and_then(|g| g["diskPath"].as_str()).filter(|path| path.contains(':'));
        for (key, told) in [("serial", of("backing/uuid")), ("winDriveLetter", letter.and_then(|p| p.split(':').next()).unwrap_or_default())] {
            if !told.is_empty() {
                shown[key] = json!(told.to_owned());
            }
        }
        shown
    });
    let nics = vm.nics.iter().enumerate().map(|(order, n)| {
        let device = n.vsphere.unwrap_or_default();
        json!({
            "network": {"kind": "Network", "id": n.network_id}, "mac": n.mac, "order": order,
            "deviceKey": device.device_key, "pciAddress": "", "startConnected": device.connected,
        })
    });
    let guest_networks = own.guest_networks.iter().map(|told| {
        let nic = vm.nics.iter().find(|n| n.mac == told.mac);
        json!({
            "device": told.device, "deviceConfigId": nic.and_then(|n| n.vsphere).map(|device| device.device_key),
            "mac": told.mac, "ip": told.ip, "origin": told.origin, "prefix": told.prefix, "dns": told.dns,
            "network": nic.map(|n| network_name(&n.network_id)),
        })
    });
    let stacks = own.guest_networks.iter().filter_map(|told| {
        let gateway = told.gateway.as_ref()?;
        Some(json!({"device": told.device, "gateway": gateway, "network": "0.0.0.0", "prefix": 0, "dns": told.dns}))
    });
    let snapshot = match vm.snapshot_ids.last() {
        Some(id) => json!({"kind": "VirtualMachineSnapshot", "id": id}),
        None => none(),
    };
    let disk_uuids = raw.props.get("config.extraConfig").map_or(&[][..], |extra| extra.children.as_slice());
    let disk_uuids = disk_uuids.iter().any(|option| {
        option.text_at("key") == Some("disk.EnableUUID")
            && option.text_at("value").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    });
    let more = json!({
        "revision": own.revision, "revisionValidated": own.revision, "isTemplate": own.is_template,
        "powerState": if vm.power_on { "poweredOn" } else { "poweredOff" }, "host": own.host_id,
        "networks": networks.iter().map(|id| json!({"kind": "Network", "id": id})).collect::<Value>(),
        "disks": disks.collect::<Value>(), "concerns": [], "policyVersion": 0, "uuid": own.uuid,
        "instanceUuid": text("config.instanceUuid"), "firmware": if vm.firmware_efi { "efi" } else { "bios" },
        "connectionState": "connected", "snapshot": snapshot, "changeTrackingEnabled": own.changed_block_tracking,
        "consolidationNeeded": false, "cpuAffinity": [], "cpuHotAddEnabled": false, "cpuHotRemoveEnabled": false,
        "memoryHotAddEnabled": false, "faultToleranceEnabled": false, "cpuCount": vm.cpu_count,
        "coresPerSocket": vm.cores_per_socket, "memoryMB": vm.memory_mb, "guestName": vm.guest_name,
        "guestNameFromVmwareTools": text("guest.guestFullName"), "hostName": text("guest.hostName"),
        "guestId": text("summary.guest.guestId"), "balloonedMemory": 0, "ipAddress": own.guest_ip,
        "storageUsed": raw.parse_prop::<i64>("summary.storage.committed").unwrap_or_default(), "tpmEnabled": vm.tpm,
        "numaNodeAffinity": [], "devices": devices(raw), "nics": nics.collect::<Value>(),
        "guestNetworks": guest_networks.collect::<Value>(), "guestDisks": guest_disks,
        "guestIpStacks": stacks.collect::<Value>(), "secureBoot": vm.secure_boot, "toolsStatus": own.tools_status,
        "toolsRunningStatus": if own.tools_running { "guestToolsRunning" } else { "guestToolsNotRunning" },
        "toolsVersionStatus2": text("guest.toolsVersionStatus2"), "diskEnableUuid": disk_uuids,
        "nestedHVEnabled": false, "customDef": [], "customValues": [], "tags": [],
    });
    with(base(objects, raw), more)
}
