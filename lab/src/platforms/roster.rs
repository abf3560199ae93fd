//! The VMs of the platforms that MTV only reads (OVA, Hyper-V, EC2), from the facts of a world file. Facts
//! alone; each platform tells them its own way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};

use crate::api::world::{self as told, Failure, Firmware, Source};
use crate::ports::{GuestDirectory, GuestNic, GuestProfile};

const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 2));

#[derive(Debug, Clone)]
pub struct Nic {
    pub mac: String,
    /// Index into the roster's networks.
    pub network: usize,
    /// A static address of a /24.
    pub fixed: Option<Ipv4Addr>,
}

#[derive(Debug, Clone)]
pub struct Machine {
    pub name: String,
    pub uuid: String,
    pub windows: bool,
    /// As VMware names it, e.g. `rhel8_64Guest`.
    pub guest_id: String,
    pub pretty_name: String,
    pub hostname: String,
    /// GiB each.
    pub disks: Vec<u64>,
    pub nics: Vec<Nic>,
    pub efi: bool,
    pub secure_boot: bool,
    pub cpus: u32,
    pub memory_mib: u64,
    pub on: bool,
    /// How its migration fails.
    pub fails: Option<Failure>,
}

/// All machines of one platform.
pub struct Roster {
    machines: RwLock<Vec<Machine>>,
    /// Names of the networks that adapters are attached to.
    pub networks: Vec<String>,
    /// First four bytes of every MAC that is made up.
    mac: &'static str,
    /// A profile's `vms`: name in scenarios → name here.
    vms: BTreeMap<String, String>,
}

impl Roster {
    pub fn new(source: &Source, mac: &'static str) -> Self {
        let named = |vm: &told::Vm| Some((vm.known_as.clone()?, vm.name.clone()));
        let roster = Self {
            machines: RwLock::default(),
            networks: source.networks.iter().map(|network| network.name.clone()).collect(),
            mac,
            vms: source.vms.iter().filter_map(named).collect(),
        };
        roster.grow(&source.vms);
        roster
    }

    /// Adds machines, and answers them.
    pub fn grow(&self, vms: &[told::Vm]) -> Vec<Machine> {
        let mut machines = self.machines.write().unwrap_or_else(PoisonError::into_inner);
        let before = machines.len();
        for vm in vms {
            let machine = self.machine(vm, machines.len() + 1);
            machines.push(machine);
        }
        machines.get(before..).unwrap_or_default().to_vec()
    }

    pub fn machines(&self) -> Vec<Machine> {
        self.machines.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn vms(&self) -> &BTreeMap<String, String> {
        &self.vms
    }

    fn machine(&self, vm: &told::Vm, number: usize) -> Machine {
        let nic = |(position, nic): (usize, told::Nic)| {
            let (high, low) = (number % 256, (position + 0x10 + 0x10 * (number / 256)) % 256);
            let generated = format!("{}:{high:02x}:{low:02x}", self.mac);
            let fixed = nic.addresses.iter().filter(|_| nic.is_static()).find_map(|own| match own.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
            let network = self.networks.iter().position(|name| nic.network.as_ref() == Some(name));
            Nic {
                mac: nic.mac.map_or(generated, |mac| mac.as_str().to_owned()),
                network: network.unwrap_or_default(),
                fixed,
            }
        };
        Machine {
            uuid: vm.uuid.map_or_else(|| uuid_of(&vm.name), |uuid| uuid.to_string()),
            name: vm.name.clone(),
            windows: vm.os.windows(),
            guest_id: vm.guest.id.clone().unwrap_or_else(|| vm.os.vsphere_id().to_owned()),
            pretty_name: vm.pretty_name().to_owned(),
            hostname: vm.hostname().to_owned(),
            disks: vm.all_disks().iter().map(|disk| disk.size.ceil_gib()).collect(),
            nics: vm.all_nics().into_iter().enumerate().map(nic).collect(),
            efi: vm.firmware == Firmware::Efi,
            secure_boot: vm.secure_boot,
            cpus: vm.cpus,
            memory_mib: vm.memory.whole_mib(),
            on: vm.is_on(),
            fails: vm.fails.clone(),
        }
    }
}

/// A UUID that depends on the name alone, so that a restarted lab shows the same VMs.
fn uuid_of(name: &str) -> String {
    let mut hex = hex_of(name);
    for at in [20, 16, 12, 8] {
        hex.insert(at, '-');
    }
    hex
}

/// 32 hexadecimal digits that depend on the text alone.
pub fn hex_of(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The first address of the adapter's own network.
pub fn gateway(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 1)
}

impl GuestDirectory for Roster {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        let has = |machine: &&Machine| machine.nics.iter().any(|nic| nic.mac.eq_ignore_ascii_case(mac));
        let machines = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        let machine = machines.iter().find(has)?;
        let login = if machine.windows { ("Administrator", "lab-windows") } else { ("root", "lab-linux") };
        let nic = |(position, nic): (usize, &Nic)| GuestNic {
            name: if machine.windows { format!("Ethernet{position}") } else { format!("eth{position}") },
            mac: nic.mac.clone(),
            addresses: nic.fixed.map(|address| (IpAddr::V4(address), 24)).into_iter().collect(),
            is_static: nic.fixed.is_some(),
            gateway: nic.fixed.map(|address| IpAddr::V4(gateway(address))),
            dns: vec![DNS],
        };
        Some(GuestProfile {
            files: Default::default(),
            fails: machine.fails.clone(),
            luks: None,
            shared: None,
            windows: machine.windows,
            hostname: machine.hostname.clone(),
            pretty_name: machine.pretty_name.clone(),
            users: vec![(login.0.to_owned(), login.1.to_owned())],
            nics: machine.nics.iter().enumerate().map(nic).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_uuids_and_macs_of_their_own_and_answer_by_mac() {
        let roster = Roster::new(&told::World::shipped().unwrap().ova, "00:50:56:0a");
        let machines = roster.machines();
        let macs: std::collections::BTreeSet<_> = machines.iter().flat_map(|m| m.nics.iter().map(|n| &n.mac)).collect();
        assert_eq!(macs.len(), machines.iter().map(|m| m.nics.len()).sum::<usize>());
        assert!(uuid::Uuid::parse_str(&machines[0].uuid).is_ok(), "{}", machines[0].uuid);
        let guest = roster.by_mac(&machines[5].nics[0].mac.to_uppercase()).unwrap();
        assert_eq!((guest.hostname.as_str(), guest.nics[0].is_static), ("mtv-rhel9-static-ova", true));
        assert_eq!(guest.nics[0].gateway, Some("192.168.101.1".parse().unwrap()));
        assert_eq!(roster.vms()["mtv-tests-rhel8"], "mtv-tests-rhel8-ova");
    }
}
