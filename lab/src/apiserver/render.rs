//! Objects in the form that the client accepts: as they are, as a Table, or metadata only.

use std::sync::Arc;

use serde::ser::{Serialize, Serializer};
use serde_json::{Value, json};

use super::events;
use super::request::Form;
use super::resources::ResourceDef;
use super::table;
use super::written::Written;

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

/// An object in a list; a native one is without kind and apiVersion.
struct Item {
    object: Arc<Value>,
    untyped: bool,
    bare: bool,
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { untyped: self.untyped, ..Written::new(&self.object, self.bare) }.serialize(serializer)
    }
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
        Self { def, form, bare: false, in_watch: false, columns_sent: false, include: include.to_owned() }
    }

    /// The object as this resource's kind and version, e.g. a namespace as a project.
    fn typed(&self, object: &Value) -> Value {
        let mut object = if events::is_newer(&self.def) { events::newer(object) } else { object.clone() };
        object["kind"] = json!(self.def.kind);
        object["apiVersion"] = json!(self.def.api_version());
        object
    }

    fn partial(&self, object: &Value) -> Value {
        let metadata = match object["metadata"].as_object().filter(|_| self.bare) {
            Some(fields) => {
                let shown = fields.iter().filter(|(name, _)| *name != "managedFields");
                shown.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            None => object["metadata"].clone(),
        };
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
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
            Form::Partial => self.partial(object),
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
        let items = objects.into_iter().map(|object| {
            let (object, untyped) = match self.form {
                Form::Partial => (Arc::new(self.partial(&object)), false),
                _ if events::is_newer(&self.def) => (Arc::new(events::newer(&object)), true),
                _ if !self.def.custom => (object, true),
                _ if object["apiVersion"] == json!(api_version) => (object, false),
                _ => (Arc::new(self.typed(&object)), false),
            };
            Item { object, untyped, bare: self.bare }
        });
        let items = items.collect();
        serde_json::to_vec(&List { kind, api_version, metadata, items })
    }
}
