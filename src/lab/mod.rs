//! The lab: a simulated OpenShift, MTV, KubeVirt, vSphere and guests, in one process.
//!
//! Floor 1; imports `api` only. The runner talks to it as it would to the real thing: HTTP, SOAP,
//! WebSocket and SSH over loopback. Nothing of the lab is known to the rooms beside it.

use std::path::PathBuf;

pub mod apiserver;
pub mod clock;
pub mod controllers;
pub mod defects;
pub mod guests;
pub mod hooks;
pub mod inventory;
pub mod monitoring;
pub mod pki;
pub mod platforms;
pub mod seed;
pub mod serve;

/// How the lab behaves.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// How many simulated seconds pass in one real second. Default 600.
    pub clock_scale: f64,
    /// `2.9` … `2.12`.
    pub mtv_version: String,
    /// `4.19` …
    pub ocp_version: String,
    /// Names of `defects` to apply.
    pub defects: Vec<String>,
    /// Listen address for all endpoints; port 0 picks free ones.
    pub listen: std::net::IpAddr,
    /// Fixed port of the API server; 0 picks a free one.
    pub port: u16,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            clock_scale: 600.0,
            mtv_version: "2.11".to_owned(),
            ocp_version: "4.20.3".to_owned(),
            defects: Vec::new(),
            listen: std::net::IpAddr::from([127, 0, 0, 1]),
            port: 0,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("failed to start the lab's {part}: {cause}")]
    Start { part: String, cause: String },
    #[error("the lab knows no defect `{name}`; it knows: {known}")]
    UnknownDefect { name: String, known: String },
}

/// A running lab.
pub struct Lab {
    inner: (),
}

impl Lab {
    pub async fn start(options: LabOptions) -> Result<Self, LabError> {
        let _ = options;
        unimplemented!()
    }
    /// API server URL.
    pub fn url(&self) -> &str {
        let _ = self.inner;
        unimplemented!()
    }
    /// PEM of the CA that signed every endpoint of the lab.
    pub fn ca_pem(&self) -> &str {
        unimplemented!()
    }
    /// A cluster-admin token.
    pub fn token(&self) -> &str {
        unimplemented!()
    }
    /// A kubeconfig as YAML.
    pub fn kubeconfig(&self) -> String {
        unimplemented!()
    }
    /// A `providers.json` with the lab's profiles (`vsphere` …).
    pub fn providers_json(&self) -> String {
        unimplemented!()
    }
    /// The storage class that the lab offers first.
    pub fn storage_class(&self) -> &str {
        unimplemented!()
    }
    /// What stands in the lab beyond what it started with: objects in the API server, VMs and
    /// snapshots on the platforms. Empty after a clean run.
    pub async fn leftovers(&self) -> Vec<String> {
        unimplemented!()
    }
    /// Counts since the start, e.g. `api_requests`, `soap_requests`, for benchmarks.
    pub fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        unimplemented!()
    }
    /// Stops every task and waits for them.
    pub async fn stop(self) {}
    /// A directory for files that clients need (kubeconfig, CA), written on demand.
    pub fn write_client_files(&self, dir: &std::path::Path) -> Result<PathBuf, LabError> {
        let _ = dir;
        unimplemented!()
    }
}
