//! A source platform as the lab's MTV uses it: log in by a Provider's Secret, collect, power, snapshot.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::inventory::model::{InvDisk, InvVm, Inventory};

/// What a Provider and its Secret say of the way in. No `Debug`: passwords.
#[derive(Clone, PartialEq)]
pub struct Login {
    pub url: String,
    /// The Secret, decoded.
    pub secret: BTreeMap<String, String>,
    /// `spec.settings`.
    pub settings: BTreeMap<String, String>,
    pub insecure: bool,
    pub ca_pem: Option<String>,
}

impl Login {
    /// A key of the Secret; empty where it is absent.
    pub fn secret(&self, key: &str) -> &str {
        self.secret.get(key).map_or("", String::as_str)
    }
}

/// Why a login did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectError {
    /// The credentials were refused; MTV does not try again.
    Auth(String),
    Failed(String),
}

/// A logged-in session.
#[async_trait]
pub trait PlatformClient: Send + Sync {
    async fn collect(&self) -> Result<Inventory, String>;
    /// Returns when something changed, or after a while; false: certainly nothing did.
    async fn changed(&self) -> Result<bool, String>;
    /// Whether the platform tells of changes by itself. Of others is asked, and the less often the
    /// less anybody looks at the inventory.
    fn pushes(&self) -> bool {
        false
    }
    async fn power(&self, vm_id: &str, on: bool) -> Result<(), String>;
    async fn power_state(&self, vm_id: &str) -> Result<bool, String>;
    async fn create_snapshot(&self, vm_id: &str, name: &str) -> Result<String, String>;
    async fn remove_snapshot(&self, vm_id: &str, snapshot_id: &str) -> Result<(), String>;
    /// By a disk's [`InvDisk::source`], what a later copy begins from: the change id that a snapshot holds of it on vSphere
    /// (`GetSnapshotDeltas`), elsewhere the snapshot itself.
    async fn copied_to(&self, vm: &InvVm, snapshot_id: &str) -> Result<BTreeMap<String, String>, String> {
        Ok(vm.disks.iter().map(|disk| (disk.source.clone(), snapshot_id.to_owned())).collect())
    }
    /// Makes on the source what the VM's disks are copied from, where they can't be read in place.
    async fn prepare_copy(&self, _vm: &InvVm) -> Result<(), String> {
        Ok(())
    }
    /// The id of the image that [`PlatformClient::prepare_copy`] made of a disk, where disks are copied off images.
    async fn image_of(&self, _vm: &InvVm, _disk: &InvDisk) -> Result<Option<String>, String> {
        Ok(None)
    }
    /// What [`PlatformClient::prepare_copy`] needed on the way, as the platform calls it, in the order of removal. Asked for
    /// right after: a later migration of the VM makes its own by the same names. `keep_snapshots`: a defect, by which
    /// snapshots made there stay.
    async fn needed_on_the_way(&self, _vm: &InvVm, _keep_snapshots: bool) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
    /// Removes these, while the disks are copied.
    async fn tidy_copy(&self, _made: Vec<String>) -> Result<(), String> {
        Ok(())
    }
    /// Removes what the disks were copied from.
    async fn finish_copy(&self, _vm: &InvVm) -> Result<(), String> {
        Ok(())
    }
    async fn logout(&self);
}
