//! `run.json`: the run for scripts.
//!
//! `schema` counts up when a field changes its meaning or goes; new fields do not count. Times are
//! RFC 3339 in UTC, durations whole milliseconds. `cells[].verdict` is one of passed, failed,
//! errored, skipped, interrupted; `flaky` means passed after a retry.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::files::FillError;
use super::model::{Attempt, CellModel, Counts, RunModel};
use crate::event::{Carried, Environment, Finding, Outcome, Problem, ShardSet, Verdict};

/// Version of the file's form.
pub const RUN_SCHEMA: u32 = 1;

#[derive(Debug, Serialize)]
struct Run<'a> {
    schema: u32,
    run: &'a str,
    verdict: Verdict,
    /// `None` when the run was killed before its end.
    exit_code: Option<u8>,
    problem: Option<&'a Problem>,
    interrupted_by: Option<&'a str>,
    started: Option<String>,
    ended: Option<String>,
    duration_ms: i64,
    environment: &'a Environment,
    shard: Option<&'a str>,
    set: Option<&'a ShardSet>,
    counts: Counts,
    cells: Vec<Cell<'a>>,
    /// Requests that were sent again in the whole run, by who was asked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    retries: BTreeMap<&'a str, u64>,
    /// How often each check could not be judged.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_judged: BTreeMap<&'a str, usize>,
    leftovers: Vec<Leftover<'a>>,
    /// Cells that passed in earlier runs, of which this one is the rest (`run --rerun`).
    #[serde(skip_serializing_if = "<[Carried]>::is_empty")]
    carried: &'a [Carried],
}

#[derive(Debug, Serialize)]
struct Cell<'a> {
    id: &'a str,
    profile: &'a str,
    platform: &'a str,
    scenario: &'a str,
    storage_class: &'a str,
    verdict: Verdict,
    attempts: usize,
    flaky: bool,
    duration_ms: i64,
    skipped_because: Option<&'a str>,
    problem: Option<&'a Problem>,
    checks: Checks,
    /// Checks that failed, else the stage that did: the same words every night.
    failing: Vec<String>,
    /// Verdict of each attempt, the first one first.
    attempt_verdicts: Vec<Verdict>,
    /// What the attempts that did not decide had found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overruled: Vec<Overruled<'a>>,
    /// Requests that were sent again for this cell, by who was asked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    retries: &'a BTreeMap<String, u64>,
    stages: Vec<Stage>,
    artifacts: Vec<&'a str>,
}

/// An attempt that another one overruled: it failed or erred, and the cell ended otherwise.
#[derive(Debug, Serialize)]
struct Overruled<'a> {
    attempt: u32,
    verdict: Option<Verdict>,
    problem: Option<&'a Problem>,
    /// As of the cell.
    failing: Vec<String>,
    findings: Vec<&'a Finding>,
}

fn overruled(attempt: &Attempt) -> Overruled<'_> {
    let findings = || attempt.findings.iter().map(|(_, finding)| finding);
    let failed = |finding: &&Finding| matches!(finding.outcome, Outcome::Failed { .. });
    Overruled {
        attempt: attempt.number,
        verdict: attempt.verdict,
        problem: attempt.problem.as_ref(),
        failing: super::history::failing(findings(), &attempt.stages),
        findings: findings().filter(failed).collect(),
    }
}

/// Findings of the attempt that decided.
#[derive(Debug, Default, Serialize)]
struct Checks {
    passed: usize,
    failed: usize,
    not_judged: usize,
}

/// Stages of the attempt that decided.
#[derive(Debug, Serialize)]
struct Stage {
    stage: crate::event::Stage,
    verdict: Verdict,
    duration_ms: i64,
}

#[derive(Debug, Serialize)]
struct Leftover<'a> {
    cell: Option<&'a str>,
    what: &'a str,
    because: &'a str,
}

fn cell(cell: &CellModel) -> Cell<'_> {
    let mut checks = Checks { passed: cell.checks_passed(), ..Checks::default() };
    for finding in cell.findings() {
        match finding.outcome {
            Outcome::Passed { .. } => {}
            Outcome::Failed { .. } => checks.failed += 1,
            Outcome::NotJudged { .. } => checks.not_judged += 1,
        }
    }
    let stages = cell.deciding().map(|attempt| attempt.stages.as_slice()).unwrap_or_default();
    Cell {
        id: cell.name(),
        profile: &cell.info.profile,
        platform: &cell.info.platform,
        scenario: &cell.info.scenario,
        storage_class: &cell.info.storage_class,
        verdict: cell.final_verdict(),
        attempts: cell.attempts.len(),
        flaky: cell.flaky(),
        duration_ms: cell.milliseconds(),
        skipped_because: cell.skipped.as_deref(),
        problem: cell.problem(),
        checks,
        failing: super::history::failing(cell.findings(), stages),
        attempt_verdicts: cell.attempts.iter().map(|one| one.verdict.unwrap_or(Verdict::Interrupted)).collect(),
        overruled: cell.overruled().map(overruled).collect(),
        retries: &cell.retries,
        stages: stages
            .iter()
            .map(|stage| Stage {
                stage: stage.stage,
                verdict: stage.verdict.unwrap_or(Verdict::Interrupted),
                duration_ms: super::model::span(Some(stage.started), stage.ended),
            })
            .collect(),
        artifacts: cell.artifacts.iter().map(|artifact| artifact.path.as_str()).collect(),
    }
}

/// `run.json` as text.
pub fn write(model: &RunModel, out: &mut dyn Write) -> Result<(), FillError> {
    let leftovers = model.leftovers.iter().map(|leftover| Leftover {
        cell: leftover.cell.as_ref().map(|cell| cell.as_str()),
        what: &leftover.what,
        because: &leftover.because,
    });
    let run = Run {
        schema: RUN_SCHEMA,
        run: model.run_name(),
        verdict: model.end.as_ref().map_or(Verdict::Interrupted, |end| end.verdict),
        exit_code: model.end.as_ref().map(|end| end.exit_code),
        problem: model.end.as_ref().and_then(|end| end.problem.as_ref()),
        interrupted_by: model.interrupted.as_deref(),
        started: model.started.map(|at| at.to_string()),
        ended: model.last.map(|at| at.to_string()),
        duration_ms: model.milliseconds(),
        environment: &model.environment,
        shard: model.shard.as_deref(),
        set: model.set.as_ref(),
        counts: model.counts(),
        cells: model.cells.iter().map(cell).collect(),
        retries: model.all_retries(),
        not_judged: model.not_judged(),
        leftovers: leftovers.collect(),
        carried: &model.carried,
    };
    serde_json::to_writer_pretty(&mut *out, &run).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// `run.json` as text.
#[cfg(test)]
fn render(model: &RunModel) -> Result<String, FillError> {
    let mut out = Vec::new();
    write(model, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_verdicts_counts_and_flaky_cells() {
        let model = RunModel::from_events(&crate::report::fixture::events());
        let run: serde_json::Value = serde_json::from_str(&render(&model).unwrap()).unwrap();
        assert_eq!(run["counts"]["passed"], 2);
        assert_eq!(run["counts"]["failed"], 1);
        assert_eq!(run["counts"]["flaky"], 1);
        assert_eq!(run["exit_code"], 1);
        assert_eq!(run["cells"][1]["verdict"], "failed");
        assert_eq!(run["cells"][1]["checks"]["not_judged"], 1);
        assert_eq!(run["cells"][3]["attempts"], 2);
        assert_eq!(run["cells"][3]["overruled"][0]["problem"]["message"], "the API server went away");
        assert!(run["cells"][1].get("overruled").is_none());
        assert_eq!(run["leftovers"][0]["what"], "PVC ns/data");
    }

    #[test]
    fn requests_that_were_sent_again_are_counted_by_cell_and_in_all() {
        let mut events = crate::report::fixture::events();
        let cell = RunModel::from_events(&events).cells[0].info.id.clone();
        for (cell, peer) in [(Some(cell.clone()), "vc"), (Some(cell), "vc"), (None, "cluster")] {
            let (what, cause) = ("GET /x".to_owned(), "HTTP 503".to_owned());
            let kind = crate::event::EventKind::Retried { cell, peer: peer.into(), what, cause, pause_ms: 100 };
            let at = events[0].at;
            events.push(crate::event::Event { seq: events.len() as u64 + 1, at, kind });
        }
        let run: serde_json::Value = serde_json::from_str(&render(&RunModel::from_events(&events)).unwrap()).unwrap();
        assert_eq!(run["cells"][0]["retries"], serde_json::json!({"vc": 2}));
        assert_eq!(run["retries"], serde_json::json!({"cluster": 1, "vc": 2}));
        assert!(run["cells"][1].get("retries").is_none());
    }
}
