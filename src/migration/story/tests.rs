//! Stories told by nobody in particular, on a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::api::names::CellId;
use crate::cluster::wait::{self, Poll};
use crate::config::{LoadRequest, Scenario, load};
use crate::event::{EventKind, Events, Problem, Recorded, Stage, Verdict};
use crate::migration::StageSpan;

/// Does nothing at `ok`, fails at the step whose name is `fails`, and hangs at the one whose name is `hangs`.
#[derive(Default)]
struct Fake {
    acted: Vec<&'static str>,
    fails: &'static str,
    hangs: &'static str,
}

impl Acts for Fake {
    async fn act(&mut self, step: &Step) -> Result<(), Failure> {
        self.acted.push(step.name());
        if step.name() == self.hangs {
            let seen = || async { Poll::<()>::NotYet("clouds".to_owned()) };
            let _ = wait::poll("the moon", Duration::from_secs(1_000_000), seen).await;
        }
        if step.name() == self.fails { Err(Failure::product(Problem::new("it broke"))) } else { Ok(()) }
    }
}

/// Tells the story of these steps; what was told, and how it ended.
async fn told(steps: serde_json::Value, actor: &mut Fake) -> (Vec<EventKind>, Result<(), Failure>) {
    let loaded = load(&LoadRequest { scenarios_default: true, ..LoadRequest::default() });
    let timeouts = loaded.unwrap_or_else(|e| panic!("{e}")).settings.timeouts;
    let json = serde_json::json!({"virtual_machines": [{"name": "a"}], "steps": steps});
    let scenario: Scenario = serde_json::from_value(json).unwrap();
    let recorded = Arc::new(Recorded::default());
    let events: Events = recorded.clone();
    let span: StageSpan = Arc::new(|_, _, _| tracing::Span::none());
    let cell = CellId::new("p", "s", None);
    let asked = tokio::sync::Notify::new();
    let run = StageRun { events: &events, timeouts: &timeouts, span: &span, cell: &cell, attempt: 1, asked: &asked };
    let ended = tell(run, &story::chapters(&scenario, true), actor).await;
    (recorded.all(), ended)
}

fn brief(events: &[EventKind]) -> Vec<String> {
    let one = |event: &EventKind| match event {
        EventKind::StageStarted { stage, .. } => Some(format!("{stage}")),
        EventKind::StageFinished { stage, verdict, .. } => Some(format!("{stage} {verdict}")),
        EventKind::StepStarted { step, text, .. } => Some(format!("{step} {text}")),
        EventKind::StepFinished { step, verdict, .. } => Some(format!("{step} {verdict}")),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

#[tokio::test(start_paused = true)]
async fn the_usual_story_is_told_by_its_stages_alone() {
    let mut actor = Fake::default();
    let (events, ended) = told(serde_json::Value::Null, &mut actor).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(actor.acted, ["create", "validate", "migrate", "verify"]);
    let stages = ["plan", "plan passed", "migrate", "migrate passed", "verify", "verify passed"];
    assert_eq!(brief(&events), stages);
}

#[tokio::test(start_paused = true)]
async fn the_first_step_that_fails_ends_the_story_and_its_stage() {
    let mut actor = Fake { fails: "wait", ..Fake::default() };
    let steps = serde_json::json!([{"start": {}}, {"wait": {}}, {"cancel": {}}, {"verify": {}}]);
    let (events, ended) = told(steps, &mut actor).await;
    assert_eq!(ended.unwrap_err().problem.message, "it broke");
    assert_eq!(actor.acted, ["create", "validate", "start", "wait"]);
    let said = [
        "plan",
        "plan passed",
        "migrate",
        "1 start the migration",
        "1 passed",
        "2 wait until the migration has ended",
        "2 failed",
        "migrate failed",
    ];
    assert_eq!(brief(&events), said);
}

#[tokio::test(start_paused = true)]
async fn a_step_beyond_its_deadline_says_what_it_waited_for_and_since_when() {
    let mut actor = Fake { hangs: "wait", ..Fake::default() };
    let begun = tokio::time::Instant::now();
    let steps =
        serde_json::json!([{"start": {}}, {"wait": {"for": {"percent": 30}, "timeout": "90s"}}, {"cancel": {}}]);
    let (_, ended) = told(steps, &mut actor).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(90));
    let failure = ended.unwrap_err();
    assert_eq!(failure.verdict, Verdict::Failed, "MTV does not come on");
    let message = "step 2, wait until 30 % of the disks of every VM are copied, did not end within 1m 30s";
    assert_eq!(failure.problem.message, message);
    let waited = failure.problem.details.join("\n");
    assert!(waited.starts_with("it was waiting for the moon; last seen: clouds, since 2"), "{waited}");
    assert_eq!(failure.problem.look_at, ["the bound is the step's `timeout`"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_does_not_wait_for_mtv_errs_beyond_its_deadline_and_is_told_by_the_settings_bound() {
    let mut actor = Fake { hangs: "power", ..Fake::default() };
    let steps = serde_json::json!([{"start": {}}, {"cancel": {}}, {"power": {"state": "on"}}]);
    let (events, ended) = told(steps, &mut actor).await;
    let failure = ended.unwrap_err();
    assert_eq!(failure.verdict, Verdict::Errored);
    assert_eq!(failure.problem.look_at, ["the bound is `timeouts.prepare`"]);
    let slow = events.iter().any(|event| matches!(event, EventKind::StageRunning { stage: Stage::Migrate, .. }));
    assert!(slow, "who waits long says so");
}
