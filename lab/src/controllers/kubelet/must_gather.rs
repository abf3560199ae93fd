//! MTV's must-gather image: a first container that gathers for one Plan (`targeted`), then one that waits to be asked for
//! the archive. Here it finds the Plan or does not, as the script does; the archive is that of [`crate::guests::gathered`].

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use super::program::env;
use super::{Ended, KubeletOptions};
use crate::apiserver::LOG_ANNOTATION;
use crate::guests::gathered::SCRIPT;

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
    pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(log)).await?;
    Ok(if found { Ended::Well } else { Ended::Badly("exit status 1".to_owned()) })
}
