//! Reading a migrated VM into the record that the checks compare. Reading changes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::routes::{find, whole};
use crate::api::cdi::StorageProfile;
use crate::api::condition::Conditions;
use crate::api::kubevirt::{VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceStatus};
use crate::api::quantity;
use crate::api::vm::{
    CpuTopology, Firmware, FirmwareKind, GuestLogin, Mac, Objects, Power, TargetDisk, TargetNetwork, TargetNic,
    TargetVm,
};
use crate::cluster::{Cluster, ReadError};

/// Forklift writes here which source disk a claim was made for.
const DISK_SOURCE: &str = "forklift.konveyor.io/disk-source";

/// `Ok(None)`: there is no such VM. `login` of the result is `NotTried`; the caller fills it.
pub async fn read_target(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<TargetVm>, ReadError> {
    let Some(vm) = whole::<VirtualMachine>(cluster, Some(namespace), name).await? else { return Ok(None) };
    let vmi = whole::<VirtualMachineInstance>(cluster, Some(namespace), name).await?;
    let mut claims = BTreeMap::new();
    for (_, claim) in disk_claims(&vm) {
        if let Some(pvc) = whole::<PersistentVolumeClaim>(cluster, Some(namespace), &claim).await? {
            claims.insert(claim, pvc);
        }
    }
    record(Objects { vm, vmi, claims }).map(Some)
}

/// The record, from what was read. Pure: the same objects make the same record.
pub fn record(objects: Objects) -> Result<TargetVm, ReadError> {
    let vm: DynamicObject = parsed("VirtualMachine", &objects.vm)?;
    let status: Option<VirtualMachineInstanceStatus> = match objects.vmi.as_ref().and_then(|vmi| vmi.get("status")) {
        Some(status) => Some(parsed("the status of the VirtualMachineInstance", status)?),
        None => None,
    };
    let mut claims = BTreeMap::new();
    for (name, claim) in &objects.claims {
        claims.insert(name.clone(), parsed(&format!("PersistentVolumeClaim {name}"), claim)?);
    }
    Ok(assemble(&vm, status.as_ref(), &claims, objects))
}

fn parsed<T: serde::de::DeserializeOwned>(what: &str, from: &Value) -> Result<T, ReadError> {
    serde_json::from_value(from.clone()).map_err(|error| ReadError::unreadable(what, error))
}

/// Access modes and volume mode that a storage class gives to VM disks, by its StorageProfile.
pub async fn storage_defaults(cluster: &Cluster, class: &str) -> Result<(Vec<String>, Option<String>), ReadError> {
    let Some(profile) = find::<StorageProfile, Value>(cluster, None, class).await? else {
        return Err(ReadError::Missing { what: format!("StorageProfile {class}") });
    };
    let first = |part: &str| profile.pointer(&format!("/{part}/claimPropertySets/0")).cloned();
    // Status holds what CDI really uses; spec only what somebody asked for.
    let Some(set) = first("status").or_else(|| first("spec")) else {
        return Err(ReadError::Incomplete { what: format!("StorageProfile {class}"), lacks: "claim property sets" });
    };
    Ok((strings(set.get("accessModes")), string(set.get("volumeMode"))))
}

/// Whether a storage class gives block devices of one node, by its StorageProfile.
pub async fn gives_blocks(cluster: &Cluster, class: &str) -> Result<bool, ReadError> {
    let Some(profile) = find::<StorageProfile, Value>(cluster, None, class).await? else {
        return Err(ReadError::Missing { what: format!("StorageProfile {class}") });
    };
    let sets = ["status", "spec"].into_iter().flat_map(|part| {
        let sets = profile.pointer(&format!("/{part}/claimPropertySets")).and_then(Value::as_array);
        sets.into_iter().flatten()
    });
    let fits = |set: &Value| {
        let mode = string(set.get("volumeMode"));
        mode.as_deref() == Some("Block") && strings(set.get("accessModes")).iter().any(|mode| mode == "ReadWriteOnce")
    };
    Ok(sets.into_iter().any(fits))
}

/// Disk name and claim of the VM's disks, in their order; CD-ROMs and disks without a claim are left out.
fn disk_claims(vm: &Value) -> Vec<(Value, String)> {
    let volumes = array(vm, "/spec/template/spec/volumes");
    let claim_of = |name: &str| {
        let volume = volumes.iter().find(|v| v.get("name").and_then(Value::as_str) == Some(name))?;
        let claim = volume.pointer("/persistentVolumeClaim/claimName").or_else(|| volume.pointer("/dataVolume/name"));
        claim.and_then(Value::as_str).map(str::to_owned)
    };
    array(vm, "/spec/template/spec/domain/devices/disks")
        .iter()
        .filter(|disk| disk.get("cdrom").is_none() && disk.get("floppy").is_none())
        .filter_map(|disk| Some((disk.clone(), claim_of(disk.get("name")?.as_str()?)?)))
        .collect()
}

fn assemble(
    vm: &DynamicObject,
    vmi: Option<&VirtualMachineInstanceStatus>,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
    objects: Objects,
) -> TargetVm {
    let namespace = vm.namespace().unwrap_or_default();
    let data = &vm.data;
    let at = |path: &str| data.pointer(&format!("/spec/template/spec/{path}"));
    let printable_status = string(data.pointer("/status/printableStatus")).unwrap_or_default();
    let power = match printable_status.as_str() {
        // One that is being live-migrated runs all the while.
        "Running" | "Migrating" => Power::On,
        "Stopped" => Power::Off,
        other => Power::Other(other.to_owned()),
    };
    let running = power == Power::On;
    let disks = disk_claims(data).into_iter().map(|(disk, claim)| disk_record(&disk, claim, claims)).collect();
    TargetVm {
        name: vm.name_any(),
        cpu: cpu(at("domain/cpu")),
        memory_mib: memory_mib(at("domain")),
        firmware: at("domain").map(firmware),
        serial: string(at("domain/firmware/serial")),
        nics: nics(data, &namespace, vmi),
        disks,
        agent_connected: vmi.filter(|_| running).map(|v| v.conditions.holds("AgentConnected")),
        node: vmi.filter(|v| matches!(v.phase.as_str(), "Running" | "Scheduled")).and_then(|v| v.node_name.clone()),
        labels: map(data.pointer("/spec/template/metadata/labels")),
        node_selector: map(at("nodeSelector")),
        affinity: at("affinity").filter(|v| !v.is_null()).cloned(),
        login: GuestLogin::NotTried("nobody has logged in yet".to_owned()),
        namespace,
        power,
        printable_status,
        objects,
    }
}

/// Absent counts are KubeVirt's default 1; an absent topology is unknown (instance types).
fn cpu(cpu: Option<&Value>) -> Option<CpuTopology> {
    let cpu = cpu?;
    let count = |key: &str| cpu.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let counts = [count("sockets"), count("cores"), count("threads")];
    if counts.iter().all(Option::is_none) {
        return None;
    }
    let [sockets, cores, threads] = counts.map(|n| n.unwrap_or(1));
    Some(CpuTopology { sockets, cores, threads })
}

fn memory_mib(domain: Option<&Value>) -> Option<u64> {
    let domain = domain?;
    ["/memory/guest", "/resources/requests/memory", "/resources/limits/memory"]
        .iter()
        .find_map(|path| string(domain.pointer(path)))
        .and_then(|text| quantity::bytes(&text))
        .map(|bytes| bytes >> 20)
}

fn firmware(domain: &Value) -> Firmware {
    let efi = domain.pointer("/firmware/bootloader/efi").filter(|v| !v.is_null());
    let secure_boot = efi.is_some_and(|efi| efi.get("secureBoot").and_then(Value::as_bool).unwrap_or(true));
    let tpm = domain
        .pointer("/devices/tpm")
        .is_some_and(|v| !v.is_null() && v.get("enabled").and_then(Value::as_bool).unwrap_or(true));
    let kind = if efi.is_some() { FirmwareKind::Efi } else { FirmwareKind::Bios };
    Firmware { kind, secure_boot, tpm }
}

fn nics(vm: &Value, namespace: &str, vmi: Option<&VirtualMachineInstanceStatus>) -> Vec<TargetNic> {
    let networks = array(vm, "/spec/template/spec/networks");
    let network_of = |name: &str| {
        let network = networks.iter().find(|n| n.get("name").and_then(Value::as_str) == Some(name))?;
        if network.get("pod").is_some() {
            return Some(TargetNetwork::Pod);
        }
        let nad = network.pointer("/multus/networkName")?.as_str()?;
        let (ns, nad) = nad.split_once('/').unwrap_or((namespace, nad));
        Some(TargetNetwork::Multus { namespace: ns.to_owned(), name: nad.to_owned() })
    };
    array(vm, "/spec/template/spec/domain/devices/interfaces")
        .iter()
        .map(|interface| {
            let name = string(interface.get("name")).unwrap_or_default();
            let status = vmi.and_then(|v| v.interfaces.iter().find(|i| i.name.as_deref() == Some(name.as_str())));
            let mac = string(interface.get("macAddress")).or_else(|| status.and_then(|s| s.mac.clone()));
            TargetNic {
                mac: mac.as_deref().map(Mac::new),
                network: network_of(&name),
                addresses: status.map(addresses).unwrap_or_default(),
                link_up: status.and_then(|s| s.link_state.as_deref()).map(|state| state == "up"),
                name,
            }
        })
        .collect()
}

fn addresses(interface: &crate::api::kubevirt::VmiInterface) -> Vec<IpAddr> {
    let all = interface.ip_addresses.iter().chain(interface.ip_address.iter());
    let mut found: Vec<IpAddr> = Vec::new();
    // Some agents add the prefix length.
    for address in all.filter_map(|text| text.split('/').next()?.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

fn disk_record(disk: &Value, claim: String, claims: &BTreeMap<String, PersistentVolumeClaim>) -> TargetDisk {
    let pvc = claims.get(&claim);
    let spec = pvc.and_then(|p| p.spec.as_ref());
    let real = pvc.and_then(|p| p.status.as_ref()).and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("storage"));
    let asked =
        spec.and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref()).and_then(|r| r.get("storage"));
    TargetDisk {
        capacity_bytes: real.or(asked).and_then(|q| quantity::bytes(&q.0)).unwrap_or(0),
        storage_class: spec.and_then(|s| s.storage_class_name.clone()),
        access_modes: spec.and_then(|s| s.access_modes.clone()).unwrap_or_default(),
        volume_mode: spec.and_then(|s| s.volume_mode.clone()),
        boot_order: disk.get("bootOrder").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()),
        disk_source: pvc.and_then(|p| p.annotations().get(DISK_SOURCE).cloned()),
        pvc: claim,
    }
}

fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn string(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn map(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vm() -> Value {
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"name": "v", "namespace": "ns"},
            "spec": {"template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "nodeSelector": {"k": "v"},
                    "domain": {
                        "cpu": {"sockets": 2, "cores": 4}, "memory": {"guest": "4Gi"},
                        "firmware": {"bootloader": {"efi": {}}, "serial": "S"},
                        "devices": {
                            "tpm": {"persistent": true},
                            "disks": [
                                {"name": "vol-1", "disk": {"bus": "virtio"}},
                                {"name": "drivers", "cdrom": {}},
                                {"name": "vol-0", "disk": {}, "bootOrder": 1},
                                {"name": "cloudinit", "disk": {}}],
                            "interfaces": [
                                {"name": "net-0", "macAddress": "00:50:56:AA:BB:CC", "masquerade": {}},
                                {"name": "net-1", "bridge": {}}]}},
                    "networks": [{"name": "net-0", "pod": {}}, {"name": "net-1", "multus": {"networkName": "nad1"}}],
                    "volumes": [
                        {"name": "vol-0", "persistentVolumeClaim": {"claimName": "p0"}},
                        {"name": "vol-1", "dataVolume": {"name": "p1"}},
                        {"name": "drivers", "persistentVolumeClaim": {"claimName": "iso"}},
                        {"name": "cloudinit", "cloudInitNoCloud": {}}]}}},
            "status": {"printableStatus": "Running"}
        })
    }

    #[test]
    fn a_vm_is_read_into_the_record_with_its_disks_in_device_order() {
        let pvc = json!({
            "metadata": {"name": "p0", "annotations": {DISK_SOURCE: "[ds] vm/vm.vmdk"}},
            "spec": {"storageClassName": "c", "accessModes": ["ReadWriteMany"], "volumeMode": "Block",
                     "resources": {"requests": {"storage": "9Gi"}}},
            "status": {"capacity": {"storage": "10Gi"}}});
        let status = json!({
            "phase": "Running", "nodeName": "worker-1",
            "conditions": [{"type": "AgentConnected", "status": "True"}],
            "interfaces": [{"name": "net-0", "ipAddress": "10.0.0.2", "ipAddresses": ["10.0.0.2", "fe80::1"]},
                           {"name": "net-1", "mac": "02:00:00:00:00:01", "linkState": "down"}]});
        let claims = BTreeMap::from([("p0".to_owned(), pvc)]);
        let got = record(Objects { vm: vm(), vmi: Some(json!({"status": status})), claims }).unwrap();
        assert_eq!(got.cpu, Some(CpuTopology { sockets: 2, cores: 4, threads: 1 }));
        assert_eq!((got.memory_mib, got.power.clone(), got.node.as_deref()), (Some(4096), Power::On, Some("worker-1")));
        assert_eq!(got.firmware, Some(Firmware { kind: FirmwareKind::Efi, secure_boot: true, tpm: true }));
        let pvcs: Vec<&str> = got.disks.iter().map(|d| d.pvc.as_str()).collect();
        assert_eq!(pvcs, ["p1", "p0"]);
        assert_eq!((got.disks[1].capacity_bytes, got.disks[1].boot_order), (10 << 30, Some(1)));
        assert_eq!(got.disks[1].disk_source.as_deref(), Some("[ds] vm/vm.vmdk"));
        assert_eq!(got.nics[0].network, Some(TargetNetwork::Pod));
        assert_eq!(got.nics[0].addresses.len(), 2);
        let nad = TargetNetwork::Multus { namespace: "ns".into(), name: "nad1".into() };
        assert_eq!((got.nics[1].network.clone(), got.nics[1].link_up), (Some(nad), Some(false)));
        assert_eq!(got.nics[1].mac, Some(Mac::new("02-00-00-00-00-01")));
        assert_eq!(got.agent_connected, Some(true));
    }

    #[test]
    fn a_vm_that_is_being_live_migrated_runs() {
        let mut vm = vm();
        vm["status"]["printableStatus"] = json!("Migrating");
        assert_eq!(record(Objects { vm, ..Objects::default() }).unwrap().power, Power::On);
    }

    #[test]
    fn of_a_stopped_vm_nobody_can_tell_the_agent() {
        let mut vm = vm();
        vm["status"]["printableStatus"] = json!("Stopped");
        let got = record(Objects { vm, ..Objects::default() }).unwrap();
        assert_eq!((got.power, got.agent_connected, got.node), (Power::Off, None, None));
    }
}
