//! The lab's oVirt engine against the client that its vendor ships: `ovirt-engine-sdk-python`.
//!
//! Skipped, with one line that says why, where Python or the package index can't be had. The
//! virtual environment stays beside the build and is used again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mtv_matrix::api::world::World;
use mtv_matrix::lab::clock::Clock;
use mtv_matrix::lab::pki::LabCa;
use mtv_matrix::lab::platforms::ovirt::{self, OvirtOptions};

const PACKAGE: &str = "ovirt-engine-sdk-python==4.6.3";

fn tail(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or("nothing was said").to_owned()
}

/// A Python that has the SDK, or why there is none.
fn python() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ovirt-sdk");
    let python = dir.join("bin/python");
    let has_sdk = || Command::new(&python).args(["-c", "import ovirtsdk4"]).output().is_ok_and(|o| o.status.success());
    if has_sdk() {
        return Ok(python);
    }
    let ran = |command: &mut Command, what: &str| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{what}: {}", tail(&output))),
        Err(error) => Err(format!("{what}: {error}")),
    };
    ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir), "python3 -m venv")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "20", PACKAGE]);
    ran(&mut pip, "pip install")?;
    if has_sdk() { Ok(python) } else { Err("the SDK is installed, but can't be imported".to_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_logs_in_lists_clones_powers_snapshots_and_deletes() {
    let python = match tokio::task::spawn_blocking(python).await.unwrap() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("skipped: the oVirt SDK can't be had here: {why}");
            return;
        }
    };
    let ca = LabCa::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, ca.ca_pem()).unwrap();
    let options = OvirtOptions {
        listen: [127, 0, 0, 1].into(),
        username: "admin@internal".to_owned(),
        password: "lab-ovirt".to_owned(),
        clock: Clock::new(600.0),
        faults: Default::default(),
    };
    let engine = ovirt::start(options, &World::shipped().unwrap().ovirt, &ca).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/ovirt.py");
    let mut command = Command::new(python);
    command.arg(script).arg(engine.url()).arg(&ca_file).args(["admin@internal", "lab-ovirt"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "--- out\n{out}\n--- err\n{err}");
    assert!(out.contains("removed"), "{out}");
    engine.stop().await;
}
