//! The Conversions of MTV's own migrations (from 2.12 on), where somebody looks into the lab: one for each virt-v2v pod, and
//! one for the inspection before a warm migration. The walk does the work; these tell of it. Follows `EnsureConversion` and
//! `CreateDeepInspectionConversion` (pkg/controller/plan/kubevirt.go) and the stages of pkg/controller/conversion/pipeline.go
//! at 2.12.5. Those of users are in [`super::conversions`].

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::conditions::{condition, now};
use super::conversions::DEEP;
use super::execute::Walk;
use super::pods::Worker;
use super::{conversions, pods, target, transfers, vddk};
use crate::api::forklift::Conversion;
use crate::controllers::glance;
use crate::controllers::pod_status::{Ended, Stage};

/// virt-v2v copies the disks, too.
const REMOTE: &str = "Remote";
const IN_PLACE: &str = "InPlace";

fn kind() -> ApiResource {
    ApiResource::erase::<Conversion>(&())
}

fn api(walk: &Walk<'_>) -> Api<DynamicObject> {
    let namespace = walk.run.plan.namespace().unwrap_or_default();
    Api::namespaced_with(walk.run.mtv.client.clone(), &namespace, &kind())
}

fn are_made(walk: &Walk<'_>) -> bool {
    walk.run.mtv.version.at_least(12) && transfers::are_left(walk)
}

/// One that is there.
pub(super) struct Made {
    name: String,
    type_: &'static str,
    /// The Secret with which its pod logs in.
    login: String,
}

impl Made {
    async fn create(walk: &Walk<'_>, type_: &'static str, labels: Value, spec: Value, login: String) -> Option<Self> {
        let body = json!({"apiVersion": Conversion::api_version(&()), "kind": Conversion::kind(&()),
            "metadata": {"generateName": prefix(walk), "labels": labels}, "spec": spec});
        let made = api(walk).create(&PostParams::default(), &serde_json::from_value(body).ok()?).await.ok()?;
        let made = Self { name: made.name_any(), type_, login };
        made.tell(walk, running("CreatingPod", "Creating the conversion pod.")).await;
        Some(made)
    }

    pub fn login(&self) -> &str {
        &self.login
    }

    /// By these its pod is found.
    pub fn mark(&self, pod: &mut Value) {
        pod["metadata"]["labels"]["conversion"] = json!(self.name);
        pod["metadata"]["labels"]["conversion-type"] = json!(self.type_);
    }

    /// Its pod works, or works again.
    pub async fn works(&self, walk: &Walk<'_>, pod: &Pod) {
        let mut status = running("PodRunning", "Conversion pod is running.");
        status["pod"] = json!({"namespace": pod.namespace(), "name": pod.name_any()});
        self.tell(walk, status).await;
    }

    pub async fn succeeded(&self, walk: &Walk<'_>) {
        self.tell(walk, succeeded()).await;
    }

    async fn tell(&self, walk: &Walk<'_>, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let _ = glance::patch_status(&api(walk), &self.name, &patch).await;
    }
}

fn running(stage: &str, message: &str) -> Value {
    let mut status = json!({"observedGeneration": 1, "phase": "Running", "stage": stage, "message": message,
        "conditions": [condition("Advisory", "Advisory", "", message)]});
    if stage == "CreatingPod" {
        status["startTime"] = json!(now());
    }
    status
}

fn succeeded() -> Value {
    let message = "The conversion has completed successfully.";
    json!({"phase": "Succeeded", "stage": "Finished", "message": message, "completionTime": now(),
        "conditions": [condition("Ready", "Required", "", message)]})
}

fn prefix(walk: &Walk<'_>) -> String {
    format!("{}-{}-", walk.run.plan.name_any(), walk.vm.id)
}

/// The one for the virt-v2v pod that is about to be made, with the claims that it converts.
pub(super) async fn begin(walk: &Walk<'_>, claims: &[PersistentVolumeClaim]) -> Option<Made> {
    // Up to 2.11, too.
    let secret = transfers::secret(walk, Worker::VirtV2v).await?;
    if !are_made(walk) {
        return None;
    }
    let type_ = if walk.run.path(walk.index, &walk.vm).v2v_transfer { REMOTE } else { IN_PLACE };
    let mut labels = target::labels(walk);
    for (key, value) in [("resource", "vm-config"), ("forklift.app", "virt-v2v"), ("conversion-type", type_)] {
        labels[key] = json!(value);
    }
    let (run, namespace) = (walk.run, &walk.run.plan.spec.target_namespace);
    let disks = claims.iter().enumerate().map(|(index, claim)| {
        let mode = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem");
        let mut disk = json!({"name": claim.name_any(), "namespace": namespace, "volumeMode": mode});
        match mode {
            "Block" => disk["devicePath"] = json!(format!("/dev/block{index}")),
            _ => disk["mountPath"] = json!(format!("/mnt/disks/disk{index}")),
        }
        disk
    });
    let others = json!({"key": "forklift.app", "operator": "In", "values": ["virt-v2v"]});
    let mut spec = json!({
        "type": type_, "targetNamespace": namespace, "vm": {"id": walk.vm.id, "name": walk.vm.name},
        "destination": {"namespace": run.resolved.destination.namespace(), "name": run.resolved.destination.name_any()},
        "disks": disks.collect::<Vec<_>>(), "image": pods::VIRT_V2V, "localMigration": true,
        "connection": {"secret": {"namespace": namespace, "name": secret}},
        "xfsCompatibility": false,
        "podSettings": {"generateName": prefix(walk), "requestKVM": true, "affinity": {"podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {
                "labelSelector": {"matchExpressions": [others]}, "namespaceSelector": {},
                "topologyKey": "kubernetes.io/hostname"}}]}}},
    });
    if run.resolved.kind.copies_by_vddk() {
        spec["settings"] = json!({"V2V_source": "vSphere", "V2V_vmName": walk.vm.name, "V2V_extra_args": "[]",
            "V2V_inspector_extra_args": "[]"});
        if let Some(guest) = walk.guest() {
            spec["settings"]["V2V_HOSTNAME"] = json!(guest.hostname);
        }
        if let Some(image) = vddk::image(&run.mtv, &run.resolved.source).await {
            spec["vddkImage"] = json!(image);
        }
    }
    Made::create(walk, type_, labels, spec, secret).await
}

/// The VM has failed: so has its conversion, if one was on (`podHandler`).
pub(super) async fn fail(walk: &Walk<'_>) {
    if !are_made(walk) {
        return;
    }
    for one in own(walk, Kind::All).await {
        if one.data["status"]["phase"] != "Running" {
            continue;
        }
        let pod = one.data.pointer("/status/pod/name").and_then(Value::as_str);
        if let Some(pod) = pod.filter(|_| one.data["spec"]["type"] == DEEP) {
            let pods: Api<Pod> = Api::namespaced(walk.run.mtv.client.clone(), &one.namespace().unwrap_or_default());
            super::pods::tell(&pods, pod, Stage::Over(&Ended::Badly(String::new()))).await;
        }
        let message = "The conversion has failed: conversion pod failed";
        let status = json!({"phase": "Failed", "message": message, "completionTime": now(),
            "conditions": [condition("ConversionFailed", "Critical", "", message)]});
        let patch = Patch::Merge(json!({"status": status}));
        let _ = glance::patch_status(&api(walk), &one.name_any(), &patch).await;
    }
}

/// The inspection before a warm migration, of its first snapshot.
pub(super) struct Inspection {
    made: Made,
    pod: Option<Pod>,
}

/// Begins it; nothing, where MTV inspects by a pod alone or nobody looks.
pub(super) async fn inspect(walk: &Walk<'_>, snapshot: &str) -> Option<Inspection> {
    if !are_made(walk) {
        return None;
    }
    let (run, plan) = (walk.run, &walk.run.plan);
    let namespace = plan.namespace().unwrap_or_default();
    let mut labels = json!({"vmID": walk.vm.id, "plan": plan.uid(), "conversion-type": DEEP});
    let mut data = transfers::login(walk).await?;
    let url = run.resolved.source.spec.url.clone().into_bytes();
    data.insert("url".to_owned(), k8s_openapi::ByteString(url));
    let mut own = labels.clone();
    own["isConnection"] = json!("true");
    let secret = json!({"type": "Opaque", "data": data,
        "metadata": {"generateName": format!("{}di-", prefix(walk)), "labels": own}});
    let secrets: Api<Secret> = Api::namespaced(run.mtv.client.clone(), &namespace);
    let secret = secrets.create(&PostParams::default(), &serde_json::from_value(secret).ok()?).await.ok()?.name_any();
    let image = vddk::image(&run.mtv, &run.resolved.source).await;
    let spec = json!({
        "type": DEEP, "targetNamespace": namespace, "vm": {"id": walk.vm.id, "name": walk.vm.name}, "destination": {},
        "connection": {"secret": {"namespace": namespace, "name": secret}}, "settings": {"SNAPSHOT_MOREF": snapshot},
        "vddkImage": image, "podSettings": {"requestKVM": true}, "xfsCompatibility": false,
    });
    let made = Made::create(walk, DEEP, labels.clone(), spec, secret.clone()).await?;
    labels["conversion"] = json!(made.name);
    labels["forklift.app"] = json!("deep-inspection");
    let mut body = conversions::pod(&made.name, labels, image.as_deref(), &walk.vm.id, snapshot, &secret);
    super::pods::place(&run.mtv, &mut body).await;
    let pods: Api<Pod> = Api::namespaced(run.mtv.client.clone(), &namespace);
    let pod = match serde_json::from_value(body) {
        Ok(body) => pods.create(&PostParams::default(), &body).await.ok(),
        Err(_) => None,
    };
    if let Some(pod) = &pod {
        super::pods::tell(&pods, &pod.name_any(), Stage::Runs).await;
        made.works(walk, pod).await;
    }
    Some(Inspection { made, pod })
}

impl Inspection {
    /// It has looked: its result is the Conversion's.
    pub async fn end(self, walk: &Walk<'_>, snapshot: &str) {
        let run = walk.run;
        if let Some(pod) = &self.pod {
            let pods: Api<Pod> = Api::namespaced(run.mtv.client.clone(), &pod.namespace().unwrap_or_default());
            super::pods::tell(&pods, &pod.name_any(), Stage::Over(&Ended::Well)).await;
        }
        let mut status = succeeded();
        status["snapshot"] = json!({"moref": snapshot});
        status["inspectionResult"] = json!(conversions::found(&run.mtv, &walk.vm));
        self.made.tell(walk, status).await;
    }
}

/// Which of a VM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    All,
    /// The inspection before a warm migration.
    Inspections,
}

async fn own(walk: &Walk<'_>, kind: Kind) -> Vec<DynamicObject> {
    let mut selector = format!("plan={},vmID={}", walk.run.plan.uid().unwrap_or_default(), walk.vm.id);
    if kind == Kind::Inspections {
        selector = format!("{selector},conversion-type={DEEP}");
    }
    let own = ListParams::default().labels(&selector);
    api(walk).list(&own).await.map(|list| list.items).unwrap_or_default()
}

/// Takes them away, with their pods and Secrets (`DeleteConversion`).
pub(super) async fn clean_up(walk: &Walk<'_>, kind: Kind) {
    // A cold one is inspected by nobody, and what a run before has left goes when the VM begins anew.
    let none = kind == Kind::Inspections && !walk.run.plan.spec.warm;
    if none || !are_made(walk) {
        return;
    }
    for one in own(walk, kind).await {
        remove(&walk.run.mtv.client, &one).await;
    }
}

/// Takes those of an archived Plan away.
pub(super) async fn archived(client: &kube::Client, namespace: &str, plan: &str) {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind());
    let own = ListParams::default().labels(&format!("plan={plan}"));
    for one in api.list(&own).await.into_iter().flat_map(|list| list.items) {
        remove(client, &one).await;
    }
}

/// They are in the cluster where MTV is: of another one there are none.
async fn remove(client: &kube::Client, conversion: &DynamicObject) {
    let namespace = conversion.data["spec"]["targetNamespace"].as_str().unwrap_or_default();
    let label = |key: &str| conversion.labels().get(key).cloned().unwrap_or_default();
    let own =
        ListParams::default().labels(&format!("vmID={},conversion-type={}", label("vmID"), label("conversion-type")));
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for pod in pods.list_metadata(&own).await.into_iter().flat_map(|list| list.items) {
        let _ = pods.delete(&pod.name_any(), &DeleteParams::default()).await;
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let _ = glance::delete_all(&secrets, &DeleteParams::default(), &own).await;
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &conversion.namespace().unwrap_or_default(), &kind());
    let _ = api.delete(&conversion.name_any(), &DeleteParams::default()).await;
}
