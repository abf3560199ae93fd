//! The simulated CDI: a DataVolume gets a claim of its own and is filled after a while.
//!
//! Clones of a DataSource only, which is what VMs are made from. Size, class and modes are resolved
//! as CDI does (cluster.md §3.2 to §3.5).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use serde_json::{Value, json};

use super::storage::{StorageOptions, retry, tolerate};
use crate::api::cdi::StorageProfile;

/// Simulated time of a clone.
const CLONE: Duration = Duration::from_secs(60);

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cdi.kubevirt.io", "v1beta1", kind))
}

/// Runs until it is dropped.
pub(super) async fn run(options: Arc<StorageOptions>) {
    let (client, own) = (options.client.clone(), resource("DataVolume"));
    Controller::new_with(Api::<DynamicObject>::all_with(client.clone(), &own), watcher::Config::default(), own)
        .owns(Api::<PersistentVolumeClaim>::all(client), watcher::Config::default())
        .run(fill, |_, error: &kube::Error, _| retry(error), options)
        .for_each(|_| async {})
        .await;
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn condition(kind: &str, status: bool, reason: &str, message: &str) -> Value {
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"type": kind, "status": if status { "True" } else { "False" }, "reason": reason, "message": message,
        "lastTransitionTime": at, "lastHeartbeatTime": at})
}

async fn write(
    api: &Api<DynamicObject>,
    dv: &DynamicObject,
    phase: &str,
    why: Option<&str>,
) -> Result<(), kube::Error> {
    if text(&dv.data, "/status/phase") == phase {
        return Ok(());
    }
    let done = phase == "Succeeded";
    let bound = match why {
        Some(why) => condition("Bound", false, "Pending", why),
        None => condition("Bound", true, "Bound", &format!("PVC {} Bound", dv.name_any())),
    };
    let status = json!({"phase": phase, "claimName": dv.name_any(), "progress": if done { "100.0%" } else { "N/A" },
        "conditions": [bound, condition("Ready", done, "", ""), condition("Running", false, if done { "Completed" } else { "" }, "")]});
    let patch = Patch::Merge(json!({"status": status}));
    tolerate(api.patch_status(&dv.name_any(), &PatchParams::default(), &patch).await, 404)
}

async fn fill(dv: Arc<DynamicObject>, options: Arc<StorageOptions>) -> Result<Action, kube::Error> {
    let (client, namespace, name) = (&options.client, dv.namespace().unwrap_or_default(), dv.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource("DataVolume"));
    if dv.metadata.deletion_timestamp.is_some() || text(&dv.data, "/status/phase") == "Succeeded" {
        return Ok(Action::await_change());
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let Some(claim) = claims.get_opt(&name).await? else {
        let sources: Api<DynamicObject> = Api::namespaced_with(
            client.clone(),
            match text(&dv.data, "/spec/sourceRef/namespace") {
                "" => namespace.as_str(),
                other => other,
            },
            &resource("DataSource"),
        );
        let source = text(&dv.data, "/spec/sourceRef/name");
        if source.is_empty() || sources.get_opt(source).await?.is_none() {
            let why = format!("DataSource {source} not found");
            write(&api, &dv, "Pending", Some(&why)).await?;
            return Ok(Action::requeue(options.clock.real(CLONE)));
        }
        let claim = serde_json::from_value(claim(&options, &dv).await?).map_err(kube::Error::SerdeError)?;
        tolerate(claims.create(&PostParams::default(), &claim).await, 409)?;
        write(&api, &dv, "CloneScheduled", Some("PVC is Pending")).await?;
        return Ok(Action::await_change());
    };
    if claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound") {
        return Ok(Action::await_change());
    }
    if text(&dv.data, "/status/phase") != "CloneInProgress" {
        write(&api, &dv, "CloneInProgress", None).await?;
        return Ok(Action::await_change());
    }
    let begun = text(&dv.data, "/status/conditions/0/lastTransitionTime").parse::<jiff::Timestamp>();
    let age = begun.map(|at| jiff::Timestamp::now().duration_since(at).unsigned_abs()).unwrap_or_default();
    match options.clock.real(CLONE).checked_sub(age).filter(|left| !left.is_zero()) {
        Some(left) => Ok(Action::requeue(left)),
        None => {
            write(&api, &dv, "Succeeded", None).await?;
            Ok(Action::await_change())
        }
    }
}

/// The claim of a DataVolume: class by default, modes by the StorageProfile, where `storage` names none.
async fn claim(options: &StorageOptions, dv: &DynamicObject) -> Result<Value, kube::Error> {
    let part = if dv.data.pointer("/spec/storage").is_some() { "storage" } else { "pvc" };
    let at = |pointer: &str| dv.data.pointer(&format!("/spec/{part}/{pointer}")).cloned();
    let class = match at("storageClassName") {
        Some(class) => class.as_str().unwrap_or_default().to_owned(),
        None => default_class(options).await?,
    };
    let profiles: Api<StorageProfile> = Api::all(options.client.clone());
    let profile = profiles.get_opt(&class).await?;
    let own = profile.as_ref().map(|p| p.spec.claim_property_sets.clone()).unwrap_or_default();
    let told = profile.and_then(|p| p.status).map(|s| s.claim_property_sets).unwrap_or_default();
    let set = own.into_iter().chain(told).next().unwrap_or_default();
    let labels = dv.labels().iter().map(|(k, v)| (k.clone(), json!(v)));
    let mut labels: serde_json::Map<String, Value> = labels.collect();
    labels.insert("app".to_owned(), json!("containerized-data-importer"));
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": dv.name_any(), "namespace": dv.namespace(), "labels": labels,
            "annotations": {"cdi.kubevirt.io/storage.contentType": "kubevirt", "cdi.kubevirt.io/createdForDataVolume": dv.uid()},
            "ownerReferences": [{"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": dv.name_any(),
                "uid": dv.uid(), "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "storageClassName": class,
            "accessModes": at("accessModes").unwrap_or_else(|| json!(set.access_modes)),
            "volumeMode": at("volumeMode").unwrap_or_else(|| json!(set.volume_mode)),
            "resources": at("resources"),
        },
    }))
}

/// The default for VMs, else the cluster's.
async fn default_class(options: &StorageOptions) -> Result<String, kube::Error> {
    let classes = Api::<StorageClass>::all(options.client.clone()).list(&ListParams::default()).await?.items;
    let marked = |key: &str| {
        classes.iter().find(|c| c.annotations().get(key).is_some_and(|v| v == "true")).map(ResourceExt::name_any)
    };
    let virt = marked("storageclass.kubevirt.io/is-default-virt-class");
    Ok(virt.or_else(|| marked("storageclass.kubernetes.io/is-default-class")).unwrap_or_default())
}
