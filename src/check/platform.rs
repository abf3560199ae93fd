//! What MTV and a platform do differently, for the checks: one match, in which a new platform must be decided.
//!
//! Sources: forklift.md §7.3–7.8. What a platform supports at all is `matrix::support`'s table.

use crate::config::Platform;

/// The number that a migrated VM carries as its serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serial {
    /// The source's UUID; its form goes by OpenShift's and MTV's versions.
    Uuid,
    /// A number of the VM's own, as it is.
    Own,
    /// The instance's id.
    Id,
    /// None that could be judged.
    None,
}

/// What MTV makes of `insecureSkipVerify` in a Provider's Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// It connects as told, and says so by the condition `ConnectionInsecure`
    /// (`pkg/controller/provider/validation.go`, 2.9 to 2.12).
    Told,
    /// It connects as told.
    Untold,
    /// There is nothing to verify.
    None,
}

/// What is known of a source VM's snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Snapshots {
    /// They are not told.
    Untold,
    /// Before and after; MTV's own are gone when the migration has ended.
    Told,
    /// Likewise, but a warm migration's own go only after it has said that it ended (`Finalize`,
    /// `pkg/controller/plan/adapter/ovirt/client.go`).
    RemovedLate,
}

/// What MTV writes for the guest's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// UTC (`vsphere/builder.go`, `mapClock`).
    Utc,
    /// The source VM's own zone, else `Etc/GMT` (`ovirt/builder.go`).
    Own,
    /// Nothing.
    Unset,
    /// As the source's template has it.
    Copied,
}

/// What MTV makes of the word that the source has for a disk's bus or a NIC's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// It does not ask: virt-v2v puts virtio's drivers in.
    Unasked,
    /// `mapDisks` and `mapNetworks` of ovirt/builder.go.
    Ovirt,
    /// Of openstack/builder.go.
    Openstack,
}

impl Words {
    /// A disk's bus; `None`: the source's word does not tell.
    pub(super) fn bus(self, interface: &str) -> Option<&'static str> {
        match (self, interface) {
            (Self::Unasked, _) => None,
            (Self::Ovirt, "virtio_scsi") | (Self::Openstack, "scsi") => Some("scsi"),
            (Self::Ovirt, "sata" | "ide") | (Self::Openstack, "ide") => Some("sata"),
            (Self::Ovirt | Self::Openstack, _) => Some("virtio"),
        }
    }
    /// A NIC's model, likewise.
    pub(super) fn model(self, model: &str) -> Option<&str> {
        match self {
            Self::Unasked => None,
            Self::Ovirt => Some(model),
            Self::Openstack => Some(match model {
                "VirtualE1000" => "e1000",
                "VirtualE1000e" => "e1000e",
                "VirtualPCNet32" => "pcnet",
                "e1000" | "e1000e" | "ne2k_pci" | "pcnet" | "rtl8139" | "virtio" => model,
                _ => "virtio",
            }),
        }
    }
}

/// What a disk's `serial` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskSerial {
    /// Nothing, or a number that no other disk of the VM has.
    Own,
    /// The id of its source disk, whole or its first 20 characters.
    Disk,
    /// Likewise from this MTV on (`DiskSerial`, adapter/base/disk_serial.go in main); before, nothing.
    DiskSince((u32, u32)),
}

/// How the devices of a migrated VM are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Devices {
    /// Buses that a disk may have: one, or those that the source's own setting is turned into.
    pub buses: &'static [&'static str],
    pub nic_models: &'static [&'static str],
    /// Which of them each has, where the source tells it.
    pub words: Words,
    /// Interfaces stand in the order of the source's NICs; OpenStack's come out of a map.
    pub nics_in_order: bool,
    /// One disk has `bootOrder: 1`, whatever the source says; elsewhere it follows a flag of the source's disk.
    pub boot_order: bool,
    /// A NIC may keep the PCI slot that it had.
    pub keeps_slots: bool,
    pub disk_serial: DiskSerial,
}

impl Devices {
    /// Those that a guest knows into which nobody put drivers.
    pub(super) const fn unconverted(self) -> Self {
        Self { buses: &["sata"], nic_models: &["e1000e"], ..self }
    }
}

/// What virt-v2v makes of any source.
const CONVERTED: Devices = Devices {
    buses: &["virtio"],
    nic_models: &["virtio"],
    words: Words::Unasked,
    nics_in_order: true,
    boot_order: true,
    keeps_slots: false,
    disk_serial: DiskSerial::Own,
};

/// How a platform's VMs are judged.
pub(super) struct Ways {
    /// Secure boot is carried over.
    pub secure_boot: bool,
    /// So is the TPM; else MTV decides by the operating system.
    pub tpm: bool,
    pub serial: Serial,
    /// An interface is dropped that goes from the pod network to another, or back.
    pub keeps_kind_of_network: bool,
    /// Of several rows of one network each NIC of a VM gets another; else the first holds for all of them
    /// (`FindNetworkByNameAndNamespace` of ocp/builder.go; the loop over `Addresses` of openstack/builder.go).
    pub shares_rows_out: bool,
    /// PVCs come in the order of the disks; else the boot disk's alone is known.
    pub disks_in_order: bool,
    pub snapshots: Snapshots,
    pub tls: Tls,
    /// Static addresses of a Linux guest are kept whatever its tools say of their origin.
    pub linux_addresses_without_origin: bool,
    pub clock: Clock,
    /// The MTV since which a claim names its Plan by a label; until then a populator's has its migration and VM alone
    /// (`labels` of the adapter's `builder.go`, 2.11.7 beside 2.12.5). `None`: it always did.
    pub claims_name_plan_since: Option<(u32, u32)>,
    /// `None`: they are copied from the source's own template.
    pub devices: Option<Devices>,
}

pub(super) const fn of(platform: Platform) -> Ways {
    let usual = Ways {
        secure_boot: true,
        tpm: true,
        serial: Serial::None,
        keeps_kind_of_network: false,
        shares_rows_out: true,
        disks_in_order: true,
        snapshots: Snapshots::Untold,
        tls: Tls::Told,
        linux_addresses_without_origin: false,
        clock: Clock::Unset,
        claims_name_plan_since: None,
        devices: Some(CONVERTED),
    };
    match platform {
        Platform::Vsphere => Ways {
            serial: Serial::Uuid,
            snapshots: Snapshots::Told,
            linux_addresses_without_origin: true,
            clock: Clock::Utc,
            devices: Some(Devices { keeps_slots: true, ..CONVERTED }),
            ..usual
        },
        Platform::Ovirt => {
            let buses = &["virtio", "scsi", "sata"];
            let nic_models = &["virtio", "e1000", "e1000e", "rtl8139"];
            let words = Words::Ovirt;
            let devices =
                Devices { buses, nic_models, words, boot_order: false, disk_serial: DiskSerial::Disk, ..CONVERTED };
            Ways {
                secure_boot: false,
                tpm: false,
                serial: Serial::Own,
                snapshots: Snapshots::RemovedLate,
                clock: Clock::Own,
                claims_name_plan_since: Some((2, 12)),
                devices: Some(devices),
                ..usual
            }
        }
        Platform::Openstack => Ways {
            secure_boot: false,
            tpm: false,
            shares_rows_out: false,
            disks_in_order: false,
            snapshots: Snapshots::Told,
            tls: Tls::Untold,
            claims_name_plan_since: Some((2, 12)),
            devices: Some(Devices {
                buses: &["virtio", "scsi", "sata", "usb"],
                nic_models: &["virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet"],
                words: Words::Openstack,
                nics_in_order: false,
                boot_order: false,
                ..CONVERTED
            }),
            ..usual
        },
        Platform::Openshift => Ways {
            keeps_kind_of_network: true,
            shares_rows_out: false,
            tls: Tls::Untold,
            clock: Clock::Copied,
            devices: None,
            ..usual
        },
        Platform::Ova => {
            let devices = Devices { boot_order: false, ..CONVERTED };
            Ways { tpm: false, serial: Serial::Own, tls: Tls::None, devices: Some(devices), ..usual }
        }
        Platform::Hyperv => {
            let devices = Devices {
                nic_models: &["virtio", ""],
                boot_order: false,
                disk_serial: DiskSerial::DiskSince((2, 13)),
                ..CONVERTED
            };
            Ways { devices: Some(devices), ..usual }
        }
        Platform::Ec2 => Ways { secure_boot: false, tpm: false, serial: Serial::Id, tls: Tls::None, ..usual },
    }
}
