//! A recorded world without names, MACs and addresses of the place that it was recorded at: the same name gets
//! the same replacement wherever it stands, and what is in one network stays in one network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Cidr, Guest, Kind, Mac, Source, World};

/// Replacements by what they stand for, numbered from 1 in the order in which they are asked for.
#[derive(Default)]
struct Numbers(BTreeMap<String, usize>);

impl Numbers {
    fn of(&mut self, text: &str) -> usize {
        let next = self.0.len() + 1;
        *self.0.entry(text.to_owned()).or_insert(next)
    }

    fn name(&mut self, noun: &str, text: &mut String) {
        *text = format!("{noun}-{}", self.of(text));
    }

    fn maybe(&mut self, noun: &str, text: &mut Option<String>) {
        if let Some(text) = text {
            self.name(noun, text);
        }
    }
}

#[derive(Default)]
struct Disguise {
    vms: Numbers,
    hosts: Numbers,
    datastores: Numbers,
    networks: Numbers,
    folders: Numbers,
    pools: Numbers,
    flavors: Numbers,
    images: Numbers,
    macs: Numbers,
    subnets: Numbers,
    hosts_in: BTreeMap<usize, Numbers>,
}

impl World {
    /// Replaces what tells whose world it is. What the guest's system is stays; a VM's name keeps the word for it.
    pub fn anonymise(&mut self) {
        let mut disguise = Disguise::default();
        for kind in Kind::ALL {
            disguise.source(self.source_mut(kind));
        }
    }
}

impl Disguise {
    fn source(&mut self, source: &mut Source) {
        for host in &mut source.hosts {
            self.hosts.name("host", &mut host.name);
            host.address = None;
        }
        source.datastores.iter_mut().for_each(|store| self.datastores.name("datastore", &mut store.name));
        for network in &mut source.networks {
            self.networks.name("network", &mut network.name);
            network.vlan = None;
            network.subnet = network.subnet.map(|subnet| self.subnet(subnet));
        }
        source.folders.iter_mut().for_each(|folder| self.folders.name("folder", folder));
        source.pools.iter_mut().for_each(|pool| self.pools.name("pool", pool));
        source.flavors.iter_mut().for_each(|flavor| self.flavors.name("flavor", &mut flavor.name));
        source.images.iter_mut().for_each(|image| self.images.name("image", &mut image.name));
        for (number, disk) in (1..).zip(&mut source.disks) {
            disk.name = Some(format!("disk-{number}"));
            self.datastores.maybe("datastore", &mut disk.datastore);
        }
        for vm in &mut source.vms {
            if let Some(fails) = &mut vm.fails {
                // What MTV says may hold any of the names.
                fails.error = format!("failed in {}", fails.at);
            }
            let noun = format!("vm-{:?}", vm.os).to_lowercase();
            self.vms.name(&noun, &mut vm.name);
            vm.known_as = None;
            vm.guest = Guest { tools: vm.guest.tools, id: vm.guest.id.take(), ..Guest::default() };
            vm.uuid = None;
            vm.notes.clear();
            vm.extra.clear();
            self.hosts.maybe("host", &mut vm.host);
            self.folders.maybe("folder", &mut vm.folder);
            self.pools.maybe("pool", &mut vm.pool);
            self.datastores.maybe("datastore", &mut vm.datastore);
            self.flavors.maybe("flavor", &mut vm.flavor);
            self.images.maybe("image", &mut vm.image);
            for disk in vm.disks.iter_mut().flatten() {
                disk.name = None;
                self.datastores.maybe("datastore", &mut disk.datastore);
            }
            for nic in vm.nics.iter_mut().flatten() {
                self.networks.maybe("network", &mut nic.network);
                nic.mac = nic.mac.as_ref().and_then(|mac| self.mac(mac));
                nic.addresses.iter_mut().for_each(|own| *own = self.address(*own));
                nic.dns.clear();
            }
            for (number, snapshot) in (1..).zip(&mut vm.snapshots) {
                (snapshot.name, snapshot.description) = (format!("snapshot-{number}"), String::new());
            }
        }
    }

    /// The vendor's part stays: MTV and guests tell hypervisors by it.
    fn mac(&mut self, mac: &Mac) -> Option<Mac> {
        let number = self.macs.of(mac.as_str());
        let vendor = mac.as_str().get(..8)?;
        format!("{vendor}:{:02x}:{:02x}:{:02x}", (number >> 16) & 0x3f, (number >> 8) & 0xff, number & 0xff)
            .parse()
            .ok()
    }

    /// The number of a network, and the address of it that stands for this one's network.
    fn network_of(&mut self, own: Cidr) -> (usize, IpAddr) {
        match own.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(own.prefix.clamp(1, 32))).unwrap_or(u32::MAX);
                let base = Ipv4Addr::from(u32::from(address) & mask);
                let number = self.subnets.of(&format!("{base}/{}", own.prefix));
                let (third, fourth) = ((number / 250) % 50, number % 250);
                let part = |part: usize| u8::try_from(part).unwrap_or_default();
                (number, IpAddr::from([10, 200 + part(third), part(fourth), 0]))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(own.prefix.clamp(1, 128))).unwrap_or(u128::MAX);
                let base = Ipv6Addr::from(u128::from(address) & mask);
                let number = self.subnets.of(&format!("{base}/{}", own.prefix));
                (number, IpAddr::from([0xfd00, u16::try_from(number).unwrap_or_default(), 0, 0, 0, 0, 0, 0]))
            }
        }
    }

    fn subnet(&mut self, own: Cidr) -> Cidr {
        Cidr { address: self.network_of(own).1, ..own }
    }

    fn address(&mut self, own: Cidr) -> Cidr {
        let (number, base) = self.network_of(own);
        let host = self.hosts_in.entry(number).or_default().of(&own.address.to_string());
        let address = match base {
            IpAddr::V4(base) => {
                IpAddr::V4(Ipv4Addr::from(u32::from(base) + u32::try_from(host + 9).unwrap_or_default()))
            }
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(u128::from(base) + host as u128 + 9)),
        };
        Cidr { address, ..own }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_mac_or_address_is_left_and_the_world_is_as_right_as_before() {
        let shipped = World::shipped().unwrap();
        let mut world = shipped.clone();
        world.anonymise();
        assert_eq!(world.problems(), []);
        let text = serde_json::to_string(&world).unwrap();
        for kind in Kind::ALL {
            let source = shipped.source(kind);
            let names = source.vms.iter().map(|vm| &vm.name).chain(source.datastores.iter().map(|store| &store.name));
            // Some datastores are called as their types are.
            let all = names
                .chain(source.networks.iter().map(|network| &network.name))
                .filter(|name| !["nfs", "iso"].contains(&name.as_str()));
            for name in all {
                assert!(!text.contains(&format!("\"{name}\"")), "{name}");
            }
            let nics = source.vms.iter().flat_map(|vm| vm.nics.iter().flatten());
            for own in nics.flat_map(|nic| &nic.addresses) {
                assert!(!text.contains(&own.to_string()), "{own}");
            }
        }
        // What stood in one network does so now, and a name is the same wherever it stands.
        let nic = |world: &World, vm: usize| world.vsphere.vms[vm].all_nics()[0].clone();
        let (first, second) = (nic(&world, 3).addresses[0], nic(&world, 5).addresses[0]);
        let network = |own: Cidr| own.address.to_string().rsplit_once('.').map(|(network, _)| network.to_owned());
        assert_eq!(network(first), network(second));
        assert_ne!(first, second);
        assert_eq!(world.vsphere.vms[1].all_nics()[1].network.as_ref(), Some(&world.vsphere.networks[1].name));
    }
}
