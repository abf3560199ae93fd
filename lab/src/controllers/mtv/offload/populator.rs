//! One populator: waits for a place on its ESXi host, copies, tells of it in its log, and ends.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, Patch, PostParams};
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::super::execute::{COPY, Walk};
use super::super::populators;
use super::array;
use super::log::{Begun, ESXI, Log, device};
use super::{Job, base_file, resource};
use crate::api::forklift::ForkliftController;
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::copiers::node;
use crate::controllers::glance;
use crate::controllers::pod_status::{self, Ended, Stage};
use crate::controllers::said;
use crate::defects::Defect;
use crate::defects::conduct::Conduct;
use crate::esxi::client::{Executor, script};
use crate::ports::GuestDirectory;

/// Simulated time until a claim that had no place is looked at again.
const AGAIN: Duration = Duration::from_secs(10);
/// Looks of the populator at its copy.
const TICKS: u32 = 4;
/// Populators of one host at once where nobody says it.
const LIMIT: usize = 20;

/// Who tells events of claims that populators fill (`getRecorder`, pkg/lib-volume-populator).
pub(in crate::controllers) const TELLS: &str = "forklift.konveyor.io-populator";

/// Vendors whose populator copies a raw mapping by the array's own means (`RDMCapable`).
const RAW: &[&str] = &["flashsystem", "primera3par", "pureFlashArray", "vantara"];

/// A populator's pod and what it has said so far.
struct Populator<'a> {
    walk: &'a Walk<'a>,
    job: &'a Job,
    pods: Api<Pod>,
    name: String,
    log: Log,
    file: String,
    /// Whether it came as far as copying.
    begun: bool,
}

/// Runs it to its end; `Err` is what the Plan says of its failure.
pub(super) async fn run(walk: &Walk<'_>, step: &str, job: &Job) -> Result<(), String> {
    let namespace = &walk.run.plan.spec.target_namespace;
    let pods: Api<Pod> = Api::namespaced(walk.run.target.clone(), namespace);
    let uid = job.claim.uid().unwrap_or_default();
    let file = base_file(&job.disk.source, walk.run.plan.spec.warm);
    let log = Log::new(&job.claim.name_any(), &file);
    let mut own = Populator { walk, job, pods, name: format!("populate-{uid}"), log, file, begun: false };
    own.take_place().await?;
    let ended = own.copy(step).await;
    if let Err(error) = &ended {
        match own.begun {
            true => own.log.fails(error),
            false if !error.is_empty() => own.log.fatal(error),
            false => {}
        }
        own.write().await;
    }
    own.end(ended.is_ok()).await;
    ended.map_err(|_| format!("populator pod failed for PVC {uid}. Please check the pod logs"))
}

impl Populator<'_> {
    /// Makes the pod, as soon as its host has room for it.
    async fn take_place(&self) -> Result<(), String> {
        let (host, claim) = (&self.job.host, &self.job.claim);
        loop {
            // One worker looks at claims, one after the other.
            let turn = self.walk.run.mtv.populators.lock().await;
            let limit = limit(self.walk).await;
            let active = self.active().await;
            if limit == 0 || active < limit || self.walk.behaves(Conduct::IgnoresPopulatorLimit) {
                let made = self.pods.create(&PostParams::default(), &self.pod().await?).await;
                let made = made.map_err(|e| format!("Failed to create populator pod: {}", said::by(e)))?;
                let _ = pod_status::tell(&self.pods, &made, Stage::Runs, None).await;
                drop(turn);
                populators::began(self.walk, claim, &made).await;
                return Ok(());
            }
            drop(turn);
            let text = format!("Waiting for available populator slot on host {host} ({active}/{limit} in-flight)");
            self.walk.run.mtv.events.normal(&claim.object_ref(&()), TELLS, "PopulatorThrottled", &text).await;
            tracing::debug!(claim = claim.name_any(), host, "a populator waits");
            self.walk.rest(AGAIN).await;
        }
    }

    /// Populators that are at work on the host, of any Plan.
    async fn active(&self) -> usize {
        let all: Api<Pod> = Api::all(self.walk.run.target.clone());
        let on_host = ListParams::default().labels(&format!("sourceHost={}", self.job.host));
        let list = all.list(&on_host).await.map(|list| list.items).unwrap_or_default();
        let works = |pod: &&Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
            pod.name_any().starts_with("populate-") && !matches!(phase, "Succeeded" | "Failed")
        };
        list.iter().filter(works).count()
    }

    async fn pod(&self) -> Result<Pod, String> {
        let (claim, version) = (&self.job.claim, self.walk.run.mtv.version);
        let mut labels = json!({"pvcName": claim.name_any(), "migration": claim.labels().get("migration")});
        if version.at_least(12) {
            labels["vmID"] = json!(claim.labels().get("vmID"));
            labels["plan"] = json!(claim.labels().get("plan"));
        }
        labels["sourceHost"] = json!(self.job.host);
        let body = json!({
            "metadata": {"name": self.name, "labels": labels, "ownerReferences": [
                {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name_any(), "uid": claim.uid()}]},
            "spec": {"restartPolicy": "Never", "serviceAccountName": super::ACCOUNT,
                "nodeName": node(&self.walk.run.target).await,
                "containers": [{"name": "populate", "image": "vsphere-copy-offload-populator",
                    "ports": [{"name": "metrics", "containerPort": 8443}]}]},
        });
        serde_json::from_value(body).map_err(|e| e.to_string())
    }

    /// Shows the log so far.
    async fn write(&self) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {LOG_ANNOTATION: self.log.text()}}}));
        let _ = glance::patch(&self.pods, &self.name, &patch).await;
    }

    /// The pod stays as it ended, and its claim says how.
    async fn end(&self, well: bool) {
        let ended = if well { Ended::Well } else { Ended::Badly(String::new()) };
        let _ = pod_status::tell_of(&self.pods, &self.name, Stage::Over(&ended)).await;
        let (events, of) = (&self.walk.run.mtv.events, self.job.claim.object_ref(&()));
        if well {
            events.normal(&of, TELLS, "PopulatorFinished", "Populator finished").await;
        } else {
            let namespace = &self.walk.run.plan.spec.target_namespace;
            events.warning(&of, TELLS, "PopulatorFailed", &failed(namespace, &self.name)).await;
        }
    }

    /// The controller writes what it has read of the pod's metrics.
    async fn status(&self, status: Value) {
        let namespace = &self.walk.run.plan.spec.target_namespace;
        let api: Api<DynamicObject> = Api::namespaced_with(self.walk.run.target.clone(), namespace, &resource());
        let patch = Patch::Merge(json!({"status": status}));
        let _ = glance::patch(&api, &self.job.claim.name_any(), &patch).await;
    }

    async fn copy(&mut self, step: &str) -> Result<(), String> {
        let (walk, job) = (self.walk, self.job);
        let mtv = &walk.run.mtv;
        let vendor = job.config.storage_vendor_product.as_str();
        let has = |key: &str| job.secret.get(key).is_some_and(|value| !value.is_empty());
        let told = |key: &str| job.secret.get(key).cloned().unwrap_or_default();
        if let Some(why) = array::incomplete(told) {
            self.log.refuses(&why);
            return Err(String::new());
        }
        self.log.plain(
            "vsphere-copy-offload-populator.go:439",
            match has("STORAGE_TOKEN") {
                true => "Using token-based authentication for storage",
                false => "Using username/password authentication for storage",
            },
        );
        if let Some(why) = array::refusal(vendor, told) {
            return Err(why);
        }
        let raw = job.disk.vsphere().is_some_and(|own| own.raw);
        let by_array = raw && RAW.contains(&vendor);
        let kind = if raw { "rdm" } else { "vmdk" };
        self.log.say("factory.go:52", "setup", "disk type detected", &[("type", kind.to_owned())]);
        let using = if by_array { "using RDM populator" } else { "using VMDK/Xcopy populator" };
        self.log.say("factory.go:66", "setup", using, &[]);
        self.log.plain("vsphere-copy-offload-populator.go:205", "\"populator\" stage=\"setupTracing\"");
        self.log.main("", "copy-offload started", "");
        self.begun = true;
        let method = match job.secret.get("ESXI_CLONE_METHOD").map(String::as_str) {
            _ if by_array => "rdm",
            Some("ssh") => "ssh",
            _ => "vib",
        };
        let volume = job.claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
        let volume = volume.unwrap_or_else(|| format!("pvc-{}", job.claim.uid().unwrap_or_default()));
        let by_ssh = self.began(method, &volume).await?;
        let delta = file_is_delta(&self.file);
        let used = !by_array
            && !delta
            && mtv.guests.xcopies(&job.disk.storage_id)
            && !mtv.defects.has(Defect::OffloadFellBack);
        let mut used = used;
        for tick in 1..=TICKS {
            walk.rest(COPY / TICKS / if used { 4 } else { 1 }).await;
            let percent = 100 * tick / TICKS;
            if let Some(copying) = &by_ssh {
                used = copying.look().await? && !mtv.defects.has(Defect::OffloadFellBack);
            }
            let word = if used { "1" } else { "0" };
            self.log.looks(percent, used);
            self.write().await;
            let mut status = json!({"progress": percent.to_string()});
            if mtv.version.at_least(12) && !mtv.defects.has(Defect::OffloadUntold) {
                status["xcopyUsed"] = json!(word);
                if method == "vib" {
                    status["vibVersion"] = json!("1.0.0");
                }
                walk.annotate_task(step, &self.file, "xcopyUsed", word);
            }
            self.status(status).await;
            walk.task_progress(step, &self.file, percent);
        }
        if let Some(copying) = &by_ssh {
            copying.clean().await?;
        }
        if method != "rdm" {
            self.log.gives_back();
        } else {
            self.log.say("rdm_populator.go:58", "rdm", "RDM copy finished", &[]);
        }
        if mtv.defects.has(Defect::PopulatorLogCut) {
            self.write().await;
            return Ok(());
        }
        self.log.ends(mtv.version.at_least(12));
        self.write().await;
        if mtv.version.at_least(13) {
            let protocol = if method == "rdm" { "n/a" } else { "iscsi" };
            let bytes = go_float(job.disk.capacity_bytes);
            let told = [
                ("result", "success"),
                ("copyDurationSeconds", "105"),
                ("storageVendor", vendor),
                ("cloneMethod", method),
                ("storageProtocol", protocol),
                ("provisionedBytes", bytes.as_str()),
                ("allocatedBytes", bytes.as_str()),
            ];
            for (key, value) in told {
                walk.annotate_task(step, &self.file, key, value);
            }
            self.status(Value::Object(told.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect())).await;
        }
        Ok(())
    }

    /// Up to the copy itself.
    async fn began(&mut self, method: &str, volume: &str) -> Result<Option<Copying>, String> {
        let (walk, job) = (self.walk, self.job);
        let file = self.file.clone();
        if method == "rdm" {
            self.log.say(
                "rdm_populator.go:46",
                "rdm",
                "RDM copy started",
                &[("vm", walk.vm.id.clone()), ("source", file), ("target", volume.to_owned())],
            );
            self.log.main("xcopy.clone", "xcopy", "xcopyUsed=0");
            self.write().await;
            return Ok(None);
        }
        let known = super::super::plan::content(&walk.run.mtv, &walk.run.resolved.source).await;
        let found = known.as_ref().and_then(|known| known.hosts.iter().find(|own| own.id == job.host));
        let Some(found) = found else {
            return Err(format!("didn't find any host with id {}", job.host));
        };
        let claim = job.claim.uid().unwrap_or_default();
        let (host_id, host_name) = (job.host.as_str(), found.name.as_str());
        self.log.begins(&Begun { method, file: &file, volume, claim: &claim, host_id, host_name });
        let by_ssh = match method {
            "ssh" => {
                Some(reach(&mut self.log, walk.run.mtv.guests.as_ref(), &job.secret, host_id, &file, &claim).await?)
            }
            _ => {
                self.log.clones(&file, &device(&claim), &claim);
                None
            }
        };
        self.write().await;
        Ok(by_ssh)
    }
}

/// In the words of the populators' controller, which gives one of these no second try.
pub(in crate::controllers) fn failed(namespace: &str, pod: &str) -> String {
    format!("VSphere xcopy populator failed (no retry): Please check the logs of the populator pod, {namespace}/{pod}")
}

/// A copy that a host does for a populator's key.
pub(in crate::controllers) struct Copying {
    executor: Executor,
    datastore: String,
    task: String,
}

impl Copying {
    pub(in crate::controllers) async fn look(&self) -> Result<bool, String> {
        self.executor.look(&self.datastore, &self.task).await
    }

    pub(in crate::controllers) async fn clean(&self) -> Result<(), String> {
        self.executor.clean(&self.datastore, &self.task).await
    }
}

/// Goes to the host by the key of the Secret (`EnableSSHAccess`, `ensureSecureScript`) and has it begin.
pub(in crate::controllers) async fn reach(
    log: &mut Log,
    guests: &dyn GuestDirectory,
    secret: &BTreeMap<String, String>,
    host: &str,
    file: &str,
    claim: &str,
) -> Result<Copying, String> {
    let key = |name: &str| {
        let text = secret.get(name).map(String::as_str).unwrap_or_default();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (private, public) = (key("SSH_PRIVATE_KEY"), key("SSH_PUBLIC_KEY"));
    if private.is_empty() || public.is_empty() {
        return Err(
            "SSH keys not found in environment variables - ensure provider controller has set SSH_PRIVATE_KEY and \
                    SSH_PUBLIC_KEY"
                .to_owned(),
        );
    }
    let Some(there) = guests.esxi(host) else { return Err("failed to get host IP address".to_owned()) };
    let Some(executor) = Executor::connect(&there, &private).await else {
        log.lacks_key(&there.name, public.trim());
        return Err(format!(
            "failed to enable SSH access: manual SSH key configuration required for ESXi {ESXI} - see logs for instructions"
        ));
    };
    let (datastore, path) = file.strip_prefix('[').and_then(|rest| rest.split_once("] ")).unwrap_or_default();
    let (name, version) = script();
    let uploads = executor.version(datastore).await.as_deref() != Some(version);
    if uploads {
        there.upload(datastore, name);
    }
    log.reaches(&there.name, (name, version), datastore, uploads);
    let (source, target) = (format!("/vmfs/volumes/{datastore}/{path}"), device(claim));
    let task = executor.clone_disk(datastore, &source, &target).await?;
    log.clones(&source, &target, &task);
    Ok(Copying { executor, datastore: datastore.to_owned(), task })
}

/// Whether a snapshot lies above the disk: what vmkfstools reads through a chain it writes itself.
pub(in crate::controllers) fn file_is_delta(file: &str) -> bool {
    base_file(file, true) != file
}

/// A number of bytes as Go's `%g` writes a float with the shortest digits.
fn go_float(bytes: u64) -> String {
    let text = format!("{:e}", bytes as f64);
    match text.split_once('e') {
        Some((digits, power)) if bytes >= 1_000_000 => format!("{digits}e+{power:0>2}"),
        _ => bytes.to_string(),
    }
}

async fn limit(walk: &Walk<'_>) -> usize {
    let api: Api<ForkliftController> = Api::namespaced(walk.run.mtv.client.clone(), &walk.run.mtv.namespace);
    let controller = api.get_opt("forklift-controller").await.ok().flatten();
    let told = controller.and_then(|c| c.spec.fields.get("controller_max_populator_inflight").cloned());
    let number = told.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_go_writes_them() {
        assert_eq!((go_float(21_474_836_480).as_str(), go_float(4096).as_str()), ("2.147483648e+10", "4096"));
    }
}
