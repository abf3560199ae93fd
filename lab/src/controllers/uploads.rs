//! Claims that wait for an upload: CDI has a pod for each that takes it ([`crate::uploads`] is its proxy). The lab runs
//! none; the claim's annotations say how it would do.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, Patch};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::storage::{StorageOptions, retry, tolerate};
use crate::controllers::glance;
use crate::uploads::{POD_PHASE, POD_READY, TARGET};

/// Runs until it is dropped.
pub(super) async fn run(client: Client, options: Arc<StorageOptions>) {
    Controller::new(Api::<PersistentVolumeClaim>::all(client), watcher::Config::default())
        .run(ready, |_, error: &kube::Error, _| retry(error), options)
        .for_each(|_| async {})
        .await;
}

/// Whether a claim waits for an upload, and nobody has told it that its pod is there.
fn waits(claim: &PersistentVolumeClaim) -> bool {
    let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let has = |name: &str| claim.annotations().contains_key(name);
    bound && has(TARGET) && !has(POD_PHASE) && claim.metadata.deletion_timestamp.is_none()
}

async fn ready(claim: Arc<PersistentVolumeClaim>, options: Arc<StorageOptions>) -> Result<Action, kube::Error> {
    if waits(&claim) {
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(options.client.clone(), &claim.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({"metadata": {"annotations": {POD_PHASE: "Running", POD_READY: "true"}}}));
        tolerate(glance::patch(&api, &claim.name_any(), &patch).await, 404)?;
    }
    Ok(Action::await_change())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_waits_for_an_upload_once_it_is_bound_and_until_its_pod_is_there() {
        let claim = |annotations: serde_json::Value, phase: &str| -> PersistentVolumeClaim {
            let claim = json!({"metadata": {"name": "c", "annotations": annotations}, "status": {"phase": phase}});
            serde_json::from_value(claim).unwrap()
        };
        assert!(waits(&claim(json!({TARGET: ""}), "Bound")));
        assert!(!waits(&claim(json!({TARGET: ""}), "Pending")) && !waits(&claim(json!({}), "Bound")));
        assert!(!waits(&claim(json!({TARGET: "", POD_PHASE: "Succeeded"}), "Bound")));
    }
}
