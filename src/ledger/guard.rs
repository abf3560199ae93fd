//! Who works with a ledger right now: a run that is going, or a `clean` that finishes one.
//!
//! A file beside the ledger says who holds it, and is gone when the holder has ended in order. Two
//! signs of life, because a results volume can be shared by machines: an advisory lock, which the
//! kernel lets go when the holder dies, and a heartbeat, because not every network file system carries
//! locks from one machine to another. On the holder's own kernel the lock decides alone, so that a
//! killed run can be cleaned up at once; elsewhere a heartbeat that is younger than [`STALE`] counts as
//! life, too.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;

/// A holder shows that it lives this often, by [`Guard::beat`].
pub const BEAT: Duration = Duration::from_secs(20);
/// A holder on another machine that was silent for so long is dead. Several beats: a volume may hang.
pub const STALE: Duration = Duration::from_secs(150);

/// Why a ledger can't be had.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("{ledger} is in use by {holder}: {sign}")]
    Held { ledger: PathBuf, holder: String, sign: String },
    #[error("failed to write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
}

/// What stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// For people: the pod's or machine's name.
    host: String,
    pid: u32,
    /// `run` or `clean`.
    what: String,
    /// Tells one kernel since its start from every other.
    boot: String,
}

impl Holder {
    fn own(what: &str) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
        Self {
            host: read("/proc/sys/kernel/hostname"),
            pid: std::process::id(),
            what: what.to_owned(),
            boot: read("/proc/sys/kernel/random/boot_id"),
        }
    }

    fn describe(&self) -> String {
        format!("a {} on {}, process {}", self.what, self.host, self.pid)
    }
}

/// Holds a ledger until it is dropped.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    file: File,
    text: Vec<u8>,
    silence: Option<Silence>,
}

/// How long whoever had the ledger before was silent when it was taken over, by the clock of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// Since its last line.
    pub written: Duration,
    /// Since its last line or its last beat.
    pub alive: Duration,
}

impl Guard {
    /// Takes the ledger for `what` (`run`, `clean`), unless somebody else has it.
    pub fn hold(ledger: &Path, what: &str) -> Result<Self, GuardError> {
        Self::hold_as(ledger, Holder::own(what))
    }

    fn hold_as(ledger: &Path, own: Holder) -> Result<Self, GuardError> {
        let path = ledger.with_extension("lock");
        let fail = |source| GuardError::Write { path: path.clone(), source };
        let (mut file, lock) = loop {
            let file =
                OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(fail)?;
            let lock = file.try_lock();
            // A holder takes its file away as it ends: who opened it before that has locked nothing.
            if lock.is_err() || is_at(&file, &path) {
                break (file, lock);
            }
        };
        let locked = match lock {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => {
                let holder = read(&mut file).map_or_else(|| "another process".to_owned(), |h| h.describe());
                let sign = "it holds the lock".to_owned();
                return Err(GuardError::Held { ledger: ledger.to_owned(), holder, sign });
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => false,
        };
        let written = silent_since(ledger, &path);
        let beaten = file.metadata().ok().filter(|m| m.len() > 0).and_then(|_| age(&file, &path));
        let silence = written.map(|written| Silence { written, alive: beaten.unwrap_or(written).min(written) });
        if let Some(holder) = read(&mut file) {
            let here = locked && holder.boot == own.boot;
            if let Some(age) = age(&file, &path).filter(|age| !here && *age < STALE) {
                let sign = format!(
                    "its last sign of life is {} s old; if it is dead, try again in {} s",
                    age.as_secs(),
                    (STALE - age).as_secs() + 1
                );
                return Err(GuardError::Held { ledger: ledger.to_owned(), holder: holder.describe(), sign });
            }
        }
        let text = serde_json::to_vec(&own).map_err(|e| fail(e.into()))?;
        file.set_len(0).map_err(fail)?;
        let guard = Self { path: path.clone(), file, text, silence };
        guard.write().map_err(fail)?;
        Ok(guard)
    }

    /// The silence before; `None` where there was no ledger.
    pub fn silence(&self) -> Option<Silence> {
        self.silence
    }

    /// Shows that the holder lives. A beat that can't be written is missed, no more.
    pub fn beat(&self) {
        if let Err(error) = self.write() {
            tracing::warn!(path = %self.path.display(), %error, "no heartbeat");
        }
    }

    /// Written again rather than touched: the time then is the file server's own.
    fn write(&self) -> std::io::Result<()> {
        self.file.write_all_at(&self.text, 0)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut text = vec![0; self.text.len()];
        // Taken over by another machine after a long silence: the file is that one's.
        let own = self.file.read_exact_at(&mut text, 0).is_ok() && text == self.text;
        if own && is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Who works with a ledger, as whoever else looks at its directory sees it; `None`: nobody does. Takes nothing away:
/// works where the directory can only be read.
pub fn holder(ledger: &Path) -> Option<String> {
    let path = ledger.with_extension("lock");
    let mut file = File::open(&path).ok()?;
    let Some(holder) = read(&mut file) else {
        // Being written right now, or by nobody any more.
        return age(&file, &path).is_some_and(|age| age < STALE).then(|| "another process".to_owned());
    };
    let alive = match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => true,
        // Let go again with the file.
        Ok(()) if holder.boot == Holder::own("").boot => false,
        Ok(()) | Err(TryLockError::Error(_)) => age(&file, &path).is_some_and(|age| age < STALE),
    };
    alive.then(|| holder.describe())
}

/// Whether the open file is the one that has this name now.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (open, named) = (file.metadata(), std::fs::metadata(path));
    open.is_ok_and(|open| named.is_ok_and(|named| (open.dev(), open.ino()) == (named.dev(), named.ino())))
}

/// `None`: nobody has written yet.
fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// How long ago the ledger was written; `None`: there is none.
fn silent_since(ledger: &Path, lock: &Path) -> Option<Duration> {
    age(&File::open(ledger).ok()?, lock)
}

/// How long ago the file was written, by the clock of whoever keeps it: this machine's may be wrong.
fn age(file: &File, path: &Path) -> Option<Duration> {
    let written = file.metadata().and_then(|m| m.modified()).ok()?;
    let probe = path.with_extension(format!("probe-{}", std::process::id()));
    let there = std::fs::write(&probe, b"?").and_then(|()| std::fs::metadata(&probe)).and_then(|m| m.modified());
    let _ = std::fs::remove_file(&probe);
    let now = there.unwrap_or_else(|_| clock::now().into());
    Some(now.duration_since(written).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        (dir, path)
    }

    #[test]
    fn who_holds_a_ledger_keeps_others_out_until_it_ends_and_leaves_no_file() {
        let (dir, ledger) = ledger();
        let guard = Guard::hold(&ledger, "run").unwrap();
        guard.beat();
        let refused = Guard::hold(&ledger, "clean").unwrap_err().to_string();
        assert!(refused.contains("in use by a run on ") && refused.contains("it holds the lock"), "{refused}");
        drop(guard);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        Guard::hold(&ledger, "clean").unwrap();
    }

    #[test]
    fn of_many_who_want_a_ledger_at_once_one_has_it_at_a_time() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let (_dir, ledger) = ledger();
        let (holders, held) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(guard) = Guard::hold(&ledger, "clean") else { continue };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        held.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    }
                });
            }
        });
        assert!(held.into_inner() > 0);
    }

    /// What a killed process leaves: the file, and no lock.
    fn left_behind(ledger: &Path, boot: &str, old: Duration) {
        let holder = Holder { host: "pod-1".into(), pid: 1, what: "run".into(), boot: boot.into() };
        let path = ledger.with_extension("lock");
        std::fs::write(&path, serde_json::to_vec(&holder).unwrap()).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now() - old).unwrap();
    }

    #[test]
    fn who_takes_a_ledger_over_knows_how_long_nobody_was_heard() {
        let (_dir, ledger) = ledger();
        assert_eq!(Guard::hold(&ledger, "run").unwrap().silence(), None);
        std::fs::write(&ledger, "{}\n").unwrap();
        let hour = Duration::from_secs(3600);
        let file = File::options().write(true).open(&ledger).unwrap();
        file.set_modified(std::time::SystemTime::now() - hour).unwrap();
        left_behind(&ledger, &Holder::own("run").boot, Duration::from_secs(60));
        let silence = Guard::hold(&ledger, "clean").unwrap().silence().unwrap();
        let near = |time: Duration, seconds: u64| (seconds - 5..seconds + 60).contains(&time.as_secs());
        assert!(near(silence.written, 3600) && near(silence.alive, 60), "{silence:?}");
    }

    #[test]
    fn an_onlooker_sees_who_lives_and_who_is_dead_and_keeps_nobody_out() {
        let (dir, ledger) = ledger();
        assert_eq!(holder(&ledger), None);
        let guard = Guard::hold(&ledger, "run").unwrap();
        assert!(holder(&ledger).unwrap().starts_with("a run on "));
        drop(guard);
        left_behind(&ledger, &Holder::own("run").boot, Duration::ZERO);
        assert_eq!(holder(&ledger), None, "killed on this machine");
        left_behind(&ledger, "another kernel", Duration::from_secs(30));
        assert!(holder(&ledger).unwrap().contains("pod-1"));
        left_behind(&ledger, "another kernel", STALE + Duration::from_secs(1));
        assert_eq!(holder(&ledger), None);
        Guard::hold(&ledger, "clean").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_killed_holder_of_this_machine_is_known_to_be_dead_at_once() {
        let (_dir, ledger) = ledger();
        left_behind(&ledger, &Holder::own("run").boot, Duration::ZERO);
        Guard::hold(&ledger, "clean").unwrap();
    }

    #[test]
    fn a_holder_on_another_machine_lives_while_its_heart_beats() {
        let (_dir, ledger) = ledger();
        left_behind(&ledger, "another kernel", Duration::from_secs(30));
        let refused = Guard::hold(&ledger, "clean").unwrap_err().to_string();
        assert!(refused.contains("pod-1") && refused.contains("try again in 1"), "{refused}");
        left_behind(&ledger, "another kernel", STALE + Duration::from_secs(1));
        Guard::hold(&ledger, "clean").unwrap();
    }
}
