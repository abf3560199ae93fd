//! Conversions that somebody makes by hand: deep inspections, from MTV 2.12 on (`pkg/controller/conversion`).
//!
//! One makes a snapshot of the VM, lets a pod look at it, tells what that found, and removes the snapshot again. Those that
//! MTV makes for its migrations are told of in [`super::guest_conversions`].

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::conditions::{condition, now, settle, write_status};
use super::platform::PlatformClient;
use super::{Mtv, pods, provider, sources, vddk};
use crate::api::condition::Condition;
use crate::api::forklift::{
    Conversion, ConversionSnapshot, ConversionStatus, InspectionConcern, InspectionFilesystem, InspectionResult,
    ObjRef, OsInfo, Provider,
};
use crate::controllers::kubelet::inspection;
use crate::controllers::objects::{Restart, one_task_each};
use crate::controllers::pod_status::{Ended, Stage};
use crate::controllers::said;
use crate::inventory::model::InvVm;

pub(super) const DEEP: &str = "DeepInspection";
/// As MTV calls it (`pkg/controller/conversion/client.go`).
const SNAPSHOT: &str = "forklift-deep-inspection";
/// Simulated time that the pod looks at all disks: so long that who wants to cancel it can, however fast the clock is.
const LOOKS: Duration = Duration::from_secs(1200);
/// How often a running one is looked at, simulated.
const AGAIN: Duration = Duration::from_secs(10);

pub(super) async fn run(mtv: Arc<Mtv>, stop: CancellationToken) {
    if !mtv.version.at_least(12) {
        stop.cancelled().await;
        return;
    }
    let worker = mtv.clone();
    let work = move |conversion| reconcile(worker.clone(), conversion);
    one_task_each(mtv.client.clone(), &(), Restart::OnNewGeneration, stop, work, |_| {}).await;
}

async fn reconcile(mtv: Arc<Mtv>, conversion: Conversion) {
    let ended = |phase: &str| matches!(phase, "Succeeded" | "Failed" | "Canceled");
    // Those have their snapshot already.
    let of_plan = conversion.labels().contains_key("plan") && conversion.spec.settings.contains_key("SNAPSHOT_MOREF");
    if of_plan || conversion.spec.type_ != DEEP || conversion.status.as_ref().is_some_and(|status| ended(&status.phase))
    {
        return;
    }
    let mut status = ConversionStatus {
        observed_generation: conversion.metadata.generation.unwrap_or_default(),
        phase: "Pending".to_owned(),
        ..ConversionStatus::default()
    };
    status.conditions = refusals(&conversion);
    if !status.conditions.is_empty() {
        write_status(&mtv.client, &conversion, &status).await;
        return;
    }
    let work = Inspection { mtv: &mtv, conversion: &conversion };
    if let Err(why) = work.inspect(&mut status).await {
        let message = format!("The conversion has failed: {why}");
        status.phase = "Failed".to_owned();
        end(&mut status, &message, condition("ConversionFailed", "Critical", "", message.clone()));
        write_status(&mtv.client, &conversion, &status).await;
    }
}

/// What speaks against it (`validation.go`).
fn refusals(conversion: &Conversion) -> Vec<Condition> {
    let spec = &conversion.spec;
    let mut all = Vec::new();
    let mut refuse = |type_: &str, message: &str| all.push(condition(type_, "Critical", "NotSet", message));
    if spec.target_namespace.is_empty() {
        refuse("TargetNamespaceNotSet", "The `targetNamespace` field is required.");
    }
    if spec.vm.id.is_none() && spec.vm.name.is_none() {
        refuse("VMNotSet", "The `VM` reference is not set.");
    }
    if spec.connection.secret.name.as_deref().unwrap_or_default().is_empty() {
        refuse("ConnectionNotSet", "The `Connection.Secret` is required.");
    }
    if spec.vddk_image.as_deref().unwrap_or_default().is_empty() {
        refuse("VDDKImageNotSet", "The `vddkImage` field is required when `type` is DeepInspection.");
    }
    all
}

fn end(status: &mut ConversionStatus, message: &str, condition: Condition) {
    status.message = message.to_owned();
    status.completion_time = Some(now());
    status.conditions = settle(vec![condition], &status.conditions);
}

struct Inspection<'a> {
    mtv: &'a Mtv,
    conversion: &'a Conversion,
}

impl Inspection<'_> {
    async fn tell(&self, status: &mut ConversionStatus, stage: &str, message: &str) {
        status.stage = stage.to_owned();
        status.message = message.to_owned();
        let advice = condition("Advisory", "Advisory", "", message);
        status.conditions = settle(vec![advice], &status.conditions);
        write_status(&self.mtv.client, self.conversion, status).await;
    }

    async fn inspect(&self, status: &mut ConversionStatus) -> Result<(), String> {
        let spec = &self.conversion.spec;
        let vm = spec.vm.id.as_deref().unwrap_or_default();
        let platform = self.connect().await?;
        status.phase = "Running".to_owned();
        status.start_time = Some(now());
        status.snapshot = Some(ConversionSnapshot { owned: true, ..ConversionSnapshot::default() });
        self.tell(status, "CreatingSnapshot", "Creating vSphere snapshot.").await;
        let moref = platform.create_snapshot(vm, SNAPSHOT).await?;
        status.snapshot = Some(ConversionSnapshot { moref: moref.clone(), owned: true });
        let done = self.look(status, platform.as_ref(), vm, &moref).await;
        // Whatever the pod came to, the snapshot goes.
        let removed = platform.remove_snapshot(vm, &moref).await;
        platform.logout().await;
        let canceled = done?;
        removed?;
        status.snapshot = None;
        if canceled {
            let message = "The conversion has been canceled.";
            status.phase = "Canceled".to_owned();
            end(status, message, condition("ConversionCanceled", "Advisory", "", message));
        } else {
            let message = "The conversion has completed successfully.";
            (status.phase, status.stage) = ("Succeeded".to_owned(), "Finished".to_owned());
            end(status, message, condition("Ready", "Required", "", message));
        }
        write_status(&self.mtv.client, self.conversion, status).await;
        Ok(())
    }

    /// Makes the pod and waits until it has looked. True: it was canceled meanwhile.
    async fn look(
        &self,
        status: &mut ConversionStatus,
        platform: &dyn PlatformClient,
        vm: &str,
        moref: &str,
    ) -> Result<bool, String> {
        let spec = &self.conversion.spec;
        self.tell(status, "CreatingPod", "Creating the conversion pod.").await;
        let pods: Api<Pod> = Api::namespaced(self.mtv.client.clone(), &spec.target_namespace);
        let secret = spec.connection.secret.name.as_deref().unwrap_or_default();
        let labels = json!({"forklift.app": "deep-inspection", "conversion": self.conversion.name_any(),
            "conversion-type": DEEP});
        let mut body = pod(&self.conversion.name_any(), labels, spec.vddk_image.as_deref(), vm, moref, secret);
        pods::place(self.mtv, &mut body).await;
        let body: Pod = serde_json::from_value(body).map_err(|error| error.to_string())?;
        let made = pods.create(&PostParams::default(), &body).await.map_err(said::by)?;
        let name = made.name_any();
        pods::tell(&pods, &name, Stage::Runs).await;
        status.pod = Some(ObjRef::new(&spec.target_namespace, &name));
        self.tell(status, "PodRunning", "Conversion pod is running.").await;
        let mut looked = Duration::ZERO;
        while looked < LOOKS {
            self.mtv.clock.sleep(AGAIN).await;
            looked += AGAIN;
            if self.is_canceled().await {
                let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
                return Ok(true);
            }
        }
        self.tell(status, "FetchingResults", "Fetching inspection results from pod.").await;
        status.inspection_result = Some(self.result(platform, vm).await?);
        pods::tell(&pods, &name, Stage::Over(&Ended::Well)).await;
        self.tell(status, "RemovingSnapshot", "Removing vSphere snapshot.").await;
        Ok(false)
    }

    /// Whoever cancels it writes its phase.
    async fn is_canceled(&self) -> bool {
        let namespace = self.conversion.namespace().unwrap_or_default();
        let api: Api<Conversion> = Api::namespaced(self.mtv.client.clone(), &namespace);
        let there = api.get_opt(&self.conversion.name_any()).await.ok().flatten();
        there.and_then(|there| there.status).is_some_and(|status| status.phase == "Canceled")
    }

    /// By the connection's Secret alone: no Provider is named.
    async fn connect(&self) -> Result<Arc<dyn PlatformClient>, String> {
        let secret = &self.conversion.spec.connection.secret;
        let (namespace, name) =
            (secret.namespace.as_deref().unwrap_or_default(), secret.name.as_deref().unwrap_or_default());
        if namespace.is_empty() {
            return Err("Connection.Secret.Namespace not set on Conversion CR".to_owned());
        }
        let api: Api<Secret> = Api::namespaced(self.mtv.client.clone(), namespace);
        let secret = api.get(name).await.map_err(said::by)?;
        let data = secret.data.unwrap_or_default();
        let text = |key: &str| data.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned());
        for key in ["url", "user", "password"] {
            if text(key).unwrap_or_default().is_empty() {
                return Err(format!("connection secret is missing required key '{key}'"));
            }
        }
        let mut provider = Provider::new("", Default::default());
        provider.spec.type_ = "vsphere".to_owned();
        provider.spec.url = text("url").unwrap_or_default();
        let login = provider::login(&provider, &data);
        let source = sources::of("vsphere").ok_or("vsphere is not played")?;
        source.connect(self.mtv, &login).await.map_err(|error| match error {
            super::platform::ConnectError::Auth(why) | super::platform::ConnectError::Failed(why) => why,
        })
    }

    /// What is on the disks of this VM.
    async fn result(&self, platform: &dyn PlatformClient, vm: &str) -> Result<InspectionResult, String> {
        let inventory = platform.collect().await?;
        let inspected =
            inventory.vms.iter().find(|known| known.id == vm).ok_or_else(|| format!("VM {vm} not found"))?;
        Ok(found(self.mtv, inspected))
    }
}

/// The pod that looks at a snapshot.
pub(super) fn pod(
    conversion: &str,
    labels: Value,
    image: Option<&str>,
    vm: &str,
    snapshot: &str,
    secret: &str,
) -> Value {
    let confined = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let library = json!({"name": "vddk-vol-mount", "mountPath": "/opt"});
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": format!("{conversion}-deep-inspection-"), "labels": labels},
        "spec": {"restartPolicy": "Never", "nodeSelector": {"kubevirt.io/schedulable": "true"},
            "securityContext": {"fsGroup": 1001, "runAsNonRoot": true, "runAsUser": 1001,
                "seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/unshare.json"}},
            "initContainers": [vddk::side_car(image)],
            "containers": [{"name": "deep-inspection", "image": "lab/forklift-deep-inspection:latest",
                "env": [{"name": "VM_MOREF", "value": vm}, {"name": "SNAPSHOT_MOREF", "value": snapshot}],
                "resources": {"limits": {"cpu": "2", "memory": "4Gi", "devices.kubevirt.io/kvm": "1"},
                    "requests": {"cpu": "100m", "memory": "512Mi", "devices.kubevirt.io/kvm": "1"}},
                "securityContext": confined,
                "volumeMounts": [library, {"name": "connection-secret", "mountPath": "/etc/secret", "readOnly": true}]}],
            "volumes": [{"name": "vddk-vol-mount", "emptyDir": {}},
                {"name": "connection-secret", "secret": {"secretName": secret}}]}})
}

/// What an inspection tells of a VM.
pub(super) fn found(mtv: &Mtv, vm: &InvVm) -> InspectionResult {
    let guest = vm.nics.iter().find_map(|nic| mtv.guests.by_mac(&nic.mac));
    let Some(guest) = guest else { return InspectionResult::default() };
    let seen = inspection::seen(&guest);
    let text = |at: &str| seen.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let concern = |one: &Value| InspectionConcern {
        id: field(one, "id"),
        category: field(one, "category"),
        label: field(one, "label"),
        message: field(one, "message"),
    };
    let filesystem = |one: &Value| InspectionFilesystem { device: field(one, "device"), type_: field(one, "type") };
    let all = |at: &str| seen[at].as_array().cloned().unwrap_or_default();
    InspectionResult {
        all_checks_passed: seen["passed"] == true,
        os_info: Some(OsInfo {
            name: text("/os_info/name"),
            distro: text("/os_info/distro"),
            version: text("/os_info/major_version"),
            arch: text("/os_info/architecture"),
        }),
        concerns: all("all_concerns").iter().map(concern).collect(),
        filesystems: all("filesystems").iter().map(filesystem).collect(),
    }
}

fn field(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_owned()
}
