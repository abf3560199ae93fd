//! Events of Kubernetes, for whoever describes an object or lists them. They stay for as long as the lab does, so they
//! are told where somebody looks, and nowhere else.

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::Client;
use kube::api::Api;
use serde_json::json;

use super::glance;

/// Tells events, or does not.
#[derive(Clone)]
pub(crate) struct Teller {
    client: Client,
    on: bool,
}

/// Which part of a cluster says what about an object.
struct Said<'a> {
    component: &'a str,
    reason: &'a str,
    message: &'a str,
}

impl Teller {
    pub fn new(client: &Client, on: bool) -> Self {
        Self { client: client.clone(), on }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    pub async fn normal(&self, of: &ObjectReference, component: &str, reason: &str, message: &str) {
        self.tell(of, "Normal", &Said { component, reason, message }).await;
    }

    pub async fn warning(&self, of: &ObjectReference, component: &str, reason: &str, message: &str) {
        self.tell(of, "Warning", &Said { component, reason, message }).await;
    }

    /// One that is refused (the namespace goes) is not missed.
    async fn tell(&self, of: &ObjectReference, kind: &str, said: &Said<'_>) {
        if !self.on {
            return;
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let name = format!("{}.{}", of.name.as_deref().unwrap_or_default(), crate::api::names::random_chars(16));
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": of,
            "reason": said.reason, "message": said.message, "type": kind, "count": 1,
            "source": {"component": said.component}, "firstTimestamp": now, "lastTimestamp": now});
        let events: Api<Event> = Api::namespaced(self.client.clone(), of.namespace.as_deref().unwrap_or("default"));
        if let Err(error) = glance::create(&events, &event).await {
            tracing::debug!(%error, reason = said.reason, "no event was told");
        }
    }
}
