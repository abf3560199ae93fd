//! Where `tracing` goes: spans into the run's traces, and, only where asked for, lines to stderr.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::show::Log;
use crate::api::names::RunId;
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

/// [`logs`], and collects the spans of `run`.
pub fn start(run: &RunId) -> Live {
    let lines = wanted()
        .map(|filter| tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Log).with_filter(filter));
    let (spans, live) = live::layer(run);
    let _ = tracing_subscriber::registry().with(spans).with(lines).try_init();
    live
}
