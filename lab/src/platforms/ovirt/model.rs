//! What an engine manages: one state, changed in whole steps.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::RngExt;

use crate::api::world::{Failure, Tools};

/// The present as epoch milliseconds.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[derive(Debug, Clone)]
pub struct Named {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone)]
pub struct Datacenter {
    pub id: String,
    pub name: &'static str,
    pub status: &'static str,
}

#[derive(Debug, Clone)]
pub struct Domain {
    pub id: String,
    pub name: String,
    /// `data`, `iso` …
    pub kind: String,
    pub storage: String,
    pub available: i64,
    pub used: i64,
}

/// A network and its one vNIC profile, which has the same name.
#[derive(Debug, Clone)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub vlan: Option<u32>,
    pub profile: String,
}

#[derive(Debug, Clone)]
pub struct Nic {
    pub id: String,
    pub name: String,
    pub interface: String,
    /// `None`: plugged into nothing.
    pub profile: Option<String>,
    /// Empty in a template.
    pub mac: String,
    /// `eth0`, `Ethernet0` …
    pub guest_name: String,
    /// Address and prefix length; nothing: the one that the lab's DHCP derives from the MAC.
    pub fixed: Option<(Ipv4Addr, u8)>,
    pub is_static: bool,
    pub plugged: bool,
}

impl Nic {
    /// Static address, or the one that the lab's DHCP derives from the MAC.
    pub fn address(&self) -> (Ipv4Addr, u8) {
        self.fixed.unwrap_or_else(|| {
            let octet = |index: usize| {
                self.mac.split(':').nth(index).and_then(|t| u8::from_str_radix(t, 16).ok()).unwrap_or_default()
            };
            (Ipv4Addr::new(10, 61, octet(4).clamp(1, 254), octet(5).clamp(2, 254)), 16)
        })
    }

    /// First address of the subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        let (address, prefix) = self.address();
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.clamp(1, 32))).unwrap_or(0);
        Ipv4Addr::from((u32::from(address) & mask) + 1)
    }
}

#[derive(Debug, Clone)]
pub struct Attachment {
    /// The attachment has no id but its disk's.
    pub disk: String,
    pub interface: String,
    pub bootable: bool,
}

#[derive(Debug, Clone)]
pub struct Disk {
    pub id: String,
    pub name: String,
    pub size: i64,
    /// `ok`, `locked`
    pub status: &'static str,
    pub domain: String,
    /// Of the active layer.
    pub image: String,
    /// `cow`, `raw`
    pub format: String,
    pub sparse: bool,
    /// Several VMs may write to it.
    pub shared: bool,
}

#[derive(Debug, Clone)]
pub struct Snapshot {
    pub id: String,
    pub description: String,
    pub date: i64,
    /// `ok`, `locked`
    pub status: &'static str,
    /// Image of each disk at that time: disk and image id.
    pub images: Vec<(String, String)>,
}

/// What is installed.
#[derive(Debug, Clone)]
pub struct Guest {
    pub windows: bool,
    pub hostname: String,
    pub pretty_name: String,
    pub distribution: &'static str,
    pub release: &'static str,
    pub tools: Tools,
    /// How its migration fails.
    pub fails: Option<Failure>,
}

/// A VM or a template.
#[derive(Debug, Clone)]
pub struct Machine {
    pub id: String,
    pub name: String,
    pub description: String,
    pub memory: i64,
    pub sockets: u32,
    pub cores: u32,
    /// `rhel_8x64` …
    pub os: String,
    /// `q35_ovmf` …
    pub bios: String,
    pub nics: Vec<Nic>,
    pub attachments: Vec<Attachment>,
    pub snapshots: Vec<Snapshot>,
    /// Of a VM: `down`, `up` …; of a template: `ok`.
    pub status: &'static str,
    pub created: i64,
    /// The template that a VM was made from.
    pub template: Option<String>,
    /// Of a template with several versions.
    pub version: u32,
    pub host: Option<String>,
    /// Whether the guest's agent reports.
    pub reports: bool,
    /// Counts power-ons, so that a late step of an earlier boot is recognised.
    pub boots: u64,
    /// The id that every VM's `active` snapshot has.
    pub active: String,
    pub guest: Guest,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub id: u64,
    pub code: u32,
    pub severity: &'static str,
    pub description: String,
    pub time: i64,
    pub correlation: String,
    /// Id and name.
    pub vm: Option<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub id: String,
    pub description: String,
    pub status: &'static str,
    pub start: i64,
    pub end: Option<i64>,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct State {
    pub instance: String,
    pub datacenters: Vec<Datacenter>,
    /// In the first data center.
    pub cluster: Named,
    pub hosts: Vec<Named>,
    pub networks: Vec<Network>,
    pub domains: Vec<Domain>,
    pub templates: BTreeMap<String, Machine>,
    pub vms: BTreeMap<String, Machine>,
    pub disks: BTreeMap<String, Disk>,
    /// Oldest first.
    pub events: Vec<Event>,
    pub jobs: Vec<Job>,
}

impl State {
    pub fn datacenter(&self) -> &Datacenter {
        &self.datacenters[0]
    }

    pub fn event(&mut self, code: u32, description: String, vm: Option<&str>, correlation: &str) {
        let vm = vm.and_then(|id| self.vms.get(id)).map(|vm| (vm.id.clone(), vm.name.clone()));
        self.event_of(code, description, vm, correlation);
    }

    /// Of a VM that may be gone.
    pub fn event_of(&mut self, code: u32, description: String, vm: Option<(String, String)>, correlation: &str) {
        let id = self.events.last().map_or(1001, |e| e.id + 1);
        let (severity, correlation) = ("normal", correlation.to_owned());
        self.events.push(Event { id, code, severity, description, time: now(), correlation, vm });
    }

    /// A MAC of the engine's pool that no VM has.
    pub fn fresh_mac(&self) -> String {
        loop {
            let [a, b, c]: [u8; 3] = rand::rng().random();
            let mac = format!("56:6f:{:02x}:{a:02x}:{b:02x}:{c:02x}", 0x10);
            if !self.vms.values().flat_map(|vm| &vm.nics).any(|nic| nic.mac == mac) {
                return mac;
            }
        }
    }

    pub fn set_disks(&mut self, vm: &str, status: &'static str) {
        let ids: Vec<String> =
            self.vms.get(vm).map(|vm| vm.attachments.iter().map(|a| a.disk.clone()).collect()).unwrap_or_default();
        for id in ids {
            if let Some(disk) = self.disks.get_mut(&id) {
                disk.status = status;
            }
        }
    }

    /// Whether an operation of a VM's disks is going on.
    pub fn is_locked(&self, vm: &Machine) -> bool {
        let locked = |a: &Attachment| self.disks.get(&a.disk).is_some_and(|d| d.status == "locked");
        vm.status == "image_locked"
            || vm.attachments.iter().any(locked)
            || vm.snapshots.iter().any(|s| s.status == "locked")
    }
}
