//! Multus' `NetworkAttachmentDefinition` (`k8s.cni.cncf.io/v1`). Source: cluster.md §5.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "k8s.cni.cncf.io",
    version = "v1",
    kind = "NetworkAttachmentDefinition",
    plural = "network-attachment-definitions",
    namespaced,
    schema = "disabled"
)]
#[serde(default)]
pub struct NetworkAttachmentDefinitionSpec {
    /// The CNI configuration as JSON text.
    pub config: String,
}
