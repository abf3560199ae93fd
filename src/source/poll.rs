//! Asking a platform again and again, with a deadline, where it offers nothing to wait on.

use tokio::time::Instant;

use super::SourceError;
use crate::net::Poll;
use crate::net::poll::{self, Ended};

/// Looks with growing pauses until it is done, fails, or `deadline` comes; then the error tells the
/// last state seen. `what` completes "waiting for …".
pub(super) async fn until<T, F>(
    profile: &str,
    what: &str,
    deadline: Instant,
    look: impl FnMut() -> F,
) -> Result<T, SourceError>
where
    F: Future<Output = Result<Poll<T>, SourceError>>,
{
    let (profile, what) = (profile.to_owned(), what.to_owned());
    poll::until(deadline, &|_| (), look).await.map_err(|ended| match ended {
        Ended::Timeout { waited, last } => SourceError::Timeout { profile, what, waited, last },
        Ended::Failed(problem) => {
            SourceError::Operation { profile, what: format!("wait for {what}"), cause: problem.message }
        }
        Ended::Error(error) => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_and_tells_the_last_state() {
        let deadline = Instant::now() + Duration::from_secs(7);
        let ended: Result<(), _> =
            until("p", "volume v to be available", deadline, || async { Ok(Poll::NotYet("creating".to_owned())) })
                .await;
        assert_eq!(
            ended.unwrap_err().to_string(),
            "p: gave up after 7s waiting for volume v to be available; last seen: creating"
        );
    }
}
