//! What a Linux says of itself to somebody who looks around in it: disks, file systems, services, time.

use std::time::Duration;

use serde_json::{Value, json};

use super::linux::{SHARED, sha256};
use super::machine::Machine;
use super::shell::Answer;
use crate::ports::GuestProfile;

/// Of a disk that nobody told of.
pub const USUAL: u64 = 16 << 30;
const BOOT: u64 = 1 << 30;
/// What an installation takes.
const USED: u64 = 2_254_857_830;
const SERVICES: &[(&str, &str)] = &[
    ("auditd", "Security Auditing Service"),
    ("chronyd", "NTP client/server"),
    ("crond", "Command Scheduler"),
    ("firewalld", "firewalld - dynamic firewall daemon"),
    ("NetworkManager", "Network Manager"),
    ("qemu-guest-agent", "QEMU Guest Agent"),
    ("rsyslog", "System Logging Service"),
    ("sshd", "OpenSSH server daemon"),
    ("systemd-journald", "Journal Service"),
    ("tuned", "Dynamic System Tuning Daemon"),
];

/// A disk, a partition or what is in one.
struct Block {
    name: String,
    depth: usize,
    number: String,
    bytes: u64,
    kind: &'static str,
    filesystem: Option<&'static str>,
    mounted: Option<&'static str>,
}

fn blocks(guest: &GuestProfile, machine: &Machine) -> Vec<Block> {
    let sizes = if machine.disks.is_empty() { vec![USUAL] } else { machine.disks.clone() };
    let mut all = Vec::new();
    for (index, (bytes, letter)) in sizes.into_iter().zip('a'..='z').enumerate() {
        let block = |name: String, depth, minor, bytes, kind, filesystem, mounted| Block {
            name,
            depth,
            number: format!("252:{}", index * 16 + minor),
            bytes,
            kind,
            filesystem,
            mounted,
        };
        let disk = format!("vd{letter}");
        all.push(block(disk.clone(), 0, 0, bytes, "disk", None, None));
        if index > 0 {
            // What several VMs have holds a file system that nobody has mounted.
            if format!("{disk}1") == SHARED && guest.shared.is_some() {
                all.push(block(SHARED.to_owned(), 1, 1, bytes, "part", Some("ext4"), None));
            }
            continue;
        }
        let rest = bytes.saturating_sub(BOOT);
        let locked = guest.luks.is_some();
        all.push(block(format!("{disk}1"), 1, 1, BOOT.min(bytes), "part", Some("xfs"), Some("/boot")));
        let (kind, mounted) = if locked { ("crypto_LUKS", None) } else { ("xfs", Some("/")) };
        all.push(block(format!("{disk}2"), 1, 2, rest, "part", Some(kind), mounted));
        if locked {
            let mut inner = block("luks-root".to_owned(), 2, 0, rest, "crypt", Some("xfs"), Some("/"));
            inner.number = "253:0".to_owned();
            all.push(inner);
        }
    }
    all
}

/// A size as the tools write it: one digit behind the point below ten (`df` also where it is a zero), none above.
fn human(bytes: u64, zero: bool) -> String {
    let units = [("T", 40_u32), ("G", 30), ("M", 20), ("K", 10)];
    let Some((unit, shift)) = units.iter().find(|(_, shift)| bytes >> shift > 0) else { return format!("{bytes}B") };
    let tenths = (bytes * 10).div_ceil(1 << shift);
    if tenths < 100 && (zero || !tenths.is_multiple_of(10)) {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    } else {
        format!("{}{unit}", tenths.div_ceil(10))
    }
}

fn has(words: &[&str], short: char, long: &str) -> bool {
    words.iter().any(|word| *word == long || (word.starts_with('-') && !word.starts_with("--") && word.contains(short)))
}

pub fn lsblk(guest: &GuestProfile, machine: &Machine, words: &[&str]) -> Answer {
    let named = words.iter().position(|word| matches!(*word, "-o" | "--output")).and_then(|at| words.get(at + 1));
    let by_equals = words.iter().find_map(|word| word.strip_prefix("--output="));
    let (systems, whole) = (has(words, 'f', "--fs"), has(words, 'd', "--nodeps"));
    let usual = match systems {
        true => "NAME,FSTYPE,FSVER,LABEL,UUID,FSAVAIL,FSUSE%,MOUNTPOINTS",
        false => "NAME,MAJ:MIN,RM,SIZE,RO,TYPE,MOUNTPOINTS",
    };
    let columns = named.copied().or(by_equals).unwrap_or(usual).to_uppercase();
    let columns: Vec<&str> = columns.split(',').collect();
    let exact = has(words, 'b', "--bytes");
    let mut blocks = blocks(guest, machine);
    blocks.retain(|block| !whole || block.depth == 0);
    if let Some(device) = words.iter().find_map(|word| word.strip_prefix("/dev/")) {
        blocks.retain(|block| block.name.starts_with(device) || (block.depth == 2 && device == "vda"));
        if blocks.is_empty() {
            return Answer::failure(32, format!("lsblk: /dev/{device}: not a block device\n"));
        }
    }
    let of = |block: &Block, column: &str| -> Value {
        match column {
            "NAME" | "KNAME" => json!(block.name),
            "PATH" => json!(format!("/dev/{}", block.name)),
            "MAJ:MIN" => json!(block.number),
            "RM" | "RO" => json!(false),
            "SIZE" if exact => json!(block.bytes),
            "SIZE" => json!(human(block.bytes, false)),
            "TYPE" => json!(block.kind),
            "FSTYPE" => json!(block.filesystem),
            "FSVER" => json!(block.filesystem.filter(|kind| *kind == "crypto_LUKS").map(|_| "2")),
            "UUID" => json!(block.filesystem.map(|_| {
                sha256(&format!("{}/{}", guest.hostname, block.name)).chars().take(12).collect::<String>()
            })),
            "MOUNTPOINT" => json!(block.mounted),
            "MOUNTPOINTS" => json!([block.mounted]),
            _ => Value::Null,
        }
    };
    if has(words, 'J', "--json") {
        return Answer::out(format!("{}\n", nested(&blocks, &columns, of)));
    }
    let text = |value: Value| match value {
        Value::Bool(on) => u8::from(on).to_string(),
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Array(all) => all.first().and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let branches = !has(words, 'l', "--list");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let last = blocks.get(index + 1).is_none_or(|next| next.depth != block.depth);
        let branch = match block.depth {
            0 => String::new(),
            depth => format!("{}{}", "  ".repeat(depth - 1), if last { "└─" } else { "├─" }),
        };
        let cell = |column: &&str| {
            let own = text(of(block, column));
            if *column == "NAME" && branches { format!("{branch}{own}") } else { own }
        };
        rows.push(columns.iter().map(cell).collect());
    }
    if !has(words, 'n', "--noheadings") {
        rows.insert(0, columns.iter().map(|column| (*column).to_owned()).collect());
    }
    Answer::out(table(&rows, |column| matches!(columns.get(column), Some(&("SIZE" | "RM" | "RO")))))
}

/// Devices with their children, as `lsblk -J` nests them.
fn nested(blocks: &[Block], columns: &[&str], of: impl Fn(&Block, &str) -> Value) -> Value {
    let mut devices: Vec<Value> = Vec::new();
    for block in blocks {
        let mut own = json!({});
        for column in columns {
            own[column.to_lowercase()] = of(block, column);
        }
        hang(&mut devices, block.depth, own);
    }
    json!({ "blockdevices": devices })
}

/// Puts a device below the last one, so many steps down.
fn hang(siblings: &mut Vec<Value>, depth: usize, own: Value) {
    let parent = siblings.last_mut().filter(|_| depth > 0);
    let Some(parent) = parent else { return siblings.push(own) };
    if !parent["children"].is_array() {
        parent["children"] = json!([]);
    }
    if let Some(children) = parent["children"].as_array_mut() {
        hang(children, depth - 1, own);
    }
}

/// Columns side by side; the last is not padded.
fn table(rows: &[Vec<String>], right: impl Fn(usize) -> bool) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(at, cell)| match (right(at), at + 1 == row.len()) {
            (true, _) => format!("{cell:>width$}", width = width(at)),
            (false, true) => cell.clone(),
            (false, false) => format!("{cell:<width$}", width = width(at)),
        });
        text.push_str(&cells.collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    text
}

/// Device, kind, size, what of it is used, and where it is mounted.
pub type Mounted = (&'static str, &'static str, u64, u64, &'static str);

pub fn mounted(guest: &GuestProfile, disks: &[u64]) -> [Mounted; 4] {
    let disk = disks.first().copied().unwrap_or(USUAL);
    let root = if guest.luks.is_some() { "/dev/mapper/luks-root" } else { "/dev/vda2" };
    let rest = disk.saturating_sub(BOOT);
    [
        ("devtmpfs", "devtmpfs", 4 << 20, 0, "/dev"),
        ("tmpfs", "tmpfs", 886 << 20, 0, "/dev/shm"),
        (root, "xfs", rest, USED.min(rest), "/"),
        ("/dev/vda1", "xfs", BOOT, 262 << 20, "/boot"),
    ]
}

pub fn df(guest: &GuestProfile, machine: &Machine, words: &[&str]) -> Answer {
    let (short, typed) = (has(words, 'h', "--human-readable"), has(words, 'T', "--print-type"));
    let systems = mounted(guest, &machine.disks);
    let size = |bytes: u64| match (short, bytes) {
        (true, 0) => "0".to_owned(),
        (true, bytes) => human(bytes, true),
        (false, bytes) => (bytes >> 10).to_string(),
    };
    let asked = words.iter().find(|word| word.starts_with('/'));
    let on = asked
        .map(|path| systems.iter().map(|system| system.4).filter(|on| path.starts_with(on)).max_by_key(|on| on.len()));
    let (whole, free) = if short { ("Size", "Avail") } else { ("1K-blocks", "Available") };
    let head = ["Filesystem", whole, "Used", free, "Use%", "Mounted on"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, kind, bytes, used, mounted) in systems {
        if on.is_some_and(|on| on != Some(mounted)) {
            continue;
        }
        let percent = if bytes == 0 { 0 } else { (used * 100).div_ceil(bytes) };
        let mut row = vec![
            name.to_owned(),
            size(bytes),
            size(used),
            size(bytes - used),
            format!("{percent}%"),
            mounted.to_owned(),
        ];
        if typed {
            row.insert(1, kind.to_owned());
        }
        rows.push(row);
    }
    if typed && let Some(head) = rows.first_mut() {
        head.insert(1, "Type".to_owned());
    }
    let numbers = if typed { 2..=5 } else { 1..=4 };
    Answer::out(table(&rows, |column| numbers.contains(&column)))
}

pub fn uptime(machine: &Machine, words: &[&str]) -> Answer {
    let now = jiff::Timestamp::now();
    if has(words, 's', "--since") {
        let since = now.checked_sub(machine.up).unwrap_or(now);
        return Answer::out(format!("{}\n", since.strftime("%Y-%m-%d %H:%M:%S")));
    }
    let minutes = machine.up.as_secs() / 60;
    let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    if has(words, 'p', "--pretty") {
        let part = |count: u64, name: &str| {
            (count > 0).then(|| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
        };
        let parts: Vec<String> =
            [part(days, "day"), part(hours, "hour"), part(rest, "minute")].into_iter().flatten().collect();
        return Answer::out(format!(
            "up {}\n",
            if parts.is_empty() { "0 minutes".to_owned() } else { parts.join(", ") }
        ));
    }
    let up = match (days, hours) {
        (0, 0) => format!("{rest} min"),
        (0, hours) => format!("{hours}:{rest:02}"),
        (1, hours) => format!("1 day, {hours}:{rest:02}"),
        (days, hours) => format!("{days} days, {hours}:{rest:02}"),
    };
    Answer::out(format!(" {} up {up},  1 user,  load average: 0.08, 0.03, 0.01\n", now.strftime("%H:%M:%S")))
}

/// `systemctl VERB UNIT…` of the services that every installation has.
pub fn systemctl(machine: &Machine, words: &[&str]) -> Answer {
    let plain: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let (verb, units) = plain.split_first().map_or(("list-units", &[][..]), |(verb, units)| (*verb, units));
    let known = |unit: &str| {
        let name = unit.strip_suffix(".service").unwrap_or(unit);
        SERVICES.iter().find(|(own, _)| *own == name).copied()
    };
    let failed_only = words.iter().any(|word| matches!(*word, "--failed" | "--state=failed"));
    match verb {
        "is-system-running" => Answer::out("running\n"),
        "daemon-reload" | "reset-failed" => Answer::default(),
        "list-units" => {
            let mut rows = vec![["UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"].map(str::to_owned).to_vec()];
            for (name, text) in SERVICES.iter().filter(|_| !failed_only) {
                rows.push(vec![
                    format!("{name}.service"),
                    "loaded".into(),
                    "active".into(),
                    "running".into(),
                    (*text).into(),
                ]);
            }
            Answer::out(format!("{}\n{} loaded units listed.\n", table(&rows, |_| false), rows.len() - 1))
        }
        "poweroff" | "reboot" | "halt" => Answer::failure(
            1,
            "Call to Reboot failed: a guest of this lab is restarted from outside, as virtctl does it\n",
        ),
        "status" | "is-active" | "is-enabled" | "show" | "start" | "stop" | "restart" | "reload" | "enable"
        | "disable" => {
            let mut all = Answer::default();
            for unit in units {
                let Some((name, text)) = known(unit) else {
                    let unit = unit.strip_suffix(".service").unwrap_or(unit);
                    match verb {
                        "status" => {
                            all.stderr.push_str(&format!("Unit {unit}.service could not be found.\n"));
                            all.code = 4;
                        }
                        "is-active" => {
                            all.stdout.push_str("inactive\n");
                            all.code = 3;
                        }
                        _ => {
                            let tried = format!("Failed to {verb} {unit}.service: Unit {unit}.service not found.\n");
                            all.stderr.push_str(&tried);
                            all.code = 5;
                        }
                    }
                    continue;
                };
                match verb {
                    "is-active" => all.stdout.push_str("active\n"),
                    "is-enabled" => all.stdout.push_str("enabled\n"),
                    "show" => all.stdout.push_str(&format!(
                        "Id={name}.service\nLoadState=loaded\nActiveState=active\nSubState=running\n"
                    )),
                    "status" => all.stdout.push_str(&status(name, text, machine.up)),
                    _ => {}
                }
            }
            all
        }
        other => Answer::failure(1, format!("Unknown command verb {other}.\n")),
    }
}

fn status(name: &str, text: &str, up: Duration) -> String {
    let since =
        jiff::Timestamp::now().checked_sub(up).unwrap_or_default().strftime("%a %Y-%m-%d %H:%M:%S UTC").to_string();
    let file = format!("/usr/lib/systemd/system/{name}.service; enabled; preset: enabled");
    format!(
        "● {name}.service - {text}\n     Loaded: loaded ({file})\n     Active: active (running) since {since}; {}s ago\n   \
         Main PID: {} ({name})\n",
        up.as_secs(),
        700 + name.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(luks: bool) -> GuestProfile {
        GuestProfile {
            windows: false,
            hostname: "h".to_owned(),
            pretty_name: "Red Hat Enterprise Linux 9.4".to_owned(),
            users: Vec::new(),
            nics: Vec::new(),
            files: Default::default(),
            fails: None,
            luks: luks.then(|| "secret".to_owned()),
            shared: None,
        }
    }

    fn machine() -> Machine {
        Machine { disks: vec![20 << 30, 10 << 30], up: Duration::from_secs(3700), cwd: String::new() }
    }

    #[test]
    fn lsblk_shows_each_disk_of_the_vm_as_a_tree_as_a_list_and_as_json() {
        let tree = lsblk(&guest(false), &machine(), &[]).stdout;
        assert_eq!(
            tree,
            "NAME   MAJ:MIN RM SIZE RO TYPE MOUNTPOINTS\nvda    252:0    0  20G  0 disk \n├─vda1 252:1    0   1G  0 part /boot\n\
             └─vda2 252:2    0  19G  0 part /\nvdb    252:16   0  10G  0 disk \n"
        );
        let bytes = lsblk(&guest(false), &machine(), &["-dnb", "-o", "NAME,SIZE"]).stdout;
        assert_eq!(bytes, format!("vda {}\nvdb {}\n", 20_u64 << 30, 10_u64 << 30));
        let read: Value = serde_json::from_str(&lsblk(&guest(true), &machine(), &["-J", "-f"]).stdout).unwrap();
        assert_eq!(read["blockdevices"][0]["children"][1]["fstype"], "crypto_LUKS");
        assert_eq!(read["blockdevices"][0]["children"][1]["children"][0]["mountpoints"], json!(["/"]));
        assert_eq!(read["blockdevices"][1]["name"], "vdb");
    }

    #[test]
    fn file_systems_services_and_time_are_told_as_the_tools_tell_them() {
        let all = df(&guest(false), &machine(), &["-h"]).stdout;
        assert!(all.contains("/dev/vda2   19G 2.1G   17G  12% /\n"), "{all}");
        assert_eq!(df(&guest(false), &machine(), &["-hT", "/boot"]).stdout.lines().count(), 2);
        assert!(uptime(&machine(), &[]).stdout.contains(" up 1:01,  1 user"));
        assert_eq!(uptime(&machine(), &["-p"]).stdout, "up 1 hour, 1 minute\n");
        assert_eq!(systemctl(&machine(), &["is-active", "sshd"]).stdout, "active\n");
        assert_eq!(systemctl(&machine(), &["is-active", "nginx"]).code, 3);
        assert_eq!(systemctl(&machine(), &["status", "nginx"]).code, 4);
        assert!(systemctl(&machine(), &["list-units", "--failed"]).stdout.contains("\n0 loaded units"));
    }
}
