//! What one stage leaves for the next: the VMs as they were made ready, and where they go.

use std::collections::BTreeMap;

use super::context::OpenProfile;
use crate::api::forklift::{NetworkPair, ObjRef, Pair, PlanSpec, StoragePair, XcopyConfig};
use crate::api::vm::SourceVm;
use crate::check::Array;
use crate::cluster::Cluster;
use crate::config::ScenarioVm;
use crate::config::scenarios::plans::Part;
use crate::forklift::maps::Landing;
use crate::forklift::providers::ReadyProvider;
use crate::source::VmRef;

/// Names of a cell's Plan and Migration; they are alone in their namespace. Several have their own names behind it.
const PLAN: &str = "plan";
const MIGRATION: &str = "migration";

/// Names of a cell's maps; they are alone in their namespace.
pub(super) const STORAGE_MAP: &str = "storage-map";
/// Of Plans that an array copies for, beside others.
pub(super) const OFFLOAD_MAP: &str = "storage-map-offload";
pub(super) const NETWORK_MAP: &str = "network-map";

/// A source VM made ready for this cell.
#[derive(Debug, Clone)]
pub(super) struct PreparedVm {
    /// Its entry in the scenario.
    pub wanted: ScenarioVm,
    pub reference: VmRef,
    /// Name of the migrated VM where it is not the source's own.
    pub target_name: Option<String>,
    /// The Secret that opens its encrypted disks.
    pub luks: Option<ObjRef>,
    /// As it was before migration.
    pub before: SourceVm,
}

/// Where the cell's migrated VMs go.
#[derive(Clone)]
pub(super) struct Destination {
    pub provider: ReadyProvider,
    pub cluster: Cluster,
}

/// The array that copies a cell's disks.
#[derive(Debug, Clone)]
pub(super) struct Offloading {
    /// For the StorageMap.
    pub config: XcopyConfig,
    /// For the checks.
    pub array: Array,
}

/// What `prepare` leaves for the other stages.
#[derive(Clone)]
pub(super) struct Prepared {
    /// Name of the Plan.
    pub plan: String,
    /// Name of its first Migration.
    pub migration: String,
    pub open: OpenProfile,
    pub destination: Destination,
    pub namespace: String,
    /// Where the migrated VMs go.
    pub target_namespace: String,
    pub vms: Vec<PreparedVm>,
    /// The networks of the VMs, and where each lands.
    pub networks: Vec<Landing>,
    /// (namespace, name) of the NADs, in the order in which the networks take them.
    pub nads: Vec<(String, String)>,
    pub hooks: Vec<crate::api::forklift::HookRef>,
    pub target_labels: BTreeMap<String, String>,
    pub node_selector: BTreeMap<String, String>,
    pub labelled_node: Option<String>,
    /// The array that copies, where a Plan asks for one.
    pub offload: Option<Offloading>,
}

impl Prepared {
    /// Names of Plan and Migration; `name`: where a scenario has several.
    pub(super) fn names(name: Option<&str>) -> (String, String) {
        let of = |kind: &str| name.map_or_else(|| kind.to_owned(), |name| format!("{kind}-{name}"));
        (of(PLAN), of(MIGRATION))
    }

    /// What one Plan of several has of it.
    pub(super) fn part(&self, part: &Part) -> Self {
        let (plan, migration) = Self::names(part.name.as_deref());
        let vms = part.members.iter().filter_map(|&at| self.vms.get(at).cloned()).collect();
        Self { plan, migration, vms, ..self.clone() }
    }

    pub(super) fn pair(&self) -> Pair {
        Pair { source: self.open.provider.reference.clone(), destination: self.destination.provider.reference.clone() }
    }
}

/// What was created for MTV, for the checks; and what a story has changed of it since.
#[derive(Clone)]
pub(super) struct Maps {
    pub storage: Vec<StoragePair>,
    pub network: Vec<NetworkPair>,
    /// The Plan's spec as sent.
    pub plan: PlanSpec,
}
