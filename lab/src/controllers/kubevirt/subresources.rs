//! KubeVirt's subresources: power, port-forward, guest data. Source: cluster.md §1.2 and §2.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::acts::Acts;
use super::json::{list, text};
use super::{expand, value, vm, vm_resource, vmi, vmi_resource};
use crate::controllers::copiers::requested;
use crate::guests::access::Access;
use crate::guests::{Guests, filesystems, os_info};
use crate::ports::{GuestStream, KubevirtSubresources, SubresourceError};

/// The volumes of which cloud-init reads.
const CLOUD_INIT: [&str; 2] = ["cloudInitNoCloud", "cloudInitConfigDrive"];

/// Answers for the API server.
pub struct Subresources {
    client: Client,
    guests: Arc<Guests>,
}

pub(super) fn refusal(code: u16, reason: &str, message: impl Into<String>) -> SubresourceError {
    SubresourceError { code, reason: reason.to_owned(), message: message.into() }
}

pub(super) fn conflict(kind: &str, name: &str, why: &str) -> SubresourceError {
    refusal(409, "Conflict", format!("Operation cannot be fulfilled on {kind}.kubevirt.io \"{name}\": {why}"))
}

pub(super) fn internal(error: impl std::fmt::Display) -> SubresourceError {
    refusal(500, "InternalError", format!("Internal error occurred: {error}"))
}

impl Subresources {
    pub fn new(client: Client, guests: Arc<Guests>) -> Self {
        Self { client, guests }
    }

    async fn instance(&self, namespace: &str, name: &str) -> Result<Option<Value>, SubresourceError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &vmi_resource());
        Ok(api.get_opt(name).await.map_err(internal)?.map(|vmi| value(&vmi)))
    }
}

impl Subresources {
    /// The sizes of an instance's disks, as their claims have them.
    async fn disks(&self, namespace: &str, vmi: &Value) -> Vec<u64> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let mut disks = Vec::new();
        for volume in list(vmi, "/spec/volumes") {
            let named = ["/persistentVolumeClaim/claimName", "/dataVolume/name"].map(|at| text(volume, at));
            let Some(name) = named.into_iter().find(|name| !name.is_empty()) else { continue };
            if let Ok(Some(claim)) = claims.get_opt(name).await {
                disks.push(requested(&claim));
            }
        }
        disks
    }

    /// What an instance's `accessCredentials` and its cloud-init disk put into its guest.
    async fn access(&self, namespace: &str, vmi: &Value) -> Access {
        let mut access = Access::default();
        for credential in list(vmi, "/spec/accessCredentials") {
            let secret = text(credential, "/sshPublicKey/source/secret/secretName");
            for file in self.secret(namespace, secret).await {
                access.add_keys(&file.1);
            }
            let users = list(credential, "/sshPublicKey/propagationMethod/qemuGuestAgent/users");
            access.users.extend(users.iter().filter_map(Value::as_str).map(|user| (user.to_owned(), None)));
        }
        let mut disks = Vec::new();
        for volume in list(vmi, "/spec/volumes") {
            for kind in CLOUD_INIT {
                disks.extend(volume.get(kind));
            }
        }
        for disk in disks {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text(disk, "/userDataBase64"));
            access.add_user_data(text(disk, "/userData"));
            access.add_user_data(&String::from_utf8_lossy(&decoded.unwrap_or_default()));
            let data = self.secret(namespace, text(disk, "/secretRef/name")).await;
            for (_, file) in data.iter().filter(|(name, _)| name.eq_ignore_ascii_case("userdata")) {
                access.add_user_data(file);
            }
        }
        access
    }

    /// The files of a secret; none where there is no such.
    async fn secret(&self, namespace: &str, name: &str) -> Vec<(String, String)> {
        if name.is_empty() {
            return Vec::new();
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let data = secrets.get_opt(name).await.ok().flatten().and_then(|secret| secret.data).unwrap_or_default();
        data.into_iter().map(|(name, bytes)| (name, String::from_utf8_lossy(&bytes.0).into_owned())).collect()
    }
}

#[async_trait]
impl KubevirtSubresources for Subresources {
    async fn portforward(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<Box<dyn GuestStream>, SubresourceError> {
        let kind = "virtualmachineinstance";
        let vmi = self.instance(namespace, name).await?;
        let vmi = vmi.ok_or_else(|| refusal(404, "NotFound", format!("{kind}.kubevirt.io \"{name}\" not found")))?;
        if text(&vmi, "/status/phase") != "Running" {
            return Err(conflict(kind, name, "VMI is not running"));
        }
        if vm::condition(&vmi, "Paused").is_some() {
            return Err(conflict(kind, name, "VMI is paused"));
        }
        let address = text(&vmi, "/status/interfaces/0/ipAddress");
        if port != 22 {
            return Err(internal(format!("dialing VM: dial tcp {address}:{port}: connect: connection refused")));
        }
        let disks = self.disks(namespace, &vmi).await;
        let access = self.access(namespace, &vmi).await;
        self.guests
            .connect(&vmi::macs(&vmi), disks, &access)
            .ok_or_else(|| refusal(400, "BadRequest", "no network interfaces are present"))
    }

    async fn screen(&self, namespace: &str, name: &str, what: &str) -> Result<Box<dyn GuestStream>, SubresourceError> {
        let kind = "virtualmachineinstance";
        let vmi = self.instance(namespace, name).await?;
        let vmi = vmi.ok_or_else(|| refusal(404, "NotFound", format!("{kind}.kubevirt.io \"{name}\" not found")))?;
        let (device, missing) = match what {
            "console" => ("autoattachSerialConsole", "No serial consoles are present."),
            _ => ("autoattachGraphicsDevice", "No graphics devices are present."),
        };
        if vmi.pointer(&format!("/spec/domain/devices/{device}")) == Some(&json!(false)) {
            return Err(refusal(400, "BadRequest", missing));
        }
        if text(&vmi, "/status/phase") != "Running" {
            return Err(conflict(kind, name, "VMI is not running"));
        }
        let domain = format!("QEMU ({namespace}_{name})");
        match what {
            "console" => {
                let disks = self.disks(namespace, &vmi).await;
                Ok(self.guests.console(&vmi::macs(&vmi), disks))
            }
            _ => Ok(self.guests.screen(domain)),
        }
    }

    async fn power(&self, namespace: &str, name: &str, verb: &str) -> Result<(), SubresourceError> {
        let kind = "virtualmachine";
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &vm_resource());
        let found = api.get_opt(name).await.map_err(internal)?.map(|vm| value(&vm));
        let vm = found.ok_or_else(|| refusal(404, "NotFound", format!("{kind}.kubevirt.io \"{name}\" not found")))?;
        let vmi = self.instance(namespace, name).await?;
        match plan_power(&vm, vmi.as_ref(), verb).map_err(|why| conflict(kind, name, &why))? {
            Power::Spec(patch) => api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await,
            Power::Requests(requests) => {
                let patch = Patch::Merge(json!({"status": {"stateChangeRequests": requests}}));
                api.patch_status(name, &PatchParams::default(), &patch).await
            }
        }
        .map(drop)
        .map_err(internal)
    }

    async fn act(&self, namespace: &str, name: &str, verb: &str, body: &Value) -> Result<(), SubresourceError> {
        let acts = Acts { client: &self.client, namespace, name };
        match verb {
            "migrate" => acts.migrate(body).await,
            "addvolume" | "removevolume" => acts.volume(verb == "addvolume", body).await,
            "memorydump" | "removememorydump" => {
                Err(refusal(400, "BadRequest", "memory is not dumped in this lab: its guests have none"))
            }
            _ => acts.instance(verb).await,
        }
    }

    async fn expand_spec(&self, namespace: &str, name: &str) -> Result<Value, SubresourceError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &vm_resource());
        let found = api.get_opt(name).await.map_err(internal)?.map(|vm| value(&vm));
        let vm = found
            .ok_or_else(|| refusal(404, "NotFound", format!("virtualmachine.kubevirt.io \"{name}\" not found")))?;
        expand::expanded(&self.client, &vm).await.map_err(internal)
    }

    async fn guest_info(&self, namespace: &str, name: &str, what: &str) -> Result<Value, SubresourceError> {
        let vmi = self.instance(namespace, name).await?;
        let Some(vmi) = vmi.filter(|vmi| vm::condition(vmi, "AgentConnected").is_some()) else {
            return Err(internal("VMI does not have guest agent connected"));
        };
        let guest = self.guests.view(&vmi::macs(&vmi));
        Ok(match what {
            "guestosinfo" => json!({"guestAgentVersion": "9.0.0", "hostname": guest.hostname, "timezone": "UTC, 0",
                "fsFreezeStatus": "thawed", "os": os_info(&guest), "supportedCommands": [], "userList": [],
                "fsInfo": {"disks": filesystems(&guest, &self.disks(namespace, &vmi).await)}}),
            "filesystemlist" => {
                json!({"metadata": {}, "items": filesystems(&guest, &self.disks(namespace, &vmi).await)})
            }
            _ => json!({"metadata": {}, "items": []}),
        })
    }
}

/// How a power verb reaches the controller.
#[derive(Debug, PartialEq)]
pub(super) enum Power {
    Spec(Value),
    Requests(Value),
}

/// What a verb does to a VM; the error is the reason of the 409.
pub(super) fn plan_power(vm: &Value, vmi: Option<&Value>, verb: &str) -> Result<Power, String> {
    let strategy = vm::run_strategy(vm);
    let live = vmi.filter(|vmi| !vm::is_final(vmi));
    let rewrite = |run: bool| {
        let by_flag = vm.pointer("/spec/running").is_some_and(Value::is_boolean);
        let strategy = if run { "Always" } else { "Halted" };
        Power::Spec(if by_flag {
            json!({"spec": {"running": run}})
        } else {
            json!({"spec": {"runStrategy": strategy}})
        })
    };
    let uid = vmi.map(|vmi| text(vmi, "/metadata/uid").to_owned()).unwrap_or_default();
    match (verb, strategy.as_str()) {
        ("start", _) if live.is_some_and(|vmi| !text(vmi, "/status/phase").is_empty()) => {
            Err("VM is already running".to_owned())
        }
        ("start", "Always" | "Once") => Err(format!("{strategy} does not support manual start requests")),
        ("start", "Halted") => Ok(rewrite(true)),
        ("start", _) => Ok(Power::Requests(json!([{"action": "Start"}]))),
        ("restart", "Halted" | "Once") => {
            Err(format!("RunStategy {strategy} does not support manual restart requests"))
        }
        ("stop" | "restart", _) if live.is_none() => Err("VM is not running".to_owned()),
        ("stop", "Halted") => Err("Halted only supports manual stop requests with a shorter graceperiod".to_owned()),
        ("stop", "Always" | "Once") => Ok(rewrite(false)),
        ("stop", _) => Ok(Power::Requests(json!([{"action": "Stop", "uid": uid}]))),
        ("restart", _) => Ok(Power::Requests(json!([{"action": "Stop", "uid": uid}, {"action": "Start"}]))),
        _ => Err(format!("unknown verb {verb}")),
    }
}
