//! What scheduler and kubelet tell of a pod that comes up, for whoever describes it or lists events.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, PostParams};
use kube::{Client, Resource as _, ResourceExt};
use serde_json::json;

/// Each container is pulled, created and started; before that the pod has a node.
pub(super) async fn came_up(client: &Client, pod: &Pod, node: &str) {
    let place = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let scheduled = format!("Successfully assigned {place} to {node}");
    tell(client, pod, "default-scheduler", "Scheduled", &scheduled).await;
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    for container in containers {
        let image = container.image.as_deref().unwrap_or_default();
        let pulled = format!("Container image \"{image}\" already present on machine");
        tell(client, pod, "kubelet", "Pulled", &pulled).await;
        tell(client, pod, "kubelet", "Created", &format!("Created container: {}", container.name)).await;
        tell(client, pod, "kubelet", "Started", &format!("Started container {}", container.name)).await;
    }
}

/// One that is refused (the namespace goes) is not missed.
async fn tell(client: &Client, pod: &Pod, component: &str, reason: &str, message: &str) {
    let now = super::now();
    let name = format!("{}.{}", pod.name_any(), crate::api::names::random_chars(16));
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name},
        "involvedObject": pod.object_ref(&()), "reason": reason, "message": message, "type": "Normal", "count": 1,
        "source": {"component": component}, "firstTimestamp": now, "lastTimestamp": now});
    let Ok(event) = serde_json::from_value::<Event>(event) else { return };
    let events: Api<Event> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    if let Err(error) = events.create(&PostParams::default(), &event).await {
        tracing::debug!(%error, reason, "no event was told of a pod");
    }
}
