//! What a person sees while a run goes, and the summary at its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use console::{Style, strip_ansi_codes};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::model::{CellModel, RunModel};
use super::{ReportError, Reporter, duration_text};
use crate::api::names::CellId;
use crate::event::{Event, EventKind, Finding, Level, Outcome, Problem, Stage, Verdict, VmProgress};

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A line a running cell, redrawn; for a terminal.
    Live,
    /// A line an event worth reading; for logs.
    Plain,
    /// One JSON object an event.
    Json,
}

/// The console reporter.
pub struct Console {
    mode: Mode,
    color: bool,
    out: Box<dyn Write + Send>,
    model: RunModel,
    bars: Option<MultiProgress>,
    running: BTreeMap<CellId, (ProgressBar, Option<Stage>)>,
    /// The first write that failed; told at the end, because a watcher must not stop a run.
    broken: Option<std::io::Error>,
}

impl Console {
    /// `color` is the caller's decision; `NO_COLOR` is honoured in any case. In `Live` mode the
    /// progress lines go to the terminal's standard error, everything else to `out`.
    pub fn new(mode: Mode, color: bool, out: Box<dyn Write + Send>) -> Self {
        let color = color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let bars = (mode == Mode::Live).then(MultiProgress::new);
        Self { mode, color, out, model: RunModel::default(), bars, running: BTreeMap::new(), broken: None }
    }

    fn line(&mut self, text: &str) {
        let out = &mut self.out;
        let result = match &self.bars {
            Some(bars) => bars.suspend(|| writeln!(out, "{text}")),
            None => writeln!(out, "{text}"),
        };
        if let Err(error) = result {
            self.broken.get_or_insert(error);
        }
    }

    fn paint(&self, verdict: Verdict) -> String {
        let style = match verdict {
            Verdict::Passed => Style::new().green(),
            Verdict::Failed => Style::new().red().bold(),
            Verdict::Errored => Style::new().yellow().bold(),
            Verdict::Skipped => Style::new().dim(),
            Verdict::Interrupted => Style::new().magenta(),
        };
        let padded = format!("{:<12}", verdict.name());
        if self.color { style.force_styling(true).apply_to(padded).to_string() } else { padded }
    }

    fn live(&mut self, event: &Event) {
        match &event.kind {
            EventKind::CellStarted { cell, .. } => {
                if let Some(bars) = &self.bars {
                    let bar = bars.add(ProgressBar::new_spinner());
                    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {msg} {elapsed}") {
                        bar.set_style(style);
                    }
                    bar.set_prefix(cell.to_string());
                    self.running.insert(cell.clone(), (bar, None));
                }
            }
            EventKind::StageStarted { cell, stage, .. } => {
                if let Some((bar, now)) = self.running.get_mut(cell) {
                    *now = Some(*stage);
                    bar.set_message(stage.name());
                    bar.tick();
                }
            }
            EventKind::Progress { cell, vms, .. } => {
                if let Some((bar, stage)) = self.running.get(cell) {
                    let stage = stage.map_or("", Stage::name);
                    bar.set_message(format!("{stage} {}", vms.iter().map(vm_text).collect::<Vec<_>>().join(", ")));
                    bar.tick();
                }
            }
            EventKind::CellFinished { cell, .. } => {
                if let Some((bar, _)) = self.running.remove(cell) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
    }

    fn text(&self, event: &Event) -> Option<String> {
        let (cell, text) = match &event.kind {
            EventKind::RunStarted { run, cells, .. } => (None, format!("run {run}: {} cells", cells.len())),
            EventKind::CellSkipped { cell, reason } => {
                (Some(cell), format!("{}{reason}", self.paint(Verdict::Skipped)))
            }
            EventKind::CellStarted { cell, attempt, namespace } => {
                (Some(cell), format!("attempt {attempt} in namespace {namespace}"))
            }
            EventKind::StageStarted { cell, stage, .. } => (Some(cell), format!("{stage} …")),
            EventKind::StageSlow { cell, stage, elapsed_ms, waiting_for, .. } => {
                let elapsed = duration_text(i64::try_from(*elapsed_ms).unwrap_or(i64::MAX));
                (Some(cell), format!("{stage} is slow ({elapsed}): waiting for {waiting_for}"))
            }
            EventKind::StageFinished { cell, stage, verdict, problem, .. } => {
                if *verdict == Verdict::Passed {
                    return None;
                }
                (Some(cell), format!("{stage} {verdict}{}", because(problem.as_ref())))
            }
            EventKind::Note { cell, level, message } => {
                let warning = if *level == Level::Warning { "warning: " } else { "" };
                (cell.as_ref(), format!("{warning}{message}"))
            }
            EventKind::CheckFinished { cell, finding, .. } => (Some(cell), finding_text(finding)?),
            EventKind::Leftover { cell, what, because } => (cell.as_ref(), format!("left behind: {what}: {because}")),
            EventKind::CellFinished { cell, attempt, verdict, problem, will_retry } => {
                let took = self.model.cell(cell).map_or(0, CellModel::milliseconds);
                let retry = if *will_retry { ", will retry" } else { "" };
                let text = format!(
                    "{}attempt {attempt}, {}{retry}{}",
                    self.paint(*verdict),
                    duration_text(took),
                    because(problem.as_ref())
                );
                (Some(cell), text)
            }
            EventKind::Preflight { probe, ok, message } => {
                if *ok {
                    return None;
                }
                (None, format!("preflight {probe}: {message}"))
            }
            EventKind::Interrupted { signal } => (None, format!("interrupted by {signal}; tearing down")),
            EventKind::Progress { .. } | EventKind::Artifact { .. } | EventKind::RunFinished { .. } => return None,
        };
        let cell = cell.map(|cell| format!("{cell}  ")).unwrap_or_default();
        Some(format!("{}  {cell}{text}", event.at.strftime("%H:%M:%SZ")))
    }

    fn worth_a_line(&self, event: &Event) -> bool {
        self.mode == Mode::Plain
            || !matches!(
                event.kind,
                EventKind::CellStarted { .. }
                    | EventKind::StageStarted { .. }
                    | EventKind::Note { level: Level::Info, .. }
            )
    }

    /// The table at the end.
    fn summary(&self) -> String {
        let model = &self.model;
        let counts = model.counts();
        let mut out = String::from("\n");
        for cell in &model.cells {
            let flaky =
                if cell.flaky() { format!(" (flaky: {} attempts)", cell.attempts.len()) } else { String::new() };
            let not_judged = match cell.not_judged() {
                0 => String::new(),
                n => format!(", {n} not judged"),
            };
            let _ = writeln!(
                out,
                "{}{}  {}{not_judged}{flaky}",
                self.paint(cell.final_verdict()),
                cell.name(),
                duration_text(cell.milliseconds())
            );
            self.explain(cell, &mut out);
        }
        for left in &model.leftovers {
            let _ = writeln!(out, "left behind: {}: {}", left.what, left.because);
        }
        if let Some(problem) = model.end.as_ref().and_then(|end| end.problem.as_ref()) {
            put_problem(problem, "", &mut out);
        }
        let _ = write!(
            out,
            "\n{} cells in {}: {} passed, {} failed, {} errored, {} skipped, {} interrupted; {} flaky, {} left behind",
            counts.total,
            duration_text(model.milliseconds()),
            counts.passed,
            counts.failed,
            counts.errored,
            counts.skipped,
            counts.interrupted,
            counts.flaky,
            model.leftovers.len()
        );
        out
    }

    fn explain(&self, cell: &CellModel, out: &mut String) {
        if let Some(reason) = &cell.skipped {
            let _ = writeln!(out, "            {reason}");
        }
        if matches!(cell.final_verdict(), Verdict::Passed | Verdict::Skipped) {
            return;
        }
        if let Some(problem) = cell.problem() {
            put_problem(problem, "            ", out);
        }
        for finding in cell.findings().filter(|finding| matches!(finding.outcome, Outcome::Failed { .. })) {
            let _ = writeln!(out, "            {}", finding_text(finding).unwrap_or_default());
        }
        for artifact in &cell.artifacts {
            let _ = writeln!(out, "            artifact: {} ({})", artifact.path, artifact.what);
        }
    }
}

fn put_problem(problem: &Problem, indent: &str, out: &mut String) {
    let _ = writeln!(out, "{indent}{}", plain(&problem.message));
    for detail in &problem.details {
        let _ = writeln!(out, "{indent}  {}", plain(detail));
    }
    for place in &problem.look_at {
        let _ = writeln!(out, "{indent}  look at: {}", plain(place));
    }
}

/// Text from a cluster must not steer the terminal.
fn plain(text: &str) -> String {
    strip_ansi_codes(text).chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

fn because(problem: Option<&Problem>) -> String {
    problem.map(|problem| format!(": {}", plain(&problem.message))).unwrap_or_default()
}

fn vm_text(vm: &VmProgress) -> String {
    let step = vm.step.as_deref().unwrap_or(&vm.phase);
    let percent = vm.percent.map(|percent| format!(" {percent:.0}%")).unwrap_or_default();
    format!("{} {step}{percent}", vm.vm)
}

/// A line for what did not pass.
fn finding_text(finding: &Finding) -> Option<String> {
    let subject = finding.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
    let text = match &finding.outcome {
        Outcome::Passed { .. } => return None,
        Outcome::Failed { expected, actual } => format!("expected {expected}, actual {actual}"),
        Outcome::NotJudged { because } => format!("not judged: {because}"),
    };
    Some(plain(&format!("{} [{}]{subject}: {text}", finding.check, finding.vm)))
}

impl Reporter for Console {
    fn event(&mut self, event: &Event) {
        self.model.apply(event);
        if self.mode == Mode::Json {
            match serde_json::to_string(event) {
                Ok(text) => self.line(&text),
                Err(error) => {
                    self.broken.get_or_insert(error.into());
                }
            }
            return;
        }
        self.live(event);
        if self.worth_a_line(event)
            && let Some(text) = self.text(event)
        {
            self.line(&text);
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        for (bar, _) in self.running.values() {
            bar.finish_and_clear();
        }
        self.running.clear();
        if self.mode != Mode::Json {
            let summary = self.summary();
            self.line(&summary);
        }
        if let Err(error) = self.out.flush() {
            self.broken.get_or_insert(error);
        }
        self.broken.take().map_or(Ok(()), |error| Err(error.into()))
    }
}
