//! Retention: the results of old runs go, so that a results volume never fills by itself.
//!
//! Knows directories of runs, their ledgers and who works with them; asks no cluster. A directory goes only where it
//! proves to be the results of a run (its name is a run id, and its event log says the same) that is over and has
//! nothing left to undo: what a ledger still holds can't be undone without it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::api::names::RunId;
use crate::event::{EventKind, ShardSet};
use crate::ledger::{Ledger, guard};
use crate::report::log::read_started;
use crate::report::merge;

const LOG: &str = "events.jsonl";
const LEDGER: &str = "ledger.jsonl";

/// How much of earlier runs may stay; `None`: all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Runs, the one that begins among them.
    pub runs: Option<usize>,
    /// Bytes of all of them.
    pub bytes: Option<u64>,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Directories that went, and the bytes that they held.
    pub removed: Vec<(PathBuf, u64)>,
    /// Too old, but not to be removed, and why.
    pub stayed: Vec<(PathBuf, String)>,
    /// Could not be removed, or not wholly.
    pub failed: Vec<(PathBuf, String)>,
}

impl Pruned {
    /// A line for each thing that there is to say.
    pub fn lines(&self) -> (Option<String>, Vec<String>) {
        let name = |dir: &Path| dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned();
        let names: Vec<String> = self.removed.iter().map(|(dir, _)| name(dir)).collect();
        let bytes: u64 = self.removed.iter().map(|(_, bytes)| bytes).sum();
        let removed = (!names.is_empty()).then(|| {
            let runs = if names.len() == 1 { "an earlier run" } else { "earlier runs" };
            format!("results of {runs} removed ({} kB): {}", bytes.div_ceil(1000), names.join(", "))
        });
        let stayed = self.stayed.iter().map(|(dir, why)| format!("results of {} stay: {why}", name(dir)));
        let failed = self.failed.iter().map(|(dir, why)| format!("results of {} were not removed: {why}", name(dir)));
        (removed, stayed.chain(failed).collect())
    }
}

/// The results of one run.
struct Old {
    dir: PathBuf,
    started: Timestamp,
    /// The shards of a set that has a name, and what they were joined to, are one night.
    night: RunId,
}

/// Removes the oldest runs of a results directory that are beyond `limits`. `set`: what the run that begins is a part
/// of. `spare`: directories that stay whatever their age, as those do that links beside them lead to.
pub fn prune(results: &Path, limits: Limits, set: Option<&ShardSet>, spare: &[&Path]) -> Pruned {
    let mut pruned = Pruned::default();
    if limits == Limits::default() {
        return pruned;
    }
    let Ok(entries) = fs::read_dir(results) else { return pruned };
    let (mut links, mut dirs) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => links.push(entry.path()),
            Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
            _ => {}
        }
    }
    let spared: Vec<PathBuf> =
        links.iter().map(PathBuf::as_path).chain(spare.iter().copied()).filter_map(|p| p.canonicalize().ok()).collect();
    let mut nights: BTreeMap<RunId, Vec<Old>> = BTreeMap::new();
    for old in dirs.into_iter().filter_map(look) {
        nights.entry(old.night.clone()).or_default().push(old);
    }
    let mut nights: Vec<Vec<Old>> = nights.into_values().collect();
    let begun = |night: &[Old]| night.iter().map(|old| old.started).max();
    nights.sort_by_key(|night| std::cmp::Reverse(begun(night)));
    // The shards that began before this one are of the night that begins.
    let own = set.and_then(night_of);
    let before = nights.iter().filter(|night| night.iter().all(|old| Some(&old.night) != own.as_ref()));
    let mut bytes = 0;
    for (place, night) in before.enumerate() {
        let sizes: Vec<u64> = night.iter().map(|old| size(&old.dir)).collect();
        bytes += sizes.iter().sum::<u64>();
        let many = limits.runs.is_some_and(|runs| place + 1 >= runs.max(1));
        let large = limits.bytes.is_some_and(|limit| bytes > limit);
        if !many && !large {
            continue;
        }
        // A shard without the others of its set can't be joined any more: all of a night go, or none.
        let holds = night.iter().filter_map(|old| Some((old.dir.clone(), holds(&old.dir, &spared)?)));
        let holds: Vec<_> = holds.collect();
        if !holds.is_empty() {
            pruned.stayed.extend(holds.into_iter().filter_map(|(dir, why)| Some((dir, why?))));
            continue;
        }
        for (old, size) in night.iter().zip(sizes) {
            match remove(&old.dir) {
                Ok(()) => {
                    bytes = bytes.saturating_sub(size);
                    pruned.removed.push((old.dir.clone(), size));
                }
                Err(error) => pruned.failed.push((old.dir.clone(), error.to_string())),
            }
        }
    }
    pruned
}

/// The directory as that of a run; `None` where it does not prove to be one.
fn look(dir: PathBuf) -> Option<Old> {
    let run = RunId::parse(dir.file_name()?.to_str()?)?;
    if !is_own_file(&dir.join(LOG)) {
        return None;
    }
    let event = read_started(&dir.join(LOG)).ok()??;
    match event.kind {
        EventKind::RunStarted { run: told, set, .. } if told == run => {
            Some(Old { started: event.at, night: set.as_ref().and_then(night_of).unwrap_or(run), dir })
        }
        _ => None,
    }
}

/// Without a name sets of the same cells are called the same every night.
fn night_of(set: &ShardSet) -> Option<RunId> {
    set.name.as_ref().map(|_| merge::run_of(set))
}

/// A file, and no link to one.
fn is_own_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Whether the directory must stay; with the reason where it is worth telling.
fn holds(dir: &Path, spared: &[PathBuf]) -> Option<Option<String>> {
    if dir.canonicalize().is_ok_and(|real| spared.contains(&real)) {
        return Some(None);
    }
    let ledger = dir.join(LEDGER);
    if let Some(holder) = guard::holder(&ledger) {
        return Some(Some(format!("{holder} is at work with them")));
    }
    // A run that never made a thing has none.
    if matches!(fs::symlink_metadata(&ledger), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return None;
    }
    if !is_own_file(&ledger) {
        return Some(Some(format!("{LEDGER} is no file")));
    }
    match Ledger::is_finished(&ledger) {
        Ok(true) => None,
        Ok(false) => {
            let clean = format!("`mtv-matrix clean --results {}` finishes it", dir.display());
            Some(Some(format!("its ledger still holds something; {clean}")))
        }
        Err(error) => Some(Some(error.to_string())),
    }
}

/// Bytes of the files below, links not followed.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |found| found.len()),
        _ => 0,
    };
    entries.map(of).sum()
}

/// The event log goes last: what is left of a removal that was cut short is known by it, and goes the next time.
fn remove(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == LOG {
            continue;
        }
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        absent_is_well(removed)?;
    }
    absent_is_well(fs::remove_file(dir.join(LOG)))?;
    absent_is_well(fs::remove_dir(dir))
}

/// Another run that begins at the same time may have been faster.
fn absent_is_well(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
