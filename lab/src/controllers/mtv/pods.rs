//! The pods that do the work of a migration (CDI's importers, populators, virt-v2v), and the controller's own.
//!
//! Nothing runs in them here: they are there to be seen and to be killed. What happens then follows Forklift's source:
//! CDI and the populator controller make theirs again (`updateCopyProgress`, `pkg/controller/plan/migration.go`), and the
//! copy begins anew; a virt-v2v pod is made again by its Conversion from 2.12 on (`ensureVirtV2vPodFromSpec`,
//! `pkg/controller/conversion/ensurer.go`), up to 2.11 its VM fails (`updateConversionProgress`).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PostParams};
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Mtv;
use super::data_volumes;
use super::execute::{Halt, Walk};
use super::{guest_conversions, populators, target, vddk};
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::copiers::{node, requested};
use crate::controllers::copy_log::{Copies, CopyLog};
use crate::controllers::glance;
use crate::controllers::kubelet::v2v_log::{Job, Until};
use crate::controllers::pod_status::{self, Ended, Stage};
use crate::defects::conduct::Conduct;

/// Simulated time until a new pod of the controller works.
const STARTS: Duration = Duration::from_secs(20);
/// The pod of MTV's main controller, as the lab's seed calls it.
const CONTROLLER: &str = "forklift-controller-0";
/// The image of MTV's pods that convert, as beside the real one.
pub(super) const VIRT_V2V: &str = "lab/forklift-virt-v2v:latest";

/// Who copies or converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worker {
    Importer,
    Populator,
    VirtV2v,
}

/// The pods of one VM that work now.
pub(super) struct Workers {
    worker: Worker,
    /// As they were made, so that each can be made again.
    pods: Vec<Pod>,
    /// What the copiers print, one of each pod, where somebody looks.
    logs: Vec<CopyLog>,
    /// The claims that are filled or converted.
    claims: Vec<PersistentVolumeClaim>,
    /// What virt-v2v's pod belongs to, where somebody looks.
    conversion: Option<guest_conversions::Made>,
}

/// A node, where the lab plays its kubelet. A real API server deletes a pod that has one only when its kubelet says so.
pub(super) async fn place(mtv: &Mtv, pod: &mut Value) {
    if mtv.nodes {
        pod["spec"]["nodeName"] = json!(node(&mtv.client).await);
    }
}

impl Workers {
    /// Makes them: one a disk, of virt-v2v one. On a cluster that a URL leads to there are none: MTV has no more rights
    /// there than its token, and nobody here plays that cluster's kubelet, which tells what becomes of a pod.
    pub async fn start(walk: &Walk<'_>, worker: Worker) -> Self {
        if !walk.run.resolved.destination.spec.url.is_empty() {
            return Self { worker, pods: Vec::new(), logs: Vec::new(), claims: Vec::new(), conversion: None };
        }
        let claims = target::own_volumes(walk).await.unwrap_or_default();
        let conversion = match worker {
            Worker::VirtV2v => guest_conversions::begin(walk, &claims).await,
            Worker::Importer | Worker::Populator => None,
        };
        let bodies: Vec<Value> = match worker {
            Worker::Importer => claims.iter().map(importer).collect(),
            Worker::Populator => claims.iter().map(|claim| populator(walk, claim)).collect(),
            Worker::VirtV2v => {
                vec![virt_v2v(walk, &claims, conversion.as_ref().map(guest_conversions::Made::login)).await]
            }
        };
        let mut workers = Self { worker, pods: Vec::new(), logs: Vec::new(), claims, conversion };
        for (index, mut body) in bodies.into_iter().enumerate() {
            place(&walk.run.mtv, &mut body).await;
            if let Some(conversion) = &workers.conversion {
                conversion.mark(&mut body);
            }
            let Ok(pod) = serde_json::from_value(body) else { continue };
            if let Some(made) = make(walk, &pod).await {
                if worker == Worker::VirtV2v {
                    print(walk, &made.name_any(), Until::Begun).await;
                    if let Some(conversion) = &workers.conversion {
                        conversion.works(walk, &made).await;
                    }
                } else if let Some(claim) = workers.claims.get(index).filter(|_| walk.run.mtv.events.is_on()) {
                    if worker == Worker::Populator {
                        populators::began(walk, claim, &made).await;
                    }
                    workers.logs.push(copy_log(walk, worker, claim));
                }
                workers.pods.push(Pod { metadata: made.metadata, ..pod });
            }
        }
        workers
    }

    /// So much is copied, of a hundred.
    pub async fn copied(&mut self, walk: &Walk<'_>, percent: u32) {
        let api = api(walk);
        for (pod, log) in self.pods.iter().zip(&mut self.logs) {
            log.copied(percent);
            let log = json!({"metadata": {"annotations": {LOG_ANNOTATION: log.text()}}});
            let _ = glance::patch(&api, &pod.name_any(), &Patch::Merge(log)).await;
        }
        if self.worker == Worker::Populator {
            for claim in &self.claims {
                populators::copied(walk, claim, percent).await;
            }
        }
    }

    /// Looks whether all are still there. True: one was not, was made again, and its work begins anew.
    pub async fn look(&mut self, walk: &Walk<'_>) -> Result<bool, Halt> {
        let api = api(walk);
        let mut again = false;
        for pod in &mut self.pods {
            let there = glance::uid_of(&api, &pod.name_any()).await;
            if !there.is_ok_and(|there| there.is_none_or(|there| Some(there) != pod.metadata.uid)) {
                continue;
            }
            let fails = self.worker == Worker::VirtV2v && !walk.run.mtv.version.at_least(12);
            let fails = fails && !walk.behaves(Conduct::MakesEachPodAgain);
            if fails || walk.behaves(Conduct::MakesNoPodAgain) {
                return Err(Halt::Failed("Guest conversion pod not found".to_owned()));
            }
            let mut fresh = pod.clone();
            fresh.metadata.uid = None;
            fresh.metadata.resource_version = None;
            fresh.metadata.creation_timestamp = None;
            fresh.metadata.managed_fields = None;
            if let Some(spec) = fresh.spec.as_mut().filter(|spec| spec.node_name.is_some()) {
                spec.node_name = node(&walk.run.target).await;
            }
            if fresh.metadata.generate_name.is_some() {
                fresh.metadata.name = None;
            }
            if let Some(made) = make(walk, &fresh).await {
                if let Some(conversion) = &self.conversion {
                    conversion.works(walk, &made).await;
                }
                pod.metadata = made.metadata;
            }
            again = true;
        }
        Ok(again)
    }

    /// Their work is done: CDI takes its own away, virt-v2v's stays as it ended. Populators' stay, too, until MTV takes them,
    /// where somebody looks.
    pub async fn end(self, walk: &Walk<'_>) {
        let api = api(walk);
        let stays = walk.run.mtv.events.is_on();
        for pod in &self.pods {
            let name = pod.name_any();
            match self.worker {
                Worker::VirtV2v => {
                    print(walk, &name, Until::Done).await;
                    tell(&api, &name, Stage::Over(&Ended::Well)).await;
                }
                // Below: by its claim.
                Worker::Populator if stays => {}
                Worker::Populator | Worker::Importer => {
                    let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
                }
            }
        }
        if let Some(conversion) = &self.conversion {
            conversion.succeeded(walk).await;
        }
        for claim in &self.claims {
            if self.worker == Worker::Populator && stays {
                populators::filled(walk, claim).await;
            }
            data_volumes::filled(walk, &claim.name_any()).await;
        }
    }
}

/// What the pod that fills a claim prints when it begins.
fn copy_log(walk: &Walk<'_>, worker: Worker, claim: &PersistentVolumeClaim) -> CopyLog {
    let source = claim.annotations().get("forklift.konveyor.io/disk-source").cloned().unwrap_or_default();
    let url = walk.run.resolved.source.spec.url.clone();
    let copies = match (worker, walk.run.resolved.kind.disk_label()) {
        (Worker::Populator, Some("diskID")) => Copies::Ovirt { disk: source },
        (Worker::Populator, _) => Copies::Openstack { image: source },
        _ if walk.vm.vsphere().is_some() => Copies::Vddk { file: source, url },
        _ => Copies::Http { url },
    };
    CopyLog::begun(copies, requested(claim))
}

/// The VM has failed: so has what copied and converted it.
pub(super) async fn fail(walk: &Walk<'_>, reason: &str) {
    populators::fail(walk, reason).await;
    let api = api(walk);
    let selector =
        format!("forklift.app=virt-v2v,migration={},vmID={}", walk.run.migration.uid().unwrap_or_default(), walk.vm.id);
    for pod in api.list(&ListParams::default().labels(&selector)).await.into_iter().flat_map(|list| list.items) {
        if pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running") {
            print(walk, &pod.name_any(), Until::Failed(reason)).await;
            tell(&api, &pod.name_any(), Stage::Over(&Ended::Badly(reason.to_owned()))).await;
        }
    }
}

/// What virt-v2v has printed until now.
async fn print(walk: &Walk<'_>, pod: &str, until: Until<'_>) {
    let guest = walk.guest();
    let job = Job {
        vm: &walk.vm.name,
        system: guest.as_ref().map_or("", |guest| guest.pretty_name.as_str()),
        disks: walk.vm.disks.len(),
        in_place: !walk.has("DiskTransferV2v"),
    };
    let log = json!({"metadata": {"annotations": {LOG_ANNOTATION: job.log(until)}}});
    let _ = glance::patch(&api(walk), pod, &Patch::Merge(log)).await;
}

fn api(walk: &Walk<'_>) -> Api<Pod> {
    Api::namespaced(walk.run.target.clone(), &walk.run.plan.spec.target_namespace)
}

async fn make(walk: &Walk<'_>, pod: &Pod) -> Option<Pod> {
    let api = api(walk);
    // One that is refused (a quota) is not there to be killed: that is all that it changes here.
    let made = api.create(&PostParams::default(), pod).await.ok()?;
    let _ = pod_status::tell(&api, &made, Stage::Runs, None).await;
    Some(made)
}

/// As a kubelet tells it. One that is not told of, since it is gone, is missed at the next look.
pub(super) async fn tell(api: &Api<Pod>, name: &str, stage: Stage<'_>) {
    if let Err(error) = pod_status::tell_of(api, name, stage).await {
        tracing::debug!(name, %error, "a pod's status was not told");
    }
}

/// What belongs to a claim goes with it.
fn of_claim(claim: &PersistentVolumeClaim) -> Value {
    json!([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name_any(), "uid": claim.uid()}])
}

fn importer(claim: &PersistentVolumeClaim) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("importer-prime-{}", claim.uid().unwrap_or_default()),
            "labels": {"app": "containerized-data-importer", "cdi.kubevirt.io": "importer"},
            "ownerReferences": of_claim(claim)},
        "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "importer", "image": "cdi-importer"}]}})
}

fn populator(walk: &Walk<'_>, claim: &PersistentVolumeClaim) -> Value {
    let mut labels = json!({"pvcName": claim.name_any(), "migration": walk.run.migration.uid(), "vmID": walk.vm.id});
    if walk.run.mtv.version.at_least(12) {
        labels["plan"] = json!(walk.run.plan.uid());
    }
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": populators::pod_of(claim), "labels": labels,
            "ownerReferences": of_claim(claim)},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "populate", "image": "populator"}]}})
}

/// With what it is mounted, in the builder's words (`podVolumeMounts`, pkg/controller/plan/kubevirt.go; `GetVirtV2vPodSpec`,
/// pkg/controller/conversion/builder.go): its disks, its login and the library that reads vSphere's.
async fn virt_v2v(walk: &Walk<'_>, claims: &[PersistentVolumeClaim], login: Option<&str>) -> Value {
    let mut labels = target::labels(walk);
    labels["forklift.app"] = json!("virt-v2v");
    labels["resource"] = json!("vm-config");
    let mut mounted = Mounted::default();
    for (index, claim) in claims.iter().enumerate() {
        mounted.disk(index, claim);
    }
    let run = walk.run;
    let library = match run.resolved.kind.copies_by_vddk() && run.mtv.events.is_on() {
        true => vddk::image(&run.mtv, &run.resolved.source).await,
        false => None,
    };
    if library.is_some() {
        mounted.volumes.push(json!({"name": vddk::VOLUME, "emptyDir": {}}));
        mounted.mounts.push(json!({"name": vddk::VOLUME, "mountPath": "/opt"}));
    }
    if let Some(login) = login {
        mounted.volumes.push(json!({"name": "secret-volume", "secret": {"secretName": login}}));
        mounted.mounts.push(json!({"name": "secret-volume", "mountPath": "/etc/secret", "readOnly": true}));
    }
    let some = |list: Vec<Value>| if list.is_empty() { Value::Null } else { Value::Array(list) };
    let mut spec = json!({"restartPolicy": "Never", "volumes": some(mounted.volumes),
        "containers": [{"name": "virt-v2v", "image": VIRT_V2V, "volumeMounts": some(mounted.mounts),
            "volumeDevices": some(mounted.devices)}]});
    if let Some(image) = library {
        spec["initContainers"] = json!([vddk::side_car(image)]);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"generateName": format!("{}-{}-", walk.run.plan.name_any(), walk.vm.id), "labels": labels}})
}

/// What a pod has of volumes.
#[derive(Default)]
struct Mounted {
    volumes: Vec<Value>,
    mounts: Vec<Value>,
    devices: Vec<Value>,
}

impl Mounted {
    /// The disk of this number.
    fn disk(&mut self, index: usize, claim: &PersistentVolumeClaim) {
        let name = claim.name_any();
        self.volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        let mode = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref());
        match mode {
            Some("Block") => self.devices.push(json!({"name": name, "devicePath": format!("/dev/block{index}")})),
            _ => self.mounts.push(json!({"name": name, "mountPath": format!("/mnt/disks/disk{index}")})),
        }
    }
}

/// While its pod is gone the controller does nothing; its Deployment makes another. A migration goes on from the Plan's
/// status as if nothing had been.
pub(super) async fn controller(mtv: Arc<Mtv>, stop: CancellationToken) {
    let api: Api<Pod> = Api::namespaced(mtv.client.clone(), &mtv.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={CONTROLLER}"));
    let mut events = watcher::watcher(api.clone(), config).boxed();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Delete(gone))) => {
                mtv.up.send_replace(false);
                mtv.clock.sleep(STARTS).await;
                let mut fresh = Pod { status: None, ..gone };
                let (name, labels) = (fresh.metadata.name.take(), fresh.metadata.labels.take());
                fresh.metadata = kube::api::ObjectMeta { name, labels, ..Default::default() };
                if api.create(&PostParams::default(), &fresh).await.is_ok() {
                    tell(&api, CONTROLLER, Stage::Runs).await;
                }
                mtv.up.send_replace(!mtv.defects.behaves(Conduct::ControllerStaysDown));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            None => return,
        }
    }
}
