//! What the cloud consists of. Things take time: each that is on its way to another state says when
//! it gets there, and [`State::settle`] moves what is due. Nothing runs in the background.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::extras::KeyPair;
use crate::api::world::Failure;
use crate::kept::{Word, word};

/// What is installed on a disk; goes with every copy of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    pub windows: bool,
    pub pretty_name: String,
    pub hostname: String,
    /// How its migration fails.
    pub fails: Option<Failure>,
}

/// Where something is going, and when it is there.
#[derive(Debug, Clone, Copy)]
pub struct Pending<T> {
    pub at: Instant,
    pub next: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerNext {
    Active,
    Shutoff,
    Gone,
}

/// For volumes, snapshots and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Ready,
    /// Back to what it was before it was uploaded.
    Uploaded,
    Gone,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attachment {
    pub id: String,
    pub volume: String,
    pub device: String,
    pub delete_on_termination: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    /// `BUILD`, `ACTIVE`, `SHUTOFF`, `ERROR`, `DELETED`.
    #[serde(deserialize_with = "word")]
    pub status: Word,
    #[serde(skip)]
    pub task: Option<&'static str>,
    pub flavor: String,
    /// Nothing: it boots from a volume.
    pub image: Option<String>,
    pub ports: Vec<String>,
    /// Ports that Nova made and removes with the server.
    pub own_ports: Vec<String>,
    pub volumes: Vec<Attachment>,
    pub metadata: BTreeMap<String, String>,
    pub guest: Option<Guest>,
    pub fault: Option<String>,
    /// Name of its key pair.
    #[serde(default)]
    pub key: Option<String>,
    pub created: String,
    pub updated: String,
    #[serde(skip)]
    pub pending: Option<Pending<ServerNext>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    pub id: String,
    pub name: String,
    /// GiB.
    pub size: u64,
    #[serde(deserialize_with = "word")]
    pub status: Word,
    pub bootable: bool,
    pub kind: String,
    pub snapshot: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub image_metadata: BTreeMap<String, String>,
    /// Server, device, attachment, since.
    pub attached: Option<(String, String, String, String)>,
    pub guest: Option<Guest>,
    pub created: String,
    pub updated: String,
    #[serde(skip)]
    pub pending: Option<Pending<Next>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: String,
    pub name: String,
    pub volume: String,
    pub size: u64,
    #[serde(deserialize_with = "word")]
    pub status: Word,
    pub metadata: BTreeMap<String, String>,
    /// Of the volume at that moment.
    pub of: Volume,
    pub created: String,
    pub updated: String,
    #[serde(skip)]
    pub pending: Option<Pending<Next>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    pub id: String,
    pub name: String,
    #[serde(deserialize_with = "word")]
    pub status: Word,
    pub disk_format: String,
    pub container_format: String,
    pub visibility: String,
    pub size: Option<u64>,
    pub virtual_size: Option<u64>,
    pub min_disk: u64,
    pub properties: BTreeMap<String, String>,
    #[serde(with = "crate::kept::bytes")]
    pub data: Bytes,
    pub guest: Option<Guest>,
    pub created: String,
    pub updated: String,
    #[serde(skip)]
    pub pending: Option<Pending<Next>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Port {
    pub id: String,
    pub name: String,
    pub description: String,
    pub network: String,
    pub mac: String,
    /// Subnet and address.
    pub fixed: Vec<(String, Ipv4Addr)>,
    /// Server; empty: nobody's.
    pub device: String,
    pub created: String,
    pub updated: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub created: String,
}

/// A /24; the first address is the gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subnet {
    pub id: String,
    pub name: String,
    pub network: String,
    pub base: Ipv4Addr,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flavor {
    pub id: String,
    pub name: String,
    pub vcpus: u32,
    /// MiB.
    pub ram: u64,
    /// GiB.
    pub disk: u64,
    pub extra: BTreeMap<String, String>,
}

/// Everything, by id, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Token and whether it is scoped to the project.
    #[serde(skip)]
    pub tokens: BTreeMap<String, bool>,
    pub servers: IndexMap<String, Server>,
    /// Deleted ones, which `changes-since` still shows.
    pub deleted: Vec<Server>,
    pub volumes: IndexMap<String, Volume>,
    pub snapshots: IndexMap<String, Snapshot>,
    pub images: IndexMap<String, Image>,
    pub ports: IndexMap<String, Port>,
    pub networks: Vec<Network>,
    pub subnets: Vec<Subnet>,
    pub flavors: Vec<Flavor>,
    /// Id and name.
    pub types: Vec<(String, String)>,
    /// By name.
    #[serde(default)]
    pub keypairs: IndexMap<String, KeyPair>,
}

pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Nova's and Glance's time: with zone.
pub fn now_z() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time of a change, told in whole seconds: never that of the change before. A cloud takes seconds for each; whoever
/// looked between two of the same second would never see the second one (Forklift's collector asks whether it is later).
pub fn later_z(before: &str) -> String {
    let now = jiff::Timestamp::now();
    let next =
        before.parse::<jiff::Timestamp>().ok().and_then(|before| before.checked_add(jiff::Span::new().seconds(1)).ok());
    next.map_or(now, |next| next.max(now)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Cinder's time: without zone. Clients are strict about it.
pub fn now_bare() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

fn due<T: Copy>(pending: &mut Option<Pending<T>>, now: Instant) -> Option<T> {
    let reached = pending.as_ref().filter(|p| p.at <= now).map(|p| p.next);
    if reached.is_some() {
        *pending = None;
    }
    reached
}

/// In which everything ends that a cloud does.
const LATER: Duration = Duration::from_secs(24 * 3600);

impl State {
    /// As it will be when all that goes on is over, for who does not see it end.
    pub fn settled(&self) -> Self {
        let mut state = self.clone();
        state.settle(Instant::now() + LATER);
        state
    }

    /// Moves everything that is due.
    pub fn settle(&mut self, now: Instant) {
        for id in self.servers.keys().cloned().collect::<Vec<_>>() {
            let Some(server) = self.servers.get_mut(&id) else { continue };
            let Some(next) = due(&mut server.pending, now) else { continue };
            server.task = None;
            server.updated = later_z(&server.updated);
            match next {
                ServerNext::Active => server.status = "ACTIVE",
                ServerNext::Shutoff => server.status = "SHUTOFF",
                ServerNext::Gone => self.drop_server(&id),
            }
        }
        let mut gone = Vec::new();
        for volume in self.volumes.values_mut() {
            match due(&mut volume.pending, now) {
                Some(Next::Gone) => gone.push(volume.id.clone()),
                Some(Next::Ready | Next::Uploaded) => {
                    volume.status = if volume.attached.is_some() { "in-use" } else { "available" };
                    volume.updated = now_bare();
                }
                None => {}
            }
        }
        for id in gone.drain(..) {
            self.volumes.shift_remove(&id);
            self.snapshots.retain(|_, snapshot| snapshot.volume != id);
        }
        for snapshot in self.snapshots.values_mut() {
            match due(&mut snapshot.pending, now) {
                Some(Next::Gone) => gone.push(snapshot.id.clone()),
                Some(_) => {
                    snapshot.status = "available";
                    snapshot.updated = now_bare();
                }
                None => {}
            }
        }
        for id in gone {
            self.snapshots.shift_remove(&id);
        }
        for image in self.images.values_mut() {
            if due(&mut image.pending, now).is_some() {
                image.status = "active";
                image.updated = later_z(&image.updated);
            }
        }
    }

    /// A server's end: its own ports go, others are set free; its volumes go where they were told to.
    fn drop_server(&mut self, id: &str) {
        let Some(mut server) = self.servers.shift_remove(id) else { return };
        for port in &server.ports {
            if server.own_ports.contains(port) {
                self.ports.shift_remove(port);
            } else if let Some(port) = self.ports.get_mut(port) {
                port.device.clear();
                port.updated = later_z(&port.updated);
            }
        }
        for attachment in &server.volumes {
            let kept_by_snapshots = self.snapshots.values().any(|s| s.volume == attachment.volume);
            // Cinder refuses to delete a volume that has snapshots, and Nova does not insist.
            if attachment.delete_on_termination && !kept_by_snapshots {
                self.volumes.shift_remove(&attachment.volume);
            } else if let Some(volume) = self.volumes.get_mut(&attachment.volume) {
                volume.attached = None;
                volume.status = "available";
                volume.updated = now_bare();
            }
        }
        server.status = "DELETED";
        server.updated = later_z(&server.updated);
        self.deleted.push(server);
    }

    pub fn flavor(&self, id: &str) -> Option<&Flavor> {
        self.flavors.iter().find(|f| f.id == id)
    }

    pub fn network(&self, id: &str) -> Option<&Network> {
        self.networks.iter().find(|n| n.id == id)
    }

    /// A MAC of OpenStack's range that no port has.
    pub fn fresh_mac(&self) -> String {
        loop {
            let [a, b, c]: [u8; 3] = rand::random();
            let mac = format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}");
            if !self.ports.values().any(|p| p.mac == mac) {
                return mac;
            }
        }
    }

    /// A free address of a subnet.
    pub fn fresh_address(&self, subnet: &Subnet) -> Option<Ipv4Addr> {
        let base = u32::from(subnet.base);
        let taken = |ip: &Ipv4Addr| self.ports.values().any(|p| p.fixed.iter().any(|(_, own)| own == ip));
        (10..250).map(|host| Ipv4Addr::from(base + host)).find(|ip| !taken(ip))
    }

    /// Makes a port with an address of each named subnet, or of the network's first.
    pub fn add_port(&mut self, name: &str, network: &str, mac: Option<String>, subnets: &[String]) -> String {
        let wanted: Vec<Subnet> = self
            .subnets
            .iter()
            .filter(|s| s.network == network && (subnets.is_empty() || subnets.contains(&s.id)))
            .cloned()
            .collect();
        let fixed = wanted.iter().filter_map(|s| Some((s.id.clone(), self.fresh_address(s)?))).collect();
        let mac = mac.unwrap_or_else(|| self.fresh_mac());
        let (id, now) = (uuid(), now_z());
        let port = Port {
            id: id.clone(),
            name: name.to_owned(),
            description: String::new(),
            network: network.to_owned(),
            mac,
            fixed,
            device: String::new(),
            created: now.clone(),
            updated: now,
        };
        self.ports.insert(id.clone(), port);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_lab_has_it_as_it_will_be_when_all_is_over() {
        let source = crate::api::world::World::shipped().unwrap().openstack;
        let mut state = super::super::seed::state(&source);
        let server = state.servers.values_mut().next().unwrap();
        server.pending = Some(Pending { at: Instant::now() + LATER / 2, next: ServerNext::Shutoff });
        server.name = "renamed".to_owned();
        let again: State = crate::kept::read("t", &crate::kept::written("t", &state.settled())).unwrap();
        assert_eq!(format!("{again:?}"), format!("{:?}", state.settled()));
        let server = again.servers.values().find(|server| server.name == "renamed").unwrap();
        assert_eq!(server.status, "SHUTOFF");
    }
}
