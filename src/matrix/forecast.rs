//! When a matrix may end, and what keeps it from ending earlier.
//!
//! Plays the engine's rule on the cells' expected times: the longest begins first, as many at once as the run and each
//! profile allow. What only turns up in a run (MTV's own limits, retries) is not in it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Cell, Decision};

/// What the expected times come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    pub takes: Duration,
    pub bound: Bound,
}

/// What a matrix waits for most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// One cell lasts as long as the whole.
    Cell(String),
    /// `jobs`.
    Jobs(usize),
    /// `max_concurrent` of a profile.
    Profile { name: String, max_concurrent: usize },
}

/// `max_concurrent`: where a profile sets none. `None`: nothing is to run.
pub fn forecast(cells: &[Cell], jobs: usize, max_concurrent: usize) -> Option<Forecast> {
    let mut all: Vec<(&str, &str, usize, Duration)> = cells
        .iter()
        .filter(|cell| cell.decision == Decision::Run)
        .map(|cell| {
            let own = cell.profile.max_concurrent.unwrap_or(max_concurrent).max(1);
            (cell.id.as_str(), cell.profile.name.as_str(), own, cell.expected)
        })
        .collect();
    all.sort_by_key(|(id, .., expected)| (std::cmp::Reverse(*expected), *id));
    let (longest, .., last) = *all.first()?;
    let takes = play(&all, jobs.max(1));
    if takes <= last {
        return Some(Forecast { takes, bound: Bound::Cell(longest.to_owned()) });
    }
    let free: Vec<_> = all.iter().map(|(id, profile, _, expected)| (*id, *profile, usize::MAX, *expected)).collect();
    if play(&free, jobs.max(1)) >= takes {
        return Some(Forecast { takes, bound: Bound::Jobs(jobs) });
    }
    // The profile that has most to do for each place that it gives.
    let mut work: BTreeMap<&str, (Duration, usize)> = BTreeMap::new();
    for (_, profile, own, expected) in &all {
        let entry = work.entry(profile).or_insert((Duration::ZERO, *own));
        entry.0 += *expected;
    }
    let share = |(total, own): &(Duration, usize)| *total / u32::try_from(*own).unwrap_or(u32::MAX);
    let (name, (_, max_concurrent)) = work.into_iter().max_by_key(|(_, of)| share(of))?;
    Some(Forecast { takes, bound: Bound::Profile { name: name.to_owned(), max_concurrent } })
}

/// Ends of cells at work, by the clock of the play.
fn play(cells: &[(&str, &str, usize, Duration)], jobs: usize) -> Duration {
    let mut waiting: Vec<_> = cells.to_vec();
    let mut at_work: Vec<(Duration, &str)> = Vec::new();
    let mut now = Duration::ZERO;
    while !waiting.is_empty() || !at_work.is_empty() {
        let next = waiting.iter().position(|(_, profile, own, _)| {
            at_work.len() < jobs && at_work.iter().filter(|(_, other)| other == profile).count() < *own
        });
        if let Some(next) = next {
            let (_, profile, _, expected) = waiting.remove(next);
            at_work.push((now + expected, profile));
            continue;
        }
        let Some(first) = (0..at_work.len()).min_by_key(|n| at_work.get(*n).map(|(end, _)| *end)) else { break };
        now = at_work.swap_remove(first).0;
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(n * 60)
    }

    #[test]
    fn cells_fill_the_places_that_the_run_and_their_profile_give() {
        let cell = |id, profile, own, n| (id, profile, own, minutes(n));
        let four = [cell("a", "v", 2, 30), cell("b", "v", 2, 20), cell("c", "v", 2, 20), cell("d", "o", 2, 10)];
        assert_eq!(play(&four, 1), minutes(80), "one after the other");
        assert_eq!(play(&four, 2), minutes(40));
        assert_eq!(play(&four, 8), minutes(40), "two of a profile at once");
        let free: Vec<_> = four.iter().map(|(id, profile, _, n)| (*id, *profile, usize::MAX, *n)).collect();
        assert_eq!(play(&free, 8), minutes(30), "as long as the longest");
    }
}
