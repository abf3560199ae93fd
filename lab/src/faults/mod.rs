//! Transport faults: how the wire between the runner and the lab breaks, by rate and seed.
//!
//! Knows HTTP and which requests read, write, watch or upgrade; it does not know what is behind an endpoint.
//! Whether a request breaks, and how, is a pure function of the seed, the endpoint, the request's class and how
//! many of that class came before, never of time: the same requests meet the same faults again. The lab's own
//! clients are spared: what is tried is the runner, and a lab whose controllers fail would say nothing about it.

mod aim;
mod body;
mod class;
mod inject;
mod journal;
mod plan;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use aim::Aim;
use class::Effect;
pub use class::OWN_AGENT;
pub(crate) use inject::{Cuttable, Injector};
use journal::Journal;
pub use plan::Fault;
pub use words::Dialect;

/// How often, and which ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultOptions {
    /// The share of requests that break, 0 to 1. At 0 nothing breaks by itself, and [`Faults::outage`] works.
    pub rate: f64,
    pub seed: u64,
    /// The share that breaks in a way that a second try heals, and never the same request twice in a row:
    /// 429, 503 and cut connections where nothing was done, and short delays. It may change no verdict.
    pub mild: f64,
}

/// The faults of a lab; off by default, and then nothing of them is on any request's way. That an endpoint is taken
/// away for a while ([`Faults::outage`]) works in any case.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Option<Arc<Inner>>,
    lines: Arc<Mutex<Lines>>,
}

struct Inner {
    options: Mutex<FaultOptions>,
    aims: Mutex<Vec<Aim>>,
    journal: Journal,
    endpoints: Mutex<BTreeMap<&'static str, Arc<Endpoint>>>,
}

impl Inner {
    fn options(&self) -> FaultOptions {
        *locked(&self.options)
    }

    fn aimed(&self, endpoint: &str, class: &str, effect: Effect, count: u64) -> Option<plan::Planned> {
        locked(&self.aims).iter().find_map(|aim| aim.meets(endpoint, class, effect, count))
    }
}

impl Faults {
    pub fn new(options: Option<FaultOptions>) -> Self {
        let inner = options.map(|options| {
            Arc::new(Inner {
                options: Mutex::new(options),
                aims: Mutex::default(),
                journal: Journal::default(),
                endpoints: Mutex::default(),
            })
        });
        Self { inner, lines: Arc::default() }
    }

    /// The faults of one endpoint. `name` is what the journal calls it.
    pub fn at(&self, name: &'static str, dialect: Dialect) -> At {
        let line = locked(&self.lines).entry(name).or_default().clone();
        let Some(inner) = &self.inner else { return At { endpoint: None, line: Some(line) } };
        let mut endpoints = locked(&inner.endpoints);
        let endpoint = endpoints.entry(name).or_insert_with(|| {
            Arc::new(Endpoint {
                name,
                dialect,
                inner: inner.clone(),
                counts: Mutex::default(),
                earlier: Mutex::default(),
                writes: Mutex::default(),
                refused: Mutex::default(),
                reads: AtomicU64::new(0),
                made: Mutex::default(),
                line: line.clone(),
            })
        });
        At { endpoint: Some(endpoint.clone()), line: Some(line) }
    }

    /// Other faults from now on: classes are counted from 0 again, and nothing is remembered for stale reads.
    /// Nothing happens where faults are off.
    pub fn set(&self, options: FaultOptions) {
        let Some(inner) = &self.inner else { return };
        *locked(&inner.options) = options;
        for endpoint in locked(&inner.endpoints).values() {
            locked(&endpoint.counts).clear();
            locked(&endpoint.earlier).clear();
            locked(&endpoint.refused).clear();
            locked(&endpoint.made).clear();
        }
    }

    /// What is aimed at from now on, besides what breaks by rate; classes are counted from the last
    /// [`Faults::set`].
    pub fn aim(&self, aims: Vec<Aim>) {
        if let Some(inner) = &self.inner {
            *locked(&inner.aims) = aims;
        }
    }

    /// What was made twice: the same request was sent again, and carried out again, although nobody had
    /// looked in between whether the first was. Each is told once.
    pub fn repeated(&self) -> Vec<String> {
        self.inner.as_ref().map(|inner| inner.journal.take_repeated()).unwrap_or_default()
    }

    /// Writes what broke to `path`, one JSON object a line, from now on and what broke before.
    pub fn log_to(&self, path: &Path) -> std::io::Result<()> {
        self.inner.as_ref().map_or(Ok(()), |inner| inner.journal.log_to(path))
    }

    /// How many requests were looked at.
    pub fn requests(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.journal.requests())
    }

    /// How many broke, by kind.
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.inner.as_ref().map(|inner| inner.journal.counts()).unwrap_or_default()
    }

    /// One line for a person; nothing where faults are off.
    pub fn summary(&self) -> Option<String> {
        let options = self.inner.as_ref()?.options();
        let counts = self.counts();
        let all: u64 = counts.values().sum();
        let kinds: Vec<String> = counts.iter().map(|(fault, count)| format!("{}={count}", fault.name())).collect();
        let (rate, seed) = (options.rate, options.seed);
        Some(format!("faults: {all} of {} requests (rate {rate}, seed {seed}) {}", self.requests(), kinds.join(" ")))
    }

    /// Takes an endpoint away for a while, as a restart does: its connections are cut, new ones are refused.
    /// Nothing happens where no endpoint has this name.
    pub fn outage(&self, name: &str, lasts: Duration) {
        let line = locked(&self.lines).get(name).cloned();
        if let Some(line) = line {
            let mut line = locked(&line);
            line.back_at = Some(Instant::now() + lasts);
            std::mem::take(&mut line.cut).cancel();
        }
    }
}

/// The faults of one endpoint, or none.
#[derive(Clone, Default)]
pub struct At {
    endpoint: Option<Arc<Endpoint>>,
    line: Option<Arc<Mutex<Line>>>,
}

impl At {
    /// What cuts a connection that begins now. `None`: the endpoint is away, and the connection ends here.
    pub(crate) fn connect(&self) -> Option<CancellationToken> {
        self.line.as_ref().map_or_else(|| Some(CancellationToken::new()), |line| locked(line).connect())
    }

    /// What stands between a connection and its router; `None`: nothing.
    pub(crate) fn injector(&self, tasks: &TaskTracker, stop: &CancellationToken) -> Option<Injector> {
        self.endpoint.clone().map(|endpoint| Injector::new(endpoint, tasks.clone(), stop.clone()))
    }
}

/// What one endpoint remembers.
struct Endpoint {
    name: &'static str,
    dialect: Dialect,
    inner: Arc<Inner>,
    /// Requests so far, by class.
    counts: Mutex<HashMap<String, u64>>,
    /// Answers of reads, for stale ones.
    earlier: Mutex<HashMap<String, body::Kept>>,
    /// How often each write was asked for, by a hash of it, for late ones.
    writes: Mutex<HashMap<u64, u64>>,
    /// Requests that a mild fault has just met, by a hash: their next try passes.
    refused: Mutex<HashSet<u64>>,
    /// Reads so far.
    reads: AtomicU64,
    /// What was made, by a hash of its request, and how many reads there were by then.
    made: Mutex<HashMap<u64, u64>>,
    line: Arc<Mutex<Line>>,
}

/// The line of each endpoint, by its name.
type Lines = BTreeMap<&'static str, Arc<Mutex<Line>>>;

/// Whether the endpoint is reachable.
#[derive(Default)]
struct Line {
    /// Cuts the connections of now.
    cut: CancellationToken,
    back_at: Option<Instant>,
}

impl Line {
    fn connect(&self) -> Option<CancellationToken> {
        match self.back_at {
            Some(back) if Instant::now() < back => None,
            _ => Some(self.cut.child_token()),
        }
    }
}

impl Endpoint {
    /// The number of this request among those of its class, from 0.
    fn count(&self, class: &str) -> u64 {
        self.inner.journal.saw_request();
        let mut counts = locked(&self.counts);
        let count = counts.entry(class.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    fn asked(&self, write: &str) {
        *locked(&self.writes).entry(hash(write)).or_default() += 1;
    }

    fn times_asked(&self, write: &str) -> u64 {
        locked(&self.writes).get(&hash(write)).copied().unwrap_or_default()
    }

    /// A mild fault, unless the last try of this very request met one.
    fn mildly(
        &self,
        options: FaultOptions,
        class: &str,
        effect: Effect,
        count: u64,
        key: &str,
    ) -> Option<plan::Planned> {
        if options.mild <= 0.0 || locked(&self.refused).remove(&hash(key)) {
            return None;
        }
        let planned = plan::decide_mild(options, self.name, class, effect, count)?;
        locked(&self.refused).insert(hash(key));
        Some(planned)
    }

    /// A request that makes something was carried out.
    fn has_made(&self, class: &str, key: &str) {
        let reads = self.reads.load(Ordering::Relaxed);
        let before = locked(&self.made).insert(hash(key), reads);
        if before == Some(reads) {
            self.inner.journal.made_again(format!("{class} at {}", self.name));
        }
    }

    /// What cuts a connection that begins now; nothing while the endpoint is away.
    fn line(&self) -> Option<CancellationToken> {
        locked(&self.line).connect()
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A count of one kind, for the journal.
fn add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
