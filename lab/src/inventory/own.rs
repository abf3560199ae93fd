//! What only one platform tells of its VMs, disks and NICs: for its own part of MTV, its own view in the
//! inventory, and the guests of VMs that the lab did not make. Nothing here is read by the rest of MTV.

use std::collections::BTreeMap;

use serde_json::Value;

/// By platform; OVA, Hyper-V and EC2 tell nothing that `model` does not hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum OwnVm {
    #[default]
    Nothing,
    Vsphere(Box<VsphereVm>),
    Ovirt(OvirtVm),
    Openstack(OpenstackVm),
    Openshift(OpenshiftVm),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct VsphereVm {
    pub uuid: String,
    pub is_template: bool,
    pub host_id: String,
    pub folder_id: String,
    pub tools_running: bool,
    pub tools_status: String,
    pub changed_block_tracking: bool,
    pub guest_networks: Vec<GuestNetwork>,
    pub guest_ip: String,
    /// Grows with every change that the collector is told.
    pub revision: u64,
}

/// One address that the tools report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GuestNetwork {
    /// Index of the NIC among those that the tools report.
    pub device: String,
    pub mac: String,
    pub ip: String,
    pub prefix: u8,
    /// `manual`, `dhcp` …; empty where the tools don't say.
    pub origin: String,
    pub gateway: Option<String>,
    pub dns: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct OvirtVm {
    /// In the order of the VM's disks.
    pub attachments: Vec<OvirtAttachment>,
    /// oVirt's `interface` of each NIC, by MAC in lower case.
    pub models: BTreeMap<String, String>,
    pub serial: Option<String>,
    pub timezone: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct OvirtAttachment {
    pub disk: String,
    pub interface: String,
    pub bootable: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenstackVm {
    /// MTV's validation service has said that something speaks against the VM.
    pub critical_concerns: bool,
    /// Empty: the server boots from a volume.
    pub image_id: String,
    pub threads: u32,
    pub disk_bus: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenshiftVm {
    /// `spec.template` of the VirtualMachine.
    pub template: Value,
}

/// By platform.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum OwnDisk {
    #[default]
    Nothing,
    Vsphere(VsphereDisk),
    /// OpenStack: the image that the server booted from, not a volume.
    Image,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct VsphereDisk {
    pub key: i64,
    pub unit_number: i64,
    pub controller_key: i64,
    /// `scsi`, `sata`, `ide`, `nvme`.
    pub bus: String,
    pub mode: String,
    /// A LUN that is mapped into the VM.
    pub raw: bool,
    /// Several VMs write to it.
    pub shared: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VsphereNic {
    pub device_key: i64,
    pub connected: bool,
}
