//! Provider profiles: the entries of `providers.json`, typed.
//!
//! One file a platform knows that platform's keys; `keys` has what all share. An existing file of the
//! Python suite loads (peer.md §1.4): what has no effect is told. Reading files and layers is `layers`'
//! work. A new platform is a file here, a variant of [`Platform`] and [`PlatformConfig`], and a line in
//! [`entry`].

mod arrays;
mod copyoffload;
mod ec2;
mod hyperv;
mod keys;
mod openshift;
mod openstack;
mod ova;
mod ovirt;
mod vsphere;

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use copyoffload::{Copyoffload, EsxiCloneMethod};
pub(crate) use copyoffload::{WITH_VARIABLE as COPYOFFLOAD_VARIABLES, keys as copyoffload_keys};
pub use ec2::Ec2Config;
pub use hyperv::HypervConfig;
use keys::{Check, Common, Keys, Parts};
pub use openshift::OpenshiftConfig;
pub use openstack::{OpenstackAuth, OpenstackConfig};
pub use vsphere::VsphereConfig;
pub(crate) use vsphere::find_cloners;

use super::errors::{hint, nearest};
use super::node::{Data, Node};
use super::typed::typed_all;
use super::{schema, typed};

/// A source platform, as MTV names it in a Provider's `spec.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    Vsphere,
    Ovirt,
    Openstack,
    Openshift,
    Ova,
    Hyperv,
    Ec2,
}

impl Platform {
    pub const ALL: [Self; 7] =
        [Self::Vsphere, Self::Ovirt, Self::Openstack, Self::Openshift, Self::Ova, Self::Hyperv, Self::Ec2];

    pub fn name(self) -> &'static str {
        match self {
            Self::Vsphere => "vsphere",
            Self::Ovirt => "ovirt",
            Self::Openstack => "openstack",
            Self::Openshift => "openshift",
            Self::Ova => "ova",
            Self::Hyperv => "hyperv",
            Self::Ec2 => "ec2",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone)]
pub struct Credentials {
    pub username: String,
    pub password: SecretString,
}

/// Logins into guests, by operating system.
#[derive(Debug, Clone, Default)]
pub struct GuestCredentials {
    pub linux: Option<Credentials>,
    pub windows: Option<Credentials>,
}

/// One source platform with its credentials.
#[derive(Debug, Clone)]
pub struct ProviderProfile {
    /// The key in `providers.json`.
    pub name: String,
    pub platform: Platform,
    pub version: String,
    /// Host name of the endpoint; falls back to the host of `api_url`.
    pub fqdn: String,
    /// `spec.url` of the Provider.
    pub api_url: String,
    pub login: Credentials,
    pub guest: GuestCredentials,
    /// Cells at once on this profile; `None`: the settings' `max_concurrent`.
    pub max_concurrent: Option<usize>,
    /// PEM of a pinned CA; without it the CA is fetched from the endpoint when TLS is verified.
    pub ca_pem: Option<String>,
    /// The VM to take for one that a scenario names, where the platform can't clone.
    pub vms: BTreeMap<String, String>,
    pub config: PlatformConfig,
}

/// What only one platform has.
#[derive(Debug, Clone)]
pub enum PlatformConfig {
    Vsphere(VsphereConfig),
    Ovirt {
        /// Whether the runner's own session skips TLS verification; `None`: as
        /// `source_provider_insecure_skip_verify` says.
        insecure: Option<bool>,
        /// The data center that must be up before anything is touched.
        datacenter: String,
    },
    Openstack(OpenstackConfig),
    Openshift(OpenshiftConfig),
    Ova,
    Hyperv(HypervConfig),
    Ec2(Ec2Config),
}

/// All profiles by name.
pub type Providers = BTreeMap<String, ProviderProfile>;

/// What one platform's file offers to the loader.
struct Entry {
    schema: fn() -> Value,
    idle: &'static [&'static str],
    parts: fn(&Node, &Common, &mut Check) -> Parts,
}

impl Entry {
    fn new<K: Keys>() -> Self {
        Self {
            schema: || schemars::schema_for!(K).to_value(),
            idle: K::IDLE,
            parts: |node, common, check| {
                let keys: K = read(node, check);
                keys.profile(common, check)
            },
        }
    }
}

fn entry(platform: Platform) -> Entry {
    match platform {
        Platform::Vsphere => Entry::new::<vsphere::Keys>(),
        Platform::Ovirt => Entry::new::<ovirt::Keys>(),
        Platform::Openstack => Entry::new::<openstack::Keys>(),
        Platform::Openshift => Entry::new::<openshift::Keys>(),
        Platform::Ova => Entry::new::<ova::Keys>(),
        Platform::Hyperv => Entry::new::<hyperv::Keys>(),
        Platform::Ec2 => Entry::new::<ec2::Keys>(),
    }
}

/// The typed keys; each that is wrong becomes a complaint, and counts as not given.
fn read<K: serde::de::DeserializeOwned + Default>(node: &Node, check: &mut Check) -> K {
    let (keys, wrong) = typed_all(node);
    check.complaints.extend(wrong);
    keys.unwrap_or_default()
}

/// The properties of a schema, and its definitions.
fn properties(schema: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let part = |key: &str| schema.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    (part("properties"), part("$defs"))
}

/// The keys of a profile as a schema has them: `own` with an effect on this platform, `idle` without.
pub struct Table {
    pub own: Map<String, Value>,
    pub idle: Vec<&'static str>,
    /// Keys of every type are not repeated in `own`.
    pub common: Map<String, Value>,
    /// What the properties refer to.
    pub definitions: Map<String, Value>,
}

/// What a profile of this type may hold.
pub fn table(platform: Platform) -> Table {
    let entry = entry(platform);
    let (own, mut defs) = properties(&(entry.schema)());
    let (common, more) = properties(&schemars::schema_for!(Common).to_value());
    defs.extend(more);
    let idle = keys::IDLE.iter().chain(entry.idle).copied().collect();
    Table { own, idle, common, definitions: defs }
}

/// Keys that other types have and this one has not, with the types that have them.
fn foreign(platform: Platform, table: &Table) -> BTreeMap<String, Vec<Platform>> {
    let mut out: BTreeMap<String, Vec<Platform>> = BTreeMap::new();
    for other in Platform::ALL.into_iter().filter(|other| *other != platform) {
        let theirs = entry(other);
        let (own, _) = properties(&(theirs.schema)());
        for key in own.keys().map(String::as_str).chain(theirs.idle.iter().copied()) {
            if !table.own.contains_key(key) && !table.idle.contains(&key) {
                out.entry(key.to_owned()).or_default().push(other);
            }
        }
    }
    out
}

/// Schema of a profile of one type. Keys without effect are in it, marked as deprecated: they load.
pub(crate) fn schema(platform: Platform) -> Value {
    let table = table(platform);
    let without = |text: String| json!({"description": text, "deprecated": true});
    let mut all = Map::new();
    let kind = json!({"description": "The platform, in MTV's own words. Required.", "const": platform.name()});
    all.insert("type".to_owned(), kind);
    for (key, types) in foreign(platform, &table) {
        all.insert(key, without(format!("No effect: a key of {}.", names(&types))));
    }
    for key in &table.idle {
        all.insert((*key).to_owned(), without("No effect.".to_owned()));
    }
    all.extend(table.common);
    all.extend(table.own);
    json!({
        "title": platform.name(),
        "type": "object",
        "required": ["type"],
        "properties": all,
        "additionalProperties": false,
        "$defs": table.definitions,
    })
}

/// Schema of `providers.json`: name → profile, by its type. A `$schema` key is allowed.
pub(crate) fn providers_schema() -> Value {
    let mut definitions = Map::new();
    let mut types = Vec::new();
    for platform in Platform::ALL {
        let mut schema = schema(platform);
        if let Some(Value::Object(own)) = schema.as_object_mut().and_then(|s| s.remove("$defs")) {
            definitions.extend(own);
        }
        types.push(schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "providers.json",
        "type": "object",
        "properties": {"$schema": {"type": "string"}},
        "additionalProperties": {"oneOf": types},
        "$defs": definitions,
    })
}

/// The schema of what a node says it is; none where it does not say.
pub(crate) fn schema_of(node: &Node) -> Option<Value> {
    kind(node).ok().map(schema)
}

fn names(types: &[Platform]) -> String {
    types.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ")
}

/// Everything there is to say about one profile. `told` gets (path, sentence) of what is wrong, `warned` of
/// what is not; a profile comes out where nothing is wrong. Sentences hold no value of a secret.
pub(crate) fn profile(
    name: &str,
    node: &mut Node,
    told: &mut Vec<(Vec<String>, String)>,
    warned: &mut Vec<(Vec<String>, String)>,
) -> Option<ProviderProfile> {
    let platform = match kind(node) {
        Ok(platform) => platform,
        Err(complaint) => {
            told.push((vec!["type".to_owned()], complaint));
            return None;
        }
    };
    let before = told.len();
    unknown(platform, node, told, warned);
    let mut check = Check::new(platform);
    let mut common: Common = read(node, &mut check);
    let parts = (entry(platform).parts)(node, &common, &mut check);
    let (ca_pem, guest) = (common.ca(&mut check), common.guest());
    let by_path = |complaints: Vec<keys::Complaint>| complaints.into_iter().map(|(p, m)| (typed::split_path(&p), m));
    warned.extend(by_path(check.warnings));
    // A wrong value is told as that, and not again as one that is missing.
    let mut seen = std::collections::BTreeSet::new();
    told.extend(by_path(check.complaints).filter(|(path, _)| seen.insert(path.clone())));
    (told.len() == before).then(|| ProviderProfile {
        name: name.to_owned(),
        platform,
        version: common.version.unwrap_or_default(),
        fqdn: keys::given(common.fqdn).unwrap_or_else(|| keys::host_of(&parts.api_url)),
        api_url: parts.api_url,
        login: parts.login,
        guest,
        max_concurrent: common.max_concurrent.or(parts.one_at_a_time.then_some(1)),
        ca_pem,
        vms: parts.vms,
        config: parts.config,
    })
}

/// The profile's type, or what is wrong with it.
fn kind(node: &Node) -> Result<Platform, String> {
    let all = Platform::ALL.map(Platform::name);
    match node.get("type").map(|n| &n.data) {
        None => Err(format!("`type` is missing: one of {}", all.join(", "))),
        Some(Data::Scalar(Value::String(word))) => {
            Platform::ALL.into_iter().find(|p| p.name() == word).ok_or_else(|| {
                let near = nearest(word, all).map(|k| format!("; did you mean `{k}`?")).unwrap_or_default();
                format!("`type`: `{word}` is not one of {}{near}", all.join(", "))
            })
        }
        Some(_) => Err(format!("`type` is a text: one of {}", all.join(", "))),
    }
}

/// Takes out what has no effect on this type, and what nobody knows.
fn unknown(
    platform: Platform,
    node: &mut Node,
    told: &mut Vec<(Vec<String>, String)>,
    warned: &mut Vec<(Vec<String>, String)>,
) {
    let whole = schema(platform);
    schema::coerce(&whole, node, false);
    let table = table(platform);
    let foreign = foreign(platform, &table);
    let said = |node: &Node| match &node.data {
        Data::Scalar(Value::Null) => false,
        Data::Scalar(Value::String(text)) => !text.trim().is_empty(),
        _ => true,
    };
    let mut idle = Vec::new();
    let mut gone = Vec::new();
    for entry in node.entries() {
        let key = entry.key.as_str();
        if table.own.contains_key(key) || table.common.contains_key(key) || key == "type" {
            continue;
        }
        let path = vec![key.to_owned()];
        if table.idle.contains(&key) {
            if said(&entry.node) {
                idle.push((key.to_owned(), entry.line));
            }
        } else if let Some(types) = foreign.get(key) {
            if said(&entry.node) {
                let text = format!("`{key}` is a key of {}; it has no effect on type {platform}", names(types));
                warned.push((path.clone(), text));
            }
        } else {
            let known = table.own.keys().chain(table.common.keys()).map(String::as_str).chain(["type"]);
            told.push((path.clone(), format!("`{key}` is not a profile key{}", hint(key, known, ""))));
        }
        gone.push(path);
    }
    if let Some((first, _)) = idle.first() {
        let keys: Vec<String> = idle
            .iter()
            .map(|(key, line)| if *line > 0 { format!("`{key}` (line {line})") } else { format!("`{key}`") })
            .collect();
        warned.push((vec![first.clone()], format!("no effect: {}", keys.join(", "))));
    }
    for path in gone {
        node.remove(&path);
    }
    for unknown in schema::unknown_keys(&whole, node, "profile key", &[]) {
        node.remove(&unknown.path);
        told.push((unknown.path, unknown.message));
    }
    for (path, message) in schema::out_of_bounds(&whole, node) {
        node.remove(&path);
        told.push((path, message));
    }
}
