//! What a schema says, place by place, read once from its JSON. Each write looks up every field of an object several times
//! (types, unknown fields, defaults, owners): in a tree of JSON maps that was a sixth of all that the lab did.
//! Knows nothing of what the words are for; that is [`super::Schema`]'s.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::{Value, json};

use super::{ListKind, MESSAGE, NATIVE, REFERENCE};

/// One place of a schema.
#[derive(Debug, Default)]
pub(in crate::apiserver) struct Node {
    /// Of a CustomResourceDefinition: an object without properties has no fields at all.
    pub custom: bool,
    pub kind: String,
    pub format: String,
    pub int_or_string: bool,
    pub nullable: bool,
    /// Fields that the schema does not name are kept.
    pub open: bool,
    /// A map with keys of the writer's own, not a struct.
    pub map: bool,
    pub atomic_map: bool,
    pub list: ListKind,
    pub default: Option<Value>,
    /// Something here or below may have a default.
    pub defaulted: bool,
    pub properties: Option<Properties>,
    /// Of all fields that are not properties.
    pub rest: Option<Box<Node>>,
    pub items: Option<Box<Node>>,
    pub required: Vec<String>,
    pub limits: Option<Box<Limits>>,
    /// The key that strategic merge tells list items apart by.
    pub patch_key: Option<String>,
    /// Strategic merge joins the list rather than replaces it.
    pub patch_merges: bool,
    /// The protobuf message that it is, where its name is not one.
    pub message: String,
    /// The OpenAPI name of the struct that it is, e.g. `io.k8s.api.core.v1.PodSpec`; else empty.
    pub name: String,
    reference: Option<Reference>,
}

/// What a value of the right type must be, too. Few places say anything of it.
#[derive(Debug)]
pub(in crate::apiserver) struct Limits {
    pub allowed: Option<Vec<Value>>,
    pub all: Vec<Node>,
    pub any: Vec<Node>,
    pub one: Vec<Node>,
    pub not: Option<Node>,
    /// At most and at least so many.
    pub properties: [Option<usize>; 2],
    pub items: [Option<usize>; 2],
    pub length: [Option<u64>; 2],
    pub number: [Option<f64>; 2],
    pub pattern: Option<String>,
    expression: OnceLock<Option<regex::Regex>>,
}

/// The fields of a struct.
#[derive(Debug)]
pub(in crate::apiserver) struct Properties {
    /// In the order of the schema.
    all: Vec<(String, Node)>,
    /// Places in `all`, by the length of the name and by name: most names are told apart by their length.
    sorted: Vec<usize>,
}

/// Another schema stands here: looked up when it is first needed, because structs may contain themselves.
#[derive(Debug)]
struct Reference {
    name: String,
    found: OnceLock<Option<&'static Node>>,
}

/// The schemas of native kinds, each read when it is first needed.
static NODES: LazyLock<HashMap<&'static str, OnceLock<Node>>> =
    LazyLock::new(|| NATIVE.keys().map(|name| (name.as_str(), OnceLock::new())).collect());

impl Node {
    pub fn new(json: &Value, custom: bool) -> Self {
        let name = json["$ref"].as_str().and_then(|r| r.strip_prefix(REFERENCE));
        if let Some(name) = name.filter(|name| NATIVE.contains_key(*name)) {
            let reference = Reference { name: name.to_owned(), found: OnceLock::new() };
            return Self { reference: Some(reference), defaulted: true, ..Self::default() };
        }
        // A name that nobody knows says nothing; what is beside it counts.
        let custom = custom && name.is_none();
        let flag = |name: &str| json[name] == json!(true);
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let below = |name: &str| json.get(name).filter(|v| v.is_object()).map(|v| Box::new(Self::new(v, custom)));
        let int_or_string = match custom {
            true => flag("x-kubernetes-int-or-string"),
            false => json["format"] == "int-or-string" || json["oneOf"].is_array(),
        };
        let unnamed = json.get("properties").is_none() && json.get("additionalProperties").is_none();
        // `additionalProperties: true`, or a native type that takes anything.
        let open = flag("x-kubernetes-preserve-unknown-fields")
            || flag("additionalProperties")
            || (!custom && unnamed && !int_or_string);
        let properties = json.get("properties").map(|fields| Properties::new(fields, custom));
        let (rest, items) = (below("additionalProperties"), below("items"));
        let fields = properties.iter().flat_map(Properties::iter).map(|(_, node)| node);
        let defaulted =
            fields.chain(rest.as_deref()).chain(items.as_deref()).any(|node| node.defaulted || node.default.is_some());
        Self {
            custom,
            kind: text("type"),
            format: text("format"),
            int_or_string,
            nullable: flag("nullable"),
            open,
            map: json.get("additionalProperties").is_some(),
            atomic_map: json["x-kubernetes-map-type"] == "atomic",
            list: list_kind(json),
            default: json.get("default").cloned(),
            defaulted,
            properties,
            rest,
            items,
            required: texts(&json["required"]),
            limits: Limits::new(json, custom),
            patch_key: json["x-kubernetes-patch-merge-key"].as_str().map(str::to_owned),
            patch_merges: text("x-kubernetes-patch-strategy").split(',').any(|s| s == "merge"),
            message: text(MESSAGE),
            name: String::new(),
            reference: None,
        }
    }

    /// By its OpenAPI name.
    pub fn named(name: &str) -> Option<&'static Self> {
        let read = || {
            let json = NATIVE.get(name).unwrap_or(&Value::Null);
            Self { name: name.to_owned(), ..Self::new(json, false) }
        };
        Some(NODES.get(name)?.get_or_init(read))
    }

    /// What stands here: another schema where this refers to one.
    pub fn resolved(&self) -> &Self {
        let Some(reference) = &self.reference else { return self };
        reference.found.get_or_init(|| Self::named(&reference.name)).unwrap_or(self)
    }
}

impl Properties {
    fn new(json: &Value, custom: bool) -> Self {
        let fields = json.as_object().into_iter().flatten();
        let all: Vec<(String, Node)> = fields.map(|(name, json)| (name.clone(), Node::new(json, custom))).collect();
        let mut sorted: Vec<usize> = (0..all.len()).collect();
        sorted.sort_by_key(|place| all.get(*place).map(|(name, _)| (name.len(), name.as_str())));
        Self { all, sorted }
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        let of = |place: &usize| self.all.get(*place).map_or("", |(name, _)| name.as_str());
        let by_length = |own: &str| own.len().cmp(&name.len()).then_with(|| own.cmp(name));
        let place = self.sorted.binary_search_by(|place| by_length(of(place))).ok()?;
        Some(&self.all.get(*self.sorted.get(place)?)?.1)
    }

    /// In the order of the schema.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.all.iter().map(|(name, node)| (name.as_str(), node))
    }
}

impl Limits {
    /// `None` where the schema says nothing of the kind.
    fn new(json: &Value, custom: bool) -> Option<Box<Self>> {
        const WORDS: [&str; 14] = [
            "enum",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
            "maxProperties",
            "minProperties",
            "maxItems",
            "minItems",
            "maxLength",
            "minLength",
            "maximum",
            "minimum",
            "pattern",
        ];
        if WORDS.iter().all(|word| json.get(word).is_none()) {
            return None;
        }
        let schemas = |word: &str| {
            let list = json[word].as_array().into_iter().flatten();
            list.map(|one| Node::new(one, custom)).collect()
        };
        let count = |word: &str| json[word].as_u64().and_then(|n| usize::try_from(n).ok());
        Some(Box::new(Self {
            allowed: json["enum"].as_array().cloned(),
            all: schemas("allOf"),
            any: schemas("anyOf"),
            one: schemas("oneOf"),
            not: json.get("not").filter(|not| not.is_object()).map(|not| Node::new(not, custom)),
            properties: ["maxProperties", "minProperties"].map(count),
            items: ["maxItems", "minItems"].map(count),
            length: ["maxLength", "minLength"].map(|word| json[word].as_u64()),
            number: ["maximum", "minimum"].map(|word| json[word].as_f64()),
            pattern: json["pattern"].as_str().map(str::to_owned),
            expression: OnceLock::new(),
        }))
    }

    /// The pattern that `text` does not match. One that can't be read is no pattern.
    pub fn missed(&self, text: &str) -> Option<&str> {
        let pattern = self.pattern.as_deref()?;
        let expression = self.expression.get_or_init(|| regex::Regex::new(pattern).ok()).as_ref()?;
        (!expression.is_match(text)).then_some(pattern)
    }
}

fn texts(json: &Value) -> Vec<String> {
    json.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list_kind(json: &Value) -> ListKind {
    match json["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map(texts(&json["x-kubernetes-list-map-keys"])),
        _ => ListKind::Atomic,
    }
}
