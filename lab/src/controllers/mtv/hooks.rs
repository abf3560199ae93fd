//! Hooks: validation, and running one as a Job.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::conditions::{condition, settle, write_status};
use super::execute::Walk;
use super::{Mtv, MtvVersion, jobs, target};
use crate::api::forklift::{Hook, HookStatus, Migration, Plan};
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::glance;
use crate::controllers::kubelet::playbook;
use crate::controllers::objects::{Restart, one_task_each};
use crate::controllers::pod_status::{self, Stage};
use crate::controllers::said;
use crate::inventory::model::InvVm;

/// What the labels of hooks' objects say that they are.
const RESOURCE: &str = "hook-config";
/// Simulated time between two looks at a Job: MTV's own.
const LOOK: Duration = Duration::from_secs(3);
/// Real time: nobody sees more of it.
const SHORTEST: Duration = Duration::from_millis(20);
/// Failed pods that are one too many, whatever the Job says (`HookRetry`, pkg/settings).
const RETRIES: i32 = 3;

pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    let worker = mtv.clone();
    let work = move |hook| reconcile(worker.clone(), hook);
    one_task_each(mtv.client.clone(), &(), Restart::OnNewGeneration, stop, work, |_| {}).await;
}

async fn reconcile(mtv: Arc<Mtv>, hook: Hook) {
    let old = hook.status.clone().unwrap_or_default();
    let playbook = hook.spec.playbook.as_deref().unwrap_or_default();
    let mut conditions = Vec::new();
    if let Some(aap) = hook.spec.aap.as_ref().filter(|_| mtv.version.at_least(12)) {
        let set = jobs::is_set(&mtv, aap).await;
        conditions.extend(
            jobs::refusal(&hook, aap, set).map(|why| condition("InvalidHookExecute", "Critical", "NotSet", why)),
        );
    } else if hook.spec.image.is_empty() && mtv.version.at_least(12) {
        let message = "Local hooks require `image`; `playbook` is optional. Use `spec.aap` for AAP job templates.";
        conditions.push(condition("InvalidHookExecute", "Critical", "NotSet", message));
    } else if hook.spec.image.is_empty() {
        conditions.push(condition("InvalidImage", "Critical", "DataErr", "The hook image is not valid."));
    }
    if STANDARD.decode(playbook).is_err() {
        conditions.push(condition(
            "InvalidPlaybook",
            "Critical",
            "DataError",
            "`Playbook` should contain a base64 encoded playbook.",
        ));
    }
    if conditions.is_empty() {
        conditions.push(condition("Ready", "Required", "", "The hook is ready."));
    }
    let status = HookStatus {
        conditions: settle(conditions, &old.conditions),
        observed_generation: hook.metadata.generation.unwrap_or_default(),
    };
    write_status(&mtv.client, &hook, &status).await;
}

/// Runs the hook, as a Job in the Plan's namespace or on the Automation Platform; `Err` is the Job's own message.
pub(super) async fn execute(
    mtv: &Mtv,
    plan: &Plan,
    migration: &Migration,
    vm: &InvVm,
    step: &str,
    hook: &crate::api::forklift::ObjRef,
) -> Result<(), String> {
    let hooks: Api<Hook> = Api::namespaced(mtv.client.clone(), hook.namespace.as_deref().unwrap_or_default());
    let found = hooks.get_opt(hook.name.as_deref().unwrap_or_default()).await.map_err(said::by)?;
    let found = found.ok_or("Hook not found.")?;
    if let Some(aap) = found.spec.aap.as_ref().filter(|_| mtv.version.at_least(12)) {
        let deadline = found.spec.deadline.unwrap_or_default();
        return jobs::run(mtv, plan, (&vm.id, &vm.name, step), aap, deadline).await;
    }
    let labels = json!({"plan": plan.uid(), "migration": migration.uid(), "vmID": vm.id, "step": step,
        "hook": found.uid(), "resource": RESOURCE});
    let runner = Runner { mtv, plan, vm, step, hook: &found, labels };
    loop {
        match runner.ensure_job().await {
            Ok(job) => {
                if let Some(ended) = ended(&job) {
                    return ended;
                }
                if !mtv.nodes {
                    runner.play(&job).await;
                }
            }
            // MTV gives it back to its queue and comes again.
            Err(error) => tracing::debug!(%error, plan = plan.name_any(), "a hook has no Job yet"),
        }
        tokio::time::sleep(mtv.clock.real(LOOK).max(SHORTEST)).await;
    }
}

/// What the Job says (`Run`, pkg/controller/plan/hook.go); `None` while it works.
fn ended(job: &Job) -> Option<Result<(), String>> {
    let status = job.status.clone().unwrap_or_default();
    let failed = status.conditions.into_iter().flatten().find(|one| one.type_ == "Failed" && one.status == "True");
    if let Some(failed) = failed {
        return Some(Err(failed.message.unwrap_or_default()));
    }
    if status.failed.unwrap_or_default() > RETRIES {
        return Some(Err("Retry limit exceeded.".to_owned()));
    }
    (status.succeeded.unwrap_or_default() > 0).then_some(Ok(()))
}

/// One hook of one VM in one step (`HookRunner`, pkg/controller/plan/hook.go).
struct Runner<'a> {
    mtv: &'a Mtv,
    plan: &'a Plan,
    vm: &'a InvVm,
    step: &'a str,
    hook: &'a Hook,
    /// By which its Job and its ConfigMap are found.
    labels: Value,
}

impl Runner<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.mtv.client.clone(), &self.plan.namespace().unwrap_or_default())
    }

    fn own(&self) -> ListParams {
        let pairs = self.labels.as_object().into_iter().flatten();
        let pairs = pairs.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
        ListParams::default().labels(&pairs.collect::<Vec<_>>().join(","))
    }

    fn prefix(&self) -> String {
        format!("{}-{}-{}-", self.plan.name_any(), self.vm.id, self.step).to_lowercase()
    }

    fn playbook(&self) -> String {
        let decoded = STANDARD.decode(self.hook.spec.playbook.as_deref().unwrap_or_default()).unwrap_or_default();
        String::from_utf8_lossy(&decoded).into_owned()
    }

    /// The Job, and the ConfigMap that goes with it.
    async fn ensure_job(&self) -> Result<Job, kube::Error> {
        let jobs: Api<Job> = self.api();
        if let Some(there) = jobs.list(&self.own()).await?.items.into_iter().next() {
            return Ok(there);
        }
        let maps: Api<ConfigMap> = self.api();
        let map = match maps.list(&self.own()).await?.items.into_iter().next() {
            Some(there) => there,
            None => {
                let map = serde_json::from_value(self.config_map()).map_err(kube::Error::SerdeError)?;
                maps.create(&PostParams::default(), &map).await?
            }
        };
        let job = serde_json::from_value(self.job(&map.name_any())).map_err(kube::Error::SerdeError)?;
        let made = jobs.create(&PostParams::default(), &job).await?;
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": made.name_any(), "uid": made.uid()}]);
        let patch = Patch::Merge(json!({"metadata": {"ownerReferences": owner}}));
        glance::patch(&maps, &map.name_any(), &patch).await?;
        Ok(made)
    }

    /// What the playbook is run with. Nobody in the lab reads the workload, so that it names the VM and no more.
    fn config_map(&self) -> Value {
        let yaml = |value: &Value| serde_saphyr::to_string(value).unwrap_or_default();
        // Until the Job is there it is the Plan's: a VM may be canceled in between.
        let owner = json!([kube::Resource::owner_ref(self.plan, &())]);
        json!({"metadata": {"generateName": self.prefix(), "labels": self.labels, "ownerReferences": owner}, "data": {
            "playbook.yml": self.playbook(), "plan.yml": yaml(&lower(json!(self.plan.spec))),
            "workload.yml": yaml(&json!({"id": self.vm.id, "name": self.vm.name}))}})
    }

    fn job(&self, map: &str) -> Value {
        let mut container = json!({
            "name": "hook", "image": self.hook.spec.image,
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "150Mi"}},
            "volumeMounts": [{"name": "hook", "mountPath": "/tmp/hook"}],
        });
        if self.hook.spec.playbook.as_deref().is_some_and(|playbook| !playbook.is_empty()) {
            container["command"] =
                json!(["/bin/entrypoint", "ansible-runner", "run", "/tmp/runner", "-p", "/tmp/hook/playbook.yml"]);
        }
        let mut pod = json!({"restartPolicy": "Never", "containers": [container],
            "volumes": [{"name": "hook", "configMap": {"name": map}}]});
        if let Some(deadline) = self.hook.spec.deadline.filter(|seconds| *seconds > 0) {
            pod["activeDeadlineSeconds"] = json!(deadline);
        }
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"generateName": self.prefix(), "labels": self.labels,
                "ownerReferences": [kube::Resource::owner_ref(self.plan, &())]},
            "spec": {"backoffLimit": 1, "template": {"spec": pod}},
        })
    }

    /// Where no kubelet does: the pods that the Job's controller has made end as the playbook would.
    async fn play(&self, job: &Job) {
        let (pods, text): (Api<Pod>, _) = (self.api(), self.playbook());
        let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", job.name_any()));
        let all = pods.list(&of_job).await.map(|list| list.items).unwrap_or_default();
        let works: Vec<&Pod> = all.iter().filter(|pod| !pod_status::is_over(pod)).collect();
        // The Job's controller has not yet said what became of the last one.
        if works.is_empty() {
            return;
        }
        self.mtv.clock.sleep(playbook::takes(&text)).await;
        for pod in works {
            let log = Patch::Merge(json!({"metadata": {"annotations": {LOG_ANNOTATION: playbook::output(&text)}}}));
            let _ = glance::patch(&pods, &pod.name_any(), &log).await;
            let _ = pod_status::tell(&pods, pod, Stage::Over(&playbook::ended(&text)), None).await;
        }
    }
}

/// Keys as Go's YAML writes those of structs without tags.
fn lower(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(key, own)| (key.to_lowercase(), lower(own))).collect(),
        Value::Array(all) => all.into_iter().map(lower).collect(),
        other => other,
    }
}

/// The VM begins anew, is canceled or (from 2.12 on) has arrived: its hooks' Jobs go, with their pods and ConfigMaps
/// (`DeleteHookJobs`). Of one that failed they stay.
pub(super) async fn clean_up(walk: &Walk<'_>) {
    let run = walk.run;
    if run.plan.spec.vms.get(walk.index).is_some_and(|vm| !vm.hooks.is_empty()) {
        remove(&run.target, &run.plan, run.mtv.version, &format!(",vmID={}", walk.vm.id)).await;
    }
}

/// Likewise of all VMs of an archived Plan.
pub(super) async fn archived(mtv: &Mtv, client: &kube::Client, plan: &Plan) {
    if plan.spec.vms.iter().any(|vm| !vm.hooks.is_empty()) {
        remove(client, plan, mtv.version, "").await;
    }
}

/// Up to 2.11 they are looked for in the target namespace, and so found where the Plan is there, too.
async fn remove(client: &kube::Client, plan: &Plan, version: MtvVersion, of_vm: &str) {
    let own = plan.namespace().unwrap_or_default();
    let namespace = if version.at_least(12) { &own } else { &plan.spec.target_namespace };
    let labels = format!("plan={},resource={RESOURCE}{of_vm}", plan.uid().unwrap_or_default());
    let api: Api<Job> = Api::namespaced(client.clone(), namespace);
    target::delete_each(&api, &ListParams::default().labels(&labels), &DeleteParams::background()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_has_ended_when_its_job_says_so_in_the_jobs_own_words() {
        let of = |status: Value| ended(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap());
        assert_eq!(of(json!({"active": 1})), None);
        assert_eq!(of(json!({"succeeded": 1})), Some(Ok(())));
        let failed = json!({"type": "Failed", "status": "True", "message": "too often"});
        assert_eq!(of(json!({"failed": 2, "conditions": [failed]})), Some(Err("too often".to_owned())));
    }
}
