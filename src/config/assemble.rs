//! Puts scenarios and profiles together: whole ones by name, then the values that reach into them.
//!
//! Knows layers and names, not what a key means.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::errors::{Layer, Origin, Problem, hint};
use super::layers::{Gathered, Item, Kind, Spelling, Target};
use super::node::{Data, Node, parse_yaml};
use super::schema;

/// One scenario or profile, its overrides applied, each value with its place.
pub(crate) struct Assembled {
    pub node: Node,
    pub origin: Origin,
    pub overrides: Vec<(Vec<String>, Origin)>,
}

impl Assembled {
    pub fn origin_of(&self, path: &[String]) -> Origin {
        if let Some((_, origin)) = self.overrides.iter().rev().find(|(p, _)| path.starts_with(p)) {
            return origin.clone();
        }
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let line = if parts.is_empty() { 0 } else { self.node.line_of(&parts) };
        if line > 0 { self.origin.at(line) } else { self.origin.clone() }
    }
}

/// Keys that a scenario of a file keeps from the shipped one of its name, where it does not say: the Python
/// suite has them in its classes and markers, not in the file.
const KEPT: &[&str] = &["destination", "tags", "requires", "opt_in"];

/// Later items of one name replace earlier ones; paths reach into what is there.
pub(crate) fn assemble<'s>(
    gathered: &mut Gathered,
    items: &[Item],
    kind: Kind,
    noun: &str,
    schema_of: impl Fn(&Node) -> Option<Cow<'s, Value>>,
) -> BTreeMap<String, Assembled> {
    let mut all: BTreeMap<String, Assembled> = BTreeMap::new();
    for item in items.iter().filter(|i| i.kind == kind) {
        let origin = item.origin.clone();
        let (name, path) = match resolve(&item.target, &all, noun) {
            Ok(found) => found,
            Err(message) => {
                gathered.problems.push(Problem { origin, message });
                continue;
            }
        };
        let Some(found) = all.get_mut(&name).filter(|_| !path.is_empty()) else {
            let mut node = item.node.clone();
            if let (true, Data::Scalar(Value::String(text))) = (item.textual, &node.data) {
                node = parse_yaml(text).unwrap_or(node);
            }
            if let (Kind::Scenario, Some(shipped)) = (kind, all.get(&name)) {
                keep_shipped(gathered, &name, shipped, &mut node, &origin);
            }
            if let Some(schema) = schema_of(&node) {
                schema::coerce(&schema, &mut node, item.textual);
            }
            all.insert(name, Assembled { node, origin, overrides: Vec::new() });
            continue;
        };
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        found.node.put(&parts, 0, item.node.clone());
        if let Some(schema) = schema_of(&found.node) {
            schema::coerce_at(&schema, &mut found.node, &path, item.textual);
        }
        found.overrides.push((path, origin));
    }
    all
}

/// The name that an item is about, and the path inside.
fn resolve(target: &Target, all: &BTreeMap<String, Assembled>, noun: &str) -> Result<(String, Vec<String>), String> {
    let (parts, spelling) = match target {
        Target::Whole(name) => return Ok((name.clone(), Vec::new())),
        Target::Inside(parts, spelling) => (parts, *spelling),
    };
    let joined = |n: usize| {
        let head = parts.get(..n).unwrap_or_default();
        match spelling {
            Spelling::Dotted => head.join("."),
            Spelling::Variable => variable(&head.join("__")),
        }
    };
    for n in (1..=parts.len()).rev() {
        let wanted = joined(n);
        let names: Vec<&String> = all
            .keys()
            .filter(|name| match spelling {
                Spelling::Dotted => **name == wanted,
                Spelling::Variable => variable(name) == wanted,
            })
            .collect();
        match names.as_slice() {
            [] => {}
            [one] => return Ok(((*one).clone(), parts.get(n..).unwrap_or_default().to_vec())),
            many => {
                let names: Vec<String> = many.iter().map(|name| format!("`{name}`")).collect();
                return Err(format!("`{wanted}` stands for more than one {noun}: {}; use --set", names.join(" and ")));
            }
        }
    }
    match parts.as_slice() {
        [name] if spelling == Spelling::Dotted => Ok((name.clone(), Vec::new())),
        _ => {
            let name = joined(parts.len().saturating_sub(1).max(1));
            let known: Vec<String> = all
                .keys()
                .map(|name| if spelling == Spelling::Variable { variable(name) } else { name.clone() })
                .collect();
            Err(format!("there is no {noun} `{name}`{}", hint(&name, known.iter().map(String::as_str), "")))
        }
    }
}

/// A name as a variable can spell it.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// A file's scenario of a shipped name is still that scenario.
fn keep_shipped(gathered: &mut Gathered, name: &str, shipped: &Assembled, node: &mut Node, origin: &Origin) {
    if shipped.origin.layer != Layer::Default {
        return;
    }
    let mut kept = Vec::new();
    for key in KEPT {
        if let (None, Some(value)) = (node.get(key), shipped.node.get(key)) {
            let value = value.clone();
            kept.push(format!("`{key}`"));
            node.put(&[key], 0, value);
        }
    }
    if !kept.is_empty() {
        let text = format!("{origin}: scenario `{name}`: {} kept from the shipped scenario", kept.join(", "));
        gathered.warnings.push(text);
    }
}

/// `COPYOFFLOAD_…` beats the file in every profile that has the section.
pub(crate) fn copyoffload_variables(gathered: &mut Gathered, name: &str, found: &mut Assembled) {
    if found.node.get("copyoffload").is_none_or(|c| c.entries().is_empty()) {
        return;
    }
    for (key, (value, variable)) in &gathered.copyoffload {
        let origin = Origin { layer: Layer::Environment, source: variable.clone(), line: None };
        if key != "storage_secret_extra" {
            found.node.put(&["copyoffload", key], 0, Node::scalar(value.clone().into()));
            found.overrides.push((vec!["copyoffload".into(), key.clone()], origin));
            continue;
        }
        match serde_json::from_str::<Value>(value) {
            Ok(Value::Object(extra)) => {
                for (extra_key, extra_value) in extra {
                    found.node.put(&["copyoffload", key, &extra_key], 0, Node::from_json(extra_value));
                    found.overrides.push((vec!["copyoffload".into(), key.clone(), extra_key], origin.clone()));
                }
            }
            _ => {
                let message = format!("profile `{name}`: expected a JSON object of texts");
                gathered.problems.push(Problem { origin, message });
            }
        }
    }
}
