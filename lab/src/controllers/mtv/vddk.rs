//! VMware's library for reading disks, which comes as an image of the user's making: what MTV asks of it before it migrates
//! (`validateVddkImage`, pkg/controller/plan/validation.go, the same in 2.11.7, 2.12.5 and main). Where somebody looks into
//! the lab a Job looks at the image, as with MTV; the lab's kubelet finds every image good.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use super::conditions::condition;
use super::{Mtv, offload, pods, sources, target};
use crate::api::condition::Condition;
use crate::api::forklift::{Plan, Provider, StorageMap};
use crate::controllers::glance;

/// The image: the Provider's, else that of the ForkliftController.
pub(super) async fn image(mtv: &Mtv, source: &Provider) -> Option<String> {
    let filled = |text: &String| !text.is_empty();
    if let Some(own) = source.spec.settings.get("vddkInitImage").filter(|text| filled(text)) {
        return Some(own.clone());
    }
    mtv.setting("vddk_image").await.as_ref().and_then(Value::as_str).map(str::to_owned).filter(filled)
}

/// What speaks against the Plan, or holds it up.
pub(super) async fn conditions(
    mtv: &Mtv,
    plan: &Plan,
    (source, destination, storage): (&Provider, &Provider, &StorageMap),
) -> Vec<Condition> {
    if !sources::of(&source.spec.type_).is_some_and(|kind| kind.copies_by_vddk()) {
        return Vec::new();
    }
    let Some(image) = image(mtv, source).await else {
        let missing = |what: &str| {
            let message = format!("VDDK image not set on the provider, this is required for the {what} migration");
            vec![condition("VDDKInitImageUnavailable", "Critical", "NotSet", message)]
        };
        return match (plan.spec.warm, plan.spec.skip_guest_conversion == Some(true)) {
            (_, true) if !offload::is_used(storage) => missing("raw copy mode"),
            (true, _) => missing("warm"),
            _ => Vec::new(),
        };
    };
    if !mtv.events.is_on() || !mtv.nodes || !destination.spec.url.is_empty() {
        return Vec::new();
    }
    match look(mtv, plan, source, &image).await {
        Some(Looked::Good) | None => Vec::new(),
        Some(Looked::Bad) => vec![condition("VDDKInvalid", "Critical", "NotSet", "VDDK init image is invalid")],
        Some(Looked::NotYet) => {
            vec![condition(VALIDATING, "Advisory", "Started", "Validating VDDK init image")]
        }
    }
}

/// While it holds, the Plan is not ready.
pub(super) const VALIDATING: &str = "ValidatingVDDK";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    NotYet,
    Good,
    Bad,
}

/// By the Plan's Job for this image, made where there is none. `None`: it can't be made.
async fn look(mtv: &Mtv, plan: &Plan, source: &Provider, image: &str) -> Option<Looked> {
    let namespace = &plan.spec.target_namespace;
    target::ensure_namespace(mtv, &mtv.client, plan).await.ok().filter(|is_there| *is_there)?;
    let (plan_uid, sum) = (plan.uid().unwrap_or_default(), format!("{:x}", md5::compute(image)));
    let api: Api<Job> = Api::namespaced(mtv.client.clone(), namespace);
    let own = ListParams::default().labels(&format!("plan={plan_uid},vddk={sum}"));
    let job = match api.list(&own).await.ok()?.items.into_iter().next() {
        Some(job) => job,
        None => {
            // One that still looks at another image is not asked any more (`cancelOtherActiveVddkCheckJobs`).
            let others = ListParams::default().labels(&format!("plan={plan_uid},vddk!={sum},vddk"));
            for other in api.list(&others).await.ok()?.items {
                if other.status.as_ref().and_then(|status| status.active).unwrap_or_default() > 0 {
                    let _ = api.delete(&other.name_any(), &DeleteParams::foreground()).await;
                }
            }
            let labels = json!({"plan": plan_uid, "vddk": sum});
            let job = serde_json::from_value(job(plan, source, image, labels)).ok()?;
            api.create(&PostParams::default(), &job).await.ok()?
        }
    };
    let conditions = job.status.and_then(|status| status.conditions).unwrap_or_default();
    let holds = |type_: &str| conditions.iter().any(|one| one.type_ == type_ && one.status == "True");
    Some(match (holds("Failed"), holds("Complete")) {
        (true, _) => Looked::Bad,
        (_, true) => Looked::Good,
        _ => Looked::NotYet,
    })
}

/// The volume that holds the library in pods of MTV's.
pub(super) const VOLUME: &str = "vddk-vol-mount";

/// What puts the library into a pod of MTV's.
pub(super) fn side_car(image: impl Into<Value>) -> Value {
    json!({"name": "vddk-side-car", "image": image.into(), "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "100m", "memory": "150Mi"}, "limits": {"cpu": "1", "memory": "500Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": VOLUME, "mountPath": "/opt"}]})
}

fn job(plan: &Plan, source: &Provider, image: &str, labels: Value) -> Value {
    let side_car = side_car(image);
    let like = |field: &str| side_car[field].clone();
    json!({"apiVersion": "batch/v1", "kind": "Job",
    "metadata": {"generateName": format!("vddk-validator-{}", plan.name_any()), "labels": labels,
        "annotations": {"plan": plan.name_any(), "provider": source.name_any(), "vddk": image}},
    "spec": {"backoffLimit": 2, "completions": 1, "template": {"spec": {
        "restartPolicy": "Never", "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [side_car],
        "containers": [{"name": "validator", "image": pods::VIRT_V2V, "resources": like("resources"),
            "securityContext": like("securityContext"), "volumeMounts": like("volumeMounts"),
            "command": ["file", "-E", "/opt/vmware-vix-disklib-distrib/lib64/libvixDiskLib.so"]}],
        "volumes": [{"name": VOLUME, "emptyDir": {}}],
    }}}})
}

/// The Plan is archived: its Jobs go (`deleteValidateVddkJob`).
pub(super) async fn archived(client: &kube::Client, plan: &Plan) {
    let api: Api<Job> = Api::namespaced(client.clone(), &plan.spec.target_namespace);
    let own = ListParams::default().labels(&format!("plan={},vddk", plan.uid().unwrap_or_default()));
    let _ = glance::delete_all(&api, &DeleteParams::background(), &own).await;
}
