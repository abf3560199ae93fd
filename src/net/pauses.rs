//! Growing pauses with jitter: the only place with timers, and the only one that uses the crate `backoff`.

#![expect(clippy::disallowed_methods, reason = "the one place")]

use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;
use tokio::time::{Instant, Interval, Sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Growing pauses with jitter, from 100 ms to 5 s, until a deadline.
#[derive(Debug)]
pub struct Pauses {
    policy: backoff::ExponentialBackoff,
    /// `None`: without an end.
    deadline: Option<Instant>,
}

impl Pauses {
    /// For `limit` from now.
    pub fn new(limit: Duration) -> Self {
        Self::with(Some(Instant::now() + limit))
    }

    /// Until a moment; the last pause ends exactly then.
    pub fn until(deadline: Instant) -> Self {
        Self::with(Some(deadline))
    }

    /// For what goes on until it is dropped.
    pub fn endless() -> Self {
        Self::with(None)
    }

    fn with(deadline: Option<Instant>) -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(FIRST_PAUSE)
            .with_max_interval(LONGEST_PAUSE)
            .with_multiplier(1.7)
            .with_randomization_factor(0.2)
            // The deadline is ours, on tokio's clock.
            .with_max_elapsed_time(None)
            .build();
        Self { policy, deadline }
    }

    /// The next pause, at least `asked` (a `Retry-After`). The last one ends at the deadline, so that
    /// the last try is made then and not before; `None` when it is over.
    pub fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let pause = self.policy.next_backoff().unwrap_or(LONGEST_PAUSE).max(asked.unwrap_or_default());
        let Some(deadline) = self.deadline else { return Some(pause) };
        let left = deadline.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| pause.min(left))
    }

    /// Begin with short pauses again: something worked.
    pub fn reset(&mut self) {
        self.policy.reset();
    }
}

/// Sleeps.
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// An end that a body or a stream carries with it.
pub fn end_at(end: Instant) -> Sleep {
    tokio::time::sleep_until(end)
}

/// For what is told again and again while something else goes on (a heartbeat, *still waiting*): never
/// for asking, which has pauses that grow. The first tick is now.
pub fn beat(every: Duration) -> Interval {
    tokio::time::interval(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wish_of_the_server_is_honoured_but_never_beyond_the_deadline() {
        let mut pauses = Pauses::new(Duration::from_secs(60));
        assert_eq!(pauses.next(Some(Duration::from_secs(20))), Some(Duration::from_secs(20)));
        assert_eq!(pauses.next(Some(Duration::from_secs(3600))), Some(Duration::from_secs(60)));
        pause(Duration::from_secs(60)).await;
        assert_eq!(pauses.next(None), None);
    }
}
