//! From a request to typed configuration: gather, name every problem, merge, type.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::errors::{ConfigErrors, Layer, Origin, Problem};
use super::layers::{Gathered, Item, Kind, SettingsLayer, gather};
use super::node::{Data, Node};
use super::profile::RawProfile;
use super::providers::Providers;
use super::scenarios::{Scenario, Scenarios};
use super::settings::Settings;
use super::{merge, schema, validate};

/// What to read.
#[derive(Clone, Default)]
pub struct LoadRequest {
    /// Files and directories, lowest first.
    pub config: Vec<PathBuf>,
    /// `None`: `MTV_SECRETS_DIR`, else the default mount if it exists.
    pub secrets_dir: Option<PathBuf>,
    pub env: BTreeMap<String, String>,
    /// `key=value`.
    pub set: Vec<String>,
    /// Key, value, name of the flag.
    pub flags: Vec<(String, Value, String)>,
    /// Text and origin of a provider file that stands in for `providers_json` (the lab's).
    pub providers_text: Option<(String, String)>,
    /// Whether the shipped scenarios are there.
    pub scenarios_default: bool,
}

/// Everything typed, with the place of each value.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    pub providers: Providers,
    pub scenarios: Scenarios,
    /// By dotted key: `timeouts.plan`, `providers.NAME.api_url`, `scenarios.NAME`.
    pub provenance: BTreeMap<String, Origin>,
    /// The values for people, by the keys of `provenance`; secrets are masked.
    pub shown: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

/// Keys of the Python suite that are read and do nothing.
const DEAD_KEYS: &[&str] =
    &["target_ocp_version", "number_of_vms", "vm_name_search_pattern", "create_scale_report", "target_namespace"];

/// The provider file of the Python suite, where no path is given.
const DEFAULT_PROVIDERS: &str = ".providers.json";

/// Loads the configuration or tells everything that is wrong with it.
pub fn load(request: &LoadRequest) -> Result<Loaded, ConfigErrors> {
    let mut gathered = gather(request);
    aliases(&mut gathered);
    let settings_schema = schema::settings();
    for layer in &mut gathered.settings {
        schema::coerce(&settings_schema, &mut layer.node, layer.textual);
        for unknown in schema::unknown_keys(&settings_schema, &layer.node, "setting") {
            let origin = layer.origin.at(unknown.line);
            gathered.problems.push(Problem { origin, message: unknown.message });
        }
    }
    wrong_types(&mut gathered);
    if !gathered.problems.is_empty() {
        // Profiles and scenarios still get their say below: all problems at once.
        let mut problems = std::mem::take(&mut gathered.problems);
        let items = std::mem::take(&mut gathered.items);
        let mut provenance = BTreeMap::new();
        let _ = profiles(&mut gathered, &items, &mut provenance);
        let _ = scenarios(&mut gathered, &items, &mut provenance);
        problems.append(&mut gathered.problems);
        return Err(ConfigErrors(problems));
    }
    let whole = Origin { layer: Layer::Default, source: "settings".into(), line: None };
    let failed = |message: String| ConfigErrors(vec![Problem { origin: whole.clone(), message }]);
    let (merged, mut provenance) = merge::merge(&gathered.settings).map_err(failed)?;
    let mut shown = BTreeMap::new();
    let whole_settings = Node::from_json(merged.clone());
    for path in whole_settings.leaves() {
        let key = path.join(".");
        let value = whole_settings.at(&path).map(|n| show_value(&key, n)).unwrap_or_default();
        shown.insert(key, value);
    }
    let settings: Settings = typed(&merged).map_err(|(path, message)| failed(format!("`{path}`: {message}")))?;
    for (key, wrong) in settings_complaints(&settings) {
        let origin = provenance.get(key).cloned().unwrap_or_else(|| whole.clone());
        gathered.problems.push(Problem { origin, message: format!("`{key}` {wrong}") });
    }

    if let Some(wrong) = whole_settings
        .get("cluster_host")
        .and_then(|node| login_in_url(node, "`cluster_username` and `cluster_password`"))
    {
        let origin = provenance.get("cluster_host").cloned().unwrap_or_else(|| whole.clone());
        gathered.problems.push(Problem { origin, message: format!("`cluster_host`: {wrong}") });
    }

    let mut items = provider_file(request, &settings, &provenance, &mut gathered);
    items.append(&mut gathered.items);
    let providers = profiles(&mut gathered, &items, &mut provenance);
    let scenarios = scenarios(&mut gathered, &items, &mut provenance);
    if gathered.problems.is_empty() {
        shown.append(&mut gathered.shown);
        Ok(Loaded { settings, providers, scenarios, provenance, shown, warnings: gathered.warnings })
    } else {
        Err(ConfigErrors(gathered.problems))
    }
}

/// Keys with another name here, and keys without effect.
fn aliases(gathered: &mut Gathered) {
    let (mut kind, mut version): (Option<String>, Option<String>) = (None, None);
    let mut last = None;
    for layer in &mut gathered.settings {
        for key in DEAD_KEYS {
            if let Some(entry) = layer.node.take(key) {
                gathered.warnings.push(format!("{}: `{key}` has no effect", layer.origin.at(entry.line)));
            }
        }
        if let Some(entry) = layer.node.take("plan_wait_timeout") {
            layer.node.put(&["timeouts", "migrate"], entry.line, entry.node);
        }
        let mut line = None;
        for (key, slot) in [("source_provider_type", &mut kind), ("source_provider_version", &mut version)] {
            if let Some(entry) = layer.node.take(key) {
                let text = match entry.node.to_json() {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                *slot = Some(text);
                line = Some(entry.line);
                last = Some(layer.origin.at(entry.line));
            }
        }
        if let (Some(line), Some(kind), Some(version)) = (line, &kind, &version) {
            let name = Node { line, data: Data::Scalar(format!("{kind}-{version}").into()) };
            layer.node.put(&["source_provider"], line, name);
        }
    }
    if let (Some(origin), true) = (last, kind.is_some() != version.is_some()) {
        let message = "`source_provider_type` and `source_provider_version` only mean something together; write `source_provider`";
        gathered.problems.push(Problem { origin, message: message.into() });
    }
}

/// Tries every value of every layer alone on top of the defaults, so that each wrong one is told.
fn wrong_types(gathered: &mut Gathered) {
    let Some((defaults, layers)) = gathered.settings.split_first() else { return };
    if let Err((path, message)) = typed::<Settings>(&defaults.node.to_json()) {
        let message = format!("`{path}`: {message}");
        gathered.problems.push(Problem { origin: defaults.origin.clone(), message });
        return;
    }
    for SettingsLayer { origin, node, .. } in layers {
        for path in node.leaves() {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            let Some(value) = parts.iter().try_fold(node, |n, key| n.get(key)) else { continue };
            // An unknown key has its own message already.
            let known = parts.iter().try_fold(&defaults.node, |n, key| n.get(key)).is_some();
            let mut trial = defaults.node.clone();
            trial.put(&parts, 0, value.clone());
            if let (true, Err((_, message))) = (known, typed::<Settings>(&trial.to_json())) {
                let key = path.join(".");
                let message = if is_secret(&key) { "expected a text; put it in quotes".to_owned() } else { message };
                let origin = origin.at(node.line_of(&parts));
                gathered.problems.push(Problem { origin, message: format!("`{key}`: {message}") });
            }
        }
    }
}

fn settings_complaints(s: &Settings) -> Vec<(&'static str, &'static str)> {
    let mut out = Vec::new();
    let mut at_least_one = |key, fine: bool| {
        if !fine {
            out.push((key, "must be at least 1"));
        }
    };
    at_least_one("jobs", s.jobs > 0);
    at_least_one("max_concurrent", s.max_concurrent > 0);
    at_least_one("snapshots_interval", s.snapshots_interval > 0);
    at_least_one("cutover_after_precopies", s.cutover_after_precopies != Some(0));
    if s.mtv_namespace.trim().is_empty() {
        out.push(("mtv_namespace", "must not be empty"));
    }
    out
}

/// The profiles of the provider file; they stand below those of `--config` files.
fn provider_file(
    request: &LoadRequest,
    settings: &Settings,
    provenance: &BTreeMap<String, Origin>,
    gathered: &mut Gathered,
) -> Vec<Item> {
    if let Some((text, origin)) = &request.providers_text {
        return gathered.providers_text(Layer::File, origin, text);
    }
    let path = match &settings.providers_json {
        Some(path) => path.clone(),
        None if Path::new(DEFAULT_PROVIDERS).is_file() => PathBuf::from(DEFAULT_PROVIDERS),
        None => return Vec::new(),
    };
    let origin = provenance.get("providers_json");
    let layer = if origin.is_some_and(|o| o.layer == Layer::Secret) { Layer::Secret } else { Layer::File };
    match std::fs::read_to_string(&path) {
        Ok(text) => gathered.providers_text(layer, &path.display().to_string(), &text),
        Err(error) => {
            let origin = origin.cloned().unwrap_or(Origin { layer, source: DEFAULT_PROVIDERS.into(), line: None });
            let message = format!("provider file {} can't be read: {error}", path.display());
            gathered.problems.push(Problem { origin, message });
            Vec::new()
        }
    }
}

/// One scenario or profile, its overrides applied, each value with its place.
struct Assembled {
    node: Node,
    origin: Origin,
    overrides: Vec<(Vec<String>, Origin)>,
}

impl Assembled {
    fn origin_of(&self, path: &[String]) -> Origin {
        if let Some((_, origin)) = self.overrides.iter().rev().find(|(p, _)| path.starts_with(p)) {
            return origin.clone();
        }
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let line = if parts.is_empty() { 0 } else { self.node.line_of(&parts) };
        if line > 0 { self.origin.at(line) } else { self.origin.clone() }
    }
}

/// Later items of one name replace earlier ones; paths reach into what is there.
fn assemble(
    gathered: &mut Gathered,
    items: &[Item],
    kind: Kind,
    schema: &Value,
    noun: &str,
) -> BTreeMap<String, Assembled> {
    let mut all: BTreeMap<String, Assembled> = BTreeMap::new();
    for item in items.iter().filter(|i| i.kind == kind) {
        if item.path.is_empty() {
            let mut node = item.node.clone();
            schema::coerce(schema, &mut node, item.textual);
            all.insert(item.name.clone(), Assembled { node, origin: item.origin.clone(), overrides: Vec::new() });
            continue;
        }
        let names: Vec<String> = all.keys().cloned().collect();
        let Some(found) = all.get_mut(&item.name) else {
            let hint = super::errors::hint(&item.name, names.iter().map(String::as_str), "");
            let message = format!("there is no {noun} `{}`{hint}", item.name);
            gathered.problems.push(Problem { origin: item.origin.clone(), message });
            continue;
        };
        let path: Vec<&str> = item.path.iter().map(String::as_str).collect();
        found.node.put(&path, 0, item.node.clone());
        schema::coerce(schema, &mut found.node, item.textual);
        found.overrides.push((item.path.clone(), item.origin.clone()));
    }
    for (name, found) in &mut all {
        for unknown in schema::unknown_keys(schema, &found.node, &format!("{noun} key")) {
            let origin = found.origin_of(&unknown.path);
            gathered.problems.push(Problem { origin, message: format!("{noun} `{name}`: {}", unknown.message) });
            // It has been told; what is left is judged for its types.
            found.node.remove(&unknown.path);
        }
    }
    all
}

fn scenarios(gathered: &mut Gathered, items: &[Item], provenance: &mut BTreeMap<String, Origin>) -> Scenarios {
    let all = assemble(gathered, items, Kind::Scenario, &schema::scenario(), "scenario");
    let mut out = Scenarios::new();
    for (name, found) in all {
        let key = format!("scenarios.{name}");
        let description = found.node.get("description").map(|d| show_value("", d)).unwrap_or_default();
        gathered.shown.insert(key.clone(), description);
        provenance.insert(key, found.origin.clone());
        for (path, origin) in &found.overrides {
            let key = format!("scenarios.{name}.{}", path.join("."));
            let value = found.node.at(path).map(|n| show_value("", n)).unwrap_or_default();
            gathered.shown.insert(key.clone(), value);
            provenance.insert(key, origin.clone());
        }
        match typed::<Scenario>(&found.node.to_json()) {
            Ok(mut scenario) => {
                for (path, message) in validate::scenario(&name, &scenario) {
                    let origin = found.origin_of(&path);
                    gathered.problems.push(Problem { origin, message: format!("scenario `{name}`: {message}") });
                }
                scenario.name.clone_from(&name);
                out.insert(name, scenario);
            }
            Err((path, message)) => {
                let parts = split_path(&path);
                let at = if parts.is_empty() { String::new() } else { format!("`{path}`: ") };
                let origin = found.origin_of(&parts);
                gathered.problems.push(Problem { origin, message: format!("scenario `{name}`: {at}{message}") });
            }
        }
    }
    out
}

fn profiles(gathered: &mut Gathered, items: &[Item], provenance: &mut BTreeMap<String, Origin>) -> Providers {
    let mut all = assemble(gathered, items, Kind::Provider, &schema::profile(), "profile");
    let mut out = Providers::new();
    for (name, found) in &mut all {
        copyoffload_variables(gathered, name, found);
        for path in found.node.leaves() {
            let key = format!("providers.{name}.{}", path.join("."));
            let value = found.node.at(&path).map(|n| show_value(&key, n)).unwrap_or_default();
            gathered.shown.insert(key.clone(), value);
            provenance.insert(key, found.origin_of(&path));
        }
        if let Some(Node { data: Data::Scalar(Value::Number(n)), .. }) = found.node.get("version") {
            let version = Value::String(n.to_string());
            let line = found.node.line_of(&["version"]);
            found.node.put(&["version"], line, Node { line, data: Data::Scalar(version) });
        }
        let wrong = found.node.get("api_url").and_then(|node| login_in_url(node, "`username` and `password`"));
        if let Some(wrong) = wrong {
            let origin = found.origin_of(&["api_url".to_owned()]);
            gathered.problems.push(Problem { origin, message: format!("profile `{name}`: `api_url`: {wrong}") });
        }
        let json = found.node.to_json();
        match typed::<RawProfile>(&json) {
            Ok(raw) => {
                let mut warnings = Vec::new();
                let profile = raw.into_profile(name, &mut warnings);
                for (key, message) in warnings {
                    gathered
                        .warnings
                        .push(format!("{}: profile `{name}`: {message}", found.origin_of(&split_path(&key))));
                }
                match profile {
                    Ok(profile) => {
                        out.insert(name.clone(), profile);
                    }
                    Err(complaints) => {
                        for (key, message) in complaints {
                            let origin = found.origin_of(&split_path(&key));
                            let message = format!("profile `{name}`: {message}");
                            gathered.problems.push(Problem { origin, message });
                        }
                    }
                }
            }
            Err((path, message)) => {
                let parts = split_path(&path);
                let message = if is_secret(&path) { "expected a text; put it in quotes".to_owned() } else { message };
                let at = if parts.is_empty() { String::new() } else { format!("`{path}`: ") };
                let message = format!("profile `{name}`: {at}{message}");
                gathered.problems.push(Problem { origin: found.origin_of(&parts), message });
            }
        }
    }
    out
}

/// `COPYOFFLOAD_…` beats the file in every profile that has the section.
fn copyoffload_variables(gathered: &mut Gathered, name: &str, found: &mut Assembled) {
    if found.node.get("copyoffload").is_none_or(|c| c.entries().is_empty()) {
        return;
    }
    for (key, (value, variable)) in &gathered.copyoffload {
        let origin = Origin { layer: Layer::Environment, source: variable.clone(), line: None };
        if key != "storage_secret_extra" {
            found.node.put(&["copyoffload", key], 0, Node::scalar(value.clone().into()));
            found.overrides.push((vec!["copyoffload".into(), key.clone()], origin));
            continue;
        }
        match serde_json::from_str::<Value>(value) {
            Ok(Value::Object(extra)) => {
                for (extra_key, extra_value) in extra {
                    found.node.put(&["copyoffload", key, &extra_key], 0, Node::from_json(extra_value));
                    found.overrides.push((vec!["copyoffload".into(), key.clone(), extra_key], origin.clone()));
                }
            }
            _ => {
                let message = format!("profile `{name}`: expected a JSON object of texts");
                gathered.problems.push(Problem { origin, message });
            }
        }
    }
}

/// A value for people: secrets masked, one line.
fn show_value(key: &str, node: &Node) -> String {
    match node.to_json() {
        Value::Null => "null".to_owned(),
        _ if is_secret(key) => "********".to_owned(),
        Value::String(text) if text.contains('\n') => {
            format!("{} ...", text.lines().next().unwrap_or_default())
        }
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        // The user info of a URL is a secret.
        Value::String(text) => crate::api::text::without_user_info(&text).into_owned(),
        other => other.to_string(),
    }
}

/// What is wrong with a URL that carries a login: it would be told wherever the URL is.
fn login_in_url(node: &Node, instead: &str) -> Option<String> {
    let Value::String(text) = node.to_json() else { return None };
    let bare = crate::api::text::without_user_info(&text);
    (bare.len() != text.len()).then(|| format!("the URL holds a login; write {bare} and give {instead}"))
}

/// Whether a key's value must never be shown.
pub fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_lowercase();
    let words = ["password", "token", "passphrase", "secret", "access_key"];
    words.iter().any(|w| last.contains(w)) || key.contains("storage_secret_extra")
}

/// serde's answer with the path it was about.
fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        (if path == "." { String::new() } else { path }, plain(&error.inner().to_string()))
    })
}

/// serde's words in ours.
fn plain(message: &str) -> String {
    let stripped = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((got, expected)) = stripped.and_then(|m| m.split_once(", expected ")) else { return message.to_owned() };
    let expected = match expected {
        "u32" | "usize" | "u64" => "a whole number",
        "a boolean" => "true or false",
        other => other,
    };
    format!("expected {expected}, got {got}")
}

/// `virtual_machines[0].name` as its parts.
fn split_path(path: &str) -> Vec<String> {
    path.split(['.', '[']).map(|p| p.trim_end_matches(']').to_owned()).filter(|p| !p.is_empty()).collect()
}
