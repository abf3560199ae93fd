//! What whoever started the process reads without opening a report: the pod's termination message, and
//! Tekton's Task results.

use std::path::{Path, PathBuf};

use super::Stop;
use super::args::TellArgs;
use crate::report::RunModel;
use crate::report::brief;

/// Where a kubelet looks unless the pod says otherwise; it makes the file before the container starts.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Names of result files.
const NAMES: [&str; 13] = [
    "run",
    "verdict",
    "exit-code",
    "total",
    "passed",
    "failed",
    "errored",
    "blocked",
    "skipped",
    "interrupted",
    "flaky",
    "leftovers",
    "results",
];

/// Checked before the run, written after it.
pub struct Tell {
    termination: Option<PathBuf>,
    files: Vec<(String, PathBuf)>,
}

impl Tell {
    pub fn new(args: &TellArgs) -> Result<Self, Stop> {
        let default = || Some(PathBuf::from(TERMINATION_LOG)).filter(|path| path.exists());
        let termination = args.termination_message.clone().or_else(default);
        let mut files = Vec::new();
        for text in &args.result_file {
            match text.split_once('=') {
                Some((name, path)) if NAMES.contains(&name) && !path.is_empty() => {
                    files.push((name.to_owned(), PathBuf::from(path)));
                }
                _ => {
                    let known = NAMES.join(", ");
                    return Err(Stop::usage(format!("--result-file {text}: write NAME=PATH, NAME one of {known}")));
                }
            }
        }
        Ok(Self { termination, files })
    }

    /// Tells of a run that has its reports in `dir`, all but those `unwritten`, and ends with `code`.
    pub fn run(&self, model: &RunModel, dir: &Path, code: u8, unwritten: &[String]) {
        let mut text: String = unwritten.iter().map(|why| format!("{why}\n")).collect();
        text.push_str(&brief::text(model, dir));
        self.terminate(&brief::bounded(&text));
        for (name, path) in &self.files {
            // No newline: Tekton would make it a part of the value.
            put(path, &value(model, dir, code, name));
        }
    }

    /// Tells why there was no run.
    pub fn stopped(&self, stop: &Stop) {
        self.terminate(&brief::bounded(&format!("error: {}\n", stop.message)));
    }

    fn terminate(&self, text: &str) {
        if let Some(path) = &self.termination {
            // Shown by `kubectl describe`, raw.
            put(path, &crate::api::text::lines(text));
        }
    }
}

/// Written in place: the kubelet's file is a mount, which can't be replaced.
fn put(path: &Path, text: &str) {
    if let Err(error) = std::fs::write(path, text) {
        super::show::err(format_args!("warning: failed to write {}: {error}", path.display()));
    }
}

fn value(model: &RunModel, dir: &Path, code: u8, name: &str) -> String {
    let counts = model.counts();
    let end = model.end.as_ref();
    match name {
        "run" => model.run_name().to_owned(),
        "verdict" => end.map_or("interrupted", |end| end.verdict.name()).to_owned(),
        "exit-code" => code.to_string(),
        "total" => counts.total.to_string(),
        "passed" => counts.passed.to_string(),
        "failed" => counts.failed.to_string(),
        "errored" => counts.errored.to_string(),
        "blocked" => counts.blocked.to_string(),
        "skipped" => counts.skipped.to_string(),
        "interrupted" => counts.interrupted.to_string(),
        "flaky" => counts.flaky.to_string(),
        "leftovers" => model.leftovers.len().to_string(),
        _ => dir.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_was_not_written_is_told_first_and_the_code_is_the_process_s() {
        let dir = tempfile::tempdir().unwrap();
        let (message, code) = (dir.path().join("message"), dir.path().join("code"));
        let tell = Tell { termination: Some(message.clone()), files: vec![("exit-code".to_owned(), code.clone())] };
        tell.run(&RunModel::default(), dir.path(), 3, &["failed to write the report junit.xml".to_owned()]);
        let told = std::fs::read_to_string(message).unwrap();
        assert!(told.starts_with("failed to write the report junit.xml\n"), "{told}");
        assert_eq!(std::fs::read_to_string(code).unwrap(), "3");
    }
}
