//! Who hears of a retry: the task's teller, set by whoever knows for which cell the task works.

use std::sync::Arc;
use std::time::Duration;

use crate::tasks::boxed;

/// A request that is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Who did not answer well: `cluster`, `inventory`, a profile's name …
    pub peer: String,
    /// The request, without its arguments.
    pub what: String,
    /// What was wrong with the try before.
    pub cause: String,
    /// How long is waited before the next.
    pub pause: Duration,
}

/// Hears of retries.
pub type Teller = Arc<dyn Fn(&Retry) + Send + Sync>;

tokio::task_local! {
    static TELLER: Teller;
}

/// Runs `work`; `teller` hears of every request that it sends again. Boxed, as in [`crate::tasks::boxed`].
pub fn scope<T>(teller: Teller, work: impl Future<Output = T>) -> impl Future<Output = T> {
    TELLER.scope(teller, boxed(work))
}

/// For work that goes on in a task of its own: the teller of this one.
pub fn current() -> Option<Teller> {
    TELLER.try_with(Arc::clone).ok()
}

/// Tells the log, and the task's teller where there is one.
pub fn tell(retry: &Retry) {
    let Retry { peer, what, cause, pause } = retry;
    tracing::debug!(peer, what, cause, ?pause, "sent again");
    let _ = TELLER.try_with(|teller| teller(retry));
}
