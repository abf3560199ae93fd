//! A small run with one cell of each kind, for the tests of reports.

use jiff::Timestamp;

use crate::api::names::{CellId, RunId};
use crate::event::*;

pub(crate) fn cell(name: &str) -> CellId {
    CellId::new("vsphere", name, None)
}

/// Passed, failed by a lost disk, skipped, errored and then passed (flaky); one leftover.
pub(crate) fn events() -> Vec<Event> {
    let info = |name: &str| CellInfo {
        id: cell(name),
        profile: "vsphere".into(),
        platform: "vsphere".into(),
        scenario: name.into(),
        storage_class: "rbd".into(),
        tags: vec!["tier0".into()],
        expected_ms: None,
    };
    let mut kinds = vec![EventKind::RunStarted {
        carried: Vec::new(),
        demands: crate::event::exit::Demands::default(),
        schema: SCHEMA,
        run: RunId::parse("mm-abcdefghij").unwrap(),
        environment: Box::new(Environment {
            mtv_version: Some("2.11.3".into()),
            ocp_version: Some("4.20.1".into()),
            tool_version: "0.1.0".into(),
            lab: true,
            ..Environment::default()
        }),
        cells: vec![info("cold"), info("broken"), info("warm"), info("flaky")],
        shard: None,
        set: None,
    }];
    kinds.push(EventKind::Preflight { probe: "mtv-controller".into(), ok: true, message: "available".into() });
    kinds.push(EventKind::CellSkipped { cell: cell("warm"), reason: "open issue MTV-1".into(), shard: None });
    let finding = |check: &str, outcome| Finding { check: check.into(), vm: "vm <1>".into(), subject: None, outcome };
    let good = vec![finding("cpu", Outcome::Passed { actual: "2 sockets".into() })];
    attempt(&mut kinds, "cold", 1, &good, Verdict::Passed, None);
    let bad = vec![
        finding(
            "disk-count",
            Outcome::Failed { expected: "2 disks".into(), actual: "1 disk ]]> \u{1b}[31m&\u{0}".into() },
        ),
        finding("ssh-login", Outcome::NotJudged { because: "the VM is off".into() }),
    ];
    let problem = Problem::new("1 check failed").detail("disk-count: 1 disk").look_at("artifacts/broken");
    attempt(&mut kinds, "broken", 1, &bad, Verdict::Failed, Some(problem));
    kinds.push(EventKind::Artifact {
        cell: cell("broken"),
        path: "artifacts/broken/plan.yaml".into(),
        what: "the Plan".into(),
    });
    kinds.push(EventKind::Note {
        cell: Some(cell("broken")),
        level: Level::Warning,
        message: "<script>alert(1)</script>".into(),
    });
    attempt(&mut kinds, "flaky", 1, &[], Verdict::Errored, Some(Problem::new("the API server went away")));
    attempt(&mut kinds, "flaky", 2, &good, Verdict::Passed, None);
    kinds.push(EventKind::Leftover {
        cell: Some(cell("cold")),
        what: "PVC ns/data".into(),
        because: "a finalizer".into(),
    });
    kinds.push(EventKind::RunFinished { verdict: Verdict::Failed, leftovers: 1, exit_code: 1, problem: None });
    let start = 1_780_000_000;
    let at = |i: u64| Timestamp::from_second(start + i64::try_from(i).unwrap()).unwrap();
    kinds.into_iter().zip(0u64..).map(|(kind, i)| Event { seq: i + 1, at: at(i), kind }).collect()
}

fn attempt(
    kinds: &mut Vec<EventKind>,
    name: &str,
    attempt: u32,
    findings: &[Finding],
    verdict: Verdict,
    problem: Option<Problem>,
) {
    let id = || cell(name);
    kinds.push(EventKind::CellStarted { cell: id(), attempt, namespace: format!("ns-{name}-{attempt}") });
    let none = || (Verdict::Passed, None);
    for (stage, (stage_verdict, stage_problem)) in
        [(Stage::Plan, none()), (Stage::Verify, (verdict, problem.clone())), (Stage::Teardown, none())]
    {
        kinds.push(EventKind::StageStarted { cell: id(), attempt, stage });
        if stage == Stage::Verify {
            let checks = findings.iter().cloned();
            kinds.extend(checks.map(|finding| EventKind::CheckFinished { cell: id(), attempt, finding }));
        }
        kinds.push(EventKind::StageFinished {
            cell: id(),
            attempt,
            stage,
            verdict: stage_verdict,
            problem: stage_problem,
        });
    }
    let will_retry = verdict == Verdict::Errored;
    kinds.push(EventKind::CellFinished { cell: id(), attempt, verdict, problem, will_retry });
}
