//! The durable record of everything a run creates or borrows, written before it is created.
//!
//! Floor 1. Append-only JSON lines on the results volume, synced to disk. *Intent* is written
//! before a create, *done* after it, *gone* after a verified delete; *borrowed* holds the former
//! value of a shared setting and *returned* closes it. Replay gives what is still to be undone, in
//! reverse order of intent. An entry whose intent was written but not its *done* may or may not
//! exist: undo looks for it all the same.

pub mod guard;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::names::{CellId, RunId};

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
        /// The cluster's API URL, so that `clean` does not search the wrong one.
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
    },
    /// Anything else on a source platform: a snapshot, an image, a volume, an authorised key.
    SourceItem { profile: String, platform: String, kind: String, name: String, id: Option<String> },
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
    /// The first line.
    Opened { version: u32, run: RunId, at: Timestamp },
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
    #[error("{path} has ledger version {found}; this mtv-matrix reads version {VERSION}")]
    Version { path: PathBuf, found: u32 },
}

/// Version of the on-disk form.
pub const VERSION: u32 = 1;

/// The ledger of a run. Shared by all its tasks; every write is synced before it returns.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    run: RunId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    next: u64,
    entries: BTreeMap<EntryId, OpenEntry>,
}

impl Ledger {
    /// Begins the ledger of a new run.
    pub fn create(path: &Path, run: &RunId) -> Result<Self, LedgerError> {
        let write_error = |source| LedgerError::Write { path: path.to_owned(), source };
        let file = OpenOptions::new().create_new(true).append(true).open(path).map_err(write_error)?;
        let ledger = Self {
            path: path.to_owned(),
            run: run.clone(),
            state: Mutex::new(State { file, next: 1, entries: BTreeMap::new() }),
        };
        ledger.write(|_| Line::Opened { version: VERSION, run: run.clone(), at: Timestamp::now() })?;
        Ok(ledger)
    }

    /// Opens the ledger of an earlier run to finish it: what it left open is [`Ledger::open_entries`].
    pub fn reopen(path: &Path) -> Result<Self, LedgerError> {
        let write_error = |source| LedgerError::Write { path: path.to_owned(), source };
        let (run, next, entries, whole) = replay(path)?;
        let file = OpenOptions::new().append(true).open(path).map_err(write_error)?;
        // A torn last line must not become the beginning of the next one.
        file.set_len(whole).map_err(write_error)?;
        Ok(Self { path: path.to_owned(), run, state: Mutex::new(State { file, next, entries }) })
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down that `thing` is about to be created. Nothing is created when this fails.
    pub fn intent(&self, cell: Option<&CellId>, thing: Thing) -> Result<EntryId, LedgerError> {
        let mut given = EntryId(0);
        self.write(|state| {
            given = EntryId(state.next);
            state.next += 1;
            let at = Timestamp::now();
            let entry = OpenEntry {
                id: given,
                cell: cell.cloned(),
                thing: thing.clone(),
                done: false,
                platform_id: None,
                kept: false,
                at,
            };
            state.entries.insert(given, entry);
            Line::Intent { entry: given, at, cell: cell.cloned(), thing: Box::new(thing.clone()) }
        })?;
        Ok(given)
    }

    /// Writes down that it exists now.
    pub fn done(&self, id: EntryId, platform_id: Option<String>) -> Result<(), LedgerError> {
        self.write(|state| {
            if let Some(entry) = state.entries.get_mut(&id) {
                entry.done = true;
                entry.platform_id.clone_from(&platform_id);
            }
            Line::Done { entry: id, at: Timestamp::now(), platform_id }
        })
    }

    /// Writes down that it was verified to be gone (or, for a setting, given back).
    pub fn gone(&self, id: EntryId) -> Result<(), LedgerError> {
        self.write(|state| {
            state.entries.remove(&id);
            Line::Gone { entry: id, at: Timestamp::now() }
        })
    }

    /// Writes down that it stays because the user asked for it.
    pub fn kept(&self, id: EntryId) -> Result<(), LedgerError> {
        self.write(|state| {
            if let Some(entry) = state.entries.get_mut(&id) {
                entry.kept = true;
            }
            Line::Kept { entry: id, at: Timestamp::now() }
        })
    }

    /// Everything not gone, newest intent first: the order in which to undo.
    pub fn open_entries(&self) -> Vec<OpenEntry> {
        self.state.lock().map(|s| s.entries.values().rev().cloned().collect()).unwrap_or_default()
    }

    /// Likewise, of one cell only (`None`: what belongs to the run itself).
    pub fn open_entries_of(&self, cell: Option<&CellId>) -> Vec<OpenEntry> {
        self.open_entries().into_iter().filter(|e| e.cell.as_ref() == cell).collect()
    }

    fn write(&self, make: impl FnOnce(&mut State) -> Line) -> Result<(), LedgerError> {
        let write_error = |source| LedgerError::Write { path: self.path.clone(), source };
        let mut state = self
            .state
            .lock()
            .map_err(|_| write_error(std::io::Error::other("a task panicked while it wrote the ledger")))?;
        let line = make(&mut state);
        let mut bytes = serde_json::to_vec(&line).map_err(|e| write_error(e.into()))?;
        bytes.push(b'\n');
        state.file.write_all(&bytes).map_err(write_error)?;
        state.file.sync_data().map_err(write_error)
    }
}

/// Run, next entry number, open entries, and the length in bytes of the whole lines.
type Replayed = (RunId, u64, BTreeMap<EntryId, OpenEntry>, u64);

fn replay(path: &Path) -> Result<Replayed, LedgerError> {
    let read_error = |source| LedgerError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(read_error)?);
    let mut run = None;
    let mut next = 1;
    let mut entries: BTreeMap<EntryId, OpenEntry> = BTreeMap::new();
    let mut text = String::new();
    let mut number = 0;
    let mut whole = 0;
    while reader.read_line(&mut text).map_err(read_error)? > 0 {
        number += 1;
        let line = match serde_json::from_str::<Line>(&text) {
            Ok(line) => line,
            // What a killed run leaves behind; its create never happened, because the sync did not.
            Err(_) if !text.ends_with('\n') => break,
            Err(source) => return Err(LedgerError::Parse { path: path.to_owned(), line: number, source }),
        };
        match line {
            Line::Opened { version, .. } if version > VERSION => {
                return Err(LedgerError::Version { path: path.to_owned(), found: version });
            }
            Line::Opened { run: id, .. } => run = Some(id),
            Line::Intent { entry: id, at, cell, thing } => {
                next = next.max(id.0 + 1);
                entries
                    .insert(id, OpenEntry { id, cell, thing: *thing, done: false, platform_id: None, kept: false, at });
            }
            Line::Done { entry: id, platform_id, .. } => {
                if let Some(entry) = entries.get_mut(&id) {
                    entry.done = true;
                    entry.platform_id = platform_id;
                }
            }
            Line::Gone { entry: id, .. } => {
                entries.remove(&id);
            }
            Line::Kept { entry: id, .. } => {
                if let Some(entry) = entries.get_mut(&id) {
                    entry.kept = true;
                }
            }
        }
        whole += text.len() as u64;
        text.clear();
    }
    let run = run.ok_or_else(|| LedgerError::NoHeader { path: path.to_owned() })?;
    Ok((run, next, entries, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vm(name: &str) -> Thing {
        Thing::SourceVm { profile: "p".into(), platform: "vsphere".into(), name: name.into(), id: None }
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
            for (what, which) in steps {
                let chosen = ids.get(which).copied();
                match (what, chosen) {
                    (0, _) => ids.push(ledger.intent(None, vm(&format!("vm{which}"))).unwrap()),
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
            reopened.intent(None, vm("after the crash")).unwrap();
            drop(reopened);
            prop_assert_eq!(Ledger::reopen(&path).unwrap().open_entries().len(), known.len() + 1);
        }
    }
}
