//! What an older MTV's inventory does not tell yet: one table, by release, so that what reads a platform need not ask
//! which release is played. Knows items as JSON, and no platform's client.

use serde_json::Value;

/// Type of Provider, collection, the MTV 2.N that brought it, and where in an item it stands (`*`: each of a list).
///
/// Source: `pkg/controller/provider/{model,web}` of Forklift's release branches 2.9 to 2.12 and of main.
const LATER: [(&str, &str, u32, &str); 18] = [
    ("vsphere", "vms", 12, "consolidationNeeded"),
    ("vsphere", "vms", 12, "customDef"),
    ("vsphere", "vms", 12, "customValues"),
    ("vsphere", "vms", 12, "tags"),
    ("vsphere", "vms", 12, "devices/*/key"),
    ("vsphere", "vms", 12, "devices/*/pciSlotNumber"),
    ("vsphere", "vms", 12, "nics/*/pciAddress"),
    ("vsphere", "vms", 13, "nics/*/startConnected"),
    ("vsphere", "datastores", 12, "nasRemoteHost"),
    ("vsphere", "datastores", 12, "nasRemotePath"),
    ("vsphere", "datastores", 13, "storageIORMSupported"),
    ("vsphere", "datastores", 13, "iormEnabled"),
    ("vsphere", "datastores", 13, "iormCongestionThreshold"),
    ("vsphere", "datastores", 13, "iormCongestionThresholdMode"),
    ("vsphere", "datastores", 13, "iormPercentOfPeakThroughput"),
    ("vsphere", "hosts", 13, "vmotionSupported"),
    ("vsphere", "hosts", 13, "storageVmotionSupported"),
    ("openshift", "vms", 12, "instance"),
];

/// Takes out of an item what MTV 2.`minor` does not tell yet.
pub(super) fn as_of(minor: u32, (type_, collection): (&str, &str), item: &mut Value) {
    for (_, _, _, path) in LATER.iter().filter(|(t, c, since, _)| (*t, *c) == (type_, collection) && minor < *since) {
        take(item, path);
    }
}

fn take(value: &mut Value, path: &str) {
    match path.split_once('/') {
        None => {
            if let Some(object) = value.as_object_mut() {
                object.shift_remove(path);
            }
        }
        Some(("*", rest)) => value.as_array_mut().into_iter().flatten().for_each(|each| take(each, rest)),
        Some((key, rest)) => {
            if let Some(inner) = value.get_mut(key) {
                take(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_mtv_does_not_tell_what_a_later_one_brought() {
        let whole = json!({"id": "vm-1", "tags": [], "nics": [
            {"mac": "a", "pciAddress": "", "startConnected": true}, {"mac": "b", "pciAddress": "", "startConnected": true}]});
        let at = |minor| {
            let mut item = whole.clone();
            as_of(minor, ("vsphere", "vms"), &mut item);
            item
        };
        assert_eq!(at(11), json!({"id": "vm-1", "nics": [{"mac": "a"}, {"mac": "b"}]}));
        assert!(at(12)["tags"].is_array() && at(12)["nics"][1] == json!({"mac": "b", "pciAddress": ""}));
        assert_eq!(at(13), whole);
        let mut other = whole.clone();
        as_of(9, ("ovirt", "vms"), &mut other);
        assert_eq!(other, whole);
    }
}
