//! What broke: counted by kind, and told in `faults.jsonl`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::plan::Fault;
use super::{add, locked};

/// Lines that are kept while nobody has said where they go.
const KEPT_LINES: usize = 10_000;

#[derive(Default)]
pub(super) struct Journal {
    requests: AtomicU64,
    told: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: BTreeMap<Fault, u64>,
    file: Option<File>,
    waiting: Vec<String>,
    repeated: Vec<String>,
}

impl Journal {
    pub(super) fn saw_request(&self) {
        add(&self.requests);
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn counts(&self) -> BTreeMap<Fault, u64> {
        locked(&self.state).counts.clone()
    }

    /// The same thing was made a second time without a look.
    pub(super) fn made_again(&self, what: String) {
        locked(&self.state).repeated.push(what);
    }

    pub(super) fn take_repeated(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).repeated)
    }

    pub(super) fn log_to(&self, path: &Path) -> std::io::Result<()> {
        let mut file = File::create(path)?;
        let mut state = locked(&self.state);
        for line in std::mem::take(&mut state.waiting) {
            file.write_all(line.as_bytes())?;
        }
        state.file = Some(file);
        Ok(())
    }

    /// Request `count` of `class` at `endpoint` broke.
    pub(super) fn broke(&self, endpoint: &str, class: &str, count: u64, fault: Fault) {
        let line = json!({
            "seq": add(&self.told), "at": jiff::Timestamp::now().to_string(), "endpoint": endpoint, "class": class,
            "count": count, "fault": fault.name(),
        });
        let line = format!("{line}\n");
        let mut guard = locked(&self.state);
        let state = &mut *guard;
        *state.counts.entry(fault).or_default() += 1;
        match &mut state.file {
            // A full disk ends the journal, not the lab.
            Some(file) => drop(file.write_all(line.as_bytes())),
            None if state.waiting.len() < KEPT_LINES => state.waiting.push(line),
            None => {}
        }
    }
}
