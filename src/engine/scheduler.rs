//! The scheduler: which attempt at which cell may begin when, and what its end means for the others.
//!
//! Bounds of the whole run, of a profile, of a scenario group; retries; fail-fast; what a signal ends. Every
//! cell is a future owned by one `FuturesUnordered`; nothing is detached. What an attempt *is* stands behind
//! [`Work`]: the scheduler knows no cluster, no ledger, no stage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::caught::caught;
use crate::api::names::{CellId, RunId};
use crate::config::{FailFast, Keep, RetriesOn};
use crate::event::{EventKind, Events, Verdict};
use crate::matrix::{Cell, Decision};
use crate::migration::Outcome;
use crate::net;
use crate::tasks::boxed;

/// Bounds and choices of a run, from the settings.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Cells at once.
    pub jobs: usize,
    /// Cells at once on a profile that says nothing, and in a scenario group.
    pub max_concurrent: usize,
    /// Further attempts.
    pub retries: u32,
    /// After which ends.
    pub retries_on: RetriesOn,
    pub fail_fast: FailFast,
    /// Shuffles the order in which cells begin.
    pub order_seed: Option<u64>,
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

/// What is scheduled. Counts are of things left behind.
pub trait Work {
    /// One attempt, up to its verdict. Dropped where the run is told to end.
    fn attempt(&self, cell: &Cell, attempt: u32) -> impl Future<Output = Outcome>;
    /// Undoes what attempts at the cell made, and tells what stays.
    fn teardown(&self, cell: &Cell, attempt: u32) -> impl Future<Output = u32>;
    /// Instead of a teardown: everything stays where it is.
    fn keep(&self, cell: &Cell);
    /// A further attempt begins: what cells share and could not be made may be made now.
    fn forget_failures(&self);
    /// After the last cell: gives back what belongs to the run itself.
    fn close(&self) -> impl Future<Output = u32>;
}

/// One run of many cells.
pub struct Scheduler<W> {
    work: W,
    run: RunId,
    events: Events,
    options: EngineOptions,
    /// Stop starting, cancel what runs, tear down.
    cancel: CancellationToken,
    all: Semaphore,
    profiles: BTreeMap<String, Semaphore>,
    groups: BTreeMap<String, Semaphore>,
    /// Cells that failed, errored or were blocked.
    unpassed: AtomicU32,
    /// Ends what is at work: with `cancel`, or where enough cells did not pass.
    at_once: CancellationToken,
}

impl<W: Work> Scheduler<W> {
    /// `cells`: those that [`Scheduler::run`] will get.
    pub fn new(
        work: W,
        run: RunId,
        events: Events,
        options: EngineOptions,
        cells: &[Cell],
        cancel: CancellationToken,
    ) -> Self {
        let bound = |n: usize| Semaphore::new(n.max(1));
        let profiles = cells
            .iter()
            .map(|c| (c.profile.name.clone(), bound(c.profile.max_concurrent.unwrap_or(options.max_concurrent))))
            .collect();
        let groups =
            cells.iter().filter_map(|c| c.scenario.group.clone()).map(|g| (g, bound(options.max_concurrent))).collect();
        let all = bound(options.jobs);
        let at_once = cancel.child_token();
        Self { work, run, events, options, cancel, all, profiles, groups, unpassed: AtomicU32::new(0), at_once }
    }

    /// Runs every cell that is to run, then closes the run.
    pub async fn run(&self, cells: &[Cell]) -> RunSummary {
        let mut summary = RunSummary::default();
        for cell in cells {
            // Told with the run's start.
            if cell.decision != Decision::Run {
                summary.verdicts.insert(cell.id.clone(), Verdict::Skipped);
            }
        }
        let mut ready: Vec<&Cell> = cells.iter().filter(|c| c.decision == Decision::Run).collect();
        if let Some(seed) = self.options.order_seed {
            ready.shuffle(&mut StdRng::seed_from_u64(seed));
        }
        let mut running: FuturesUnordered<_> = ready.into_iter().map(|cell| self.cell(cell)).collect();
        while let Some((id, ended)) = running.next().await {
            summary.leftovers += ended.leftovers;
            summary.flaky += u32::from(ended.flaky);
            summary.verdicts.insert(id, ended.verdict);
        }
        drop(running);
        summary.leftovers += self.work.close().await;
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
        // One that disturbs others runs while nobody else does. A waiter in front lets nobody past.
        let places = if cell.scenario.runs_alone() { u32::try_from(self.options.jobs.max(1)).unwrap_or(1) } else { 1 };
        let _all = self.permits(&self.all, places).await;
        let mut ended = Ended::default();
        for attempt in 1..=self.options.retries.saturating_add(1) {
            if let Some(reason) = self.refusal() {
                match (attempt, reason) {
                    (1, Refusal::Interrupted) => ended.verdict = Verdict::Interrupted,
                    (1, Refusal::FailedFast) => {
                        let reason = match self.unpassed.load(Ordering::Relaxed) {
                            1 => "another cell did not pass, and --fail-fast was given".to_owned(),
                            n => format!("{n} other cells did not pass, and --fail-fast was given"),
                        };
                        self.emit(EventKind::CellSkipped { cell: cell.id.clone(), reason, shard: None });
                    }
                    _ => {}
                }
                break;
            }
            if attempt > 1 {
                self.work.forget_failures();
            }
            let last = attempt > self.options.retries;
            let teller = told(&self.events, Some(&cell.id));
            let again = net::told::scope(teller, self.attempt(cell, attempt, last, &mut ended)).await;
            ended.flaky = attempt > 1 && ended.verdict == Verdict::Passed;
            if !again {
                break;
            }
        }
        if matches!(ended.verdict, Verdict::Failed | Verdict::Errored | Verdict::Blocked) {
            self.unpassed.fetch_add(1, Ordering::Relaxed);
            if self.failed_fast() && matches!(self.options.fail_fast, FailFast::After { immediate: true, .. }) {
                self.at_once.cancel();
            }
        }
        (cell.id.clone(), ended)
    }

    async fn permit<'a>(&self, semaphore: &'a Semaphore) -> Option<tokio::sync::SemaphorePermit<'a>> {
        self.permits(semaphore, 1).await
    }

    async fn permits<'a>(&self, semaphore: &'a Semaphore, count: u32) -> Option<tokio::sync::SemaphorePermit<'a>> {
        tokio::select! {
            biased;
            () = self.at_once.cancelled() => None,
            permit = semaphore.acquire_many(count) => permit.ok(),
        }
    }

    /// Whether as many cells did not pass as the run was told to bear.
    fn failed_fast(&self) -> bool {
        match self.options.fail_fast {
            FailFast::Never => false,
            FailFast::After { cells, .. } => self.unpassed.load(Ordering::Relaxed) >= cells.get(),
        }
    }

    /// Why no further attempt may begin.
    fn refusal(&self) -> Option<Refusal> {
        if self.cancel.is_cancelled() {
            Some(Refusal::Interrupted)
        } else if self.failed_fast() {
            Some(Refusal::FailedFast)
        } else {
            None
        }
    }

    /// One attempt with its teardown; whether another should follow.
    async fn attempt(&self, cell: &Cell, attempt: u32, last: bool, ended: &mut Ended) -> bool {
        let id = &cell.id;
        let namespace = id.namespace(&self.run, attempt);
        self.emit(EventKind::CellStarted { cell: id.clone(), attempt, namespace });
        let outcome = tokio::select! {
            biased;
            () = self.at_once.cancelled() => Outcome::interrupted(),
            outcome = caught("this cell was run", self.work.attempt(cell, attempt)) => {
                outcome.unwrap_or_else(Outcome::broken)
            }
        };
        // Skipped or blocked: nothing was migrated that somebody would want to look at.
        let passed = matches!(outcome.verdict, Verdict::Passed | Verdict::Skipped | Verdict::Blocked);
        let interrupted = outcome.verdict == Verdict::Interrupted;
        let keep = match self.options.keep {
            Keep::Never => false,
            Keep::OnFailure => !passed && !interrupted,
            Keep::Always => !interrupted,
        };
        if keep {
            self.work.keep(cell);
        } else {
            ended.leftovers += boxed(self.work.teardown(cell, attempt)).await;
        }
        ended.tried = Verdict::of_attempts(ended.tried.into_iter().chain([outcome.verdict]));
        ended.verdict = ended.tried.unwrap_or(outcome.verdict);
        let worth = match outcome.verdict {
            Verdict::Errored => true,
            // What was found wrong with MTV or a VM is the news; to try until it passes is asked for, or not done.
            Verdict::Failed => self.options.retries_on == RetriesOn::Failed,
            // What was found on the source speaks against the cell, and would again.
            Verdict::Blocked | Verdict::Skipped => false,
            Verdict::Passed | Verdict::Interrupted => false,
        };
        let will_retry = worth && outcome.repeatable && !last && self.refusal().is_none();
        self.emit(EventKind::CellFinished {
            cell: id.clone(),
            attempt,
            verdict: outcome.verdict,
            problem: outcome.problem,
            will_retry,
        });
        will_retry
    }

    fn emit(&self, kind: EventKind) {
        self.events.emit(kind);
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
    /// Of the attempts so far; `None` before the first has ended.
    tried: Option<Verdict>,
    leftovers: u32,
    flaky: bool,
}

impl Default for Ended {
    fn default() -> Self {
        Self { verdict: Verdict::Skipped, tried: None, leftovers: 0, flaky: false }
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

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
