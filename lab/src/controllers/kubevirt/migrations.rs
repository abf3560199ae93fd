//! Live migrations: a VirtualMachineInstanceMigration takes its instance to another node, phase by phase.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch};
use serde_json::{Value, json};

use super::json::text;
use super::{KubevirtOptions, nodes, now, value, vmi_resource, write_vmi_status};
use crate::controllers::glance;
use crate::controllers::objects::{Restart, one_task_each};

/// Simulated time in each phase.
const PHASE: Duration = Duration::from_secs(5);
const PHASES: [&str; 6] = ["Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running"];

pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("kubevirt.io", "v1", "VirtualMachineInstanceMigration");
    ApiResource::from_gvk_with_plural(&kind, "virtualmachineinstancemigrations")
}

/// What `migrate` asks for.
pub(super) fn request(instance: &str) -> Value {
    json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": {"generateName": "kubevirt-migrate-vm-"}, "spec": {"vmiName": instance}})
}

/// Runs until it is stopped.
pub(super) async fn run(options: Arc<KubevirtOptions>) {
    let (worker, stop) = (options.clone(), options.stop.clone());
    let work = move |migration: DynamicObject| {
        let options = worker.clone();
        async move {
            if let Err(error) = live(&options, &migration).await {
                tracing::debug!(%error, "a live migration was cut short");
            }
        }
    };
    one_task_each(options.client.clone(), &resource(), Restart::Never(&|_| {}), stop, work, |_| {}).await;
}

async fn live(options: &KubevirtOptions, migration: &DynamicObject) -> Result<(), kube::Error> {
    let object = value(migration);
    if matches!(text(&object, "/status/phase"), "Succeeded" | "Failed") {
        return Ok(());
    }
    let (namespace, name) = (migration.namespace().unwrap_or_default(), migration.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(options.client.clone(), &namespace, &resource());
    let vmis: Api<DynamicObject> = Api::namespaced_with(options.client.clone(), &namespace, &vmi_resource());
    let instance = text(&object, "/spec/vmiName").to_owned();
    let tell = async |phase: &str| {
        let patch = Patch::Merge(json!({"status": {"phase": phase}}));
        glance::patch_status(&api, &name, &patch).await
    };
    let begun = now();
    for phase in PHASES {
        tell(phase).await?;
        options.clock.sleep(PHASE).await;
    }
    let Some(vmi) = vmis.get_opt(&instance).await?.map(|vmi| value(&vmi)) else { return tell("Failed").await };
    let from = text(&vmi, "/status/nodeName");
    let all = Api::<Node>::all(options.client.clone()).list(&ListParams::default()).await?;
    let others: Vec<Value> = all
        .items
        .iter()
        .filter(|node| node.name_any() != from)
        .filter_map(|node| serde_json::to_value(node).ok())
        .collect();
    let mut wanted = vmi.clone();
    if let Some(added) = object.pointer("/spec/addedNodeSelector").and_then(Value::as_object) {
        for (label, has) in added {
            wanted["spec"]["nodeSelector"][label] = has.clone();
        }
    }
    let Some(to) = nodes::choose(&others, &wanted, false) else { return tell("Failed").await };
    let moved = json!({"nodeName": to, "migrationState": {"sourceNode": from, "targetNode": to, "completed": true,
        "migrationUid": migration.uid(), "startTimestamp": begun, "endTimestamp": now(), "mode": "PreCopy"}});
    write_vmi_status(&vmis, &instance, &moved).await?;
    let patch = Patch::Merge(json!({"metadata": {"labels": {"kubevirt.io/nodeName": to}}}));
    glance::patch(&vmis, &instance, &patch).await?;
    tell("Succeeded").await
}
