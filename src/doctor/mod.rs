//! Preflight: what must be true before a run creates its first object, all findings at once.
//!
//! Floor 3, below the engine, which asks it first. One file a probe. Reads only; knows what MTV and
//! the cluster must have, and nothing of cells.

mod inventory;
mod mtv;
mod storage;
pub mod versions;

pub use storage::default_storage_class;

use crate::cluster::Cluster;
use crate::config::Settings;
use versions::{Versions, read_versions};

/// One finding about the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub name: String,
    pub ok: bool,
    pub message: String,
}

impl Probe {
    fn new(name: impl Into<String>, result: Result<String, String>) -> Self {
        let (ok, message) = match result {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        Self { name: name.into(), ok, message }
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Report {
    pub probes: Vec<Probe>,
    pub versions: Versions,
}

impl Report {
    /// The probes that speak against a run.
    pub fn missing(&self) -> Vec<&Probe> {
        self.probes.iter().filter(|p| !p.ok).collect()
    }
}

/// Asks everything at the same time.
pub async fn examine(cluster: &Cluster, settings: &Settings) -> Report {
    let namespace = settings.mtv_namespace.as_str();
    let (mut probes, inventory, storage, versions) = tokio::join!(
        mtv::probes(cluster, namespace),
        inventory::probe(cluster, namespace),
        storage::probes(cluster, &settings.storage_class),
        read_versions(cluster, namespace)
    );
    probes.push(inventory);
    probes.extend(storage);
    probes.push(versions::probe(versions.mtv.as_deref(), namespace));
    Report { probes, versions }
}
