//! What MTV knows of a source platform: the records that its collectors write, its controllers
//! validate and migrate by, and its inventory shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// Stands for a cluster's own network, which has neither id nor name, as an [`InvNic::network_id`].
pub const POD_NETWORK: &str = "pod";

#[derive(Debug, Clone, PartialEq)]
pub struct InvNic {
    pub mac: String,
    pub network_id: String,
    pub device_key: i64,
    pub order: i64,
    pub connected: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InvDisk {
    pub key: i64,
    pub unit_number: i64,
    pub controller_key: i64,
    /// `[datastore] dir/file.vmdk`.
    pub file: String,
    pub datastore_id: String,
    pub capacity_bytes: u64,
    pub bus: String,
    pub mode: String,
}

/// Device, MAC, address, prefix length, origin, gateway, DNS servers.
pub type GuestNetwork = (String, String, String, u8, String, Option<String>, Vec<String>);

#[derive(Debug, Clone, PartialEq)]
pub struct InvVm {
    pub id: String,
    pub name: String,
    pub uuid: String,
    pub is_template: bool,
    pub power_on: bool,
    pub firmware_efi: bool,
    pub secure_boot: bool,
    pub tpm: bool,
    pub cpu_count: u32,
    pub cores_per_socket: u32,
    pub memory_mb: u64,
    pub guest_id: String,
    pub guest_name: String,
    pub host_id: String,
    pub folder_id: String,
    pub tools_running: bool,
    pub tools_status: String,
    pub changed_block_tracking: bool,
    pub snapshot_ids: Vec<String>,
    pub nics: Vec<InvNic>,
    pub disks: Vec<InvDisk>,
    pub guest_networks: Vec<GuestNetwork>,
    pub guest_ip: String,
    pub revision: u64,
    /// What only this platform knows, for its own part of MTV.
    pub extra: Value,
}

impl InvVm {
    /// As MTV tells Windows from others: by what the platform calls the system.
    pub fn is_windows(&self) -> bool {
        [&self.guest_id, &self.guest_name].iter().any(|text| text.to_lowercase().contains("win"))
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
    pub instance_uuid: String,
    pub product: String,
    pub version: String,
    /// The REST collections in full detail, without `selfLink`.
    pub collections: BTreeMap<String, Vec<Arc<Value>>>,
    /// Keys that a collection shows at `detail=0`; empty: all of them.
    pub summary_keys: &'static [&'static str],
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
