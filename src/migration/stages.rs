//! Running one stage: its events, its deadline, its warnings when it is slow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::Failure;
use super::context::ContextParts;
use crate::api::names::CellId;
use crate::cluster::wait::{WAITING, Waiting};
use crate::config::Timeouts;
use crate::event::{EventKind, Events, Problem, Stage, Verdict};
use crate::net::pauses;

/// The deadline of a stage.
pub fn limit(stage: Stage, timeouts: &Timeouts) -> Duration {
    match stage {
        Stage::Prepare => timeouts.prepare,
        Stage::StorageMap => timeouts.storage_map,
        Stage::NetworkMap => timeouts.network_map,
        Stage::Plan => timeouts.plan,
        Stage::Migrate => timeouts.migrate,
        Stage::Verify => timeouts.verify,
        Stage::Teardown => timeouts.teardown,
    }
}

/// Closes the stage in the event log even when its future is dropped.
struct Open<'a> {
    events: &'a Events,
    cell: &'a CellId,
    attempt: u32,
    stage: Stage,
    closed: bool,
}

impl Open<'_> {
    fn close(&mut self, verdict: Verdict, problem: Option<Problem>) {
        if !self.closed {
            self.closed = true;
            let (cell, attempt, stage) = (self.cell.clone(), self.attempt, self.stage);
            self.events.emit(EventKind::StageFinished { cell, attempt, stage, verdict, problem });
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.close(Verdict::Interrupted, None);
    }
}

/// One attempt at a cell, whose stages are run.
#[derive(Clone, Copy)]
pub struct StageRun<'a> {
    pub parts: &'a ContextParts,
    pub cell: &'a CellId,
    pub attempt: u32,
}

impl StageRun<'_> {
    /// Runs `work` as a stage. Beyond its deadline the stage errs (a migration, which is
    /// MTV's to end, fails, unless nobody answered), naming what it was waiting for. Spans made by `work` are children of the
    /// stage's.
    pub async fn stage<T, E: Into<Failure>>(
        self,
        stage: Stage,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let Self { parts, cell, attempt } = self;
        let (events, timeouts) = (&parts.events, &parts.settings.timeouts);
        let work = async { work.await.map_err(Into::into) };
        events.emit(EventKind::StageStarted { cell: cell.clone(), attempt, stage });
        let mut open = Open { events, cell, attempt, stage, closed: false };
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let now = || waiting.lock().map(|waiting| waiting.clone()).unwrap_or_default();
        let seen = || now().text;
        let begun = Instant::now();
        let limit = limit(stage, timeouts);
        let work = WAITING.scope(waiting.clone(), work).instrument((parts.stage_span)(cell, attempt, stage));
        let slow = async {
            let mut ticks = pauses::beat(timeouts.slow_after.max(Duration::from_millis(100)));
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                events.emit(EventKind::StageSlow {
                    cell: cell.clone(),
                    attempt,
                    stage,
                    elapsed_ms,
                    waiting_for: seen(),
                });
            }
        };
        let result = tokio::select! {
            done = tokio::time::timeout(limit, work) => done,
            () = slow => unreachable_slow(),
        };
        let result = result.unwrap_or_else(|_| {
            let mut problem =
                Problem::new(format!("stage {stage} did not end within {}", crate::config::duration::show(limit)));
            if !seen().is_empty() {
                problem = problem.detail(format!("it was waiting for {}", seen()));
            }
            problem = problem.look_at(format!("the bound is `timeouts.{}`", stage.name().replace('-', "_")));
            // A verdict on MTV needs somebody who says what MTV did.
            let silent = now().silent;
            let blames_mtv = stage == Stage::Migrate && silent.is_none();
            if let Some(silent) = silent {
                problem.details.insert(0, silent);
            }
            Err(if blames_mtv { Failure::product(problem) } else { Failure::environment(problem) })
        });
        match &result {
            Ok(_) => open.close(Verdict::Passed, None),
            Err(failure) => open.close(failure.verdict, Some(failure.problem.clone())),
        }
        result
    }
}

/// The slow branch loops for ever; this only gives it a type.
fn unreachable_slow<T>() -> Result<Result<T, Failure>, tokio::time::error::Elapsed> {
    Ok(Err(Failure::environment(Problem::new("the slow-stage ticker ended; this is a bug of mtv-matrix"))))
}
