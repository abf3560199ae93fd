//! Holds DESIGN.md's floors: a room imports from floors below its own, never from its neighbours
//! or from above. Also holds the rules of the house that a reader of the sources can see.

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

/// What every room may use, and what uses none of them.
const BASEMENT: &[&str] = &["clock", "tasks"];

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
fn what_every_room_uses_uses_no_room() {
    let rooms: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|(room, _, _)| BASEMENT.contains(&room.as_str()))
        .flat_map(|(_, path, text)| {
            imports(&text).into_iter().map(move |(line, other)| (format!("src/{}:{line}", path.display()), other))
        })
        .filter(|(_, other)| rooms.contains(&other.as_str()))
        .map(|(place, other)| format!("{place}: {other}"))
        .collect();
    assert!(users.is_empty(), "{users:?}");
    let unknown: Vec<String> = sources()
        .into_iter()
        .map(|(room, _, _)| room)
        .filter(|room| !rooms.contains(&room.as_str()) && !BASEMENT.contains(&room.as_str()))
        .filter(|room| !matches!(room.as_str(), "lib" | "main"))
        .collect();
    assert!(unknown.is_empty(), "rooms without a floor: {unknown:?}");
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
fn the_unmaintained_backoff_crate_stays_behind_one_module() {
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|(_, _, text)| text.contains("backoff::"))
        .map(|(_, path, _)| path.display().to_string())
        .collect();
    assert!(users.len() <= 1, "more than one file uses the crate backoff: {users:?}");
}

/// The words of a text: what stands between signs, parts of names in snake case and in camel case by themselves.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in text.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[test]
fn no_platform_is_named_in_the_life_of_a_cell() {
    // OpenShift is a source, too; where the destination is meant, it is "the cluster".
    let names = [
        "vsphere",
        "vcenter",
        "esxi",
        "vmware",
        "ovirt",
        "rhv",
        "openstack",
        "nova",
        "cinder",
        "openshift",
        "hyperv",
        "ova",
        "ovf",
        "ec2",
        "aws",
    ];
    let leaks: Vec<String> = ["migration", "engine", "cleanup"]
        .iter()
        .flat_map(|room| program(room))
        .filter_map(|(path, text)| {
            let word = words(&text).find(|word| names.contains(&word.as_str()))?;
            Some(format!("src/{}: {word}", path.display()))
        })
        .collect();
    assert!(leaks.is_empty(), "a platform's word left its driver and adapter: {leaks:?}");
}

/// The sources of a room without its tests.
fn program(room: &str) -> Vec<(PathBuf, String)> {
    let is_test = |path: &Path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        stem == "fixture" || stem.ends_with("tests")
    };
    let own = |text: String| text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
    let all = sources().into_iter().filter(|(name, path, _)| name == room && !is_test(path));
    all.map(|(_, path, text)| (path, own(text))).collect()
}

/// Where a text has one of `words`, comments aside.
fn uses(path: &Path, text: &str, words: &[&str]) -> Vec<String> {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let found = text.lines().enumerate().filter_map(|(number, line)| {
        let word = words.iter().find(|word| code(line).contains(**word))?;
        Some(format!("src/{}:{}: {word}", path.display(), number + 1))
    });
    found.collect()
}

/// What leaves the process, waits, or asks it for something.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "SocketAddr",
    "std::process",
    "std::env",
    "tokio::",
    "reqwest::",
    "hyper::",
    "hyper_util",
    "kube::",
    "russh::",
    ".await",
];
/// The disk by other names.
const DISK: &[&str] = &["File::", "OpenOptions", ".canonicalize(", ".is_file(", ".is_dir(", ".exists(", ".read_dir("];

#[test]
fn checks_judge_and_ask_nobody() {
    let asks: Vec<String> = program("check")
        .iter()
        .flat_map(|(path, text)| uses(path, text, &[OUTSIDE, DISK, &["std::io"]].concat()))
        .collect();
    assert!(asks.is_empty(), "a check does I/O:\n{}", asks.join("\n"));
}

#[test]
fn what_all_packages_speak_does_no_io() {
    // kube's derive and its types of objects are no requests.
    let outside: Vec<&str> = OUTSIDE.iter().copied().filter(|word| *word != "kube::").collect();
    let asks: Vec<String> = below("api/src")
        .iter()
        .flat_map(|(_, path, text)| {
            uses(path, text, &[outside.as_slice(), DISK, &["kube::Client", "kube::Api"]].concat())
        })
        .collect();
    assert!(asks.is_empty(), "the package api does I/O:\n{}", asks.join("\n"));
}

#[test]
fn reports_fold_events_and_one_file_of_theirs_knows_the_disk() {
    let asks: Vec<String> = program("report")
        .iter()
        .filter(|(path, _)| !path.ends_with("report/files.rs"))
        .flat_map(|(path, text)| uses(path, text, &[OUTSIDE, DISK].concat()))
        .collect();
    assert!(asks.is_empty(), "a report does I/O:\n{}", asks.join("\n"));
}

#[test]
fn objects_are_created_in_the_tracked_way_and_by_the_platform_that_is_a_cluster() {
    let places = ["cluster/objects/apply.rs", "source/openshift/create.rs"];
    let beside: Vec<String> = sources()
        .into_iter()
        .filter(|(_, path, text)| text.contains("strict::create(") && !places.iter().any(|place| path.ends_with(place)))
        .map(|(_, path, _)| format!("src/{}", path.display()))
        .collect();
    assert!(beside.is_empty(), "creates that no ledger knows of: {beside:?}");
}

/// What a `use` names, its groups taken apart.
fn expand(prefix: &str, tree: &str, out: &mut Vec<String>) {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in tree.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match items.last_mut() {
            Some(item) if c != ',' || depth > 0 => item.push(c),
            _ => items.push(String::new()),
        }
    }
    for item in items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()) {
        match item.split_once('{') {
            Some((head, rest)) => {
                let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
                expand(&format!("{prefix}{}", head.trim()), inner, out);
            }
            None => out.push(format!("{prefix}{}", item.split(" as ").next().unwrap_or_default())),
        }
    }
}

/// The modules that a module's program names by `super::` and `crate::`, as paths from the root.
fn named(module: &[String], text: &str) -> Vec<Vec<String>> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut paths = Vec::new();
    for used in regex::Regex::new(r"\buse\s+([^;]+);").unwrap().captures_iter(&code) {
        expand("", &used[1], &mut paths);
    }
    let inline = regex::Regex::new(r"\b(?:super|crate)(?:::\w+)+").unwrap();
    paths.extend(inline.find_iter(&code).map(|found| found.as_str().to_owned()));
    let resolve = |path: String| {
        let parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let ups = parts.iter().take_while(|part| *part == "super").count();
        match parts.first().map(String::as_str) {
            Some("crate") => Some(parts[1..].to_vec()),
            Some("super") => Some([&module[..module.len().saturating_sub(ups)], &parts[ups..]].concat()),
            _ => None,
        }
    };
    paths.into_iter().filter_map(resolve).collect()
}

#[test]
fn the_files_of_a_room_form_no_circle() {
    // By directory: which of its modules name which others of them. A parent's own file is above its children.
    type Names = BTreeMap<String, std::collections::BTreeSet<String>>;
    let mut directories: BTreeMap<Vec<String>, Names> = BTreeMap::new();
    let rooms: std::collections::BTreeSet<String> = sources().into_iter().map(|(room, _, _)| room).collect();
    for (path, text) in rooms.iter().flat_map(|room| program(room)) {
        let mut module: Vec<String> =
            path.with_extension("").components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect();
        module.retain(|part| part != "mod");
        for other in named(&module, &text) {
            let common = module.iter().zip(&other).take_while(|(own, other)| own == other).count();
            if let (true, Some(own), Some(other)) = (common > 0, module.get(common), other.get(common)) {
                let names = directories.entry(module[..common].to_vec()).or_default();
                names.entry(own.clone()).or_default().insert(other.clone());
            }
        }
    }
    let mut circles = Vec::new();
    for (directory, mut names) in directories {
        // Who names nobody that is left can't be in a circle.
        while let Some(end) = names
            .iter()
            .find(|(_, others)| others.iter().all(|other| !names.contains_key(other)))
            .map(|(name, _)| name.clone())
        {
            names.remove(&end);
        }
        if !names.is_empty() {
            circles.push(format!("src/{}: {names:?}", directory.join("/")));
        }
    }
    assert!(circles.is_empty(), "circles inside rooms:\n{}", circles.join("\n"));
}
