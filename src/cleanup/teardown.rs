//! Undoing what the ledger holds, in reverse, and verifying that it is gone.
//!
//! Works from the ledger alone, so that it does the same after a passed cell, a dropped one, and a
//! crash that `clean` finishes. Order: cancel a running migration; then namespaces (with all that
//! is in them), shared settings and source VMs at the same time. What can't be removed is returned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::undo::undo;
use crate::cluster::Cluster;
use crate::forklift::execution;
use crate::ledger::{Ledger, OpenEntry, Thing};
use crate::source::SourceDriver;

/// Something that is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub what: String,
    pub because: String,
}

/// What undoing needs. Drivers by profile; one that is missing makes its VMs leftovers.
pub struct Undo<'a> {
    pub cluster: &'a Cluster,
    pub ledger: &'a Ledger,
    pub drivers: &'a BTreeMap<String, Arc<dyn SourceDriver>>,
    /// Bound for each object.
    pub limit: Duration,
    /// Bound for a cancelled migration to end.
    pub cancel_limit: Duration,
}

impl Undo<'_> {
    /// Undoes `entries` (newest first).
    pub async fn run(&self, entries: Vec<OpenEntry>) -> Vec<Leftover> {
        let mut leftovers = self.cancel_migrations(&entries).await;
        let namespaces: BTreeSet<Place> = entries.iter().filter_map(|e| namespace_of(&e.thing)).collect();
        let (inside, outside): (Vec<OpenEntry>, Vec<OpenEntry>) =
            entries.into_iter().partition(|e| is_inside(&e.thing, &namespaces));
        let done = join_all(outside.into_iter().map(|entry| self.undo_outside(entry))).await;
        let mut gone = BTreeSet::new();
        for result in done {
            match result {
                Ok(Some(namespace)) => {
                    gone.insert(namespace);
                }
                Ok(None) => {}
                Err(leftover) => leftovers.push(leftover),
            }
        }
        // What lived in a namespace that is verified to be gone is gone with it.
        for entry in inside {
            let Some(place) = inner_namespace(&entry.thing) else { continue };
            if gone.contains(&place) {
                if let Err(error) = self.ledger.gone(entry.id) {
                    leftovers.push(leftover(&entry, error.to_string()));
                }
            } else {
                leftovers.push(leftover(&entry, format!("namespace {} is still there", place.1)));
            }
        }
        leftovers
    }

    async fn cancel_migrations(&self, entries: &[OpenEntry]) -> Vec<Leftover> {
        let plans = entries.iter().filter_map(|entry| match &entry.thing {
            Thing::Object { kind, namespace: Some(namespace), name, .. } if kind == "Plan" => {
                Some((entry, namespace, name))
            }
            _ => None,
        });
        let cancels = plans.map(|(entry, namespace, name)| async move {
            let cancelled = execution::cancel(self.cluster, namespace, name, self.cancel_limit).await;
            cancelled.err().map(|error| leftover(entry, format!("its migration could not be cancelled: {error}")))
        });
        join_all(cancels).await.into_iter().flatten().collect()
    }

    fn driver(&self, profile: &str, entry: &OpenEntry) -> Result<&Arc<dyn SourceDriver>, Leftover> {
        let missing = || leftover(entry, format!("profile {profile} is not among the configured providers"));
        self.drivers.get(profile).ok_or_else(missing)
    }

    /// Where the namespace was when it was one.
    async fn undo_outside(&self, entry: OpenEntry) -> Result<Option<Place>, Leftover> {
        match &entry.thing {
            Thing::SourceVm { profile, name, .. } => {
                let driver = self.driver(profile, &entry)?;
                driver.delete_vm(name).await.map_err(|e| leftover(&entry, e.to_string()))?;
                self.ledger.gone(entry.id).map_err(|e| leftover(&entry, e.to_string()))?;
                Ok(None)
            }
            Thing::SourceItem { profile, kind, name, id, .. } => {
                let driver = self.driver(profile, &entry)?;
                let id = id.as_deref().or(entry.platform_id.as_deref());
                driver.delete_item(kind, name, id).await.map_err(|e| leftover(&entry, e.to_string()))?;
                self.ledger.gone(entry.id).map_err(|e| leftover(&entry, e.to_string()))?;
                Ok(None)
            }
            Thing::Object { cluster, .. } | Thing::Setting { cluster, .. } => {
                let cluster = self.cluster_at(cluster).await.map_err(|because| leftover(&entry, because))?;
                undo(&cluster, self.ledger, &entry, self.limit).await.map_err(|e| leftover(&entry, e.to_string()))?;
                Ok(namespace_of(&entry.thing))
            }
        }
    }

    /// The cluster with this URL: the run's own, or the one that a platform is. Where nobody knows
    /// it the run's own one is asked, which says that it is another.
    async fn cluster_at(&self, url: &str) -> Result<Cluster, String> {
        let url = url.trim_end_matches('/');
        let other = self.drivers.values().find(|driver| driver.cluster_url().as_deref() == Some(url));
        match other.filter(|_| url != self.cluster.url()) {
            None => Ok(self.cluster.clone()),
            Some(driver) => {
                let found = driver.as_cluster().await.map_err(|error| error.to_string())?;
                Ok(found.unwrap_or_else(|| self.cluster.clone()))
            }
        }
    }
}

/// API URL of a cluster, and a namespace on it.
type Place = (String, String);

fn leftover(entry: &OpenEntry, because: String) -> Leftover {
    Leftover { what: entry.thing.describe(), because }
}

/// Where the namespace of an entry is, when the entry is one.
fn namespace_of(thing: &Thing) -> Option<Place> {
    match thing {
        Thing::Object { kind, name, cluster, .. } if kind == "Namespace" => Some((cluster.clone(), name.clone())),
        _ => None,
    }
}

fn inner_namespace(thing: &Thing) -> Option<Place> {
    match thing {
        Thing::Object { namespace: Some(namespace), cluster, .. } => Some((cluster.clone(), namespace.clone())),
        _ => None,
    }
}

/// Whether the thing goes with one of these namespaces.
fn is_inside(thing: &Thing, namespaces: &BTreeSet<Place>) -> bool {
    inner_namespace(thing).is_some_and(|place| namespaces.contains(&place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, namespace: Option<&str>, name: &str) -> Thing {
        Thing::Object {
            api_version: "v1".into(),
            kind: kind.into(),
            plural: String::new(),
            namespace: namespace.map(str::to_owned),
            name: name.into(),
            cluster: String::new(),
        }
    }

    #[test]
    fn objects_go_with_their_namespace_only_when_the_run_made_that_namespace() {
        let ours = BTreeSet::from([(String::new(), "mm-a".to_owned())]);
        assert!(is_inside(&object("Plan", Some("mm-a"), "plan"), &ours));
        assert!(!is_inside(&object("NetworkAttachmentDefinition", Some("default"), "nad"), &ours));
        assert!(!is_inside(&object("Namespace", None, "mm-a"), &ours));
    }
}
