//! The part of Go's `text/template` that PVC name templates use.
//!
//! Actions with pipelines, parentheses, literals, fields of one level, `if`/`else`/`end`, trim
//! markers and comments; functions are in `template_funcs`. Pure, and bounded by the template's
//! length: there are no loops and no definitions.

use std::collections::BTreeMap;

use super::template_funcs::call;
pub use super::template_value::{TemplateError, Value};

fn syntax<T>(message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Syntax(message.into()))
}

/// Deepest nesting of parentheses.
const MAX_DEPTH: usize = 50;

/// Renders `template` with `fields`.
pub fn render(template: &str, fields: &BTreeMap<&str, Value>) -> Result<String, TemplateError> {
    let mut out = String::new();
    // One entry an open `if`: (a branch was taken, this branch is shown, `else` was seen).
    let mut open: Vec<(bool, bool, bool)> = Vec::new();
    for piece in split(template)? {
        let shown = open.iter().all(|(_, shown, _)| *shown);
        match piece {
            Piece::Text(text) => {
                if shown {
                    out.push_str(&text);
                }
            }
            Piece::Action(tokens) => match tokens.first() {
                None => return syntax("missing value for command"),
                Some(Token::Word(word)) if word == "if" => {
                    let yes = shown && evaluate(tokens.get(1..).unwrap_or_default(), fields)?.truth();
                    open.push((yes || !shown, yes, false));
                }
                Some(Token::Word(word)) if word == "else" => {
                    let Some((taken, _, seen)) = open.pop() else { return syntax("unexpected {{else}}") };
                    if seen {
                        return syntax("expected {{end}}, found {{else}}");
                    }
                    let condition = tokens.get(1..).unwrap_or_default();
                    match condition.first() {
                        None => open.push((true, !taken, true)),
                        Some(Token::Word(word)) if word == "if" => {
                            let yes = !taken && evaluate(condition.get(1..).unwrap_or_default(), fields)?.truth();
                            open.push((taken || yes, yes, false));
                        }
                        Some(_) => return syntax("unexpected text in {{else}}"),
                    }
                }
                Some(Token::Word(word)) if word == "end" => {
                    if open.pop().is_none() {
                        return syntax("unexpected {{end}}");
                    }
                }
                Some(_) if shown => out.push_str(&evaluate(&tokens, fields)?.to_string()),
                Some(_) => {}
            },
        }
    }
    if open.is_empty() { Ok(out) } else { syntax("unclosed {{if}}") }
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Field(String),
    Literal(Value),
    Pipe,
    Open,
    Close,
}

/// Splits a template into text and actions, obeying trim markers and dropping comments.
fn split(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_next = false;
    loop {
        let (text, after) = match rest.split_once("{{") {
            Some((text, after)) => (text, Some(after)),
            None => (rest, None),
        };
        let text = if trim_next { text.trim_start() } else { text };
        let Some(after) = after else {
            pieces.push(Piece::Text(text.to_owned()));
            return Ok(pieces);
        };
        let left = after.strip_prefix('-').filter(|body| body.starts_with(char::is_whitespace));
        pieces.push(Piece::Text(if left.is_some() { text.trim_end() } else { text }.to_owned()));
        let body = left.unwrap_or(after);
        if let Some(comment) = body.trim_start().strip_prefix("/*") {
            let Some((_, end)) = comment.split_once("*/") else { return syntax("unclosed comment") };
            let trim = end.trim_start().strip_prefix("-}}");
            let Some(end) = trim.or_else(|| end.strip_prefix("}}")) else {
                return syntax("comment ends before closing delimiter");
            };
            (trim_next, rest) = (trim.is_some(), end);
            continue;
        }
        let (tokens, end, trim) = action(body)?;
        pieces.push(Piece::Action(tokens));
        (trim_next, rest) = (trim, end);
    }
}

/// Tokens up to the closing braces, the text after them, and whether it is to be trimmed.
fn action(body: &str) -> Result<(Vec<Token>, &str, bool), TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = body;
    loop {
        let blank = rest.starts_with(char::is_whitespace);
        rest = rest.trim_start();
        if let Some(end) = rest.strip_prefix("}}") {
            return Ok((tokens, end, false));
        }
        if blank && let Some(end) = rest.strip_prefix("-}}") {
            return Ok((tokens, end, true));
        }
        let Some(first) = rest.chars().next() else { return syntax("unclosed action") };
        let length = match first {
            '|' => {
                tokens.push(Token::Pipe);
                1
            }
            '(' => {
                tokens.push(Token::Open);
                1
            }
            ')' => {
                tokens.push(Token::Close);
                1
            }
            '"' => {
                let (text, length) = quoted(rest)?;
                tokens.push(Token::Literal(Value::Str(text)));
                length
            }
            '`' => {
                let Some(end) = rest.get(1..).and_then(|tail| tail.find('`')) else {
                    return syntax("unterminated raw string");
                };
                tokens.push(Token::Literal(Value::Str(rest.get(1..=end).unwrap_or_default().to_owned())));
                end + 2
            }
            '.' | '-' | '+' | '0'..='9' | 'a'..='z' | 'A'..='Z' | '_' => {
                let length = word_length(rest);
                tokens.push(word(rest.get(..length).unwrap_or_default())?);
                length
            }
            other => return syntax(format!("unexpected {other:?} in an action")),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn word_length(text: &str) -> usize {
    let tail = text.char_indices().skip(1);
    tail.take_while(|(_, c)| c.is_alphanumeric() || matches!(c, '_' | '.')).last().map_or(1, |(i, c)| i + c.len_utf8())
}

fn word(text: &str) -> Result<Token, TemplateError> {
    if let Some(field) = text.strip_prefix('.').filter(|field| !field.starts_with(|c: char| c.is_ascii_digit())) {
        if field.is_empty() || field.contains('.') {
            return syntax(format!("{text:?} is no field of a PVC name template"));
        }
        return Ok(Token::Field(field.to_owned()));
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        let number = text.parse::<i64>().map(Value::Int).or_else(|_| text.parse::<f64>().map(Value::Float));
        return number.map(Token::Literal).or_else(|_| syntax(format!("bad number {text:?}")));
    }
    Ok(match text {
        "true" => Token::Literal(Value::Bool(true)),
        "false" => Token::Literal(Value::Bool(false)),
        _ => Token::Word(text.to_owned()),
    })
}

/// A Go string in double quotes: its value and how many bytes it took.
fn quoted(text: &str) -> Result<(String, usize), TemplateError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, at + 1)),
            '\n' => break,
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(c @ ('"' | '\\')) => out.push(c),
                other => return syntax(format!("unknown escape {other:?} in a string")),
            },
            c => out.push(c),
        }
    }
    syntax("unterminated quoted string")
}

fn evaluate(tokens: &[Token], fields: &BTreeMap<&str, Value>) -> Result<Value, TemplateError> {
    let mut parser = Parser { tokens, at: 0, fields };
    let value = parser.pipeline(0)?;
    if parser.at == tokens.len() { Ok(value) } else { syntax("unexpected right parenthesis") }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    fields: &'a BTreeMap<&'a str, Value>,
}

impl Parser<'_> {
    /// Commands joined by `|`; each one's value is the last argument of the next.
    fn pipeline(&mut self, depth: usize) -> Result<Value, TemplateError> {
        if depth > MAX_DEPTH {
            return syntax("parentheses are nested too deeply");
        }
        let mut value = self.command(None, depth)?;
        while self.tokens.get(self.at) == Some(&Token::Pipe) {
            self.at += 1;
            value = self.command(Some(value), depth)?;
        }
        Ok(value)
    }

    fn command(&mut self, piped: Option<Value>, depth: usize) -> Result<Value, TemplateError> {
        if let Some(Token::Word(name)) = self.tokens.get(self.at) {
            let name = name.clone();
            self.at += 1;
            let mut arguments = Vec::new();
            while let Some(argument) = self.operand(depth)? {
                arguments.push(argument);
            }
            arguments.extend(piped);
            return call(&name, &arguments);
        }
        let Some(value) = self.operand(depth)? else { return syntax("missing value for command") };
        if piped.is_some() {
            return syntax("a value that is no function cannot take a piped one");
        }
        match self.tokens.get(self.at) {
            None | Some(Token::Pipe | Token::Close) => Ok(value),
            Some(_) => syntax("a value that is no function cannot take arguments"),
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Option<Value>, TemplateError> {
        let Some(token) = self.tokens.get(self.at) else { return Ok(None) };
        let value = match token {
            Token::Pipe | Token::Close => return Ok(None),
            Token::Literal(value) => value.clone(),
            Token::Field(name) => {
                self.fields.get(name.as_str()).cloned().ok_or_else(|| TemplateError::UnknownField(name.clone()))?
            }
            Token::Word(name) => call(name, &[])?,
            Token::Open => {
                self.at += 1;
                let value = self.pipeline(depth + 1)?;
                if self.tokens.get(self.at) != Some(&Token::Close) {
                    return syntax("unclosed left parenthesis");
                }
                value
            }
        };
        self.at += 1;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(template: &str) -> Result<String, String> {
        let fields = BTreeMap::from([
            ("VmName", Value::Str("My_VM-01".into())),
            ("DiskIndex", Value::Int(2)),
            ("FileName", Value::Str("win_2019_1.vmdk".into())),
        ]);
        render(template, &fields).map_err(|error| error.to_string())
    }

    #[test]
    fn templates_render_as_go_renders_them() {
        for (template, text) in [
            ("plain", "plain"),
            ("{{.VmName}}-{{ .DiskIndex }}", "My_VM-01-2"),
            (r#"{{ .VmName | lower | replace "_" "-" }}"#, "my-vm-01"),
            (r#"{{ trunc 4 (lower .VmName) }}"#, "my_v"),
            (r#"a {{- " b " -}} c"#, "a b c"),
            ("{{/* a comment */}}x", "x"),
            ("{{ if eq .DiskIndex 0 }}root{{ else if gt .DiskIndex 1 }}data{{ else }}one{{ end }}", "data"),
            ("{{ `raw\"text` }}", "raw\"text"),
            ("{{ printf \"%s-%03d\" .VmName .DiskIndex }}", "My_VM-01-002"),
            ("{{ add1 .DiskIndex }}", "3"),
            (r#"{{ mustRegexReplaceAll "[^a-z]+" (lower .VmName) "-" }}"#, "my-vm-"),
        ] {
            assert_eq!(go(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (template, part) in [
            ("{{.Nothing}}", ".Nothing"),
            ("{{ .VmName", "unclosed action"),
            ("{{ nosuch .VmName }}", "nosuch"),
            ("{{ (lower .VmName }}", "parenthesis"),
            ("{{ if .VmName }}x", "unclosed {{if}}"),
            ("{{ end }}", "unexpected {{end}}"),
            ("{{ div 1 0 }}", "zero"),
            ("{{ \"open }}", "unterminated"),
            ("{{ }}", "missing value"),
        ] {
            let error = go(template).unwrap_err();
            assert!(error.contains(part), "{template}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_renderer_panic(template in r#"[ -~{}|()"`.]{0,60}"#) {
            let _ = go(&template);
        }
    }
}
