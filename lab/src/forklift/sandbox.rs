//! The lab's side of the wall: makes the directory, starts the supervisor in its namespaces, serves
//! what comes out of them, and hears what the supervisor tells.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::orders::{Died, Order, Orders, Told};
use super::relay::{self, Way};
use super::{ForkliftOptions, failed};
use crate::LabError;
use crate::controllers::kubelet::Pods;

/// Sockets' names in the directory of this Forklift; the supervisor knows them, too.
pub const LAB_SOCKET: &str = "lab.sock";
pub const INSIDE_SOCKET: &str = "inside.sock";
/// For the namespaces to stand, and for the supervisor to end.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
/// Network, mount and process namespaces; the last takes every child with the supervisor.
const NAMESPACES: &[&str] = &["--net", "--mount", "--pid", "--fork", "--kill-child=KILL"];
/// For those who are not root: root of a user namespace of their own.
const USER: &[&str] = &["--user", "--map-root-user"];

/// The supervisor as the lab sees it.
pub struct Sandbox {
    dir: PathBuf,
    logs: PathBuf,
    /// Closed to end the supervisor.
    orders: Mutex<Option<ChildStdin>>,
    process: Mutex<Option<Child>>,
    died: watch::Receiver<Vec<Died>>,
}

impl Sandbox {
    pub async fn start(
        options: &ForkliftOptions,
        mut orders: Orders,
        pods: Arc<Pods>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, LabError> {
        let flags = namespaces()?;
        let dir = std::env::temp_dir().join(format!("mtv-matrix-forklift-{}", crate::api::names::random_chars(10)));
        let logs = options.logs.clone().unwrap_or_else(|| dir.join("logs"));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        let kept = Kept(Some(dir.clone()));
        std::fs::create_dir_all(&logs).map_err(failed)?;
        // Children have another working directory.
        let logs = logs.canonicalize().map_err(failed)?;
        let listener = UnixListener::bind(dir.join(LAB_SOCKET)).map_err(failed)?;
        serve(listener, pods, stop.clone(), tasks);
        (orders.dir, orders.logs) = (dir.clone(), logs.clone());
        let log = std::fs::File::create(logs.join("supervisor.log")).map_err(failed)?;
        let mut process = Command::new("unshare")
            .args(flags)
            .arg("--")
            .args(&options.supervisor)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // A Ctrl-C is the lab's to answer: it ends the supervisor in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (tell, mut told) = mpsc::channel(8);
        std::thread::spawn(move || {
            let lines = stdout.map(|out| BufReader::new(out).lines()).into_iter().flatten().map_while(Result::ok);
            lines.filter_map(|line| serde_json::from_str(&line).ok()).for_each(|line: Told| {
                let _ = tell.blocking_send(line);
            });
        });
        let (news, died) = watch::channel(Vec::new());
        let sandbox = Self { dir, logs, orders: Mutex::new(stdin), process: Mutex::new(Some(process)), died };
        drop(kept.release());
        sandbox.write(&orders);
        let first = tokio::time::timeout(LIMIT, told.recv()).await.ok().flatten();
        match first {
            Some(Told::Ready) => {}
            other => {
                let cause = match other {
                    Some(Told::Missing { what }) => what,
                    _ => last_line(&sandbox.logs.join("supervisor.log")),
                };
                sandbox.stop().await;
                return Err(failed(format!("its namespaces could not be made: {cause}")));
            }
        }
        tasks.spawn(async move {
            while let Some(line) = told.recv().await {
                if let Told::Died(died) = line {
                    news.send_modify(|all| all.push(died));
                }
            }
        });
        Ok(sandbox)
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join(INSIDE_SOCKET)
    }
    pub fn logs(&self) -> PathBuf {
        self.logs.clone()
    }
    /// The children that ended by themselves, in order.
    pub fn died(&self) -> watch::Receiver<Vec<Died>> {
        self.died.clone()
    }

    pub fn order(&self, order: &Order) {
        self.write(order);
    }

    fn write(&self, line: &impl serde::Serialize) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // A supervisor that is gone has said so, or is about to.
        if let Some(orders) = orders.as_mut() {
            let _ = orders.write_all(&text).and_then(|()| orders.flush());
        }
    }

    /// Closes the pipe and waits; the supervisor ends its children and removes the directory.
    pub async fn stop(&self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut process) = process else { return };
        let began = Instant::now();
        while matches!(process.try_wait(), Ok(None)) {
            if began.elapsed() > LIMIT {
                let _ = process.kill();
                let _ = process.wait();
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Removes a directory unless somebody else has taken care of it.
struct Kept(Option<PathBuf>);

impl Kept {
    fn release(mut self) -> Option<PathBuf> {
        self.0.take()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("the supervisor ended without a word").to_owned()
}

/// What `unshare` has to be asked for here, tried with a program that does nothing.
fn namespaces() -> Result<Vec<&'static str>, LabError> {
    let mut refused = String::new();
    for flags in [NAMESPACES.to_vec(), [USER, NAMESPACES].concat()] {
        match Command::new("unshare").args(&flags).args(["--", "ip", "link", "set", "lo", "up"]).output() {
            Ok(tried) if tried.status.success() => return Ok(flags),
            Ok(tried) => refused = String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
            Err(error) => {
                return Err(failed(format!(
                    "it needs a network and a mount namespace of its own, and unshare (util-linux) does not start: {error}"
                )));
            }
        }
    }
    Err(failed(format!(
        "it needs a network and a mount namespace of its own, and none may be made here, neither as this user nor in a \
         user namespace: {refused}. Run as root, allow unprivileged user namespaces (sysctl user.max_user_namespaces, \
         kernel.apparmor_restrict_unprivileged_userns), or install iproute2 if it is `ip` that is missing"
    )))
}

/// What comes out of the namespaces: connections to the lab's endpoints, and to pods.
fn serve(listener: UnixListener, pods: Arc<Pods>, stop: CancellationToken, tasks: &TaskTracker) {
    let spawn = tasks.clone();
    tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
            };
            let (pods, stop) = (pods.clone(), stop.clone());
            spawn.spawn(async move {
                let lead = async {
                    match relay::arrived(stream).await {
                        Some((Way::Tcp(address), stream)) if address.ip().is_loopback() => {
                            let _ = relay::onward(stream, address).await;
                        }
                        Some((Way::Pod(address), stream)) => pods.serve(address, stream).await,
                        _ => {}
                    }
                };
                tokio::select! { () = stop.cancelled() => {}, () = lead => {} }
            });
        }
    });
}
