//! `mtv-matrix clean`: finishing what earlier runs left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{CleanArgs, ConfigArgs};
use super::{Stop, common, exit};
use crate::api::names::RunId;
use crate::cleanup::{Cleaned, Cleaner};
use crate::cluster::Cluster;
use crate::config::{Loaded, duration};
use crate::ledger::Ledger;
use crate::ledger::guard::{Guard, GuardError};
use crate::source::{self, DriverOptions, SourceDriver};

pub async fn run(config: &ConfigArgs, args: CleanArgs) -> Result<u8, Stop> {
    let loaded = common::load(config, Vec::new(), None)?;
    let cluster = Cluster::connect(&loaded.settings).await.map_err(Stop::environment)?;
    let cleaner = Cleaner { cluster: &cluster, settings: &loaded.settings, drivers: drivers(&loaded, &cluster) };
    let mut all = Cleaned::default();
    if let Some(dir) = &args.results {
        let found = ledgers(dir)?;
        for path in &found.paths {
            let guard = match Guard::hold(path, WHAT) {
                Ok(guard) => Arc::new(guard),
                // One that was named is refused; of many the others are finished all the same.
                Err(held @ GuardError::Held { .. }) if found.named => return Err(Stop::usage(held)),
                Err(held @ GuardError::Held { .. }) => {
                    super::show::out(format_args!("not touched: {held}"));
                    continue;
                }
                Err(error) => return Err(Stop::environment(error)),
            };
            let _heart = common::heartbeat(&guard);
            let ledger = Ledger::reopen(path).map_err(Stop::environment)?;
            super::show::out(format_args!("{}: run {}", path.display(), ledger.run()));
            join(&mut all, cleaner.finish(&ledger).await.map_err(Stop::environment)?);
        }
    }
    let mut runs = Vec::new();
    if let Some(text) = &args.run_id {
        runs.push(
            RunId::parse(text)
                .ok_or_else(|| Stop::usage(format!("`{text}` is not a run id: it looks like mm-abcdefghij")))?,
        );
    }
    if let Some(age) = &args.older_than {
        runs.extend(cleaner.runs_older_than(duration::parse(age).map_err(Stop::usage)?).await);
    }
    for run in runs {
        super::show::out(format_args!("run {run}"));
        match sweep(&cleaner, &loaded, &run).await {
            Err(SweepError::InUse(held)) if args.run_id.is_none() => {
                super::show::out(format_args!("not touched: {held}"))
            }
            Err(SweepError::InUse(held)) => return Err(Stop::usage(held)),
            Err(SweepError::Other(stop)) => return Err(stop),
            Ok(cleaned) => join(&mut all, cleaned),
        }
    }
    for driver in cleaner.drivers.values() {
        driver.disconnect().await;
    }
    Ok(tell(&all))
}

/// How a `clean` calls itself to others who want the same ledger.
const WHAT: &str = "clean";

enum SweepError {
    InUse(GuardError),
    Other(Stop),
}

impl From<Stop> for SweepError {
    fn from(stop: Stop) -> Self {
        Self::Other(stop)
    }
}

/// Sweeps for a run; its ledger is used where the results directory still has it.
async fn sweep(cleaner: &Cleaner<'_>, loaded: &Loaded, run: &RunId) -> Result<Cleaned, SweepError> {
    let known = loaded.settings.results.join(run.as_str()).join("ledger.jsonl");
    if known.is_file() {
        let guard = Guard::hold(&known, WHAT).map_err(|error| match error {
            held @ GuardError::Held { .. } => SweepError::InUse(held),
            other => Stop::environment(other).into(),
        })?;
        let guard = Arc::new(guard);
        let _heart = common::heartbeat(&guard);
        let ledger = Ledger::reopen(&known).map_err(Stop::environment)?;
        return Ok(cleaner.finish(&ledger).await.map_err(Stop::environment)?);
    }
    let dir = std::env::temp_dir().join(format!("mtv-matrix-clean-{run}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| Stop::environment(format!("failed to make {}: {e}", dir.display())))?;
    let ledger = Ledger::create(&dir.join("ledger.jsonl"), run).map_err(Stop::environment)?;
    let cleaned = cleaner.finish(&ledger).await.map_err(Stop::environment);
    let _ = std::fs::remove_dir_all(&dir);
    Ok(cleaned?)
}

fn drivers(loaded: &Loaded, cluster: &Cluster) -> BTreeMap<String, Arc<dyn SourceDriver>> {
    let options = DriverOptions {
        timeouts: loaded.settings.timeouts.clone(),
        insecure: loaded.settings.source_provider_insecure_skip_verify,
        cluster: Some(cluster.clone()),
    };
    let profiles = loaded.providers.values().map(|p| Arc::new(p.clone()));
    profiles.filter_map(|p| source::driver(&p, &options).ok().map(|d| (p.name.clone(), d))).collect()
}

struct Ledgers {
    paths: Vec<PathBuf>,
    /// One run's directory was given.
    named: bool,
}

/// The ledgers in a results directory, or the one of a run's directory.
fn ledgers(dir: &Path) -> Result<Ledgers, Stop> {
    let own = dir.join("ledger.jsonl");
    if own.is_file() {
        return Ok(Ledgers { paths: vec![own], named: true });
    }
    let entries = std::fs::read_dir(dir).map_err(|e| Stop::usage(format!("failed to read {}: {e}", dir.display())))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        // `latest` is a link to one of the others.
        .filter(|e| !e.file_type().is_ok_and(|t| t.is_symlink()))
        .map(|e| e.path().join("ledger.jsonl"))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(Stop::usage(format!("there is no ledger.jsonl in {} or one level below it", dir.display())));
    }
    Ok(Ledgers { paths: found, named: false })
}

fn join(all: &mut Cleaned, more: Cleaned) {
    all.removed.extend(more.removed);
    all.leftovers.extend(more.leftovers);
}

fn tell(cleaned: &Cleaned) -> u8 {
    for what in &cleaned.removed {
        super::show::out(format_args!("  removed {what}"));
    }
    for left in &cleaned.leftovers {
        super::show::out(format_args!("  left    {}: {}", left.what, left.because));
    }
    super::show::out(format_args!("{} removed, {} left", cleaned.removed.len(), cleaned.leftovers.len()));
    if cleaned.leftovers.is_empty() { exit::PASSED } else { exit::LEFTOVERS }
}
