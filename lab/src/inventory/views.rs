//! The JSON of each resource. Missing lists are `null`, references are `{kind, id}`, self links
//! have no leading slash: as the real service writes them.

use serde_json::{Map, Value, json};

use super::Entry;
use crate::inventory::model::Inventory;
use crate::ports::LiveInventory;

/// What a Provider's resource counts, by its type: key and collection.
fn counted(type_: &str) -> &'static [(&'static str, &'static str)] {
    match type_ {
        "vsphere" => &[
            ("datacenterCount", "datacenters"),
            ("clusterCount", "clusters"),
            ("hostCount", "hosts"),
            ("vmCount", "vms"),
            ("networkCount", "networks"),
            ("datastoreCount", "datastores"),
        ],
        "ovirt" => &[
            ("datacenterCount", "datacenters"),
            ("clusterCount", "clusters"),
            ("hostCount", "hosts"),
            ("vmCount", "vms"),
            ("networkCount", "networks"),
            ("storageDomainCount", "storagedomains"),
        ],
        "openstack" => &[
            ("regionCount", "regions"),
            ("projectCount", "projects"),
            ("vmCount", "vms"),
            ("imageCount", "images"),
            ("volumeCount", "volumes"),
            ("volumeTypeCount", "volumetypes"),
            ("networkCount", "networks"),
        ],
        "openshift" => &[
            ("vmCount", "vms"),
            ("networkCount", "networkattachmentdefinitions"),
            ("storageClassCount", "storageclasses"),
        ],
        _ => &[("vmCount", "vms"), ("networkCount", "networks"), ("storageCount", "storages")],
    }
}

/// The Provider's resource; `live` counts the objects of a cluster.
pub(super) async fn provider(uid: &str, entry: &Entry, live: &dyn LiveInventory) -> Value {
    let mut shown = json!({
        "uid": uid, "id": uid, "version": entry.object["metadata"]["resourceVersion"],
        "namespace": entry.namespace, "name": entry.name, "selfLink": format!("providers/{}/{uid}", entry.type_),
        "type": entry.type_, "object": entry.object,
    });
    if let Some(content) = entry.content.as_ref().filter(|content| !content.product.is_empty()) {
        shown["product"] = json!(content.product);
        shown["apiVersion"] = json!(content.version);
        shown["instanceUuid"] = json!(content.instance_uuid);
    }
    for (key, collection) in counted(&entry.type_) {
        shown[*key] = json!(if entry.type_ == "openshift" {
            let found = live.collection(&entry.object, collection).await.map_or(0, |items| items.len());
            // The pod network is one, too.
            found + usize::from(*collection == "networkattachmentdefinitions")
        } else {
            entry.content.as_ref().and_then(|content| content.collections.get(*collection)).map_or(0, Vec::len)
        });
    }
    shown
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
