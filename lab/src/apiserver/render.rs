//! Objects in the form that the client accepts: as they are, as a Table, or metadata only.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::events;
use super::request::Form;
use super::resources::ResourceDef;
use super::table;

/// Renders the objects of one resource for one request.
pub(super) struct Renderer {
    def: Arc<ResourceDef>,
    form: Form,
    /// In a watch only the first Table has column definitions.
    pub in_watch: bool,
    columns_sent: bool,
    /// `includeObject` of a Table: `None`, `Metadata` or `Object`.
    include: String,
}

/// A native object in a list: without kind and apiVersion.
struct Untyped(Arc<Value>);

impl Serialize for Untyped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.as_object().into_iter().flatten() {
            if key != "kind" && key != "apiVersion" {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Item {
    Untyped(Untyped),
    Typed(Arc<Value>),
    Made(Value),
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    kind: String,
    api_version: String,
    metadata: Value,
    items: Vec<Item>,
}

impl Renderer {
    pub fn new(def: Arc<ResourceDef>, form: Form, include: &str) -> Self {
        Self { def, form, in_watch: false, columns_sent: false, include: include.to_owned() }
    }

    /// The object as this resource's kind and version, e.g. a namespace as a project.
    fn typed(&self, object: &Value) -> Value {
        let mut object = if events::is_newer(&self.def) { events::newer(object) } else { object.clone() };
        object["kind"] = json!(self.def.kind);
        object["apiVersion"] = json!(self.def.api_version());
        object
    }

    fn partial(object: &Value) -> Value {
        json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        })
    }

    /// Whether the object is sent as it is stored.
    pub fn is_as_stored(&self, object: &Value) -> bool {
        self.form == Form::Plain
            && !events::is_newer(&self.def)
            && object["kind"].as_str() == Some(&self.def.kind)
            && object["apiVersion"].as_str() == Some(&self.def.api_version())
    }

    /// One object.
    pub fn object(&self, object: &Value) -> Value {
        match self.form {
            Form::Plain | Form::Yaml => self.typed(object),
            Form::Partial => Self::partial(object),
            Form::Table => table::table(
                &self.def,
                &self.include,
                std::slice::from_ref(object),
                object["metadata"]["resourceVersion"].clone(),
                true,
            ),
        }
    }

    /// One object in a watch event.
    pub fn event(&mut self, object: &Value) -> Value {
        if self.form != Form::Table {
            return self.object(object);
        }
        let first = !std::mem::replace(&mut self.columns_sent, true);
        table::table(
            &self.def,
            &self.include,
            std::slice::from_ref(object),
            object["metadata"]["resourceVersion"].clone(),
            first,
        )
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

    /// A list, serialised.
    pub fn list(&self, objects: Vec<Arc<Value>>, mut metadata: Value) -> Result<Vec<u8>, serde_json::Error> {
        if matches!(self.form, Form::Table | Form::Partial) && metadata["continue"] == json!("") {
            drop(metadata.as_object_mut().and_then(|m| m.shift_remove("continue")));
        }
        let (kind, api_version) = match self.form {
            Form::Table => {
                let objects: Vec<Value> = objects.iter().map(|o| Value::clone(o)).collect();
                let mut table = table::table(&self.def, &self.include, &objects, Value::Null, true);
                table["metadata"] = metadata;
                return serde_json::to_vec(&table);
            }
            Form::Partial => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            Form::Plain | Form::Yaml => (format!("{}List", self.def.kind), self.def.api_version()),
        };
        let items = objects.into_iter().map(|object| match self.form {
            Form::Partial => Item::Made(Self::partial(&object)),
            _ if events::is_newer(&self.def) => Item::Untyped(Untyped(Arc::new(events::newer(&object)))),
            _ if !self.def.custom => Item::Untyped(Untyped(object)),
            _ if object["apiVersion"] == json!(api_version) => Item::Typed(object),
            _ => Item::Made(self.typed(&object)),
        });
        let items = items.collect();
        serde_json::to_vec(&List { kind, api_version, metadata, items })
    }
}
