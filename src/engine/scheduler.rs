//! The scheduler. Every cell is a future owned by one `FuturesUnordered`; nothing is detached.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::caught::caught;
use crate::api::names::CellId;
use crate::cleanup::{Consent, Leftover, Standing, Undo, sweep, teardown};
use crate::config::Keep;
use crate::event::{EventKind, Events, Level, Problem, Stage, Verdict};
use crate::ledger::OpenEntry;
use crate::matrix::{Cell, Decision};
use crate::migration::{self, Outcome, RunContext};
use crate::net;

/// Bounds and choices of a run, from the settings.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    pub jobs: usize,
    pub max_concurrent: usize,
    /// Further attempts.
    pub retries: u32,
    pub fail_fast: bool,
    pub keep: Keep,
}

/// How the cells ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSummary {
    pub verdicts: BTreeMap<CellId, Verdict>,
    pub leftovers: u32,
    /// Cells that passed only on a retry.
    pub flaky: u32,
}

impl RunSummary {
    /// How many cells ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.values().filter(|&&v| v == verdict).count()
    }
}

/// Why a teardown did not end.
const CUT_SHORT: &str = "the run was told to stop at once, or its grace period was over";

/// A request that a signal cut short went with its connection; what a server still makes of it comes within
/// moments. Who waited for an answer in vain, and a `clean`, which knows nothing of the connection, wait longer.
const SETTLE: Duration = Duration::from_secs(2);

/// One run of many cells.
pub struct Engine {
    context: Arc<RunContext>,
    options: EngineOptions,
    /// Stop starting, cancel what runs, tear down.
    cancel: CancellationToken,
    /// Stop at once: teardown is left to `clean`.
    abort: CancellationToken,
    all: Semaphore,
    profiles: BTreeMap<String, Semaphore>,
    groups: BTreeMap<String, Semaphore>,
    failed_fast: AtomicBool,
}

impl Engine {
    pub fn new(
        context: Arc<RunContext>,
        options: EngineOptions,
        cells: &[Cell],
        cancel: CancellationToken,
        abort: CancellationToken,
    ) -> Self {
        let bound = |n: usize| Semaphore::new(n.max(1));
        let profiles = cells
            .iter()
            .map(|c| (c.profile.name.clone(), bound(c.profile.max_concurrent.unwrap_or(options.max_concurrent))))
            .collect();
        let groups =
            cells.iter().filter_map(|c| c.scenario.group.clone()).map(|g| (g, bound(options.max_concurrent))).collect();
        let all = bound(options.jobs);
        Self { context, options, cancel, abort, all, profiles, groups, failed_fast: AtomicBool::new(false) }
    }

    /// Runs every cell that is to run, then gives back what belongs to the run itself.
    pub async fn run(&self, cells: &[Cell]) -> RunSummary {
        let mut summary = RunSummary::default();
        for cell in cells {
            // Told with the run's start.
            if cell.decision != Decision::Run {
                summary.verdicts.insert(cell.id.clone(), Verdict::Skipped);
            }
        }
        let mut running: FuturesUnordered<_> =
            cells.iter().filter(|c| c.decision == Decision::Run).map(|cell| self.cell(cell)).collect();
        while let Some((id, ended)) = running.next().await {
            summary.leftovers += ended.leftovers;
            summary.flaky += u32::from(ended.flaky);
            summary.verdicts.insert(id, ended.verdict);
        }
        drop(running);
        summary.leftovers += self.close().await;
        summary
    }

    async fn cell(&self, cell: &Cell) -> (CellId, Ended) {
        // Narrow bounds first: a cell must not hold a place of the whole run while it waits for its profile.
        let _group = match cell.scenario.group.as_ref().and_then(|g| self.groups.get(g)) {
            Some(group) => self.permit(group).await,
            None => None,
        };
        let _profile = match self.profiles.get(&cell.profile.name) {
            Some(profile) => self.permit(profile).await,
            None => None,
        };
        let _all = self.permit(&self.all).await;
        let mut ended = Ended::default();
        for attempt in 1..=self.options.retries.saturating_add(1) {
            if let Some(reason) = self.refusal() {
                match (attempt, reason) {
                    (1, Refusal::Interrupted) => ended.verdict = Verdict::Interrupted,
                    (1, Refusal::FailedFast) => {
                        let reason = "another cell did not pass, and --fail-fast was given".to_owned();
                        self.emit(EventKind::CellSkipped { cell: cell.id.clone(), reason, shard: None });
                    }
                    _ => {}
                }
                break;
            }
            if attempt > 1 {
                self.context.forget_failures();
            }
            let last = attempt > self.options.retries;
            let teller = told(&self.context.parts.events, Some(&cell.id));
            let again = net::told::scope(teller, self.attempt(cell, attempt, last, &mut ended)).await;
            ended.flaky = attempt > 1 && ended.verdict == Verdict::Passed;
            if !again {
                break;
            }
        }
        if self.options.fail_fast && matches!(ended.verdict, Verdict::Failed | Verdict::Errored) {
            self.failed_fast.store(true, Ordering::Relaxed);
        }
        (cell.id.clone(), ended)
    }

    async fn permit<'a>(&self, semaphore: &'a Semaphore) -> Option<tokio::sync::SemaphorePermit<'a>> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            permit = semaphore.acquire() => permit.ok(),
        }
    }

    /// Why no further attempt may begin.
    fn refusal(&self) -> Option<Refusal> {
        if self.cancel.is_cancelled() {
            Some(Refusal::Interrupted)
        } else if self.failed_fast.load(Ordering::Relaxed) {
            Some(Refusal::FailedFast)
        } else {
            None
        }
    }

    /// One attempt with its teardown; whether another should follow.
    async fn attempt(&self, cell: &Cell, attempt: u32, last: bool, ended: &mut Ended) -> bool {
        let id = &cell.id;
        let namespace = id.namespace(&self.context.parts.run, attempt);
        self.emit(EventKind::CellStarted { cell: id.clone(), attempt, namespace });
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Outcome { verdict: Verdict::Interrupted, problem: None },
            outcome = caught("this cell was run", migration::run(&self.context, cell, attempt)) => {
                outcome.unwrap_or_else(|problem| Outcome { verdict: Verdict::Errored, problem: Some(problem) })
            }
        };
        // Skipped: what was found on the source speaks against the cell, and would again.
        let passed = matches!(outcome.verdict, Verdict::Passed | Verdict::Skipped);
        let interrupted = outcome.verdict == Verdict::Interrupted;
        let keep = match self.options.keep {
            Keep::Never => false,
            Keep::OnFailure => !passed && !interrupted,
            Keep::Always => !interrupted,
        };
        let leftovers = if keep { self.keep(cell).await } else { self.teardown(cell, attempt).await };
        ended.leftovers += leftovers;
        ended.verdict = outcome.verdict;
        let will_retry = !passed && !interrupted && !last && self.refusal().is_none();
        self.emit(EventKind::CellFinished {
            cell: id.clone(),
            attempt,
            verdict: outcome.verdict,
            problem: outcome.problem,
            will_retry,
        });
        will_retry
    }

    /// Leaves everything where it is, and says so in the ledger.
    async fn keep(&self, cell: &Cell) -> u32 {
        let ledger = &self.context.parts.ledger;
        let entries = ledger.open_entries_of(Some(&cell.id));
        let kept = entries.iter().filter(|e| ledger.kept(e.id).is_ok()).count();
        let message =
            format!("kept {kept} objects; remove them with `mtv-matrix clean --run-id {}`", self.context.parts.run);
        self.context.note(Some(&cell.id), Level::Warning, message);
        0
    }

    async fn teardown(&self, cell: &Cell, attempt: u32) -> u32 {
        let id = &cell.id;
        self.emit(EventKind::StageStarted { cell: id.clone(), attempt, stage: Stage::Teardown });
        // What an earlier attempt was told to keep stays.
        let mut entries = self.context.parts.ledger.open_entries_of(Some(id));
        entries.retain(|entry| !entry.kept);
        let limit = self.context.parts.settings.timeouts.teardown;
        let span = (self.context.parts.stage_span)(id, attempt, Stage::Teardown);
        let undo = caught("this cell was torn down", self.undo(entries).instrument(span));
        let undo = tokio::time::timeout(limit, undo);
        let (leftovers, why) = tokio::select! {
            biased;
            () = self.abort.cancelled() => (None, CUT_SHORT.to_owned()),
            done = undo => match done {
                Ok(Ok(leftovers)) => (Some(leftovers), String::new()),
                Ok(Err(problem)) => (None, problem.message),
                Err(_) => (None, format!("teardown did not end within {}", crate::config::duration::show(limit))),
            },
        };
        // What a cut-short teardown did not reach is what the ledger still holds.
        let leftovers = leftovers.unwrap_or_else(|| {
            let open = self.context.parts.ledger.open_entries_of(Some(id));
            open.into_iter()
                .filter(|e| !e.kept)
                .map(|e| Leftover { what: e.thing.describe(), because: why.clone(), standing: Standing::Left })
                .collect()
        });
        let problem = (!leftovers.is_empty()).then(|| {
            let mut problem = Problem::new(format!("{} things were left behind", leftovers.len()));
            problem.details = leftovers.iter().map(|l| format!("{}: {}", l.what, l.because)).collect();
            problem.look_at(format!("mtv-matrix clean --run-id {}", self.context.parts.run))
        });
        let verdict = if leftovers.is_empty() { Verdict::Passed } else { Verdict::Errored };
        self.report_leftovers(Some(id), &leftovers);
        self.emit(EventKind::StageFinished { cell: id.clone(), attempt, stage: Stage::Teardown, verdict, problem });
        u32::try_from(leftovers.len()).unwrap_or(u32::MAX)
    }

    async fn undo(&self, entries: Vec<OpenEntry>) -> Vec<Leftover> {
        let parts = &self.context.parts;
        let drivers = parts
            .profiles
            .iter()
            .filter_map(|p| self.context.driver(&p.name).map(|d| (p.name.clone(), d.clone())))
            .collect();
        let timeouts = &parts.settings.timeouts;
        let undo = Undo {
            cluster: &parts.cluster,
            ledger: &parts.ledger,
            drivers: &drivers,
            limit: timeouts.delete,
            cancel_limit: timeouts.delete,
            consent: Consent::Proven,
            swept: false,
            settle: if self.cancel.is_cancelled() { SETTLE } else { teardown::settle(timeouts.request) },
        };
        undo.run(entries).await
    }

    /// Gives back what belongs to the run: settings, Providers, its namespace, the sessions.
    /// `run` ends with it; by itself it is for a run that could not begin.
    pub async fn close(&self) -> u32 {
        let ledger = &self.context.parts.ledger;
        let keeps = ledger.open_entries().iter().any(|e| e.kept);
        let mut entries = ledger.open_entries_of(None);
        if keeps {
            // Kept plans still refer to the run's Providers; shared settings are given back all the same.
            entries.retain(|e| matches!(e.thing, crate::ledger::Thing::Setting { .. }));
        }
        let limit = self.context.parts.settings.timeouts.teardown;
        let still_open = |because: &str| {
            let open = ledger.open_entries_of(None).into_iter();
            open.map(|e| Leftover { what: e.thing.describe(), because: because.to_owned(), standing: Standing::Left })
                .collect()
        };
        let leftovers: Vec<Leftover> = tokio::select! {
            biased;
            () = self.abort.cancelled() => still_open(CUT_SHORT),
            done = tokio::time::timeout(limit, caught("the run was torn down", self.undo(entries))) => match done {
                Ok(Ok(leftovers)) => leftovers,
                Ok(Err(problem)) => still_open(&problem.message),
                Err(_) => still_open("teardown ran out of time"),
            },
        };
        let mut leftovers = leftovers;
        if !self.abort.is_cancelled() && !keeps {
            leftovers.extend(self.last_look(&leftovers).await);
        }
        self.report_leftovers(None, &leftovers);
        if !self.abort.is_cancelled() {
            self.context.disconnect().await;
        }
        u32::try_from(leftovers.len()).unwrap_or(u32::MAX)
    }

    /// What was verified to be gone and is there again: somebody's controller may have made it anew.
    async fn last_look(&self, told: &[Leftover]) -> Vec<Leftover> {
        let parts = &self.context.parts;
        if parts.ledger.open_entries().iter().any(|entry| entry.cell.is_some()) {
            // A cell's teardown has told of what it left.
            return Vec::new();
        }
        let left = |what: String, because: String, standing| Leftover { what, because, standing };
        match sweep::namespaces_of(&parts.cluster, &parts.run).await {
            Ok(names) => names
                .into_iter()
                .map(|name| format!("Namespace {name}"))
                .filter(|what| told.iter().all(|known| known.what != *what))
                .map(|what| left(what, "it was gone, and came back".to_owned(), Standing::Left))
                .collect(),
            Err(because) => vec![left("namespaces of the run".to_owned(), because, Standing::Unknown)],
        }
    }

    fn report_leftovers(&self, cell: Option<&CellId>, leftovers: &[Leftover]) {
        for left in leftovers {
            let (what, because) = (left.what.clone(), left.because.clone());
            self.emit(EventKind::Leftover { cell: cell.cloned(), what, because });
        }
    }

    fn emit(&self, kind: EventKind) {
        self.context.parts.events.emit(kind);
    }
}

/// Why an attempt may not begin.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    Interrupted,
    FailedFast,
}

#[derive(Debug)]
struct Ended {
    verdict: Verdict,
    leftovers: u32,
    flaky: bool,
}

impl Default for Ended {
    fn default() -> Self {
        Self { verdict: Verdict::Skipped, leftovers: 0, flaky: false }
    }
}
/// Requests that are sent again become events of the cell that they are sent for.
pub(super) fn told(events: &Events, cell: Option<&CellId>) -> net::told::Teller {
    let (events, cell) = (Arc::clone(events), cell.cloned());
    Arc::new(move |retry| {
        let net::told::Retry { peer, what, cause, pause } = retry.clone();
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        events.emit(EventKind::Retried { cell: cell.clone(), peer, what, cause, pause_ms });
    })
}
