//! The way of an event: numbered, dated, written to `events.jsonl`, told to the console.

use std::path::Path;
use std::sync::Mutex;

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

    /// Ends the reporters; returns every event and whether the log is whole.
    pub fn finish(&self) -> (Vec<Event>, Option<EventLogError>) {
        let Ok(mut state) = self.state.lock() else { return (Vec::new(), None) };
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
        let Ok(mut state) = self.state.lock() else { return };
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
