//! A stored object as JSON, without a copy of it: as it is, without its managers for the lab's own controllers, which
//! never look at them, or as the last state before it left somebody's view.

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
    /// In place of its own resourceVersion.
    pub version: Option<&'a str>,
}

impl<'a> Written<'a> {
    pub fn new(object: &'a Value, bare: bool) -> Self {
        Self { object, untyped: false, bare, version: None }
    }

    pub fn bytes(&self) -> Vec<u8> {
        // A value can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

struct Metadata<'a> {
    fields: &'a Map<String, Value>,
    of: Written<'a>,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.object.as_object() else { return self.object.serialize(serializer) };
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("kind" | "apiVersion", _) if self.untyped => {}
                ("metadata", Value::Object(fields)) if self.bare || self.version.is_some() => {
                    map.serialize_entry(key, &Metadata { fields, of: *self })?;
                }
                _ => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.fields {
            match (key.as_str(), self.of.version) {
                ("managedFields", _) if self.of.bare => {}
                ("resourceVersion", Some(version)) => map.serialize_entry(key, version)?,
                _ => map.serialize_entry(key, value)?,
            }
        }
        map.end()
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
        let last = Written { version: Some("9"), ..Written::new(&object, true) };
        assert_eq!(text(last), bare.replace("\"7\"", "\"9\""));
        let untyped = Written { untyped: true, ..Written::new(&object, true) };
        assert_eq!(text(untyped), bare.replace(r#""apiVersion":"v1","kind":"ConfigMap","#, ""));
    }
}
