//! Whether the classes that migrated disks are to get are there. Reads only.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::Probe;
use crate::cluster::objects::routes::get;
use crate::cluster::{Cluster, retry};

/// The classes of the settings; where they name none, the cluster's default.
pub(super) async fn probes(cluster: &Cluster, wanted: &[String]) -> Vec<Probe> {
    let mut probes = Vec::new();
    for class in wanted {
        probes.push(Probe::new(format!("storage class {class}"), storage_class(cluster, class).await));
    }
    if wanted.is_empty() {
        probes.push(Probe::new("default storage class", default_storage_class(cluster).await));
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
