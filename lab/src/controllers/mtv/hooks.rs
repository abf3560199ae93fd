//! Hooks: validation, and running one as a Job.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::conditions::{condition, settle, write_status};
use super::{Mtv, jobs};
use crate::api::forklift::{Hook, HookStatus, Migration, Plan};
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::kubelet::playbook;
use crate::controllers::objects::{Restart, one_task_each};

/// Simulated time that a playbook runs.
const PLAYBOOK: Duration = Duration::from_secs(150);

pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    let api: Api<Hook> = Api::all(mtv.client.clone());
    let worker = mtv.clone();
    one_task_each(api, Restart::OnNewGeneration, stop, move |hook| reconcile(worker.clone(), hook), |_| {}).await;
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
    (vm_id, vm_name): (&str, &str),
    step: &str,
    hook: &crate::api::forklift::ObjRef,
) -> Result<(), String> {
    let hooks: Api<Hook> = Api::namespaced(mtv.client.clone(), hook.namespace.as_deref().unwrap_or_default());
    let found =
        hooks.get(hook.name.as_deref().unwrap_or_default()).await.map_err(|e| format!("Hook not found: {e}"))?;
    if let Some(aap) = found.spec.aap.as_ref().filter(|_| mtv.version.at_least(12)) {
        return jobs::run(mtv, plan, (vm_id, vm_name, step), aap, found.spec.deadline.unwrap_or_default()).await;
    }
    let decoded = STANDARD.decode(found.spec.playbook.as_deref().unwrap_or_default()).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded).into_owned();
    let fail = playbook::failing_task(&text).is_some();
    let namespace = plan.namespace().unwrap_or_default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("batch", "v1", "Job"));
    let jobs: Api<DynamicObject> = Api::namespaced_with(mtv.client.clone(), &namespace, &resource);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "generateName": format!("{}-{vm_id}-{}-", plan.name_any(), step.to_lowercase()), "namespace": namespace,
            "labels": {
                "plan": plan.uid(), "migration": migration.uid(), "vmID": vm_id, "step": step,
                "hook": found.uid(), "resource": "hook-config",
            },
            "ownerReferences": [kube::Resource::owner_ref(plan, &())],
        },
        "spec": {"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [{
            "name": "hook", "image": found.spec.image,
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "150Mi"}},
            "command": ["/bin/entrypoint", "ansible-runner", "run", "/tmp/runner", "-p", "/tmp/hook/playbook.yml"],
        }]}}},
    });
    let job: DynamicObject = serde_json::from_value(job).map_err(|e| e.to_string())?;
    let made = jobs.create(&PostParams::default(), &job).await.map_err(|e| e.to_string())?;
    mtv.clock.sleep(PLAYBOOK).await;
    leave_pod(mtv, &namespace, &made, &found.spec.image, (fail, &playbook::output(&text))).await;
    let message = "Job has reached the specified backoff limit";
    let status = if fail {
        json!({"status": {"failed": 2, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": message}]}})
    } else {
        json!({"status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}})
    };
    let _ = jobs.patch_status(&made.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
    if fail { Err(message.to_owned()) } else { Ok(()) }
}

/// The Job's pod as a kubelet leaves it, which is not there beside this MTV: what the playbook printed is its log. A
/// hook that leaves none runs all the same.
async fn leave_pod(mtv: &Mtv, namespace: &str, job: &DynamicObject, image: &str, (fail, output): (bool, &str)) {
    let (job, uid) = (job.name_any(), job.uid().unwrap_or_default());
    let pod = json!({
        "metadata": {
            "generateName": format!("{job}-"), "namespace": namespace, "annotations": {LOG_ANNOTATION: output},
            "labels": {"job-name": job, "batch.kubernetes.io/job-name": job},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid}],
        },
        "spec": {"restartPolicy": "Never", "containers": [{"name": "hook", "image": image}]},
    });
    let Ok(pod) = serde_json::from_value::<Pod>(pod) else { return };
    let pods: Api<Pod> = Api::namespaced(mtv.client.clone(), namespace);
    let Ok(made) = pods.create(&PostParams::default(), &pod).await else { return };
    let status = json!({"status": {"phase": if fail { "Failed" } else { "Succeeded" }}});
    let _ = pods.patch_status(&made.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
}
