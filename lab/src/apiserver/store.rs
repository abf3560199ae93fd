//! The objects, in memory, under one lock and one resourceVersion counter, with the recent
//! changes of every resource for watches. Knows nothing of HTTP or of what a write may contain.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::managers;
use super::resources::StorageKey;
use super::written::{self, Text};

/// Changes that a resource remembers; a watch from before them gets 410.
const HISTORY: usize = 8192;
/// Bytes, about, of the objects in them: states of large objects are forgotten sooner.
const HISTORY_BYTES: usize = 4 << 20;
/// Changes that a slow watch may lag behind before it gets 410.
const LIVE: usize = 4096;

/// Where an object is stored; the namespace is empty for cluster-scoped ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ObjectKey {
    pub storage: StorageKey,
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One write, as it is remembered.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub version: u64,
    pub kind: ChangeKind,
    pub object: Arc<Value>,
    pub previous: Option<Arc<Value>>,
    /// Bytes that the object takes in memory, about.
    weight: usize,
}

/// One write, as watches see it. What they send goes when all have it: only what was is remembered.
#[derive(Debug)]
pub(super) struct Change {
    pub what: Past,
    /// What watches send, written for the first that sends it: the object, and its last state before it was gone.
    json: [OnceLock<[Text; 2]>; 2],
}

impl From<Past> for Change {
    fn from(what: Past) -> Self {
        Self { what, json: Default::default() }
    }
}

impl Change {
    /// The object as JSON, as it is stored. `gone`: its last state before, with the version of the change that ended it.
    /// `bare`: without its managers.
    pub fn json(&self, gone: bool, bare: bool) -> Text {
        let [there, last] = &self.json;
        let Past { version, object, previous, .. } = &self.what;
        let written = || {
            let object = previous.as_deref().filter(|_| gone).unwrap_or(object);
            let version = gone.then(|| version.to_string());
            let object = object.as_object().map(|object| written::both(object, version.as_deref()));
            object.unwrap_or_default()
        };
        let [whole, without] = if gone { last } else { there }.get_or_init(written);
        if bare { without } else { whole }.clone()
    }
}

/// What a writer wants done.
pub(super) enum Action {
    /// Nothing; the answer is this object.
    Keep(Value),
    Put(Value),
    /// Store nothing more; the answer and the DELETED event carry this object.
    Remove(Value),
}

/// Work for the garbage collector.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// An owner of this object is gone or never was.
    Examine(ObjectKey),
    /// This object waits for its dependents to go (foreground deletion).
    Foreground(ObjectKey),
    /// A terminating namespace may have become empty, or has just become terminating.
    Namespace(String),
    /// What a namespace's quotas count, or its disruption budgets look at, has changed.
    Count(String),
}

/// Whose status tells of the rest of their namespace.
static COUNTERS: LazyLock<[StorageKey; 2]> = LazyLock::new(|| {
    [("", "resourcequotas"), ("policy", "poddisruptionbudgets")]
        .map(|(group, plural)| (group.to_owned(), plural.to_owned()))
});
/// What they read more of than that it is there.
const READ: [&str; 7] = [
    "deployments",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "resourcequotas",
    "statefulsets",
];

/// The objects of a resource by namespace and name: what is looked up is compared, not copied first.
#[derive(Default, Clone)]
struct Shelf(BTreeMap<String, BTreeMap<String, Arc<Value>>>);

impl Shelf {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.0.get(namespace)?.get(name)
    }
    fn put(&mut self, namespace: &str, name: &str, object: Arc<Value>) {
        let Some(within) = self.0.get_mut(namespace) else {
            self.0.insert(namespace.to_owned(), BTreeMap::from([(name.to_owned(), object)]));
            return;
        };
        match within.get_mut(name) {
            Some(there) => *there = object,
            None => drop(within.insert(name.to_owned(), object)),
        }
    }
    fn remove(&mut self, namespace: &str, name: &str) {
        let Some(within) = self.0.get_mut(namespace) else { return };
        within.remove(name);
        if within.is_empty() {
            self.0.remove(namespace);
        }
    }
    fn is_in(&self, namespace: &str) -> bool {
        self.0.contains_key(namespace)
    }
    /// Those of one namespace by name.
    fn within(&self, namespace: &str) -> impl Iterator<Item = (&String, &Arc<Value>)> {
        self.0.get(namespace).into_iter().flatten()
    }
    /// Those of one namespace, or of all, ordered.
    fn select(&self, namespace: Option<&str>) -> Vec<Arc<Value>> {
        match namespace {
            None => self.all().map(|(_, _, object)| object.clone()).collect(),
            Some(wanted) => self.within(wanted).map(|(_, object)| object.clone()).collect(),
        }
    }
    /// All by namespace and name, in this order.
    fn all(&self) -> impl Iterator<Item = (&String, &String, &Arc<Value>)> {
        self.0.iter().flat_map(|(namespace, within)| within.iter().map(move |(name, object)| (namespace, name, object)))
    }
}

#[derive(Default)]
struct Bucket {
    objects: Shelf,
    history: VecDeque<Past>,
    /// Of the objects in `history`, about.
    history_bytes: usize,
    /// The newest change that `history` no longer has.
    forgotten: u64,
    /// There is none before somebody watches: it holds room for all that a slow watch may lag behind.
    live: Option<broadcast::Sender<Arc<Change>>>,
}

/// The state under the lock; writers read it to judge a write.
#[derive(Default)]
pub(super) struct Objects {
    version: u64,
    buckets: BTreeMap<StorageKey, Bucket>,
    uids: HashMap<String, ObjectKey>,
    /// Owner uid → its dependents.
    dependents: HashMap<String, BTreeSet<ObjectKey>>,
}

pub(super) struct Store {
    objects: Mutex<Objects>,
    work: mpsc::UnboundedSender<Work>,
    /// Ends every watch.
    pub stop: CancellationToken,
}

/// What a watch starts from.
pub(super) struct Subscription {
    pub version: u64,
    /// The state, when the watch begins with it.
    pub initial: Vec<Arc<Value>>,
    /// The changes since the version that the watch asked for.
    pub missed: Vec<Change>,
    pub live: broadcast::Receiver<Arc<Change>>,
}

pub(super) fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(super) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(super) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}

pub(super) fn owner_uids(object: &Value) -> Vec<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.filter_map(|o| o["uid"].as_str()).collect()
}

static NAMESPACES: LazyLock<StorageKey> = LazyLock::new(|| (String::new(), "namespaces".to_owned()));

impl Objects {
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Value>> {
        self.buckets.get(&key.storage)?.objects.get(&key.namespace, &key.name)
    }
    pub fn namespace(&self, name: &str) -> Option<&Arc<Value>> {
        self.buckets.get(&*NAMESPACES)?.objects.get("", name)
    }
    pub fn has_uid(&self, uid: &str) -> bool {
        self.uids.contains_key(uid)
    }
    fn index(&mut self, key: &ObjectKey, old: Option<&Value>, new: Option<&Value>) -> Vec<Work> {
        let mut work = Vec::new();
        let [before, after] = [old, new].map(|object| object.map(owner_uids).unwrap_or_default());
        // Hardly any write changes them.
        if before == after {
            return work;
        }
        let [before, after] = [before, after].map(|uids| uids.into_iter().map(str::to_owned).collect::<BTreeSet<_>>());
        for uid in before.difference(&after) {
            let Some(set) = self.dependents.get_mut(uid) else { continue };
            set.remove(key);
            if set.is_empty() {
                self.dependents.remove(uid);
                work.extend(self.uids.get(uid).cloned().map(Work::Foreground));
            }
        }
        for uid in after.difference(&before) {
            self.dependents.entry(uid.clone()).or_default().insert(key.clone());
            if !self.uids.contains_key(uid) {
                work.push(Work::Examine(key.clone()));
            }
        }
        work
    }

    /// Whether a quota or a disruption budget of the namespace may have to tell of this change. Most have none.
    fn is_counted(&self, key: &ObjectKey, kind: ChangeKind) -> bool {
        let read = kind != ChangeKind::Modified || READ.contains(&key.storage.1.as_str());
        let mut counters = COUNTERS.iter().filter_map(|storage| self.buckets.get(storage));
        read && !key.namespace.is_empty() && counters.any(|bucket| bucket.objects.is_in(&key.namespace))
    }

    /// What a resource has. Its history begins when somebody first looks: who asks for changes from
    /// before that is told that they are forgotten, as by a cache that was filled later.
    fn bucket(&mut self, storage: &StorageKey) -> &mut Bucket {
        let version = self.version;
        self.buckets.entry(storage.clone()).or_insert_with(|| Bucket { forgotten: version, ..Bucket::default() })
    }

    fn record(&mut self, key: &ObjectKey, change: Past) {
        let bucket = self.bucket(&key.storage);
        match change.kind {
            ChangeKind::Deleted => bucket.objects.remove(&key.namespace, &key.name),
            ChangeKind::Added | ChangeKind::Modified => {
                bucket.objects.put(&key.namespace, &key.name, change.object.clone());
            }
        }
        bucket.history_bytes += change.weight;
        bucket.history.push_back(change.clone());
        while bucket.history.len() > HISTORY || bucket.history_bytes > HISTORY_BYTES {
            let Some(old) = bucket.history.pop_front() else { break };
            bucket.history_bytes = bucket.history_bytes.saturating_sub(old.weight);
            bucket.forgotten = old.version;
        }
        if let Some(live) = bucket.live.as_ref().filter(|live| live.receiver_count() > 0) {
            // Nobody watching is no error.
            let _ = live.send(Arc::new(change.into()));
        }
    }
}

/// Bytes that a value takes in memory, about.
fn weight(value: &Value) -> usize {
    const NODE: usize = size_of::<Value>();
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => NODE,
        Value::String(text) => NODE + text.len(),
        Value::Array(list) => NODE + list.iter().map(weight).sum::<usize>(),
        // A key, its hash and its place in the index.
        Value::Object(map) => NODE + map.iter().map(|(key, value)| 48 + key.len() + weight(value)).sum::<usize>(),
    }
}

/// Equal but for the resourceVersion and the times in managedFields.
fn same(a: &Value, b: &Value) -> bool {
    but_for(a, b, &[], |key, a, b| match key {
        "metadata" => but_for(a, b, &["resourceVersion"], |key, a, b| match (key, a, b) {
            ("managedFields", Value::String(a), Value::String(b)) => managers::same(a, b),
            _ => equal(a, b),
        }),
        _ => equal(a, b),
    })
}

/// Whether two values are the same. The order of an object's fields does not count, but nearly always is the same: they are
/// gone through side by side, and no name is looked up.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut beside = b.iter();
            a.len() == b.len()
                && a.iter().all(|(name, a)| match beside.next() {
                    Some((same, b)) if same == name => equal(a, b),
                    _ => b.get(name).is_some_and(|b| equal(a, b)),
                })
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => a == b,
    }
}

/// Whether two objects have the same fields, `left_out` aside, and `equal` values in them. The last field comes first:
/// that is the status, which differs most often.
fn but_for(a: &Value, b: &Value, left_out: &[&str], equal: impl Fn(&str, &Value, &Value) -> bool) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let counts = |key: &&String| !left_out.contains(&key.as_str());
    a.keys().filter(counts).count() == b.keys().filter(counts).count()
        && a.iter().rev().filter(|(key, _)| counts(key)).all(|(key, a)| b.get(key).is_some_and(|b| equal(key, a, b)))
}

impl Store {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Work>) {
        let (work, inbox) = mpsc::unbounded_channel();
        (Self { objects: Mutex::default(), work, stop: CancellationToken::new() }, inbox)
    }

    pub fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Value>> {
        self.lock().get(key).cloned()
    }

    /// Everything of a resource in one namespace (or all), ordered, with the current version.
    pub fn list(&self, storage: &StorageKey, namespace: Option<&str>) -> (u64, Vec<Arc<Value>>) {
        let mut objects = self.lock();
        objects.bucket(storage);
        (objects.version, objects.select(storage, namespace))
    }

    /// What [`Store::list`] said when the version was current; `None` when that is forgotten.
    pub fn list_at(&self, storage: &StorageKey, namespace: Option<&str>, version: u64) -> Option<Vec<Arc<Value>>> {
        let objects = self.lock();
        let Some(bucket) = objects.buckets.get(storage) else { return Some(Vec::new()) };
        if version < bucket.forgotten {
            return None;
        }
        let mut then = bucket.objects.clone();
        for change in bucket.history.iter().rev().take_while(|change| change.version > version) {
            let (namespace, name) = (metadata(&change.object, "namespace"), metadata(&change.object, "name"));
            match &change.previous {
                Some(previous) => then.put(namespace, name, previous.clone()),
                None => then.remove(namespace, name),
            }
        }
        Some(then.select(namespace))
    }

    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Every object's key and value.
    pub fn everything(&self) -> Vec<(ObjectKey, Arc<Value>)> {
        let objects = self.lock();
        let all = objects.buckets.iter().flat_map(|(storage, bucket)| {
            bucket.objects.all().map(|(namespace, name, object)| {
                let key = ObjectKey { storage: storage.clone(), namespace: namespace.clone(), name: name.clone() };
                (key, object.clone())
            })
        });
        all.collect()
    }

    /// The keys of an owner's dependents.
    pub fn dependents(&self, uid: &str) -> Vec<ObjectKey> {
        self.lock().dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// The contents of a namespace.
    pub fn contents(&self, namespace: &str) -> Vec<ObjectKey> {
        let objects = self.lock();
        let mut found = Vec::new();
        for (storage, bucket) in &objects.buckets {
            for (name, _) in bucket.objects.within(namespace) {
                found.push(ObjectKey { storage: storage.clone(), namespace: namespace.to_owned(), name: name.clone() });
            }
        }
        found
    }

    /// One write: `decide` sees the state and the stored object, and says what becomes of it.
    pub fn write(
        &self,
        key: &ObjectKey,
        decide: impl FnOnce(&Objects, Option<&Arc<Value>>) -> Result<Action, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let mut guard = self.lock();
        let objects = &mut *guard;
        let previous = objects.get(key).cloned();
        let (mut object, kind) = match decide(objects, previous.as_ref())? {
            Action::Keep(object) => return Ok(Arc::new(object)),
            Action::Put(mut object) => {
                managers::pack(&mut object);
                match &previous {
                    Some(old) if same(old, &object) => return Ok(old.clone()),
                    Some(_) => (object, ChangeKind::Modified),
                    None => (object, ChangeKind::Added),
                }
            }
            Action::Remove(object) => (object, ChangeKind::Deleted),
        };
        objects.version += 1;
        let version = objects.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let object = Arc::new(object);
        let uid = metadata(&object, "uid").to_owned();
        let mut work = Vec::new();
        if kind == ChangeKind::Deleted {
            work.extend(objects.index(key, previous.as_deref(), None));
            objects.uids.remove(&uid);
            work.extend(objects.dependents.get(&uid).into_iter().flatten().cloned().map(Work::Examine));
            if !key.namespace.is_empty() && objects.namespace(&key.namespace).is_some_and(|n| is_deleting(n)) {
                work.push(Work::Namespace(key.namespace.clone()));
            }
        } else {
            work.extend(objects.index(key, previous.as_deref(), Some(&object)));
            if kind == ChangeKind::Added {
                objects.uids.insert(uid, key.clone());
            }
            if is_deleting(&object) {
                work.push(if key.storage == *NAMESPACES {
                    Work::Namespace(key.name.clone())
                } else {
                    Work::Foreground(key.clone())
                });
            }
        }
        let weight = weight(&object);
        objects.record(key, Past { version, kind, object: object.clone(), previous, weight });
        if objects.is_counted(key, kind) {
            work.push(Work::Count(key.namespace.clone()));
        }
        drop(guard);
        for item in work {
            // The collector stops with the server.
            let _ = self.work.send(item);
        }
        Ok(object)
    }

    /// Begins a watch. `since` of `None`: with the state as it is. An `Err` is the oldest version
    /// that can still be watched from.
    pub fn subscribe(
        &self,
        storage: &StorageKey,
        namespace: Option<&str>,
        since: Option<u64>,
    ) -> Result<Subscription, u64> {
        let mut objects = self.lock();
        let version = objects.version;
        let initial = match since {
            None => objects.select(storage, namespace),
            Some(_) => Vec::new(),
        };
        let bucket = objects.bucket(storage);
        let mut missed = Vec::new();
        if let Some(since) = since {
            if since < bucket.forgotten {
                return Err(bucket.forgotten);
            }
            let first = bucket.history.partition_point(|c| c.version <= since);
            missed.extend(bucket.history.range(first..).cloned().map(Change::from));
        }
        let live = bucket.live.get_or_insert_with(|| broadcast::channel(LIVE).0).subscribe();
        Ok(Subscription { version, initial, missed, live })
    }

    /// Puts objects where another server had them; no watch can begin before.
    pub fn restore(&self, version: u64, all: Vec<(ObjectKey, Arc<Value>)>) {
        let mut guard = self.lock();
        let objects = &mut *guard;
        objects.version = objects.version.max(version);
        let version = objects.version;
        let mut work = Vec::new();
        for (key, object) in &all {
            if let Some(before) = objects.get(key).map(|before| metadata(before, "uid").to_owned()) {
                objects.uids.remove(&before);
            }
            objects.uids.insert(metadata(object, "uid").to_owned(), key.clone());
        }
        for (key, mut object) in all {
            managers::pack(Arc::make_mut(&mut object));
            // Owners are all there: nothing is without one that was not before.
            work.extend(objects.index(&key, None, Some(&object)));
            if is_deleting(&object) {
                work.push(if key.storage == *NAMESPACES {
                    Work::Namespace(key.name.clone())
                } else {
                    Work::Foreground(key.clone())
                });
            }
            let bucket = objects.bucket(&key.storage);
            bucket.forgotten = version;
            bucket.objects.put(&key.namespace, &key.name, object);
        }
        drop(guard);
        for item in work {
            // The collector stops with the server.
            let _ = self.work.send(item);
        }
    }

    /// Forgets the changes so far, as a compaction does: older watches get 410.
    pub fn compact(&self) {
        let mut objects = self.lock();
        let version = objects.version;
        for bucket in objects.buckets.values_mut() {
            bucket.history.clear();
            bucket.history_bytes = 0;
            bucket.forgotten = version;
        }
    }
}

impl Objects {
    fn select(&self, storage: &StorageKey, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.buckets.get(storage).map(|bucket| bucket.objects.select(namespace)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::equal;

    #[test]
    fn the_order_of_fields_does_not_count_and_all_else_does() {
        let one = json!({"a": 1, "b": {"c": [1, {"d": null}], "e": "x"}});
        assert!(equal(&one, &json!({"b": {"e": "x", "c": [1, {"d": null}]}, "a": 1})));
        let others = [
            json!({"a": 1, "b": {"c": [1, {"d": null}]}}),
            json!({"a": 1, "b": {"c": [{"d": null}, 1], "e": "x"}}),
            json!({"a": 1, "b": {"c": [1, {"d": null}, 2], "e": "x"}}),
            json!({"a": 1, "b": {"c": [1, {"f": null}], "e": "x"}}),
            json!({"a": 1, "b": [], "c": 2}),
        ];
        for other in others {
            assert!(!equal(&one, &other) && !equal(&other, &one), "{other}");
        }
    }
}
