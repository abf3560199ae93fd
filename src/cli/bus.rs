//! The way of an event: numbered, dated, written to `events.jsonl`, told to the console.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::{Event, EventKind, EventSink};
use crate::report::Reporter;
use crate::report::log::{EventLogError, EventWriter};

/// The one sink of a run.
pub struct Bus {
    state: Mutex<State>,
}

struct State {
    next: u64,
    writer: EventWriter,
    reporters: Vec<Box<dyn Reporter>>,
    /// What could not be written yet, in the order of the run.
    unwritten: VecDeque<Event>,
    finished: bool,
    /// Why; told once, at the end.
    broken: Option<EventLogError>,
}

impl State {
    /// Writes what waits: a volume that was full may have room again, and a log with a hole would tell another run.
    fn write(&mut self) {
        while let Some(event) = self.unwritten.pop_front() {
            if let Err(error) = self.writer.append(&event) {
                self.unwritten.push_front(event);
                self.broken = Some(error);
                return;
            }
        }
        self.broken = None;
    }
}

impl Bus {
    pub fn create(log: &Path, reporters: Vec<Box<dyn Reporter>>) -> Result<Self, EventLogError> {
        let writer = EventWriter::create(log)?;
        Ok(Self {
            state: Mutex::new(State {
                next: 1,
                writer,
                reporters,
                unwritten: VecDeque::new(),
                finished: false,
                broken: None,
            }),
        })
    }

    /// A panic of somebody who told something does not end the telling.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is waited for to whoever watches.
    pub fn ask(&self) {
        let mut state = self.state();
        if !state.finished {
            state.reporters.iter_mut().for_each(|reporter| reporter.asked());
        }
    }

    /// Ends the reporters; returns the events that the log lacks, and why.
    pub fn finish(&self) -> (Vec<Event>, Option<EventLogError>) {
        let mut state = self.state();
        // The log ends with the run: a signal while reports are written is no part of it.
        state.finished = true;
        for reporter in &mut state.reporters {
            if let Err(error) = reporter.finish() {
                super::show::err(format_args!("warning: {error}"));
            }
        }
        state.write();
        (std::mem::take(&mut state.unwritten).into(), state.broken.take())
    }
}

impl EventSink for Bus {
    fn emit(&self, kind: EventKind) {
        let mut state = self.state();
        if state.finished {
            return;
        }
        let event = Event { seq: state.next, at: crate::clock::now(), kind: kind.bounded() };
        state.next += 1;
        for reporter in &mut state.reporters {
            reporter.event(&event);
        }
        state.unwritten.push_back(event);
        state.write();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::api::names::CellId;
    use crate::event::{Level, Problem, Stage, Verdict, VmProgress};
    use crate::report::console::{Console, Mode};
    use crate::report::{Reading, fixture};

    const SIZE: usize = 10_000_000;

    /// What was written, for whoever asks.
    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What others make as long as they like.
    fn hostile(cell: &CellId) -> Vec<EventKind> {
        let long = || "x".repeat(SIZE);
        let problem = || Problem { details: vec![long(), long()], ..Problem::new(long()) };
        let (stage, attempt) = (Stage::Migrate, 1);
        let vm = VmProgress {
            vm: long(),
            phase: long(),
            step: Some(long()),
            percent: None,
            precopies: None,
            total_mb: None,
        };
        vec![
            EventKind::Note { cell: Some(cell.clone()), level: Level::Warning, message: long() },
            EventKind::StageRunning { cell: cell.clone(), attempt, stage, elapsed_ms: 1, waiting_for: long() },
            EventKind::Progress { cell: cell.clone(), attempt, vms: vec![vm] },
            EventKind::Retried { cell: None, peer: "cluster".into(), what: long(), cause: long(), pause_ms: 1 },
            EventKind::StageFinished {
                cell: cell.clone(),
                attempt,
                stage,
                verdict: Verdict::Failed,
                problem: Some(problem()),
            },
            EventKind::Leftover { cell: Some(cell.clone()), what: long(), because: long() },
            EventKind::CellFinished {
                cell: cell.clone(),
                attempt,
                verdict: Verdict::Failed,
                problem: Some(problem()),
                will_retry: false,
            },
        ]
    }

    #[test]
    fn ten_megabytes_of_a_condition_are_a_short_text_in_every_output() {
        let dir = tempfile::tempdir().unwrap();
        let screen = Screen::default();
        let console = Console::new(Mode::Plain, false, Box::new(screen.clone()));
        let bus = Bus::create(&dir.path().join("events.jsonl"), vec![Box::new(console)]).unwrap();
        let mut events = fixture::events();
        let end = events.pop().unwrap();
        let cell = events.iter().find_map(|event| match &event.kind {
            EventKind::CellStarted { cell, .. } => Some(cell.clone()),
            _ => None,
        });
        let usual = events.into_iter().map(|event| event.kind);
        usual.chain(hostile(&cell.unwrap())).chain([end.kind]).for_each(|kind| bus.emit(kind));
        let (rest, broken) = bus.finish();
        assert!(broken.is_none() && rest.is_empty());
        let run = Reading::of_log(&dir.path().join("events.jsonl"), rest).unwrap();
        let written = crate::report::write_all(dir.path(), &run);
        assert!(written.files.len() >= 5, "{:?}", written.files);
        let log = dir.path().join("events.jsonl");
        let sizes =
            written.files.iter().chain([&log]).map(|path| (path.clone(), std::fs::metadata(path).unwrap().len()));
        for (path, size) in sizes {
            assert!(size < 300_000, "{} has {size} bytes", path.display());
        }
        let shown = screen.0.lock().unwrap().len();
        assert!((1..100_000).contains(&shown), "{shown} bytes on the terminal");
    }
}
