//! Where `tracing` goes: spans into the run's traces, and, only where asked for, lines to stderr.

use std::collections::BTreeMap;
use std::path::Path;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::show::Log;
use crate::api::names::RunId;
use crate::config::TraceDetail;
use crate::report::live::{self, Live};

/// The variables that turn lines on, e.g. `MTV_LOG=mtv_matrix=debug`; the first that is set counts.
const VARIABLES: [&str; 2] = ["MTV_LOG", "RUST_LOG"];

fn wanted() -> Option<EnvFilter> {
    let text = VARIABLES.iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))?;
    match EnvFilter::try_new(&text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            super::show::err(format_args!("warning: the log filter {text:?} is not understood: {error}"));
            None
        }
    }
}

/// Sets the process's subscriber. Called once; a second call changes nothing.
pub fn logs() {
    let lines = wanted()
        .map(|filter| tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Log).with_filter(filter));
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// [`logs`], and collects the spans of `run`, in `dir` where they are many.
pub fn start(run: &RunId, detail: TraceDetail, dir: &Path) -> Live {
    let lines = wanted()
        .map(|filter| tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Log).with_filter(filter));
    let (spans, live) = live::layer(run, detail == TraceDetail::Folded, dir);
    let _ = tracing_subscriber::registry().with(spans).with(lines).try_init();
    live
}

/// Where a pod reads its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Who sends the traces: what is known anyway, and `asked` for by OpenTelemetry's variables, which win. Names are those
/// of its semantic conventions.
pub fn resource(asked: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let host = read("/proc/sys/kernel/hostname");
    let namespace = read(NAMESPACE);
    let known = [
        ("service.name", Some("mtv-matrix".to_owned())),
        ("service.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        // A pod's host has the pod's name.
        ("k8s.pod.name", host.clone().filter(|_| namespace.is_some())),
        ("host.name", host),
        ("k8s.namespace.name", namespace),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.chain(asked.clone()).filter(|(_, value)| !value.is_empty()).collect()
}
