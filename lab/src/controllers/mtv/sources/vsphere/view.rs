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
    let mut networks: Vec<String> = vm.nics.iter().map(|n| n.network_id.clone()).collect();
    networks.dedup();
    let disks = vm.disks.iter().map(|d| {
        json!({
            "key": d.key, "unitNumber": d.unit_number, "controllerKey": d.controller_key, "file": d.file,
            "datastore": {"kind": "Datastore", "id": d.datastore_id}, "capacity": d.capacity_bytes, "shared": false,
            "rdm": false, "bus": d.bus, "mode": d.mode, "serial": "", "winDriveLetter": "",
            "changeTrackingEnabled": vm.changed_block_tracking, "parent": "",
        })
    });
    let nics = vm.nics.iter().map(|n| {
        json!({
            "network": {"kind": network_kind(&n.network_id), "id": n.network_id}, "mac": n.mac, "order": n.order,
            "deviceKey": n.device_key, "startConnected": n.connected,
        })
    });
    let guest_networks = vm.guest_networks.iter().map(|(device, mac, ip, prefix, origin, _, dns)| {
        let key = vm.nics.iter().find(|n| n.mac == *mac).map(|n| n.device_key);
        let name = vm.nics.iter().find(|n| n.mac == *mac).map(|n| network_name(&n.network_id));
        json!({
            "device": device, "deviceConfigId": key, "mac": mac, "ip": ip, "origin": origin, "prefix": prefix,
            "dns": dns, "network": name,
        })
    });
    let stacks = vm.guest_networks.iter().filter_map(|(device, _, _, _, _, gateway, dns)| {
        gateway
            .as_ref()
            .map(|gateway| json!({"device": device, "gateway": gateway, "network": "0.0.0.0", "prefix": 0, "dns": dns}))
    });
    let snapshot = match vm.snapshot_ids.last() {
        Some(id) => json!({"kind": "VirtualMachineSnapshot", "id": id}),
        None => json!({"kind": "", "id": ""}),
    };
    json!({
        "id": vm.id, "parent": {"kind": "Folder", "id": vm.folder_id}, "path": format!("/Datacenter/vm/{}", vm.name),
        "revision": vm.revision, "name": vm.name, "revisionValidated": vm.revision,
        "isTemplate": vm.is_template, "powerState": if vm.power_on { "poweredOn" } else { "poweredOff" }, "host": vm.host_id,
        "networks": null_if_empty(networks.iter().map(|id| json!({"kind": network_kind(id), "id": id})).collect()),
        "disks": null_if_empty(disks.collect()), "concerns": [], "policyVersion": 1, "uuid": vm.uuid, "instanceUuid": "",
        "firmware": if vm.firmware_efi { "efi" } else { "bios" }, "connectionState": "connected", "snapshot": snapshot,
        "changeTrackingEnabled": vm.changed_block_tracking, "consolidationNeeded": false, "cpuAffinity": null,
        "cpuHotAddEnabled": false, "cpuHotRemoveEnabled": false, "memoryHotAddEnabled": false,
        "faultToleranceEnabled": false, "cpuCount": vm.cpu_count, "coresPerSocket": vm.cores_per_socket,
        "memoryMB": vm.memory_mb, "guestName": vm.guest_name, "guestNameFromVmwareTools": "", "hostName": "",
        "guestId": vm.guest_id, "balloonedMemory": 0, "ipAddress": vm.guest_ip, "storageUsed": 0,
        "tpmEnabled": vm.tpm, "numaNodeAffinity": null, "devices": null, "nics": null_if_empty(nics.collect()),
        "guestNetworks": null_if_empty(guest_networks.collect()), "guestDisks": null,
        "guestIpStacks": null_if_empty(stacks.collect()), "secureBoot": vm.secure_boot, "toolsStatus": vm.tools_status,
        "toolsRunningStatus": if vm.tools_running { "guestToolsRunning" } else { "guestToolsNotRunning" },
        "toolsVersionStatus2": if vm.tools_running { "guestToolsCurrent" } else { "guestToolsNotInstalled" },
        "diskEnableUuid": false, "nestedHVEnabled": false,
    })
}
