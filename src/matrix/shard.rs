//! Shards: the same split on every machine, balanced by expected duration.
//!
//! Every shard expands the whole matrix and keeps its own part; the rest is skipped for that reason. The
//! split depends on configuration and flags alone, so processes that never meet agree on it, and on the
//! id of the set ([`Shard::set`]).

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Cell, Decision};
use crate::api::names::hash_chars;
use crate::event::ShardSet;

/// More shards than this is a typing error.
const MOST: usize = 10_000;
/// Counts up when the same cells are split in another way.
const SPLIT: u32 = 1;
const ID_CHARS: usize = 16;

/// The part of a matrix that one process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shard {
    /// Part `index` (from 0) of `of`, by expected duration.
    Index { index: usize, of: usize },
    /// The cells of the profile `own`, of the profiles `all`.
    Profile { own: String, all: Vec<String> },
}

impl FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(k, n)| Some((k.trim().parse().ok()?, n.trim().parse().ok()?)));
        match parsed {
            Some((index, of)) if index < of && of <= MOST => Ok(Self::Index { index, of }),
            _ => Err(format!("`{text}` is not a shard: write K/N with 0 <= K < N <= {MOST}, e.g. 0/4")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { index, of } => write!(f, "{index}/{of}"),
            Self::Profile { own, .. } => f.write_str(own),
        }
    }
}

impl Shard {
    /// One profile as a part of many.
    pub fn profile(own: &str, all: &[String]) -> Result<Self, String> {
        let mut all = all.to_vec();
        all.sort();
        all.dedup();
        if all.iter().any(|name| name == own) {
            Ok(Self::Profile { own: own.to_owned(), all })
        } else {
            Err(format!("`{own}` is not one of the parts {}", all.join(", ")))
        }
    }

    /// All shards of the set, in order.
    fn names(&self) -> Vec<String> {
        match self {
            Self::Index { of, .. } => (0..*of).map(|index| Self::Index { index, of: *of }.to_string()).collect(),
            Self::Profile { all, .. } => all.clone(),
        }
    }

    /// Skips what another shard runs.
    pub fn apply(&self, cells: &mut [Cell]) {
        let owners = match self {
            Self::Index { of, .. } => owners(cells, *of),
            Self::Profile { .. } => cells.iter().map(|cell| Some(cell.profile.name.clone())).collect(),
        };
        let own = self.to_string();
        for (cell, owner) in cells.iter_mut().zip(owners) {
            if let Some(owner) = owner.filter(|owner| *owner != own && cell.decision == Decision::Run) {
                cell.decision = Decision::Skip(format!("in another shard ({owner})"));
                cell.shard = Some(owner);
            }
        }
    }

    /// The set that this shard is one of. To be called with the cells as they were expanded: what the
    /// cluster says later (its MTV is too old, its default storage class) does not change the set.
    pub fn set(&self, cells: &[Cell], name: Option<&str>) -> ShardSet {
        let shards = self.names();
        let mut lines: Vec<String> = cells
            .iter()
            .map(|cell| {
                let (id, class, runs) = (&cell.id, &cell.storage_class, cell.decision == Decision::Run);
                format!("{id} {class} {runs} {}", cell.expected.as_secs())
            })
            .collect();
        lines.sort();
        let text = format!("{SPLIT}\n{}\n{}\n{}", name.unwrap_or_default(), shards.join("\n"), lines.join("\n"));
        let own = self.to_string();
        ShardSet {
            id: hash_chars(&text, ID_CHARS),
            name: name.map(str::to_owned),
            index: shards.iter().position(|shard| *shard == own).unwrap_or_default(),
            shards,
        }
    }
}

/// The shard of each cell that runs: the longest first, each to the shard with least to do.
fn owners(cells: &[Cell], of: usize) -> Vec<Option<String>> {
    let mut order: Vec<(usize, &Cell)> =
        cells.iter().enumerate().filter(|(_, cell)| cell.decision == Decision::Run).collect();
    order.sort_by_key(|(_, cell)| (Reverse(cell.expected), cell.id.clone()));
    let mut loads = vec![Duration::ZERO; of.max(1)];
    let mut owners = vec![None; cells.len()];
    for (n, cell) in order {
        let Some((index, load)) = loads.iter_mut().enumerate().min_by_key(|(k, load)| (**load, *k)) else { break };
        *load += cell.expected;
        if let Some(owner) = owners.get_mut(n) {
            *owner = Some(Shard::Index { index, of }.to_string());
        }
    }
    owners
}
