//! `mtv-matrix clean`: finishing what earlier runs left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, stream};
use serde_json::json;

use super::args::{CleanArgs, ConfigArgs, Output};
use super::{Stop, common, exit, print_text};
use crate::api::names::RunId;
use crate::cleanup::{Cleaned, Cleaner, Consent, Standing};
use crate::cluster::Cluster;
use crate::config::{Loaded, duration};
use crate::ledger::guard::{Guard, GuardError};
use crate::ledger::{Ledger, LedgerError};
use crate::source::{self, DriverOptions, SourceDriver, SourceError};

pub async fn run(config: &ConfigArgs, args: CleanArgs) -> Result<u8, Stop> {
    // Refused before anything is asked: what is no run id names nothing that may be removed.
    let named = args.run_id.as_deref().map(|text| text.parse::<RunId>().map_err(Stop::usage)).transpose()?;
    let older = args.older_than.as_deref().map(|text| duration::parse(text).map_err(Stop::usage)).transpose()?;
    let loaded = common::load(config, Vec::new(), None)?;
    let cluster = Cluster::connect(&loaded.settings).await.map_err(Stop::environment)?;
    let (drivers, undriven) = drivers(&loaded, &cluster);
    let consent = if args.yes { Consent::Unproven } else { Consent::Proven };
    let settings = &loaded.settings;
    let cleaner = Cleaner { cluster: &cluster, settings, drivers, undriven, consent, dry_run: args.dry_run };
    let mut all = Cleaned::default();
    // What could not be worked with at all; the others are finished all the same.
    let mut broken = Vec::new();
    if let Some(dir) = &args.results {
        let found = ledgers(dir)?;
        // What may still come is waited for in all of them at once.
        let finished =
            stream::iter(&found.paths).map(|path| finish(&cleaner, path, args.output)).buffered(LEDGERS_AT_ONCE);
        for finished in finished.collect::<Vec<_>>().await {
            match finished {
                Ok(cleaned) => all.join(cleaned),
                // One that was named is refused; of many the others are finished.
                Err(WorkError::Held(held)) if found.named => return Err(Stop::usage(held)),
                Err(WorkError::Held(held)) => say(args.output, format_args!("not touched: {held}")),
                Err(error) => broken.push(error.to_string()),
            }
        }
    }
    let mut runs: Vec<RunId> = named.iter().cloned().collect();
    if let Some(age) = older {
        let (old, told) = cleaner.runs_older_than(age).await;
        runs.extend(old);
        all.join(told);
    }
    for run in runs {
        say(args.output, format_args!("run {run}"));
        match sweep(&cleaner, &loaded, &run, args.output).await {
            Ok(cleaned) => all.join(cleaned),
            Err(WorkError::Held(held)) if named.is_some() => return Err(Stop::usage(held)),
            Err(WorkError::Held(held)) => say(args.output, format_args!("not touched: {held}")),
            Err(error) => broken.push(error.to_string()),
        }
    }
    for driver in cleaner.drivers.values() {
        driver.disconnect().await;
    }
    Ok(tell(&all, &broken, args.dry_run, args.output))
}

/// Ledgers that are finished side by side.
const LEDGERS_AT_ONCE: usize = 8;

/// How a `clean` calls itself to others who want the same ledger.
const WHAT: &str = "clean";

/// Why one ledger could not be worked with.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error(transparent)]
    Held(GuardError),
    #[error(transparent)]
    Guard(GuardError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("failed to make {path}: {source}")]
    Scratch { path: PathBuf, source: std::io::Error },
}

impl From<GuardError> for WorkError {
    fn from(error: GuardError) -> Self {
        match error {
            held @ GuardError::Held { .. } => Self::Held(held),
            other => Self::Guard(other),
        }
    }
}

/// Finishes one ledger.
async fn finish(cleaner: &Cleaner<'_>, path: &Path, output: Output) -> Result<Cleaned, WorkError> {
    let guard = Arc::new(Guard::hold(path, WHAT)?);
    let _heart = common::heartbeat(&guard);
    let ledger = Ledger::reopen(path)?;
    say(output, format_args!("{}: run {}", path.display(), ledger.run()));
    Ok(cleaner.finish(&ledger, guard.silence()).await?)
}

/// Sweeps for a run; its ledger is used where the results directory still has it and it can be read.
async fn sweep(cleaner: &Cleaner<'_>, loaded: &Loaded, run: &RunId, output: Output) -> Result<Cleaned, WorkError> {
    let known = loaded.settings.results.join(run.as_str()).join("ledger.jsonl");
    let mut unreadable = None;
    if known.is_file() {
        match finish(cleaner, &known, output).await {
            Err(error @ WorkError::Ledger(_)) => unreadable = Some(error.to_string()),
            done => return done,
        }
    }
    let scratch = tempfile::tempdir().map_err(|source| WorkError::Scratch { path: std::env::temp_dir(), source })?;
    let path = scratch.path().join("ledger.jsonl");
    let swept = cleaner.sweep(run, |marker| Ledger::create_with(&path, run, marker)).await;
    drop(scratch);
    if let Some(error) = unreadable {
        say(output, format_args!("swept without its ledger: {error}"));
    }
    Ok(swept?)
}

pub(super) type Drivers = BTreeMap<String, Arc<dyn SourceDriver>>;

/// The drivers of all profiles, and the profiles that nobody can look at.
pub(super) fn drivers(loaded: &Loaded, cluster: &Cluster) -> (Drivers, Vec<(String, String)>) {
    let options = DriverOptions {
        timeouts: loaded.settings.timeouts.clone(),
        insecure: loaded.settings.source_provider_insecure_skip_verify,
        cluster: Some(cluster.clone()),
    };
    let (mut drivers, mut undriven) = (BTreeMap::new(), Vec::new());
    for profile in loaded.providers.values() {
        match source::driver(&Arc::new(profile.clone()), &options) {
            Ok(driver) => _ = drivers.insert(profile.name.clone(), driver),
            // Nothing is ever made there.
            Err(SourceError::Unsupported { .. }) => {}
            Err(error) => undriven.push((format!("profile {}", profile.name), error.to_string())),
        }
    }
    if loaded.providers.is_empty() {
        undriven.push(("source platforms".to_owned(), "no provider profile is configured".to_owned()));
    }
    (drivers, undriven)
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

/// What is told on the way; where a program reads standard output it has that for itself.
fn say(output: Output, message: impl std::fmt::Display) {
    match output {
        Output::Table | Output::Wide => super::show::out(message),
        Output::Json | Output::Name => super::show::err(message),
    }
}

fn tell(cleaned: &Cleaned, broken: &[String], dry_run: bool, output: Output) -> u8 {
    match output {
        Output::Table | Output::Wide => print_text(&table(cleaned, broken, dry_run)),
        Output::Json => print_text(&as_json(cleaned, broken, dry_run)),
        Output::Name => {
            // A dry run tells the proof behind it.
            let name = |what: &String| format!("{}\n", what.split_once(": ").map_or(what.as_str(), |(name, _)| name));
            print_text(&cleaned.removed.iter().map(name).collect::<String>());
        }
    }
    if cleaned.is_whole() && broken.is_empty() { exit::PASSED } else { exit::LEFTOVERS }
}

fn as_json(cleaned: &Cleaned, broken: &[String], dry_run: bool) -> String {
    let left = cleaned.leftovers.iter().map(|left| {
        let standing = match left.standing {
            Standing::Left => "left",
            Standing::Unproven => "unproven",
            Standing::NotOurs => "not-ours",
            Standing::Unknown => "unknown",
        };
        json!({"what": left.what, "because": left.because, "standing": standing})
    });
    let unknown = broken.iter().map(|error| json!({"what": null, "because": error, "standing": "unknown"}));
    let left: Vec<serde_json::Value> = left.chain(unknown).collect();
    format!("{:#}\n", json!({"version": 1, "dry_run": dry_run, "removed": cleaned.removed, "left": left}))
}

fn table(cleaned: &Cleaned, broken: &[String], dry_run: bool) -> String {
    let mut out = String::new();
    let verb = if dry_run { "would remove" } else { "removed" };
    for what in &cleaned.removed {
        out.push_str(&format!("  {verb} {what}\n"));
    }
    for left in &cleaned.leftovers {
        let word = match left.standing {
            Standing::Left => "left",
            Standing::Unproven => "not proven ours (--yes removes it)",
            Standing::NotOurs => "not ours, not touched",
            Standing::Unknown => "unknown",
        };
        out.push_str(&format!("  {word}: {}: {}\n", left.what, left.because));
    }
    for error in broken {
        out.push_str(&format!("  unknown: {error}\n"));
    }
    let count = |standing| cleaned.leftovers.iter().filter(|left| left.standing == standing).count();
    let unknown = count(Standing::Unknown) + broken.len();
    let mut line =
        format!("{} {verb}, {} left", cleaned.removed.len(), count(Standing::Left) + count(Standing::Unproven));
    if unknown > 0 {
        line.push_str(&format!(", {unknown} unknown"));
    }
    if count(Standing::NotOurs) > 0 {
        line.push_str(&format!(", {} not ours", count(Standing::NotOurs)));
    }
    out.push_str(&line);
    out.push('\n');
    out
}
