//! Literals of a Python file: the value of one name that is assigned at its top level.
//!
//! For configuration of the Python suite, which is a program. Nothing of it is executed: an expression that is no literal
//! is left out, and told with its line.

mod tokens;

use serde_json::{Map, Number, Value};

use super::secret::is_secret;
use tokens::{Kind, Token};

/// Something that was left out, or that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub line: usize,
    pub message: String,
}

/// A value with what is left out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    pub value: Value,
    /// The line where each key of the outermost dict stands.
    pub lines: Vec<(String, usize)>,
    pub left_out: Vec<Told>,
}

/// Deeper than that nobody writes by hand.
const DEEPEST: usize = 64;

/// The literal that `name` is assigned in this text. `Err`: there is none, or the text is not Python as far as that.
pub fn assigned(text: &str, name: &str) -> Result<Literal, Told> {
    let all = tokens::all(text)?;
    let at = assignment(&all, name)
        .ok_or_else(|| Told { line: 0, message: format!("nothing is assigned to `{name}` at the top level") })?;
    let mut reader = Reader { tokens: &all, at, path: Vec::new(), lines: Vec::new(), left_out: Vec::new() };
    let line = reader.line();
    match reader.expression(0)? {
        Some(value) => Ok(Literal { value, lines: reader.lines, left_out: reader.left_out }),
        None => Err(Told { line, message: format!("`{name}` is no literal") }),
    }
}

/// Where the value begins that is assigned to a name last: `name = …` or `name: type = …` at the beginning of a line.
fn assignment(all: &[Token], name: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut fresh = true;
    let mut found = None;
    for (at, token) in all.iter().enumerate() {
        let first = std::mem::take(&mut fresh);
        match &token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => depth = depth.saturating_sub(1),
            Kind::Line => fresh = depth == 0,
            Kind::Name(own) if first && depth == 0 && token.column == 0 && own == name => {
                found = value_after(all, at + 1).or(found);
            }
            _ => {}
        }
    }
    found
}

/// The place behind the `=` of an assignment, an annotation between or not.
fn value_after(all: &[Token], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let annotated = matches!(all.get(from)?.kind, Kind::Op(':'));
    for (at, token) in all.iter().enumerate().skip(from) {
        match &token.kind {
            Kind::Op('=') if depth == 0 => return Some(at + 1),
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => depth = depth.saturating_sub(1),
            Kind::Line if depth == 0 => return None,
            _ if !annotated => return None,
            _ => {}
        }
    }
    None
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    /// Keys that lead to where it reads.
    path: Vec<String>,
    lines: Vec<(String, usize)>,
    left_out: Vec<Told>,
}

impl Reader<'_> {
    fn kind(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |token| token.line)
    }

    fn is(&self, kind: &Kind) -> bool {
        self.kind() == Some(kind)
    }

    /// Skips line ends: inside brackets they mean nothing.
    fn blank(&mut self) {
        while self.is(&Kind::Line) {
            self.at += 1;
        }
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Told> {
        Err(Told { line: self.line(), message: message.into() })
    }

    /// One expression up to the comma, bracket or colon behind it. `None`: it is no literal, has been told and skipped.
    fn expression(&mut self, depth: usize) -> Result<Option<Value>, Told> {
        if depth > DEEPEST {
            return self.wrong(format!("nested deeper than {DEEPEST}"));
        }
        let (begun, line, told) = (self.at, self.line(), self.left_out.len());
        let value = self.literal(depth)?;
        if depth > 0 {
            self.blank();
        }
        let ends = match self.kind() {
            None | Some(Kind::Close(_) | Kind::Op(',' | ':')) => true,
            Some(Kind::Line) => depth == 0,
            Some(_) => false,
        };
        match value {
            Some(value) if ends => Ok(Some(value)),
            _ => {
                // What was left out of a part of it goes with the whole.
                self.left_out.truncate(told);
                self.skip(begun);
                self.leave_out(line, begun);
                Ok(None)
            }
        }
    }

    /// Goes behind an expression that began at this token.
    fn skip(&mut self, begun: usize) {
        self.at = begun;
        let mut depth = 0_usize;
        while let Some(kind) = self.kind() {
            match kind {
                Kind::Open(_) => depth += 1,
                Kind::Close(_) if depth == 0 => return,
                Kind::Close(_) => depth -= 1,
                Kind::Op(',') if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn leave_out(&mut self, line: usize, begun: usize) {
        let words: Vec<&str> =
            self.tokens.get(begun..self.at).unwrap_or_default().iter().map(|token| token.text.as_str()).collect();
        let mut text: String = words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() > 60 {
            text = text.chars().take(59).chain(['…']).collect();
        }
        // It may hold what nobody must read.
        if self.path.last().is_some_and(|key| is_secret(key)) {
            text = "********".to_owned();
        }
        let place = if self.path.is_empty() { String::new() } else { format!("`{}`: ", self.path.join(".")) };
        self.left_out.push(Told { line, message: format!("{place}no literal, left out: {text}") });
    }

    fn literal(&mut self, depth: usize) -> Result<Option<Value>, Told> {
        let Some(kind) = self.kind().cloned() else { return self.wrong("the file ends within a value") };
        self.at += 1;
        Ok(match kind {
            Kind::Text(mut text) => {
                // Strings beside each other are one.
                loop {
                    let next = self.at;
                    if depth > 0 {
                        self.blank();
                    }
                    match self.kind() {
                        Some(Kind::Text(more)) => text.push_str(more),
                        _ => {
                            self.at = next;
                            break;
                        }
                    }
                    self.at += 1;
                }
                Some(Value::String(text))
            }
            Kind::Number(text) => number(&text, false),
            Kind::Op('-') => match self.kind().cloned() {
                Some(Kind::Number(text)) => {
                    self.at += 1;
                    number(&text, true)
                }
                _ => None,
            },
            Kind::Name(name) => match name.as_str() {
                "True" => Some(Value::Bool(true)),
                "False" => Some(Value::Bool(false)),
                "None" => Some(Value::Null),
                _ => None,
            },
            Kind::Open('{') => self.dict(depth)?,
            Kind::Open('[') => self.list(depth, ']')?.map(|(items, _)| Value::Array(items)),
            Kind::Open('(') => self.list(depth, ')')?.and_then(|(mut items, commas)| {
                // Brackets around one value are no tuple.
                if items.len() == 1 && commas == 0 { items.pop() } else { Some(Value::Array(items)) }
            }),
            _ => None,
        })
    }

    /// Behind the bracket; the items, and how many commas stood between. `None`: it is a comprehension.
    fn list(&mut self, depth: usize, close: char) -> Result<Option<(Vec<Value>, usize)>, Told> {
        let (mut items, mut commas, mut place) = (Vec::new(), 0, 0_usize);
        loop {
            self.blank();
            match self.kind() {
                Some(Kind::Close(c)) if *c == close => {
                    self.at += 1;
                    return Ok(Some((items, commas)));
                }
                Some(Kind::Op(',')) => {
                    commas += 1;
                    self.at += 1;
                    continue;
                }
                None | Some(Kind::Close(_)) => return self.wrong(format!("`{close}` is missing")),
                Some(_) => {}
            }
            let begun = self.at;
            self.path.push(place.to_string());
            place += 1;
            let item = self.expression(depth + 1)?;
            self.path.pop();
            if item.is_none() && self.comprehends(begun) {
                return Ok(None);
            }
            items.extend(item);
            // `a: b` in a list is nothing that Python knows.
            if self.is(&Kind::Op(':')) {
                return self.wrong("`:` in a list");
            }
        }
    }

    /// Whether a `for` stands in what was just skipped.
    fn comprehends(&self, begun: usize) -> bool {
        let mut depth = 0_usize;
        self.tokens.get(begun..self.at).unwrap_or_default().iter().any(|token| {
            match &token.kind {
                Kind::Open(_) => depth += 1,
                Kind::Close(_) => depth = depth.saturating_sub(1),
                Kind::Name(name) => return depth == 0 && name == "for",
                _ => {}
            }
            false
        })
    }

    /// Behind the bracket. `None`: it is a set, or a comprehension.
    fn dict(&mut self, depth: usize) -> Result<Option<Value>, Told> {
        let mut map = Map::new();
        loop {
            self.blank();
            match self.kind() {
                Some(Kind::Close('}')) => {
                    self.at += 1;
                    return Ok(Some(Value::Object(map)));
                }
                Some(Kind::Op(',')) => {
                    self.at += 1;
                    continue;
                }
                None | Some(Kind::Close(_)) => return self.wrong("`}` is missing"),
                Some(_) => {}
            }
            let (line, begun) = (self.line(), self.at);
            let key = match self.literal(depth)? {
                Some(Value::String(key)) => Some(key),
                Some(Value::Number(key)) => Some(key.to_string()),
                _ => None,
            };
            self.blank();
            if key.is_some() && matches!(self.kind(), Some(Kind::Close(_) | Kind::Op(','))) {
                return Ok(None);
            }
            let Some(key) = key.filter(|_| self.is(&Kind::Op(':'))) else {
                // `**others`, a set, a key that is computed.
                self.skip(begun);
                self.leave_out(line, begun);
                continue;
            };
            self.at += 1;
            self.blank();
            if self.path.is_empty() {
                self.lines.push((key.clone(), line));
            }
            self.path.push(key.clone());
            let begun = self.at;
            let value = self.expression(depth + 1)?;
            self.path.pop();
            if value.is_none() && self.comprehends(begun) {
                return Ok(None);
            }
            if let Some(value) = value {
                // The last of a name counts, as in Python.
                map.insert(key, value);
            }
        }
    }
}

fn number(text: &str, negative: bool) -> Option<Value> {
    let text = text.replace('_', "");
    let lower = text.to_lowercase();
    let whole = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(head, radix)| lower.strip_prefix(head).map(|digits| i64::from_str_radix(digits, *radix).ok()))
        .unwrap_or_else(|| lower.parse::<i64>().ok());
    let sign = if negative { -1 } else { 1 };
    match whole {
        Some(whole) => Some(Value::Number(Number::from(whole * sign))),
        None => {
            let float = lower.parse::<f64>().ok()?;
            Number::from_f64(if negative { -float } else { float }).map(Value::Number)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Literal {
        assigned(text, "tests_params").unwrap()
    }

    #[test]
    fn literals_of_every_kind_are_read_as_python_means_them() {
        let text = "import os\nglobal config\nother: str = \"x\"  # tests_params = {}\n\ntests_params: dict[str, dict] = {\n  \
                    'a': {\"on\": True, \"off\": False, 'none': None, \"n\": -1_000, \"h\": 0x10, \"f\": 1.5,},  # told\n  \
                    \"b\": [\n    (1, 2,),\n    ('one'\n     ' text'),\n    \"\"\"long\ntext\"\"\",\n    r'raw\\d', 'tab\\t\\x41\\u00e9\\N'],\n  \
                    \"b2\": (), \"c\": {},\n}\n\nfor _dir in dir():\n    tests_params = {}\n";
        let found = read(text);
        assert_eq!(found.left_out, []);
        assert_eq!(
            found.value,
            json!({
                "a": {"on": true, "off": false, "none": null, "n": -1000, "h": 16, "f": 1.5},
                "b": [[1, 2], "one text", "long\ntext", "raw\\d", "tab\tAé\\N"], "b2": [], "c": {},
            })
        );
        assert_eq!(found.lines[1], ("b".to_owned(), 7));
    }

    #[test]
    fn what_is_no_literal_is_left_out_and_told_with_its_line_and_nothing_else() {
        let text = "tests_params = {\n  \"a\": {\n    \"ns\": f\"mtv-{uuid.uuid4().hex[:4]}\",\n    \"vms\": [vm(1, 2), {\"name\": \"x\"}],\n    \
                    \"seconds\": 5 * 60,\n    **common,\n    \"disks\": [{\"gb\": 10} for n in range(10)],\n    \"kept\": 1,\n  },\n  NAME: 3,\n  \"s\": {1, 2},\n}\n";
        let found = read(text);
        assert_eq!(found.value, json!({"a": {"vms": [{"name": "x"}], "kept": 1}}));
        let told: Vec<String> = found.left_out.iter().map(|told| format!("{} {}", told.line, told.message)).collect();
        assert_eq!(told.len(), 7, "{told:#?}");
        assert!(told[0].starts_with("3 `a.ns`: no literal, left out: f"), "{told:#?}");
        assert!(told[1].starts_with("4 `a.vms.0`: no literal, left out: vm ( 1 , 2 )"), "{told:#?}");
        assert!(told[2].starts_with("5 `a.seconds`: "), "{told:#?}");
        assert!(told[4].starts_with("7 `a.disks"), "{told:#?}");
        assert!(told[5].starts_with("10 no literal, left out: NAME : 3"), "{told:#?}");
    }

    #[test]
    fn what_is_not_python_as_far_as_that_is_an_error_with_its_line() {
        for (text, words) in [
            ("x = 1\n", "nothing is assigned"),
            ("tests_params = 'open\n", "the text does not end"),
            ("tests_params = {\n'a': [1,\n", "is missing"),
            ("tests_params = make()\n", "is no literal"),
            ("def f():\n  tests_params = {}\n", "nothing is assigned"),
        ] {
            let told = assigned(text, "tests_params").unwrap_err();
            assert!(told.message.contains(words), "{text}: {told:?}");
        }
        let deep = format!("tests_params = {}{}\n", "[".repeat(5000), "]".repeat(5000));
        assert!(assigned(&deep, "tests_params").unwrap_err().message.contains("nested deeper"));
    }
}
