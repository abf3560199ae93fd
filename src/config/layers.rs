//! Gathers the layers: which file, variable or flag brings which key. Judges nothing but syntax.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::errors::{Layer, Origin, Problem, hint};
use super::load::LoadRequest;
use super::node::{Entry, Node, parse_json, parse_yaml};
use super::profile::COPYOFFLOAD_KEYS;
use super::shipped;

/// Where a mounted Secret is looked for when nothing else is said.
pub const DEFAULT_SECRETS_DIR: &str = "/etc/mtv-matrix/secrets";

/// Variables of our prefix that are not settings: the Python suite's, and the program's own.
const NOT_SETTINGS: &[&str] = &["MTV_VERSION", "MTV_SOURCE", "MTV_SECRETS_DIR", "MTV_CONFIG", "MTV_LOG", "MTV_RUN_SET"];

/// The names that users have today, and the settings they mean.
const KNOWN_VARIABLES: &[(&str, &str)] = &[
    ("CLUSTER_HOST", "cluster_host"),
    ("CLUSTER_USERNAME", "cluster_username"),
    ("CLUSTER_PASSWORD", "cluster_password"),
    ("CLUSTER_TOKEN", "cluster_token"),
    ("PROVIDERS_JSON_PATH", "providers_json"),
    ("KUBECONFIG", "kubeconfig"),
];

/// Settings from one place.
pub(crate) struct SettingsLayer {
    pub origin: Origin,
    pub node: Node,
    /// The values are texts: a variable, a flag.
    pub textual: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scenario,
    Provider,
}

/// A scenario or profile, or (`path` not empty) one value inside it.
pub(crate) struct Item {
    pub kind: Kind,
    pub name: String,
    pub path: Vec<String>,
    pub node: Node,
    pub origin: Origin,
    pub textual: bool,
}

/// Everything that was found, lowest layer first.
#[derive(Default)]
pub(crate) struct Gathered {
    pub settings: Vec<SettingsLayer>,
    pub items: Vec<Item>,
    /// `copyoffload` key → (value, variable).
    pub copyoffload: BTreeMap<String, (String, String)>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
    /// Values of profiles and scenarios for people; secrets are masked.
    pub shown: BTreeMap<String, String>,
}

pub(crate) fn gather(request: &LoadRequest) -> Gathered {
    let mut out = Gathered::default();
    out.text(Layer::Default, shipped::DEFAULTS.0, shipped::DEFAULTS.1, FileKind::Settings);
    if request.scenarios_default {
        for (name, text) in shipped::SCENARIOS {
            out.text(Layer::Default, name, text, FileKind::Items(Kind::Scenario));
        }
    }
    for path in &request.config {
        out.config_path(path);
    }
    match &request.secrets_dir {
        Some(dir) => out.secrets(dir),
        None => {
            let from_env = request.env.get("MTV_SECRETS_DIR").filter(|d| !d.is_empty()).map(PathBuf::from);
            let default = Some(PathBuf::from(DEFAULT_SECRETS_DIR)).filter(|d| d.is_dir());
            if let Some(dir) = from_env.or(default) {
                out.secrets(&dir);
            }
        }
    }
    out.environment(&request.env);
    for set in &request.set {
        let origin = Origin { layer: Layer::Flag, source: format!("--set {}", key_of(set)), line: None };
        match set.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let path: Vec<&str> = key.trim().split('.').collect();
                out.value(&path, Value::String(value.to_owned()), origin, true);
            }
            _ => out.problem(origin, "--set takes key=value".into()),
        }
    }
    for (key, value, flag) in &request.flags {
        let origin = Origin { layer: Layer::Flag, source: flag.clone(), line: None };
        let path: Vec<&str> = key.split('.').collect();
        out.value(&path, value.clone(), origin, value.is_string());
    }
    out
}

fn key_of(set: &str) -> &str {
    set.split_once('=').map_or("", |(key, _)| key.trim())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Settings,
    Items(Kind),
}

impl Gathered {
    fn problem(&mut self, origin: Origin, message: String) {
        self.problems.push(Problem { origin, message });
    }

    /// A file's text. Public to the loader, which reads `providers.json` when its path is known.
    pub(crate) fn providers_text(&mut self, layer: Layer, source: &str, text: &str) -> Vec<Item> {
        let before = self.items.len();
        self.text(layer, source, text, FileKind::Items(Kind::Provider));
        self.items.split_off(before)
    }

    fn text(&mut self, layer: Layer, source: &str, text: &str, kind: FileKind) {
        let origin = Origin { layer, source: source.to_owned(), line: None };
        let json = source.ends_with(".json") || (kind != FileKind::Settings && text.trim_start().starts_with('{'));
        let parsed = if json { parse_json(text) } else { parse_yaml(text) };
        let mut node = match parsed {
            Ok(node) => node,
            Err(error) => return self.problem(origin.at(error.line), error.message),
        };
        if node.is_null() {
            return;
        }
        if !matches!(node.data, super::node::Data::Map(_)) {
            return self.problem(origin, "a map of keys was expected at the top".into());
        }
        match kind {
            FileKind::Items(kind) => self.whole_items(kind, &node, &origin),
            FileKind::Settings => {
                for (key, kind) in
                    [("tests_params", Kind::Scenario), ("scenarios", Kind::Scenario), ("providers", Kind::Provider)]
                {
                    if let Some(entry) = node.take(key) {
                        self.whole_items(kind, &entry.node, &origin);
                    }
                }
                self.settings.push(SettingsLayer { origin, node, textual: false });
            }
        }
    }

    fn whole_items(&mut self, kind: Kind, map: &Node, origin: &Origin) {
        for Entry { key, line, node } in map.entries() {
            if key == "$schema" {
                continue;
            }
            let (name, node, origin) = (key.clone(), node.clone(), origin.at(*line));
            self.items.push(Item { kind, name, path: Vec::new(), node, origin, textual: false });
        }
    }

    fn config_path(&mut self, path: &Path) {
        let shown = path.display().to_string();
        let origin = Origin { layer: Layer::File, source: shown.clone(), line: None };
        if path.is_dir() {
            match yaml_files(path) {
                Ok(files) => files.iter().for_each(|f| self.config_file(f)),
                Err(error) => self.problem(origin, format!("can't be read: {error}")),
            }
            for sub in ["scenarios", "providers"].map(|s| path.join(s)) {
                if let Ok(files) = yaml_files(&sub) {
                    files.iter().for_each(|f| self.config_file(f));
                }
            }
        } else {
            self.config_file(path);
        }
    }

    fn config_file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        let parent = path.parent().and_then(Path::file_name).and_then(|n| n.to_str()).unwrap_or_default();
        let file = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let kind = match (parent, file) {
            ("scenarios", _) => FileKind::Items(Kind::Scenario),
            ("providers", _) | (_, "providers.json" | ".providers.json") => FileKind::Items(Kind::Provider),
            _ => FileKind::Settings,
        };
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(Layer::File, &shown, &text, kind),
            Err(error) => {
                let origin = Origin { layer: Layer::File, source: shown, line: None };
                self.problem(origin, format!("can't be read: {error}"));
            }
        }
    }

    /// One file a key. What is a file by nature (kubeconfig, CA, providers.json) becomes its path.
    fn secrets(&mut self, dir: &Path) {
        let origin = |path: &Path| Origin { layer: Layer::Secret, source: path.display().to_string(), line: None };
        let files = match sorted(dir) {
            Ok(files) => files,
            Err(error) => return self.problem(origin(dir), format!("can't be read: {error}")),
        };
        for path in files {
            let Some(name) = path.file_name().and_then(|n| n.to_str()).map(str::to_lowercase) else { continue };
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) => {
                    self.problem(origin(&path), format!("can't be read: {error}"));
                    continue;
                }
            };
            let here = Value::String(path.display().to_string());
            let (key, value) = match name.as_str() {
                "providers.json" | ".providers.json" => ("providers_json", here),
                "kubeconfig" => ("kubeconfig", here),
                "cluster_ca_file" if text.contains("-----BEGIN") => ("cluster_ca_file", here),
                other => (other, Value::String(text.trim_end_matches(['\r', '\n']).to_owned())),
            };
            let keys: Vec<&str> = key.split('.').collect();
            self.value(&keys, value, origin(&path), true);
        }
    }

    fn environment(&mut self, env: &BTreeMap<String, String>) {
        // An empty variable is an unset one: Pods often carry optional keys as empty texts.
        // And a newline at the end came from the file that it was filled from.
        let set = |name: &str| env.get(name).map(|v| v.trim_end_matches(['\r', '\n'])).filter(|v| !v.is_empty());
        let origin = |name: &str| Origin { layer: Layer::Environment, source: name.to_owned(), line: None };
        for (name, key) in KNOWN_VARIABLES {
            if let Some(value) = set(name) {
                self.value(&[*key], Value::String(value.to_owned()), origin(name), true);
            }
        }
        if let Some(verify) = set("CLUSTER_VERIFY_SSL") {
            match verify.to_lowercase().as_str() {
                "true" | "1" | "yes" => {
                    self.value(&["insecure_verify_skip"], Value::Bool(false), origin("CLUSTER_VERIFY_SSL"), true);
                }
                "false" | "0" | "no" => {
                    self.value(&["insecure_verify_skip"], Value::Bool(true), origin("CLUSTER_VERIFY_SSL"), true);
                }
                _ => self.problem(origin("CLUSTER_VERIFY_SSL"), "expected true or false".into()),
            }
        }
        let trimmed = |v: &'_ String| v.trim_end_matches(['\r', '\n']).to_owned();
        for (name, value) in env.iter().map(|(name, v)| (name, trimmed(v))).filter(|(_, v)| !v.is_empty()) {
            let value = &value;
            if let Some(key) = name.strip_prefix("COPYOFFLOAD_") {
                self.copyoffload_variable(name, &key.to_lowercase(), value);
            } else if let Some(key) = name.strip_prefix("MTV_") {
                if NOT_SETTINGS.contains(&name.as_str()) || is_service_link(key) {
                    continue;
                }
                let key = key.to_lowercase();
                let path: Vec<&str> = key.split("__").collect();
                self.value(&path, Value::String(value.clone()), origin(name), true);
            }
        }
    }

    fn copyoffload_variable(&mut self, name: &str, key: &str, value: &str) {
        match COPYOFFLOAD_KEYS.iter().find(|(known, _)| *known == key) {
            Some((_, true)) => {
                self.copyoffload.insert(key.to_owned(), (value.to_owned(), name.to_owned()));
            }
            Some((_, false)) => {
                self.warnings
                    .push(format!("environment {name}: has no effect; `{key}` is read from the provider file only"));
            }
            None => {
                let upper: Vec<String> =
                    COPYOFFLOAD_KEYS.iter().filter(|(_, env)| *env).map(|(k, _)| k.to_uppercase()).collect();
                let hint = hint(&key.to_uppercase(), upper.iter().map(String::as_str), "COPYOFFLOAD_");
                let origin = Origin { layer: Layer::Environment, source: name.to_owned(), line: None };
                self.problem(origin, format!("`{key}` is not a key of copyoffload{hint}"));
            }
        }
    }

    /// One value by its path; `scenarios.NAME.…` and `providers.NAME.…` reach into those.
    fn value(&mut self, path: &[&str], value: Value, origin: Origin, textual: bool) {
        let node = Node::from_json(value);
        let kind = match path.first().copied() {
            Some("scenarios" | "tests_params") => Some(Kind::Scenario),
            Some("providers") => Some(Kind::Provider),
            _ => None,
        };
        match (kind, path) {
            (Some(kind), [_, name, rest @ ..]) => {
                let (name, path) = ((*name).to_owned(), rest.iter().map(|p| (*p).to_owned()).collect());
                self.items.push(Item { kind, name, path, node, origin, textual });
            }
            (Some(_), _) => self.problem(origin, "a name is needed, e.g. providers.NAME.KEY".into()),
            (None, _) => {
                let mut root = Node::empty_map();
                root.put(path, 0, node);
                self.settings.push(SettingsLayer { origin, node: root, textual });
            }
        }
    }
}

/// Variables that Kubernetes adds for a Service called `mtv-…`.
fn is_service_link(key: &str) -> bool {
    key.ends_with("_SERVICE_HOST") || key.contains("_SERVICE_PORT") || key.ends_with("_PORT") || key.contains("_PORT_")
}

/// Visible files of a directory by name; a mounted ConfigMap's `..data` is not one.
fn sorted(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_file() && (!name.starts_with('.') || name == ".providers.json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn yaml_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let wanted = |p: &PathBuf| p.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
    Ok(sorted(dir)?.into_iter().filter(wanted).collect())
}
