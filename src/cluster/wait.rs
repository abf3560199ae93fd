//! The one place that waits on the cluster: watches with deadlines.

use std::time::Duration;

use kube::Resource;
use serde::de::DeserializeOwned;

use super::Cluster;
use crate::event::Problem;

/// What a look at the object said.
pub enum Poll<T> {
    Done(T),
    /// Not yet; the state seen, in a few words.
    NotYet(String),
    /// Waiting on is pointless.
    Failed(Problem),
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
    let _ = (cluster, namespace, name, what, limit, look);
    unimplemented!()
}

/// Calls `attempt` with growing pauses until it says done or failed or the limit is over: for what
/// cannot be watched (MTV's inventory, a guest's SSH, a source platform's task).
pub async fn poll<T, F>(what: &str, limit: Duration, attempt: impl FnMut() -> F + Send) -> Result<T, WaitError>
where
    F: Future<Output = Poll<T>> + Send,
{
    let _ = (what, limit, attempt);
    unimplemented!()
}
