//! From a request to typed configuration: gather, name every problem, merge, type.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::Value;

use super::assemble::{assemble, copyoffload_variables};
use super::errors::{ConfigErrors, Layer, Origin, Problem};
use super::known::{ALIASES, DEAD_KEYS};
use super::layers::{Gathered, Item, Kind, SettingsLayer, Target, gather};
use super::node::{Data, Node};
use super::platforms::Providers;
use super::request::LoadRequest;
use super::scenarios::steps;
use super::scenarios::{Scenario, Scenarios};
use super::secret::{is_secret, login_of, secrets_in};
use super::settings::Settings;
use super::show::show_value;
use super::typed::{split_path, typed, typed_all};
use super::{known, merge, platforms, schema, suite, validate};

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
    /// Every secret among them: what is handed on is searched for these.
    pub secrets: Vec<SecretString>,
    pub warnings: Vec<String>,
}

/// The provider file of the Python suite, where no path is given.
const DEFAULT_PROVIDERS: &str = ".providers.json";

/// Loads the configuration or tells everything that is wrong with it.
pub fn load(request: &LoadRequest) -> Result<Loaded, ConfigErrors> {
    let mut gathered = gather(request);
    aliases(&mut gathered);
    // What is wrong is told and taken out, so that the rest is judged, too: all problems at once.
    wrong_settings(&mut gathered);
    let whole = Origin { layer: Layer::Default, source: "settings".into(), line: None };
    let failed = |gathered: &mut Gathered, message: String| {
        gathered.problems.push(Problem { origin: whole.clone(), message });
        ConfigErrors(std::mem::take(&mut gathered.problems))
    };
    let (merged, mut provenance) =
        merge::merge(&gathered.settings).map_err(|message| failed(&mut gathered, message))?;
    let mut shown = BTreeMap::new();
    let whole_settings = Node::from_json(merged.clone());
    for path in whole_settings.leaves() {
        let key = path.join(".");
        let value = whole_settings.at(&path).map(|n| show_value(&key, n)).unwrap_or_default();
        shown.insert(key, value);
    }
    let mut settings: Settings =
        typed(&merged).map_err(|(path, message)| failed(&mut gathered, format!("`{path}`: {message}")))?;
    for (key, wrong) in endpoints(&mut settings) {
        let origin = provenance.get(key).cloned().unwrap_or_else(|| whole.clone());
        match wrong {
            Said::Wrong(text) => gathered.problems.push(Problem { origin, message: format!("`{key}` {text}") }),
            Said::Taken(text) => gathered.warnings.push(format!("{origin}: `{key}` {text}")),
        }
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
    let mut secrets = Vec::new();
    secrets_in("", &merged, &mut secrets);
    for item in &items {
        let key = match &item.target {
            Target::Whole(_) => "",
            Target::Inside(path, _) => path.last().map_or("", String::as_str),
        };
        secrets_in(key, &item.node.to_json(), &mut secrets);
    }
    let providers = profiles(&mut gathered, &items, &mut provenance);
    let scenarios = scenarios(&mut gathered, &items, &mut provenance);
    if gathered.problems.is_empty() {
        shown.append(&mut gathered.shown);
        Ok(Loaded { settings, providers, scenarios, provenance, shown, secrets, warnings: gathered.warnings })
    } else {
        Err(ConfigErrors(gathered.problems))
    }
}

/// Scenario files without anything else.
#[derive(Debug, Default)]
pub struct ScenarioFiles {
    pub scenarios: Scenarios,
    /// Where each begins.
    pub places: BTreeMap<String, Origin>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// Reads scenario files alone: what stands in `scenarios/` of a `--config` directory, or a `--config` file with
/// `scenarios:` in it.
pub fn scenario_files(files: &[PathBuf]) -> ScenarioFiles {
    let mut texts = Vec::new();
    let mut unread = Vec::new();
    for path in files {
        let source = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((source, text)),
            Err(error) => {
                let origin = Origin { layer: Layer::File, source, line: None };
                unread.push(Problem { origin, message: format!("can't be read: {error}") });
            }
        }
    }
    let mut read = scenario_texts(&texts);
    read.problems.splice(0..0, unread);
    read
}

/// Likewise, from names and texts.
pub fn scenario_texts(texts: &[(String, String)]) -> ScenarioFiles {
    let mut gathered = Gathered::default();
    for (source, text) in texts {
        gathered.scenario_text(source, text);
    }
    let items = std::mem::take(&mut gathered.items);
    let mut provenance = BTreeMap::new();
    let scenarios = scenarios(&mut gathered, &items, &mut provenance);
    let place = |name: &String| Some((name.clone(), provenance.get(&format!("scenarios.{name}"))?.clone()));
    let places = scenarios.keys().filter_map(place).collect();
    ScenarioFiles { places, scenarios, problems: gathered.problems, warnings: gathered.warnings }
}

/// The shipped scenarios alone.
pub fn shipped_scenarios() -> Result<Scenarios, ConfigErrors> {
    // No directory: nothing of this machine is read.
    let request = LoadRequest { scenarios_default: true, ..LoadRequest::default() };
    let mut gathered = Gathered::shipped(&request);
    let items = std::mem::take(&mut gathered.items);
    let scenarios = scenarios(&mut gathered, &items, &mut BTreeMap::new());
    if gathered.problems.is_empty() { Ok(scenarios) } else { Err(ConfigErrors(gathered.problems)) }
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

/// Unknown keys, numbers out of bounds, wrong types: told, and taken out of their layer. Every value is tried
/// alone on top of the defaults, so that each wrong one is told.
fn wrong_settings(gathered: &mut Gathered) {
    let schema = known::settings();
    let also: Vec<&str> = ALIASES.iter().chain(DEAD_KEYS).copied().collect();
    let mut defaults: Option<Node> = None;
    for SettingsLayer { origin, node, textual } in &mut gathered.settings {
        schema::coerce(&schema, node, *textual);
        let mut wrong: Vec<(Vec<String>, String)> = schema::unknown_keys(&schema, node, "setting", &also)
            .into_iter()
            .map(|unknown| (unknown.path, unknown.message))
            .collect();
        wrong.extend(schema::out_of_bounds(&schema, node));
        let told = |path: &[String], wrong: &[(Vec<String>, String)]| wrong.iter().any(|(p, _)| path.starts_with(p));
        if let Some(defaults) = &defaults {
            for path in node.leaves() {
                let parts: Vec<&str> = path.iter().map(String::as_str).collect();
                let Some(value) = node.at(&path) else { continue };
                if matches!(&value.data, Data::Map(entries) if entries.is_empty()) {
                    // `timeouts: {}` says nothing.
                    continue;
                }
                let mut trial = defaults.clone();
                trial.put(&parts, 0, value.clone());
                if told(&path, &wrong) {
                    continue;
                }
                if let Err((_, message)) = typed::<Settings>(&trial.to_json()) {
                    let key = path.join(".");
                    let message =
                        if is_secret(&key) { "expected a text; put it in quotes".to_owned() } else { message };
                    wrong.push((path, format!("`{key}`: {message}")));
                }
            }
        }
        for (path, message) in wrong {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            let origin = origin.at(node.line_of(&parts));
            node.remove(&path);
            gathered.problems.push(Problem { origin, message });
        }
        defaults.get_or_insert_with(|| node.clone());
    }
}

/// What there is to say about a setting as a whole.
enum Said {
    Wrong(String),
    Taken(String),
}

/// Judges what is more than its type, and completes what is plainly meant.
fn endpoints(s: &mut Settings) -> Vec<(&'static str, Said)> {
    let mut out = Vec::new();
    if s.mtv_namespace.is_empty() {
        out.push(("mtv_namespace", Said::Wrong("must not be empty".to_owned())));
    }
    if let Some(host) = &mut s.cluster_host {
        if login_of(host).is_some() {
            let text = "holds a login; write it as `cluster_username` and `cluster_password`";
            out.push(("cluster_host", Said::Wrong(text.to_owned())));
        } else if host.starts_with("http://") {
            let text = "is http://, without TLS: the login is sent in the clear";
            out.push(("cluster_host", Said::Taken(text.to_owned())));
        } else if !host.contains("://") && !host.is_empty() {
            *host = format!("https://{host}");
            out.push(("cluster_host", Said::Taken(format!("is taken as {host}"))));
        }
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

fn scenarios(gathered: &mut Gathered, items: &[Item], provenance: &mut BTreeMap<String, Origin>) -> Scenarios {
    let schema = known::scenario();
    let all = assemble(gathered, items, Kind::Scenario, "scenario", |_| Some(Cow::Borrowed(&schema)));
    let mut out = Scenarios::new();
    for (name, mut found) in all {
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
        let asks = suite::scenario(&mut found.node);
        steps::normalise(&mut found.node);
        for (path, message) in asks.idle {
            gathered.warnings.push(format!("{}: scenario `{name}`: {message}", found.origin_of(&path)));
        }
        // An unknown key is the matter of those who select the scenario.
        let mut refused = Vec::new();
        let unknown = schema::unknown_keys(&schema, &found.node, "scenario key", &[]);
        let placed: Vec<_> = unknown.into_iter().map(|unknown| (found.origin_of(&unknown.path), unknown)).collect();
        for (origin, unknown) in placed {
            let message = steps::unknown(&unknown.path).unwrap_or(unknown.message);
            refused.push(format!("{origin}: scenario `{name}`: {message}"));
            // It has been told; what is left is judged for its types. A story with a step that nobody knows is none.
            let whole_story = unknown.path.first().is_some_and(|key| key == "steps");
            found.node.remove(if whole_story { &unknown.path[..1] } else { &unknown.path });
        }
        let mut judged = found.node.clone();
        let mut wrong = schema::out_of_bounds(&schema, &judged);
        for (path, _) in &wrong {
            judged.remove(path);
        }
        let (scenario, wrong_types) = typed_all::<Scenario>(&judged);
        let types_are_right = wrong_types.is_empty() && wrong.is_empty();
        wrong.extend(wrong_types.into_iter().map(|(path, message)| (split_path(&path), message)));
        if types_are_right {
            wrong.extend(scenario.as_ref().map(|s| validate::scenario(&name, s)).unwrap_or_default());
        }
        for (path, message) in wrong {
            let origin = found.origin_of(&path);
            gathered.problems.push(Problem { origin, message: format!("scenario `{name}`: {message}") });
        }
        if let (Some(mut scenario), true) = (scenario, types_are_right) {
            scenario.name.clone_from(&name);
            scenario.refused = refused;
            scenario.not_built = asks.not_built;
            scenario.pvc_name_templates = asks.pvc_name_templates;
            out.insert(name, scenario);
        }
    }
    out
}

fn profiles(gathered: &mut Gathered, items: &[Item], provenance: &mut BTreeMap<String, Origin>) -> Providers {
    let mut all =
        assemble(gathered, items, Kind::Provider, "profile", |node| platforms::schema_of(node).map(Cow::Owned));
    let mut out = Providers::new();
    for (name, found) in &mut all {
        copyoffload_variables(gathered, name, found);
        for path in found.node.leaves() {
            let key = format!("providers.{name}.{}", path.join("."));
            let value = found.node.at(&path).map(|n| show_value(&key, n)).unwrap_or_default();
            gathered.shown.insert(key.clone(), value);
            provenance.insert(key, found.origin_of(&path));
        }
        let (mut told, mut warned) = (Vec::new(), Vec::new());
        // Keys without effect are taken out of the copy, so that the places stay.
        if let Some(profile) = platforms::profile(name, &mut found.node.clone(), &mut told, &mut warned) {
            out.insert(name.clone(), profile);
        }
        let wrong = found.node.get("api_url").and_then(|node| login_in_url(node, "`username` and `password`"));
        if let Some(wrong) = wrong {
            let origin = found.origin_of(&["api_url".to_owned()]);
            gathered.problems.push(Problem { origin, message: format!("profile `{name}`: `api_url`: {wrong}") });
        }
        for (path, message) in warned {
            gathered.warnings.push(format!("{}: profile `{name}`: {message}", found.origin_of(&path)));
        }
        for (path, message) in told {
            let origin = found.origin_of(&path);
            gathered.problems.push(Problem { origin, message: format!("profile `{name}`: {message}") });
        }
    }
    for (name, message) in platforms::find_cloners(&mut out) {
        let Some(found) = all.get(&name) else { continue };
        let origin = found.origin_of(&["clone_provider".to_owned()]);
        gathered.problems.push(Problem { origin, message: format!("profile `{name}`: `clone_provider`: {message}") });
    }
    out
}

/// What is wrong with a URL that carries a login: it would be told wherever the URL is.
fn login_in_url(node: &Node, instead: &str) -> Option<String> {
    let Value::String(text) = node.to_json() else { return None };
    let bare = crate::api::text::without_user_info(&text);
    (bare.len() != text.len()).then(|| format!("the URL holds a login; write {bare} and give {instead}"))
}
