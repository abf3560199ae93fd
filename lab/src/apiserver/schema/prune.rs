//! What is not in the schema: named, and taken away. Also nulls, and defaults for what is missing.

use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::{At, Schema, native};

/// Whether nothing of a value is of a wrong type, unknown, or taken away: so is nearly all that is ever written, which is
/// then gone through once and not three times. `false` may also mean that another must look.
pub(in crate::apiserver) fn is_clean(schema: Schema<'_>, value: &Value) -> bool {
    if value.is_null() || !native::is(schema, value) || schema.format() == "byte" {
        return false;
    }
    let is_bare = |empty: bool| empty && !schema.is_custom();
    match value {
        Value::Object(map) => {
            let known = schema.kind() == "object" || schema.has_properties() || schema.is_open();
            let clean = |(name, value): (&String, &Value)| match schema.field(name) {
                Some(field) => is_clean(field, value),
                None => schema.is_open(),
            };
            known && !is_bare(map.is_empty()) && map.iter().all(clean)
        }
        Value::Array(list) => {
            let clean = |items| list.iter().all(|item| is_clean(items, item));
            !is_bare(list.is_empty()) && schema.items().is_none_or(clean)
        }
        _ => true,
    }
}

/// Removes unknown fields and names them, in the order of the object.
pub(in crate::apiserver) fn prune(schema: Schema<'_>, value: &mut Value, unknown: &mut Vec<String>) {
    prune_at(schema, value, &At::Root, unknown);
}

fn prune_at(schema: Schema<'_>, value: &mut Value, path: &At<'_>, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if schema.kind() != "object" && !schema.has_properties() && !schema.is_open() {
                return;
            }
            map.retain(|name, value| {
                let below = At::Field(path, name);
                match schema.field(name) {
                    Some(field) => prune_at(field, value, &below, unknown),
                    None if schema.is_open() => {}
                    None => {
                        unknown.push(below.to_string());
                        return false;
                    }
                }
                true
            });
        }
        Value::Array(list) => {
            let Some(items) = schema.items() else { return };
            for (at, item) in list.iter_mut().enumerate() {
                prune_at(items, item, &At::Item(path, at), unknown);
            }
        }
        _ => {}
    }
}

/// Takes away what a server never stores: nulls that the schema does not allow, and, of native
/// kinds, empty maps and lists, which their types do not write.
pub(in crate::apiserver) fn tidy(schema: Schema<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                let Some(field) = schema.field(name) else { return true };
                tidy(field, value);
                keeps(schema, field, name, value)
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|item| tidy(items, item));
            }
        }
        _ => {}
    }
}

fn keeps(schema: Schema<'_>, field: Schema<'_>, name: &str, value: &Value) -> bool {
    if value.is_null() {
        return field.is_nullable() || field.is_open() && schema.is_custom();
    }
    if schema.is_custom() || schema.is_map() || schema.required().iter().any(|r| r == name) {
        return true;
    }
    match value {
        Value::Object(map) => !(map.is_empty() && field.is_map()),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

/// Fills in what is missing and has a default.
pub(in crate::apiserver) fn defaults(schema: Schema<'_>, value: &mut Value) {
    if !schema.has_defaults() {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, field) in schema.properties() {
                if let Some(default) = field.default()
                    && !map.contains_key(name)
                {
                    map.insert(name.to_owned(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(field) = schema.field(name) {
                    defaults(field, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|item| defaults(items, item));
            }
        }
        _ => {}
    }
}

/// Likewise, in one field alone.
pub(in crate::apiserver) fn defaults_of(schema: Schema<'_>, name: &str, object: &mut Value) {
    let (Some(field), Some(map)) = (schema.field(name), object.as_object_mut()) else { return };
    if let Some(default) = field.default()
        && !map.contains_key(name)
    {
        map.insert(name.to_owned(), default.clone());
    }
    if let Some(value) = map.get_mut(name) {
        defaults(field, value);
    }
}

/// JSON with the paths of fields that come twice; the last one counts, as everywhere.
pub(in crate::apiserver) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let twice = std::cell::RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde::de::DeserializeSeed::deserialize(Seed { path: &At::Root, twice: &twice }, &mut reader)?;
    reader.end()?;
    Ok((value, twice.into_inner()))
}

struct Seed<'a> {
    path: &'a At<'a>,
    twice: &'a std::cell::RefCell<Vec<String>>,
}

impl<'de> serde::de::DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Seed<'_> {
    type Value = Value;
    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) =
            access.next_element_seed(Seed { path: &At::Item(self.path, list.len()), twice: self.twice })?
        {
            list.push(value);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(Seed { path: &At::Field(self.path, &name), twice: self.twice })?;
            match map.entry(name) {
                Entry::Vacant(place) => drop(place.insert(value)),
                Entry::Occupied(mut place) => {
                    self.twice.borrow_mut().push(At::Field(self.path, place.key()).to_string());
                    place.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Root, Schema, custom_root};
    use super::*;
    use serde_json::json;

    fn schema() -> Root {
        let spec = json!({
            "type": "object",
            "properties": {
                "size": {"type": "integer", "default": 3},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "bare": {"type": "object"},
                "parts": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
            },
        });
        Root::new(
            custom_root(&json!({"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}))
                .unwrap(),
        )
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let schema = schema();
        let mut object = json!({
            "metadata": {"name": "x", "nmae": "y"},
            "spec": {"sze": 1, "free": {"any": 1}, "bare": {"gone": 1}, "parts": [{"name": "a"}, {"nam": "b"}]},
        });
        let mut unknown = Vec::new();
        prune(schema.schema(), &mut object, &mut unknown);
        assert_eq!(unknown, ["metadata.nmae", "spec.sze", "spec.bare.gone", "spec.parts[1].nam"]);
        assert_eq!(object["spec"], json!({"free": {"any": 1}, "bare": {}, "parts": [{"name": "a"}, {}]}));
    }

    #[test]
    fn what_is_clean_is_neither_refused_nor_changed_by_those_who_look_closer() {
        let root = schema();
        let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec});
        let container = |more: Value| {
            let mut container = json!({"name": "c", "image": "i"});
            container.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            pod(json!({"containers": [container]}))
        };
        let thing = |spec: Value| json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": spec});
        let native = Schema::native("", "v1", "Pod").unwrap();
        let map = Schema::native("", "v1", "ConfigMap").unwrap();
        let mut seen = [0, 0];
        for (schema, object) in [
            (native, container(json!({}))),
            (native, container(json!({"ports": [{"containerPort": 1}], "env": [{"name": "a", "value": ""}]}))),
            (native, container(json!({"ports": []}))),
            (native, container(json!({"port": 1}))),
            (native, container(json!({"image": null}))),
            (native, container(json!({"image": 7}))),
            (native, container(json!({"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}))),
            (native, container(json!({"resources": {}}))),
            (native, pod(json!({"volumes": [{"name": "a", "emptyDir": {}}], "containers": []}))),
            (map, json!({"metadata": {"labels": {}}, "data": {"a": "b"}})),
            (map, json!({"metadata": {"name": "a"}, "binaryData": {"a": "!"}})),
            (root.schema(), thing(json!({"size": 1, "free": {"any": [null, {}]}, "parts": [{"name": "a"}]}))),
            (root.schema(), thing(json!({"free": {}, "parts": []}))),
            (root.schema(), thing(json!({"size": null}))),
            (root.schema(), thing(json!({"size": "many"}))),
            (root.schema(), thing(json!({"bare": {"gone": 1}}))),
            (root.schema(), thing(json!({"parts": [{"nam": "a"}]}))),
            (root.schema(), json!({"metadata": {"labels": {"a": 1}}})),
            (root.schema(), json!({"metadata": {"annotations": null, "nmae": ""}})),
        ] {
            let clean = is_clean(schema, &object);
            let (mut looked, mut unknown) = (object.clone(), Vec::new());
            let wrong = native::wrong_type(schema, &object);
            prune(schema, &mut looked, &mut unknown);
            tidy(schema, &mut looked);
            let same = serde_json::to_string(&looked).unwrap() == serde_json::to_string(&object).unwrap();
            seen[usize::from(clean)] += 1;
            assert!(
                !clean || wrong.is_none() && unknown.is_empty() && same,
                "{object}: {wrong:?} {unknown:?} {looked}"
            );
        }
        assert_eq!(seen, [14, 5]);
    }

    #[test]
    fn nulls_make_room_for_defaults() {
        let schema = schema();
        let mut object = json!({"spec": {"size": null}});
        tidy(schema.schema(), &mut object);
        defaults(schema.schema(), &mut object);
        assert_eq!(object["spec"]["size"], 3);
    }

    #[test]
    fn a_native_kind_writes_no_empty_maps_but_empty_structs() {
        let schema = Schema::native("", "v1", "Pod").unwrap();
        let mut pod = json!({"metadata": {"labels": {}}, "spec": {"volumes": [{"name": "a", "emptyDir": {}}], "tolerations": []}});
        tidy(schema, &mut pod);
        assert_eq!(pod, json!({"metadata": {}, "spec": {"volumes": [{"name": "a", "emptyDir": {}}]}}));
    }

    #[test]
    fn a_field_that_comes_twice_is_named() {
        let (value, twice) = parse(br#"{"a":{"b":1,"b":2},"c":[{"d":1,"d":1}]}"#).unwrap();
        assert_eq!(twice, ["a.b", "c[0].d"]);
        assert_eq!(value["a"]["b"], 2);
        assert!(parse(b"{} x").is_err());
    }
}
