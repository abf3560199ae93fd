//! Pods as they are remembered after they are gone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A pod that was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenPod {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// As it was seen last.
    pub phase: String,
    /// RFC 3339, by the cluster's clock.
    pub created: Option<String>,
    /// Its beginning and its end among everything that was seen of pods, counted: who was at work while whom.
    pub begun: u64,
    pub ended: Option<u64>,
    pub log: String,
    /// Why its log could not be read, where that was so the last time.
    pub unread: Option<String>,
}
