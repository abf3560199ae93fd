//! The one place that waits on the cluster: watches with deadlines.
//!
//! [`until`] looks at one object through a shared watch ([`hub`]); [`poll`] asks again and
//! again where nothing can be watched. Both say what they wait for in [`WAITING`], if it is set.

pub(crate) mod hub;
mod known;
pub mod logs;
pub mod remembered;
mod told;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Resource;
use kube::api::{ApiResource, DynamicObject};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument;

use super::Cluster;
use crate::event::Problem;
pub use crate::net::Poll;
use crate::net::poll::{self, Ended, tenths};
use crate::tasks::boxed;
use hub::{Joined, View};
use told::Held;

tokio::task_local! {
    /// What the current task waits for and what it saw last, for a caller that reports slowness:
    /// `WAITING.scope(Arc::clone(&waiting), stage).await`.
    pub static WAITING: Arc<Mutex<Waiting>>;
}

/// What a task waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// For what, and the state seen last.
    pub text: String,
    /// Since when that is so.
    pub since: Option<jiff::Timestamp>,
    /// Nobody answers: since when, and the last error. What was seen last is then no evidence of now.
    pub silent: Option<String>,
}

impl Waiting {
    /// `the moon; last seen: clouds, since 2026-11-28T06:57:12Z`; nothing where nothing is waited for.
    pub fn line(&self) -> Option<String> {
        let since = self.since.map(|since| format!(", since {}", whole_seconds(since))).unwrap_or_default();
        (!self.text.is_empty()).then(|| format!("{}{since}", self.text))
    }
}

fn whole_seconds(at: jiff::Timestamp) -> jiff::Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}

/// `nobody has answered since 2026-11-28T06:57:12Z: connection refused`.
fn silence(silent: Option<(Duration, String)>) -> Option<String> {
    let (age, error) = silent?;
    let since = crate::clock::now() - jiff::SignedDuration::try_from(age).unwrap_or_default();
    Some(format!("nobody has answered since {}: {error}", whole_seconds(since)))
}

#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The object says that it will not happen.
    #[error("{}", .0.message)]
    Failed(Problem),
    #[error("gave up after {waited:?} waiting for {what}; last seen: {last}")]
    Timeout { what: String, waited: Duration, last: String },
    #[error("failed to watch for {what}: {cause}")]
    Watch { what: String, cause: String },
}

impl WaitError {
    /// The problem for a report.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Failed(problem) => problem.clone(),
            other => Problem::new(other.to_string()),
        }
    }
}

fn say(what: &str, last: &str, silent: Option<&str>) {
    // Not set: nobody asked.
    let _ = WAITING.try_with(|waiting| {
        if let Ok(mut waiting) = waiting.lock() {
            let text = format!("{what}; last seen: {last}");
            if waiting.text != text {
                (waiting.text, waiting.since) = (text, Some(crate::clock::now()));
            }
            waiting.silent = silent.map(str::to_owned);
        }
    });
}

fn span(what: &str) -> tracing::Span {
    tracing::info_span!("wait", otel.name = format!("wait for {what}"))
}

fn timeout(what: &str, begun: Instant, last: String) -> WaitError {
    WaitError::Timeout { what: what.to_owned(), waited: tenths(begun.elapsed()), last }
}

/// Waits until `look` (given the object, or `None` while it is absent) says done or failed.
/// `what` completes "waiting for …". Survives expired watches, resets, 429 and 5xx until the deadline.
pub async fn until<K, T>(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
    what: &str,
    limit: Duration,
    look: impl FnMut(Option<&K>) -> Poll<T> + Send,
) -> Result<T, WaitError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    until_read(cluster, &ApiResource::erase::<K>(&()), namespace, name, what, limit, look).await
}

/// A dynamic object as `K`. Items of lists come without their type.
pub(crate) fn parse<K: DeserializeOwned>(object: &DynamicObject, kind: &ApiResource) -> Result<K, serde_json::Error> {
    let (api_version, kind) = match &object.types {
        Some(types) => (types.api_version.as_str(), types.kind.as_str()),
        None => (kind.api_version.as_str(), kind.kind.as_str()),
    };
    let head = [
        ("apiVersion", Value::from(api_version)),
        ("kind", Value::from(kind)),
        ("metadata", serde_json::to_value(&object.metadata)?),
    ];
    // What the object says is not copied to be read.
    let fields = object.data.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
    let fields = head.iter().map(|(key, value)| (*key, value)).chain(fields);
    K::deserialize(serde::de::value::MapDeserializer::new(fields))
}

/// [`until`] for a kind known only at run time.
pub async fn until_dynamic<T>(
    cluster: &Cluster,
    kind: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    what: &str,
    limit: Duration,
    look: impl FnMut(Option<&DynamicObject>) -> Poll<T> + Send,
) -> Result<T, WaitError> {
    until_read(cluster, kind, namespace, name, what, limit, look).await
}

async fn until_read<K: DeserializeOwned, T>(
    cluster: &Cluster,
    kind: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    what: &str,
    limit: Duration,
    mut look: impl FnMut(Option<&K>) -> Poll<T> + Send,
) -> Result<T, WaitError> {
    let mut look = |held: Option<Arc<Held>>| match held.map(|held| held.read()) {
        None => look(None),
        Some(Ok(object)) => look(Some(&object)),
        Some(Err(cause)) => Poll::NotYet(format!("{} {name} can't be read: {cause}", kind.kind)),
    };
    let join = || cluster.hub().join(&cluster.client(), kind, namespace, name);
    let seen = move |joined: &Joined| match joined.view() {
        View::TooWide => {
            cluster.hub().too_wide(kind);
            Seen::Elsewhere
        }
        View::Refused(cause) => Seen::Refused(cause),
        View::Unknown(trouble) => Seen::Unknown(trouble),
        View::Known(held) => Seen::Looked(look(held)),
    };
    watch(join, what, limit, seen).instrument(span(what)).await
}

/// Waits until `look`, given all objects of a kind in a namespace, says done or failed.
pub async fn until_some<T>(
    cluster: &Cluster,
    kind: &ApiResource,
    namespace: Option<&str>,
    what: &str,
    limit: Duration,
    mut look: impl FnMut(&[Arc<DynamicObject>]) -> Poll<T> + Send,
) -> Result<T, WaitError> {
    let join = || cluster.hub().join_all(&cluster.client(), kind, namespace);
    let seen = move |joined: &Joined| match (joined.all(), joined.view()) {
        (_, View::Refused(cause)) => Seen::Refused(cause),
        (Some(all), _) => Seen::Looked(look(&all)),
        (None, View::Unknown(trouble)) => Seen::Unknown(trouble),
        (None, View::Known(_) | View::TooWide) => Seen::Unknown(None),
    };
    watch(join, what, limit, seen).instrument(span(what)).await
}

/// What a look at a shared watch gives.
enum Seen<T> {
    /// Nothing is to be seen here: joined again.
    Elsewhere,
    Refused(String),
    Unknown(Option<String>),
    Looked(Poll<T>),
}

async fn watch<T>(
    join: impl Fn() -> Joined + Send,
    what: &str,
    limit: Duration,
    mut look: impl FnMut(&Joined) -> Seen<T> + Send,
) -> Result<T, WaitError> {
    let begun = Instant::now();
    let deadline = begun + limit;
    let mut joined = join();
    let mut last = "nothing yet".to_owned();
    say(what, &last, None);
    loop {
        joined.mark();
        match look(&joined) {
            Seen::Elsewhere => {
                joined = join();
                continue;
            }
            Seen::Refused(cause) => return Err(WaitError::Watch { what: what.to_owned(), cause }),
            Seen::Unknown(trouble) => {
                if let Some(trouble) = trouble {
                    last = trouble;
                }
            }
            Seen::Looked(looked) => match looked {
                Poll::Done(value) => return Ok(value),
                Poll::Failed(problem) => return Err(WaitError::Failed(problem)),
                Poll::NotYet(seen) => last = seen,
            },
        }
        let silent = silence(joined.silence());
        say(what, &last, silent.as_deref());
        match tokio::time::timeout_at(deadline, joined.changed()).await {
            Ok(true) => {}
            Ok(false) => {
                let cause = "the watch ended".to_owned();
                return Err(WaitError::Watch { what: what.to_owned(), cause });
            }
            // What was seen last is no evidence when nobody has answered since.
            Err(_) => match silence(joined.silence()) {
                Some(cause) => {
                    let cause = format!("{cause}; last seen before: {last}");
                    return Err(WaitError::Watch { what: what.to_owned(), cause });
                }
                None => return Err(timeout(what, begun, last)),
            },
        }
    }
}

/// Calls `attempt` with growing pauses until it says done or failed or the limit is over: for what
/// cannot be watched (MTV's inventory, a guest's SSH, a source platform's task).
pub async fn poll<T, F>(what: &str, limit: Duration, attempt: impl FnMut() -> F + Send) -> Result<T, WaitError>
where
    F: Future<Output = Poll<T>> + Send,
{
    ask(what, limit, attempt).instrument(span(what)).await
}

async fn ask<T, F>(what: &str, limit: Duration, mut attempt: impl FnMut() -> F + Send) -> Result<T, WaitError>
where
    F: Future<Output = Poll<T>> + Send,
{
    let look = || {
        let looking = boxed(attempt());
        async { Ok::<_, std::convert::Infallible>(looking.await) }
    };
    poll::until(Instant::now() + limit, &|last| say(what, last, None), look).await.map_err(|ended| match ended {
        Ended::Timeout { waited, last } => WaitError::Timeout { what: what.to_owned(), waited, last },
        Ended::Failed(problem) => WaitError::Failed(problem),
        Ended::Error(never) => match never {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_never_ends_says_what_it_saw_last() {
        let text = Arc::new(Mutex::new(Waiting::default()));
        let error = WAITING
            .scope(Arc::clone(&text), async {
                poll::<(), _>("the moon", Duration::from_secs(7), || async { Poll::NotYet("clouds".into()) }).await
            })
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "gave up after 7s waiting for the moon; last seen: clouds");
        assert_eq!(text.lock().unwrap().text, "the moon; last seen: clouds");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_does_not_outlive_the_limit() {
        let begun = Instant::now();
        let error = poll::<(), _>("x", Duration::from_secs(3), std::future::pending).await.unwrap_err();
        assert!(matches!(error, WaitError::Timeout { .. }));
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
