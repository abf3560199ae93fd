//! What a person needs to diagnose a failed cell without its cluster, in the layout of a must-gather ([`gather`]): the
//! objects of its namespaces and of MTV's, their events, the pods' logs, what MTV's inventory showed, the versions.
//!
//! Best effort and bounded in time and size: a failure to collect is a note, never a verdict.
//! Secrets are never read here.

mod gather;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use self::gather::{Gathered, OF_CLUSTER, OF_MTV};
use super::context::RunContext;
use crate::api::pods::SeenPod;
use crate::api::world::Kind;
use crate::api::world::inventory::collections;
use crate::event::{EventKind, Level};
use crate::forklift::inventory;
use crate::matrix::Cell;

/// Longest time to spend on one cell.
const LIMIT: Duration = Duration::from_secs(60);
/// Where another cluster's things are, in the same layout.
const REMOTE: &str = "remote/";

/// Writes the artifacts of one attempt and tells of each file by an event; of what is about MTV and the cluster by one for
/// the folder.
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
    let relative = folder_of(cell, attempt);
    let folder = Folder { context, cell, dir: context.parts.results.join(&relative), relative };
    if let Err(error) = std::fs::create_dir_all(&folder.dir) {
        let message = format!("failed to make {}: {error}", folder.dir.display());
        context.note(Some(&cell.id), Level::Warning, message);
        return;
    }
    let mut unread = Vec::new();
    let other = context.other_cluster();
    let kinds = gather::of_cell();
    let mut begun = None;
    // What is of the cell comes first: where time runs out, that is there.
    for (root, cluster) in [("", Some(&context.parts.cluster)), (REMOTE, other.as_ref())] {
        let Some(cluster) = cluster else { continue };
        for name in &namespaces {
            let (itself, since) = gather::namespace(cluster, name).await;
            begun = begun.or(since);
            folder.keep(root, itself, true, &mut unread);
            folder.keep(root, gather::objects(cluster, &kinds, Some(name)).await, true, &mut unread);
        }
    }
    if let Some(view) = inventory_view(context, &cell.profile.name).await {
        save(context, cell, &folder.dir, &folder.relative, "inventory.json", "MTV's inventory", &view);
    }
    let parts = &context.parts;
    let versions = json!({"mtv": context.mtv_version(), "ocp": parts.ocp_version,
        "mtv-matrix": env!("CARGO_PKG_VERSION"), "run": run, "cell": cell.id, "attempt": attempt});
    let versions = serde_json::to_string_pretty(&versions).unwrap_or_default();
    save(context, cell, &folder.dir, &folder.relative, "versions.json", "versions", &versions);
    let (silent, silent_there) = (gather::Silent::default(), gather::Silent::default());
    let clusters = [("", Some(&context.parts.cluster), &silent), (REMOTE, other.as_ref(), &silent_there)];
    for (root, cluster, silent) in clusters {
        let Some(cluster) = cluster else { continue };
        for name in &namespaces {
            folder.keep(root, gather::logs(cluster, name, None, silent).await, true, &mut unread);
        }
    }
    let (cluster, mtv) = (&parts.cluster, parts.settings.mtv_namespace.as_str());
    folder.keep("", gather::namespace(cluster, mtv).await.0, false, &mut unread);
    folder.keep("", gather::objects(cluster, &OF_MTV, Some(mtv)).await, false, &mut unread);
    // The attempt's namespace is the first that it makes: what MTV told before is of others.
    folder.keep("", gather::logs(cluster, mtv, begun, &silent).await, false, &mut unread);
    folder.tell(&format!("namespaces/{mtv}"), "MTV's own namespace");
    for (root, cluster) in [("", Some(cluster)), (REMOTE, other.as_ref())] {
        let Some(cluster) = cluster else { continue };
        folder.keep(root, gather::objects(cluster, &OF_CLUSTER, None).await, false, &mut unread);
        folder.keep(root, gather::definitions(cluster).await, false, &mut unread);
        folder.tell(&format!("{root}cluster-scoped-resources"), "the cluster");
    }
    unread.sort();
    unread.dedup();
    if !unread.is_empty() {
        let message = format!("artifacts lack what could not be read: {}", unread.join("; "));
        context.note(Some(&cell.id), Level::Warning, message);
    }
}

/// Where pods were that are gone.
pub(super) struct Gone<'a> {
    /// Another cluster than the run's own.
    pub remote: bool,
    pub namespace: &'a str,
}

/// Writes down pods that came and went, with the logs that were kept of them, and objects that went with them.
pub(super) fn keep_gone(
    context: &RunContext,
    (cell, attempt): (&Cell, u32),
    place: Gone<'_>,
    pods: &[SeenPod],
    objects: Vec<Value>,
) {
    let relative = folder_of(cell, attempt);
    let folder = Folder { context, cell, dir: context.parts.results.join(&relative), relative };
    let root = if place.remote { REMOTE } else { "" };
    let mut unread = Vec::new();
    folder.keep(root, gather::gone(place.namespace, pods, objects), true, &mut unread);
    if !unread.is_empty() {
        let message = format!("artifacts lack what could not be read: {}", unread.join("; "));
        context.note(Some(&cell.id), Level::Warning, message);
    }
}

/// Where one attempt's files go.
struct Folder<'a> {
    context: &'a RunContext,
    cell: &'a Cell,
    dir: std::path::PathBuf,
    /// To the results.
    relative: String,
}

impl Folder<'_> {
    /// Writes what was read below `root`; `told`: each file has an event.
    fn keep(&self, root: &str, gathered: Gathered, told: bool, unread: &mut Vec<String>) {
        unread.extend(gathered.unread);
        for file in gathered.files {
            let path = format!("{root}{}", file.path);
            let place = self.dir.join(&path);
            let written = place.parent().map_or(Ok(()), std::fs::create_dir_all);
            match written.and_then(|()| std::fs::write(&place, &file.text)) {
                Ok(()) if told => self.tell(&path, &file.what),
                Ok(()) => {}
                Err(error) => {
                    let message = format!("failed to write {}/{path}: {error}", self.relative);
                    self.context.note(Some(&self.cell.id), Level::Warning, message);
                }
            }
        }
    }

    /// Tells of a file, or of a folder that is there.
    fn tell(&self, path: &str, what: &str) {
        if self.dir.join(path).exists() {
            self.context.parts.events.emit(EventKind::Artifact {
                cell: self.cell.id.clone(),
                path: format!("{}/{path}", self.relative),
                what: what.to_owned(),
            });
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

impl RunContext {
    /// The path of an artifact that somebody else writes; its folder is made.
    pub(super) fn artifact(&self, cell: &Cell, attempt: u32, file: &str) -> Result<std::path::PathBuf, String> {
        let dir = self.parts.results.join(folder_of(cell, attempt));
        std::fs::create_dir_all(&dir).map_err(|error| format!("failed to make {}: {error}", dir.display()))?;
        Ok(dir.join(file))
    }

    /// Tells of it, once it is written.
    pub(super) fn tell_artifact(&self, cell: &Cell, attempt: u32, file: &str, what: &str) {
        self.parts.events.emit(EventKind::Artifact {
            cell: cell.id.clone(),
            path: format!("{}/{file}", folder_of(cell, attempt)),
            what: what.to_owned(),
        });
    }
}

fn folder_of(cell: &Cell, attempt: u32) -> String {
    format!("artifacts/{}/attempt-{attempt}", cell.id.slug())
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
