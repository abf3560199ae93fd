//! The objects that tell Forklift's populators what to copy, of cold migrations from oVirt and OpenStack, where somebody looks
//! into the lab: its MTV fills the claims itself. Follows `createVolumePopulatorCR` (pkg/controller/plan/adapter/ovirt and
//! openstack at 2.12.5). Those that have an array copy are in [`super::offload`].

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PostParams};
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::again::Before;
use super::execute::Walk;
use super::offload::log::Log;
use super::offload::populator::TELLS;
use super::pods::Worker;
use super::{offload, target, transfers};
use crate::api::forklift::Plan;
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::glance;
use crate::controllers::pod_status::{self, Ended, Stage};

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
    let _ = glance::patch(&api(walk, kind), &name, &patch).await;
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

/// The pod that fills a claim, by its name.
pub(super) fn pod_of(claim: &PersistentVolumeClaim) -> String {
    format!("{POD}{}", claim.uid().unwrap_or_default())
}

/// How the names of populators' pods begin (`populatorPodPrefix`, pkg/lib-volume-populator).
const POD: &str = "populate-";

fn pods(walk: &Walk<'_>) -> Api<Pod> {
    Api::namespaced(walk.run.target.clone(), &walk.run.plan.spec.target_namespace)
}

/// The claims that this Migration has made; those that one resumes with are another's.
async fn claims(walk: &Walk<'_>) -> Vec<PersistentVolumeClaim> {
    let own = walk.run.migration.uid();
    let mut all = target::own_volumes(walk).await.unwrap_or_default();
    all.retain(|claim| claim.labels().get("migration") == own.as_ref());
    all
}

/// Whether pods of populators are there when their VM has ended.
fn leave_pods(walk: &Walk<'_>) -> bool {
    let run = walk.run;
    run.offloads || run.mtv.events.is_on() && run.resolved.kind.populates(run.plan.spec.warm)
}

/// One has begun: their controller says so of the claim, and that it reads the pod's metrics (a warning, as it has it).
pub(super) async fn began(walk: &Walk<'_>, claim: &PersistentVolumeClaim, pod: &Pod) {
    let events = &walk.run.mtv.events;
    events.normal(&claim.object_ref(&()), TELLS, "PopulatorCreated", "Populator started").await;
    let reads = format!("Starting to monitor progress for PVC {}", claim.name_any());
    events.warning(&pod.object_ref(&()), TELLS, "PopulatorProgress", &reads).await;
}

/// One has filled its claim. Its pod stays: their controller takes only its own claim away (`syncPvc`).
pub(super) async fn filled(walk: &Walk<'_>, claim: &PersistentVolumeClaim) {
    super::pods::tell(&pods(walk), &pod_of(claim), Stage::Over(&Ended::Well)).await;
    walk.run.mtv.events.normal(&claim.object_ref(&()), TELLS, "PopulatorFinished", "Populator finished").await;
}

/// The VM has failed while they worked: they say so, and stay to be read.
pub(super) async fn fail(walk: &Walk<'_>, reason: &str) {
    if !leave_pods(walk) {
        return;
    }
    let pods = pods(walk);
    for claim in claims(walk).await {
        let Ok(Some(pod)) = pods.get_opt(&pod_of(&claim)).await else { continue };
        if pod_status::is_over(&pod) {
            continue;
        }
        let mut log = Log::new("", "");
        log.fatal(reason);
        let text = pod.annotations().get(LOG_ANNOTATION).cloned().unwrap_or_default() + log.text();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {LOG_ANNOTATION: text}}}));
        let _ = glance::patch(&pods, &pod.name_any(), &patch).await;
        super::pods::tell(&pods, &pod.name_any(), Stage::Over(&Ended::Badly(String::new()))).await;
    }
}

/// The VM has arrived (from 2.12 on), or is canceled: their pods go, unless they are to be kept (`DeletePopulatorPods`).
/// Of one that failed nobody takes them.
pub(super) async fn remove_pods(walk: &Walk<'_>) {
    if !leave_pods(walk) || walk.run.mtv.switch("controller_retain_populator_pods", false).await {
        return;
    }
    let pods = pods(walk);
    for claim in claims(walk).await {
        let _ = pods.delete(&pod_of(&claim), &DeleteParams::default().grace_period(0)).await;
    }
}

/// Those of an archived Plan's last migration go (`DeletePopulatorDataSource`, `DeletePopulatorPods`): of VMs that failed
/// they are still there, up to 2.11 of all.
pub(super) async fn archived(client: &kube::Client, plan: &Plan) {
    let Some(migration) = Before::of(plan).migration else { return };
    let namespace = &plan.spec.target_namespace;
    let own = ListParams::default().labels(&format!("migration={migration},vmID"));
    for resource in [resource(OVIRT), resource(OPENSTACK), offload::resource()] {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        target::delete_each(&api, &own, &DeleteParams::default()).await;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    // Up to 2.11 their pods bear no VM's id.
    let own = ListParams::default().labels(&format!("migration={migration}"));
    for pod in pods.list_metadata(&own).await.into_iter().flat_map(|list| list.items) {
        if pod.name_any().starts_with(POD) {
            let _ = pods.delete(&pod.name_any(), &DeleteParams::default()).await;
        }
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
    if let Err(error) = glance::patch(api, name, &patch).await {
        tracing::debug!(name, %error, "a populator's progress was not told");
    }
}
