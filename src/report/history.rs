//! Many runs of the same cells: what is new, known, fixed, flaky or slower than it used to be.
//!
//! Reads `run.json` of the runs in a results directory (never their event logs: a volume holds many nights).
//! Knows nothing of how a run is made. A run that can't be read is named, not passed over in silence. Cells
//! that were skipped or interrupted, or that another shard ran, prove nothing and are no part of a history.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{CellModel, RunModel, StageModel};
use super::{ReportError, files};
use crate::api::names::RunId;
use crate::event::{Finding, Outcome, Stage, Verdict};

/// Durations of earlier passes that say what is usual; fewer say nothing.
const ENOUGH: usize = 5;
/// A pass is slow when it took longer than the 95th percentile of earlier ones, by this factor at least.
const SLOWER: f64 = 1.2;
/// A failing check, or a failing stage, in the form that is the same every night.
pub type Failing = String;

/// One cell of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Past {
    pub verdict: Verdict,
    pub flaky: bool,
    pub duration_ms: i64,
    /// Checks that failed, else the stage that did.
    pub failing: Vec<Failing>,
    /// Milliseconds of each stage, in order.
    pub stages: Vec<(Stage, i64)>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Night {
    pub run: String,
    pub dir: PathBuf,
    #[serde(serialize_with = "as_text")]
    pub started: Timestamp,
    pub mtv_version: Option<String>,
    pub verdict: Verdict,
    /// By the cell's id (`profile/scenario`, with the storage class where a run has several).
    pub cells: BTreeMap<String, Past>,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// The runs of a results directory, oldest first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct History {
    pub nights: Vec<Night>,
    /// Directories with a run that could not be read, with the reason.
    pub unread: Vec<(PathBuf, String)>,
}

/// Where a cell stands in its history.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// Did not pass, and did when it last ran; or never ran before.
    New { ran_before: bool },
    /// Has not passed for `nights` runs in a row, this one included.
    Known {
        nights: usize,
        #[serde(serialize_with = "as_text")]
        since: Timestamp,
    },
    /// Passed, and did not when it last ran.
    Fixed { after: usize },
    /// Passed, `streak` times in a row.
    Passing { streak: usize },
}

/// What earlier runs say of one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellHistory {
    pub id: String,
    #[serde(flatten)]
    pub standing: Standing,
    /// How many runs it ran in, this one included.
    pub runs: usize,
    /// Of those that passed, how many only after a retry; 0 to 1.
    pub flaky_rate: f64,
    /// This run's pass took longer than usual: milliseconds now, and the 95th percentile before.
    pub slower: Option<(i64, i64)>,
}

/// Neither blocked, skipped nor interrupted: the cell says something about MTV or its environment.
fn proves(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Passed | Verdict::Failed | Verdict::Errored => true,
        Verdict::Blocked | Verdict::Skipped | Verdict::Interrupted => false,
    }
}

/// The 95th percentile of sorted numbers, by the nearest rank.
fn p95(sorted: &[i64]) -> Option<i64> {
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

impl Night {
    /// A run that has just been folded.
    pub fn of(model: &RunModel, dir: &Path) -> Self {
        let cells = model.cells.iter().filter(|cell| proves(cell.final_verdict()));
        Self {
            run: model.run_name().to_owned(),
            dir: dir.to_owned(),
            started: model.started.unwrap_or_default(),
            mtv_version: model.environment.mtv_version.clone(),
            verdict: model.end.as_ref().map_or(Verdict::Interrupted, |end| end.verdict),
            cells: cells.map(|cell| (cell.name().to_owned(), Past::of(cell))).collect(),
        }
    }
}

impl Past {
    fn of(cell: &CellModel) -> Self {
        let stages = cell.deciding().map(|attempt| attempt.stages.as_slice()).unwrap_or_default();
        Self {
            verdict: cell.final_verdict(),
            flaky: cell.flaky(),
            duration_ms: cell.milliseconds(),
            failing: failing(cell.findings(), stages),
            stages: stages
                .iter()
                .map(|stage| (stage.stage, super::model::span(Some(stage.started), stage.ended)))
                .collect(),
        }
    }
    fn bad(&self) -> bool {
        self.verdict != Verdict::Passed
    }
}

/// What failed, in words that are the same every night.
pub(super) fn failing<'a>(findings: impl Iterator<Item = &'a Finding>, stages: &[StageModel]) -> Vec<Failing> {
    let mut checks: Vec<String> = findings
        .filter(|finding| matches!(finding.outcome, Outcome::Failed { .. }))
        .map(|finding| finding.check.clone())
        .collect();
    checks.sort();
    checks.dedup();
    if checks.is_empty() {
        let bad = |stage: &&StageModel| stage.verdict.is_some_and(|verdict| verdict != Verdict::Passed);
        checks.extend(stages.iter().find(bad).map(|stage| stage.stage.name().to_owned()));
    }
    checks
}

/// `run.json`, as far as histories need it.
#[derive(Deserialize)]
struct RunFile {
    run: String,
    verdict: Verdict,
    started: Option<Timestamp>,
    #[serde(default)]
    environment: EnvironmentFile,
    #[serde(default)]
    cells: Vec<CellFile>,
}

#[derive(Deserialize, Default)]
struct EnvironmentFile {
    #[serde(default)]
    mtv_version: Option<String>,
}

#[derive(Deserialize)]
struct CellFile {
    id: String,
    verdict: Verdict,
    #[serde(default)]
    flaky: bool,
    #[serde(default)]
    duration_ms: i64,
    #[serde(default)]
    failing: Vec<String>,
    #[serde(default)]
    stages: Vec<StageFile>,
}

#[derive(Deserialize)]
struct StageFile {
    stage: Stage,
    duration_ms: i64,
}

/// One run's `run.json`. `Ok(None)`: it has none, because it still runs or was killed.
pub fn read_night(dir: &Path) -> Result<Option<Night>, ReportError> {
    let path = dir.join("run.json");
    let fail = |source| ReportError::Read { path: path.clone(), source };
    let Some(text) = files::read(&path).map_err(fail)? else { return Ok(None) };
    let file: RunFile = serde_json::from_slice(&text).map_err(|error| fail(error.into()))?;
    let cells = file.cells.into_iter().filter(|cell| proves(cell.verdict)).map(|cell| {
        let stages = cell.stages.into_iter().map(|stage| (stage.stage, stage.duration_ms)).collect();
        let past = Past {
            verdict: cell.verdict,
            flaky: cell.flaky,
            duration_ms: cell.duration_ms,
            failing: cell.failing,
            stages,
        };
        (cell.id, past)
    });
    Ok(Some(Night {
        run: file.run,
        dir: dir.to_owned(),
        started: file.started.unwrap_or_default(),
        mtv_version: file.environment.mtv_version,
        verdict: file.verdict,
        cells: cells.collect(),
    }))
}

impl History {
    /// The runs in a results directory, `last` of them at most (0: all). Links such as `latest` are passed over.
    pub fn read(results: &Path, last: usize) -> Result<Self, ReportError> {
        let fail = |source| ReportError::Read { path: results.to_owned(), source };
        let mut history = Self::default();
        let named = |dir: &PathBuf| dir.file_name().and_then(|name| RunId::parse(name.to_str()?)).is_some();
        for dir in files::directories(results).map_err(fail)?.into_iter().filter(named) {
            match read_night(&dir) {
                Ok(night) => history.nights.extend(night),
                Err(error) => history.unread.push((dir, error.to_string())),
            }
        }
        history.nights.sort_by(|a, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
        if last > 0 && history.nights.len() > last {
            history.nights.drain(..history.nights.len() - last);
        }
        history.unread.sort();
        Ok(history)
    }

    /// The runs beside `dir`, for the report of the run in it; empty where `dir` isn't a run's directory.
    pub fn beside(dir: &Path) -> Self {
        let dir = files::real(dir).ok();
        let name = dir.as_ref().and_then(|dir| dir.file_name()?.to_str().map(str::to_owned));
        let results = dir.as_ref().and_then(|dir| dir.parent());
        match (name, results) {
            (Some(name), Some(results)) if RunId::parse(&name).is_some() => {
                Self::read(results, 60).unwrap_or_default().before(&name)
            }
            _ => Self::default(),
        }
    }

    /// Without the run of that name and all that began after it.
    fn before(mut self, run: &str) -> Self {
        let at = self.nights.iter().find(|night| night.run == run).map(|night| night.started);
        self.nights.retain(|night| night.run != run && at.is_none_or(|at| night.started < at));
        self
    }

    /// What the nights say of one cell of `night`, the nights being those before it. `None`: the cell proves
    /// nothing in that night.
    pub fn of(&self, id: &str, now: &Past) -> CellHistory {
        let before: Vec<(&Night, &Past)> =
            self.nights.iter().rev().filter_map(|night| night.cells.get(id).map(|past| (night, past))).collect();
        let streak = before.iter().take_while(|(_, past)| past.bad() == now.bad());
        let standing = match (now.bad(), before.first()) {
            (true, None) => Standing::New { ran_before: false },
            (true, Some((_, last))) if !last.bad() => Standing::New { ran_before: true },
            (true, Some(_)) => {
                let streak: Vec<_> = streak.collect();
                let since = streak.last().map_or(Timestamp::UNIX_EPOCH, |(night, _)| night.started);
                Standing::Known { nights: streak.len() + 1, since }
            }
            (false, Some((_, last))) if last.bad() => {
                Standing::Fixed { after: before.iter().take_while(|(_, past)| past.bad()).count() }
            }
            (false, _) => Standing::Passing { streak: streak.count() + 1 },
        };
        let passed: Vec<&Past> = before.iter().map(|(_, past)| *past).chain([now]).filter(|past| !past.bad()).collect();
        let flaky = passed.iter().filter(|past| past.flaky).count();
        let mut usual: Vec<i64> =
            before.iter().filter(|(_, past)| !past.bad() && !past.flaky).map(|(_, past)| past.duration_ms).collect();
        usual.sort_unstable();
        let slower = p95(&usual)
            .filter(|p95| usual.len() >= ENOUGH && !now.bad() && now.duration_ms as f64 > *p95 as f64 * SLOWER);
        CellHistory {
            id: id.to_owned(),
            standing,
            runs: before.len() + 1,
            flaky_rate: if passed.is_empty() { 0.0 } else { flaky as f64 / passed.len() as f64 },
            slower: slower.map(|p95| (now.duration_ms, p95)),
        }
    }

    /// Where each cell of a run stands; empty where no earlier run says something.
    pub fn of_all(&self, model: &RunModel) -> BTreeMap<String, CellHistory> {
        if self.nights.is_empty() {
            return BTreeMap::new();
        }
        let now = Night::of(model, Path::new(""));
        now.cells.iter().map(|(id, past)| (id.clone(), self.of(id, past))).collect()
    }

    /// What earlier runs say of a run as a whole: `1 new, 2 known since 2026-11-21, 1 fixed`; empty where they say
    /// nothing of it.
    pub fn summary(&self, model: &RunModel) -> String {
        let all = self.of_all(model);
        let fixed = all.values().filter(|cell| matches!(cell.standing, Standing::Fixed { .. })).count();
        let told = told(all.keys().map(String::as_str), &all);
        let parts = [Some(told).filter(|told| !told.is_empty()), (fixed > 0).then(|| format!("{fixed} fixed"))];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Where every cell of the newest night stands; empty where there is no night.
    pub fn standings(&self) -> Vec<CellHistory> {
        let Some((newest, before)) = self.nights.split_last() else { return Vec::new() };
        let earlier = Self { nights: before.to_vec(), unread: Vec::new() };
        newest.cells.iter().map(|(id, past)| earlier.of(id, past)).collect()
    }
}

/// Of these cells `1 new, 2 known since 2026-11-21`.
pub(super) fn told<'a>(cells: impl Iterator<Item = &'a str>, histories: &BTreeMap<String, CellHistory>) -> String {
    let (mut new, mut known, mut since) = (0usize, 0usize, None::<Timestamp>);
    for cell in cells {
        match histories.get(cell).map(|history| &history.standing) {
            Some(Standing::New { .. }) => new += 1,
            Some(Standing::Known { since: from, .. }) => {
                known += 1;
                since = Some(since.map_or(*from, |since| since.min(*from)));
            }
            Some(Standing::Fixed { .. } | Standing::Passing { .. }) | None => {}
        }
    }
    let known = since.map(|since| format!("{known} known since {}", since.strftime("%Y-%m-%d")));
    [(new > 0).then(|| format!("{new} new")), known].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New { ran_before: true } => f.write_str("new"),
            Self::New { ran_before: false } => f.write_str("new (ran for the first time)"),
            Self::Known { nights, since } => {
                write!(f, "known for {nights} nights, since {}", since.strftime("%Y-%m-%d"))
            }
            Self::Fixed { after: 1 } => f.write_str("fixed after 1 night"),
            Self::Fixed { after } => write!(f, "fixed after {after} nights"),
            Self::Passing { streak: 1 } => f.write_str("passed"),
            Self::Passing { streak } => write!(f, "passed {streak} times in a row"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(verdict: Verdict, duration_ms: i64) -> Past {
        Past { verdict, flaky: false, duration_ms, failing: Vec::new(), stages: Vec::new() }
    }

    /// Nights of one cell, a day apart.
    fn nights(verdicts: &[Verdict]) -> History {
        let night = |(day, verdict): (i64, &Verdict)| Night {
            run: format!("mm-night{day}"),
            dir: PathBuf::new(),
            started: Timestamp::from_second(day * 86_400).unwrap(),
            mtv_version: None,
            verdict: *verdict,
            cells: BTreeMap::from([("v/cold".to_owned(), past(*verdict, 1_000))]),
        };
        History { nights: (0..).zip(verdicts).map(night).collect(), unread: Vec::new() }
    }

    #[test]
    fn new_known_fixed_and_passing_come_out_by_the_nights_before() {
        use Verdict::{Errored, Failed, Passed};
        let standing = |before: &[Verdict], now| nights(before).of("v/cold", &past(now, 1_000)).standing.to_string();
        assert_eq!(standing(&[], Passed), "passed");
        assert_eq!(standing(&[], Failed), "new (ran for the first time)");
        assert_eq!(standing(&[Passed, Passed], Failed), "new");
        assert_eq!(standing(&[Passed, Failed, Errored], Failed), "known for 3 nights, since 1970-01-02");
        assert_eq!(standing(&[Failed, Passed, Failed], Failed), "known for 2 nights, since 1970-01-03");
        assert_eq!(standing(&[Passed, Failed, Failed], Passed), "fixed after 2 nights");
        assert_eq!(standing(&[Failed, Passed, Passed], Passed), "passed 3 times in a row");
    }

    #[test]
    fn a_pass_is_slow_only_beside_enough_others_and_well_beyond_them() {
        let enough = nights(&[Verdict::Passed; 6]);
        assert_eq!(enough.of("v/cold", &past(Verdict::Passed, 1_500)).slower, Some((1_500, 1_000)));
        assert_eq!(enough.of("v/cold", &past(Verdict::Passed, 1_100)).slower, None);
        let few = nights(&[Verdict::Passed; 3]);
        assert_eq!(few.of("v/cold", &past(Verdict::Passed, 9_000)).slower, None);
    }

    #[test]
    fn a_run_that_cannot_be_read_is_named_and_the_others_count() {
        let results = tempfile::tempdir().unwrap();
        let dir = |name: &str| results.path().join(name);
        for name in ["mm-aaaaaaaaaa", "mm-bbbbbbbbbb", "mm-cccccccccc", "artifacts"] {
            std::fs::create_dir(dir(name)).unwrap();
        }
        crate::report::write_all(
            &dir("mm-aaaaaaaaaa"),
            &crate::report::Reading::of_events(&crate::report::fixture::events()),
        );
        std::fs::write(dir("mm-bbbbbbbbbb").join("run.json"), "{").unwrap();
        let history = History::read(results.path(), 0).unwrap();
        assert_eq!(history.nights.len(), 1);
        assert_eq!(history.unread.len(), 1);
        assert!(history.unread[0].1.contains("run.json"), "{:?}", history.unread);
        let broken = &history.nights[0].cells["vsphere/broken"];
        assert_eq!(broken.failing, ["disk-count"]);
        assert!(!history.nights[0].cells.contains_key("vsphere/warm"), "a skipped cell proves nothing");
    }
}
