//! What the benchmarks share: a lab as a process of its own, and what /proc tells of a process.
//! Linux only. Knows the command line alone.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub const BINARY: &str = env!("CARGO_BIN_EXE_mtv-matrix");
pub const STORAGE_CLASS: &str = "ocs-storagecluster-ceph-rbd-virtualization";
/// `/proc/PID/stat` counts in these; 100 a second on every Linux that Rust knows.
const TICKS_A_SECOND: f64 = 100.0;

pub type Failure = Box<dyn std::error::Error>;

/// `mtv-matrix lab` in a process of its own; dropping it kills it.
pub struct LabProcess {
    pub child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl LabProcess {
    /// Returns when the lab says that it is up.
    #[allow(dead_code, reason = "one benchmark begins it another way")]
    pub fn start(program: &Path, dir: &Path, scale: &str) -> Result<Self, Failure> {
        Self::begin(Command::new(program), dir, scale)
    }

    /// The same with a command that is the program, or runs it in its own place.
    pub fn begin(mut program: Command, dir: &Path, scale: &str) -> Result<Self, Failure> {
        // As a lab would set it for itself and start again, which valgrind does not follow (src/cli/pages.rs).
        program.env("MIMALLOC_ALLOW_THP", "2");
        let mut child =
            program.args(["lab", "--clock-scale", scale, "--dir"]).arg(dir).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the lab has no output")?;
        let mut lab = Self { child, lines: BufReader::new(stdout).lines() };
        for line in &mut lab.lines {
            if line?.trim_start().starts_with("mtv-matrix --providers-json") {
                return Ok(lab);
            }
        }
        Err("the lab did not start".into())
    }

    /// Asks it to end; returns its counters.
    pub fn stop(&mut self) -> Result<HashMap<String, u64>, Failure> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let mut counters = HashMap::new();
        for line in &mut self.lines {
            if let Some(pairs) = line?.strip_prefix("counters: ") {
                let pairs = pairs.split_whitespace().filter_map(|p| p.split_once('='));
                counters.extend(pairs.filter_map(|(name, n)| Some((name.to_owned(), n.parse().ok()?))));
            }
        }
        self.child.wait()?;
        Ok(counters)
    }
}

impl Drop for LabProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// That many scenarios `PREFIX_0000` …, each the same cold migration of one small VM, in a configuration folder.
#[allow(dead_code, reason = "one benchmark runs what is shipped")]
pub fn write_scenarios(dir: &Path, prefix: &str, count: usize) -> Result<(), Failure> {
    let one = |n: usize| {
        format!(
            "{prefix}_{n:04}:\n  virtual_machines:\n    - name: mtv-tests-rhel8\n      guest_agent: true\n  warm_migration: false\n"
        )
    };
    std::fs::create_dir_all(dir.join("scenarios"))?;
    std::fs::write(dir.join("scenarios/many.yaml"), (0..count).map(one).collect::<String>())?;
    Ok(())
}

/// Whether the process has ended; it is not reaped.
pub fn has_ended(child: &Child) -> Result<bool, Failure> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
}

/// Most resident memory that the process ever had.
pub fn peak_memory(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// User and system time so far.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may hold blanks; fields 14 and 15 of the whole are behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}
