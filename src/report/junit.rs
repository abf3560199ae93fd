//! `junit.xml`: a suite a cell, a case a stage, and a case a check of a VM.
//!
//! Failed is `<failure>`, errored is `<error>`, and what was not judged is `<skipped>` with the
//! reason. The crate has no properties: versions and the cell's log are in `system-out`. When a
//! cell was tried more than once the last attempt is shown, and the log tells of the others.

use junit_report::{Duration, OffsetDateTime, Report, TestCase, TestCaseBuilder, TestSuite, TestSuiteBuilder};

use super::model::{Attempt, CellModel, RunModel, StageModel, span};
use super::{ReportError, clean};
use crate::event::{Finding, Level, Outcome, Problem, Stage, Verdict};

/// Text for a CDATA section, which may not hold its own end.
fn cdata(text: &str) -> String {
    clean(text).replace("]]>", "]]\u{200b}>")
}

fn time(at: Option<jiff::Timestamp>) -> OffsetDateTime {
    let at = at.and_then(|at| OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond()).ok());
    at.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn problem_text(problem: &Problem) -> String {
    let look = problem.look_at.iter().map(|place| format!("look at: {place}"));
    let lines = problem.details.iter().cloned().chain(look);
    cdata(&std::iter::once(problem.message.clone()).chain(lines).collect::<Vec<_>>().join("\n"))
}

fn case(name: &str, class: &str, milliseconds: i64, verdict: Verdict, problem: Option<&Problem>) -> TestCase {
    let time = Duration::milliseconds(milliseconds);
    let message = clean(problem.map_or(verdict.name(), |problem| &problem.message));
    let name = clean(name);
    let mut case = match verdict {
        Verdict::Passed => TestCaseBuilder::success(&name, time),
        Verdict::Failed => TestCaseBuilder::failure(&name, time, "failed", &message),
        Verdict::Errored => TestCaseBuilder::error(&name, time, "errored", &message),
        Verdict::Interrupted => TestCaseBuilder::error(&name, time, "interrupted", &message),
        Verdict::Skipped => TestCaseBuilder::skipped_with_cause(&name, "skipped", &message),
    };
    if let Some(problem) = problem {
        case.set_trace(&problem_text(problem));
    }
    case.set_classname(&clean(class)).build()
}

fn stage_case(stage: &StageModel, failed_checks: usize, class: &str) -> TestCase {
    let verdict = stage.verdict.unwrap_or(Verdict::Interrupted);
    // A wrong VM is told by its checks, case by case; a reader who looks only at stages must still
    // see it, but must not take it for one more fault.
    if stage.stage == Stage::Verify && failed_checks > 0 && verdict == Verdict::Failed {
        let s = if failed_checks == 1 { "" } else { "s" };
        let pointer = Problem::new(format!("{failed_checks} check{s} failed: see the cases `verify: …` of this suite"));
        return case(stage.stage.name(), class, span(Some(stage.started), stage.ended), verdict, Some(&pointer));
    }
    case(stage.stage.name(), class, span(Some(stage.started), stage.ended), verdict, stage.problem.as_ref())
}

fn check_case(finding: &Finding, class: &str) -> TestCase {
    let subject = finding.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
    let name = format!("verify: {}{subject} [{}]", finding.check, finding.vm);
    match &finding.outcome {
        Outcome::Passed { .. } => case(&name, class, 0, Verdict::Passed, None),
        Outcome::Failed { expected, actual } => {
            let message = format!("{}: VM {}: expected {expected}, actual {actual}", finding.check, finding.vm);
            case(&name, class, 0, Verdict::Failed, Some(&Problem::new(message)))
        }
        Outcome::NotJudged { because } => {
            case(&name, class, 0, Verdict::Skipped, Some(&Problem::new(format!("not judged: {because}"))))
        }
    }
}

fn attempt_cases(attempt: &Attempt, class: &str) -> Vec<TestCase> {
    let failed = attempt.findings.iter().filter(|(_, f)| matches!(f.outcome, Outcome::Failed { .. })).count();
    let stages = attempt.stages.iter().map(|stage| stage_case(stage, failed, class));
    let checks = attempt.findings.iter().map(|(_, finding)| check_case(finding, class));
    let mut cases: Vec<TestCase> = stages.chain(checks).collect();
    let told = cases.iter().any(|case| case.is_failure() || case.is_error());
    // A cell can end badly outside any stage, e.g. because its Provider is not ready.
    let verdict = attempt.verdict.unwrap_or(Verdict::Interrupted);
    if (verdict != Verdict::Passed && !told) || cases.is_empty() {
        cases.push(case("cell", class, span(Some(attempt.started), attempt.ended), verdict, attempt.problem.as_ref()));
    }
    cases
}

fn log(model: &RunModel, cell: &CellModel) -> String {
    let unknown = || "unknown".to_owned();
    let mut lines = vec![
        format!("run: {}", model.run_name()),
        format!("platform: {}", cell.info.platform),
        format!("storage-class: {}", cell.info.storage_class),
        format!("mtv-version: {}", model.environment.mtv_version.clone().unwrap_or_else(unknown)),
        format!("ocp-version: {}", model.environment.ocp_version.clone().unwrap_or_else(unknown)),
        format!("attempts: {}", cell.attempts.len()),
        format!("flaky: {}", cell.flaky()),
    ];
    lines.extend(cell.artifacts.iter().map(|artifact| format!("artifact: {} ({})", artifact.path, artifact.what)));
    if cell.log_dropped > 0 {
        lines.push(format!("… {} earlier lines dropped", cell.log_dropped));
    }
    lines.extend(cell.log.iter().map(|line| {
        let warning = if line.level == Level::Warning { "WARNING " } else { "" };
        format!("{} {warning}{}", line.at, line.text)
    }));
    cdata(&lines.join("\n"))
}

fn suite(model: &RunModel, cell: &CellModel) -> TestSuite {
    let class = clean(&format!("{}.{}", cell.info.profile, cell.info.scenario));
    let mut suite = TestSuiteBuilder::new(&clean(cell.name()));
    suite.set_timestamp(time(cell.started().or(model.started)));
    let cases = match (&cell.skipped, cell.attempts.last()) {
        (Some(reason), _) => vec![case("cell", &class, 0, Verdict::Skipped, Some(&Problem::new(reason.clone())))],
        (None, Some(attempt)) => attempt_cases(attempt, &class),
        (None, None) => vec![case("cell", &class, 0, cell.final_verdict(), cell.problem())],
    };
    suite.add_testcases(cases).set_system_out(&log(model, cell)).build()
}

/// Suites that no cell has: preflight when it found something, and what was left behind.
fn run_suites(model: &RunModel) -> Vec<TestSuite> {
    let mut suites = Vec::new();
    if model.preflight.iter().any(|probe| !probe.ok) {
        let cases = model.preflight.iter().map(|probe| {
            let problem = Problem::new(probe.message.clone());
            let (verdict, problem) =
                if probe.ok { (Verdict::Passed, None) } else { (Verdict::Errored, Some(&problem)) };
            case(&probe.probe, "preflight", 0, verdict, problem)
        });
        suites.push(TestSuiteBuilder::new("preflight").set_timestamp(time(model.started)).add_testcases(cases).build());
    }
    if !model.leftovers.is_empty() {
        let cases = model.leftovers.iter().map(|leftover| {
            let problem = Problem::new(format!("left behind: {}: {}", leftover.what, leftover.because));
            case(&leftover.what, "teardown", 0, Verdict::Failed, Some(&problem))
        });
        suites.push(TestSuiteBuilder::new("teardown").set_timestamp(time(model.last)).add_testcases(cases).build());
    }
    suites
}

/// `junit.xml` as text.
pub fn render(model: &RunModel) -> Result<String, ReportError> {
    let fail = |message: String| ReportError::Render { what: "junit.xml", message };
    let mut report = Report::new();
    for cell in &model.cells {
        report.add_testsuite(suite(model, cell));
    }
    report.add_testsuites(run_suites(model));
    let mut out = Vec::new();
    report.write_xml(&mut out).map_err(|error| fail(error.to_string()))?;
    String::from_utf8(out).map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_parser_reads_suites_cases_and_reasons() {
        let xml = render(&RunModel::from_events(&crate::report::fixture::events())).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let suites: Vec<_> = document.root_element().children().filter(|n| n.has_tag_name("testsuite")).collect();
        let names: Vec<_> = suites.iter().map(|suite| suite.attribute("name").unwrap()).collect();
        assert_eq!(names, ["vsphere/cold", "vsphere/broken", "vsphere/warm", "vsphere/flaky", "teardown"]);
        for suite in &suites {
            let cases = suite.children().filter(|n| n.has_tag_name("testcase")).count();
            assert_eq!(suite.attribute("tests").unwrap(), cases.to_string());
            let failures = suite.descendants().filter(|n| n.has_tag_name("failure")).count();
            assert_eq!(suite.attribute("failures").unwrap(), failures.to_string());
        }
        let broken = suites[1];
        let case = broken.children().find(|n| n.attribute("name") == Some("verify: disk-count [vm <1>]")).unwrap();
        assert_eq!(case.attribute("classname"), Some("vsphere.broken"));
        let failure = case.first_element_child().unwrap();
        assert_eq!(failure.attribute("message"), Some("disk-count: VM vm <1>: expected 2 disks, actual 1 disk ]]> &"));
        let skipped = broken.descendants().find(|n| n.has_tag_name("skipped")).unwrap();
        assert_eq!(skipped.attribute("message"), Some("not judged: the VM is off"));
        let warm = suites[2].descendants().find(|n| n.has_tag_name("skipped")).unwrap();
        assert_eq!(warm.attribute("message"), Some("open issue MTV-1"));
        assert_eq!(suites[4].attribute("failures"), Some("1"));
    }

    /// Attributes that an element may and must have, and its children, by the XSD that Jenkins and
    /// its kin validate with.
    fn rules(element: &str) -> Option<(&'static [&'static str], &'static [&'static str], &'static [&'static str])> {
        Some(match element {
            "testsuites" => (&["name", "time", "tests", "failures", "disabled", "errors"], &[], &["testsuite"]),
            "testsuite" => (
                &[
                    "name",
                    "tests",
                    "failures",
                    "errors",
                    "time",
                    "disabled",
                    "skipped",
                    "timestamp",
                    "hostname",
                    "id",
                    "package",
                ],
                &["name", "tests", "failures", "errors", "time"],
                &["properties", "testcase", "system-out", "system-err"],
            ),
            "testcase" => (
                &["name", "assertions", "time", "classname", "status", "file"],
                &["name", "classname"],
                &["skipped", "error", "failure", "system-out", "system-err"],
            ),
            "failure" | "error" => (&["type", "message"], &["type", "message"], &[]),
            "skipped" => (&["type", "message"], &[], &[]),
            "properties" => (&[], &[], &["property"]),
            "property" => (&["name", "value"], &["name", "value"], &[]),
            "system-out" | "system-err" => (&[], &[], &[]),
            _ => return None,
        })
    }

    #[test]
    fn every_element_and_attribute_is_one_that_the_common_junit_schema_knows() {
        let xml = render(&RunModel::from_events(&crate::report::fixture::events())).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        assert_eq!(document.root_element().tag_name().name(), "testsuites");
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name();
            let (may, must, children) = rules(name).unwrap_or_else(|| panic!("<{name}> is not of the schema"));
            for attribute in node.attributes() {
                assert!(may.contains(&attribute.name()), "<{name} {}> is not of the schema", attribute.name());
            }
            for attribute in must {
                assert!(node.attribute(*attribute).is_some(), "<{name}> lacks {attribute}");
            }
            for child in node.children().filter(roxmltree::Node::is_element) {
                let child = child.tag_name().name();
                assert!(children.contains(&child), "<{child}> must not stand in <{name}>");
            }
        }
    }

    #[test]
    fn the_verify_stage_points_to_its_checks_and_does_not_repeat_them() {
        let xml = render(&RunModel::from_events(&crate::report::fixture::events())).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let case = document
            .descendants()
            .find(|n| n.attribute("name") == Some("verify") && n.attribute("classname") == Some("vsphere.broken"));
        let failure = case.unwrap().first_element_child().unwrap();
        assert!(failure.attribute("message").unwrap().starts_with("1 check failed: see the cases"));
    }
}
