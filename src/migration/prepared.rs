//! What one stage leaves for the next: the VMs as they were made ready, and where they go.

use std::collections::BTreeMap;

use super::context::OpenProfile;
use crate::api::forklift::{NetworkPair, Pair, PlanSpec, StoragePair};
use crate::api::vm::SourceVm;
use crate::cluster::Cluster;
use crate::config::ScenarioVm;
use crate::forklift::providers::ReadyProvider;
use crate::source::VmRef;

/// Names of a cell's single objects; they are alone in their namespace.
pub(super) const PLAN: &str = "plan";
pub(super) const MIGRATION: &str = "migration";

/// A source VM made ready for this cell.
#[derive(Debug, Clone)]
pub(super) struct PreparedVm {
    /// Its entry in the scenario.
    pub wanted: ScenarioVm,
    pub reference: VmRef,
    /// Name of the migrated VM where it is not the source's own.
    pub target_name: Option<String>,
    /// As it was before migration.
    pub before: SourceVm,
}

/// Where the cell's migrated VMs go.
pub(super) struct Destination {
    pub provider: ReadyProvider,
    pub cluster: Cluster,
}

/// What `prepare` leaves for the other stages.
pub(super) struct Prepared {
    pub open: OpenProfile,
    pub destination: Destination,
    pub namespace: String,
    /// Where the migrated VMs go.
    pub target_namespace: String,
    pub vms: Vec<PreparedVm>,
    /// (namespace, name) of the NADs, in the order of the networks after the first.
    pub nads: Vec<(String, String)>,
    pub hooks: Vec<crate::api::forklift::HookRef>,
    pub target_labels: BTreeMap<String, String>,
    pub node_selector: BTreeMap<String, String>,
    pub labelled_node: Option<String>,
}

impl Prepared {
    pub(super) fn pair(&self) -> Pair {
        Pair { source: self.open.provider.reference.clone(), destination: self.destination.provider.reference.clone() }
    }
}

/// What was created for MTV, for the checks.
pub(super) struct Maps {
    pub storage: Vec<StoragePair>,
    pub network: Vec<NetworkPair>,
    /// The Plan's spec as sent.
    pub plan: PlanSpec,
}
