//! Which worker a cell's VMs are to land on.

use super::Cluster;

/// A worker and how it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub node: String,
    /// `Some`: free memory could not be read, and why; the choice is then the first ready worker.
    pub fallback: Option<String>,
}

/// The schedulable worker with most free memory by Prometheus; a visible fallback otherwise.
pub async fn choose_worker(cluster: &Cluster) -> Result<Choice, String> {
    let _ = cluster;
    unimplemented!()
}
