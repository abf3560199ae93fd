//! How many VMs are copied at once: MTV's limit, `controller_max_vm_inflight`, for each host of a Provider, or for the
//! Provider where its VMs have none (`pkg/controller/plan/scheduler`). Plans of one Provider share it.
//!
//! A VM counts until its disks are copied; a warm one until its first precopy, as MTV leaves out those that pause.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Mtv;
use crate::defects::conduct::Conduct;

/// MTV's default.
const LIMIT: usize = 20;
/// Simulated time between two looks at the limit itself while VMs wait: it may change.
const LOOK: Duration = Duration::from_secs(60);

/// Who counts together: a Provider and a host.
type Key = (String, String);

/// What is in flight, and who waits.
#[derive(Default)]
pub(super) struct Flights {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: HashMap<Key, Line>,
    /// When somebody last went to look at the limit.
    looked: Option<Instant>,
    limit: usize,
}

/// Those who count together.
#[derive(Default)]
struct Line {
    held: usize,
    /// The first comes first, but one who costs less may pass one who does not fit.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    cost: usize,
    seat: oneshot::Sender<Seat>,
}

/// The place of one VM; dropping it frees it.
pub(super) struct Seat {
    mtv: Arc<Mtv>,
    key: Key,
    cost: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(line) = self.mtv.flights.lock().lines.get_mut(&self.key) {
            line.held = line.held.saturating_sub(self.cost);
        }
        seat(&self.mtv, &self.key);
    }
}

impl Line {
    /// A VM that costs more than the limit flies alone.
    fn fits(&self, cost: usize, limit: usize) -> bool {
        self.held == 0 || self.held + cost <= limit
    }

    /// Those who have a place now; nobody is looked at where there is none. Who does not wait any more is forgotten.
    fn seated(&mut self, limit: usize) -> Vec<Waiting> {
        let (mut seated, mut at) = (Vec::new(), 0);
        while let Some(one) = self.waiting.get(at).filter(|_| self.fits(1, limit)) {
            let is_gone = one.seat.is_closed();
            if !is_gone && !self.fits(one.cost, limit) {
                at += 1;
            } else if let Some(one) = self.waiting.remove(at).filter(|_| !is_gone) {
                self.held += one.cost;
                seated.push(one);
            }
        }
        seated
    }
}

impl State {
    /// Whether whoever asks is to look at the limit, because nobody has for so long.
    fn looks(&mut self, after: Duration) -> bool {
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= after);
        if is_due {
            self.looked = Some(Instant::now());
        }
        is_due
    }

    fn seated(&mut self, key: &Key) -> Vec<Waiting> {
        self.lines.get_mut(key).map(|line| line.seated(self.limit)).unwrap_or_default()
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives what is free to those who wait there. A freed place wakes nobody else: a thousand may wait.
fn seat(mtv: &Arc<Mtv>, key: &Key) {
    let seated = mtv.flights.lock().seated(key);
    for Waiting { cost, seat } in seated {
        // Who has just gone frees it again.
        drop(seat.send(Seat { mtv: mtv.clone(), key: key.clone(), cost }));
    }
}

/// Waits for a place.
pub(super) async fn take(mtv: &Arc<Mtv>, key: Key, cost: usize) -> Seat {
    mtv.flights.lock().looks(Duration::ZERO);
    // Boxed: who waits does not keep the room for it.
    look(mtv).boxed().await;
    let (seat_of, mut place) = oneshot::channel();
    mtv.flights.lock().lines.entry(key.clone()).or_default().waiting.push_back(Waiting { cost, seat: seat_of });
    loop {
        seat(mtv, &key);
        let looks = async {
            loop {
                mtv.clock.sleep(LOOK).await;
                // One of those who wait is enough.
                if mtv.flights.lock().looks(mtv.clock.real(LOOK)) {
                    break look(mtv).boxed().await;
                }
            }
        };
        tokio::select! {
            seated = &mut place => if let Ok(seat) = seated { return seat },
            () = looks => {}
        }
    }
}

/// Looks at what the limit is now.
async fn look(mtv: &Arc<Mtv>) {
    let told = mtv.settings().await;
    let lines: Vec<Key> = {
        let mut state = mtv.flights.lock();
        let before = state.limit;
        match told {
            _ if mtv.defects.behaves(Conduct::IgnoresLimit) => state.limit = usize::MAX,
            Ok(settings) => state.limit = limit(&settings),
            // It is what it was.
            Err(_) if state.limit > 0 => {}
            Err(_) => state.limit = LIMIT,
        }
        if state.limit > before { state.lines.keys().cloned().collect() } else { Vec::new() }
    };
    // One that was raised has places for all.
    lines.iter().for_each(|key| seat(mtv, key));
}

fn limit(settings: &Value) -> usize {
    let told = settings.get("controller_max_vm_inflight");
    let number = told.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0).unwrap_or(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(costs: &[usize]) -> (Line, Vec<oneshot::Receiver<Seat>>) {
        let (waiting, places) = costs
            .iter()
            .map(|cost| {
                let (seat, place) = oneshot::channel();
                (Waiting { cost: *cost, seat }, place)
            })
            .unzip();
        (Line { held: 0, waiting }, places)
    }

    fn costs(seated: &[Waiting]) -> Vec<usize> {
        seated.iter().map(|one| one.cost).collect()
    }

    #[test]
    fn a_host_takes_as_many_as_the_limit_says_and_one_that_is_too_big_alone() {
        let (mut host, _places) = line(&[1, 1, 1]);
        assert_eq!(costs(&host.seated(2)), [1, 1], "the third waits");
        assert!(host.seated(2).is_empty());
        let (mut other, _places) = line(&[5, 1]);
        assert_eq!(costs(&other.seated(2)), [5], "another host is another line, and one too big flies alone");
        other.held = 0;
        assert_eq!(costs(&other.seated(2)), [1]);
        let (mut third, _places) = line(&[1, 2, 1]);
        assert_eq!(costs(&third.seated(2)), [1, 1], "who costs less passes who does not fit");
        assert_eq!(third.waiting.len(), 1);
    }

    #[test]
    fn the_first_who_waits_has_the_first_place_and_who_has_gone_has_none() {
        let (mut host, mut places) = line(&[1, 1, 1]);
        assert_eq!(host.seated(1).len(), 1);
        drop(places.remove(1));
        assert!(host.seated(1).is_empty(), "none is free");
        assert_eq!(host.waiting.len(), 2, "and nobody is looked at");
        assert_eq!(host.seated(2).len(), 1, "the third, by a limit that was raised");
        assert!(host.waiting.is_empty(), "the second has gone");
    }

    #[test]
    fn the_limit_is_a_number_above_zero_or_mtvs_own() {
        let of = |value: Value| limit(&serde_json::json!({"controller_max_vm_inflight": value}));
        assert_eq!((of(3.into()), of("4".into()), of(0.into()), of("many".into())), (3, 4, LIMIT, LIMIT));
        assert_eq!(limit(&Value::Null), LIMIT);
    }
}
