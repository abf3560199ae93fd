//! The JSON of each resource, and how much of it a question asks for. References are `{kind, id}`, self links have no
//! leading slash: as the real service writes them.

use serde_json::{Map, Value, json};

use super::{Entry, release};
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
            let content = entry.content.as_ref();
            // Templates count, and are not listed.
            let vms = (*key == "vmCount").then(|| content.map_or(0, |content| content.vms.len()));
            vms.unwrap_or_else(|| content.and_then(|c| c.collections.get(*collection)).map_or(0, Vec::len))
        });
    }
    shown
}

/// How much of a resource a question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    Name,
    /// What MTV needs of a VM to judge it.
    Some,
    All,
}

impl Detail {
    /// `all` or a number; nothing is 0.
    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(Self::Name),
            Some("all") => Some(Self::All),
            Some(number) => Some(match number.parse::<u32>().ok()? {
                0 => Self::Name,
                1 => Self::Some,
                _ => Self::All,
            }),
        }
    }

    /// Whether a key is shown. vSphere's list always reads whole VMs, to know the templates among them.
    pub(super) fn shows(self, type_: &str, collection: &str, key: &str) -> bool {
        const NAME: [&str; 7] = ["id", "parent", "path", "revision", "name", "variant", "selfLink"];
        const CLUSTERS: [&str; 6] = ["uid", "version", "namespace", "name", "selfLink", "id"];
        let by_type: &[&str] = match type_ {
            "ovirt" => &["cluster", "host", "nics", "diskAttachments"],
            "openstack" => &["tenantID", "hostID", "imageID", "flavorID", "addresses", "attachedVolumes"],
            _ => &[],
        };
        let judged = ["status", "revisionValidated", "concerns"];
        let named = if type_ == "openshift" { CLUSTERS.contains(&key) } else { NAME.contains(&key) };
        let whole = self == Self::All
            || (type_ == "vsphere" && collection == "vms")
            || (self == Self::Some && (collection != "vms" || by_type.is_empty()));
        whole || named || (self == Self::Some && (by_type.contains(&key) || judged.contains(&key)))
    }
}

/// An item of a collection as MTV 2.`minor` shows it, as far as it was asked for.
pub(super) fn item((type_, uid, collection): (&str, &str, &str), item: &Value, detail: Detail, minor: u32) -> Value {
    let id = item["id"].as_str().unwrap_or_default();
    let link = format!("providers/{type_}/{uid}/{collection}/{id}");
    let fields = item.as_object().into_iter().flatten().filter(|(key, _)| detail.shows(type_, collection, key));
    let mut shown: Map<String, Value> = fields.map(|(key, value)| (key.clone(), value.clone())).collect();
    shown.insert("selfLink".to_owned(), json!(link));
    let mut shown = Value::Object(shown);
    release::as_of(minor, (type_, collection), &mut shown);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_names_and_more_of_it_where_more_is_asked_for() {
        let at = |text| Detail::parse(text).unwrap();
        let keys = |text, type_: &str, collection: &str| {
            let item = json!({"id": "1", "name": "a", "status": "up", "memory": 1, "nics": []});
            let shown = super::item((type_, "u", collection), &item, at(text), 12);
            shown.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys(None, "ovirt", "vms"), "id name selfLink");
        assert_eq!(keys(Some("1"), "ovirt", "vms"), "id name status nics selfLink");
        assert_eq!(keys(Some("2"), "ovirt", "vms"), "id name status memory nics selfLink");
        assert_eq!(keys(Some("1"), "ovirt", "hosts"), "id name status memory nics selfLink");
        assert_eq!(keys(Some("0"), "vsphere", "vms"), "id name status memory nics selfLink");
        assert_eq!(Detail::parse(Some("much")), None);
    }
}
