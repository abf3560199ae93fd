//! Which things changed, and when: whoever watches the world looks at what was touched alone, and is
//! woken by what it asked for alone. Without this every change would cost as much as exists.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::EntityKind;

/// Changes that are remembered; who looks more seldom looks at everything.
const REMEMBERED: usize = 16_384;

/// A map that knows which of its entries were touched since it was last asked.
#[derive(Debug, Clone)]
pub struct Tracked<T> {
    items: BTreeMap<String, T>,
    touched: BTreeSet<String>,
}

impl<T> Default for Tracked<T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), touched: BTreeSet::new() }
    }
}

impl<T> Deref for Tracked<T> {
    type Target = BTreeMap<String, T>;

    fn deref(&self) -> &Self::Target {
        &self.items
    }
}

impl<'a, T> IntoIterator for &'a Tracked<T> {
    type Item = (&'a String, &'a T);
    type IntoIter = std::collections::btree_map::Iter<'a, String, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T> Tracked<T> {
    /// The entry, which counts as touched from now on.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        let item = self.items.get_mut(id)?;
        self.touched.insert(id.to_owned());
        Some(item)
    }

    pub fn insert(&mut self, id: String, item: T) {
        self.touched.insert(id.clone());
        self.items.insert(id, item);
    }

    pub fn remove(&mut self, id: &str) -> Option<T> {
        self.touched.insert(id.to_owned());
        self.items.remove(id)
    }

    /// Leaves out what is not wanted, for who is shown a part: nothing counts as touched.
    pub fn keep(&mut self, wanted: impl Fn(&T) -> bool) {
        self.items.retain(|_, item| wanted(item));
    }

    pub(super) fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }
}

/// The recent changes, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Log {
    version: u64,
    entries: VecDeque<(u64, EntityKind, String)>,
    /// The newest change that is not remembered any more.
    forgotten: u64,
}

impl Log {
    /// Counts changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn push(&mut self, touched: Vec<(EntityKind, String)>) {
        self.version += 1;
        let version = self.version;
        self.entries.extend(touched.into_iter().map(|(kind, id)| (version, kind, id)));
        while self.entries.len() > REMEMBERED {
            self.forgotten = self.entries.pop_front().map_or(version, |(version, ..)| version);
        }
    }

    /// What was touched after `version`; `None` where that is not remembered.
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = (EntityKind, &str)>> {
        let first = self.entries.partition_point(|(at, ..)| *at <= version);
        let all = self.entries.range(first..).map(|(_, kind, id)| (*kind, id.as_str()));
        (version >= self.forgotten).then_some(all)
    }
}

/// What somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    Everything,
    /// Things with these ids.
    Only(BTreeSet<String>),
}

#[derive(Default)]
struct Register {
    last: u64,
    everything: BTreeMap<u64, Arc<Notify>>,
    by_id: HashMap<String, BTreeMap<u64, Arc<Notify>>>,
}

/// Everybody who waits.
#[derive(Default)]
pub struct Waiting(Mutex<Register>);

impl Waiting {
    pub(super) fn wake<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let register = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        register.everything.values().for_each(|waiter| waiter.notify_one());
        let concerned = ids.filter_map(|id| register.by_id.get(id));
        concerned.flat_map(BTreeMap::values).for_each(|waiter| waiter.notify_one());
    }
}

/// One who waits; a change between two waits is not missed.
pub struct Subscription<'a> {
    waiting: &'a Waiting,
    number: u64,
    interest: Interest,
    bell: Arc<Notify>,
}

impl<'a> Subscription<'a> {
    pub(super) fn new(waiting: &'a Waiting, interest: Interest) -> Self {
        let bell = Arc::new(Notify::new());
        let mut register = waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        register.last += 1;
        let number = register.last;
        match &interest {
            Interest::Everything => drop(register.everything.insert(number, bell.clone())),
            Interest::Only(ids) => {
                for id in ids {
                    register.by_id.entry(id.clone()).or_default().insert(number, bell.clone());
                }
            }
        }
        drop(register);
        Self { waiting, number, interest, bell }
    }

    /// Returns when something of interest was touched.
    pub async fn changed(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        let mut register = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.interest {
            Interest::Everything => drop(register.everything.remove(&self.number)),
            Interest::Only(ids) => {
                for id in ids {
                    let Some(waiters) = register.by_id.get_mut(id) else { continue };
                    waiters.remove(&self.number);
                    if waiters.is_empty() {
                        register.by_id.remove(id);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_touched_is_told_until_it_is_forgotten() {
        let mut log = Log::default();
        for number in 0..=REMEMBERED {
            log.push(vec![(EntityKind::Vm, format!("vm-{number}"))]);
        }
        let last: Vec<_> = log.since(log.version() - 1).unwrap().collect();
        assert_eq!(last, [(EntityKind::Vm, format!("vm-{REMEMBERED}").as_str())]);
        assert!(log.since(0).is_none(), "the first change is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_who_asked_for_it_are_woken() {
        let waiting = Waiting::default();
        let mine = Subscription::new(&waiting, Interest::Only(BTreeSet::from(["task-1".to_owned()])));
        let other = Subscription::new(&waiting, Interest::Only(BTreeSet::from(["task-2".to_owned()])));
        let all = Subscription::new(&waiting, Interest::Everything);
        waiting.wake(["task-1"].into_iter());
        let soon = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, mine.changed()).await.is_ok());
        assert!(tokio::time::timeout(soon, all.changed()).await.is_ok());
        assert!(tokio::time::timeout(soon, other.changed()).await.is_err());
        drop((mine, other, all));
        assert!(waiting.0.lock().unwrap().by_id.is_empty(), "nobody is remembered who has gone");
    }
}
