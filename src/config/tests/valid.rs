//! Validation against the keywords that our own JSON Schemas use; another one is a panic, so that no
//! constraint goes unseen. A whole validator would be two dozen crates for one test.

use serde_json::Value;

/// Every complaint as `path: sentence`.
pub(in crate::config) fn errors(root: &Value, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(root, root, value, "", &mut out);
    out
}

fn walk(root: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let Value::Object(schema) = schema else {
        if schema == &Value::Bool(false) {
            out.push(format!("{at}: nothing may be here"));
        }
        return;
    };
    for (keyword, rule) in schema {
        let fine = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" | "deprecated" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#'));
                walk(root, target.unwrap_or_else(|| panic!("{rule} leads nowhere")), value, at, out);
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|t| is(value, t.as_str().unwrap())),
                one => is(value, one.as_str().unwrap()),
            },
            "anyOf" => rule.as_array().unwrap().iter().any(|s| matches(root, s, value)),
            "oneOf" => rule.as_array().unwrap().iter().filter(|s| matches(root, s, value)).count() == 1,
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()),
            "pattern" => value.as_str().is_none_or(|t| regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(t)),
            "required" => value
                .as_object()
                .is_none_or(|map| rule.as_array().unwrap().iter().all(|k| map.contains_key(k.as_str().unwrap()))),
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    walk(root, rule, item, &format!("{at}/{n}"), out);
                }
                true
            }
            "properties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    if let Some(property) = rule.get(key) {
                        walk(root, property, inner, &format!("{at}/{key}"), out);
                    }
                }
                true
            }
            "additionalProperties" => {
                let named = schema.get("properties");
                for (key, inner) in value.as_object().into_iter().flatten() {
                    if named.and_then(|n| n.get(key)).is_none() {
                        walk(root, rule, inner, &format!("{at}/{key}"), out);
                    }
                }
                true
            }
            other => panic!("{at}: the keyword {other} is not known here"),
        };
        if !fine {
            out.push(format!("{at}: {keyword} {rule} is not met by {value}"));
        }
    }
}

fn matches(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut out = Vec::new();
    walk(root, schema, value, "", &mut out);
    out.is_empty()
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not known here"),
    }
}
