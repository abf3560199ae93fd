//! What the world consists of.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::task::{EntityKind, Task};
use super::touched::{Log, Tracked};
use crate::api::world::{Failure, Tools};
use crate::ports::SharedFiles;
use crate::weather::Sky;

/// Everything; ids are the managed object ids that vSphere shows.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub vms: Tracked<Vm>,
    pub(super) macs: Macs,
    pub folders: Tracked<Folder>,
    pub networks: Vec<Network>,
    pub datastores: Vec<Datastore>,
    pub hosts: Vec<Host>,
    pub cluster: Cluster,
    pub pools: Vec<Pool>,
    /// Id and name.
    pub datacenter: (String, String),
    /// Id, name and uuid of the distributed switch.
    pub switch: (String, String, String),
    pub tasks: Tracked<Task>,
    /// Tasks that are over, oldest first.
    pub(super) over: VecDeque<String>,
    pub log: Log,
    /// What was written into guests: by VM, path and text.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
    /// What was written on disks that several VMs have.
    pub shared: SharedFiles,
    pub(super) last_id: u64,
    pub sky: Sky,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FolderKind {
    Root,
    Vm,
    Host,
    Datastore,
    Network,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Folder {
    pub id: String,
    pub name: String,
    pub kind: FolderKind,
    /// A folder, the datacenter, or nothing for the root.
    pub parent: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Network {
    pub id: String,
    pub name: String,
    /// A portgroup of the distributed switch, with its VLAN.
    pub vlan: Option<i32>,
}

/// A LUN that every host sees and no datastore lies on, and its size.
pub const SPARE_LUN: &str = "naa.600a098038303053453f463045727a77";
pub(super) const SPARE_LUN_BYTES: i64 = 16 << 30;

#[derive(Debug, Clone)]
pub struct Datastore {
    pub id: String,
    pub name: String,
    /// `VMFS`, `NFS` …
    pub kind: String,
    pub capacity: i64,
    pub free: i64,
    /// A storage array copies its disks.
    pub xcopy: bool,
}

#[derive(Debug, Clone)]
pub struct Host {
    pub id: String,
    pub name: String,
    pub address: Ipv4Addr,
}

#[derive(Debug, Clone, Default)]
pub struct Cluster {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone)]
pub struct Pool {
    pub id: String,
    pub name: String,
    /// Another pool, or nothing for the cluster's root pool.
    pub parent: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControllerKind {
    ParaVirtual,
    LsiSas,
    Sata,
    Nvme,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    pub key: i32,
    pub bus: i32,
    pub kind: ControllerKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub key: i32,
    pub controller: i32,
    pub unit: i32,
    pub capacity: i64,
    pub thin: bool,
    pub eager: bool,
    pub mode: String,
    pub datastore: String,
    /// Path on the datastore, without snapshot suffix: `vm/vm.vmdk`.
    pub path: String,
    pub uuid: String,
    /// Raw device name and whether it is mapped physically.
    pub raw: Option<(String, bool)>,
    /// Only in a snapshot's disk, and only with change tracking.
    pub change_id: Option<String>,
    /// Several VMs may write to it.
    pub shared: bool,
    pub encrypted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adapter {
    Vmxnet3,
    E1000e,
    E1000,
}

/// What the guest does with an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestAdapter {
    /// `eth0`, `Ethernet0` …
    pub name: String,
    /// Addresses and prefix lengths; none: the one that the lab's DHCP derives from the MAC.
    pub addresses: Vec<(IpAddr, u8)>,
    pub is_static: bool,
    pub dns: Vec<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    pub key: i32,
    pub adapter: Adapter,
    /// Lower case with colons.
    pub mac: String,
    /// The MAC was given, not generated.
    pub manual: bool,
    pub network: String,
    pub start_connected: bool,
    pub connected: bool,
    pub guest: GuestAdapter,
}

impl Nic {
    /// Its own addresses, or the one that the lab's DHCP derives from the MAC.
    pub fn addresses(&self) -> Vec<(IpAddr, u8)> {
        if self.guest.addresses.is_empty() {
            return vec![(IpAddr::V4(self.lease()), 16)];
        }
        self.guest.addresses.clone()
    }

    /// First address of the first subnet of IPv4; of the DHCP's own where there is none.
    pub fn gateway(&self) -> IpAddr {
        let fourth = self.addresses().into_iter().find_map(|(address, prefix)| match address {
            IpAddr::V4(address) => Some((address, prefix)),
            IpAddr::V6(_) => None,
        });
        let (address, prefix) = fourth.unwrap_or_else(|| (self.lease(), 16));
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.clamp(1, 32))).unwrap_or(0);
        IpAddr::V4(Ipv4Addr::from((u32::from(address) & mask) + 1))
    }

    fn lease(&self) -> Ipv4Addr {
        let octet = |index: usize| {
            self.mac.split(':').nth(index).and_then(|text| u8::from_str_radix(text, 16).ok()).unwrap_or_default()
        };
        // .0.0, .0.1 and .255.255 are nobody's lease.
        Ipv4Addr::new(10, 60, octet(4).clamp(1, 254), octet(5).clamp(2, 254))
    }
}

/// What is installed on the disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestOs {
    pub windows: bool,
    /// `rhel8_64Guest` …
    pub guest_id: String,
    /// `Red Hat Enterprise Linux 8 (64-bit)` …
    pub full_name: String,
    pub pretty_name: String,
    pub hostname: String,
    pub users: Vec<(String, String)>,
    pub tools: Tools,
    /// How its migration fails.
    pub fails: Option<Failure>,
    /// What opens the encrypted root disk.
    pub luks: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: String,
    pub number: i32,
    pub name: String,
    pub description: String,
    pub created: String,
    pub quiesced: bool,
    pub powered_on: bool,
    pub parent: Option<String>,
    pub disks: Vec<Disk>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vm {
    pub id: String,
    pub name: String,
    pub folder: String,
    pub template: bool,
    /// BIOS uuid: the guest sees it.
    pub uuid: String,
    pub instance_uuid: String,
    pub efi: bool,
    pub secure_boot: bool,
    pub tpm: bool,
    pub cpus: i32,
    pub cores_per_socket: i32,
    pub memory_mb: i32,
    pub annotation: String,
    pub os: GuestOs,
    pub change_tracking: bool,
    /// Its cluster's DRS leaves it where it is.
    pub without_drs: bool,
    pub extra_config: Vec<(String, String)>,
    pub controllers: Vec<Controller>,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    pub powered_on: bool,
    /// Off, with its memory on disk.
    pub suspended: bool,
    pub tools_running: bool,
    pub host: String,
    /// Nothing for a template.
    pub pool: Option<String>,
    /// Where the configuration file lies.
    pub datastore: String,
    pub snapshots: Vec<Snapshot>,
    pub current_snapshot: Option<String>,
    /// The task that holds this VM. Tasks are not kept.
    #[serde(skip)]
    pub busy: Option<String>,
    pub created: String,
    /// Counts power-ons, so that a late event of an earlier boot is recognised.
    pub boots: u64,
    /// Counts changes of the configuration.
    pub revision: u64,
    pub change_sequence: u64,
}

impl Vm {
    pub fn power(&self) -> &'static str {
        match (self.powered_on, self.suspended) {
            (true, _) => "poweredOn",
            (false, true) => "suspended",
            (false, false) => "poweredOff",
        }
    }

    /// Change tracking by flag or by extra configuration.
    pub fn tracks_changes(&self) -> bool {
        self.change_tracking
            || self
                .extra_config
                .iter()
                .any(|(key, value)| key.eq_ignore_ascii_case("ctkEnabled") && value.eq_ignore_ascii_case("true"))
    }

    /// Names the files of the disks as vSphere does: in the VM's folder, numbered from the second on each datastore on.
    pub(super) fn name_disks(&mut self) {
        let name = &self.name;
        let mut on = std::collections::BTreeMap::<String, usize>::new();
        for disk in &mut self.disks {
            let number = on.entry(disk.datastore.clone()).or_default();
            disk.path =
                if *number == 0 { format!("{name}/{name}.vmdk") } else { format!("{name}/{name}_{number}.vmdk") };
            *number += 1;
        }
    }

    /// The networks in the order of the NICs, each once.
    pub fn networks(&self) -> Vec<String> {
        let mut networks: Vec<String> = Vec::new();
        for nic in &self.nics {
            if !networks.contains(&nic.network) {
                networks.push(nic.network.clone());
            }
        }
        networks
    }

    /// The datastores of configuration and disks, each once.
    pub fn datastores(&self) -> Vec<String> {
        let mut stores = vec![self.datastore.clone()];
        for disk in &self.disks {
            if !stores.contains(&disk.datastore) {
                stores.push(disk.datastore.clone());
            }
        }
        stores
    }
}

/// Which VMs have a MAC.
#[derive(Debug, Clone, Default)]
pub(super) struct Macs {
    vms: HashMap<String, BTreeSet<String>>,
    of: HashMap<String, Vec<String>>,
}

impl Macs {
    /// The VM is so now; `None`: it is gone.
    fn follow(&mut self, id: &str, vm: Option<&Vm>) {
        for mac in self.of.remove(id).into_iter().flatten() {
            if let Entry::Occupied(mut vms) = self.vms.entry(mac) {
                vms.get_mut().remove(id);
                if vms.get().is_empty() {
                    vms.remove();
                }
            }
        }
        let Some(vm) = vm else { return };
        let macs: Vec<String> = vm.nics.iter().map(|nic| nic.mac.clone()).collect();
        for mac in &macs {
            self.vms.entry(mac.clone()).or_default().insert(id.to_owned());
        }
        self.of.insert(id.to_owned(), macs);
    }

    /// The first by its id.
    pub(super) fn vm(&self, mac: &str) -> Option<&str> {
        self.vms.get(mac)?.first().map(String::as_str)
    }
}

impl State {
    /// Writes down what was touched; the answer is the ids.
    pub(super) fn record(&mut self) -> Vec<String> {
        let kinds = [
            (EntityKind::Vm, self.vms.take_touched()),
            (EntityKind::Folder, self.folders.take_touched()),
            (EntityKind::Task, self.tasks.take_touched()),
        ];
        let touched: Vec<(EntityKind, String)> =
            kinds.into_iter().flat_map(|(kind, ids)| ids.into_iter().map(move |id| (kind, id))).collect();
        if touched.is_empty() {
            return Vec::new();
        }
        for (_, id) in touched.iter().filter(|(kind, _)| *kind == EntityKind::Vm) {
            self.macs.follow(id, self.vms.get(id));
        }
        let ids = touched.iter().map(|(_, id)| id.clone()).collect();
        self.log.push(touched);
        ids
    }

    /// A fresh managed object id, e.g. `vm-1001`.
    pub fn fresh_id(&mut self, prefix: &str) -> String {
        self.last_id += 1;
        format!("{prefix}-{}", self.last_id)
    }

    pub fn datastore(&self, id: &str) -> Option<&Datastore> {
        self.datastores.iter().find(|store| store.id == id)
    }

    pub fn network(&self, id: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.id == id)
    }

    /// The VM and the snapshot of this id.
    pub fn snapshot(&self, id: &str) -> Option<(&Vm, &Snapshot)> {
        self.vms.values().find_map(|vm| Some((vm, vm.snapshots.iter().find(|snapshot| snapshot.id == id)?)))
    }

    #[cfg(test)]
    pub fn vm_by_name(&self, name: &str) -> Option<&Vm> {
        self.vms.values().find(|vm| vm.name == name)
    }
}

/// A MAC of VMware's range for generated addresses that no VM has.
pub(super) fn fresh_mac(state: &State) -> String {
    loop {
        let [a, b, c]: [u8; 3] = rand::random();
        // vCenter generates from 80 upwards; below is for manual addresses.
        let mac = format!("00:50:56:{:02x}:{b:02x}:{c:02x}", a | 0x80);
        if !state.vms.values().flat_map(|vm| &vm.nics).any(|nic| nic.mac == mac) {
            return mac;
        }
    }
}

pub(super) fn fresh_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The present as RFC 3339 in UTC.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}
