//! Objects of one kind that come and go, kept as they were seen last: what somebody else takes away can't be asked any
//! more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, TypeMeta};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::net::pauses::{Pauses, pause};
use crate::tasks::{Task, own};

/// One watch request.
const WATCH_SECONDS: u32 = 290;

#[derive(Default)]
struct Known {
    /// By uid.
    objects: BTreeMap<String, DynamicObject>,
    trouble: Option<String>,
}

/// Watches the objects of one kind in one namespace, for as long as it lives.
pub struct Remembered {
    known: Arc<Mutex<Known>>,
    kind: ApiResource,
    _task: Task<()>,
}

impl Remembered {
    pub fn follow(cluster: &Cluster, namespace: &str, kind: ApiResource) -> Self {
        let known = Arc::<Mutex<Known>>::default();
        let api = Api::namespaced_with(cluster.client(), namespace, &kind);
        let task = own(run(api, known.clone()));
        Self { known, kind, _task: task }
    }

    /// Every one that was seen, as it was seen last. `Err`: nobody could be asked, and none was seen.
    pub fn seen(&self) -> Result<Vec<Value>, String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trouble) = known.trouble.as_ref().filter(|_| known.objects.is_empty()) {
            return Err(trouble.clone());
        }
        let types = TypeMeta { api_version: self.kind.api_version.clone(), kind: self.kind.kind.clone() };
        let whole = |object: &DynamicObject| {
            let mut object = object.clone();
            object.types.get_or_insert_with(|| types.clone());
            serde_json::to_value(object).map_err(|error| error.to_string())
        };
        known.objects.values().map(whole).collect()
    }
}

async fn run(api: Api<DynamicObject>, known: Arc<Mutex<Known>>) {
    let begin = || watcher(api.clone(), watcher::Config::default().timeout(WATCH_SECONDS)).boxed();
    let mut stream = begin();
    let mut pauses = Pauses::endless();
    loop {
        match stream.next().await {
            Some(Ok(event)) => {
                pauses.reset();
                take(&known, event);
            }
            Some(Err(error)) => {
                known.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(error.to_string());
                pause(pauses.next(None).unwrap_or_default()).await;
                stream = begin();
            }
            None => stream = begin(),
        }
    }
}

fn take(known: &Mutex<Known>, event: Event<DynamicObject>) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        // A deletion shows the object as it was.
        Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) => {
            let Some(uid) = object.metadata.uid.clone() else { return };
            known.trouble = None;
            known.objects.insert(uid, object);
        }
        Event::Init | Event::InitDone => known.trouble = None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_remembered_as_it_was_seen_last() {
        let known = Mutex::<Known>::default();
        let object = |progress: &str| -> DynamicObject {
            serde_json::from_value(serde_json::json!({"apiVersion": "v1", "kind": "Any",
                "metadata": {"name": "a", "uid": "1"}, "status": {"progress": progress}}))
            .unwrap()
        };
        take(&known, Event::Apply(object("50")));
        take(&known, Event::Delete(object("100")));
        let known = known.lock().unwrap();
        assert_eq!(known.objects["1"].data["status"]["progress"], "100");
    }
}
