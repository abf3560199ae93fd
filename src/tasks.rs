//! Tasks have owners: the one place that spawns. Whoever lets go of a task ends it.
//!
//! Most work needs no task: futures are joined and raced where they are made. One is for what goes on
//! beside its maker: a watch that many share, the two ways of a tunnel, signals, a heartbeat.

use std::pin::Pin;

use tokio_util::task::AbortOnDropHandle;

/// A running task. It is aborted when this is dropped, and can be awaited.
pub type Task<T> = AbortOnDropHandle<T>;

/// Runs `work` beside the caller, for as long as the result lives.
#[must_use = "the task ends with its owner"]
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn own<F>(work: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Task::new(tokio::spawn(work))
}

/// `work`, on the heap from here on. An `async fn` that is given a future holds it twice, as it was given and where it
/// awaits it: six layers made 358 KB of the 10 KB that a cell's longest stage needs, for each cell of a run, waiting or not.
/// Layers take it boxed, before they are a future themselves.
pub fn boxed<F: Future>(work: F) -> Pin<Box<F>> {
    Box::pin(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_ends_with_its_owner() {
        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        let task = own(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        drop(task);
        assert!(gone.await.is_err(), "what the task held is dropped");
    }
}
