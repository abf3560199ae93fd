//! Preflight: what must be true before a run creates its first object, all findings at once.
//!
//! Floor 3. Reads only.

use crate::cluster::Cluster;
use crate::cluster::health::{self, Probe};
use crate::cluster::versions::{Versions, read_versions};
use crate::config::Settings;

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
    let (probes, versions) =
        tokio::join!(health::probe_mtv(cluster, settings), read_versions(cluster, &settings.mtv_namespace));
    let mut report = Report { probes, versions };
    let mtv = match &report.versions.mtv {
        Some(version) => Probe { name: "MTV version".to_owned(), ok: true, message: version.clone() },
        None => Probe {
            name: "MTV version".to_owned(),
            ok: false,
            message: format!(
                "no Subscription, CSV or Plan CRD tells which MTV is installed in {}: is `mtv_namespace` right?",
                settings.mtv_namespace
            ),
        },
    };
    report.probes.push(mtv);
    report
}
