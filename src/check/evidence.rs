//! What was read about one migration, kept: the input of the checks as a value that can be written to a file and
//! judged again.
//!
//! Knows the records and objects, and nothing of how they were read. It holds no secret: of the Provider's Secret
//! only what it says of TLS.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Facts, ProviderFacts};
use crate::api::forklift::{NetworkPair, StoragePair};
use crate::api::pods::SeenPod;
use crate::api::vm::{SourceVm, TargetVm};
use crate::config::{Platform, Scenario, ScenarioVm};

/// A hook that the scenario asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskedHook {
    /// `PreHook` or `PostHook`.
    pub step: String,
    /// As it was sent, base64.
    pub playbook: String,
    /// The job template that was asked for instead.
    #[serde(default)]
    pub job_template: Option<u32>,
    /// The Hook as it stands; `None`: it is gone.
    pub object: Result<Option<Value>, String>,
}

/// The array that copies in a copy-offload plan, as the cell's map names it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// MTV's word for the vendor's product.
    pub vendor: String,
    /// How the populator reaches the ESXi host: `vib` or `ssh`.
    pub method: String,
    /// The datastore, by id or name, that no array copies from.
    pub without_xcopy: Option<String>,
    /// Hosts that alone may copy; empty: each VM's own.
    pub hosts: Vec<String>,
}

/// What the populators of a copy-offload migration left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offloaded {
    pub array: Array,
    /// Every populator's pod that was seen, with its log.
    pub pods: Result<Vec<SeenPod>, String>,
    /// The populators' own objects, as they stand.
    pub populators: Result<Vec<Value>, String>,
}

/// MTV's side of a migration, and what stands around its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// The Plan's spec as it was sent.
    pub sent: Value,
    /// The Plan as it stands, whole; `None`: it is gone.
    pub plan: Result<Option<Value>, String>,
    pub migration: Result<Option<Value>, String>,
    pub hooks: Vec<AskedHook>,
    /// Everything in the target namespace that carries this migration's label: VMs, claims, pods, DataVolumes,
    /// and Secrets and ConfigMaps without what they hold.
    pub marked: Result<Vec<Value>, String>,
    /// UIDs of Migrations of this Plan before that one: what arrived with one of them still carries its label.
    #[serde(default)]
    pub earlier: Vec<String>,
    /// Seconds from the end of one precopy to the start of the next, as MTV is told; `None`: cold, or not known.
    #[serde(default)]
    pub precopy_interval: Option<f64>,
    /// Of a copy-offload plan.
    #[serde(default)]
    pub offload: Option<Offloaded>,
}

/// Everything that was read about one VM. [`Facts`] borrow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub platform: Platform,
    /// Name of the scenario, and which of its VMs this is.
    pub scenario: String,
    pub position: usize,
    pub before: SourceVm,
    pub after: Result<SourceVm, String>,
    pub forced_off: Option<Result<bool, String>>,
    /// The name that was asked for the migrated VM.
    pub target_name: Option<String>,
    pub target: Result<Option<TargetVm>, String>,
    pub storage_map: Vec<StoragePair>,
    pub network_map: Vec<NetworkPair>,
    pub storage_defaults: BTreeMap<String, (Vec<String>, Option<String>)>,
    pub provider: ProviderFacts,
    pub target_labels: BTreeMap<String, String>,
    pub labelled_node: Option<String>,
    pub plan: String,
    pub ocp_version: Option<String>,
    pub mtv_version: Option<String>,
    pub flags: BTreeMap<String, bool>,
    pub ran: Ran,
}

impl Evidence {
    /// The input of the checks, with the scenario that it was read for.
    pub fn facts<'a>(&'a self, scenario: &'a Scenario, vm: &'a ScenarioVm) -> Facts<'a> {
        Facts {
            platform: self.platform,
            scenario,
            vm,
            before: &self.before,
            source_power_after: self.after.as_ref().map(|vm| vm.power.clone()).map_err(Clone::clone),
            forced_off: self.forced_off.clone(),
            source_after: self.after.as_ref().map_err(Clone::clone),
            target_name: self.target_name.as_deref(),
            target: self.target.as_ref().map(Option::as_ref).map_err(Clone::clone),
            storage_map: &self.storage_map,
            network_map: &self.network_map,
            storage_defaults: &self.storage_defaults,
            provider: &self.provider,
            target_labels: &self.target_labels,
            labelled_node: self.labelled_node.as_deref(),
            plan: &self.plan,
            ocp_version: self.ocp_version.as_deref(),
            mtv_version: self.mtv_version.as_deref(),
            flags: &self.flags,
            ran: &self.ran,
        }
    }
}
