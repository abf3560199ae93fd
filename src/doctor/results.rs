//! Whether the results volume takes what a run writes: files that grow, that are replaced, links, locks.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use super::{Probe, Weight};

const NAME: &str = "results volume";

/// Leaves everything as it was.
pub(super) fn probe(dir: &Path) -> Probe {
    let (shown, was_there) = (dir.display(), dir.exists());
    let scratch = dir.join(format!(".mtv-matrix-doctor-{}", crate::api::names::random_chars(8)));
    let tried = fs::create_dir_all(&scratch).and_then(|()| try_out(&scratch));
    let _ = fs::remove_dir_all(&scratch);
    if !was_there {
        let _ = fs::remove_dir(dir);
    }
    match tried {
        Ok(true) => Probe::of(NAME, Weight::Fine, format!("{shown} takes files, links and locks")),
        Ok(false) => Probe::of(NAME, Weight::Doubt, format!("{shown} knows no locks (an NFS without them?)")).remedy(
            "two processes that work on one run's ledger are told apart by its heartbeat alone: don't start them within minutes",
        ),
        Err(error) => Probe::of(NAME, Weight::Missing, format!("{shown} does not take a run's files: {error}"))
            .remedy("make it writable for this user (in a pod: `fsGroup`), or set `results` to another directory"),
    }
}

/// What a run does; whether locks work.
fn try_out(scratch: &Path) -> io::Result<bool> {
    let (log, report) = (scratch.join("log"), scratch.join("report"));
    let mut file = File::options().create_new(true).append(true).open(&log)?;
    file.write_all(b"a line\n")?;
    file.sync_all()?;
    let locks = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    };
    fs::write(scratch.join("report.tmp"), b"whole")?;
    fs::rename(scratch.join("report.tmp"), &report)?;
    std::os::unix::fs::symlink("report", scratch.join("latest"))?;
    Ok(locks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_tried_out_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let there = probe(dir.path());
        assert_eq!(there.weight, Weight::Fine, "{there:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        fs::write(dir.path().join("file"), "").unwrap();
        let file = probe(&dir.path().join("file"));
        assert!(file.is_missing() && file.line().contains("set `results`"), "{file:?}");
    }
}
