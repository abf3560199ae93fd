//! Copy-offload as MTV has it: the map's plugin, and what its populators leave.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::api::forklift::{ObjRef, OffloadPlugin, StoragePair, XcopyConfig};
use crate::api::pods::SeenPod;
use crate::cluster::wait::logs::PodLogs;
use crate::cluster::wait::remembered::Remembered;
use crate::cluster::{Cluster, Poll, WaitError, wait};
use crate::event::Problem;

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

/// What stands before the key of MTV's populators in a host's `authorized_keys`: it may call the populator's own script, no
/// more (`RestrictedSSHCommandTemplate` of pkg/lib/util/sshutils.go, the same in 2.11.7, 2.12.5 and main).
const RESTRICTED: &str = concat!(
    r#"command="sh -c 'DS=$(echo \"$SSH_ORIGINAL_COMMAND\" | sed -n \"s/^DS=\\([^;]*\\);.*/\\1/p\"); "#,
    r#"CMD=$(echo \"$SSH_ORIGINAL_COMMAND\" | sed -n \"s/^DS=[^;]*;CMD=\\(.*\\)/\\1/p\"); "#,
    r#"if [ -z \"$DS\" ]; then echo \"SSH_OK\"; else SSH_ORIGINAL_COMMAND=\"$CMD\" exec sh "#,
    r#"/vmfs/volumes/$DS/secure-vmkfstools-wrapper; fi'",no-port-forwarding,no-agent-forwarding,no-X11-forwarding"#
);

/// The key that MTV made for a Provider's populators, as a line that lets it in: options, type, key. MTV makes its Secret
/// soon after the Provider.
pub async fn key_line(cluster: &Cluster, provider: &ObjRef, limit: Duration) -> Result<String, WaitError> {
    let namespace = provider.namespace.clone().unwrap_or_default();
    let name = provider.name.clone().unwrap_or_default();
    let name = format!("offload-ssh-keys-{}-public", name.get(..228).unwrap_or(&name));
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), &namespace);
    let what = format!("Secret {namespace}/{name} with MTV's public key");
    wait::poll(&what, limit, || async {
        match secrets.get_opt(&name).await {
            Ok(Some(secret)) => {
                let text =
                    secret.data.unwrap_or_default().remove("public-key").map(|bytes| bytes.0).unwrap_or_default();
                let text = String::from_utf8_lossy(&text).into_owned();
                match restricted(&text) {
                    Some(line) => Poll::Done(line),
                    None => Poll::Failed(Problem::new(format!("{namespace}/{name} holds no public key"))),
                }
            }
            Ok(None) => Poll::NotYet("not there".to_owned()),
            Err(error) => Poll::NotYet(error.to_string()),
        }
    })
    .await
}

/// `None`: it is no key of one line.
fn restricted(public_key: &str) -> Option<String> {
    let mut words = public_key.trim().split([' ', '\t']);
    let (kind, key) = (words.next()?, words.next()?);
    let of_a_key = |c: char| c.is_ascii_alphanumeric() || "+/=-@.".contains(c);
    let plain = [kind, key].iter().all(|word| !word.is_empty() && word.chars().all(of_a_key));
    plain.then(|| format!("{RESTRICTED} {kind} {key}"))
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

    /// The populators' own objects of the namespace, as they were seen last.
    pub fn all_objects(&self) -> Result<Vec<Value>, String> {
        self.objects.seen()
    }

    /// The populators' own objects, of these Migrations, as they were seen last.
    pub fn objects(&self, migrations: &[String]) -> Result<Vec<Value>, String> {
        let of_them = |object: &Value| {
            let label = object.pointer("/metadata/labels/migration").and_then(Value::as_str);
            label.is_some_and(|label| migrations.iter().any(|uid| uid == label))
        };
        Ok(self.all_objects()?.into_iter().filter(of_them).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::forklift::{Ref, StorageDestination};

    #[test]
    fn a_key_is_let_in_for_the_populators_script_alone_and_brings_no_second_line() {
        let line = restricted("ssh-rsa AAAAB3Nza+/= a comment\n").unwrap();
        assert!(
            line.starts_with("command=\"sh -c 'DS=$(echo \\\"$SSH_ORIGINAL_COMMAND\\\" | sed -n \\\"s/^DS=\\\\("),
            "{line}"
        );
        assert!(line.ends_with(",no-port-forwarding,no-agent-forwarding,no-X11-forwarding ssh-rsa AAAAB3Nza+/="));
        assert_eq!(restricted("ssh-rsa AAAA\nssh-rsa BBBB"), None);
        assert_eq!(restricted(""), None);
    }

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
