//! What a cell costs when many run at once on one profile: `cargo bench --bench scale`.
//!
//! For each number of cells: a fresh `mtv-matrix lab` and a run with as many jobs as cells, each a
//! process of its own; user and system time and peak memory of both, from /proc. Every cell is the
//! same cold migration of one small VM. Start-up is taken out by a run of two cells: what is told is
//! the marginal cost, and it must not grow with the number. A small run costs little more than
//! start-up, and /proc counts in hundredths of a second, so small runs are made several times, in rounds, and the
//! middle one counts. Knows the command line alone. Linux only.
//!
//! `cargo bench --bench scale -- --cells 10,100,1000 --clock-scale 60`; `--short` runs 10 and 100
//! and fails where a cell costs more than 2.5 times as much at 100 as at 10: the form for CI, with all processors busy. `--against
//! PROGRAM` measures another build of mtv-matrix in turn with this one, line by line, lab and runner of it.
//! `--keep` leaves the directory.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement has real clocks and prints what it measured"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use support::{BINARY, Failure, LabProcess, STORAGE_CLASS, cpu_seconds, has_ended, peak_memory, write_scenarios};

mod support;

/// Cells of the run that tells what start-up costs.
const BASE: usize = 2;
/// How much more a cell may cost at the largest number than at the smallest, in the short form. The aim is 1.5; on one
/// machine the same program had 0.95, on another 1.08 to 1.98, by its processors alone.
const LIMIT: f64 = 2.5;
/// How often a run of so many cells is made: the fewer, the more of it is start-up and chance.
fn times(cells: usize) -> usize {
    match cells {
        0..50 => MOST,
        50..200 => 3,
        _ => 1,
    }
}
const MOST: usize = 5;
/// How often the processes are looked at.
const SAMPLE: Duration = Duration::from_millis(50);

struct Options {
    /// What is measured, in this order; the last is this build.
    programs: Vec<PathBuf>,
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
            cells: vec![10, 100, 300],
            clock_scale: "60".to_owned(),
            keep: false,
            judge: false,
        };
        let mut asked = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" => asked = true,
                "--short" => (options.cells, options.judge) = (vec![10, 100], true),
                "--keep" => options.keep = true,
                "--against" => options.programs.insert(0, words.next().ok_or("--against wants a program")?.into()),
                "--clock-scale" => options.clock_scale = words.next().ok_or("--clock-scale wants a number")?,
                "--cells" => {
                    let list = words.next().ok_or("--cells wants numbers, e.g. 10,100,1000")?;
                    let cells: Result<Vec<usize>, _> = list.split(',').map(str::parse).collect();
                    options.cells = cells.map_err(|e| format!("--cells `{list}`: {e}"))?;
                }
                other => {
                    let known = "--cells, --clock-scale, --short, --against, --keep are";
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
    /// CPU seconds, start-up included, and MiB at the peak.
    lab: (f64, f64),
    runner: (f64, f64),
}

impl Measured {
    /// CPU seconds of one more cell, from the smaller run to this one: lab and runner.
    fn marginal(&self, base: &Self) -> (f64, f64) {
        let more = (self.cells - base.cells) as f64;
        ((self.lab.0 - base.lab.0) / more, (self.runner.0 - base.runner.0) / more)
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

/// Prints the table; false where a cell costs too much more when there are many. A machine that others use, too, has fast
/// and slow minutes: what is judged is measured a second time where it is too much.
fn measure_all(options: &Options) -> Result<bool, Failure> {
    let root = std::env::temp_dir().join(format!("mtv-matrix-scale-{}", std::process::id()));
    println!(
        "one profile, every cell a cold migration of one small VM, all at once; clock scale {}",
        options.clock_scale
    );
    let mut judged = table(options, &root.join("first"))?;
    if options.judge && !judged.is_fair() {
        println!("not all cells passed, or one costs more than {LIMIT} times as much when there are many; once more");
        let again = table(options, &root.join("second"))?;
        // What is too much twice is so of the same process.
        judged = Judged { lab: judged.lab || again.lab, runner: judged.runner || again.runner, ..again };
    }
    let fair = judged.is_fair();
    if options.keep {
        println!("kept: {}", root.display());
    } else {
        let _ = std::fs::remove_dir_all(&root);
    }
    if options.judge && !fair {
        println!("failed: so it is a second time");
    }
    Ok(fair || !options.judge)
}

/// What stays within its limit.
#[derive(Clone, Copy)]
struct Judged {
    passed: bool,
    lab: bool,
    runner: bool,
}

impl Judged {
    fn is_fair(self) -> bool {
        self.passed && self.lab && self.runner
    }
}

fn table(options: &Options, root: &Path) -> Result<Judged, Failure> {
    println!("cells  passed  wall s  lab CPU s  lab s/cell  lab MiB  runner CPU s  runner s/cell  runner MiB  program");
    let measured = {
        let _busy = options.judge.then(Busy::begin).transpose()?;
        rounds(options, root)?
    };
    let mut judged = Judged { passed: true, lab: true, runner: true };
    for (number, program) in options.programs.iter().enumerate() {
        let of = |cells: usize| measured.get(&(number, cells)).map(Vec::as_slice).unwrap_or_default();
        let base = middle(of(BASE));
        let mut first = None;
        for cells in &options.cells {
            let m = middle(of(*cells));
            let (lab, runner) = m.marginal(&base);
            println!(
                "{:5}  {:6}  {:6.1}  {:9.2}  {:10.4}  {:7.0}  {:12.2}  {:13.4}  {:10.0}  {}",
                m.cells,
                m.passed,
                m.wall,
                m.lab.0,
                lab,
                m.lab.1,
                m.runner.0,
                runner,
                m.runner.1,
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
                judged.passed &= base.passed == base.cells && m.passed == m.cells;
                judged.lab &= ratios.0 <= LIMIT;
                judged.runner &= ratios.1 <= LIMIT;
            }
        }
    }
    Ok(judged)
}

/// Processors that always have something to do. Two threads of one core take longer for the same while both work, and a
/// busy core has another clock than an idle one: of ten cells, which leave most of the machine idle, and a hundred, which do not, nothing
/// could be told otherwise. At the lowest priority, so that they take next to nothing away.
struct Busy(Vec<Child>);

impl Busy {
    fn begin() -> Result<Self, Failure> {
        let mut all = Self(Vec::new());
        for _ in 0..std::thread::available_parallelism()?.get() {
            all.0.push(Command::new("nice").args(["-n", "19", "sh", "-c", "while :; do :; done"]).spawn()?);
        }
        Ok(all)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Every run, by the program's place and the number of cells. Runs of few cells are made in rounds, one of each and then
/// again, so that a slow minute is nobody's alone.
fn rounds(options: &Options, root: &Path) -> Result<BTreeMap<(usize, usize), Vec<Measured>>, Failure> {
    let mut measured: BTreeMap<_, Vec<Measured>> = BTreeMap::new();
    for round in 0..MOST {
        for cells in std::iter::once(&BASE).chain(&options.cells).filter(|cells| round < times(**cells)) {
            for (number, program) in options.programs.iter().enumerate() {
                let run =
                    measure(program, &root.join(format!("{number}-{cells}-{round}")), *cells, &options.clock_scale)?;
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
        lab: (of(|m| m.lab.0), of(|m| m.lab.1)),
        runner: (of(|m| m.runner.0), of(|m| m.runner.1)),
    }
}

fn measure(program: &Path, dir: &Path, cells: usize, clock_scale: &str) -> Result<Measured, Failure> {
    write_scenarios(dir, "scale", cells)?;
    let mut lab = LabProcess::start(program, &dir.join("lab"), clock_scale)?;
    let console = std::fs::File::create(dir.join("console.txt"))?;
    let begun = Instant::now();
    let mut child = Command::new(program)
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
    let mut runner = (0.0_f64, 0.0_f64);
    while !has_ended(&child)? {
        runner.1 = peak_memory(child.id()).unwrap_or(0.0).max(runner.1);
        std::thread::sleep(SAMPLE);
    }
    // Of an ended process that nobody has reaped /proc still tells the whole time.
    runner.0 = cpu_seconds(child.id()).ok_or("/proc has no CPU time of the run")?;
    child.wait()?;
    let wall = begun.elapsed().as_secs_f64();
    let id = lab.child.id();
    let used = (cpu_seconds(id).unwrap_or(0.0), peak_memory(id).unwrap_or(0.0));
    lab.stop()?;
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
