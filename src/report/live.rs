//! Spans made while a run goes: single requests and waits, as children of the stage they serve.
//!
//! A stage's own span is made from events, with an id that is known before it ends
//! ([`super::trace`]). The `tracing` span that a stage runs in gets that same id and is not
//! exported itself, so that its children name the right parent and no span is told twice.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider, SpanData, SpanExporter};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::files::{self, FillError, Spool};
use super::model::RunModel;
use super::trace::{self, SCOPE, SPANS_A_LINE};
use crate::api::names::{CellId, RunId};
use crate::event::Stage;

/// Spans kept of one run; further ones are counted and dropped, so that a run of days cannot fill its volume.
pub const MOST_SPANS: usize = 1_000_000;

/// The `tracing` span of a stage, which is not exported.
const STAGE: &str = "stage";

thread_local! {
    /// The id of the span that is started next on this thread.
    static NEXT: Cell<Option<SpanId>> = const { Cell::new(None) };
}

/// Random ids, except for stages.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        self.0.new_trace_id()
    }
    fn new_span_id(&self) -> SpanId {
        NEXT.take().unwrap_or_else(|| self.0.new_span_id())
    }
}

/// Makes a stage's span, given cell and attempt.
pub type StageSpans = Arc<dyn Fn(&CellId, u32, Stage) -> Span + Send + Sync>;

/// Makes the span that a stage of a cell runs in.
pub fn stage_spans(run: &RunId) -> StageSpans {
    let run = run.clone();
    Arc::new(move |cell, attempt, stage| {
        let span = tracing::info_span!(STAGE, %cell, attempt, %stage);
        let parent = trace::cell_span(run.as_str(), cell.as_str(), attempt);
        let parent =
            SpanContext::new(trace::trace_id(run.as_str()), parent, TraceFlags::SAMPLED, true, TraceState::default());
        // Without a tracing layer there is nothing to set, and nothing to lose.
        if span.set_parent(Context::new().with_remote_span_context(parent)).is_ok() {
            NEXT.set(Some(trace::stage_span(run.as_str(), cell.as_str(), attempt, stage)));
            let _ = span.context();
            NEXT.set(None);
        }
        span
    })
}

/// From this on a request or a wait is told though the others are folded.
const LONG: Duration = Duration::from_secs(1);

/// Whether it goes without saying: it was short, it did not fail, and it is no step of a story.
fn is_small(span: &SpanData) -> bool {
    let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
    let failed = matches!(span.status, Status::Error { .. });
    took < LONG && !failed && !span.name.starts_with("step ")
}

/// What [`Live::take`] gives.
#[derive(Debug)]
pub struct Taken {
    lines: Spool,
    /// Spans that the bound dropped.
    pub dropped: usize,
    above: HashMap<SpanId, SpanId>,
    root: SpanId,
}

impl Taken {
    /// How many short ones were left out.
    pub fn folded(&self) -> usize {
        self.above.len()
    }
    /// Writes the lines for `traces.jsonl`, as [`trace::place`] places them.
    pub(super) fn write(&mut self, model: &RunModel, out: &mut dyn Write) -> Result<(), FillError> {
        self.lines.rewind()?;
        let (above, root) = (&self.above, self.root);
        // In place of a parent that was left out stands the next one above that was not.
        let instead_of = |parent: &str| {
            let mut at = *above.get(&SpanId::from_hex(parent).ok()?)?;
            while let Some(next) = above.get(&at) {
                at = *next;
            }
            // What no stage asked for is the run's own.
            Some(if at == SpanId::INVALID { root } else { at }.to_string())
        };
        trace::place(model, BufReader::new(&mut self.lines).lines(), Some(&instead_of), out)
    }
}

#[derive(Debug)]
struct Kept {
    /// Not yet a line.
    spans: Vec<SpanData>,
    /// `None`: taken already.
    lines: Option<Spool>,
    count: usize,
    dropped: usize,
    /// Parents of those that were left out. Whether a parent stays is known when it ends, and that is after its
    /// children: who reads the lines puts the next one above in its place.
    folded: HashMap<SpanId, SpanId>,
}

/// The spans of one run so far.
#[derive(Debug, Clone)]
pub struct Live {
    run: String,
    /// Leave out short requests and waits.
    fold: bool,
    kept: Arc<Mutex<Kept>>,
    provider: Option<SdkTracerProvider>,
}

impl Live {
    /// Ends the collection. `None`: somebody panicked while it went on.
    pub fn take(&self) -> Option<Taken> {
        if let Some(provider) = &self.provider {
            let _ = provider.force_flush();
            let _ = provider.shutdown();
        }
        let mut kept = self.kept.lock().ok()?;
        if kept.write_line().is_err() {
            kept.dropped += kept.spans.len();
        }
        Some(Taken {
            lines: kept.lines.take()?,
            dropped: kept.dropped,
            above: std::mem::take(&mut kept.folded),
            root: trace::run_span(&self.run),
        })
    }

    /// Every span belongs to the run's trace; one that no stage asked for is the run's own.
    fn adopt(&self, mut span: SpanData) -> SpanData {
        let old = &span.span_context;
        let trace = trace::trace_id(&self.run);
        span.span_context = SpanContext::new(trace, old.span_id(), TraceFlags::SAMPLED, false, TraceState::default());
        if span.parent_span_id == SpanId::INVALID {
            span.parent_span_id = trace::run_span(&self.run);
        }
        span
    }
}

impl Kept {
    fn write_line(&mut self) -> Result<(), String> {
        if self.spans.is_empty() {
            return Ok(());
        }
        let line = trace::line(self.spans.clone()).map_err(|error| error.to_string())?;
        let lines = self.lines.as_mut().ok_or("the collection has ended")?;
        lines.write_all(line.as_bytes()).map_err(|error| error.to_string())?;
        self.spans.clear();
        Ok(())
    }
}

impl SpanExporter for Live {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let failed = OTelSdkError::InternalFailure;
        let mut kept = self.kept.lock().map_err(|_| failed("an exporter panicked".to_owned()))?;
        for span in batch.into_iter().filter(|span| span.name != STAGE) {
            if self.fold && is_small(&span) {
                kept.folded.insert(span.span_context.span_id(), span.parent_span_id);
                continue;
            }
            if kept.count >= MOST_SPANS {
                kept.dropped += 1;
                continue;
            }
            kept.count += 1;
            kept.spans.push(self.adopt(span));
            if kept.spans.len() >= SPANS_A_LINE {
                // A volume without room costs spans, not the run.
                if kept.write_line().is_err() {
                    kept.dropped += kept.spans.len();
                    kept.spans.clear();
                }
            }
        }
        Ok(())
    }
}

/// A `tracing` layer for the spans of this program, and where they go. `fold`: short requests and waits are left out.
/// What does not fit into memory goes to a file in `dir`.
pub fn layer<S>(run: &RunId, fold: bool, dir: &Path) -> (impl Layer<S>, Live)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = Some(files::spool(dir));
    let kept = Kept { spans: Vec::new(), lines, count: 0, dropped: 0, folded: HashMap::new() };
    let mut live = Live { run: run.as_str().to_owned(), fold, kept: Arc::new(Mutex::new(kept)), provider: None };
    let provider = SdkTracerProvider::builder()
        .with_resource(trace::resource())
        .with_id_generator(Ids::default())
        .with_simple_exporter(live.clone())
        .build();
    live.provider = Some(provider.clone());
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Other crates' spans are about their own insides.
        .with_filter(Targets::new().with_target(env!("CARGO_CRATE_NAME"), tracing::Level::INFO));
    (layer, live)
}

/// One request outside of any stage, for tests of what is made of it.
#[cfg(test)]
pub(super) fn fixture() -> Taken {
    use tracing_subscriber::layer::SubscriberExt;
    let run = RunId::parse("mm-abcdefghij").expect("a run id");
    let (layer, live) = layer(&run, false, Path::new("."));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::info_span!("request", otel.name = "GET /outside").in_scope(|| {});
    });
    live.take().expect("nobody panicked")
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The lines as they come into `traces.jsonl`, how many were dropped and how many left out.
    fn taken(live: &Live) -> (String, usize, usize) {
        let mut taken = live.take().unwrap();
        let mut out = Vec::new();
        taken.write(&RunModel::default(), &mut out).unwrap();
        (String::from_utf8(out).unwrap(), taken.dropped, taken.folded())
    }

    #[test]
    fn a_request_in_a_stage_is_a_child_of_the_stage_and_one_outside_is_the_runs() {
        let run = RunId::parse("mm-abcdefghij").unwrap();
        let cell = CellId::new("vsphere", "cold", None);
        let (layer, live) = layer(&run, false, Path::new("."));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let stage = stage_spans(&run)(&cell, 1, Stage::Plan);
            stage.in_scope(|| {
                tracing::info_span!("request", otel.name = "GET /inside").in_scope(|| {});
            });
            drop(stage);
            tracing::info_span!("request", otel.name = "GET /outside").in_scope(|| {});
        });
        let (text, dropped, folded) = taken(&live);
        assert_eq!((dropped, folded), (0, 0));
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let parent = |name: &str| spans.iter().find(|s| s["name"] == name).unwrap()["parentSpanId"].clone();
        assert_eq!(spans.len(), 2, "the stage itself comes from events");
        let stage = trace::stage_span(run.as_str(), cell.as_str(), 1, Stage::Plan);
        assert_eq!(parent("GET /inside"), stage.to_string());
        assert_eq!(parent("GET /outside"), trace::run_span(run.as_str()).to_string());
        let of_run = trace::trace_id(run.as_str()).to_string();
        assert!(spans.iter().all(|span| span["traceId"] == of_run));
    }

    #[test]
    fn folded_short_requests_are_counted_and_steps_and_errors_stay() {
        let run = RunId::parse("mm-abcdefghij").unwrap();
        let (layer, live) = layer(&run, true, Path::new("."));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info_span!("wait", otel.name = "wait for a VM").in_scope(|| {
                tracing::info_span!("request", otel.name = "GET /short").in_scope(|| {});
                tracing::info_span!("request", otel.name = "GET /bad", otel.status_code = "ERROR").in_scope(|| {});
            });
            tracing::info_span!("step", otel.name = "step 2: boot").in_scope(|| {});
        });
        let (lines, _, folded) = taken(&live);
        assert_eq!(folded, 2);
        let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        let spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let root = trace::run_span(run.as_str()).to_string();
        assert!(spans.iter().all(|span| span["parentSpanId"] == root), "none is the child of one that was left out");
        assert!(lines.contains("GET /bad") && lines.contains("step 2: boot"), "{lines}");
        assert!(!lines.contains("GET /short"));
    }
}
