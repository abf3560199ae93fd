//! The objects that tell Forklift's populators what to copy, of cold migrations from oVirt and OpenStack, where somebody looks
//! into the lab: its MTV fills the claims itself. Follows `createVolumePopulatorCR` (pkg/controller/plan/adapter/ovirt and
//! openstack at 2.12.5). Those that have an array copy are in [`super::offload`].

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::again::Before;
use super::execute::Walk;
use super::pods::Worker;
use super::transfers;
use crate::api::forklift::Plan;

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("forklift.konveyor.io", "v1beta1", kind))
}

fn api(walk: &Walk<'_>, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(walk.run.target.clone(), &walk.run.plan.spec.target_namespace, &resource(kind))
}

/// What is copied: a disk of oVirt's, or the image of a volume.
fn spec(walk: &Walk<'_>, kind: &str, source: &str, secret: &str) -> Value {
    let provider = &walk.run.resolved.source.spec.url;
    if kind == OVIRT {
        let engine = url::Url::parse(provider).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        json!({"diskId": source, "engineSecretName": secret, "engineUrl": engine})
    } else {
        json!({"identityUrl": provider, "imageId": source, "secretName": secret})
    }
}

pub(super) const OVIRT: &str = "OvirtVolumePopulator";
pub(super) const OPENSTACK: &str = "OpenstackVolumePopulator";

/// Makes the populator of a claim that is about to be made, and points the claim to it. `named`: how the populator's name
/// begins; `source`: what it copies, as the platform calls it. The claim goes without, where there is none.
pub(super) async fn leave(walk: &Walk<'_>, claim: &mut Value, named: &str, source: &str) {
    let Some(kind) = walk.run.resolved.kind.populator(walk.run.plan.spec.warm) else { return };
    let Some(secret) = transfers::secret(walk, Worker::Populator).await else { return };
    let mut labels = json!({"migration": walk.run.migration.uid(), "vmID": walk.vm.id});
    if walk.run.mtv.version.at_least(12) {
        labels["plan"] = json!(walk.run.plan.uid());
    }
    if let Some(label) = walk.run.resolved.kind.disk_label() {
        labels[label] = json!(source);
    }
    let body = json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": kind,
        "metadata": {"generateName": format!("{named}-"), "labels": labels},
        "spec": spec(walk, kind, source, &secret)});
    let Ok(body) = serde_json::from_value(body) else { return };
    let api = api(walk, kind);
    let Ok(made) = api.create(&PostParams::default(), &body).await else { return };
    let name = made.name_any();
    told(&api, &name, "").await;
    claim["spec"]["dataSourceRef"] = json!({"apiGroup": "forklift.konveyor.io", "kind": kind, "name": name});
}

/// The VM is made: the populator goes with the claim from now on (`SetPopulatorCrOwnership`).
pub(super) async fn belongs_to(walk: &Walk<'_>, claim: &PersistentVolumeClaim) {
    let Some((kind, name)) = of(walk, claim) else { return };
    let owner =
        json!([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name_any(), "uid": claim.uid()}]);
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owner}}));
    let _ = api(walk, kind).patch(&name, &PatchParams::default(), &patch).await;
}

/// So much of the claim is filled, of a hundred.
pub(super) async fn copied(walk: &Walk<'_>, claim: &PersistentVolumeClaim, percent: u32) {
    if let Some((kind, name)) = of(walk, claim) {
        told(&api(walk, kind), &name, &percent.to_string()).await;
    }
}

/// The VM has ended: those of it that are left are taken away.
pub(super) async fn clean_up(walk: &Walk<'_>) {
    let Some(kind) = walk.run.resolved.kind.populator(walk.run.plan.spec.warm) else { return };
    if !transfers::are_left(walk) {
        return;
    }
    let selector = format!("migration={},vmID={}", walk.run.migration.uid().unwrap_or_default(), walk.vm.id);
    let own = kube::api::ListParams::default().labels(&selector);
    let _ = api(walk, kind).delete_collection(&DeleteParams::default(), &own).await;
}

/// Those of an archived Plan's last migration go (`DeletePopulatorDataSource`): of VMs that failed they are still there.
pub(super) async fn archived(client: &kube::Client, plan: &Plan) {
    let Some(migration) = Before::of(plan).migration else { return };
    let own = kube::api::ListParams::default().labels(&format!("migration={migration},vmID"));
    for kind in [OVIRT, OPENSTACK] {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &plan.spec.target_namespace, &resource(kind));
        let _ = api.delete_collection(&DeleteParams::default(), &own).await;
    }
}

/// Kind and name of what fills the claim.
fn of(walk: &Walk<'_>, claim: &PersistentVolumeClaim) -> Option<(&'static str, String)> {
    let kind = walk.run.resolved.kind.populator(walk.run.plan.spec.warm)?;
    let told = claim.spec.as_ref()?.data_source_ref.as_ref().filter(|of| of.kind == kind)?;
    Some((kind, told.name.clone()))
}

/// Their controller reads the pods' metrics. These kinds have no `/status`.
async fn told(api: &Api<DynamicObject>, name: &str, progress: &str) {
    let patch = Patch::Merge(json!({"status": {"progress": progress}}));
    if let Err(error) = api.patch(name, &PatchParams::default(), &patch).await {
        tracing::debug!(name, %error, "a populator's progress was not told");
    }
}
