//! One VM of a world: what a file can say of it, in words that every platform has, and some that only one has
//! (`check` holds which).

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::os::Os;
use super::value::{Cidr, Mac, Size};
use super::{cpus, is_default, memory};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    #[default]
    Bios,
    Efi,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    On,
    #[default]
    Off,
}

/// VMware Tools or a guest agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tools {
    /// They run while the VM does.
    #[default]
    Running,
    /// Installed, and not running.
    Stopped,
    Missing,
}

/// A VM or a template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    /// Names may repeat in different folders of vSphere, and among OpenStack's servers.
    pub name: String,
    /// The name by which scenarios mean it, where that is another: an entry of the profile's `vms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_as: Option<String>,
    #[serde(default)]
    pub os: Os,
    /// What is told of the guest otherwise than its system says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guest: Guest,
    #[serde(default, skip_serializing_if = "is_default")]
    pub template: bool,
    /// Of an oVirt template that there are several of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub version: Option<u32>,
    /// What the guest sees as its serial; made up where it is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub uuid: Option<uuid::Uuid>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub firmware: Firmware,
    #[serde(default, skip_serializing_if = "is_default")]
    pub secure_boot: bool,
    /// The passphrase of its encrypted root disk (LUKS): no conversion without it. Of vSphere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub luks: Option<String>,
    /// A virtual TPM. Of vSphere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tpm: bool,
    /// oVirt's `bios.type`, where firmware and secure boot don't say it: `cluster_default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bios_type: Option<String>,
    /// Virtual CPUs in all.
    #[serde(default = "cpus")]
    #[schemars(range(min = 1, max = 768))]
    pub cpus: u32,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 768))]
    pub cores_per_socket: u32,
    #[serde(default = "memory")]
    pub memory: Size,
    #[serde(default, skip_serializing_if = "is_default")]
    pub power: Power,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// One of `folders`; unset: the data center's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Of the VM's files, and of disks that name none; unset: the first that holds disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore: Option<String>,
    /// Changed block tracking. Of vSphere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub change_tracking: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// `extraConfig` of vSphere, metadata of OpenStack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
    /// Of OpenStack; unset: one that fits, or a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flavor: Option<String>,
    /// The image that an OpenStack server boots from, in place of its first volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Unset: one of 16Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disks: Option<Vec<Disk>>,
    /// Unset: one on the first network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<Nic>>,
    /// Oldest first, each on top of the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Snapshot>,
    /// A migration of it, or of a clone of it, fails; as one did that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<Failure>,
}

/// Where a migration fails, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The step of the pipeline, as MTV calls it: `DiskTransfer` (also where MTV calls it `DiskTransferV2v`),
    /// `ImageConversion`, `VirtualMachineCreation`. A migration without this step does not fail.
    pub at: String,
    /// What MTV says then.
    #[serde(default = "unexplained")]
    pub error: String,
}

fn unexplained() -> String {
    "failed as it did where this was recorded".to_owned()
}

/// MTV's pipeline steps that a VM can fail in. A hook fails by its playbook.
pub const STEPS: &[&str] = &[
    "Initialize",
    "PreflightInspection",
    "DiskAllocation",
    "DiskTransfer",
    "DiskTransferV2v",
    "ImageConversion",
    "ConvertOpenstackSnapshot",
    "PrepareSource",
    "CreateSnapshots",
    "Cutover",
    "VirtualMachineCreation",
    "CreateVM",
    "WaitForGuestReboots",
];

impl Failure {
    /// Whether it is in this step; disks are copied in one, whichever name MTV has for it.
    pub fn is_in(&self, step: &str) -> bool {
        let one = |name: &str| if name == "DiskTransferV2v" { "DiskTransfer".to_owned() } else { name.to_owned() };
        one(&self.at) == one(step)
    }
}

fn one() -> u32 {
    1
}
fn is_one(count: &u32) -> bool {
    *count == 1
}

/// What a guest and its tools tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guest {
    /// Unset: the VM's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What the platform calls the system: vSphere's `guestId`, oVirt's `os.type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// vSphere's `guestFullName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// What the guest calls itself, e.g. `Red Hat Enterprise Linux 9.4 (Plow)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretty_name: Option<String>,
    pub tools: Tools,
}

/// A disk, in the order of the VM's devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub size: Size,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore: Option<String>,
    /// Of vSphere; unset: `pvscsi`, of Windows `lsisas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// oVirt's `interface`: `virtio`, `virtio_scsi`, `sata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub provision: Provision,
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: DiskMode,
    /// Several VMs write to it. Of vSphere and oVirt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared: bool,
    /// A raw device mapping. Of vSphere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdm: Option<Rdm>,
    /// By the platform's own encryption. Of vSphere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encrypted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    Pvscsi,
    Lsisas,
    Sata,
    Nvme,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provision {
    #[default]
    Thin,
    ThickLazy,
    ThickEager,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskMode {
    #[default]
    Persistent,
    IndependentPersistent,
    IndependentNonpersistent,
}

impl DiskMode {
    /// As vSphere's `diskMode`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::IndependentPersistent => "independent_persistent",
            Self::IndependentNonpersistent => "independent_nonpersistent",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rdm {
    Virtual,
    Physical,
}

/// A network adapter, in the order of the VM's devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nic {
    /// Unset: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Unset: one that no other VM has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// `vmxnet3`, `e1000e`, `e1000`; of oVirt `virtio`, `e1000`. Unset: the first of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Not connected, also while the VM runs. Of vSphere and oVirt.
    #[serde(skip_serializing_if = "is_default")]
    pub disconnected: bool,
    /// Unset: one by DHCP, made from the MAC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    /// Unset: `static` where addresses are given, else `dhcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<AddressOrigin>,
    /// Unset: the lab's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
}

/// Where a guest's addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressOrigin {
    Static,
    Dhcp,
}

impl Nic {
    pub fn is_static(&self) -> bool {
        match self.origin {
            Some(origin) => origin == AddressOrigin::Static,
            None => !self.addresses.is_empty(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Vm {
    pub fn hostname(&self) -> &str {
        self.guest.hostname.as_deref().unwrap_or(&self.name)
    }
    pub fn pretty_name(&self) -> &str {
        self.guest.pretty_name.as_deref().unwrap_or_else(|| self.os.pretty_name())
    }
    /// The name by which scenarios mean it.
    pub fn scenario_name(&self) -> &str {
        self.known_as.as_deref().unwrap_or(&self.name)
    }
    pub fn is_on(&self) -> bool {
        self.power == Power::On
    }
    /// The disks that are written, or the one that every VM has.
    pub fn all_disks(&self) -> Vec<Disk> {
        self.disks.clone().unwrap_or_else(|| vec![Disk { size: Size::gib(16), ..Disk::default() }])
    }
    /// The NICs that are written, or the one that every VM has.
    pub fn all_nics(&self) -> Vec<Nic> {
        self.nics.clone().unwrap_or_else(|| vec![Nic::default()])
    }
}
