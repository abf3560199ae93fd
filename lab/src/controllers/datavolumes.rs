//! The simulated CDI: a DataVolume gets a claim of its own and is filled after a while.
//!
//! Clones of a DataSource are what VMs are made from; blank disks and imports, in one go or by
//! checkpoints, are what MTV copies with; uploads come from outside ([`super::uploads`]). Size, class and modes are resolved as CDI does (cluster.md
//! §3.2 to §3.5). Nothing is read from a source: the time passes, and the status tells of it. Only an
//! HTTP source is asked whether it would give anything ([`super::http_source`]).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::copiers::{Copier, SHORTEST, Who};
use super::storage::{StorageOptions, retry, tolerate};
use super::told::Teller;
use crate::api::cdi::StorageProfile;
use crate::controllers::glance;
use crate::uploads::{POD_PHASE, POD_READY, TARGET};

/// Simulated time of a clone, of a whole import, and of what changed since a checkpoint.
const CLONE: Duration = Duration::from_secs(60);
const IMPORT: Duration = Duration::from_secs(600);
const DELTA: Duration = Duration::from_secs(60);
/// How often progress is told while a copy runs.
const TICKS: u32 = 4;
/// Followed by a dot and the checkpoint: set on the claim once that is copied.
const COPIED: &str = "cdi.kubevirt.io/storage.checkpoint.copied";
/// A DataVolume that takes a claim of its name that is there already, as MTV asks for after an array has copied.
const ADOPTS: &str = "cdi.kubevirt.io/allowClaimAdoption";

/// What fills a DataVolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    Blank,
    Clone,
    Import,
    /// Somebody sends it.
    Upload,
}

impl Filling {
    fn of(dv: &Value) -> Self {
        match dv.pointer("/spec/source").and_then(Value::as_object).and_then(|source| source.keys().next()) {
            None => Self::Clone,
            Some(kind) if kind == "blank" => Self::Blank,
            Some(kind) if matches!(kind.as_str(), "pvc" | "snapshot") => Self::Clone,
            Some(kind) if kind == "upload" => Self::Upload,
            Some(_) => Self::Import,
        }
    }
    /// Phases while the claim waits, and while data flows.
    fn phases(self) -> (&'static str, &'static str) {
        match self {
            Self::Clone => ("CloneScheduled", "CloneInProgress"),
            Self::Upload => ("UploadScheduled", "UploadReady"),
            Self::Blank | Self::Import => ("ImportScheduled", "ImportInProgress"),
        }
    }
    fn time(self, checkpoint: Option<&Value>) -> Duration {
        match self {
            Self::Blank | Self::Upload => Duration::ZERO,
            Self::Clone => CLONE,
            Self::Import if checkpoint.is_some_and(|c| !text(c, "/previous").is_empty()) => DELTA,
            Self::Import => IMPORT,
        }
    }
}

/// The last checkpoint asked for.
fn checkpoint(dv: &Value) -> Option<&Value> {
    dv.pointer("/spec/checkpoints")?.as_array()?.last()
}

/// The claim's annotation by which the last checkpoint is known to be copied.
pub(super) fn copied_mark(dv: &Value) -> Option<String> {
    checkpoint(dv).map(|checkpoint| format!("{COPIED}.{}", text(checkpoint, "/current")))
}

pub(super) fn resource(kind: &str) -> ApiResource {
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

/// What a DataVolume's status says of its filling.
struct Stage<'a> {
    phase: &'a str,
    /// Why the claim is not bound.
    unbound: Option<&'a str>,
    /// 0 to 100, where something is being copied.
    percent: Option<f64>,
}

async fn write(
    api: &Api<DynamicObject>,
    dv: &DynamicObject,
    events: &Teller,
    stage: Stage<'_>,
) -> Result<(), kube::Error> {
    let same = text(&dv.data, "/status/phase") == stage.phase;
    if same && stage.percent.is_none() {
        return Ok(());
    }
    let done = stage.phase == "Succeeded";
    let progress = match stage.percent {
        _ if done => "100.0%".to_owned(),
        Some(percent) => format!("{percent:.2}%"),
        None => "N/A".to_owned(),
    };
    let mut status = json!({"phase": stage.phase, "claimName": dv.name_any(), "progress": progress});
    if !same {
        let bound = match stage.unbound {
            Some(why) => condition("Bound", false, "Pending", why),
            None => condition("Bound", true, "Bound", &format!("PVC {} Bound", dv.name_any())),
        };
        let running = stage.percent.is_some() || stage.phase == "UploadReady";
        let why = if done {
            "Completed"
        } else if running {
            "Pod is running"
        } else {
            ""
        };
        status["conditions"] = json!([bound, condition("Ready", done, "", ""), condition("Running", running, why, "")]);
    }
    let patch = Patch::Merge(json!({"status": status}));
    tolerate(glance::patch_status(api, &dv.name_any(), &patch).await, 404)?;
    if !same {
        tell(events, dv, stage.phase).await;
    }
    Ok(())
}

/// CDI's words for a phase that begins.
async fn tell(events: &Teller, dv: &DynamicObject, phase: &str) {
    let name = dv.name_any();
    let filling = Filling::of(&dv.data);
    let clones = filling == Filling::Clone;
    let from = || {
        let named = |part| text(&dv.data, &format!("/spec/sourceRef/{part}")).to_owned();
        format!("{}/{}", named("namespace"), named("name"))
    };
    let to = format!("{}/{name}", dv.namespace().unwrap_or_default());
    let (reason, message) = match phase {
        "ImportScheduled" => (phase, format!("Import into {name} scheduled")),
        "ImportInProgress" => (phase, format!("Import into {name} in progress")),
        "CloneScheduled" => (phase, format!("Cloning from {} into {to} scheduled", from())),
        "CloneInProgress" => (phase, format!("Cloning from {} into {to} in progress", from())),
        "UploadScheduled" => (phase, format!("Upload into {name} scheduled")),
        "UploadReady" => (phase, format!("Upload into {name} ready")),
        "Succeeded" if filling == Filling::Upload => ("UploadSucceeded", format!("Successfully uploaded into {name}")),
        "Succeeded" if clones => ("CloneSucceeded", format!("Successfully cloned from {} into {to}", from())),
        "Succeeded" => ("ImportSucceeded", format!("Successfully imported into PVC {name}")),
        "Pending" => (phase, format!("PVC {name} Pending")),
        _ => return,
    };
    let teller = match filling {
        Filling::Clone => "datavolume-pvc-clone-controller",
        Filling::Upload => "datavolume-upload-controller",
        Filling::Blank | Filling::Import => "datavolume-import-controller",
    };
    events.normal(&dv.object_ref(&resource("DataVolume")), teller, reason, &message).await;
}

/// What another copied is there.
pub(super) async fn succeed(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    events: &Teller,
) -> Result<(), kube::Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource("DataVolume"));
    match api.get_opt(name).await? {
        Some(dv) => write(&api, &dv, events, Stage { phase: "Succeeded", unbound: None, percent: None }).await,
        None => Ok(()),
    }
}

/// Tells why no importer runs.
async fn say(api: &Api<DynamicObject>, dv: &DynamicObject, why: &str) -> Result<(), kube::Error> {
    let conditions = [
        condition("Bound", true, "Bound", &format!("PVC {} Bound", dv.name_any())),
        condition("Ready", false, "TransferFailed", ""),
        condition("Running", false, "Error", &format!("Unable to process data: {why}")),
    ];
    let told = text(&dv.data, "/status/conditions/2/message");
    if told == conditions[2]["message"].as_str().unwrap_or_default() {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
    tolerate(glance::patch_status(api, &dv.name_any(), &patch).await, 404)
}

async fn fill(dv: Arc<DynamicObject>, options: Arc<StorageOptions>) -> Result<Action, kube::Error> {
    let (client, namespace, name) = (&options.client, dv.namespace().unwrap_or_default(), dv.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource("DataVolume"));
    if dv.metadata.deletion_timestamp.is_some() || text(&dv.data, "/status/phase") == "Succeeded" {
        return Ok(Action::await_change());
    }
    let filling = Filling::of(&dv.data);
    let (scheduled, in_progress) = filling.phases();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let Some(claim) = claims.get_opt(&name).await? else {
        if let Some(why) = missing_source(client, &dv, &namespace).await? {
            write(&api, &dv, &options.events, Stage { phase: "Pending", unbound: Some(&why), percent: None }).await?;
            return Ok(Action::requeue(options.clock.real(CLONE)));
        }
        let claim = serde_json::from_value(claim(&options, &dv).await?).map_err(kube::Error::SerdeError)?;
        tolerate(claims.create(&PostParams::default(), &claim).await, 409)?;
        write(&api, &dv, &options.events, Stage { phase: scheduled, unbound: Some("PVC is Pending"), percent: None })
            .await?;
        return Ok(Action::await_change());
    };
    if claim.owner_references().is_empty() && dv.annotations().get(ADOPTS).is_some_and(|adopts| adopts == "true") {
        let owner = json!({"metadata": {"ownerReferences": [owner(&dv)]}});
        tolerate(glance::patch(&claims, &name, &Patch::Merge(owner)).await, 404)?;
        return Ok(Action::await_change());
    }
    if claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound") {
        return Ok(Action::await_change());
    }
    if filling == Filling::Upload {
        let says = |name: &str| claim.annotations().get(name).map(String::as_str).unwrap_or_default();
        let phase = match (says(POD_PHASE), says(POD_READY)) {
            ("Succeeded", _) => "Succeeded",
            (_, "true") => in_progress,
            _ => scheduled,
        };
        write(&api, &dv, &options.events, Stage { phase, unbound: None, percent: None }).await?;
        return Ok(Action::await_change());
    }
    let (checkpoint, mark) = (checkpoint(&dv.data), copied_mark(&dv.data));
    if mark.as_ref().is_some_and(|mark| claim.annotations().contains_key(mark)) {
        let last = dv.data.pointer("/spec/finalCheckpoint").and_then(Value::as_bool).unwrap_or_default();
        let phase = if last { "Succeeded" } else { "Paused" };
        write(&api, &dv, &options.events, Stage { phase, unbound: None, percent: None }).await?;
        return Ok(Action::await_change());
    }
    if let Some(http) = dv.data.pointer("/spec/source/http")
        && text(&dv.data, "/status/phase") != in_progress
        && let Some(why) = super::http_source::refused(client, &namespace, http).await?
    {
        // The importer's pod fails, and is started again.
        write(&api, &dv, &options.events, Stage { phase: scheduled, unbound: None, percent: None }).await?;
        say(&api, &dv, &why).await?;
        return Ok(Action::requeue(options.clock.real(CLONE)));
    }
    let importer = (filling == Filling::Import && options.pods).then(|| Copier::of(client, &claim, Who::Importer));
    if text(&dv.data, "/status/phase") != in_progress {
        if let Some(importer) = &importer {
            importer.start().await?;
        }
        write(&api, &dv, &options.events, Stage { phase: in_progress, unbound: None, percent: Some(0.0) }).await?;
        return Ok(Action::await_change());
    }
    if let Some(importer) = &importer
        && importer.age().await?.is_none()
    {
        // Somebody took it: CDI makes another, which begins anew.
        write(&api, &dv, &options.events, Stage { phase: scheduled, unbound: None, percent: None }).await?;
        return Ok(Action::await_change());
    }
    let begun = text(&dv.data, "/status/conditions/0/lastTransitionTime").parse::<jiff::Timestamp>();
    let age = begun.map(|at| jiff::Timestamp::now().duration_since(at).unsigned_abs()).unwrap_or_default();
    let whole = checkpoint.is_none_or(|checkpoint| text(checkpoint, "/previous").is_empty());
    let shortest = if importer.is_some() && whole { SHORTEST } else { Duration::ZERO };
    let time = options.clock.real(filling.time(checkpoint)).max(shortest);
    let left = time.checked_sub(age).filter(|left| !left.is_zero());
    if let (None, Some(importer)) = (left, &importer) {
        importer.end().await?;
    }
    match (left, mark) {
        (Some(left), _) => {
            let percent = age.as_secs_f64() / time.as_secs_f64() * 100.0;
            write(&api, &dv, &options.events, Stage { phase: in_progress, unbound: None, percent: Some(percent) })
                .await?;
            Ok(Action::requeue(left.min(time / TICKS)))
        }
        // The claim remembers what is copied; its change brings us back.
        (None, Some(mark)) => {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {mark: "true"}}}));
            tolerate(glance::patch(&claims, &name, &patch).await, 404)?;
            Ok(Action::await_change())
        }
        (None, None) => {
            write(&api, &dv, &options.events, Stage { phase: "Succeeded", unbound: None, percent: None }).await?;
            Ok(Action::await_change())
        }
    }
}

/// Why a DataVolume that refers to a DataSource can't begin.
async fn missing_source(
    client: &kube::Client,
    dv: &DynamicObject,
    namespace: &str,
) -> Result<Option<String>, kube::Error> {
    if dv.data.pointer("/spec/source").is_some() {
        return Ok(None);
    }
    let named = text(&dv.data, "/spec/sourceRef/namespace");
    let namespace = if named.is_empty() { namespace } else { named };
    let sources: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource("DataSource"));
    let source = text(&dv.data, "/spec/sourceRef/name");
    let there = !source.is_empty() && sources.get_opt(source).await?.is_some();
    Ok((!there).then(|| format!("DataSource {source} not found")))
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
    let mut annotations: serde_json::Map<String, Value> =
        dv.annotations().iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    annotations.insert("cdi.kubevirt.io/storage.contentType".to_owned(), json!("kubevirt"));
    annotations.insert("cdi.kubevirt.io/createdForDataVolume".to_owned(), json!(dv.uid()));
    if Filling::of(&dv.data) == Filling::Upload {
        annotations.insert(TARGET.to_owned(), json!(""));
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": dv.name_any(), "namespace": dv.namespace(), "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner(dv)],
        },
        "spec": {
            "storageClassName": class,
            "accessModes": at("accessModes").unwrap_or_else(|| json!(set.access_modes)),
            "volumeMode": at("volumeMode").unwrap_or_else(|| json!(set.volume_mode)),
            "resources": at("resources"),
        },
    }))
}

/// As a claim names its DataVolume.
fn owner(dv: &DynamicObject) -> Value {
    json!({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": dv.name_any(), "uid": dv.uid(),
        "controller": true, "blockOwnerDeletion": true})
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_volume_is_filled_by_what_its_source_names() {
        let of = |spec: Value| Filling::of(&json!({"spec": spec}));
        assert_eq!(of(json!({"source": {"blank": {}}})), Filling::Blank);
        assert_eq!(of(json!({"source": {"vddk": {"uuid": "x"}}})), Filling::Import);
        assert_eq!(of(json!({"source": {"pvc": {}}})), Filling::Clone);
        assert_eq!(of(json!({"source": {"upload": {}}})), Filling::Upload);
        assert_eq!(of(json!({"source": {"http": {"url": "x"}}})), Filling::Import);
        assert_eq!(of(json!({"sourceRef": {"kind": "DataSource", "name": "rhel9"}})), Filling::Clone);
    }

    #[test]
    fn what_changed_since_a_checkpoint_takes_less_time_than_the_whole_disk() {
        let dv =
            json!({"spec": {"checkpoints": [{"previous": "", "current": "a"}, {"previous": "52 de", "current": "b"}]}});
        assert_eq!(Filling::Import.time(checkpoint(&dv)), DELTA);
        assert_eq!(Filling::Import.time(None), IMPORT);
    }
}
