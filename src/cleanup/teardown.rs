//! Undoing what the ledger holds, in reverse, and verifying that it is gone.
//!
//! Works from the ledger alone, so that it does the same after a passed cell, a dropped one, and a
//! crash that `clean` finishes. Order: cancel a running migration; then namespaces (with all that
//! is in them), shared settings and source VMs at the same time. What can't be removed is returned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use super::proof::{Claim, Consent, Judgement};
use super::undo::{self, How};
use crate::cluster::{ApplyError, Cluster, Poll, wait};
use crate::forklift::execution;
use crate::ledger::{EntryId, Ledger, OpenEntry, Thing};
use crate::source::{SourceDriver, SourceError};

/// Why something was not undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there, and is ours.
    Left,
    /// It names the run, but nothing proves it. `--yes` removes it.
    Unproven,
    /// Somebody else's. Never touched.
    NotOurs,
    /// Nobody could tell: not asked, or not answered.
    Unknown,
}

/// Something that was not undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub what: String,
    pub because: String,
    pub standing: Standing,
}

impl Leftover {
    fn of(entry: &OpenEntry, standing: Standing, because: impl Into<String>) -> Self {
        Self { what: entry.thing.describe(), because: because.into(), standing }
    }

    fn left(entry: &OpenEntry, because: impl ToString) -> Self {
        Self::of(entry, Standing::Left, because.to_string())
    }

    fn source(entry: &OpenEntry, error: &SourceError) -> Self {
        let standing = match error {
            SourceError::NotOurs { judgement: Judgement::Unproven(_), .. } => Standing::Unproven,
            SourceError::NotOurs { .. } => Standing::NotOurs,
            SourceError::Unreachable { .. } | SourceError::Login { .. } => Standing::Unknown,
            _ => Standing::Left,
        };
        Self::of(entry, standing, error.to_string())
    }

    fn object(entry: &OpenEntry, error: &ApplyError) -> Self {
        let standing = match error {
            ApplyError::NotOurs { .. } => Standing::NotOurs,
            ApplyError::Unproven { .. } => Standing::Unproven,
            ApplyError::OtherCluster { .. } | ApplyError::UnknownKind { .. } => Standing::Unknown,
            ApplyError::Request { verb: "read", .. } => Standing::Unknown,
            _ => Standing::Left,
        };
        Self::of(entry, standing, error.to_string())
    }
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
    /// What a person allowed beyond proof; a run's own teardown needs nothing.
    pub consent: Consent,
    /// The entries were found by a sweep, not read from the run's ledger.
    pub swept: bool,
    /// How long what nobody answered for may still come.
    pub settle: Settle,
}

/// How long a thing may still come that was asked for and never answered.
#[derive(Debug, Clone, Copy)]
pub struct Settle {
    /// After it was asked for ([`settle`]).
    pub after_intent: Duration,
    /// Whoever asked for it is dead; `None`: it is this very run.
    pub dead: Option<Dead>,
}

/// The end of whoever wrote a ledger. Its own clock may be wrong, so that only differences of its times count.
#[derive(Debug, Clone, Copy)]
pub struct Dead {
    /// When it wrote its last line, by the clock of its entries.
    pub last_line: Timestamp,
    /// How long ago that is, by the clock of the volume.
    pub written: Duration,
    /// How much longer what it sent last may be on its way: it lived for one beat after its last sign of life
    /// at most, and a request takes no longer than its timeout.
    pub on_its_way: Duration,
}

impl Settle {
    /// From `now` on; `at` is when the thing was asked for.
    fn rest(&self, at: Timestamp, now: Timestamp) -> Duration {
        let between = |earlier: Timestamp, later: Timestamp| later.duration_since(earlier).unsigned_abs();
        match self.dead {
            None => self.after_intent.saturating_sub(between(at, now)),
            Some(dead) => {
                let age = between(at, dead.last_line) + dead.written;
                self.after_intent.saturating_sub(age).min(dead.on_its_way)
            }
        }
    }
}

/// How long after its intent a thing may still come: a create is tried for three request timeouts
/// ([`crate::cluster::apply`]), and what was sent last may be on its way for one more.
pub fn settle(request: Duration) -> Duration {
    request * 4
}

impl Undo<'_> {
    /// Undoes `entries` (newest first). The run's own namespace goes last, and only when nothing else of
    /// the run is left: what proves the rest is in it.
    pub async fn run(&self, entries: Vec<OpenEntry>) -> Vec<Leftover> {
        let home = self.ledger.run().namespace();
        let is_home = |entry: &OpenEntry| {
            matches!(&entry.thing, Thing::Object { kind, name, cluster, .. }
                if kind == "Namespace" && *name == home && self.cluster.is_known_as(cluster))
        };
        let last: Vec<OpenEntry> = entries.iter().filter(|e| is_home(e)).cloned().collect();
        let uncancelled = self.cancel_migrations(&entries).await;
        let mut leftovers = Vec::new();
        let namespaces: BTreeSet<Place> = entries.iter().filter_map(|e| namespace_of(&e.thing)).collect();
        let batch: BTreeSet<EntryId> = entries.iter().map(|entry| entry.id).collect();
        let (inside, outside): (Vec<OpenEntry>, Vec<OpenEntry>) =
            entries.into_iter().filter(|e| !is_home(e)).partition(|e| is_inside(&e.thing, &namespaces));
        let mut gone = BTreeSet::new();
        self.undo_all(outside, &mut gone, &mut leftovers).await;
        let elsewhere = |entry: &OpenEntry| {
            !batch.contains(&entry.id) && inner_namespace(&entry.thing).is_none_or(|(_, namespace)| namespace != home)
        };
        let home_is_needed =
            leftovers.iter().any(|left: &Leftover| left.standing != Standing::NotOurs) || self.ledger.holds(elsewhere);
        if home_is_needed {
            let because = "it holds what proves the rest to be the run's";
            leftovers.extend(last.iter().map(|entry| Leftover::left(entry, because)));
        } else {
            self.undo_all(last, &mut gone, &mut leftovers).await;
        }
        // What lived in a namespace that is verified to be gone is gone with it.
        for entry in inside {
            let Some(place) = inner_namespace(&entry.thing) else { continue };
            if gone.contains(&place) {
                if let Err(error) = self.ledger.gone(entry.id) {
                    tracing::warn!(%error, "a thing is gone and its ledger does not say so");
                }
            } else if !home_is_needed || place.1 != home {
                leftovers.push(Leftover::left(&entry, format!("namespace {} is still there", place.1)));
            }
        }
        // What is gone all the same had nothing to cancel.
        leftovers.extend(uncancelled.into_iter().filter(|(id, _)| self.ledger.is_open(*id)).map(|(_, left)| left));
        leftovers
    }

    async fn undo_all(&self, entries: Vec<OpenEntry>, gone: &mut BTreeSet<Place>, leftovers: &mut Vec<Leftover>) {
        let done = join_all(entries.into_iter().map(|entry| self.undo_outside(entry))).await;
        for result in done {
            match result {
                Ok(Some(namespace)) => {
                    gone.insert(namespace);
                }
                Ok(None) => {}
                Err(leftover) => leftovers.push(leftover),
            }
        }
    }

    /// What is claimed on a source platform.
    fn claim<'b>(&'b self, entry: &'b OpenEntry, name: &'b str, id: Option<&'b str>) -> Claim<'b> {
        Claim {
            run: self.ledger.run(),
            marker: self.ledger.marker(),
            name,
            // The id that a sweep has just read proves nothing; one that the run wrote down does.
            id: if self.swept { None } else { id.or(entry.platform_id.as_deref()) },
            written: !self.swept,
            consent: self.consent,
        }
    }

    /// Whose each entry's thing is, without touching it; settings and what is not there are left out.
    pub async fn judge(&self, entries: &[OpenEntry]) -> Vec<(String, Result<Judgement, Leftover>)> {
        let looks = entries.iter().map(|entry| async move {
            let what = entry.thing.describe();
            match self.judge_one(entry).await {
                Ok(Some(judgement)) => Some((what, Ok(judgement))),
                Ok(None) => None,
                Err(left) => Some((what, Err(left))),
            }
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    async fn judge_one(&self, entry: &OpenEntry) -> Result<Option<Judgement>, Leftover> {
        match &entry.thing {
            Thing::SourceVm { profile, platform, name, id, instance } => {
                let claim = self.claim(entry, name, id.as_deref());
                let on = Whereabouts { profile, platform, instance: instance.as_deref() };
                self.driver(on, entry).await?.judge(None, &claim).await.map_err(|e| Leftover::source(entry, &e))
            }
            Thing::SourceItem { profile, platform, kind, name, id, instance } => {
                let claim = self.claim(entry, name, id.as_deref());
                let on = Whereabouts { profile, platform, instance: instance.as_deref() };
                self.driver(on, entry).await?.judge(Some(kind), &claim).await.map_err(|e| Leftover::source(entry, &e))
            }
            Thing::Object { cluster, .. } => {
                let cluster = self.cluster_at(cluster).await.map_err(|e| Leftover::of(entry, Standing::Unknown, e))?;
                undo::judge(&cluster, self.ledger, &entry.thing).await.map_err(|e| Leftover::object(entry, &e))
            }
            Thing::Setting { .. } => Ok(Some(Judgement::Ours)),
        }
    }

    /// Cancels what runs under the run's own plans; what could not be cancelled, by its entry. A plan that is
    /// not proven to be the run's is nothing to cancel.
    async fn cancel_migrations(&self, entries: &[OpenEntry]) -> Vec<(EntryId, Leftover)> {
        let plans = entries.iter().filter_map(|entry| match &entry.thing {
            Thing::Object { kind, namespace: Some(namespace), name, .. } if kind == "Plan" => {
                Some((entry, namespace, name))
            }
            _ => None,
        });
        let cancels = plans.map(|(entry, namespace, name)| async move {
            let failed = |because: String| {
                let because = format!("its migration could not be cancelled: {because}");
                Some((entry.id, Leftover::left(entry, because)))
            };
            // Where each Migration was answered for and is seen to be over, there is nothing to ask.
            let unanswered = entries
                .iter()
                .any(|entry| !entry.done && inner_namespace(&entry.thing).is_some_and(|at| at.1 == *namespace));
            if !unanswered && execution::rests(self.cluster, namespace, name) {
                return None;
            }
            match undo::judge(self.cluster, self.ledger, &entry.thing).await {
                Ok(Some(Judgement::Ours)) => {}
                Ok(Some(Judgement::Unproven(_))) if self.consent == Consent::Unproven => {}
                Ok(_) => return None,
                Err(error) => return failed(error.to_string()),
            }
            let cancelled = execution::cancel(self.cluster, namespace, name, self.cancel_limit).await;
            cancelled.err().and_then(|error| failed(error.to_string()))
        });
        join_all(cancels).await.into_iter().flatten().collect()
    }

    /// Who works on the platform of an entry. A profile is only a name: where the ledger knows which platform it
    /// was, another one behind the same name or URL is not touched, and the same one is found under any name.
    async fn driver(&self, on: Whereabouts<'_>, entry: &OpenEntry) -> Result<&Arc<dyn SourceDriver>, Leftover> {
        let unknown = |because: String| Leftover::of(entry, Standing::Unknown, format!("not asked: {because}"));
        let named = self.drivers.get(on.profile);
        let Some(made_on) = on.instance else {
            let missing = || unknown(format!("profile {} is not among the configured providers", on.profile));
            return named.ok_or_else(missing);
        };
        let rest =
            self.drivers.iter().filter(|(name, driver)| *name != on.profile && driver.platform().name() == on.platform);
        let mut seen = Vec::new();
        for (name, driver) in self.drivers.get_key_value(on.profile).into_iter().chain(rest) {
            match driver.instance().await {
                Ok(Some(now)) if now == made_on => return Ok(driver),
                Ok(now) => seen.push(format!("profile {name} is {}", now.as_deref().unwrap_or("of no known id"))),
                Err(error) => seen.push(format!("profile {name} did not say which it is: {error}")),
            }
        }
        let seen = if seen.is_empty() { "no profile is of its kind".to_owned() } else { seen.join(", ") };
        Err(unknown(format!("it was made on the platform {made_on}; {seen}")))
    }

    /// Where the namespace was when it was one.
    async fn undo_outside(&self, entry: OpenEntry) -> Result<Option<Place>, Leftover> {
        let namespace = match &entry.thing {
            Thing::SourceVm { profile, platform, name, id, instance } => {
                let claim = self.claim(&entry, name, id.as_deref());
                let on = Whereabouts { profile, platform, instance: instance.as_deref() };
                let driver = self.driver(on, &entry).await?;
                self.delete(&entry, || driver.delete_vm(&claim)).await.map_err(|e| Leftover::source(&entry, &e))?;
                None
            }
            Thing::SourceItem { profile, platform, kind, name, id, instance } => {
                let claim = self.claim(&entry, name, id.as_deref());
                let on = Whereabouts { profile, platform, instance: instance.as_deref() };
                let driver = self.driver(on, &entry).await?;
                let deleted = self.delete(&entry, || driver.delete_item(kind, &claim)).await;
                deleted.map_err(|e| Leftover::source(&entry, &e))?;
                None
            }
            Thing::Object { cluster, .. } | Thing::Setting { cluster, .. } => {
                let cluster = self.cluster_at(cluster).await.map_err(|e| Leftover::of(&entry, Standing::Unknown, e))?;
                match undo::undo(&cluster, self.ledger, &entry, self.how(&entry)).await {
                    // It is undone; that the ledger can't say so is no leftover.
                    Err(ApplyError::Ledger(error)) => tracing::warn!(%error, "undone, and its ledger does not say so"),
                    other => other.map_err(|e| Leftover::object(&entry, &e))?,
                }
                return Ok(namespace_of(&entry.thing));
            }
        };
        if let Err(error) = self.ledger.gone(entry.id) {
            tracing::warn!(%error, "a thing is gone and its ledger does not say so");
        }
        Ok(namespace)
    }

    fn how(&self, entry: &OpenEntry) -> How {
        How { consent: self.consent, limit: self.limit, late: self.late(entry) }
    }

    /// How long the thing of an entry may still come; zero where it was answered for, or found.
    fn late(&self, entry: &OpenEntry) -> Duration {
        if entry.done || self.swept {
            return Duration::ZERO;
        }
        self.settle.rest(entry.at, crate::clock::now())
    }

    /// Deletes; what was asked for, never answered and is not there may still come, so it is looked for until
    /// it can't any more. The driver itself waits for the platform's unfinished tasks.
    async fn delete<F>(&self, entry: &OpenEntry, delete: impl Fn() -> F + Send + Sync) -> Result<(), SourceError>
    where
        F: Future<Output = Result<bool, SourceError>> + Send,
    {
        let rest = self.late(entry);
        if delete().await? || rest.is_zero() {
            return Ok(());
        }
        let what = format!("{} to come after all", entry.thing.describe());
        let delete = &delete;
        let came = wait::poll(&what, rest, || async move {
            match delete().await {
                Ok(true) => Poll::Done(Ok(())),
                Ok(false) => Poll::NotYet("not there".to_owned()),
                Err(error) => Poll::Done(Err(error)),
            }
        });
        // Nothing came, and nothing can come any more.
        came.await.unwrap_or(Ok(()))
    }

    /// The cluster that a ledger names so: the run's own, or one that a platform is. Where nobody knows it
    /// the run's own one is asked, which says that it is another.
    async fn cluster_at(&self, at: &str) -> Result<Cluster, String> {
        if self.cluster.is_known_as(at) {
            return Ok(self.cluster.clone());
        }
        let mut unasked = Vec::new();
        for driver in self.drivers.values().filter(|driver| driver.cluster_url().is_some()) {
            match driver.as_cluster().await {
                Ok(Some(cluster)) if cluster.is_known_as(at) => return Ok(cluster),
                Ok(_) => {}
                Err(error) => unasked.push(error.to_string()),
            }
        }
        if unasked.is_empty() { Ok(self.cluster.clone()) } else { Err(unasked.join("; ")) }
    }
}

/// Where a ledger says that a thing of a source platform is.
#[derive(Debug, Clone, Copy)]
struct Whereabouts<'a> {
    profile: &'a str,
    platform: &'a str,
    /// What the platform says that it is.
    instance: Option<&'a str>,
}

/// A cluster as the ledger names it, and a namespace on it.
type Place = (String, String);

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

    #[test]
    fn what_the_dead_asked_for_long_ago_can_not_come_any_more_whatever_their_clock_said() {
        let seconds = Duration::from_secs;
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let living = Settle { after_intent: seconds(120), dead: None };
        assert_eq!(living.rest(at(0), at(20)), seconds(100));
        let dead = |written: u64, on_its_way: u64| Settle {
            dead: Some(Dead { last_line: at(10), written: seconds(written), on_its_way: seconds(on_its_way) }),
            ..living
        };
        // Killed just now: what it sent last may be on its way for a beat and a request.
        assert_eq!(dead(0, 50).rest(at(0), at(10)), seconds(50));
        assert_eq!(dead(80, 50).rest(at(0), at(90)), seconds(30));
        assert_eq!(dead(3600, 0).rest(at(0), at(3610)), Duration::ZERO);
        // Its clock was an hour off: only its own times are compared with one another.
        assert_eq!(dead(5, 45).rest(at(0), at(-3600)), seconds(45));
    }
}
