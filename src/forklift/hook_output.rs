//! What a failed hook printed: MTV says of it only that its Job reached its limit.
//!
//! Best effort: a Job or a log that can't be read adds nothing.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};

use super::execution::failed_step;
use crate::api::forklift::VmStatus;
use crate::cluster::Cluster;

/// Lines of a hook's output that are told; its whole log is among the artifacts.
const LINES: i64 = 12;
/// Characters of one.
const LONGEST: usize = 300;
/// The container that runs the playbook.
const CONTAINER: &str = "hook";

/// The last lines of each failed hook's output, each with its VM and step. `namespace`: the Plan's.
pub async fn of(cluster: &Cluster, namespace: &str, vms: &[VmStatus]) -> Vec<String> {
    let mut lines = Vec::new();
    for vm in vms {
        let Some(step) = failed_step(vm).filter(|step| is_hook(step)) else { continue };
        let Some(output) = printed(cluster, namespace, &vm.id, &step).await else { continue };
        let shown = output.lines().map(str::trim_end).filter(|line| !line.is_empty());
        lines.extend(shown.map(|line| {
            let line: String = line.chars().take(LONGEST).collect();
            format!("{}: {step} printed: {line}", vm.name)
        }));
    }
    lines
}

/// Whether a step of a pipeline is a hook.
pub fn is_hook(step: &str) -> bool {
    matches!(step, "PreHook" | "PostHook")
}

/// MTV labels a hook's Job, and Kubernetes a Job's pods with its name. The newest that printed anything counts: a Job
/// tries again.
async fn printed(cluster: &Cluster, namespace: &str, vm: &str, step: &str) -> Option<String> {
    let jobs: Api<Job> = Api::namespaced(cluster.client(), namespace);
    let labels = format!("resource=hook-config,vmID={vm},step={step}");
    let jobs = jobs.list(&ListParams::default().labels(&labels)).await.ok()?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let mut all = Vec::new();
    for job in jobs.items {
        let labels = format!("job-name={}", job.name_any());
        all.extend(pods.list(&ListParams::default().labels(&labels)).await.ok()?.items);
    }
    all.sort_by_key(|pod| std::cmp::Reverse(pod.metadata.creation_timestamp.clone()));
    for pod in all {
        let container = Some(CONTAINER.to_owned());
        let params = LogParams { container, tail_lines: Some(LINES), ..LogParams::default() };
        if let Ok(text) = pods.logs(&pod.name_any(), &params).await
            && !text.trim().is_empty()
        {
            return Some(text);
        }
    }
    None
}
