//! The default StorageClass: a claim that names no class gets it, as admission does on a cluster.

use serde_json::{Value, json};

use super::State;
use super::resources::ResourceDef;
use super::store::metadata;

const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

impl State {
    /// Fills in the class of a new claim. An empty name is a choice: no class at all.
    pub fn default_class(&self, def: &ResourceDef, object: &mut Value) {
        if !def.storage.0.is_empty() || def.plural != "persistentvolumeclaims" {
            return;
        }
        let old = object["metadata"]["annotations"].get("volume.beta.kubernetes.io/storage-class").is_some();
        if old || object["spec"]["storageClassName"].is_string() {
            return;
        }
        let storage = ("storage.k8s.io".to_owned(), "storageclasses".to_owned());
        let mut classes = self.store.list(&storage, None).1;
        classes.retain(|class| class["metadata"]["annotations"][DEFAULT] == "true");
        // The newest of several; of two that are as old, the first by name.
        classes.sort_by(|a, b| {
            let age = metadata(b, "creationTimestamp").cmp(metadata(a, "creationTimestamp"));
            age.then_with(|| metadata(a, "name").cmp(metadata(b, "name")))
        });
        if let Some(class) = classes.first() {
            object["spec"]["storageClassName"] = json!(metadata(class, "name"));
        }
    }
}
