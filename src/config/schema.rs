//! What follows from a JSON Schema: which keys are known, which numbers are within bounds, and how a text
//! (`"true"`, `a,b`) becomes the value that its key wants. Knows no key itself.

use serde_json::Value;

use super::errors::hint;
use super::node::{Data, Node, parse_yaml};

/// An unknown key: its path and what to say about it.
pub(crate) struct Unknown {
    pub path: Vec<String>,
    pub message: String,
}

/// Turns texts into what the schema wants. `textual`: the value comes from a variable or a flag.
pub(crate) fn coerce(schema: &Value, node: &mut Node, textual: bool) {
    walk_coerce(schema, schema, node, textual);
}

/// The same for what stands at a path of keys and list positions.
pub(crate) fn coerce_at(schema: &Value, node: &mut Node, path: &[String], textual: bool) {
    fn descend(root: &Value, schema: &Value, node: &mut Node, path: &[String], textual: bool) {
        let Some((first, rest)) = path.split_first() else { return walk_coerce(root, schema, node, textual) };
        let views = views(root, schema);
        let (inner, next) = match &mut node.data {
            Data::Map(entries) => {
                (property(&views, first), entries.iter_mut().find(|e| e.key == *first).map(|e| &mut e.node))
            }
            Data::Seq(items) => (
                views.iter().find_map(|v| v.get("items")),
                first.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            ),
            Data::Scalar(_) => (None, None),
        };
        if let (Some(inner), Some(next)) = (inner, next) {
            descend(root, inner, next, rest, textual);
        }
    }
    descend(schema, schema, node, path, textual);
}

/// All keys in `node` that the schema does not know. `noun` is what a top-level key is called; `also` are
/// names at the top that are known by other means.
pub(crate) fn unknown_keys(schema: &Value, node: &Node, noun: &str, also: &[&str]) -> Vec<Unknown> {
    let mut out = Vec::new();
    walk_unknown(schema, schema, node, (noun, also), &mut Vec::new(), &mut out);
    out
}

/// Numbers outside of the schema's bounds: path and sentence.
pub(crate) fn out_of_bounds(schema: &Value, node: &Node) -> Vec<(Vec<String>, String)> {
    fn walk(root: &Value, schema: &Value, node: &Node, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, String)>) {
        let views = views(root, schema);
        match &node.data {
            Data::Map(entries) => {
                for entry in entries {
                    if let Some(inner) = property(&views, &entry.key) {
                        path.push(entry.key.clone());
                        walk(root, inner, &entry.node, path, out);
                        path.pop();
                    }
                }
            }
            Data::Seq(items) => {
                if let Some(inner) = views.iter().find_map(|v| v.get("items")) {
                    for (n, item) in items.iter().enumerate() {
                        path.push(n.to_string());
                        walk(root, inner, item, path, out);
                        path.pop();
                    }
                }
            }
            Data::Scalar(Value::Number(number)) => {
                let bound = |key: &str| views.iter().find_map(|v| v.get(key)).and_then(Value::as_f64);
                let (Some(min), Some(max), Some(got)) = (bound("minimum"), bound("maximum"), number.as_f64()) else {
                    return;
                };
                if got < min || got > max {
                    out.push((path.clone(), format!("`{}`: {number} is not from {min} to {max}", path.join("."))));
                }
            }
            Data::Scalar(_) => {}
        }
    }
    let mut out = Vec::new();
    walk(schema, schema, node, &mut Vec::new(), &mut out);
    out
}

/// The schema's alternatives with references followed, `null` left out.
pub(crate) fn views<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|p| root.pointer(p));
        return target.map(|t| views(root, t)).unwrap_or_default();
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(list) = schema.get(key).and_then(Value::as_array) {
            return list.iter().flat_map(|s| views(root, s)).collect();
        }
    }
    vec![schema]
}

fn has_type(views: &[&Value], name: &str) -> bool {
    views.iter().any(|v| match v.get("type") {
        Some(Value::String(t)) => t == name,
        Some(Value::Array(list)) => list.iter().any(|t| t == name),
        _ => false,
    })
}

fn property<'a>(views: &[&'a Value], key: &str) -> Option<&'a Value> {
    views
        .iter()
        .find_map(|v| v.get("properties").and_then(|p| p.get(key)))
        .or_else(|| views.iter().find_map(|v| v.get("additionalProperties").filter(|a| a.is_object())))
}

fn walk_coerce(root: &Value, schema: &Value, node: &mut Node, textual: bool) {
    let views = views(root, schema);
    match &mut node.data {
        Data::Map(entries) => {
            for entry in entries {
                if let Some(inner) = property(&views, &entry.key) {
                    walk_coerce(root, inner, &mut entry.node, textual);
                }
            }
        }
        Data::Seq(items) => {
            if let Some(inner) = views.iter().find_map(|v| v.get("items")) {
                for item in items {
                    walk_coerce(root, inner, item, textual);
                }
            }
        }
        Data::Scalar(Value::String(text)) => {
            let nullable = has_type(&[schema], "null")
                || schema
                    .get("anyOf")
                    .and_then(Value::as_array)
                    .is_some_and(|l| l.iter().any(|s| s.get("type").is_some_and(|t| t == "null")));
            if let Some(data) = coerced(&views, text, textual, nullable) {
                node.data = data;
            }
        }
        Data::Scalar(_) => {}
    }
}

fn coerced(views: &[&Value], text: &str, textual: bool, nullable: bool) -> Option<Data> {
    let opens = text.trim_start().starts_with(['{', '[']);
    if textual && nullable && text == "null" {
        return Some(Data::Scalar(Value::Null));
    }
    if textual && opens && (has_type(views, "array") || has_type(views, "object") || !has_any_type(views)) {
        return parse_yaml(text).ok().map(|n| n.data);
    }
    if textual && has_type(views, "array") {
        let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        return Some(Data::Seq(items.map(|t| Node::scalar(t.into())).collect()));
    }
    if has_type(views, "string") {
        return None;
    }
    if has_type(views, "boolean") {
        return match text.to_lowercase().as_str() {
            "true" => Some(Data::Scalar(true.into())),
            "false" => Some(Data::Scalar(false.into())),
            _ => None,
        };
    }
    if has_type(views, "integer") {
        // Above what a whole number can be, it is still one that is out of bounds.
        let text = text.trim();
        let number: Option<Value> =
            text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok();
        return number.map(Data::Scalar);
    }
    None
}

fn has_any_type(views: &[&Value]) -> bool {
    views.iter().any(|v| v.get("type").is_some() || v.get("enum").is_some() || v.get("const").is_some())
}

fn walk_unknown(
    root: &Value,
    schema: &Value,
    node: &Node,
    (noun, also): (&str, &[&str]),
    path: &mut Vec<String>,
    out: &mut Vec<Unknown>,
) {
    let views = views(root, schema);
    match &node.data {
        Data::Map(entries) => {
            let known: Vec<&str> = views
                .iter()
                .filter_map(|v| v.get("properties").and_then(Value::as_object))
                .flat_map(|p| p.keys().map(String::as_str))
                .collect();
            // Free objects (an affinity, a label map) have no properties of their own.
            let free = known.is_empty();
            for entry in entries {
                path.push(entry.key.clone());
                match property(&views, &entry.key) {
                    Some(inner) => walk_unknown(root, inner, &entry.node, (noun, &[]), path, out),
                    None if free => {}
                    None => {
                        let prefix: String = path.iter().take(path.len() - 1).map(|p| format!("{p}.")).collect();
                        let hint = hint(&entry.key, known.iter().chain(also).copied(), &prefix);
                        let message = format!("`{}` is not a {noun}{hint}", path.join("."));
                        out.push(Unknown { path: path.clone(), message });
                    }
                }
                path.pop();
            }
        }
        Data::Seq(items) => {
            if let Some(inner) = views.iter().find_map(|v| v.get("items")) {
                for (n, item) in items.iter().enumerate() {
                    path.push(n.to_string());
                    walk_unknown(root, inner, item, (noun, &[]), path, out);
                    path.pop();
                }
            }
        }
        Data::Scalar(_) => {}
    }
}
