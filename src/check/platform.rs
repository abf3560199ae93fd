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
    pub snapshots: Snapshots,
    pub tls: Tls,
    /// Static addresses of a Linux guest are kept whatever its tools say of their origin.
    pub linux_addresses_without_origin: bool,
}

pub(super) const fn of(platform: Platform) -> Ways {
    let usual = Ways {
        secure_boot: true,
        tpm: true,
        serial: Serial::None,
        keeps_kind_of_network: false,
        disks_in_order: true,
        snapshots: Snapshots::Untold,
        tls: Tls::Told,
        linux_addresses_without_origin: false,
    };
    match platform {
        Platform::Vsphere => {
            Ways { serial: Serial::Uuid, snapshots: Snapshots::Told, linux_addresses_without_origin: true, ..usual }
        }
        Platform::Ovirt => {
            Ways { secure_boot: false, tpm: false, serial: Serial::Own, snapshots: Snapshots::RemovedLate, ..usual }
        }
        Platform::Openstack => Ways {
            secure_boot: false,
            tpm: false,
            disks_in_order: false,
            snapshots: Snapshots::Told,
            tls: Tls::Untold,
            ..usual
        },
        Platform::Openshift => Ways { keeps_kind_of_network: true, tls: Tls::Untold, ..usual },
        Platform::Ova => Ways { tpm: false, serial: Serial::Own, tls: Tls::None, ..usual },
        Platform::Hyperv => usual,
        Platform::Ec2 => Ways { secure_boot: false, tpm: false, serial: Serial::Id, tls: Tls::None, ..usual },
    }
}
