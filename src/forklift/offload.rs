//! Copy-offload as MTV has it: the map's plugin, and what its populators leave.

use std::time::Duration;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::api::forklift::{OffloadPlugin, StoragePair, XcopyConfig};
use crate::api::pods::SeenPod;
use crate::cluster::Cluster;
use crate::cluster::wait::logs::PodLogs;
use crate::cluster::wait::remembered::Remembered;

/// MTV makes a populator pod for each claim, called by its UID.
const POPULATOR_PODS: &str = "populate-";

/// Every row with the array that copies its disks; an array's LUN is a block device of one node.
pub fn rows(plain: Vec<StoragePair>, config: &XcopyConfig) -> Vec<StoragePair> {
    let plugin = OffloadPlugin { vsphere_xcopy_config: Some(config.clone()) };
    plain
        .into_iter()
        .map(|mut row| {
            row.destination.volume_mode = Some("Block".to_owned());
            row.destination.access_mode = Some("ReadWriteOnce".to_owned());
            StoragePair { offload_plugin: Some(plugin.clone()), ..row }
        })
        .collect()
}

/// What the populators of one namespace do, from now on: MTV takes their objects and their pods away when a VM has ended.
pub struct Populators {
    pods: PodLogs,
    objects: Remembered,
}

impl Populators {
    pub fn follow(cluster: &Cluster, namespace: &str) -> Self {
        let kind = GroupVersionKind::gvk("forklift.konveyor.io", "v1beta1", "VSphereXcopyVolumePopulator");
        let kind = ApiResource::from_gvk_with_plural(&kind, "vspherexcopyvolumepopulators");
        Self {
            pods: PodLogs::follow(cluster, namespace, POPULATOR_PODS),
            objects: Remembered::follow(cluster, namespace, kind),
        }
    }

    /// Every pod that was seen; logs that are just being read are waited for so long.
    pub async fn pods(&self, limit: Duration) -> Result<Vec<SeenPod>, String> {
        self.pods.seen(limit).await
    }

    /// The populators' own objects, of these Migrations, as they were seen last.
    pub fn objects(&self, migrations: &[String]) -> Result<Vec<Value>, String> {
        let of_them = |object: &Value| {
            let label = object.pointer("/metadata/labels/migration").and_then(Value::as_str);
            label.is_some_and(|label| migrations.iter().any(|uid| uid == label))
        };
        Ok(self.objects.seen()?.into_iter().filter(of_them).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::forklift::{Ref, StorageDestination};

    #[test]
    fn every_row_names_the_array_and_asks_for_a_block_device_of_one_node() {
        let destination = StorageDestination { storage_class: "san".into(), ..StorageDestination::default() };
        let plain = vec![StoragePair { source: Ref::by_id("datastore-1"), destination, offload_plugin: None }];
        let config = XcopyConfig {
            secret_ref: "array".into(),
            storage_vendor_product: "ontap".into(),
            dedicated_migration_hosts: Vec::new(),
        };
        let row = serde_json::to_value(&rows(plain, &config)[0]).unwrap();
        let expected = serde_json::json!({"secretRef": "array", "storageVendorProduct": "ontap"});
        assert_eq!(row["offloadPlugin"], serde_json::json!({"vsphereXcopyConfig": expected}));
        assert_eq!(
            (&row["destination"]["volumeMode"], &row["destination"]["accessMode"]),
            (&"Block".into(), &"ReadWriteOnce".into())
        );
        assert_eq!(row["source"]["id"], "datastore-1");
    }
}
