//! A VM as the checks see it: one record for the source side, one for the target side.
//!
//! Drivers (`source`) and readers (`cluster`, `forklift`) fill these records; `check` compares
//! them. A fact that a platform cannot tell is `None`: unknown is not equal to anything, and a
//! check that needs it says *not judged*. Sizes are bytes or MiB, as the field's name says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Whether a VM runs. Transitional states are `Other`, never rounded to on or off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    On,
    Off,
    Other(String),
}

impl std::fmt::Display for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Off => f.write_str("off"),
            Self::Other(state) => write!(f, "{state}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestOs {
    Linux,
    Windows,
    Unknown,
}

/// vCPUs = `sockets` × `cores` × `threads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTopology {
    pub sockets: u32,
    /// Cores per socket.
    pub cores: u32,
    pub threads: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirmwareKind {
    Bios,
    Efi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    pub kind: FirmwareKind,
    pub secure_boot: bool,
    pub tpm: bool,
}

/// A MAC address, compared without regard to case or separator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mac(String);

impl Mac {
    /// Normalises to lower-case pairs with colons; any other text is kept in lower case.
    pub fn new(text: &str) -> Self {
        let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
        if hex.len() != 12 {
            return Self(text.trim().to_lowercase());
        }
        let pairs: Vec<&str> = (0..6).filter_map(|i| hex.get(i * 2..i * 2 + 2)).collect();
        Self(pairs.join(":"))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an address came to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressOrigin {
    Static,
    Dhcp,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestAddress {
    pub ip: IpAddr,
    pub prefix: Option<u8>,
    pub origin: AddressOrigin,
}

/// What a guest says of one of its interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestInterface {
    /// `eth0`, `Ethernet0` …; `None` when the platform does not tell.
    pub name: Option<String>,
    pub mac: Option<Mac>,
    pub addresses: Vec<GuestAddress>,
    pub gateway: Option<IpAddr>,
    pub dns: Vec<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceNic {
    /// The platform's label of the adapter.
    pub label: String,
    pub mac: Mac,
    /// Network id in MTV's inventory.
    pub network_id: String,
    pub network_name: String,
    /// Whether its cable is in; of a VM that is off, whether it will be.
    pub connected: bool,
    /// Whether it will be when the VM is started anew, where a platform tells the two apart (vSphere); `None`: as
    /// `connected`.
    #[serde(default)]
    pub starts_connected: Option<bool>,
    /// The adapter's model in the platform's own word, where MTV keeps it (oVirt, OpenStack).
    #[serde(default)]
    pub model: Option<String>,
    /// `None` when the guest was off or tells nothing of this adapter.
    pub guest: Option<GuestInterface>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDisk {
    /// The platform's id or label of the disk.
    pub id: String,
    pub label: String,
    /// Last path segment of the backing file, extension kept (vSphere only).
    pub file_name: Option<String>,
    /// What it is attached by in the platform's own word, where MTV goes by it (oVirt, OpenStack).
    #[serde(default)]
    pub interface: Option<String>,
    pub capacity_bytes: u64,
    /// Id of the datastore, storage domain or volume type in MTV's inventory.
    pub storage_id: String,
    pub storage_name: String,
    /// A LUN that is mapped into the VM (vSphere only).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// Other VMs may write to it at the same time (vSphere only).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSnapshot {
    pub id: String,
    pub name: String,
    /// RFC 3339.
    pub created: Option<String>,
    pub state: Option<String>,
}

/// A VM on its source platform at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceVm {
    /// The id that MTV's inventory uses.
    pub id: String,
    /// BIOS/SMBIOS UUID, where the platform has one.
    pub uuid: Option<String>,
    pub name: String,
    pub power: Power,
    pub os: GuestOs,
    pub cpu: Option<CpuTopology>,
    pub memory_mib: Option<u64>,
    pub firmware: Option<Firmware>,
    pub nics: Vec<SourceNic>,
    /// In the order in which MTV numbers disks (vSphere: controller key, then unit number).
    pub disks: Vec<SourceDisk>,
    /// The whole tree, flattened.
    pub snapshots: Vec<SourceSnapshot>,
    pub guest_agent_running: Option<bool>,
}

/// Where a target NIC is attached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetNetwork {
    Pod,
    Multus { namespace: String, name: String },
}

impl std::fmt::Display for TargetNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod => f.write_str("pod"),
            Self::Multus { namespace, name } => write!(f, "{namespace}/{name}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetNic {
    pub name: String,
    pub mac: Option<Mac>,
    /// `None` when the VM names a network that it does not define.
    pub network: Option<TargetNetwork>,
    pub addresses: Vec<IpAddr>,
    pub link_up: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetDisk {
    pub pvc: String,
    /// The volume's real capacity; the request where the volume tells none.
    pub capacity_bytes: u64,
    pub storage_class: Option<String>,
    pub access_modes: Vec<String>,
    pub volume_mode: Option<String>,
    pub boot_order: Option<u32>,
    /// The source disk that the PVC says it came from (annotation `forklift.konveyor.io/disk-source`).
    pub disk_source: Option<String>,
}

/// What a login into the migrated guest showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestLogin {
    /// Not tried, and why.
    NotTried(String),
    /// Tried until the deadline; the last error.
    Failed(String),
    /// Logged in; what the guest said of its interfaces (`Err` text when it could not be read).
    Ok { interfaces: Result<Vec<GuestInterface>, String> },
}

/// The objects that a migrated VM consists of, whole, as the API server gave them: what the contract compares
/// field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// The VirtualMachine.
    pub vm: serde_json::Value,
    /// The VirtualMachineInstance, while there is one.
    pub vmi: Option<serde_json::Value>,
    /// The PersistentVolumeClaims of its disks, by name.
    pub claims: BTreeMap<String, serde_json::Value>,
}

/// A migrated VM on the cluster at one moment. Reading it changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetVm {
    pub namespace: String,
    pub name: String,
    pub power: Power,
    /// KubeVirt's `status.printableStatus`.
    pub printable_status: String,
    pub cpu: Option<CpuTopology>,
    pub memory_mib: Option<u64>,
    pub firmware: Option<Firmware>,
    pub serial: Option<String>,
    pub nics: Vec<TargetNic>,
    /// In the order of the VM's disks.
    pub disks: Vec<TargetDisk>,
    /// KubeVirt's `AgentConnected`; `None` when the VM is off and nobody can tell.
    pub agent_connected: Option<bool>,
    /// Where it runs; `None` when it is off.
    pub node: Option<String>,
    /// Labels of the VM template.
    pub labels: BTreeMap<String, String>,
    pub node_selector: BTreeMap<String, String>,
    /// Affinity of the VM template.
    pub affinity: Option<serde_json::Value>,
    pub login: GuestLogin,
    /// What all of this was read from.
    pub objects: Objects,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_equal_whatever_their_case_and_separator() {
        assert_eq!(Mac::new("00:50:56:AB:cd:01"), Mac::new("00-50-56-ab-CD-01"));
        assert_ne!(Mac::new("00:50:56:ab:cd:01"), Mac::new("00:50:56:ab:cd:02"));
    }
}
