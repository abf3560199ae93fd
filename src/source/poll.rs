//! Asking a platform again and again, with a deadline: for platforms that push nothing.

use std::future::Future;
use std::time::{Duration, Instant};

use super::SourceError;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a look said.
pub(super) enum Look<T> {
    Done(T),
    /// Not yet; the state seen, in a few words.
    NotYet(String),
}

/// How the asking ended.
pub(super) enum Asked<T> {
    Done(T),
    /// The deadline came first; the last state seen.
    Timeout {
        last: String,
    },
}

/// Asks until `look` is content or `limit` is over; the pauses grow. An error ends it.
pub(super) async fn ask<T, F>(limit: Duration, mut look: impl FnMut() -> F) -> Result<Asked<T>, SourceError>
where
    F: Future<Output = Result<Look<T>, SourceError>>,
{
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        match look().await? {
            Look::Done(value) => return Ok(Asked::Done(value)),
            Look::NotYet(last) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(Asked::Timeout { last });
                }
                let next = tokio::time::Instant::now() + pause.min(left);
                tokio::time::interval_at(next, LONGEST_PAUSE).tick().await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn asking_ends_when_done_and_at_the_deadline_with_what_was_seen_last() {
        let mut left = 3;
        let asked = ask(Duration::from_secs(60), || {
            left -= 1;
            let look = if left == 0 { Look::Done(7) } else { Look::NotYet(format!("{left} left")) };
            async move { Ok(look) }
        });
        assert!(matches!(asked.await, Ok(Asked::Done(7))));
        let never = ask(Duration::ZERO, || async { Ok(Look::<()>::NotYet("locked".to_owned())) });
        assert!(matches!(never.await, Ok(Asked::Timeout { last }) if last == "locked"));
    }
}
