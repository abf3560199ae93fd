//! What a cell costs when many run at once on one profile: `cargo bench --bench scale`.
//!
//! For each number of cells: a fresh `mtv-matrix lab` and a run with as many jobs as cells, each a
//! process of its own; user and system time and peak memory of both, from /proc. Every cell is the
//! same cold migration of one small VM. Start-up is taken out by a run of two cells: what is told is
//! the marginal cost, and it must not grow with the number. A small run costs little more than
//! start-up, and /proc counts in hundredths of a second, so small runs are made several times, in rounds, and the
//! middle one counts. Knows the command line alone. Linux only.
//!
//! `--blocks` counts work instead of time: how many blocks of instructions each process enters, as valgrind's empty tool
//! counts them. That is the same on a busy machine and an idle one (within a tenth: how often a lab of real clocks looks
//! differs a little), so each run is made once; five times slower than without. `--short` is the form for CI: blocks at 10
//! and 100 cells, failing where a cell costs more than 1.3 times as much at 100 as at 10, or does not pass. Without valgrind it measures
//! time, says so, and judges no costs.
//!
//! `cargo bench --bench scale -- --cells 10,100,1000 --clock-scale 60`. `--against PROGRAM` measures another build of
//! mtv-matrix in turn with this one, line by line, lab and runner of it. `--keep` leaves the directory.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement has real clocks and prints what it measured"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use support::{BINARY, Failure, LabProcess, STORAGE_CLASS, cpu_seconds, has_ended, peak_memory, write_scenarios};

mod support;

/// Cells of the run that tells what start-up costs.
const BASE: usize = 2;
/// How much more a cell may cost at the largest number than at the smallest, in the short form.
const LIMIT: f64 = 1.3;
/// How many runs of the smallest numbers of cells are made where time is measured.
const MOST: usize = 5;
/// How often the processes are looked at.
const SAMPLE: Duration = Duration::from_millis(50);

/// What is counted of a process.
#[derive(Clone, Copy, PartialEq)]
enum Meter {
    /// Seconds of user and system time.
    Time,
    /// Millions of blocks of instructions that it enters.
    Blocks,
}

impl Meter {
    fn unit(self) -> &'static str {
        match self {
            Self::Time => "CPU s",
            Self::Blocks => "M blocks",
        }
    }

    /// How often a run of so many cells is made: the fewer, the more of its time is start-up and chance.
    fn times(self, cells: usize) -> usize {
        match (self, cells) {
            (Self::Blocks, _) | (_, 200..) => 1,
            (Self::Time, 0..50) => MOST,
            (Self::Time, _) => 3,
        }
    }

    /// The program, so that it can be [`Self::read`]. Valgrind is replaced by what it runs: they are one process.
    fn command(self, program: &Path, log: &Path) -> Command {
        match self {
            Self::Time => Command::new(program),
            Self::Blocks => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["--tool=none", "--stats=yes"]);
                valgrind.arg(format!("--log-file={}", log.display())).arg(program);
                valgrind
            }
        }
    }
}

struct Options {
    /// What is measured, in this order; the last is this build.
    programs: Vec<PathBuf>,
    meter: Meter,
    cells: Vec<usize>,
    clock_scale: String,
    keep: bool,
    /// Fail beyond [`LIMIT`].
    judge: bool,
}

impl Options {
    /// `None`: not asked to measure (`cargo test --benches` runs this, too).
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut options = Self {
            programs: vec![PathBuf::from(BINARY)],
            meter: Meter::Time,
            cells: vec![10, 100, 300],
            clock_scale: "60".to_owned(),
            keep: false,
            judge: false,
        };
        let mut asked = false;
        let counted = Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" => asked = true,
                "--short" if counted => {
                    (options.cells, options.meter, options.judge) = (vec![10, 100], Meter::Blocks, true);
                }
                "--short" => {
                    println!("no valgrind here: time is measured, and nothing judged but that cells pass");
                    (options.cells, options.judge) = (vec![10, 100], true);
                }
                "--blocks" if counted => options.meter = Meter::Blocks,
                "--blocks" => return Err("--blocks wants valgrind".into()),
                "--keep" => options.keep = true,
                "--against" => options.programs.insert(0, words.next().ok_or("--against wants a program")?.into()),
                "--clock-scale" => options.clock_scale = words.next().ok_or("--clock-scale wants a number")?,
                "--cells" => {
                    let list = words.next().ok_or("--cells wants numbers, e.g. 10,100,1000")?;
                    let cells: Result<Vec<usize>, _> = list.split(',').map(str::parse).collect();
                    options.cells = cells.map_err(|e| format!("--cells `{list}`: {e}"))?;
                }
                other => {
                    let known = "--cells, --clock-scale, --short, --blocks, --against, --keep are";
                    return Err(format!("`{other}` is not known; {known}").into());
                }
            }
        }
        Ok(asked.then_some(options))
    }
}

/// One run.
struct Measured {
    cells: usize,
    passed: usize,
    wall: f64,
    lab: Used,
    runner: Used,
}

/// What a process used.
#[derive(Clone, Copy, Default)]
struct Used {
    /// As the [`Meter`] counts, start-up included.
    cost: f64,
    /// MiB at the peak; with valgrind, valgrind's.
    memory: f64,
}

impl Measured {
    /// The cost of one more cell, from the smaller run to this one: lab and runner.
    fn marginal(&self, base: &Self) -> (f64, f64) {
        let more = (self.cells - base.cells) as f64;
        ((self.lab.cost - base.lab.cost) / more, (self.runner.cost - base.runner.cost) / more)
    }
}

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| options.map_or(Ok(true), |o| measure_all(&o))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table; false where a cell costs too much more when there are many.
fn measure_all(options: &Options) -> Result<bool, Failure> {
    let root = std::env::temp_dir().join(format!("mtv-matrix-scale-{}", std::process::id()));
    println!(
        "one profile, every cell a cold migration of one small VM, all at once; clock scale {}",
        options.clock_scale
    );
    let fair = table(options, &rounds(options, &root)?);
    if options.keep {
        println!("kept: {}", root.display());
    } else {
        let _ = std::fs::remove_dir_all(&root);
    }
    if options.judge && !fair {
        println!("failed: not all cells passed, or one costs more than {LIMIT} times as much when there are many");
    }
    Ok(fair || !options.judge)
}

/// Whether this build is within its limit.
fn table(options: &Options, measured: &BTreeMap<(usize, usize), Vec<Measured>>) -> bool {
    let unit = options.meter.unit();
    println!(
        "cells  passed  wall s  {:>14}  a cell  MiB  {:>17}  a cell  MiB  program",
        format!("lab {unit}"),
        format!("runner {unit}")
    );
    let mut fair = true;
    for (number, program) in options.programs.iter().enumerate() {
        let of = |cells: usize| measured.get(&(number, cells)).map(Vec::as_slice).unwrap_or_default();
        let base = middle(of(BASE));
        let mut first = None;
        for cells in &options.cells {
            let m = middle(of(*cells));
            let (lab, runner) = m.marginal(&base);
            println!(
                "{:5}  {:6}  {:6.1}  {:14.2}  {:6.3}  {:3.0}  {:17.2}  {:6.3}  {:3.0}  {}",
                m.cells,
                m.passed,
                m.wall,
                m.lab.cost,
                lab,
                m.lab.memory,
                m.runner.cost,
                runner,
                m.runner.memory,
                program.display()
            );
            let (lab_first, runner_first) = *first.get_or_insert((lab, runner));
            let ratios = (lab / lab_first, runner / runner_first);
            println!(
                "       a cell costs {:.2} (lab) and {:.2} (runner) times that of the first line",
                ratios.0, ratios.1
            );
            // Another build is measured, not judged.
            if number + 1 == options.programs.len() {
                let passed = base.passed == base.cells && m.passed == m.cells;
                let cheap = ratios.0 <= LIMIT && ratios.1 <= LIMIT;
                fair &= passed && (cheap || options.meter == Meter::Time);
            }
        }
    }
    fair
}

/// Every run, by the program's place and the number of cells. Runs of few cells are made in rounds, one of each and then
/// again, so that a slow minute is nobody's alone.
fn rounds(options: &Options, root: &Path) -> Result<BTreeMap<(usize, usize), Vec<Measured>>, Failure> {
    let mut measured: BTreeMap<_, Vec<Measured>> = BTreeMap::new();
    for round in 0..MOST {
        for cells in std::iter::once(&BASE).chain(&options.cells).filter(|cells| round < options.meter.times(**cells)) {
            for (number, program) in options.programs.iter().enumerate() {
                let dir = root.join(format!("{number}-{cells}-{round}"));
                let run = measure(options.meter, program, &dir, *cells, &options.clock_scale)?;
                measured.entry((number, *cells)).or_default().push(run);
            }
        }
    }
    Ok(measured)
}

/// Of several runs of the same the middle of what each process used.
fn middle(runs: &[Measured]) -> Measured {
    let of = |field: fn(&Measured) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Measured {
        cells: runs.iter().map(|m| m.cells).max().unwrap_or_default(),
        passed: runs.iter().map(|m| m.passed).min().unwrap_or_default(),
        wall: of(|m| m.wall),
        lab: Used { cost: of(|m| m.lab.cost), memory: of(|m| m.lab.memory) },
        runner: Used { cost: of(|m| m.runner.cost), memory: of(|m| m.runner.memory) },
    }
}

fn measure(meter: Meter, program: &Path, dir: &Path, cells: usize, clock_scale: &str) -> Result<Measured, Failure> {
    write_scenarios(dir, "scale", cells)?;
    let (lab_log, runner_log) = (dir.join("lab.valgrind"), dir.join("runner.valgrind"));
    let mut lab = LabProcess::begin(meter.command(program, &lab_log), &dir.join("lab"), clock_scale)?;
    let console = std::fs::File::create(dir.join("console.txt"))?;
    let begun = Instant::now();
    let mut child = meter
        .command(program, &runner_log)
        .env("KUBECONFIG", dir.join("lab/kubeconfig"))
        .arg("--config")
        .arg(dir)
        .arg("--providers-json")
        .arg(dir.join("lab/providers.json"))
        .args(["--set", &format!("max_concurrent={cells}"), "run", "--log-format", "plain"])
        .args(["--provider", "vsphere", "--scenario", "scale_*"])
        .args(["--storage-class", STORAGE_CLASS, "-j", &cells.to_string(), "--results"])
        .arg(dir.join("results"))
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()?;
    let mut runner = Used::default();
    while !has_ended(&child)? {
        runner.memory = peak_memory(child.id()).unwrap_or(0.0).max(runner.memory);
        std::thread::sleep(SAMPLE);
    }
    // Of an ended process that nobody has reaped /proc still tells the whole time.
    runner.cost = cpu_seconds(child.id()).ok_or("/proc has no CPU time of the run")?;
    child.wait()?;
    let wall = begun.elapsed().as_secs_f64();
    let id = lab.child.id();
    let mut used = Used { cost: cpu_seconds(id).unwrap_or(0.0), memory: peak_memory(id).unwrap_or(0.0) };
    lab.stop()?;
    if meter == Meter::Blocks {
        (used.cost, runner.cost) = (million_blocks(&lab_log)?, million_blocks(&runner_log)?);
    }
    let log = dir.join("results/latest/events.jsonl");
    let events = std::fs::read_to_string(&log).map_err(|e| {
        format!("{}: {e}; the console of the run is {}", log.display(), dir.join("console.txt").display())
    })?;
    let mut passed = 0;
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line)?;
        passed += usize::from(event["event"] == "cell-finished" && event["verdict"] == "passed");
    }
    Ok(Measured { cells, passed, wall, lab: used, runner })
}

/// What valgrind counted until the process ended. It looks once in each block whether there is something to do between
/// two, and tells how often: `scheduler: 72,073,682 event checks.`
fn million_blocks(log: &Path) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let line = text.lines().find_map(|line| line.split_once("scheduler: ")?.1.strip_suffix(" event checks."));
    let count = line.ok_or_else(|| format!("{}: no line `scheduler: … event checks.`", log.display()))?;
    Ok(count.replace(',', "").parse::<f64>()? / 1e6)
}
