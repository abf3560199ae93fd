//! Shards: the same split on every machine, balanced by expected duration.

use std::cmp::Reverse;
use std::str::FromStr;
use std::time::Duration;

use super::{Cell, Decision};

/// Part `index` (from 1) of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    pub index: usize,
    pub of: usize,
}

impl FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(k, n)| Some((k.trim().parse().ok()?, n.trim().parse().ok()?)));
        match parsed {
            Some((index, of)) if index >= 1 && index <= of => Ok(Self { index, of }),
            _ => Err(format!("`{text}` is not a shard: write K/N with 1 <= K <= N, e.g. 2/5")),
        }
    }
}

impl Shard {
    /// Skips what another shard runs: the longest cell first, each to the shard with least to do.
    pub fn apply(self, cells: &mut [Cell]) {
        let mut order: Vec<usize> =
            cells.iter().enumerate().filter(|(_, c)| c.decision == Decision::Run).map(|(n, _)| n).collect();
        order.sort_by_key(|n| cells.get(*n).map(|c| (Reverse(c.expected), c.id.clone())));
        let mut loads = vec![Duration::ZERO; self.of.max(1)];
        for n in order {
            let Some(cell) = cells.get_mut(n) else { continue };
            let Some((shard, load)) = loads.iter_mut().enumerate().min_by_key(|(k, load)| (**load, *k)) else { return };
            *load += cell.expected;
            if shard + 1 != self.index {
                cell.decision = Decision::Skip(format!("in another shard ({}/{})", shard + 1, self.of));
            }
        }
    }
}
