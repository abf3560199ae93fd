//! What must be true before a run creates its first object, and what may become a trouble: all findings at once.
//!
//! Floor 3, below the engine, which asks first what every run needs ([`examine`]); `mtv-matrix doctor` asks
//! everything ([`examine_all`]). One file a probe. Reads only; knows what MTV and the cluster must have, and
//! nothing of cells. A finding says what is wrong and what to do.

mod cluster;
mod inventory;
pub mod issues;
mod mtv;
mod results;
mod rights;
mod sources;
mod stale;
mod storage;
pub mod versions;
mod virtualization;

pub use storage::default_storage_class;

use crate::cluster::Cluster;
use crate::config::{Loaded, Settings};
use versions::{Versions, read_versions};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It is as it must be.
    Fine,
    /// A run may go on, and something of it will not.
    Doubt,
    /// No run can be.
    Missing,
}

/// One finding about the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub name: String,
    pub weight: Weight,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Probe {
    fn new(name: impl Into<String>, result: Result<String, String>) -> Self {
        match result {
            Ok(message) => Self::of(name, Weight::Fine, message),
            Err(message) => Self::of(name, Weight::Missing, message),
        }
    }

    fn of(name: impl Into<String>, weight: Weight, message: impl Into<String>) -> Self {
        Self { name: name.into(), weight, message: message.into(), remedy: None }
    }

    /// With what to do where it is not fine.
    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        if self.weight != Weight::Fine {
            self.remedy = Some(remedy.into());
        }
        self
    }

    /// At most a doubt: others can do without.
    fn doubted(mut self) -> Self {
        if self.weight == Weight::Missing {
            self.weight = Weight::Doubt;
        }
        self
    }

    pub fn is_missing(&self) -> bool {
        self.weight == Weight::Missing
    }

    /// What was found and what to do, in one line.
    pub fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.message),
            None => self.message.clone(),
        }
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
        self.probes.iter().filter(|p| p.is_missing()).collect()
    }
}

/// What every run needs, all asked at the same time.
pub async fn examine(cluster: &Cluster, settings: &Settings) -> Report {
    let namespace = settings.mtv_namespace.as_str();
    let (mut probes, inventory, virtualization, storage, versions) = tokio::join!(
        mtv::probes(cluster, namespace),
        inventory::probe(cluster, namespace),
        virtualization::probes(cluster),
        storage::probes(cluster, &settings.storage_class),
        read_versions(cluster, namespace)
    );
    probes.push(inventory);
    probes.extend(virtualization);
    probes.extend(storage);
    probes.push(versions::probe(versions.mtv.as_deref(), namespace));
    Report { probes, versions }
}

/// Everything that can be asked beforehand: what every run needs, rights, clock, source platforms, the results
/// volume, what earlier runs left.
pub async fn examine_all(cluster: &Cluster, loaded: &Loaded) -> Report {
    let settings = &loaded.settings;
    let (mut report, cluster_probes, rights, profiles, sources, stale) = tokio::join!(
        examine(cluster, settings),
        cluster::probes(cluster),
        rights::probes(cluster, &settings.mtv_namespace),
        storage::profiles(cluster, &settings.storage_class),
        sources::probes(cluster, loaded),
        stale::probe(cluster)
    );
    report.probes.splice(0..0, cluster_probes);
    report.probes.extend(rights);
    report.probes.extend(profiles);
    report.probes.extend(sources);
    report.probes.extend(issues::look(loaded).await.map(issues::Told::probe));
    report.probes.push(results::probe(&settings.results));
    report.probes.push(stale);
    report
}
