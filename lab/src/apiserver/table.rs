//! Tables for `kubectl get`: a Name column, then the resource's printer columns.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::columns::{age, computed};
use super::managers;
use super::resources::{Column, ResourceDef};

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

/// The value at a path as printer columns write it: fields, `[0]`, `[?(@.type=="Ready")]`.
fn lookup<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = object;
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}');
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("[?(@.") {
            let (filter, after) = tail.split_once(")]")?;
            let (field, wanted) = filter.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            value = value.as_array()?.iter().find(|i| i[field.trim()].as_str() == Some(wanted))?;
            rest = after;
        } else if let Some(tail) = rest.strip_prefix('[') {
            let (index, after) = tail.split_once(']')?;
            value = match index.parse::<usize>() {
                Ok(index) => value.get(index)?,
                Err(_) => value.get(index.trim_matches(['"', '\'']))?,
            };
            rest = after;
        } else {
            let tail = rest.strip_prefix('.').unwrap_or(rest);
            // A dot after a backslash belongs to the field's name.
            let mut end = 0;
            let bytes = tail.as_bytes();
            while end < bytes.len()
                && ((bytes[end] != b'.' && bytes[end] != b'[') || (end > 0 && bytes[end - 1] == b'\\'))
            {
                end += 1;
            }
            value = value.get(tail[..end].replace('\\', ""))?;
            rest = &tail[end..];
        }
    }
    Some(value)
}

fn cell(def: &ResourceDef, object: &Value, column: &Column) -> Value {
    if let Some(name) = column.path.strip_prefix('=') {
        return computed(name, object).unwrap_or_default();
    }
    if let Some(field) = column.path.strip_prefix("#.") {
        return json!(object[field].as_object().map_or(0, serde_json::Map::len));
    }
    match lookup(object, &column.path) {
        None | Some(Value::Null) if def.custom => Value::Null,
        Some(Value::Array(items)) if def.custom => json!(json!(items).to_string()),
        None | Some(Value::Null) => match column.kind.as_str() {
            "date" => json!("<unknown>"),
            "string" => json!(""),
            // Go's zero values.
            "integer" => json!(0),
            "boolean" => json!(false),
            _ => Value::Null,
        },
        Some(Value::String(text)) if column.kind == "date" => json!(age(text)),
        Some(Value::Array(items)) => {
            let items: Vec<String> =
                items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned)).collect();
            json!(items.join(","))
        }
        Some(value) if column.kind == "string" && !value.is_string() => json!(value.to_string()),
        Some(value) => value.clone(),
    }
}

fn columns(def: &ResourceDef) -> Vec<Column> {
    if !def.columns.is_empty() {
        return def.columns.clone();
    }
    let path = ".metadata.creationTimestamp".to_owned();
    let description = super::builtin::AGE_DESCRIPTION.to_owned();
    vec![Column { name: "Age".to_owned(), kind: "date".to_owned(), path, priority: 0, description }]
}

pub(super) fn table(def: &ResourceDef, include: &str, objects: &[&Value], version: Value, with_columns: bool) -> Value {
    let columns = columns(def);
    // A few kinds say by themselves where the name stands.
    let named = columns.iter().any(|c| c.name == "Name");
    let definitions: Vec<Value> =
        std::iter::once(json!({
            "name": "Name", "type": "string", "format": "name", "description": NAME, "priority": 0
        }))
        .skip(usize::from(named))
        .chain(columns.iter().map(
            |c| json!({"name": c.name, "type": if c.kind == "date" && !def.custom { "string" } else { &c.kind }, "format": "", "description": c.description, "priority": c.priority}),
        ))
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            // A column may be made of what is stored as text.
            let whole = columns.iter().any(|column| column.path.contains("managedFields"));
            let object = if whole { Cow::Owned(managers::whole(object)) } else { Cow::Borrowed(*object) };
            let object: &Value = &object;
            let name = json!(object["metadata"]["name"].as_str().unwrap_or_default());
            let cells: Vec<Value> = std::iter::once(name)
                .skip(usize::from(named))
                .chain(columns.iter().map(|c| cell(def, object, c)))
                .collect();
            let shown = match include {
                "None" => Value::Null,
                "Object" => managers::whole(object),
                _ => json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": managers::whole(object)["metadata"],
                }),
            };
            json!({"cells": cells, "object": shown})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": if with_columns { json!(definitions) } else { Value::Null },
        "rows": rows,
    })
}
