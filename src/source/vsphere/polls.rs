//! Turns at long polls: how many at once of one session, and how long each may last. Knows nothing of what is polled.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Longest single poll in seconds.
const POLL_SECONDS: u64 = 20;
/// Long polls at once of one session. Each takes a connection while it lasts, and a thousand cells may clone at once.
const POLLS: usize = 100;

/// Turns at long polls.
#[derive(Debug)]
pub(super) struct Polls {
    turns: Semaphore,
    /// Who polls or waits for a turn.
    crowd: AtomicUsize,
}

impl Default for Polls {
    fn default() -> Self {
        Self { turns: Semaphore::new(POLLS), crowd: AtomicUsize::new(0) }
    }
}

/// One of those who wait.
struct OneOf<'a>(&'a AtomicUsize);

impl Drop for OneOf<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Polls {
    /// Runs one poll, told how many seconds it may last: so few that each of two thousand has a turn within the time of the
    /// longest. `None`: the deadline came before the turn.
    pub(super) async fn turn<T>(&self, deadline: Instant, poll: impl AsyncFnOnce(u64) -> T) -> Option<T> {
        self.crowd.fetch_add(1, Ordering::Relaxed);
        let _one = OneOf(&self.crowd);
        // It is never closed.
        let _turn = timeout_at(deadline, self.turns.acquire()).await.ok()?;
        let crowd = u64::try_from(self.crowd.load(Ordering::Relaxed).div_ceil(POLLS)).unwrap_or(POLL_SECONDS);
        Some(poll((POLL_SECONDS / crowd.max(1)).max(1)).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;
    use crate::net::pauses::pause;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_polls_shortly_so_that_each_has_a_turn_within_the_longest_poll() {
        let (polls, at_once, most) = (Polls::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let longest = AtomicU64::new(0);
        let begun = Instant::now();
        let turn = async || {
            polls
                .turn(begun + Duration::from_secs(1000), async |seconds| {
                    most.fetch_max(at_once.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    let at = begun.elapsed().as_secs();
                    pause(Duration::from_secs(seconds)).await;
                    at_once.fetch_sub(1, Ordering::Relaxed);
                    (at, seconds)
                })
                .await
                .unwrap()
        };
        assert_eq!(turn().await, (0, POLL_SECONDS), "who is alone polls as long as may be");
        let one = async || {
            let mut before = turn().await.0;
            // The first of a crowd did not know of it, and the last know that it goes.
            while before < 200 {
                let (at, _) = turn().await;
                if (60..200).contains(&at) {
                    longest.fetch_max(at - before, Ordering::Relaxed);
                }
                before = at;
            }
        };
        futures::future::join_all((0..10 * POLLS).map(|_| one())).await;
        assert_eq!(most.load(Ordering::Relaxed), POLLS);
        let longest = longest.load(Ordering::Relaxed);
        assert!((POLL_SECONDS / 2..=POLL_SECONDS + 2).contains(&longest), "one had no turn for {longest} s");
        assert_eq!(turn().await.1, POLL_SECONDS, "those who have gone do not count");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_turn_before_the_deadline_goes_without() {
        let polls = Polls::default();
        let begun = Instant::now();
        let hold = || polls.turn(begun + Duration::from_secs(60), async |_| pause(Duration::from_secs(30)).await);
        let held = futures::future::join_all((0..POLLS).map(|_| hold()));
        let late = async {
            let turn = polls.turn(begun + Duration::from_secs(5), async |_| ()).await;
            (turn, begun.elapsed().as_secs())
        };
        let (_, late) = tokio::join!(held, late);
        assert_eq!(late, (None, 5));
    }
}
