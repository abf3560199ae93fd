//! The way of an event: numbered, dated, written to `events.jsonl`, told to the console.

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
    all: Vec<Event>,
    finished: bool,
    /// The first failure to write; told once, at the end.
    broken: Option<EventLogError>,
}

impl Bus {
    pub fn create(log: &Path, reporters: Vec<Box<dyn Reporter>>) -> Result<Self, EventLogError> {
        let writer = EventWriter::create(log)?;
        Ok(Self {
            state: Mutex::new(State { next: 1, writer, reporters, all: Vec::new(), finished: false, broken: None }),
        })
    }

    /// A panic of somebody who told something does not end the telling.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the reporters; returns every event and whether the log is whole.
    pub fn finish(&self) -> (Vec<Event>, Option<EventLogError>) {
        let mut state = self.state();
        // The log ends with the run: a signal while reports are written is no part of it.
        state.finished = true;
        for reporter in &mut state.reporters {
            if let Err(error) = reporter.finish() {
                super::show::err(format_args!("warning: {error}"));
            }
        }
        (std::mem::take(&mut state.all), state.broken.take())
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
        if let Err(error) = state.writer.append(&event) {
            state.broken.get_or_insert(error);
        }
        for reporter in &mut state.reporters {
            reporter.event(&event);
        }
        state.all.push(event);
    }
}
