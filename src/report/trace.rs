//! Traces: run → cell → stage, as OTLP/JSON lines.
//!
//! Spans are built from events with ids that depend on the run, cell, attempt and stage alone, so
//! that spans made live inside a stage can name their parent ([`stage_context`]) and a report
//! rendered again has the same trace.

use std::io::Write;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::ReportError;
use super::files::FillError;
use super::model::{Attempt, CellModel, RunModel, StageModel};
use crate::api::names::{CellId, RunId};
use crate::event::{Finding, Outcome, Problem, Stage, Verdict};

pub(super) const SCOPE: &str = "mtv-matrix";

fn digest<const N: usize>(text: &str) -> [u8; N] {
    let hash = Sha256::digest(text.as_bytes());
    let mut bytes = [0; N];
    bytes.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
    bytes
}

pub(super) fn trace_id(run: &str) -> TraceId {
    TraceId::from_bytes(digest(&format!("trace/{run}")))
}

pub(super) fn run_span(run: &str) -> SpanId {
    SpanId::from_bytes(digest(&format!("run/{run}")))
}

pub(super) fn cell_span(run: &str, cell: &str, attempt: u32) -> SpanId {
    SpanId::from_bytes(digest(&format!("cell/{run}/{cell}/{attempt}")))
}

pub(super) fn stage_span(run: &str, cell: &str, attempt: u32, stage: Stage) -> SpanId {
    SpanId::from_bytes(digest(&format!("stage/{run}/{cell}/{attempt}/{stage}")))
}

/// Where the spans of a run belong: its trace, and what its root is a child of.
struct Belongs<'a> {
    run: &'a str,
    trace: TraceId,
    parent: SpanId,
}

impl<'a> Belongs<'a> {
    fn of(model: &'a RunModel) -> Self {
        let run = model.run_name();
        // Of the environment that the run was started in, where that has one.
        let above = parent_of(model);
        let above = above.and_then(|(trace, span)| TraceId::from_hex(trace).ok().zip(SpanId::from_hex(span).ok()));
        let (trace, parent) = above.unwrap_or((trace_id(run), SpanId::INVALID));
        Self { run, trace, parent }
    }
    fn context(&self, span: SpanId) -> SpanContext {
        SpanContext::new(self.trace, span, TraceFlags::SAMPLED, false, TraceState::default())
    }
}

/// The parent for spans that are made inside a stage.
pub fn stage_context(run: &RunId, cell: &CellId, attempt: u32, stage: Stage) -> Context {
    let span = stage_span(run.as_str(), cell.as_str(), attempt, stage);
    let remote = SpanContext::new(trace_id(run.as_str()), span, TraceFlags::SAMPLED, true, TraceState::default());
    Context::new().with_remote_span_context(remote)
}

fn system_time(at: Timestamp) -> SystemTime {
    let nanoseconds = u64::try_from(at.as_nanosecond()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

struct Draft<'a> {
    span: SpanId,
    parent: SpanId,
    name: String,
    started: Timestamp,
    ended: Timestamp,
    verdict: Option<Verdict>,
    problem: Option<&'a Problem>,
    attributes: Vec<KeyValue>,
    events: Vec<opentelemetry::trace::Event>,
}

impl Draft<'_> {
    fn build(self, belongs: &Belongs<'_>) -> SpanData {
        let mut attributes = self.attributes;
        let verdict = self.verdict.unwrap_or(Verdict::Interrupted);
        attributes.push(KeyValue::new("mtv_matrix.verdict", verdict.name()));
        let status = match verdict {
            Verdict::Passed | Verdict::Skipped => Status::Ok,
            _ => Status::error(self.problem.map_or_else(|| verdict.name().to_owned(), |p| super::clean(&p.message))),
        };
        let mut events = SpanEvents::default();
        events.events = self.events;
        SpanData {
            span_context: belongs.context(self.span),
            parent_span_id: self.parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: self.name.into(),
            start_time: system_time(self.started),
            end_time: system_time(self.ended.max(self.started)),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder(SCOPE).build(),
        }
    }
}

fn check_event(at: Timestamp, finding: &Finding) -> opentelemetry::trace::Event {
    let mut attributes = vec![KeyValue::new("check", finding.check.clone()), KeyValue::new("vm", finding.vm.clone())];
    if let Some(subject) = &finding.subject {
        attributes.push(KeyValue::new("subject", subject.clone()));
    }
    let (outcome, texts) = match &finding.outcome {
        Outcome::Passed { actual } => ("passed", vec![("actual", actual)]),
        Outcome::Failed { expected, actual } => ("failed", vec![("expected", expected), ("actual", actual)]),
        Outcome::NotJudged { because } => ("not-judged", vec![("because", because)]),
    };
    attributes.push(KeyValue::new("outcome", outcome));
    attributes.extend(texts.into_iter().map(|(key, text)| KeyValue::new(key, super::clean(text))));
    opentelemetry::trace::Event::new("check", system_time(at), attributes, 0)
}

/// OpenTelemetry's word for how a part of a pipeline ended (`cicd.pipeline.result`, `cicd.pipeline.task.run.result`).
fn result(verdict: Option<Verdict>) -> &'static str {
    match verdict.unwrap_or(Verdict::Interrupted) {
        Verdict::Passed => "success",
        Verdict::Failed => "failure",
        Verdict::Errored | Verdict::Blocked => "error",
        Verdict::Interrupted => "cancellation",
        Verdict::Skipped => "skip",
    }
}

fn attempt_spans(
    belongs: &Belongs<'_>,
    cell: &CellModel,
    attempt: &Attempt,
    end: Timestamp,
    spans: &mut Vec<SpanData>,
) {
    let (name, run) = (cell.name(), belongs.run);
    let parent = cell_span(run, name, attempt.number);
    let number = i64::from(attempt.number);
    spans.push(
        Draft {
            span: parent,
            parent: run_span(run),
            name: name.to_owned(),
            started: attempt.started,
            ended: attempt.ended.unwrap_or(end),
            verdict: attempt.verdict,
            problem: attempt.problem.as_ref(),
            attributes: vec![
                KeyValue::new("test.case.name", name.to_owned()),
                KeyValue::new(
                    "test.case.result.status",
                    if attempt.verdict == Some(Verdict::Passed) { "pass" } else { "fail" },
                ),
                KeyValue::new("mtv_matrix.cell", name.to_owned()),
                KeyValue::new("mtv_matrix.attempt", number),
                KeyValue::new("mtv_matrix.profile", cell.info.profile.clone()),
                KeyValue::new("mtv_matrix.platform", cell.info.platform.clone()),
                KeyValue::new("mtv_matrix.scenario", cell.info.scenario.clone()),
                KeyValue::new("k8s.namespace.name", attempt.namespace.clone()),
            ],
            events: Vec::new(),
        }
        .build(belongs),
    );
    for stage in &attempt.stages {
        spans.push(stage_draft(run, name, attempt, stage, parent, end).build(belongs));
    }
}

fn stage_draft<'a>(
    run: &str,
    cell: &str,
    attempt: &Attempt,
    stage: &'a StageModel,
    parent: SpanId,
    end: Timestamp,
) -> Draft<'a> {
    let findings = || attempt.findings.iter().filter(|_| stage.stage == Stage::Verify);
    let passed = if stage.stage == Stage::Verify { attempt.passed } else { 0 };
    Draft {
        span: stage_span(run, cell, attempt.number, stage.stage),
        parent,
        name: stage.stage.name().to_owned(),
        started: stage.started,
        ended: stage.ended.or(attempt.ended).unwrap_or(end),
        verdict: stage.verdict,
        problem: stage.problem.as_ref(),
        attributes: vec![
            KeyValue::new("mtv_matrix.cell", cell.to_owned()),
            KeyValue::new("mtv_matrix.stage", stage.stage.name()),
            KeyValue::new("cicd.pipeline.task.name", stage.stage.name()),
            KeyValue::new("cicd.pipeline.task.run.result", result(stage.verdict)),
            KeyValue::new("mtv_matrix.checks.passed", i64::try_from(passed).unwrap_or(i64::MAX)),
        ],
        // Those that passed are counted: fifty events a VM would be most of a trace.
        events: findings()
            .filter(|(_, finding)| !finding.outcome.passed())
            .map(|(at, finding)| check_event(*at, finding))
            .collect(),
    }
}

fn root_span(model: &RunModel, belongs: &Belongs<'_>) -> Option<SpanData> {
    let (started, ended) = (model.started?, model.last?);
    let run = model.run_name();
    let verdict = model.end.as_ref().map(|end| end.verdict);
    let attributes = vec![
        KeyValue::new("mtv_matrix.run", run.to_owned()),
        KeyValue::new("cicd.pipeline.name", SCOPE),
        KeyValue::new("cicd.pipeline.run.id", run.to_owned()),
        KeyValue::new("cicd.pipeline.result", result(verdict)),
    ];
    let root = Draft {
        span: run_span(run),
        parent: belongs.parent,
        // Few names for many runs: which one it is, is an attribute.
        name: "run".to_owned(),
        started,
        ended,
        verdict,
        problem: model.end.as_ref().and_then(|end| end.problem.as_ref()),
        attributes,
        events: Vec::new(),
    };
    Some(root.build(belongs))
}

pub(super) fn resource() -> Resource {
    Resource::builder_empty().with_attributes([KeyValue::new("service.name", SCOPE)]).build()
}

/// Who sends the spans of a run: what its environment says, else its name alone.
fn sender(model: &RunModel) -> Resource {
    match model.environment.telemetry.as_ref().map(|telemetry| &telemetry.resource).filter(|said| !said.is_empty()) {
        Some(said) => {
            let said = said.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
            Resource::builder_empty().with_attributes(said).build()
        }
        None => resource(),
    }
}

/// Spans a line: small enough for any collector, few enough lines for any run.
pub(super) const SPANS_A_LINE: usize = 512;

/// How many spans [`write`] gives.
pub(super) fn made(model: &RunModel) -> usize {
    if model.started.is_none() {
        return 0;
    }
    let attempts = model.cells.iter().flat_map(|cell| &cell.attempts);
    1 + attempts.map(|attempt| 1 + attempt.stages.len()).sum::<usize>()
}

/// `traces.jsonl`: one OTLP/JSON export request a line, parents before children.
pub fn write(model: &RunModel, out: &mut dyn Write) -> Result<(), FillError> {
    let belongs = Belongs::of(model);
    let Some((root, end)) = root_span(model, &belongs).zip(model.last) else { return Ok(()) };
    let resource = sender(model);
    let mut spans = vec![root];
    for cell in &model.cells {
        for attempt in &cell.attempts {
            attempt_spans(&belongs, cell, attempt, end, &mut spans);
        }
        while spans.len() >= SPANS_A_LINE {
            let rest = spans.split_off(SPANS_A_LINE);
            out.write_all(line_of(std::mem::replace(&mut spans, rest), &resource)?.as_bytes())?;
        }
    }
    if !spans.is_empty() {
        out.write_all(line_of(spans, &resource)?.as_bytes())?;
    }
    Ok(())
}

/// One line of `traces.jsonl`, of a run whose environment is not known.
pub(super) fn line(spans: Vec<SpanData>) -> Result<String, ReportError> {
    line_of(spans, &resource())
}

fn line_of(spans: Vec<SpanData>, resource: &Resource) -> Result<String, ReportError> {
    let resource = resource.into();
    let request = ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(spans, &resource) };
    let text = serde_json::to_string(&request);
    text.map(|text| text + "\n")
        .map_err(|error| ReportError::Render { what: "traces.jsonl", message: error.to_string() })
}

/// The spans of a line of `traces.jsonl`.
fn spans_of(line: &mut serde_json::Value) -> impl Iterator<Item = &mut serde_json::Value> {
    fn list<'a>(value: &'a mut serde_json::Value, key: &str) -> std::slice::IterMut<'a, serde_json::Value> {
        value.get_mut(key).and_then(serde_json::Value::as_array_mut).map(|l| l.iter_mut()).unwrap_or_default()
    }
    list(line, "resourceSpans").flat_map(|r| list(r, "scopeSpans")).flat_map(|s| list(s, "spans"))
}

/// `TRACEPARENT` of the environment that a run was started in: trace and span.
fn parent_of(model: &RunModel) -> Option<(&str, &str)> {
    let mut parts = model.environment.telemetry.as_ref()?.traceparent.as_deref()?.split('-').skip(1);
    Some((parts.next()?, parts.next()?))
}

/// The trace that the run's spans are in: that of the environment that it was started in, or its own.
pub(super) fn id_of(model: &RunModel) -> String {
    parent_of(model).map_or_else(|| trace_id(model.run_name()).to_string(), |(trace, _)| trace.to_owned())
}

/// A line of `traces.jsonl` whose spans stay as they are: they are most of it, and as a tree of values took a fifth of
/// the time of all reports. One that says more is none of these.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WithSpans<'a> {
    #[serde(borrow)]
    resource_spans: Vec<OfResource<'a>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfResource<'a> {
    #[serde(borrow)]
    resource: Sender<'a>,
    scope_spans: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_url: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sender<'a> {
    #[serde(borrow)]
    attributes: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_attributes_count: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_refs: Option<&'a RawValue>,
}

/// The span that stands for a parent that is in no line.
type InsteadOf<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Writes lines of a `traces.jsonl` in the trace that the run is a part of, and with the resource that sends them; for
/// parents that are in no line stands what `instead_of` says. Done twice it is as if done once. What is no line (one that
/// was cut short) is left out.
pub(super) fn place(
    model: &RunModel,
    lines: impl Iterator<Item = std::io::Result<String>>,
    instead_of: Option<&InsteadOf<'_>>,
    out: &mut dyn Write,
) -> Result<(), FillError> {
    let parent = parent_of(model);
    let resource = model.environment.telemetry.as_ref().map(|telemetry| &telemetry.resource);
    let attributes: Vec<serde_json::Value> = resource
        .into_iter()
        .flatten()
        .map(|(key, value)| serde_json::json!({"key": key, "value": {"stringValue": value}}))
        .collect();
    let as_text = serde_json::value::to_raw_value(&attributes).map_err(std::io::Error::from)?;
    let root = run_span(model.run_name()).to_string();
    for line in lines {
        let line = line?;
        let spans_stay = parent.is_none() && instead_of.is_none();
        if let Some(mut line) = spans_stay.then(|| serde_json::from_str::<WithSpans<'_>>(&line).ok()).flatten() {
            if !attributes.is_empty() {
                line.resource_spans.iter_mut().for_each(|of| of.resource.attributes = &as_text);
            }
            serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
            continue;
        }
        let Ok(mut line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        for span in spans_of(&mut line).filter_map(serde_json::Value::as_object_mut) {
            let other = instead_of.zip(span.get("parentSpanId").and_then(serde_json::Value::as_str));
            if let Some(above) = other.and_then(|(instead_of, id)| instead_of(id)) {
                span.insert("parentSpanId".to_owned(), above.into());
            }
            let Some((trace, span_id)) = parent else { continue };
            span.insert("traceId".to_owned(), trace.into());
            if span.get("spanId").is_some_and(|id| *id == root) {
                span.insert("parentSpanId".to_owned(), span_id.into());
            }
        }
        if !attributes.is_empty() {
            for one in line["resourceSpans"].as_array_mut().into_iter().flatten() {
                one["resource"]["attributes"] = attributes.clone().into();
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Whether lines of a `traces.jsonl` hold more spans than that; those that are none count nothing.
pub(super) fn more_than(spans: usize, lines: impl Iterator<Item = std::io::Result<String>>) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        #[serde(default)]
        resource_spans: Vec<Resource>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Resource {
        #[serde(default)]
        scope_spans: Vec<Scope>,
    }
    #[derive(Deserialize)]
    struct Scope {
        #[serde(default)]
        spans: Vec<IgnoredAny>,
    }
    let lines = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Line>(&line).ok());
    let mut counted = 0;
    lines.flat_map(|line| line.resource_spans).flat_map(|of| of.scope_spans).any(|scope| {
        counted += scope.spans.len();
        counted > spans
    })
}

/// The root span of a run alone, as a line.
pub(super) fn root(model: &RunModel) -> Result<String, ReportError> {
    match root_span(model, &Belongs::of(model)) {
        Some(root) => line_of(vec![root], &sender(model)),
        None => Ok(String::new()),
    }
}

/// Writes lines of the `traces.jsonl` of `part` as a part of `run`: its root becomes a child of the run's.
pub(super) fn adopt(
    run: &str,
    part: &str,
    lines: impl Iterator<Item = std::io::Result<String>>,
    out: &mut dyn Write,
) -> Result<(), FillError> {
    let root = run_span(part).to_string();
    let (trace, parent) = (trace_id(run).to_string(), run_span(run).to_string());
    for line in lines {
        // A line that was cut short is no line.
        let Ok(mut line) = serde_json::from_str::<serde_json::Value>(&line?) else { continue };
        for span in spans_of(&mut line).filter_map(serde_json::Value::as_object_mut) {
            span.insert("traceId".to_owned(), trace.clone().into());
            let is_root = span.get("spanId").is_some_and(|id| *id == root);
            if is_root || span.get("parentSpanId").is_none_or(|id| id == "") {
                span.insert("parentSpanId".to_owned(), parent.clone().into());
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn render(model: &RunModel) -> String {
        let mut out = Vec::new();
        write(model, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The spans of all lines.
    fn spans(model: &RunModel) -> Vec<serde_json::Value> {
        let lines =
            render(model).lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
        let lines: Vec<serde_json::Value> = lines;
        lines
            .into_iter()
            .flat_map(|mut line| spans_of(&mut line).map(|span| span.clone()).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn the_tree_is_run_then_cell_then_stage() {
        let model = RunModel::from_events(&crate::report::fixture::events());
        let text = render(&model);
        let request: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let by_id: BTreeMap<&str, &serde_json::Value> =
            spans.iter().map(|s| (s["spanId"].as_str().unwrap(), s)).collect();
        assert_eq!(spans.len(), 1 + 4 * 4, "a run, four attempts of three stages");
        for span in spans {
            assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
            let parent = by_id.get(span["parentSpanId"].as_str().unwrap_or_default());
            match span["name"].as_str().unwrap() {
                "run" => assert!(parent.is_none()),
                name if name.starts_with("vsphere/") => assert_eq!(parent.unwrap()["name"], "run"),
                _ => assert!(parent.unwrap()["name"].as_str().unwrap().starts_with("vsphere/")),
            }
        }
        let again: ExportTraceServiceRequest = serde_json::from_value(request).unwrap();
        assert_eq!(again.resource_spans.len(), 1);
    }

    #[test]
    fn a_live_span_is_a_child_of_its_stage() {
        let run = RunId::parse("mm-abcdefghij").unwrap();
        let cell = crate::report::fixture::cell("cold");
        let context = stage_context(&run, &cell, 1, Stage::Plan);
        let model = RunModel::from_events(&crate::report::fixture::events());
        let stage = spans(&model).into_iter().find(|span| span["name"] == "plan").unwrap();
        assert_eq!(stage["spanId"], context.span().span_context().span_id().to_string());
        assert_eq!(stage["traceId"], context.span().span_context().trace_id().to_string());
    }

    #[test]
    fn a_run_that_ci_started_is_a_child_of_its_span_and_says_who_it_is() {
        let mut model = RunModel::from_events(&crate::report::fixture::events());
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        model.environment.telemetry = Some(crate::event::Telemetry {
            traceparent: Some(format!("00-{trace}-{span}-01")),
            resource: BTreeMap::from([("service.name".to_owned(), "nightly".to_owned())]),
        });
        let text = render(&model);
        let placed = |text: &str| {
            let mut out = Vec::new();
            place(&model, text.lines().map(|line| Ok(line.to_owned())), None, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(placed(&text), text, "what is in its place stays as it is");
        let unplaced = render(&RunModel::from_events(&crate::report::fixture::events()));
        assert_eq!(placed(&unplaced), text, "what was made before the environment was known comes to the same place");
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let told = &line["resourceSpans"][0]["resource"]["attributes"];
        assert_eq!(told, &serde_json::json!([{"key": "service.name", "value": {"stringValue": "nightly"}}]));
        let spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        assert!(spans.iter().all(|span| span["traceId"] == trace));
        let of_ci: Vec<_> = spans.iter().filter(|one| one["parentSpanId"] == span).map(|one| &one["name"]).collect();
        assert_eq!(of_ci, ["run"]);
        assert_eq!(id_of(&model), trace);
    }

    #[test]
    fn spans_that_stay_in_their_trace_are_written_as_they_stand_and_the_sender_is_told_anew() {
        let mut model = RunModel::from_events(&crate::report::fixture::events());
        let unplaced = render(&model);
        let said = BTreeMap::from([("service.name".to_owned(), "nightly \"1\"".to_owned())]);
        model.environment.telemetry = Some(crate::event::Telemetry { traceparent: None, resource: said });
        let placed = |text: &str, instead_of: Option<&InsteadOf<'_>>| {
            let mut out = Vec::new();
            place(&model, text.lines().map(|line| Ok(line.to_owned())), instead_of, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(placed(&unplaced, None), render(&model));
        // As where each span is looked at.
        assert_eq!(placed(&unplaced, None), placed(&unplaced, Some(&|_| None)));
        // What says more than lines of ours, and what was cut short.
        let more = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}],"more":1.50}"#;
        let cut = unplaced.trim_end().strip_suffix('}').unwrap();
        let text = placed(&format!("{more}\n{cut}\n"), None);
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"], "a");
        assert_eq!(told["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"], "nightly \"1\"");
        assert_eq!(told["more"], 1.5);
    }

    #[test]
    fn a_trace_is_counted_until_it_holds_more() {
        let model = RunModel::from_events(&crate::report::fixture::events());
        let (text, all) = (render(&model), made(&model));
        let lines = || text.lines().chain(["cut short"]).map(|line| Ok(line.to_owned()));
        assert!(more_than(all - 1, lines()));
        assert!(!more_than(all, lines()));
        assert!(more_than(all, lines().chain(lines())));
    }

    #[test]
    fn checks_that_passed_are_counted_and_the_others_are_events() {
        let model = RunModel::from_events(&crate::report::fixture::events());
        let verify =
            |number: usize| spans(&model).into_iter().filter(|span| span["name"] == "verify").nth(number).unwrap();
        let told = |span: &serde_json::Value| {
            let attributes = span["attributes"].as_array().unwrap();
            let found = attributes.iter().find(|one| one["key"] == "mtv_matrix.checks.passed").unwrap();
            let events = span["events"].as_array().map_or(0, Vec::len);
            (found["value"]["intValue"].to_string().replace('"', ""), events)
        };
        assert_eq!(told(&verify(0)), ("1".to_owned(), 0));
        assert_eq!(told(&verify(1)), ("0".to_owned(), 2));
    }
}
