//! The simulated provisioner: binds a claim to a volume of its own, and takes it away again.
//! DataVolumes are filled in [`super::datavolumes`].

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, Patch, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::{reflector::ObjectRef, watcher};
use kube::{Client, Resource as _, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::copiers::{Copier, SHORTEST, Who};
use super::mtv::MtvVersion;
use super::mtv::offload::populator::TELLS;
use super::told::Teller;
use super::{given_volumes, xcopy};
use crate::clock::Clock;
use crate::controllers::glance;
use crate::ports::GuestDirectory;

/// After a failed write, in real time.
const RETRY: Duration = Duration::from_millis(100);
/// Simulated time in which a populator copies a disk.
const POPULATE: Duration = Duration::from_secs(420);
/// Between two looks for what a populator reads, real time.
const AWAITS: Duration = Duration::from_secs(2);
/// Between two looks for a class that is not there, real time.
const UNKNOWN_CLASS: Duration = Duration::from_secs(15);
/// Between two looks at a populator, real time.
const LOOK: Duration = Duration::from_millis(250);
/// Kubernetes' own: a claim in use stays. Without kubelets nothing is in use.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// What the controller works with.
pub struct StorageOptions {
    pub client: Client,
    pub clock: Clock,
    /// Knows off which datastores an array copies.
    pub guests: Arc<dyn GuestDirectory>,
    /// Whether a kubelet plays the pods that copy; without one there are none.
    pub pods: bool,
    /// The MTV whose populators are played, where some are.
    pub mtv: Option<MtvVersion>,
    /// Held while a populator looks for its place.
    pub(crate) populators: tokio::sync::Mutex<()>,
    /// Tells of claims and DataVolumes.
    pub(crate) events: Teller,
    pub stop: CancellationToken,
}

/// Runs until `stop`.
pub async fn run(options: StorageOptions) {
    let (client, stop) = (options.client.clone(), options.stop.clone());
    let context = Arc::new(options);
    let claims = Controller::new(Api::<PersistentVolumeClaim>::all(client.clone()), watcher::Config::default());
    // A volume that comes is for those that wait for one.
    let (known, unset_too) = (claims.store(), context.events.is_on());
    let waiting = move |volume: PersistentVolume| {
        let all = if given_volumes::is_free(&volume) { known.state() } else { Vec::new() };
        let waiting = all.into_iter().filter(move |claim| given_volumes::waits(claim, unset_too));
        waiting.map(|claim| ObjectRef::from_obj(&*claim)).collect::<Vec<_>>()
    };
    let claims = claims
        .watches(Api::<PersistentVolume>::all(client.clone()), watcher::Config::default(), waiting)
        .run(bind, |_, error: &kube::Error, _| retry(error), context.clone())
        .for_each(|_| async {})
        .boxed();
    // A volume is looked at again whenever a claim comes or goes.
    let volumes = Controller::new(Api::<PersistentVolume>::all(client.clone()), watcher::Config::default())
        .watches(Api::<PersistentVolumeClaim>::all(client), watcher::Config::default(), |claim| {
            claim.spec.and_then(|spec| spec.volume_name).map(|name| ObjectRef::new(&name))
        })
        .run(reclaim, |_, error: &kube::Error, _| retry(error), context.clone())
        .for_each(|_| async {})
        .boxed();
    tokio::select! {
        () = stop.cancelled() => {},
        _ = futures::future::join5(
            claims,
            volumes,
            super::uploads::run(context.client.clone(), context.clone()).boxed(),
            super::storage_profiles::run(context.client.clone()).boxed(),
            super::datavolumes::run(context).boxed(),
        ) => {},
    }
}

pub(super) fn retry(error: &kube::Error) -> Action {
    tracing::debug!(%error, "storage will try again");
    Action::requeue(RETRY)
}

/// The result of a write that somebody else may have made needless.
pub(super) fn tolerate<T>(result: Result<T, kube::Error>, code: u16) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == code => Ok(()),
        other => other.map(drop),
    }
}

/// The volume for a claim.
fn volume(claim: &PersistentVolumeClaim, name: &str) -> Value {
    let spec = claim.spec.clone().unwrap_or_default();
    let size = spec.resources.and_then(|r| r.requests).and_then(|mut r| r.remove("storage"));
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": spec.access_modes, "storageClassName": spec.storage_class_name,
            "volumeMode": spec.volume_mode.unwrap_or_else(|| "Filesystem".to_owned()), "persistentVolumeReclaimPolicy": "Delete",
            "csi": {"driver": "lab.csi.mtv-matrix", "volumeHandle": name},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(),
                "name": claim.name_any(), "uid": claim.uid()}}})
}

/// Whether one of Forklift's populators fills it. Their controller is another executable than the folder of a build has:
/// this room stands in for it.
fn is_populated(claim: &PersistentVolumeClaim) -> bool {
    let of = claim.spec.as_ref().and_then(|spec| spec.data_source_ref.as_ref());
    of.and_then(|of| of.api_group.as_deref()) == Some("forklift.konveyor.io")
}

/// Whether what the claim is filled from is there: its populator waits for that (`syncPvc`,
/// `pkg/lib-volume-populator/populator-machinery/controller.go`).
async fn has_source(client: &Client, claim: &PersistentVolumeClaim) -> Result<bool, kube::Error> {
    let Some(of) = claim.spec.as_ref().and_then(|spec| spec.data_source_ref.as_ref()) else { return Ok(false) };
    let kind = GroupVersionKind::gvk("forklift.konveyor.io", "v1beta1", &of.kind);
    let namespace = claim.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &ApiResource::from_gvk(&kind));
    Ok(api.get_metadata_opt(&of.name).await?.is_some())
}

async fn bind(claim: Arc<PersistentVolumeClaim>, options: Arc<StorageOptions>) -> Result<Action, kube::Error> {
    let namespace = claim.namespace().unwrap_or_default();
    let api: Api<PersistentVolumeClaim> = Api::namespaced(options.client.clone(), &namespace);
    let name = claim.name_any();
    if claim.metadata.deletion_timestamp.is_some() {
        let rest: Vec<&String> = claim.finalizers().iter().filter(|f| *f != PROTECTION).collect();
        if rest.len() < claim.finalizers().len() {
            let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": claim.resource_version()}});
            tolerate(glance::patch(&api, &name, &Patch::Merge(patch)).await, 404)?;
        }
        return Ok(Action::await_change());
    }
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let Some(uid) = claim.uid().filter(|_| !bound) else { return Ok(Action::await_change()) };
    if given_volumes::waits(&claim, options.events.is_on()) {
        return given_volumes::bind(&claim, &options).await;
    }
    if options.pods && is_populated(&claim) {
        if !has_source(&options.client, &claim).await? {
            return Ok(Action::requeue(AWAITS));
        }
        let who = if xcopy::fills(&claim) { Who::Offload } else { Who::Populator };
        let mut populator = Copier::of(&options.client, &claim, who);
        if let Some(host) = xcopy::set_aside(&options.client, &claim).await? {
            populator.runs_on(&host);
        }
        let time = options.clock.real(POPULATE).max(SHORTEST);
        match populator.age().await? {
            None => {
                // Claims are looked at side by side.
                let turn = options.populators.lock().await;
                if let Some(why) = xcopy::waits(&options.client, populator.host()).await? {
                    let (of, teller) = (claim.object_ref(&()), TELLS);
                    options.events.normal(&of, teller, "PopulatorThrottled", &why).await;
                    return Ok(Action::requeue(LOOK));
                }
                let began = populator.start().await?;
                drop(turn);
                if began {
                    let of = claim.object_ref(&());
                    options.events.normal(&of, TELLS, "PopulatorCreated", "Populator started").await;
                }
                return Ok(Action::requeue(LOOK));
            }
            Some(age) if age < time => return Ok(Action::requeue(LOOK.min(time.saturating_sub(age)))),
            // Its pod stays until MTV takes it away; after one that failed the claim stays as it is.
            Some(_) if who == Who::Offload => {
                if !xcopy::finish(&options, &claim).await? {
                    return Ok(Action::await_change());
                }
            }
            Some(_) if options.events.is_on() => {
                populator.stays().await?;
                options.events.normal(&claim.object_ref(&()), TELLS, "PopulatorFinished", "Populator finished").await;
            }
            Some(_) => populator.end().await?,
        }
    }
    let of = claim.object_ref(&());
    let provisioner = match class_provisioner(&options, &claim).await {
        Ok(provisioner) => provisioner,
        Err((reason, why)) => {
            options.events.warning(&of, "persistentvolume-controller", reason, &why).await;
            return Ok(Action::requeue(UNKNOWN_CLASS));
        }
    };
    if let Some(provisioner) = &provisioner {
        let waits = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
             system administrator. If volume creation is delayed, please verify that the provisioner is running and \
             correctly registered."
        );
        options.events.normal(&of, "persistentvolume-controller", "ExternalProvisioning", &waits).await;
        let begins = format!("External provisioner is provisioning volume for claim \"{namespace}/{name}\"");
        options.events.normal(&of, provisioner, "Provisioning", &begins).await;
    }
    let volume_name = claim.spec.as_ref().and_then(|s| s.volume_name.clone()).unwrap_or_else(|| format!("pvc-{uid}"));
    let rendered = volume(&claim, &volume_name);
    let volumes: Api<PersistentVolume> = Api::all(options.client.clone());
    let typed = serde_json::from_value(rendered.clone()).map_err(kube::Error::SerdeError)?;
    tolerate(volumes.create(&PostParams::default(), &typed).await, 409)?;
    let status = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    tolerate(glance::patch_status(&volumes, &volume_name, &status).await, 404)?;
    let spec = Patch::Merge(json!({"spec": {"volumeName": volume_name}}));
    tolerate(glance::patch(&api, &name, &spec).await, 404)?;
    let status = Patch::Merge(json!({"status": {"phase": "Bound", "capacity": rendered["spec"]["capacity"],
        "accessModes": rendered["spec"]["accessModes"]}}));
    tolerate(glance::patch_status(&api, &name, &status).await, 404)?;
    if let Some(provisioner) = &provisioner {
        let done = format!("Successfully provisioned volume {volume_name}");
        options.events.normal(&of, provisioner, "ProvisioningSucceeded", &done).await;
    }
    Ok(Action::await_change())
}

/// Who provisions the claim's class, where somebody is told; why nobody does, as reason and message of an event.
async fn class_provisioner(
    options: &StorageOptions,
    claim: &PersistentVolumeClaim,
) -> Result<Option<String>, (&'static str, String)> {
    let spec = claim.spec.clone().unwrap_or_default();
    if !options.events.is_on() || spec.volume_name.is_some() {
        return Ok(None);
    }
    let Some(class) = spec.storage_class_name else {
        let why = "no persistent volumes available for this claim and no storage class is set";
        return Err(("FailedBinding", why.to_owned()));
    };
    if class.is_empty() {
        // For a volume that somebody made; here each claim has one of its own.
        return Ok(None);
    }
    let classes: Api<StorageClass> = Api::all(options.client.clone());
    match classes.get_opt(&class).await {
        Ok(None) => Err(("ProvisioningFailed", format!("storageclass.storage.k8s.io \"{class}\" not found"))),
        found => Ok(found.ok().flatten().map(|class| class.provisioner)),
    }
}

async fn reclaim(volume: Arc<PersistentVolume>, options: Arc<StorageOptions>) -> Result<Action, kube::Error> {
    // One that names a claim by its name alone waits for it.
    let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone()).filter(|claim| claim.uid.is_some());
    let Some(claim) = claim else { return Ok(Action::await_change()) };
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(options.client.clone(), claim.namespace.as_deref().unwrap_or_default());
    let found = api.get_opt(claim.name.as_deref().unwrap_or_default()).await?;
    if found.is_none_or(|found| found.uid() != claim.uid) {
        release(&volume, Api::all(options.client.clone())).await?;
    }
    Ok(Action::await_change())
}

/// What becomes of a volume whose claim is gone: its policy says it (`reclaimVolume`, Kubernetes' `pv_controller.go`).
async fn release(volume: &PersistentVolume, volumes: Api<PersistentVolume>) -> Result<(), kube::Error> {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if policy != Some("Retain") {
        return tolerate(volumes.delete(&volume.name_any(), &DeleteParams::default()).await, 404);
    }
    let status = Patch::Merge(json!({"status": {"phase": "Released"}}));
    tolerate(glance::patch_status(&volumes, &volume.name_any(), &status).await, 404)
}
