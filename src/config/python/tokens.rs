//! Python's tokens, as far as literals need them: with line and column, comments dropped.

use std::iter::Peekable;
use std::str::CharIndices;

use super::Told;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Name(String),
    /// What a string literal says. An f-string or bytes is a name with a text behind it: no literal.
    Text(String),
    Number(String),
    Open(char),
    Close(char),
    Op(char),
    /// The end of a line.
    Line,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub line: usize,
    pub column: usize,
    /// As it is written, for people.
    pub text: String,
}

struct Scan<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    line: usize,
    line_begins: usize,
    out: Vec<Token>,
}

/// All tokens of a text. `Err`: a string that does not end.
pub(super) fn all(text: &str) -> Result<Vec<Token>, Told> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut scan = Scan { text, chars: text.char_indices().peekable(), line: 1, line_begins: 0, out: Vec::new() };
    while let Some((at, c)) = scan.chars.next() {
        match c {
            '\n' => {
                scan.push(Kind::Line, at, "");
                scan.new_line(at);
            }
            '\\' if scan.chars.next_if(|(_, next)| *next == '\n').is_some() => scan.new_line(at + 1),
            '#' => while scan.chars.next_if(|(_, next)| *next != '\n').is_some() {},
            c if c.is_whitespace() => {}
            '\'' | '"' => scan.string(at, at, c, false)?,
            c if c.is_ascii_digit() => {
                let end = scan.while_so(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
                let number = scan.text.get(at..end).unwrap_or_default().to_owned();
                scan.push(Kind::Number(number.clone()), at, &number);
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = scan.while_so(|c| c.is_alphanumeric() || c == '_');
                let name = scan.text.get(at..end).unwrap_or_default().to_owned();
                let quote = scan.chars.peek().map(|(_, next)| *next).filter(|next| matches!(next, '\'' | '"'));
                match (name.to_lowercase().as_str(), quote) {
                    (raw @ ("r" | "u"), Some(quote)) => {
                        scan.chars.next();
                        scan.string(at, end, quote, raw == "r")?;
                    }
                    _ => scan.push(Kind::Name(name.clone()), at, &name),
                }
            }
            '(' | '[' | '{' => scan.push(Kind::Open(c), at, c.encode_utf8(&mut [0; 4])),
            ')' | ']' | '}' => scan.push(Kind::Close(c), at, c.encode_utf8(&mut [0; 4])),
            // `==`, `:=` and the like are no assignment.
            c => {
                let longer = scan.chars.next_if(|(_, next)| *next == '=').is_some();
                scan.push(Kind::Op(if longer { '≡' } else { c }), at, c.encode_utf8(&mut [0; 4]));
            }
        }
    }
    Ok(scan.out)
}

impl Scan<'_> {
    fn push(&mut self, kind: Kind, at: usize, text: &str) {
        let column = at.saturating_sub(self.line_begins);
        self.out.push(Token { kind, line: self.line, column, text: text.to_owned() });
    }

    fn new_line(&mut self, at: usize) {
        self.line += 1;
        self.line_begins = at + 1;
    }

    /// Goes on while it is so; where it ends.
    fn while_so(&mut self, so: impl Fn(char) -> bool) -> usize {
        while self.chars.next_if(|(_, c)| so(*c)).is_some() {}
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    /// A string behind its first quote. `at`: where the token begins; `quoted`: where its quote stands.
    fn string(&mut self, at: usize, quoted: usize, quote: char, raw: bool) -> Result<(), Told> {
        let (line, column) = (self.line, at.saturating_sub(self.line_begins));
        let open = || Told { line, message: "the text does not end".to_owned() };
        let triple: String = [quote; 3].iter().collect();
        let long = self.text.get(quoted..).is_some_and(|rest| rest.starts_with(&triple));
        if long {
            self.chars.next();
            self.chars.next();
        }
        let mut said = String::new();
        loop {
            let (here, c) = self.chars.next().ok_or_else(open)?;
            match c {
                c if c == quote && !long => break,
                c if c == quote && self.text.get(here..).is_some_and(|rest| rest.starts_with(&triple)) => {
                    self.chars.next();
                    self.chars.next();
                    break;
                }
                '\n' if !long => return Err(open()),
                '\n' => {
                    self.new_line(here);
                    said.push('\n');
                }
                '\\' if raw => {
                    said.push('\\');
                    if let Some((here, next)) = self.chars.next() {
                        said.push(next);
                        if next == '\n' {
                            self.new_line(here);
                        }
                    }
                }
                '\\' => self.escaped(&mut said).ok_or_else(open)?,
                c => said.push(c),
            }
        }
        let end = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        let text = self.text.get(at..end).unwrap_or_default().to_owned();
        self.out.push(Token { kind: Kind::Text(said), line, column, text });
        Ok(())
    }

    /// What stands behind a backslash. `None`: the text ends there.
    fn escaped(&mut self, said: &mut String) -> Option<()> {
        let (here, c) = self.chars.next()?;
        let hex = |count: usize| {
            let digits = self.text.get(here + 1..here + 1 + count)?;
            char::from_u32(u32::from_str_radix(digits, 16).ok()?)
        };
        let coded = match c {
            'x' => hex(2).map(|c| (c, 2)),
            'u' => hex(4).map(|c| (c, 4)),
            'U' => hex(8).map(|c| (c, 8)),
            _ => None,
        };
        match (coded, c) {
            (Some((c, digits)), _) => {
                said.push(c);
                for _ in 0..digits {
                    self.chars.next();
                }
            }
            (None, '\n') => self.new_line(here),
            (None, 'n') => said.push('\n'),
            (None, 't') => said.push('\t'),
            (None, 'r') => said.push('\r'),
            (None, '0') => said.push('\0'),
            (None, '\\' | '\'' | '"') => said.push(c),
            // One that Python does not know stays as it is written.
            (None, c) => said.extend(['\\', c]),
        }
        Some(())
    }
}
