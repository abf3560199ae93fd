//! `junit.xml`: a suite a cell, a case a stage, a case a step where a story is told in steps, and a case a check of a VM.
//!
//! Failed is `<failure>`, errored is `<error>`, and what was not judged is `<skipped>` with the
//! reason. What a cell was run with are a suite's properties; its log is the suite's `system-out`, and
//! the end of it that of every case that did not pass, because some CI systems show only cases. When a
//! cell was tried more than once the attempt that gave the verdict is shown; what did not pass in the others stands in
//! the case of the same name, as Surefire writes it: `flakyFailure` and `flakyError` where the case passed in the end,
//! `rerunFailure` and `rerunError` where it did not.

use std::collections::HashMap;
use std::io::Write;

use junit_report::{
    Duration, OffsetDateTime, Report, TestCase, TestCaseBuilder, TestResult, TestSuite, TestSuiteBuilder,
};

use quick_xml::XmlVersion;
use quick_xml::events::{BytesCData, BytesEnd, BytesStart, Event as Xml};

use super::files::FillError;
use super::model::{Attempt, CellModel, RunModel, StageModel, StepModel, span};
use super::reading::Reading;
use super::{ReportError, clean, trace};
use crate::api::names::RunId;
use crate::event::{Finding, Level, Outcome, Problem, Stage, Verdict};

/// Bytes of a cell's log in its suite; the older part goes first.
const MOST_OF_A_LOG: usize = 64 * 1024;
/// Bytes of it that a case repeats.
const MOST_OF_A_TAIL: usize = 4 * 1024;

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
        Verdict::Blocked => TestCaseBuilder::error(&name, time, "blocked", &message),
        Verdict::Interrupted => TestCaseBuilder::error(&name, time, "interrupted", &message),
        Verdict::Skipped => TestCaseBuilder::skipped_with_cause(&name, "skipped", &message),
    };
    if let Some(problem) = problem {
        case.set_trace(&problem_text(problem));
    }
    case.set_classname(&clean(class)).build()
}

/// A step whose story is told step by step; one that judged VMs points at the checks, as a stage does.
fn step_case(step: &StepModel, failed_checks: usize, class: &str) -> TestCase {
    let verdict = step.verdict.unwrap_or(Verdict::Interrupted);
    let pointer = (step.stage == Stage::Verify && failed_checks > 0 && verdict == Verdict::Failed)
        .then(|| checks_failed(failed_checks));
    let problem = pointer.as_ref().or(step.problem.as_ref());
    case(&step.title(), class, span(Some(step.started), step.ended), verdict, problem)
}

fn checks_failed(count: usize) -> Problem {
    let s = if count == 1 { "" } else { "s" };
    Problem::new(format!("{count} check{s} failed: see the cases `verify: …` of this suite"))
}

fn stage_case(stage: &StageModel, steps: &[StepModel], failed_checks: usize, class: &str) -> TestCase {
    let verdict = stage.verdict.unwrap_or(Verdict::Interrupted);
    let ended_badly = |step: &&StepModel| step.stage == stage.stage && step.verdict != Some(Verdict::Passed);
    if let Some(step) = steps.iter().find(ended_badly).filter(|_| verdict != Verdict::Passed) {
        let pointer =
            Problem::new(format!("step {} ended it: see the case `{}` of this suite", step.number, step.title()));
        return case(stage.stage.name(), class, span(Some(stage.started), stage.ended), verdict, Some(&pointer));
    }
    // A wrong VM is told by its checks, case by case; a reader who looks only at stages must still
    // see it, but must not take it for one more fault.
    if stage.stage == Stage::Verify && failed_checks > 0 && verdict == Verdict::Failed {
        let pointer = checks_failed(failed_checks);
        return case(stage.stage.name(), class, span(Some(stage.started), stage.ended), verdict, Some(&pointer));
    }
    case(stage.stage.name(), class, span(Some(stage.started), stage.ended), verdict, stage.problem.as_ref())
}

/// Names of an attempt's checks that are the same every night: by the VM that was cloned, and by the place of a NIC, a
/// disk or an address among those of its VM. What is of this run alone (clones' names, MACs) stands in the text.
struct Names<'a> {
    run: Option<&'a RunId>,
    /// Parts seen of a check of a VM.
    parts: HashMap<(&'a str, &'a str), usize>,
    /// Clones of one VM in one scenario.
    seen: HashMap<String, usize>,
}

impl<'a> Names<'a> {
    fn next(&mut self, finding: &'a Finding) -> String {
        let vm = self.run.map_or(finding.vm.as_str(), |run| run.base_of(&finding.vm));
        let name = if finding.subject.is_some() {
            let part = self.parts.entry((&finding.check, &finding.vm)).or_default();
            *part += 1;
            format!("verify: {} {part} [{vm}]", finding.check)
        } else {
            format!("verify: {} [{vm}]", finding.check)
        };
        let seen = self.seen.entry(name.clone()).or_default();
        *seen += 1;
        if *seen == 1 { name } else { format!("{name} ({seen})") }
    }
}

/// What was expected of a VM, or of a part of it, and what was found.
fn difference(finding: &Finding, expected: &str, actual: &str) -> String {
    let of = finding.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
    format!("{}{of}: VM {}: expected {expected}, actual {actual}", finding.check, finding.vm)
}

fn check_case(name: &str, finding: &Finding, class: &str) -> TestCase {
    let of = finding.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
    match &finding.outcome {
        Outcome::Passed { actual } => {
            let mut passed = case(name, class, 0, Verdict::Passed, None);
            if finding.subject.is_some() {
                passed.set_system_out(&cdata(&format!("{}{of}: VM {}: {actual}", finding.check, finding.vm)));
            }
            passed
        }
        Outcome::Failed { expected, actual } => {
            let message = difference(finding, expected, actual);
            case(name, class, 0, Verdict::Failed, Some(&Problem::new(message)))
        }
        Outcome::NotJudged { because } => {
            case(name, class, 0, Verdict::Skipped, Some(&Problem::new(format!("not judged{of}: {because}"))))
        }
    }
}

fn attempt_cases(run: Option<&RunId>, attempt: &Attempt, class: &str) -> Vec<TestCase> {
    let mut names = Names { run, parts: HashMap::new(), seen: HashMap::new() };
    let failed = attempt.findings.iter().filter(|(_, f)| matches!(f.outcome, Outcome::Failed { .. })).count();
    let stages = attempt.stages.iter().map(|stage| stage_case(stage, &attempt.steps, failed, class));
    let steps = attempt.steps.iter().map(|step| step_case(step, failed, class));
    let checks = attempt.findings.iter().map(|(_, finding)| check_case(&names.next(finding), finding, class));
    let mut cases: Vec<TestCase> = stages.chain(steps).chain(checks).collect();
    let told = cases.iter().any(|case| case.is_failure() || case.is_error());
    // A cell can end badly outside any stage, e.g. because its Provider is not ready.
    let verdict = attempt.verdict.unwrap_or(Verdict::Interrupted);
    if (verdict != Verdict::Passed && !told) || cases.is_empty() {
        cases.push(case("cell", class, span(Some(attempt.started), attempt.ended), verdict, attempt.problem.as_ref()));
    }
    cases
}

/// The end of a text in whole lines, with a word about what is missing.
fn tail(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut from = text.len() - most;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let kept = text.get(from..).unwrap_or_default();
    let whole = kept.split_once('\n').map_or(kept, |(_, rest)| rest);
    format!("… {} earlier bytes left out\n{whole}", text.len() - whole.len())
}

/// Name and value of what the cell was run with.
fn properties(model: &RunModel, cell: &CellModel) -> Vec<(&'static str, String)> {
    let environment = &model.environment;
    let run = model.run_name();
    let mut all = vec![
        ("run-id", Some(run.to_owned())),
        ("trace-id", Some(trace::id_of(model))),
        ("mtv-version", environment.mtv_version.clone()),
        ("ocp-version", environment.ocp_version.clone()),
        ("kubernetes-version", environment.kubernetes_version.clone()),
        ("cluster", environment.cluster.clone()),
        ("tool-version", Some(environment.tool_version.clone())),
        ("provider", Some(cell.info.profile.clone())),
        ("platform", Some(cell.info.platform.clone())),
        ("scenario", Some(cell.info.scenario.clone())),
        ("storage-class", Some(cell.info.storage_class.clone())),
        ("tags", Some(cell.info.tags.join(","))),
        ("verdict", Some(cell.final_verdict().name().to_owned())),
        ("attempts", Some(cell.attempts.len().to_string())),
        ("flaky", Some(cell.flaky().to_string())),
        ("namespace", cell.deciding().map(|attempt| attempt.namespace.clone())),
        ("shard", model.shard.clone()),
    ];
    all.retain(|(_, value)| value.as_ref().is_some_and(|value| !value.is_empty()));
    all.into_iter().filter_map(|(name, value)| Some((name, clean(&value?)))).collect()
}

/// What did not pass in another attempt of a cell, as a child of the case of that name.
#[derive(Debug)]
struct Again {
    element: &'static str,
    kind: String,
    message: String,
    trace: Option<String>,
}

impl Again {
    /// `passed`: whether the case that it becomes a child of did in the attempt that decided.
    fn of(case: &TestCase, attempt: u32, passed: bool) -> Option<Self> {
        let (element, kind, message, trace) = match &case.result {
            TestResult::Failure { type_, message, cause } => {
                (if passed { "flakyFailure" } else { "rerunFailure" }, type_, message, cause)
            }
            TestResult::Error { type_, message, cause } => {
                (if passed { "flakyError" } else { "rerunError" }, type_, message, cause)
            }
            TestResult::Success | TestResult::Skipped | TestResult::SkippedWithCause { .. } => return None,
        };
        let message = format!("attempt {attempt}: {message}");
        Some(Self { element, kind: kind.clone(), message, trace: trace.clone() })
    }
}

/// By the name of a case of the deciding attempt. One that only another attempt has becomes a child of the first case,
/// so that nothing is lost.
fn again(run: Option<&RunId>, cell: &CellModel, cases: &[TestCase], class: &str) -> HashMap<String, Vec<Again>> {
    let mut all: HashMap<String, Vec<Again>> = HashMap::new();
    let Some((decided, first)) = cell.deciding().zip(cases.first()) else { return all };
    for attempt in cell.attempts.iter().filter(|attempt| attempt.number != decided.number) {
        for other in attempt_cases(run, attempt, class) {
            let here = cases.iter().find(|case| case.name == other.name).unwrap_or(first);
            let passed = !here.is_failure() && !here.is_error();
            all.entry(here.name.clone()).or_default().extend(Again::of(&other, attempt.number, passed));
        }
    }
    all
}

/// What the crate that writes the rest has no place for.
struct Extras {
    properties: Vec<(&'static str, String)>,
    again: HashMap<String, Vec<Again>>,
}

type Written = Result<(), quick_xml::Error>;

fn put_properties(writer: &mut quick_xml::Writer<Vec<u8>>, properties: &[(&'static str, String)]) -> Written {
    if properties.is_empty() {
        return Ok(());
    }
    writer.write_event(Xml::Start(BytesStart::new("properties")))?;
    for (name, value) in properties {
        let property = BytesStart::new("property").with_attributes([("name", *name), ("value", value.as_str())]);
        writer.write_event(Xml::Empty(property))?;
    }
    Ok(writer.write_event(Xml::End(BytesEnd::new("properties")))?)
}

fn put_again(writer: &mut quick_xml::Writer<Vec<u8>>, all: &[Again]) -> Written {
    for one in all {
        let attributes = [("type", one.kind.as_str()), ("message", one.message.as_str())];
        writer.write_event(Xml::Start(BytesStart::new(one.element).with_attributes(attributes)))?;
        if let Some(trace) = &one.trace {
            writer.write_event(Xml::Start(BytesStart::new("stackTrace")))?;
            writer.write_event(Xml::CData(BytesCData::new(trace.as_str())))?;
            writer.write_event(Xml::End(BytesEnd::new("stackTrace")))?;
        }
        writer.write_event(Xml::End(BytesEnd::new(one.element)))?;
    }
    Ok(())
}

/// Writes the suite of a report that holds one, `number` in the run: properties as its first child, and what other
/// attempts said as the last but its output into each case.
fn put_suite(
    writer: &mut quick_xml::Writer<Vec<u8>>,
    xml: &[u8],
    number: usize,
    extras: Option<&Extras>,
) -> Result<(), quick_xml::Error> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    // Of the case that is being read: what is still to be put into it.
    let mut waiting: &[Again] = &[];
    loop {
        let event = reader.read_event()?;
        match &event {
            Xml::Eof => return Ok(()),
            // The report's own, around all suites.
            Xml::Decl(_) => continue,
            Xml::Start(tag) if tag.name().as_ref() == b"testsuites" => continue,
            Xml::End(tag) if tag.name().as_ref() == b"testsuites" => continue,
            Xml::Start(tag) if tag.name().as_ref() == b"testsuite" => {
                let mut placed = BytesStart::new("testsuite");
                let number = number.to_string();
                for attribute in tag.attributes() {
                    let attribute = attribute?;
                    if attribute.key.as_ref() == b"id" {
                        placed.push_attribute(("id", number.as_str()));
                    } else {
                        placed.push_attribute(attribute);
                    }
                }
                writer.write_event(Xml::Start(placed))?;
                put_properties(writer, extras.map_or(&[], |extras| &extras.properties))?;
                continue;
            }
            Xml::Start(tag) | Xml::Empty(tag) if tag.name().as_ref() == b"testcase" => {
                let name = tag.try_get_attribute("name")?;
                let name = name
                    .map(|name| name.normalized_value(XmlVersion::Implicit1_0).map(|name| name.into_owned()))
                    .transpose()?;
                waiting =
                    name.zip(extras).and_then(|(name, extras)| extras.again.get(&name)).map_or(&[], Vec::as_slice);
                if let Xml::Empty(tag) = &event
                    && !waiting.is_empty()
                {
                    writer.write_event(Xml::Start(tag.borrow()))?;
                    put_again(writer, std::mem::take(&mut waiting))?;
                    writer.write_event(Xml::End(BytesEnd::new("testcase")))?;
                    continue;
                }
            }
            // In a case what it printed comes last; outside one nothing waits.
            Xml::Start(tag) if tag.name().as_ref() == b"system-out" => {
                put_again(writer, std::mem::take(&mut waiting))?;
            }
            Xml::End(tag) if tag.name().as_ref() == b"testcase" => {
                put_again(writer, std::mem::take(&mut waiting))?;
            }
            _ => {}
        }
        writer.write_event(event)?;
    }
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
    // JUnit has a place for one attempt; what another found stands here.
    for attempt in cell.overruled() {
        let verdict = attempt.verdict.map_or("unknown", Verdict::name);
        let problem = attempt.problem.as_ref().map_or(String::new(), |problem| format!(": {}", problem.message));
        lines.push(format!("attempt {}: {verdict}{problem}", attempt.number));
        lines.extend(attempt.findings.iter().filter_map(|(_, finding)| match &finding.outcome {
            Outcome::Failed { expected, actual } => {
                Some(format!("attempt {}: {}", attempt.number, difference(finding, expected, actual)))
            }
            Outcome::Passed { .. } | Outcome::NotJudged { .. } => None,
        }));
    }
    cdata(&tail(&lines.join("\n"), MOST_OF_A_LOG))
}

fn suite(model: &RunModel, cell: &CellModel) -> (TestSuite, Extras) {
    let class = clean(&format!("{}.{}", cell.info.profile, cell.info.scenario));
    let mut suite = TestSuiteBuilder::new(&clean(cell.name()));
    suite.set_timestamp(time(cell.started().or(model.started)));
    let cases = match (&cell.skipped, cell.deciding()) {
        (Some(reason), _) => vec![case("cell", &class, 0, Verdict::Skipped, Some(&Problem::new(reason.clone())))],
        (None, Some(attempt)) => attempt_cases(model.run.as_ref(), attempt, &class),
        (None, None) => vec![case("cell", &class, 0, cell.final_verdict(), cell.problem())],
    };
    let log = log(model, cell);
    let mut cases = cases;
    let again = again(model.run.as_ref(), cell, &cases, &class);
    for case in cases.iter_mut().filter(|case| case.is_failure() || case.is_error()) {
        case.set_system_out(&cdata(&tail(&log, MOST_OF_A_TAIL)));
    }
    (suite.add_testcases(cases).set_system_out(&log).build(), Extras { properties: properties(model, cell), again })
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

/// A suite as XML, `number` in the run.
fn suite_xml(suite: TestSuite, number: usize, extras: Option<&Extras>) -> Result<Vec<u8>, ReportError> {
    let fail = |message: String| ReportError::Render { what: "junit.xml", message };
    let mut report = Report::new();
    report.add_testsuite(suite);
    let mut xml = Vec::new();
    report.write_xml(&mut xml).map_err(|error| fail(error.to_string()))?;
    let mut writer = quick_xml::Writer::new(Vec::with_capacity(xml.len() * 2));
    put_suite(&mut writer, &xml, number, extras).map_err(|error| fail(error.to_string()))?;
    Ok(writer.into_inner())
}

/// `junit.xml`, a suite at a time.
pub fn write(run: &Reading, out: &mut dyn Write) -> Result<(), FillError> {
    let model = &run.outline;
    let others = run_suites(model);
    out.write_all(br#"<?xml version="1.0" encoding="utf-8"?>"#)?;
    if model.cells.is_empty() && others.is_empty() {
        return Ok(out.write_all(b"<testsuites/>")?);
    }
    out.write_all(b"<testsuites>")?;
    for number in 0..model.cells.len() {
        let Some(cell) = run.whole(number).map_err(ReportError::from)? else { continue };
        let (suite, extras) = suite(model, &cell);
        out.write_all(&suite_xml(suite, number, Some(&extras))?)?;
    }
    for (number, suite) in (model.cells.len()..).zip(others) {
        out.write_all(&suite_xml(suite, number, None)?)?;
    }
    Ok(out.write_all(b"</testsuites>")?)
}

/// `junit.xml` as text.
#[cfg(test)]
fn render(model: &RunModel) -> Result<String, FillError> {
    let mut out = Vec::new();
    write(&Reading::of_model(model.clone()), &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

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
        let flaky = suites[3].children().find(|n| n.has_tag_name("system-out")).unwrap().text().unwrap();
        assert!(flaky.contains("attempt 1: errored: the API server went away"), "{flaky}");
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
                &[
                    "skipped",
                    "error",
                    "failure",
                    "flakyError",
                    "flakyFailure",
                    "rerunError",
                    "rerunFailure",
                    "system-out",
                ],
            ),
            // Surefire's, which Jenkins and its kin know too.
            "flakyError" | "flakyFailure" | "rerunError" | "rerunFailure" => {
                (&["type", "message"], &["type"], &["stackTrace"])
            }
            "stackTrace" => (&[], &[], &[]),
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
    fn a_suite_has_properties_first_and_a_case_that_failed_the_end_of_the_log() {
        let xml = render(&RunModel::from_events(&crate::report::fixture::events())).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let broken = document.descendants().find(|n| n.attribute("name") == Some("vsphere/broken")).unwrap();
        let properties = broken.first_element_child().unwrap();
        assert!(properties.has_tag_name("properties"));
        let value = |name: &str| {
            let found = properties.children().find(|p| p.attribute("name") == Some(name));
            found.and_then(|p| p.attribute("value")).unwrap_or("-").to_owned()
        };
        assert_eq!(value("run-id"), "mm-abcdefghij");
        assert_eq!((value("mtv-version"), value("ocp-version")), ("2.11.3".to_owned(), "4.20.1".to_owned()));
        assert_eq!((value("provider"), value("scenario")), ("vsphere".to_owned(), "broken".to_owned()));
        assert_eq!(value("trace-id"), trace::trace_id("mm-abcdefghij").to_string());
        assert_eq!(value("kubernetes-version"), "-", "what is not known is not there");
        let failed = broken.children().find(|n| n.attribute("name") == Some("verify")).unwrap();
        let out = failed.children().find(|n| n.has_tag_name("system-out")).unwrap();
        assert!(out.text().unwrap().contains("verify failed: 1 check failed"));
    }

    #[test]
    fn what_an_earlier_attempt_said_stands_in_the_case_that_passed_in_the_end() {
        let xml = render(&RunModel::from_events(&crate::report::fixture::events())).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let flaky = document.descendants().find(|n| n.attribute("name") == Some("vsphere/flaky")).unwrap();
        assert_eq!((flaky.attribute("failures"), flaky.attribute("errors")), (Some("0"), Some("0")));
        let case = flaky.children().find(|n| n.attribute("name") == Some("verify")).unwrap();
        let child = case.children().find(|n| n.has_tag_name("flakyError")).unwrap();
        assert_eq!(child.attribute("message"), Some("attempt 1: the API server went away"));
        assert_eq!(document.descendants().filter(|n| n.has_tag_name("flakyError")).count(), 1);
    }

    #[test]
    fn what_failed_twice_has_a_child_for_the_other_time() {
        let mut events = crate::report::fixture::events();
        // The second attempt of the cell fails where the first erred.
        for event in &mut events {
            match &mut event.kind {
                EventKind::StageFinished { cell, attempt: 2, stage: Stage::Verify, verdict, problem }
                    if cell.as_str() == "vsphere/flaky" =>
                {
                    (*verdict, *problem) = (Verdict::Failed, Some(Problem::new("a disk is lost")));
                }
                EventKind::CellFinished { cell, attempt: 2, verdict, .. } if cell.as_str() == "vsphere/flaky" => {
                    *verdict = Verdict::Failed;
                }
                _ => {}
            }
        }
        let xml = render(&RunModel::from_events(&events)).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let flaky = document.descendants().find(|n| n.attribute("name") == Some("vsphere/flaky")).unwrap();
        let case = flaky.children().find(|n| n.attribute("name") == Some("verify")).unwrap();
        let children: Vec<_> =
            case.children().filter(roxmltree::Node::is_element).map(|n| n.tag_name().name()).collect();
        assert_eq!(children, ["failure", "rerunError", "system-out"]);
    }

    #[test]
    fn a_log_is_bounded_by_leaving_out_its_beginning() {
        let text = "é first line\n".repeat(1000) + "last line";
        let cut = tail(&text, 100);
        assert!(cut.len() < 160 && cut.ends_with("last line") && cut.starts_with("… "), "{cut}");
        assert_eq!(tail("short", 100), "short");
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
