//! Text from outside, made fit to be shown: nothing here does I/O.
//!
//! Whatever a cluster, a platform, a guest or a file says is hostile. At the edge to a terminal it passes
//! [`line`] or [`lines`]; a URL that is told passes [`without_user_info`].

use std::borrow::Cow;

/// Longest text that is told in one piece, in characters: longer ones are cut in the middle of nowhere.
pub const LONGEST: usize = 4000;

/// Characters that change how others are shown: bidirectional overrides and isolates, invisible ones.
fn is_deceptive(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn is_raw(c: char) -> bool {
    c.is_control() || is_deceptive(c)
}

/// One line for a terminal: control characters (escape sequences begin with one) and what changes the
/// direction of text are shown as `\u{…}`, line breaks as a space; longer than [`LONGEST`] is cut.
pub fn line(text: &str) -> Cow<'_, str> {
    shown(text, false, LONGEST)
}

/// Several lines, e.g. a table: likewise, with line breaks as they are; each line is cut for itself.
pub fn lines(text: &str) -> Cow<'_, str> {
    if text.split('\n').all(|part| part.len() <= LONGEST) {
        return shown(text, true, usize::MAX);
    }
    let parts: Vec<Cow<'_, str>> = text.split('\n').map(|part| shown(part, true, LONGEST)).collect();
    Cow::Owned(parts.join("\n"))
}

/// Like [`lines`], nothing is cut: for what is written to be read by a program, and for logs.
pub fn page(text: &str) -> Cow<'_, str> {
    shown(text, true, usize::MAX)
}

/// A line of JSON for a terminal: what JSON itself leaves raw is escaped as JSON escapes it.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_raw) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_raw(c) {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn shown(text: &str, breaks: bool, longest: usize) -> Cow<'_, str> {
    match without_user_info(text) {
        Cow::Borrowed(text) => made_plain(text, breaks, longest),
        Cow::Owned(text) => Cow::Owned(made_plain(&text, breaks, longest).into_owned()),
    }
}

fn made_plain(text: &str, breaks: bool, longest: usize) -> Cow<'_, str> {
    // Bytes are never fewer than characters.
    let is_long = text.len() > longest && text.chars().nth(longest).is_some();
    if !is_long && !text.chars().any(|c| is_raw(c) && !(breaks && c == '\n')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(longest));
    let head = if is_long { text.chars().take(longest) } else { text.chars().take(usize::MAX) };
    for c in head {
        match c {
            '\n' if breaks => out.push('\n'),
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_raw(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    if is_long {
        out.push_str(&format!("… (cut: {} characters in all)", text.chars().count()));
    }
    Cow::Owned(out)
}

/// A bounded copy of a message from outside, before it is kept: events and reports hold no more.
pub fn bounded(text: &str) -> Cow<'_, str> {
    let longer = text.len() > LONGEST;
    match text.char_indices().nth(LONGEST).filter(|_| longer) {
        None => without_user_info(text),
        Some((end, _)) => {
            let head = without_user_info(text.get(..end).unwrap_or_default());
            Cow::Owned(format!("{head}… (cut: {} bytes in all)", text.len()))
        }
    }
}

/// A text with the user info of every URL in it left out: `https://user:pw@host/` is `https://host/`.
pub fn without_user_info(text: &str) -> Cow<'_, str> {
    if !text.contains("://") || !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '`') || c.is_whitespace();
        let end = tail.find(ends).unwrap_or(tail.len());
        let authority = tail.get(..end).unwrap_or_default();
        out.push_str(head);
        rest = match authority.rfind('@') {
            Some(last) => tail.get(last + 1..).unwrap_or_default(),
            None => tail,
        };
    }
    out.push_str(rest);
    if out.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// A key as a part of a JSON pointer (RFC 6901).
pub fn pointer_part(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A part of a JSON pointer as the key that it names.
pub fn pointer_key(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_a_terminal_raw() {
        assert_eq!(line("plain … ü"), "plain … ü");
        assert_eq!(line("a\x1b[2Jb\x07"), "a\\u{1b}[2Jb\\u{7}");
        assert_eq!(line("evil\u{202e}txt.exe\u{200b}"), "evil\\u{202e}txt.exe\\u{200b}");
        assert_eq!(line("one\ntwo\r\nthree"), "one two  three");
        assert_eq!(lines("one\ntwo\u{9b}31m"), "one\ntwo\\u{9b}31m");
        assert_eq!(line("\u{85}"), "\\u{85}", "C1 controls too");
    }

    #[test]
    fn a_message_of_ten_megabytes_is_cut_and_says_so() {
        let long = "x".repeat(10_000_000);
        assert_eq!(line("at https://u:canary@h/"), "at https://h/");
        for said in [line(&long), bounded(&long)] {
            assert!(said.len() < 5000 && said.contains("cut: 10000000"), "{}", said.len());
        }
        assert_eq!(page(&long).len(), long.len());
        let table = format!("short\n{long}\nshort");
        let said = lines(&table);
        assert!(said.len() < 5000 && said.ends_with("\nshort"), "{}", said.len());
    }

    #[test]
    fn json_for_a_terminal_reads_back_as_it_was() {
        let text = serde_json::to_string("a\u{202e}b\u{9b}c\u{e0041}").unwrap();
        let shown = json(&text);
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), "a\u{202e}b\u{9b}c\u{e0041}");
    }

    #[test]
    fn user_info_of_urls_is_left_out_of_a_text() {
        assert_eq!(without_user_info("https://u:p@h:1/x"), "https://h:1/x");
        assert_eq!(
            without_user_info("failed (https://u:p@ss@h) and http://a@b?q"),
            "failed (https://h) and http://b?q"
        );
        assert_eq!(without_user_info("mail me@x.org"), "mail me@x.org");
    }

    #[test]
    fn a_pointers_part_and_its_key_are_each_others_inverse() {
        for key in ["a/b", "~", "~1", "x"] {
            assert_eq!(pointer_key(&pointer_part(key)), key);
        }
    }
}
