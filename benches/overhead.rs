//! What the runner itself costs, measured on the lab: `cargo bench --bench overhead`.
//!
//! Starts `mtv-matrix lab` as a process of its own and runs the shipped scenarios against it with the same binary, with
//! one profile and with twelve profiles of the same endpoint, each twice: at the clock scale that is asked for and at half
//! of it. What a cell takes longer at half the scale is simulated by the lab's clock, whatever stage it is in; the rest is
//! the runner's and the machine's. The measure is wall time against the simulated time of all cells, packed onto the same
//! number of jobs. Knows only the command line and the files of a run. Linux only: memory and CPU time come from /proc.
//!
//! Environment: `OVERHEAD_PROFILES=1,12` (one line each), `OVERHEAD_SCALE=60` (the lab's clock), `OVERHEAD_JOBS=4,32`
//! (a number a line), `OVERHEAD_KEEP=1` leaves the directory with the runs' results.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement has real clocks"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{BINARY, Failure, LabProcess, STORAGE_CLASS, cpu_seconds, has_ended, peak_memory};

mod support;

/// How often the runner's memory is looked at.
const SAMPLE: Duration = Duration::from_millis(20);
/// One line of the table.
struct Measured {
    cells: usize,
    passed: usize,
    jobs: usize,
    wall: f64,
    /// The simulated time of all cells at this scale, packed onto `jobs`.
    ideal: f64,
    /// Median over cells of the time that is not simulated.
    outside: f64,
    api_requests: u64,
    soap_requests: u64,
    peak_mib: f64,
    cpu: f64,
    /// The lab's own CPU time: where it is a large part of wall time × cores, the lab is what is slow.
    lab_cpu: f64,
}

fn main() -> ExitCode {
    // `cargo test --benches` runs this too, with no argument; a measurement is only wanted from `cargo bench`.
    if !std::env::args().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    match measure_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all() -> Result<(), Failure> {
    let list = |name: &str, usual: &str| -> Result<Vec<usize>, Failure> {
        let text = std::env::var(name).unwrap_or_else(|_| usual.to_owned());
        let numbers = text.split(',').map(|number| number.trim().parse::<usize>());
        Ok(numbers.collect::<Result<_, _>>().map_err(|e| format!("{name} `{text}`: {e}"))?)
    };
    let scale: f64 = std::env::var("OVERHEAD_SCALE").unwrap_or_else(|_| "60".to_owned()).parse()?;
    let (profiles, jobs) = (list("OVERHEAD_PROFILES", "1,12")?, list("OVERHEAD_JOBS", "4,32")?);
    let root = std::env::temp_dir().join(format!("mtv-matrix-overhead-{}", std::process::id()));
    println!("lab clock scale {scale}; ideal = what scales with the lab's clock, packed onto the same jobs");
    println!(
        "cells  passed  jobs  wall s  ideal s  wall/ideal  own s/cell  API/cell  SOAP/cell  RSS MiB  CPU s  lab CPU s"
    );
    for (profiles, jobs) in profiles.into_iter().zip(jobs) {
        let m = measure(&root.join(format!("profiles-{profiles}")), profiles, jobs, scale)?;
        let per_cell = |count: u64| count as f64 / m.cells as f64;
        println!(
            "{:5}  {:6}  {:4}  {:6.1}  {:7.1}  {:10.2}  {:10.2}  {:8.0}  {:9.0}  {:7.1}  {:5.1}  {:9.1}",
            m.cells,
            m.passed,
            m.jobs,
            m.wall,
            m.ideal,
            m.wall / m.ideal,
            m.outside,
            per_cell(m.api_requests),
            per_cell(m.soap_requests),
            m.peak_mib,
            m.cpu,
            m.lab_cpu,
        );
    }
    if std::env::var_os("OVERHEAD_KEEP").is_some() {
        println!("kept: {}", root.display());
    } else {
        let _ = std::fs::remove_dir_all(&root);
    }
    Ok(())
}

fn measure(dir: &Path, profiles: usize, jobs: usize, scale: f64) -> Result<Measured, Failure> {
    let slow = one_run(&dir.join("slow"), profiles, jobs, scale / 2.0)?;
    let fast = one_run(&dir.join("fast"), profiles, jobs, scale)?;
    // At half the scale the simulated part of a cell takes twice as long: the difference is that part at this scale.
    let mut outside: Vec<f64> = Vec::new();
    let mut simulated: Vec<f64> = Vec::new();
    for (cell, took) in &fast.run.cells {
        let longer = slow.run.cells.iter().find(|(id, _)| id == cell).ok_or(format!("{cell} ran once"))?.1;
        simulated.push(longer - took);
        outside.push(2.0 * took - longer);
    }
    outside.sort_by(f64::total_cmp);
    let count = |name: &str| fast.counters.get(name).copied().unwrap_or(0);
    Ok(Measured {
        cells: simulated.len(),
        passed: fast.run.passed,
        jobs,
        wall: fast.wall,
        ideal: packed(simulated.iter().copied(), jobs),
        outside: outside.get(outside.len() / 2).copied().unwrap_or(0.0),
        api_requests: count("api_requests"),
        soap_requests: count("soap_requests"),
        peak_mib: fast.peak_mib,
        cpu: fast.cpu,
        lab_cpu: fast.lab_cpu,
    })
}

/// One run and its lab.
struct OneRun {
    run: Run,
    wall: f64,
    peak_mib: f64,
    cpu: f64,
    lab_cpu: f64,
    counters: HashMap<String, u64>,
}

fn one_run(dir: &Path, profiles: usize, jobs: usize, scale: f64) -> Result<OneRun, Failure> {
    std::fs::create_dir_all(dir)?;
    let mut lab = LabProcess::start(Path::new(BINARY), &dir.join("lab"), &scale.to_string())?;
    let providers = many_profiles(&dir.join("lab/providers.json"), profiles)?;
    let console = std::fs::File::create(dir.join("console.txt"))?;
    let begun = Instant::now();
    let mut runner = Command::new(BINARY)
        .env("KUBECONFIG", dir.join("lab/kubeconfig"))
        .arg("--providers-json")
        .arg(&providers)
        // What `run --lab` sets by itself.
        .args(["--set", "cutover_after_precopies=2", "--set", "remote_ocp_cluster=127.0.0.1"])
        .args(["--set", &format!("max_concurrent={jobs}"), "run", "--log-format", "plain"])
        .args(["--storage-class", STORAGE_CLASS, "-j", &jobs.to_string(), "--results"])
        .arg(dir.join("results"))
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()?;
    let mut peak_mib = 0.0_f64;
    while !has_ended(&runner)? {
        peak_mib = peak_memory(runner.id()).unwrap_or(0.0).max(peak_mib);
        std::thread::sleep(SAMPLE);
    }
    // Of an ended process that nobody has reaped /proc still tells the whole time.
    let cpu = cpu_seconds(runner.id()).ok_or("/proc has no CPU time of the run")?;
    runner.wait()?;
    let wall = begun.elapsed().as_secs_f64();
    let lab_cpu = cpu_seconds(lab.child.id()).unwrap_or(0.0);
    let counters = lab.stop()?;
    let run = read_run(&dir.join("results/latest"))
        .map_err(|e| format!("{e}; the console of the run is {}", dir.join("console.txt").display()))?;
    Ok(OneRun { run, wall, peak_mib, cpu, lab_cpu, counters })
}

/// The lab's one profile under `count` names.
fn many_profiles(file: &Path, count: usize) -> Result<PathBuf, Failure> {
    let all: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let one = all.get("vsphere").ok_or("the lab's providers.json has no `vsphere`")?;
    let many: serde_json::Map<String, Value> = (1..=count).map(|n| (format!("vsphere-{n:02}"), one.clone())).collect();
    let path = file.with_file_name("many-providers.json");
    std::fs::write(&path, json!(many).to_string())?;
    Ok(path)
}

struct Run {
    passed: usize,
    /// Seconds of each cell, in the order in which they began.
    cells: Vec<(String, f64)>,
}

/// Durations from the event log: the files of a run are its interface.
fn read_run(dir: &Path) -> Result<Run, Failure> {
    let text = std::fs::read_to_string(dir.join("events.jsonl"))?;
    let mut begun: Vec<(String, f64)> = Vec::new();
    let mut ended = HashMap::new();
    let mut passed = 0;
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        let word = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let at: f64 = seconds(&word("at"))?;
        let cell = word("cell");
        match word("event").as_str() {
            "cell-started" => begun.push((cell, at)),
            "cell-finished" => {
                passed += usize::from(word("verdict") == "passed");
                ended.insert(cell, at);
            }
            _ => {}
        }
    }
    if begun.is_empty() {
        return Err("no cell ran".into());
    }
    let cells = begun.into_iter().filter_map(|(cell, from)| ended.get(&cell).map(|to| (cell.clone(), to - from)));
    Ok(Run { passed, cells: cells.collect() })
}

fn seconds(timestamp: &str) -> Result<f64, Failure> {
    let at: jiff::Timestamp = timestamp.parse().map_err(|e| format!("`{timestamp}`: {e}"))?;
    Ok(at.as_duration().as_secs_f64())
}

/// The end of the last piece when each piece, in order, goes to the job that is free first.
fn packed(durations: impl Iterator<Item = f64>, jobs: usize) -> f64 {
    let mut free = vec![0.0_f64; jobs];
    for duration in durations {
        if let Some(first) = free.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            *first += duration;
        }
    }
    free.into_iter().fold(0.0, f64::max)
}
