//! `--forklift DIR` with programs that only pretend: how the lab holds and ends its children.
//!
//! The real executables are tried by `conformance/`, where somebody has put them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a `forklift-controller` that is this shell script, and the definitions it needs.
fn build(root: &Path, script: &str) -> std::path::PathBuf {
    let dir = root.join("2.12.5");
    std::fs::create_dir_all(dir.join("crds")).unwrap();
    let controller = dir.join("forklift-controller");
    std::fs::write(&controller, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&controller, std::fs::Permissions::from_mode(0o755)).unwrap();
    let kinds = [
        ("ForkliftController", "forkliftcontrollers"),
        ("Hook", "hooks"),
        ("Host", "hosts"),
        ("Migration", "migrations"),
        ("NetworkMap", "networkmaps"),
        ("Plan", "plans"),
        ("Provider", "providers"),
        ("StorageMap", "storagemaps"),
    ];
    for (kind, plural) in kinds {
        let group = "forklift.konveyor.io";
        let text = format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: {plural}.{group}\nspec:\n  \
             group: {group}\n  scope: Namespaced\n  names: {{kind: {kind}, listKind: {kind}List, plural: {plural}, singular: {}}}\n  \
             versions:\n  - name: v1beta1\n    served: true\n    storage: true\n    subresources: {{status: {{}}}}\n    schema:\n      \
             openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}\n",
            kind.to_lowercase()
        );
        std::fs::write(dir.join("crds").join(format!("{plural}.yaml")), text).unwrap();
    }
    dir
}

/// The lab with this Forklift; its temporary files go to `root/tmp`.
fn lab(root: &Path, build: &Path) -> Command {
    let tmp = root.join("tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtv-matrix"));
    command.args(["lab", "--dir"]).arg(root.join("lab")).arg("--forklift").arg(build).env("TMPDIR", tmp);
    command
}

/// Whether namespaces may be made here; where not, the lab says so, and that is all there is to see.
fn may_have_namespaces() -> bool {
    let tried = |user: &[&str]| {
        let args = [user, &["--net", "--mount", "--pid", "--fork", "ip", "link", "set", "lo", "up"]].concat();
        Command::new("unshare").args(args).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let may = tried(&[]) || tried(&["--user", "--map-root-user"]);
    if !may {
        eprintln!("skipped: no namespaces may be made here");
    }
    may
}

fn left_in(dir: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Processes whose command line has this word.
fn processes(word: &str) -> usize {
    let all =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    all.filter(|line| String::from_utf8_lossy(line).contains(word)).count()
}

fn soon(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_forklift_that_dies_is_told_in_one_line_and_leaves_no_directory() {
    if !may_have_namespaces() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let build =
        build(root.path(), "echo starting; echo 'panic: no cluster' >&2; echo; echo 'goroutine 1 [running]:'; exit 3");
    let output = lab(root.path(), &build).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("died (exit code 3): panic: no cluster"), "{told}");
    assert_eq!(left_in(&root.path().join("tmp")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_lab_that_is_killed_leaves_no_child_and_no_directory() {
    if !may_have_namespaces() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let word = format!("9{}", std::process::id());
    let build = build(root.path(), &format!("exec sleep {word}"));
    let mut lab = lab(root.path(), &build).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Main and inventory.
    soon("both roles to run", || processes(&word) == 2);
    let tmp = root.path().join("tmp");
    assert!(!left_in(&tmp).is_empty());
    lab.kill().unwrap();
    lab.wait().unwrap();
    soon("the children to end", || processes(&word) == 0);
    soon("the directory to go", || left_in(&tmp).is_empty());
}

/// A controller that notes each start, and an inventory that listens where the lab looks for it.
const LISTENS: &str = "if [ \"$ROLE\" = inventory ]; then exec python3 -c \"import socket
s = socket.socket(); s.bind(('127.0.0.1', 8445)); s.listen(64)
held = []
while True: held.append(s.accept())\"; fi
echo \"started with a limit of $MAX_VM_INFLIGHT\"; exec sleep 600";

#[test]
fn a_controller_whose_pod_is_killed_starts_again_with_another_pod_and_the_settings_of_the_operator() {
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    if !may_have_namespaces() || !python.is_ok_and(|status| status.success()) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let build = build(root.path(), LISTENS);
    let mut lab = lab(root.path(), &build).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let kubeconfig = root.path().join("lab/kubeconfig");
    soon("the lab to be up", || kubeconfig.is_file());
    let log = root.path().join("lab/forklift/main.log");
    let starts = || std::fs::read_to_string(&log).unwrap_or_default().matches("started with a limit of 20").count();
    soon("the controller to run", || starts() == 1);
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let field = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim().to_owned();
    let (url, token) = (field("server:"), field("token:"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let pod = format!("{url}/api/v1/namespaces/openshift-mtv/pods/forklift-controller-0");
    let ask = |method: reqwest::Method| -> serde_json::Value {
        runtime.block_on(async {
            let answer = http.request(method, &pod).bearer_auth(&token).send().await.unwrap();
            answer.json().await.unwrap()
        })
    };
    let first = ask(reqwest::Method::GET)["metadata"]["uid"].clone();
    ask(reqwest::Method::DELETE);
    soon("the controller to start again", || starts() == 2);
    soon("another pod to run", || {
        let now = ask(reqwest::Method::GET);
        now["status"]["phase"] == "Running" && now["metadata"]["uid"] != first
    });
    lab.kill().unwrap();
    lab.wait().unwrap();
}

#[test]
fn a_folder_without_a_forklift_is_refused_with_what_it_lacks() {
    let root = tempfile::tempdir().unwrap();
    let build = build(root.path(), "exit 0");
    std::fs::remove_file(build.join("forklift-controller")).unwrap();
    let output = lab(root.path(), &build).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--forklift") && told.contains("there is no executable `forklift-controller`"), "{told}");
}
