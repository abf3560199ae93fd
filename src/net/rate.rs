//! At most so many requests a second: what `qps` bounds. Knows no protocol.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::pauses::pause;

/// Turns at even distances; what was not used for up to a second may follow at once.
#[derive(Debug)]
pub struct Rate {
    every: Duration,
    /// When the next turn would be without any saved.
    next: Mutex<Instant>,
}

impl Rate {
    pub fn per_second(turns: NonZeroU32) -> Self {
        Self { every: Duration::from_secs(1) / turns.get(), next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn, in the order in which they were asked for.
    pub async fn turn(&self) {
        let now = Instant::now();
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            // One second's worth is saved up, and no more.
            let earliest = now.checked_sub(Duration::from_secs(1) - self.every).unwrap_or(now);
            let at = (*next).max(earliest);
            *next = at + self.every;
            at
        };
        if at > now {
            pause(at - now).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_seconds_worth_at_once_turns_come_at_even_distances() {
        let begun = Instant::now();
        let rate = Arc::new(Rate::per_second(NonZeroU32::new(5).unwrap()));
        let turn = || async {
            rate.turn().await;
            begun.elapsed().as_millis()
        };
        let first = futures::future::join_all((0..8).map(|_| turn())).await;
        assert_eq!(first, [0, 200, 400, 600, 800, 1000, 1200, 1400]);
        pause(Duration::from_secs(60)).await;
        let later = futures::future::join_all((0..7).map(|_| turn())).await;
        // Nothing was asked for a minute: five at once, not three hundred.
        assert_eq!(later.iter().map(|at| at - later[0]).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 200, 400]);
    }
}
