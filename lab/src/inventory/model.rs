//! What MTV knows of a source platform: the records that its collectors write, its controllers
//! validate and migrate by, and its inventory shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::own::{OwnDisk, OwnVm, VsphereDisk, VsphereNic, VsphereVm};

/// Stands for a cluster's own network, which has neither id nor name, as an [`InvNic::network_id`].
pub const POD_NETWORK: &str = "pod";

/// A NIC, in the order of its VM's devices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InvNic {
    pub mac: String,
    pub network_id: String,
    pub vsphere: Option<VsphereNic>,
}

/// A disk, in the order in which its platform tells them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InvDisk {
    /// What MTV calls the disk by in pipelines and annotations: `[datastore] dir/file.vmdk`, the id of a
    /// disk or volume, `namespace/claim`.
    pub source: String,
    /// What a storage map's row names: datastore, storage domain, volume type, storage class …
    pub storage_id: String,
    pub capacity_bytes: u64,
    pub own: OwnDisk,
}

/// What every platform tells of a VM, and what only its own does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InvVm {
    pub id: String,
    pub name: String,
    pub power_on: bool,
    pub firmware_efi: bool,
    pub secure_boot: bool,
    pub tpm: bool,
    pub cpu_count: u32,
    pub cores_per_socket: u32,
    pub memory_mb: u64,
    /// The guest's system as the platform's API calls it, and as people read it.
    pub guest_id: String,
    pub guest_name: String,
    pub snapshot_ids: Vec<String>,
    pub nics: Vec<InvNic>,
    pub disks: Vec<InvDisk>,
    pub own: OwnVm,
}

impl InvVm {
    /// What vSphere alone tells, of a VM of vSphere.
    pub fn vsphere(&self) -> Option<&VsphereVm> {
        if let OwnVm::Vsphere(own) = &self.own { Some(own) } else { None }
    }

    /// As MTV tells Windows from others: by what the platform calls the system.
    pub fn is_windows(&self) -> bool {
        [&self.guest_id, &self.guest_name].iter().any(|text| text.to_lowercase().contains("win"))
    }
}

impl InvDisk {
    /// What vSphere alone tells, of a disk of vSphere.
    pub fn vsphere(&self) -> Option<&VsphereDisk> {
        if let OwnDisk::Vsphere(own) = &self.own { Some(own) } else { None }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct InvNetwork {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub key: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InvDatastore {
    pub id: String,
    pub name: String,
    pub capacity: i64,
    pub free: i64,
    pub kind: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InvHost {
    pub id: String,
    pub name: String,
    pub cluster_id: String,
    pub in_maintenance: bool,
}

/// Everything the inventory shows of a platform.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// Shared with what was collected before, where they are the same.
    pub vms: Vec<Arc<InvVm>>,
    /// What a network map's sources are looked up in.
    pub networks: Vec<InvNetwork>,
    /// What a storage map's sources are looked up in: datastores, storage domains, volume types …
    pub datastores: Vec<InvDatastore>,
    pub hosts: Vec<InvHost>,
    /// What vSphere says of itself; empty elsewhere, and then left out.
    pub instance_uuid: String,
    pub product: String,
    pub version: String,
    /// The REST collections in full detail, without `selfLink`.
    pub collections: BTreeMap<String, Vec<Arc<Value>>>,
}

impl Inventory {
    /// Shows these items as a collection.
    pub fn show(&mut self, collection: &str, items: impl IntoIterator<Item = Value>) {
        let items = items.into_iter().map(Arc::new);
        self.collections.entry(collection.to_owned()).or_default().extend(items);
    }

    /// A VM by its id, or else by its name.
    pub fn find(&self, id: Option<&str>, name: Option<&str>) -> Option<&Arc<InvVm>> {
        match id {
            Some(id) => self.vms.iter().find(|vm| vm.id == id),
            None => self.vms.iter().find(|vm| Some(vm.name.as_str()) == name),
        }
    }
}
