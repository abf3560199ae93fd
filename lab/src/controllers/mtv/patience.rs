//! How often a thing is looked at that is not as it should be: often at first, and ever more seldom while nothing
//! changes. The real controllers are woken by events; this one looks, and must not keep an idle lab busy with it.

use std::time::Duration;

use tokio::time::Instant;

/// Real pauses: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(5));
/// Real time in which somebody probably waits for it.
const WANTED: Duration = Duration::from_secs(60);

/// What a look is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Something depends on it: the platform shall be asked often.
    Now,
    /// What was read last is good enough.
    Around,
}

/// Since when a thing looks the same.
pub(super) struct Patience(Instant);

impl Default for Patience {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Patience {
    /// Returns when to look again, and how.
    pub async fn again(&self) -> Look {
        let same = self.0.elapsed();
        tokio::time::sleep((same / 10).clamp(PAUSE.0, PAUSE.1)).await;
        if same < WANTED { Look::Now } else { Look::Around }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_stays_as_it_is_is_looked_at_ever_more_seldom_and_in_the_end_only_around() {
        let (patience, begun) = (Patience::default(), Instant::now());
        let (mut looks, mut last) = (0, Look::Now);
        while begun.elapsed() < Duration::from_secs(600) {
            last = patience.again().await;
            looks += 1;
        }
        assert!((100..200).contains(&looks), "{looks} looks in ten minutes");
        assert_eq!(last, Look::Around);
        assert_eq!(Patience::default().again().await, Look::Now);
    }
}
