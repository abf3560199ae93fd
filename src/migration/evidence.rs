//! Reading MTV's side of a migration for the checks, and keeping what was read.
//!
//! Reading changes nothing. What can't be read says so, in its place.

use std::time::Duration;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::context::RunContext;
use super::prepared::{Maps, Prepared};
use super::{artifacts, offload};
use crate::api::condition::Conditions;
use crate::api::forklift::{ForkliftController, Hook, Migration, Plan};
use crate::api::names::LAB_CLOCK_SCALE;
use crate::check::{AskedHook, Evidence, Ran};
use crate::cluster::objects::routes::{marked, whole};
use crate::cluster::wait::{self, Poll};
use crate::event::Level;
use crate::forklift::execution;
use crate::forklift::offload::Populators;
use crate::forklift::plan::playbook;
use crate::matrix::Cell;

/// Group, version, kind and plural of what a migration makes in its target namespace.
const MARKED: [(&str, &str, &str, &str); 6] = [
    ("kubevirt.io", "v1", "VirtualMachine", "virtualmachines"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Pod", "pods"),
    ("cdi.kubevirt.io", "v1beta1", "DataVolume", "datavolumes"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "ConfigMap", "configmaps"),
];

pub(super) async fn read(
    context: &RunContext,
    cell: &Cell,
    prepared: &Prepared,
    maps: &Maps,
    migrations: &[String],
    populators: Option<&Populators>,
) -> Ran {
    let cluster = &context.parts.cluster;
    let namespace = Some(prepared.namespace.as_str());
    let name = migrations.last().map(String::as_str).unwrap_or_default();
    let plan = whole::<Plan>(cluster, namespace, &prepared.plan).await.map_err(String::from);
    settle(context, cell, prepared, name).await;
    let migration = whole::<Migration>(cluster, namespace, name).await.map_err(String::from);
    let mut hooks = Vec::new();
    for hook in &prepared.hooks {
        let asked = if hook.step == "PreHook" { &cell.scenario.pre_hook } else { &cell.scenario.post_hook };
        let object = whole::<Hook>(cluster, namespace, hook.hook.name.as_deref().unwrap_or_default()).await;
        hooks.push(AskedHook {
            step: hook.step.clone(),
            playbook: asked.as_ref().map(playbook).unwrap_or_default(),
            job_template: asked.as_ref().and_then(|asked| asked.aap_job_template_id),
            object: object.map_err(String::from),
        });
    }
    // A VM that arrived, or whose disks were copied, before the last Migration is marked with that one.
    let mut earlier: Vec<String> = Vec::new();
    for name in migrations.iter().rev().skip(1) {
        let found = whole::<Migration>(cluster, namespace, name).await.ok().flatten();
        earlier.extend(found.as_ref().and_then(uid_of));
    }
    let uids: Vec<String> = migration.iter().flatten().filter_map(uid_of).chain(earlier.iter().cloned()).collect();
    let marked = if uids.is_empty() {
        Err("the Migration, by which they are marked, could not be read".to_owned())
    } else {
        let kinds = MARKED.map(|(group, version, kind, plural)| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
        });
        let there = &prepared.destination.cluster;
        let selector = format!("migration in ({})", uids.join(","));
        marked(there, &prepared.target_namespace, &selector, &kinds).await.map_err(String::from)
    };
    let sent = serde_json::to_value(&maps.plan).unwrap_or_default();
    let precopy_interval = if cell.scenario.warm_migration { precopy_interval(context).await } else { None };
    let offload = match cell.scenario.copyoffload {
        true => offload::left(prepared, populators, &uids).await,
        false => None,
    };
    Ran { sent, plan, migration, hooks, marked, earlier, precopy_interval, offload }
}

fn uid_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned)
}

/// The interval as the ForkliftController has it, by the clock that MTV goes by. The cell holds it while it runs, so
/// that nobody else changes it.
async fn precopy_interval(context: &RunContext) -> Option<f64> {
    let namespace = context.parts.settings.mtv_namespace.as_str();
    let found = whole::<ForkliftController>(&context.parts.cluster, Some(namespace), "forklift-controller").await;
    let controller = found.ok().flatten()?;
    let minutes = controller.pointer("/spec/controller_precopy_interval")?.as_f64()?;
    let annotations = controller.pointer("/metadata/annotations");
    let scale = annotations.and_then(|all| all.get(LAB_CLOCK_SCALE)?.as_str()?.parse::<f64>().ok());
    Some(minutes * 60.0 / scale.unwrap_or(1.0))
}

/// How long MTV may take to tell a Migration what it has told the Plan.
const SETTLES: Duration = Duration::from_secs(60);

/// MTV writes a Plan's end first, and the Migration's in a reconcile of its own. One that never comes is the checks'
/// finding.
async fn settle(context: &RunContext, cell: &Cell, prepared: &Prepared, name: &str) {
    let namespace = prepared.namespace.as_str();
    let what = format!("Migration {namespace}/{name} to say how it ended");
    let cluster = &context.parts.cluster;
    let ended = wait::until(cluster, Some(namespace), name, &what, SETTLES, |found: Option<&Migration>| {
        let Some(found) = found else { return Poll::Done(()) };
        let conditions = found.status.as_ref().map_or(&[][..], |status| status.conditions.as_slice());
        if execution::is_over(found) { Poll::Done(()) } else { Poll::NotYet(conditions.summary()) }
    });
    if let Err(error) = ended.await {
        context.note(Some(&cell.id), Level::Warning, error.to_string());
    }
}

/// A VM's name as part of a file's: a platform lets it hold anything.
fn file_name(vm: &str) -> String {
    const LONGEST: usize = 100;
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    vm.chars().map(safe).take(LONGEST).collect()
}

/// Writes it down where the settings ask for it. A failure is a note, never a verdict.
pub(super) fn save(context: &RunContext, cell: &Cell, attempt: u32, vm: &str, evidence: &Evidence) {
    let relative = format!("artifacts/{}/attempt-{attempt}", cell.id.slug());
    let dir = context.parts.results.join(&relative);
    let text = serde_json::to_value(evidence).and_then(|mut value| {
        artifacts::hide_user_data(&mut value);
        serde_json::to_string_pretty(&value)
    });
    let file = format!("evidence-{}.json", file_name(vm));
    match std::fs::create_dir_all(&dir).map_err(|error| error.to_string()).and(text.map_err(|error| error.to_string()))
    {
        Ok(text) => artifacts::save(context, cell, &dir, &relative, &file, "evidence", &text),
        Err(error) => {
            context.note(Some(&cell.id), Level::Warning, format!("failed to write {relative}/{file}: {error}"))
        }
    }
}
