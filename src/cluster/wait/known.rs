//! What a watch knows of its objects, and who wakes when it learns. Pure: events and answers go in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::retry;

/// How long the answer to a write of our own is believed that no watch has confirmed.
pub(super) const TOLD_HOLDS: Duration = Duration::from_secs(15);

/// Namespace, empty where there is none, and name.
pub(super) type Name = (String, String);

pub(super) fn name_in(namespace: Option<&str>, name: &str) -> Name {
    (namespace.unwrap_or_default().to_owned(), name.to_owned())
}

#[derive(Default)]
pub(super) struct Known {
    /// The first complete list has come.
    pub(super) synced: bool,
    pub(super) objects: BTreeMap<Name, Slot>,
    pub(super) arriving: BTreeMap<Name, Slot>,
    /// The newest version that was seen, where versions are numbers.
    pub(super) seen: u64,
    /// Since when nothing works, and the last error.
    pub(super) trouble: Option<Trouble>,
    pub(super) waiters: HashMap<About, watch::Sender<()>>,
}

pub(super) struct Trouble {
    pub(super) since: Instant,
    pub(super) error: String,
    /// The status of a refusal that repeating does not cure.
    pub(super) refused: Option<u16>,
}

pub(super) struct Slot {
    pub(super) object: Arc<DynamicObject>,
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

/// The version of an object as a number: etcd's are. `None`: nobody can say which of two is older.
pub(super) fn version(object: &DynamicObject) -> Option<u64> {
    object.metadata.resource_version.as_deref()?.parse().ok()
}

impl Known {
    pub(super) fn find(&self, name: &Name) -> Option<Arc<DynamicObject>> {
        self.objects.get(name).filter(|slot| slot.holds()).map(|slot| Arc::clone(&slot.object))
    }

    /// All that it tells of.
    pub(super) fn all(&self) -> Vec<Arc<DynamicObject>> {
        self.objects.values().filter(|slot| slot.holds()).map(|slot| Arc::clone(&slot.object)).collect()
    }

    /// Those of one namespace.
    pub(super) fn all_in(&self, namespace: &str) -> Vec<Arc<DynamicObject>> {
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

    pub(super) fn told(&mut self, mut object: DynamicObject) {
        // What the watch has passed it knows, the object's end, too.
        if version(&object).is_none_or(|version| version <= self.seen) {
            return;
        }
        object.metadata.managed_fields = None;
        let name = name_of(&object);
        let older = |slot: &Slot| version(&slot.object) >= version(&object);
        if !self.objects.get(&name).is_some_and(older) {
            self.objects.insert(name.clone(), Slot { object: Arc::new(object), told: Some(Instant::now()) });
            self.wake(&About::Object(name));
        }
    }

    pub(super) fn take(&mut self, event: Event<DynamicObject>) {
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
                for (name, slot) in told.filter(|(_, slot)| version(&slot.object) > Some(self.seen)) {
                    self.objects.insert(name, slot);
                }
                self.synced = true;
                self.trouble = None;
                return self.wake_all();
            }
            Event::Apply(object) => {
                let (name, slot) = self.slot(object);
                // The answer to a write of our own may be newer than what was on its way.
                let newer = |there: &Slot| there.told.is_some() && version(&there.object) > version(&slot.object);
                if !self.objects.get(&name).is_some_and(newer) {
                    self.objects.insert(name.clone(), slot);
                }
                self.wake(&About::Object(name));
                self.wake(&About::All);
                self.trouble.take()
            }
            Event::Delete(object) => {
                let (name, slot) = self.slot(object);
                let another =
                    |there: &Slot| there.told.is_some() && there.object.metadata.uid != slot.object.metadata.uid;
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

    /// What the watch tells. Who wrote which field is nobody's business here, and the half of an object.
    pub(super) fn slot(&mut self, mut object: DynamicObject) -> (Name, Slot) {
        object.metadata.managed_fields = None;
        self.seen = self.seen.max(version(&object).unwrap_or_default());
        (name_of(&object), Slot { object: Arc::new(object), told: None })
    }

    pub(super) fn failed(&mut self, error: &watcher::Error) {
        let (error, refused) = describe(error);
        let since = self.trouble.as_ref().filter(|trouble| trouble.refused == refused).map(|trouble| trouble.since);
        self.trouble = Some(Trouble { since: since.unwrap_or_else(Instant::now), error, refused });
        self.wake_all();
    }
}

pub(super) fn name_of(object: &DynamicObject) -> Name {
    name_in(object.metadata.namespace.as_deref(), object.metadata.name.as_deref().unwrap_or_default())
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
