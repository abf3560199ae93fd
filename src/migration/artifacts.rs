//! What a person needs to diagnose a failed cell without its cluster: the objects as YAML, the
//! events, the pods' logs.
//!
//! Best effort and bounded in time and size: a failure to collect is a note, never a verdict.
//! Secrets are never read here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use serde_json::Value;

use super::context::RunContext;
use crate::api::world::Kind;
use crate::api::world::inventory::collections;
use crate::cluster::Cluster;
use crate::event::{EventKind, Level};
use crate::forklift::{WAITED_FOR, inventory};
use crate::matrix::Cell;

/// Longest time to spend on one cell.
const LIMIT: Duration = Duration::from_secs(30);
/// Lines of each container's log.
const LOG_LINES: i64 = 2_000;

/// Group, version, kind, plural of what is written down.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("forklift.konveyor.io", "v1beta1", "Plan", "plans"),
    ("forklift.konveyor.io", "v1beta1", "Migration", "migrations"),
    ("forklift.konveyor.io", "v1beta1", "StorageMap", "storagemaps"),
    ("forklift.konveyor.io", "v1beta1", "NetworkMap", "networkmaps"),
    ("forklift.konveyor.io", "v1beta1", "Hook", "hooks"),
    ("forklift.konveyor.io", "v1beta1", "Provider", "providers"),
    ("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition", "network-attachment-definitions"),
    ("kubevirt.io", "v1", "VirtualMachine", "virtualmachines"),
    ("kubevirt.io", "v1", "VirtualMachineInstance", "virtualmachineinstances"),
    ("cdi.kubevirt.io", "v1beta1", "DataVolume", "datavolumes"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Event", "events"),
];

/// Writes the artifacts of one attempt and tells of each file by an event.
pub async fn collect(context: &RunContext, cell: &Cell, attempt: u32) {
    if tokio::time::timeout(LIMIT, collect_all(context, cell, attempt)).await.is_err() {
        context.note(
            Some(&cell.id),
            Level::Warning,
            format!("artifacts are incomplete: collecting took over {LIMIT:?}"),
        );
    }
}

async fn collect_all(context: &RunContext, cell: &Cell, attempt: u32) {
    let run = &context.parts.run;
    let own = cell.id.namespace(run, attempt);
    let mut namespaces = vec![own, run.namespace()];
    if let Some(name) = &cell.scenario.vm_target_namespace {
        namespaces.insert(1, cell.id.extra_namespace(run, name, attempt));
    }
    let relative = format!("artifacts/{}/attempt-{attempt}", cell.id.slug());
    let dir = context.parts.results.join(&relative);
    if let Err(error) = std::fs::create_dir_all(&dir) {
        context.note(Some(&cell.id), Level::Warning, format!("failed to make {}: {error}", dir.display()));
        return;
    }
    let other = context.other_cluster();
    let other = other.as_ref().map(|cluster| ("remote-", cluster));
    let clusters: Vec<(&str, &Cluster)> = std::iter::once(("", &context.parts.cluster)).chain(other).collect();
    for (which, cluster) in &clusters {
        // What a step of the pipeline waits for says why it failed; the Plan says only that it did.
        let waited_for = WAITED_FOR.iter().map(|(kind, plural)| ("forklift.konveyor.io", "v1beta1", *kind, *plural));
        for (group, version, kind, plural) in KINDS.iter().copied().chain(waited_for) {
            let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            for namespace in &namespaces {
                let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, &resource);
                // A kind that this cluster does not have is no loss.
                let Ok(list) = api.list(&ListParams::default()).await else { continue };
                if list.items.is_empty() {
                    continue;
                }
                let whole = |mut object: DynamicObject| {
                    // Items of a list do not tell their kind, and who reads the file wants to know.
                    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
                    object.types.get_or_insert(types);
                    yaml(&object)
                };
                let text = list.items.into_iter().map(whole).collect::<Vec<_>>().join("---\n");
                let file = format!("{which}{namespace}-{plural}.yaml");
                save(context, cell, &dir, &relative, &file, kind, &text);
            }
        }
    }
    if let Some(view) = inventory_view(context, &cell.profile.name).await {
        save(context, cell, &dir, &relative, "inventory.json", "MTV's inventory", &view);
    }
    for (which, cluster) in &clusters {
        for namespace in &namespaces {
            save_logs(context, cell, &dir, &relative, (which, cluster), namespace).await;
        }
    }
}

/// What MTV's inventory shows of this run's VMs and of what they refer to, by collection, as JSON text; `None` before
/// the profile is open. `mtv-matrix record scenario` makes a world from it.
async fn inventory_view(context: &RunContext, profile: &str) -> Option<String> {
    let open = context.open_profile_of(profile)?;
    let path = &open.provider.path;
    let prefix = context.parts.run.clone_prefix();
    let all = context.parts.inventory.list(path, "vms").await.ok()?;
    let mut own: Vec<Value> = all.into_iter().filter(|vm| inventory::name_of(vm).starts_with(&prefix)).collect();
    own.iter_mut().for_each(hide_user_data);
    let mut named = BTreeSet::new();
    own.iter().for_each(|vm| texts(vm, &mut named));
    let mut listed = BTreeMap::from([("vms", own)]);
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == path.type_)?;
    // What is named by what is named comes before it: a NIC's profile before its network, a volume before its type.
    for collection in collections(kind).iter().rev().filter(|name| **name != "vms") {
        let Ok(items) = context.parts.inventory.list(path, collection).await else { continue };
        let ours = |item: &Value| {
            let known = |key: &str| item.get(key).and_then(Value::as_str).is_some_and(|text| named.contains(text));
            // A subnet names its network, and not the other way round.
            known("id") || known("name") || known("networkID")
        };
        let items: Vec<Value> = items.into_iter().filter(ours).collect();
        items.iter().for_each(|item| texts(item, &mut named));
        listed.insert(collection, items);
    }
    serde_json::to_string_pretty(&listed).ok()
}

/// Every text and key in a value: what it may name another thing by.
fn texts(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(out.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            out.insert(key.clone());
            texts(value, out);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What cloud-init is told may hold a guest's password.
pub(super) fn hide_user_data(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if matches!(key.as_str(), "userData" | "userDataBase64") {
                    *value = Value::from("********");
                } else {
                    hide_user_data(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_user_data),
        _ => {}
    }
}

fn yaml(object: &DynamicObject) -> String {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    hide_user_data(&mut object.data);
    serde_saphyr::to_string(&object).unwrap_or_else(|error| format!("# failed to write as YAML: {error}\n"))
}

async fn save_logs(
    context: &RunContext,
    cell: &Cell,
    dir: &Path,
    relative: &str,
    (which, cluster): (&str, &Cluster),
    namespace: &str,
) {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let Ok(list) = pods.list(&ListParams::default()).await else { return };
    for pod in list.items {
        let Some(name) = pod.metadata.name else { continue };
        let containers = pod.spec.map(|s| s.containers).unwrap_or_default();
        for container in containers {
            let params = LogParams {
                container: Some(container.name.clone()),
                tail_lines: Some(LOG_LINES),
                ..LogParams::default()
            };
            let Ok(text) = pods.logs(&name, &params).await else { continue };
            if !text.is_empty() {
                let file = format!("{which}{namespace}-{name}-{}.log", container.name);
                save(context, cell, dir, relative, &file, "log", &text);
            }
        }
    }
}

/// Writes one file into `dir`, which is `relative` to the results. A failure is a note, never a verdict.
pub(super) fn save(context: &RunContext, cell: &Cell, dir: &Path, relative: &str, file: &str, what: &str, text: &str) {
    match std::fs::write(dir.join(file), text) {
        Ok(()) => context.parts.events.emit(EventKind::Artifact {
            cell: cell.id.clone(),
            path: format!("{relative}/{file}"),
            what: what.to_owned(),
        }),
        Err(error) => {
            context.note(Some(&cell.id), Level::Warning, format!("failed to write {relative}/{file}: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_password_given_to_cloud_init_is_not_written_down() {
        let mut vm = json!({"volumes": [{"name": "c", "cloudInitNoCloud": {"userData": "password: secret", "networkData": "x"}}]});
        hide_user_data(&mut vm);
        assert_eq!(
            vm,
            json!({"volumes": [{"name": "c", "cloudInitNoCloud": {"userData": "********", "networkData": "x"}}]})
        );
    }
}
