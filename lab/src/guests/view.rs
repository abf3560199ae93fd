//! What a guest looks like after migration: its profile, seen through the adapters it has now.

use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest, Sha256};

use super::{linux, windows};
use crate::defects::{Defect, Defects, new_mac};
use crate::ports::{GuestDirectory, GuestNic, GuestProfile};

/// The pod network's pool: 10.131.0.0/16.
const POOL_PREFIX: u8 = 16;
const POOL_GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 131, 0, 1));
/// Where a DHCP guest asks for names: the cluster's DNS service.
const POOL_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 0, 10));

/// The address that the pool leases to an adapter: always the same for the same MAC.
pub fn lease(mac: &str) -> IpAddr {
    let digest = Sha256::digest(mac.to_lowercase().as_bytes());
    let (third, fourth) = (digest[0], digest[1] % 253 + 2);
    IpAddr::V4(Ipv4Addr::new(10, 131, third, fourth))
}

/// The server that leases.
pub fn dhcp_server() -> IpAddr {
    POOL_GATEWAY
}

/// Turns an adapter into one that asks DHCP.
pub(super) fn with_dhcp(nic: &mut GuestNic) {
    nic.is_static = false;
    nic.addresses = vec![(lease(&nic.mac), POOL_PREFIX)];
    nic.gateway = Some(POOL_GATEWAY);
    nic.dns = vec![POOL_DNS];
}

/// Where a router of the address's subnet usually is.
fn first_of_subnet((address, prefix): &(IpAddr, u8)) -> Option<IpAddr> {
    let IpAddr::V4(address) = address else { return None };
    let mask = u32::MAX.checked_shl(32 - u32::from((*prefix).clamp(1, 32))).unwrap_or(0);
    Some(Ipv4Addr::from((u32::from(*address) & mask) + 1).into())
}

/// A Linux that nobody described.
pub(super) fn generic() -> GuestProfile {
    GuestProfile {
        files: Default::default(),
        fails: None,
        luks: None,
        shared: None,
        windows: false,
        hostname: "localhost.localdomain".to_owned(),
        pretty_name: "Red Hat Enterprise Linux 9.4 (Plow)".to_owned(),
        users: vec![("root".to_owned(), "lab-linux".to_owned())],
        nics: Vec::new(),
    }
}

/// The guest with these adapters. An adapter whose MAC the profile doesn't know keeps the settings of
/// the profile's adapter at its place, so that a changed MAC breaks nothing but the MAC.
pub fn current(directory: &dyn GuestDirectory, defects: &Defects, macs: &[String]) -> GuestProfile {
    let macs: Vec<String> = macs.iter().map(|mac| mac.to_lowercase()).collect();
    let by_mac = |mac: &String| {
        let renewed = || directory.by_mac(&new_mac(mac)).filter(|_| defects.has(Defect::NewMac));
        directory.by_mac(mac).or_else(renewed)
    };
    let mut guest = macs.iter().find_map(by_mac).unwrap_or_else(generic);
    let known = std::mem::take(&mut guest.nics);
    for (index, mac) in macs.iter().enumerate() {
        let same = known.iter().find(|nic| nic.mac.eq_ignore_ascii_case(mac));
        let mut nic = match same.or_else(|| known.get(index).filter(|nic| !taken(&macs, nic))) {
            Some(nic) => nic.clone(),
            None => GuestNic {
                name: if guest.windows { format!("Ethernet{index}") } else { format!("eth{index}") },
                mac: mac.clone(),
                addresses: Vec::new(),
                is_static: false,
                gateway: None,
                dns: Vec::new(),
            },
        };
        nic.mac.clone_from(mac);
        if !nic.is_static || defects.has(Defect::LostStaticIp) {
            with_dhcp(&mut nic);
        }
        if nic.is_static && defects.has(Defect::LostGateway) {
            nic.gateway = None;
        }
        if nic.is_static && defects.has(Defect::GainedGateway) {
            nic.gateway = nic.gateway.or_else(|| nic.addresses.iter().find_map(first_of_subnet));
        }
        if defects.has(Defect::LostDns) {
            nic.dns.clear();
        }
        guest.nics.push(nic);
    }
    if let Some(shared) = guest.shared.as_mut().filter(|_| defects.has(Defect::SplitDisk)) {
        shared.file.push_str(&macs.concat());
    }
    if defects.has(Defect::LostData) {
        empty(&mut guest);
    }
    if defects.has(Defect::AlteredData) {
        guest.files.values_mut().for_each(|text| text.insert(0, '~'));
    }
    guest
}

/// Every file is there and holds nothing: what was written last never reached the disk that was copied.
fn empty(guest: &mut GuestProfile) {
    let system = if guest.windows { windows::SYSTEM_FILES } else { linux::SYSTEM_FILES };
    let written: Vec<String> = guest.files.keys().cloned().collect();
    let all = system.iter().map(|path| (*path).to_owned()).chain(written);
    guest.files = all.map(|path| (path, String::new())).collect();
}

/// Whether an adapter of the profile is among the present ones, so that no other may stand for it.
fn taken(macs: &[String], nic: &GuestNic) -> bool {
    macs.iter().any(|mac| nic.mac.eq_ignore_ascii_case(mac))
}
