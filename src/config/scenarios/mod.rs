//! Scenarios: the named migrations under `config/scenarios/`.
//!
//! One YAML file holds one or more scenarios, name → plan. Key names are those of the Python
//! suite's `tests_params` (peer.md §1.3); `tags`, `requires`, `destination`, `cutover` and
//! `known_issues` are ours. A value that the run fills in (`null` in labels and selectors) stays
//! `None` here.

pub mod plans;
pub mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::duration;
use super::platforms::Platform;
use super::settings::Settings;
use steps::Step;

/// All scenarios by name.
pub type Scenarios = BTreeMap<String, Scenario>;

/// One named migration plan and what is expected of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The key in the file; not written inside the scenario.
    #[serde(skip)]
    pub name: String,
    /// Unknown keys of it: it is refused where it is selected, with these.
    #[serde(skip)]
    pub refused: Vec<String>,
    /// What it asks for and nobody built: its cells are skipped, with these.
    #[serde(skip)]
    pub not_built: Vec<String>,
    /// `pvc_name_template` where it is written by platform; `default` is for the others.
    #[serde(skip)]
    pub pvc_name_templates: BTreeMap<String, String>,
    /// One sentence for `list` and the report.
    #[serde(default)]
    pub description: String,
    /// For `--tag` and `tag(…)`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Runs only where it is named: by `--scenario`, `--tag`, or `scenario(…)` or `tag(…)` of a filter.
    #[serde(default)]
    pub opt_in: bool,
    /// What must be given for the scenario to make sense; its cells are skipped elsewhere.
    #[serde(default)]
    pub requires: Requires,
    /// Where the VMs go: the cluster that MTV runs on, or the same registered by URL and token.
    #[serde(default)]
    pub destination: Destination,
    /// The VMs of the Plan. Required.
    pub virtual_machines: Vec<ScenarioVm>,
    /// Several Plans instead of one with all VMs, each with options of its own.
    #[serde(default)]
    pub plans: Vec<plans::PlanPart>,
    /// Copy while the VM runs, then cut over.
    #[serde(default)]
    pub warm_migration: bool,
    /// `type: live` of the Plan: the VM goes on running while it moves to the other cluster. Between OpenShift clusters, with
    /// `feature_ocp_live_migration` of MTV and the feature gate `DecentralizedLiveMigration` of both KubeVirts. Needs
    /// `source_vm_power: "on"` on every VM.
    #[serde(default)]
    pub live_migration: bool,
    /// When a warm migration is cut over, instead of the settings'.
    #[serde(default)]
    pub cutover: Cutover,
    /// `preserveStaticIPs` of the Plan; the addresses are checked. Needs `source_vm_power: "on"` on every VM.
    #[serde(default)]
    pub preserve_static_ips: bool,
    /// `pvcNameTemplate` of the Plan: a text, or one by platform with `default` for the others.
    #[serde(default)]
    pub pvc_name_template: Option<String>,
    /// `pvcNameTemplateUseGenerateName` of the Plan.
    #[serde(default)]
    pub pvc_name_template_use_generate_name: Option<bool>,
    /// Expected power of the migrated VMs, and the Plan's `targetPowerState`.
    #[serde(default)]
    pub target_power_state: Option<PowerState>,
    /// Exactly one entry; a `null` value is filled with the run id, and a worker gets the label.
    #[serde(default)]
    pub target_node_selector: BTreeMap<String, Option<String>>,
    /// A `null` value is filled with the run id.
    #[serde(default)]
    pub target_labels: BTreeMap<String, Option<String>>,
    /// A core/v1 Affinity.
    #[serde(default)]
    pub target_affinity: Option<serde_json::Value>,
    /// Namespace of the migrated VMs; a suffix keeps cells apart.
    #[serde(default)]
    pub vm_target_namespace: Option<String>,
    /// Namespace of the NADs; the VMs' own by default.
    #[serde(default)]
    pub multus_namespace: Option<String>,
    /// Whether a network on which a VM has several NICs gets a row and a NAD for each of them; so it does by default from MTV
    /// 2.11.1 on. Off: one row, which MTV 2.11 and 2.12 refuse (`VMDuplicateNADMappings`).
    #[serde(default)]
    pub per_nic_network_map: Option<bool>,
    /// Seconds or `10m`; the settings' `guest_agent` bound by default.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub guest_agent_timeout: Option<Duration>,
    /// A hook that runs before the migration.
    #[serde(default)]
    pub pre_hook: Option<HookPlan>,
    /// A hook that runs after the migration.
    #[serde(default)]
    pub post_hook: Option<HookPlan>,
    /// `succeed` (default) or `fail`: how the Migration is expected to end.
    #[serde(default)]
    pub expected_migration_result: ExpectedResult,
    /// What happens, step by step; `[migrate, verify]` where it is unset.
    #[serde(default)]
    pub steps: Option<Vec<Step>>,
    /// Off: `boot` steps are left out, as where the setting `boot` is off.
    #[serde(default)]
    pub boot: Option<bool>,
    /// Checks without which nothing is proven: a cell in which one was not judged is errored.
    #[serde(default)]
    pub essential: Vec<String>,
    /// Off: skip verification of this scenario.
    #[serde(default = "yes")]
    pub check_vms_signals: bool,
    /// Migrate the VMs themselves: what is done anyway where nothing can be cloned, and never elsewhere.
    #[serde(default)]
    pub skip_clone: bool,
    /// `runPreflightInspection` of the Plan; unset: MTV's default, which is on. MTV inspects before warm
    /// migrations from vSphere only.
    #[serde(default)]
    pub run_preflight_inspection: Option<bool>,
    /// `enableNestedVirtualization` of the Plan: whether the migrated VMs' CPUs have `vmx` and `svm`; unset: as the source.
    #[serde(default)]
    pub enable_nested_virtualization: Option<bool>,
    /// `skipGuestConversion` of the Plan: the disks are copied as they are, and nothing is converted.
    #[serde(default)]
    pub skip_guest_conversion: bool,
    /// `useCompatibilityMode` of the Plan, where nothing is converted: devices that a guest without virtio's drivers knows
    /// (SATA, e1000e, USB); unset: MTV's default, which is on.
    #[serde(default)]
    pub use_compatibility_mode: Option<bool>,
    /// `xfsCompatibility` of the Plan: MTV converts by the virt-v2v that knows older XFS.
    #[serde(default)]
    pub xfs_compatibility: Option<bool>,
    /// A source Provider of the scenario's own, which verifies the platform otherwise than the settings say.
    #[serde(default)]
    pub provider_tls: Option<ProviderTls>,
    /// A remote destination of the scenario's own, by the token of an account that may do no more there than MTV needs.
    #[serde(default)]
    pub limited_destination: Option<LimitedDestination>,
    /// The storage array copies the disks (vSphere only), and each disk has to prove it.
    #[serde(default)]
    pub copyoffload: bool,
    /// What is expected of a copy-offload plan, where it is not the usual.
    #[serde(default)]
    pub offload: Offload,
    /// Every clone is put on the ESXi host that the first one has got.
    #[serde(default)]
    pub clone_to_same_host: bool,
    /// Every clone is put on one ESXi host that is none of the profile's `dedicated_migration_hosts`.
    #[serde(default)]
    pub pin_to_non_dedicated_host: bool,
    /// DRS leaves the clones where they are.
    #[serde(default)]
    pub disable_drs_for_vms: bool,
    /// `migrateSharedDisks` of the Plan; unset: MTV's default, which is on.
    #[serde(default)]
    pub migrate_shared_disks: Option<bool>,
    /// `rdmAsLun` of the Plan: raw device mappings become LUNs of the VM.
    #[serde(default)]
    pub rdm_as_lun: bool,
    /// Cells of one group share the bound `max_concurrent` of the group.
    #[serde(default)]
    pub group: Option<String>,
    /// Expected run time, for balanced shards and for the order of work.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "Option<duration::DurationText>")]
    pub expected_duration: Option<Duration>,
    /// Open issues: a cell that meets one is skipped, naming it.
    #[serde(default)]
    pub known_issues: Vec<KnownIssue>,
}

fn yes() -> bool {
    true
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    #[default]
    Local,
    /// An explicit OpenShift Provider with URL and token; gated by `remote_ocp_cluster`.
    Remote,
}

/// What must be given for the scenario to make sense.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Requires {
    /// e.g. `2.10`.
    pub min_mtv_version: Option<String>,
    /// e.g. `2.12`: only in releases before that one.
    pub before_mtv_version: Option<String>,
    /// Empty: every platform that the support rules allow.
    pub platforms: Vec<Platform>,
}

/// The rights around a destination of few rights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitedDestination {
    /// The target namespace's default account may use the privileged SCC.
    pub scc: bool,
}

/// How a source Provider of the scenario's own verifies its platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderTls {
    /// `insecureSkipVerify` of its Secret; unset: as the settings say.
    pub insecure_skip_verify: Option<bool>,
    /// The key of its Secret that holds the CA: `cacert` (default), or `ca.crt` from MTV 2.12 on.
    pub ca_key: CaKey,
}

/// Names that MTV knows for the CA in a Provider's Secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CaKey {
    #[default]
    #[serde(rename = "cacert")]
    Cacert,
    #[serde(rename = "ca.crt")]
    CaCrt,
}

/// When a warm migration is cut over. Unset fields come from the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cutover {
    /// After this many successful precopies.
    #[schemars(range(min = 1, max = 1000))]
    pub after_precopies: Option<u32>,
    /// This many minutes after the Migration was created.
    #[schemars(range(min = 0, max = 43_200))]
    pub minutes: Option<u32>,
}

impl Cutover {
    /// With what the settings say where the scenario says nothing; whichever comes first.
    pub fn with(&self, settings: &Settings) -> Self {
        let after_precopies = self.after_precopies.or(settings.cutover_after_precopies);
        // Minutes of the settings are the default rule; a rule by precopies replaces them.
        let minutes = self.minutes.or_else(|| after_precopies.is_none().then_some(settings.mins_before_cutover));
        Self { after_precopies, minutes }
    }
}

/// A cell that meets an open issue is skipped, naming it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnownIssue {
    /// e.g. `MTV-2846`.
    pub id: String,
    /// Where it is met; empty: everywhere.
    #[serde(default)]
    pub platforms: Vec<Platform>,
    /// First MTV version that has the fix; unset: open.
    #[serde(default)]
    pub fixed_in: Option<String>,
    /// Older releases that have it, too; not written in the file: Jira tells it.
    #[serde(skip)]
    pub backports: Vec<String>,
    /// One sentence.
    pub summary: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PowerState {
    On,
    Off,
}

impl PowerState {
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedResult {
    #[default]
    Succeed,
    Fail,
}

/// What is expected of a copy-offload plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Offload {
    /// Who copies each disk.
    pub expect: Copier,
    /// ESXi hosts that copy instead of the VM's own, by id; `profile` stands for those of the profile. From MTV 2.13 on.
    pub migration_hosts: Vec<String>,
    /// So many populators of one host, and no more, have run at the same time, as the scenario's own steps tell MTV.
    #[schemars(range(min = 1, max = 1000))]
    pub populators_in_flight: Option<u32>,
}

/// Who is expected to copy the disks of a copy-offload plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Copier {
    /// The array, but for disks on the profile's `non_xcopy_datastore_id`: those the ESXi host copies itself.
    #[default]
    ByDatastore,
    /// The array, every disk.
    Array,
    /// The ESXi host, every disk: MTV falls back to that without a word.
    Host,
}

/// A hook: a built-in playbook that succeeds or fails, one of the user's, or a job of the Automation Platform.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookPlan {
    /// A built-in playbook that ends so: `succeed` or `fail`.
    #[serde(default)]
    pub expected_result: Option<ExpectedResult>,
    /// Strict base64 of a YAML list.
    #[serde(default)]
    pub playbook_base64: Option<String>,
    /// A job template of the Ansible Automation Platform at `aap_url`, which MTV launches from 2.12 on.
    #[serde(default)]
    pub aap_job_template_id: Option<u32>,
}

/// One VM of a scenario.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioVm {
    /// Source VM, or template on platforms that clone from one. Where several have the name, on vSphere: its path in the
    /// inventory (`/Datacenter/vm/folder/name`) or its id (`vm-123`).
    pub name: String,
    /// Power of the clone before migration; also the expected power afterwards, unless
    /// `target_power_state` says otherwise.
    #[serde(default)]
    pub source_vm_power: Option<PowerState>,
    /// Wait for and require the guest agent on the migrated VM.
    #[serde(default)]
    pub guest_agent: bool,
    /// Enables the profile's `default_vm_name`; VMs are cloned in any case (peer.md §1.3).
    #[serde(default)]
    pub clone: bool,
    /// Base name of the clone instead of `name`.
    #[serde(default)]
    pub clone_name: Option<String>,
    /// Keep upper-case letters and underscores of `clone_name`.
    #[serde(default)]
    pub preserve_name_format: bool,
    /// How the clone's disks are provisioned: `thin`, `thick-lazy` or `thick-eager`.
    #[serde(default)]
    pub disk_type: Option<DiskType>,
    /// Further disks for the clone.
    #[serde(default)]
    pub add_disks: Vec<AddDisk>,
    /// Snapshots to make on the clone before migrating.
    #[serde(default)]
    #[schemars(range(min = 0, max = 32))]
    pub snapshots: u32,
    /// Storage of the clone: a datastore by id, or by its key in the profile's `copyoffload`.
    #[serde(default)]
    pub target_datastore_id: Option<String>,
    /// The ESXi host of the clone, by name or id.
    #[serde(default)]
    pub target_esxi_host: Option<String>,
    /// Of VMs that write to the same disks, on vSphere: the one that has `true` owns them, and its disks are given to the
    /// clones of those that have `false`. Each is `migrateSharedDisks` of the VM in the Plan.
    #[serde(default)]
    pub migrate_shared_disks: Option<bool>,
    /// Whether the guest is Windows, where the platform does not tell it (Hyper-V).
    #[serde(default)]
    pub win_os: Option<bool>,
    /// Expected power of this migrated VM, before the scenario's.
    #[serde(default)]
    pub target_power_state: Option<PowerState>,
    /// Its disk is encrypted (LUKS): MTV gets the passphrase, of `luks_passphrase` here or else of the profile.
    #[serde(default)]
    pub luks: bool,
    /// Instead of the profile's.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub luks_passphrase: Option<SecretString>,
    /// One more NIC for the clone, beside its second one, else its first. Of vSphere.
    #[serde(default)]
    pub add_nic: bool,
    /// Whether the added NIC is connected when the VM starts. Required with `add_nic`.
    #[serde(default)]
    pub add_nic_start_connected: Option<bool>,
}

impl ScenarioVm {
    /// The host that its clone is put on, where the scenario says.
    pub fn host(&self) -> Option<&str> {
        self.target_esxi_host.as_deref()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskType {
    Thin,
    ThickLazy,
    ThickEager,
}

/// A further disk for the clone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddDisk {
    /// GiB; required unless it is a raw device mapping.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65_536))]
    pub size_gb: Option<u32>,
    /// `thin` (default), `thick-lazy` or `thick-eager`.
    #[serde(default)]
    pub provision_type: Option<DiskType>,
    /// `persistent` (default), `independent_persistent` or `independent_nonpersistent`.
    #[serde(default)]
    pub disk_mode: Option<DiskMode>,
    /// The controller that it hangs on: `scsi` (default, where the VM has one), `sata` or `nvme`; one more is added where
    /// there is none or it is full.
    #[serde(default)]
    pub controller: Option<DiskController>,
    /// Storage of the disk, where it is another than the clone's.
    #[serde(default)]
    pub datastore_id: Option<String>,
    /// A folder of the datastore, made for the disk.
    #[serde(default)]
    pub datastore_path: Option<String>,
    /// A raw device mapping: `virtual` or `physical`.
    #[serde(default)]
    pub rdm_type: Option<RdmType>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskController {
    Scsi,
    Sata,
    Nvme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskMode {
    Persistent,
    IndependentPersistent,
    IndependentNonpersistent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RdmType {
    Virtual,
    Physical,
}
