//! The JSON of each resource. Missing lists are `null`, references are `{kind, id}`, self links
//! have no leading slash: as the real service writes them.

use serde_json::{Value, json};

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

/// A collection of a loaded provider; an unknown one is empty.
pub(super) fn collection(content: &Inventory, type_: &str, uid: &str, name: &str, full: bool) -> Vec<Value> {
    let items = content.collections.get(name).map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .map(|item| {
            let id = item["id"].as_str().unwrap_or_default();
            let mut item = item.clone();
            item["selfLink"] = json!(format!("providers/{type_}/{uid}/{name}/{id}"));
            if !full
                && !content.summary_keys.is_empty()
                && let Some(keys) = item.as_object_mut()
            {
                keys.retain(|key, _| content.summary_keys.contains(&key.as_str()));
            }
            item
        })
        .collect()
}
