//! MTV's must-gather image: a first container that gathers for one Plan (`targeted`), then one that waits to be asked for
//! the archive. Here it finds the Plan or does not, as the script does; the archive is that of [`crate::guests::gathered`].
//! `oc adm must-gather` has a pod of its own, of two containers that run beside each other; what it finds is in
//! [`crate::guests::inspected`].

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::program::env;
use super::{Ended, KubeletOptions};
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::glance;
use crate::controllers::storage::tolerate;
use crate::guests::gathered::SCRIPT;
use crate::guests::inspected;

/// Simulated time that it takes.
const TIME: Duration = Duration::from_secs(60);

/// The container that gathers, where the pod has one.
pub fn gathering(pod: &Pod) -> Option<&Container> {
    let first = pod.spec.as_ref()?.init_containers.as_ref()?.first()?;
    first.command.as_ref()?.iter().any(|word| word == SCRIPT).then_some(first)
}

/// Gathers, before the pod runs. How the container ended.
pub async fn gather(options: &KubeletOptions, pod: &Pod, container: &Container) -> Result<Ended, kube::Error> {
    let (namespace, plan) = (env(container, "NS"), env(container, "PLAN"));
    let kind = GroupVersionKind::gvk("forklift.konveyor.io", "v1beta1", "Plan");
    let kind = ApiResource::from_gvk_with_plural(&kind, "plans");
    let plans: Api<DynamicObject> = Api::namespaced_with(options.client.clone(), namespace, &kind);
    options.clock.sleep(TIME).await;
    let mut said = format!("Targeted gathering for Namespace: {namespace}\nTargeted gathering for Plan: {plan}\n");
    let found = !plan.is_empty() && plans.get_opt(plan).await?.is_some();
    said.push_str(match found {
        true => "Gathering plans..\nCreated /must-gather/must-gather.tar.gz\nWaiting for copy phase...\n",
        false => "ERROR: No resources matching the criteria were found. Try adjust NS, PLAN or VM env variables.\n",
    });
    let pods: Api<Pod> = Api::namespaced(options.client.clone(), &pod.namespace().unwrap_or_default());
    let log = json!({"metadata": {"annotations": {LOG_ANNOTATION: said}}});
    glance::patch(&pods, &pod.name_any(), &Patch::Merge(log)).await?;
    Ok(if found { Ended::Well } else { Ended::Badly("exit status 1".to_owned()) })
}

/// Whether a pod is that of `oc adm must-gather`.
pub fn is_of_oc(pod: &Pod) -> bool {
    inspected::is_gathering(&serde_json::to_value(pod).unwrap_or_default())
}

/// Lets the first container gather and end; the second stays.
pub async fn gather_for_oc(options: &KubeletOptions, pod: &Pod) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(options.client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    options.clock.sleep(TIME).await;
    let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()).and_then(|first| first.image.clone());
    let image = image.unwrap_or_default();
    let said = match inspected::is_mtv(&image) {
        true => {
            "Gathering Forklift and Kubevirt related CRs for namespaces [openshift-mtv]\n\
             Gathering logs for namespaces [openshift-mtv]\nWaiting for background gather tasks to finish\n\
             Tarring must-gather artifacts...\nCreated /must-gather/must-gather.tar.gz\nWaiting for copy phase...\n"
        }
        false => {
            "Gathering data for ns/openshift-config...\nGathering data for ns/openshift-mtv...\n\
             Wrote inspect data to must-gather.\n"
        }
    };
    let log = json!({"metadata": {"annotations": {LOG_ANNOTATION: said}}});
    glance::patch(&pods, &name, &Patch::Merge(log)).await?;
    let Some(now) = pods.get_opt(&name).await? else { return Ok(()) };
    let mut statuses =
        serde_json::to_value(now.status.and_then(|status| status.container_statuses)).unwrap_or_default();
    if let Some(first) = statuses.as_array_mut().and_then(|all| all.first_mut()) {
        let started = first["state"]["running"]["startedAt"].clone();
        first["ready"] = json!(false);
        first["state"] = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": started,
            "finishedAt": super::now()}});
    }
    let patch: Patch<Value> = Patch::Merge(json!({"status": {"containerStatuses": statuses}}));
    tolerate(glance::patch_status(&pods, &name, &patch).await, 404)
}
