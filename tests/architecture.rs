//! Holds DESIGN.md's floors: a room imports from floors below its own, never from its neighbours
//! or from above. Also holds the rules of the house that a reader of the sources can see.

#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Floor of each room.
const FLOORS: &[(&str, u8)] = &[
    ("config", 0),
    ("net", 0),
    ("matrix", 1),
    ("ledger", 1),
    ("source", 2),
    ("forklift", 2),
    ("check", 2),
    ("cluster", 2),
    ("report", 2),
    ("send", 2),
    ("cleanup", 3),
    ("doctor", 3),
    ("migration", 4),
    ("engine", 5),
    ("cli", 6),
];

/// Imports on the same floor that are allowed, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("forklift", "cluster", "MTV's operations speak through the cluster"),
    ("source", "cluster", "one source platform is a cluster itself"),
];

/// Rooms that may know only these, whatever the floors say.
const NARROW: &[(&str, &[&str])] = &[("report", &["event", "api"])];

/// The packages beside this one; `lab` is started by the command line alone. That `lab` knows `api`
/// alone, and `api` nothing of ours, is held by the compiler.
const LAB_USERS: &[&str] = &["cli", "lib"];

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Rooms named after `crate::` in a source text, tests included.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for rest in code.split("crate::").skip(1) {
            if let Some(group) = rest.strip_prefix('{') {
                for item in group.split(',') {
                    found.push((number + 1, ident(item.trim())));
                }
            } else {
                found.push((number + 1, ident(rest)));
            }
        }
    }
    found
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The runner's sources.
fn sources() -> Vec<(String, PathBuf, String)> {
    below("src")
}

/// Room, path below `dir` and text of every source file there.
fn below(dir: &str) -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut all = Vec::new();
    files(&src, &mut all);
    all.into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&src).unwrap().to_owned();
            let room = relative.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            Some((room, relative, text))
        })
        .collect()
}

#[test]
fn every_room_imports_only_from_floors_below_its_own() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        let Some(&own) = floors.get(room.as_str()) else { continue };
        for (line, other) in imports(&text) {
            let Some(&floor) = floors.get(other.as_str()) else { continue };
            if other == room {
                continue;
            }
            let excepted = EXCEPTIONS.iter().any(|(from, to, _)| *from == room && *to == other);
            let narrow = NARROW.iter().find(|(name, _)| *name == room);
            let allowed = match narrow {
                Some((_, known)) => known.contains(&other.as_str()),
                None => floor < own || excepted,
            };
            if !allowed {
                wrong.push(format!(
                    "src/{}:{line}: {room} (floor {own}) imports {other} (floor {floor})",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "the floors do not hold:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_knows_the_lab() {
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|(room, _, _)| !LAB_USERS.contains(&room.as_str()))
        .filter(|(_, _, text)| text.contains("crate::lab") || text.contains("mtv_matrix_lab"))
        .map(|(_, path, _)| format!("src/{}", path.display()))
        .collect();
    assert!(users.is_empty(), "the runner talks to the lab as to the real thing, but for: {users:?}");
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent: Vec<String> = ["src", "lab/src", "api/src"]
        .iter()
        .flat_map(|dir| below(dir).into_iter().map(move |(_, path, text)| (format!("{dir}/{}", path.display()), text)))
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "these files begin without a module comment: {silent:?}");
}

#[test]
fn only_the_lab_and_the_one_place_for_pauses_sleep() {
    let sleepers: Vec<String> = sources()
        .into_iter()
        .filter(|(_, path, _)| !path.ends_with("net/pauses.rs"))
        .map(|(room, path, text)| (room, path, text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()))
        .filter(|(_, _, text)| text.contains("time::sleep(") || text.contains("thread::sleep("))
        .map(|(_, path, _)| format!("src/{}", path.display()))
        .collect();
    assert!(sleepers.is_empty(), "sleeps outside the lab and net::pauses: {sleepers:?}");
}

#[test]
fn the_unmaintained_backoff_crate_stays_behind_one_module() {
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|(_, _, text)| text.contains("backoff::"))
        .map(|(_, path, _)| path.display().to_string())
        .collect();
    assert!(users.len() <= 1, "more than one file uses the crate backoff: {users:?}");
}

#[test]
fn no_platform_is_named_in_the_life_of_a_cell() {
    let words = ["vsphere", "ovirt", "openstack", "vcenter", "datastore-", "esxi"];
    let leaks: Vec<String> = sources()
        .into_iter()
        .filter(|(room, _, _)| matches!(room.as_str(), "migration" | "engine" | "cleanup"))
        .filter_map(|(_, path, text)| {
            let lower = text.to_lowercase();
            words.iter().find(|w| lower.contains(**w)).map(|w| format!("src/{}: {w}", path.display()))
        })
        .collect();
    assert!(leaks.is_empty(), "a platform's word left its driver and adapter: {leaks:?}");
}
