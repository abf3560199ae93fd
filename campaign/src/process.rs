//! The program as a process: started, watched, hit, and ended by force at its deadline.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::plan::{Blow, Output, When};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How a process ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// `None`: by a signal.
    pub code: Option<i32>,
    /// It was still there at its deadline.
    pub hung: bool,
    /// Signals that reached it, by name.
    pub hit: Vec<&'static str>,
    pub text: String,
}

/// How a process is started.
pub struct Start {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub dir: PathBuf,
    pub env: Vec<(&'static str, String)>,
    pub output: Output,
    /// No file may grow beyond this.
    pub disk_kib: Option<u64>,
    /// A process that lives longer hangs.
    pub limit: Duration,
    pub blow: Option<Blow>,
    /// Where its event log will be, one directory below.
    pub results: PathBuf,
}

impl Start {
    /// Runs to the end, on a thread of its own.
    pub async fn run(self) -> io::Result<Ended> {
        tokio::task::spawn_blocking(move || self.watch()).await.unwrap_or_else(|e| Err(io::Error::other(e)))
    }

    fn watch(self) -> io::Result<Ended> {
        let mut command = self.command();
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(self.stdout()?).stderr(Stdio::piped());
        command.env_clear().envs(self.env.iter().map(|(name, value)| (*name, value.as_str())));
        let known = events_in(&self.results);
        let mut child = Dying(command.spawn()?);
        let begun = Instant::now();
        // The readers go on while the process is hit and waited for.
        let stdout = collect(child.0.stdout.take().filter(|_| self.output == Output::Read));
        let stderr = collect(child.0.stderr.take());
        let mut hit = Vec::new();
        let mut blow = self.blow;
        // A second blow comes so much after the first.
        let mut due_at = match blow.map(|blow| blow.when) {
            Some(When::After(after)) => Some(begun + after),
            _ => None,
        };
        let (status, hung) = loop {
            if let Some(status) = child.0.try_wait()? {
                break (status, false);
            }
            if begun.elapsed() > self.limit {
                child.0.kill()?;
                break (child.0.wait()?, true);
            }
            let due = match (due_at, blow.map(|blow| blow.when)) {
                (Some(at), Some(_)) => Instant::now() >= at,
                (None, Some(When::Events(count))) => new_lines(&self.results, &known) >= count,
                _ => false,
            };
            if let Some(now) = blow.filter(|_| due) {
                if send(&child.0, now.signal) {
                    hit.push(now.signal);
                }
                due_at = now.again.map(|after| Instant::now() + after);
                blow = now.again.map(|_| Blow { again: None, ..now });
            }
            std::thread::sleep(LOOK);
        };
        let text = said(stdout) + &said(stderr);
        Ok(Ended { code: status.code(), hung, hit, text })
    }

    fn command(&self) -> Command {
        let Some(kib) = self.disk_kib else {
            let mut command = Command::new(&self.program);
            command.args(&self.args);
            return command;
        };
        // A write beyond the limit fails as on a full disk, and the signal of it is ignored: that is what a
        // container with a small volume sees.
        let mut command = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).arg(&self.program).args(&self.args);
        command
    }

    fn stdout(&self) -> io::Result<Stdio> {
        Ok(match self.output {
            // Of a closed one the reading end is dropped as soon as the process is there.
            Output::Read | Output::Closed => Stdio::piped(),
            Output::Full => std::fs::OpenOptions::new().write(true).open("/dev/full")?.into(),
        })
    }
}

fn collect(out: Option<impl Read + Send + 'static>) -> Option<JoinHandle<Vec<u8>>> {
    let mut out = out?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = out.read_to_end(&mut bytes);
        bytes
    }))
}

fn said(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A process that does not outlive who watches it.
struct Dying(Child);

impl Drop for Dying {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the signal was delivered.
fn send(child: &Child, signal: &str) -> bool {
    let kill =
        Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).stderr(Stdio::null()).status();
    kill.is_ok_and(|status| status.success())
}

/// Event logs of runs in a results directory.
fn events_in(results: &Path) -> Vec<PathBuf> {
    runs_in(results).into_iter().map(|dir| dir.join("events.jsonl")).collect()
}

/// Directories of runs; `latest` is a link to one of them.
pub fn runs_in(results: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(results).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> =
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect();
    dirs.sort();
    dirs
}

/// Lines in event logs that were not there when the process started.
fn new_lines(results: &Path, known: &[PathBuf]) -> u64 {
    let new = events_in(results).into_iter().filter(|path| !known.contains(path));
    let lines =
        |path: PathBuf| std::fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() as u64;
    new.map(lines).max().unwrap_or_default()
}
