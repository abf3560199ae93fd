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

/// How a platform's VMs are judged.
pub(super) struct Ways {
    /// Secure boot is carried over.
    pub secure_boot: bool,
    /// So is the TPM; else MTV decides by the operating system.
    pub tpm: bool,
    pub serial: Serial,
    /// An interface is dropped that goes from the pod network to another, or back.
    pub keeps_kind_of_network: bool,
    /// PVCs come in the order of the disks; else the boot disk's alone is known.
    pub disks_in_order: bool,
    /// The source's snapshots are told before and after.
    pub snapshots: bool,
}

pub(super) const fn of(platform: Platform) -> Ways {
    let usual = Ways {
        secure_boot: true,
        tpm: true,
        serial: Serial::None,
        keeps_kind_of_network: false,
        disks_in_order: true,
        snapshots: false,
    };
    match platform {
        Platform::Vsphere => Ways { serial: Serial::Uuid, snapshots: true, ..usual },
        Platform::Ovirt => Ways { secure_boot: false, tpm: false, serial: Serial::Own, snapshots: true, ..usual },
        Platform::Openstack => Ways { secure_boot: false, tpm: false, disks_in_order: false, snapshots: true, ..usual },
        Platform::Openshift => Ways { keeps_kind_of_network: true, ..usual },
        Platform::Ova => Ways { tpm: false, serial: Serial::Own, ..usual },
        Platform::Hyperv => usual,
        Platform::Ec2 => Ways { secure_boot: false, tpm: false, serial: Serial::Id, ..usual },
    }
}
