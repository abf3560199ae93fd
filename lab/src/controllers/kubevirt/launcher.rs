//! virt-launcher's pods, where somebody looks into the lab: one for each instance that has a node, on that node. They run
//! nothing, and go with their instance.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use super::json::text;
use crate::controllers::glance;
use crate::controllers::told::Teller;

const CONTROLLER: &str = "virtualmachine-controller";

fn reference(object: &Value, kind: &str) -> ObjectReference {
    let of = |pointer: &str| Some(text(object, pointer).to_owned()).filter(|own| !own.is_empty());
    ObjectReference {
        api_version: Some("kubevirt.io/v1".to_owned()),
        kind: Some(kind.to_owned()),
        name: of("/metadata/name"),
        namespace: of("/metadata/namespace"),
        uid: of("/metadata/uid"),
        ..ObjectReference::default()
    }
}

/// What a VM's events say when its instance comes and goes.
pub(super) async fn instance(events: &Teller, vm: &Value, vmi: Option<&Value>, comes: bool) {
    let (of, name) = (reference(vm, "VirtualMachine"), text(vm, "/metadata/name"));
    let (reason, message) = match comes {
        true => (
            "SuccessfulCreate",
            format!("Started the virtual machine by creating the new virtual machine instance {name}"),
        ),
        false => {
            let uid = vmi.map(|vmi| text(vmi, "/metadata/uid")).unwrap_or_default();
            ("SuccessfulDelete", format!("Stopped the virtual machine by deleting the virtual machine instance {uid}"))
        }
    };
    events.normal(&of, CONTROLLER, reason, &message).await;
}

/// An instance has got this status: its pod is there, and its events say so.
pub(super) async fn follow(
    client: &kube::Client,
    events: &Teller,
    vmi: &Value,
    status: &Value,
) -> Result<(), kube::Error> {
    if !events.is_on() {
        return Ok(());
    }
    let of = reference(vmi, "VirtualMachineInstance");
    let (before, now) = (text(vmi, "/status/phase"), text(status, "/phase"));
    if now == "Running" && before != now {
        events.normal(&of, "virt-handler", "Created", "VirtualMachineInstance defined.").await;
        events.normal(&of, "virt-handler", "Started", "VirtualMachineInstance started.").await;
    }
    if matches!(now, "Scheduled" | "Running") {
        ensure(client, events, vmi, text(status, "/nodeName")).await?;
    }
    Ok(())
}

/// One pod on the instance's node, and none elsewhere.
async fn ensure(client: &kube::Client, events: &Teller, vmi: &Value, node: &str) -> Result<(), kube::Error> {
    let (namespace, uid) = (text(vmi, "/metadata/namespace"), text(vmi, "/metadata/uid"));
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let own = ListParams::default().labels(&format!("kubevirt.io/created-by={uid}"));
    let mut there = false;
    for pod in glance::each::<Pod, Value>(&pods, &own).await? {
        if pod.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node) {
            there = true;
        } else {
            let _ = pods.delete(text(&pod, "/metadata/name"), &DeleteParams::default().grace_period(0)).await;
        }
    }
    if there || node.is_empty() {
        return Ok(());
    }
    let name = format!("virt-launcher-{}-{}", text(vmi, "/metadata/name"), crate::api::names::random_chars(5));
    let pod = serde_json::from_value(body(vmi, &name, node)).map_err(kube::Error::SerdeError)?;
    // One that is refused (a quota) is not there to be seen: that is all that it changes here.
    if pods.create(&PostParams::default(), &pod).await.is_ok() {
        let of = reference(vmi, "VirtualMachineInstance");
        events.normal(&of, CONTROLLER, "SuccessfulCreate", &format!("Created virtual machine pod {name}")).await;
    }
    Ok(())
}

fn body(vmi: &Value, name: &str, node: &str) -> Value {
    let machine = text(vmi, "/metadata/name");
    let mut labels =
        vmi.pointer("/metadata/labels").filter(|own| own.is_object()).cloned().unwrap_or_else(|| json!({}));
    for (key, value) in [
        ("kubevirt.io", "virt-launcher"),
        ("kubevirt.io/created-by", text(vmi, "/metadata/uid")),
        ("kubevirt.io/nodeName", node),
        ("vm.kubevirt.io/name", machine),
    ] {
        labels[key] = json!(value);
    }
    let mut requests = json!({"cpu": "100m"});
    let memory = text(vmi, "/spec/domain/memory/guest");
    if !memory.is_empty() {
        requests["memory"] = json!(memory);
    }
    json!({
        "metadata": {
            "name": name, "labels": labels,
            "annotations": {"kubevirt.io/domain": machine, "kubectl.kubernetes.io/default-container": "compute"},
            "ownerReferences": [{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": machine,
                "uid": text(vmi, "/metadata/uid"), "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "restartPolicy": "Never", "nodeName": node, "hostname": machine,
            "containers": [{"name": "compute", "image": "registry.redhat.io/container-native-virtualization/virt-launcher-rhel9",
                "resources": {"requests": requests}}],
        },
    })
}
