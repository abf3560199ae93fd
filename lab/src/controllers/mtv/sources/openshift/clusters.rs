//! Clients of the clusters that OpenShift Providers mean: a connection is made once for each login.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::api::forklift::Provider;
use crate::controllers::mtv::platform::Login;
use crate::controllers::mtv::provider;
use crate::controllers::said;
use crate::ports::LiveInventory;

/// The cluster that MTV runs on, and those that it has logged in to.
#[derive(Clone)]
pub(crate) struct Clusters {
    own: Client,
    others: Arc<Mutex<Vec<(Login, Client)>>>,
}

impl Clusters {
    pub(crate) fn new(own: Client) -> Self {
        Self { own, others: Arc::default() }
    }

    /// A client of the cluster that a Provider means.
    pub(crate) async fn of(&self, provider: &Provider) -> Result<Client, String> {
        if provider.spec.url.is_empty() {
            return Ok(self.own.clone());
        }
        let name = provider.spec.secret.name.clone().unwrap_or_default();
        let namespace = provider.spec.secret.namespace.clone().or_else(|| provider.namespace()).unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.own.clone(), &namespace);
        let secret = secrets.get(&name).await.map_err(said::by)?;
        self.by_login(&provider::login(provider, &secret.data.unwrap_or_default()))
    }

    /// Likewise, by what a Provider and its Secret say; no URL: the own one.
    pub(super) fn by_login(&self, login: &Login) -> Result<Client, String> {
        if login.url.is_empty() {
            return Ok(self.own.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = others.iter().find(|(known, _)| known == login) {
            return Ok(client.clone());
        }
        let client = build(login)?;
        others.push((login.clone(), client.clone()));
        Ok(client)
    }
}

fn build(login: &Login) -> Result<Client, String> {
    use rustls_pki_types::pem::PemObject as _;
    let url = login.url.trim_end_matches('/').parse().map_err(|e| format!("{} is not a URL: {e}", login.url))?;
    let mut config = kube::Config::new(url);
    let agent = http::HeaderValue::from_static(crate::faults::OWN_AGENT);
    config.headers.push((http::header::USER_AGENT, agent));
    config.accept_invalid_certs = login.insecure;
    if let Some(pem) = &login.ca_pem {
        let roots: Result<Vec<Vec<u8>>, _> =
            rustls_pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).map(|c| c.map(|c| c.to_vec())).collect();
        config.root_cert = Some(roots.map_err(|e| e.to_string())?);
    }
    config.auth_info.token = Some(login.secret("token").to_owned().into());
    Client::try_from(config).map_err(|e| e.to_string())
}

/// Kinds that the inventory shows of a cluster: collection, group, version, kind, plural.
const KINDS: [(&str, &str, &str, &str, &str); 9] = [
    ("namespaces", "", "v1", "Namespace", "namespaces"),
    ("storageclasses", "storage.k8s.io", "v1", "StorageClass", "storageclasses"),
    (
        "networkattachmentdefinitions",
        "k8s.cni.cncf.io",
        "v1",
        "NetworkAttachmentDefinition",
        "network-attachment-definitions",
    ),
    ("vms", "kubevirt.io", "v1", "VirtualMachine", "virtualmachines"),
    ("persistentvolumeclaims", "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("datavolumes", "cdi.kubevirt.io", "v1beta1", "DataVolume", "datavolumes"),
    ("kubevirts", "kubevirt.io", "v1", "KubeVirt", "kubevirts"),
    (
        "instancetypes",
        "instancetype.kubevirt.io",
        "v1beta1",
        "VirtualMachineInstancetype",
        "virtualmachineinstancetypes",
    ),
    (
        "clusterinstancetypes",
        "instancetype.kubevirt.io",
        "v1beta1",
        "VirtualMachineClusterInstancetype",
        "virtualmachineclusterinstancetypes",
    ),
];

#[async_trait]
impl LiveInventory for Clusters {
    async fn collection(&self, provider: &Value, name: &str) -> Option<Vec<Value>> {
        let provider: Provider = serde_json::from_value(provider.clone()).ok()?;
        let client = self.of(&provider).await.ok()?;
        let Some((_, group, version, kind, plural)) = KINDS.iter().find(|(collection, ..)| *collection == name) else {
            return Some(Vec::new());
        };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let Ok(list) = api.list(&ListParams::default()).await else { return Some(Vec::new()) };
        // A VM that runs is shown with what runs.
        let mut running = Vec::new();
        if name == "vms" {
            let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("kubevirt.io", "v1", "VirtualMachineInstance"));
            let api: Api<DynamicObject> = Api::all_with(api.into_client(), &kind);
            running = api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        }
        let uid = provider.uid().unwrap_or_default();
        let item = |object: DynamicObject| {
            let id = object.metadata.uid.clone().unwrap_or_default();
            let same = |one: &&DynamicObject| {
                (&one.metadata.namespace, &one.metadata.name) == (&object.metadata.namespace, &object.metadata.name)
            };
            let instance = running.iter().find(same).map(|found| json!(found));
            let mut shown = json!({
                "uid": id, "id": id, "version": object.metadata.resource_version,
                "namespace": object.metadata.namespace.clone().unwrap_or_default(), "name": object.metadata.name,
                "selfLink": format!("providers/openshift/{uid}/{name}/{id}"), "object": object,
            });
            if let Some(instance) = instance {
                shown["instance"] = instance;
            }
            shown
        };
        Some(list.items.into_iter().map(item).collect())
    }
}
