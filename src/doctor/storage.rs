//! Whether the classes that migrated disks are to get are there. Reads only.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::Probe;
use crate::cluster::objects::routes::get;
use crate::cluster::{Cluster, retry, target};

/// The classes of the settings; where they name none, the cluster's default.
pub(super) async fn probes(cluster: &Cluster, wanted: &[String]) -> Vec<Probe> {
    let mut probes = Vec::new();
    for class in wanted {
        let found = storage_class(cluster, class).await;
        probes.push(
            Probe::new(format!("storage class {class}"), found)
                .remedy("`kubectl get storageclass` names those there are"),
        );
    }
    if wanted.is_empty() {
        probes.push(Probe::new("default storage class", default_storage_class(cluster).await));
    }
    probes
}

/// What CDI knows of the classes: without it a disk whose map names no modes gets no claim.
pub(super) async fn profiles(cluster: &Cluster, wanted: &[String]) -> Vec<Probe> {
    let mut classes = wanted.to_vec();
    if classes.is_empty() {
        classes.extend(default_storage_class(cluster).await);
    }
    let mut probes = Vec::new();
    for class in classes {
        let found = match target::storage_defaults(cluster, &class).await {
            Ok((modes, volume)) if !modes.is_empty() => {
                Ok(format!("{} {}", modes.join(", "), volume.unwrap_or_default()).trim().to_owned())
            }
            Ok(_) => Err(format!("StorageProfile {class} names no access modes")),
            Err(why) => Err(why.to_string()),
        };
        let remedy = format!("set `spec.claimPropertySets` of the StorageProfile {class} (accessModes and volumeMode)");
        probes.push(Probe::new(format!("storage profile {class}"), found).doubted().remedy(remedy));
    }
    probes
}

/// The class that VMs get where none is named: the cluster's default for VMs, else its default.
pub async fn default_storage_class(cluster: &Cluster) -> Result<String, String> {
    const FOR_VMS: &str = "storageclass.kubevirt.io/is-default-virt-class";
    const FOR_ALL: &str = "storageclass.kubernetes.io/is-default-class";
    let classes = Api::<StorageClass>::all(cluster.client());
    let listed = classes.list(&ListParams::default()).await;
    let listed = listed.map_err(|e| format!("failed to list StorageClasses: {}", retry::short(&e)))?;
    let marked = |annotation: &str| {
        let is_default = |c: &&StorageClass| c.annotations().get(annotation).is_some_and(|v| v == "true");
        listed.items.iter().find(is_default).map(ResourceExt::name_any)
    };
    marked(FOR_VMS)
        .or_else(|| marked(FOR_ALL))
        .ok_or_else(|| "no StorageClass is the cluster's default; name one with `storage_class`".to_owned())
}

async fn storage_class(cluster: &Cluster, class: &str) -> Result<String, String> {
    let there: StorageClass = get(cluster, None, class).await?;
    Ok(format!("provisioned by {}", there.provisioner))
}
