//! OpenShift: the VMs of a cluster, its own or another by URL and token; the inventory is live.
//!
//! What MTV migrates is the source VM as KubeVirt's export writes it down, with instance type and
//! preference merged in.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::super::pipeline::Path;
use super::super::platform::{
    ConnectError, InvDatastore, InvDisk, InvNetwork, InvNic, InvVm, Inventory, Login, POD_NETWORK, PlatformClient,
};
use super::super::{Mtv, MtvVersion, provider};
use super::{Shape, Source, http_client, missing};
use crate::api::forklift::Provider;
use crate::api::multus::NetworkAttachmentDefinition;
use crate::controllers::kubevirt::json::{list, text};
use crate::controllers::kubevirt::{vm::run_strategy, vm_resource};
use crate::inventory::InventoryDb;

pub(super) struct Openshift;

/// A client of the cluster that a Provider means; `db` keeps one for each login.
pub(crate) async fn client_of(own: &Client, db: &InventoryDb, provider: &Provider) -> Result<Client, String> {
    if provider.spec.url.is_empty() {
        return Ok(own.clone());
    }
    let name = provider.spec.secret.name.clone().unwrap_or_default();
    let namespace = provider.spec.secret.namespace.clone().or_else(|| provider.namespace()).unwrap_or_default();
    let secret = Api::<Secret>::namespaced(own.clone(), &namespace).get(&name).await.map_err(|e| e.to_string())?;
    let login = provider::login(provider, &secret.data.unwrap_or_default());
    db.cluster(&login, || build(&login))
}

fn build(login: &Login) -> Result<Client, String> {
    use rustls_pki_types::pem::PemObject as _;
    let url = login.url.trim_end_matches('/').parse().map_err(|e| format!("{} is not a URL: {e}", login.url))?;
    let mut config = kube::Config::new(url);
    config.accept_invalid_certs = login.insecure;
    if let Some(pem) = &login.ca_pem {
        let roots: Result<Vec<Vec<u8>>, _> =
            rustls_pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).map(|c| c.map(|c| c.to_vec())).collect();
        config.root_cert = Some(roots.map_err(|e| e.to_string())?);
    }
    config.auth_info.token = Some(login.secret("token").to_owned().into());
    Client::try_from(config).map_err(|e| e.to_string())
}

#[async_trait]
impl Source for Openshift {
    fn needs_url(&self) -> bool {
        false
    }

    fn missing_keys(&self, login: &Login) -> Vec<String> {
        if login.url.is_empty() { Vec::new() } else { missing(login, &["token"], false) }
    }

    /// A real request to the other cluster with the Secret's token, TLS as the Secret asks.
    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        if login.url.is_empty() {
            return Ok(Arc::new(OpenshiftClient { client: mtv.client.clone() }));
        }
        let client = http_client(login)?;
        let request = client.get(format!("{}/api/v1/namespaces?limit=1", login.url.trim_end_matches('/')));
        let answer = request.bearer_auth(login.secret("token")).send().await;
        match answer.map_err(|e| ConnectError::Failed(e.to_string()))?.status().as_u16() {
            200..=299 => {}
            code @ (400 | 401) => return Err(ConnectError::Auth(format!("the server answered {code}"))),
            code => return Err(ConnectError::Failed(format!("the server answered {code}"))),
        }
        let client = mtv.db.cluster(login, || build(login)).map_err(ConnectError::Failed)?;
        Ok(Arc::new(OpenshiftClient { client }))
    }

    fn live(&self) -> bool {
        true
    }

    fn names_volumes_after_source(&self) -> bool {
        true
    }

    fn names_pvcs(&self, version: MtvVersion) -> bool {
        version.at_least(11)
    }

    fn steps(&self, _: Path, _: MtvVersion) -> Vec<&'static str> {
        vec!["DiskTransfer", "VirtualMachineCreation"]
    }

    /// The source's own template replaces what was prepared: labels, node selector and affinity of
    /// the Plan are lost, MACs and firmware stay. An interface whose network changes its type is
    /// dropped.
    fn shape(&self, _: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let prepared = machine["spec"]["template"]["spec"].clone();
        let mut template = vm.extra["template"].clone();
        let spec = &mut template["spec"];
        let claims: Vec<Value> = list(&prepared, "/volumes").to_vec();
        let mut next = claims.iter();
        let mut lost = Vec::new();
        let mut volumes = Vec::new();
        for volume in list(spec, "/volumes") {
            if claim_of(volume).is_empty() {
                volumes.push(volume.clone());
            } else if let Some(made) = next.next() {
                let claim = made["persistentVolumeClaim"].clone();
                volumes.push(json!({"name": volume["name"], "persistentVolumeClaim": claim}));
            } else {
                lost.push(text(volume, "/name").to_owned());
            }
        }
        let kept = |disk: &&Value| !lost.iter().any(|name| name == text(disk, "/name"));
        let disks: Vec<Value> = list(spec, "/domain/devices/disks").iter().filter(kept).cloned().collect();
        let (mut interfaces, mut networks) = (Vec::new(), Vec::new());
        for (index, interface) in list(spec, "/domain/devices/interfaces").iter().enumerate() {
            let named = |all: &'static str, from: &Value, name: &str| {
                list(from, all).iter().find(|n| text(n, "/name") == name).cloned()
            };
            let place = format!("net-{index}");
            let before = named("/networks", spec, text(interface, "/name"));
            let (Some(before), Some(after)) = (before, named("/networks", &prepared, &place)) else { continue };
            if before.get("pod").is_some() != after.get("pod").is_some() {
                continue;
            }
            let mut interface = interface.clone();
            if let Some(made) = named("/domain/devices/interfaces", &prepared, &place) {
                interface["macAddress"] = made["macAddress"].clone();
            }
            let mut network = after;
            network["name"] = before["name"].clone();
            interfaces.push(interface);
            networks.push(network);
        }
        spec["volumes"] = json!(volumes);
        spec["networks"] = json!(networks);
        let domain = &mut spec["domain"];
        domain["devices"]["disks"] = json!(disks);
        domain["devices"]["interfaces"] = json!(interfaces);
        // Equal to the source's, unless a defect is on.
        domain["cpu"] = prepared["domain"]["cpu"].clone();
        domain["memory"] = prepared["domain"]["memory"].clone();
        let bootloader = &prepared["domain"]["firmware"]["bootloader"];
        if bootloader.get("efi").is_some() != domain.pointer("/firmware/bootloader/efi").is_some() {
            domain["firmware"]["bootloader"] = bootloader.clone();
        }
        machine["spec"]["template"] = template;
    }
}

/// The claim that a volume names; empty where it has none.
fn claim_of(volume: &Value) -> &str {
    match text(volume, "/persistentVolumeClaim/claimName") {
        "" => text(volume, "/dataVolume/name"),
        claim => claim,
    }
}

/// A cluster as MTV reads it: everything is asked when it is needed.
struct OpenshiftClient {
    client: Client,
}

impl OpenshiftClient {
    fn vms(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &vm_resource())
    }

    async fn expanded(&self, namespace: &str, name: &str) -> Result<Value, String> {
        let path =
            format!("/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}/expand-spec");
        let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
        self.client.request(request).await.map_err(|e| e.to_string())
    }

    async fn find(&self, id: &str) -> Result<DynamicObject, String> {
        let all = self.vms().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        all.items.into_iter().find(|vm| vm.uid().as_deref() == Some(id)).ok_or_else(|| format!("there is no VM {id}"))
    }
}

/// Everything that is read of a cluster for its VMs.
struct Around {
    classes: Vec<StorageClass>,
    nads: Vec<NetworkAttachmentDefinition>,
    claims: Vec<PersistentVolumeClaim>,
}

#[async_trait]
impl PlatformClient for OpenshiftClient {
    async fn collect(&self) -> Result<Inventory, String> {
        let all = ListParams::default();
        let client = || self.client.clone();
        let (vms, classes, nads, claims) = (
            self.vms(),
            Api::<StorageClass>::all(client()),
            Api::<NetworkAttachmentDefinition>::all(client()),
            Api::<PersistentVolumeClaim>::all(client()),
        );
        let lists = tokio::try_join!(vms.list(&all), classes.list(&all), nads.list(&all), claims.list(&all));
        let (vms, classes, nads, claims) = lists.map_err(|e| e.to_string())?;
        let around = Around { classes: classes.items, nads: nads.items, claims: claims.items };
        let mut inventory = Inventory { product: "OpenShift".to_owned(), ..Inventory::default() };
        for vm in vms.items.iter().filter(|vm| vm.metadata.deletion_timestamp.is_none()) {
            let (namespace, name) = (vm.namespace().unwrap_or_default(), vm.name_any());
            // One that went meanwhile is not there any more.
            let Ok(vm) = self.expanded(&namespace, &name).await else { continue };
            inventory.vms.push(inv_vm(&vm, &around));
        }
        let id = |uid: Option<String>| uid.unwrap_or_default();
        inventory.datastores = around
            .classes
            .iter()
            .map(|c| InvDatastore {
                id: id(c.uid()),
                name: c.name_any(),
                capacity: 0,
                free: 0,
                kind: c.provisioner.clone(),
            })
            .collect();
        inventory.networks = around
            .nads
            .iter()
            .map(|n| InvNetwork {
                id: id(n.uid()),
                name: format!("{}/{}", n.namespace().unwrap_or_default(), n.name_any()),
                kind: "NetworkAttachmentDefinition".to_owned(),
                key: None,
            })
            .collect();
        Ok(inventory)
    }

    /// Whoever asks gets what holds then.
    async fn changed(&self) -> Result<(), String> {
        std::future::pending().await
    }

    async fn power(&self, vm_id: &str, on: bool) -> Result<(), String> {
        let vm = self.find(vm_id).await?;
        let patch = if vm.data.pointer("/spec/running").is_some_and(Value::is_boolean) {
            json!({"spec": {"running": on}})
        } else {
            json!({"spec": {"runStrategy": if on { "Always" } else { "Halted" }}})
        };
        let namespace = vm.namespace().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, &vm_resource());
        let patched = api.patch(&vm.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|e| e.to_string())
    }

    async fn power_state(&self, vm_id: &str) -> Result<bool, String> {
        Ok(is_on(&serde_json::to_value(self.find(vm_id).await?).unwrap_or_default()))
    }

    async fn create_snapshot(&self, vm_id: &str, _: &str) -> Result<String, String> {
        Err(format!("VM {vm_id} is migrated without snapshots"))
    }

    async fn remove_snapshot(&self, vm_id: &str, _: &str) -> Result<(), String> {
        Err(format!("VM {vm_id} is migrated without snapshots"))
    }

    async fn logout(&self) {}
}

/// MTV goes by what is asked for, and by the instance where that leaves it open.
fn is_on(vm: &Value) -> bool {
    match run_strategy(vm).as_str() {
        "Always" | "RerunOnFailure" => true,
        "Halted" => false,
        _ => text(vm, "/status/printableStatus") == "Running",
    }
}

/// Bytes of a quantity in whole or binary units.
fn bytes(quantity: &str) -> u64 {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let unit = units.iter().find_map(|(unit, shift)| Some((quantity.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((quantity, 0));
    number.parse::<u64>().unwrap_or(0) << shift
}

fn inv_disk(index: usize, namespace: &str, claim: &str, around: &Around) -> InvDisk {
    let found = around
        .claims
        .iter()
        .find(|c| c.name_any() == claim && c.namespace().as_deref() == Some(namespace))
        .and_then(|c| c.spec.as_ref());
    let class = found.and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
    let class = around.classes.iter().find(|c| c.name_any() == class).and_then(ResourceExt::uid);
    let size = found.and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage").map(|q| bytes(&q.0)));
    let key = i64::try_from(index).unwrap_or(0);
    InvDisk {
        key,
        unit_number: key,
        controller_key: 0,
        file: format!("{namespace}/{claim}"),
        datastore_id: class.unwrap_or_default(),
        capacity_bytes: size.unwrap_or(0),
        bus: "virtio".to_owned(),
        mode: String::new(),
    }
}

fn inv_vm(vm: &Value, around: &Around) -> InvVm {
    let namespace = text(vm, "/metadata/namespace");
    let spec = vm.pointer("/spec/template/spec").cloned().unwrap_or_default();
    let count = |key: &str| spec.pointer(&format!("/domain/cpu/{key}")).and_then(Value::as_u64).unwrap_or(1).max(1);
    let cores = u32::try_from(count("cores")).unwrap_or(1);
    let sockets = u32::try_from(count("sockets")).unwrap_or(1);
    let claims = list(&spec, "/volumes").iter().map(claim_of).filter(|claim| !claim.is_empty());
    let nics = list(&spec, "/domain/devices/interfaces").iter().enumerate().map(|(index, interface)| {
        let network = list(&spec, "/networks").iter().find(|n| n["name"] == interface["name"]);
        let nad = network.map(|n| text(n, "/multus/networkName")).unwrap_or_default();
        let full = if nad.contains('/') { nad.to_owned() } else { format!("{namespace}/{nad}") };
        let found = around
            .nads
            .iter()
            .find(|n| format!("{}/{}", n.namespace().unwrap_or_default(), n.name_any()) == full)
            .and_then(ResourceExt::uid);
        let key = i64::try_from(index).unwrap_or(0);
        InvNic {
            mac: text(interface, "/macAddress").to_owned(),
            network_id: if nad.is_empty() { POD_NETWORK.to_owned() } else { found.unwrap_or(full) },
            device_key: key,
            order: key,
            connected: true,
        }
    });
    InvVm {
        id: text(vm, "/metadata/uid").to_owned(),
        name: text(vm, "/metadata/name").to_owned(),
        uuid: text(&spec, "/domain/firmware/uuid").to_owned(),
        is_template: false,
        power_on: is_on(vm),
        firmware_efi: spec.pointer("/domain/firmware/bootloader/efi").is_some(),
        secure_boot: spec
            .pointer("/domain/firmware/bootloader/efi")
            .is_some_and(|efi| efi.get("secureBoot").and_then(Value::as_bool).unwrap_or(true)),
        tpm: spec.pointer("/domain/devices/tpm").is_some(),
        cpu_count: sockets * cores,
        cores_per_socket: cores,
        memory_mb: bytes(text(&spec, "/domain/memory/guest")) >> 20,
        guest_id: String::new(),
        guest_name: String::new(),
        host_id: String::new(),
        folder_id: namespace.to_owned(),
        tools_running: false,
        tools_status: String::new(),
        changed_block_tracking: false,
        snapshot_ids: Vec::new(),
        nics: nics.collect(),
        disks: claims.enumerate().map(|(index, claim)| inv_disk(index, namespace, claim, around)).collect(),
        guest_networks: Vec::new(),
        guest_ip: String::new(),
        revision: 1,
        extra: json!({"template": vm.pointer("/spec/template")}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Value {
        json!({"metadata": {"name": "s", "namespace": "src", "uid": "u"}, "spec": {"runStrategy": "Always", "template": {
            "metadata": {"labels": {"own": "label"}},
            "spec": {
                "domain": {"cpu": {"sockets": 2, "cores": 1}, "memory": {"guest": "2Gi"}, "devices": {
                    "disks": [{"name": "root"}, {"name": "c"}],
                    "interfaces": [{"name": "a", "macAddress": "02:1", "masquerade": {}}, {"name": "b", "macAddress": "02:2", "bridge": {}}]}},
                "networks": [{"name": "a", "pod": {}}, {"name": "b", "multus": {"networkName": "src/nad"}}],
                "volumes": [{"name": "root", "dataVolume": {"name": "s"}}, {"name": "c", "cloudInitNoCloud": {"userData": "x"}}]}}}})
    }

    fn shaped(second: Value) -> Value {
        let around = Around { classes: Vec::new(), nads: Vec::new(), claims: Vec::new() };
        let vm = inv_vm(&source(), &around);
        let mut machine = json!({"spec": {"template": {"metadata": {"labels": {"app": "s", "wanted": "x"}}, "spec": {
            "nodeSelector": {"k": "v"},
            "domain": {"cpu": {"sockets": 2, "cores": 1}, "memory": {"guest": "2048Mi"}, "firmware": {"bootloader": {"bios": {}}},
                "devices": {"interfaces": [{"name": "net-0", "macAddress": "02:1"}, {"name": "net-1", "macAddress": "02:2"}]}},
            "networks": [{"name": "net-0", "pod": {}}, second],
            "volumes": [{"name": "vol-0", "persistentVolumeClaim": {"claimName": "new"}}]}}}});
        let version = MtvVersion::parse("2.11").unwrap();
        let settings = std::collections::BTreeMap::new();
        Openshift.shape(&Shape { version, ocp_version: "4.20", settings: &settings }, &vm, &mut machine);
        machine["spec"]["template"].clone()
    }

    #[test]
    fn the_sources_template_replaces_everything_but_claims_and_networks() {
        let template = shaped(json!({"name": "net-1", "multus": {"networkName": "dst/other"}}));
        assert_eq!(template["metadata"]["labels"], json!({"own": "label"}));
        assert!(template["spec"].get("nodeSelector").is_none());
        let volumes = &template["spec"]["volumes"];
        assert_eq!(volumes[0], json!({"name": "root", "persistentVolumeClaim": {"claimName": "new"}}));
        assert_eq!(volumes[1]["cloudInitNoCloud"]["userData"], "x");
        assert_eq!(template["spec"]["networks"][1], json!({"name": "b", "multus": {"networkName": "dst/other"}}));
        assert_eq!(template["spec"]["domain"]["devices"]["interfaces"][1]["macAddress"], "02:2");
    }

    #[test]
    fn an_interface_whose_network_changes_its_type_is_dropped() {
        let template = shaped(json!({"name": "net-1", "pod": {}}));
        assert_eq!(template["spec"]["networks"].as_array().unwrap().len(), 1);
        assert_eq!(template["spec"]["domain"]["devices"]["interfaces"].as_array().unwrap().len(), 1);
    }
}
