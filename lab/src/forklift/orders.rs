//! What the lab and the supervisor say to each other: JSON, one a line, over its standard streams.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
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
    /// Directories of the lab that go with it.
    pub dirs: Vec<PathBuf>,
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
    /// Kills it; nobody is told that it died.
    End {
        name: String,
    },
    Restart {
        name: String,
        env: BTreeMap<String, String>,
    },
    /// The ports of pods that answer from now on; all others are refused.
    Pods {
        addresses: BTreeSet<SocketAddr>,
    },
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
    Died(Died),
}

/// A child that ended by itself. Its last words are one line without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Died {
    /// `main`, `inventory` or `api`.
    pub name: String,
    /// Exit code or signal.
    pub how: String,
    pub last: String,
}

impl std::fmt::Display for Died {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} died ({}): {}", self.name, self.how, self.last)
    }
}
