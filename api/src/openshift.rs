//! OpenShift's `Route` and `ClusterVersion`. Source: cluster.md §4.

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(group = "route.openshift.io", version = "v1", kind = "Route", namespaced, schema = "disabled")]
#[serde(default)]
pub struct RouteSpec {
    pub host: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub to: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub tls: Value,
}

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "config.openshift.io",
    version = "v1",
    kind = "ClusterVersion",
    status = "ClusterVersionStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterVersionSpec {
    #[serde(rename = "clusterID")]
    pub cluster_id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterVersionStatus {
    pub desired: Release,
    pub history: Vec<Release>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}
