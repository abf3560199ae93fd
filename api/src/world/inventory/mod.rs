//! From what MTV's inventory lists of a Provider to a world in which the lab plays it. Pure: who reads the
//! inventory is somebody else.
//!
//! What is recorded is what the inventory shows, so that a lab of that world shows the same (but for ids and times).
//! What it does not show is as the lab makes it up: contents, logins, how disks are provisioned, oVirt's templates,
//! resource pools, notes. Key names are those of Forklift's `pkg/controller/provider/web`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cidr, Kind, Mac, Source, World};

mod openstack;
mod ovirt;
mod plain;
mod vsphere;

/// Items in full detail, by collection.
pub type Listed = BTreeMap<String, Vec<Value>>;

/// The collections that a world is made from. What is named by another stands before it, but for a subnet, which names
/// its network.
pub fn collections(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Vsphere => &["hosts", "datastores", "networks", "folders", "vms"],
        Kind::Ovirt => &["hosts", "storagedomains", "networks", "nicprofiles", "disks", "vms"],
        Kind::Openstack => &["volumetypes", "subnets", "networks", "flavors", "images", "volumes", "vms"],
        Kind::Ova | Kind::Hyperv | Kind::Ec2 => &["networks", "disks", "volumes", "vms"],
    }
}

impl World {
    /// A world with nothing but this platform.
    pub fn of_inventory(kind: Kind, listed: &Listed) -> Self {
        let mut source = match kind {
            Kind::Vsphere => vsphere::source(listed),
            Kind::Ovirt => ovirt::source(listed),
            Kind::Openstack => openstack::source(listed),
            Kind::Ova | Kind::Hyperv | Kind::Ec2 => plain::source(listed),
        };
        each_mac_once(&mut source);
        let mut world = Self::default();
        *world.source_mut(kind) = source;
        world
    }
}

/// Two VMs with one MAC are there in the field; the lab tells guests by it.
fn each_mac_once(source: &mut Source) {
    let mut seen = std::collections::BTreeSet::new();
    for nic in source.vms.iter_mut().flat_map(|vm| vm.nics.iter_mut().flatten()) {
        nic.mac = nic.mac.take().filter(|mac| seen.insert(mac.clone()));
    }
}

fn items<'a>(listed: &'a Listed, collection: &str) -> &'a [Value] {
    listed.get(collection).map_or(&[], Vec::as_slice)
}

/// Text at a JSON pointer; empty where there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Likewise, `None` where it is empty.
fn told(value: &Value, pointer: &str) -> Option<String> {
    Some(text(value, pointer)).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn count(value: &Value, pointer: &str) -> u32 {
    u32::try_from(number(value, pointer)).unwrap_or(u32::MAX)
}

fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn mac(text: &str) -> Option<Mac> {
    text.parse().ok()
}

/// An address with the prefix that is told, or the usual one; link-local ones are nobody's setting.
fn address(ip: &str, prefix: u64) -> Option<Cidr> {
    let address: std::net::IpAddr = ip.parse().ok()?;
    let usual = if address.is_ipv4() { 24 } else { 64 };
    let prefix = u8::try_from(prefix).ok().filter(|prefix| *prefix > 0).unwrap_or(usual);
    let local = matches!(address, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
    (!local).then_some(Cidr { address, prefix })
}

/// Names by id. A world tells things by name, so a second one of a name gets a number.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    /// `named`: what each item is called.
    fn of<'a>(items: impl IntoIterator<Item = &'a Value>, named: impl Fn(&'a Value) -> &'a str) -> Self {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut names = Self::default();
        for item in items {
            let name = named(item);
            let times = seen.entry(name).or_default();
            *times += 1;
            let name = if *times == 1 { name.to_owned() } else { format!("{name} ({times})") };
            names.0.insert(text(item, "/id").to_owned(), name);
        }
        names
    }

    fn get(&self, id: &str) -> Option<String> {
        self.0.get(id).cloned()
    }

    /// Whether something is called so.
    fn has(&self, name: &str) -> bool {
        self.0.values().any(|known| known == name)
    }

    /// The name of an item of those that they were made of.
    fn own(&self, item: &Value) -> String {
        self.get(text(item, "/id")).unwrap_or_default()
    }
}
