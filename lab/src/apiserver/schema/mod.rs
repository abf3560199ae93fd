//! Which fields objects have: of native kinds from the schemas of a real API server
//! (`native.json`, see conformance/suite/schemas_test.go), of custom resources from the
//! CustomResourceDefinition that they were created with. A custom resource without a schema may
//! hold anything. Knows nothing of HTTP or of how objects are stored.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::{Map, Value, json};

pub(in crate::apiserver) mod fields;
pub(in crate::apiserver) mod native;
mod node;
pub(in crate::apiserver) mod prune;
pub(in crate::apiserver) mod validate;

use node::{Limits, Node, Properties};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
/// What a quantity looks like, as generators of CustomResourceDefinitions write it.
pub(crate) const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
/// Names the protobuf message of a place that is no reference.
pub(super) const MESSAGE: &str = "x-message";
const REFERENCE: &str = "#/components/schemas/";

static NATIVE: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("native.json")).unwrap_or_default());

/// Names in `NATIVE` by group, version and kind.
static KINDS: LazyLock<HashMap<(String, String, String), &'static str>> = LazyLock::new(|| {
    let mut found = HashMap::new();
    for (name, schema) in NATIVE.iter() {
        for gvk in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let part = |field: &str| gvk[field].as_str().unwrap_or_default().to_owned();
            found.insert((part("group"), part("version"), part("kind")), name.as_str());
        }
    }
    found
});

/// The schemas of native kinds, as OpenAPI names them.
pub(super) fn native_schemas() -> &'static Map<String, Value> {
    &NATIVE
}

/// The OpenAPI name of a native kind.
pub(super) fn native_name(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    KINDS.get(&(group.to_owned(), version.to_owned(), kind.to_owned())).copied()
}

/// Where a value is in an object, written out only where somebody is told: `spec.parts[2].name`.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Field(At::Root, name) => f.write_str(name),
            At::Field(above, name) => write!(f, "{above}.{name}"),
            At::Item(above, place) => write!(f, "{above}[{place}]"),
        }
    }
}

/// How the items of a list belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ListKind {
    #[default]
    Atomic,
    Set,
    /// Items are told apart by these fields.
    Map(Vec<String>),
}

/// One place of a schema, references resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema<'a>(&'a Node);

/// The schema of a custom resource: as it is told, and as it is looked at.
#[derive(Debug)]
pub(super) struct Root {
    pub json: Value,
    read: OnceLock<Node>,
}

/// What was read follows from what is told.
impl PartialEq for Root {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}
impl Eq for Root {}

impl Root {
    pub fn new(json: Value) -> Self {
        Self { json, read: OnceLock::new() }
    }

    pub fn schema(&self) -> Schema<'_> {
        Schema::new(self.read.get_or_init(|| Node::new(&self.json, true)))
    }
}

impl<'a> Schema<'a> {
    fn new(node: &'a Node) -> Self {
        Self(node.resolved())
    }

    /// Of a native kind.
    pub fn native(group: &str, version: &str, kind: &str) -> Option<Schema<'static>> {
        Schema::named(native_name(group, version, kind)?)
    }

    /// By its OpenAPI name.
    pub fn named(name: &str) -> Option<Schema<'static>> {
        Node::named(name).map(Schema::new)
    }

    pub fn is_custom(&self) -> bool {
        self.0.custom
    }
    pub fn kind(&self) -> &'a str {
        &self.0.kind
    }
    pub fn format(&self) -> &'a str {
        &self.0.format
    }
    pub fn is_int_or_string(&self) -> bool {
        self.0.int_or_string
    }
    pub fn is_nullable(&self) -> bool {
        self.0.nullable
    }
    pub fn default(&self) -> Option<&'a Value> {
        self.0.default.as_ref()
    }
    /// Something in it, however deep, may have a default.
    pub fn has_defaults(&self) -> bool {
        self.0.defaulted
    }
    /// Fields that the schema does not name are kept.
    pub fn is_open(&self) -> bool {
        self.0.open
    }
    /// A map with keys of the writer's own, not a struct.
    pub fn is_map(&self) -> bool {
        self.0.map
    }
    /// It says which fields there are, if only that there are none.
    pub fn has_properties(&self) -> bool {
        self.0.properties.is_some()
    }

    /// The schema of a field; `None` when it has none.
    pub fn field(&self, name: &str) -> Option<Schema<'a>> {
        let own = self.0.properties.as_ref().and_then(|fields| fields.get(name));
        own.or(self.0.rest.as_deref()).map(Self::new)
    }

    /// Whether the field is one of the struct's own.
    pub fn names(&self, field: &str) -> bool {
        self.0.properties.as_ref().is_some_and(|fields| fields.get(field).is_some())
    }

    /// Its own fields, in the schema's order.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, Schema<'a>)> + use<'a> {
        self.0.properties.iter().flat_map(Properties::iter).map(|(name, node)| (name, Self::new(node)))
    }

    pub fn items(&self) -> Option<Schema<'a>> {
        self.0.items.as_deref().map(Self::new)
    }
    pub fn limits(&self) -> Option<&'a Limits> {
        self.0.limits.as_deref()
    }
    pub fn required(&self) -> &'a [String] {
        &self.0.required
    }
    pub fn list(&self) -> &'a ListKind {
        &self.0.list
    }
    pub fn is_atomic_map(&self) -> bool {
        self.0.atomic_map
    }

    /// `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
    pub fn short_name(&self) -> &'a str {
        self.0.name.rsplit('.').next().unwrap_or_default()
    }
    /// The protobuf message that it is.
    pub fn message(&self) -> &'a str {
        if self.0.name.is_empty() { &self.0.message } else { &self.0.name }
    }

    /// The key that strategic merge tells list items apart by.
    pub fn patch_key(&self) -> Option<&'a str> {
        self.0.patch_key.as_deref()
    }
    /// Strategic merge joins the list rather than replaces it.
    pub fn patch_merges(&self) -> bool {
        self.0.patch_merges
    }
}

/// A native struct with all that it refers to in place, in the form that custom resources' schemas have.
pub(super) fn written_out(name: &str) -> Option<Value> {
    ["io.k8s.api.", "io.k8s.apimachinery.pkg.apis."]
        .iter()
        .find_map(|head| NATIVE.get(&format!("{head}{name}")))
        .map(expanded)
}

fn expanded(node: &Value) -> Value {
    match node {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REFERENCE));
            let either = json!([{"type": "integer"}, {"type": "string"}]);
            let mut found = match reference.map(|name| (name, name.rsplit('.').next().unwrap_or_default())) {
                Some((_, "IntOrString")) => json!({"anyOf": either, "x-kubernetes-int-or-string": true}),
                Some((_, "Quantity")) => {
                    json!({"anyOf": either, "x-kubernetes-int-or-string": true, "pattern": QUANTITY})
                }
                Some((name, _)) => NATIVE.get(name).map(expanded).unwrap_or_default(),
                None => json!({}),
            };
            // What only clients of native kinds read, and choices, which generators leave to prose.
            let dropped = |key: &str, value: &Value| {
                let native = matches!(
                    key,
                    "$ref"
                        | "x-kubernetes-group-version-kind"
                        | "x-kubernetes-patch-merge-key"
                        | "x-kubernetes-patch-strategy"
                );
                native || key == "enum" && value.is_array()
            };
            for (key, value) in map.iter().filter(|(key, value)| !dropped(key, value)) {
                found[key] = expanded(value);
            }
            found
        }
        Value::Array(list) => list.iter().map(expanded).collect(),
        other => other.clone(),
    }
}

/// An int-or-string says so in OpenAPI's own words, too.
fn spell_out(node: &mut Value) {
    match node {
        Value::Object(map) => {
            if map.get("x-kubernetes-int-or-string") == Some(&json!(true)) && !map.contains_key("anyOf") {
                map.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
            }
            map.values_mut().for_each(spell_out);
        }
        Value::Array(list) => list.iter_mut().for_each(spell_out),
        _ => {}
    }
}

/// The schema of a version of a CustomResourceDefinition, with what every object has.
pub(super) fn custom_root(version: &Value) -> Option<Value> {
    let mut root = version.pointer("/schema/openAPIV3Schema").filter(|s| s.is_object())?.clone();
    let open = root["x-kubernetes-preserve-unknown-fields"] == json!(true);
    // A definition whose schema says nothing about objects says nothing at all.
    if root["properties"].as_object().is_none_or(Map::is_empty) && !open {
        return None;
    }
    root["type"] = json!("object");
    spell_out(&mut root);
    let described = |name: &str| root["properties"][name].get("description").cloned();
    let fields = [
        ("apiVersion", json!({"type": "string", "description": API_VERSION}), described("apiVersion")),
        ("kind", json!({"type": "string", "description": KIND}), described("kind")),
        ("metadata", json!({"$ref": format!("{REFERENCE}{META}"), "description": METADATA}), None),
    ];
    for (name, mut schema, description) in fields {
        if let Some(description) = description {
            schema["description"] = description;
        }
        root["properties"][name] = schema;
    }
    Some(root)
}
