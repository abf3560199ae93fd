//! Judging a migrated VM: (source VM, target VM, expectations) → findings. Pure.
//!
//! Floor 1. No I/O: everything a rule needs is in [`Facts`]. Each rule is one file and one name in
//! [`ALL`]. What a rule cannot judge it says, with the reason; silence is not a pass.

use std::collections::BTreeMap;

use crate::api::forklift::{NetworkPair, StoragePair};
use crate::api::vm::{Power, SourceVm, TargetVm};
use crate::config::{Platform, Scenario, ScenarioVm};
use crate::event::Finding;

/// Names of all checks, in the order in which they run and are reported.
pub const ALL: &[&str] = &[
    "source-power",
    "power",
    "cpu",
    "memory",
    "firmware",
    "serial",
    "network",
    "disk-count",
    "disk-size",
    "disk-order",
    "storage-class",
    "access-mode",
    "volume-mode",
    "pvc-names",
    "guest-agent",
    "ssh-login",
    "static-ip",
    "node-placement",
    "labels",
    "affinity",
    "provider-tls",
    "snapshots",
];

/// The Provider as it stands on the cluster, and what it should be.
#[derive(Debug, Clone)]
pub struct ProviderFacts {
    /// `insecureSkipVerify` in its Secret, as stored; `None` when absent or unreadable (then why).
    pub insecure_skip_verify: Result<String, String>,
    /// What the configuration asks for.
    pub wanted_insecure: bool,
    /// Whether the Provider carries the `ConnectionInsecure` condition.
    pub connection_insecure: bool,
}

/// Everything known about one migrated VM.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub platform: Platform,
    pub scenario: &'a Scenario,
    pub vm: &'a ScenarioVm,
    /// The source before migration.
    pub before: &'a SourceVm,
    /// Its power after migration.
    pub source_power_after: Result<Power, String>,
    /// Its snapshots after migration.
    pub source_after: Result<&'a SourceVm, String>,
    /// `Ok(None)`: MTV said Succeeded and there is no such VM.
    pub target: Result<Option<&'a TargetVm>, String>,
    /// Rows of the maps as really created.
    pub storage_map: &'a [StoragePair],
    pub network_map: &'a [NetworkPair],
    /// Access and volume mode that the StorageProfile gives where the map names none, by class.
    pub storage_defaults: &'a BTreeMap<String, (Vec<String>, Option<String>)>,
    pub provider: &'a ProviderFacts,
    /// Labels as sent in the Plan (nulls filled in).
    pub target_labels: &'a BTreeMap<String, String>,
    /// The worker that carries the node selector's label.
    pub labelled_node: Option<&'a str>,
    pub ocp_version: Option<&'a str>,
    pub mtv_version: Option<&'a str>,
}

/// Judges one VM by every rule that applies to its scenario and platform.
pub fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let _ = facts;
    unimplemented!()
}
