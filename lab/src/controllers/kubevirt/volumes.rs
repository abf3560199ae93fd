//! The DataVolumes that a VM's `dataVolumeTemplates` ask for, and where a VM's volumes stand.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

use super::json::{list, text};
use super::vm::{self, Claims};

/// `DataVolume`, typed by name only.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cdi.kubevirt.io", "v1beta1", "DataVolume"))
}

/// The DataVolume of a template, owned by its VM.
fn render(vm: &Value, template: &Value) -> Value {
    let mut object = template.clone();
    object["apiVersion"] = json!("cdi.kubevirt.io/v1beta1");
    object["kind"] = json!("DataVolume");
    object["metadata"]["namespace"] = vm["metadata"]["namespace"].clone();
    object["metadata"]["labels"]["kubevirt.io/created-by"] = vm["metadata"]["uid"].clone();
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "name": vm["metadata"]["name"], "uid": vm["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}]);
    object
}

/// Creates what is missing. A template whose claim exists already asks for nothing.
pub async fn ensure(client: &Client, vm: &Value) -> Result<(), kube::Error> {
    let namespace = text(vm, "/metadata/namespace");
    for template in list(vm, "/spec/dataVolumeTemplates") {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource());
        let name = text(template, "/metadata/name");
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
        if api.get_opt(name).await?.is_some() || claims.get_opt(name).await?.is_some() {
            continue;
        }
        let object = serde_json::from_value(render(vm, template)).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// The first claim of a pod spec's volumes that not every node may mount at once.
pub async fn tied_by(client: &Client, namespace: &str, spec: &Value) -> Result<Option<String>, kube::Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    for name in vm::claim_names(spec) {
        let claim = api.get_opt(&name).await?;
        let modes = claim.and_then(|claim| claim.spec?.access_modes).unwrap_or_default();
        if !modes.iter().any(|mode| mode == "ReadWriteMany") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Where the volumes that a pod spec names stand: a DataVolume first has to be filled, then its
/// claim counts like any other. The worst of them speaks for all.
pub async fn claims(client: &Client, namespace: &str, spec: &Value) -> Result<Claims, kube::Error> {
    for volume in list(spec, "/volumes") {
        let name = text(volume, "/dataVolume/name");
        if name.is_empty() {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource());
        // One that is gone was collected after it was filled; its claim tells.
        if api.get_opt(name).await?.is_some_and(|dv| text(&super::value(&dv), "/status/phase") != "Succeeded") {
            return Ok(Claims::Provisioning);
        }
    }
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let mut worst = Claims::Bound;
    for name in vm::claim_names(spec) {
        match api.get_opt(&name).await? {
            None => return Ok(Claims::Missing),
            Some(claim) if claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound") => {
                worst = Claims::Unbound
            }
            Some(_) => {}
        }
    }
    Ok(worst)
}
