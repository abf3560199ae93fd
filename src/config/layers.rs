//! Gathers the layers: which file, variable or flag brings which key. Judges nothing but syntax.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::errors::{Layer, Origin, Problem, hint};
use super::node::{Entry, Node, parse_json, parse_yaml, without_bom};
use super::platforms::{COPYOFFLOAD_VARIABLES, copyoffload_keys};
use super::request::LoadRequest;
use super::shipped;

/// Where a mounted Secret is looked for when nothing else is said.
pub const DEFAULT_SECRETS_DIR: &str = "/etc/mtv-matrix/secrets";

/// Variables of our prefix that are not settings: the Python suite's, and the program's own.
const NOT_SETTINGS: &[&str] =
    &["MTV_VERSION", "MTV_SOURCE", "MTV_SECRETS_DIR", "MTV_CONFIG", "MTV_LOG", "MTV_RUN_SET", "MTV_FORKLIFT_DIR"];

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

/// A scenario or profile, or one value inside it.
pub(crate) struct Item {
    pub kind: Kind,
    pub target: Target,
    pub node: Node,
    pub origin: Origin,
    pub textual: bool,
}

/// What an item is about.
pub(crate) enum Target {
    Whole(String),
    /// The parts of a path. How many of them are the name is known once all names are.
    Inside(Vec<String>, Spelling),
}

/// How a path spells the name in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As it is, its dots too: `vsphere-8.0.password`.
    Dotted,
    /// As a variable can: `VSPHERE_8_0__PASSWORD`.
    Variable,
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
    let mut out = Gathered::shipped(request);
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
    out.environment(request);
    for set in &request.set {
        let origin = Origin { layer: Layer::Flag, source: format!("--set {}", key_of(set)), line: None };
        match set.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let path: Vec<&str> = key.trim().split('.').collect();
                out.value(&path, Spelling::Dotted, Value::String(value.to_owned()), origin, true);
            }
            _ => out.problem(origin, "--set takes key=value".into()),
        }
    }
    for (key, value, flag) in &request.flags {
        let origin = Origin { layer: Layer::Flag, source: flag.clone(), line: None };
        let path: Vec<&str> = key.split('.').collect();
        out.value(&path, Spelling::Dotted, value.clone(), origin, value.is_string());
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
    /// What is in the binary.
    pub(crate) fn shipped(request: &LoadRequest) -> Self {
        let mut out = Self::default();
        out.text(Layer::Default, shipped::DEFAULTS.0, shipped::DEFAULTS.1, FileKind::Settings);
        if request.scenarios_default {
            for (name, text) in shipped::SCENARIOS {
                out.text(Layer::Default, name, text, FileKind::Items(Kind::Scenario));
            }
        }
        out
    }

    /// A file of scenarios, or one of settings with scenarios in it.
    pub(crate) fn scenario_text(&mut self, source: &str, text: &str) {
        let inside = |line: &str| ["scenarios:", "tests_params:"].iter().any(|key| line.starts_with(key));
        let kind = if text.lines().any(inside) { FileKind::Settings } else { FileKind::Items(Kind::Scenario) };
        self.text(Layer::File, source, text, kind);
    }

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
        let json = source.ends_with(".json")
            || (kind != FileKind::Settings && without_bom(text).trim_start().starts_with('{'));
        let parsed = if json { parse_json(text) } else { parse_yaml(text) };
        let mut node = match parsed {
            Ok(node) => node,
            Err(errors) => return errors.into_iter().for_each(|e| self.problem(origin.at(e.line), e.message)),
        };
        node.trim("");
        if node.is_null() {
            return;
        }
        if !matches!(node.data, super::node::Data::Map(_)) {
            return self.problem(origin, "a map of keys was expected at the top".into());
        }
        match kind {
            FileKind::Items(kind) => self.whole_items(kind, &node, &origin),
            // Named by `-c` as it stands, without `scenarios:` above it.
            FileKind::Settings if is_of_scenarios(&node) => self.whole_items(Kind::Scenario, &node, &origin),
            FileKind::Settings => {
                for (key, kind) in
                    [("tests_params", Kind::Scenario), ("scenarios", Kind::Scenario), ("providers", Kind::Provider)]
                {
                    if let Some(entry) = node.take(key) {
                        self.whole_items(kind, &entry.node, &origin);
                    }
                }
                node.take("$schema");
                self.settings.push(SettingsLayer { origin, node, textual: false });
            }
        }
    }

    fn whole_items(&mut self, kind: Kind, map: &Node, origin: &Origin) {
        for Entry { key, line, node } in map.entries() {
            if key == "$schema" {
                continue;
            }
            let (target, node, origin) = (Target::Whole(key.clone()), node.clone(), origin.at(*line));
            self.items.push(Item { kind, target, node, origin, textual: false });
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
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            // The keys of a Secret are written in both cases; the name of a profile is what it is.
            let name = match name.split_once('.') {
                Some((head, rest)) if section(&head.to_lowercase()).is_some() => {
                    format!("{}.{rest}", head.to_lowercase())
                }
                _ => name.to_lowercase(),
            };
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
                other => (other, Value::String(text)),
            };
            let keys: Vec<&str> = key.split('.').collect();
            self.value(&keys, Spelling::Dotted, value, origin(&path), true);
        }
    }

    fn environment(&mut self, request: &LoadRequest) {
        let env = &request.env;
        // An empty variable is an unset one: Pods often carry optional keys as empty texts.
        // And a newline at the end came from the file that it was filled from.
        let set = |name: &str| env.get(name).map(|v| v.trim_end_matches(['\r', '\n'])).filter(|v| !v.is_empty());
        let origin = |name: &str| Origin { layer: Layer::Environment, source: name.to_owned(), line: None };
        for name in &request.env_not_text {
            let known = KNOWN_VARIABLES.iter().any(|(known, _)| known == name);
            if known || name.starts_with("MTV_") || name.starts_with("COPYOFFLOAD_") {
                self.problem(origin(name), "its value is not UTF-8 text".into());
            }
        }
        for (name, key) in KNOWN_VARIABLES {
            if let Some(value) = set(name) {
                self.value(&[*key], Spelling::Variable, Value::String(value.to_owned()), origin(name), true);
            }
        }
        if let Some(verify) = set("CLUSTER_VERIFY_SSL") {
            let skip = match verify.trim().to_lowercase().as_str() {
                "true" | "1" | "yes" => Some(false),
                "false" | "0" | "no" => Some(true),
                _ => None,
            };
            let origin = origin("CLUSTER_VERIFY_SSL");
            match skip {
                Some(skip) => {
                    self.value(&["insecure_verify_skip"], Spelling::Variable, Value::Bool(skip), origin, true);
                }
                None => self.problem(origin, "expected true or false".into()),
            }
        }
        let trimmed = |v: &'_ String| v.trim_end_matches(['\r', '\n']).to_owned();
        for (name, value) in env.iter().map(|(name, v)| (name, trimmed(v))).filter(|(_, v)| !v.is_empty()) {
            let value = &value;
            if let Some(key) = name.strip_prefix("COPYOFFLOAD_") {
                self.copyoffload_variable(name, &key.to_lowercase(), value.trim());
            } else if let Some(key) = name.strip_prefix("MTV_") {
                if NOT_SETTINGS.contains(&name.as_str()) || is_service_link(name, env) {
                    continue;
                }
                let key = key.to_lowercase();
                let path: Vec<&str> = key.split("__").collect();
                self.value(&path, Spelling::Variable, Value::String(value.clone()), origin(name), true);
            }
        }
    }

    fn copyoffload_variable(&mut self, name: &str, key: &str, value: &str) {
        if COPYOFFLOAD_VARIABLES.contains(&key) {
            self.copyoffload.insert(key.to_owned(), (value.to_owned(), name.to_owned()));
        } else if copyoffload_keys().iter().any(|known| known == key) {
            self.warnings
                .push(format!("environment {name}: has no effect; `{key}` is read from the provider file only"));
        } else {
            let upper: Vec<String> = COPYOFFLOAD_VARIABLES.iter().map(|k| k.to_uppercase()).collect();
            let hint = hint(&key.to_uppercase(), upper.iter().map(String::as_str), "COPYOFFLOAD_");
            let origin = Origin { layer: Layer::Environment, source: name.to_owned(), line: None };
            self.problem(origin, format!("`{key}` is not a key of copyoffload{hint}"));
        }
    }

    /// One value by its path; `scenarios.NAME.…` and `providers.NAME.…` reach into those.
    fn value(&mut self, path: &[&str], spelling: Spelling, value: Value, origin: Origin, textual: bool) {
        let mut node = Node::from_json(value);
        node.trim(path.last().copied().unwrap_or_default());
        match (path.first().copied().and_then(section), path) {
            (Some(kind), [_, rest @ ..]) if !rest.is_empty() && !rest.iter().any(|p| p.is_empty()) => {
                let target = Target::Inside(rest.iter().map(|p| (*p).to_owned()).collect(), spelling);
                self.items.push(Item { kind, target, node, origin, textual });
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

/// Whether each thing in it has VMs, as no setting has.
fn is_of_scenarios(node: &Node) -> bool {
    let mut things = node.entries().iter().filter(|entry| entry.key != "$schema").peekable();
    things.peek().is_some() && things.all(|entry| entry.node.get("virtual_machines").is_some())
}

/// The kind of thing that stands by name under a key at the top.
fn section(key: &str) -> Option<Kind> {
    match key {
        "scenarios" | "tests_params" => Some(Kind::Scenario),
        "providers" => Some(Kind::Provider),
        _ => None,
    }
}

/// Variables that Kubernetes adds for a Service called `mtv-…`. It always adds `…_SERVICE_HOST`: what only
/// looks like one of the others (`MTV_PROVIDERS__HYPERV__WINRM_PORT`) is a setting.
fn is_service_link(name: &str, env: &BTreeMap<String, String>) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|tail| {
        name.match_indices(tail).any(|(at, _)| {
            let (service, rest) = (&name[..at], &name[at + tail.len()..]);
            (rest.is_empty() || rest.starts_with('_')) && env.contains_key(&format!("{service}_SERVICE_HOST"))
        })
    })
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
