//! The cells as they are: what the scheduler's attempts do on the cluster and the platforms, and how what they
//! made is undone from the ledger, within bounds.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::caught::caught;
use super::scheduler::Work;
use crate::api::names::CellId;
use crate::cleanup::teardown::{self, Settle};
use crate::cleanup::{Consent, Leftover, Standing, Undo, sweep};
use crate::event::{EventKind, Level, Problem, Stage, Verdict};
use crate::ledger::{OpenEntry, Thing};
use crate::matrix::Cell;
use crate::migration::{self, Outcome, RunContext};

/// Why a teardown did not end.
const CUT_SHORT: &str = "the run was told to stop at once, or its grace period was over";

/// A request that a signal cut short went with its connection; what a server still makes of it comes within
/// moments. Who waited for an answer in vain, and a `clean`, which knows nothing of the connection, wait longer.
const SETTLE: Duration = Duration::from_secs(2);

/// Cells that migrate.
pub(super) struct Migrations {
    pub context: Arc<RunContext>,
    /// The run was told to end.
    pub cancel: CancellationToken,
    /// Stop at once: teardown is left to `clean`.
    pub abort: CancellationToken,
}

impl Work for Migrations {
    async fn attempt(&self, cell: &Cell, attempt: u32) -> Outcome {
        migration::run(&self.context, cell, attempt).await
    }

    fn forget_failures(&self) {
        self.context.forget_failures();
    }

    /// Leaves everything where it is, and says so in the ledger.
    fn keep(&self, cell: &Cell) {
        let ledger = &self.context.parts.ledger;
        let entries = ledger.open_entries_of(Some(&cell.id));
        let kept = entries.iter().filter(|e| ledger.kept(e.id).is_ok()).count();
        let message =
            format!("kept {kept} objects; remove them with `mtv-matrix clean --run-id {}`", self.context.parts.run);
        self.context.note(Some(&cell.id), Level::Warning, message);
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

    /// Gives back what belongs to the run: settings, Providers, its namespace, the sessions.
    /// By itself it is for a run that could not begin.
    async fn close(&self) -> u32 {
        let ledger = &self.context.parts.ledger;
        let keeps = ledger.holds(|e| e.kept);
        let mut entries = ledger.open_entries_of(None);
        if keeps {
            // Kept plans still refer to the run's Providers; shared settings are given back all the same.
            entries.retain(|e| matches!(e.thing, Thing::Setting { .. }));
        }
        let limit = self.context.parts.settings.timeouts.teardown;
        let still_open = |because: &str| {
            let open = ledger.open_entries_of(None).into_iter();
            open.map(|e| Leftover { what: e.thing.describe(), because: because.to_owned(), standing: Standing::Left })
                .collect()
        };
        let mut leftovers: Vec<Leftover> = tokio::select! {
            biased;
            () = self.abort.cancelled() => still_open(CUT_SHORT),
            done = tokio::time::timeout(limit, caught("the run was torn down", self.undo(entries))) => match done {
                Ok(Ok(leftovers)) => leftovers,
                Ok(Err(problem)) => still_open(&problem.message),
                Err(_) => still_open("teardown ran out of time"),
            },
        };
        if !self.abort.is_cancelled() && !keeps {
            leftovers.extend(self.last_look(&leftovers).await);
        }
        self.report_leftovers(None, &leftovers);
        if !self.abort.is_cancelled() {
            self.context.disconnect().await;
        }
        u32::try_from(leftovers.len()).unwrap_or(u32::MAX)
    }
}

impl Migrations {
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
            settle: Settle {
                after_intent: if self.cancel.is_cancelled() { SETTLE } else { teardown::settle(timeouts.request) },
                dead: None,
            },
        };
        undo.run(entries).await
    }

    /// What was verified to be gone and is there again: somebody's controller may have made it anew.
    async fn last_look(&self, told: &[Leftover]) -> Vec<Leftover> {
        let parts = &self.context.parts;
        if parts.ledger.holds(|entry| entry.cell.is_some()) {
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
            Err(error) => vec![left("namespaces of the run".to_owned(), error.to_string(), Standing::Unknown)],
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
