//! The logs of pods that come and go, kept from each pod's beginning on: what ran in a pod that is gone can't be asked any
//! more.
//!
//! One watch tells of the pods. A running pod's log is followed; it is read anew whenever the pod changes, so that a
//! stream that was cut loses nothing as long as the pod is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncBufReadExt as _, FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;

use crate::api::pods::SeenPod;
use crate::cluster::{Cluster, retry};
use crate::net::pauses::{Pauses, pause};
use crate::tasks::{Task, own};

/// What is kept of one log; a copy that says more says nothing new.
const LONGEST: usize = 4 << 20;
/// One watch request.
const WATCH_SECONDS: u32 = 290;

#[derive(Default)]
struct Known {
    /// By uid.
    pods: BTreeMap<String, SeenPod>,
    /// How much was seen.
    count: u64,
    trouble: Option<String>,
}

type Shared = Arc<Mutex<Known>>;

/// Follows the pods of one namespace whose names begin alike, for as long as it lives.
pub struct PodLogs {
    known: Shared,
    /// How many logs are being read.
    reading: watch::Receiver<usize>,
    _task: Task<()>,
}

impl PodLogs {
    pub fn follow(cluster: &Cluster, namespace: &str, prefix: &str) -> Self {
        let known = Shared::default();
        let (at_work, reading) = watch::channel(0);
        let api = Api::namespaced(cluster.client(), namespace);
        let task = own(run(api, prefix.to_owned(), known.clone(), at_work));
        Self { known, reading, _task: task }
    }

    /// Every pod that was seen, oldest first; waits a while for logs that are just being read. `Err`: nobody could be
    /// asked, and none was seen.
    pub async fn seen(&self, limit: Duration) -> Result<Vec<SeenPod>, String> {
        let mut reading = self.reading.clone();
        // Late is what it is: the log so far is told.
        let _ = tokio::time::timeout(limit, reading.wait_for(|count| *count == 0)).await;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pods: Vec<SeenPod> = known.pods.values().cloned().collect();
        pods.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
        match &known.trouble {
            Some(trouble) if pods.is_empty() => Err(trouble.clone()),
            _ => Ok(pods),
        }
    }
}

async fn run(api: Api<Pod>, prefix: String, known: Shared, at_work: watch::Sender<usize>) {
    let begin = || watcher(api.clone(), watcher::Config::default().timeout(WATCH_SECONDS)).boxed();
    let mut stream = begin();
    let mut pauses = Pauses::endless();
    let mut readers: FuturesUnordered<BoxFuture<(String, String)>> = FuturesUnordered::new();
    // Whose log is being read, and whether the pod has changed since.
    let mut busy: BTreeMap<String, bool> = BTreeMap::new();
    loop {
        at_work.send_replace(busy.len());
        tokio::select! {
            Some((uid, name)) = readers.next() => {
                if busy.remove(&uid) == Some(true) {
                    busy.insert(uid.clone(), false);
                    readers.push(read(api.clone(), known.clone(), uid, name).boxed());
                }
            }
            event = stream.next() => match event {
                Some(Ok(event)) => {
                    pauses.reset();
                    let Some((uid, name)) = take(&known, &prefix, event) else { continue };
                    match busy.get_mut(&uid) {
                        Some(changed) => *changed = true,
                        None => {
                            busy.insert(uid.clone(), false);
                            readers.push(read(api.clone(), known.clone(), uid, name).boxed());
                        }
                    }
                }
                Some(Err(error)) => {
                    known.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(error.to_string());
                    pause(pauses.next(None).unwrap_or_default()).await;
                    stream = begin();
                }
                None => stream = begin(),
            },
        }
    }
}

/// Takes up what is told of a pod; the answer is whose log is worth reading now.
fn take(known: &Shared, prefix: &str, event: Event<Pod>) -> Option<(String, String)> {
    let (pod, gone) = match event {
        Event::InitApply(pod) | Event::Apply(pod) => (pod, false),
        Event::Delete(pod) => (pod, true),
        Event::Init | Event::InitDone => return None,
    };
    let name = pod.metadata.name.clone().filter(|name| name.starts_with(prefix))?;
    let uid = pod.metadata.uid.clone()?;
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.trouble = None;
    known.count += 1;
    let count = known.count;
    let seen = known.pods.entry(uid.clone()).or_insert_with(|| SeenPod { begun: count, ..SeenPod::default() });
    seen.name.clone_from(&name);
    seen.created = pod.metadata.creation_timestamp.as_ref().map(|at| at.0.to_string());
    seen.labels = pod.metadata.labels.clone().unwrap_or_default();
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let over = matches!(phase.as_str(), "Succeeded" | "Failed");
    if (gone || over) && seen.ended.is_none() {
        seen.ended = Some(count);
    }
    seen.phase = phase;
    (!gone && (over || seen.phase == "Running")).then_some((uid, name))
}

/// Reads a pod's log to its end, which may be the pod's.
async fn read(api: Api<Pod>, known: Shared, uid: String, name: String) -> (String, String) {
    let params = LogParams { follow: true, ..LogParams::default() };
    let failed = match api.log_stream(&name, &params).await {
        Ok(mut stream) => {
            let (mut length, mut line) = (0, Vec::new());
            loop {
                line.clear();
                match stream.read_until(b'\n', &mut line).await {
                    Ok(0) => break None,
                    Err(error) => break Some(error.to_string()),
                    Ok(_) if length + line.len() > LONGEST => break None,
                    Ok(_) => {}
                }
                length = keep(&known, &uid, length, &String::from_utf8_lossy(&line));
            }
        }
        Err(error) => Some(retry::short(&error)),
    };
    if let Some(seen) = known.lock().unwrap_or_else(PoisonError::into_inner).pods.get_mut(&uid) {
        seen.unread = failed;
    }
    (uid, name)
}

/// Keeps one more line of a log of which `length` bytes were read, and says how many that are now. A log that is read
/// again begins anew: only what goes beyond the known is taken.
fn keep(known: &Shared, uid: &str, length: usize, line: &str) -> usize {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let now = length + line.len();
    if let Some(seen) = known.pods.get_mut(uid) {
        // A line that was cut off when it was read before is completed.
        let have = seen.log.len().saturating_sub(length);
        seen.log.push_str(line.get(have..).unwrap_or_default());
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, uid: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": uid, "labels": {"vmID": "vm-1"}},
            "status": {"phase": phase}}))
        .unwrap()
    }

    #[test]
    fn a_pod_that_is_gone_is_still_known_with_the_log_that_it_had() {
        let known = Shared::default();
        let tell = |event| take(&known, "populate-", event);
        assert_eq!(tell(Event::Apply(pod("other", "1", "Running"))), None);
        assert_eq!(tell(Event::Apply(pod("populate-a", "2", "Pending"))), None, "it has no log yet");
        assert!(tell(Event::Apply(pod("populate-a", "2", "Running"))).is_some());
        let read = keep(&known, "2", 0, "one\n");
        keep(&known, "2", read, "tw");
        // A stream that is opened again begins with what is known, and goes on.
        let again = keep(&known, "2", 0, "one\n");
        keep(&known, "2", again, "two\n");
        assert_eq!(tell(Event::Delete(pod("populate-a", "2", "Running"))), None);
        let known = known.lock().unwrap();
        let seen = &known.pods["2"];
        assert_eq!((seen.log.as_str(), seen.phase.as_str()), ("one\ntwo\n", "Running"));
        assert!(seen.ended.is_some_and(|ended| ended > seen.begun) && known.pods.len() == 1);
    }
}
