//! What the cells that did not pass have in common: one wrong password is one cause with nine cells.
//!
//! Knows the model of a run alone. Cells are grouped by the check that failed, else by the stage and the
//! message of their problem without what differs from cell to cell (names with random parts, numbers).

use std::collections::BTreeMap;

use super::model::{CellModel, RunModel};
use crate::event::{Finding, Outcome, Problem, Stage, Verdict};

/// One reason, and every cell that ended for it.
#[derive(Debug)]
pub struct Cause<'a> {
    pub verdict: Verdict,
    /// The check that failed, where it is a check.
    pub check: Option<&'a str>,
    /// The stage in which the first of the cells ended; `None`: it never began, or ended between stages.
    pub stage: Option<Stage>,
    /// The first cell's example: the finding of a check …
    pub finding: Option<&'a Finding>,
    /// … or the problem.
    pub problem: Option<&'a Problem>,
    /// In the order of the run; none twice.
    pub cells: Vec<&'a CellModel>,
}

/// What cells are grouped by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Check(String),
    Message(Verdict, Option<Stage>, String),
}

/// The causes, failed before errored before blocked before interrupted, and of each the most common first.
pub fn causes(model: &RunModel) -> Vec<Cause<'_>> {
    let mut found: BTreeMap<Key, Cause<'_>> = BTreeMap::new();
    for cell in &model.cells {
        let verdict = cell.final_verdict();
        if matches!(verdict, Verdict::Passed | Verdict::Skipped) {
            continue;
        }
        let failed: Vec<&Finding> =
            cell.findings().filter(|finding| matches!(finding.outcome, Outcome::Failed { .. })).collect();
        let stage = ended_in(cell);
        for finding in &failed {
            let cause = Cause {
                verdict,
                check: Some(&finding.check),
                stage: Some(Stage::Verify),
                finding: Some(finding),
                problem: None,
                cells: Vec::new(),
            };
            join(&mut found, Key::Check(finding.check.clone()), cause, cell);
        }
        // A problem beside failed checks only counts them.
        if failed.is_empty() || stage.is_some_and(|stage| stage != Stage::Verify) {
            let problem = cell.problem();
            let message = problem.map(|problem| common(&problem.message, model, cell)).unwrap_or_default();
            let cause = Cause { verdict, check: None, stage, finding: None, problem, cells: Vec::new() };
            join(&mut found, Key::Message(verdict, stage, message), cause, cell);
        }
    }
    let mut all: Vec<Cause<'_>> = found.into_values().collect();
    all.sort_by_key(|cause| (rank(cause.verdict), std::cmp::Reverse(cause.cells.len())));
    all
}

fn join<'a>(found: &mut BTreeMap<Key, Cause<'a>>, key: Key, cause: Cause<'a>, cell: &'a CellModel) {
    let cells = &mut found.entry(key).or_insert(cause).cells;
    if cells.last().is_none_or(|last| last.info.id != cell.info.id) {
        cells.push(cell);
    }
}

/// The worst first.
pub fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Failed => 0,
        Verdict::Errored => 1,
        Verdict::Blocked => 2,
        Verdict::Interrupted => 3,
        Verdict::Passed => 4,
        Verdict::Skipped => 5,
    }
}

/// The first stage of the last attempt that did not pass.
fn ended_in(cell: &CellModel) -> Option<Stage> {
    let stages = &cell.deciding()?.stages;
    stages.iter().find(|stage| stage.verdict != Some(Verdict::Passed)).map(|stage| stage.stage)
}

/// A message without what differs between two cells that ended for the same reason.
fn common(message: &str, model: &RunModel, cell: &CellModel) -> String {
    let namespaces: Vec<&str> = cell.attempts.iter().map(|attempt| attempt.namespace.as_str()).collect();
    let own = |word: &str| {
        word.chars().any(|c| c.is_ascii_digit())
            || word.contains(model.run_name())
            || namespaces.contains(&word)
            || word.contains(&cell.info.scenario)
    };
    message
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | ',' | '/' | ':'))
        .filter(|word| !word.is_empty())
        .map(|word| if own(word) { "#" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::names::{CellId, RunId};
    use crate::event::{CellInfo, Event, EventKind, SCHEMA};

    fn model(ends: &[(&str, Verdict, &str)]) -> RunModel {
        let id = |name: &str| CellId::new("vsphere", name, None);
        let cells = ends.iter().map(|(name, _, _)| CellInfo {
            id: id(name),
            profile: "vsphere".into(),
            platform: "vsphere".into(),
            scenario: (*name).into(),
            storage_class: "rbd".into(),
            tags: Vec::new(),
            expected_ms: None,
        });
        let mut kinds = vec![EventKind::RunStarted {
            carried: Vec::new(),
            demands: crate::event::exit::Demands::default(),
            schema: SCHEMA,
            run: RunId::parse("mm-abcdefghij").unwrap(),
            environment: Box::default(),
            cells: cells.collect(),
            shard: None,
            set: None,
        }];
        for (name, verdict, message) in ends {
            kinds.push(EventKind::CellStarted {
                cell: id(name),
                attempt: 1,
                namespace: format!("mm-abcdefghij-{name}"),
            });
            let problem = (!message.is_empty()).then(|| Problem::new(*message));
            kinds.push(EventKind::CellFinished {
                cell: id(name),
                attempt: 1,
                verdict: *verdict,
                problem,
                will_retry: false,
            });
        }
        let events: Vec<Event> =
            kinds.into_iter().zip(1..).map(|(kind, seq)| Event { seq, at: Timestamp::UNIX_EPOCH, kind }).collect();
        RunModel::from_events(&events)
    }

    #[test]
    fn cells_that_ended_for_the_same_reason_are_one_cause_whatever_their_names_and_numbers() {
        let model = model(&[
            ("cold", Verdict::Errored, "Provider mm-abcdefghij/vsphere-7x: the login was refused"),
            ("warm", Verdict::Errored, "Provider mm-abcdefghij/vsphere-9k: the login was refused"),
            ("hook", Verdict::Failed, "the plan failed after 12 s"),
            ("fine", Verdict::Passed, ""),
        ]);
        let causes = causes(&model);
        let told: Vec<(Verdict, usize)> = causes.iter().map(|cause| (cause.verdict, cause.cells.len())).collect();
        assert_eq!(told, [(Verdict::Failed, 1), (Verdict::Errored, 2)]);
    }

    #[test]
    fn a_failed_check_is_a_cause_of_its_own_and_not_told_again_by_the_cells_problem() {
        let model = RunModel::from_events(&crate::report::fixture::events());
        let causes = causes(&model);
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!(causes[0].check, Some("disk-count"));
    }
}
