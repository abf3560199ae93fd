//! Which OpenShift, Kubernetes and MTV are installed.

use super::Cluster;

/// A version's leading numbers, compared number by number; pre-release tags are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// `2.10`, `v2.10.3`, `4.20.0-rc.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let _ = text;
        unimplemented!()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    pub kubernetes: Option<String>,
    /// `None` on plain Kubernetes.
    pub openshift: Option<String>,
    /// From the operator's Subscription and CSV; else probed from CRD schemas (`2.11 (from its CRDs)`).
    pub mtv: Option<String>,
}

pub async fn read_versions(cluster: &Cluster, mtv_namespace: &str) -> Versions {
    let _ = (cluster, mtv_namespace);
    unimplemented!()
}
