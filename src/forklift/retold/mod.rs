//! A Plan told again: from MTV's objects of one migration to a scenario and a world in which the lab plays it.
//!
//! Pure. Whoever has the objects (a cluster, a must-gather folder, a file) hands them in as they are; what was not
//! gathered is made up, and a note says so. Contents and logins are in none of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::forklift::{Hook, HookRef, Migration, ObjRef, Plan, Provider, VmStatus};
use crate::api::world::inventory::Listed;
use crate::api::world::{Kind, World};

pub mod from_cluster;
mod scenario;
#[cfg(test)]
mod tests;
mod world;

pub use scenario::Recorded;

/// What is known of one migration or of several.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    objects: Vec<Value>,
    /// What MTV's inventory shows of the source, as far as it was gathered.
    pub listed: Listed,
}

/// Why a Plan can't be told again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetoldError {
    #[error("there is no Plan in it: a Plan of forklift.konveyor.io is what a scenario is made from")]
    NoPlan,
    #[error("there is no Plan `{wanted}`; there are {known}")]
    Unknown { wanted: String, known: String },
    #[error("there are several Plans: --plan says which; there are {known}")]
    Several { known: String },
    #[error("the source Provider {provider} is not among what was gathered: --type says what it is")]
    NoProvider { provider: String },
    #[error("VMs of {platform} are no part of a world: each run makes its own")]
    NoWorld { platform: String },
    #[error("Plan {plan} can't be read: {why}")]
    Unreadable { plan: String, why: String },
    #[error("Plan {plan} names no VM")]
    NoVm { plan: String },
}

/// A scenario and its world.
#[derive(Debug, Clone)]
pub struct Retold {
    /// Of the scenario.
    pub name: String,
    pub scenario: Recorded,
    pub world: World,
    /// What a person should know of it, a line each.
    pub notes: Vec<String>,
}

/// What is said beside the evidence.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// `name` or `namespace/name`.
    pub plan: Option<String>,
    /// The source's platform, where its Provider was not gathered.
    pub kind: Option<Kind>,
    pub anonymise: bool,
}

impl Evidence {
    /// Adds an object; the items of a list each.
    pub fn add(&mut self, object: Value) {
        let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        match object {
            Value::Object(mut fields) if is_list => {
                let items = fields.remove("items").and_then(|items| match items {
                    Value::Array(items) => Some(items),
                    _ => None,
                });
                items.into_iter().flatten().for_each(|item| self.add(item));
            }
            object if object.get("kind").is_some() => self.objects.push(object),
            _ => {}
        }
    }

    /// Adds what a file of a folder holds: an object, or what MTV's inventory showed (`file` is `inventory`: all of it,
    /// by collection).
    pub fn gathered(&mut self, file: &str, content: Value) {
        match content {
            Value::Object(collections) if file == "inventory" && !collections.contains_key("kind") => {
                for (name, items) in collections {
                    let Value::Array(items) = items else { continue };
                    self.listed.entry(name).or_default().extend(items);
                }
            }
            content => self.add(content),
        }
    }

    /// The source Provider of the Plan that is meant, and its VMs: ids, or names where it has none.
    pub fn source_of(&self, plan: Option<&str>) -> Result<(ObjRef, Vec<String>), RetoldError> {
        let plan = self.plan(plan)?;
        let vms = plan.spec.vms.into_iter().filter_map(|vm| vm.id.or(vm.name));
        Ok((plan.spec.provider.source, vms.collect()))
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        let ours = move |object: &&Value| match text(object, "/apiVersion") {
            version if kind == "VirtualMachine" => version.starts_with("kubevirt.io/"),
            version => version.starts_with("forklift.konveyor.io/"),
        };
        self.objects.iter().filter(move |object| text(object, "/kind") == kind).filter(ours)
    }

    fn find<T: serde::de::DeserializeOwned>(&self, kind: &str, wanted: &ObjRef) -> Option<T> {
        let (namespace, name) = (wanted.namespace.as_deref(), wanted.name.as_deref().unwrap_or_default());
        let is = |object: &&Value| {
            text(object, "/metadata/name") == name
                && namespace.is_none_or(|own| text(object, "/metadata/namespace") == own)
        };
        let found = self.of_kind(kind).find(is)?;
        serde_json::from_value(found.clone()).ok()
    }

    /// The Plan that is meant: the only one, or the only one that failed.
    fn plan(&self, wanted: Option<&str>) -> Result<Plan, RetoldError> {
        let called = |plan: &Value| format!("{}/{}", text(plan, "/metadata/namespace"), text(plan, "/metadata/name"));
        // A must-gather may hold one twice.
        let all: BTreeMap<String, &Value> = self.of_kind("Plan").map(|plan| (called(plan), plan)).collect();
        let known = || all.keys().cloned().collect::<Vec<_>>().join(", ");
        let failed = |plan: &Value| {
            let conditions = plan.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|it| text(it, "/type") == "Failed" && text(it, "/status") == "True")
        };
        let chosen = match wanted {
            Some(wanted) => {
                let meant = |(key, _): &(&String, &&Value)| *key == wanted || key.ends_with(&format!("/{wanted}"));
                let found = all.iter().find(meant).map(|(_, plan)| *plan);
                found.ok_or_else(|| RetoldError::Unknown { wanted: wanted.to_owned(), known: known() })?
            }
            None => {
                let failures: Vec<&Value> = all.values().copied().filter(|plan| failed(plan)).collect();
                match (all.values().next(), failures.as_slice()) {
                    (None, _) => return Err(RetoldError::NoPlan),
                    (Some(only), _) if all.len() == 1 => *only,
                    (Some(_), [only]) => *only,
                    (Some(_), _) => return Err(RetoldError::Several { known: known() }),
                }
            }
        };
        let unreadable =
            |error: serde_json::Error| RetoldError::Unreadable { plan: called(chosen), why: error.to_string() };
        serde_json::from_value(chosen.clone()).map_err(unreadable)
    }

    /// The Migration of this Plan that is told of: the one that its status names, or the last.
    fn migration(&self, plan: &Plan) -> Option<Migration> {
        let own = |migration: &Migration| {
            migration.spec.plan.name == plan.metadata.name
                && (migration.spec.plan.namespace.is_none() || migration.spec.plan.namespace == plan.metadata.namespace)
        };
        let all = self.of_kind("Migration").filter_map(|it| serde_json::from_value::<Migration>(it.clone()).ok());
        all.filter(own).max_by_key(|migration| migration.metadata.creation_timestamp.clone().map(|time| time.0))
    }

    /// The scenario and the world of the Plan that is asked for.
    pub fn retell(&self, ask: &Ask) -> Result<Retold, RetoldError> {
        let plan = self.plan(ask.plan.as_deref())?;
        let called = [plan.metadata.namespace.as_deref(), plan.metadata.name.as_deref()];
        let called = called.into_iter().flatten().collect::<Vec<_>>().join("/");
        if plan.spec.vms.is_empty() {
            return Err(RetoldError::NoVm { plan: called });
        }
        let source: Option<Provider> = self.find("Provider", &plan.spec.provider.source);
        let kind = self.kind(&plan, source.as_ref(), ask.kind)?;
        let migration = self.migration(&plan);
        let statuses = plan.status.as_ref().and_then(|status| status.migration.as_ref()).map(|it| it.vms.as_slice());
        let of_migration = migration.as_ref().and_then(|it| it.status.as_ref()).map(|status| status.vms.as_slice());
        // The Migration keeps its own, the Plan those of the last.
        let statuses = statuses.filter(|vms| !vms.is_empty()).or(of_migration).unwrap_or_default();
        let told = Told {
            evidence: self,
            remote: self
                .find::<Provider>("Provider", &plan.spec.provider.destination)
                .is_some_and(|provider| !provider.spec.url.is_empty()),
            kind,
            statuses,
            called,
            migration: migration.as_ref(),
            plan: &plan,
        };
        let (mut world, mut notes) = told.world();
        if ask.anonymise {
            world.anonymise();
        }
        let names: Vec<String> = world.source(kind).vms.iter().map(|vm| vm.scenario_name().to_owned()).collect();
        let scenario = told.scenario(&names, &world, ask.anonymise, &mut notes);
        let name = if ask.anonymise { "recorded".to_owned() } else { scenario_name(&plan) };
        Ok(Retold { name, scenario, world, notes })
    }

    fn kind(&self, plan: &Plan, source: Option<&Provider>, asked: Option<Kind>) -> Result<Kind, RetoldError> {
        let reference = &plan.spec.provider.source;
        let platform = source.map(|provider| provider.spec.type_.as_str());
        if let Some(kind) = asked.or_else(|| Kind::ALL.into_iter().find(|kind| platform == Some(kind.name()))) {
            return Ok(kind);
        }
        match platform {
            Some(platform) => Err(RetoldError::NoWorld { platform: platform.to_owned() }),
            None => {
                let parts = [reference.namespace.as_deref(), reference.name.as_deref()];
                let provider = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
                Err(RetoldError::NoProvider { provider })
            }
        }
    }
}

/// Everything that is known of the one Plan.
struct Told<'a> {
    evidence: &'a Evidence,
    plan: &'a Plan,
    /// Namespace and name, for people.
    called: String,
    migration: Option<&'a Migration>,
    kind: Kind,
    /// It migrates to another cluster than MTV's own.
    remote: bool,
    statuses: &'a [VmStatus],
}

impl Told<'_> {
    /// The Plan's VMs, in its order: id and name as far as they are known, and how each ended.
    fn vms(&self) -> Vec<(String, String, Option<&VmStatus>)> {
        let each = self.plan.spec.vms.iter().map(|vm| {
            let (id, name) = (vm.id.clone().unwrap_or_default(), vm.name.clone().unwrap_or_default());
            let own =
                |status: &&VmStatus| (!id.is_empty() && status.id == id) || (id.is_empty() && status.name == name);
            let status = self.statuses.iter().find(own);
            let listed = self.evidence.listed.get("vms").into_iter().flatten();
            let shown = listed.clone().find(|item| !id.is_empty() && text(item, "/id") == id);
            let shown = shown.map(|item| text(item, "/name").to_owned());
            let name = [Some(name), status.map(|status| status.name.clone()), shown, Some(id.clone())];
            let name = name.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default();
            (id, name, status)
        });
        each.collect()
    }

    fn hook(&self, step: &str) -> Option<(&HookRef, Option<Hook>)> {
        let reference = self.plan.spec.vms.iter().flat_map(|vm| &vm.hooks).find(|hook| hook.step == step)?;
        Some((reference, self.evidence.find("Hook", &reference.hook)))
    }
}

/// `recorded_` and the Plan's name, as scenarios are called.
fn scenario_name(plan: &Plan) -> String {
    let name = plan.metadata.name.as_deref().unwrap_or("plan");
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    format!("recorded_{}", plain.trim_matches('_'))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
