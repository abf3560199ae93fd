//! `clean`: finishing what a crashed, killed or kept run left behind.
//!
//! Two independent ways back: the ledger (what was written down), and a sweep by run id
//! (what carries the label, or the name on a source platform). Nothing without a run's label or
//! prefix is ever touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::sweep;
use super::teardown::{Leftover, Undo};
use crate::api::names::RunId;
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::ledger::{Ledger, LedgerError, Thing};
use crate::source::SourceDriver;

fn clone_name(thing: &Thing) -> Option<&str> {
    match thing {
        Thing::SourceVm { name, .. } => Some(name),
        _ => None,
    }
}

/// What a clean did.
#[derive(Debug, Clone, Default)]
pub struct Cleaned {
    /// Removed and verified.
    pub removed: Vec<String>,
    pub leftovers: Vec<Leftover>,
}

/// What cleaning needs.
pub struct Cleaner<'a> {
    pub cluster: &'a Cluster,
    pub settings: &'a Settings,
    pub drivers: BTreeMap<String, Arc<dyn SourceDriver>>,
}

impl Cleaner<'_> {
    /// Finishes one ledger, then sweeps for what it did not know.
    pub async fn finish(&self, ledger: &Ledger) -> Result<Cleaned, LedgerError> {
        self.note_strays(ledger).await?;
        let before = ledger.open_entries();
        let timeouts = &self.settings.timeouts;
        let undo = Undo {
            cluster: self.cluster,
            ledger,
            drivers: &self.drivers,
            limit: timeouts.delete,
            cancel_limit: timeouts.delete,
        };
        let leftovers = undo.run(before.clone()).await;
        let open: Vec<_> = ledger.open_entries().into_iter().map(|e| e.id).collect();
        let removed = before.iter().filter(|e| !open.contains(&e.id)).map(|e| e.thing.describe()).collect();
        Ok(Cleaned { removed, leftovers })
    }

    /// Adds to the ledger what carries the run's label or name and is not in it.
    async fn note_strays(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        let known: Vec<Thing> = ledger.open_entries().into_iter().map(|e| e.thing).collect();
        let is_known =
            |thing: &Thing| known.iter().any(|k| k.describe() == thing.describe() && url_of(k) == url_of(thing));
        for cluster in self.clusters().await {
            for thing in sweep::find_by_run(&cluster, ledger.run()).await {
                if !is_known(&thing) {
                    ledger.intent(None, thing)?;
                }
            }
        }
        // Two profiles of one platform both see a clone; its name is its own, and one deletion is enough.
        let mut clones: BTreeSet<String> =
            known.iter().filter_map(|thing| clone_name(thing).map(str::to_owned)).collect();
        for (profile, driver) in &self.drivers {
            // A platform that can't be asked now is not a reason to leave the rest.
            let Ok(vms) = driver.list_by_prefix(&ledger.run().clone_prefix()).await else { continue };
            let platform = driver.platform().name().to_owned();
            let vms = vms.into_iter().map(|vm| Thing::SourceVm {
                profile: profile.clone(),
                platform: platform.clone(),
                name: vm.name,
                id: Some(vm.id),
            });
            let items = driver.list_items_by_prefix(&ledger.run().clone_prefix()).await.unwrap_or_default();
            let items = items.into_iter().map(|item| Thing::SourceItem {
                profile: profile.clone(),
                platform: platform.clone(),
                kind: item.kind,
                name: item.name,
                id: Some(item.id),
            });
            for thing in vms.chain(items) {
                // A clone that another profile sees, too, is deleted once.
                let fresh = match clone_name(&thing) {
                    Some(name) => clones.insert(name.to_owned()),
                    None => !is_known(&thing),
                };
                if fresh {
                    ledger.intent(None, thing)?;
                }
            }
        }
        Ok(())
    }

    /// Runs with objects on the cluster older than `age`.
    pub async fn runs_older_than(&self, age: Duration) -> Vec<RunId> {
        let mut runs: BTreeSet<RunId> = BTreeSet::new();
        for cluster in self.clusters().await {
            runs.extend(sweep::runs_older_than(&cluster, age).await.into_iter().map(|(run, _)| run));
        }
        runs.into_iter().collect()
    }

    /// The run's own cluster, and the platforms that are clusters. One that can't be reached now is
    /// not a reason to leave the rest.
    async fn clusters(&self) -> Vec<Cluster> {
        let mut all = vec![self.cluster.clone()];
        for driver in self.drivers.values().filter(|d| d.cluster_url().is_some()) {
            if let Ok(Some(cluster)) = driver.as_cluster().await
                && !all.iter().any(|known| known.url() == cluster.url())
            {
                all.push(cluster);
            }
        }
        all
    }
}

/// The cluster that an entry is on; empty where it is on none.
fn url_of(thing: &Thing) -> &str {
    match thing {
        Thing::Object { cluster, .. } | Thing::Setting { cluster, .. } => cluster.trim_end_matches('/'),
        Thing::SourceVm { .. } | Thing::SourceItem { .. } => "",
    }
}
