//! One attempt at a cell, stage by stage, up to `verify`.

use std::collections::BTreeMap;

use super::context::{OpenProfile, RunContext};
use super::stages::stage;
use super::{Failure, execute, prepare, verify};
use crate::api::forklift::{NetworkPair, ObjRef, Pair, PlanMap, StoragePair};
use crate::api::vm::SourceVm;
use crate::check::pvc_names;
use crate::cluster::Cluster;
use crate::config::ScenarioVm;
use crate::event::{Level, Problem, Stage, Verdict};
use crate::forklift::plan::{PlanRequest, PlannedVm};
use crate::forklift::providers::ReadyProvider;
use crate::forklift::{maps, plan};
use crate::matrix::Cell;
use crate::source::VmRef;

/// Names of a cell's single objects; they are alone in their namespace.
pub(super) const PLAN: &str = "plan";
pub(super) const MIGRATION: &str = "migration";
const STORAGE_MAP: &str = "storage-map";
const NETWORK_MAP: &str = "network-map";

/// How an attempt ended, teardown aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub problem: Option<Problem>,
}

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

/// Rows of the maps as created, for the checks.
pub(super) struct Maps {
    pub storage: Vec<StoragePair>,
    pub network: Vec<NetworkPair>,
}

/// Runs one attempt; teardown is the caller's. Artifacts of a failure are collected before return.
pub async fn run(context: &RunContext, cell: &Cell, attempt: u32) -> Outcome {
    match attempt_stages(context, cell, attempt).await {
        Ok(()) => Outcome { verdict: Verdict::Passed, problem: None },
        Err(failure) if failure.verdict == Verdict::Skipped => {
            Outcome { verdict: Verdict::Skipped, problem: Some(failure.problem) }
        }
        Err(mut failure) => {
            super::artifacts::collect(context, cell, attempt).await;
            failure.problem.look_at.push(format!("artifacts/{}", cell.id.slug()));
            Outcome { verdict: failure.verdict, problem: Some(failure.problem) }
        }
    }
}

async fn attempt_stages(context: &RunContext, cell: &Cell, attempt: u32) -> Result<(), Failure> {
    let timeouts = &context.parts.settings.timeouts;
    let run_stage = |which| (&context.parts, &cell.id, attempt, which, timeouts);

    let (e, id, a, s, t) = run_stage(Stage::Prepare);
    let prepared = stage(e, id, a, s, t, prepare::prepare(context, cell, attempt)).await?;
    let sources: Vec<SourceVm> = prepared.vms.iter().map(|vm| vm.before.clone()).collect();
    let tracked = context.tracked(Some(&cell.id));

    let storage = maps::storage_rows(&prepared.open.adapter.storages(&sources), &cell.storage_class);
    let (e, id, a, s, t) = run_stage(Stage::StorageMap);
    let create = maps::create_storage_map(
        &tracked,
        &prepared.namespace,
        STORAGE_MAP,
        prepared.pair(),
        storage.clone(),
        context.patience(timeouts.storage_map),
    );
    stage(e, id, a, s, t, async { Ok(create.await?) }).await?;

    let network = maps::network_rows(&prepared.open.adapter.networks(&sources), &prepared.nads);
    let (e, id, a, s, t) = run_stage(Stage::NetworkMap);
    let create = maps::create_network_map(
        &tracked,
        &prepared.namespace,
        NETWORK_MAP,
        prepared.pair(),
        network.clone(),
        context.patience(timeouts.network_map),
    );
    stage(e, id, a, s, t, async { Ok(create.await?) }).await?;

    let (e, id, a, s, t) = run_stage(Stage::Plan);
    let create = plan::create_plan(&tracked, build_plan(context, cell, &prepared), context.patience(timeouts.plan));
    stage(e, id, a, s, t, async { Ok(create.await?) }).await?;

    let (e, id, a, s, t) = run_stage(Stage::Migrate);
    let migrated = stage(e, id, a, s, t, execute::migrate(context, cell, attempt, &prepared)).await?;

    let maps = Maps { storage, network };
    let (e, id, a, s, t) = run_stage(Stage::Verify);
    stage(e, id, a, s, t, verify::verify(context, cell, attempt, &prepared, &maps, &migrated)).await
}

/// The scenario's template for names of PVCs, where MTV can name every VM's disks by it.
fn pvc_name_template(context: &RunContext, cell: &Cell, prepared: &Prepared) -> Option<String> {
    let template = cell.scenario.pvc_name_template.as_deref()?;
    let (platform, mtv) = (prepared.open.profile.platform, context.parts.mtv_version.as_deref());
    match prepared.vms.iter().find_map(|vm| pvc_names::unfit(platform, mtv, template, &vm.before)) {
        None => Some(template.to_owned()),
        Some(why) => {
            context.note(
                Some(&cell.id),
                Level::Warning,
                format!("the Plan is made without `pvc_name_template`: {why}"),
            );
            None
        }
    }
}

fn build_plan(context: &RunContext, cell: &Cell, prepared: &Prepared) -> crate::api::forklift::Plan {
    plan::build(PlanRequest {
        scenario: &cell.scenario,
        namespace: &prepared.namespace,
        name: PLAN,
        target_namespace: &prepared.target_namespace,
        provider: prepared.pair(),
        map: PlanMap {
            network: ObjRef::new(&prepared.namespace, NETWORK_MAP),
            storage: ObjRef::new(&prepared.namespace, STORAGE_MAP),
        },
        vms: prepared
            .vms
            .iter()
            .map(|vm| PlannedVm {
                id: vm.reference.id.clone(),
                target_name: vm.target_name.clone(),
                namespace: prepared.open.adapter.namespace_of(&vm.before),
                target_power_state: vm.wanted.target_power_state.map(crate::config::PowerState::name),
            })
            .collect(),
        hooks: prepared.hooks.clone(),
        pvc_name_template: pvc_name_template(context, cell, prepared),
        target_labels: prepared.target_labels.clone(),
        target_node_selector: prepared.node_selector.clone(),
    })
}
