//! MTV's must-gather image as a Pod, for a cell that did not pass, where the settings name one.
//!
//! It gathers while everything of the cell is still there; then its archive is read through `exec` and lies among the
//! cell's artifacts. The Pod is written down and marked like everything of the cell, and removed when it has been read;
//! what nobody removes ends by its own deadline. What comes of it is a note, never a verdict.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, LogParams};
use serde_json::json;

use super::context::RunContext;
use crate::api::forklift::Plan;
use crate::cleanup::{self, Consent};
use crate::cluster::exec::{self, ExecError};
use crate::cluster::retry;
use crate::cluster::wait::{self, Poll};
use crate::event::{Level, Problem};
use crate::ledger::Thing;
use crate::matrix::Cell;

/// What the image gathers by for one Plan (`collection-scripts/targeted` of forklift-must-gather).
const TARGETED: &str = "/usr/bin/targeted";
/// Where it writes, and where it packs that. As a volume the second needs no root, which the script's `mkdir` would.
const FOLDER: &str = "/must-gather";
const WORKSHOP: &str = "/must-gather-archive";
const ARCHIVE: &str = "/must-gather/must-gather.tar.gz";
/// Among the artifacts.
const FILE: &str = "must-gather.tar.gz";
const LOG: &str = "must-gather.log";
const GATHERS: &str = "gather";
const WAITS: &str = "copy";
/// Lines of what the image says.
const LINES: i64 = 5000;
/// An archive beyond that is not taken.
const LARGEST: u64 = 2 << 30;

impl RunContext {
    /// Gathers for this attempt, and tells of it. Nothing where no image is named.
    pub(super) async fn must_gather(&self, cell: &Cell, attempt: u32) {
        let settings = &self.parts.settings;
        if settings.must_gather_image.is_empty() {
            return;
        }
        if !self.may_gather(settings.must_gather_cells) {
            let why = format!("`must_gather_cells` is {}", settings.must_gather_cells);
            return self.note(Some(&cell.id), Level::Info, format!("must-gather: not for this cell: {why}"));
        }
        let (level, message) = match self.gathered(cell, attempt).await {
            Ok(bytes) => {
                (Level::Info, format!("must-gather: {FILE} is among the artifacts ({} KiB)", bytes.div_ceil(1024)))
            }
            Err(why) => (Level::Warning, format!("must-gather: {why}")),
        };
        self.note(Some(&cell.id), level, message);
    }

    /// How many bytes there are.
    async fn gathered(&self, cell: &Cell, attempt: u32) -> Result<u64, String> {
        let parts = &self.parts;
        let own = cell.id.namespace(&parts.run, attempt);
        let plans: Api<Plan> = Api::namespaced(parts.cluster.client(), &own);
        let plans = plans.list(&ListParams::default()).await;
        let plans = plans.map_err(|error| format!("the Plans of {own}: {}", retry::short(&error)))?;
        let Some(plan) = plans.items.first().map(|plan| plan.name_any()) else {
            return Err(format!("it gathers for a Plan, and {own} has none"));
        };
        let name = cell.id.must_gather(&parts.run, attempt);
        let pod = self.pod(&name, &own, &plan).map_err(|error| error.to_string())?;
        self.tracked(Some(&cell.id)).create(pod).await.map_err(|error| error.to_string())?;
        let namespace = &parts.settings.must_gather_namespace;
        let what = format!("{} runs as Pod {namespace}/{name}", parts.settings.must_gather_image);
        self.note(Some(&cell.id), Level::Info, format!("must-gather: {what}"));
        let read = self.read(cell, attempt, &name).await;
        // The teardown of the cell would do that, too: later, and not where the cell is kept.
        if let Err(why) = self.remove(cell, &name).await {
            self.note(Some(&cell.id), Level::Warning, format!("must-gather: {why}"));
        }
        read
    }

    /// Waits until the image has gathered, and takes what it says and its archive.
    async fn read(&self, cell: &Cell, attempt: u32, name: &str) -> Result<u64, String> {
        let parts = &self.parts;
        let (namespace, limit) = (parts.settings.must_gather_namespace.as_str(), parts.settings.timeouts.must_gather);
        let what = format!("Pod {namespace}/{name} to have gathered");
        let ended = wait::until(&parts.cluster, Some(namespace), name, &what, limit, |found: Option<&Pod>| {
            let Some(pod) = found else { return Poll::Failed(Problem::new(format!("Pod {name} is gone"))) };
            stands(pod)
        });
        let ended = ended.await;
        let pods: Api<Pod> = Api::namespaced(parts.cluster.client(), namespace);
        let params = LogParams { container: Some(GATHERS.to_owned()), tail_lines: Some(LINES), ..LogParams::default() };
        let said = pods.logs(name, &params).await.unwrap_or_default();
        if !said.is_empty() {
            let path = self.artifact(cell, attempt, LOG)?;
            std::fs::write(&path, &said).map_err(|error| format!("failed to write {LOG}: {error}"))?;
            self.tell_artifact(cell, attempt, LOG, "log");
        }
        ended.map_err(|error| match said.trim().lines().last() {
            Some(last) => format!("{}; its last words: {last}", error.problem().message),
            None => error.problem().message,
        })?;
        let path = self.artifact(cell, attempt, FILE)?;
        let broken = |error: std::io::Error| format!("failed to write {FILE}: {error}");
        let mut file = File::create(&path).map_err(broken)?;
        let mut bytes = 0_u64;
        let take = |printed: &[u8]| {
            bytes += printed.len() as u64;
            if bytes > LARGEST {
                return Err(std::io::Error::other(format!("{ARCHIVE} is larger than {} GiB", LARGEST >> 30)));
            }
            file.write_all(printed)
        };
        let place = exec::Place { namespace, pod: name, container: WAITS };
        let copied = tokio::time::timeout(limit, exec::run(&parts.cluster, place, &["cat", ARCHIVE], take)).await;
        let copied = match copied {
            Ok(Err(ExecError::Taken(error))) => Err(broken(error)),
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{ARCHIVE} was not read within {limit:?}")),
        };
        if let Err(why) = copied.and_then(|()| if bytes == 0 { Err(format!("{ARCHIVE} is empty")) } else { Ok(()) }) {
            // Half an archive is none.
            let _ = std::fs::remove_file(&path);
            return Err(why);
        }
        self.tell_artifact(cell, attempt, FILE, "must-gather");
        Ok(bytes)
    }

    async fn remove(&self, cell: &Cell, name: &str) -> Result<(), String> {
        let ledger = &self.parts.ledger;
        let is = |thing: &Thing| matches!(thing, Thing::Object { kind, name: own, .. } if kind == "Pod" && own == name);
        let Some(entry) = ledger.open_entries_of(Some(&cell.id)).into_iter().find(|entry| is(&entry.thing)) else {
            return Err(format!("Pod {name} is not in the ledger"));
        };
        let limit = self.parts.settings.timeouts.delete;
        let how = cleanup::How { consent: Consent::Proven, limit, late: Duration::ZERO };
        cleanup::undo_one(&self.parts.cluster, ledger, &entry, how).await.map_err(|error| error.to_string())
    }

    /// One container gathers, then another waits to be asked for what there is, as with `oc adm must-gather`.
    fn pod(&self, name: &str, namespace: &str, plan: &str) -> Result<Pod, serde_json::Error> {
        let settings = &self.parts.settings;
        let deadline = settings.timeouts.must_gather.as_secs().saturating_mul(2).max(60);
        let container = |name: &str, command: serde_json::Value| {
            json!({
                "name": name, "image": settings.must_gather_image, "command": command,
                "env": [{"name": "NS", "value": namespace}, {"name": "PLAN", "value": plan}],
                "volumeMounts": [{"name": "gathered", "mountPath": FOLDER}, {"name": "workshop", "mountPath": WORKSHOP}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            })
        };
        let waits = json!(["/bin/sh", "-c", format!("sleep {deadline}")]);
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": settings.must_gather_namespace},
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": deadline,
                "terminationGracePeriodSeconds": 0,
                "serviceAccountName": settings.must_gather_service_account,
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "initContainers": [container(GATHERS, json!([TARGETED]))],
                "containers": [container(WAITS, waits)],
                "volumes": [{"name": "gathered", "emptyDir": {}}, {"name": "workshop", "emptyDir": {}}],
            },
        }))
    }
}

/// Whether it has gathered: the second container runs once the first has ended well.
fn stands(pod: &Pod) -> Poll<()> {
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let phase = status.phase.as_deref().unwrap_or_default();
    match phase {
        "Running" => Poll::Done(()),
        "Failed" | "Succeeded" => Poll::Failed(Problem::new(format!("Pod {} {}", pod.name_any(), why(status, phase)))),
        _ => Poll::NotYet(why(status, phase)),
    }
}

/// What a Pod says of itself: its phase, what holds it back, how its first container ended.
fn why(status: &PodStatus, phase: &str) -> String {
    let mut said = vec![phase.to_owned()];
    said.extend(status.reason.clone());
    said.extend(status.message.clone());
    for condition in status.conditions.iter().flatten().filter(|one| one.type_ == "PodScheduled") {
        said.extend(condition.message.clone());
    }
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    for state in containers.filter_map(|container| container.state.as_ref()) {
        if let Some(waiting) = &state.waiting {
            said.extend(waiting.reason.clone());
            said.extend(waiting.message.clone());
        }
        if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
            said.push(format!("exit code {}", ended.exit_code));
        }
    }
    said.retain(|part| !part.is_empty());
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    #[test]
    fn a_pod_has_gathered_when_its_second_container_runs_and_says_what_holds_it_back_before() {
        assert!(matches!(stands(&pod(json!({"phase": "Running"}))), Poll::Done(())));
        let waiting = json!({"phase": "Pending", "initContainerStatuses": [{"name": "gather", "image": "", "imageID": "",
            "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
        let Poll::NotYet(said) = stands(&pod(waiting)) else { panic!("it waits") };
        assert_eq!(said, "Pending, ImagePullBackOff, no such image");
        let late = json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active too long"});
        let Poll::Failed(problem) = stands(&pod(late)) else { panic!("it failed") };
        assert_eq!(problem.message, "Pod p Failed, DeadlineExceeded, Pod was active too long");
    }
}
