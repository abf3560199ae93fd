//! Cells: provider profile × scenario (× storage class), each *run* or *skip with a reason*.
//!
//! Floor 1: reads `config`'s types, touches nothing. Everything here is decided before a run
//! creates its first object.

mod expand;
mod expected;
pub mod filter;
pub mod forecast;
pub mod glob;
pub mod shard;
pub mod support;
#[cfg(test)]
mod tests;
mod version;

pub use expand::{MatrixError, Selection, expand};
pub use expected::expected;
pub use filter::Filter;
pub use shard::Shard;
pub use support::decide_gates;
pub use version::decide_version;

use std::sync::Arc;
use std::time::Duration;

use crate::api::names::CellId;
use crate::config::{ProviderProfile, Scenario};
use crate::event::CellInfo;

/// What is to become of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Run,
    Skip(String),
}

/// The unit that is scheduled, reported, retried and sharded.
#[derive(Debug, Clone)]
pub struct Cell {
    pub id: CellId,
    pub profile: Arc<ProviderProfile>,
    pub scenario: Arc<Scenario>,
    pub storage_class: String,
    pub decision: Decision,
    /// For the order of work and balanced shards.
    pub expected: Duration,
    /// The shard that runs it, where that is another than ours; the decision then is to skip.
    pub shard: Option<String>,
}

impl Cell {
    /// What reports need to know of it.
    pub fn info(&self) -> CellInfo {
        CellInfo {
            id: self.id.clone(),
            profile: self.profile.name.clone(),
            platform: self.profile.platform.name().to_owned(),
            scenario: self.scenario.name.clone(),
            storage_class: self.storage_class.clone(),
            tags: self.scenario.tags.clone(),
            expected_ms: u64::try_from(self.expected.as_millis()).ok(),
        }
    }
}
