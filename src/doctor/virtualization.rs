//! Whether KubeVirt, CDI and Multus are installed: their kinds are served. Asks discovery, which everybody may.

use super::Probe;
use crate::cluster::apply::code_of;
use crate::cluster::{Cluster, retry};

/// What a run reads or makes: component, API version, kinds (plural), what brings them.
const NEEDED: [(&str, &str, &[&str], &str); 3] = [
    (
        "KubeVirt",
        "kubevirt.io/v1",
        &["virtualmachines", "virtualmachineinstances"],
        "install OpenShift Virtualization (the operator kubevirt-hyperconverged) and wait for its HyperConverged",
    ),
    (
        "CDI",
        "cdi.kubevirt.io/v1beta1",
        &["datavolumes", "storageprofiles"],
        "install OpenShift Virtualization (the operator kubevirt-hyperconverged), which brings CDI",
    ),
    (
        "Multus",
        "k8s.cni.cncf.io/v1",
        &["network-attachment-definitions"],
        "OpenShift brings it; elsewhere install Multus: networks after the first are mapped to its definitions",
    ),
];

pub(super) async fn probes(cluster: &Cluster) -> Vec<Probe> {
    futures::future::join_all(NEEDED.map(|(name, version, kinds, remedy)| async move {
        Probe::new(name, served(cluster, version, kinds).await).remedy(remedy)
    }))
    .await
}

async fn served(cluster: &Cluster, version: &str, kinds: &[&str]) -> Result<String, String> {
    let listed = match cluster.client().list_api_group_resources(version).await {
        Ok(listed) => listed.resources,
        Err(error) if code_of(&error) == Some(404) => return Err(format!("{version} is not served")),
        Err(error) => return Err(format!("failed to ask for {version}: {}", retry::short(&error))),
    };
    let absent: Vec<&str> = kinds.iter().copied().filter(|kind| listed.iter().all(|r| r.name != *kind)).collect();
    if absent.is_empty() {
        Ok(format!("{version} is served"))
    } else {
        Err(format!("{version} has no {}", absent.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::objects::fixture::mock;
    use serde_json::json;

    #[tokio::test]
    async fn a_component_that_is_not_installed_is_named_with_what_brings_it() {
        let (cluster, _) = mock(|_, path| {
            let kinds: &[&str] = match path {
                "/apis/kubevirt.io/v1" => &["virtualmachines", "virtualmachineinstances"],
                "/apis/cdi.kubevirt.io/v1beta1" => &["datavolumes"],
                _ => return (404, json!(null)),
            };
            let resource = |name: &&str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "X", "verbs": ["get"]});
            let resources: Vec<_> = kinds.iter().map(resource).collect();
            (200, json!({"kind": "APIResourceList", "groupVersion": "x/v1", "resources": resources}))
        });
        let probes = probes(&cluster).await;
        let missing: Vec<String> = probes.iter().filter(|p| p.is_missing()).map(Probe::line).collect();
        let [cdi, multus] = missing.as_slice() else { panic!("{probes:?}") };
        assert!(cdi.contains("has no storageprofiles") && cdi.contains("install OpenShift Virtualization"), "{cdi}");
        assert!(multus.contains("k8s.cni.cncf.io/v1 is not served"), "{multus}");
    }
}
