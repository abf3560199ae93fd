//! The CustomResourceDefinitions of MTV's kinds, made from the notation in `definitions.txt`: fields with
//! their types, defaults and limits, printer columns, and since which MTV a field is there. A test holds
//! them against the real ones where those are at hand.
//!
//! ```text
//! shape NAME                       a struct that several kinds use
//! kind KIND PLURAL status @12      with `/status`; since MTV 2.12
//!   | TITLE TYPE PATH              a printer column
//!   field!: TYPE {"more": 1} @11   `!` required; further keywords of the schema; since MTV 2.11
//!   field: TYPE @..11              up to MTV 2.11
//! ```
//! Types: `string`, `integer:int64` and other scalars with their format, `object` with its fields below,
//! `any` and `anything` (keeps what is in it), `quantity`, `int-or-string`, `[TYPE]` a list, `{TYPE}` a
//! map, `$NAME` a shape from here or, with a dot in its name, one of Kubernetes' own.

use std::collections::HashMap;
use std::iter::Peekable;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::apiserver::{QUANTITY, native_shape};

const NOTATION: &str = include_str!("definitions.txt");
const DESCRIPTIONS: &str = include_str!("descriptions.txt");
const GROUP: &str = "forklift.konveyor.io";
const VERSION: &str = "v1beta1";
/// A line without its indentation, and how deep it stands.
type Line<'a> = (usize, &'a str);

struct Reader<'a, I: Iterator<Item = Line<'a>>> {
    lines: Peekable<I>,
    shapes: HashMap<&'a str, Value>,
    /// Of MTV 2.N.
    minor: u32,
}

/// The definitions as MTV 2.`minor` brings them, in order of their kinds.
pub fn all(minor: u32) -> Vec<Value> {
    let lines = NOTATION
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| ((line.len() - line.trim_start().len()) / 2, line.trim()));
    let mut all = Reader { lines: lines.peekable(), shapes: HashMap::new(), minor }.definitions();
    let said = descriptions();
    for definition in &mut all {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
        if let Some(schema) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
            describe(schema, &kind, &said);
        }
    }
    all
}

/// Texts by path.
fn descriptions() -> HashMap<&'static str, &'static str> {
    DESCRIPTIONS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect()
}

/// Says what each field is, where nobody has said it yet. Lists and maps are what is in them.
fn describe(schema: &mut Value, path: &str, said: &HashMap<&str, &str>) {
    let field = path.rsplit('.').next().unwrap_or_default();
    let everywhere = || path.contains('.').then(|| said.get(format!("*.{field}").as_str())).flatten();
    let text = said.get(path).or_else(everywhere).copied();
    let inner = |schema: &Value| ["items", "additionalProperties"].into_iter().find(|key| schema[*key].is_object());
    let mut below = &mut *schema;
    while let Some(key) = inner(below) {
        below = &mut below[key];
    }
    for (name, field) in below.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        describe(field, &format!("{path}.{name}"), said);
    }
    if let (Some(text), Some(own)) = (text, schema.as_object_mut()) {
        own.entry("description").or_insert_with(|| json!(text));
    }
}

/// Splits a line's end off: `… @12`, `… @..11`. What is left, and the MTV versions that have it.
fn since(line: &str) -> (&str, RangeInclusive<u32>) {
    let told = line.rsplit_once(" @").and_then(|(head, told)| {
        let versions = match told.strip_prefix("..") {
            Some(last) => 0..=last.parse().ok()?,
            None => told.parse().ok()?..=u32::MAX,
        };
        Some((head, versions))
    });
    told.unwrap_or((line, 0..=u32::MAX))
}

impl<'a, I: Iterator<Item = Line<'a>>> Reader<'a, I> {
    fn definitions(mut self) -> Vec<Value> {
        let mut found = Vec::new();
        while let Some((_, line)) = self.lines.next() {
            let (head, versions) = since(line);
            let mut words = head.split(' ');
            match words.next() {
                Some("shape") => {
                    let shape = self.object(1);
                    self.shapes.insert(words.next().unwrap_or_default(), shape);
                }
                _ => {
                    let definition = self.definition(words);
                    if versions.contains(&self.minor) {
                        found.push(definition);
                    }
                }
            }
        }
        found
    }

    fn definition(&mut self, mut words: std::str::Split<'_, char>) -> Value {
        let (kind, plural) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut names =
            json!({"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()});
        let mut version = json!({"name": VERSION, "served": true, "storage": true});
        for word in words {
            match word.split_once('=') {
                Some((_, short)) => names["shortNames"] = json!(short.split(',').collect::<Vec<_>>()),
                None => version["subresources"] = json!({"status": {}}),
            }
        }
        let columns = self.columns();
        if !columns.is_empty() {
            version["additionalPrinterColumns"] = Value::Array(columns);
        }
        let mut schema = self.object(1);
        for field in ["apiVersion", "kind"] {
            schema["properties"][field] = json!({"type": "string"});
        }
        schema["properties"]["metadata"] = json!({"type": "object"});
        version["schema"] = json!({ "openAPIV3Schema": schema });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{GROUP}")},
            "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
        })
    }

    fn columns(&mut self) -> Vec<Value> {
        let mut columns = Vec::new();
        while let Some((_, line)) = self.lines.next_if(|(_, line)| line.starts_with("| ")) {
            let mut words = line.splitn(4, ' ').skip(1);
            let mut word = || words.next().unwrap_or_default();
            columns.push(json!({"name": word(), "type": word(), "jsonPath": word()}));
        }
        columns
    }

    /// A struct whose fields stand at this depth.
    fn object(&mut self, depth: usize) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        while let Some((_, line)) = self.lines.next_if(|(at, _)| *at == depth) {
            let (line, versions) = since(line);
            let (name, notation) = line.split_once(": ").unwrap_or((line, "anything"));
            let below = self.lines.peek().is_some_and(|(at, _)| *at > depth).then(|| self.object(depth + 1));
            let (mut schema, rest) = self.kind(notation, below);
            extend(&mut schema, rest);
            if !versions.contains(&self.minor) {
                continue;
            }
            if name.ends_with('!') {
                required.push(name.trim_end_matches('!'));
            }
            properties.insert(name.trim_end_matches('!').to_owned(), schema);
        }
        let mut object = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            required.sort_unstable();
            object["required"] = json!(required);
        }
        object
    }

    /// The schema of a type, and what stands behind it. `below` is the struct whose fields follow.
    fn kind<'t>(&self, notation: &'t str, below: Option<Value>) -> (Value, &'t str) {
        let wrapped = |close: char| {
            let (mut inner, rest) = self.kind(&notation[1..], below.clone());
            let rest = extend(&mut inner, rest);
            (inner, rest.trim_start().trim_start_matches(close))
        };
        match notation.chars().next() {
            Some('[') => {
                let (items, rest) = wrapped(']');
                return (json!({"type": "array", "items": items}), rest);
            }
            Some('{') => {
                let (values, rest) = wrapped('}');
                return (json!({"type": "object", "additionalProperties": values}), rest);
            }
            _ => {}
        }
        let end = notation.find([' ', ']', '}']).unwrap_or(notation.len());
        let (word, rest) = notation.split_at(end);
        let either = || json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true});
        let schema = match (word, word.strip_prefix('$')) {
            (_, Some(name)) if name.contains('.') => native_shape(name).unwrap_or_default(),
            (_, Some(name)) => self.shapes.get(name).cloned().unwrap_or_default(),
            ("object", _) => below.unwrap_or_else(|| json!({"type": "object"})),
            ("any", _) => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            ("anything", _) => json!({"x-kubernetes-preserve-unknown-fields": true}),
            ("int-or-string", _) => either(),
            ("quantity", _) => {
                let mut quantity = either();
                quantity["pattern"] = json!(QUANTITY);
                quantity
            }
            (scalar, _) => match scalar.split_once(':') {
                Some((kind, format)) => json!({"type": kind, "format": format}),
                None => json!({ "type": scalar }),
            },
        };
        (schema, rest)
    }
}

/// Adds the keywords that stand behind a type; what is behind them is returned.
fn extend<'t>(schema: &mut Value, rest: &'t str) -> &'t str {
    let text = rest.trim_start();
    if !text.starts_with('{') {
        return rest;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>();
    if let (Some(Ok(more)), Some(own)) = (values.next(), schema.as_object_mut()) {
        own.extend(more);
    }
    text.get(values.byte_offset()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without prose, and with lists of names in one order.
    fn canonical(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.iter().filter(|(key, value)| *key != "description" || !value.is_string());
                kept.map(|(key, value)| {
                    let mut value = canonical(value);
                    if let ("required", Some(list)) = (key.as_str(), value.as_array_mut()) {
                        list.sort_by_key(ToString::to_string);
                    }
                    (key.clone(), value)
                })
                .collect()
            }
            Value::Array(list) => list.iter().map(canonical).collect(),
            other => other.clone(),
        }
    }

    /// The first place where two values differ.
    fn difference(path: &str, ours: &Value, theirs: &Value) -> Option<String> {
        match (ours, theirs) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                keys.into_iter().find_map(|key| {
                    let nothing = Value::Null;
                    let of = |map: &Map<String, Value>| map.get(key).unwrap_or(&nothing).clone();
                    difference(&format!("{path}.{key}"), &of(a), &of(b))
                })
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                a.iter().zip(b).enumerate().find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b))
            }
            (a, b) => (a != b).then(|| format!("{path}: ours {a}, theirs {b}")),
        }
    }

    #[test]
    fn definitions_say_what_the_real_ones_say() {
        let dir = std::env::var("MTV_CONFORMANCE_CRDS")
            .map(std::path::PathBuf::from)
            .unwrap_or_else(|_| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/crds"));
        if !dir.is_dir() {
            println!("skipped: no CRDs in {} (set MTV_CONFORMANCE_CRDS)", dir.display());
            return;
        }
        let all = all(u32::MAX);
        let mut compared = 0;
        for ours in &all {
            let name = ours["metadata"]["name"].as_str().unwrap();
            let text = std::fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap();
            let theirs: Value = serde_saphyr::from_str(&text).unwrap();
            let mut ours = canonical(&ours["spec"]);
            let theirs = canonical(&theirs["spec"]);
            // Who leaves them out means the default.
            if theirs["versions"][0].get("subresources").is_some_and(|s| s == &json!({})) {
                ours["versions"][0]["subresources"] = json!({});
            }
            assert_eq!(difference(name, &ours, &theirs), None);
            compared += 1;
        }
        assert_eq!(compared, 14, "kinds of {GROUP}");
    }

    #[test]
    fn every_description_is_of_a_field_that_there_is_and_every_field_of_a_spec_that_people_write_has_one() {
        let mut all = all(u32::MAX);
        let places = |schema: &Value, kind: &str| {
            let mut found = vec![(kind.to_owned(), schema.clone())];
            let mut at = 0;
            while let Some((path, mut schema)) = found.get(at).cloned() {
                at += 1;
                while let Some(key) = ["items", "additionalProperties"].into_iter().find(|key| schema[*key].is_object())
                {
                    schema = schema[key].clone();
                }
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    found.push((format!("{path}.{name}"), field.clone()));
                }
            }
            found
        };
        let mut known = Vec::new();
        for definition in &mut all {
            let kind = definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
            known.extend(places(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &kind));
        }
        let stale: Vec<&str> = descriptions()
            .into_keys()
            .filter(|path| match path.strip_prefix("*.") {
                Some(field) => !known.iter().any(|(own, _)| own.ends_with(&format!(".{field}"))),
                None => !known.iter().any(|(own, _)| own == path),
            })
            .collect();
        assert!(stale.is_empty(), "no such fields: {stale:?}");
        let silent: Vec<&String> = known
            .iter()
            .filter(|(path, field)| {
                let written = ["Plan", "Migration", "Provider", "Hook", "StorageMap", "NetworkMap"];
                let depth = path.split('.').count();
                let (kind, rest) = path.split_once('.').unwrap_or((path, ""));
                written.contains(&kind) && rest.starts_with("spec") && depth <= 3 && !field["description"].is_string()
            })
            .map(|(path, _)| path)
            .collect();
        assert!(silent.is_empty(), "without a description: {silent:?}");
    }

    #[test]
    fn a_field_comes_with_its_version() {
        let fields = |minor: u32| {
            let plan = all(minor).into_iter().find(|d| d["spec"]["names"]["kind"] == "Plan").unwrap();
            plan["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].clone()
        };
        assert!(fields(9)["targetPowerState"].is_null() && fields(10)["targetPowerState"].is_object());
        assert!(fields(11)["tagMapping"].is_null() && fields(12)["tagMapping"].is_object());
        let controller = |minor: u32| {
            let found = all(minor).into_iter().filter(|d| d["spec"]["names"]["kind"] == "ForkliftController");
            found
                .map(|d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!((controller(11).len(), controller(12).len()), (1, 1));
        assert!(controller(11)[0]["properties"].is_null() && controller(12)[0]["properties"].is_object());
        assert!(!all(11).iter().any(|d| d["spec"]["names"]["kind"] == "Conversion"));
    }

    #[test]
    fn lists_maps_shapes_and_keywords_are_read() {
        let text = [
            (0, "shape S"),
            (1, "id!: string"),
            (0, "kind K ks"),
            (1, "a: [$S] {\"maxItems\": 2}"),
            (1, "b: {[string {\"enum\": [\"x\"]}]}"),
        ];
        let reader = Reader { lines: text.into_iter().peekable(), shapes: HashMap::new(), minor: 0 };
        let all = reader.definitions();
        let fields = &all[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let shape = json!({"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]});
        assert_eq!(fields["a"], json!({"type": "array", "items": shape, "maxItems": 2}));
        let list = json!({"type": "array", "items": {"type": "string", "enum": ["x"]}});
        assert_eq!(fields["b"], json!({"type": "object", "additionalProperties": list}));
    }
}
