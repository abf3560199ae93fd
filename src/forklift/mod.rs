//! MTV as operations: providers, maps, plan, migration, and its inventory.
//!
//! Floor 2; speaks through `cluster`. Knows MTV's resources and what their conditions mean. What
//! differs between platforms sits in an adapter ([`adapter()`]), one file a platform.

pub mod adapter;
pub mod address;
pub mod blame;
mod ec2;
pub mod execution;
mod goals;
pub mod hook_output;
mod hyperv;
pub mod inspection;
pub mod inventory;
pub mod limited;
pub mod maps;
pub mod offload;
mod openshift;
mod openstack;
mod ova;
mod ovirt;
pub mod plan;
pub mod providers;
mod read;
mod ready;
mod references;
pub mod retold;
mod status;
mod vsphere;

pub use ready::Patience;

/// Kind and plural of what MTV makes for a disk or a conversion, and reads again.
pub const WAITED_FOR: [(&str, &str); 4] = [
    ("Conversion", "conversions"),
    ("OvirtVolumePopulator", "ovirtvolumepopulators"),
    ("OpenstackVolumePopulator", "openstackvolumepopulators"),
    ("VSphereXcopyVolumePopulator", "vspherexcopyvolumepopulators"),
];

/// Group, version, kind and plural of what tells the cluster's version.
pub const CLUSTER_VERSION: (&str, &str, &str, &str) =
    ("config.openshift.io", "v1", "ClusterVersion", "clusterversions");
/// Definitions of the kinds that a failed cell's artifacts hold: their readers ask them for names and scopes.
pub const DEFINITIONS: [&str; 17] = [
    "plans.forklift.konveyor.io",
    "migrations.forklift.konveyor.io",
    "storagemaps.forklift.konveyor.io",
    "networkmaps.forklift.konveyor.io",
    "hooks.forklift.konveyor.io",
    "providers.forklift.konveyor.io",
    "conversions.forklift.konveyor.io",
    "forkliftcontrollers.forklift.konveyor.io",
    "ovirtvolumepopulators.forklift.konveyor.io",
    "openstackvolumepopulators.forklift.konveyor.io",
    "vspherexcopyvolumepopulators.forklift.konveyor.io",
    "virtualmachines.kubevirt.io",
    "virtualmachineinstances.kubevirt.io",
    "datavolumes.cdi.kubevirt.io",
    "network-attachment-definitions.k8s.cni.cncf.io",
    "clusterserviceversions.operators.coreos.com",
    "subscriptions.operators.coreos.com",
];

use adapter::Adapter;

use crate::cluster::ApplyError;
use crate::config::Platform;
use crate::event::Problem;

/// The adapter of a platform.
pub fn adapter(platform: Platform) -> &'static dyn Adapter {
    match platform {
        Platform::Vsphere => &vsphere::Vsphere,
        Platform::Ovirt => &ovirt::Ovirt,
        Platform::Openstack => &openstack::Openstack,
        Platform::Openshift => &openshift::Openshift,
        Platform::Ova => &ova::Ova,
        Platform::Hyperv => &hyperv::Hyperv,
        Platform::Ec2 => &ec2::Ec2,
    }
}

/// Why an operation on MTV did not succeed, and whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum MtvError {
    /// MTV refused or broke what it should do.
    #[error("{}", .0.message)]
    Product(Problem),
    /// The environment, or a request that did not go through.
    #[error("{}", .0.message)]
    Environment(Problem),
}

impl From<ApplyError> for MtvError {
    fn from(error: ApplyError) -> Self {
        Self::Environment(Problem::new(error.to_string()))
    }
}
