//! The campaign: seeded runs of the program on the lab, with faults, kills, signals, outages, full disks, torn
//! ledgers and killed cleans, and after each trial a look at the whole world by somebody who shares no code
//! with what cleans up.
//!
//! `cargo run --release --bin campaign` tries for ever more seeds; `--seed N` replays one; `--short` is the gate's.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it has to say is for whoever started it")]

mod dice;
mod oracle;
mod plan;
mod process;
mod trial;
mod watch;
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::future::join_all;

use oracle::Kind;
use plan::{PARTS, TRIALS_A_LAB, Trial};
use trial::{Bench, Counts, Outcome, Stage};
use world::World;

/// How long the gate's form tries. Its seeds are always the same ones.
const SHORT: Duration = Duration::from_secs(75);
/// Looking for the smallest reproduction stops after this.
const SHRINKING: Duration = Duration::from_secs(300);

/// Tries what a run of mtv-matrix may never do, by seed.
#[derive(Debug, Parser)]
#[command(name = "campaign", max_term_width = 100)]
struct Args {
    /// This seed alone.
    #[arg(long, value_name = "N", conflicts_with = "short")]
    seed: Option<u64>,
    /// Leave out parts of the trials, e.g. `signals,faults`.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(PARTS))]
    without: Vec<String>,
    /// So many trials; without it, until --minutes are over.
    #[arg(long, value_name = "N")]
    trials: Option<u64>,
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u64,
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// The gate's form: the first seeds, for a minute and a quarter.
    #[arg(long)]
    short: bool,
    /// Labs at once.
    #[arg(long, short = 'j', value_name = "N", default_value_t = 2)]
    jobs: u64,
    /// Stop at the first trial that breaks a promise.
    #[arg(long)]
    stop: bool,
    /// Do not look for the smallest reproduction.
    #[arg(long)]
    as_found: bool,
    /// A cell that only mild faults met must pass, too. A cut connection may take another request with it, and a busy
    /// machine may be too slow for the limits of a trial.
    #[arg(long)]
    strict: bool,
    /// The program; without it, the one that is built beside this one.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Where trials leave their files; those of a trial that broke a promise stay.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // One provider for every TLS server of the labs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match campaign(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What all trials came to.
#[derive(Default)]
struct Tally {
    trials: u64,
    counts: Counts,
    broken: Vec<(u64, BTreeSet<Kind>)>,
}

async fn campaign(args: &Args) -> Result<bool, Failure> {
    let bench = bench(args)?;
    let base =
        args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("campaign-{}", std::process::id())));
    std::fs::create_dir_all(&base)?;
    let begun = Instant::now();
    let limit = if args.short { SHORT } else { Duration::from_secs(args.minutes * 60) };
    let (first, last) = match args.seed {
        Some(seed) => (seed, seed + 1),
        None => (args.first, args.trials.map_or(u64::MAX, |count| args.first + count)),
    };
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let worker = |number: u64| {
        let (bench, base, next, stop) = (&bench, &base, &next, &stop);
        async move {
            let mut tally = Tally::default();
            loop {
                let seed = take(next);
                let ends = lab_ends(seed).min(last);
                if seed >= last || begun.elapsed() >= limit || stop.load(Ordering::Relaxed) {
                    return Ok::<_, Failure>(tally);
                }
                let mut lab = None;
                for seed in seed..ends {
                    if begun.elapsed() >= limit || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let trial = trial_of(args, bench, seed);
                    let dir = base.join(format!("seed-{seed}"));
                    let outcome = play(bench, &mut lab, &trial, base, &dir, number).await?;
                    tally.trials += 1;
                    tally.counts.join(&outcome.counts);
                    if outcome.violations.is_empty() {
                        println!("seed {seed}: ok   {}", brief(&outcome));
                        let _ = std::fs::remove_dir_all(&dir);
                        continue;
                    }
                    tally.broken.push((seed, outcome.violations.iter().map(|v| v.kind).collect()));
                    tell_broken(&trial, &outcome, &dir);
                    if args.stop {
                        stop.store(true, Ordering::Relaxed);
                    }
                    // What a broken trial left would be the next one's.
                    close(&mut lab).await;
                    if !args.as_found {
                        shrink(bench, &trial, &outcome, base, number).await?;
                    }
                }
                close(&mut lab).await;
            }
        }
    };
    let tallies = join_all((0..args.jobs.max(1)).map(worker)).await;
    let mut all = Tally::default();
    for tally in tallies {
        let tally = tally?;
        all.trials += tally.trials;
        all.counts.join(&tally.counts);
        all.broken.extend(tally.broken);
    }
    if args.dir.is_none() && all.broken.is_empty() {
        let _ = std::fs::remove_dir_all(&base);
    }
    tell(&all, begun.elapsed());
    Ok(all.broken.is_empty())
}

/// The next seed whose lab nobody has; seeds of one lab stay together.
fn take(next: &AtomicU64) -> u64 {
    let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seed| Some(lab_ends(seed)));
    taken.unwrap_or_else(|seed| seed)
}

fn lab_ends(seed: u64) -> u64 {
    (seed / TRIALS_A_LAB + 1).saturating_mul(TRIALS_A_LAB)
}

fn trial_of(args: &Args, bench: &Bench, seed: u64) -> Trial {
    let trial = Trial::of(seed, bench.faketime.is_some());
    args.without.iter().fold(trial, |trial, part| trial.without(part).unwrap_or(trial))
}

/// Plays a trial on the lab that is there, or on a new one.
async fn play(
    bench: &Bench,
    lab: &mut Option<World>,
    trial: &Trial,
    base: &Path,
    dir: &Path,
    worker: u64,
) -> Result<Outcome, Failure> {
    let defect = plan::defect(trial.seed);
    let lab_dir = base.join(format!("lab-{worker}"));
    let world = match lab {
        Some(world) => world,
        None => lab.insert(World::start(defect, &lab_dir).await?),
    };
    std::fs::create_dir_all(dir)?;
    Ok(Stage { bench, world, trial, defect, lab_dir: &lab_dir, dir }.play().await?)
}

async fn close(lab: &mut Option<World>) {
    if let Some(world) = lab.take() {
        world.lab.stop().await;
    }
}

/// Takes parts out of a trial as long as it still breaks the same kind of promise.
async fn shrink(bench: &Bench, trial: &Trial, outcome: &Outcome, base: &Path, worker: u64) -> Result<(), Failure> {
    let kinds: BTreeSet<Kind> = outcome.violations.iter().map(|v| v.kind).collect();
    let begun = Instant::now();
    let mut smallest = trial.clone();
    let mut left_out = Vec::new();
    for part in PARTS {
        let Some(less) = smallest.without(part) else { continue };
        if begun.elapsed() > SHRINKING {
            break;
        }
        let dir = base.join(format!("seed-{}-less", trial.seed));
        let mut lab = None;
        let again = play(bench, &mut lab, &less, base, &dir, worker).await?;
        close(&mut lab).await;
        let _ = std::fs::remove_dir_all(&dir);
        if again.violations.iter().any(|v| kinds.contains(&v.kind)) {
            smallest = less;
            left_out.push(part);
        }
    }
    let without = if left_out.is_empty() { String::new() } else { format!(" --without {}", left_out.join(",")) };
    println!("  smallest: campaign --seed {}{without}\n    {}", trial.seed, smallest.story());
    Ok(())
}

fn tell_broken(trial: &Trial, outcome: &Outcome, dir: &Path) {
    let defect = plan::defect(trial.seed).map(|name| format!(", lab with {name}")).unwrap_or_default();
    println!("seed {}: BROKEN{defect} (files in {})\n    {}", trial.seed, dir.display(), trial.story());
    for violation in &outcome.violations {
        println!("  {}: {}", violation.kind.name(), violation.what.trim_end().replace('\n', "\n      "));
    }
}

fn brief(outcome: &Outcome) -> String {
    let some = outcome.counts.0.iter().filter(|(what, _)| !what.starts_with("fault ") && *what != "requests");
    let faults: u64 = outcome.counts.0.iter().filter(|(what, _)| what.starts_with("fault ")).map(|(_, n)| n).sum();
    let words: Vec<String> = some.map(|(what, count)| format!("{what} {count}")).collect();
    format!("{}, faults {faults}", words.join(", "))
}

fn tell(all: &Tally, took: Duration) {
    println!("\n{} trials in {}s:", all.trials, took.as_secs());
    let faults: u64 = all.counts.0.iter().filter(|(what, _)| what.starts_with("fault ")).map(|(_, n)| n).sum();
    let count = |what: &str| all.counts.of(what);
    let signals = count("signal TERM") + count("signal INT") + count("signal HUP");
    println!(
        "  {} runs, {} kill -9 of runs, {} of cleans, {signals} signals, {faults} faults in {} requests",
        count("runs"),
        count("signal KILL"),
        count("cleans killed"),
        count("requests")
    );
    for (what, number) in all.counts.0.iter().filter(|(_, number)| **number > 0) {
        println!("  {what:<28} {number}");
    }
    if all.broken.is_empty() {
        println!("no promise was broken");
        return;
    }
    for (seed, kinds) in &all.broken {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        println!("BROKEN: seed {seed}: {}", kinds.join(", "));
    }
}

/// Finds the program, built anew where cargo started this one, and what this machine can do.
fn bench(args: &Args) -> Result<Bench, Failure> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => {
            if let Some(cargo) = std::env::var_os("CARGO") {
                let mut build = std::process::Command::new(cargo);
                build.args(["build", "--bin", "mtv-matrix"]);
                // What cargo tells the program that it runs (`CARGO_PKG_NAME` and the like) would have build scripts
                // run again that look at it, and all that stands on them compiled again.
                for (name, _) in std::env::vars_os() {
                    let name = name.to_string_lossy();
                    if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                        build.env_remove(&*name);
                    }
                }
                if !cfg!(debug_assertions) {
                    build.arg("--release");
                }
                if !build.status()?.success() {
                    return Err("the program was not built".into());
                }
            }
            std::env::current_exe()?.with_file_name("mtv-matrix")
        }
    };
    let program = program.canonicalize().map_err(|e| format!("{}: {e}; give --program PATH", program.display()))?;
    let help = std::process::Command::new(&program).args(["clean", "--help"]).output()?;
    let clean_yes = String::from_utf8_lossy(&help.stdout).contains("--yes");
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let library = |place: &str| Path::new(place).join("faketime/libfaketime.so.1");
    let faketime = places.into_iter().map(library).find(|path| path.is_file());
    if faketime.is_none() {
        println!("no libfaketime here: clocks are not skewed");
    }
    Ok(Bench { program, faketime, clean_yes, strict: args.strict })
}
