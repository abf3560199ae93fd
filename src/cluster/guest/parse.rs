//! What guests print about their interfaces, as records. Pure.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use crate::api::vm::{AddressOrigin, GuestAddress, GuestInterface, Mac};

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    addr_info: Vec<AddrInfo>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AddrInfo {
    local: Option<String>,
    prefixlen: Option<u8>,
    scope: String,
    dynamic: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DefaultRoute {
    gateway: Option<String>,
    dev: String,
}

/// `ip -j addr show`, `ip -j route show default`, `/etc/resolv.conf` and
/// `nmcli -t -f GENERAL.DEVICE,DHCP4 device show` (the last two may be empty). Loopback is left out.
pub fn linux_interfaces(
    addresses: &str,
    routes: &str,
    resolv: &str,
    nmcli: &str,
) -> Result<Vec<GuestInterface>, String> {
    let links: Vec<Link> =
        serde_json::from_str(addresses).map_err(|e| format!("`ip -j addr show` printed no JSON: {e}"))?;
    let routes: Vec<DefaultRoute> = match routes.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|e| format!("`ip -j route show default` printed no JSON: {e}"))?,
    };
    let servers: Vec<IpAddr> = resolv
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse().ok())
        .collect();
    let by_dhcp = dhcp_devices(nmcli);
    let is_loopback = |link: &Link| link.link_type == "loopback" || link.ifname == "lo";
    Ok(links
        .into_iter()
        .filter(|link| !is_loopback(link))
        .map(|link| {
            let gateway = routes.iter().find(|r| r.dev == link.ifname).and_then(|r| r.gateway.as_ref()?.parse().ok());
            let leased = by_dhcp.contains(&link.ifname);
            let addresses: Vec<GuestAddress> =
                link.addr_info.iter().filter_map(|info| linux_address(info, leased)).collect();
            // The file speaks for the whole guest: it is told of every interface that has an address.
            let dns = if addresses.is_empty() { Vec::new() } else { servers.clone() };
            GuestInterface {
                name: Some(link.ifname),
                mac: link.address.as_deref().map(Mac::new),
                addresses,
                gateway,
                dns,
            }
        })
        .collect())
}

fn linux_address(info: &AddrInfo, leased: bool) -> Option<GuestAddress> {
    let ip: IpAddr = info.local.as_ref()?.parse().ok()?;
    let origin = if info.scope == "link" {
        // The kernel made it up: nobody configured it.
        AddressOrigin::Unknown
    } else if info.dynamic || (leased && ip.is_ipv4()) {
        AddressOrigin::Dhcp
    } else {
        AddressOrigin::Static
    };
    Some(GuestAddress { ip, prefix: info.prefixlen, origin })
}

/// Devices for which NetworkManager shows DHCP options: a lease without end is not `dynamic` to the kernel.
fn dhcp_devices(nmcli: &str) -> Vec<String> {
    let mut device = String::new();
    let mut found = Vec::new();
    for line in nmcli.lines() {
        if let Some(name) = line.strip_prefix("GENERAL.DEVICE:") {
            name.trim().clone_into(&mut device);
        } else if line.starts_with("DHCP4.OPTION") && !found.contains(&device) {
            found.push(device.clone());
        }
    }
    found
}

/// `ipconfig /all`: every adapter with a physical address. Disconnected ones have no addresses.
pub fn windows_interfaces(text: &str) -> Vec<GuestInterface> {
    let mut found: Vec<Adapter> = Vec::new();
    let mut in_adapter = false;
    let mut last_key = String::new();
    for line in text.lines().map(|l| l.trim_end_matches('\r')) {
        if line.trim().is_empty() {
            continue;
        }
        // Headings stand at the margin: `Ethernet adapter Ethernet0 2:`.
        if !line.starts_with([' ', '\t']) {
            let heading = line.trim().trim_end_matches(':');
            let name = heading.split_once(" adapter ").map(|(_, name)| name.trim().to_owned());
            in_adapter = name.is_some();
            if let Some(name) = name {
                found.push(Adapter { name, ..Adapter::default() });
            }
            last_key.clear();
            continue;
        }
        let Some(adapter) = found.last_mut().filter(|_| in_adapter) else { continue };
        let (key, value) = match split_line(line) {
            Some((key, value)) => {
                last_key = key;
                (last_key.as_str(), value)
            }
            // A further value of the key above: a second gateway or DNS server.
            None => (last_key.as_str(), line.trim()),
        };
        adapter.take(key, value);
    }
    found.into_iter().filter(|a| a.mac.is_some()).map(Adapter::record).collect()
}

/// `   Subnet Mask . . . : 255.255.255.0` → (`subnet mask`, `255.255.255.0`). Lines that go on with
/// an address, even one with colons, have no dots before their first ` : `.
fn split_line(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.split_once(" :")?;
    if !key.contains(". ") && !key.ends_with(" .") {
        return None;
    }
    let key = key.trim().trim_end_matches(['.', ' ']).to_lowercase();
    Some((key, value.trim()))
}

#[derive(Default)]
struct Adapter {
    name: String,
    mac: Option<Mac>,
    dhcp: Option<bool>,
    addresses: Vec<(IpAddr, Option<u8>)>,
    gateways: Vec<IpAddr>,
    dns: Vec<IpAddr>,
}

impl Adapter {
    fn take(&mut self, key: &str, value: &str) {
        match key {
            "physical address" if value.len() >= 17 => self.mac = Some(Mac::new(value)),
            "dhcp enabled" => self.dhcp = Some(value.eq_ignore_ascii_case("yes")),
            "subnet mask" => {
                // It belongs to the IPv4 address above it.
                if let (Some((_, prefix)), Ok(mask)) = (self.addresses.last_mut(), value.parse::<Ipv4Addr>()) {
                    *prefix = prefix_of(mask);
                }
            }
            "default gateway" => self.gateways.extend(address(value)),
            "dns servers" => self.dns.extend(address(value)),
            key if key.contains("ipv4 address") || key == "ip address" || key.contains("ipv6 address") => {
                self.addresses.extend(address(value).map(|ip| (ip, None)));
            }
            _ => {}
        }
    }

    fn record(self) -> GuestInterface {
        let origin = |ip: &IpAddr| match (ip, self.dhcp) {
            // `DHCP Enabled` speaks of IPv4 only.
            (IpAddr::V4(ip), _) if ip.is_link_local() => AddressOrigin::Unknown,
            (IpAddr::V4(_), Some(true)) => AddressOrigin::Dhcp,
            (IpAddr::V4(_), Some(false)) => AddressOrigin::Static,
            _ => AddressOrigin::Unknown,
        };
        let addresses =
            self.addresses.iter().map(|(ip, prefix)| GuestAddress { ip: *ip, prefix: *prefix, origin: origin(ip) });
        let addresses = addresses.collect();
        // The IPv4 gateway is the one that sources speak of; Windows lists IPv6 first.
        let gateway = self.gateways.iter().find(|g| g.is_ipv4()).or(self.gateways.first()).copied();
        GuestInterface { name: Some(self.name), mac: self.mac, addresses, gateway, dns: self.dns }
    }
}

/// `10.0.0.5(Preferred)`, `fe80::1%12(Preferred)`.
fn address(value: &str) -> Option<IpAddr> {
    value.split(['(', '%']).next()?.trim().parse().ok()
}

/// The prefix length of a mask; `None` when its ones are not in one piece.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then(|| u8::try_from(ones).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_addresses_tell_static_from_dhcp() {
        let addresses = r#"[
          {"ifindex":1,"ifname":"lo","link_type":"loopback","address":"00:00:00:00:00:00",
           "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
          {"ifindex":2,"ifname":"eth0","link_type":"ether","address":"00:50:56:aa:bb:01","addr_info":[
            {"family":"inet","local":"10.0.0.5","prefixlen":24,"scope":"global","dynamic":true,"valid_life_time":86000},
            {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
          {"ifindex":3,"ifname":"eth1","link_type":"ether","address":"00:50:56:aa:bb:02","addr_info":[
            {"family":"inet","local":"192.168.1.9","prefixlen":16,"scope":"global","noprefixroute":true}]},
          {"ifindex":4,"ifname":"eth2","link_type":"ether","address":"00:50:56:aa:bb:03","addr_info":[
            {"family":"inet","local":"10.9.0.9","prefixlen":24,"scope":"global"}]}]"#;
        let routes =
            r#"[{"dst":"default","gateway":"10.0.0.1","dev":"eth0","protocol":"dhcp","metric":100,"flags":[]}]"#;
        let nmcli = "GENERAL.DEVICE:eth1\n\nGENERAL.DEVICE:eth2\nDHCP4.OPTION[1]:dhcp_lease_time = infinite\n";
        let found =
            linux_interfaces(addresses, routes, "# made by NM\nsearch x\nnameserver 10.0.0.2\n", nmcli).unwrap();
        let origins: Vec<AddressOrigin> = found.iter().map(|i| i.addresses[0].origin).collect();
        assert_eq!(origins, [AddressOrigin::Dhcp, AddressOrigin::Static, AddressOrigin::Dhcp]);
        assert_eq!(found[0].addresses[1].origin, AddressOrigin::Unknown);
        assert_eq!((found[0].gateway, found[1].gateway), ("10.0.0.1".parse().ok(), None));
        assert_eq!(found[1].addresses[0].prefix, Some(16));
        assert_eq!(found[1].dns, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert!(linux_interfaces("ip: command not found", "", "", "").is_err());
    }

    const IPCONFIG: &str = "\r\nWindows IP Configuration\r\n\r\n   Host Name . . . . . . . . . . . . : WIN-1\r\n   \
        Primary Dns Suffix  . . . . . . . : \r\n\r\nEthernet adapter Ethernet0 2:\r\n\r\n   \
        Connection-specific DNS Suffix  . : \r\n   \
        Description . . . . . . . . . . . : Red Hat VirtIO Ethernet Adapter\r\n   \
        Physical Address. . . . . . . . . : 00-50-56-AA-BB-01\r\n   \
        DHCP Enabled. . . . . . . . . . . : No\r\n   \
        Link-local IPv6 Address . . . . . : fe80::3c5d:1%12(Preferred) \r\n   \
        IPv4 Address. . . . . . . . . . . : 10.0.0.7(Preferred) \r\n   \
        Subnet Mask . . . . . . . . . . . : 255.255.252.0\r\n   \
        IPv4 Address. . . . . . . . . . . : 10.0.0.8(Preferred) \r\n   \
        Subnet Mask . . . . . . . . . . . : 255.255.255.0\r\n   \
        Default Gateway . . . . . . . . . : fe80::1%12\r\n                                       10.0.0.1\r\n   \
        DNS Servers . . . . . . . . . . . : 10.0.0.2\r\n                                       2001:db8::53\r\n   \
        NetBIOS over Tcpip. . . . . . . . : Enabled\r\n\r\nEthernet adapter Ethernet1:\r\n\r\n   \
        Physical Address. . . . . . . . . : 00-50-56-AA-BB-02\r\n   \
        DHCP Enabled. . . . . . . . . . . : Yes\r\n   \
        IPv4 Address. . . . . . . . . . . : 192.168.1.5(Preferred) \r\n   \
        Subnet Mask . . . . . . . . . . . : 255.255.255.0\r\n   \
        Default Gateway . . . . . . . . . : \r\n\r\nEthernet adapter Ethernet2:\r\n\r\n   \
        Media State . . . . . . . . . . . : Media disconnected\r\n   \
        Physical Address. . . . . . . . . : 00-50-56-AA-BB-03\r\n   \
        DHCP Enabled. . . . . . . . . . . : Yes\r\n\r\nTunnel adapter isatap.x:\r\n\r\n   \
        Media State . . . . . . . . . . . : Media disconnected\r\n";

    #[test]
    fn windows_adapters_are_read_with_all_their_addresses() {
        let found = windows_interfaces(IPCONFIG);
        let names: Vec<&str> = found.iter().filter_map(|i| i.name.as_deref()).collect();
        assert_eq!(names, ["Ethernet0 2", "Ethernet1", "Ethernet2"]);
        let first = &found[0];
        assert_eq!(first.mac, Some(Mac::new("00:50:56:aa:bb:01")));
        let seen: Vec<(String, Option<u8>, AddressOrigin)> =
            first.addresses.iter().map(|a| (a.ip.to_string(), a.prefix, a.origin)).collect();
        assert_eq!(
            seen,
            [
                ("fe80::3c5d:1".to_owned(), None, AddressOrigin::Unknown),
                ("10.0.0.7".to_owned(), Some(22), AddressOrigin::Static),
                ("10.0.0.8".to_owned(), Some(24), AddressOrigin::Static),
            ]
        );
        assert_eq!((first.gateway, first.dns.len()), ("10.0.0.1".parse().ok(), 2));
        assert_eq!((found[1].addresses[0].origin, found[1].gateway), (AddressOrigin::Dhcp, None));
        assert!(found[2].addresses.is_empty());
    }

    #[test]
    fn a_mask_with_holes_has_no_prefix() {
        assert_eq!(prefix_of("255.0.255.0".parse().unwrap()), None);
        assert_eq!(prefix_of("0.0.0.0".parse().unwrap()), Some(0));
    }
}
