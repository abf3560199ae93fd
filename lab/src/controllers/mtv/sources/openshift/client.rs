//! The lab's MTV as a client of a source cluster: its VMs as KubeVirt's export writes them down.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::claim_of;
use crate::api::multus::NetworkAttachmentDefinition;
use crate::api::quantity;
use crate::controllers::kubevirt::json::{list, text};
use crate::controllers::kubevirt::{vm::run_strategy, vm_resource};
use crate::controllers::mtv::platform::PlatformClient;
use crate::controllers::said;
use crate::inventory::model::{InvDatastore, InvDisk, InvNetwork, InvNic, InvVm, Inventory, POD_NETWORK};
use crate::inventory::own::{OpenshiftVm, OwnDisk, OwnVm};

/// A cluster as MTV reads it: everything is asked when it is needed.
pub(super) struct OpenshiftClient {
    client: Client,
}

impl OpenshiftClient {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    fn vms(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &vm_resource())
    }

    fn expanded<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        async move {
            let path =
                format!("/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}/expand-spec");
            let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
            self.client.request(request).await.map_err(said::by)
        }
        .boxed()
    }

    fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<DynamicObject, String>> {
        async move {
            let all = self.vms().list(&ListParams::default()).await.map_err(said::by)?;
            all.items
                .into_iter()
                .find(|vm| vm.uid().as_deref() == Some(id))
                .ok_or_else(|| format!("there is no VM {id}"))
        }
        .boxed()
    }
}

/// Everything that is read of a cluster for its VMs.
#[derive(Default)]
pub(super) struct Around {
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
        let (vms, classes, nads, claims) = lists.map_err(said::by)?;
        let around = Around { classes: classes.items, nads: nads.items, claims: claims.items };
        let mut inventory = Inventory::default();
        for vm in vms.items.iter().filter(|vm| vm.metadata.deletion_timestamp.is_none()) {
            let (namespace, name) = (vm.namespace().unwrap_or_default(), vm.name_any());
            // One that went meanwhile is not there any more.
            let Ok(vm) = self.expanded(&namespace, &name).await else { continue };
            inventory.vms.push(Arc::new(inv_vm(&vm, &around)));
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
    async fn changed(&self) -> Result<bool, String> {
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
        patched.map(drop).map_err(said::by)
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

/// What can't be read is nothing.
fn bytes(text: &str) -> u64 {
    quantity::bytes(text).unwrap_or_default()
}

fn inv_disk(namespace: &str, claim: &str, around: &Around) -> InvDisk {
    let found = around
        .claims
        .iter()
        .find(|c| c.name_any() == claim && c.namespace().as_deref() == Some(namespace))
        .and_then(|c| c.spec.as_ref());
    let class = found.and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
    let class = around.classes.iter().find(|c| c.name_any() == class).and_then(ResourceExt::uid);
    let size = found.and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage").map(|q| bytes(&q.0)));
    InvDisk {
        source: format!("{namespace}/{claim}"),
        storage_id: class.unwrap_or_default(),
        capacity_bytes: size.unwrap_or(0),
        own: OwnDisk::Nothing,
    }
}

pub(super) fn inv_vm(vm: &Value, around: &Around) -> InvVm {
    let namespace = text(vm, "/metadata/namespace");
    let spec = vm.pointer("/spec/template/spec").cloned().unwrap_or_default();
    let count = |key: &str| spec.pointer(&format!("/domain/cpu/{key}")).and_then(Value::as_u64).unwrap_or(1).max(1);
    let cores = u32::try_from(count("cores")).unwrap_or(1);
    let sockets = u32::try_from(count("sockets")).unwrap_or(1);
    let claims = list(&spec, "/volumes").iter().map(claim_of).filter(|claim| !claim.is_empty());
    let nics = list(&spec, "/domain/devices/interfaces").iter().map(|interface| {
        let network = list(&spec, "/networks").iter().find(|n| n["name"] == interface["name"]);
        let nad = network.map(|n| text(n, "/multus/networkName")).unwrap_or_default();
        let full = if nad.contains('/') { nad.to_owned() } else { format!("{namespace}/{nad}") };
        let found = around
            .nads
            .iter()
            .find(|n| format!("{}/{}", n.namespace().unwrap_or_default(), n.name_any()) == full)
            .and_then(ResourceExt::uid);
        InvNic {
            mac: text(interface, "/macAddress").to_owned(),
            network_id: if nad.is_empty() { POD_NETWORK.to_owned() } else { found.unwrap_or(full) },
            vsphere: None,
        }
    });
    InvVm {
        id: text(vm, "/metadata/uid").to_owned(),
        name: text(vm, "/metadata/name").to_owned(),
        power_on: is_on(vm),
        firmware_efi: spec.pointer("/domain/firmware/bootloader/efi").is_some(),
        secure_boot: spec
            .pointer("/domain/firmware/bootloader/efi")
            .is_some_and(|efi| efi.get("secureBoot").and_then(Value::as_bool).unwrap_or(true)),
        tpm: spec.pointer("/domain/devices/tpm").is_some(),
        cpu_count: sockets * cores,
        cores_per_socket: cores,
        memory_mb: bytes(text(&spec, "/domain/memory/guest")) >> 20,
        nics: nics.collect(),
        disks: claims.map(|claim| inv_disk(namespace, claim, around)).collect(),
        own: OwnVm::Openshift(OpenshiftVm { template: vm.pointer("/spec/template").cloned().unwrap_or_default() }),
        ..InvVm::default()
    }
}
