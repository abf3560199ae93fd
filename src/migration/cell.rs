//! One attempt at a cell, stage by stage, up to `verify`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::context::RunContext;
use super::prepared::{Maps, NETWORK_MAP, OFFLOAD_MAP, Prepared, STORAGE_MAP};
use super::stages::StageRun;
use super::story::{Cast, Role, tell};
use super::{Failure, prepare};
use crate::api::forklift::{ObjRef, PlanMap};
use crate::api::vm::SourceVm;
use crate::check::pvc_names;
use crate::config::scenarios::plans::Part;
use crate::config::steps::{Step, story};
use crate::event::{Level, Problem, Stage, Verdict};
use crate::forklift::plan::{PlanRequest, PlannedVm};
use crate::forklift::{MtvError, maps, offload, plan};
use crate::matrix::Cell;
use crate::tasks::boxed;

/// How an attempt ended, teardown aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub problem: Option<Problem>,
    /// Whether a further attempt would begin where this one began: not where it used up VMs that can't be cloned,
    /// or met a world that the scenario does not fit.
    pub repeatable: bool,
}

impl Outcome {
    /// This program itself broke.
    pub fn broken(problem: Problem) -> Self {
        Self { verdict: Verdict::Errored, problem: Some(problem), repeatable: true }
    }
    /// Dropped before its end.
    pub fn interrupted() -> Self {
        Self { verdict: Verdict::Interrupted, problem: None, repeatable: true }
    }
}

/// Runs one attempt; teardown is the caller's. Artifacts of a failure are collected before return.
pub async fn run(context: &RunContext, cell: &Cell, attempt: u32) -> Outcome {
    let used_up = AtomicBool::new(false);
    match attempt_stages(context, cell, attempt, &used_up).await {
        Ok(()) => Outcome { verdict: Verdict::Passed, problem: None, repeatable: true },
        Err(failure) if failure.verdict == Verdict::Skipped => {
            Outcome { verdict: Verdict::Skipped, problem: Some(failure.problem), repeatable: false }
        }
        Err(mut failure) => {
            boxed(super::artifacts::collect(context, cell, attempt)).await;
            boxed(context.must_gather(cell, attempt)).await;
            failure.problem.look_at.push(format!("artifacts/{}", cell.id.slug()));
            let repeatable = !used_up.load(Ordering::Relaxed) && failure.verdict != Verdict::Blocked;
            Outcome { verdict: failure.verdict, problem: Some(failure.problem), repeatable }
        }
    }
}

/// `used_up`: set once MTV was told to migrate VMs that stay as they become.
async fn attempt_stages(context: &RunContext, cell: &Cell, attempt: u32, used_up: &AtomicBool) -> Result<(), Failure> {
    let timeouts = &context.parts.settings.timeouts;
    let whole = &context.parts;
    for step in cell.scenario.steps.iter().flatten() {
        if let Step::Fault(fault) = step
            && let Some(why) = fault.what.unplayed(context, cell.profile.platform)
        {
            return Err(Failure::skipped(why));
        }
    }
    let (events, span, asked) = (&whole.events, &whole.stage_span, &*whole.asked);
    let run = StageRun { events, timeouts, span, cell: &cell.id, attempt, asked };

    let prepared = run.stage(Stage::Prepare, prepare::prepare(context, cell, attempt)).await?;
    let sources: Vec<SourceVm> = prepared.vms.iter().map(|vm| vm.before.clone()).collect();
    let tracked = context.tracked(Some(&cell.id));

    let storage = maps::storage_rows(&prepared.open.adapter.storages(&sources), &cell.storage_class);
    let parts = cell.scenario.parts();
    let offloads = |part: &Part| part.scenario.copyoffload && prepared.offload.is_some();
    let offloaded = match &prepared.offload {
        Some(own) => offload::rows(storage.clone(), &own.config),
        None => Vec::new(),
    };
    // MTV copies by one way in each Plan, so that Plans of both kinds have maps of their own.
    let both = parts.iter().any(offloads) && !parts.iter().all(offloads);
    let map_of = |part: &Part| match offloads(part) {
        true if both => (OFFLOAD_MAP, &offloaded),
        true => (STORAGE_MAP, &offloaded),
        false => (STORAGE_MAP, &storage),
    };
    let mut needed: Vec<_> = parts.iter().map(map_of).collect();
    needed.sort_by_key(|(name, _)| *name);
    needed.dedup_by_key(|(name, _)| *name);
    let create = async {
        for (name, rows) in needed {
            let patience = context.patience(timeouts.storage_map);
            maps::create_storage_map(&tracked, &prepared.namespace, name, prepared.pair(), rows.clone(), patience)
                .await?;
        }
        Ok::<(), MtvError>(())
    };
    run.stage(Stage::StorageMap, create).await?;

    let network = maps::network_rows(&prepared.networks, &prepared.nads);
    let create = maps::create_network_map(
        &tracked,
        &prepared.namespace,
        NETWORK_MAP,
        prepared.pair(),
        network.clone(),
        context.patience(timeouts.network_map),
    );
    run.stage(Stage::NetworkMap, create).await?;

    let chapters = story::chapters(&cell.scenario, context.parts.settings.boot);
    let roles: Vec<Role> = parts
        .iter()
        .map(|part| {
            let (map, storage) = map_of(part);
            let part = part.clone();
            let own = Cell { scenario: Arc::new(part.scenario.clone()), ..cell.clone() };
            let mine = prepared.part(&part);
            let plan = build_plan(context, &own, &mine, map);
            let maps = Maps { storage: storage.clone(), network: network.clone(), plan: plan.spec.clone() };
            Role { part, cell: own, prepared: mine, maps, plan }
        })
        .collect();
    let mut cast = Cast::new(context, cell, attempt, &prepared, &roles, used_up);
    let told = tell(run, &chapters, &mut cast).await;
    if told.is_err() {
        boxed(cast.keep_traces()).await;
    }
    told
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

fn build_plan(context: &RunContext, cell: &Cell, prepared: &Prepared, storage_map: &str) -> crate::api::forklift::Plan {
    plan::build(PlanRequest {
        scenario: &cell.scenario,
        namespace: &prepared.namespace,
        name: &prepared.plan,
        target_namespace: &prepared.target_namespace,
        provider: prepared.pair(),
        map: PlanMap {
            network: ObjRef::new(&prepared.namespace, NETWORK_MAP),
            storage: ObjRef::new(&prepared.namespace, storage_map),
        },
        vms: prepared
            .vms
            .iter()
            .map(|vm| PlannedVm {
                id: vm.reference.id.clone(),
                name: vm.reference.name.clone(),
                target_name: vm.target_name.clone(),
                namespace: prepared.open.adapter.namespace_of(&vm.before),
                target_power_state: vm.wanted.target_power_state.map(crate::config::PowerState::name),
                luks: vm.luks.clone(),
                migrate_shared_disks: vm.wanted.migrate_shared_disks,
            })
            .collect(),
        hooks: prepared.hooks.clone(),
        pvc_name_template: pvc_name_template(context, cell, prepared),
        target_labels: prepared.target_labels.clone(),
        target_node_selector: prepared.node_selector.clone(),
    })
}
