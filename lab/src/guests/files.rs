//! Paths and directories of a guest, as `ls` and SFTP see them. A Linux has `/` between names, a Windows `\`.

use std::collections::BTreeMap;

use super::{linux, windows};
use crate::ports::GuestProfile;

const LINUX: &[&str] = &[
    "/boot/",
    "/dev/",
    "/etc/",
    "/home/",
    "/opt/",
    "/proc/",
    "/root/",
    "/run/",
    "/srv/",
    "/sys/",
    "/tmp/",
    "/usr/bin/",
    "/usr/lib/",
    "/usr/sbin/",
    "/var/log/",
    "/var/tmp/",
];
const WINDOWS: &[&str] =
    &[r"C:\Program Files\", r"C:\Users\Administrator\", r"C:\Windows\Temp\", r"C:\Windows\System32\"];

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Directory,
    /// With its size in bytes.
    File(u64),
}

pub fn separator(windows: bool) -> char {
    if windows { '\\' } else { '/' }
}

pub fn home(guest: &GuestProfile) -> &'static str {
    if guest.windows { r"C:\Users\Administrator" } else { "/root" }
}

/// The whole path that is meant by one, from a working directory (empty: the home).
pub fn absolute(guest: &GuestProfile, cwd: &str, path: &str) -> String {
    let cwd = if cwd.is_empty() { home(guest) } else { cwd };
    let path = match path.strip_prefix('~') {
        Some(rest) => format!("{}{rest}", home(guest)),
        None => path.to_owned(),
    };
    if !guest.windows {
        let whole = if path.starts_with('/') { path } else { format!("{cwd}/{path}") };
        return format!("/{}", names(&whole, &['/']).join("/"));
    }
    // SFTP writes `/C:/Users`.
    let path = path.strip_prefix('/').filter(|rest| rest.get(1..2) == Some(":")).map_or(path.clone(), str::to_owned);
    let whole = if path.get(1..2) == Some(":") { path } else { format!(r"{cwd}\{path}") };
    let parts = names(&whole, &['/', '\\']);
    let joined = parts.join(r"\");
    if parts.len() == 1 { format!(r"{joined}\") } else { joined }
}

/// Without `.`, `..` and empty names.
fn names<'a>(path: &'a str, separators: &[char]) -> Vec<&'a str> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(separators) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts
}

/// What stands in a file.
pub fn read(guest: &GuestProfile, path: &str) -> Option<String> {
    if guest.windows { windows::file_of(guest, path) } else { linux::file_of(guest, path) }
}

/// Every file and directory.
fn all(guest: &GuestProfile) -> impl Iterator<Item = &str> {
    let (directories, files) =
        if guest.windows { (WINDOWS, windows::SYSTEM_FILES) } else { (LINUX, linux::SYSTEM_FILES) };
    directories.iter().chain(files).copied().chain(guest.files.keys().map(String::as_str))
}

/// What is in a directory; nothing: it is none.
pub fn list(guest: &GuestProfile, path: &str) -> Option<BTreeMap<String, Entry>> {
    let separator = separator(guest.windows);
    let below = format!("{}{separator}", path.trim_end_matches(separator));
    let mut found = BTreeMap::new();
    let mut is_directory = below.len() <= 1;
    for own in all(guest) {
        let Some(rest) = own.strip_prefix(&below) else { continue };
        is_directory = true;
        let (name, deeper) = rest.split_once(separator).map_or((rest, false), |(name, _)| (name, true));
        if name.is_empty() {
            continue;
        }
        let entry = match deeper {
            true => Entry::Directory,
            false => Entry::File(read(guest, own).map_or(0, |text| super::machine::raw(&text).len() as u64)),
        };
        found.entry(name.to_owned()).or_insert(entry);
    }
    is_directory.then_some(found)
}

pub fn look(guest: &GuestProfile, path: &str) -> Option<Entry> {
    match read(guest, path) {
        Some(text) => Some(Entry::File(super::machine::raw(&text).len() as u64)),
        None => list(guest, path).map(|_| Entry::Directory),
    }
}

/// Whether a file may be made there: its directory exists.
pub fn has_parent(guest: &GuestProfile, path: &str) -> bool {
    let separator = separator(guest.windows);
    let parent = path.rsplit_once(separator).map_or("", |(parent, _)| parent);
    list(guest, parent).is_some()
}

/// As `ls -l` shows one name.
pub fn long(name: &str, entry: Entry) -> String {
    match entry {
        Entry::Directory => format!("drwxr-xr-x. 2 root root {:>8} Jan  5 08:00 {name}", 6),
        Entry::File(bytes) => format!("-rw-r--r--. 1 root root {bytes:>8} Jan  5 08:00 {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(windows: bool) -> GuestProfile {
        let file = if windows { r"C:\m\a.txt" } else { "/var/tmp/m" };
        GuestProfile {
            windows,
            hostname: "h".to_owned(),
            pretty_name: "Red Hat Enterprise Linux 9.4".to_owned(),
            users: Vec::new(),
            nics: Vec::new(),
            files: [(file.to_owned(), "abc".to_owned())].into(),
            fails: None,
            luks: None,
            shared: None,
        }
    }

    #[test]
    fn paths_are_told_from_where_a_session_stands() {
        let linux = guest(false);
        let of = |cwd, path| absolute(&linux, cwd, path);
        assert_eq!([of("", "x"), of("/tmp", "../etc/./hosts"), of("/", "~/a")], ["/root/x", "/etc/hosts", "/root/a"]);
        let windows = guest(true);
        let of = |path| absolute(&windows, "", path);
        assert_eq!([of("/C:/m/a.txt"), of("x"), of("C:")], [r"C:\m\a.txt", r"C:\Users\Administrator\x", r"C:\"]);
    }

    #[test]
    fn a_directory_holds_what_lies_below_it() {
        let linux = guest(false);
        assert_eq!(list(&linux, "/var/tmp").unwrap().get("m"), Some(&Entry::File(3)));
        assert_eq!(list(&linux, "/").unwrap().get("var"), Some(&Entry::Directory));
        assert_eq!((list(&linux, "/nowhere"), look(&linux, "/nowhere")), (None, None));
        assert!(matches!(look(&linux, "/etc/os-release"), Some(Entry::File(bytes)) if bytes > 0));
        assert!(has_parent(&linux, "/tmp/new") && !has_parent(&linux, "/nowhere/new"));
        assert_eq!(list(&guest(true), r"C:\m").unwrap().get("a.txt"), Some(&Entry::File(3)));
    }
}
