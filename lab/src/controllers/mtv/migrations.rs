//! Migrations: an index for the Plans that run them, and their own status, copied from the Plan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::api::{Api, Patch};
use kube::runtime::watcher::{self, Event};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Mtv;
use super::conditions::{Patience, condition, durable, settle, write_status};
use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{Migration, MigrationSpec, MigrationStatus, Plan, VmStatus};
use crate::controllers::glance::{self, Unread};

/// Namespace and name of a Plan.
type PlanKey = (String, String);

/// Every Migration by its Plan, with a bell for each Plan.
#[derive(Default)]
pub(super) struct Migrations(Mutex<HashMap<PlanKey, Entry>>);

#[derive(Default, Clone)]
struct Entry {
    all: Vec<Arc<Migration>>,
    /// Uids of those that were executed: the index may learn of their end later.
    ended: Vec<String>,
    bell: Arc<Notify>,
}

fn key(migration: &Migration) -> PlanKey {
    let namespace = migration.spec.plan.namespace.clone().or_else(|| migration.namespace()).unwrap_or_default();
    (namespace, migration.spec.plan.name.clone().unwrap_or_default())
}

impl Migrations {
    fn with<T>(&self, plan: PlanKey, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.0.lock().ok().map(|mut index| change(index.entry(plan).or_default()))
    }

    fn put(&self, migration: Migration) {
        self.with(key(&migration), |entry| {
            entry.all.retain(|m| m.uid() != migration.uid());
            entry.all.push(Arc::new(migration));
            entry.all.sort_by_key(|m| m.creation_timestamp());
            entry.bell.notify_waiters();
        });
    }

    fn remove(&self, migration: &Migration) {
        self.with(key(migration), |entry| {
            entry.all.retain(|m| m.uid() != migration.uid());
            entry.bell.notify_waiters();
        });
    }

    /// The oldest that has not ended.
    pub fn pending(&self, namespace: &str, plan: &str) -> Option<Arc<Migration>> {
        self.with((namespace.to_owned(), plan.to_owned()), |entry| {
            entry.all.iter().find(|m| !has_ended(m) && !entry.ended.contains(&m.uid().unwrap_or_default())).cloned()
        })?
    }

    /// Its execution is over, so that it is not executed again.
    pub fn mark_ended(&self, migration: &Migration) {
        self.with(key(migration), |entry| entry.ended.push(migration.uid().unwrap_or_default()));
    }

    /// One Migration as it stands; `None` when it is gone.
    pub fn get(&self, migration: &Migration) -> Option<Arc<Migration>> {
        self.with(key(migration), |entry| entry.all.iter().find(|m| m.uid() == migration.uid()).cloned())?
    }

    /// The bell that rings when a Migration of this Plan changes.
    pub fn bell(&self, namespace: &str, plan: &str) -> Arc<Notify> {
        self.with((namespace.to_owned(), plan.to_owned()), |entry| entry.bell.clone()).unwrap_or_default()
    }

    /// Rings that bell.
    pub fn ring(&self, namespace: &str, plan: &str) {
        self.bell(namespace, plan).notify_waiters();
    }

    /// Forgets a Plan that is gone.
    pub fn forget(&self, namespace: &str, plan: &str) {
        if let Ok(mut index) = self.0.lock() {
            index.remove(&(namespace.to_owned(), plan.to_owned()));
        }
    }
}

/// What the index keeps of a Migration. Of its status the conditions alone: what it tells of VMs is the Plan's, and
/// changes at every step.
#[derive(Deserialize)]
struct Kept {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: MigrationSpec,
    #[serde(default)]
    status: Option<Stands>,
}

#[derive(Deserialize)]
struct Stands {
    #[serde(default)]
    conditions: Vec<Condition>,
}

fn kept(migration: &Unread<Migration>) -> Option<Migration> {
    let Kept { metadata, spec, status } = match migration.read() {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(name = migration.name_any(), %error, "a Migration can't be read: nobody executes it");
            return None;
        }
    };
    let status = status.map(|Stands { conditions }| MigrationStatus { conditions, ..MigrationStatus::default() });
    Some(Migration { metadata, spec, status })
}

fn has_ended(migration: &Migration) -> bool {
    let conditions = migration.status.as_ref().map_or(&[][..], |s| s.conditions.as_slice());
    ["Succeeded", "Failed", "Canceled"].iter().any(|end| conditions.holds(end))
}

/// Keeps the index. The status is written by the Plan's own task, so that there is one writer.
pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    let api: Api<Unread<Migration>> = Api::all(mtv.client.clone());
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Apply(m) | Event::InitApply(m))) => kept(&m).into_iter().for_each(|m| mtv.migrations.put(m)),
            Some(Ok(Event::Delete(m))) => kept(&m).iter().for_each(|m| mtv.migrations.remove(m)),
            Some(Ok(Event::Init | Event::InitDone)) => {}
            Some(Err(_)) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            None => return,
        }
    }
}

/// Makes the Plan the owner of its Migration.
pub(super) async fn adopt(mtv: &Mtv, plan: &Plan, migration: &Migration) {
    let owner = OwnerReference {
        api_version: "forklift.konveyor.io/v1beta1".to_owned(),
        kind: "Plan".to_owned(),
        name: plan.name_any(),
        uid: plan.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let api: Api<Migration> = Api::namespaced(mtv.client.clone(), &migration.namespace().unwrap_or_default());
    let patch = serde_json::json!({"metadata": {"ownerReferences": [owner]}});
    let _ = glance::patch(&api, &migration.name_any(), &Patch::Merge(patch)).await;
}

/// What its status tells of VMs.
async fn told(mtv: &Mtv, migration: &Migration) -> Result<Vec<VmStatus>, kube::Error> {
    let api: Api<Migration> = Api::namespaced(mtv.client.clone(), &migration.namespace().unwrap_or_default());
    let mut patience = Patience::default();
    loop {
        match api.get_opt(&migration.name_any()).await {
            Ok(there) => return Ok(there.and_then(|there| there.status).unwrap_or_default().vms),
            Err(error) if patience.again(&error).await => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes the Migration's status; `vms` are as they were afterwards. `end`: `Succeeded`, `Failed`, `Canceled`; `None` while
/// it runs. A cancelled one gets neither `completed` nor fresh VMs, as MTV's does not.
pub(super) async fn reflect(
    mtv: &Mtv,
    migration: &Migration,
    vms: &mut Vec<VmStatus>,
    started: &str,
    end: Option<&str>,
) {
    let old = mtv.migrations.get(migration).and_then(|m| m.status.clone()).unwrap_or_default().conditions;
    let mut status = MigrationStatus {
        observed_generation: migration.metadata.generation.unwrap_or_default(),
        started: Some(started.to_owned()),
        ..MigrationStatus::default()
    };
    let mut conditions = vec![condition("Ready", "Required", "", "The migration is ready.")];
    let mut fresh = true;
    match end {
        None => conditions.push(condition("Running", "Advisory", "", "The migration is RUNNING.")),
        Some("Canceled") => {
            match told(mtv, migration).await {
                Ok(told) => (fresh, status.vms) = (false, told),
                Err(error) => {
                    let name = migration.name_any();
                    tracing::warn!(name, %error, "a Migration's VMs can't be read: it is given fresh ones");
                }
            }
            conditions.push(durable("Canceled", "The plan execution has been CANCELED."));
        }
        Some(word) => {
            conditions.push(durable(word, &format!("The migration has {}.", word.to_uppercase())));
            status.completed = Some(super::conditions::now());
        }
    }
    status.conditions = settle(conditions, &old);
    // Lent, not copied: there is one for each step of each VM.
    let mut lend = |status: &mut MigrationStatus| {
        if fresh {
            std::mem::swap(vms, &mut status.vms);
        }
    };
    lend(&mut status);
    write_status(&mtv.client, migration, &status).await;
    lend(&mut status);
}
