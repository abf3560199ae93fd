//! Values of wrong types in native kinds, with the words of Go's JSON decoder.

use serde_json::Value;

use super::{At, Schema};

pub(super) fn is(schema: Schema<'_>, value: &Value) -> bool {
    if schema.is_int_or_string() {
        return value.is_string() || value.is_number();
    }
    match schema.kind() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn name(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if number.is_f64() => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

fn go_type(schema: Schema<'_>) -> String {
    if !schema.short_name().is_empty() && schema.kind() == "object" {
        return format!("v1.{}", schema.short_name());
    }
    match schema.kind() {
        "boolean" => "bool".to_owned(),
        "integer" if schema.format().is_empty() => "int64".to_owned(),
        "integer" => schema.format().to_owned(),
        "number" => "float64".to_owned(),
        "array" => format!("[]{}", schema.items().map(go_type).unwrap_or_default()),
        "object" => {
            let Some(values) = schema.field("\0") else { return "map[string]interface {}".to_owned() };
            format!("map[string]{}", go_type(values))
        }
        other => other.to_owned(),
    }
}

/// The first value of a wrong type, as Go says it.
pub(in crate::apiserver) fn wrong_type(schema: Schema<'_>, value: &Value) -> Option<String> {
    find(schema, value, schema.short_name(), &At::Root)
}

fn find(schema: Schema<'_>, value: &Value, parent: &str, path: &At<'_>) -> Option<String> {
    if value.is_null() {
        return None;
    }
    if !is(schema, value) {
        return Some(format!(
            "json: cannot unmarshal {} into Go struct field {parent}.{path} of type {}",
            name(value),
            go_type(schema)
        ));
    }
    if schema.format() == "byte"
        && let Some(text) = value.as_str()
        && let Some(at) = bad_base64(text)
    {
        return Some(format!("illegal base64 data at input byte {at}"));
    }
    let inside = if schema.short_name().is_empty() { parent } else { schema.short_name() };
    match value {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            // The path of a map's value is the map's.
            let own = At::Field(path, key);
            find(schema.field(key)?, value, inside, if schema.names(key) { &own } else { path })
        }),
        Value::Array(list) => list.iter().find_map(|item| find(schema.items()?, item, inside, path)),
        _ => None,
    }
}

fn bad_base64(text: &str) -> Option<usize> {
    use base64::Engine;
    match base64::engine::general_purpose::STANDARD.decode(text) {
        Ok(_) => None,
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => Some(at),
        Err(_) => Some(text.len() / 4 * 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_types_are_told_as_go_tells_them() {
        let of = |kind: &str, object: Value| wrong_type(Schema::native("", "v1", kind).unwrap(), &object).unwrap();
        assert_eq!(
            of("ConfigMap", json!({"data": "text"})),
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string"
        );
        assert_eq!(
            of("Pod", json!({"spec": {"containers": "none"}})),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"
        );
        assert_eq!(
            of("ConfigMap", json!({"metadata": {"labels": {"a": 1}}})),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
        );
        assert_eq!(of("Secret", json!({"data": {"a": "!"}})), "illegal base64 data at input byte 0");
        assert!(wrong_type(Schema::native("", "v1", "Secret").unwrap(), &json!({"data": {"a": "YQ=="}})).is_none());
    }
}
