//! How many instructions a few fixed pieces of work take: `cargo bench --bench instructions`.
//!
//! Seconds of a busy machine tell nothing of a tenth more; instructions are the same on any. Counted by valgrind's
//! callgrind, the runner alone: `list` of a thousand scenarios, `report` of a log of two hundred cells, and a run of a few
//! cells against a lab of its own (which counts more or less polls: within a few per cent). The counts of before are in
//! `instructions.txt`, with the compiler that they are of; more than [`MORE`] times one of them fails, or [`RUNS_MORE`]
//! times that of the run. `--record` writes the file anew. Without valgrind one line says so. Knows the command line and the event log alone. Linux only.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement prints what it measured"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use support::{BINARY, Failure, LabProcess, STORAGE_CLASS, write_scenarios};

#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod support;

/// How much more than before is a regression; of a run, which looks more often where the machine is slow, in [`RUNS_MORE`].
const MORE: f64 = 1.10;
const RUNS_MORE: f64 = 1.25;
const BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const LISTED: usize = 1000;
const REPORTED: usize = 200;
const CHECKS: usize = 30;
const CELLS: usize = 4;

fn main() -> ExitCode {
    // `cargo test --benches` runs this too, with no argument.
    if !std::env::args().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    match measure_all(std::env::args().any(|a| a == "--record")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table; false where something takes much more than before.
fn measure_all(record: bool) -> Result<bool, Failure> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("no valgrind here: instructions were not counted");
        return Ok(true);
    }
    let (compiler, before) = recorded()?;
    let here = compiler_here()?;
    let dir = std::env::temp_dir().join(format!("mtv-matrix-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let counts = [("list", list(&dir)?), ("report", report(&dir)?), ("run", run(&dir)?)];
    let _ = std::fs::remove_dir_all(&dir);
    println!("what    million instructions  before  now/before");
    let mut fair = true;
    for (what, count) in counts {
        let millions = count as f64 / 1e6;
        match before.get(what).filter(|_| compiler == here) {
            Some(old) => {
                println!("{what:6}  {millions:20.1}  {:6.1}  {:10.2}", *old as f64 / 1e6, count as f64 / *old as f64);
                fair &= count as f64 <= *old as f64 * if what == "run" { RUNS_MORE } else { MORE };
            }
            None => println!("{what:6}  {millions:20.1}       -           -"),
        }
    }
    if record {
        let mut text = format!("# `cargo bench --bench instructions -- --record` writes this.\ncompiler {here}\n");
        for (what, count) in counts {
            writeln!(text, "{what} {count}")?;
        }
        std::fs::write(BEFORE, text)?;
        return Ok(true);
    }
    if compiler != here {
        println!("the counts of before are of `{compiler}`, this is `{here}`: not compared");
    }
    if !fair {
        println!("failed: more than {MORE} times as many as before, or {RUNS_MORE} times of a run");
    }
    Ok(fair)
}

/// The compiler and the counts of before.
fn recorded() -> Result<(String, BTreeMap<String, u64>), Failure> {
    let text = std::fs::read_to_string(BEFORE).unwrap_or_default();
    let mut compiler = String::new();
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(' ').ok_or(format!("{BEFORE}: `{line}`"))? {
            ("compiler", version) => version.clone_into(&mut compiler),
            (what, count) => drop(counts.insert(what.to_owned(), count.parse()?)),
        }
    }
    Ok((compiler, counts))
}

fn compiler_here() -> Result<String, Failure> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Instructions of the program with these arguments.
fn count(dir: &Path, command: impl FnOnce(&mut Command)) -> Result<u64, Failure> {
    let file = dir.join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display())).arg(BINARY);
    command(&mut valgrind);
    let output = valgrind.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stdout);
        return Err(format!("{valgrind:?}: {}\n{told}\n{said}", output.status).into());
    }
    let line = said.lines().find_map(|line| line.split_once("Collected : ")).ok_or("callgrind tells no count")?;
    let first = line.1.split_whitespace().next().unwrap_or_default();
    Ok(first.parse().map_err(|e| format!("callgrind's count `{first}`: {e}"))?)
}

fn list(dir: &Path) -> Result<u64, Failure> {
    let dir = dir.join("list");
    write_scenarios(&dir, "counted", LISTED)?;
    let providers = dir.join("providers.json");
    std::fs::write(
        &providers,
        r#"{"vsphere": {"type": "vsphere", "version": "8.0", "fqdn": "vcenter.example.com", "api_url": "https://vcenter.example.com/sdk",
            "username": "u", "password": "p", "guest_vm_linux_user": "root", "guest_vm_linux_password": "p"}}"#,
    )?;
    count(&dir, |list| {
        list.arg("--config").arg(&dir).arg("--providers-json").arg(&providers);
        list.args(["list", "--offline", "--provider", "vsphere", "--scenario", "counted_*"]);
    })
}

fn report(dir: &Path) -> Result<u64, Failure> {
    let dir = dir.join("report/mm-abcdefghij");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("events.jsonl"), log_of_a_run()?)?;
    let arguments = |report: &mut Command| {
        report.arg("report").arg(&dir);
    };
    count(&dir, arguments)
}

/// The log of a run in which one cell of five has failed.
fn log_of_a_run() -> Result<String, Failure> {
    let mut log = String::new();
    let mut number = 0_u64;
    let mut tell = |event: serde_json::Value| -> Result<(), Failure> {
        number += 1;
        let at = jiff::Timestamp::from_second(1_780_000_000 + i64::try_from(number)?)?;
        let mut line = serde_json::json!({"seq": number, "at": at.to_string()});
        if let (Some(line), serde_json::Value::Object(event)) = (line.as_object_mut(), event) {
            line.extend(event);
        }
        Ok(writeln!(log, "{line}")?)
    };
    let id = |cell: usize| format!("vsphere/counted_{cell:04}");
    let info = |cell: usize| {
        serde_json::json!({"id": id(cell), "profile": "vsphere", "platform": "vsphere",
            "scenario": format!("counted_{cell:04}"), "storage_class": STORAGE_CLASS, "tags": []})
    };
    let cells: Vec<serde_json::Value> = (0..REPORTED).map(info).collect();
    let environment = serde_json::json!({"tool_version": "0.1.0", "mtv_version": "2.12.5", "ocp_version": "4.21",
        "kubernetes_version": "1.34", "cluster": "https://api.example.com:6443", "lab": false});
    tell(serde_json::json!({"event": "run-started", "schema": 1, "run": "mm-abcdefghij", "environment": environment,
        "cells": cells, "shard": null}))?;
    for cell in 0..REPORTED {
        let failed = cell % 5 == 0;
        let verdict = if failed { "failed" } else { "passed" };
        tell(
            serde_json::json!({"event": "cell-started", "cell": id(cell), "attempt": 1, "namespace": "mm-abcdefghij-x"}),
        )?;
        for stage in ["prepare", "storage-map", "network-map", "plan", "migrate", "verify"] {
            tell(serde_json::json!({"event": "stage-started", "cell": id(cell), "attempt": 1, "stage": stage}))?;
            let ended = if stage == "verify" { verdict } else { "passed" };
            tell(serde_json::json!({"event": "stage-finished", "cell": id(cell), "attempt": 1, "stage": stage,
                "verdict": ended, "problem": null}))?;
        }
        for check in 0..CHECKS {
            let outcome = if failed && check == 3 { "failed" } else { "passed" };
            let finding = serde_json::json!({"check": format!("check-{check}"), "vm": "mm-abcdefghij-mtv-tests-rhel8-aaaaaa",
                "outcome": outcome, "expected": "2 disks", "actual": "2 disks of 10 GiB"});
            tell(serde_json::json!({"event": "check-finished", "cell": id(cell), "attempt": 1, "finding": finding}))?;
        }
        tell(serde_json::json!({"event": "cell-finished", "cell": id(cell), "attempt": 1, "verdict": verdict,
            "problem": null, "will_retry": false}))?;
    }
    tell(serde_json::json!({"event": "run-finished", "verdict": "failed", "leftovers": 0, "exit_code": 1,
         "problem": null}))?;
    Ok(log)
}

fn run(dir: &Path) -> Result<u64, Failure> {
    let dir = dir.join("run");
    write_scenarios(&dir, "counted", CELLS)?;
    let mut lab = LabProcess::start(Path::new(BINARY), &dir.join("lab"), "60")?;
    let counted = count(&dir, |run| {
        run.env("KUBECONFIG", dir.join("lab/kubeconfig")).arg("--config").arg(&dir);
        run.arg("--providers-json").arg(dir.join("lab/providers.json"));
        run.args(["run", "--log-format", "plain", "--provider", "vsphere", "--scenario", "counted_*"]);
        run.args(["--storage-class", STORAGE_CLASS, "-j", &CELLS.to_string(), "--results"]).arg(dir.join("results"));
    });
    lab.stop()?;
    counted
}
