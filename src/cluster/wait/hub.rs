//! Shared watches: one watcher a kind and namespace, however many wait on its objects.
//!
//! A watch begins with its first waiter and ends with its last. Errors never end it: it pauses and
//! goes on, and tells waiters what is wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::retry;
use crate::net::pauses::{Pauses, pause};
use crate::tasks::{self, Task};

/// The server ends a watch after this time, in seconds, and it is begun again. One that is not ended then
/// is dead ([`crate::cluster::connect`]): so a silent one is found within a minute.
const WATCH_SECONDS: u32 = 45;

type Key = (String, String, Option<String>);

/// All watches of one cluster.
#[derive(Default)]
pub(crate) struct Hub {
    watches: Mutex<HashMap<Key, Weak<Shared>>>,
}

/// One running watch and what it knows.
pub(crate) struct Shared {
    known: Arc<Mutex<Known>>,
    changes: watch::Receiver<u64>,
    _task: Task<()>,
}

#[derive(Default)]
struct Known {
    /// The first complete list has come.
    synced: bool,
    objects: HashMap<String, Arc<DynamicObject>>,
    arriving: HashMap<String, Arc<DynamicObject>>,
    /// Since when nothing works, and the last error.
    trouble: Option<(Instant, String, bool)>,
}

/// What the hub knows about one object now.
pub(crate) enum View {
    /// The first list has not come yet; the error so far.
    Unknown(Option<String>),
    /// The object, as it was told last; [`Shared::silence`] says since when nobody has told anything.
    Known(Option<Arc<DynamicObject>>),
    /// The server has refused this kind for a while: missing kind, or not allowed.
    Refused(String),
}

/// A kind that is missing or forbidden may still appear: rights of a new namespace come late.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(10);

impl Hub {
    /// Joins the watch of `kind` in `namespace`, or begins it.
    pub(crate) fn join(&self, client: &kube::Client, kind: &ApiResource, namespace: Option<&str>) -> Arc<Shared> {
        let key = (kind.api_version.clone(), kind.plural.clone(), namespace.map(str::to_owned));
        let mut watches = match self.watches.lock() {
            Ok(watches) => watches,
            // The map is only ever replaced as a whole entry: a panic elsewhere leaves it usable.
            Err(poisoned) => poisoned.into_inner(),
        };
        watches.retain(|_, weak| weak.strong_count() > 0);
        if let Some(shared) = watches.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
            None => Api::all_with(client.clone(), kind),
        };
        let known = Arc::new(Mutex::new(Known::default()));
        let (changed, changes) = watch::channel(0);
        let task = tasks::own(run(api, Arc::clone(&known), changed));
        let shared = Arc::new(Shared { known, changes, _task: task });
        watches.insert(key, Arc::downgrade(&shared));
        shared
    }
}

impl Shared {
    /// Wakes at every change of the watch.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Since when nobody answers, and the last error; `None` while the watch works.
    pub(crate) fn silence(&self) -> Option<(Duration, String)> {
        let known = self.known.lock().ok()?;
        known.trouble.as_ref().map(|(since, error, _)| (since.elapsed(), error.clone()))
    }

    /// Everything of the kind in its namespace, as told last; `None` while nobody has told anything.
    pub(crate) fn all(&self) -> Option<Vec<Arc<DynamicObject>>> {
        let known = self.known.lock().ok()?;
        known.synced.then(|| known.objects.values().cloned().collect())
    }

    pub(crate) fn view(&self, name: &str) -> View {
        let Ok(known) = self.known.lock() else { return View::Unknown(None) };
        if let Some((since, error, true)) = &known.trouble
            && since.elapsed() >= REFUSAL_PATIENCE
        {
            return View::Refused(error.clone());
        }
        if known.synced {
            return View::Known(known.objects.get(name).cloned());
        }
        View::Unknown(known.trouble.as_ref().map(|(_, error, _)| error.clone()))
    }
}

async fn run(api: Api<DynamicObject>, known: Arc<Mutex<Known>>, changed: watch::Sender<u64>) {
    let begin = || watcher(api.clone(), watcher::Config::default().timeout(WATCH_SECONDS)).boxed();
    let mut stream = begin();
    let mut pauses = Pauses::endless();
    while let Some(event) = stream.next().await {
        let failed = match event {
            Ok(event) => {
                pauses.reset();
                take(&known, event);
                None
            }
            Err(error) => Some(error),
        };
        let rest = failed.map(|error| {
            let (text, refused) = describe(&error);
            if let Ok(mut known) = known.lock() {
                let since = match &known.trouble {
                    Some((since, _, was)) if *was == refused => *since,
                    _ => Instant::now(),
                };
                known.trouble = Some((since, text, refused));
            }
            pauses.next(None).unwrap_or_default()
        });
        changed.send_modify(|n| *n = n.wrapping_add(1));
        if let Some(rest) = rest {
            pause(rest).await;
            // Listed again: what happened in the gap is not to depend on what the server still remembers.
            stream = begin();
        }
    }
}

fn take(known: &Mutex<Known>, event: Event<DynamicObject>) {
    let Ok(mut known) = known.lock() else { return };
    let named = |object: DynamicObject| (object.metadata.name.clone().unwrap_or_default(), Arc::new(object));
    match event {
        // The start of a list is no success yet.
        Event::Init => {
            known.arriving.clear();
            return;
        }
        Event::InitApply(object) => {
            let (name, object) = named(object);
            known.arriving.insert(name, object);
        }
        Event::InitDone => {
            known.objects = std::mem::take(&mut known.arriving);
            known.synced = true;
        }
        Event::Apply(object) => {
            let (name, object) = named(object);
            known.objects.insert(name, object);
        }
        Event::Delete(object) => {
            let (name, _) = named(object);
            known.objects.remove(&name);
        }
    }
    known.trouble = None;
}

/// The error in words, and whether it is a refusal that repeating does not cure.
fn describe(error: &watcher::Error) -> (String, bool) {
    match error {
        watcher::Error::InitialListFailed(e) | watcher::Error::WatchStartFailed(e) | watcher::Error::WatchFailed(e) => {
            let refused = matches!(e, kube::Error::Api(s) if matches!(s.code, 400 | 401 | 403 | 404 | 405));
            (retry::short(e), refused)
        }
        watcher::Error::WatchError(status) => (format!("{} ({})", status.message, status.code), false),
        other => (other.to_string(), false),
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
