//! Which fields objects have: of native kinds from the schemas of a real API server
//! (`native.json`, see conformance/suite/schemas_test.go), of custom resources from the
//! CustomResourceDefinition that they were created with. A custom resource without a schema may
//! hold anything. Knows nothing of HTTP or of how objects are stored.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

pub(in crate::apiserver) mod fields;
pub(in crate::apiserver) mod native;
pub(in crate::apiserver) mod prune;
pub(in crate::apiserver) mod validate;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
/// What a quantity looks like, as generators of CustomResourceDefinitions write it.
pub(crate) const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListKind {
    Atomic,
    Set,
    /// Items are told apart by these fields.
    Map(Vec<String>),
}

/// One node of a schema, references resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema<'a> {
    node: &'a Value,
    /// Of a CustomResourceDefinition: an object without properties has no fields at all.
    custom: bool,
    /// The short name of the struct that the node is, e.g. `PodSpec`.
    name: &'a str,
}

impl<'a> Schema<'a> {
    fn new(node: &'a Value, custom: bool) -> Self {
        match node["$ref"].as_str().and_then(|r| r.strip_prefix(REFERENCE)) {
            Some(name) => match NATIVE.get(name) {
                Some(schema) => Self { node: schema, custom: false, name },
                None => Self { node, custom: false, name: "" },
            },
            None => Self { node, custom, name: "" },
        }
    }

    /// Of a native kind.
    pub fn native(group: &str, version: &str, kind: &str) -> Option<Schema<'static>> {
        let name = native_name(group, version, kind)?;
        Some(Schema { node: NATIVE.get(name)?, custom: false, name })
    }

    /// By its OpenAPI name.
    pub fn named(name: &str) -> Option<Schema<'static>> {
        let (name, node) = NATIVE.get_key_value(name)?;
        Some(Schema { node, custom: false, name })
    }

    /// Of a custom resource, made by [`custom_root`].
    pub fn custom(root: &'a Value) -> Self {
        Self::new(root, true)
    }

    pub fn node(&self) -> &'a Value {
        self.node
    }
    pub fn is_custom(&self) -> bool {
        self.custom
    }
    fn flag(&self, name: &str) -> bool {
        self.node[name] == json!(true)
    }
    pub fn kind(&self) -> &'a str {
        self.node["type"].as_str().unwrap_or_default()
    }
    pub fn format(&self) -> &'a str {
        self.node["format"].as_str().unwrap_or_default()
    }
    pub fn is_int_or_string(&self) -> bool {
        if self.custom {
            return self.flag("x-kubernetes-int-or-string");
        }
        self.format() == "int-or-string" || self.node["oneOf"].is_array()
    }
    pub fn is_nullable(&self) -> bool {
        self.flag("nullable")
    }
    pub fn default(&self) -> Option<&'a Value> {
        self.node.get("default")
    }

    /// Fields that the schema does not name are kept.
    pub fn is_open(&self) -> bool {
        if self.flag("x-kubernetes-preserve-unknown-fields") {
            return true;
        }
        let unnamed = self.node.get("properties").is_none() && self.node.get("additionalProperties").is_none();
        // `additionalProperties: true`, or a native type that takes anything.
        self.node["additionalProperties"] == json!(true) || (!self.custom && unnamed && !self.is_int_or_string())
    }

    /// A map with keys of the writer's own, not a struct.
    pub fn is_map(&self) -> bool {
        self.node.get("additionalProperties").is_some()
    }

    /// The schema of a field; `None` when it has none.
    pub fn field(&self, name: &str) -> Option<Schema<'a>> {
        if let Some(node) = self.node["properties"].get(name) {
            return Some(Self::new(node, self.custom));
        }
        let rest = self.node.get("additionalProperties").filter(|rest| rest.is_object())?;
        Some(Self::new(rest, self.custom))
    }

    /// Whether the field is one of the struct's own.
    pub fn names(&self, field: &str) -> bool {
        self.node["properties"].get(field).is_some()
    }

    pub fn properties(&self) -> impl Iterator<Item = (&'a str, Schema<'a>)> + use<'a> {
        let custom = self.custom;
        self.node["properties"].as_object().into_iter().flatten().map(move |(k, v)| (k.as_str(), Self::new(v, custom)))
    }

    pub fn items(&self) -> Option<Schema<'a>> {
        self.node.get("items").filter(|i| i.is_object()).map(|items| Self::new(items, self.custom))
    }

    /// The schemas below `allOf`, `anyOf` or `oneOf`.
    pub fn choices(&self, word: &str) -> Vec<Schema<'a>> {
        let list = self.node[word].as_array().into_iter().flatten();
        list.map(|node| Self::new(node, self.custom)).collect()
    }

    /// The schema that a value must not have.
    pub fn not(&self) -> Option<Schema<'a>> {
        self.node.get("not").filter(|not| not.is_object()).map(|not| Self::new(not, self.custom))
    }

    pub fn required(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.node["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    pub fn list(&self) -> ListKind {
        match self.node["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => {
                let keys = self.node["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                ListKind::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => ListKind::Atomic,
        }
    }

    pub fn is_atomic_map(&self) -> bool {
        self.node["x-kubernetes-map-type"] == json!("atomic")
    }

    /// `io.k8s.api.core.v1.PodSpec`; empty where the schema is not one that others refer to.
    pub fn full_name(&self) -> &'a str {
        self.name
    }

    /// `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
    pub fn short_name(&self) -> &'a str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// The key that strategic merge tells list items apart by.
    pub fn patch_key(&self) -> Option<&'a str> {
        self.node["x-kubernetes-patch-merge-key"].as_str()
    }
    /// Strategic merge joins the list rather than replaces it.
    pub fn patch_merges(&self) -> bool {
        self.node["x-kubernetes-patch-strategy"].as_str().is_some_and(|s| s.split(',').any(|s| s == "merge"))
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
