//! One task for each object of a kind: started when the object appears, ended when it goes. Most of what a watch tells is
//! a status that the task itself has written: an object is decoded when its task begins, when its spec is another one,
//! and when it goes.

use std::collections::HashMap;

use futures::{FutureExt as _, StreamExt};
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::glance::Unread;

/// When a running task is replaced by a new one.
pub enum Restart<'a, K> {
    /// The object's spec changed.
    OnNewGeneration,
    /// Never: this is told of a new spec, and the task reads the object again by itself.
    Never(&'a (dyn Fn(&K) + Sync)),
}

/// Runs `work` for every object of a kind, in all namespaces, until `stop`. `gone` is told of objects that were deleted.
pub async fn one_task_each<K, W>(
    client: Client,
    kind: &K::DynamicType,
    restart: Restart<'_, K>,
    stop: CancellationToken,
    work: impl Fn(K) -> W,
    gone: impl Fn(&K),
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let mut tasks: HashMap<String, (i64, AbortOnDropHandle<()>)> = HashMap::new();
    let api: Api<Unread<K>> = Api::all_with(client, kind);
    // Errors of the stream are retried by the watcher itself.
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    // What can't be decoded has no task, and had none.
    let read = |object: &Unread<K>| {
        let read = object.read::<K>();
        let name = || object.name_any();
        read.inspect_err(|error| tracing::warn!(kind = %K::kind(kind), name = name(), %error, "not understood")).ok()
    };
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Apply(object) | Event::InitApply(object))) => {
                let uid = object.uid().unwrap_or_default();
                let generation = object.meta().generation.unwrap_or_default();
                let known = tasks.get_mut(&uid);
                if known.as_ref().is_some_and(|(known, _)| *known == generation) {
                    continue;
                }
                let Some(object) = read(&object) else { continue };
                if let (Some((known, _)), Restart::Never(tell)) = (known, &restart) {
                    *known = generation;
                    tell(&object);
                    continue;
                }
                // The old task ends before the new one begins to write.
                tasks.remove(&uid);
                // Boxed, because a task whose work is over is still held here, and would keep the room for it.
                let handle = AbortOnDropHandle::new(tokio::spawn(work(object).boxed()));
                tasks.insert(uid, (generation, handle));
            }
            Some(Ok(Event::Delete(object))) => {
                tasks.remove(&object.uid().unwrap_or_default());
                if let Some(object) = read(&object) {
                    gone(&object);
                }
            }
            Some(Ok(Event::Init | Event::InitDone)) => {}
            Some(Err(_)) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            None => break,
        }
    }
    let mut ending = JoinSet::new();
    for (_, (_, handle)) in tasks {
        handle.abort();
        ending.spawn(async move {
            let _ = handle.await;
        });
    }
    while ending.join_next().await.is_some() {}
}
