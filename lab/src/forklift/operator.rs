//! What keeps MTV's main controller going: the operator, which starts it anew when its settings change, and its
//! Deployment, which does so when its pod is gone. The pod is the seed's: nothing runs in it, and the process stands in
//! for it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::watcher::{self, Event};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::sandbox::Sandbox;
use super::{Order, PAUSE, environment};
use crate::MTV_NAMESPACE;
use crate::api::forklift::ForkliftController;

/// The child, as the supervisor knows it.
const MAIN: &str = "main";
/// Its pod, as the lab's seed calls it.
const POD: &str = "forklift-controller-0";
/// From the end of a pod to the process of the next, real time: what a node with the image needs.
const STARTS: Duration = Duration::from_secs(2);

/// Runs until `stop`; `first`: the settings that the child was started with.
pub(super) async fn run(
    client: kube::Client,
    first: Value,
    context: environment::Context,
    sandbox: Arc<Sandbox>,
    stop: CancellationToken,
) {
    let settings: Api<ForkliftController> = Api::namespaced(client.clone(), MTV_NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(client, MTV_NAMESPACE);
    let only = watcher::Config::default().fields(&format!("metadata.name={POD}"));
    let mut env = environment::main(&first, &context);
    let mut settings = watcher::watcher(settings, watcher::Config::default()).boxed();
    let mut gone = watcher::watcher(pods.clone(), only).boxed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            event = settings.next() => match event {
                Some(Ok(Event::Apply(own) | Event::InitApply(own))) => {
                    let now = environment::main(&serde_json::to_value(own.spec).unwrap_or_default(), &context);
                    if now != env {
                        env.clone_from(&now);
                        sandbox.order(&Order::Restart { name: MAIN.to_owned(), env: now });
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => tokio::time::sleep(PAUSE).await,
                None => return,
            },
            event = gone.next() => match event {
                Some(Ok(Event::Delete(pod))) => {
                    sandbox.order(&Order::End { name: MAIN.to_owned() });
                    tokio::time::sleep(STARTS).await;
                    sandbox.order(&Order::Restart { name: MAIN.to_owned(), env: env.clone() });
                    if let Err(error) = pods.create(&PostParams::default(), &another(pod)).await {
                        tracing::warn!(%error, "the lab made no new pod for MTV's controller");
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => tokio::time::sleep(PAUSE).await,
                None => return,
            },
        }
    }
}

/// The pod that takes the place of one that is gone, by its name; the lab's kubelet plays it.
fn another(gone: Pod) -> Pod {
    let metadata = ObjectMeta { name: gone.metadata.name, labels: gone.metadata.labels, ..ObjectMeta::default() };
    Pod { metadata, spec: gone.spec, status: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_next_pod_has_the_name_and_the_labels_of_the_last_and_a_life_of_its_own() {
        let gone: Pod = serde_json::from_value(json!({"metadata": {"name": POD, "uid": "u", "resourceVersion": "7",
            "deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {"name": "forklift-controller"}},
            "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}}))
        .unwrap();
        let next = another(gone);
        assert_eq!(next.metadata.name.as_deref(), Some(POD));
        assert_eq!(next.metadata.labels.map(|labels| labels.len()), Some(1));
        assert!(next.metadata.uid.is_none() && next.metadata.resource_version.is_none());
        assert!(next.metadata.deletion_timestamp.is_none() && next.status.is_none() && next.spec.is_some());
    }
}
