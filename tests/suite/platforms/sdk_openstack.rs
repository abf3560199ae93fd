//! The lab's OpenStack endpoint against the official Python SDK. Skipped, with a line that says so,
//! where Python or the package index is not to be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{LabServer, Place};

/// The version that the script was written for.
const PACKAGE: &str = "openstacksdk==4.22.0";

fn succeeds(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{:?}: {}", command.get_program(), said.lines().last().unwrap_or("no reason given")))
}

/// A Python that has the SDK: made once, kept with the other things that tests build.
fn python() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-openstack");
    let python = venv.join("bin/python");
    let has_it = || succeeds(Command::new(&python).args(["-I", "-c", "import openstack"]));
    if has_it().is_err() {
        succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        succeeds(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            PACKAGE,
        ]))?;
        has_it()?;
    }
    Ok(python)
}

#[test]
fn the_official_sdk_logs_in_lists_clones_powers_snapshots_and_deletes() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("skipped: openstacksdk cannot be had here: {why}");
            return;
        }
    };
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/openstack.py");
    // Isolated, because the script is called like the package.
    let output = Command::new(python).arg("-I").arg(script).arg(&lab.providers).arg(&lab.ca).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.ends_with("all good\n"), "{out}\n{err}");
    lab.ends_clean();
}
