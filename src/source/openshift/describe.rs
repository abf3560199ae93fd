//! A source VM → the record that the checks compare.
//!
//! CPU, memory and firmware may come from an instance type and a preference, so the VM is read
//! through KubeVirt's own `expand-spec`: what it would run with, without asking MTV.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::Api;
use serde_json::Value;

use super::OpenshiftDriver;
use crate::api::condition::Conditions;
use crate::api::kubevirt::{VirtualMachineInstance, VirtualMachineInstanceStatus};
use crate::api::quantity;
use crate::api::vm::*;
use crate::source::{SourceError, VmRef};

/// The cluster's own network, which has neither id nor name in MTV.
pub(super) const POD: &str = "pod";

impl OpenshiftDriver {
    pub(super) async fn read(&self, vm: &VmRef) -> Result<SourceVm, SourceError> {
        let (name, client) = (vm.name.as_str(), self.client().await?);
        let what = format!("read VM {name}/{name}");
        let path = format!("/apis/subresources.kubevirt.io/v1/namespaces/{name}/virtualmachines/{name}/expand-spec");
        let request =
            http::Request::get(path).body(Vec::new()).map_err(|e| self.failed(what.as_str(), e.to_string()))?;
        let expanded: Value =
            client.request(request).await.map_err(|e| self.refused(format!("{what} expanded"), &e))?;
        let instances: Api<VirtualMachineInstance> = Api::namespaced(client.clone(), name);
        let instance = instances.get_opt(name).await.map_err(|e| self.refused(what.as_str(), &e))?;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, name);
        let mut found = BTreeMap::new();
        for claim in disks(&expanded).into_iter().map(|(_, claim)| claim) {
            let read = claims.get_opt(&claim).await;
            if let Some(pvc) = read.map_err(|e| self.refused(format!("read PVC {name}/{claim}"), &e))? {
                found.insert(claim, pvc);
            }
        }
        Ok(source_vm(&expanded, instance.and_then(|i| i.status).as_ref(), &found))
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Volume name and claim of every disk that has one, in the order of the volumes, which is MTV's.
fn disks(vm: &Value) -> Vec<(String, String)> {
    list(vm, "/spec/template/spec/volumes")
        .iter()
        .filter_map(|volume| {
            let claim =
                volume.pointer("/persistentVolumeClaim/claimName").or_else(|| volume.pointer("/dataVolume/name"));
            Some((text(volume, "/name").to_owned(), claim?.as_str()?.to_owned()))
        })
        .collect()
}

fn cpu(domain: &Value) -> Option<CpuTopology> {
    let count =
        |key: &str| domain.pointer(&format!("/cpu/{key}")).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let counts = [count("sockets"), count("cores"), count("threads")];
    if counts.iter().all(Option::is_none) {
        return None;
    }
    let [sockets, cores, threads] = counts.map(|n| n.unwrap_or(1));
    Some(CpuTopology { sockets, cores, threads })
}

fn firmware(domain: &Value) -> Firmware {
    let efi = domain.pointer("/firmware/bootloader/efi").filter(|v| !v.is_null());
    let on = |value: &Value, key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(true);
    Firmware {
        kind: if efi.is_some() { FirmwareKind::Efi } else { FirmwareKind::Bios },
        secure_boot: efi.is_some_and(|efi| on(efi, "secureBoot")),
        tpm: domain.pointer("/devices/tpm").is_some_and(|tpm| !tpm.is_null() && on(tpm, "enabled")),
    }
}

/// Agents tell addresses, not where they are from.
fn guest(interface: &crate::api::kubevirt::VmiInterface) -> GuestInterface {
    let parse = |text: &String| text.split('/').next().and_then(|ip| ip.parse().ok());
    let addresses = interface.ip_addresses.iter().filter_map(parse);
    GuestInterface {
        name: interface.interface_name.clone(),
        mac: interface.mac.as_deref().map(Mac::new),
        addresses: addresses.map(|ip| GuestAddress { ip, prefix: None, origin: AddressOrigin::Unknown }).collect(),
        ..GuestInterface::default()
    }
}

fn nics(vm: &Value, namespace: &str, instance: Option<&VirtualMachineInstanceStatus>) -> Vec<SourceNic> {
    let agent = instance.is_some_and(|i| i.conditions.holds("AgentConnected"));
    list(vm, "/spec/template/spec/domain/devices/interfaces")
        .iter()
        .map(|interface| {
            let name = text(interface, "/name");
            let seen = instance.and_then(|i| i.interfaces.iter().find(|seen| seen.name.as_deref() == Some(name)));
            let network = list(vm, "/spec/template/spec/networks").iter().find(|n| text(n, "/name") == name);
            let network = match network.map(|n| text(n, "/multus/networkName")).unwrap_or_default() {
                "" => POD.to_owned(),
                nad if nad.contains('/') => nad.to_owned(),
                nad => format!("{namespace}/{nad}"),
            };
            let mac = match text(interface, "/macAddress") {
                "" => seen.and_then(|s| s.mac.clone()).unwrap_or_default(),
                mac => mac.to_owned(),
            };
            SourceNic {
                label: name.to_owned(),
                mac: Mac::new(&mac),
                network_id: network.clone(),
                network_name: network,
                connected: text(interface, "/state") != "down",
                starts_connected: None,
                model: None,
                guest: seen.filter(|_| agent).map(guest),
            }
        })
        .collect()
}

fn os(vm: &Value, instance: Option<&VirtualMachineInstanceStatus>) -> GuestOs {
    let told = instance.map(|i| text(&i.guest_os_info, "/id").to_owned()).unwrap_or_default();
    let annotated = text(vm, "/spec/template/metadata/annotations/vm.kubevirt.io~1os");
    let windows = |word: &str| word.to_lowercase().contains("win");
    if windows(&told) || windows(annotated) { GuestOs::Windows } else { GuestOs::Linux }
}

/// The record, from the expanded VM, its instance and its claims.
fn source_vm(
    vm: &Value,
    instance: Option<&VirtualMachineInstanceStatus>,
    claims: &BTreeMap<String, PersistentVolumeClaim>,
) -> SourceVm {
    let namespace = text(vm, "/metadata/namespace");
    let none = Value::Null;
    let domain = vm.pointer("/spec/template/spec/domain").unwrap_or(&none);
    let power = match text(vm, "/status/printableStatus") {
        "Running" => Power::On,
        "Stopped" => Power::Off,
        other => Power::Other(other.to_owned()),
    };
    let memory = ["/memory/guest", "/resources/requests/memory"].iter().map(|at| text(domain, at));
    let disk = |(label, claim): (String, String)| {
        let spec = claims.get(&claim).and_then(|pvc| pvc.spec.as_ref());
        let class = spec.and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
        let asked = spec.and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage"));
        SourceDisk {
            // As MTV names the source of a copy.
            id: format!("{namespace}/{claim}"),
            label,
            file_name: None,
            interface: None,
            // MTV asks for what the source asked for; what a class rounds it up to is the class's.
            capacity_bytes: asked.and_then(|q| quantity::bytes(&q.0)).unwrap_or(0),
            storage_id: class.clone(),
            storage_name: class,
            raw: false,
            shared: false,
        }
    };
    SourceVm {
        id: text(vm, "/metadata/uid").to_owned(),
        uuid: Some(text(domain, "/firmware/uuid").to_owned()).filter(|uuid| !uuid.is_empty()),
        name: text(vm, "/metadata/name").to_owned(),
        guest_agent_running: instance.filter(|_| power == Power::On).map(|i| i.conditions.holds("AgentConnected")),
        power,
        os: os(vm, instance),
        cpu: cpu(domain),
        memory_mib: memory.filter_map(quantity::bytes).next().map(|bytes| bytes >> 20),
        firmware: Some(firmware(domain)),
        nics: nics(vm, namespace, instance),
        disks: disks(vm).into_iter().map(disk).collect(),
        snapshots: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_expanded_vm_is_read_with_its_disks_networks_and_class() {
        let vm = json!({
            "metadata": {"name": "v", "namespace": "v", "uid": "u-1"},
            "spec": {"template": {"spec": {
                "domain": {
                    "cpu": {"sockets": 1, "cores": 2}, "memory": {"guest": "2Gi"},
                    "firmware": {"uuid": "f", "bootloader": {"efi": {"secureBoot": false}}},
                    "devices": {"interfaces": [
                        {"name": "default", "macAddress": "02:00:00:00:00:0A", "masquerade": {}},
                        {"name": "extra", "bridge": {}}]}},
                "networks": [{"name": "default", "pod": {}}, {"name": "extra", "multus": {"networkName": "nad"}}],
                "volumes": [{"name": "rootdisk", "dataVolume": {"name": "v"}}, {"name": "c", "cloudInitNoCloud": {}}]}}},
            "status": {"printableStatus": "Running"}});
        let status: VirtualMachineInstanceStatus = serde_json::from_value(json!({
            "phase": "Running", "conditions": [{"type": "AgentConnected", "status": "True"}],
            "interfaces": [{"name": "extra", "mac": "02:00:00:00:00:0b", "ipAddresses": ["10.0.0.7"], "interfaceName": "eth1"}]}))
        .unwrap();
        let pvc: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "v"},
            "spec": {"storageClassName": "nfs", "resources": {"requests": {"storage": "30Gi"}}},
            "status": {"capacity": {"storage": "31Gi"}}}))
        .unwrap();
        let got = source_vm(&vm, Some(&status), &BTreeMap::from([("v".to_owned(), pvc)]));
        assert_eq!((got.id.as_str(), got.power.clone(), got.memory_mib), ("u-1", Power::On, Some(2048)));
        assert_eq!(got.cpu, Some(CpuTopology { sockets: 1, cores: 2, threads: 1 }));
        assert_eq!(got.firmware, Some(Firmware { kind: FirmwareKind::Efi, secure_boot: false, tpm: false }));
        let disk = &got.disks[0];
        assert_eq!((got.disks.len(), disk.id.as_str(), disk.storage_name.as_str()), (1, "v/v", "nfs"));
        assert_eq!(disk.capacity_bytes, 30 << 30);
        let networks: Vec<&str> = got.nics.iter().map(|n| n.network_name.as_str()).collect();
        assert_eq!(networks, ["pod", "v/nad"]);
        assert_eq!(got.nics[1].mac, Mac::new("02:00:00:00:00:0b"));
        assert_eq!(got.nics[1].guest.as_ref().unwrap().addresses[0].ip.to_string(), "10.0.0.7");
    }
}
