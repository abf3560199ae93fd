//! Reports: folds over events, and nothing else.
//!
//! Floor 2. Knows `event` (and the names inside events). The disk is `files.rs`'s, for all of them. It does not know the engine: a live run
//! and `mtv-matrix report` on an old `events.jsonl` render through the same functions.

pub mod brief;
mod cause;
pub mod compare;
pub mod console;
mod display;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
pub mod history;
pub mod html;
pub mod junit;
pub mod live;
pub mod log;
pub mod merge;
pub mod metrics;
pub mod model;
pub mod reading;
pub mod rerun;
pub mod summary;
pub mod trace;
mod waiting;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use crate::event::Event;
use files::FillError;

pub use history::History;
pub use model::RunModel;
pub use reading::Reading;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("failed to write the report {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("failed to read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to write to the console: {0}")]
    Console(#[from] std::io::Error),
    #[error("failed to render {what}: {message}")]
    Render { what: &'static str, message: String },
    #[error(transparent)]
    Log(#[from] log::EventLogError),
}

/// Something that watches a run, one event at a time.
pub trait Reporter: Send {
    fn event(&mut self, event: &Event);
    /// Somebody at the terminal wants to know what is waited for.
    fn asked(&mut self) {}
    /// Called once, after the last event.
    fn finish(&mut self) -> Result<(), ReportError>;
}

/// Which reports there are now, and why others are not.
#[derive(Debug, Default)]
pub struct Written {
    pub files: Vec<PathBuf>,
    pub unwritten: Vec<ReportError>,
}

/// Writes every report of a run into `dir`; each file appears whole or not at all, and none waits for another: a
/// volume without room for the trace still holds the JUnit file.
pub fn write_all(dir: &Path, run: &Reading) -> Written {
    write_all_with(dir, run, None)
}

/// [`write_all`] with the spans of [`live::Live::take`] after those that events give.
pub fn write_all_with(dir: &Path, run: &Reading, live: Option<&mut live::Taken>) -> Written {
    write_files(dir, run, |out| {
        trace::write(&run.outline, out)?;
        live.map_or(Ok(()), |live| live.write(&run.outline, out))
    })
}

/// [`write_all`], but a `traces.jsonl` that is there and tells more than the events stays: spans of single
/// requests are not events.
pub fn write_again(dir: &Path, run: &Reading) -> Written {
    let there = dir.join("traces.jsonl");
    let richer = files::open(&there).is_ok_and(|lines| trace::more_than(trace::made(&run.outline), lines.lines()));
    write_files(dir, run, |out| match files::open(&there) {
        Ok(lines) if richer => trace::place(&run.outline, lines.lines(), None, out),
        _ => trace::write(&run.outline, out),
    })
}

/// The small ones that machines read come first.
fn write_files(dir: &Path, run: &Reading, traces: impl FnOnce(&mut dyn Write) -> Result<(), FillError>) -> Written {
    let model = &run.outline;
    let mut all = Written::default();
    let mut note = |written| match written {
        Ok(path) => all.files.push(path),
        Err(error) => all.unwritten.push(error),
    };
    note(fill(&dir.join("junit.xml"), |out| junit::write(run, out)));
    note(fill(&dir.join("run.json"), |out| summary::write(model, out)));
    note(write_atomically(&dir.join("metrics.prom"), metrics::render(model).as_bytes()));
    note(fill(&dir.join("report.html"), |out| html::write(run, &History::beside(dir), out)));
    note(fill(&dir.join("traces.jsonl"), traces));
    all
}

/// `index.html` of a results directory: a line a cell, a column a run.
pub fn write_index(results: &Path, history: &History) -> Result<PathBuf, ReportError> {
    write_atomically(&results.join("index.html"), html::render_index(history)?.as_bytes())
}

fn write_atomically(path: &Path, content: &[u8]) -> Result<PathBuf, ReportError> {
    files::write(path, content).map_err(|source| ReportError::Write { path: path.to_owned(), source })?;
    Ok(path.to_owned())
}

/// [`write_atomically`], piece by piece.
fn fill(path: &Path, pieces: impl FnOnce(&mut dyn Write) -> Result<(), FillError>) -> Result<PathBuf, ReportError> {
    files::write_with(path, pieces).map_err(|error| match error {
        FillError::Make(error) => error,
        FillError::Write(source) => ReportError::Write { path: path.to_owned(), source },
    })?;
    Ok(path.to_owned())
}

/// `1m 05s`, `4.2s`, `2h 03m`.
pub(crate) fn duration_text(milliseconds: i64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        s if s >= 3600 => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
        s if s >= 60 => format!("{}m {:02}s", s / 60, s % 60),
        s => format!("{s}.{}s", milliseconds % 1000 / 100),
    }
}

/// `1 cell`, `2 cells`.
fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Text from a cluster must not steer the terminal.
fn plain(text: &str) -> String {
    crate::api::text::line(&::console::strip_ansi_codes(text)).into_owned()
}

/// `13m`, `2h 05m`: for what is estimated.
pub(crate) fn whole_minutes(span: std::time::Duration) -> String {
    let minutes = span.as_secs().div_ceil(60);
    if minutes >= 60 { format!("{}h {:02}m", minutes / 60, minutes % 60) } else { format!("{minutes}m") }
}

/// Characters that turn the direction of the text around them: a reader would see another text.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text without terminal escapes, without overrides of the writing direction and without characters that XML 1.0
/// forbids.
pub(crate) fn clean(text: &str) -> String {
    // Nearly every text is: a report of ten thousand cells asks a million times.
    if text.bytes().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')) {
        return text.to_owned();
    }
    let plain = ::console::strip_ansi_codes(text);
    plain
        .chars()
        .filter(|c| !turns(*c))
        .filter(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Reading {
        Reading::of_events(&fixture::events())
    }

    #[test]
    fn all_reports_are_written_and_no_temporary_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let written = write_all(dir.path(), &run());
        assert_eq!((written.files.len(), written.unwritten.len()), (5, 0));
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["junit.xml", "metrics.prom", "report.html", "run.json", "traces.jsonl"]);
    }

    #[test]
    fn rendering_again_from_the_event_log_gives_the_same_bytes_without_the_live_spans() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_all_with(first.path(), &run(), Some(&mut live::fixture()));
        write_all(second.path(), &run());
        let read = |dir: &tempfile::TempDir, name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        for name in ["junit.xml", "run.json", "report.html"] {
            assert_eq!(read(&first, name), read(&second, name), "{name}");
        }
        let (live, plain) = (read(&first, "traces.jsonl"), read(&second, "traces.jsonl"));
        assert!(live.strip_prefix(&plain).is_some_and(|more| more.contains("GET /outside")), "{live}");
    }

    #[test]
    fn rendering_again_keeps_a_trace_that_tells_more_and_replaces_one_that_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("traces.jsonl");
        write_all_with(dir.path(), &run(), Some(&mut live::fixture()));
        write_again(dir.path(), &run());
        let more = std::fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
        assert!(more.contains("GET /outside"), "{more}");
        std::fs::write(&path, &more).unwrap();
        write_again(dir.path(), &run());
        assert!(!std::fs::read_to_string(&path).unwrap().contains("GET /outside"));
    }

    #[test]
    fn a_report_that_can_not_be_written_keeps_no_other_from_its_place() {
        let dir = tempfile::tempdir().unwrap();
        // A directory in its place can't be replaced by a file.
        std::fs::create_dir_all(dir.path().join("run.json/x")).unwrap();
        let written = write_all(dir.path(), &run());
        assert_eq!((written.files.len(), written.unwritten.len()), (4, 1));
        assert!(written.unwritten[0].to_string().contains("run.json"), "{}", written.unwritten[0]);
        let stray = std::fs::read_dir(dir.path()).unwrap().flatten();
        assert_eq!(stray.filter(|e| e.file_name().to_string_lossy().ends_with(".tmp")).count(), 0);
    }

    #[test]
    fn escapes_and_forbidden_characters_are_dropped() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m \u{0}\u{8}ok\u{fffe}"), "red ok");
        assert_eq!(clean("vm\u{202e}gnp.exe\u{2066}"), "vmgnp.exe");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration_text(4_250), "4.2s");
        assert_eq!(duration_text(65_000), "1m 05s");
        assert_eq!(duration_text(7_380_000), "2h 03m");
    }
}
