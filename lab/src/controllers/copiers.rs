//! The pods that copy disks, where a kubelet plays them: CDI's importers and Forklift's populators. They carry nothing;
//! they are there to be seen and to be killed. One that is gone is made again, and its copy begins anew.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::copy_log::{Copies, CopyLog};
use super::glance;
use super::pod_status::{self, Ended, Stage};
use super::storage::tolerate;
use crate::apiserver::LOG_ANNOTATION;

/// When the pod began, in milliseconds since 1970: a pod's own times are whole seconds.
const BEGAN: &str = "lab.mtv-matrix.io/began";
/// MTV looks every three seconds, real ones: a whole copy shall be seen, and be there to be killed.
pub(super) const SHORTEST: Duration = Duration::from_secs(4);

/// Who copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Importer,
    Populator,
    /// A populator that has an array copy.
    Offload,
}

/// The pod that fills one claim.
pub(super) struct Copier {
    api: Api<Pod>,
    body: Value,
    name: String,
}

impl Copier {
    pub fn of(client: &Client, claim: &PersistentVolumeClaim, who: Who) -> Self {
        let namespace = claim.namespace().unwrap_or_default();
        let uid = claim.uid().unwrap_or_default();
        let (name, labels, container) = match who {
            Who::Importer => {
                let labels = json!({"app": "containerized-data-importer", "cdi.kubevirt.io": "importer"});
                (format!("importer-{}", claim.name_any()), labels, "importer")
            }
            // MTV takes a canceled VM's away by these (`getPopulatorPods`, `pkg/controller/plan/kubevirt.go`).
            Who::Populator => {
                let own = ["migration", "plan", "vmID"].into_iter();
                let mut labels: BTreeMap<&str, String> =
                    own.filter_map(|key| Some((key, claim.labels().get(key)?.clone()))).collect();
                labels.insert("pvcName", claim.name_any());
                (format!("populate-{uid}"), json!(labels), "populate")
            }
            Who::Offload => {
                let own = claim.labels();
                let mut labels = json!({"pvcName": claim.name_any()});
                for key in ["migration", "vmID", "plan", "sourceHost"] {
                    if let Some(value) = own.get(key) {
                        labels[key] = json!(value);
                    }
                }
                (format!("populate-{uid}"), labels, "populate")
            }
        };
        let owner =
            json!([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name_any(), "uid": uid}]);
        let mut body = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "ownerReferences": owner,
                "annotations": {BEGAN: jiff::Timestamp::now().as_millisecond().to_string()}},
            "spec": {"restartPolicy": "OnFailure", "containers": [{"name": container, "image": container}]}});
        if let Some(log) = copies(claim, who) {
            body["metadata"]["annotations"][LOG_ANNOTATION] = json!(log.text());
        }
        Self { api: Api::namespaced(client.clone(), &namespace), body, name }
    }

    /// By its label: the ESXi host that copies.
    pub fn runs_on(&mut self, host: &str) {
        self.body["metadata"]["labels"]["sourceHost"] = json!(host);
    }

    /// The ESXi host that copies, where one does.
    pub fn host(&self) -> Option<&str> {
        self.body["metadata"]["labels"]["sourceHost"].as_str()
    }

    /// Makes it, where it is not there; whether there is room for it.
    pub async fn start(&self) -> Result<bool, kube::Error> {
        let mut body = self.body.clone();
        body["spec"]["nodeName"] = json!(node(&self.api.clone().into_client()).await);
        let pod = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
        match self.api.create(&PostParams::default(), &pod).await {
            // It comes when there is room.
            Err(kube::Error::Api(refused)) if refused.code == 403 => Ok(false),
            made => tolerate(made, 409).map(|()| true),
        }
    }

    /// For how long it has copied; `None`: it is gone.
    pub async fn age(&self) -> Result<Option<Duration>, kube::Error> {
        let Some(pod) = self.api.get_metadata_opt(&self.name).await? else { return Ok(None) };
        let began = pod.annotations().get(BEGAN).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
        let age = jiff::Timestamp::now().as_millisecond().saturating_sub(began);
        Ok(Some(Duration::from_millis(u64::try_from(age).unwrap_or_default())))
    }

    /// It is done, and stays until MTV takes it.
    pub async fn stays(&self) -> Result<(), kube::Error> {
        pod_status::tell_of(&self.api, &self.name, Stage::Over(&Ended::Well)).await
    }

    /// It is done, and goes.
    pub async fn end(&self) -> Result<(), kube::Error> {
        tolerate(self.api.delete(&self.name, &DeleteParams::default().grace_period(0)).await, 404)
    }
}

/// What the pod of a claim prints when it begins; a populator that has an array copy writes its own.
fn copies(claim: &PersistentVolumeClaim, who: Who) -> Option<CopyLog> {
    let told = |key: &str| claim.annotations().get(&format!("cdi.kubevirt.io/storage.import.{key}")).cloned();
    let label = |key: &str| claim.labels().get(key).cloned();
    let copies = match who {
        Who::Offload => return None,
        Who::Importer => match told("backingFile") {
            Some(file) => Copies::Vddk { file, url: told("endpoint").unwrap_or_default() },
            None => Copies::Http { url: told("endpoint").unwrap_or_default() },
        },
        Who::Populator => match (label("diskID"), label("imageID")) {
            (Some(disk), _) => Copies::Ovirt { disk },
            (None, image) => Copies::Openstack { image: image.unwrap_or_default() },
        },
    };
    Some(CopyLog::begun(copies, requested(claim)))
}

/// The size that a claim asks for, in bytes.
pub(crate) fn requested(claim: &PersistentVolumeClaim) -> u64 {
    let asked = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    asked.and_then(|quantity| crate::api::quantity::bytes(&quantity.0)).unwrap_or_default()
}

/// What is looked at of a worker.
#[derive(Deserialize)]
struct Worker {
    metadata: ObjectMeta,
    spec: Option<Taken>,
}

#[derive(Deserialize)]
struct Taken {
    unschedulable: Option<bool>,
}

/// A worker that takes pods, always the same one while it does.
pub(super) async fn node(client: &Client) -> Option<String> {
    let workers = ListParams::default().labels("node-role.kubernetes.io/worker");
    let nodes = glance::each::<Node, Worker>(&Api::all(client.clone()), &workers).await.unwrap_or_default();
    let open = |node: &Worker| !node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    nodes.into_iter().filter(open).filter_map(|node| node.metadata.name).min()
}
