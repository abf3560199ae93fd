//! What a cluster decides about cells before anything runs: MTV's version and switches, and the class that VMs get.
//!
//! Asks, and changes nothing. `run` and `list` ask the same, so that they say the same.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, ReadError};
use crate::config::Settings;
use crate::doctor::{self, versions};
use crate::matrix::{self, Cell};

/// Skips what this MTV can't do, and names the class that VMs get. Returns MTV's switches, or why they
/// are unknown. `mtv`: its version, where it is known; without it nothing is skipped.
pub async fn decide(
    cluster: &Cluster,
    settings: &Settings,
    mtv: Option<&str>,
    cells: &mut [Cell],
) -> Result<BTreeMap<String, bool>, ReadError> {
    let mut switches = Ok(BTreeMap::new());
    if let Some(mtv) = mtv {
        matrix::decide_version(cells, mtv);
        switches = versions::controller_flags(cluster, &settings.mtv_namespace).await;
        if let Ok(flags) = &switches {
            matrix::decide_gates(cells, mtv, flags);
        }
    }
    // Where the cluster has no default, the preflight says so.
    if settings.storage_class.is_empty()
        && let Ok(class) = doctor::default_storage_class(cluster).await
    {
        cells.iter_mut().for_each(|cell| cell.storage_class.clone_from(&class));
    }
    switches
}
