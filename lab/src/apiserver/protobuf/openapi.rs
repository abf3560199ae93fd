//! The OpenAPI v2 document as kubectl fetches it: in protobuf, by the field numbers of gnostic's
//! `openapi_v2.Document`. Knows of that message what clients read: definitions, and which requests take
//! which query parameters.

use serde_json::Value;

use super::wire::Writer;

/// The content type of the document.
pub(in crate::apiserver) const CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Anything, as YAML; JSON is some.
fn any(value: &Value) -> Writer {
    let mut any = Writer::default();
    any.text(2, &value.to_string());
    any
}

fn named(name: &str, value: &Writer) -> Writer {
    let mut named = Writer::default();
    named.text(1, name).message(2, value);
    named
}

fn extensions(node: &Value, field: u64, into: &mut Writer) {
    for (name, value) in entries(node).filter(|(name, _)| name.starts_with("x-")) {
        into.message(field, &named(name, &any(value)));
    }
}

fn schema(node: &Value) -> Writer {
    let mut message = Writer::default();
    for (field, name) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description"), (13, "pattern")] {
        if let Some(text) = node[name].as_str() {
            message.text(field, text);
        }
    }
    if let Some(default) = node.get("default") {
        message.message(5, &any(default));
    }
    for (field, name) in [(7, "maximum"), (9, "minimum")] {
        if let Some(bound) = node[name].as_f64() {
            message.double(field, bound);
        }
    }
    let bounds = [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ];
    for (field, name) in bounds {
        if let Some(bound) = node[name].as_u64() {
            message.number(field, bound);
        }
    }
    for required in node["required"].as_array().into_iter().flatten() {
        message.text(19, text(required));
    }
    for value in node["enum"].as_array().into_iter().flatten() {
        message.message(20, &any(value));
    }
    let mut wrapped = Writer::default();
    match &node["additionalProperties"] {
        Value::Bool(open) => drop(message.message(21, wrapped.number(2, u64::from(*open)))),
        Value::Object(_) => drop(message.message(21, wrapped.message(1, &schema(&node["additionalProperties"])))),
        _ => {}
    }
    if let Some(kind) = node["type"].as_str() {
        message.message(22, Writer::default().text(1, kind));
    }
    if node["items"].is_object() {
        message.message(23, Writer::default().message(1, &schema(&node["items"])));
    }
    if node["properties"].is_object() {
        message.message(25, &definitions(&node["properties"]));
    }
    extensions(node, 31, &mut message);
    message
}

/// Names and schemas; properties have the same form.
fn definitions(all: &Value) -> Writer {
    let mut message = Writer::default();
    for (name, node) in entries(all) {
        message.message(1, &named(name, &schema(node)));
    }
    message
}

fn operation(node: &Value) -> Writer {
    let mut message = Writer::default();
    for parameter in node["parameters"].as_array().into_iter().flatten() {
        let mut query = Writer::default();
        query.text(2, text(&parameter["in"])).text(4, text(&parameter["name"])).text(6, text(&parameter["type"]));
        let mut item = Writer::default();
        let mut non_body = Writer::default();
        let mut wrapped = Writer::default();
        item.message(1, wrapped.message(2, non_body.message(3, &query)));
        message.message(8, &item);
    }
    extensions(node, 13, &mut message);
    message
}

fn paths(all: &Value) -> Writer {
    let mut message = Writer::default();
    for (path, item) in entries(all) {
        let mut operations = Writer::default();
        for (field, verb) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (7, "patch")] {
            if item[verb].is_object() {
                operations.message(field, &operation(&item[verb]));
            }
        }
        message.message(2, &named(path, &operations));
    }
    message
}

/// The document, given as JSON.
pub(in crate::apiserver) fn encode(document: &Value) -> Vec<u8> {
    let mut info = Writer::default();
    info.text(1, text(&document["info"]["title"])).text(2, text(&document["info"]["version"]));
    let mut message = Writer::default();
    message.text(1, text(&document["swagger"])).message(2, &info);
    message.message(8, &paths(&document["paths"])).message(9, &definitions(&document["definitions"]));
    message.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Wire, split};
    use super::*;
    use serde_json::json;

    fn inner(bytes: &[u8], path: &[u64]) -> Vec<u8> {
        let [first, rest @ ..] = path else { return bytes.to_vec() };
        let found = split(bytes).unwrap().into_iter().find(|(number, _)| number == first);
        let Some((_, Wire::Bytes(bytes))) = found else { panic!("no field {first}") };
        inner(bytes, rest)
    }

    #[test]
    fn definitions_and_extensions_stand_where_clients_look() {
        let gvk = json!([{"group": "", "version": "v1", "kind": "Pod"}]);
        let pod = json!({"type": "object", "properties": {"kind": {"type": "string"}}, "x-kubernetes-group-version-kind": gvk});
        let document = encode(&json!({"swagger": "2.0", "info": {"title": "t", "version": "v"},
            "paths": {"/p": {"patch": {"parameters": [{"in": "query", "name": "dryRun", "type": "string"}]}}},
            "definitions": {"Pod": pod}}));
        assert_eq!(inner(&document, &[1]), b"2.0");
        assert_eq!(inner(&document, &[9, 1, 1]), b"Pod");
        assert_eq!(inner(&document, &[9, 1, 2, 22, 1]), b"object");
        assert_eq!(inner(&document, &[9, 1, 2, 25, 1, 1]), b"kind");
        assert_eq!(inner(&document, &[9, 1, 2, 31, 2, 2]), gvk.to_string().into_bytes());
        assert_eq!(inner(&document, &[8, 2, 2, 7, 8, 1, 2, 3, 4]), b"dryRun");
    }
}
