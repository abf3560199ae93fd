//! Whether the API server answers, and what its clock says. Reads only.

use std::time::Duration;

use super::{Probe, Weight};
use crate::clock;
use crate::cluster::Cluster;
use crate::cluster::connect::server_time;

/// Times that a run compares are to the minute.
const SKEW: Duration = Duration::from_secs(30);

pub(super) async fn probes(cluster: &Cluster) -> Vec<Probe> {
    let version = cluster.client().apiserver_version().await;
    let version = version.map(|info| format!("Kubernetes {} at {}", info.git_version, cluster.url()));
    let version = version.map_err(|error| crate::cluster::retry::short(&error));
    let before = clock::now();
    let said = server_time(cluster).await;
    let skew = said.map(|server| server.duration_since(before).unsigned_abs()).map_err(String::from);
    vec![Probe::new("API server", version).remedy("see docs/connecting.md for the ways to connect"), judge_clock(skew)]
}

fn judge_clock(skew: Result<Duration, String>) -> Probe {
    const NAME: &str = "clock";
    match skew {
        Ok(skew) if skew <= SKEW => Probe::of(NAME, Weight::Fine, "as the API server's"),
        Ok(skew) => Probe::of(NAME, Weight::Doubt, format!("{} s from the API server's", skew.as_secs()))
            .remedy("set this machine's clock (chrony): times in reports and of cutovers are off by as much"),
        Err(why) => Probe::of(NAME, Weight::Doubt, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_a_doubt_that_names_the_difference() {
        let off = judge_clock(Ok(Duration::from_secs(3600)));
        assert_eq!(off.weight, Weight::Doubt);
        assert!(off.line().contains("3600 s") && off.remedy.is_some(), "{off:?}");
        assert_eq!(judge_clock(Ok(Duration::from_secs(1))).weight, Weight::Fine);
    }
}
