//! The answers of a Linux guest: what the readers of a migrated VM ask.

use std::net::IpAddr;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::files::absolute;
use super::machine::{Machine, raw};
use super::shell::{self, Answer};
use super::{directory, system};
use crate::ports::{GuestNic, GuestProfile};

/// Seconds that a DHCP lease of the pool is valid.
const LEASE_SECONDS: u32 = 3600;
/// What iproute2 prints for an address that never ends.
const FOREVER: u32 = u32::MAX;
/// The kernel that `uname -r` and the agent name.
pub const KERNEL: &str = "4.18.0-553.el8_10.x86_64";

/// Answers one command of a line.
pub fn answer(guest: &GuestProfile, machine: &Machine, words: &[String]) -> Answer {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    let rest = words.get(1..).unwrap_or_default();
    match command {
        "sudo" | "env" | "timeout" => {
            let skip = if command == "timeout" { 1 } else { 0 };
            let inner: Vec<String> =
                rest.iter().filter(|w| !w.starts_with('-')).skip(skip).map(|w| (*w).to_owned()).collect();
            // Options of the wrapped command are wanted again: cut at its name.
            match inner.first().and_then(|name| rest.iter().position(|word| word == name)) {
                Some(at) => answer(guest, machine, &rest[at..].iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()),
                None => Answer::default(),
            }
        }
        "sh" | "bash" => match rest.iter().position(|word| word.starts_with('-') && word.ends_with('c')) {
            Some(at) => shell::run_on(guest, machine, rest.get(at + 1).copied().unwrap_or_default()),
            None => Answer::default(),
        },
        "true" | ":" | "sync" | "blockdev" | "export" | "chmod" | "chown" | "umask" | "clear" | "restorecon" => {
            Answer::default()
        }
        "exit" | "logout" => {
            let code = rest.first().and_then(|code| code.parse().ok()).unwrap_or(0);
            Answer { left: true, code, ..Answer::default() }
        }
        "cd" | "pwd" | "ls" | "ll" | "mkdir" | "rm" | "rmdir" | "touch" | "head" | "tail" | "test" | "[" => {
            directory::answer(guest, machine, command, rest)
        }
        "lsblk" => system::lsblk(guest, machine, rest),
        "df" => system::df(guest, machine, rest),
        "uptime" => system::uptime(machine, rest),
        "systemctl" => system::systemctl(machine, rest),
        "date" => Answer::out(format!("{}\n", jiff::Timestamp::now().strftime("%a %b %e %H:%M:%S UTC %Y"))),
        "which" | "command" => directory::which(rest),
        "false" => Answer { code: 1, ..Answer::default() },
        "printf" if rest.first() == Some(&"%s") => Answer::out(rest.get(1..).unwrap_or_default().concat()),
        "echo" | "printf" => Answer::out(format!("{}\n", rest.join(" "))),
        "sha256sum" => files(guest, machine, "sha256sum", rest, |text, file| format!("{}  {file}\n", sha256(text))),
        "hostname" | "hostnamectl" => Answer::out(format!("{}\n", guest.hostname)),
        "whoami" => Answer::out("root\n"),
        "id" => Answer::out("uid=0(root) gid=0(root) groups=0(root)\n"),
        "uname" => Answer::out(uname(&guest.hostname, rest)),
        "ip" => ip(guest, rest),
        "nmcli" => nmcli(guest, rest),
        "resolvectl" => Answer::out(resolvectl(guest)),
        "cat" => files(guest, machine, "cat", rest, |text, _| text.to_owned()),
        "xfs_info" => xfs_info(guest, rest.iter().copied().find(|word| !word.starts_with('-'))),
        _ => Answer::failure(127, format!("bash: {command}: command not found\n")),
    }
}

fn uname(hostname: &str, options: &[&str]) -> String {
    match options.first() {
        Some(&"-a") => {
            format!("Linux {hostname} {KERNEL} #1 SMP Fri May 10 15:19:13 EDT 2024 x86_64 x86_64 x86_64 GNU/Linux\n")
        }
        Some(&"-r") => format!("{KERNEL}\n"),
        Some(&"-n") => format!("{hostname}\n"),
        Some(&"-m") => "x86_64\n".to_owned(),
        _ => "Linux\n".to_owned(),
    }
}

fn ip(guest: &GuestProfile, words: &[&str]) -> Answer {
    let is_json = words.iter().any(|word| matches!(*word, "-j" | "-json" | "--json"));
    let plain: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let object = plain.first().copied().unwrap_or_default();
    let value = match object {
        "a" | "addr" | "address" => links(guest, true),
        "l" | "link" => links(guest, false),
        "r" | "route" | "ro" => routes(guest, plain.contains(&"default")),
        _ => return Answer::failure(255, format!("Object \"{object}\" is unknown, try \"ip help\".\n")),
    };
    match (is_json, object.starts_with('r')) {
        (true, _) => Answer::out(format!("{value}\n")),
        (false, true) => Answer::out(routes_text(guest, plain.contains(&"default"))),
        (false, false) => Answer::out(links_text(guest)),
    }
}

fn links(guest: &GuestProfile, with_addresses: bool) -> Value {
    let mut all = vec![json!({
        "ifindex": 1, "ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "mtu": 65536, "qdisc": "noqueue",
        "operstate": "UNKNOWN", "group": "default", "txqlen": 1000, "link_type": "loopback",
        "address": "00:00:00:00:00:00", "broadcast": "00:00:00:00:00:00",
        "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host", "label": "lo",
                       "valid_life_time": FOREVER, "preferred_life_time": FOREVER}],
    })];
    for (index, nic) in guest.nics.iter().enumerate() {
        all.push(json!({
            "ifindex": index + 2, "ifname": nic.name, "flags": ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
            "mtu": 1500, "qdisc": "fq_codel", "operstate": "UP", "group": "default", "txqlen": 1000,
            "link_type": "ether", "address": nic.mac, "broadcast": "ff:ff:ff:ff:ff:ff",
            "addr_info": nic.addresses.iter().map(|(address, prefix)| addr_info(nic, *address, *prefix)).collect::<Vec<_>>(),
        }));
    }
    if !with_addresses {
        for link in all.iter_mut().filter_map(Value::as_object_mut) {
            link.shift_remove("addr_info");
        }
    }
    Value::Array(all)
}

fn addr_info(nic: &GuestNic, address: IpAddr, prefix: u8) -> Value {
    let life = if nic.is_static { FOREVER } else { LEASE_SECONDS };
    let mut info = json!({
        "family": if address.is_ipv4() { "inet" } else { "inet6" }, "local": address, "prefixlen": prefix,
        "scope": "global", "label": nic.name, "valid_life_time": life, "preferred_life_time": life,
    });
    if let Some(fields) = info.as_object_mut() {
        if !nic.is_static {
            fields.insert("dynamic".to_owned(), json!(true));
        }
        if !address.is_ipv4() {
            fields.shift_remove("label");
        }
    }
    info
}

fn routes(guest: &GuestProfile, default_only: bool) -> Value {
    let mut all = Vec::new();
    for (index, nic) in guest.nics.iter().enumerate() {
        let protocol = if nic.is_static { "static" } else { "dhcp" };
        let source = nic.addresses.iter().map(|(address, _)| *address).find(IpAddr::is_ipv4);
        if let Some(gateway) = nic.gateway {
            let mut route = json!({"dst": "default", "gateway": gateway, "dev": nic.name, "protocol": protocol});
            if let (Some(fields), Some(source)) = (route.as_object_mut(), source.filter(|_| !nic.is_static)) {
                fields.insert("prefsrc".to_owned(), json!(source));
            }
            if let Some(fields) = route.as_object_mut() {
                fields.insert("metric".to_owned(), json!(100 + index));
                fields.insert("flags".to_owned(), json!([]));
            }
            all.push(route);
        }
    }
    if !default_only {
        for (index, nic) in guest.nics.iter().enumerate() {
            for (address, prefix) in &nic.addresses {
                if let IpAddr::V4(v4) = address {
                    let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
                    let network = std::net::Ipv4Addr::from(u32::from(*v4) & mask);
                    all.push(json!({"dst": format!("{network}/{prefix}"), "dev": nic.name, "protocol": "kernel",
                        "scope": "link", "prefsrc": v4, "metric": 100 + index, "flags": []}));
                }
            }
        }
    }
    Value::Array(all)
}

fn routes_text(guest: &GuestProfile, default_only: bool) -> String {
    let mut text = String::new();
    for route in routes(guest, default_only).as_array().into_iter().flatten() {
        let field = |name: &str| route.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let via = if field("gateway").is_empty() { String::new() } else { format!(" via {}", field("gateway")) };
        text.push_str(&format!("{}{via} dev {} proto {}\n", field("dst"), field("dev"), field("protocol")));
    }
    text
}

fn links_text(guest: &GuestProfile) -> String {
    let mut text = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    \
                    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n"
        .to_owned();
    for (index, nic) in guest.nics.iter().enumerate() {
        let number = index + 2;
        text.push_str(&format!(
            "{number}: {}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP\n",
            nic.name
        ));
        text.push_str(&format!("    link/ether {} brd ff:ff:ff:ff:ff:ff\n", nic.mac));
        for (address, prefix) in &nic.addresses {
            let family = if address.is_ipv4() { "inet" } else { "inet6" };
            let dynamic = if nic.is_static { "" } else { " dynamic" };
            text.push_str(&format!(
                "    {family} {address}/{prefix} scope global{dynamic} noprefixroute {}\n",
                nic.name
            ));
        }
    }
    text
}

/// `nmcli -t -f GENERAL.DEVICE,IP4.METHOD device show` and its neighbours: one `KEY:value` a line.
fn nmcli(guest: &GuestProfile, words: &[&str]) -> Answer {
    let fields =
        words.iter().position(|word| matches!(*word, "-f" | "--fields" | "-g")).and_then(|at| words.get(at + 1));
    let asked: Vec<String> = fields.map(|list| list.split(',').map(str::to_uppercase).collect()).unwrap_or_default();
    let wants = |key: &str| {
        asked.is_empty()
            || asked.iter().any(|field| {
                key == field || key.starts_with(&format!("{field}.")) || key.starts_with(&format!("{field}["))
            })
    };
    let named = guest.nics.iter().find(|nic| words.contains(&nic.name.as_str()));
    let mut text = String::new();
    if words.iter().any(|word| "connection".starts_with(*word) && word.starts_with('c')) && !words.contains(&"show") {
        return Answer::default();
    }
    for nic in guest.nics.iter().filter(|nic| named.is_none_or(|only| only.name == nic.name)) {
        let method = if nic.is_static { "manual" } else { "auto" };
        let mut lines: Vec<(String, String)> = vec![
            ("GENERAL.DEVICE".to_owned(), nic.name.clone()),
            ("GENERAL.TYPE".to_owned(), "ethernet".to_owned()),
            ("GENERAL.HWADDR".to_owned(), nic.mac.to_uppercase()),
            ("GENERAL.STATE".to_owned(), "100 (connected)".to_owned()),
            ("GENERAL.CONNECTION".to_owned(), nic.name.clone()),
            ("IP4.METHOD".to_owned(), method.to_owned()),
            ("IPV4.METHOD".to_owned(), method.to_owned()),
        ];
        for (n, (address, prefix)) in nic.addresses.iter().enumerate() {
            let family = if address.is_ipv4() { 4 } else { 6 };
            lines.push((format!("IP{family}.ADDRESS[{}]", n + 1), format!("{address}/{prefix}")));
        }
        if let Some(gateway) = nic.gateway {
            lines.push(("IP4.GATEWAY".to_owned(), gateway.to_string()));
        }
        for (n, server) in nic.dns.iter().enumerate() {
            lines.push((format!("IP4.DNS[{}]", n + 1), server.to_string()));
        }
        for (key, value) in lines.iter().filter(|(key, _)| wants(key)) {
            // Connection settings are printed in lower case, device properties in upper case.
            let key = if key.starts_with("IPV4") { key.to_lowercase() } else { key.clone() };
            text.push_str(&if words.contains(&"-g") { format!("{value}\n") } else { format!("{key}:{value}\n") });
        }
        text.push('\n');
    }
    Answer::out(text)
}

/// The partition of a disk that other VMs have, too.
pub(super) const SHARED: &str = "vdb1";

/// The release whose installer still made XFS without checksums, in this world.
const OLD_XFS: &str = "7";

fn xfs_info(guest: &GuestProfile, mount: Option<&str>) -> Answer {
    let Some(mount) = mount else {
        return Answer::failure(2, "Usage: xfs_info [-V] [-t mtab] [mountpoint|device|file]\n");
    };
    let old = version_of(&guest.pretty_name).split('.').next() == Some(OLD_XFS);
    let (inode, crc) = if old { (256, 0) } else { (512, 1) };
    Answer::out(format!(
        "meta-data={mount:<22} isize={inode}    agcount=4, agsize=1048576 blks\n         =                       \
         sectsz=512   attr=2, projid32bit=1\n         =                       crc={crc}        finobt={crc}, sparse={crc}\n\
         data     =                       bsize=4096   blocks=4194304, imaxpct=25\n"
    ))
}

fn name_servers(guest: &GuestProfile) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for server in guest.nics.iter().flat_map(|nic| &nic.dns) {
        if !all.contains(server) {
            all.push(*server);
        }
    }
    all
}

fn resolvectl(guest: &GuestProfile) -> String {
    let mut text = "Global\n".to_owned();
    for (index, nic) in guest.nics.iter().enumerate() {
        let servers: Vec<String> = nic.dns.iter().map(ToString::to_string).collect();
        text.push_str(&format!("Link {} ({})\n         DNS Servers: {}\n", index + 2, nic.name, servers.join(" ")));
    }
    text
}

/// What a command prints of each file that is named.
pub(super) fn files(
    guest: &GuestProfile,
    machine: &Machine,
    command: &str,
    words: &[&str],
    print: impl Fn(&str, &str) -> String,
) -> Answer {
    let mut all = Answer::default();
    for file in words.iter().filter(|word| !word.starts_with('-')) {
        match file_of(guest, &absolute(guest, &machine.cwd, file)) {
            Some(text) => all.stdout.push_str(&print(&text, file)),
            None => {
                all.stderr.push_str(&format!("{command}: {file}: No such file or directory\n"));
                all.code = 1;
            }
        }
    }
    all
}

/// Files of every installation that nobody wrote.
pub(super) const SYSTEM_FILES: &[&str] = &["/etc/os-release", "/usr/lib/os-release", "/etc/redhat-release"];

pub(super) fn file_of(guest: &GuestProfile, path: &str) -> Option<String> {
    if let Some(text) = guest.files.get(path) {
        return Some(text.clone());
    }
    Some(match path {
        "/etc/os-release" | "/usr/lib/os-release" => os_release(guest),
        "/etc/redhat-release" => format!("{}\n", guest.pretty_name),
        "/etc/hostname" | "/proc/sys/kernel/hostname" => format!("{}\n", guest.hostname),
        "/etc/resolv.conf" => {
            let servers = name_servers(guest).into_iter().map(|server| format!("nameserver {server}\n"));
            format!("# Generated by NetworkManager\n{}", servers.collect::<String>())
        }
        _ => return None,
    })
}

/// As `sha256sum` and `certutil` print it.
pub fn sha256(text: &str) -> String {
    Sha256::digest(raw(text)).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn os_release(guest: &GuestProfile) -> String {
    let version = version_of(&guest.pretty_name);
    let id = os_id(guest);
    format!(
        "NAME=\"{}\"\nVERSION=\"{version}\"\nID=\"{id}\"\nVERSION_ID=\"{version}\"\nPRETTY_NAME=\"{}\"\n",
        name_of(&guest.pretty_name),
        guest.pretty_name
    )
}

/// `8.10` of `Red Hat Enterprise Linux 8.10`.
pub fn version_of(pretty_name: &str) -> String {
    pretty_name
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_default()
        .to_owned()
}

/// The words before the version.
pub fn name_of(pretty_name: &str) -> String {
    let words: Vec<&str> =
        pretty_name.split_whitespace().take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit())).collect();
    words.join(" ")
}

/// The `ID` of os-release, as the guest agent reports it, too.
pub fn os_id(guest: &GuestProfile) -> &'static str {
    let name = guest.pretty_name.to_lowercase();
    match () {
        () if guest.windows => "mswindows",
        () if name.contains("ubuntu") => "ubuntu",
        () if name.contains("fedora") => "fedora",
        () if name.contains("centos") => "centos",
        () => "rhel",
    }
}
