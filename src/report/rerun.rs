//! What is left of an earlier run: the cells that did not pass, and those that need not run again.
//!
//! Knows that run's event log only. A rerun of a rerun carries what both passed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::RunModel;
use super::log::EventLogError;
use super::reading::Reading;
use crate::api::names::CellId;
use crate::event::{Carried, Verdict};

/// The rest of a run.
#[derive(Debug, Default)]
pub struct Rest {
    /// Failed, errored, blocked, interrupted, and what never began, for `--fail-fast` too.
    pub again: BTreeSet<CellId>,
    pub carried: Vec<Carried>,
}

/// Why there is no rest.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    #[error("{0} is no directory of a run: it has no events.jsonl")]
    NoRun(PathBuf),
    #[error(transparent)]
    Log(#[from] EventLogError),
    #[error("the log of {0} begins with no run: it was cut before its first event")]
    Empty(PathBuf),
}

/// Of the run whose reports are in `dir`. Cells that it skipped stay out: why they were is decided by what is there now
/// in a run of all cells.
pub fn rest(dir: &Path) -> Result<Rest, RerunError> {
    let log = dir.join("events.jsonl");
    if !super::files::is_file(&log) {
        return Err(RerunError::NoRun(dir.to_owned()));
    }
    of(&Reading::of_log(&log, Vec::new())?.outline).ok_or_else(|| RerunError::Empty(dir.to_owned()))
}

/// Of a run; `None`: its events began with none.
pub fn of(model: &RunModel) -> Option<Rest> {
    let run = model.run.clone()?;
    // What `--fail-fast` left out was to run; what can't run is skipped before any began.
    let left_out = model.cells.iter().filter(|cell| cell.left_out).map(|cell| cell.info.id.clone());
    let mut rest = Rest { again: left_out.collect(), carried: model.carried.clone() };
    for cell in &model.cells {
        match cell.final_verdict() {
            Verdict::Passed => rest.carried.push(Carried { cell: cell.info.id.clone(), run: run.clone() }),
            Verdict::Failed | Verdict::Errored | Verdict::Blocked | Verdict::Interrupted => {
                rest.again.insert(cell.info.id.clone());
            }
            Verdict::Skipped => {}
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::RunId;
    use crate::event::{Event, EventKind};
    use crate::report::fixture;

    fn of(events: &[Event]) -> Option<Rest> {
        super::of(&RunModel::from_events(events))
    }

    #[test]
    fn what_did_not_pass_is_run_again_and_what_passed_in_any_run_is_carried() {
        let earlier =
            Carried { cell: CellId::new("vsphere", "old", None), run: RunId::parse("mm-bcdefghijk").unwrap() };
        let mut events = fixture::events();
        if let EventKind::RunStarted { carried, .. } = &mut events[0].kind {
            carried.push(earlier.clone());
        }
        let rest = of(&events).unwrap();
        let again: Vec<&str> = rest.again.iter().map(CellId::as_str).collect();
        assert_eq!(again, ["vsphere/broken"], "not the skipped one, nor the one that passed on its second attempt");
        assert_eq!(rest.carried[0], earlier);
        let passed: Vec<&str> = rest.carried[1..].iter().map(|one| one.cell.as_str()).collect();
        assert_eq!(passed, ["vsphere/cold", "vsphere/flaky"]);
        assert!(rest.carried[1..].iter().all(|one| one.run.as_str() == "mm-abcdefghij"));
    }

    #[test]
    fn what_fail_fast_left_out_is_run_and_what_cannot_run_is_not() {
        let mut events = fixture::events();
        let cold = CellId::new("vsphere", "cold", None);
        events.retain(|event| serde_json::to_value(&event.kind).unwrap()["cell"] != cold.as_str());
        let last = events.last().unwrap().clone();
        let kind = EventKind::CellSkipped { cell: cold.clone(), reason: "another failed".into(), shard: None };
        events.insert(events.len() - 1, Event { kind, ..last });
        assert!(of(&events).unwrap().again.contains(&cold));
        assert!(!of(&events).unwrap().again.contains(&CellId::new("vsphere", "warm", None)));
    }

    #[test]
    fn a_directory_without_a_run_and_a_log_without_a_start_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(rest(dir.path()), Err(RerunError::NoRun(_))));
        std::fs::write(dir.path().join("events.jsonl"), "").unwrap();
        assert!(matches!(rest(dir.path()), Err(RerunError::Empty(_))));
    }
}
