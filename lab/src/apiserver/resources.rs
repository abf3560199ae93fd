//! Which resources the server serves: the built-in ones of [`super::builtin`], and those that
//! CustomResourceDefinitions add while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, RwLock};

use serde_json::{Value, json};

use super::builtin;
use super::schema::{self, Schema};

/// Group and plural: what an object is stored under, whatever version it is read through.
pub(super) type StorageKey = (String, String);

/// How `status` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusMode {
    /// No `/status`; the main endpoint writes it.
    None,
    /// Only through `/status`; the main endpoint ignores it.
    Separate,
    /// Through both.
    Both,
}

/// What a name must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameRule {
    Subdomain,
    Label,
    PathSegment,
}

/// A column of `kubectl get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    /// `string`, `integer`, `date`, `boolean`.
    pub kind: String,
    /// A path as CRDs write it: `.status.conditions[?(@.type=="Ready")].status`.
    pub path: String,
    pub priority: i64,
    pub description: String,
}

/// One resource in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceDef {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub namespaced: bool,
    pub status: StatusMode,
    /// A custom resource: its list items carry kind and apiVersion, a PUT needs a resourceVersion.
    pub custom: bool,
    /// Has `metadata.generation`.
    pub generation: bool,
    /// Answers a question and stores nothing (access and token reviews).
    pub review: bool,
    /// DELETE answers with the object, not with a `Status`.
    pub delete_returns_object: bool,
    pub name_rule: NameRule,
    pub columns: Vec<Column>,
    pub storage: StorageKey,
    /// Of a custom resource that was defined with one, see [`schema::custom_root`].
    pub schema: Option<Arc<schema::Root>>,
    /// Categories of a definition, e.g. `all`.
    pub categories: Vec<String>,
    /// `.spec.replicas`, `.status.replicas` and the selector's path, where there is `/scale`.
    pub scale: Option<[String; 3]>,
    /// Fields that a field selector may name, beside name and namespace.
    pub selectable: Vec<String>,
}

/// Any object: only metadata is known.
static ANY: LazyLock<schema::Root> = LazyLock::new(|| {
    let any = json!({"schema": {"openAPIV3Schema": {"x-kubernetes-preserve-unknown-fields": true, "properties": {}}}});
    schema::Root::new(schema::custom_root(&any).unwrap_or_default())
});

impl ResourceDef {
    /// `apps/v1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
    /// `deployments.apps`, or `pods`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
    /// What the kind's objects look like.
    pub fn schema(&self) -> Option<Schema<'_>> {
        if let Some(root) = &self.schema {
            return Some(root.schema());
        }
        let native = Schema::native(&self.group, &self.version, &self.kind).filter(|_| !self.custom);
        Some(native.unwrap_or_else(|| self.meta_schema()))
    }
    /// What all objects have.
    pub fn meta_schema(&self) -> Schema<'static> {
        ANY.schema()
    }
    /// `all` for what `kubectl get all` shows.
    pub fn categories(&self) -> Vec<&str> {
        if self.custom && self.schema.is_some() {
            return self.categories.iter().map(String::as_str).collect();
        }
        let in_all = match self.group.as_str() {
            "" => matches!(self.plural.as_str(), "pods" | "services" | "replicationcontrollers"),
            "apps" => self.plural != "controllerrevisions",
            "autoscaling" | "batch" | "kubevirt.io" => true,
            "cdi.kubevirt.io" => self.plural == "datavolumes",
            _ => false,
        };
        let extension = matches!(
            self.group.as_str(),
            "admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io"
        );
        match (in_all, extension) {
            (true, _) => vec!["all"],
            (_, true) => vec!["api-extensions"],
            _ => vec![],
        }
    }
    pub fn verbs(&self) -> &'static [&'static str] {
        if self.review {
            return &["create"];
        }
        if self.group == "metrics.k8s.io" {
            return &["get", "list"];
        }
        if self.plural == "projectrequests" {
            return &["create", "list"];
        }
        if self.is_namespaces() {
            return &["create", "delete", "get", "list", "patch", "update", "watch"];
        }
        if self.custom {
            // In the order of the real one.
            return &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
        }
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    }
    pub fn is_namespaces(&self) -> bool {
        self.storage.0.is_empty() && self.storage.1 == "namespaces"
    }
    pub fn is_crds(&self) -> bool {
        self.plural == "customresourcedefinitions" && self.group == "apiextensions.k8s.io"
    }
}

/// All resources at one moment, in the order of registration within a group.
#[derive(Debug, Default)]
pub(super) struct Registry {
    table: RwLock<Vec<Arc<ResourceDef>>>,
    index: RwLock<BTreeMap<(String, String, String), Arc<ResourceDef>>>,
}

impl Registry {
    pub fn builtin() -> Self {
        let registry = Self::default();
        registry.add(builtin::resources());
        registry
    }

    /// Adds resources; one that is there already is replaced.
    pub fn add(&self, defs: Vec<ResourceDef>) {
        let (Ok(mut table), Ok(mut index)) = (self.table.write(), self.index.write()) else { return };
        for def in defs {
            let def = Arc::new(def);
            let key = (def.group.clone(), def.version.clone(), def.plural.clone());
            table.retain(|d| (&d.group, &d.version, &d.plural) != (&key.0, &key.1, &key.2));
            table.push(def.clone());
            index.insert(key, def);
        }
    }

    /// Forgets all versions of a resource.
    pub fn remove(&self, group: &str, plural: &str) {
        let (Ok(mut table), Ok(mut index)) = (self.table.write(), self.index.write()) else { return };
        table.retain(|d| d.group != group || d.plural != plural);
        index.retain(|(g, _, p), _| g != group || p != plural);
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<ResourceDef>> {
        self.index.read().ok()?.get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    /// The first version of what is stored under `key`.
    pub fn stored(&self, key: &StorageKey) -> Option<Arc<ResourceDef>> {
        self.table.read().ok()?.iter().find(|d| &d.storage == key).cloned()
    }

    /// By `apiVersion` and kind, as an owner reference names it; any version of the group will do.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<Arc<ResourceDef>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.table.read().ok()?.iter().find(|d| d.group == group && d.kind == kind).cloned()
    }

    pub fn all(&self) -> Vec<Arc<ResourceDef>> {
        self.table.read().map(|t| t.clone()).unwrap_or_default()
    }

    /// Groups in order of first registration, each with its versions in that order.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for def in self.all() {
            match groups.iter_mut().find(|(name, _)| name == &def.group) {
                Some((_, versions)) if versions.contains(&def.version) => {}
                Some((_, versions)) => versions.push(def.version.clone()),
                None => groups.push((def.group.clone(), vec![def.version.clone()])),
            }
        }
        groups
    }

    /// Whether anything is served in this version of a group.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.table.read().is_ok_and(|table| table.iter().any(|d| d.group == group && d.version == version))
    }

    pub fn in_version(&self, group: &str, version: &str) -> Vec<Arc<ResourceDef>> {
        let mut defs: Vec<_> = self.all().into_iter().filter(|d| d.group == group && d.version == version).collect();
        defs.sort_by(|a, b| a.plural.cmp(&b.plural));
        defs
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The resources that a CustomResourceDefinition stands for, its storage version first.
pub(super) fn from_crd(crd: &Value) -> Vec<ResourceDef> {
    let (group, plural, kind) =
        (text(crd, "/spec/group"), text(crd, "/spec/names/plural"), text(crd, "/spec/names/kind"));
    let singular = match text(crd, "/spec/names/singular") {
        "" => kind.to_lowercase(),
        singular => singular.to_owned(),
    };
    let mut versions: Vec<&Value> =
        crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten().collect();
    versions.retain(|v| v["served"].as_bool().unwrap_or(true));
    versions.sort_by_key(|v| !v["storage"].as_bool().unwrap_or(false));
    versions
        .iter()
        .map(|version| ResourceDef {
            group: group.to_owned(),
            version: text(version, "/name").to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            singular: singular.clone(),
            short_names: strings(crd.pointer("/spec/names/shortNames")),
            namespaced: text(crd, "/spec/scope") != "Cluster",
            status: if version.pointer("/subresources/status").is_some() {
                StatusMode::Separate
            } else {
                StatusMode::None
            },
            custom: true,
            generation: true,
            review: false,
            delete_returns_object: false,
            name_rule: NameRule::Subdomain,
            columns: version["additionalPrinterColumns"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|c| Column {
                    name: text(c, "/name").to_owned(),
                    kind: text(c, "/type").to_owned(),
                    path: text(c, "/jsonPath").to_owned(),
                    priority: c["priority"].as_i64().unwrap_or(0),
                    description: match text(c, "/description") {
                        "" => {
                            format!("Custom resource definition column (in JSONPath format): {}", text(c, "/jsonPath"))
                        }
                        description => description.to_owned(),
                    },
                })
                .collect(),
            storage: (group.to_owned(), plural.to_owned()),
            schema: schema::custom_root(version).map(|json| Arc::new(schema::Root::new(json))),
            categories: strings(crd.pointer("/spec/names/categories")),
            scale: version.pointer("/subresources/scale").map(|scale| {
                ["/specReplicasPath", "/statusReplicasPath", "/labelSelectorPath"].map(|p| text(scale, p).to_owned())
            }),
            selectable: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|f| text(f, "/jsonPath").trim_start_matches('.').to_owned())
                .collect(),
        })
        .collect()
}
