//! A stored object as JSON, without a copy of it: as it is, without its managers for the lab's own controllers, which
//! never look at them, or as the last state before it left somebody's view.

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

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
        // A value can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// An object as it is and without its managers, gone through once: both are asked for of nearly every change.
/// `version`: in place of its own resourceVersion.
pub(super) fn both(object: &Map<String, Value>, version: Option<&str>) -> [Bytes; 2] {
    let (mut bare, mut managers) = (vec![b'{'], None);
    for (key, value) in object {
        name(&mut bare, key);
        match (key.as_str(), value) {
            ("metadata", Value::Object(fields)) => {
                bare.push(b'{');
                for (key, value) in fields {
                    if key == "managedFields" {
                        managers = Some((bare.len(), value));
                        continue;
                    }
                    name(&mut bare, key);
                    match version.filter(|_| key == "resourceVersion") {
                        Some(version) => append(&mut bare, version),
                        None => append(&mut bare, value),
                    }
                }
                bare.push(b'}');
            }
            _ => append(&mut bare, value),
        }
    }
    bare.push(b'}');
    let Some((place, managers)) = managers else {
        let bare = Bytes::from(bare);
        return [bare.clone(), bare];
    };
    let (before, after) = bare.split_at(place);
    let mut whole = before.to_vec();
    name(&mut whole, "managedFields");
    append(&mut whole, managers);
    if before.ends_with(b"{") && !after.starts_with(b"}") {
        whole.push(b',');
    }
    whole.extend_from_slice(after);
    [whole.into(), bare.into()]
}

/// A member's name, after what stands before it.
fn name(out: &mut Vec<u8>, name: &str) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    append(out, name);
    out.push(b':');
}

fn append(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // A value can always be written, and a vector always written to.
    let _ = serde_json::to_writer(out, value);
}

struct Bare<'a>(&'a Map<String, Value>);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.object.as_object() else { return self.object.serialize(serializer) };
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("kind" | "apiVersion", _) if self.untyped => {}
                ("metadata", Value::Object(fields)) if self.bare => map.serialize_entry(key, &Bare(fields))?,
                _ => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

impl Serialize for Bare<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(key, _)| *key != "managedFields"))
    }
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
            assert_eq!(text(&whole), object);
            assert_eq!(text(&bare), text(&Written::new(&value, true).bytes()));
            let [whole, bare] = both(value.as_object().unwrap(), Some("9"));
            if let Some(version) = value["metadata"].get_mut("resourceVersion") {
                *version = json!("9");
            }
            assert_eq!(
                [text(&whole), text(&bare)],
                [false, true].map(|bare| text(&Written::new(&value, bare).bytes()))
            );
        }
    }
}
