//! What is open in a ledger, by number and by cell: a cell is asked for its own many times, and a thousand cells at once
//! would otherwise each look through what all have. Knows nothing of files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{EntryId, OpenEntry};
use crate::api::names::CellId;

#[derive(Debug, Default)]
pub(super) struct Entries {
    all: BTreeMap<EntryId, OpenEntry>,
    /// `None`: the run itself.
    of: HashMap<Option<CellId>, BTreeSet<EntryId>>,
}

impl Entries {
    pub fn insert(&mut self, entry: OpenEntry) {
        // A file may have a number twice; the later line counts.
        self.remove(entry.id);
        self.of.entry(entry.cell.clone()).or_default().insert(entry.id);
        self.all.insert(entry.id, entry);
    }

    pub fn remove(&mut self, id: EntryId) {
        let Some(entry) = self.all.remove(&id) else { return };
        if let Some(own) = self.of.get_mut(&entry.cell) {
            own.remove(&id);
            if own.is_empty() {
                self.of.remove(&entry.cell);
            }
        }
    }

    /// What is known of an entry may change, but not whose it is.
    pub fn change(&mut self, id: EntryId, change: impl FnOnce(&mut OpenEntry)) {
        if let Some(entry) = self.all.get_mut(&id) {
            change(entry);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn has(&self, id: EntryId) -> bool {
        self.all.contains_key(&id)
    }

    /// The oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &OpenEntry> {
        self.all.values()
    }

    /// Likewise, of one cell.
    pub fn of(&self, cell: Option<&CellId>) -> impl DoubleEndedIterator<Item = &OpenEntry> {
        self.of.get(&cell.cloned()).into_iter().flatten().filter_map(|id| self.all.get(id))
    }
}
