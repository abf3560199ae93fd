//! Copy-offload: claims that a storage array fills, and the populators that tell it to.
//!
//! Follows `PopulatorVolumes` (pkg/controller/plan/adapter/vsphere/builder.go), the populator controller
//! (pkg/lib-volume-populator) and the populator itself (cmd/vsphere-copy-offload-populator), at 2.11.7, 2.12.5 and main.

pub(in crate::controllers) mod array;
pub(in crate::controllers) mod log;
pub(in crate::controllers) mod populator;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::execute::{Halt, Walk};
use super::target;
use crate::api::forklift::{StorageMap, XcopyConfig};
use crate::controllers::said;
use crate::inventory::model::InvDisk;

/// The service account that populators run as.
const ACCOUNT: &str = "populator";

/// Whether any row of a map has the plugin (`IsUsingOffloadPlugin`).
pub(super) fn is_used(map: &StorageMap) -> bool {
    map.spec.map.iter().any(|row| row.offload_plugin.as_ref().is_some_and(|own| own.vsphere_xcopy_config.is_some()))
}

pub(in crate::controllers) fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("forklift.konveyor.io", "v1beta1", "VSphereXcopyVolumePopulator");
    ApiResource::from_gvk_with_plural(&kind, "vspherexcopyvolumepopulators")
}

/// One disk that a populator copies.
struct Job {
    claim: PersistentVolumeClaim,
    disk: InvDisk,
    config: XcopyConfig,
    /// Of the VM, or the dedicated one.
    host: String,
    secret: BTreeMap<String, String>,
}

/// The file that is copied: a warm migration begins with the disk below all snapshots (`baseVolume`).
fn base_file(file: &str, warm: bool) -> String {
    let stem = file.strip_suffix(".vmdk").unwrap_or(file);
    match stem.rsplit_once('-') {
        Some((base, number)) if warm && number.len() == 6 && number.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{base}.vmdk")
        }
        _ => file.to_owned(),
    }
}

/// What makes a claim's name unique (`generatePopulatorSuffix`).
fn suffix(migration: &str, vm: &str, disk: &InvDisk, index: usize) -> String {
    let key = disk.vsphere().map(|own| own.key).unwrap_or_default();
    let hash = Sha256::digest(format!("{migration}-{vm}-{key}-{}-{index}", disk.source));
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes claim, Secret and populator of every disk whose row has the plugin.
pub(super) async fn create_claims(walk: &Walk<'_>) -> Result<(), String> {
    let namespace = walk.run.plan.spec.target_namespace.clone();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(walk.run.target.clone(), &namespace);
    ensure_account(walk, &namespace).await;
    for (index, disk) in walk.run.resolved.kind.ordered(&walk.vm.disks).iter().enumerate() {
        let Some(row) = target::row_of(walk, disk) else {
            return Err(format!("no storage mapping of {}", disk.storage_id));
        };
        let Some(config) = row.offload_plugin.as_ref().and_then(|own| own.vsphere_xcopy_config.clone()) else {
            continue;
        };
        if config.secret_ref.is_empty() || config.storage_vendor_product.is_empty() {
            return Err(
                "the offload plugin configuration has missing details, cannot continue with PVC and populator \
                        resource creation"
                    .to_owned(),
            );
        }
        let body = claim(walk, disk, index, row);
        let typed: PersistentVolumeClaim = serde_json::from_value(body).map_err(|e| e.to_string())?;
        let made = claims.create(&PostParams::default(), &typed).await;
        let made = made.map_err(|e| format!("failed to create a PVC: {}", said::by(e)))?;
        let secret = merge_secret(walk, &namespace, &config, index, &made).await?;
        populator_object(walk, &namespace, disk, &config, &secret, &made).await?;
    }
    Ok(())
}

async fn ensure_account(walk: &Walk<'_>, namespace: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(walk.run.target.clone(), namespace);
    let account = json!({"metadata": {"name": ACCOUNT}});
    let Ok(account) = serde_json::from_value(account) else { return };
    // Another VM's populators have the same.
    let _ = accounts.create(&PostParams::default(), &account).await;
}

fn labels(walk: &Walk<'_>, disk: &InvDisk) -> Value {
    let key = disk.vsphere().map(|own| own.key).unwrap_or_default().to_string();
    let mut labels = json!({"migration": walk.run.migration.uid(), "vmdkKey": key, "vmID": walk.vm.id});
    if walk.run.mtv.version.at_least(12) {
        labels["plan"] = json!(walk.run.plan.uid());
    }
    if let Some(own) = walk.vm.vsphere() {
        labels["sourceHost"] = json!(own.host_id);
    }
    labels
}

fn claim(walk: &Walk<'_>, disk: &InvDisk, index: usize, row: &crate::api::forklift::StoragePair) -> Value {
    let warm = walk.run.plan.spec.warm;
    let (file, namespace) = (base_file(&disk.source, warm), &walk.run.plan.spec.target_namespace);
    let (name, generate) = target::pvc_name(walk, disk, None, index);
    let migration = walk.run.migration.uid().unwrap_or_default();
    let name = name.unwrap_or_else(|| {
        let head = generate.unwrap_or_default();
        format!("{}-{}", head.trim_end_matches('-'), suffix(&migration, &walk.vm.id, disk, index))
    });
    let mut annotations = json!({
        "forklift.konveyor.io/disk-source": file, "copy-offload": file,
        "cdi.kubevirt.io/storage.import.secretName": secret_name(walk, index),
    });
    if warm {
        let snapshot = walk.snapshot.get().cloned().unwrap_or_default();
        for (key, value) in [
            ("storage.import.endpoint", walk.run.resolved.source.spec.url.as_str()),
            ("storage.import.backingFile", file.as_str()),
            ("storage.import.uuid", walk.vm.vsphere().map_or("", |own| own.uuid.as_str())),
            ("storage.pod.phase", "Succeeded"),
            ("storage.import.source", "vddk"),
            ("storage.checkpoint.final", "false"),
            ("storage.checkpoint.current", snapshot.as_str()),
            ("storage.checkpoint.previous", ""),
            (format!("storage.checkpoint.copied.{snapshot}").as_str(), "xcopy-initial-offload"),
            ("storage.import.importPod", "xcopy-initial-offload"),
        ] {
            annotations[format!("cdi.kubevirt.io/{key}")] = json!(value);
        }
    }
    let mut labels = labels(walk, disk);
    // What the lab itself sorts them by.
    labels["lab.mtv-matrix.io/disk-index"] = json!(index.to_string());
    let mode = row.destination.access_mode.as_deref().unwrap_or("ReadWriteMany");
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {
            "storageClassName": row.destination.storage_class, "accessModes": [mode], "volumeMode": "Block",
            "resources": {"requests": {"storage": target::quantity(disk.capacity_bytes)}},
            "dataSourceRef": {"apiGroup": "forklift.konveyor.io", "kind": "VSphereXcopyVolumePopulator", "name": name},
        },
    })
}

/// The transfer's Secret of the VM, with the number of the disk behind it.
fn secret_name(walk: &Walk<'_>, index: usize) -> String {
    format!("{}-{}-xcopy-{index}", walk.run.plan.name_any(), walk.vm.id)
}

/// Why there is no such Secret (`mergeSecrets`).
fn unmerged(which: &str, error: kube::Error) -> String {
    format!("failed to merge secrets for populators failed to get {which} secret: {}", said::by(error))
}

/// The login of vCenter and of the array in one Secret a disk, owned by its claim (`mergeSecrets`).
async fn merge_secret(
    walk: &Walk<'_>,
    namespace: &str,
    config: &XcopyConfig,
    index: usize,
    claim: &PersistentVolumeClaim,
) -> Result<String, String> {
    let provider = &walk.run.resolved.source;
    let beside = provider.namespace().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(walk.run.mtv.client.clone(), &beside);
    let read = async |name: &str| {
        let data = secrets.get(name).await.map(|secret| secret.data.unwrap_or_default());
        data.map(|data| data.into_iter().map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned())))
    };
    let login = provider.spec.secret.name.clone().unwrap_or_default();
    let mut data: BTreeMap<String, String> = read(&login).await.map_err(|e| unmerged("base migration", e))?.collect();
    data.extend(read(&config.secret_ref).await.map_err(|e| unmerged("storage", e))?);
    for (from, to) in
        [("user", "GOVMOMI_USERNAME"), ("password", "GOVMOMI_PASSWORD"), ("insecureSkipVerify", "GOVMOMI_INSECURE")]
    {
        if let Some(value) = data.get(from).cloned() {
            data.insert(to.to_owned(), value);
        }
    }
    let host = provider.spec.url.split("//").last().and_then(|rest| rest.split(['/', ':']).next()).unwrap_or_default();
    data.insert("GOVMOMI_HOSTNAME".to_owned(), host.to_owned());
    if let Some(method) = provider.spec.settings.get("esxiCloneMethod") {
        data.insert("ESXI_CLONE_METHOD".to_owned(), method.clone());
    }
    for (half, key, to) in [("private", "private-key", "SSH_PRIVATE_KEY"), ("public", "public-key", "SSH_PUBLIC_KEY")] {
        let Ok(keys) = read(&format!("offload-ssh-keys-{}-{half}", provider.name_any())).await else { continue };
        if let Some((_, value)) = keys.into_iter().find(|(name, _)| name == key) {
            data.insert(to.to_owned(), base64::Engine::encode(&base64::engine::general_purpose::STANDARD, value));
        }
    }
    let name = secret_name(walk, index);
    let secret = json!({
        "metadata": {"name": name, "labels": {
            "migration": walk.run.migration.uid(), "plan": walk.run.plan.uid(), "vmID": walk.vm.id},
            "ownerReferences": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name_any(), "uid": claim.uid()}]},
        "stringData": data,
    });
    let secret = serde_json::from_value(secret).map_err(|e| e.to_string())?;
    let there: Api<Secret> = Api::namespaced(walk.run.target.clone(), namespace);
    let made = there.create(&PostParams::default(), &secret).await;
    made.map_err(|e| format!("failed to create disk secret: {}", said::by(e)))?;
    Ok(name)
}

async fn populator_object(
    walk: &Walk<'_>,
    namespace: &str,
    disk: &InvDisk,
    config: &XcopyConfig,
    secret: &str,
    claim: &PersistentVolumeClaim,
) -> Result<(), String> {
    let name = claim.name_any();
    let mut spec = json!({
        "vmId": walk.vm.id, "vmdkPath": base_file(&disk.source, walk.run.plan.spec.warm), "secretName": secret,
        "storageVendorProduct": config.storage_vendor_product,
    });
    if let Some(host) = dedicated(walk, config, &name) {
        spec["migrationHost"] = json!(host);
    }
    let object = json!({
        "apiVersion": "forklift.konveyor.io/v1beta1", "kind": "VSphereXcopyVolumePopulator",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(walk, disk), "ownerReferences": [
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "uid": claim.uid()}]},
        "spec": spec,
    });
    let object: DynamicObject = serde_json::from_value(object).map_err(|e| e.to_string())?;
    let api: Api<DynamicObject> = Api::namespaced_with(walk.run.target.clone(), namespace, &resource());
    api.create(&PostParams::default(), &object).await.map(drop).map_err(said::by)
}

/// The host that copies instead of the VM's own; main takes any of them.
fn dedicated(walk: &Walk<'_>, config: &XcopyConfig, claim: &str) -> Option<String> {
    if !walk.run.mtv.version.at_least(13) || config.dedicated_migration_hosts.is_empty() {
        return None;
    }
    let turn = Sha256::digest(claim).iter().fold(0_usize, |sum, byte| sum + usize::from(*byte));
    config.dedicated_migration_hosts.get(turn % config.dedicated_migration_hosts.len()).cloned()
}

/// Runs a populator a disk, side by side as far as the hosts let them; the step grows with them.
pub(super) async fn copy(walk: &Walk<'_>, step: &str) -> Result<(), Halt> {
    walk.begin(step);
    let jobs = jobs(walk).await.map_err(Halt::Failed)?;
    let ended = futures::future::join_all(jobs.iter().map(|job| populator::run(walk, step, job))).await;
    if let Some(failed) = ended.into_iter().find_map(Result::err) {
        return Err(Halt::Failed(failed));
    }
    walk.end(step);
    Ok(())
}

/// MTV takes its populators away (`DeletePopulatorDataSource`); their pods are [`super::populators`]' matter.
pub(super) async fn clean_up(walk: &Walk<'_>) {
    if !walk.run.offloads {
        return;
    }
    let namespace = &walk.run.plan.spec.target_namespace;
    let of_vm = format!("migration={},vmID={}", walk.run.migration.uid().unwrap_or_default(), walk.vm.id);
    let objects: Api<DynamicObject> = Api::namespaced_with(walk.run.target.clone(), namespace, &resource());
    target::delete_each(&objects, &ListParams::default().labels(&of_vm), &DeleteParams::default()).await;
}

async fn jobs(walk: &Walk<'_>) -> Result<Vec<Job>, String> {
    let namespace = &walk.run.plan.spec.target_namespace;
    let secrets: Api<Secret> = Api::namespaced(walk.run.target.clone(), namespace);
    let claims = target::own_volumes(walk).await?;
    let mut jobs = Vec::new();
    for (index, disk) in walk.run.resolved.kind.ordered(&walk.vm.disks).into_iter().enumerate() {
        let config = target::row_of(walk, &disk).and_then(|row| row.offload_plugin.clone()?.vsphere_xcopy_config);
        let numbered = |claim: &&PersistentVolumeClaim| {
            claim.labels().get("lab.mtv-matrix.io/disk-index").is_some_and(|own| *own == index.to_string())
        };
        let (Some(config), Some(claim)) = (config, claims.iter().find(numbered).cloned()) else { continue };
        let data = secrets.get(&secret_name(walk, index)).await.map_err(said::by)?.data.unwrap_or_default();
        let secret = data.into_iter().map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned())).collect();
        let own = walk.vm.vsphere().map(|own| own.host_id.clone()).unwrap_or_default();
        let host = dedicated(walk, &config, &claim.name_any()).unwrap_or(own);
        jobs.push(Job { claim, disk, config, host, secret });
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_migration_begins_with_the_disk_below_all_snapshots_and_a_cold_one_with_the_last() {
        assert_eq!(base_file("[ds] a/a-000002.vmdk", true), "[ds] a/a.vmdk");
        assert_eq!(base_file("[ds] a/a-000002.vmdk", false), "[ds] a/a-000002.vmdk");
        assert_eq!(base_file("[ds] a/my-disk.vmdk", true), "[ds] a/my-disk.vmdk");
    }

    #[test]
    fn a_name_ends_in_eight_digits_that_differ_by_disk() {
        let disk = InvDisk::default();
        let (one, two) = (suffix("m", "vm-1", &disk, 0), suffix("m", "vm-1", &disk, 1));
        assert!(one.len() == 8 && one != two && one == suffix("m", "vm-1", &disk, 0));
    }
}
