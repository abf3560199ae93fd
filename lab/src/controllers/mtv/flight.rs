//! How many VMs are copied at once: MTV's limit, `controller_max_vm_inflight`, for each host of a Provider, or for the
//! Provider where its VMs have none (`pkg/controller/plan/scheduler`). Plans of one Provider share it.
//!
//! A VM counts until its disks are copied; a warm one until its first precopy, as MTV leaves out those that pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::Api;
use tokio::sync::Notify;

use super::Mtv;
use crate::api::forklift::ForkliftController;
use crate::defects::conduct::Conduct;

/// MTV's default.
const LIMIT: usize = 20;
/// Simulated time between two looks of a VM that waits: the limit itself may change.
const LOOK: Duration = Duration::from_secs(60);

/// Who counts together: a Provider and a host.
type Key = (String, String);

/// What is in flight.
#[derive(Default)]
pub(super) struct Flights {
    held: Mutex<HashMap<Key, usize>>,
    freed: Notify,
}

/// The place of one VM; dropping it frees it.
pub(super) struct Seat {
    mtv: Arc<Mtv>,
    key: Key,
    cost: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let flights = &self.mtv.flights;
        let mut held = flights.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.key) {
            *count = count.saturating_sub(self.cost);
        }
        drop(held);
        flights.freed.notify_waiters();
    }
}

impl Flights {
    /// A VM that costs more than the limit flies alone.
    fn try_take(&self, key: &Key, cost: usize, limit: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(key.clone()).or_default();
        let fits = *count == 0 || *count + cost <= limit;
        if fits {
            *count += cost;
        }
        fits
    }
}

/// Waits for a place.
pub(super) async fn take(mtv: &Arc<Mtv>, key: Key, cost: usize) -> Seat {
    loop {
        // Asked for before looking, so that a place that is freed meanwhile is not missed.
        let freed = mtv.flights.freed.notified();
        if mtv.flights.try_take(&key, cost, limit(mtv).await) {
            return Seat { mtv: mtv.clone(), key, cost };
        }
        tokio::select! { () = freed => {}, () = mtv.clock.sleep(LOOK) => {} }
    }
}

async fn limit(mtv: &Mtv) -> usize {
    if mtv.defects.behaves(Conduct::IgnoresLimit) {
        return usize::MAX;
    }
    let api: Api<ForkliftController> = Api::namespaced(mtv.client.clone(), &mtv.namespace);
    let controller = api.get_opt("forklift-controller").await.ok().flatten();
    let told = controller.and_then(|c| c.spec.fields.get("controller_max_vm_inflight").cloned());
    let number = told.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0).unwrap_or(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_takes_as_many_as_the_limit_says_and_one_that_is_too_big_alone() {
        let flights = Flights::default();
        let (one, other) = (("p".to_owned(), "h1".to_owned()), ("p".to_owned(), "h2".to_owned()));
        assert!(flights.try_take(&one, 1, 2) && flights.try_take(&one, 1, 2));
        assert!(!flights.try_take(&one, 1, 2), "the third waits");
        assert!(flights.try_take(&other, 5, 2), "another host is another limit, and one too big flies alone");
        assert!(!flights.try_take(&other, 1, 2));
    }
}
