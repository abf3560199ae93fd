//! How a run ends where its terminal, its volume or its connection goes away: the same work, the same exit code.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::{Place, Running};

const CELL: &str = "run --lab -s test_sanity_cold_mtv_migration";

/// The command under a limit of so many KiB a file, as a volume that is full.
fn on_a_full_volume(place: &Place, kib: u32, args: &str) -> Command {
    let mut command = Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_mtv-matrix")]).args(args.split_whitespace());
    command.current_dir(place.path(".")).env_clear().env("HOME", place.path("."));
    command.env("MTV_SOURCE_PROVIDER", "vsphere").env("PATH", std::env::var_os("PATH").unwrap());
    command
}

#[test]
fn a_run_whose_reader_went_away_or_whose_output_is_full_does_its_work() {
    let place = Place::new();
    let mut closed =
        place.command(CELL).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // `| true`: both readers are gone before the first line.
    drop((closed.stdout.take(), closed.stderr.take()));
    assert_eq!(closed.wait().unwrap().code(), Some(0));
    place.results().are_whole_and_tell_no_secret();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(CELL);
    let status = command.stdin(Stdio::null()).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    place.results().are_whole_and_tell_no_secret();
}

#[test]
fn a_hangup_tears_down_and_reports_as_a_termination_does() {
    let place = Place::new();
    let mut run =
        Running::start(&mut place.command("run --lab --lab-clock-scale 30 -s test_sanity_cold_mtv_migration"));
    run.until("migrate …");
    run.signal("HUP");
    run.end().exits(130).says("interrupted by SIGHUP");
    assert_eq!(place.results().verdict("vsphere/test_sanity_cold_mtv_migration"), "interrupted");
    place.results().are_whole_and_tell_no_secret();
}

#[test]
fn reports_that_find_no_room_are_told_and_keep_no_other_away() {
    let place = Place::new();
    let message = place.path("message");
    // The trace is the one file that is larger than this.
    let args = format!("{CELL} --trace requests --termination-message {}", message.display());
    let ended = Running::start(&mut on_a_full_volume(&place, 40, &args)).end().exits(3);
    assert!(ended.err.contains("failed to write the report"), "{}", ended.err);
    assert!(!ended.out.contains("left behind"), "{}", ended.out);
    let dir = place.results().dir;
    assert!(dir.join("junit.xml").is_file() && dir.join("run.json").is_file());
    assert!(fs::read_to_string(message).unwrap().starts_with("failed to write the report"));
}
