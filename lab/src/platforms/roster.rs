//! The VMs of the platforms that MTV only reads (OVA, Hyper-V, EC2): the ones that the shipped
//! scenarios name, and some that nobody asked for. Facts alone; each platform tells them its own way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest, Sha256};

use crate::ports::{GuestDirectory, GuestNic, GuestProfile};

const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 2));

/// Names of the networks that adapters are attached to.
pub const NETWORKS: &[&str] = &["VM Network", "Mgmt Network"];

#[derive(Debug, Clone)]
pub struct Nic {
    pub mac: String,
    /// Index into [`NETWORKS`].
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
    pub guest_id: &'static str,
    pub pretty_name: &'static str,
    /// GiB each.
    pub disks: &'static [u64],
    pub nics: Vec<Nic>,
    pub efi: bool,
    pub cpus: u32,
    pub memory_mib: u64,
    pub on: bool,
}

/// All machines of one platform.
pub struct Roster(pub Vec<Machine>);

/// What tells the machines of one platform from another's.
pub struct Mark {
    /// Ends every name: profiles say which VM is meant by a scenario's name (`vms`).
    pub suffix: &'static str,
    /// First four bytes of every MAC.
    pub mac: &'static str,
    /// Third byte of every static address.
    pub subnet: u8,
}

const RHEL8: (bool, &str, &str) = (false, "rhel8_64Guest", "Red Hat Enterprise Linux 8.10 (Ootpa)");
const RHEL9: (bool, &str, &str) = (false, "rhel9_64Guest", "Red Hat Enterprise Linux 9.4 (Plow)");
const WIN2019: (bool, &str, &str) = (true, "windows2019srv_64Guest", "Microsoft Windows Server 2019 Standard");
const WIN2022: (bool, &str, &str) = (true, "windows2019srvNext_64Guest", "Microsoft Windows Server 2022 Standard");

impl Roster {
    pub fn new(mark: &Mark) -> Self {
        let mut number = 0u8;
        let mut machine = |name: &str, os: (bool, &'static str, &'static str), disks, nics: &[(usize, u8)]| {
            number += 1;
            let name = format!("{name}{}", mark.suffix);
            let nic = |(position, (network, host)): (usize, &(usize, u8))| Nic {
                mac: format!("{}:{number:02x}:{:02x}", mark.mac, position + 0x10),
                network: *network,
                fixed: (*host > 0).then(|| Ipv4Addr::new(192, 168, mark.subnet, *host)),
            };
            Machine {
                uuid: uuid_of(&name),
                name,
                windows: os.0,
                guest_id: os.1,
                pretty_name: os.2,
                disks,
                nics: nics.iter().enumerate().map(nic).collect(),
                efi: false,
                cpus: 2,
                memory_mib: 4096,
                on: false,
            }
        };
        let small = machine("mtv-tests-rhel8", RHEL8, &[16], &[(0, 0)]);
        let two = machine("mtv-rhel8-warm-2disks2nics", RHEL8, &[16, 8], &[(0, 0), (1, 0)]);
        let windows = machine("mtv-win2019-79", WIN2019, &[40], &[(0, 0)]);
        let three = machine("mtv-win2019-3disks", WIN2019, &[40, 10, 5], &[(0, 19)]);
        let efi = machine("mtv-win2022-ip-3disks", WIN2022, &[50, 12, 6], &[(0, 22), (1, 122)]);
        let fixed = machine("mtv-rhel9-static", RHEL9, &[20], &[(0, 9)]);
        let stranger = machine("db-prod-01", RHEL9, &[60, 500], &[(0, 15)]);
        Self(vec![
            Machine { cpus: 1, memory_mib: 2048, ..small },
            two,
            windows,
            three,
            Machine { efi: true, cpus: 4, memory_mib: 8192, ..efi },
            Machine { efi: true, ..fixed },
            Machine { cpus: 8, memory_mib: 32768, on: true, ..stranger },
        ])
    }
}

impl Roster {
    /// A profile's `vms`: name in scenarios → name here.
    pub fn vms(&self, suffix: &str) -> BTreeMap<String, String> {
        let named = |machine: &Machine| Some((machine.name.strip_suffix(suffix)?.to_owned(), machine.name.clone()));
        self.0.iter().filter_map(named).collect()
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
        let machine = self.0.iter().find(has)?;
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
            windows: machine.windows,
            hostname: machine.name.clone(),
            pretty_name: machine.pretty_name.to_owned(),
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
        let roster = Roster::new(&Mark { suffix: "-x", mac: "00:50:56:0a", subnet: 101 });
        let macs: std::collections::BTreeSet<_> = roster.0.iter().flat_map(|m| m.nics.iter().map(|n| &n.mac)).collect();
        assert_eq!(macs.len(), roster.0.iter().map(|m| m.nics.len()).sum::<usize>());
        assert!(uuid::Uuid::parse_str(&roster.0[0].uuid).is_ok(), "{}", roster.0[0].uuid);
        let guest = roster.by_mac(&roster.0[5].nics[0].mac.to_uppercase()).unwrap();
        assert_eq!((guest.hostname.as_str(), guest.nics[0].is_static), ("mtv-rhel9-static-x", true));
        assert_eq!(guest.nics[0].gateway, Some("192.168.101.1".parse().unwrap()));
    }
}
