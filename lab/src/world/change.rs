//! What may be asked of a VM's configuration, free of any protocol.

use super::model::{Adapter, ControllerKind};

/// Changes to a VM; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct VmChange {
    pub name: Option<String>,
    pub annotation: Option<String>,
    pub guest_id: Option<String>,
    pub uuid: Option<String>,
    pub instance_uuid: Option<String>,
    pub cpus: Option<i32>,
    pub cores_per_socket: Option<i32>,
    pub memory_mb: Option<i32>,
    pub efi: Option<bool>,
    pub secure_boot: Option<bool>,
    pub change_tracking: Option<bool>,
    /// An empty value removes the key.
    pub extra_config: Vec<(String, String)>,
    pub devices: Vec<DeviceChange>,
}

/// One device that comes, goes or changes.
#[derive(Debug, Clone)]
pub enum DeviceChange {
    AddController {
        /// Often negative: only for reference within the same change.
        key: i32,
        bus: i32,
        kind: ControllerKind,
    },
    AddDisk {
        controller: Option<i32>,
        unit: Option<i32>,
        capacity: i64,
        thin: bool,
        eager: bool,
        mode: String,
        datastore: Option<String>,
        path: Option<String>,
        raw: Option<(String, bool)>,
        /// Several VMs write to it.
        shared: bool,
        /// Its file is there already.
        there: bool,
    },
    EditDisk {
        key: i32,
        capacity: Option<i64>,
        mode: Option<String>,
    },
    AddNic {
        adapter: Adapter,
        edit: NicEdit,
    },
    EditNic {
        key: i32,
        edit: NicEdit,
    },
    Remove {
        key: i32,
    },
    /// A device that the world does not model; accepted and forgotten.
    Other,
}

/// What is said about a NIC.
#[derive(Debug, Clone, Default)]
pub struct NicEdit {
    pub network: Option<String>,
    /// A manual MAC.
    pub mac: Option<String>,
    /// The platform shall choose a new MAC.
    pub generate: bool,
    pub start_connected: Option<bool>,
    pub connected: Option<bool>,
}

/// Where one disk of a clone goes and how it is laid out.
#[derive(Debug, Clone, Default)]
pub struct DiskPlacement {
    pub key: i32,
    pub datastore: Option<String>,
    pub thin: Option<bool>,
    pub eager: Option<bool>,
}

/// A clone to make.
#[derive(Debug, Clone, Default)]
pub struct CloneOrder {
    pub source: String,
    pub folder: String,
    pub name: String,
    pub template: bool,
    pub power_on: bool,
    pub datastore: Option<String>,
    pub host: Option<String>,
    pub pool: Option<String>,
    /// All disks thin or all thick; nothing: as the source.
    pub thin: Option<bool>,
    pub disks: Vec<DiskPlacement>,
    pub change: VmChange,
}
