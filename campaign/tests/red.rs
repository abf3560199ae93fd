//! The campaign against programs that break promises: it must turn red, and say which.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Plays a seed with a script in the program's place.
fn campaign(dir: &Path, script: &str) -> Output {
    let program = dir.join("program");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_campaign"));
    command.args(["--seed", "1", "--as-found", "--without", "signals,output,disk", "--program"]).arg(&program);
    command.arg("--dir").arg(dir.join("trials")).output().unwrap()
}

#[track_caller]
fn broken(output: &Output, promise: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("BROKEN: seed 1: {promise}")), "{text}");
}

#[test]
fn a_program_that_does_nothing_breaks_no_promise() {
    let dir = tempfile::tempdir().unwrap();
    let output = campaign(dir.path(), "exit 0");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("no promise was broken"), "{text}");
}

#[test]
fn a_program_that_panics_or_tells_a_password_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$*\" in *--help*) exit 0;; esac\necho \"thread main panicked at src/x.rs\"; exit 101";
    broken(&campaign(dir.path(), script), "panic");
    let script = "echo the password is lab-vsphere";
    broken(&campaign(dir.path(), script), "secret-told");
}
