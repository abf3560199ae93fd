//! Running the binary as a user does: a process, its output, its exit code, its results.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No process of a test may take longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// What no file of the results may hold: the lab's passwords and the shape of its tokens.
const SECRETS: &[&str] = &[
    "lab-vsphere",
    "lab-openstack",
    "lab-linux",
    "lab-windows",
    "lab-admin",
    "sha256~",
    "not-the-password",
    "lab-ovirt",
    "lab-hyperv",
    "lab-ec2-secret",
    "lab-luks",
    "lab-array",
    "WRONGPASSWORD",
];

/// A directory of its own for one test; processes run in it and see no environment but what they are given.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The program with these arguments, words separated by spaces.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mtv-matrix"));
        command.args(args.split_whitespace()).current_dir(self.dir.path());
        command.env_clear().env("HOME", self.dir.path());
        // The lab has a profile of every platform; `-p` chooses others than this.
        command.env("MTV_SOURCE_PROVIDER", "vsphere");
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &str) -> Ended {
        Running::start(&mut self.command(args)).end()
    }

    /// The results of the last run in `results`.
    pub fn results(&self) -> Results {
        Results { dir: self.path("results/latest") }
    }
}

/// A process whose standard output is read as it comes.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    out: String,
    deadline: Instant,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, lines, errors: Some(errors), out: String::new(), deadline: Instant::now() + PATIENCE }
    }

    /// The next line; `None` when the process has closed its output.
    fn line(&mut self) -> Option<String> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.lines.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.out.push_str(&line);
                self.out.push('\n');
                Some(line)
            }
            Err(Disconnected) => None,
            Err(Timeout) => panic!("the process is still at work after {PATIENCE:?}:\n{}", self.out),
        }
    }

    /// Waits for a line that holds `text`.
    pub fn until(&mut self, text: &str) -> String {
        while let Some(line) = self.line() {
            if line.contains(text) {
                return line;
            }
        }
        let errors = self.errors.take().unwrap().join().unwrap();
        panic!("`{text}` never came:\n{}\n{errors}", self.out)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{} {}", name.trim_start_matches("SIG"), self.child.id())])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Likewise, where the process may have ended by itself.
    pub fn signal_if_alive(&self, name: &str) {
        let _ = Command::new("sh").args(["-c", &format!("kill -{name} {} 2>/dev/null", self.child.id())]).status();
    }

    pub fn end(mut self) -> Ended {
        while self.line().is_some() {}
        let code = self.child.wait().unwrap().code();
        let err = self.errors.take().unwrap().join().unwrap();
        Ended { code, out: std::mem::take(&mut self.out), err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a process ended.
pub struct Ended {
    /// `None`: killed by a signal.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Asserts the exit code, and shows everything when it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(said, "nobody said `{text}`:\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }
}

/// The lab as a server, as `mtv-matrix lab` starts it.
pub struct LabServer {
    pub kubeconfig: PathBuf,
    pub ca: PathBuf,
    pub providers: PathBuf,
    pub url: String,
    process: Running,
}

impl LabServer {
    pub fn start(place: &Place, flags: &str) -> Self {
        let dir = place.path("lab");
        let mut process = Running::start(&mut place.command(&format!("lab --dir {} {flags}", dir.display())));
        process.until("The lab is up");
        let kubeconfig = dir.join("kubeconfig");
        let url = field(&kubeconfig, "server:");
        Self { url, ca: dir.join("ca.pem"), providers: dir.join("providers.json"), kubeconfig, process }
    }

    /// Ends the lab and asserts that nothing of any run is left in it, by its own account.
    #[track_caller]
    pub fn ends_clean(self) {
        self.process.signal("TERM");
        let ended = self.process.end().exits(0).says("counters: ");
        assert!(!ended.out.contains("still there: "), "{}", ended.out);
    }

    pub fn token(&self) -> String {
        field(&self.kubeconfig, "token:")
    }

    /// Deletes an object, or all of a collection, as somebody else would.
    pub fn delete(&self, path: &str) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async {
            let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
            let request = http.delete(format!("{}/{path}", self.url)).bearer_auth(self.token());
            request.send().await.unwrap().status()
        });
        assert!(status.is_success(), "{path}: {status}");
    }

    /// The program with its kubeconfig and provider file; `run` gets what the lab's clock needs.
    pub fn command(&self, place: &Place, args: &str) -> Command {
        let own = if args.starts_with("run ") { RUN } else { "" };
        let mut command = place.command(&format!("--providers-json {} {args} {own}", self.providers.display()));
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

/// An HTTPS endpoint whose certificate expired years ago; it answers every request with 404.
pub struct Expired {
    pub port: u16,
    /// The CA that signed it.
    pub ca_pem: String,
    _runtime: tokio::runtime::Runtime,
    _endpoint: mtv_matrix::lab::serve::Endpoint,
}

impl Expired {
    pub fn start() -> Self {
        use mtv_matrix::lab::{pki::LabCa, serve};
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let ca = LabCa::new().unwrap();
        let tls = ca.expired_server_config(&["127.0.0.1".to_owned()]).unwrap();
        let endpoint = runtime.block_on(async {
            let listener = serve::bind("expired", [127, 0, 0, 1].into(), 0).await.unwrap();
            serve::https("expired", listener, tls, axum::Router::new()).unwrap()
        });
        let ca_pem = ca.ca_pem().to_owned();
        Self { port: endpoint.port(), ca_pem, _runtime: runtime, _endpoint: endpoint }
    }
}

/// What a run against the lab's server needs beside a connection.
pub const RUN: &str = "--storage-class ocs-storagecluster-ceph-rbd-virtualization --set cutover_after_precopies=2";

/// The value after a key of the lab's kubeconfig.
fn field(kubeconfig: &Path, key: &str) -> String {
    let text = fs::read_to_string(kubeconfig).unwrap();
    text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim().to_owned()
}

/// One run's results directory.
pub struct Results {
    pub dir: PathBuf,
}

impl Results {
    pub fn text(&self, name: &str) -> String {
        let path = self.dir.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn run(&self) -> Value {
        serde_json::from_str(&self.text("run.json")).unwrap()
    }

    pub fn run_id(&self) -> String {
        fs::read_link(&self.dir).unwrap().display().to_string()
    }

    /// Verdict of each cell.
    pub fn verdict(&self, cell: &str) -> String {
        self.cell(cell)["verdict"].as_str().unwrap().to_owned()
    }

    pub fn cell(&self, cell: &str) -> Value {
        let run = self.run();
        let found = run["cells"].as_array().unwrap().iter().find(|c| c["id"] == cell);
        found.unwrap_or_else(|| panic!("no cell {cell} in {run:#}")).clone()
    }

    /// Lines of a JSON-lines file.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Whether every file is there and none of them tells a secret.
    #[track_caller]
    pub fn are_whole_and_tell_no_secret(&self) {
        for name in ["junit.xml", "traces.jsonl", "events.jsonl", "run.json", "report.html", "ledger.jsonl"] {
            assert!(self.dir.join(name).is_file(), "{name} is missing");
        }
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(entry.path());
                    continue;
                }
                let text = fs::read_to_string(entry.path()).unwrap();
                for secret in SECRETS {
                    assert!(!text.contains(secret), "{} tells `{secret}`", entry.path().display());
                }
            }
        }
    }
}
