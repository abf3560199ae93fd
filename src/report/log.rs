//! `events.jsonl`: writing it as a run goes, reading it back for a report, and following it from outside.

use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{self, File};
use crate::api::names::CellId;
use crate::event::{Event, EventKind, Finding, Outcome, Problem, SCHEMA, Stage, Verdict, VmProgress};

/// Why an event log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    #[error("failed to write the event log {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("failed to read the event log {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: not an event: {source}")]
    Parse { path: PathBuf, line: usize, source: serde_json::Error },
    #[error(
        "{path} has event schema {found}; this mtv-matrix reads schema {SCHEMA}: use the version that wrote it, or a newer one"
    )]
    Schema { path: PathBuf, found: u32 },
}

/// Appends events to a file, one JSON object a line.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
    /// Of whole lines, in bytes.
    length: u64,
}

impl EventWriter {
    /// Creates the file; an existing one is an error, because a run id is used once.
    pub fn create(path: &Path) -> Result<Self, EventLogError> {
        let file = files::create_log(path).map_err(|source| EventLogError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, length: 0 })
    }

    /// Writes one line in one call, so that a reader never sees half of it followed by another.
    pub fn append(&mut self, event: &Event) -> Result<(), EventLogError> {
        let mut line = serde_json::to_vec(event).map_err(|e| self.write_error(e.into()))?;
        line.push(b'\n');
        let written = self.file.write_all(&line);
        match written {
            Ok(()) => self.length += line.len() as u64,
            // A full volume took a part of the line: what comes when there is room again must not be glued to it.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written.map_err(|e| self.write_error(e))
    }

    fn write_error(&self, source: std::io::Error) -> EventLogError {
        EventLogError::Write { path: self.path.clone(), source }
    }
}

/// `run-started` alone: which run it is. `None`: the run did not come so far.
pub fn read_started(path: &Path) -> Result<Option<Event>, EventLogError> {
    /// A signal may come before the start is told, and what an earlier try of the same shard left.
    const AMONG: usize = 64;
    let read_error = |source| EventLogError::Read { path: path.to_owned(), source };
    let reader = files::open(path).map_err(read_error)?;
    for (number, line) in reader.lines().take(AMONG).enumerate() {
        let parsed = serde_json::from_str::<Event>(&line.map_err(read_error)?);
        let parse_error = |source| EventLogError::Parse { path: path.to_owned(), line: number + 1, source };
        let event = parsed.map_err(parse_error)?;
        if matches!(event.kind, EventKind::RunStarted { .. }) {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// The name of a line's event, which our writer puts among its first fields; `None`: it is not there.
pub(super) fn event_name(line: &[u8]) -> Option<&str> {
    const BEFORE: usize = 96;
    const TAG: &[u8] = br#""event":""#;
    let head = line.get(..BEFORE).unwrap_or(line);
    let at = head.windows(TAG.len()).position(|part| part == TAG)? + TAG.len();
    let name = head.get(at..)?.split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(name).ok()
}

/// A line of the kinds that nearly all of a log are, field by field: serde holds what is flattened or told by a tag as
/// a tree before it reads it, three times for each check.
#[derive(Deserialize)]
struct UsualLine<'a> {
    seq: u64,
    at: jiff::Timestamp,
    event: &'a str,
    cell: CellId,
    attempt: u32,
    stage: Option<Stage>,
    verdict: Option<Verdict>,
    problem: Option<Problem>,
    vms: Option<Vec<VmProgress>>,
    #[serde(borrow)]
    finding: Option<FindingLine<'a>>,
}

#[derive(Deserialize)]
struct FindingLine<'a> {
    check: String,
    vm: String,
    subject: Option<String>,
    outcome: &'a str,
    actual: Option<String>,
    expected: Option<String>,
    because: Option<String>,
}

impl UsualLine<'_> {
    /// `None`: the line is another, or one that must be read as any other.
    fn event(line: &[u8]) -> Option<Event> {
        const USUAL: [&str; 4] = ["check-finished", "progress", "stage-started", "stage-finished"];
        let told = event_name(line).filter(|name| USUAL.contains(name))?;
        let read = serde_json::from_slice::<UsualLine<'_>>(line).ok()?;
        let UsualLine { seq, at, cell, attempt, problem, .. } = read;
        let kind = match read.event {
            "check-finished" => EventKind::CheckFinished { cell, attempt, finding: read.finding?.finding()? },
            "progress" => EventKind::Progress { cell, attempt, vms: read.vms? },
            "stage-started" => EventKind::StageStarted { cell, attempt, stage: read.stage? },
            "stage-finished" => {
                EventKind::StageFinished { cell, attempt, stage: read.stage?, verdict: read.verdict?, problem }
            }
            _ => return None,
        };
        (read.event == told).then_some(Event { seq, at, kind })
    }
}

impl FindingLine<'_> {
    fn finding(self) -> Option<Finding> {
        let outcome = match self.outcome {
            "passed" => Outcome::Passed { actual: self.actual? },
            "failed" => Outcome::Failed { expected: self.expected?, actual: self.actual? },
            "not-judged" => Outcome::NotJudged { because: self.because? },
            _ => return None,
        };
        Some(Finding { check: self.check, vm: self.vm, subject: self.subject, outcome })
    }
}

/// The event of a line.
pub(super) fn event_of(line: &[u8], path: &Path, number: usize) -> Result<Event, EventLogError> {
    if let Some(event) = UsualLine::event(line) {
        return Ok(event);
    }
    let parsed = serde_json::from_slice::<Event>(line);
    let event = parsed.map_err(|source| EventLogError::Parse { path: path.to_owned(), line: number, source })?;
    match event.kind {
        EventKind::RunStarted { schema, .. } if schema > SCHEMA => {
            Err(EventLogError::Schema { path: path.to_owned(), found: schema })
        }
        _ => Ok(event),
    }
}

/// The log of a run that may still go on: each whole line once, as it comes.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes of the lines that were read. What lies behind them is read anew each time: half of a line may be cut
    /// off again by whoever writes it.
    read: u64,
    lines: usize,
}

impl Follower {
    pub fn open(path: &Path) -> Result<Self, EventLogError> {
        let file = files::open(path).map_err(|source| EventLogError::Read { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, read: 0, lines: 0 })
    }

    /// What was written since it was asked last.
    pub fn news(&mut self) -> Result<Vec<Event>, EventLogError> {
        let path = self.path.clone();
        let read_error = |source| EventLogError::Read { path: path.clone(), source };
        self.file.seek(SeekFrom::Start(self.read)).map_err(read_error)?;
        let mut events = Vec::new();
        let mut line = Vec::new();
        while self.file.read_until(b'\n', &mut line).map_err(read_error)? > 0 && line.ends_with(b"\n") {
            self.lines += 1;
            self.read += line.len() as u64;
            if !line.trim_ascii().is_empty() {
                events.push(event_of(&line, &self.path, self.lines)?);
            }
            line.clear();
        }
        Ok(events)
    }
}

/// Takes a log line by line, with its number and its end. A last line without an end that is no event is what a killed
/// run leaves, and is dropped. Gives the file back.
pub(super) fn each_line(
    path: &Path,
    mut line: impl FnMut(&[u8], usize) -> Result<(), EventLogError>,
) -> Result<File, EventLogError> {
    let read_error = |source| EventLogError::Read { path: path.to_owned(), source };
    let mut reader = files::open(path).map_err(read_error)?;
    let mut text = Vec::new();
    let mut number = 0;
    while reader.read_until(b'\n', &mut text).map_err(read_error)? > 0 {
        number += 1;
        match line(&text, number) {
            Err(EventLogError::Parse { .. }) if !text.ends_with(b"\n") => break,
            taken => taken?,
        }
        text.clear();
    }
    Ok(reader.into_inner())
}

/// Reads a whole log, as [`each_line`] does.
pub fn read_events(path: &Path) -> Result<Vec<Event>, EventLogError> {
    let mut events = Vec::new();
    each_line(path, |line, number| {
        if !line.trim_ascii().is_empty() {
            events.push(event_of(line, path, number)?);
        }
        Ok(())
    })?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;

    fn note(seq: u64) -> Event {
        Event {
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            kind: EventKind::Note { cell: None, level: Level::Info, message: format!("line {seq}") },
        }
    }

    #[test]
    fn what_was_written_is_read_back_and_a_torn_last_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut writer = EventWriter::create(&path).unwrap();
        writer.append(&note(1)).unwrap();
        writer.append(&note(2)).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"{\"seq\":3,\"at").unwrap();
        assert_eq!(read_events(&path).unwrap(), vec![note(1), note(2)]);
    }

    #[test]
    fn what_a_log_is_full_of_is_read_field_by_field_as_any_other_event_is() {
        let outcomes = [
            Outcome::Passed { actual: "2 disks \u{e9} \"quoted\"".to_owned() },
            Outcome::Failed { expected: "1".to_owned(), actual: "\n".to_owned() },
            Outcome::NotJudged { because: "no guest agent".to_owned() },
        ];
        let cell = || CellId::new("vsphere", "cold", None);
        let checks = outcomes.into_iter().zip([None, Some("sda".to_owned()), None]).map(|(outcome, subject)| {
            let finding = Finding { check: "disk-count".to_owned(), vm: "rhel8".to_owned(), subject, outcome };
            EventKind::CheckFinished { cell: cell(), attempt: 2, finding }
        });
        let vms = [VmProgress::default(), VmProgress { percent: Some(50.0), total_mb: Some(7), ..Default::default() }];
        let finished = |verdict, problem| EventKind::StageFinished {
            cell: cell(),
            attempt: 2,
            stage: Stage::Migrate,
            verdict,
            problem,
        };
        let others = [
            EventKind::Progress { cell: cell(), attempt: 2, vms: vms.to_vec() },
            EventKind::StageStarted { cell: cell(), attempt: 2, stage: Stage::StorageMap },
            finished(Verdict::Passed, None),
            finished(Verdict::Errored, Some(Problem::new("\"gone\"").detail("since then").look_at("plan.yaml"))),
        ];
        for kind in checks.chain(others) {
            let event = Event { seq: 7, at: jiff::Timestamp::UNIX_EPOCH, kind };
            let line = serde_json::to_string(&event).unwrap();
            assert_eq!(UsualLine::event(line.as_bytes()).as_ref(), Some(&event));
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
            // What it lacks is told as ever.
            for (field, other) in [("\"attempt\":2,", ""), ("outcome\":\"", "outcome\":\"un"), ("vms\"", "vm\"")] {
                let lacking = line.replace(field, other);
                assert_eq!(event_of(lacking.as_bytes(), Path::new("log"), 1).is_err(), lacking != line, "{lacking}");
            }
        }
        let other = serde_json::to_string(&note(1)).unwrap();
        assert_eq!(UsualLine::event(other.as_bytes()), None);
    }

    #[test]
    fn a_follower_is_told_each_whole_line_once_and_half_a_line_that_is_cut_off_again_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut writer = EventWriter::create(&path).unwrap();
        let mut follower = Follower::open(&path).unwrap();
        assert_eq!(follower.news().unwrap(), []);
        writer.append(&note(1)).unwrap();
        // What a full volume takes of a line, and the writer cuts off when there is room again.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"seq\":9,\"at").unwrap();
        assert_eq!(follower.news().unwrap(), [note(1)]);
        File::options().write(true).open(&path).unwrap().set_len(writer.length).unwrap();
        writer.append(&note(2)).unwrap();
        writer.append(&note(3)).unwrap();
        assert_eq!(follower.news().unwrap(), [note(2), note(3)]);
        assert_eq!(follower.news().unwrap(), []);
    }

    #[test]
    fn a_broken_line_in_the_middle_names_its_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "{\"seq\":1\n{}\n").unwrap();
        let error = read_events(&path).unwrap_err().to_string();
        assert!(error.contains("events.jsonl:1:"), "{error}");
    }
}
