//! Asking again and again, with a deadline, where nothing can be watched.

use std::time::Duration;

use tokio::time::Instant;

use super::pauses::{Pauses, pause};
use crate::event::Problem;

/// What a look said.
pub enum Poll<T> {
    Done(T),
    /// Not yet; the state seen, in a few words.
    NotYet(String),
    /// Waiting on is pointless.
    Failed(Problem),
}

/// How asking ended without what was wanted.
#[derive(Debug)]
pub enum Ended<E> {
    /// The deadline came first.
    Timeout { waited: Duration, last: String },
    /// It will not happen.
    Failed(Problem),
    /// The look itself failed.
    Error(E),
}

/// Looks with growing pauses until it is done, fails, or `deadline` comes. The last look is at the
/// deadline; one that hangs does not outlive it. `seen` hears of every state.
pub async fn until<T, E, F>(
    deadline: Instant,
    seen: &(dyn Fn(&str) + Send + Sync),
    mut look: impl FnMut() -> F,
) -> Result<T, Ended<E>>
where
    F: Future<Output = Result<Poll<T>, E>>,
{
    let begun = Instant::now();
    let mut pauses = Pauses::until(deadline);
    let mut last = "nothing yet".to_owned();
    seen(&last);
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(Poll::Done(value))) => return Ok(value),
            Ok(Ok(Poll::Failed(problem))) => return Err(Ended::Failed(problem)),
            Ok(Ok(Poll::NotYet(state))) => last = state,
            Ok(Err(error)) => return Err(Ended::Error(error)),
            Err(_) => {}
        }
        seen(&last);
        match pauses.next(None) {
            Some(time) => pause(time).await,
            None => return Err(Ended::Timeout { waited: tenths(begun.elapsed()), last }),
        }
    }
}

/// Whole tenths of a second are enough for people.
pub fn tenths(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64 / 100 * 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn asking_ends_at_its_deadline_and_tells_the_last_state() {
        let deadline = Instant::now() + Duration::from_secs(7);
        let look = || async { Ok::<_, ()>(Poll::<()>::NotYet("creating".to_owned())) };
        let ended = until(deadline, &|_| (), look).await.unwrap_err();
        let Ended::Timeout { waited, last } = ended else { panic!("{ended:?}") };
        assert_eq!((waited, last.as_str()), (Duration::from_secs(7), "creating"));
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_does_not_outlive_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(3);
        let ended: Result<(), Ended<()>> = until(deadline, &|_| (), std::future::pending).await;
        assert!(matches!(ended, Err(Ended::Timeout { .. })));
        assert_eq!(Instant::now(), deadline);
    }
}
