//! Who a migration that failed speaks against: MTV, or what it ran on. Evidence, not opinion: an object that the Plan
//! names and that is gone, a right or a quota that the API server refused, a volume without room although its claim is
//! as large as the disk that goes there.
//!
//! Best effort: what can't be read is no evidence, and the failure stays MTV's.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::references;
use super::status::failure_lines;
use crate::api::forklift::{PlanSpec, VmStatus};
use crate::api::quantity;
use crate::api::vm::SourceVm;
use crate::cluster::Cluster;

/// The migration that failed.
pub struct Failed<'a> {
    /// Where MTV and its objects are.
    pub cluster: &'a Cluster,
    pub plan: &'a PlanSpec,
    pub vms: &'a [VmStatus],
    /// Where the disks go, with the namespace.
    pub target: (&'a Cluster, &'a str),
    /// The source VMs as they were.
    pub sources: &'a [SourceVm],
}

/// What a platform or a file system says when there is no room (`ENOSPC`, `EDQUOT`).
const NO_ROOM: [&str; 2] = ["no space left on device", "disk quota exceeded"];

/// One line for each thing that speaks for the environment's fault; none: it is MTV's.
pub async fn environment(failed: &Failed<'_>) -> Vec<String> {
    let mut evidence = references::missing(failed.cluster, failed.plan).await;
    let lines: Vec<String> = failed.vms.iter().flat_map(failure_lines).collect();
    evidence.extend(lines.iter().filter_map(|line| refused(line)).map(str::to_owned));
    let full = |line: &String| {
        let line = line.to_lowercase();
        NO_ROOM.iter().any(|words| line.contains(words))
    };
    if lines.iter().any(full) && claims_are_large_enough(failed).await {
        evidence.push("a volume is full, although each claim is as large as its source disk".to_owned());
    }
    evidence
}

/// What the API server refused MTV, by its own words (`apimachinery/pkg/api/errors`, the quota admission plugin).
fn refused(line: &str) -> Option<&'static str> {
    if line.contains("exceeded quota") {
        Some("a quota of the cluster is used up")
    } else if line.contains("is forbidden: User ") {
        Some("the API server refused MTV a right")
    } else {
        None
    }
}

/// A claim that is smaller than its source disk is MTV's doing, and so is that it does not hold it. Of claims that can't
/// be read nothing is known.
async fn claims_are_large_enough(failed: &Failed<'_>) -> bool {
    let (cluster, namespace) = failed.target;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client(), namespace);
    let of = |claim: &PersistentVolumeClaim, vm: &SourceVm| claim.labels().get("vmID").is_some_and(|id| *id == vm.id);
    let Ok(list) = claims.list(&ListParams::default().labels("migration")).await else { return false };
    let sizes = |vm: &SourceVm| list.items.iter().filter(|claim| of(claim, vm)).map(size).collect::<Vec<u64>>();
    let all: Vec<(Vec<u64>, Vec<u64>)> = failed
        .sources
        .iter()
        .map(|vm| (sizes(vm), vm.disks.iter().map(|disk| disk.capacity_bytes).collect()))
        .collect();
    all.iter().any(|(claims, _)| !claims.is_empty()) && all.into_iter().all(|(claims, disks)| hold(claims, disks))
}

/// Whether claims hold disks, the largest the largest. Of some disks there may be no claim yet.
fn hold(mut claims: Vec<u64>, mut disks: Vec<u64>) -> bool {
    [&mut claims, &mut disks].into_iter().for_each(|sizes| sizes.sort_unstable_by(|a, b| b.cmp(a)));
    claims.len() <= disks.len() && claims.iter().zip(&disks).all(|(claim, disk)| claim >= disk)
}

fn size(claim: &PersistentVolumeClaim) -> u64 {
    let real = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    let asked = || claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage");
    real.or_else(asked).and_then(|quantity| quantity::bytes(&quantity.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_smaller_than_its_disk_is_no_full_volume() {
        assert!(hold(vec![10, 20], vec![20, 10]) && hold(vec![21], vec![20]) && hold(vec![20], vec![20, 10]));
        assert!(!hold(vec![19, 10], vec![20, 10]) && !hold(vec![20, 10, 1], vec![20, 10]));
    }

    #[test]
    fn what_the_api_server_refused_is_told_from_what_mtv_says_otherwise() {
        let quota = "vm: DiskTransfer: pods \"importer\" is forbidden: exceeded quota: compute, requested: cpu=1";
        let right = "vm: VirtualMachineCreation: secrets is forbidden: User \"system:serviceaccount:openshift-mtv:forklift\" cannot create";
        assert_eq!(refused(quota), Some("a quota of the cluster is used up"));
        assert_eq!(refused(right), Some("the API server refused MTV a right"));
        assert_eq!(refused("vm: ImageConversion: Guest conversion failed"), None);
    }
}
