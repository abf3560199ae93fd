//! What is done with files and directories in a guest's shell.

use std::collections::BTreeMap;

use super::files::{self, Entry, absolute, list, look};
use super::linux;
use super::machine::Machine;
use super::shell::Answer;
use crate::ports::GuestProfile;

/// Programs of a Linux guest that the lab plays, for `which`.
const PROGRAMS: &[&str] = &[
    "bash",
    "cat",
    "date",
    "df",
    "grep",
    "head",
    "hostname",
    "id",
    "ip",
    "ls",
    "lsblk",
    "mkdir",
    "nmcli",
    "rm",
    "sh",
    "sha256sum",
    "sudo",
    "systemctl",
    "tail",
    "timeout",
    "touch",
    "uname",
    "uptime",
    "wc",
    "whoami",
];

pub(super) fn which(words: &[&str]) -> Answer {
    let asked = words.iter().filter(|word| !word.starts_with('-'));
    let mut all = Answer::default();
    for name in asked {
        match PROGRAMS.contains(name) {
            true => all.stdout.push_str(&format!("/usr/bin/{name}\n")),
            false => all.code = 1,
        }
    }
    all
}

/// A Linux guest's.
pub(super) fn answer(guest: &GuestProfile, machine: &Machine, command: &str, words: &[&str]) -> Answer {
    let here = |path: &str| absolute(guest, &machine.cwd, path);
    let plain: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let option = |letter: char| words.iter().any(|word| word.starts_with('-') && word.contains(letter));
    match command {
        "pwd" => Answer::out(format!("{}\n", here("."))),
        "cd" => {
            let to = here(plain.first().copied().unwrap_or("~"));
            match look(guest, &to) {
                Some(Entry::Directory) => Answer { cwd: Some(to), ..Answer::default() },
                Some(Entry::File(_)) => Answer::failure(1, format!("bash: cd: {}: Not a directory\n", plain[0])),
                None => Answer::failure(1, format!("bash: cd: {}: No such file or directory\n", plain[0])),
            }
        }
        "ls" | "ll" => ls(guest, &here, &plain, option('l') || command == "ll", option('a')),
        "mkdir" => each(&plain, |path, all| {
            let whole = here(path);
            if look(guest, &whole).is_some() {
                return if option('p') { Ok(()) } else { Err(("cannot create directory", "File exists")) };
            }
            if !option('p') && !files::has_parent(guest, &whole) {
                return Err(("cannot create directory", "No such file or directory"));
            }
            all.written.insert(format!("{whole}/"), String::new());
            Ok(())
        }),
        "touch" => each(&plain, |path, all| {
            let whole = here(path);
            if !files::has_parent(guest, &whole) {
                return Err(("cannot touch", "No such file or directory"));
            }
            all.written.insert(whole.clone(), files::read(guest, &whole).unwrap_or_default());
            Ok(())
        }),
        "rm" | "rmdir" => each(&plain, |path, all| {
            let whole = here(path);
            match look(guest, &whole) {
                Some(Entry::File(_)) => all.removed.push(whole),
                Some(Entry::Directory) if option('r') || option('R') || command == "rmdir" => {
                    let below = format!("{whole}/");
                    all.removed.extend(guest.files.keys().filter(|own| own.starts_with(&below)).cloned());
                }
                Some(Entry::Directory) => return Err(("cannot remove", "Is a directory")),
                None if option('f') => {}
                None => return Err(("cannot remove", "No such file or directory")),
            }
            Ok(())
        }),
        "head" | "tail" => {
            let count =
                words.iter().find_map(|word| word.strip_prefix('-')?.trim_start_matches('n').parse::<usize>().ok());
            let after = words.iter().position(|word| *word == "-n").and_then(|at| words.get(at + 1));
            let count = count.or_else(|| after?.parse().ok()).unwrap_or(10);
            let named: Vec<&str> = plain.iter().copied().filter(|word| Some(word) != after).collect();
            linux::files(guest, machine, command, &named, |text, _| lines(text, count, command == "tail"))
        }
        _ => test(guest, &here, words),
    }
}

/// The first or the last lines.
pub(super) fn lines(text: &str, count: usize, last: bool) -> String {
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    let kept = if last { &all[all.len().saturating_sub(count)..] } else { &all[..count.min(all.len())] };
    kept.concat()
}

/// Does something for each path; complaints are put as coreutils puts them.
fn each(paths: &[&str], act: impl Fn(&str, &mut Answer) -> Result<(), (&'static str, &'static str)>) -> Answer {
    let mut all = Answer::default();
    for path in paths {
        if let Err((tried, why)) = act(path, &mut all) {
            let program = match tried {
                "cannot touch" => "touch",
                "cannot remove" => "rm",
                _ => "mkdir",
            };
            all.stderr.push_str(&format!("{program}: {tried} '{path}': {why}\n"));
            all.code = 1;
        }
    }
    all
}

fn ls(guest: &GuestProfile, here: &impl Fn(&str) -> String, paths: &[&str], long: bool, hidden: bool) -> Answer {
    let paths = if paths.is_empty() { &["."][..] } else { paths };
    let mut all = Answer::default();
    for path in paths {
        let whole = here(path);
        let names: BTreeMap<String, Entry> = match (look(guest, &whole), list(guest, &whole)) {
            (Some(entry @ Entry::File(_)), _) => [((*path).to_owned(), entry)].into(),
            (_, Some(names)) => names,
            _ => {
                all.stderr.push_str(&format!("ls: cannot access '{path}': No such file or directory\n"));
                all.code = 2;
                continue;
            }
        };
        if paths.len() > 1 {
            all.stdout.push_str(&format!("{path}:\n"));
        }
        for (name, entry) in names.iter().filter(|(name, _)| hidden || !name.starts_with('.')) {
            let line = if long { files::long(name, *entry) } else { name.clone() };
            all.stdout.push_str(&format!("{line}\n"));
        }
    }
    all
}

/// `test -e FILE`, `[ -d DIR ]`, and `=` of two words.
fn test(guest: &GuestProfile, here: &impl Fn(&str) -> String, words: &[&str]) -> Answer {
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "]").collect();
    let holds = match words.as_slice() {
        ["-e" | "-r" | "-w", path] => look(guest, &here(path)).is_some(),
        ["-f", path] => matches!(look(guest, &here(path)), Some(Entry::File(_))),
        ["-s", path] => matches!(look(guest, &here(path)), Some(Entry::File(1..))),
        ["-d", path] => look(guest, &here(path)) == Some(Entry::Directory),
        ["-z", word] => word.is_empty(),
        ["-n", word] => !word.is_empty(),
        [one, "=" | "==", other] => one == other,
        [one, "!=", other] => one != other,
        _ => false,
    };
    Answer { code: u32::from(!holds), ..Answer::default() }
}

/// A Windows guest's.
pub(super) fn answer_windows(guest: &GuestProfile, machine: &Machine, command: &str, words: &[String]) -> Answer {
    let path = words.iter().find(|word| !word.starts_with('/')).map(String::as_str);
    let whole = absolute(guest, &machine.cwd, path.unwrap_or("."));
    let missing = || Answer::failure(1, "The system cannot find the path specified.\r\n");
    match command {
        "cd" if path.is_none() => Answer::out(format!("{whole}\r\n")),
        "cd" if list(guest, &whole).is_some() => Answer { cwd: Some(whole), ..Answer::default() },
        "dir" => {
            let Some(names) = list(guest, &whole) else { return Answer::failure(1, "File Not Found\r\n") };
            let mut text = format!(" Directory of {whole}\r\n\r\n");
            for (name, entry) in names {
                let size = match entry {
                    Entry::Directory => "<DIR>         ".to_owned(),
                    Entry::File(bytes) => format!("{bytes:>14}"),
                };
                text.push_str(&format!("01/05/2026  08:00 AM    {size} {name}\r\n"));
            }
            Answer::out(text)
        }
        "mkdir" | "md" => Answer { written: [(format!(r"{whole}\"), String::new())].into(), ..Answer::default() },
        "del" if look(guest, &whole).is_some() => Answer { removed: vec![whole], ..Answer::default() },
        _ => missing(),
    }
}
