//! One run as a value: the fold of its events that every report renders from.
//!
//! There are two of them. The whole has every line and every check; the outline has what a page about all cells needs,
//! in a few kilobytes a cell, so that a run of ten thousand fits into a small pod. `reading.rs` makes a cell whole when
//! it is its turn.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::Timestamp;

use crate::api::names::{CellId, RunId};
use crate::event::exit;
use crate::event::{
    Carried, CellInfo, Environment, Event, EventKind, Finding, Level, Outcome, Problem, ShardSet, Stage, Verdict,
    VmProgress,
};

/// Lines kept of one cell's story; older ones go first.
pub const LOG_LINES: usize = 500;

/// A line of a cell's or the run's story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at: Timestamp,
    pub level: Level,
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct StageModel {
    pub stage: Stage,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub verdict: Option<Verdict>,
    pub problem: Option<Problem>,
}

/// A step of the scenario's story, where the stage alone does not tell it.
#[derive(Debug, Clone)]
pub struct StepModel {
    pub stage: Stage,
    /// Its place in the scenario's `steps`, from 1.
    pub number: u32,
    /// What it does, in words.
    pub text: String,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub verdict: Option<Verdict>,
    pub problem: Option<Problem>,
}

impl StepModel {
    /// `step 3: wait until …`
    pub fn title(&self) -> String {
        format!("step {}: {}", self.number, self.text)
    }
}

/// The copying of one VM's disks; of a warm migration the first copy, before the precopies.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    pub megabytes: u64,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    /// Percent over time, at most [`SAMPLES`] of them, evenly thinned.
    pub samples: Vec<(Timestamp, f64)>,
}

/// Points kept of one transfer.
pub const SAMPLES: usize = 64;

impl Transfer {
    /// The copy is complete: it is told of as a whole, whatever was seen last.
    fn end(&mut self, at: Timestamp) {
        if self.ended.is_none() {
            self.sample(at, Some(100.0));
            self.ended = Some(at);
        }
    }
    fn sample(&mut self, at: Timestamp, percent: Option<f64>) {
        let Some(percent) = percent.filter(|_| self.ended.is_none()) else { return };
        self.samples.push((at, percent));
        if self.samples.len() > SAMPLES {
            // Every second one, the first and the newest kept.
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }
}

/// One attempt at a cell.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub number: u32,
    pub namespace: String,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub stages: Vec<StageModel>,
    pub steps: Vec<StepModel>,
    /// In an outline those that did not pass.
    pub findings: Vec<(Timestamp, Finding)>,
    /// Checks that passed, in an outline, too.
    pub passed: usize,
    pub progress: Vec<VmProgress>,
    /// What the stage at work was waiting for when it told that last, and when that was.
    pub waiting: Option<(Timestamp, String)>,
    /// The copying of each VM's disks, by the VM's name.
    pub transfers: BTreeMap<String, Transfer>,
    pub verdict: Option<Verdict>,
    pub problem: Option<Problem>,
}

#[derive(Debug, Clone)]
pub struct ArtifactModel {
    pub path: String,
    pub what: String,
}

#[derive(Debug, Clone)]
pub struct LeftoverModel {
    pub cell: Option<CellId>,
    pub what: String,
    pub because: String,
}

#[derive(Debug, Clone)]
pub struct CellModel {
    pub info: CellInfo,
    pub skipped: Option<String>,
    /// Skipped, because this shard runs it.
    pub elsewhere: Option<String>,
    /// Skipped once others had begun: `--fail-fast`.
    pub left_out: bool,
    /// How a cell ended that never began, and why: the run ended first.
    pub unstarted: Option<(Verdict, Problem)>,
    pub attempts: Vec<Attempt>,
    pub log: VecDeque<LogLine>,
    /// Lines that the bound of the log dropped.
    pub log_dropped: usize,
    pub artifacts: Vec<ArtifactModel>,
    /// Requests that were sent again, by who was asked.
    pub retries: BTreeMap<String, u64>,
}

impl CellModel {
    fn new(info: CellInfo) -> Self {
        Self {
            info,
            skipped: None,
            elsewhere: None,
            left_out: false,
            unstarted: None,
            attempts: Vec::new(),
            log: VecDeque::new(),
            log_dropped: 0,
            artifacts: Vec::new(),
            retries: BTreeMap::new(),
        }
    }
    /// How the cell ended over all its attempts. `None`: it has not ended (yet).
    pub fn verdict(&self) -> Option<Verdict> {
        match (&self.skipped, &self.unstarted) {
            (Some(_), _) => Some(Verdict::Skipped),
            (None, Some((verdict, _))) => Some(*verdict),
            (None, None) => {
                self.attempts.last()?.verdict?;
                Verdict::of_attempts(self.attempts.iter().filter_map(|attempt| attempt.verdict))
            }
        }
    }
    /// The attempt that gave the cell its verdict: the last one that ended so. While one runs, that.
    pub fn deciding(&self) -> Option<&Attempt> {
        let verdict = self.verdict();
        let decided = || self.attempts.iter().rev().find(|attempt| attempt.verdict == verdict);
        verdict.and_then(|_| decided()).or(self.attempts.last())
    }
    /// With what only the whole run knows of it, as `outline` has it.
    pub(super) fn of_run(self, outline: &Self) -> Self {
        Self { unstarted: outline.unstarted.clone(), left_out: outline.left_out, ..self }
    }
    /// For a run that is over: a cell without a verdict was interrupted.
    pub fn final_verdict(&self) -> Verdict {
        self.verdict().unwrap_or(Verdict::Interrupted)
    }
    /// It was to run, and did not.
    pub(super) fn never_began(&self) -> bool {
        self.skipped.is_none() && self.attempts.is_empty()
    }
    /// The attempt that is at work takes longer than the whole cell was expected to.
    pub(super) fn slow(&self, now: Timestamp) -> bool {
        let since = self.attempts.last().map(|attempt| now.duration_since(attempt.started).as_millis());
        since.zip(self.info.expected_ms).is_some_and(|(since, expected)| since > i128::from(expected))
    }
    /// Passed, but not at once.
    pub fn flaky(&self) -> bool {
        self.attempts.len() > 1 && self.verdict() == Some(Verdict::Passed)
    }
    pub fn problem(&self) -> Option<&Problem> {
        match &self.unstarted {
            Some((_, problem)) => Some(problem),
            None => self.deciding().and_then(|attempt| attempt.problem.as_ref()),
        }
    }
    pub fn name(&self) -> &str {
        self.info.id.as_str()
    }
    pub fn started(&self) -> Option<Timestamp> {
        self.attempts.first().map(|attempt| attempt.started)
    }
    pub fn ended(&self) -> Option<Timestamp> {
        self.attempts.last().and_then(|attempt| attempt.ended)
    }
    /// From the first attempt's start to the last one's end.
    pub fn milliseconds(&self) -> i64 {
        span(self.started(), self.ended())
    }
    /// The attempts that ended otherwise than well and did not decide: what each found is not forgotten.
    pub fn overruled(&self) -> impl Iterator<Item = &Attempt> {
        let deciding = self.deciding().map(|attempt| attempt.number);
        let well = |attempt: &Attempt| matches!(attempt.verdict, Some(Verdict::Passed) | None);
        self.attempts.iter().filter(move |attempt| Some(attempt.number) != deciding && !well(attempt))
    }
    /// Findings of the attempt that decided.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.deciding().into_iter().flat_map(|attempt| attempt.findings.iter().map(|(_, finding)| finding))
    }
    /// What the attempt that decided could not judge.
    pub fn not_judged(&self) -> usize {
        self.findings().filter(|finding| matches!(finding.outcome, Outcome::NotJudged { .. })).count()
    }
    /// Checks that passed in the attempt that decided.
    pub fn checks_passed(&self) -> usize {
        self.deciding().map_or(0, |attempt| attempt.passed)
    }
}

impl Attempt {
    /// What only a look at this one cell needs goes, now that it is over.
    fn thin(&mut self) {
        self.steps = Vec::new();
        self.progress = Vec::new();
        self.waiting = None;
        self.transfers.values_mut().for_each(|transfer| transfer.samples = Vec::new());
        self.stages.shrink_to_fit();
        self.findings.shrink_to_fit();
    }
    /// A transfer begins with the step that copies, and ends with that step or the first precopy.
    fn transfer(&mut self, at: Timestamp, vm: &VmProgress) {
        let copied = vm.precopies.is_some_and(|precopies| precopies > 0);
        match (self.transfers.get_mut(&vm.vm), vm.total_mb) {
            (None, Some(megabytes)) if !copied => {
                let samples = vec![(at, vm.percent.unwrap_or(0.0))];
                self.transfers.insert(vm.vm.clone(), Transfer { megabytes, started: at, ended: None, samples });
            }
            (Some(open), Some(megabytes)) if !copied && open.ended.is_none() => {
                open.megabytes = megabytes;
                open.sample(at, vm.percent);
            }
            (Some(open), _) => open.end(at),
            (None, _) => {}
        }
    }
}

/// Verdict and reason of a cell that never began in a run that ended so.
pub(super) fn unstarted(verdict: Verdict, problem: Option<&Problem>) -> (Verdict, Problem) {
    // What the run stumbled over is told once, for the run.
    let why = match problem {
        Some(problem) => format!("the run ended before this cell began: {}", problem.message),
        None => "the run was interrupted before this cell began".to_owned(),
    };
    let verdict = if verdict == Verdict::Interrupted { verdict } else { Verdict::Errored };
    (verdict, Problem::new(why))
}

/// How the run ended.
#[derive(Debug, Clone)]
pub struct RunEnd {
    pub verdict: Verdict,
    pub exit_code: u8,
    pub problem: Option<Problem>,
}

/// A probe of the environment.
#[derive(Debug, Clone)]
pub struct Probe {
    pub probe: String,
    pub ok: bool,
    pub message: String,
}

#[derive(Debug, Clone, Default)]
pub struct RunModel {
    pub run: Option<RunId>,
    pub environment: Environment,
    pub shard: Option<String>,
    pub set: Option<ShardSet>,
    pub started: Option<Timestamp>,
    /// Time of the last event.
    pub last: Option<Timestamp>,
    pub cells: Vec<CellModel>,
    /// Place of each cell in `cells`: a run may have ten thousand.
    places: HashMap<CellId, usize>,
    pub log: VecDeque<LogLine>,
    pub preflight: Vec<Probe>,
    pub leftovers: Vec<LeftoverModel>,
    pub interrupted: Option<String>,
    /// Requests that were sent again for no cell of its own, by who was asked.
    pub retries: BTreeMap<String, u64>,
    pub end: Option<RunEnd>,
    pub demands: exit::Demands,
    /// Cells that passed in earlier runs and are not in this one.
    pub carried: Vec<Carried>,
    /// An outline leaves out what only a look at one cell needs.
    outline: bool,
    /// A cell has begun.
    begun: bool,
}

/// How many cells ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub total: usize,
    pub passed: usize,
    pub failed: usize,
    pub errored: usize,
    pub blocked: usize,
    pub skipped: usize,
    pub interrupted: usize,
    /// Among the passed.
    pub flaky: usize,
}

/// Milliseconds between two times; 0 where one is unknown or the clock went back.
pub(crate) fn span(from: Option<Timestamp>, to: Option<Timestamp>) -> i64 {
    match (from, to) {
        (Some(from), Some(to)) => (to.as_millisecond() - from.as_millisecond()).max(0),
        _ => 0,
    }
}

impl RunModel {
    pub fn from_events(events: &[Event]) -> Self {
        let mut model = Self::default();
        for event in events {
            model.apply(event);
        }
        model
    }

    /// A run without the lines of its cells and the checks that passed, and of a cell that ended without its steps and
    /// the curve of its transfers.
    pub fn outline() -> Self {
        Self { outline: true, ..Self::default() }
    }

    /// A whole run of one cell, beside the others of `self`: what it is told becomes the cell's.
    pub(super) fn alone(&self, place: usize) -> Self {
        let cells: Vec<CellModel> =
            self.cells.get(place).map(|cell| CellModel::new(cell.info.clone())).into_iter().collect();
        let places = cells.iter().map(|cell| (cell.info.id.clone(), 0)).collect();
        Self { run: self.run.clone(), started: self.started, cells, places, ..Self::default() }
    }

    /// A check that passed, of which an outline needs no more than that.
    pub(super) fn passed(&mut self, place: usize, attempt: u32, at: Timestamp) {
        self.last = Some(at);
        let attempts = self.cells.get_mut(place).map(|cell| cell.attempts.iter_mut());
        if let Some(attempt) = attempts.and_then(|all| all.rev().find(|one| one.number == attempt)) {
            attempt.passed += 1;
        }
    }

    #[cfg(test)]
    pub(super) fn push(&mut self, cell: CellModel) {
        self.places.insert(cell.info.id.clone(), self.cells.len());
        self.cells.push(cell);
    }

    /// The cell's place in `cells`.
    pub(super) fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { total: self.cells.len(), ..Counts::default() };
        for cell in &self.cells {
            match cell.final_verdict() {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed => counts.failed += 1,
                Verdict::Errored => counts.errored += 1,
                Verdict::Blocked => counts.blocked += 1,
                Verdict::Skipped => counts.skipped += 1,
                Verdict::Interrupted => counts.interrupted += 1,
            }
            counts.flaky += usize::from(cell.flaky());
        }
        counts
    }

    pub fn milliseconds(&self) -> i64 {
        span(self.started, self.last)
    }

    /// What the run's exit code is made from: cells of other shards don't count.
    pub fn tally(&self, interrupted: bool) -> exit::Tally {
        let counts = self.counts();
        let elsewhere = self.cells.iter().filter(|cell| cell.elsewhere.is_some()).count();
        exit::Tally {
            interrupted,
            passed: counts.passed,
            failed: counts.failed,
            errored: counts.errored,
            blocked: counts.blocked,
            skipped: counts.skipped.saturating_sub(elsewhere),
            flaky: counts.flaky,
            leftovers: self.leftovers.len(),
        }
    }

    /// How often each check could not be judged, by its name.
    pub fn not_judged(&self) -> BTreeMap<&str, usize> {
        let mut all = BTreeMap::new();
        for finding in self.cells.iter().flat_map(CellModel::findings) {
            if matches!(finding.outcome, Outcome::NotJudged { .. }) {
                *all.entry(finding.check.as_str()).or_default() += 1;
            }
        }
        all
    }

    /// Requests that were sent again in the whole run, by who was asked.
    pub fn all_retries(&self) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (peer, times) in self.cells.iter().flat_map(|cell| &cell.retries).chain(&self.retries) {
            *all.entry(peer.as_str()).or_default() += times;
        }
        all
    }

    pub fn run_name(&self) -> &str {
        self.run.as_ref().map_or("unknown", RunId::as_str)
    }

    pub fn cell(&self, id: &CellId) -> Option<&CellModel> {
        self.cells.get(*self.places.get(id)?)
    }

    fn cell_mut(&mut self, id: &CellId) -> Option<&mut CellModel> {
        self.cells.get_mut(*self.places.get(id)?)
    }

    fn attempt(&mut self, id: &CellId, number: u32) -> Option<&mut Attempt> {
        self.cell_mut(id)?.attempts.iter_mut().rev().find(|attempt| attempt.number == number)
    }

    fn log(&mut self, cell: Option<&CellId>, at: Timestamp, level: Level, text: String) {
        if self.outline && cell.is_some_and(|id| self.places.contains_key(id)) {
            return;
        }
        let line = LogLine { at, level, text };
        match cell.and_then(|id| self.cell_mut(id)) {
            Some(cell) => {
                cell.log.push_back(line);
                if cell.log.len() > LOG_LINES {
                    cell.log.pop_front();
                    cell.log_dropped += 1;
                }
            }
            None => {
                self.log.push_back(line);
                if self.log.len() > LOG_LINES {
                    self.log.pop_front();
                }
            }
        }
    }

    /// Takes one event in. An event of an unknown cell or attempt changes nothing.
    pub fn apply(&mut self, event: &Event) {
        let at = event.at;
        self.last = Some(at);
        match &event.kind {
            EventKind::RunStarted { run, environment, cells, shard, set, demands, carried, .. } => {
                self.demands = *demands;
                self.carried.clone_from(carried);
                self.run = Some(run.clone());
                self.environment = (**environment).clone();
                self.shard.clone_from(shard);
                self.set.clone_from(set);
                self.started = Some(at);
                self.cells = cells.iter().cloned().map(CellModel::new).collect();
                self.places = cells.iter().enumerate().map(|(place, cell)| (cell.id.clone(), place)).collect();
            }
            EventKind::CellSkipped { cell, reason, shard } => {
                let left_out = self.begun;
                if let Some(cell) = self.cell_mut(cell) {
                    cell.left_out = left_out;
                    cell.skipped = Some(reason.clone());
                    cell.elsewhere.clone_from(shard);
                }
            }
            EventKind::CellUnstarted { cell, verdict, problem } => {
                if let Some(cell) = self.cell_mut(cell) {
                    cell.unstarted = Some((*verdict, problem.clone()));
                }
            }
            EventKind::CellStarted { cell, attempt, namespace } => {
                self.begun = true;
                self.log(Some(cell), at, Level::Info, format!("attempt {attempt} starts in namespace {namespace}"));
                if let Some(cell) = self.cell_mut(cell) {
                    cell.attempts.push(Attempt {
                        number: *attempt,
                        namespace: namespace.clone(),
                        started: at,
                        ended: None,
                        stages: Vec::new(),
                        steps: Vec::new(),
                        findings: Vec::new(),
                        passed: 0,
                        progress: Vec::new(),
                        waiting: None,
                        transfers: BTreeMap::new(),
                        verdict: None,
                        problem: None,
                    });
                }
            }
            EventKind::StageStarted { cell, attempt, stage } => {
                self.log(Some(cell), at, Level::Info, format!("{stage} starts"));
                if let Some(attempt) = self.attempt(cell, *attempt) {
                    let started = StageModel { stage: *stage, started: at, ended: None, verdict: None, problem: None };
                    attempt.stages.push(started);
                    attempt.waiting = None;
                }
            }
            EventKind::StageRunning { cell, attempt, stage, elapsed_ms, waiting_for } => {
                if let Some(attempt) = self.attempt(cell, *attempt) {
                    attempt.waiting = Some((at, waiting_for.clone()));
                }
                let slow = self.cell(cell).is_some_and(|cell| cell.slow(at));
                let (level, how) = if slow { (Level::Warning, "is slow") } else { (Level::Info, "goes on") };
                let elapsed = super::duration_text(i64::try_from(*elapsed_ms).unwrap_or(i64::MAX));
                self.log(Some(cell), at, level, format!("{stage} {how} ({elapsed}): waiting for {waiting_for}"));
            }
            EventKind::StageFinished { cell, attempt, stage, verdict, problem } => {
                let because = problem.as_ref().map(|p| format!(": {}", p.message)).unwrap_or_default();
                self.log(Some(cell), at, Level::Info, format!("{stage} {verdict}{because}"));
                let stages = self.attempt(cell, *attempt).map(|attempt| &mut attempt.stages);
                if let Some(open) =
                    stages.and_then(|s| s.iter_mut().rev().find(|s| s.stage == *stage && s.ended.is_none()))
                {
                    open.ended = Some(at);
                    open.verdict = Some(*verdict);
                    open.problem.clone_from(problem);
                }
                if let (Stage::Migrate, Some(attempt)) = (*stage, self.attempt(cell, *attempt)) {
                    attempt.transfers.values_mut().for_each(|transfer| transfer.end(at));
                }
            }
            EventKind::StepStarted { cell, attempt, stage, step, text } => {
                self.log(Some(cell), at, Level::Info, format!("step {step}: {text}"));
                if let Some(attempt) = self.attempt(cell, *attempt) {
                    attempt.waiting = None;
                    attempt.steps.push(StepModel {
                        stage: *stage,
                        number: *step,
                        text: text.clone(),
                        started: at,
                        ended: None,
                        verdict: None,
                        problem: None,
                    });
                }
            }
            EventKind::StepFinished { cell, attempt, step, verdict, problem, .. } => {
                if *verdict != Verdict::Passed {
                    let because = problem.as_ref().map(|p| format!(": {}", p.message)).unwrap_or_default();
                    self.log(Some(cell), at, Level::Info, format!("step {step} {verdict}{because}"));
                }
                let steps = self.attempt(cell, *attempt).map(|attempt| &mut attempt.steps);
                let open =
                    steps.and_then(|all| all.iter_mut().rev().find(|one| one.number == *step && one.ended.is_none()));
                if let Some(open) = open {
                    open.ended = Some(at);
                    open.verdict = Some(*verdict);
                    open.problem.clone_from(problem);
                }
            }
            EventKind::Progress { cell, attempt, vms } => {
                if let Some(attempt) = self.attempt(cell, *attempt) {
                    vms.iter().for_each(|vm| attempt.transfer(at, vm));
                    attempt.progress.clone_from(vms);
                }
            }
            EventKind::Note { cell, level, message } => self.log(cell.as_ref(), at, *level, message.clone()),
            EventKind::CheckFinished { cell, attempt, finding } => {
                let outline = self.outline;
                if let Some(attempt) = self.attempt(cell, *attempt) {
                    let passed = matches!(finding.outcome, Outcome::Passed { .. });
                    attempt.passed += usize::from(passed);
                    if !(passed && outline) {
                        attempt.findings.push((at, finding.clone()));
                    }
                }
            }
            EventKind::Artifact { cell, path, what } => {
                if let Some(cell) = self.cell_mut(cell) {
                    cell.artifacts.push(ArtifactModel { path: path.clone(), what: what.clone() });
                }
            }
            EventKind::Leftover { cell, what, because } => {
                let leftover = LeftoverModel { cell: cell.clone(), what: what.clone(), because: because.clone() };
                self.leftovers.push(leftover);
            }
            EventKind::CellFinished { cell, attempt, verdict, problem, .. } => {
                let outline = self.outline;
                if let Some(attempt) = self.attempt(cell, *attempt) {
                    attempt.ended = Some(at);
                    attempt.verdict = Some(*verdict);
                    attempt.problem.clone_from(problem);
                    if outline {
                        attempt.thin();
                    }
                }
                // Only seen when the cell looked at its source: as good as never begun.
                if *verdict == Verdict::Skipped
                    && let Some(cell) = self.cell_mut(cell)
                {
                    cell.skipped = Some(problem.as_ref().map(|p| p.message.clone()).unwrap_or_default());
                }
            }
            EventKind::Preflight { probe, ok, message } => {
                self.preflight.push(Probe { probe: probe.clone(), ok: *ok, message: message.clone() });
            }
            EventKind::Retried { cell, peer, .. } => {
                let retries = match cell {
                    Some(id) => self.cell_mut(id).map(|cell| &mut cell.retries),
                    None => Some(&mut self.retries),
                };
                if let Some(retries) = retries {
                    *retries.entry(peer.clone()).or_default() += 1;
                }
            }
            EventKind::Interrupted { signal } => self.interrupted = Some(signal.clone()),
            EventKind::RunFinished { verdict, exit_code, problem, .. } => {
                self.end = Some(RunEnd { verdict: *verdict, exit_code: *exit_code, problem: problem.clone() });
                for cell in self.cells.iter_mut().filter(|c| c.never_began() && c.unstarted.is_none()) {
                    cell.unstarted = Some(unstarted(*verdict, problem.as_ref()));
                }
            }
        }
    }
}
