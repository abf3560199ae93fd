//! `clean`: finishing what a crashed, killed or kept run left behind.
//!
//! Two independent ways back: the ledger (what was written down), and a sweep (what bears the run's
//! marks). Both only say what to look at; what is removed has proven itself right before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::kept::{self, Unknown};
use super::proof::{Consent, Judgement};
use super::sweep;
use super::teardown::{self, Dead, Leftover, Settle, Standing, Undo};
use crate::api::names::RunId;
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::ledger::guard::{self, Silence};
use crate::ledger::mark::Marker;
use crate::ledger::{Ledger, LedgerError, OpenEntry, Thing};
use crate::source::SourceDriver;

/// What a clean did, or would do.
#[derive(Debug, Clone, Default)]
pub struct Cleaned {
    /// Removed and verified; of a dry run: what would be, and its proof.
    pub removed: Vec<String>,
    pub leftovers: Vec<Leftover>,
}

impl Cleaned {
    pub fn join(&mut self, more: Self) {
        self.removed.extend(more.removed);
        self.leftovers.extend(more.leftovers);
    }

    fn unasked(&mut self, unasked: impl IntoIterator<Item = (String, String)>) {
        self.leftovers.extend(unasked.into_iter().map(|(what, because)| Leftover {
            what,
            because: format!("not asked: {because}"),
            standing: Standing::Unknown,
        }));
    }

    /// Whether all was looked at and nothing of ours is left.
    pub fn is_whole(&self) -> bool {
        self.leftovers.iter().all(|left| left.standing == Standing::NotOurs)
    }
}

/// What cleaning needs.
pub struct Cleaner<'a> {
    pub cluster: &'a Cluster,
    pub settings: &'a Settings,
    pub drivers: BTreeMap<String, Arc<dyn SourceDriver>>,
    /// Profiles that have no driver, and why: nobody looks there.
    pub undriven: Vec<(String, String)>,
    pub consent: Consent,
    /// Looks and tells, and changes nothing.
    pub dry_run: bool,
}

impl Cleaner<'_> {
    /// Finishes one ledger, then what bears the run's marks and is not in it.
    /// `silence`: how long whoever wrote it had been silent.
    pub async fn finish(&self, ledger: &Ledger, silence: Option<Silence>) -> Result<Cleaned, LedgerError> {
        let settle = self.settle(ledger, silence);
        let mut cleaned = Cleaned::default();
        if !ledger.unreadable().is_empty() {
            let lines: Vec<String> = ledger.unreadable().iter().map(usize::to_string).collect();
            let what = format!("{}: lines {}", ledger.path().display(), lines.join(", "));
            let because = "they can't be read; a sweep looked for what they may have told".to_owned();
            cleaned.leftovers.push(Leftover { what, because, standing: Standing::Unknown });
        }
        let written = ledger.open_entries();
        let strays = self.strays(ledger.run(), &written, &mut cleaned).await;
        self.undo(ledger, written, Some(settle), &mut cleaned).await;
        self.undo_strays(ledger, strays, &mut cleaned).await?;
        Ok(cleaned)
    }

    /// Sweeps for a run whose ledger is not at hand; `scratch` makes one to work with.
    pub async fn sweep(
        &self,
        run: &RunId,
        scratch: impl FnOnce(Option<Marker>) -> Result<Ledger, LedgerError>,
    ) -> Result<Cleaned, LedgerError> {
        let mut cleaned = Cleaned::default();
        let marker = match kept::find(self.cluster, run).await {
            Ok(known) => Some(known.marker),
            Err(Unknown::NotAsked(because)) => {
                cleaned.unasked([(format!("the secret of run {run}"), because)]);
                None
            }
            Err(Unknown::Foreign(why)) => {
                let what = format!("namespace {}", run.namespace());
                cleaned.leftovers.push(Leftover { what, because: why, standing: Standing::NotOurs });
                None
            }
            Err(Unknown::Absent | Unknown::NoSecret) => None,
        };
        let ledger = scratch(marker)?;
        let strays = self.strays(run, &[], &mut cleaned).await;
        self.undo_strays(&ledger, strays, &mut cleaned).await?;
        Ok(cleaned)
    }

    fn settle(&self, ledger: &Ledger, silence: Option<Silence>) -> Settle {
        let request = self.settings.timeouts.request;
        let dead = ledger.last_line().zip(silence).map(|(last_line, silence)| Dead {
            last_line,
            written: silence.written,
            on_its_way: (guard::BEAT + request).saturating_sub(silence.alive),
        });
        Settle { after_intent: teardown::settle(request), dead }
    }

    fn engine<'b>(&'b self, ledger: &'b Ledger, settle: Option<Settle>) -> Undo<'b> {
        let swept = settle.is_none();
        // What a sweep has just seen is there, and nobody waits for it.
        let settle = settle.unwrap_or(Settle { after_intent: Duration::ZERO, dead: None });
        let limit = self.settings.timeouts.delete;
        let (cluster, drivers, consent) = (self.cluster, &self.drivers, self.consent);
        Undo { cluster, ledger, drivers, limit, cancel_limit: limit, consent, swept, settle }
    }

    /// `settle`: of entries that stand in the run's ledger; `None`: a sweep found them.
    async fn undo(&self, ledger: &Ledger, entries: Vec<OpenEntry>, settle: Option<Settle>, cleaned: &mut Cleaned) {
        let undo = self.engine(ledger, settle);
        if self.dry_run {
            for (what, judged) in undo.judge(&entries).await {
                match judged {
                    Ok(Judgement::Ours) => cleaned.removed.push(format!("{what}: proven by its mark")),
                    Ok(Judgement::Unproven(why)) if self.consent == Consent::Unproven => {
                        cleaned.removed.push(format!("{what}: not proven ({why}), but --yes"));
                    }
                    Ok(Judgement::Unproven(because)) => {
                        cleaned.leftovers.push(Leftover { what, because, standing: Standing::Unproven });
                    }
                    Ok(Judgement::Foreign(because)) => {
                        cleaned.leftovers.push(Leftover { what, because, standing: Standing::NotOurs });
                    }
                    Err(left) => cleaned.leftovers.push(left),
                }
            }
            return;
        }
        cleaned.leftovers.extend(undo.run(entries.clone()).await);
        let open: Vec<_> = ledger.open_entries().into_iter().map(|e| e.id).collect();
        cleaned.removed.extend(entries.iter().filter(|e| !open.contains(&e.id)).map(|e| e.thing.describe()));
    }

    /// What a sweep found: of the clusters all that is proven, of the source platforms only what a person
    /// said yes to.
    async fn undo_strays(&self, ledger: &Ledger, strays: Vec<Thing>, cleaned: &mut Cleaned) -> Result<(), LedgerError> {
        let on_platform = |thing: &Thing| matches!(thing, Thing::SourceVm { .. } | Thing::SourceItem { .. });
        let (platform, cluster): (Vec<Thing>, Vec<Thing>) = strays.into_iter().partition(on_platform);
        if self.consent == Consent::Proven && !platform.is_empty() {
            let entries: Vec<OpenEntry> = platform.into_iter().map(OpenEntry::loose).collect();
            for (what, judged) in self.engine(ledger, None).judge(&entries).await {
                cleaned.leftovers.push(match judged {
                    Err(left) => left,
                    Ok(Judgement::Foreign(because)) => Leftover { what, because, standing: Standing::NotOurs },
                    Ok(Judgement::Unproven(because)) => Leftover { what, because, standing: Standing::Unproven },
                    Ok(Judgement::Ours) => {
                        let because = "it bears the run's mark, but no ledger of ours knows it".to_owned();
                        Leftover { what, because, standing: Standing::Unproven }
                    }
                });
            }
            let cluster = self.but_for_home(ledger, cluster, cleaned);
            return self.undo_found(ledger, cluster, cleaned).await;
        }
        let mut things = self.but_for_home(ledger, cluster, cleaned);
        things.extend(platform);
        self.undo_found(ledger, things, cleaned).await
    }

    /// Without the run's own namespace, while something of the run may be left elsewhere: its proof is in it.
    fn but_for_home(&self, ledger: &Ledger, things: Vec<Thing>, cleaned: &mut Cleaned) -> Vec<Thing> {
        if cleaned.is_whole() {
            return things;
        }
        let home = ledger.run().namespace();
        let within = |thing: &Thing| match thing {
            Thing::Object { kind, namespace: None, name, .. } => kind == "Namespace" && *name == home,
            Thing::Object { namespace, .. } => namespace.as_ref() == Some(&home),
            _ => false,
        };
        let (kept, things): (Vec<Thing>, Vec<Thing>) = things.into_iter().partition(within);
        if !kept.is_empty() {
            let because = "it holds what proves the rest to be the run's".to_owned();
            let what = format!("Namespace {home}");
            cleaned.leftovers.push(Leftover { what, because, standing: Standing::Left });
        }
        things
    }

    async fn undo_found(&self, ledger: &Ledger, things: Vec<Thing>, cleaned: &mut Cleaned) -> Result<(), LedgerError> {
        let mut entries = Vec::new();
        if self.dry_run {
            entries.extend(things.into_iter().map(OpenEntry::loose));
        } else {
            let known: BTreeSet<_> = ledger.open_entries().into_iter().map(|entry| entry.id).collect();
            for thing in things {
                ledger.intent(None, thing)?;
            }
            entries.extend(ledger.open_entries().into_iter().filter(|entry| !known.contains(&entry.id)));
        }
        self.undo(ledger, entries.clone(), None, cleaned).await;
        // Somebody else's things do not stay in the run's ledger.
        for entry in entries.iter().filter(|_| !self.dry_run) {
            let what = entry.thing.describe();
            if cleaned.leftovers.iter().any(|left| left.what == what && left.standing == Standing::NotOurs) {
                ledger.gone(entry.id)?;
            }
        }
        Ok(())
    }

    /// What carries the run's label or name and is not in its ledger.
    async fn strays(&self, run: &RunId, known: &[OpenEntry], cleaned: &mut Cleaned) -> Vec<Thing> {
        let is_known = |thing: &Thing| {
            known.iter().any(|k| k.thing.describe() == thing.describe() && place_of(&k.thing) == place_of(thing))
        };
        let mut strays = Vec::new();
        for cluster in self.clusters(cleaned).await {
            let own = cluster.id() == self.cluster.id();
            let mtv = own.then_some(self.settings.mtv_namespace.as_str());
            let swept = sweep::find_by_run(&cluster, run, mtv).await;
            cleaned.unasked(swept.unasked);
            // A ledger of version 0.1 names the cluster by its URL.
            let listed = |thing: &Thing| {
                known.iter().any(|k| k.thing.describe() == thing.describe() && cluster.is_known_as(place_of(&k.thing)))
            };
            strays.extend(swept.things.into_iter().filter(|thing| !is_known(thing) && !listed(thing)));
        }
        cleaned.unasked(self.undriven.iter().cloned());
        // Two profiles of one platform both see a clone, and what it is made of; each has a name of its own, and
        // one deletion is enough. A profile may have been renamed since, too.
        let mut seen: BTreeSet<(String, String)> = known.iter().filter_map(|entry| own_name(&entry.thing)).collect();
        for (profile, driver) in &self.drivers {
            let platform = driver.platform().name().to_owned();
            let prefix = run.clone_prefix();
            let (vms, items) =
                futures::future::join(driver.list_by_prefix(&prefix), driver.list_items_by_prefix(&prefix)).await;
            let mut unasked = Vec::new();
            let vms = vms.unwrap_or_else(|error| {
                unasked.push((format!("profile {profile}"), error.to_string()));
                Vec::new()
            });
            let items = items.unwrap_or_else(|error| {
                unasked.push((format!("profile {profile}, what is no VM"), error.to_string()));
                Vec::new()
            });
            // A platform that can't be asked at all is one line.
            unasked.truncate(1);
            cleaned.unasked(unasked);
            let vms = vms.into_iter().map(|vm| Thing::SourceVm {
                profile: profile.clone(),
                platform: platform.clone(),
                name: vm.name,
                id: Some(vm.id).filter(|id| !id.is_empty()),
                // Who saw it is who removes it.
                instance: None,
            });
            let items = items.into_iter().map(|item| Thing::SourceItem {
                profile: profile.clone(),
                platform: platform.clone(),
                kind: item.kind,
                name: item.name,
                id: Some(item.id),
                instance: None,
            });
            strays.extend(vms.chain(items).filter(|thing| own_name(thing).is_some_and(|name| seen.insert(name))));
        }
        strays
    }

    /// Runs on the clusters older than `age`, and what says so without proof.
    pub async fn runs_older_than(&self, age: Duration) -> (Vec<RunId>, Cleaned) {
        let (mut runs, mut told) = (BTreeSet::new(), Cleaned::default());
        for cluster in self.clusters(&mut told).await {
            let aged = sweep::runs_older_than(&cluster, age).await;
            runs.extend(aged.old);
            told.unasked(aged.unasked);
            told.leftovers.extend(aged.unproven.into_iter().map(|(what, because)| Leftover {
                what,
                because: format!("{because}: an age is not proof enough; name it with --run-id"),
                standing: Standing::NotOurs,
            }));
        }
        (runs.into_iter().collect(), told)
    }

    /// The run's own cluster, and the platforms that are clusters.
    async fn clusters(&self, cleaned: &mut Cleaned) -> Vec<Cluster> {
        let mut all = vec![self.cluster.clone()];
        for (profile, driver) in self.drivers.iter().filter(|(_, d)| d.cluster_url().is_some()) {
            match driver.as_cluster().await {
                Ok(Some(cluster)) if all.iter().all(|known| known.id() != cluster.id()) => all.push(cluster),
                Ok(_) => {}
                Err(error) => cleaned.unasked([(format!("the cluster of profile {profile}"), error.to_string())]),
            }
        }
        all
    }
}

/// Kind and name of what lies on a source platform: no two things of a run have the same.
fn own_name(thing: &Thing) -> Option<(String, String)> {
    match thing {
        Thing::SourceVm { name, .. } => Some((String::new(), name.clone())),
        Thing::SourceItem { kind, name, .. } => Some((kind.clone(), name.clone())),
        Thing::Object { .. } | Thing::Setting { .. } => None,
    }
}

/// The cluster that a thing is on; empty where it is on none.
fn place_of(thing: &Thing) -> &str {
    match thing {
        Thing::Object { cluster, .. } | Thing::Setting { cluster, .. } => cluster,
        Thing::SourceVm { .. } | Thing::SourceItem { .. } => "",
    }
}
