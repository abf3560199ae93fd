//! What the lab and the supervisor say to each other: JSON, one a line, over its standard streams.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The first line that the supervisor reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// Ports of 127.0.0.1 that lead out of the namespace.
    pub ports: BTreeSet<u16>,
    /// Contents of files, by their path below `/var/run/secrets`.
    pub files: BTreeMap<String, String>,
    pub children: Vec<ChildSpec>,
    /// The directory of this Forklift, which goes with the supervisor.
    pub dir: PathBuf,
    /// Where `<child>.log` are written.
    pub logs: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChildSpec {
    pub name: String,
    pub program: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
}

/// A later line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Restart { name: String, env: BTreeMap<String, String> },
}

/// A line that the supervisor writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The namespaces stand and the children are started.
    Ready,
    /// They could not be made: what is missing.
    Missing { what: String },
    /// A child ended that nobody had stopped.
    Died { name: String, how: String, last: String },
}
