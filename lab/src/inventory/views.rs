//! The JSON of each resource. Missing lists are `null`, references are `{kind, id}`, self links
//! have no leading slash: as the real service writes them.

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::Entry;
use crate::controllers::mtv::platform::{InvVm, Inventory};
use crate::controllers::mtv::sources;

pub(super) fn provider(uid: &str, entry: &Entry) -> Value {
    json!({
        "uid": uid, "id": uid, "version": entry.object["metadata"]["resourceVersion"],
        "namespace": entry.namespace, "name": entry.name, "selfLink": format!("providers/{}/{uid}", entry.type_),
        "type": entry.type_, "object": entry.object,
        "product": entry.content.as_ref().map(|c| c.product.clone()),
        "apiVersion": entry.content.as_ref().map(|c| c.version.clone()),
        "instanceUuid": entry.content.as_ref().map(|c| c.instance_uuid.clone()),
        "vmCount": entry.content.as_ref().map(|c| c.vms.len()),
        "networkCount": entry.content.as_ref().map(|c| c.networks.len()),
        "datastoreCount": entry.content.as_ref().map(|c| c.datastores.len()),
        "hostCount": entry.content.as_ref().map(|c| c.hosts.len()),
    })
}

/// A vSphere collection; an unknown one is empty.
pub(crate) fn vsphere(content: &Inventory, uid: &str, collection: &str) -> Vec<Value> {
    let link = |id: &str| format!("providers/vsphere/{uid}/{collection}/{id}");
    match collection {
        // Templates are hidden from the list, as the real service hides them.
        "vms" => content.vms.iter().filter(|vm| !vm.is_template).map(|vm| self::vm(vm, content, &link(&vm.id))).collect(),
        "networks" => content
            .networks
            .iter()
            .map(|n| {
                let variant = if n.kind == "DistributedVirtualPortgroup" { "DvPortGroup" } else { "Standard" };
                json!({
                    "id": n.id, "parent": {"kind": "Folder", "id": "group-n6"}, "path": format!("/Datacenter/network/{}", n.name),
                    "revision": 1, "name": n.name, "selfLink": link(&n.id), "variant": variant, "key": n.key,
                    "dvSwitch": {"kind": "", "id": ""}, "vlanId": "", "host": null, "tag": null,
                })
            })
            .collect(),
        "datastores" => content
            .datastores
            .iter()
            .map(|d| {
                json!({
                    "id": d.id, "parent": {"kind": "Folder", "id": "group-s5"}, "path": format!("/Datacenter/datastore/{}", d.name),
                    "revision": 1, "name": d.name, "selfLink": link(&d.id), "type": d.kind, "capacity": d.capacity,
                    "free": d.free, "maintenance": "normal", "backingDevicesNames": null,
                })
            })
            .collect(),
        "hosts" => content
            .hosts
            .iter()
            .map(|h| {
                json!({
                    "id": h.id, "parent": {"kind": "Cluster", "id": h.cluster_id}, "path": format!("/Datacenter/host/Cluster/{}", h.name),
                    "revision": 1, "name": h.name, "selfLink": link(&h.id), "cluster": h.cluster_id, "status": "green",
                    "inMaintenance": h.in_maintenance, "networkAdapters": null,
                })
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A collection of a loaded provider.
pub(super) fn collection(content: &Inventory, type_: &str, uid: &str, name: &str, full: bool) -> Vec<Value> {
    let Some(items) = content.collections.get(name) else {
        return sources::collection(type_, content, uid, name);
    };
    items
        .iter()
        .map(|item| {
            let id = item["id"].as_str().unwrap_or_default();
            let mut item = item.clone();
            item["selfLink"] = json!(format!("providers/{type_}/{uid}/{name}/{id}"));
            if !full
                && !content.summary_keys.is_empty()
                && let Some(keys) = item.as_object_mut()
            {
                keys.retain(|key, _| content.summary_keys.contains(&key.as_str()));
            }
            item
        })
        .collect()
}

fn null_if_empty(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list) }
}

fn vm(vm: &InvVm, content: &Inventory, link: &str) -> Value {
    let network_kind = |id: &str| if id.starts_with("dvportgroup") { "DistributedVirtualPortgroup" } else { "Network" };
    let network_name =
        |id: &str| content.networks.iter().find(|n| n.id == id).map(|n| n.name.clone()).unwrap_or_default();
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
        "revision": vm.revision, "name": vm.name, "selfLink": link, "revisionValidated": vm.revision,
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

/// A collection of an OpenShift provider: listed live, as the real service does.
pub(super) async fn openshift(client: &kube::Client, uid: &str, collection: &str) -> Vec<Value> {
    let (group, version, kind) = match collection {
        "namespaces" => ("", "v1", "Namespace"),
        "storageclasses" => ("storage.k8s.io", "v1", "StorageClass"),
        "networkattachmentdefinitions" => ("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition"),
        "vms" => ("kubevirt.io", "v1", "VirtualMachine"),
        "persistentvolumeclaims" => ("", "v1", "PersistentVolumeClaim"),
        "datavolumes" => ("cdi.kubevirt.io", "v1beta1", "DataVolume"),
        _ => return Vec::new(),
    };
    let plural = if kind == "NetworkAttachmentDefinition" { "network-attachment-definitions" } else { collection };
    let plural = if collection == "vms" { "virtualmachines" } else { plural };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let Ok(list) = api.list(&ListParams::default()).await else { return Vec::new() };
    list.items
        .into_iter()
        .map(|object| {
            let id = object.metadata.uid.clone().unwrap_or_default();
            json!({
                "uid": id, "id": id, "version": object.metadata.resource_version, "namespace": object.metadata.namespace.clone().unwrap_or_default(),
                "name": object.metadata.name, "selfLink": format!("providers/openshift/{uid}/{collection}/{id}"), "object": object,
            })
        })
        .collect()
}
