//! Shared watches: few watchers, however many wait on their objects.
//!
//! What this run has made bears its label, so that one watch of a kind, over all namespaces, tells of it: it goes on
//! for as long as the connection, costs a cell nothing, and what it has told can be read without a request. Anything
//! else is watched by kind and namespace, from its first waiter to its last. Errors never end a watch: it pauses and
//! goes on, and tells waiters what is wrong. Who waits for one object wakes for that one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, TypeMeta};
use kube::runtime::watcher::{self, watcher};
use tokio::sync::watch;

use super::known::{About, Known};
use super::told::{Held, Name, Told, name_in};
use crate::api::names::RUN_LABEL;
use crate::net::pauses::{Pauses, pause};
use crate::tasks::{self, Task};

/// The server ends a watch after this time, in seconds, and it is begun again. One that is not ended then
/// is dead ([`crate::cluster::connect`]): so a silent one is found within a minute.
const WATCH_SECONDS: u32 = 45;
/// A kind that is missing or forbidden may still appear: rights of a new namespace come late.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(10);

/// API version and plural.
type Kind = (String, String);

fn kind_of(kind: &ApiResource) -> Kind {
    (kind.api_version.clone(), kind.plural.clone())
}

/// All watches of one cluster.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    narrow: HashMap<(Kind, Option<String>), Weak<Shared>>,
    /// The run that makes objects here: its label selects what a wide watch tells.
    run: Option<String>,
    wide: HashMap<Kind, Arc<Shared>>,
    /// Kinds that may not be watched over all namespaces.
    refused: HashSet<Kind>,
    /// What the run has made here.
    own: BTreeSet<(Name, Kind)>,
}

/// One running watch and what it knows.
struct Shared {
    known: Arc<Mutex<Known>>,
    _task: Task<()>,
}

/// What the hub knows about one object now.
pub(crate) enum View {
    /// The first list has not come yet; the error so far.
    Unknown(Option<String>),
    /// The object, as it was told last; [`Joined::silence`] says since when nobody has told anything.
    Known(Option<Arc<Held>>),
    /// The server has refused this kind for a while: missing kind, or not allowed.
    Refused(String),
    /// It may not be watched over all namespaces: [`Hub::join`] again.
    TooWide,
}

/// A part in a watch.
pub(crate) struct Joined {
    shared: Arc<Shared>,
    about: About,
    wide: bool,
    changes: watch::Receiver<()>,
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        // Entries are only ever put in and taken out as a whole: a panic elsewhere leaves them usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This object is about to be made by `run`, with its label.
    pub(crate) fn own(&self, run: &str, kind: &ApiResource, namespace: Option<&str>, name: &str) {
        let mut state = self.state();
        // A connection serves one run; another's objects have other labels.
        if state.run.get_or_insert_with(|| run.to_owned()) == run {
            state.own.insert((name_in(namespace, name), kind_of(kind)));
        }
    }

    /// It is gone, with what was in it where it was a namespace.
    pub(crate) fn gone(&self, kind: &ApiResource, namespace: Option<&str>, name: &str) {
        let mut state = self.state();
        state.own.remove(&(name_in(namespace, name), kind_of(kind)));
        if kind.plural == "namespaces" {
            // What was in it stands together.
            let first = ((name.to_owned(), String::new()), Kind::default());
            let in_it: Vec<_> = state.own.range(first..).take_while(|(at, _)| at.0 == name).cloned().collect();
            for own in in_it {
                state.own.remove(&own);
            }
        }
    }

    /// What the API server answered to a write of our own: who looks next sees at least that.
    pub(crate) fn told(&self, kind: &ApiResource, object: &DynamicObject) {
        let wide = self.state().wide.get(&kind_of(kind)).cloned();
        if let Some(wide) = wide {
            wide.known().told(object);
        }
    }

    /// What a wide watch knows of a kind; `None` where there is none, or where it is in trouble.
    fn trusted<T>(&self, kind: &ApiResource, look: impl FnOnce(&Known) -> T) -> Option<T> {
        let wide = self.state().wide.get(&kind_of(kind)).cloned()?;
        let known = wide.known();
        (known.synced && known.trouble.is_none()).then(|| look(&known))
    }

    /// The object as a wide watch tells it now; `None` where none tells of it, or where that one is in trouble.
    pub(crate) fn seen(&self, kind: &ApiResource, namespace: Option<&str>, name: &str) -> Option<Arc<Held>> {
        self.trusted(kind, |known| known.find(&name_in(namespace, name)))?
    }

    /// All of a kind in a namespace that this run has made; `None` as in [`Hub::seen`].
    pub(crate) fn seen_in(&self, kind: &ApiResource, namespace: &str) -> Option<Vec<Arc<Held>>> {
        self.trusted(kind, |known| known.all_in(namespace))
    }

    /// Joins the watch that tells of this object, or begins one.
    pub(crate) fn join(
        &self,
        client: &kube::Client,
        kind: &ApiResource,
        namespace: Option<&str>,
        name: &str,
    ) -> Joined {
        let key = kind_of(kind);
        let mut state = self.state();
        let about = name_in(namespace, name);
        let own = state.own.contains(&(about.clone(), key.clone())) && !state.refused.contains(&key);
        let run = state.run.clone().filter(|_| own);
        let Some(run) = run else {
            let shared = state.narrow(client, kind, namespace);
            return Joined::new(shared, About::Object(about), false);
        };
        let begin = || {
            let api = Api::all_with(client.clone(), kind);
            Shared::begin(kind, api, watcher::Config::default().labels(&format!("{RUN_LABEL}={run}")))
        };
        let shared = Arc::clone(state.wide.entry(key).or_insert_with(begin));
        Joined::new(shared, About::Object(about), true)
    }

    /// Joins the watch of all objects of a kind in a namespace, whoever made them, or begins it.
    pub(crate) fn join_all(&self, client: &kube::Client, kind: &ApiResource, namespace: Option<&str>) -> Joined {
        Joined::new(self.state().narrow(client, kind, namespace), About::All, false)
    }

    /// Whether a wide watch that runs tells of this object. One is not begun to see a single thing go: the rights of a run
    /// hold no watch of Secrets.
    pub(crate) fn is_wide(&self, kind: &ApiResource, namespace: Option<&str>, name: &str) -> bool {
        let (state, kind) = (self.state(), kind_of(kind));
        state.wide.contains_key(&kind) && state.own.contains(&(name_in(namespace, name), kind))
    }

    /// This kind may not be watched over all namespaces.
    pub(crate) fn too_wide(&self, kind: &ApiResource) {
        let mut state = self.state();
        state.refused.insert(kind_of(kind));
        state.wide.remove(&kind_of(kind));
    }
}

impl State {
    fn narrow(&mut self, client: &kube::Client, kind: &ApiResource, namespace: Option<&str>) -> Arc<Shared> {
        let key = (kind_of(kind), namespace.map(str::to_owned));
        self.narrow.retain(|_, weak| weak.strong_count() > 0);
        if let Some(shared) = self.narrow.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
            None => Api::all_with(client.clone(), kind),
        };
        let shared = Shared::begin(kind, api, watcher::Config::default());
        self.narrow.insert(key, Arc::downgrade(&shared));
        shared
    }
}

impl Shared {
    fn begin(kind: &ApiResource, api: Api<Told>, config: watcher::Config) -> Arc<Self> {
        let kind = TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() };
        let known = Arc::new(Mutex::new(Known::new(kind)));
        let task = tasks::own(run(api, config.timeout(WATCH_SECONDS), Arc::clone(&known)));
        Arc::new(Self { known, _task: task })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joined {
    fn new(shared: Arc<Shared>, about: About, wide: bool) -> Self {
        let mut known = shared.known();
        let changes = known.waiter(&about);
        drop(known);
        Self { shared, about, wide, changes }
    }

    /// Waits for the next change of what is looked at; what comes from here on counts. `false`: the watch has ended.
    pub(crate) async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// What came so far was looked at.
    pub(crate) fn mark(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Since when nobody answers, and the last error; `None` while the watch works.
    pub(crate) fn silence(&self) -> Option<(Duration, String)> {
        self.shared.known().trouble.as_ref().map(|trouble| (trouble.since.elapsed(), trouble.error.clone()))
    }

    /// Everything that the watch tells of, as told last; `None` while nobody has told anything.
    pub(crate) fn all(&self) -> Option<Vec<Arc<DynamicObject>>> {
        let held = {
            let known = self.shared.known();
            known.synced.then(|| known.all())
        };
        let read = |held: Arc<Held>| held.read().ok().map(Arc::new);
        Some(held?.into_iter().filter_map(read).collect())
    }

    /// The object that was asked for; of all of them, whether anything is known.
    pub(crate) fn view(&self) -> View {
        let known = self.shared.known();
        if let Some(trouble) = known.trouble.as_ref().filter(|trouble| trouble.refused.is_some()) {
            if self.wide && trouble.refused == Some(403) {
                return View::TooWide;
            }
            if trouble.since.elapsed() >= REFUSAL_PATIENCE {
                return View::Refused(trouble.error.clone());
            }
        }
        if !known.synced {
            return View::Unknown(known.trouble.as_ref().map(|trouble| trouble.error.clone()));
        }
        View::Known(match &self.about {
            About::Object(name) => known.find(name),
            About::All => None,
        })
    }
}

async fn run(api: Api<Told>, config: watcher::Config, known: Arc<Mutex<Known>>) {
    let begin = || watcher(api.clone(), config.clone()).boxed();
    let mut stream = begin();
    let mut pauses = Pauses::endless();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                pauses.reset();
                known.lock().unwrap_or_else(PoisonError::into_inner).take(event);
            }
            Err(error) => {
                known.lock().unwrap_or_else(PoisonError::into_inner).failed(&error);
                pause(pauses.next(None).unwrap_or_default()).await;
                // Listed again: what happened in the gap is not to depend on what the server still remembers.
                stream = begin();
            }
        }
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
