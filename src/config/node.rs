//! A parsed file that still knows its lines.
//!
//! Knows YAML and JSON, nothing of what the keys mean. No `Debug`: a node may hold a secret.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::secret::is_secret;

/// One value with the line it starts on; 0 where there is none (environment, flags).
#[derive(Clone)]
pub(crate) struct Node {
    pub line: usize,
    pub data: Data,
}

#[derive(Clone)]
pub(crate) enum Data {
    /// Null, bool, number or string.
    Scalar(Value),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

impl Node {
    pub fn scalar(value: Value) -> Self {
        Self { line: 0, data: Data::Scalar(value) }
    }

    pub fn empty_map() -> Self {
        Self { line: 0, data: Data::Map(Vec::new()) }
    }

    /// A JSON value without lines.
    pub fn from_json(value: Value) -> Self {
        let data = match value {
            Value::Array(items) => Data::Seq(items.into_iter().map(Self::from_json).collect()),
            Value::Object(map) => Data::Map(
                map.into_iter().map(|(key, value)| Entry { key, line: 0, node: Self::from_json(value) }).collect(),
            ),
            scalar => Data::Scalar(scalar),
        };
        Self { line: 0, data }
    }

    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::Seq(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar(Value::Null))
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.node)
    }

    /// The value at a path of map keys.
    pub fn at(&self, path: &[String]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| match &node.data {
            Data::Seq(items) => items.get(key.parse::<usize>().ok()?),
            Data::Map(_) | Data::Scalar(_) => node.get(key),
        })
    }

    /// Removes what is at a path of keys and list positions; a list's item becomes null, so that the others
    /// keep their positions. Whether there was anything.
    pub fn remove(&mut self, path: &[String]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        if rest.is_empty() {
            return match &mut self.data {
                Data::Map(_) => self.take(first).is_some(),
                Data::Seq(items) => match first.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                    Some(item) => !std::mem::replace(item, Self::scalar(Value::Null)).is_null(),
                    None => false,
                },
                Data::Scalar(_) => false,
            };
        }
        let next = match &mut self.data {
            Data::Map(entries) => entries.iter_mut().find(|e| e.key == *first).map(|e| &mut e.node),
            Data::Seq(items) => first.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            Data::Scalar(_) => None,
        };
        next.is_some_and(|next| next.remove(rest))
    }

    /// Takes a key out of a map.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let Data::Map(entries) = &mut self.data else { return None };
        let at = entries.iter().position(|e| e.key == key)?;
        Some(entries.remove(at))
    }

    /// Puts a value at a path, making maps on the way. What stood there is replaced.
    pub fn put(&mut self, path: &[&str], line: usize, node: Node) {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if let (Data::Seq(items), Ok(at)) = (&mut self.data, first.parse::<usize>())
            && let Some(item) = items.get_mut(at)
        {
            item.put(rest, line, node);
            return;
        }
        if !matches!(self.data, Data::Map(_)) {
            self.data = Data::Map(Vec::new());
        }
        let Data::Map(entries) = &mut self.data else { return };
        let at = entries.iter().position(|e| e.key == *first).unwrap_or_else(|| {
            entries.push(Entry { key: (*first).to_owned(), line, node: Node::empty_map() });
            entries.len() - 1
        });
        if let Some(entry) = entries.get_mut(at) {
            if rest.is_empty() {
                entry.line = line;
            }
            entry.node.put(rest, line, node);
        }
    }

    /// The line of the deepest part of `path` that exists: of its key in a map.
    pub fn line_of(&self, path: &[&str]) -> usize {
        let Some((first, rest)) = path.split_first() else { return self.line };
        let (line, next) = match &self.data {
            Data::Map(entries) => match entries.iter().find(|e| e.key == *first) {
                Some(entry) => (entry.line, &entry.node),
                None => return self.line,
            },
            Data::Seq(items) => match first.parse::<usize>().ok().and_then(|at| items.get(at)) {
                Some(item) => (item.line, item),
                None => return self.line,
            },
            Data::Scalar(_) => return self.line,
        };
        if rest.is_empty() { line } else { next.line_of_or(rest, line) }
    }

    fn line_of_or(&self, path: &[&str], outer: usize) -> usize {
        match &self.data {
            Data::Scalar(_) => outer,
            Data::Map(_) if self.get(path.first().copied().unwrap_or_default()).is_none() => outer,
            _ => self.line_of(path),
        }
    }

    /// Tells each key that stands twice in one map, with both lines.
    fn duplicates(&self, out: &mut Vec<ParseError>) {
        match &self.data {
            Data::Map(entries) => {
                let mut lines = HashMap::with_capacity(entries.len());
                for entry in entries {
                    let (key, line) = (entry.key.as_str(), entry.line);
                    // The first one is named, however many follow.
                    if let Some(first) = lines.get(key) {
                        let message = format!("{TWICE}`{key}` in line {first} and in line {line}");
                        out.push(ParseError { line, message });
                    } else {
                        lines.insert(key, line);
                    }
                    entry.node.duplicates(out);
                }
            }
            Data::Seq(items) => items.iter().for_each(|item| item.duplicates(out)),
            Data::Scalar(_) => {}
        }
    }

    /// Drops what editors, `echo` and Secrets leave at the edges of a text: line ends and byte order marks
    /// of a secret, all white space of others. `key`: the name that the value stands under.
    pub fn trim(&mut self, key: &str) {
        match &mut self.data {
            Data::Scalar(Value::String(text)) => {
                let edge = |c: char| matches!(c, '\r' | '\n' | '\u{feff}') || (c.is_whitespace() && !is_secret(key));
                let trimmed = text.trim_matches(edge);
                if trimmed.len() != text.len() {
                    *text = trimmed.to_owned();
                }
            }
            Data::Scalar(_) => {}
            Data::Seq(items) => items.iter_mut().for_each(|item| item.trim(key)),
            Data::Map(entries) => entries.iter_mut().for_each(|entry| entry.node.trim(&entry.key)),
        }
    }

    /// Paths of all leaves; a list counts as a leaf.
    pub fn leaves(&self) -> Vec<Vec<String>> {
        fn walk(node: &Node, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
            match &node.data {
                Data::Map(entries) if !entries.is_empty() => {
                    for entry in entries {
                        path.push(entry.key.clone());
                        walk(&entry.node, path, out);
                        path.pop();
                    }
                }
                _ => out.push(path.clone()),
            }
        }
        let mut out = Vec::new();
        if !self.entries().is_empty() {
            walk(self, &mut Vec::new(), &mut out);
        }
        out
    }
}

/// Why a text could not be parsed, and where.
pub(crate) struct ParseError {
    pub line: usize,
    pub message: String,
}

/// A text as an editor may have left it, without the byte order mark.
pub(crate) fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads one YAML document; a key that stands twice in one map is refused, each of them.
pub(crate) fn parse_yaml(text: &str) -> Result<Node, Vec<ParseError>> {
    let text = without_bom(text);
    if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return Ok(Node::empty_map());
    }
    // Snippets would print the lines around an error, and with them perhaps a password. Of keys that stand
    // twice all are handed over, so that both lines can be told.
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
    };
    let node =
        serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options).map(|s| node(s.value, s.referenced.line()));
    let node = node.map_err(|error| {
        let line = error.location().map_or(0, |l| usize::try_from(l.line()).unwrap_or(0));
        vec![ParseError { line, message: "is not YAML: ".to_owned() + first_line(&error.to_string()) }]
    })?;
    let mut twice = Vec::new();
    node.duplicates(&mut twice);
    if twice.is_empty() { Ok(node) } else { Err(twice) }
}

/// Reads one JSON document: strictly, with lines where they can be told.
pub(crate) fn parse_json(text: &str) -> Result<Node, Vec<ParseError>> {
    let text = &without_comments(without_bom(text));
    let refused = |what: &str, error: &serde_json::Error| {
        vec![ParseError { line: error.line(), message: format!("{what}{error}") }]
    };
    let value: Value = serde_json::from_str(text).map_err(|error| refused("is not JSON: ", &error))?;
    // JSON is a part of YAML but for tabs between tokens; a JSON string can't hold a raw tab.
    match parse_yaml(&text.replace('\t', " ")) {
        Ok(node) if node.to_json() == value => Ok(node),
        Err(twice) if twice.iter().all(|error| error.message.starts_with(TWICE)) => Err(twice),
        _ => match serde_json::from_str::<Once>(text) {
            Ok(_) => Ok(Node::from_json(value)),
            Err(error) => Err(refused("", &error)),
        },
    }
}

/// JSON with its comments, from `#` to the end of a line, as blanks: the Python suite's example of a provider file has such.
fn without_comments(text: &str) -> String {
    let (mut quoted, mut escaped, mut comment) = (false, false, false);
    text.chars()
        .map(|c| {
            match c {
                '\n' => comment = false,
                _ if comment => return ' ',
                '#' if !quoted => {
                    comment = true;
                    return ' ';
                }
                '"' if !escaped => quoted = !quoted,
                _ => {}
            }
            escaped = quoted && c == '\\' && !escaped;
            c
        })
        .collect()
}

/// How a complaint about a key that stands twice begins.
const TWICE: &str = "the key stands twice: ";

/// JSON without a key that stands twice in one object.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Once;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_str<E>(self, _: &str) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_unit<E>(self) -> Result<Once, E> {
                Ok(Once)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Once, A::Error> {
                while seq.next_element::<Once>()?.is_some() {}
                Ok(Once)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut seen = std::collections::BTreeSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("{TWICE}`{key}`")));
                    }
                    map.next_value::<Once>()?;
                }
                Ok(Once)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn node(raw: Raw, line: u64) -> Node {
    let data = match raw {
        Raw::Scalar(value) => Data::Scalar(value),
        Raw::Seq(items) => Data::Seq(items.into_iter().map(|i| node(i.value, i.referenced.line())).collect()),
        Raw::Map(entries) => Data::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    line: usize::try_from(key.referenced.line()).unwrap_or(0),
                    key: key.value,
                    node: node(value.value, value.referenced.line()),
                })
                .collect(),
        ),
    };
    Node { line: usize::try_from(line).unwrap_or(0), data }
}

/// What the YAML reader hands over before lines become plain numbers.
enum Raw {
    Scalar(Value),
    Seq(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> de::Visitor<'de> for RawVisitor {
    type Value = Raw;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(v.into()))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(v.into()))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(v.into()))
    }
    fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(v.into()))
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::Seq(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_keys_know_their_lines() {
        let text = "# head\na: 1\nb:\n  c: [x, y]\n  d: on\nlist:\n  - name: one\n    n: ~\n";
        let Ok(node) = parse_yaml(text) else { panic!("parses") };
        assert_eq!(node.line_of(&["a"]), 2);
        assert_eq!(node.line_of(&["b", "d"]), 5);
        assert_eq!(node.line_of(&["list", "0", "n"]), 8);
        assert_eq!(node.line_of(&["b", "missing"]), 3);
        assert_eq!(
            node.to_json(),
            serde_json::json!({"a": 1, "b": {"c": ["x", "y"], "d": "on"}, "list": [{"name": "one", "n": null}]})
        );
    }

    #[test]
    fn json_with_tabs_and_escapes_keeps_values_and_lines() {
        let text = "{\n\t\"a\": \"x\\/y \\u00e9\",\n\t\"b\": {\"true\": \"true\", \"n\": 1.5}\n}";
        let Ok(node) = parse_json(text) else { panic!("parses") };
        assert_eq!(node.to_json(), serde_json::json!({"a": "x/y é", "b": {"true": "true", "n": 1.5}}));
        assert_eq!(node.line_of(&["b", "n"]), 3);
    }

    #[test]
    fn json_may_have_comments_behind_a_hash_but_not_in_a_text() {
        let text = "{\n  \"a\": \"x # y \\\" # z\", # told \"b\"\n  # alone\n  \"b\": 1\n}";
        let Ok(node) = parse_json(text) else { panic!("parses") };
        assert_eq!(node.to_json(), serde_json::json!({"a": "x # y \" # z", "b": 1}));
        assert_eq!(node.line_of(&["b"]), 4);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_with_both_lines() {
        let Err(errors) = parse_yaml("a: 1\nb: {c: 1,\n  c: 2}\na: 3\n") else { panic!("refused") };
        let told: Vec<(usize, &str)> = errors.iter().map(|e| (e.line, e.message.as_str())).collect();
        let (c, a) = ("`c` in line 2 and in line 3", "`a` in line 1 and in line 4");
        assert_eq!(told, [(3, &*format!("{TWICE}{c}")), (4, &*format!("{TWICE}{a}"))]);
        let Err(errors) = parse_json("{\"a\": 1,\n \"a\": 2}") else { panic!("refused") };
        assert_eq!((errors.len(), errors[0].line), (1, 2));
        // What YAML reads otherwise than JSON does is looked at as JSON.
        let Err(errors) = parse_json("{\"x\": \"\\ud83d\\ude00\", \"a\": 1,\n \"a\": 2}") else { panic!("refused") };
        assert!(errors[0].message.contains("`a`") && errors[0].line == 2, "{}", errors[0].message);
    }

    #[test]
    fn a_key_beside_a_merged_one_does_not_stand_twice() {
        let Ok(node) = parse_yaml("a: &x {k: 1}\nb:\n  <<: *x\n  k: 2\n") else { panic!("parses") };
        assert_eq!(node.to_json()["b"], serde_json::json!({"k": 2}));
    }

    #[test]
    fn marks_and_line_ends_at_the_edges_are_no_part_of_a_value() {
        let Ok(mut node) = parse_yaml("\u{feff}host: \" h\\r\\n\"\npassword: \" p \\n\"\nl: [\" a \"]\n") else {
            panic!("parses")
        };
        node.trim("");
        assert_eq!(node.to_json(), serde_json::json!({"host": "h", "password": " p ", "l": ["a"]}));
    }
}
