//! What a watch knows of its objects, and who wakes when it learns. Pure: events and answers go in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{DynamicObject, TypeMeta};
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::time::Instant;

use super::told::{Held, Name, Told, name_in};
use crate::cluster::retry;

/// How long the answer to a write of our own is believed that no watch has confirmed.
pub(super) const TOLD_HOLDS: Duration = Duration::from_secs(15);

pub(super) struct Known {
    /// Of what.
    kind: TypeMeta,
    /// The first complete list has come.
    pub(super) synced: bool,
    pub(super) objects: BTreeMap<Name, Slot>,
    pub(super) arriving: BTreeMap<Name, Slot>,
    /// The newest version that was seen, where versions are numbers.
    pub(super) seen: u64,
    /// Since when nothing works, and the last error.
    pub(super) trouble: Option<Trouble>,
    waiters: HashMap<About, watch::Sender<()>>,
    /// With so many waiters those who have gone are forgotten.
    crowd: usize,
}

/// Fewer waiters than these are not looked through.
const CROWD: usize = 64;

pub(super) struct Trouble {
    pub(super) since: Instant,
    pub(super) error: String,
    /// The status of a refusal that repeating does not cure.
    pub(super) refused: Option<u16>,
}

pub(super) struct Slot {
    pub(super) object: Arc<Held>,
    /// When the answer to a write told of it; `None`: the watch did.
    pub(super) told: Option<Instant>,
}

/// What a waiter looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum About {
    Object(Name),
    All,
}

impl Slot {
    pub(super) fn holds(&self) -> bool {
        self.told.is_none_or(|told| told.elapsed() < TOLD_HOLDS)
    }
}

impl Known {
    pub(super) fn new(kind: TypeMeta) -> Self {
        Self {
            kind,
            synced: false,
            objects: BTreeMap::new(),
            arriving: BTreeMap::new(),
            seen: 0,
            trouble: None,
            waiters: HashMap::new(),
            crowd: CROWD,
        }
    }

    /// Somebody begins to wait. Not each looks through all others: a thousand may wait.
    pub(super) fn waiter(&mut self, about: &About) -> watch::Receiver<()> {
        if self.waiters.len() >= self.crowd {
            self.waiters.retain(|_, waiters| waiters.receiver_count() > 0);
            self.crowd = CROWD.max(self.waiters.len() * 2);
        }
        self.waiters.entry(about.clone()).or_insert_with(|| watch::channel(()).0).subscribe()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn find(&self, name: &Name) -> Option<Arc<Held>> {
        self.objects.get(name).filter(|slot| slot.holds()).map(|slot| Arc::clone(&slot.object))
    }

    /// All that it tells of.
    pub(super) fn all(&self) -> Vec<Arc<Held>> {
        self.objects.values().filter(|slot| slot.holds()).map(|slot| Arc::clone(&slot.object)).collect()
    }

    /// Those of one namespace.
    pub(super) fn all_in(&self, namespace: &str) -> Vec<Arc<Held>> {
        let from = (namespace.to_owned(), String::new());
        let here = self.objects.range(from..).take_while(|(at, _)| at.0 == namespace);
        here.filter(|(_, slot)| slot.holds()).map(|(_, slot)| Arc::clone(&slot.object)).collect()
    }

    fn wake(&self, about: &About) {
        if let Some(waiters) = self.waiters.get(about) {
            waiters.send_replace(());
        }
    }

    pub(super) fn wake_all(&self) {
        self.waiters.values().for_each(|waiters| waiters.send_replace(()));
    }

    /// The answer to a write.
    pub(super) fn told(&mut self, object: &DynamicObject) {
        let held = Held::of(object);
        // What the watch has passed it knows, the object's end, too.
        if held.version.is_none_or(|version| version <= self.seen) {
            return;
        }
        let name = name_in(object.metadata.namespace.as_deref(), object.metadata.name.as_deref().unwrap_or_default());
        let older = |slot: &Slot| slot.object.version >= held.version;
        if !self.objects.get(&name).is_some_and(older) {
            self.objects.insert(name.clone(), Slot { object: Arc::new(held), told: Some(Instant::now()) });
            self.wake(&About::Object(name));
        }
    }

    pub(super) fn take(&mut self, event: Event<Told>) {
        let recovered = match event {
            // The start of a list is no success yet.
            Event::Init => {
                self.arriving.clear();
                return;
            }
            Event::InitApply(object) => {
                let (name, slot) = self.slot(object);
                self.arriving.insert(name, slot);
                self.trouble.take()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.objects, std::mem::take(&mut self.arriving));
                // The list may have been made before an answer that came meanwhile.
                let told = before.into_iter().filter(|(_, slot)| slot.told.is_some() && slot.holds());
                for (name, slot) in told.filter(|(_, slot)| slot.object.version > Some(self.seen)) {
                    self.objects.insert(name, slot);
                }
                self.synced = true;
                self.trouble = None;
                return self.wake_all();
            }
            Event::Apply(object) => {
                let (name, slot) = self.slot(object);
                // The answer to a write of our own may be newer than what was on its way.
                let newer = |there: &Slot| there.told.is_some() && there.object.version > slot.object.version;
                if !self.objects.get(&name).is_some_and(newer) {
                    self.objects.insert(name.clone(), slot);
                }
                self.wake(&About::Object(name));
                self.wake(&About::All);
                self.trouble.take()
            }
            Event::Delete(object) => {
                let (name, slot) = self.slot(object);
                let another = |there: &Slot| there.told.is_some() && there.object.uid != slot.object.uid;
                if !self.objects.get(&name).is_some_and(another) {
                    self.objects.remove(&name);
                }
                self.wake(&About::Object(name));
                self.wake(&About::All);
                self.trouble.take()
            }
        };
        if recovered.is_some() {
            self.wake_all();
        }
    }

    fn slot(&mut self, told: Told) -> (Name, Slot) {
        let (name, held) = told.hold(&self.kind);
        self.seen = self.seen.max(held.version.unwrap_or_default());
        (name, Slot { object: Arc::new(held), told: None })
    }

    pub(super) fn failed(&mut self, error: &watcher::Error) {
        let (error, refused) = describe(error);
        let since = self.trouble.as_ref().filter(|trouble| trouble.refused == refused).map(|trouble| trouble.since);
        self.trouble = Some(Trouble { since: since.unwrap_or_else(Instant::now), error, refused });
        self.wake_all();
    }
}

/// The error in words, and the status of a refusal that repeating does not cure.
pub(super) fn describe(error: &watcher::Error) -> (String, Option<u16>) {
    match error {
        watcher::Error::InitialListFailed(e) | watcher::Error::WatchStartFailed(e) | watcher::Error::WatchFailed(e) => {
            let refused = match e {
                kube::Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 404 | 405) => Some(status.code),
                _ => None,
            };
            (retry::short(e), refused)
        }
        watcher::Error::WatchError(status) => (format!("{} ({})", status.message, status.code), None),
        other => (other.to_string(), None),
    }
}
