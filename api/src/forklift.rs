//! MTV's own resources (`forklift.konveyor.io/v1beta1`), as far as a runner reads and writes them.
//!
//! Source: forklift.md §1, MTV 2.9 to 2.12. Optional fields are skipped when unset, because a
//! version that does not know a field refuses it under strict validation.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// `{id, name, namespace, type}`; unset when id, name and type are all empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ref {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
}

impl Ref {
    /// A reference by the platform's id.
    pub fn by_id(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }
    /// A reference by name.
    pub fn by_name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }
}

/// A reference to another object; only namespace and name are used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjRef {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ObjRef {
    /// A reference to `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: Some(name.into()) }
    }
}

/// Source and destination provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pair {
    pub source: ObjRef,
    pub destination: ObjRef,
}

/// A source or destination platform.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "Provider",
    namespaced,
    status = "ProviderStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderSpec {
    #[serde(rename = "type")]
    pub type_: String,
    /// Empty for the cluster that MTV itself runs on.
    pub url: String,
    /// `{}` for the cluster that MTV itself runs on.
    pub secret: ObjRef,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    pub conditions: Vec<Condition>,
    pub observed_generation: i64,
    /// Of the Secret that the connection was tested with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_resource_version: Option<String>,
}

/// Which source storage lands on which storage class.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "StorageMap",
    namespaced,
    status = "MapStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageMapSpec {
    pub provider: Pair,
    pub map: Vec<StoragePair>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StoragePair {
    pub source: Ref,
    pub destination: StorageDestination,
    /// Copy-offload: the storage array copies the row's disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offload_plugin: Option<OffloadPlugin>,
}

/// Who copies in MTV's place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffloadPlugin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vsphere_xcopy_config: Option<XcopyConfig>,
}

/// An array that copies by XCOPY.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XcopyConfig {
    /// A Secret beside the source Provider.
    pub secret_ref: String,
    pub storage_vendor_product: String,
    /// ESXi hosts that copy instead of the VM's own, by id; MTV 2.13 and later.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dedicated_migration_hosts: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageDestination {
    pub storage_class: String,
    /// `Filesystem` or `Block`; CDI's StorageProfile decides when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<String>,
}

/// Which source network lands on the pod network or on which NAD.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "NetworkMap",
    namespaced,
    status = "MapStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkMapSpec {
    pub provider: Pair,
    pub map: Vec<NetworkPair>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkPair {
    pub source: Ref,
    pub destination: NetworkDestination,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkDestination {
    /// `pod`, `multus` or `ignored`.
    #[serde(rename = "type")]
    pub type_: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Status of both maps; `references` are the resolved sources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MapStatus {
    pub conditions: Vec<Condition>,
    pub references: Vec<Ref>,
    pub observed_generation: i64,
}

/// What is to be migrated, and how.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "Plan",
    namespaced,
    status = "PlanStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub target_namespace: String,
    pub provider: Pair,
    pub map: PlanMap,
    pub vms: Vec<PlanVm>,
    pub warm: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub target_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub target_node_selector: BTreeMap<String, String>,
    /// A core/v1 Affinity, as JSON so that nothing of it is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_affinity: Option<serde_json::Value>,
    #[serde(rename = "preserveStaticIPs", skip_serializing_if = "Option::is_none")]
    pub preserve_static_ips: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvc_name_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvc_name_template_use_generate_name: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_power_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_vm_on_fail_migration: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_preflight_inspection: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate_shared_disks: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_nested_virtualization: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xfs_compatibility: Option<bool>,
    /// Raw device mappings become LUNs of the VM instead of disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdm_as_lun: Option<bool>,
    /// Disks are copied as they are, MTV 2.9 and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_guest_conversion: Option<bool>,
    /// Devices that a guest without virtio's drivers knows, where nothing is converted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_compatibility_mode: Option<bool>,
    /// `cold`, `warm`, `live` or `conversion`, MTV 2.10 and later; it wins over `warm`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Only together with its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_temp_storage_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_temp_storage_size: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanMap {
    pub network: ObjRef,
    pub storage: ObjRef,
}

/// One VM of a Plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanVm {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRef>,
    /// Exact target VM name, MTV 2.9 and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// `on`, `off` or `auto`; overrides the Plan's, MTV 2.10 and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_power_state: Option<String>,
    /// A Secret with keys that open encrypted disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub luks: Option<ObjRef>,
    /// Overrides the Plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate_shared_disks: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookRef {
    /// `PreHook` or `PostHook`.
    pub step: String,
    pub hook: ObjRef,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanStatus {
    pub conditions: Vec<Condition>,
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<PlanMigration>,
}

/// `status.migration` of a Plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanMigration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    pub history: Vec<serde_json::Value>,
    pub vms: Vec<VmStatus>,
}

/// The progress of one VM, identical in Plan and Migration status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VmStatus {
    pub id: String,
    pub name: String,
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// Of a VM of OpenShift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What virt-v2v found; nothing where it converts nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operating_system: Option<String>,
    /// As the Plan has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRef>,
    /// The Secret with keys of encrypted disks, empty where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub luks: Option<ObjRef>,
    /// From 0; of a VM that virt-v2v converts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_boot_disk: Option<i64>,
    /// From MTV 2.13 on: a conversion that fails can be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disks_copied: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_power_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm: Option<Warm>,
    pub pipeline: Vec<Step>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepError {
    pub phase: String,
    pub reasons: Vec<String>,
}

/// One pipeline step; a task has the same shape without `tasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    pub progress: Progress,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Step>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub completed: i64,
    pub total: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Warm {
    pub successes: i64,
    pub failures: i64,
    pub consecutive_failures: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_precopy_at: Option<String>,
    pub precopies: Vec<Precopy>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Precopy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// One execution of a Plan.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "Migration",
    namespaced,
    status = "MigrationStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct MigrationSpec {
    pub plan: ObjRef,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancel: Vec<Ref>,
    /// RFC 3339; warm only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutover: Option<String>,
    /// From MTV 2.13 on: convert again from the disks that a failed migration copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_conversion: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MigrationStatus {
    pub conditions: Vec<Condition>,
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    pub vms: Vec<VmStatus>,
}

/// An Ansible playbook that MTV runs before or after a VM's migration.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "Hook",
    namespaced,
    status = "HookStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct HookSpec {
    /// Empty where a job of the Automation Platform is run instead.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Base64 of the playbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// Seconds; 0 is no deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<i64>,
    /// From 2.12 on, instead of image and playbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aap: Option<AapHook>,
}

/// A job template of the Ansible Automation Platform. Where `url` and `token_secret` are absent the ForkliftController's
/// `aap_url` and `aap_token_secret_name` count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AapHook {
    pub job_template_id: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// In the Plan's namespace, key `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_secret: Option<ObjRef>,
    /// Seconds; 0 is the deadline, or the controller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HookStatus {
    pub conditions: Vec<Condition>,
    pub observed_generation: i64,
}

/// The operator's configuration; its keys vary by version (forklift.md §9.2), so it stays JSON.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "ForkliftController",
    namespaced,
    schema = "disabled"
)]
#[serde(transparent, default)]
pub struct ForkliftControllerSpec {
    pub fields: serde_json::Value,
}

/// What MTV converts or inspects in a pod (2.12 and later). MTV makes its own; one of the user's inspects a VM deeply.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "forklift.konveyor.io",
    version = "v1beta1",
    kind = "Conversion",
    namespaced,
    status = "ConversionStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ConversionSpec {
    #[serde(rename = "type")]
    pub type_: String,
    /// The source VM.
    pub vm: Ref,
    pub connection: Connection,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vddk_image: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// The Secret by which its pod reaches the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    pub secret: ObjRef,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConversionStatus {
    pub conditions: Vec<Condition>,
    pub observed_generation: i64,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Canceled`.
    pub phase: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The pod that works for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<ConversionSnapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection_result: Option<InspectionResult>,
}

/// The snapshot that is inspected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConversionSnapshot {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub moref: String,
    /// MTV made it, and removes it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub owned: bool,
}

/// What an inspection found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InspectionResult {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_checks_passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_info: Option<OsInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concerns: Vec<InspectionConcern>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filesystems: Vec<InspectionFilesystem>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OsInfo {
    pub name: String,
    pub distro: String,
    pub version: String,
    pub arch: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InspectionConcern {
    pub id: String,
    pub category: String,
    pub label: String,
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InspectionFilesystem {
    pub device: String,
    #[serde(rename = "type")]
    pub type_: String,
}
