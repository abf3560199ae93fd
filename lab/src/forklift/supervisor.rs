//! The process that Forklift's children belong to: inside the namespaces, with a pipe to the lab.
//!
//! Ends when the pipe does. Its children are in its process namespace and end with it; its directory,
//! and the lab's, it removes itself, because after a kill -9 of the lab nobody else can.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::orders::{ChildSpec, Died, Order, Orders, Told};
use super::relay::{self, Way};
use super::sandbox::{INSIDE_SOCKET, LAB_SOCKET};
use crate::controllers::kubelet::POD_NETWORK;

const SECRETS: &str = "/var/run/secrets";
/// Forklift would serve its own metrics on this port of every address, pods' as well, were it not
/// taken; it tries, and goes on without.
const METRICS: &str = "127.0.0.1:2112";
/// How often the children are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Of a dead child's last line.
const LAST_CHARS: usize = 300;

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{program} failed: {cause}")]
    Program { program: String, cause: String },
    #[error("{what}: {cause}")]
    Io { what: String, cause: std::io::Error },
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Trouble {
    let what = what.into();
    move |cause| Trouble::Io { what, cause }
}

fn tell(line: &Told) {
    let Ok(text) = serde_json::to_string(line) else { return };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Runs until standard input ends.
pub async fn supervise() {
    let (send, mut lines) = mpsc::channel::<String>(8);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = send.blocking_send(line);
        }
    });
    let Some(orders) = lines.recv().await.and_then(|line| serde_json::from_str::<Orders>(&line).ok()) else {
        tell(&Told::Missing { what: "this command is started by the lab, which tells it what to do".to_owned() });
        return;
    };
    match prepare(&orders).await {
        Ok(()) => watch(&orders, lines).await,
        Err(trouble) => tell(&Told::Missing { what: trouble.to_string() }),
    }
    for dir in orders.dirs.iter().chain([&orders.dir]) {
        let _ = std::fs::remove_dir_all(dir);
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), Trouble> {
    let failed = |cause: String| Trouble::Program { program: format!("{program} {}", args.join(" ")), cause };
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().map_err(|e| failed(e.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// The network and the files that Forklift expects, and the relays.
async fn prepare(orders: &Orders) -> Result<(), Trouble> {
    run("ip", &["link", "set", "lo", "up"])?;
    // Every pod's address is answered here.
    run("ip", &["route", "add", "local", POD_NETWORK, "dev", "lo"])?;
    let secrets = Path::new(SECRETS);
    let below = if secrets.is_dir() { secrets.to_owned() } else { PathBuf::from("/var/run") };
    let below = below.canonicalize().map_err(io("/var/run"))?;
    run("mount", &["-t", "tmpfs", "tmpfs", &below.to_string_lossy()])?;
    for (path, content) in &orders.files {
        let path = secrets.join(path);
        let parent = path.parent().unwrap_or(secrets);
        std::fs::create_dir_all(parent).map_err(io(format!("failed to make {}", parent.display())))?;
        std::fs::write(&path, content).map_err(io(format!("failed to write {}", path.display())))?;
    }
    let lab = orders.dir.join(LAB_SOCKET);
    for port in &orders.ports {
        let address = SocketAddr::from(([127, 0, 0, 1], *port));
        outward(address, lab.clone(), Way::Tcp).await?;
    }
    let metrics = TcpListener::bind(METRICS).await.map_err(io(format!("failed to listen on {METRICS}")))?;
    let inside = UnixListener::bind(orders.dir.join(INSIDE_SOCKET)).map_err(io("failed to listen for the lab"))?;
    tokio::spawn(async move {
        let _held = metrics;
        while let Ok((stream, _)) = inside.accept().await {
            tokio::spawn(async move {
                if let Some((Way::Tcp(address), stream)) = relay::arrived(stream).await {
                    let _ = relay::onward(stream, address).await;
                }
            });
        }
    });
    Ok(())
}

/// What connects here comes out at the lab. The listener closes with the task.
async fn outward(address: SocketAddr, lab: PathBuf, way: fn(SocketAddr) -> Way) -> Result<JoinHandle<()>, Trouble> {
    let listener = TcpListener::bind(address).await.map_err(io(format!("failed to listen on {address}")))?;
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let lab = lab.clone();
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let _ = relay::through(stream, &lab, way(address)).await;
            });
        }
    }))
}

/// The ports of pods that are open in the namespace.
#[derive(Default)]
struct PodPorts(HashMap<SocketAddr, JoinHandle<()>>);

impl PodPorts {
    async fn become_these(&mut self, wanted: &BTreeSet<SocketAddr>, lab: &Path) {
        self.0.retain(|address, listener| {
            let stays = wanted.contains(address);
            if !stays {
                listener.abort();
            }
            stays
        });
        for address in wanted {
            if self.0.contains_key(address) {
                continue;
            }
            // Whoever asks the pod sees that nobody listens there, as it is.
            if let Ok(listener) = outward(*address, lab.to_owned(), Way::Pod).await {
                self.0.insert(*address, listener);
            }
        }
    }
}

/// The children, by name.
struct Children<'a> {
    orders: &'a Orders,
    running: HashMap<String, Child>,
}

impl Children<'_> {
    fn log(&self, name: &str) -> PathBuf {
        self.orders.logs.join(format!("{name}.log"))
    }

    fn start(&mut self, spec: &ChildSpec) -> Result<(), Trouble> {
        let home = self.orders.dir.join(&spec.name);
        let log = self.log(&spec.name);
        std::fs::create_dir_all(&home).map_err(io(format!("failed to make {}", home.display())))?;
        let out = File::options().create(true).append(true).open(&log);
        let out = out.map_err(io(format!("failed to open {}", log.display())))?;
        let both = out.try_clone().map_err(io("failed to share a log"))?;
        let mut command = Command::new(&spec.program);
        command.env_clear().envs(&spec.env).stdin(Stdio::null()).stdout(out).stderr(both).current_dir(&home);
        for place in ["HOME", "TMPDIR", "WORKING_DIR"] {
            command.env(place, &home);
        }
        let child = command.spawn().map_err(io(format!("failed to start {}", spec.program.display())))?;
        self.running.insert(spec.name.clone(), child);
        Ok(())
    }

    fn end(&mut self, name: &str) {
        if let Some(mut child) = self.running.remove(name) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Tells of those that ended by themselves.
    fn look(&mut self) {
        let mut dead: Vec<(String, ExitStatus)> = Vec::new();
        for (name, child) in &mut self.running {
            if let Ok(Some(status)) = child.try_wait() {
                dead.push((name.clone(), status));
            }
        }
        for (name, status) in dead {
            self.running.remove(&name);
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            };
            tell(&Told::Died(Died { how, last: telling_line(&self.log(&name)), name }));
        }
    }
}

/// Of a Go program's log the panic or the last error, else the last line.
fn telling_line(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines = || text.lines().rev().filter(|line| !line.trim().is_empty());
    let told = lines().find(|line| line.starts_with("panic:") || line.starts_with("fatal error:"));
    told.or_else(|| lines().find(|line| line.contains("\"level\":\"error\"")))
        .or_else(|| lines().next())
        .unwrap_or("it said nothing")
        .chars()
        .filter(|c| !c.is_control())
        .take(LAST_CHARS)
        .collect()
}

async fn watch(orders: &Orders, mut lines: mpsc::Receiver<String>) {
    let mut children = Children { orders, running: HashMap::new() };
    for spec in &orders.children {
        if let Err(trouble) = children.start(spec) {
            tell(&Told::Missing { what: trouble.to_string() });
            return;
        }
    }
    tell(&Told::Ready);
    let lab = orders.dir.join(LAB_SOCKET);
    let mut ports = PodPorts::default();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = looks.tick() => {
                children.look();
                continue;
            }
        };
        // The lab is gone, or wants us to go.
        let Some(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Order::Pods { addresses }) => ports.become_these(&addresses, &lab).await,
            Ok(Order::End { name }) => children.end(&name),
            Ok(Order::Restart { name, env }) => {
                children.end(&name);
                let known = orders.children.iter().find(|spec| spec.name == name).cloned();
                if let Some(Err(trouble)) = known.map(|spec| children.start(&ChildSpec { env, ..spec })) {
                    tell(&Told::Died(Died { name, how: "not started".to_owned(), last: trouble.to_string() }));
                }
            }
            // The lab that wrote it is this same program.
            Err(_) => tell(&Told::Missing { what: "an order that is not understood".to_owned() }),
        }
    }
    for spec in &orders.children {
        children.end(&spec.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_dead_child_the_panic_is_told_not_the_end_of_its_trace() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("main.log");
        std::fs::write(&log, "starting\npanic: no kubeconfig\n\ngoroutine 1 [running]:\nmain.main()\n").unwrap();
        assert_eq!(telling_line(&log), "panic: no kubeconfig");
        std::fs::write(&log, "starting\nno more\n\n").unwrap();
        assert_eq!(telling_line(&log), "no more");
        std::fs::write(&log, b"\x1b[31mred\xff").unwrap();
        assert_eq!(telling_line(&log), "[31mred\u{fffd}");
        assert_eq!(telling_line(&dir.path().join("other")), "it said nothing");
    }
}
