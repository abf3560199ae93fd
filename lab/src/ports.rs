//! What one part of the lab asks of another, as traits: so that each can be built, tested and
//! replaced alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::api::world::Failure;
use crate::esxi::EsxiHost;

/// A byte stream to a guest's port.
pub trait GuestStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> GuestStream for T {}

/// Why a KubeVirt subresource could not be served; becomes a `Status` body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SubresourceError {
    /// 404, 409, 500 …
    pub code: u16,
    /// `NotFound`, `Conflict`, `InternalError` …
    pub reason: String,
    pub message: String,
}

/// What listens in pods, by the part that makes it listen.
#[async_trait]
pub trait PodPorts: Send + Sync {
    /// A stream to a port of a running pod; none where nobody listens.
    async fn dial(&self, pod: &serde_json::Value, port: u16) -> Option<Box<dyn GuestStream>>;
}

/// KubeVirt's subresources (`subresources.kubevirt.io/v1`), served by the API server, answered by
/// the KubeVirt part.
#[async_trait]
pub trait KubevirtSubresources: Send + Sync {
    /// Opens a stream to a port of a running VMI's guest.
    async fn portforward(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<Box<dyn GuestStream>, SubresourceError>;
    /// Opens the serial `console` or the `vnc` screen of a running VMI.
    async fn screen(&self, namespace: &str, name: &str, what: &str) -> Result<Box<dyn GuestStream>, SubresourceError>;
    /// `start`, `stop` or `restart` of a VirtualMachine.
    async fn power(&self, namespace: &str, name: &str, verb: &str) -> Result<(), SubresourceError>;
    /// What is done besides power: to an instance `pause`, `softreboot` …, to a VirtualMachine `migrate`, `addvolume` …
    async fn act(
        &self,
        namespace: &str,
        name: &str,
        verb: &str,
        body: &serde_json::Value,
    ) -> Result<(), SubresourceError>;
    /// `guestosinfo`, `userlist`, `filesystemlist` of a VMI.
    async fn guest_info(&self, namespace: &str, name: &str, what: &str) -> Result<serde_json::Value, SubresourceError>;
    /// The VirtualMachine with its instance type and preference merged in.
    async fn expand_spec(&self, namespace: &str, name: &str) -> Result<serde_json::Value, SubresourceError>;
}

/// One interface inside a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNic {
    /// `eth0`, `Ethernet0` …
    pub name: String,
    /// Lower case with colons.
    pub mac: String,
    /// Address and prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    pub is_static: bool,
    pub gateway: Option<IpAddr>,
    pub dns: Vec<IpAddr>,
}

/// What is installed on a VM's disks, wherever the VM runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestProfile {
    pub windows: bool,
    pub hostname: String,
    /// e.g. `Red Hat Enterprise Linux 8.10`.
    pub pretty_name: String,
    /// User and password.
    pub users: Vec<(String, String)>,
    pub nics: Vec<GuestNic>,
    /// What was written on its disks: path and text.
    pub files: BTreeMap<String, String>,
    /// How a migration of it fails.
    pub fails: Option<Failure>,
    /// What opens its encrypted root disk.
    pub luks: Option<String>,
    /// A disk of it that other VMs write to, too.
    pub shared: Option<SharedDisk>,
}

/// A disk that several VMs have: its file, and what is on it.
#[derive(Debug, Clone, Default)]
pub struct SharedDisk {
    pub file: String,
    pub all: SharedFiles,
}

/// What is on disks that several VMs have: by the disk's file, path and text.
pub type SharedFiles = Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>;

impl PartialEq for SharedDisk {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Eq for SharedDisk {}

/// What the volume is called stands beside its files; no file can be called so.
const LABEL: &str = ":label";

impl SharedDisk {
    fn whole(&self) -> BTreeMap<String, String> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).get(&self.file).cloned().unwrap_or_default()
    }

    fn keep(&self, whole: BTreeMap<String, String>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).insert(self.file.clone(), whole);
    }

    pub fn read(&self) -> BTreeMap<String, String> {
        let mut files = self.whole();
        files.remove(LABEL);
        files
    }

    pub fn write(&self, mut files: BTreeMap<String, String>) {
        files.extend(self.whole().remove_entry(LABEL));
        self.keep(files);
    }

    /// What its file system is called.
    pub fn label(&self) -> String {
        self.whole().remove(LABEL).unwrap_or_default()
    }

    pub fn call(&self, label: &str) {
        let mut whole = self.whole();
        whole.insert(LABEL.to_owned(), label.to_owned());
        self.keep(whole);
    }
}

/// Knows the guests of the source world, so that a migrated VM answers as its source would.
pub trait GuestDirectory: Send + Sync {
    /// The guest that has an adapter with this MAC.
    fn by_mac(&self, mac: &str) -> Option<GuestProfile>;
    /// Which failure of a migration waits in that guest; the outer `None`: there is no such guest. It is asked again and
    /// again, and the rest of a guest is much to copy.
    fn failure_by_mac(&self, mac: &str) -> Option<Option<Failure>> {
        self.by_mac(mac).map(|guest| guest.fails)
    }
    /// The guest of the VM of this name, where a platform is asked by name.
    fn by_name(&self, name: &str) -> Option<GuestProfile> {
        let _ = name;
        None
    }
    /// The guest of the VM of this id, where a platform is asked by id.
    fn by_id(&self, id: &str) -> Option<GuestProfile> {
        let _ = id;
        None
    }
    /// Whether a storage array copies disks off this datastore (its id or name); a platform that does not know it says nothing
    /// against it.
    fn xcopies(&self, datastore: &str) -> bool {
        let _ = datastore;
        true
    }
    /// The name of the host of this id, where the platform has such.
    fn host_name(&self, id: &str) -> Option<String> {
        let _ = id;
        None
    }
    /// The ESXi host of this id or name, where the platform has such.
    fn esxi(&self, host: &str) -> Option<Arc<EsxiHost>> {
        let _ = host;
        None
    }
}

/// A Provider's inventory that is asked at every look, instead of being collected.
#[async_trait]
pub trait LiveInventory: Send + Sync {
    /// A REST collection of this Provider; an unknown one is empty. `None`: nobody could be asked.
    async fn collection(&self, provider: &serde_json::Value, name: &str) -> Option<Vec<serde_json::Value>>;
}
