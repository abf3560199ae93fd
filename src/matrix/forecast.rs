//! When a matrix may end, and what keeps it from ending earlier.
//!
//! Plays the engine's rule on the cells' expected times: the longest begins first, as many at once as the run and each
//! profile allow. What only turns up in a run (MTV's own limits, retries) is not in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
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
    all.sort_by_key(|(id, .., expected)| (Reverse(*expected), *id));
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

/// One profile's cells while they are played.
struct Queue {
    /// Place in the order of all, and expected time.
    waiting: VecDeque<(usize, Duration)>,
    free: usize,
}

/// When the last of the cells ends, by the clock of the play.
fn play(cells: &[(&str, &str, usize, Duration)], jobs: usize) -> Duration {
    let mut queues: Vec<Queue> = Vec::new();
    let mut of_profile: HashMap<&str, usize> = HashMap::new();
    for (place, (_, profile, own, expected)) in cells.iter().enumerate() {
        let number = *of_profile.entry(profile).or_insert_with(|| {
            queues.push(Queue { waiting: VecDeque::new(), free: *own });
            queues.len() - 1
        });
        queues.get_mut(number).into_iter().for_each(|queue| queue.waiting.push_back((place, *expected)));
    }
    // Ends of cells at work, the first one on top, and whose they are.
    let mut at_work: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut now = Duration::ZERO;
    loop {
        let fronts = queues.iter_mut().enumerate().filter(|(_, queue)| queue.free > 0);
        let fronts = fronts.filter_map(|(number, queue)| Some((queue.waiting.front()?.0, number, queue)));
        let next = fronts.min_by_key(|(place, ..)| *place).filter(|_| at_work.len() < jobs);
        if let Some((_, number, queue)) = next {
            if let Some((_, expected)) = queue.waiting.pop_front() {
                queue.free -= 1;
                at_work.push(Reverse((now + expected, number)));
            }
            continue;
        }
        let Some(Reverse((end, number))) = at_work.pop() else { return now };
        now = end;
        queues.get_mut(number).into_iter().for_each(|queue| queue.free += 1);
    }
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
