//! What an engine manages: one state, changed in whole steps.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::extras::Tag;
use crate::api::world::{Failure, Tools};
use crate::kept::{Word, word};

/// The present as epoch milliseconds.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Named {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Datacenter {
    pub id: String,
    #[serde(deserialize_with = "word")]
    pub name: Word,
    #[serde(deserialize_with = "word")]
    pub status: Word,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub vlan: Option<u32>,
    pub profile: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attachment {
    /// The attachment has no id but its disk's.
    pub disk: String,
    pub interface: String,
    pub bootable: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    pub id: String,
    pub name: String,
    pub size: i64,
    /// `ok`, `locked`
    #[serde(deserialize_with = "word")]
    pub status: Word,
    pub domain: String,
    /// Of the active layer.
    pub image: String,
    /// `cow`, `raw`
    pub format: String,
    pub sparse: bool,
    /// Several VMs may write to it.
    pub shared: bool,
}

/// What goes with a VM that is being removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Going {
    Alone,
    WithDisks,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: String,
    pub description: String,
    pub date: i64,
    /// `ok`, `locked`
    #[serde(deserialize_with = "word")]
    pub status: Word,
    /// It is being removed.
    #[serde(default)]
    pub goes: bool,
    /// Image of each disk at that time: disk and image id.
    pub images: Vec<(String, String)>,
}

/// What is installed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Guest {
    pub windows: bool,
    pub hostname: String,
    pub pretty_name: String,
    #[serde(deserialize_with = "word")]
    pub distribution: Word,
    #[serde(deserialize_with = "word")]
    pub release: Word,
    pub tools: Tools,
    /// How its migration fails.
    pub fails: Option<Failure>,
}

/// A VM or a template.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    #[serde(deserialize_with = "word")]
    pub status: Word,
    pub created: i64,
    /// The template that a VM was made from.
    pub template: Option<String>,
    /// Of a template with several versions.
    pub version: u32,
    pub host: Option<String>,
    /// Whether the guest's agent reports.
    pub reports: bool,
    /// It is being removed.
    #[serde(default)]
    pub goes: Option<Going>,
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    #[serde(default)]
    pub tags: BTreeMap<String, Tag>,
    /// Oldest first. Neither events nor jobs are kept.
    #[serde(skip)]
    pub events: Vec<Event>,
    #[serde(skip)]
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

    /// As it will be when all that goes on is over, for who does not see it end.
    pub fn settled(&self) -> Self {
        let mut state = self.clone();
        for machine in self.vms.values().filter(|machine| machine.goes.is_some()) {
            state.vms.remove(&machine.id);
            if machine.goes == Some(Going::WithDisks) {
                machine.attachments.iter().for_each(|attachment| drop(state.disks.remove(&attachment.disk)));
            }
        }
        for machine in state.vms.values_mut().chain(state.templates.values_mut()) {
            match machine.status {
                "image_locked" | "powering_down" => {
                    (machine.status, machine.host, machine.reports) = ("down", None, false);
                }
                "powering_up" | "wait_for_launch" | "up" => {
                    (machine.status, machine.reports) = ("up", machine.guest.tools == Tools::Running);
                }
                _ => {}
            }
            machine.snapshots.retain(|snapshot| !snapshot.goes);
            machine.snapshots.iter_mut().for_each(|snapshot| snapshot.status = "ok");
        }
        state.disks.values_mut().for_each(|disk| disk.status = "ok");
        state
    }

    /// Whether an operation of a VM's disks is going on.
    pub fn is_locked(&self, vm: &Machine) -> bool {
        let locked = |a: &Attachment| self.disks.get(&a.disk).is_some_and(|d| d.status == "locked");
        vm.status == "image_locked"
            || vm.attachments.iter().any(locked)
            || vm.snapshots.iter().any(|s| s.status == "locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_lab_has_it_as_it_will_be_when_all_is_over() {
        let source = crate::api::world::World::shipped().unwrap().ovirt;
        let mut state = super::super::seed::state(&source);
        let machine = state.vms.values_mut().next().unwrap();
        machine.status = "powering_up";
        machine.name = "renamed".to_owned();
        let leaving = Snapshot {
            id: "s".to_owned(),
            description: String::new(),
            date: 0,
            status: "locked",
            goes: true,
            images: Vec::new(),
        };
        machine.snapshots.push(leaving);
        let removed =
            state.vms.values_mut().find(|machine| machine.name != "renamed" && !machine.attachments.is_empty());
        let removed = removed.unwrap();
        (removed.status, removed.goes) = ("image_locked", Some(Going::WithDisks));
        let (gone, disk) = (removed.id.clone(), removed.attachments[0].disk.clone());
        let again: State = crate::kept::read("t", &crate::kept::written("t", &state.settled())).unwrap();
        assert_eq!(
            format!("{again:?}"),
            format!("{:?}", State { events: Vec::new(), jobs: Vec::new(), ..state.settled() })
        );
        let machine = again.vms.values().find(|machine| machine.name == "renamed").unwrap();
        assert_eq!(machine.status, "up");
        assert!(machine.snapshots.iter().all(|snapshot| snapshot.id != "s"), "what was being removed is gone");
        assert!(!again.vms.contains_key(&gone) && !again.disks.contains_key(&disk));
    }
}
