//! What an earlier try of the same shard left behind: a pod that was killed or evicted is made anew, and ends
//! what the first one began before it begins itself.
//!
//! Knows a shard's earlier runs by the event logs on the results volume. How a ledger is finished is `clean`'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{clean_cmd, common};
use crate::cleanup::{Cleaned, Cleaner, Consent};
use crate::cluster::Cluster;
use crate::config::Loaded;
use crate::event::{EventKind, Events, Level, ShardSet};
use crate::ledger::Ledger;
use crate::ledger::guard::{Guard, GuardError};
use crate::report::log::read_started;

/// Ledgers of earlier runs of the shard. Nobody is asked.
pub fn ledgers(results: &Path, set: &ShardSet) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(results).into_iter().flatten().flatten();
    let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path());
    let is_same = |dir: &PathBuf| {
        dir.join("ledger.jsonl").is_file()
            && told(dir).is_some_and(|told| told.id == set.id && told.index == set.index && told.shards == set.shards)
    };
    let mut found: Vec<PathBuf> = dirs.filter(is_same).map(|dir| dir.join("ledger.jsonl")).collect();
    found.sort();
    found
}

/// The set that the run in a directory says it is of.
fn told(dir: &Path) -> Option<ShardSet> {
    match read_started(&dir.join("events.jsonl")).ok()??.kind {
        EventKind::RunStarted { set, .. } => set,
        _ => None,
    }
}

/// Finishes those that nobody works with. What could not be removed is told; it is no business of this run's
/// verdict, and a `clean` finds it in its own ledger.
pub async fn finish(loaded: &Loaded, cluster: &Cluster, paths: &[PathBuf], events: &Events) {
    let note = |level, message: String| events.emit(EventKind::Note { cell: None, level, message });
    let (drivers, undriven) = clean_cmd::drivers(loaded, cluster);
    let settings = &loaded.settings;
    let cleaner = Cleaner { cluster, settings, drivers, undriven, consent: Consent::Proven, dry_run: false };
    for path in paths {
        match finish_one(&cleaner, path).await {
            Ok(None) => {}
            Ok(Some((run, cleaned))) => {
                let (removed, left) = (cleaned.removed.len(), cleaned.leftovers.len());
                let message =
                    format!("an earlier try of this shard was run {run}: {removed} things of it removed, {left} left");
                note(Level::Info, message);
                for left in cleaned.leftovers {
                    note(Level::Warning, format!("left by run {run}: {}: {}", left.what, left.because));
                }
            }
            Err(why) => note(Level::Warning, format!("{} was not finished: {why}", path.display())),
        }
    }
    for driver in cleaner.drivers.values() {
        driver.disconnect().await;
    }
}

/// `None`: there is nothing to finish, or it was to be kept, or somebody is at it.
async fn finish_one(cleaner: &Cleaner<'_>, path: &Path) -> Result<Option<(String, Cleaned)>, clean_cmd::WorkError> {
    let guard = match Guard::hold(path, "run") {
        Ok(guard) => Arc::new(guard),
        Err(GuardError::Held { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let _heart = common::heartbeat(&guard);
    let ledger = Ledger::reopen(path)?;
    let open = ledger.open_entries();
    if open.is_empty() || open.iter().any(|entry| entry.kept) {
        return Ok(None);
    }
    let cleaned = cleaner.finish(&ledger, guard.silence()).await?;
    Ok(Some((ledger.run().to_string(), cleaned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::report::fixture;

    #[test]
    fn only_runs_of_the_same_shard_of_the_same_set_are_earlier_tries() {
        let dir = tempfile::tempdir().unwrap();
        let set = |id: &str, index| ShardSet {
            id: id.to_owned(),
            name: None,
            index,
            shards: vec!["0/2".to_owned(), "1/2".to_owned()],
        };
        let write = |run: &str, set: Option<ShardSet>| {
            let own = dir.path().join(run);
            std::fs::create_dir_all(&own).unwrap();
            std::fs::write(own.join("ledger.jsonl"), "").unwrap();
            // What comes before the start: a note of what an earlier try had left.
            let message = "left".to_owned();
            let note = EventKind::Note { cell: None, level: Level::Warning, message };
            let mut start = fixture::events().swap_remove(0);
            if let EventKind::RunStarted { set: told, .. } = &mut start.kind {
                *told = set;
            }
            let note = Event { kind: note, ..start.clone() };
            let lines = [note, start].map(|event| serde_json::to_string(&event).unwrap());
            std::fs::write(own.join("events.jsonl"), format!("{}\n{{tor", lines.join("\n"))).unwrap();
        };
        write("mm-a", Some(set("x", 1)));
        write("mm-b", Some(set("x", 0)));
        write("mm-c", Some(set("y", 1)));
        write("mm-d", None);
        std::fs::create_dir_all(dir.path().join("mm-e")).unwrap();
        assert_eq!(ledgers(dir.path(), &set("x", 1)), [dir.path().join("mm-a/ledger.jsonl")]);
    }
}
