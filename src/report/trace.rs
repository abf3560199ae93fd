//! Traces: run → cell → stage, as OTLP/JSON lines.
//!
//! Spans are built from events with ids that depend on the run, cell, attempt and stage alone, so
//! that spans made live inside a stage can name their parent ([`stage_context`]) and a report
//! rendered again has the same trace.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sha2::{Digest, Sha256};

use super::ReportError;
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

fn context(run: &str, span: SpanId) -> SpanContext {
    SpanContext::new(trace_id(run), span, TraceFlags::SAMPLED, false, TraceState::default())
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
    fn build(self, run: &str) -> SpanData {
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
            span_context: context(run, self.span),
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

fn attempt_spans(run: &str, cell: &CellModel, attempt: &Attempt, end: Timestamp, spans: &mut Vec<SpanData>) {
    let name = cell.name();
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
        .build(run),
    );
    for stage in &attempt.stages {
        spans.push(stage_draft(run, name, attempt, stage, parent, end).build(run));
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
    let passed = |(_, finding): &&(Timestamp, Finding)| matches!(finding.outcome, Outcome::Passed { .. });
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
            KeyValue::new(
                "mtv_matrix.checks.passed",
                i64::try_from(findings().filter(passed).count()).unwrap_or(i64::MAX),
            ),
        ],
        // Those that passed are counted: fifty events a VM would be most of a trace.
        events: findings().filter(|one| !passed(one)).map(|(at, finding)| check_event(*at, finding)).collect(),
    }
}

/// The spans of a run, parents before children.
pub fn spans(model: &RunModel) -> Vec<SpanData> {
    let (Some(started), Some(end)) = (model.started, model.last) else { return Vec::new() };
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
        parent: SpanId::INVALID,
        // Few names for many runs: which one it is, is an attribute.
        name: "run".to_owned(),
        started,
        ended: end,
        verdict,
        problem: model.end.as_ref().and_then(|end| end.problem.as_ref()),
        attributes,
        events: Vec::new(),
    };
    let mut spans = vec![root.build(run)];
    for cell in &model.cells {
        for attempt in &cell.attempts {
            attempt_spans(run, cell, attempt, end, &mut spans);
        }
    }
    spans
}

pub(super) fn resource() -> Resource {
    Resource::builder_empty().with_attributes([KeyValue::new("service.name", SCOPE)]).build()
}

fn request(spans: Vec<SpanData>) -> ExportTraceServiceRequest {
    let resource = (&resource()).into();
    ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(spans, &resource) }
}

/// Spans a line: small enough for any collector, few enough lines for any run.
pub(super) const SPANS_A_LINE: usize = 512;

/// `traces.jsonl` as text: one OTLP/JSON export request a line.
pub fn render(model: &RunModel) -> Result<String, ReportError> {
    let mut out = String::new();
    for spans in spans(model).chunks(SPANS_A_LINE) {
        out.push_str(&line(spans.to_vec())?);
    }
    Ok(out)
}

/// One line of `traces.jsonl`.
pub(super) fn line(spans: Vec<SpanData>) -> Result<String, ReportError> {
    let text = serde_json::to_string(&request(spans));
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

/// Lines of `traces.jsonl` in the trace that the run is a part of, and with the resource that sends them. Done twice it
/// is as if done once.
pub(super) fn placed(model: &RunModel, text: &str) -> String {
    let parent = parent_of(model);
    let resource = model.environment.telemetry.as_ref().map(|telemetry| &telemetry.resource);
    let attributes: Vec<serde_json::Value> = resource
        .into_iter()
        .flatten()
        .map(|(key, value)| serde_json::json!({"key": key, "value": {"stringValue": value}}))
        .collect();
    if parent.is_none() && attributes.is_empty() {
        return text.to_owned();
    }
    let root = run_span(model.run_name()).to_string();
    let mut out = String::with_capacity(text.len());
    for mut line in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        if let Some((trace, span_id)) = parent {
            for span in spans_of(&mut line).filter_map(serde_json::Value::as_object_mut) {
                span.insert("traceId".to_owned(), trace.into());
                if span.get("spanId").is_some_and(|id| *id == root) {
                    span.insert("parentSpanId".to_owned(), span_id.into());
                }
            }
        }
        if !attributes.is_empty() {
            for one in line["resourceSpans"].as_array_mut().into_iter().flatten() {
                one["resource"]["attributes"] = attributes.clone().into();
            }
        }
        out.push_str(&line.to_string());
        out.push('\n');
    }
    out
}

/// How many spans a `traces.jsonl` holds; lines that are none count nothing.
pub(super) fn count(text: &str) -> usize {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.map(|mut line| spans_of(&mut line).count()).sum()
}

/// The root span of a run alone, as a line.
pub(super) fn root(model: &RunModel) -> Result<String, ReportError> {
    line(spans(model).into_iter().take(1).collect())
}

/// The lines of the `traces.jsonl` of `part` as a part of `run`: its root becomes a child of the run's.
pub(super) fn adopt(run: &str, part: &str, text: &str) -> String {
    let root = run_span(part).to_string();
    let (trace, parent) = (trace_id(run).to_string(), run_span(run).to_string());
    let mut out = String::with_capacity(text.len());
    // A line that was cut short is no line.
    for mut line in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        for span in spans_of(&mut line).filter_map(serde_json::Value::as_object_mut) {
            span.insert("traceId".to_owned(), trace.clone().into());
            let is_root = span.get("spanId").is_some_and(|id| *id == root);
            if is_root || span.get("parentSpanId").is_none_or(|id| id == "") {
                span.insert("parentSpanId".to_owned(), parent.clone().into());
            }
        }
        out.push_str(&line.to_string());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_tree_is_run_then_cell_then_stage() {
        let model = RunModel::from_events(&crate::report::fixture::events());
        let text = render(&model).unwrap();
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
        let stage = spans(&model).into_iter().find(|span| span.name == "plan").unwrap();
        assert_eq!(context.span().span_context().span_id(), stage.span_context.span_id());
        assert_eq!(context.span().span_context().trace_id(), stage.span_context.trace_id());
    }

    #[test]
    fn a_run_that_ci_started_is_a_child_of_its_span_and_says_who_it_is() {
        let mut model = RunModel::from_events(&crate::report::fixture::events());
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        model.environment.telemetry = Some(crate::event::Telemetry {
            traceparent: Some(format!("00-{trace}-{span}-01")),
            resource: BTreeMap::from([("service.name".to_owned(), "nightly".to_owned())]),
        });
        let text = placed(&model, &render(&model).unwrap());
        assert_eq!(placed(&model, &text), text, "once more is no change");
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
    fn checks_that_passed_are_counted_and_the_others_are_events() {
        let model = RunModel::from_events(&crate::report::fixture::events());
        let verify =
            |number: usize| spans(&model).into_iter().filter(|span| span.name == "verify").nth(number).unwrap();
        let passed = |span: &SpanData| {
            let found = span.attributes.iter().find(|one| one.key.as_str() == "mtv_matrix.checks.passed");
            found.unwrap().value.to_string()
        };
        let (cold, broken) = (verify(0), verify(1));
        assert_eq!((passed(&cold).as_str(), cold.events.events.len()), ("1", 0));
        assert_eq!((passed(&broken).as_str(), broken.events.events.len()), ("0", 2));
    }
}
