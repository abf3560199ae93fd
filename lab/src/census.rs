//! The whole of an API server's objects, for somebody who compares worlds: by name, without what changes by
//! itself (status, versions, who wrote which field).

use std::collections::BTreeMap;

use serde_json::Value;

use super::apiserver::ApiServer;

/// Kinds that come and go by themselves.
const TRANSIENT: [&str; 2] = ["Event", "Lease"];
/// Metadata that the server counts.
const COUNTED: [&str; 3] = ["resourceVersion", "managedFields", "generation"];

/// One line an object; `place` is put behind its name.
pub(super) fn of(api: &ApiServer, place: &str) -> BTreeMap<String, Value> {
    let line = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&object["kind"]);
        if TRANSIENT.contains(&kind.as_str()) {
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
