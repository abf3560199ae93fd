//! The DataVolumes of a cold migration from vSphere, where somebody looks into the lab: the claim is MTV's own here, and
//! CDI finds it filled. No DataVolume belongs to the VM, its claim does (`EnsureVM` in kubevirt.go takes the claims alone). Follows `DataVolumes` (pkg/controller/plan/adapter/vsphere/builder.go at 2.12.5): virt-v2v copies
//! into a blank one, else CDI copies off VMware's library. Warm migrations, other sources and other clusters have none.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::execute::Walk;
use crate::controllers::datavolumes::{resource, succeed};
use crate::inventory::model::InvDisk;

/// Whether this VM has any.
pub(super) fn are_left(walk: &Walk<'_>) -> bool {
    let run = walk.run;
    run.mtv.events.is_on()
        && !run.plan.spec.warm
        && !run.offloads
        && run.resolved.destination.spec.url.is_empty()
        && walk.vm.vsphere().is_some()
}

/// Makes the DataVolume of a claim, which belongs to it from then on. A migration goes on without.
pub(super) async fn leave(walk: &Walk<'_>, disk: &InvDisk, claim: &PersistentVolumeClaim) {
    if !are_left(walk) {
        return;
    }
    let namespace = &walk.run.plan.spec.target_namespace;
    let api: Api<DynamicObject> = Api::namespaced_with(walk.run.target.clone(), namespace, &resource("DataVolume"));
    let Ok(body) = serde_json::from_value(body(walk, disk, claim)) else { return };
    let Ok(made) = api.create(&PostParams::default(), &body).await else { return };
    let owner = json!([{"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": made.name_any(),
        "uid": made.uid(), "controller": true, "blockOwnerDeletion": true}]);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(walk.run.target.clone(), namespace);
    let mut annotations = json!({});
    annotations["cdi.kubevirt.io/createdForDataVolume"] = json!(made.uid());
    annotations["cdi.kubevirt.io/storage.contentType"] = json!("kubevirt");
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owner, "annotations": annotations}}));
    let _ = claims.patch(&claim.name_any(), &PatchParams::default(), &patch).await;
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
    let source = match walk.run.path(walk.index, &walk.vm).v2v_transfer {
        true => json!({"blank": {}}),
        false => json!({"vddk": {
            "backingFile": disk.source, "url": walk.run.resolved.source.spec.url,
            "uuid": walk.vm.vsphere().map(|own| own.uuid.clone()),
            "secretRef": walk.run.resolved.source.spec.secret.name,
        }}),
    };
    json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
        "metadata": {"name": claim.name_any(), "generateName": claim.metadata.generate_name, "labels": labels,
            "annotations": annotations},
        "spec": {"source": source, "storage": {
            "resources": spec["resources"], "storageClassName": spec["storageClassName"],
        }},
    })
}

/// Its disk is copied: CDI says so.
pub(super) async fn filled(walk: &Walk<'_>, claim: &str) {
    if are_left(walk) {
        let (run, namespace) = (walk.run, &walk.run.plan.spec.target_namespace);
        let _ = succeed(&run.target, namespace, claim, &run.mtv.events).await;
    }
}
