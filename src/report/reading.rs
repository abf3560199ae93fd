//! A run as its reports read it: the outline of all cells in memory, and each cell whole when it is its turn.
//!
//! Where the run has an event log, a cell's lines are read from it again: ten thousand cells with all that they said
//! would be a gigabyte. Knows events and the model; the disk is `files.rs`'s.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{self, File};
use super::log::{EventLogError, each_line, event_name, event_of};
use super::model::{CellModel, RunModel};
use crate::event::Event;

/// A run for its reports.
#[derive(Debug)]
pub struct Reading {
    pub outline: RunModel,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    /// All are whole already.
    Held,
    Logged(Log),
}

/// Bytes of lines that are read at once, of those that follow each other.
const AT_ONCE: u32 = 64 * 1024;

/// Where lines of the log are that follow each other.
#[derive(Debug, Clone, Copy)]
struct Lines {
    at: u64,
    length: u32,
    /// Of the first.
    number: usize,
}

impl Lines {
    /// Takes the line that follows; false where another does, or these are enough.
    fn take(&mut self, line: Self) -> bool {
        let length = self.length.saturating_add(line.length);
        let taken = self.at + u64::from(self.length) == line.at && length <= AT_ONCE;
        if taken {
            self.length = length;
        }
        taken
    }
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// By the cell's place.
    lines: Vec<Vec<Lines>>,
    /// What could not be written to the log, behind its last line.
    rest: Vec<Event>,
}

/// As much of a line as tells whether an outline needs the rest.
#[derive(Deserialize)]
struct Head<'a> {
    at: jiff::Timestamp,
    event: &'a str,
    cell: Option<&'a str>,
    attempt: Option<u32>,
    finding: Option<FindingHead<'a>>,
}

#[derive(Deserialize)]
struct FindingHead<'a> {
    outcome: &'a str,
}

impl Reading {
    /// Of a run that is in memory.
    pub fn of_events(events: &[Event]) -> Self {
        Self::of_model(RunModel::from_events(events))
    }

    /// Of a run that is whole already.
    pub fn of_model(outline: RunModel) -> Self {
        Self { outline, cells: Cells::Held }
    }

    /// Of a log. A last line without an end is what a killed run leaves, and is dropped. `rest` are events that were
    /// told and could not be written any more.
    pub fn of_log(path: &Path, rest: Vec<Event>) -> Result<Self, EventLogError> {
        let mut outline = RunModel::outline();
        let mut lines: Vec<Vec<Lines>> = Vec::new();
        let mut at = 0;
        let file = each_line(path, |text, number| {
            let line = Lines { at, length: u32::try_from(text.len()).unwrap_or(u32::MAX), number };
            at += text.len() as u64;
            if let Some(place) = take(&mut outline, text, path, number)? {
                if lines.len() <= place {
                    lines.resize(outline.cells.len(), Vec::new());
                }
                if let Some(of_cell) = lines.get_mut(place)
                    && !of_cell.last_mut().is_some_and(|last| last.take(line))
                {
                    of_cell.push(line);
                }
            }
            Ok(())
        })?;
        rest.iter().for_each(|event| outline.apply(event));
        let log = Log { path: path.to_owned(), file, lines, rest };
        Ok(Self { outline, cells: Cells::Logged(log) })
    }

    /// A cell with every line and every check.
    pub fn whole(&self, place: usize) -> Result<Option<Cow<'_, CellModel>>, EventLogError> {
        let Some(cell) = self.outline.cells.get(place) else { return Ok(None) };
        let Cells::Logged(log) = &self.cells else { return Ok(Some(Cow::Borrowed(cell))) };
        let mut alone = self.outline.alone(place);
        for lines in log.lines.get(place).into_iter().flatten() {
            log.each(*lines, |event| alone.apply(event))?;
        }
        // Its own alone: the start of the run would make all cells of it.
        let own = log.rest.iter().filter(|event| event.kind.cell() == Some(&cell.info.id));
        own.for_each(|event| alone.apply(event));
        Ok(alone.cells.into_iter().next().map(|whole| Cow::Owned(whole.of_run(cell))))
    }
}

impl Log {
    fn each(&self, lines: Lines, mut take: impl FnMut(&Event)) -> Result<(), EventLogError> {
        let read_error = |source| EventLogError::Read { path: self.path.clone(), source };
        let text = files::read_at(&self.file, lines.at, lines.length as usize).map_err(read_error)?;
        for (after, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            take(&event_of(line, &self.path, lines.number + after)?);
        }
        Ok(())
    }
}

/// Takes a line into the outline, and says which cell it is of.
fn take(outline: &mut RunModel, text: &[u8], path: &Path, number: usize) -> Result<Option<usize>, EventLogError> {
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // Most lines are checks that passed and notes: an outline counts the first and leaves out the second.
    if matches!(event_name(text), Some("check-finished" | "note"))
        && let Ok(head) = serde_json::from_slice::<Head<'_>>(text)
        && let Some(place) = head.cell.and_then(|cell| outline.place(cell))
    {
        let passed = head.finding.is_some_and(|finding| finding.outcome == "passed");
        match (head.event, head.attempt) {
            ("check-finished", Some(attempt)) if passed => {
                outline.passed(place, attempt, head.at);
                return Ok(Some(place));
            }
            ("note", _) => {
                outline.last = Some(head.at);
                return Ok(Some(place));
            }
            _ => {}
        }
    }
    let event = event_of(text, path, number)?;
    outline.apply(&event);
    Ok(event.kind.cell().and_then(|cell| outline.place(cell.as_str())))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::report::{self, fixture};

    fn logged(dir: &Path, events: &[Event]) -> PathBuf {
        let path = dir.join("events.jsonl");
        let mut text = String::new();
        for event in events {
            writeln!(text, "{}", serde_json::to_string(event).unwrap()).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_run_read_from_its_log_has_the_same_reports_as_one_in_memory() {
        let held = tempfile::tempdir().unwrap();
        let events = fixture::events();
        report::write_all(held.path(), &Reading::of_events(&events));
        // All was written, the last two were not, nothing was.
        for written in [events.len(), events.len() - 2, 0] {
            let read = tempfile::tempdir().unwrap();
            let (written, rest) = events.split_at(written);
            let log = logged(read.path(), written);
            report::write_all(read.path(), &Reading::of_log(&log, rest.to_vec()).unwrap());
            for name in ["junit.xml", "run.json", "metrics.prom", "report.html", "traces.jsonl"] {
                let of = |dir: &tempfile::TempDir| std::fs::read_to_string(dir.path().join(name)).unwrap();
                assert_eq!(of(&held), of(&read), "{name}, {} not written", rest.len());
            }
        }
    }

    #[test]
    fn an_outline_keeps_no_line_and_no_passed_check_and_a_cell_is_whole_when_it_is_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        let events = fixture::events();
        let reading = Reading::of_log(&logged(dir.path(), &events), Vec::new()).unwrap();
        let held = RunModel::from_events(&events);
        for (place, cell) in held.cells.iter().enumerate() {
            let outline = &reading.outline.cells[place];
            assert!(outline.log.is_empty());
            assert!(outline.attempts.iter().flat_map(|one| &one.findings).all(|(_, f)| !f.outcome.passed()));
            assert_eq!(format!("{:?}", reading.whole(place).unwrap().unwrap()), format!("{cell:?}"));
        }
        assert!(reading.whole(held.cells.len()).unwrap().is_none());
    }

    #[test]
    fn half_of_a_last_line_is_dropped_and_half_of_another_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = logged(dir.path(), &fixture::events());
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"seq\":3,\"at")).unwrap();
        assert!(Reading::of_log(&path, Vec::new()).is_ok());
        let lines: Vec<&str> = whole.lines().collect();
        std::fs::write(&path, format!("{}\n{{\"seq\":3,\"at\n{}\n", lines[0], lines[1])).unwrap();
        let error = Reading::of_log(&path, Vec::new()).unwrap_err().to_string();
        assert!(error.contains("events.jsonl:2: not an event"), "{error}");
    }
}
