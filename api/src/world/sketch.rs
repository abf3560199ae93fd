//! A VM from its name: what a lab makes up for a scenario that names a VM which no world has.

use super::Cidr;
use super::{Disk, Firmware, Kind, Nic, Os, Power, Size, Source, Vm};

/// The most that a name makes of disks and NICs, so that a date in it is no number of disks.
const MOST: usize = 16;

/// What is known of a VM: its name, and what a scenario says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    pub name: String,
    /// The guest is Windows, where the scenario says so.
    pub windows: Option<bool>,
    /// Its addresses must be static.
    pub static_addresses: bool,
    /// It must run already: nobody can switch it.
    pub running: bool,
    /// Its root disk is encrypted.
    pub luks: bool,
}

/// What opens the encrypted disk of a VM that was made up, and stands in the lab's profile.
pub const LUKS: &str = "lab-luks";

/// `3` of `mtv-win2019-3disks`, `two-nics` has none.
fn counted(name: &str, noun: &str) -> Option<usize> {
    let at = name.find(noun)?;
    let before = name.get(..at)?.trim_end_matches(['-', '_']);
    let digits = before.chars().rev().take_while(char::is_ascii_digit).count();
    let number: usize = before.get(before.len() - digits..)?.parse().ok()?;
    (1..=MOST).contains(&number).then_some(number)
}

impl Sketch {
    /// The VM, with networks of the source that it is for. `number`: how many VMs were made up before.
    pub fn vm(&self, kind: Kind, source: &Source, number: u8) -> Vm {
        let name = self.name.to_lowercase();
        let os = Os::named_in(&name, self.windows).unwrap_or_default();
        let says = |words: &[&str]| words.iter().any(|word| name.split(['-', '_', '.']).any(|part| part == *word));
        let secure = says(&["secureboot", "secure"]);
        let efi = secure || says(&["efi", "uefi"]) || matches!(os, Os::Win11 | Os::Win2022 | Os::Win2025);
        let fixed = self.static_addresses || says(&["static", "ip"]);
        let first = if os.windows() { Size::gib(40) } else { Size::gib(16) };
        let disks = (0..counted(&name, "disk").unwrap_or(1))
            .map(|n| Disk { size: if n == 0 { first } else { Size::gib(8) }, ..Disk::default() });
        // The lab's cloud gives addresses of its subnets; elsewhere a guest says what it has.
        let addresses = |n: usize| {
            let subnet = 104 + u8::try_from(n).unwrap_or_default();
            let host = std::net::Ipv4Addr::new(192, 168, subnet, 10 + number % 240);
            let own = Cidr { address: host.into(), prefix: 24 };
            if fixed && kind != Kind::Openstack { vec![own] } else { Vec::new() }
        };
        // A dual NIC is two on one network; so many NICs are on as many.
        let dual = says(&["dual"]) && says(&["nic", "nics"]);
        let count = if dual { 2 } else { counted(&name, "nic").unwrap_or(1) };
        let on = |n: usize| source.networks.get(if dual { 0 } else { n % source.networks.len().max(1) });
        let nics = (0..count).map(|n| Nic {
            network: on(n).map(|network| network.name.clone()),
            addresses: addresses(n),
            ..Nic::default()
        });
        Vm {
            name: self.name.clone(),
            os,
            template: kind == Kind::Ovirt,
            firmware: if efi { Firmware::Efi } else { Firmware::Bios },
            secure_boot: secure,
            luks: (self.luks && kind == Kind::Vsphere).then(|| LUKS.to_owned()),
            cpus: 2,
            cores_per_socket: 1,
            memory: if os.windows() { Size::gib(8) } else { Size::gib(4) },
            power: if self.running && !kind.is_managed() { Power::On } else { Power::Off },
            disks: Some(disks.collect()),
            nics: Some(nics.collect()),
            ..Vm::default()
        }
    }
}

impl Vm {
    /// What it is, in a few words: `rhel9, 2 disks, 1 NIC`.
    pub fn in_words(&self) -> String {
        let (disks, nics) = (self.all_disks().len(), self.all_nics().len());
        let os = format!("{:?}", self.os).to_lowercase();
        let efi = if self.firmware == Firmware::Efi { ", EFI" } else { "" };
        let fixed = if self.all_nics().iter().any(Nic::is_static) { ", static address" } else { "" };
        let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        format!("{os}{efi}, {}, {}{fixed}", plural(disks, "disk"), plural(nics, "NIC"))
    }
}
