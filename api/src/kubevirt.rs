//! KubeVirt's `VirtualMachine` and `VirtualMachineInstance` (`kubevirt.io/v1`).
//!
//! Their specs are large and version-dependent, so they stay JSON; what we need of them is read
//! by path in `forklift` and `check`'s inputs. Source: cluster.md §1.

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubevirt.io",
    version = "v1",
    kind = "VirtualMachine",
    namespaced,
    status = "VirtualMachineStatus",
    schema = "disabled"
)]
#[serde(transparent, default)]
pub struct VirtualMachineSpec {
    pub fields: Value,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMachineStatus {
    pub ready: bool,
    pub created: bool,
    pub printable_status: String,
    pub conditions: Vec<Condition>,
}

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubevirt.io",
    version = "v1",
    kind = "VirtualMachineInstance",
    namespaced,
    status = "VirtualMachineInstanceStatus",
    schema = "disabled"
)]
#[serde(transparent, default)]
pub struct VirtualMachineInstanceSpec {
    pub fields: Value,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMachineInstanceStatus {
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    pub conditions: Vec<Condition>,
    pub interfaces: Vec<VmiInterface>,
    #[serde(rename = "guestOSInfo", skip_serializing_if = "Value::is_null")]
    pub guest_os_info: Value,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VmiInterface {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info_source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<String>,
}
