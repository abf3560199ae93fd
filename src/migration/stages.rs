//! Running one stage or one step of it: its events, its deadline, its heartbeat.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument;

use super::Failure;
use super::context::StageSpan;
use crate::api::names::CellId;
use crate::cluster::wait::{WAITING, Waiting};
use crate::config::Timeouts;
use crate::event::{EventKind, Events, Problem, Stage, Verdict};
use crate::net::pauses;
use crate::tasks::boxed;

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

/// Closes a stage or a step in the event log even when its future is dropped.
struct Open<F: FnMut(Verdict, Option<Problem>)> {
    tell: F,
    closed: bool,
}

impl<F: FnMut(Verdict, Option<Problem>)> Open<F> {
    fn new(tell: F) -> Self {
        Self { tell, closed: false }
    }

    fn close<T>(&mut self, result: &Result<T, Failure>) {
        match result {
            Ok(_) => self.end(Verdict::Passed, None),
            Err(failure) => self.end(failure.verdict, Some(failure.problem.clone())),
        }
    }

    fn end(&mut self, verdict: Verdict, problem: Option<Problem>) {
        if !std::mem::replace(&mut self.closed, true) {
            (self.tell)(verdict, problem);
        }
    }
}

impl<F: FnMut(Verdict, Option<Problem>)> Drop for Open<F> {
    fn drop(&mut self) {
        self.end(Verdict::Interrupted, None);
    }
}

/// How long something may take, and who is to blame beyond that.
pub(super) struct Bound<'a> {
    /// What did not end, for the message.
    pub what: &'a str,
    pub limit: Duration,
    /// Where the limit is set.
    pub set_by: &'a str,
    /// It is MTV's to end it.
    pub blames_mtv: bool,
}

impl Bound<'_> {
    /// Runs `work`. Beyond the limit it fails where MTV was to end it, unless nobody answered, and errs otherwise; the
    /// message says what was waited for, what was seen last, and since when.
    async fn on<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(self.limit, work).await.unwrap_or_else(|_| {
            let now = WAITING.try_with(|waiting| waiting.lock().map(|now| now.clone()).unwrap_or_default());
            let now = now.unwrap_or_default();
            let limit = crate::config::duration::show(self.limit);
            let mut problem = Problem::new(format!("{} did not end within {limit}", self.what));
            problem.details.extend(now.silent.clone());
            problem.details.extend(now.line().map(|line| format!("it was waiting for {line}")));
            problem = problem.look_at(format!("the bound is {}", self.set_by));
            // A verdict on MTV needs somebody who says what MTV did.
            let product = self.blames_mtv && now.silent.is_none();
            Err(if product { Failure::product(problem) } else { Failure::environment(problem) })
        })
    }
}

/// One attempt at a cell, whose stages are run.
#[derive(Clone, Copy)]
pub struct StageRun<'a> {
    pub events: &'a Events,
    pub timeouts: &'a Timeouts,
    pub span: &'a StageSpan,
    pub cell: &'a CellId,
    pub attempt: u32,
    /// Somebody wants to know now, before the next beat of the heart.
    pub asked: &'a Notify,
}

impl StageRun<'_> {
    /// Runs `work` as a stage that has a deadline of its own.
    pub fn stage<T, E: Into<Failure>>(
        self,
        stage: Stage,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        let work = boxed(work);
        let bound = async move {
            let (what, set_by) = (format!("stage {stage}"), format!("`timeouts.{}`", stage.name().replace('-', "_")));
            let limit = limit(stage, self.timeouts);
            let bound = Bound { what: &what, limit, set_by: &set_by, blames_mtv: false };
            bound.on(async { work.await.map_err(Into::into) }).await
        };
        self.open_stage(stage, bound)
    }

    /// Runs `work` as a stage that lasts as long as its steps. Spans made by `work` are children of the stage's.
    pub(super) fn open_stage<T>(
        self,
        stage: Stage,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        boxed(self.opened(stage, boxed(work)))
    }

    async fn opened<T>(self, stage: Stage, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let Self { events, cell, attempt, .. } = self;
        events.emit(EventKind::StageStarted { cell: cell.clone(), attempt, stage });
        let mut open = Open::new(|verdict, problem| {
            events.emit(EventKind::StageFinished { cell: cell.clone(), attempt, stage, verdict, problem });
        });
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let work = WAITING.scope(waiting.clone(), work).instrument((self.span)(cell, attempt, stage));
        let result = tokio::select! {
            done = work => done,
            () = self.tell_that_it_runs(stage, &waiting) => unreachable_heart(),
        };
        open.close(&result);
        result
    }

    /// Runs `work` as one step of a stage. `told`: its number and words, where it has events of its own.
    pub(super) fn step<T>(
        self,
        stage: Stage,
        told: Option<(u32, String)>,
        bound: Bound<'_>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        self.stepped(stage, told, bound, boxed(work))
    }

    async fn stepped<T>(
        self,
        stage: Stage,
        told: Option<(u32, String)>,
        bound: Bound<'_>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Self { events, cell, attempt, .. } = self;
        // What the step before waited for is over.
        let _ = WAITING.try_with(|waiting| {
            if let Ok(mut now) = waiting.lock() {
                *now = Waiting::default();
            }
        });
        let Some((step, text)) = told else { return bound.on(work).await };
        let span = tracing::info_span!("step", otel.name = format!("step {step}: {text}"));
        events.emit(EventKind::StepStarted { cell: cell.clone(), attempt, stage, step, text });
        let mut open = Open::new(|verdict, problem| {
            events.emit(EventKind::StepFinished { cell: cell.clone(), attempt, stage, step, verdict, problem });
        });
        let result = bound.on(work).instrument(span).await;
        open.close(&result);
        result
    }

    /// Says what is waited for, again and again; never ends.
    async fn tell_that_it_runs(self, stage: Stage, waiting: &Mutex<Waiting>) {
        let Self { events, cell, attempt, .. } = self;
        let begun = Instant::now();
        let mut ticks = pauses::beat(self.timeouts.heartbeat.max(Duration::from_millis(100)));
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.asked.notified() => {}
            }
            let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let told = waiting.lock().ok().and_then(|now| now.line());
            // A stage that has told nothing asks and is not answered yet.
            let waiting_for = told.unwrap_or_else(|| "an answer to what it asked".to_owned());
            let cell = cell.clone();
            events.emit(EventKind::StageRunning { cell, attempt, stage, elapsed_ms, waiting_for });
        }
    }
}

/// The heart beats for ever; this only gives it a type.
fn unreachable_heart<T>() -> Result<T, Failure> {
    Err(Failure::environment(Problem::new("the heartbeat ended; this is a bug of mtv-matrix")))
}
