//! One run from its first question to its end: connect, preflight, cells, give everything back.
//!
//! Knows no argument, no console and no report: the caller brings a connection, a ledger's place and
//! somebody who takes events, and gets back how the run ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::cells::Migrations;
use super::decide::decide;
use super::scheduler::{EngineOptions, RunSummary, Scheduler, Work};
use crate::api::names::RunId;
use crate::cluster::{Cluster, ClusterError};
use crate::config::scenarios::Destination;
use crate::config::{Flaky, Loaded, Settings};
use crate::doctor::{self, Report};
use crate::event::exit::{self, Demands, Tally};
use crate::event::{Carried, Environment, EventKind, Events, Level, Problem, SCHEMA, ShardSet, Telemetry, Verdict};
use crate::forklift::address::{InventoryAddress, inventory_address};
use crate::forklift::inventory::Inventory;
use crate::ledger::Ledger;
use crate::matrix::{Cell, Decision};
use crate::migration::{ContextParts, RunContext, StageSpan};

/// How a run is told to end before it is done.
#[derive(Default)]
pub struct StopTokens {
    /// Stop starting, cancel, tear down, report.
    pub cancel: CancellationToken,
    /// Stop at once.
    pub abort: CancellationToken,
}

/// What a run is made from.
pub struct Request<'a> {
    pub loaded: &'a Loaded,
    pub run: &'a RunId,
    /// Where the ledger and the artifacts go.
    pub dir: &'a Path,
    pub events: &'a Events,
    pub stop: &'a StopTokens,
    pub set: Option<ShardSet>,
    /// Cells that passed in earlier runs, of which this one is the rest.
    pub carried: Vec<Carried>,
    /// The cluster is simulated, for the reports.
    pub lab: bool,
    /// For the reports.
    pub telemetry: Telemetry,
    /// What else the report shall say of where the run was, by name.
    pub notes: std::collections::BTreeMap<String, String>,
    pub stage_span: StageSpan,
    /// Wakes the stages at work to tell what they wait for.
    pub asked: Arc<Notify>,
    /// What the lab can make go wrong.
    pub levers: Option<Arc<dyn crate::migration::levers::Levers>>,
}

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    pub summary: RunSummary,
    pub interrupted: bool,
    /// Told to stop at once: what it left is told already.
    pub aborted: bool,
    /// The user asked for things to be kept.
    pub keeps: bool,
    /// One of several shards.
    pub of_a_set: bool,
    pub demands: Demands,
}

impl Ended {
    /// The exit code of `run`.
    pub fn code(&self) -> u8 {
        self.tally().code(&self.demands)
    }

    /// What there is to say of the run as a whole, besides its cells.
    pub fn problem(&self) -> Option<Problem> {
        let told = || self.tally().too_few(&self.demands).map(Problem::new);
        (self.code() == exit::TOO_FEW).then(told).flatten()
    }

    fn tally(&self) -> Tally {
        let count = |verdict| self.summary.count(verdict);
        Tally {
            interrupted: self.interrupted,
            passed: count(Verdict::Passed),
            failed: count(Verdict::Failed),
            errored: count(Verdict::Errored),
            blocked: count(Verdict::Blocked),
            // Whether enough ran is said of a whole set, by whoever joins it.
            skipped: if self.of_a_set { 0 } else { count(Verdict::Skipped) },
            flaky: usize::try_from(self.summary.flaky).unwrap_or(usize::MAX),
            leftovers: usize::try_from(self.summary.leftovers).unwrap_or(usize::MAX),
        }
    }
}

/// Runs `cells`; `connect` reaches the cluster. `Err`: there was no run, and why.
pub async fn run(
    request: Request<'_>,
    mut cells: Vec<Cell>,
    connect: impl Future<Output = Result<Cluster, ClusterError>>,
) -> Result<Ended, Problem> {
    let settings = &request.loaded.settings;
    let look = async {
        let cluster = connect.await.map_err(|error| Problem::new(error.to_string()))?;
        let report = doctor::examine(&cluster, settings).await;
        Ok((cluster, report))
    };
    let (cluster, report) = match request.stop.cancel.run_until_cancelled(look).await {
        Some(Ok(found)) => found,
        ended => {
            started(&request, &cells, None);
            return match ended {
                Some(Err(problem)) => Err(problem),
                _ => Ok(Ended { interrupted: true, ..Ended::default() }),
            };
        }
    };
    let (flags, unknown_flags) = match decide(&cluster, settings, report.versions.mtv.as_deref(), &mut cells).await {
        Ok(flags) => (flags, None),
        Err(cause) => (BTreeMap::new(), Some(cause)),
    };
    started(&request, &cells, Some(&report));
    if let Some(cause) = unknown_flags {
        let message =
            format!("switches of the ForkliftController are unknown, so no cell is skipped for them: {cause}");
        request.events.emit(EventKind::Note { cell: None, level: Level::Warning, message });
    }
    for probe in &report.probes {
        let (probe, ok, message) = (probe.name.clone(), !probe.is_missing(), probe.line());
        request.events.emit(EventKind::Preflight { probe, ok, message });
    }
    let missing = report.missing();
    if !missing.is_empty() {
        let mut problem = Problem::new("the cluster is not ready for a run; nothing was created");
        problem.details = missing.iter().map(|p| format!("{}: {}", p.name, p.line())).collect();
        return Err(problem);
    }
    let address = inventory_address(&cluster, &settings.mtv_namespace)
        .await
        .map_err(|cause| Problem::new(format!("failed to find MTV's inventory: {cause}")))?;
    let context = open_context(&request, &cells, cluster, &report, flags, address)?;
    let teller = super::scheduler::told(request.events, None);
    crate::net::told::scope(teller, execute(&request, &cells, Arc::new(context))).await
}

fn started(request: &Request<'_>, cells: &[Cell], report: Option<&Report>) {
    let set = &request.set;
    request.events.emit(EventKind::RunStarted {
        schema: SCHEMA,
        run: request.run.clone(),
        environment: Box::new(environment(request, report)),
        cells: cells.iter().map(Cell::info).collect(),
        shard: set.as_ref().map(|set| set.shard().to_owned()),
        set: set.clone(),
        demands: demands(&request.loaded.settings),
        carried: request.carried.clone(),
    });
    for cell in cells {
        if let Decision::Skip(reason) = &cell.decision {
            let (cell, reason, shard) = (cell.id.clone(), reason.clone(), cell.shard.clone());
            request.events.emit(EventKind::CellSkipped { cell, reason, shard });
        }
    }
}

fn open_context(
    request: &Request<'_>,
    cells: &[Cell],
    cluster: Cluster,
    report: &Report,
    flags: BTreeMap<String, bool>,
    address: InventoryAddress,
) -> Result<RunContext, Problem> {
    let (loaded, run) = (request.loaded, request.run);
    let ledger = Ledger::create(&request.dir.join("ledger.jsonl"), run).map_err(|e| Problem::new(e.to_string()))?;
    let mut profiles: Vec<_> =
        cells.iter().filter(|c| c.decision == Decision::Run).map(|c| c.profile.clone()).collect();
    // A second cluster may be a destination only.
    let remote = |c: &Cell| c.decision == Decision::Run && c.scenario.destination == Destination::Remote;
    if cells.iter().any(remote) {
        let named = loaded.providers.get(&loaded.settings.remote_ocp_cluster);
        profiles.extend(named.map(|profile| Arc::new(profile.clone())));
    }
    profiles.sort_by(|a, b| a.name.cmp(&b.name));
    profiles.dedup_by(|a, b| a.name == b.name);
    Ok(RunContext::new(ContextParts {
        run: run.clone(),
        settings: Arc::new(loaded.settings.clone()),
        inventory: Inventory::new(cluster.clone(), address),
        cluster_ca: cluster.ca_pem().map(str::to_owned),
        cluster,
        ledger: Arc::new(ledger),
        events: request.events.clone(),
        mtv_version: report.versions.mtv.clone(),
        ocp_version: report.versions.ocp.clone(),
        flags,
        profiles,
        results: request.dir.to_owned(),
        stage_span: request.stage_span.clone(),
        asked: request.asked.clone(),
        levers: request.levers.clone(),
    }))
}

async fn execute(request: &Request<'_>, cells: &[Cell], context: Arc<RunContext>) -> Result<Ended, Problem> {
    let settings = &request.loaded.settings;
    let stop = request.stop;
    let options = EngineOptions {
        jobs: settings.jobs,
        max_concurrent: settings.max_concurrent,
        retries: settings.retries,
        retries_on: settings.retries_on,
        fail_fast: settings.fail_fast,
        order_seed: settings.order_seed,
        keep: settings.keep,
    };
    let work = Migrations { context: context.clone(), cancel: stop.cancel.clone(), abort: stop.abort.clone() };
    if cells.iter().any(|c| c.decision == Decision::Run)
        && let Some(Err(failure)) = stop.cancel.run_until_cancelled(context.open()).await
    {
        work.close().await;
        return Err(failure.problem);
    }
    let (run, events) = (request.run.clone(), request.events.clone());
    let summary = Scheduler::new(work, run, events, options, cells, stop.cancel.clone()).run(cells).await;
    Ok(Ended {
        summary,
        interrupted: stop.cancel.is_cancelled(),
        aborted: stop.abort.is_cancelled(),
        keeps: context.parts.ledger.holds(|e| e.kept),
        of_a_set: request.set.is_some(),
        demands: match &request.set {
            Some(_) => Demands { flaky_fails: demands(settings).flaky_fails, ..Demands::default() },
            None => demands(settings),
        },
    })
}

fn demands(settings: &Settings) -> Demands {
    Demands {
        flaky_fails: settings.flaky == Flaky::Fail,
        no_skips: settings.fail_on_skip,
        min_cells: settings.min_cells,
    }
}

fn environment(request: &Request<'_>, report: Option<&Report>) -> Environment {
    let versions = report.map(|r| r.versions.clone()).unwrap_or_default();
    Environment {
        mtv_version: versions.mtv,
        ocp_version: versions.ocp,
        kubernetes_version: versions.kubernetes,
        cluster: request.loaded.settings.cluster_host.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        lab: request.lab,
        telemetry: Some(request.telemetry.clone()),
        notes: request.notes.clone(),
    }
}
