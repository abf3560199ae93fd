//! Just enough of a command line: sequences, quotes, redirections to a file, `sh -c` and `cmd /c`.

use std::collections::BTreeMap;

use super::filter::filter;
use super::machine::Machine;
use super::{files, linux, windows};
use crate::ports::GuestProfile;

/// What a command leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    pub code: u32,
    /// Files that it wrote: path and text.
    pub written: BTreeMap<String, String>,
    /// Files and directories that it took away.
    pub removed: Vec<String>,
    /// Where the session stands from now on.
    pub cwd: Option<String>,
    /// Whether it ended the session.
    pub left: bool,
}

impl Answer {
    pub fn out(text: impl Into<String>) -> Self {
        Self { stdout: text.into(), ..Self::default() }
    }
    pub fn failure(code: u32, text: impl Into<String>) -> Self {
        Self { stderr: text.into(), code, ..Self::default() }
    }
}

/// How a command hangs on the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Always,
    IfOk,
    IfFailed,
    /// Reads what the one before it printed; a command that the lab has no filter for lets all of it through.
    Pipe,
}

/// Answers one command line as the guest's login shell would.
pub fn run(guest: &GuestProfile, line: &str) -> Answer {
    run_on(guest, &Machine::default(), line)
}

/// One command that is given word by word, without a shell.
pub fn run_words(guest: &GuestProfile, machine: &Machine, words: &[String]) -> Answer {
    if guest.windows { windows::answer(guest, machine, words) } else { linux::answer(guest, machine, words) }
}

/// The same on a machine that is known, from where the session stands.
pub fn run_on(guest: &GuestProfile, machine: &Machine, line: &str) -> Answer {
    let (mut guest, mut machine) = (guest.clone(), machine.clone());
    let mut all = Answer::default();
    // Where the last command's output begins.
    let mut last = 0;
    let mut kept: Option<u32> = None;
    for (link, words) in split(line, guest.windows) {
        let wanted = match link {
            Link::Always => true,
            Link::IfOk => all.code == 0,
            Link::IfFailed => all.code != 0,
            Link::Pipe => true,
        };
        let (words, file) = redirected(words);
        let words: Vec<String> = words.into_iter().map(|word| word.replace("$?", &all.code.to_string())).collect();
        if !wanted || words.is_empty() {
            continue;
        }
        match (words.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), guest.windows) {
            // A variable that is kept for later, and one that ends the line.
            ([one], false) if one.starts_with("code=") => {
                kept = one.trim_start_matches("code=").parse().ok();
                continue;
            }
            (["exit", "$code"], false) => {
                all.code = kept.unwrap_or(all.code);
                return all;
            }
            (["mount", device, place], false) => {
                all.code = mount(&mut guest, device, place, &mut all.stderr);
                continue;
            }
            (["umount", place], false) => {
                all.code = umount(&mut guest, place, &mut all.written);
                continue;
            }
            _ => {}
        }
        let one = if link == Link::Pipe {
            let Some(one) = filter(&words, all.stdout.get(last..).unwrap_or_default()) else { continue };
            all.stdout.truncate(last);
            one
        } else if guest.windows {
            windows::answer(&guest, &machine, &words)
        } else {
            linux::answer(&guest, &machine, &words)
        };
        last = all.stdout.len();
        let mut written = one.written;
        match file {
            Some((file, appends)) => {
                let file = files::absolute(&guest, &machine.cwd, &file);
                let before = if appends { files::read(&guest, &file).unwrap_or_default() } else { String::new() };
                drop(written.insert(file, before + &one.stdout));
            }
            None => all.stdout.push_str(&one.stdout),
        }
        for path in &one.removed {
            guest.files.remove(path);
        }
        all.removed.extend(one.removed);
        if one.cwd.is_some() {
            machine.cwd = one.cwd.clone().unwrap_or_default();
            all.cwd = one.cwd;
        }
        let left = one.left;
        // What follows finds what was written before it.
        guest.files.extend(written.clone());
        all.written.extend(written);
        all.stderr.push_str(&one.stderr);
        all.code = one.code;
        if left {
            all.left = true;
            break;
        }
    }
    all
}

/// Shows the files of the shared disk below the place; no other one is mounted here.
fn mount(guest: &mut GuestProfile, device: &str, place: &str, stderr: &mut String) -> u32 {
    let Some(shared) = guest.shared.clone().filter(|_| device == format!("/dev/{}", super::linux::SHARED)) else {
        stderr.push_str(&format!("mount: {place}: special device {device} does not exist.\n"));
        return 32;
    };
    guest.files.extend(shared.read().into_iter().map(|(name, text)| (format!("{place}/{name}"), text)));
    0
}

/// Takes what is below the place back to the disk.
fn umount(guest: &mut GuestProfile, place: &str, written: &mut BTreeMap<String, String>) -> u32 {
    let below = format!("{place}/");
    let own: BTreeMap<String, String> = guest
        .files
        .iter()
        .filter_map(|(path, text)| Some((path.strip_prefix(&below)?.to_owned(), text.clone())))
        .collect();
    guest.files.retain(|path, _| !path.starts_with(&below));
    written.retain(|path, _| !path.starts_with(&below));
    if let Some(shared) = guest.shared.as_ref().filter(|_| !own.is_empty()) {
        shared.write(own);
    }
    0
}

/// The words without their redirections, the file that standard output goes to, and whether it is added to.
fn redirected(words: Vec<String>) -> (Vec<String>, Option<(String, bool)>) {
    let mut file = None;
    let mut kept = Vec::new();
    for word in words {
        match word.strip_prefix(REDIRECTION) {
            Some(path) => {
                file = Some(path.strip_prefix('>').map_or((path.to_owned(), false), |path| (path.to_owned(), true)))
            }
            None => kept.push(word),
        }
    }
    (kept, file)
}

/// Stands before the file of a redirection among the words; no word begins so by itself.
const REDIRECTION: char = '\0';

/// Cuts a line into commands and those into words. Redirections to nowhere, and those of errors, are dropped.
fn split(line: &str, windows: bool) -> Vec<(Link, Vec<String>)> {
    let mut commands = Vec::new();
    let (mut link, mut words, mut word) = (Link::Always, Vec::new(), String::new());
    let (mut quote, mut in_word) = (None, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\\') if !windows => {
                word.extend(chars.next());
                in_word = true;
            }
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"') => (quote, in_word) = (Some('"'), true),
            (None, '\'') if !windows => (quote, in_word) = (Some('\''), true),
            (None, ';' | '\n' | '&' | '|') if c != ';' || !windows => {
                push_word(&mut words, &mut word, &mut in_word);
                let twice = chars.next_if_eq(&c).is_some();
                let next = match (c, twice) {
                    ('&', true) => Link::IfOk,
                    ('|', true) => Link::IfFailed,
                    ('|', false) => Link::Pipe,
                    _ => Link::Always,
                };
                commands.push((std::mem::replace(&mut link, next), std::mem::take(&mut words)));
            }
            (None, c) if c.is_whitespace() => push_word(&mut words, &mut word, &mut in_word),
            (None, '>') => {
                // `2>&1`: the ampersand belongs to the redirection. What stands before it without a blank, does not.
                if !matches!(word.as_str(), "1" | "2") {
                    push_word(&mut words, &mut word, &mut in_word);
                }
                word.push('>');
                in_word = true;
                while let Some(next) = chars.next_if(|c| matches!(c, '>' | '&' | ' ')) {
                    if next != ' ' {
                        word.push(next);
                    }
                }
            }
            (None, c) => {
                word.push(c);
                in_word = true;
            }
        }
    }
    push_word(&mut words, &mut word, &mut in_word);
    commands.push((link, words));
    commands
}

fn push_word(words: &mut Vec<String>, word: &mut String, in_word: &mut bool) {
    let word = std::mem::take(word);
    if !std::mem::replace(in_word, false) {
        return;
    }
    match word.strip_prefix('1').unwrap_or(&word).strip_prefix('>') {
        Some(target) => {
            let (appends, target) = (target.starts_with('>'), target.trim_start_matches('>'));
            if !target.starts_with('&') && !matches!(target, "" | "/dev/null" | "NUL" | "nul") {
                words.push(format!("{REDIRECTION}{}{target}", if appends { ">" } else { "" }));
            }
        }
        None if word.starts_with("2>") => {}
        None => words.push(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_its_operators_but_not_inside_quotes() {
        let cut = split("ip -j addr 2>/dev/null; echo 'a; b' && hostname || true", false);
        assert_eq!(cut.len(), 4);
        assert_eq!(cut[0].1, ["ip", "-j", "addr"]);
        assert_eq!(cut[1].1, ["echo", "a; b"]);
        assert_eq!(cut[2], (Link::IfOk, vec!["hostname".to_owned()]));
        assert_eq!(cut[3], (Link::IfFailed, vec!["true".to_owned()]));
    }

    #[test]
    fn what_a_command_prints_into_a_file_is_there_for_the_next_one() {
        let guest = |windows| GuestProfile {
            windows,
            hostname: "h".to_owned(),
            pretty_name: String::new(),
            users: Vec::new(),
            nics: Vec::new(),
            files: BTreeMap::new(),
            fails: None,
            luks: None,
            shared: None,
        };
        let linux = run(&guest(false), "/bin/sh -c 'printf %s a1b2 > /var/tmp/m && sync' && cat /var/tmp/m 2>&1");
        assert_eq!((linux.stdout.as_str(), linux.code), ("a1b2", 0));
        assert_eq!(linux.written.get("/var/tmp/m").map(String::as_str), Some("a1b2"));
        let windows = run(&guest(true), r#"cmd.exe /c "echo a1b2>C:\m.txt""#);
        assert_eq!(windows.written.get(r"C:\m.txt").map(String::as_str), Some("a1b2\r\n"));
        assert!(run(&guest(false), "cat /nothing > /dev/null").written.is_empty());
        let added = run(&guest(false), "cd /tmp; echo a > f; echo b >> f; mkdir d; cat f; rm f; ls");
        assert_eq!((added.stdout.as_str(), added.cwd.as_deref()), ("a\nb\nd\n", Some("/tmp")));
        assert_eq!((added.removed.as_slice(), added.stderr.as_str()), (&["/tmp/f".to_owned()][..], ""));
        assert_eq!(run(&guest(false), "lsblk | grep disk | wc -l").stdout, "1\n");
        assert_eq!(run(&guest(false), "hostname | frobnicate").stdout, "h\n");
    }
}
