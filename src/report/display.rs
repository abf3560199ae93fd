//! The lines of a terminal that are redrawn while a run goes: one of the whole run, and one of each cell at work.
//!
//! What changes stands before what may be cut: at 80 columns the step, its percent and its speed are still there.
//! VMs go by the names of the VMs that they were cloned from, which are the ones that a reader knows.

use std::collections::BTreeMap;
use std::time::Duration;

use console::truncate_str;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::model::{CellModel, RunModel};
use super::{count, duration_text, plain};
use crate::api::names::CellId;
use crate::clock;
use crate::event::{Event, EventKind, Stage, Verdict, VmProgress};

/// A stage can be silent for minutes; the clock shows that the run is alive.
const TICK: Duration = Duration::from_millis(200);

/// The redrawn lines; they go to the terminal's standard error.
pub(super) struct Display {
    bars: MultiProgress,
    head: Option<ProgressBar>,
    running: BTreeMap<CellId, Line>,
}

struct Line {
    bar: ProgressBar,
    stage: Option<Stage>,
    /// When a VM's percent was told last, and the megabytes that were copied then.
    copied: BTreeMap<String, (Timestamp, f64)>,
}

impl Display {
    pub(super) fn new() -> Self {
        Self { bars: MultiProgress::new(), head: None, running: BTreeMap::new() }
    }

    /// Writes above the lines.
    pub(super) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bars.suspend(write)
    }

    /// `model` has taken the event up already.
    pub(super) fn event(&mut self, event: &Event, model: &RunModel) {
        match &event.kind {
            EventKind::RunStarted { .. } => {
                self.head = Some(line(&self.bars, "{spinner} {wide_msg} {elapsed}", event.at));
            }
            EventKind::CellStarted { cell, .. } => {
                let bar = line(&self.bars, "{spinner} {elapsed:>4}  {prefix}  {wide_msg}", event.at);
                // Half of the screen at most, so that there is room for what happens.
                let room = usize::from(console::Term::stderr().size().1 / 2).max(20);
                let width = model.cells.iter().map(|cell| cell.name().chars().count()).max().unwrap_or(0).min(room);
                bar.set_prefix(format!("{:width$}", truncate_str(cell.as_str(), width, "…")));
                self.running.insert(cell.clone(), Line { bar, stage: None, copied: BTreeMap::new() });
            }
            EventKind::StageStarted { cell, stage, .. } => {
                if let Some(line) = self.running.get_mut(cell) {
                    line.stage = Some(*stage);
                    line.copied.clear();
                    line.tell(stage.name().to_owned());
                }
            }
            EventKind::StepStarted { cell, step, text, .. } => {
                if let Some(line) = self.running.get(cell) {
                    line.tell(format!("{}: step {step}: {}", line.stage.map_or("", Stage::name), plain(text)));
                }
            }
            EventKind::Progress { cell, vms, .. } => {
                if let Some(line) = self.running.get_mut(cell) {
                    let told: Vec<String> =
                        vms.iter().map(|vm| vm_text(vm, line.speed(vm, event.at), base_name(model, &vm.vm))).collect();
                    line.tell(told.join(", "));
                }
            }
            EventKind::CellFinished { cell, .. } => {
                if let Some(line) = self.running.remove(cell) {
                    line.bar.finish_and_clear();
                }
            }
            _ => {}
        }
        if let Some(head) = &self.head {
            head.set_message(standing(model, event.at));
        }
    }

    pub(super) fn finish(&mut self) {
        for line in std::mem::take(&mut self.running).into_values() {
            line.bar.finish_and_clear();
        }
        if let Some(head) = self.head.take() {
            head.finish_and_clear();
        }
    }
}

impl Line {
    fn tell(&self, text: String) {
        self.bar.set_message(text);
        self.bar.tick();
    }

    /// Megabytes a second since the VM's percent was told before.
    fn speed(&mut self, vm: &VmProgress, at: Timestamp) -> Option<f64> {
        let copied = vm.percent? / 100.0 * f64::from(u32::try_from(vm.total_mb?).ok()?);
        let before = self.copied.insert(vm.vm.clone(), (at, copied));
        let (since, then) = before?;
        let seconds = at.duration_since(since).as_secs_f64();
        (seconds > 0.0 && copied > then).then(|| (copied - then) / seconds)
    }
}

/// `since`: who watches from outside comes later than what it sees began.
fn line(bars: &MultiProgress, template: &str, since: Timestamp) -> ProgressBar {
    let elapsed = Duration::try_from(clock::now().duration_since(since)).unwrap_or_default();
    let bar = bars.add(ProgressBar::new_spinner().with_elapsed(elapsed));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

fn base_name<'a>(model: &'a RunModel, vm: &'a str) -> &'a str {
    model.run.as_ref().map_or(vm, |run| run.base_of(vm))
}

fn vm_text(vm: &VmProgress, speed: Option<f64>, name: &str) -> String {
    let step = vm.step.as_deref().unwrap_or(&vm.phase);
    let percent = vm.percent.map(|percent| format!(" {percent:.0}%")).unwrap_or_default();
    let speed = speed.map(|speed| format!(" {speed:.0} MB/s")).unwrap_or_default();
    plain(&format!("{step}{percent}{speed} {name}"))
}

/// How far each VM of the cell was when it was last told, in a few words; empty where nothing is copied.
pub(super) fn progress_text(model: &RunModel, cell: &CellModel) -> String {
    let vms = cell.attempts.last().into_iter().flat_map(|attempt| &attempt.progress);
    let told: Vec<String> = vms.map(|vm| vm_text(vm, None, base_name(model, &vm.vm))).collect();
    told.join(", ")
}

/// `12/33 done, 1 failed, ends in about 14m`.
fn standing(model: &RunModel, now: Timestamp) -> String {
    let cells = || model.cells.iter().filter(|cell| cell.skipped.is_none());
    let ended = |verdict: Verdict| cells().filter(|cell| cell.verdict() == Some(verdict)).count();
    let done = cells().filter(|cell| cell.verdict().is_some()).count();
    let bad: String = [Verdict::Failed, Verdict::Errored, Verdict::Blocked]
        .into_iter()
        .map(|verdict| (ended(verdict), verdict.name()))
        .filter(|(n, _)| *n > 0)
        .map(|(n, name)| format!(", {n} {name}"))
        .collect();
    let left = left(model, now).map(|left| format!(", ends in about {left}")).unwrap_or_default();
    let at_work = cells().filter(|cell| cell.verdict().is_none() && !cell.attempts.is_empty()).count();
    format!("{done}/{} done{bad}, {} at work{left}", cells().count(), count(at_work, "cell"))
}

/// By the cells' expected times, as many side by side as are at work now. The lab's clock is not the expectations'.
fn left(model: &RunModel, now: Timestamp) -> Option<String> {
    if model.environment.lab {
        return None;
    }
    let open = || model.cells.iter().filter(|cell| cell.skipped.is_none() && cell.verdict().is_none());
    let rest = |cell: &CellModel| {
        let expected = i64::try_from(cell.info.expected_ms?).ok()?;
        let spent = cell.attempts.last().map_or(0, |attempt| now.duration_since(attempt.started).as_millis());
        Some(expected.saturating_sub(i64::try_from(spent).unwrap_or(i64::MAX)).max(0))
    };
    let all: Vec<i64> = open().map(rest).collect::<Option<_>>()?;
    let side_by_side = i64::try_from(open().filter(|cell| !cell.attempts.is_empty()).count()).unwrap_or(1).max(1);
    let longest = all.iter().copied().max()?;
    Some(duration_text(longest.max(all.iter().sum::<i64>() / side_by_side)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_changes_comes_first_and_the_vm_goes_by_the_name_that_it_was_cloned_from() {
        let mut line = Line { bar: ProgressBar::hidden(), stage: None, copied: BTreeMap::new() };
        let told = |percent| VmProgress {
            vm: "mm-abcdefghij-mtv-tests-rhel8-x1y2z3".into(),
            phase: "CopyDisks".into(),
            step: Some("DiskTransfer".into()),
            percent: Some(percent),
            precopies: None,
            total_mb: Some(1000),
        };
        let model = RunModel::from_events(&fixture::events());
        let name = base_name(&model, "mm-abcdefghij-mtv-tests-rhel8-x1y2z3");
        assert_eq!(vm_text(&told(10.0), line.speed(&told(10.0), at(0)), name), "DiskTransfer 10% mtv-tests-rhel8");
        let later = vm_text(&told(45.0), line.speed(&told(45.0), at(5)), name);
        assert_eq!(later, "DiskTransfer 45% 70 MB/s mtv-tests-rhel8");
    }

    #[test]
    fn the_first_line_counts_what_is_done_and_says_when_the_rest_may_end() {
        let mut events = fixture::events();
        let done = events.iter().position(
            |event| matches!(&event.kind, EventKind::CellFinished { cell, .. } if cell.as_str() == "vsphere/broken"),
        );
        events.truncate(done.unwrap() + 1);
        let now = events.last().unwrap().at;
        if let EventKind::RunStarted { environment, cells, .. } = &mut events[0].kind {
            environment.lab = false;
            cells.iter_mut().for_each(|cell| cell.expected_ms = Some(600_000));
        }
        let mut model = RunModel::from_events(&events);
        assert_eq!(standing(&model, now), "2/3 done, 1 failed, 0 cells at work, ends in about 10m 00s");
        model.environment.lab = true;
        assert_eq!(standing(&model, now), "2/3 done, 1 failed, 0 cells at work");
    }
}
