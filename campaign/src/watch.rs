//! An eye on migrations: how each was when it was deleted.
//!
//! Looks at the API server as somebody else does, on a way of its own that does not break.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, WatchEvent, WatchParams};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Before a watch that broke is begun again.
const PAUSE: Duration = Duration::from_millis(200);

/// Watches until it is dropped.
pub struct Eye {
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Eye {
    pub fn open(client: kube::Client) -> Self {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let task = tokio::spawn(look(client, seen.clone()));
        Self { seen, task }
    }

    /// Migrations that were deleted at work and uncancelled since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(client: kube::Client, seen: Arc<Mutex<Vec<String>>>) {
    let kind = GroupVersionKind::gvk("forklift.konveyor.io", "v1beta1", "Migration");
    let api: Api<DynamicObject> = Api::all_with(client, &ApiResource::from_gvk_with_plural(&kind, "migrations"));
    loop {
        if let Ok(stream) = api.watch(&WatchParams::default(), "0").await {
            let mut stream = stream.boxed();
            while let Some(Ok(event)) = stream.next().await {
                let WatchEvent::Deleted(migration) = event else { continue };
                if let Some(what) = torn(&migration) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What is wrong with how a migration was deleted.
fn torn(migration: &DynamicObject) -> Option<String> {
    let list = |pointer: &str| migration.data.pointer(pointer).and_then(Value::as_array);
    let ends = |condition: &Value| {
        condition["status"] == "True" && matches!(condition["type"].as_str(), Some("Succeeded" | "Failed" | "Canceled"))
    };
    let ended = list("/status/conditions").is_some_and(|all| all.iter().any(ends));
    let cancelled = list("/spec/cancel").is_some_and(|vms| !vms.is_empty());
    // One that MTV has not begun with has nothing to cancel, and one whose VMs are done is only not told so yet.
    let at_work = |vm: &Value| vm["started"].is_string() && !vm["completed"].is_string();
    let working = list("/status/vms").is_some_and(|vms| vms.iter().any(at_work));
    let place = || format!("{:?}/{:?}", migration.metadata.namespace, migration.metadata.name);
    (working && !ended && !cancelled).then(|| format!("migration {} was deleted while it was at work", place()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_migration_at_work_that_nobody_cancelled_is_torn() {
        let of = |cancel: Value, status: Value| {
            let object = json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Migration",
                "metadata": {"name": "a", "namespace": "b"}, "spec": {"cancel": cancel}, "status": status});
            torn(&serde_json::from_value(object).unwrap()).is_some()
        };
        let working = json!([{"started": "2026-01-01T00:00:00Z"}]);
        assert!(of(json!([]), json!({"vms": working})));
        assert!(!of(json!([{"id": "vm-1"}]), json!({"vms": working})));
        assert!(!of(json!([]), json!({"vms": working, "conditions": [{"type": "Canceled", "status": "True"}]})));
        assert!(!of(json!([]), json!({"vms": [{"started": "x", "completed": "y"}]})));
        assert!(!of(json!([]), json!({})));
    }
}
