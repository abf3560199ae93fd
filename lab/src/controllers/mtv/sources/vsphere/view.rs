//! vSphere's objects as MTV's inventory shows them: key names and casing as Forklift's. Missing lists
//! are `null`, references are `{kind, id}`.

use serde_json::{Value, json};

use crate::api::vim::device::Network;
use crate::inventory::model::{InvDatastore, InvHost, InvNetwork, InvVm};

pub(super) fn network(n: &InvNetwork) -> Value {
    let variant = if n.kind == "DistributedVirtualPortgroup" { "DvPortGroup" } else { "Standard" };
    json!({
        "id": n.id, "parent": {"kind": "Folder", "id": "group-n6"}, "path": format!("/Datacenter/network/{}", n.name),
        "revision": 1, "name": n.name, "variant": variant, "key": n.key, "dvSwitch": {"kind": "", "id": ""},
        "vlanId": "", "host": null, "tag": null,
    })
}

pub(super) fn datastore(d: &InvDatastore) -> Value {
    json!({
        "id": d.id, "parent": {"kind": "Folder", "id": "group-s5"}, "path": format!("/Datacenter/datastore/{}", d.name),
        "revision": 1, "name": d.name, "type": d.kind, "capacity": d.capacity, "free": d.free, "maintenance": "normal",
        "backingDevicesNames": null,
    })
}

pub(super) fn host(h: &InvHost) -> Value {
    json!({
        "id": h.id, "parent": {"kind": "Cluster", "id": h.cluster_id}, "path": format!("/Datacenter/host/Cluster/{}", h.name),
        "revision": 1, "name": h.name, "cluster": h.cluster_id, "status": "green", "inMaintenance": h.in_maintenance,
        "networkAdapters": null,
    })
}

fn null_if_empty(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list) }
}

pub(super) fn vm(vm: &InvVm, known: &[Network]) -> Value {
    let network_kind = |id: &str| if id.starts_with("dvportgroup") { "DistributedVirtualPortgroup" } else { "Network" };
    let network_name = |id: &str| known.iter().find(|n| n.moref.id == id).map(|n| n.name.clone()).unwrap_or_default();
    let own = vm.vsphere().cloned().unwrap_or_default();
    let mut networks: Vec<String> = vm.nics.iter().map(|n| n.network_id.clone()).collect();
    networks.dedup();
    let disks = vm.disks.iter().map(|d| {
        let device = d.vsphere().cloned().unwrap_or_default();
        json!({
            "key": device.key, "unitNumber": device.unit_number, "controllerKey": device.controller_key,
            "file": d.source, "datastore": {"kind": "Datastore", "id": d.storage_id}, "capacity": d.capacity_bytes,
            "shared": false, "rdm": false, "bus": device.bus, "mode": device.mode, "serial": "", "winDriveLetter": "",
            "changeTrackingEnabled": own.changed_block_tracking, "parent": "",
        })
    });
    let nics = vm.nics.iter().enumerate().map(|(order, n)| {
        let device = n.vsphere.unwrap_or_default();
        json!({
            "network": {"kind": network_kind(&n.network_id), "id": n.network_id}, "mac": n.mac, "order": order,
            "deviceKey": device.device_key, "startConnected": device.connected,
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
        None => json!({"kind": "", "id": ""}),
    };
    json!({
        "id": vm.id, "parent": {"kind": "Folder", "id": own.folder_id}, "path": format!("/Datacenter/vm/{}", vm.name),
        "revision": own.revision, "name": vm.name, "revisionValidated": own.revision,
        "isTemplate": own.is_template, "powerState": if vm.power_on { "poweredOn" } else { "poweredOff" }, "host": own.host_id,
        "networks": null_if_empty(networks.iter().map(|id| json!({"kind": network_kind(id), "id": id})).collect()),
        "disks": null_if_empty(disks.collect()), "concerns": [], "policyVersion": 1, "uuid": own.uuid, "instanceUuid": "",
        "firmware": if vm.firmware_efi { "efi" } else { "bios" }, "connectionState": "connected", "snapshot": snapshot,
        "changeTrackingEnabled": own.changed_block_tracking, "consolidationNeeded": false, "cpuAffinity": null,
        "cpuHotAddEnabled": false, "cpuHotRemoveEnabled": false, "memoryHotAddEnabled": false,
        "faultToleranceEnabled": false, "cpuCount": vm.cpu_count, "coresPerSocket": vm.cores_per_socket,
        "memoryMB": vm.memory_mb, "guestName": vm.guest_name, "guestNameFromVmwareTools": "", "hostName": "",
        "guestId": vm.guest_id, "balloonedMemory": 0, "ipAddress": own.guest_ip, "storageUsed": 0,
        "tpmEnabled": vm.tpm, "numaNodeAffinity": null, "devices": null, "nics": null_if_empty(nics.collect()),
        "guestNetworks": null_if_empty(guest_networks.collect()), "guestDisks": null,
        "guestIpStacks": null_if_empty(stacks.collect()), "secureBoot": vm.secure_boot, "toolsStatus": own.tools_status,
        "toolsRunningStatus": if own.tools_running { "guestToolsRunning" } else { "guestToolsNotRunning" },
        "toolsVersionStatus2": if own.tools_running { "guestToolsCurrent" } else { "guestToolsNotInstalled" },
        "diskEnableUuid": false, "nestedHVEnabled": false,
    })
}
