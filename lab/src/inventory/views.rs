//! The JSON of each resource. Missing lists are `null`, references are `{kind, id}`, self links
//! have no leading slash: as the real service writes them.

use serde_json::{Map, Value, json};

use super::Entry;
use crate::inventory::model::Inventory;

pub(super) fn provider(uid: &str, entry: &Entry) -> Value {
    json!({
        "uid": uid, "id": uid, "version": entry.object["metadata"]["resourceVersion"],
        "namespace": entry.namespace, "name": entry.name, "selfLink": format!("providers/{}/{uid}", entry.type_),
        "type": entry.type_, "object": entry.object,
        "product": entry.content.as_ref().map(|c| c.product.clone()),
        "apiVersion": entry.content.as_ref().map(|c| c.version.clone()),
        "instanceUuid": entry.content.as_ref().map(|c| c.instance_uuid.clone()),
        "vmCount": entry.content.as_ref().map(|c| c.vms.len()),
        "networkCount": entry.content.as_ref().map(|c| c.networks.len()),
        "datastoreCount": entry.content.as_ref().map(|c| c.datastores.len()),
        "hostCount": entry.content.as_ref().map(|c| c.hosts.len()),
    })
}

/// An item of a collection, in full or as the list shows it at `detail=0`.
pub(super) fn item(
    content: &Inventory,
    (type_, uid, collection): (&str, &str, &str),
    item: &Value,
    full: bool,
) -> Value {
    let id = item["id"].as_str().unwrap_or_default();
    let link = format!("providers/{type_}/{uid}/{collection}/{id}");
    let hidden = |key: &str| !full && !content.summary_keys.is_empty() && !content.summary_keys.contains(&key);
    let fields = item.as_object().into_iter().flatten().filter(|(key, _)| !hidden(key));
    let mut shown: Map<String, Value> = fields.map(|(key, value)| (key.clone(), value.clone())).collect();
    shown.insert("selfLink".to_owned(), json!(link));
    Value::Object(shown)
}
