//! What happened, one fact at a time: the only thing that reports are made from.
//!
//! The engine emits events through an [`EventSink`]; reporters fold them. Events hold no
//! secret and no object of a room above. The on-disk form is one JSON object a line
//! (`events.jsonl`), versioned by [`SCHEMA`]: a reader refuses a higher major and ignores fields
//! that it does not know.

pub mod exit;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{CellId, RunId};

/// Major version of the on-disk form.
pub const SCHEMA: u32 = 1;

/// One fact with its time and place in the run's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 without gaps in one run (one shard).
    pub seq: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// A stage of a cell, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Prepare,
    StorageMap,
    NetworkMap,
    Plan,
    Migrate,
    Verify,
    Teardown,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Prepare, Self::StorageMap, Self::NetworkMap, Self::Plan, Self::Migrate, Self::Verify, Self::Teardown];

    /// The word used in config, reports and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::StorageMap => "storage-map",
            Self::NetworkMap => "network-map",
            Self::Plan => "plan",
            Self::Migrate => "migrate",
            Self::Verify => "verify",
            Self::Teardown => "teardown",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A cell that need not run again, and the run in which it passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    pub cell: CellId,
    pub run: RunId,
}

/// How a stage, a cell or a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Passed,
    /// MTV or the migrated VM is wrong.
    Failed,
    /// The environment or the harness broke.
    Errored,
    /// The world is not as the cell needs it, and was not changed by this run: somebody has to put it right.
    Blocked,
    /// Not run, with the reason: the cell makes no sense here.
    Skipped,
    Interrupted,
}

impl Verdict {
    /// How a cell ended that was tried more than once. What was found wrong with MTV or a VM stays found, unless a
    /// later attempt passed (which is told as flaky); else the last attempt says. `None` without an attempt.
    pub fn of_attempts(attempts: impl IntoIterator<Item = Self>) -> Option<Self> {
        attempts.into_iter().reduce(|before, now| match (before, now) {
            (_, Self::Passed) => Self::Passed,
            (Self::Failed, Self::Errored | Self::Blocked | Self::Skipped | Self::Interrupted) => Self::Failed,
            // What broke is not made good by a world that no longer has the cell's VM.
            (Self::Errored, Self::Blocked | Self::Skipped) => Self::Errored,
            (_, now) => now,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Blocked => "blocked",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something did not pass: what a person needs without a cluster at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One sentence.
    pub message: String,
    /// What was waited for, the last state seen, how long: further lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Where to look next: an object, a file of the results, a log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub look_at: Vec<String>,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }
    #[must_use]
    pub fn look_at(mut self, place: impl Into<String>) -> Self {
        self.look_at.push(place.into());
        self
    }
}

/// What one check found about one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name, e.g. `disk-count`.
    pub check: String,
    /// The VM's name on the source.
    pub vm: String,
    /// The part of the VM that was judged, e.g. a disk or a MAC; `None` for the VM as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The result of one check. *Not judged* is not a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Passed { actual: String },
    Failed { expected: String, actual: String },
    NotJudged { because: String },
}

impl Outcome {
    pub fn passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}

/// What a cell is, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellInfo {
    pub id: CellId,
    pub profile: String,
    /// `vsphere`, `ovirt` …
    pub platform: String,
    pub scenario: String,
    pub storage_class: String,
    pub tags: Vec<String>,
    /// How long the scenario is expected to take; `None` in logs of before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
}

/// The set of shards that a run is one of. Shards of one set agree on `id` and `shards`; nothing else ties
/// them together, because each is a process of its own, often on a machine of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSet {
    /// Made from the cells, how they are split, and `name`.
    pub id: String,
    /// `--run-set`: tells sets of the same cells apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// This run's place among `shards`, from 0.
    pub index: usize,
    /// How all shards are called: `0/4` …, or provider profiles.
    pub shards: Vec<String>,
}

impl ShardSet {
    /// What this run's shard is called.
    pub fn shard(&self) -> &str {
        self.shards.get(self.index).map_or("?", String::as_str)
    }
}

/// Seen at the start: versions and settings that reports name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub mtv_version: Option<String>,
    pub ocp_version: Option<String>,
    pub kubernetes_version: Option<String>,
    pub cluster: Option<String>,
    pub tool_version: String,
    /// The run is on the built-in lab.
    pub lab: bool,
    /// Where its traces belong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// Anything else worth a line in the report.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

/// Where a run's traces belong, and who sends them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telemetry {
    /// Of the trace that the run is a part of, by W3C's Trace Context: `00-TRACE-SPAN-FLAGS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Attributes of OpenTelemetry's resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource: BTreeMap<String, String>,
}

/// How far one VM's migration is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VmProgress {
    pub vm: String,
    /// MTV's phase, e.g. `CopyDisks`.
    pub phase: String,
    /// The running pipeline step, e.g. `DiskTransfer`.
    pub step: Option<String>,
    /// 0 to 100 of the running step.
    pub percent: Option<f64>,
    /// Warm: precopies that succeeded.
    pub precopies: Option<u32>,
    /// Megabytes that the running step copies; `None` where it copies no disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_mb: Option<u64>,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Info,
    Warning,
}

/// The facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The first event. `cells` are all cells, skipped ones included.
    RunStarted {
        schema: u32,
        run: RunId,
        environment: Box<Environment>,
        cells: Vec<CellInfo>,
        shard: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        set: Option<ShardSet>,
        /// What the run as a whole is asked for beside its cells, so that a set of shards is judged by it too.
        #[serde(default, skip_serializing_if = "exit::Demands::is_usual")]
        demands: exit::Demands,
        /// Cells that passed in an earlier run, of which this one is the rest: not among `cells`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        carried: Vec<Carried>,
    },
    /// A cell that does not run, decided before anything was touched.
    CellSkipped {
        cell: CellId,
        reason: String,
        /// The shard that runs it, where that is the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<String>,
    },
    /// A cell that was to run and never began. A run tells it by its end; only where runs were merged it is
    /// told cell by cell.
    CellUnstarted {
        cell: CellId,
        verdict: Verdict,
        problem: Problem,
    },
    /// An attempt at a cell begins; attempts count from 1.
    CellStarted {
        cell: CellId,
        attempt: u32,
        namespace: String,
    },
    StageStarted {
        cell: CellId,
        attempt: u32,
        stage: Stage,
    },
    /// A stage is still at work, told once each `timeouts.heartbeat`; `waiting_for` is what it waits for.
    #[serde(alias = "stage-slow")]
    StageRunning {
        cell: CellId,
        attempt: u32,
        stage: Stage,
        elapsed_ms: u64,
        waiting_for: String,
    },
    /// `log` is the stage's own bounded log.
    StageFinished {
        cell: CellId,
        attempt: u32,
        stage: Stage,
        verdict: Verdict,
        problem: Option<Problem>,
    },
    /// A step of a scenario's story begins. Told only where the stage alone does not tell it.
    StepStarted {
        cell: CellId,
        attempt: u32,
        stage: Stage,
        /// Its place in the scenario's `steps`, from 1.
        step: u32,
        /// What it does, in words.
        text: String,
    },
    StepFinished {
        cell: CellId,
        attempt: u32,
        stage: Stage,
        step: u32,
        verdict: Verdict,
        problem: Option<Problem>,
    },
    /// How far the migration is; sent on change, not on a clock.
    Progress {
        cell: CellId,
        attempt: u32,
        vms: Vec<VmProgress>,
    },
    /// One line of a cell's story.
    Note {
        cell: Option<CellId>,
        level: Level,
        message: String,
    },
    /// A request was sent again: nobody answered, or not well.
    Retried {
        /// `None`: not for one cell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cell: Option<CellId>,
        /// Who was asked: `cluster`, `inventory`, a profile …
        peer: String,
        /// The request without its arguments.
        what: String,
        /// What was wrong with the try before.
        cause: String,
        /// How long was waited before it.
        pause_ms: u64,
    },
    CheckFinished {
        cell: CellId,
        attempt: u32,
        finding: Finding,
    },
    /// An artifact was written; the path is relative to the run's results directory.
    Artifact {
        cell: CellId,
        path: String,
        what: String,
    },
    /// Something that the run created could not be removed.
    Leftover {
        cell: Option<CellId>,
        what: String,
        because: String,
    },
    CellFinished {
        cell: CellId,
        attempt: u32,
        verdict: Verdict,
        problem: Option<Problem>,
        will_retry: bool,
    },
    /// A check of the environment before anything was created.
    Preflight {
        probe: String,
        ok: bool,
        message: String,
    },
    Interrupted {
        signal: String,
    },
    /// The last event. `leftovers` counts `Leftover` events; `verdict` is the run's.
    RunFinished {
        verdict: Verdict,
        leftovers: u32,
        exit_code: u8,
        problem: Option<Problem>,
    },
}

impl EventKind {
    /// The cell that it is of; `None`: the run's own.
    pub fn cell(&self) -> Option<&CellId> {
        match self {
            Self::CellSkipped { cell, .. }
            | Self::CellUnstarted { cell, .. }
            | Self::CellStarted { cell, .. }
            | Self::StageStarted { cell, .. }
            | Self::StageRunning { cell, .. }
            | Self::StageFinished { cell, .. }
            | Self::StepStarted { cell, .. }
            | Self::StepFinished { cell, .. }
            | Self::Progress { cell, .. }
            | Self::Artifact { cell, .. }
            | Self::CheckFinished { cell, .. }
            | Self::CellFinished { cell, .. } => Some(cell),
            Self::Note { cell, .. } | Self::Retried { cell, .. } | Self::Leftover { cell, .. } => cell.as_ref(),
            Self::RunStarted { .. } | Self::Preflight { .. } | Self::Interrupted { .. } | Self::RunFinished { .. } => {
                None
            }
        }
    }

    /// The event with its texts bounded and without the user info of URLs: what comes from outside may be of
    /// any length, and a URL may hold a password.
    #[must_use]
    pub fn bounded(self) -> Self {
        let Ok(mut value) = serde_json::to_value(&self) else { return self };
        if !bound(&mut value) {
            return self;
        }
        serde_json::from_value(value).unwrap_or(self)
    }
}

/// Bounds every text of a value; whether one was changed.
fn bound(value: &mut serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => {
            let said = crate::text::bounded(text);
            let changed = matches!(said, std::borrow::Cow::Owned(_));
            if changed {
                *text = said.into_owned();
            }
            changed
        }
        serde_json::Value::Array(items) => items.iter_mut().fold(false, |changed, item| bound(item) | changed),
        serde_json::Value::Object(fields) => fields.values_mut().fold(false, |changed, item| bound(item) | changed),
        _ => false,
    }
}

/// Where events go. Implementations must not block for long and must not fail the sender.
pub trait EventSink: Send + Sync {
    fn emit(&self, kind: EventKind);
}

/// A sink shared by every task of a run.
pub type Events = Arc<dyn EventSink>;

/// A sink that keeps everything, for tests.
#[derive(Debug, Default)]
pub struct Recorded(std::sync::Mutex<Vec<EventKind>>);

impl Recorded {
    /// What was emitted so far.
    pub fn all(&self) -> Vec<EventKind> {
        self.0.lock().map(|kinds| kinds.clone()).unwrap_or_default()
    }
}

impl EventSink for Recorded {
    fn emit(&self, kind: EventKind) {
        if let Ok(mut kinds) = self.0.lock() {
            kinds.push(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_of_ten_megabytes_makes_a_short_event_without_passwords() {
        let message = format!("failed at https://me:canary@host/ {}", "x".repeat(10_000_000));
        let problem = Some(Problem::new(message).detail("y".repeat(9_000)));
        let kind = EventKind::RunFinished { verdict: Verdict::Errored, leftovers: 0, exit_code: 3, problem };
        let text = serde_json::to_string(&kind.bounded()).unwrap();
        assert!(text.len() < 20_000 && text.contains("cut") && !text.contains("canary"), "{}", text.len());
        let short = EventKind::Interrupted { signal: "SIGTERM".into() };
        assert_eq!(short.clone().bounded(), short);
    }
}
