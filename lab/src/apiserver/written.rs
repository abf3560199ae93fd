//! A stored object as JSON, without a copy of it: as it is, without its managers for the lab's own controllers, which
//! never look at them, its metadata alone, or as the last state before it left somebody's view. Knows that managers are
//! stored as text (`managers`), and of the rest of an object nothing.

use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::render::PARTIAL;

/// What is written of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub object: &'a Value,
    /// Without kind and apiVersion, as native kinds are in a list.
    pub untyped: bool,
    /// Without `metadata.managedFields`.
    pub bare: bool,
}

impl<'a> Written<'a> {
    pub fn new(object: &'a Value, bare: bool) -> Self {
        Self { object, untyped: false, bare }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(&mut out);
        out
    }

    /// Likewise, after what `out` has already.
    pub fn append(&self, out: &mut Vec<u8>) {
        let Some(fields) = self.object.as_object() else { return append(out, self.object) };
        out.push(b'{');
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("kind" | "apiVersion", _) if self.untyped => {}
                ("metadata", Value::Object(fields)) => {
                    name(out, key);
                    metadata(out, fields, self.bare);
                }
                _ => {
                    name(out, key);
                    append(out, value);
                }
            }
        }
        out.push(b'}');
    }
}

/// An object's metadata alone, as `PartialObjectMetadata`.
pub(super) fn append_partial(out: &mut Vec<u8>, object: &Value, bare: bool) {
    out.extend_from_slice(PARTIAL.as_bytes());
    match &object["metadata"] {
        Value::Object(fields) => metadata(out, fields, bare),
        other => append(out, other),
    }
    out.push(b'}');
}

fn metadata(out: &mut Vec<u8>, fields: &Map<String, Value>, bare: bool) {
    out.push(b'{');
    for (key, value) in fields {
        if key == "managedFields" {
            if !bare {
                name(out, key);
                managers(out, value);
            }
        } else {
            name(out, key);
            append(out, value);
        }
    }
    out.push(b'}');
}

fn managers(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => out.extend_from_slice(text.as_bytes()),
        other => append(out, other),
    }
}

/// An object as JSON, and where in it its metadata stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    pub bytes: Bytes,
    pub metadata: Range<usize>,
}

/// An object as it is and without its managers, gone through once: both are asked for of nearly every change.
/// `version`: in place of its own resourceVersion.
pub(super) fn both(object: &Map<String, Value>, version: Option<&str>) -> [Text; 2] {
    let (mut bare, mut told, mut within) = (vec![b'{'], None, 0..0);
    for (key, value) in object {
        name(&mut bare, key);
        match (key.as_str(), value) {
            ("metadata", Value::Object(fields)) => {
                let start = bare.len();
                bare.push(b'{');
                for (key, value) in fields {
                    if key == "managedFields" {
                        told = Some((bare.len(), value));
                        continue;
                    }
                    name(&mut bare, key);
                    match version.filter(|_| key == "resourceVersion") {
                        Some(version) => append(&mut bare, version),
                        None => append(&mut bare, value),
                    }
                }
                bare.push(b'}');
                within = start..bare.len();
            }
            _ => append(&mut bare, value),
        }
    }
    bare.push(b'}');
    let Some((place, told)) = told else {
        let bare = Text { bytes: bare.into(), metadata: within };
        return [bare.clone(), bare];
    };
    let (before, after) = bare.split_at(place);
    let mut whole = before.to_vec();
    name(&mut whole, "managedFields");
    managers(&mut whole, told);
    if before.ends_with(b"{") && !after.starts_with(b"}") {
        whole.push(b',');
    }
    whole.extend_from_slice(after);
    let longer = within.start..within.end + whole.len() - bare.len();
    [Text { bytes: whole.into(), metadata: longer }, Text { bytes: bare.into(), metadata: within }]
}

/// A member's name, after what stands before it.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    append(out, name);
    out.push(b':');
}

pub(super) fn append(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // A value can always be written, and a vector always written to.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_written_as_it_is_without_its_managers_or_as_it_was_last() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"managedFields": "kept"},
            "metadata": {"name": "a", "managedFields": [{"manager": "x"}], "resourceVersion": "7"}});
        let text = |written: Written<'_>| String::from_utf8(written.bytes()).unwrap();
        assert_eq!(text(Written::new(&object, false)), object.to_string());
        let bare = r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"managedFields":"kept"},"metadata":{"name":"a","resourceVersion":"7"}}"#;
        assert_eq!(text(Written::new(&object, true)), bare);
        let untyped = Written { untyped: true, ..Written::new(&object, true) };
        assert_eq!(text(untyped), bare.replace(r#""apiVersion":"v1","kind":"ConfigMap","#, ""));
    }

    #[test]
    fn managers_that_are_stored_as_text_are_written_as_they_were_told() {
        let told = json!([{"manager": "x", "fieldsV1": {"f:data": {"f:a": {}}}}]);
        let with = |managers: Value| json!({"metadata": {"name": "a", "managedFields": managers}, "data": {}});
        let (stored, wanted) = (with(told.to_string().into()), with(told));
        assert_eq!(Written::new(&stored, false).bytes(), wanted.to_string().into_bytes());
        let [whole, _] = both(stored.as_object().unwrap(), None);
        assert_eq!(whole.bytes, wanted.to_string());
    }

    #[test]
    fn what_is_written_at_once_is_what_is_written_apart() {
        for metadata in [
            r#"{"name":"a","managedFields":[{"manager":"x"}],"resourceVersion":"7"}"#,
            r#"{"managedFields":[],"resourceVersion":"7","name":"a"}"#,
            r#"{"resourceVersion":"7","managedFields":[]}"#,
            r#"{"managedFields":[]}"#,
            "{}",
            "null",
        ] {
            let object = format!(
                r#"{{"kind":"A","metadata":{metadata},"data":{{"managedFields":{{}},"resourceVersion":"7"}}}}"#
            );
            let mut value: Value = serde_json::from_str(&object).unwrap();
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
            let [whole, bare] = both(value.as_object().unwrap(), None);
            assert_eq!(text(&whole.bytes), object);
            assert_eq!(text(&bare.bytes), text(&Written::new(&value, true).bytes()));
            for (text, bare) in [(&whole, false), (&bare, true)] {
                let mut partial = Vec::new();
                append_partial(&mut partial, &value, bare);
                let metadata = text.bytes.get(text.metadata.clone()).unwrap();
                // What is null is not marked: no object is stored so.
                let metadata = if metadata.is_empty() { b"null" } else { metadata };
                assert_eq!(partial, [PARTIAL.as_bytes(), metadata, b"}"].concat());
            }
            let [whole, bare] = both(value.as_object().unwrap(), Some("9"));
            if let Some(version) = value["metadata"].get_mut("resourceVersion") {
                *version = json!("9");
            }
            assert_eq!(
                [text(&whole.bytes), text(&bare.bytes)],
                [false, true].map(|bare| text(&Written::new(&value, bare).bytes()))
            );
        }
    }
}
