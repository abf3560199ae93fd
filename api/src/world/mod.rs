//! A world: which VMs, hosts, storage and networks the lab's platforms hold, and what its cluster is like.
//!
//! Plain facts that a file can say (`--world FILE`), that a recording can write, and that the lab is
//! built from; the world of every lab is such a file as well (`shipped.yaml`). No I/O. What a platform
//! makes of the facts is the lab's; how untidily they are told is no matter of this file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod anonymise;
mod check;
pub mod inventory;
mod os;
mod record;
mod sketch;
mod value;
mod vm;

pub use check::Problem;
pub use os::Os;
pub use sketch::{LUKS, Sketch};
pub use value::{Cidr, Mac, Size, Unreadable};
pub use vm::{
    AddressOrigin, Controller, Disk, DiskMode, Failure, Firmware, Guest, Nic, Power, Provision, Rdm, STEPS, Snapshot,
    Tools, Vm,
};

const SHIPPED: &str = include_str!("shipped.yaml");

/// Everything that a lab starts with. A list that a file does not write is as it is shipped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// The cluster that VMs are migrated to.
    #[serde(skip_serializing_if = "is_default")]
    pub cluster: Cluster,
    #[serde(skip_serializing_if = "is_default")]
    pub vsphere: Source,
    /// VMs with `template: true` are what clones are made from.
    #[serde(skip_serializing_if = "is_default")]
    pub ovirt: Source,
    #[serde(skip_serializing_if = "is_default")]
    pub openstack: Source,
    #[serde(skip_serializing_if = "is_default")]
    pub ova: Source,
    #[serde(skip_serializing_if = "is_default")]
    pub hyperv: Source,
    #[serde(skip_serializing_if = "is_default")]
    pub ec2: Source,
}

fn cpus() -> u32 {
    2
}
fn memory() -> Size {
    Size::gib(4)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A platform whose VMs a world can hold. OpenShift's are made by each run from the cluster's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Vsphere,
    Ovirt,
    Openstack,
    Ova,
    Hyperv,
    Ec2,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Vsphere, Self::Ovirt, Self::Openstack, Self::Ova, Self::Hyperv, Self::Ec2];

    /// Its key in a world, and `type` in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vsphere => "vsphere",
            Self::Ovirt => "ovirt",
            Self::Openstack => "openstack",
            Self::Ova => "ova",
            Self::Hyperv => "hyperv",
            Self::Ec2 => "ec2",
        }
    }

    /// Whether VMs have snapshots, folders and hosts of their own here; else MTV's inventory alone shows them.
    pub fn is_managed(self) -> bool {
        match self {
            Self::Vsphere | Self::Ovirt | Self::Openstack => true,
            Self::Ova | Self::Hyperv | Self::Ec2 => false,
        }
    }
}

/// The cluster that VMs are migrated to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// MTV's version, where no flag says it: `2.9` to `2.12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtv_version: Option<String>,
    /// OpenShift's version, e.g. `4.20.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ocp_version: Option<String>,
    /// Keys of the ForkliftController's spec, put on top of the operator's defaults.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, serde_json::Value>,
    pub nodes: Vec<Node>,
    /// StorageClasses with their StorageProfiles.
    pub storage_classes: Vec<StorageClass>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: String,
    #[serde(default)]
    pub role: Role,
    /// Free for VMs.
    #[serde(default = "node_memory")]
    pub memory: Size,
    #[serde(default = "node_cpus")]
    pub cpus: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn node_memory() -> Size {
    Size::gib(60)
}
fn node_cpus() -> u32 {
    16
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    #[default]
    Worker,
    ControlPlane,
}

/// A StorageClass and what CDI knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageClass {
    pub name: String,
    #[serde(default = "provisioner")]
    pub provisioner: String,
    /// The cluster's default class, also for virtualization.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: bool,
    /// `claimPropertySets` of its StorageProfile, best first.
    #[serde(default = "claim_sets")]
    pub claims: Vec<Claim>,
}

fn provisioner() -> String {
    "lab.csi.example".to_owned()
}
fn claim_sets() -> Vec<Claim> {
    vec![Claim { access: Access::ReadWriteOnce, mode: Mode::Filesystem }]
}

/// How volumes of a class can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub access: Access,
    pub mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    ReadWriteOnce,
    ReadWriteMany,
    ReadOnlyMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    Block,
    Filesystem,
}

/// One source platform.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Of vSphere and oVirt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Host>,
    /// Datastores, storage domains, volume types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datastores: Vec<Datastore>,
    /// The first is a NIC's where it names none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// Folders for VMs, as paths: `prod/db`. Of vSphere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// Resource pools below the cluster's own. Of vSphere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
    /// Of OpenStack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flavors: Vec<Flavor>,
    /// Of OpenStack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Disks, or volumes, that no VM has. Of oVirt and OpenStack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// Of vSphere: MTV's word for the storage array behind its datastores, e.g. `ontap`; that where it is unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Of vSphere: the name of a host that is a source by itself, too: profile `esxi`, whose clones vCenter makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub esxi_endpoint: Option<String>,
    /// Of vSphere: how MTV's populators reach the ESXi hosts, `vib` (default) or `ssh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub esxi_clone_method: Option<String>,
    pub vms: Vec<Vm>,
}

/// A hypervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub name: String,
    /// Of vSphere; made up where it is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
}

/// A datastore, a storage domain or a volume type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Datastore {
    pub name: String,
    /// As the platform says it: `VMFS`, `NFS`, `vsan`; of oVirt `fcp`, `iscsi`, `nfs`. OpenStack has none.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// An oVirt domain that holds no disks: `iso`, `export`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default = "capacity")]
    pub capacity: Size,
    #[serde(default = "free")]
    pub free: Size,
    /// Of vSphere: a storage array copies disks off it (XCOPY); off: the ESXi host copies them itself.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub xcopy: bool,
}

fn yes() -> bool {
    true
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn capacity() -> Size {
    Size::gib(4096)
}
fn free() -> Size {
    Size::gib(2048)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// A portgroup of vSphere's distributed switch.
    #[serde(default, skip_serializing_if = "is_default")]
    pub distributed: bool,
    /// OpenStack's subnet, a /24, e.g. `10.80.1.0/24`; made up where it is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Cidr>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flavor {
    pub name: String,
    #[serde(default = "cpus")]
    pub cpus: u32,
    #[serde(default = "memory")]
    pub memory: Size,
    /// Of the root disk, where a server boots from an image.
    #[serde(default)]
    pub disk: Size,
    /// `extra_specs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: String,
    #[serde(default)]
    pub os: Os,
}

/// The shipped world is not what this version reads.
#[derive(Debug, thiserror::Error)]
#[error("the shipped world: {0}")]
pub struct ShippedError(String);

impl World {
    /// The world as every lab starts, unless a file says otherwise.
    pub fn shipped() -> Result<Self, ShippedError> {
        serde_saphyr::from_str(SHIPPED).map_err(|error| ShippedError(error.to_string()))
    }

    /// The shipped world as the file that it is.
    pub fn shipped_text() -> &'static str {
        SHIPPED
    }

    pub fn source(&self, kind: Kind) -> &Source {
        match kind {
            Kind::Vsphere => &self.vsphere,
            Kind::Ovirt => &self.ovirt,
            Kind::Openstack => &self.openstack,
            Kind::Ova => &self.ova,
            Kind::Hyperv => &self.hyperv,
            Kind::Ec2 => &self.ec2,
        }
    }

    pub fn source_mut(&mut self, kind: Kind) -> &mut Source {
        match kind {
            Kind::Vsphere => &mut self.vsphere,
            Kind::Ovirt => &mut self.ovirt,
            Kind::Openstack => &mut self.openstack,
            Kind::Ova => &mut self.ova,
            Kind::Hyperv => &mut self.hyperv,
            Kind::Ec2 => &mut self.ec2,
        }
    }
}

impl Source {
    /// The VM, or the newest version of the template, that scenarios mean by this name.
    pub fn find(&self, name: &str) -> Option<&Vm> {
        self.vms.iter().filter(|vm| vm.scenario_name() == name).max_by_key(|vm| (vm.template, vm.version))
    }
}

#[cfg(test)]
mod tests;
