//! Asking a platform again and again, with a deadline, where it offers nothing to wait on.

use std::time::Duration;

use tokio::time::Instant;

use super::SourceError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What a look said.
pub(super) enum Look<T> {
    Done(T),
    /// Not yet; the state seen, in a few words.
    NotYet(String),
}

/// Looks with growing pauses until it is done, fails, or `deadline` comes; then the error tells the
/// last state seen. `what` completes "waiting for …".
pub(super) async fn until<T, F>(
    profile: &str,
    what: &str,
    deadline: Instant,
    mut look: impl FnMut() -> F,
) -> Result<T, SourceError>
where
    F: Future<Output = Result<Look<T>, SourceError>>,
{
    let begun = Instant::now();
    let mut rest = FIRST_PAUSE;
    let mut last = "nothing yet".to_owned();
    let mut ticks = tokio::time::interval(FIRST_PAUSE);
    ticks.tick().await;
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(Look::Done(value))) => return Ok(value),
            Ok(Ok(Look::NotYet(seen))) => last = seen,
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        let now = Instant::now();
        if now >= deadline {
            let waited = Duration::from_millis(begun.elapsed().as_millis() as u64 / 100 * 100);
            return Err(SourceError::Timeout { profile: profile.to_owned(), what: what.to_owned(), waited, last });
        }
        // The last look is at the deadline, not before it.
        ticks.reset_after(rest.min(deadline - now));
        ticks.tick().await;
        rest = (rest * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_and_tells_the_last_state() {
        let deadline = Instant::now() + Duration::from_secs(7);
        let ended: Result<(), _> =
            until("p", "volume v to be available", deadline, || async { Ok(Look::NotYet("creating".to_owned())) })
                .await;
        assert_eq!(
            ended.unwrap_err().to_string(),
            "p: gave up after 7s waiting for volume v to be available; last seen: creating"
        );
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_does_not_outlive_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(3);
        let ended: Result<(), _> = until("p", "x", deadline, std::future::pending).await;
        assert!(matches!(ended, Err(SourceError::Timeout { .. })));
        assert_eq!(Instant::now(), deadline);
    }
}
