//! Runs beside each other: nights, shards' joined sets, or the same cells against several builds of MTV.
//!
//! Knows what [`history`](super::history) reads of a run. The last run is compared with the first; those between
//! are shown. A stage is told as slower or faster only where it changed by a quarter and by a second at least.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::duration_text;
use super::history::{Night, Past};
use crate::event::{Stage, Verdict};

/// A stage changed when it took this much longer or shorter …
const CHANGED: f64 = 1.25;
/// … and by this many milliseconds.
const CHANGED_MS: i64 = 1_000;

/// What became of a cell between the first run and the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Passed in the first, and not in the last.
    Regression,
    Fixed,
    /// Did not pass in either, but for other reasons.
    OtherFailure,
    /// Ran in the last alone.
    Appeared,
    /// Ran in the first alone.
    Gone,
    Same,
}

impl Change {
    fn name(&self) -> &'static str {
        match self {
            Self::Regression => "REGRESSION",
            Self::Fixed => "fixed",
            Self::OtherFailure => "fails otherwise",
            Self::Appeared => "appeared",
            Self::Gone => "gone",
            Self::Same => "",
        }
    }
}

/// One cell over all runs.
#[derive(Debug, Serialize)]
pub struct Row {
    pub id: String,
    #[serde(flatten)]
    pub change: Change,
    /// A place for each run; `None`: it did not run, or was skipped.
    pub runs: Vec<Option<Past>>,
    /// Stages whose duration changed: milliseconds in the first and in the last.
    pub stages: Vec<(Stage, i64, i64)>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    pub runs: Vec<Column<'a>>,
    pub cells: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub struct Column<'a> {
    pub run: &'a str,
    pub mtv_version: Option<&'a str>,
    pub verdict: Verdict,
}

fn change(first: Option<&Past>, last: Option<&Past>) -> Change {
    match (first, last) {
        (None, None) => Change::Same,
        (None, Some(_)) => Change::Appeared,
        (Some(_), None) => Change::Gone,
        (Some(first), Some(last)) => match (first.verdict, last.verdict) {
            (Verdict::Passed, Verdict::Passed) => Change::Same,
            (Verdict::Passed, _) => Change::Regression,
            (_, Verdict::Passed) => Change::Fixed,
            (a, b) if a == b && first.failing == last.failing => Change::Same,
            _ => Change::OtherFailure,
        },
    }
}

/// Only passes are compared: a run that failed early is fast.
fn stages(first: Option<&Past>, last: Option<&Past>) -> Vec<(Stage, i64, i64)> {
    let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
    if first.verdict != Verdict::Passed || last.verdict != Verdict::Passed {
        return Vec::new();
    }
    let changed = |(stage, now): &(Stage, i64)| {
        let before = first.stages.iter().find(|(other, _)| other == stage)?.1;
        let (less, more) = (before.min(*now), before.max(*now));
        (more - less >= CHANGED_MS && more as f64 >= less as f64 * CHANGED).then_some((*stage, before, *now))
    };
    last.stages.iter().filter_map(changed).collect()
}

/// The runs in the order given; empty for fewer than two.
pub fn compare(nights: &[Night]) -> Comparison<'_> {
    let ids: BTreeSet<&String> = nights.iter().flat_map(|night| night.cells.keys()).collect();
    let (first, last) = (nights.first(), nights.last());
    let rows = ids.into_iter().map(|id| {
        let of = |night: Option<&Night>| night.and_then(|night| night.cells.get(id)).cloned();
        let (before, now) = (of(first), of(last));
        Row {
            id: id.clone(),
            change: change(before.as_ref(), now.as_ref()),
            stages: stages(before.as_ref(), now.as_ref()),
            runs: nights.iter().map(|night| of(Some(night))).collect(),
        }
    });
    fn column(night: &Night) -> Column<'_> {
        Column { run: &night.run, mtv_version: night.mtv_version.as_deref(), verdict: night.verdict }
    }
    Comparison { cells: rows.collect(), runs: nights.iter().map(column).collect() }
}

impl Comparison<'_> {
    /// Whether some cell passed in the first run and did not in the last.
    pub fn regressed(&self) -> bool {
        self.cells.iter().any(|row| row.change == Change::Regression)
    }

    /// The cells that differ, a line each.
    pub fn names(&self) -> String {
        let differs = |row: &&Row| row.change != Change::Same || !row.stages.is_empty();
        self.cells.iter().filter(differs).map(|row| format!("{}\n", super::clean(&row.id))).collect()
    }

    /// Rows with what changed; all of them where `all` is asked for.
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        for (n, column) in self.runs.iter().enumerate() {
            let mtv = column.mtv_version.unwrap_or("unknown");
            let _ = writeln!(out, "run {}: {} (MTV {mtv}): {}", n + 1, column.run, column.verdict);
        }
        let is_same = |row: &Row| row.change == Change::Same && row.stages.is_empty();
        let rows: Vec<&Row> = self.cells.iter().filter(|row| all || !is_same(row)).collect();
        let wide = rows.iter().map(|row| row.id.len()).max().unwrap_or_default();
        for row in &rows {
            let verdicts: Vec<String> =
                row.runs.iter().map(|past| past.as_ref().map_or("-".to_owned(), told)).collect();
            let name = row.change.name();
            let sign = if name.is_empty() { String::new() } else { format!("  {name}") };
            let _ = writeln!(out, "{:wide$}  {}{sign}", super::clean(&row.id), verdicts.join(" → "));
            for (stage, before, now) in &row.stages {
                let word = if now > before { "slower" } else { "faster" };
                let _ = writeln!(
                    out,
                    "{:wide$}    {stage} {word}: {} → {}",
                    "",
                    duration_text(*before),
                    duration_text(*now)
                );
            }
        }
        let regressions = self.cells.iter().filter(|row| row.change == Change::Regression).count();
        let same = self.cells.iter().filter(|row| is_same(row)).count();
        let plural = if regressions == 1 { "regression" } else { "regressions" };
        let _ = writeln!(out, "{regressions} {plural}; {same} of {} cells are the same", self.cells.len());
        out
    }
}

/// `failed (disk-count)`, `passed`.
fn told(past: &Past) -> String {
    let flaky = if past.flaky { ", flaky" } else { "" };
    match past.failing.as_slice() {
        [] => format!("{}{flaky}", past.verdict),
        failing => format!("{} ({})", past.verdict, super::clean(&failing.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn night(run: &str, cells: &[(&str, Verdict, &[&str], i64)]) -> Night {
        let cells = cells.iter().map(|(id, verdict, failing, migrate)| {
            let past = Past {
                verdict: *verdict,
                flaky: false,
                duration_ms: *migrate,
                failing: failing.iter().map(|one| (*one).to_owned()).collect(),
                stages: vec![(Stage::Migrate, *migrate)],
            };
            ((*id).to_owned(), past)
        });
        Night {
            run: run.to_owned(),
            dir: std::path::PathBuf::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            mtv_version: Some("2.12.5".into()),
            verdict: Verdict::Passed,
            cells: cells.collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn the_last_run_is_held_against_the_first_and_a_regression_is_named() {
        use Verdict::{Failed, Passed};
        let nights = [
            night("mm-a", &[("v/a", Passed, &[], 10_000), ("v/b", Failed, &["cpu"], 1), ("v/c", Failed, &["cpu"], 1)]),
            night(
                "mm-b",
                &[("v/a", Failed, &["disk-count"], 9), ("v/b", Passed, &[], 9), ("v/c", Failed, &["nics"], 1)],
            ),
        ];
        let compared = compare(&nights);
        assert!(compared.regressed());
        let text = compared.text(false);
        assert!(text.contains("v/a  passed → failed (disk-count)  REGRESSION\n"), "{text}");
        assert!(text.contains("v/b  failed (cpu) → passed  fixed\n"), "{text}");
        assert!(text.contains("v/c  failed (cpu) → failed (nics)  fails otherwise\n"), "{text}");
        assert!(text.ends_with("1 regression; 0 of 3 cells are the same\n"), "{text}");
    }

    #[test]
    fn a_stage_is_told_when_it_takes_a_quarter_longer_and_noise_is_not() {
        let compared = |now| {
            let nights = [
                night("mm-a", &[("v/a", Verdict::Passed, &[], 10_000)]),
                night("mm-b", &[("v/a", Verdict::Passed, &[], now)]),
            ];
            let compared = compare(&nights);
            let end = |text: &str| text.lines().last().map(str::to_owned);
            assert_eq!(end(&compared.text(true)), end(&compared.text(false)), "how many are shown counts for nothing");
            compared.text(false)
        };
        assert!(compared(15_000).contains("migrate slower: 10.0s → 15.0s"));
        assert!(compared(10_900).ends_with("0 regressions; 1 of 1 cells are the same\n"));
    }
}
