//! How many VMs are copied at once: MTV's limit, `controller_max_vm_inflight`, for each host of a Provider, or for the
//! Provider where its VMs have none (`pkg/controller/plan/scheduler`). Plans of one Provider share it.
//!
//! A VM counts until its disks are copied; a warm one until its first precopy, as MTV leaves out those that pause.

use std::collections::HashMap;
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
    held: HashMap<Key, usize>,
    waiting: Vec<Waiting>,
    /// When somebody last went to look at the limit.
    looked: Option<Instant>,
    limit: usize,
}

struct Waiting {
    key: Key,
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
        if let Some(count) = self.mtv.flights.lock().held.get_mut(&self.key) {
            *count = count.saturating_sub(self.cost);
        }
        seat(&self.mtv);
    }
}

impl State {
    /// A VM that costs more than the limit flies alone.
    fn try_take(&mut self, key: &Key, cost: usize) -> bool {
        let count = self.held.get(key).copied().unwrap_or_default();
        let fits = count == 0 || count + cost <= self.limit;
        if fits {
            self.held.insert(key.clone(), count + cost);
        }
        fits
    }

    /// Whether whoever asks is to look at the limit, because nobody has for so long.
    fn looks(&mut self, after: Duration) -> bool {
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= after);
        if is_due {
            self.looked = Some(Instant::now());
        }
        is_due
    }

    /// Those who have a place now. Who does not wait any more is forgotten.
    fn seated(&mut self) -> Vec<Waiting> {
        let waiting = std::mem::take(&mut self.waiting).into_iter().filter(|one| !one.seat.is_closed());
        let (seated, waiting) = waiting.partition(|one| self.try_take(&one.key, one.cost));
        self.waiting = waiting;
        seated
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives what is free to those who wait, the first first. A freed place wakes nobody else: a thousand may wait.
fn seat(mtv: &Arc<Mtv>) {
    let seated = mtv.flights.lock().seated();
    for Waiting { key, cost, seat } in seated {
        // Who has just gone frees it again.
        drop(seat.send(Seat { mtv: mtv.clone(), key, cost }));
    }
}

/// Waits for a place.
pub(super) async fn take(mtv: &Arc<Mtv>, key: Key, cost: usize) -> Seat {
    mtv.flights.lock().looks(Duration::ZERO);
    // Boxed: who waits does not keep the room for it.
    look(mtv).boxed().await;
    let (seat_of, mut place) = oneshot::channel();
    mtv.flights.lock().waiting.push(Waiting { key, cost, seat: seat_of });
    loop {
        seat(mtv);
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
async fn look(mtv: &Mtv) {
    let told = mtv.settings().await;
    let mut state = mtv.flights.lock();
    match told {
        _ if mtv.defects.behaves(Conduct::IgnoresLimit) => state.limit = usize::MAX,
        Ok(settings) => state.limit = limit(&settings),
        // It is what it was.
        Err(_) if state.limit > 0 => {}
        Err(_) => state.limit = LIMIT,
    }
}

fn limit(settings: &Value) -> usize {
    let told = settings.get("controller_max_vm_inflight");
    let number = told.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0).unwrap_or(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_takes_as_many_as_the_limit_says_and_one_that_is_too_big_alone() {
        let mut flights = State { limit: 2, ..State::default() };
        let (one, other) = (("p".to_owned(), "h1".to_owned()), ("p".to_owned(), "h2".to_owned()));
        assert!(flights.try_take(&one, 1) && flights.try_take(&one, 1));
        assert!(!flights.try_take(&one, 1), "the third waits");
        assert!(flights.try_take(&other, 5), "another host is another limit, and one too big flies alone");
        assert!(!flights.try_take(&other, 1));
    }

    #[test]
    fn the_first_who_waits_has_the_first_place_and_who_has_gone_has_none() {
        let mut flights = State { limit: 1, ..State::default() };
        let mut wait = |host: &str| {
            let (seat, place) = oneshot::channel();
            flights.waiting.push(Waiting { key: ("p".to_owned(), host.to_owned()), cost: 1, seat });
            place
        };
        let places = [wait("h1"), wait("h1"), wait("h1"), wait("h2")];
        let hosts = |seated: Vec<Waiting>| seated.into_iter().map(|one| one.key.1).collect::<Vec<_>>();
        assert_eq!(hosts(flights.seated()), ["h1", "h2"], "one of each host");
        assert_eq!(flights.waiting.len(), 2);
        let [_, second, _third, _] = places;
        drop(second);
        assert!(flights.seated().is_empty(), "none is free");
        assert_eq!(flights.waiting.len(), 1, "the second has gone");
        flights.limit = 2;
        assert_eq!(hosts(flights.seated()), ["h1"], "the third, by a limit that was raised");
    }

    #[test]
    fn the_limit_is_a_number_above_zero_or_mtvs_own() {
        let of = |value: Value| limit(&serde_json::json!({"controller_max_vm_inflight": value}));
        assert_eq!((of(3.into()), of("4".into()), of(0.into()), of("many".into())), (3, 4, LIMIT, LIMIT));
        assert_eq!(limit(&Value::Null), LIMIT);
    }
}
