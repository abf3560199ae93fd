//! The whole of an API server's objects, for somebody who compares worlds: by name, without what changes by
//! itself (status, versions, who wrote which field).

use std::collections::BTreeMap;

use serde_json::Value;

use super::apiserver::ApiServer;
use super::controllers::namespaces;

/// Kinds that come and go by themselves.
const TRANSIENT: [&str; 2] = ["Event", "Lease"];
/// What MTV makes for its populators once, and keeps (`ensurePopulatorServiceAccount`, vsphere/builder.go), and what a
/// cluster keeps by itself.
const KEPT: [&str; 6] = [
    "populator-pv-reader",
    "populator-pv-reader-binding",
    "populator-lease-reader",
    "populator-lease-reader-binding",
    // From 2.13 on: what populators know of arrays, in MTV's own namespace.
    "storage-array-secret",
    // Every namespace has it, and it goes with the namespace.
    namespaces::ROOT_CA,
];
/// Metadata that the server counts.
const COUNTED: [&str; 3] = ["resourceVersion", "managedFields", "generation"];

/// Whether MTV or the cluster made it once, and keeps it.
pub(super) fn is_kept(name: &str) -> bool {
    KEPT.contains(&name)
}

/// One line an object; `place` is put behind its name.
pub(super) fn of(api: &ApiServer, place: &str) -> BTreeMap<String, Value> {
    let line = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&object["kind"]);
        if TRANSIENT.contains(&kind.as_str()) || object["metadata"]["name"].as_str().is_some_and(is_kept) {
            return None;
        }
        let mut kept = object.clone();
        if let Some(fields) = kept.as_object_mut() {
            fields.shift_remove("status");
        }
        if let Some(metadata) = kept["metadata"].as_object_mut() {
            for field in COUNTED {
                metadata.shift_remove(field);
            }
        }
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        let slash = if namespace.is_empty() { "" } else { "/" };
        Some((format!("{kind} {namespace}{slash}{name}{place}"), kept))
    };
    api.objects().iter().filter_map(|object| line(object)).collect()
}
