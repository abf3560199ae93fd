//! Whether anybody looks at a Provider's inventory: a collector that has to ask its platform asks
//! often only then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Real time after a look for which a collector asks as often as it can: who looks waits for something.
const EAGER: Duration = Duration::from_secs(5);
/// Real time for which a look counts: longer than a VM takes to be made, so that its parts are seen
/// one by one as they come. Pauses grow with the time since the look: a tenth of it.
const BUSY: Duration = Duration::from_secs(120);
/// The longest of them.
const SLOWEST: Duration = Duration::from_secs(5);
/// Real time between two questions of a collector that nobody looks at: doubled from the first to the
/// last.
const IDLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Looks at one inventory.
#[derive(Debug)]
pub struct Demand {
    last: Mutex<Instant>,
    bell: Notify,
}

impl Default for Demand {
    fn default() -> Self {
        Self { last: Mutex::new(Instant::now()), bell: Notify::new() }
    }
}

impl Demand {
    /// Somebody looks.
    pub fn look(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.bell.notify_one();
    }

    fn since(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Returns at once while somebody looks; else when somebody does, or after a pause that grows.
    pub async fn pace(&self, pause: &mut Duration) {
        let since = self.since();
        *pause = match since {
            _ if since < EAGER => return *pause = Duration::ZERO,
            _ if since < BUSY => (since / 10).min(SLOWEST),
            _ => (*pause * 2).clamp(IDLE.0, IDLE.1),
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(*pause) => return,
                // A bell from before the last question says nothing new.
                () = self.bell.notified() => if self.since() < EAGER { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_nobody_looks_at_asks_ever_more_seldom_until_somebody_does() {
        let demand = Arc::new(Demand::default());
        let mut pause = Duration::ZERO;
        let begun = Instant::now();
        demand.pace(&mut pause).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "it was made because somebody wants it");
        let mut questions = 0;
        while begun.elapsed() < BUSY {
            tokio::time::sleep(Duration::from_millis(150)).await;
            demand.pace(&mut pause).await;
            questions += 1;
        }
        assert!((40..80).contains(&questions), "{questions} in two minutes: often at first, then ever more seldom");
        let begun = Instant::now();
        for _ in 0..20 {
            demand.pace(&mut pause).await;
        }
        assert!(begun.elapsed() > Duration::from_secs(14 * 60), "{:?}", begun.elapsed());
        let begun = Instant::now();
        let other = demand.clone();
        let (_, ()) = tokio::join!(demand.pace(&mut pause), async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            other.look();
        });
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }
}
