//! What a server holds, for the next one: objects as they are stored, with their ids and the version.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ApiServer;
use super::resources::from_crd;
use super::store::ObjectKey;

impl ApiServer {
    /// Every object, and who holds which token. Events go with the lab.
    pub fn kept(&self) -> Value {
        let store = &self.state.store;
        let objects: Vec<Value> = store
            .everything()
            .into_iter()
            .filter(|(key, _)| key.storage.1 != "events")
            .map(|(key, object)| json!({"group": key.storage.0, "plural": key.storage.1, "object": *object}))
            .collect();
        json!({"version": store.version(), "objects": objects, "tokens": self.state.auth.kept()})
    }

    /// Puts them where they were; what the server made when it started is replaced.
    pub fn restore(&self, kept: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.state.auth.restore(&kept["tokens"]);
        let mut objects = Vec::new();
        for kept in kept["objects"].as_array().into_iter().flatten() {
            let object = &kept["object"];
            let key = ObjectKey {
                storage: (text(&kept["group"]), text(&kept["plural"])),
                namespace: text(&object["metadata"]["namespace"]),
                name: text(&object["metadata"]["name"]),
            };
            if key.storage.1 == "customresourcedefinitions" {
                self.state.registry.add(from_crd(object));
            }
            objects.push((key, Arc::new(object.clone())));
        }
        self.state.store.restore(kept["version"].as_u64().unwrap_or_default(), objects);
    }
}
