//! `authorized_keys` as sshd reads it: options in front, a key, a comment; the first line that has the key counts.

use russh::keys::PublicKey;

/// What a line lets its key do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permit {
    /// What runs, whatever is asked for.
    pub command: Option<String>,
}

/// Cuts the options off a line: they end at the first blank outside of quotes.
fn options(line: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return (&line[..at], line[at..].trim_start()),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (line, "")
}

/// The value of `command="…"`, in which `\"` stands for a quote and nothing else for anything else.
fn command(options: &str) -> Option<String> {
    let rest =
        options.strip_prefix("command=\"").or_else(|| options.split_once(",command=\"").map(|(_, rest)| rest))?;
    let mut text = String::new();
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'"') => text.extend(chars.next()),
            '"' => return Some(text),
            c => text.push(c),
        }
    }
    None
}

/// What the file lets this key do; `None`: it is not in it.
pub(super) fn permit(file: &str, key: &PublicKey) -> Option<Permit> {
    file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).find_map(|line| {
        let plain = PublicKey::from_openssh(line);
        let (options, rest) = if plain.is_ok() { ("", line) } else { options(line) };
        let there = PublicKey::from_openssh(rest).ok()?;
        (there.key_data() == key.key_data()).then(|| Permit { command: command(options) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use russh::keys::{Algorithm, PrivateKey};

    #[test]
    fn a_key_is_found_behind_its_options_and_its_command_is_unquoted_as_sshd_does() {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        let other = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        let text = key.public_key().to_openssh().unwrap();
        let file = format!(
            "# a comment\n\ncommand=\"sh -c 'echo \\\"$X\\\" | sed s/\\\\(a\\\\)//'\",no-pty {text} me and more\n"
        );
        let found = permit(&file, key.public_key()).unwrap();
        assert_eq!(found.command.as_deref(), Some("sh -c 'echo \"$X\" | sed s/\\\\(a\\\\)//'"));
        assert_eq!(permit(&file, other.public_key()), None);
        assert_eq!(permit(&format!("{text} me"), key.public_key()), Some(Permit { command: None }));
    }
}
