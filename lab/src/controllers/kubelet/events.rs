//! What scheduler and kubelet tell of a pod that comes up.

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource as _, ResourceExt};

use crate::controllers::told::Teller;

/// Each container is pulled, created and started; before that the pod has a node.
pub(super) async fn came_up(events: &Teller, pod: &Pod, node: &str) {
    let (of, tells) = (pod.object_ref(&()), "kubelet");
    let place = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let scheduled = format!("Successfully assigned {place} to {node}");
    events.normal(&of, "default-scheduler", "Scheduled", &scheduled).await;
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    for container in containers {
        let image = container.image.as_deref().unwrap_or_default();
        let pulled = format!("Container image \"{image}\" already present on machine");
        events.normal(&of, tells, "Pulled", &pulled).await;
        events.normal(&of, tells, "Created", &format!("Created container: {}", container.name)).await;
        events.normal(&of, tells, "Started", &format!("Started container {}", container.name)).await;
    }
}
