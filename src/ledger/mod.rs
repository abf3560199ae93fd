//! The durable record of everything a run creates or borrows, written before it is created.
//!
//! Floor 1. [`mark`] says what proves a thing to be the run's. Append-only JSON lines on the results volume. *Intent* is written
//! before a create, *done* after it, *gone* after a verified delete; *borrowed* holds the former
//! value of a shared setting and *returned* closes it. Replay gives what is still to be undone, in
//! reverse order of intent. An entry whose intent was written but not its *done* may or may not
//! exist: undo looks for it all the same. So an intent is on the disk before anything is created; every other
//! line is in the file at once, which a killed process leaves whole, and on the disk with the next intent: what
//! the crash of a machine takes of those is looked for once more.

mod entries;
pub mod guard;
pub mod mark;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::api::names::{CellId, RunId};
use crate::clock;
use entries::Entries;
use mark::Marker;

/// Number of an entry in its ledger, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(u64);

/// A thing that a run creates or borrows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "thing", rename_all = "kebab-case")]
pub enum Thing {
    /// A Kubernetes object.
    Object {
        /// `v1`, `forklift.konveyor.io/v1beta1` …
        api_version: String,
        kind: String,
        /// REST name, e.g. `plans`.
        plural: String,
        namespace: Option<String>,
        name: String,
        /// The cluster, by what it is (`kube-system/UID`) or else by its API URL, so that `clean` does not
        /// search the wrong one and finds the right one under another address.
        cluster: String,
    },
    /// A VM cloned on a source platform.
    SourceVm {
        profile: String,
        platform: String,
        /// Exact name of the clone.
        name: String,
        /// The platform's id, known once it exists.
        id: Option<String>,
        /// Which platform that is, by what it says of itself; `None` where it says nothing, and in older
        /// ledgers. The profile's name and URL may be others' by the time of a `clean`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
    },
    /// Anything else on a source platform: a snapshot, an image, a volume, an authorised key.
    SourceItem {
        profile: String,
        platform: String,
        kind: String,
        name: String,
        id: Option<String>,
        /// As of a VM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
    },
    /// A field of a shared object that was changed and must get its former value back.
    Setting {
        api_version: String,
        kind: String,
        plural: String,
        namespace: Option<String>,
        name: String,
        /// JSON pointer of the field.
        pointer: String,
        /// `None` when the field was absent.
        before: Option<serde_json::Value>,
        after: serde_json::Value,
        /// Who holds it: what the annotation on the object is called by. Version 0.1 had none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<String>,
        cluster: String,
    },
}

impl Thing {
    /// `Kind namespace/name`, for messages.
    pub fn describe(&self) -> String {
        let place = |namespace: &Option<String>, name: &str| match namespace {
            Some(ns) => format!("{ns}/{name}"),
            None => name.to_owned(),
        };
        match self {
            Self::Object { kind, namespace, name, .. } => format!("{kind} {}", place(namespace, name)),
            Self::SourceVm { profile, name, .. } => format!("VM {name} on {profile}"),
            Self::SourceItem { profile, kind, name, .. } => format!("{kind} {name} on {profile}"),
            Self::Setting { kind, namespace, name, pointer, .. } => {
                format!("setting {pointer} of {kind} {}", place(namespace, name))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Line {
    /// The first line. `secret`: what the run's marks are made from; version 1 had none.
    Opened {
        version: u32,
        run: RunId,
        at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<String>,
    },
    Intent {
        entry: EntryId,
        at: Timestamp,
        cell: Option<CellId>,
        // Boxed, because it is much larger than every other line.
        #[serde(flatten)]
        thing: Box<Thing>,
    },
    /// `platform_id` is the uid or the source platform's id.
    Done { entry: EntryId, at: Timestamp, platform_id: Option<String> },
    /// Verified: it is not there any more, or the setting has its former value.
    Gone { entry: EntryId, at: Timestamp },
    /// The user asked to keep it (`--keep`); `clean` still removes it.
    Kept { entry: EntryId, at: Timestamp },
}

impl Line {
    fn at(&self) -> Timestamp {
        match self {
            Self::Opened { at, .. }
            | Self::Intent { at, .. }
            | Self::Done { at, .. }
            | Self::Gone { at, .. }
            | Self::Kept { at, .. } => *at,
        }
    }
}

/// What replay knows of one entry that is not gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEntry {
    pub id: EntryId,
    pub cell: Option<CellId>,
    pub thing: Thing,
    /// Whether the create was confirmed.
    pub done: bool,
    pub platform_id: Option<String>,
    pub kept: bool,
    pub at: Timestamp,
}

impl OpenEntry {
    /// Of a thing that no ledger holds: to look at, not to write down.
    pub fn loose(thing: Thing) -> Self {
        Self { id: EntryId(0), cell: None, thing, done: false, platform_id: None, kept: false, at: clock::now() }
    }
}

/// Why a ledger could not be written or read. A run that can't write its ledger must not create.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("failed to write the ledger {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("failed to read the ledger {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: not a ledger line: {source}")]
    Parse { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{path}: a ledger begins with its run id; this file does not")]
    NoHeader { path: PathBuf },
    #[error("{path} has ledger version {found}; this mtv-matrix reads versions up to {VERSION}")]
    Version { path: PathBuf, found: u32 },
}

/// Version of the on-disk form; older ones are read, too.
pub const VERSION: u32 = 2;

/// The ledger of a run. Shared by all its tasks.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    run: RunId,
    marker: Option<Marker>,
    /// Lines in the middle that could not be read.
    unreadable: Vec<usize>,
    /// When its last line was written by whoever had it before, by that one's clock.
    last_line: Option<Timestamp>,
    state: Mutex<State>,
    synced: Mutex<Synced>,
}

/// What is on the disk for sure. `state` is not locked meanwhile: others write on, and one sync serves all who wait.
#[derive(Debug)]
struct Synced {
    file: File,
    /// Bytes from the beginning.
    bytes: u64,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Bytes of whole lines: what a failed write left behind them is cut off before the next one.
    whole: u64,
    next: u64,
    entries: Entries,
}

impl Ledger {
    /// Begins the ledger of a new run, with a secret of its own for the run's marks.
    pub fn create(path: &Path, run: &RunId) -> Result<Self, LedgerError> {
        Self::create_with(path, run, Some(Marker::random(run)))
    }

    /// Begins a ledger for a run that has ended and whose own ledger is not at hand. `None`: nobody knows
    /// the run's secret any more.
    pub fn create_with(path: &Path, run: &RunId, marker: Option<Marker>) -> Result<Self, LedgerError> {
        let write_error = |source| LedgerError::Write { path: path.to_owned(), source };
        // It appears with its first line: one that is killed here leaves no ledger that nobody can read.
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (file, begun) = tempfile::Builder::new().append(true).tempfile_in(dir).map_err(write_error)?.into_parts();
        private(&file).map_err(write_error)?;
        let secret = marker.as_ref().map(|marker| marker.secret().expose_secret().to_owned());
        let synced = Synced { file: file.try_clone().map_err(write_error)?, bytes: 0 };
        let ledger = Self {
            path: path.to_owned(),
            run: run.clone(),
            marker,
            unreadable: Vec::new(),
            last_line: None,
            state: Mutex::new(State { file, whole: 0, next: 1, entries: Entries::default() }),
            synced: Mutex::new(synced),
        };
        ledger.write(|_| Line::Opened { version: VERSION, run: run.clone(), at: clock::now(), secret }, |_| ())?;
        ledger.sync()?;
        begun.persist_noclobber(path).map_err(|refused| write_error(refused.error))?;
        // Its name is to outlive a crash, too. Some file systems can't sync a directory.
        let _ = File::open(dir).and_then(|dir| dir.sync_all());
        Ok(ledger)
    }

    /// Opens the ledger of an earlier run to finish it: what it left open is [`Ledger::open_entries`].
    pub fn reopen(path: &Path) -> Result<Self, LedgerError> {
        let write_error = |source| LedgerError::Write { path: path.to_owned(), source };
        let Replayed { run, marker, next, entries, whole, unreadable, last_line } = replay(path)?;
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(write_error)?;
        // A torn last line must not become the beginning of the next one. What is whole is left as old as it is.
        if file.metadata().map_err(write_error)?.len() != whole {
            file.set_len(whole).map_err(write_error)?;
        }
        let synced = Mutex::new(Synced { file: file.try_clone().map_err(write_error)?, bytes: 0 });
        let state = Mutex::new(State { file, whole, next, entries });
        Ok(Self { path: path.to_owned(), run, marker, unreadable, last_line, state, synced })
    }

    /// Whether everything that a file tells of is gone again, and nothing in it is torn or unreadable: what it does
    /// not tell can't be undone. The file stays as it is.
    pub fn is_finished(path: &Path) -> Result<bool, LedgerError> {
        let Replayed { entries, unreadable, whole, .. } = replay(path)?;
        let length = std::fs::metadata(path).map_err(|source| LedgerError::Read { path: path.to_owned(), source })?;
        Ok(entries.is_empty() && unreadable.is_empty() && whole == length.len())
    }

    /// What the run's marks are made and known by; `None` for a ledger of version 0.1.
    pub fn marker(&self) -> Option<&Marker> {
        self.marker.as_ref()
    }

    /// Numbers of the lines that were passed over because they can't be read.
    pub fn unreadable(&self) -> &[usize] {
        &self.unreadable
    }

    /// When the last line of a reopened ledger was written, by the clock that wrote the others.
    pub fn last_line(&self) -> Option<Timestamp> {
        self.last_line
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down that `thing` is about to be created. Nothing is created when this fails.
    pub fn intent(&self, cell: Option<&CellId>, thing: Thing) -> Result<EntryId, LedgerError> {
        let at = clock::now();
        let line = |state: &State| Line::Intent {
            entry: EntryId(state.next),
            at,
            cell: cell.cloned(),
            thing: Box::new(thing.clone()),
        };
        let id = self.write(line, |state| {
            let id = EntryId(state.next);
            state.next += 1;
            let (cell, thing) = (cell.cloned(), thing.clone());
            state.entries.insert(OpenEntry { id, cell, thing, done: false, platform_id: None, kept: false, at });
            id
        })?;
        self.sync()?;
        Ok(id)
    }

    /// Writes down that it exists now.
    pub fn done(&self, id: EntryId, platform_id: Option<String>) -> Result<(), LedgerError> {
        let line = Line::Done { entry: id, at: clock::now(), platform_id: platform_id.clone() };
        self.write(
            |_| line,
            |state| state.entries.change(id, |entry| (entry.done, entry.platform_id) = (true, platform_id)),
        )
    }

    /// Writes down that it was verified to be gone (or, for a setting, given back).
    pub fn gone(&self, id: EntryId) -> Result<(), LedgerError> {
        let line = Line::Gone { entry: id, at: clock::now() };
        self.write(|_| line, |state| state.entries.remove(id))
    }

    /// Writes down that it stays because the user asked for it.
    pub fn kept(&self, id: EntryId) -> Result<(), LedgerError> {
        let line = Line::Kept { entry: id, at: clock::now() };
        self.write(|_| line, |state| state.entries.change(id, |entry| entry.kept = true))
    }

    /// Everything not gone, newest intent first: the order in which to undo.
    pub fn open_entries(&self) -> Vec<OpenEntry> {
        self.state.lock().map(|s| s.entries.all().rev().cloned().collect()).unwrap_or_default()
    }

    /// Likewise, of one cell only (`None`: what belongs to the run itself).
    pub fn open_entries_of(&self, cell: Option<&CellId>) -> Vec<OpenEntry> {
        self.state.lock().map(|s| s.entries.of(cell).rev().cloned().collect()).unwrap_or_default()
    }

    /// Whether anything is open that `is`.
    pub fn holds(&self, is: impl FnMut(&OpenEntry) -> bool) -> bool {
        self.state.lock().is_ok_and(|state| state.entries.all().any(is))
    }

    /// Whether this entry is open.
    pub fn is_open(&self, id: EntryId) -> bool {
        self.state.lock().is_ok_and(|state| state.entries.has(id))
    }

    /// Writes a line; what it says is so once the file says it.
    fn write<T>(
        &self,
        make: impl FnOnce(&State) -> Line,
        apply: impl FnOnce(&mut State) -> T,
    ) -> Result<T, LedgerError> {
        let write_error = |source| LedgerError::Write { path: self.path.clone(), source };
        let mut state = self
            .state
            .lock()
            .map_err(|_| write_error(std::io::Error::other("a task panicked while it wrote the ledger")))?;
        // What a failed write left must not become the beginning of this line.
        if state.file.seek(SeekFrom::End(0)).map_err(write_error)? != state.whole {
            state.file.set_len(state.whole).map_err(write_error)?;
        }
        let line = make(&state);
        let mut bytes = serde_json::to_vec(&line).map_err(|e| write_error(e.into()))?;
        bytes.push(b'\n');
        if let Err(source) = state.file.write_all(&bytes) {
            // Cut back now where that is possible.
            let _ = state.file.set_len(state.whole);
            return Err(write_error(source));
        }
        state.whole += bytes.len() as u64;
        Ok(apply(&mut state))
    }

    /// Returns when all that was written so far is on the disk.
    fn sync(&self) -> Result<(), LedgerError> {
        let write_error = |source| LedgerError::Write { path: self.path.clone(), source };
        let poisoned = || write_error(std::io::Error::other("a task panicked while it wrote the ledger"));
        let written = || self.state.lock().map(|state| state.whole).map_err(|_| poisoned());
        let wanted = written()?;
        let mut synced = self.synced.lock().map_err(|_| poisoned())?;
        // Somebody else's sync may have taken it along.
        if synced.bytes < wanted {
            let whole = written()?;
            synced.file.sync_data().map_err(write_error)?;
            synced.bytes = whole;
        }
        Ok(())
    }
}

/// The run's secret stands in it. The group reads it, because pods of one volume share no more than that.
fn private(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o640))
}

/// What a file says.
struct Replayed {
    run: RunId,
    marker: Option<Marker>,
    /// Number of the next entry.
    next: u64,
    entries: Entries,
    /// Length in bytes up to the end of the last whole line.
    whole: u64,
    unreadable: Vec<usize>,
    last_line: Option<Timestamp>,
}

/// Reads a ledger. Lines in the middle that are none are passed over and told: a full disk and a crash
/// leave such, and every other line still counts. An entry whose *gone* was torn is looked for once more.
fn replay(path: &Path) -> Result<Replayed, LedgerError> {
    let read_error = |source| LedgerError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(read_error)?);
    let mut header: Option<(RunId, Option<Marker>)> = None;
    let mut next = 1;
    let mut entries = Entries::default();
    let mut bytes = Vec::new();
    let mut number = 0;
    let mut whole = 0;
    let mut unreadable = Vec::new();
    let mut last_line = None;
    while reader.read_until(b'\n', &mut bytes).map_err(read_error)? > 0 {
        number += 1;
        let line = match serde_json::from_slice::<Line>(&bytes) {
            Ok(line) if bytes.ends_with(b"\n") => line,
            // What a killed run leaves behind; its create never happened, because the sync did not.
            _ if !bytes.ends_with(b"\n") => break,
            Ok(_) => break,
            Err(source) if header.is_none() => {
                return Err(LedgerError::Parse { path: path.to_owned(), line: number, source });
            }
            Err(_) => {
                unreadable.push(number);
                whole += bytes.len() as u64;
                bytes.clear();
                continue;
            }
        };
        last_line = Some(line.at());
        match line {
            Line::Opened { version, .. } if version > VERSION => {
                return Err(LedgerError::Version { path: path.to_owned(), found: version });
            }
            // Only the first counts: a second would be somebody else's.
            Line::Opened { .. } if header.is_some() => unreadable.push(number),
            Line::Opened { run, secret, .. } => {
                let marker = secret.map(|secret| Marker::new(&run, SecretString::from(secret)));
                header = Some((run, marker));
            }
            Line::Intent { entry: id, at, cell, thing } => {
                next = next.max(id.0 + 1);
                entries.insert(OpenEntry { id, cell, thing: *thing, done: false, platform_id: None, kept: false, at });
            }
            Line::Done { entry: id, platform_id, .. } => {
                entries.change(id, |entry| (entry.done, entry.platform_id) = (true, platform_id));
            }
            Line::Gone { entry: id, .. } => {
                entries.remove(id);
            }
            Line::Kept { entry: id, .. } => {
                entries.change(id, |entry| entry.kept = true);
            }
        }
        whole += bytes.len() as u64;
        bytes.clear();
    }
    let (run, marker) = header.ok_or_else(|| LedgerError::NoHeader { path: path.to_owned() })?;
    Ok(Replayed { run, marker, next, entries, whole, unreadable, last_line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vm(name: &str) -> Thing {
        Thing::SourceVm { profile: "p".into(), platform: "vsphere".into(), name: name.into(), id: None, instance: None }
    }

    #[test]
    fn an_intent_is_on_the_disk_when_it_returns_and_the_other_lines_go_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(&dir.path().join("l"), &RunId::random()).unwrap();
        let waiting = |ledger: &Ledger| ledger.state.lock().unwrap().whole - ledger.synced.lock().unwrap().bytes;
        assert_eq!(waiting(&ledger), 0, "its head");
        let first = ledger.intent(None, vm("a")).unwrap();
        assert_eq!(waiting(&ledger), 0);
        ledger.done(first, None).unwrap();
        ledger.gone(first).unwrap();
        assert!(waiting(&ledger) > 0);
        // A killed process leaves them whole all the same.
        assert!(Ledger::is_finished(ledger.path()).unwrap());
        ledger.intent(None, vm("b")).unwrap();
        assert_eq!(waiting(&ledger), 0);
    }

    #[test]
    fn what_is_open_is_undone_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ledger = Ledger::create(&path, &RunId::random()).unwrap();
        let a = ledger.intent(None, vm("a")).unwrap();
        let b = ledger.intent(None, vm("b")).unwrap();
        ledger.done(a, Some("vm-1".into())).unwrap();
        ledger.intent(None, vm("c")).unwrap();
        ledger.gone(b).unwrap();
        drop(ledger);
        let names: Vec<String> =
            Ledger::reopen(&path).unwrap().open_entries().iter().map(|e| e.thing.describe()).collect();
        assert_eq!(names, ["VM c on p", "VM a on p"]);
    }

    #[test]
    fn a_ledger_appears_with_its_first_line_and_never_in_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let run = RunId::random();
        drop(Ledger::create(&path, &run).unwrap());
        let refused = Ledger::create(&path, &RunId::random()).map(|ledger| ledger.run().clone());
        assert!(matches!(refused, Err(LedgerError::Write { .. })), "{refused:?}");
        assert_eq!(Ledger::reopen(&path).unwrap().run(), &run);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing lies beside it");
    }

    #[test]
    fn a_torn_line_in_the_middle_costs_that_line_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ledger = Ledger::create(&path, &RunId::random()).unwrap();
        ledger.intent(None, vm("a")).unwrap();
        drop(ledger);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"what\":\"inte\xff\xfe\n").unwrap();
        let ledger = Ledger::reopen(&path).unwrap();
        assert_eq!(ledger.unreadable(), [3]);
        ledger.intent(None, vm("b")).unwrap();
        drop(ledger);
        assert_eq!(Ledger::reopen(&path).unwrap().open_entries().len(), 2);
    }

    #[test]
    fn what_a_failed_write_left_is_cut_off_before_the_next_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ledger = Ledger::create(&path, &RunId::random()).unwrap();
        // Half a line, as a full disk leaves it, behind the ledger's back.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"what\":\"go").unwrap();
        ledger.intent(None, vm("a")).unwrap();
        drop(ledger);
        let again = Ledger::reopen(&path).unwrap();
        assert_eq!((again.open_entries().len(), again.unreadable().len()), (1, 0));
    }

    #[test]
    fn marks_made_before_a_crash_are_known_after_it_and_no_secret_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ledger = Ledger::create(&path, &RunId::random()).unwrap();
        let mark = ledger.marker().unwrap().by_id("VM", "vm-1");
        let secret = ledger.marker().unwrap().secret().expose_secret().to_owned();
        assert!(!format!("{ledger:?}").contains(&secret));
        drop(ledger);
        assert_eq!(Ledger::reopen(&path).unwrap().marker().unwrap().by_id("VM", "vm-1"), mark);
    }

    #[test]
    fn a_ledger_of_the_first_version_is_read_and_has_no_marks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let line = r#"{"what":"opened","version":1,"run":"mm-abcdefghij","at":"2026-01-01T00:00:00Z"}"#;
        std::fs::write(&path, format!("{line}\n")).unwrap();
        assert!(Ledger::reopen(&path).unwrap().marker().is_none());
        std::fs::write(&path, format!("{}\n", line.replace("mm-abcdefghij", "mtv"))).unwrap();
        assert!(Ledger::reopen(&path).unwrap_err().to_string().contains("not a run id"));
    }

    proptest! {
        // Every step is synced to disk, so few cases take as long as many elsewhere.
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The oracle is the in-memory state of the ledger that wrote the file.
        #[test]
        fn replaying_the_file_gives_what_the_writer_knew(steps in proptest::collection::vec((0u8..4, 0usize..12), 0..40), torn in any::<bool>()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("ledger.jsonl");
            let ledger = Ledger::create(&path, &RunId::random()).unwrap();
            let mut ids = Vec::new();
            // The fourth is the run itself.
            let cells = ["a", "b", "c"].map(|scenario| CellId::new("vsphere", scenario, None));
            for (what, which) in steps {
                let chosen = ids.get(which).copied();
                match (what, chosen) {
                    (0, _) => {
                        let cell = cells.get(which % 4);
                        ids.push(ledger.intent(cell, vm(&format!("vm{which}"))).unwrap());
                    }
                    (1, Some(id)) => ledger.done(id, Some(which.to_string())).unwrap(),
                    (2, Some(id)) => ledger.gone(id).unwrap(),
                    (3, Some(id)) => ledger.kept(id).unwrap(),
                    _ => {}
                }
            }
            let known = ledger.open_entries();
            drop(ledger);
            if torn {
                OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"what\":\"inte").unwrap();
            }
            let reopened = Ledger::reopen(&path).unwrap();
            prop_assert_eq!(&reopened.open_entries(), &known);
            for cell in cells.iter().map(Some).chain([None]) {
                let own: Vec<OpenEntry> = known.iter().filter(|entry| entry.cell.as_ref() == cell).cloned().collect();
                prop_assert_eq!(&reopened.open_entries_of(cell), &own);
            }
            reopened.intent(None, vm("after the crash")).unwrap();
            drop(reopened);
            prop_assert_eq!(Ledger::reopen(&path).unwrap().open_entries().len(), known.len() + 1);
        }
    }
}
