//! The DataVolumes of a migration from vSphere, and of a warm one from oVirt, where somebody looks into the lab: the claim
//! is MTV's own here, and CDI finds it filled. No DataVolume belongs to the VM, its claim does (`EnsureVM` in kubevirt.go
//! takes the claims alone). Follows `DataVolumes` and `SetCheckpoints` (pkg/controller/plan/adapter/vsphere and ovirt at
//! 2.12.5): virt-v2v copies into a blank one, else CDI copies off VMware's library or oVirt's ImageIO, a warm one checkpoint by
//! checkpoint. Other sources are copied by populators and by exports, and other clusters are not looked into.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, Patch, PostParams};
use serde_json::{Value, json};

use super::execute::Walk;
use super::pods::Worker;
use super::{transfers, vddk};
use crate::controllers::datavolumes::{copied_mark, resource, succeed};
use crate::controllers::glance;
use crate::inventory::model::InvDisk;

/// Whether this VM has any.
pub(super) fn are_left(walk: &Walk<'_>) -> bool {
    let run = walk.run;
    let warm = run.plan.spec.warm;
    let copied_by_cdi = walk.vm.vsphere().is_some() || (warm && !run.resolved.kind.populates(warm));
    run.mtv.events.is_on() && !run.offloads && run.resolved.destination.spec.url.is_empty() && copied_by_cdi
}

/// Makes the DataVolume of a claim, which belongs to it from then on. A migration goes on without.
pub(super) async fn leave(walk: &Walk<'_>, disk: &InvDisk, claim: &PersistentVolumeClaim) {
    if !are_left(walk) {
        return;
    }
    let namespace = &walk.run.plan.spec.target_namespace;
    let api: Api<DynamicObject> = Api::namespaced_with(walk.run.target.clone(), namespace, &resource("DataVolume"));
    let secret = transfers::secret(walk, Worker::Importer).await;
    let map = transfers::config_map(walk).await;
    let mut body = body(walk, disk, claim);
    log_in(walk, &mut body["spec"]["source"], secret, map).await;
    let Ok(body) = serde_json::from_value(body) else { return };
    let Ok(made) = api.create(&PostParams::default(), &body).await else { return };
    let owner = json!([{"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": made.name_any(),
        "uid": made.uid(), "controller": true, "blockOwnerDeletion": true}]);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(walk.run.target.clone(), namespace);
    let mut annotations = json!({});
    annotations["cdi.kubevirt.io/createdForDataVolume"] = json!(made.uid());
    annotations["cdi.kubevirt.io/storage.contentType"] = json!("kubevirt");
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owner, "annotations": annotations}}));
    let _ = glance::patch(&claims, &claim.name_any(), &patch).await;
}

fn body(walk: &Walk<'_>, disk: &InvDisk, claim: &PersistentVolumeClaim) -> Value {
    let spec = json!(claim.spec);
    let own = |label: &&String| !matches!(label.as_str(), "app" | "lab.mtv-matrix.io/disk-index");
    let mut labels = json!({});
    for label in claim.labels().keys().filter(own) {
        labels[label] = json!(claim.labels().get(label));
    }
    // MTV writes its labels among the annotations, too.
    let mut annotations = labels.clone();
    for (key, value) in claim.annotations().iter().filter(|(key, _)| key.contains("forklift")) {
        annotations[key] = json!(value);
    }
    annotations["cdi.kubevirt.io/storage.deleteAfterCompletion"] = json!("false");
    let provider = &walk.run.resolved.source.spec;
    let source = match walk.vm.vsphere() {
        Some(_) if walk.run.path(walk.index, &walk.vm).v2v_transfer => json!({"blank": {}}),
        Some(own) => json!({"vddk": {
            "backingFile": disk.source, "url": provider.url, "uuid": own.uuid,
        }}),
        None => json!({"imageio": {"diskId": disk.source, "url": provider.url}}),
    };
    let mut body = json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
        "metadata": {"name": claim.name_any(), "generateName": claim.metadata.generate_name, "labels": labels,
            "annotations": annotations},
        "spec": {"source": source, "storage": {
            "resources": spec["resources"], "storageClassName": spec["storageClassName"],
        }},
    });
    if let Some(first) = walk.snapshot.get().filter(|_| walk.run.plan.spec.warm) {
        body["spec"]["checkpoints"] = json!([{"current": first, "previous": ""}]);
        body["spec"]["finalCheckpoint"] = json!(false);
    }
    body
}

/// How its importer reaches the source; a blank one has none.
async fn log_in(walk: &Walk<'_>, source: &mut Value, secret: Option<String>, map: Option<String>) {
    if let Some(vddk) = source.get_mut("vddk") {
        vddk["secretRef"] = json!(secret);
        vddk["initImageURL"] = json!(vddk::image(&walk.run.mtv, &walk.run.resolved.source).await);
    } else if let Some(imageio) = source.get_mut("imageio") {
        imageio["secretRef"] = json!(secret);
        imageio["certConfigMap"] = json!(map);
    }
}

/// The DataVolumes of this VM.
async fn of(walk: &Walk<'_>, api: &Api<DynamicObject>) -> Vec<DynamicObject> {
    let selector = format!("migration={},vmID={}", walk.run.migration.uid().unwrap_or_default(), walk.vm.id);
    api.list(&ListParams::default().labels(&selector)).await.map(|list| list.items).unwrap_or_default()
}

/// Warm: from now on this snapshot is copied, from where `previous` ended. `last`: it is the cutover's.
pub(super) async fn next(walk: &Walk<'_>, previous: &BTreeMap<String, String>, snapshot: &str, last: bool) {
    if !are_left(walk) {
        return;
    }
    let namespace = &walk.run.plan.spec.target_namespace;
    let api: Api<DynamicObject> = Api::namespaced_with(walk.run.target.clone(), namespace, &resource("DataVolume"));
    for dv in of(walk, &api).await {
        let mut checkpoints = dv.data["spec"]["checkpoints"].as_array().cloned().unwrap_or_default();
        let source = dv.annotations().get("forklift.konveyor.io/disk-source").cloned().unwrap_or_default();
        let from = previous.get(&source).cloned().unwrap_or_default();
        checkpoints.push(json!({"current": snapshot, "previous": from}));
        let patch = Patch::Merge(json!({"spec": {"checkpoints": checkpoints, "finalCheckpoint": last}}));
        let _ = glance::patch(&api, &dv.name_any(), &patch).await;
    }
}

/// Warm: where a copy of this snapshot ends. Nothing, where nobody looks.
pub(super) async fn ends_at(walk: &Walk<'_>, snapshot: &str) -> BTreeMap<String, String> {
    if !are_left(walk) {
        return BTreeMap::new();
    }
    walk.run.client.copied_to(&walk.vm, snapshot).await.unwrap_or_default()
}

/// Its disk is copied: CDI says so. A warm one is copied as far as its last checkpoint, which CDI notes on the claim.
pub(super) async fn filled(walk: &Walk<'_>, claim: &str) {
    if !are_left(walk) {
        return;
    }
    let (run, namespace) = (walk.run, &walk.run.plan.spec.target_namespace);
    if !run.plan.spec.warm {
        let _ = succeed(&run.target, namespace, claim, &run.mtv.events).await;
        return;
    }
    let api: Api<DynamicObject> = Api::namespaced_with(run.target.clone(), namespace, &resource("DataVolume"));
    let Ok(dv) = api.get(claim).await else { return };
    let Some(mark) = copied_mark(&dv.data) else { return };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(run.target.clone(), namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {mark: "true"}}}));
    let _ = glance::patch(&claims, claim, &patch).await;
}
