//! As much of an ESXi host's shell as an administrator's one-liners over files need: sequences, quotes, redirections.

use super::Disk;

/// What a command leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub stdout: String,
    pub stderr: String,
    pub code: u32,
}

impl Answer {
    pub(super) fn out(text: impl Into<String>) -> Self {
        Self { stdout: text.into(), ..Self::default() }
    }
    fn failure(code: u32, text: impl Into<String>) -> Self {
        Self { stderr: text.into(), code, ..Self::default() }
    }
    fn ended(ok: bool) -> Self {
        Self { code: u32::from(!ok), ..Self::default() }
    }
}

/// How a command hangs on the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Always,
    IfOk,
    IfFailed,
}

#[derive(Debug, PartialEq, Eq)]
struct Command {
    link: Link,
    words: Vec<String>,
    /// A file, and whether it is appended to.
    into: Option<(String, bool)>,
}

/// Runs a line as `sh` would.
pub(super) fn run(disk: &mut Disk, line: &str) -> Answer {
    let mut all = Answer::default();
    for command in split(line) {
        let wanted = match command.link {
            Link::Always => true,
            Link::IfOk => all.code == 0,
            Link::IfFailed => all.code != 0,
        };
        if !wanted || command.words.is_empty() {
            continue;
        }
        let words: Vec<String> =
            command.words.iter().map(|word| if word == "$?" { all.code.to_string() } else { word.clone() }).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let ["exit", code] = words.as_slice() {
            all.code = code.parse().unwrap_or(2);
            return all;
        }
        let one = simple(disk, &words);
        match &command.into {
            Some((file, append)) => {
                let before = if *append { disk.files.get(file).cloned().unwrap_or_default() } else { String::new() };
                disk.files.insert(file.clone(), before + &one.stdout);
            }
            None => all.stdout.push_str(&one.stdout),
        }
        all.stderr.push_str(&one.stderr);
        all.code = one.code;
    }
    all
}

fn simple(disk: &mut Disk, words: &[&str]) -> Answer {
    let no_such = |what: &str, path: &str| Answer::failure(1, format!("{what}: {path}: No such file or directory\n"));
    match words {
        ["true" | "umask" | "chmod", ..] => Answer::default(),
        ["mkdir", "-p", path] => {
            disk.directories.insert((*path).to_owned());
            Answer::default()
        }
        ["mkdir", path] if disk.directories.insert((*path).to_owned()) => Answer::default(),
        ["mkdir", path] => Answer::failure(1, format!("mkdir: can't create directory '{path}': File exists\n")),
        ["rmdir", path] => {
            let within = format!("{path}/");
            let empty = !disk.files.keys().chain(&disk.directories).any(|other| other.starts_with(&within));
            Answer::ended(empty && disk.directories.remove(*path))
        }
        ["rm", "-f", path] => {
            disk.files.remove(*path);
            Answer::default()
        }
        ["touch", path] => {
            disk.files.entry((*path).to_owned()).or_default();
            Answer::default()
        }
        ["test", "-e", path] => Answer::ended(disk.files.contains_key(*path) || disk.directories.contains(*path)),
        ["test", one, "-lt", other] => {
            Answer::ended(one.parse::<u32>().ok().zip(other.parse().ok()).is_some_and(|(one, other)| one < other))
        }
        ["cat", path] => disk.files.get(*path).cloned().map_or_else(|| no_such("cat", path), Answer::out),
        ["printf", "%s\\n", text] => Answer::out(format!("{text}\n")),
        ["grep", "-v", "-x", "-F", "-e", pattern, path] => match disk.files.get(*path) {
            // An error is 2, no line is 1.
            None => Answer { code: 2, ..no_such("grep", path) },
            Some(text) => {
                let kept: String =
                    text.lines().filter(|line| line != pattern).map(|line| format!("{line}\n")).collect();
                Answer { code: u32::from(kept.is_empty()), ..Answer::out(kept) }
            }
        },
        [command, ..] => Answer::failure(127, format!("sh: {command}: not found\n")),
        [] => Answer::default(),
    }
}

/// Cuts a line into commands, and those into words.
fn split(line: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut link = Link::Always;
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    let end = |link: Link, words: Vec<String>| {
        let at = words.iter().position(|word| word == ">" || word == ">>");
        let into = at.and_then(|at| Some((words.get(at + 1)?.clone(), words[at] == ">>")));
        let kept = words.into_iter().take(at.unwrap_or(usize::MAX)).collect();
        Command { link, words: kept, into }
    };
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() && c != '\n' => words.extend(word.take()),
            (None, '>') => {
                words.extend(word.take());
                words.push(if chars.next_if_eq(&'>').is_some() { ">>" } else { ">" }.to_owned());
            }
            (None, ';' | '\n' | '&' | '|') => {
                words.extend(word.take());
                let twice = chars.next_if_eq(&c).is_some();
                let next = match (c, twice) {
                    ('&', true) => Link::IfOk,
                    ('|', true) => Link::IfFailed,
                    _ => Link::Always,
                };
                commands.push(end(std::mem::replace(&mut link, next), std::mem::take(&mut words)));
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.take());
    commands.push(end(link, words));
    commands
}
