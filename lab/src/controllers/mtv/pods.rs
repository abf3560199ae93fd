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
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Mtv;
use super::data_volumes;
use super::execute::{Halt, Walk};
use super::{guest_conversions, populators, target};
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::copiers::{node, requested};
use crate::controllers::copy_log::{Copies, CopyLog};
use crate::controllers::kubelet::v2v_log::{Job, Until};
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

impl Workers {
    /// Makes them: one a disk, of virt-v2v one. On a cluster that a URL leads to there are none: MTV has no more rights
    /// there than its token, and nobody here plays that cluster's kubelet, which tells what becomes of a pod.
    pub async fn start(walk: &Walk<'_>, worker: Worker) -> Self {
        if !walk.run.resolved.destination.spec.url.is_empty() {
            return Self { worker, pods: Vec::new(), logs: Vec::new(), claims: Vec::new(), conversion: None };
        }
        let claims = target::own_volumes(walk).await.unwrap_or_default();
        let bodies: Vec<Value> = match worker {
            Worker::Importer => claims.iter().map(importer).collect(),
            Worker::Populator => claims.iter().map(|claim| populator(walk, claim)).collect(),
            Worker::VirtV2v => vec![virt_v2v(walk)],
        };
        let conversion = match worker {
            Worker::VirtV2v => guest_conversions::begin(walk, &claims).await,
            _ => None,
        };
        let mut workers = Self { worker, pods: Vec::new(), logs: Vec::new(), claims, conversion };
        for (index, mut body) in bodies.into_iter().enumerate() {
            // virt-v2v's has none, as beside the lab's kubelet.
            if worker != Worker::VirtV2v {
                body["spec"]["nodeName"] = json!(node(&walk.run.target).await);
            }
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
            let _ = api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(log)).await;
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
            let there = api.get_metadata_opt(&pod.name_any()).await;
            if !there.is_ok_and(|there| there.is_none_or(|there| there.uid() != pod.uid())) {
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

    /// Their work is done: CDI and populators take theirs away, virt-v2v's stays as it ended.
    pub async fn end(self, walk: &Walk<'_>) {
        let api = api(walk);
        for pod in &self.pods {
            let name = pod.name_any();
            if self.worker == Worker::VirtV2v {
                print(walk, &name, Until::Done).await;
                tell(&api, &name, "Succeeded").await;
            } else {
                let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
            }
        }
        if let Some(conversion) = &self.conversion {
            conversion.succeeded(walk).await;
        }
        for claim in &self.claims {
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

/// The VM has failed: so has what converted it.
pub(super) async fn fail(walk: &Walk<'_>, reason: &str) {
    let api = api(walk);
    let selector =
        format!("forklift.app=virt-v2v,migration={},vmID={}", walk.run.migration.uid().unwrap_or_default(), walk.vm.id);
    for pod in api.list(&ListParams::default().labels(&selector)).await.into_iter().flat_map(|list| list.items) {
        if pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running") {
            print(walk, &pod.name_any(), Until::Failed(reason)).await;
            tell(&api, &pod.name_any(), "Failed").await;
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
    let _ = api(walk).patch(pod, &PatchParams::default(), &Patch::Merge(log)).await;
}

fn api(walk: &Walk<'_>) -> Api<Pod> {
    Api::namespaced(walk.run.target.clone(), &walk.run.plan.spec.target_namespace)
}

async fn make(walk: &Walk<'_>, pod: &Pod) -> Option<Pod> {
    let api = api(walk);
    // One that is refused (a quota) is not there to be killed: that is all that it changes here.
    let made = api.create(&PostParams::default(), pod).await.ok()?;
    tell(&api, &made.name_any(), "Running").await;
    Some(made)
}

/// As a kubelet tells it, in short.
pub(super) async fn tell(api: &Api<Pod>, name: &str, phase: &str) {
    let Ok(pod) = api.get(name).await else { return };
    let now = super::conditions::now();
    let state = match phase {
        "Running" => json!({"running": {"startedAt": now}}),
        "Succeeded" => json!({"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}),
        _ => json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": now}}),
    };
    let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default().into_iter().map(|container| {
        json!({"name": container.name, "image": container.image, "imageID": "", "ready": phase == "Running",
            "restartCount": 0, "state": state})
    });
    let containers: Vec<Value> = containers.collect();
    let patch = Patch::Merge(json!({"status": {"phase": phase, "containerStatuses": containers}}));
    let _ = api.patch_status(name, &PatchParams::default(), &patch).await;
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
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("populate-{}", claim.uid().unwrap_or_default()),
            "labels": {"migration": walk.run.migration.uid(), "vmID": walk.vm.id},
            "ownerReferences": of_claim(claim)},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "populate", "image": "populator"}]}})
}

fn virt_v2v(walk: &Walk<'_>) -> Value {
    let mut labels = target::labels(walk);
    labels["forklift.app"] = json!("virt-v2v");
    labels["resource"] = json!("vm-config");
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": format!("{}-{}-", walk.run.plan.name_any(), walk.vm.id), "labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "virt-v2v", "image": VIRT_V2V}]}})
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
                    tell(&api, CONTROLLER, "Running").await;
                }
                mtv.up.send_replace(!mtv.defects.behaves(Conduct::ControllerStaysDown));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            None => return,
        }
    }
}
