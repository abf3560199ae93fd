//! How a pod stands, as its kubelet tells it: one place for everybody in the lab who plays pods, so that each of them
//! shows what kubectl reads (`containerStatuses` and conditions, not the phase alone). Follows `generateAPIPodStatus`
//! (pkg/kubelet/kubelet_pods.go) and `GeneratePodReadyCondition` (pkg/kubelet/status/generate.go).

use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The node's own address, which all nodes of the lab share.
const HOST: &str = "10.129.0.1";

/// How a pod's program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Well,
    /// With what the container wrote to its termination message.
    Badly(String),
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    Waits,
    Runs,
    Over(&'a Ended),
}

impl Stage<'_> {
    fn phase(self) -> &'static str {
        match self {
            Self::Waits => "Pending",
            Self::Runs => "Running",
            Self::Over(Ended::Well) => "Succeeded",
            Self::Over(Ended::Badly(_)) => "Failed",
        }
    }

    /// Why a condition of one that has ended is as it is.
    fn ended_as(self) -> Option<&'static str> {
        match self {
            Self::Waits | Self::Runs => None,
            Self::Over(Ended::Well) => Some("PodCompleted"),
            Self::Over(Ended::Badly(_)) => Some("PodFailed"),
        }
    }
}

/// Whether its program has ended.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Writes it, and gives the pod as it is then; one that is gone is told of no more. `address`: of a pod that answers;
/// the others get one that nobody listens on.
pub(super) async fn tell(
    api: &Api<Pod>,
    pod: &Pod,
    stage: Stage<'_>,
    address: Option<IpAddr>,
) -> Result<Pod, kube::Error> {
    let patch = Patch::Merge(json!({"status": status(pod, stage, address)}));
    match api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(pod.clone()),
        told => told,
    }
}

/// Likewise of one that is known by its name.
pub(super) async fn tell_of(api: &Api<Pod>, name: &str, stage: Stage<'_>) -> Result<(), kube::Error> {
    match api.get_opt(name).await? {
        Some(pod) => tell(api, &pod, stage, None).await.map(drop),
        None => Ok(()),
    }
}

/// What has been told of the pod before, its start and its address, stays.
fn status(pod: &Pod, stage: Stage<'_>, address: Option<IpAddr>) -> Value {
    let (known, now) = (json!(pod.status), now());
    let started = known["startTime"].as_str().unwrap_or(&now).to_owned();
    let spec = pod.spec.clone().unwrap_or_default();
    let mut status =
        json!({"phase": stage.phase(), "startTime": started, "conditions": conditions(&known, stage, &now)});
    let main = |name: &str| state(stage, &since(&known, name, stage, &now), &now, "ContainerCreating");
    status["containerStatuses"] = spec
        .containers
        .iter()
        .map(|one| container(pod, (&one.name, one.image.as_deref()), stage == Stage::Runs, main(&one.name)))
        .collect();
    // They are done before the pod runs.
    let done = if stage == Stage::Waits { Stage::Waits } else { Stage::Over(&Ended::Well) };
    let init = spec.init_containers.unwrap_or_default();
    if !init.is_empty() {
        let told = init.iter().map(|one| {
            let state = state(done, &started, &started, "PodInitializing");
            container(pod, (&one.name, one.image.as_deref()), stage != Stage::Waits, state)
        });
        status["initContainerStatuses"] = told.collect();
    }
    // A pod has an address from its first container on, and keeps it.
    let has = known["podIP"].is_string();
    let address = address.or_else(|| (!has && stage != Stage::Waits).then(|| silent(pod)));
    if let Some(address) = address {
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{"ip": address}]);
        status["hostIP"] = json!(HOST);
        status["hostIPs"] = json!([{"ip": HOST}]);
    }
    status
}

/// When the container began.
fn since(known: &Value, name: &str, stage: Stage<'_>, now: &str) -> String {
    let mut told = known["containerStatuses"].as_array().into_iter().flatten();
    let state = told.find(|one| one["name"] == name).map(|one| &one["state"]);
    let began = ["running", "terminated"].iter().find_map(|kind| state?[kind]["startedAt"].as_str());
    // One that ended before anybody said that it ran began with its pod.
    let pod = known["startTime"].as_str().filter(|_| stage != Stage::Runs);
    began.or(pod).unwrap_or(now).to_owned()
}

fn state(stage: Stage<'_>, since: &str, now: &str, waits_for: &str) -> Value {
    let ended =
        |code: i32, reason: &str| json!({"exitCode": code, "reason": reason, "startedAt": since, "finishedAt": now});
    match stage {
        Stage::Waits => json!({"waiting": {"reason": waits_for}}),
        Stage::Runs => json!({"running": {"startedAt": since}}),
        Stage::Over(Ended::Well) => json!({"terminated": ended(0, "Completed")}),
        Stage::Over(Ended::Badly(why)) => {
            let mut ended = ended(1, "Error");
            if !why.is_empty() {
                ended["message"] = json!(why);
            }
            json!({"terminated": ended})
        }
    }
}

fn container(pod: &Pod, (name, image): (&str, Option<&str>), ready: bool, state: Value) -> Value {
    let image = image.unwrap_or_default();
    let own = format!("{}/{name}", pod.uid().unwrap_or_default());
    let mut told = json!({"name": name, "image": image, "imageID": image_id(image),
        "ready": ready, "started": ready, "restartCount": 0, "state": state});
    if !told["state"]["waiting"].is_object() {
        told["containerID"] = json!(format!("cri-o://{}", digest(&own)));
    }
    told
}

fn conditions(known: &Value, stage: Stage<'_>, now: &str) -> Value {
    let runs = stage == Stage::Runs;
    let one = |kind: &str, on: bool, reason: Option<&str>| {
        let status = if on { "True" } else { "False" };
        let before = known["conditions"].as_array().into_iter().flatten().find(|old| old["type"] == kind);
        let since = before.filter(|old| old["status"] == status).and_then(|old| old["lastTransitionTime"].as_str());
        let mut told = json!({"type": kind, "status": status, "lastTransitionTime": since.unwrap_or(now)});
        if let Some(reason) = reason {
            told["reason"] = json!(reason);
        }
        told
    };
    let ended = stage.ended_as();
    let waits = (stage == Stage::Waits).then_some("ContainersNotReady");
    json!([
        one("PodScheduled", true, None),
        // Initialized stays true; only of one that went well a reason is told.
        one("Initialized", stage != Stage::Waits, ended.filter(|reason| *reason == "PodCompleted")),
        one("ContainersReady", runs, ended.or(waits)),
        one("Ready", runs, ended.or(waits)),
    ])
}

/// An address of the pod network for one that answers nobody, beside those of the kubelet and of guests.
fn silent(pod: &Pod) -> IpAddr {
    let sum = Sha256::digest(pod.uid().unwrap_or_default());
    let [high, low] = [sum.first(), sum.get(1)].map(|byte| byte.copied().unwrap_or_default());
    Ipv4Addr::new(10, 130, high, low.clamp(2, 254)).into()
}

/// `registry/name@sha256:…`, made from the name.
pub(super) fn image_id(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let repository = name.get(slash..).and_then(|last| last.find(':')).map_or(name, |at| &name[..slash + at]);
    format!("{repository}@sha256:{}", digest(image))
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: Value) -> Pod {
        let pod = json!({"metadata": {"name": "p", "uid": "u"}, "status": status,
            "spec": {"initContainers": [{"name": "vddk-side-car", "image": "quay.io/v:1"}],
                "containers": [{"name": "c", "image": "lab/c:latest"}]}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_that_failed_says_error_and_one_that_went_well_completed_as_a_kubelet_does() {
        let of = |ended: &Ended| status(&pod(json!({})), Stage::Over(ended), None);
        let (well, badly) = (of(&Ended::Well), of(&Ended::Badly("why".to_owned())));
        let ended = |status: &Value| status["containerStatuses"][0]["state"]["terminated"].clone();
        assert_eq!((&ended(&well)["reason"], &ended(&well)["exitCode"]), (&json!("Completed"), &json!(0)));
        assert!(ended(&well).get("message").is_none());
        assert_eq!((&ended(&badly)["reason"], &ended(&badly)["exitCode"]), (&json!("Error"), &json!(1)));
        assert_eq!(ended(&badly)["message"], "why");
        assert_eq!((&well["phase"], &badly["phase"]), (&json!("Succeeded"), &json!("Failed")));
        assert_eq!(badly["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
        assert_eq!(badly["conditions"][3]["reason"], "PodFailed");
        assert_eq!(well["conditions"][1]["reason"], "PodCompleted");
        assert!(badly["podIP"].as_str().unwrap().starts_with("10.130."), "{badly}");
        assert!(well["containerStatuses"][0]["imageID"].as_str().unwrap().starts_with("lab/c@sha256:"));
    }

    #[test]
    fn an_images_id_is_its_repository_with_a_digest() {
        let id = image_id("registry:5000/openshift4/ose-must-gather:latest");
        assert!(id.starts_with("registry:5000/openshift4/ose-must-gather@sha256:"), "{id}");
        assert_eq!(id.len(), "registry:5000/openshift4/ose-must-gather@sha256:".len() + 64);
    }

    #[test]
    fn what_was_told_of_a_pod_before_stays_when_it_ends() {
        let then = "2026-01-02T03:04:05Z";
        let before = status(&pod(json!({"startTime": then})), Stage::Runs, Some(Ipv4Addr::new(10, 129, 0, 7).into()));
        assert_eq!((&before["podIP"], &before["startTime"]), (&json!("10.129.0.7"), &json!(then)));
        assert_eq!(before["conditions"][3]["status"], "True");
        let mut known = before.clone();
        known["containerStatuses"][0]["state"]["running"]["startedAt"] = json!(then);
        let after = status(&pod(known), Stage::Over(&Ended::Well), None);
        assert_eq!(after["containerStatuses"][0]["state"]["terminated"]["startedAt"], then);
        assert!(after.get("podIP").is_none(), "a merge leaves it as it is");
        assert_eq!(after["conditions"][0]["lastTransitionTime"], before["conditions"][0]["lastTransitionTime"]);
    }
}
