//! What a person sees while a run goes, and the summary at its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use console::Style;

use super::display::{self, Display};
use super::model::{CellModel, RunModel};
use super::{ReportError, Reporter, count, duration_text, plain};
use crate::api::names::CellId;
use crate::event::{Event, EventKind, Finding, Level, Outcome, Problem, Stage, Verdict};

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
    display: Option<Display>,
    /// The first write that failed; told at the end, because a watcher must not stop a run.
    broken: Option<std::io::Error>,
}

impl Console {
    /// `color` is the caller's decision. In `Live` mode the
    /// progress lines go to the terminal's standard error, everything else to `out`.
    pub fn new(mode: Mode, color: bool, out: Box<dyn Write + Send>) -> Self {
        let display = (mode == Mode::Live).then(Display::new);
        Self { mode, color, out, model: RunModel::outline(), display, broken: None }
    }

    /// Takes the redrawn lines away; the run goes on without this one.
    pub fn leave(&mut self) {
        if let Some(display) = &mut self.display {
            display.finish();
        }
    }

    fn line(&mut self, text: &str) {
        let out = &mut self.out;
        let result = match &self.display {
            Some(display) => display.above(|| writeln!(out, "{text}")),
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
            Verdict::Errored | Verdict::Blocked => Style::new().yellow().bold(),
            Verdict::Skipped => Style::new().dim(),
            Verdict::Interrupted => Style::new().magenta(),
        };
        let padded = format!("{:<12}", verdict.name());
        if self.color { style.force_styling(true).apply_to(padded).to_string() } else { padded }
    }

    /// Of the column of cells.
    fn width(&self) -> usize {
        self.model.cells.iter().map(|cell| cell.name().chars().count()).max().unwrap_or(0)
    }

    fn text(&self, event: &Event) -> Option<String> {
        let (cell, text) = match &event.kind {
            EventKind::RunStarted { run, cells, shard, carried, .. } => {
                let shard = shard.as_ref().map(|shard| format!(", shard {shard}")).unwrap_or_default();
                let before = match carried.len() {
                    0 => String::new(),
                    n => format!("; {} passed before", count(n, "cell")),
                };
                (None, format!("run {run}{shard}: {}{before}", count(cells.len(), "cell")))
            }
            // A large matrix has dozens of them, all at the start: the summary groups them by reason.
            EventKind::CellSkipped { .. } => return None,
            EventKind::CellStarted { cell, attempt, namespace } => {
                (Some(cell), format!("attempt {attempt} in namespace {namespace}"))
            }
            EventKind::StageStarted { cell, stage, .. } => (Some(cell), format!("{stage} …")),
            EventKind::StepStarted { cell, step, text, .. } => (Some(cell), format!("step {step}: {text} …")),
            EventKind::StepFinished { cell, step, verdict, .. } => {
                if *verdict == Verdict::Passed {
                    return None;
                }
                // Why stands in the line of the stage, which comes next.
                (Some(cell), format!("step {step} {verdict}"))
            }
            EventKind::StageRunning { cell, stage, elapsed_ms, waiting_for, .. } => {
                let found = self.model.cell(cell);
                let standing = found.map(|cell| display::progress_text(&self.model, cell)).filter(|text| !text.is_empty());
                let standing = standing.map(|text| format!("{text}; ")).unwrap_or_default();
                let slow = if found.is_some_and(|cell| cell.slow(event.at)) { "is slow" } else { "goes on" };
                let elapsed = duration_text(i64::try_from(*elapsed_ms).unwrap_or(i64::MAX));
                (Some(cell), format!("{stage} {slow} ({elapsed}): {standing}waiting for {waiting_for}"))
            }
            EventKind::StageFinished { cell, stage, verdict, problem, .. } => {
                if *verdict == Verdict::Passed {
                    return None;
                }
                // What the checks said stands in the lines before.
                let findings = self.model.cell(cell).into_iter().flat_map(CellModel::findings);
                let told = *stage == Stage::Verify
                    && findings.into_iter().any(|finding| matches!(finding.outcome, Outcome::Failed { .. }));
                (Some(cell), format!("{stage} {verdict}{}", because(problem.as_ref().filter(|_| !told))))
            }
            EventKind::Note { cell, level, message } => {
                let warning = if *level == Level::Warning { "warning: " } else { "" };
                (cell.as_ref(), format!("{warning}{}", plain(message)))
            }
            // What was not judged is counted at the end; a line each would hide what failed.
            EventKind::CheckFinished { cell, finding, .. } => match finding.outcome {
                Outcome::Failed { .. } => (Some(cell), finding_text(finding)?),
                Outcome::Passed { .. } | Outcome::NotJudged { .. } => return None,
            },
            EventKind::Leftover { cell, what, because } => (cell.as_ref(), format!("left behind: {what}: {because}")),
            EventKind::CellFinished { cell, attempt, verdict, problem, will_retry } => {
                let took = self.model.cell(cell).map_or(0, CellModel::milliseconds);
                let retry = if *will_retry { ", will retry" } else { "" };
                // A stage that told it was the line before.
                let problem = problem.as_ref().filter(|problem| !self.told_by_stage(cell, problem));
                let text = format!(
                    "{}attempt {attempt}, {}{retry}{}",
                    self.paint(*verdict),
                    duration_text(took),
                    because(problem)
                );
                (Some(cell), text)
            }
            EventKind::CellUnstarted { cell, verdict, problem } => {
                (Some(cell), format!("{}{}", self.paint(*verdict), plain(&problem.message)))
            }
            EventKind::Preflight { probe, ok, message } => {
                if *ok {
                    return None;
                }
                (None, format!("preflight {probe}: {message}"))
            }
            EventKind::Interrupted { signal } => (None, format!("interrupted by {signal}; tearing down")),
            EventKind::Progress { .. }
            | EventKind::Artifact { .. }
            // Counted at the end.
            | EventKind::Retried { .. }
            | EventKind::RunFinished { .. } => return None,
        };
        let cell = cell.map_or("-", |cell| cell.as_str());
        Some(format!("{}  {cell:2$}  {1}", event.at.strftime("%H:%M:%SZ"), plain_line(&text, self.color), self.width()))
    }

    fn worth_a_line(&self, event: &Event) -> bool {
        self.mode == Mode::Plain
            || !matches!(
                event.kind,
                EventKind::CellStarted { .. }
                    | EventKind::StageStarted { .. }
                    | EventKind::StepStarted { .. }
                    | EventKind::StageRunning { .. }
                    | EventKind::Note { level: Level::Info, .. }
            )
    }

    fn told_by_stage(&self, cell: &CellId, problem: &Problem) -> bool {
        let attempt = self.model.cell(cell).and_then(|cell| cell.attempts.last());
        let mut stages = attempt.into_iter().flat_map(|attempt| &attempt.stages);
        stages.any(|stage| stage.problem.as_ref().is_some_and(|told| told.message == problem.message))
    }

    /// The table at the end; what needs a reader stands last, next to the prompt.
    fn summary(&self) -> String {
        let model = &self.model;
        let counts = model.counts();
        let elsewhere = model.cells.iter().filter(|cell| cell.elsewhere.is_some()).count();
        let width = self.width();
        let mut out = String::from("\n");
        for cell in model.cells.iter().filter(|cell| cell.elsewhere.is_none() && cell.skipped.is_none()) {
            let mut remarks = Vec::new();
            if cell.flaky() {
                remarks.push(format!("flaky: {} attempts", cell.attempts.len()));
            }
            if cell.not_judged() > 0 {
                remarks.push(format!("{} not judged", count(cell.not_judged(), "check")));
            }
            let took = duration_text(cell.milliseconds());
            let line =
                format!("{}{:width$} {took:>8}  {}", self.paint(cell.final_verdict()), cell.name(), remarks.join(", "));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        self.explain_skips(&mut out);
        for cell in &model.cells {
            self.explain(cell, &mut out);
        }
        if !model.leftovers.is_empty() {
            let _ = writeln!(out, "\nleft behind");
        }
        for left in &model.leftovers {
            let _ = writeln!(out, "  {}: {}", plain(&left.what), plain(&left.because));
        }
        if let Some(problem) = model.end.as_ref().and_then(|end| end.problem.as_ref()) {
            let _ = writeln!(out);
            put_problem(problem, "", &mut out);
        }
        let retries = model.all_retries();
        if !retries.is_empty() {
            let by: Vec<String> = retries.iter().map(|(peer, times)| format!("{} {times}", plain(peer))).collect();
            let times = usize::try_from(retries.values().sum::<u64>()).unwrap_or(usize::MAX);
            let _ = writeln!(out, "\n{} sent again: {}", count(times, "request"), by.join(", "));
        }
        let not_judged: Vec<String> = model.not_judged().iter().map(|(check, n)| format!("{check} {n}")).collect();
        if !not_judged.is_empty() {
            let _ = writeln!(out, "\nnot judged: {}", not_judged.join(", "));
        }
        let others = [
            (counts.failed, "failed"),
            (counts.errored, "errored"),
            (counts.blocked, "blocked"),
            (counts.skipped - elsewhere, "skipped"),
            (elsewhere, "in other shards"),
            (counts.interrupted, "interrupted"),
            (counts.flaky, "flaky"),
            (model.leftovers.len(), "left behind"),
        ];
        let others = others.into_iter().filter(|(n, _)| *n > 0).map(|(n, name)| format!(", {n} {name}"));
        let _ = write!(
            out,
            "\n{} in {}: {} passed{}",
            count(counts.total, "cell"),
            duration_text(model.milliseconds()),
            counts.passed,
            others.collect::<String>()
        );
        out
    }

    /// One line a profile and reason, with the scenarios that it holds for.
    fn explain_skips(&self, out: &mut String) {
        let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for cell in self.model.cells.iter().filter(|cell| cell.elsewhere.is_none()) {
            if let Some(reason) = &cell.skipped {
                groups.entry((&cell.info.profile, reason)).or_default().push(&cell.info.scenario);
            }
        }
        if groups.is_empty() {
            return;
        }
        let _ = writeln!(out, "\n{}", self.paint(Verdict::Skipped).trim_end());
        for ((profile, reason), scenarios) in groups {
            let _ = writeln!(out, "  {profile}: {}: {}", plain(reason), scenarios.join(", "));
        }
    }

    fn explain(&self, cell: &CellModel, out: &mut String) {
        if matches!(cell.final_verdict(), Verdict::Passed | Verdict::Skipped) {
            return;
        }
        let _ = writeln!(out, "\n{} {}", self.paint(cell.final_verdict()).trim_end(), cell.name());
        let failed: Vec<&Finding> =
            cell.findings().filter(|finding| matches!(finding.outcome, Outcome::Failed { .. })).collect();
        for finding in &failed {
            let _ = writeln!(out, "  {}", finding_text(finding).unwrap_or_default());
        }
        if let Some(problem) = cell.problem() {
            // The checks say it in full; the places to look at are the problem's.
            let shown = if failed.is_empty() {
                problem.clone()
            } else {
                Problem { look_at: problem.look_at.clone(), ..Problem::default() }
            };
            put_problem(&shown, "  ", out);
        }
        if !cell.artifacts.is_empty() {
            let _ = writeln!(out, "  {} collected", count(cell.artifacts.len(), "artifact"));
        }
    }
}

/// A line stays one line whatever a cluster says; only our own colours pass.
fn plain_line(text: &str, color: bool) -> String {
    // Colours are our own and are put in by `paint`, never by what is told.
    if !color {
        return plain(text);
    }
    text.split('\x1b').enumerate().map(|(n, part)| if n == 0 { plain(part) } else { painted(part) }).collect()
}

/// What follows an escape: one of our own colours stays, anything else is shown.
fn painted(part: &str) -> String {
    let own = part.strip_prefix('[').and_then(|rest| rest.split_once('m'));
    match own.filter(|(codes, _)| codes.len() <= 8 && codes.chars().all(|c| c.is_ascii_digit() || c == ';')) {
        Some((codes, rest)) => format!("\x1b[{codes}m{}", plain(rest)),
        None => plain(&format!("\x1b{part}")),
    }
}

fn put_problem(problem: &Problem, indent: &str, out: &mut String) {
    if !problem.message.is_empty() {
        let _ = writeln!(out, "{indent}{}", plain(&problem.message));
    }
    for detail in &problem.details {
        let _ = writeln!(out, "{indent}  {}", plain(detail));
    }
    for place in &problem.look_at {
        let _ = writeln!(out, "{indent}look at: {}", plain(place));
    }
}

fn because(problem: Option<&Problem>) -> String {
    problem.map(|problem| format!(": {}", plain(&problem.message))).unwrap_or_default()
}

/// A line for what did not pass.
fn finding_text(finding: &Finding) -> Option<String> {
    let subject = finding.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
    let text = match &finding.outcome {
        Outcome::Passed { .. } => return None,
        Outcome::Failed { expected, actual } => format!("expected {expected}, actual {actual}"),
        Outcome::NotJudged { because } => format!("not judged: {because}"),
    };
    Some(plain(&format!("{}{subject}, VM {}: {text}", finding.check, finding.vm)))
}

/// The summary of a run that is over.
pub fn summary(model: &RunModel, color: bool) -> String {
    let mut console = Console::new(Mode::Plain, color, Box::new(std::io::sink()));
    console.model = model.clone();
    console.summary()
}

impl Reporter for Console {
    fn event(&mut self, event: &Event) {
        self.model.apply(event);
        if self.mode == Mode::Json {
            match serde_json::to_string(event) {
                Ok(text) => self.line(&crate::api::text::json(&text)),
                Err(error) => {
                    self.broken.get_or_insert(error.into());
                }
            }
            return;
        }
        if let Some(display) = &mut self.display {
            display.event(event, &self.model);
        }
        if self.worth_a_line(event)
            && let Some(text) = self.text(event)
        {
            self.line(&text);
        }
    }

    fn asked(&mut self) {
        if self.mode != Mode::Json {
            let told = super::waiting::told(&self.model, crate::clock::now());
            self.line(&told);
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        if let Some(display) = &mut self.display {
            display.finish();
        }
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn told(mode: Mode) -> String {
        let page = Page::default();
        let mut console = Console::new(mode, false, Box::new(page.clone()));
        for event in crate::report::fixture::events() {
            console.event(&event);
        }
        console.finish().unwrap();
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_log_reader_sees_one_aligned_line_an_event_and_then_the_summary() {
        insta::assert_snapshot!(told(Mode::Plain));
    }

    #[test]
    fn json_mode_is_the_event_log() {
        let text = told(Mode::Json);
        assert!(text.lines().all(|line| serde_json::from_str::<Event>(line).is_ok()));
        assert_eq!(text.lines().count(), crate::report::fixture::events().len());
    }
}
