//! Objects in the form that the client accepts: as they are, as a Table, or metadata only.

use std::sync::Arc;

use serde_json::{Value, json};

use super::events;
use super::managers;
use super::request::Form;
use super::resources::ResourceDef;
use super::table;
use super::written::{Written, append, append_partial};

/// How `PartialObjectMetadata` begins: its metadata and a brace follow.
pub(super) const PARTIAL: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

/// Renders the objects of one resource for one request.
pub(super) struct Renderer {
    def: Arc<ResourceDef>,
    form: Form,
    /// Without `metadata.managedFields`, where the object is sent as it is stored.
    pub bare: bool,
    /// In a watch only the first Table has column definitions.
    pub in_watch: bool,
    columns_sent: bool,
    /// `includeObject` of a Table: `None`, `Metadata` or `Object`.
    include: String,
}

impl Renderer {
    pub fn new(def: Arc<ResourceDef>, form: Form, include: &str) -> Self {
        Self { def, form, bare: false, in_watch: false, columns_sent: false, include: include.to_owned() }
    }

    /// The object as this resource's kind and version, e.g. a namespace as a project.
    fn typed(&self, object: &Value) -> Value {
        let mut object = managers::whole(object);
        if events::is_newer(&self.def) {
            object = events::newer(&object);
        }
        object["kind"] = json!(self.def.kind);
        object["apiVersion"] = json!(self.def.api_version());
        object
    }

    fn partial(&self, object: &Value) -> Value {
        let shown = |(name, value): (&String, &Value)| {
            Some(match (name.as_str(), value) {
                ("managedFields", _) if self.bare => return None,
                ("managedFields", Value::String(text)) => (name.clone(), managers::unpacked(text)),
                _ => (name.clone(), value.clone()),
            })
        };
        let metadata: Value = object["metadata"].as_object().into_iter().flatten().filter_map(shown).collect();
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
    }

    /// Whether the object is sent as it is stored.
    pub fn is_as_stored(&self, object: &Value) -> bool {
        self.form == Form::Plain
            && !events::is_newer(&self.def)
            && object["kind"].as_str() == Some(&self.def.kind)
            && object["apiVersion"].as_str() == Some(&self.def.api_version())
    }

    /// Whether nothing but the object's metadata is sent, as it is stored.
    pub fn is_partial(&self) -> bool {
        self.form == Form::Partial
    }

    /// One object.
    pub fn object(&self, object: &Value) -> Value {
        match self.form {
            Form::Plain | Form::Yaml => self.typed(object),
            Form::Partial => self.partial(object),
            Form::Table => {
                table::table(&self.def, &self.include, &[object], object["metadata"]["resourceVersion"].clone(), true)
            }
        }
    }

    /// One object in a watch event.
    pub fn event(&mut self, object: &Value) -> Value {
        if self.form != Form::Table {
            return self.object(object);
        }
        let first = !std::mem::replace(&mut self.columns_sent, true);
        table::table(&self.def, &self.include, &[object], object["metadata"]["resourceVersion"].clone(), first)
    }

    pub fn bookmark(&mut self, version: u64, initial_end: bool) -> Value {
        let mut object = json!({
            "kind": self.def.kind,
            "apiVersion": self.def.api_version(),
            "metadata": {"resourceVersion": version.to_string()},
        });
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.form {
            Form::Plain | Form::Yaml => object,
            _ => self.event(&object),
        }
    }

    /// A list, as JSON.
    pub fn list(&self, objects: &[Arc<Value>], mut metadata: Value) -> Vec<u8> {
        if matches!(self.form, Form::Table | Form::Partial) && metadata["continue"] == json!("") {
            drop(metadata.as_object_mut().and_then(|m| m.shift_remove("continue")));
        }
        let mut out = Vec::new();
        let (kind, api_version) = match self.form {
            Form::Table => {
                let objects: Vec<&Value> = objects.iter().map(Arc::as_ref).collect();
                let mut table = table::table(&self.def, &self.include, &objects, Value::Null, true);
                table["metadata"] = metadata;
                append(&mut out, &table);
                return out;
            }
            Form::Partial => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            Form::Plain | Form::Yaml => (format!("{}List", self.def.kind), self.def.api_version()),
        };
        append(&mut out, &json!({"kind": kind, "apiVersion": api_version, "metadata": metadata}));
        out.pop();
        out.extend_from_slice(b",\"items\":[");
        for (at, object) in objects.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let typed;
            let (object, untyped) = match self.form {
                Form::Partial => {
                    append_partial(&mut out, object, self.bare);
                    continue;
                }
                _ if events::is_newer(&self.def) => {
                    typed = events::newer(object);
                    (&typed, true)
                }
                _ if !self.def.custom => (object.as_ref(), true),
                _ if object["apiVersion"] == json!(api_version) => (object.as_ref(), false),
                _ => {
                    typed = self.typed(object);
                    (&typed, false)
                }
            };
            Written { untyped, ..Written::new(object, self.bare) }.append(&mut out);
        }
        out.extend_from_slice(b"]}");
        out
    }
}
