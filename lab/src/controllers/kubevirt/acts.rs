//! What is done to a VM or its instance while it runs, besides power: pause, reset, live migration, volumes that are
//! plugged in. Source: cluster.md §2.2.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::json::{list, text};
use super::subresources::{conflict, internal, refusal};
use super::{migrations, now, value, vm, vm_resource, vmi_resource};
use crate::ports::SubresourceError;

type Done = Result<(), SubresourceError>;

/// What a verb changes of an instance's status; the error is the reason of the 409.
pub(super) fn on_instance(vmi: &Value, verb: &str, now: &str) -> Result<Value, &'static str> {
    if text(vmi, "/status/phase") != "Running" {
        return Err("VMI is not running");
    }
    let paused = vm::condition(vmi, "Paused").is_some_and(|c| text(c, "/status") == "True");
    let mut conditions = list(vmi, "/status/conditions").to_vec();
    let ready = |on: bool| {
        let mut ready = json!({"type": "Ready", "status": if on { "True" } else { "False" }, "lastProbeTime": null,
            "lastTransitionTime": now});
        if !on {
            ready["reason"] = json!("ReadinessGatesNotReady");
            ready["message"] = json!(
                "the status of pod readiness gate \"kubevirt.io/virtual-machine-unpaused\" is not \"True\", but False"
            );
        }
        ready
    };
    match verb {
        "pause" if paused => return Err("VMI is already paused"),
        "pause" => {
            conditions.retain(|c| text(c, "/type") != "Ready");
            conditions.insert(0, ready(false));
            conditions.push(json!({"type": "Paused", "status": "True", "reason": "PausedByUser",
                "message": "VMI was paused by user", "lastProbeTime": now, "lastTransitionTime": now}));
        }
        "unpause" if !paused => return Err("VMI is not paused"),
        "unpause" => {
            conditions.retain(|c| !matches!(text(c, "/type"), "Ready" | "Paused"));
            conditions.insert(0, ready(true));
        }
        _ if paused => return Err("VMI is paused"),
        "freeze" => return Ok(json!({"fsFreezeStatus": "frozen"})),
        "unfreeze" => return Ok(json!({"fsFreezeStatus": null})),
        // The guest restarts: its agent is gone until it answers again.
        _ => {
            conditions.retain(|c| text(c, "/type") != "AgentConnected");
            return Ok(json!({"conditions": conditions, "guestOSInfo": null}));
        }
    }
    Ok(json!({ "conditions": conditions }))
}

/// The VM with the volume of `body` plugged in or out; the error is code and message.
pub(super) fn with_volume(vm: &Value, add: bool, body: &Value) -> Result<Value, (u16, String)> {
    let name = text(body, "/name");
    let bad = |why: &str| Err((400, why.to_owned()));
    if name.is_empty() {
        return bad(if add {
            "AddVolumeOptions requires name to be set"
        } else {
            "RemoveVolumeOptions requires name to be set"
        });
    }
    let mut disks = list(vm, "/spec/template/spec/domain/devices/disks").to_vec();
    let mut volumes = list(vm, "/spec/template/spec/volumes").to_vec();
    let known = volumes.iter().find(|volume| text(volume, "/name") == name);
    let plugged = |volume: &Value| {
        ["persistentVolumeClaim", "dataVolume"].iter().any(|source| volume[*source]["hotpluggable"] == true)
    };
    match known {
        Some(_) if add => {
            return Err((409, format!("Unable to add volume [{name}] because volume with that name already exists")));
        }
        None if !add => return Err((409, format!("Unable to remove volume [{name}] because it does not exist"))),
        Some(volume) if !add && !plugged(volume) => {
            return Err((409, format!("Unable to remove volume [{name}] because it is not hotpluggable")));
        }
        _ => {}
    }
    if add {
        let Some(disk) = body.get("disk").filter(|disk| disk.is_object()) else {
            return bad("AddVolumeOptions requires disk to not be nil");
        };
        let Some(source) = body.get("volumeSource").and_then(Value::as_object) else {
            return bad("AddVolumeOptions requires VolumeSource to not be nil");
        };
        let mut volume = json!({ "name": name });
        for (kind, given) in source {
            volume[kind] = given.clone();
            volume[kind]["hotpluggable"] = json!(true);
        }
        let mut disk = disk.clone();
        disk["name"] = json!(name);
        disks.push(disk);
        volumes.push(volume);
    } else {
        disks.retain(|disk| text(disk, "/name") != name);
        volumes.retain(|volume| text(volume, "/name") != name);
    }
    Ok(json!({"domain": {"devices": {"disks": disks}}, "volumes": volumes}))
}

/// Cluster access for one object.
pub(super) struct Acts<'a> {
    pub client: &'a kube::Client,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Acts<'_> {
    fn vms(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, &vm_resource())
    }
    fn vmis(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, &vmi_resource())
    }

    async fn vm(&self) -> Result<Value, SubresourceError> {
        let found = self.vms().get_opt(self.name).await.map_err(internal)?;
        found.map(|vm| value(&vm)).ok_or_else(|| self.gone("virtualmachine"))
    }
    async fn vmi(&self) -> Result<Option<Value>, SubresourceError> {
        Ok(self.vmis().get_opt(self.name).await.map_err(internal)?.map(|vmi| value(&vmi)))
    }
    fn gone(&self, kind: &str) -> SubresourceError {
        refusal(404, "NotFound", format!("{kind}.kubevirt.io \"{}\" not found", self.name))
    }

    /// `pause`, `unpause`, `freeze`, `unfreeze`, `reset`, `softreboot`.
    pub async fn instance(&self, verb: &str) -> Done {
        let kind = "virtualmachineinstance";
        let vmi = self.vmi().await?.ok_or_else(|| self.gone(kind))?;
        let status = on_instance(&vmi, verb, &now()).map_err(|why| conflict(kind, self.name, why))?;
        super::write_vmi_status(&self.vmis(), self.name, &status).await.map_err(internal)
    }

    pub async fn migrate(&self, body: &Value) -> Done {
        self.vm().await?;
        let live = self.vmi().await?.filter(|vmi| text(vmi, "/status/phase") == "Running");
        let Some(vmi) = live else { return Err(conflict("virtualmachine", self.name, "VM is not running")) };
        let stays = vm::condition(&vmi, "LiveMigratable").filter(|c| text(c, "/status") == "False");
        if let Some(stays) = stays {
            let why =
                format!("Cannot migrate VMI, Reason: {}, Message: {}", text(stays, "/reason"), text(stays, "/message"));
            let webhook = "admission webhook \"migration-create-validator.kubevirt.io\" denied the request: ";
            return Err(internal(format!("{webhook}{why}")));
        }
        let mut asked = migrations::request(self.name);
        if let Some(nodes) = body.get("addedNodeSelector").filter(|nodes| nodes.is_object()) {
            asked["spec"]["addedNodeSelector"] = nodes.clone();
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), self.namespace, &migrations::resource());
        let asked = serde_json::from_value(asked).map_err(internal)?;
        api.create(&PostParams::default(), &asked).await.map(drop).map_err(internal)
    }

    /// `addvolume`, `removevolume`: of the VM, and of its instance where it runs.
    pub async fn volume(&self, add: bool, body: &Value) -> Done {
        let vm = self.vm().await?;
        let spec = with_volume(&vm, add, body).map_err(|(code, why)| match code {
            409 => conflict("virtualmachine", self.name, &why),
            _ => refusal(400, "BadRequest", why),
        })?;
        let patch = Patch::Merge(json!({"spec": {"template": {"spec": spec}}}));
        self.vms().patch(self.name, &PatchParams::default(), &patch).await.map_err(internal)?;
        let Some(vmi) = self.vmi().await?.filter(|vmi| text(vmi, "/status/phase") == "Running") else { return Ok(()) };
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.vmis().patch(self.name, &PatchParams::default(), &patch).await.map_err(internal)?;
        let name = text(body, "/name");
        let mut told = list(&vmi, "/status/volumeStatus").to_vec();
        told.retain(|volume| text(volume, "/name") != name);
        if add {
            let claim = ["persistentVolumeClaim/claimName", "dataVolume/name"]
                .iter()
                .map(|at| text(body, &format!("/volumeSource/{at}")))
                .find(|claim| !claim.is_empty());
            told.push(json!({"name": name, "target": format!("sd{}", char::from(b'a' + u8::try_from(told.len() % 26).unwrap_or(0))),
                "phase": "Ready", "reason": "VolumeReady", "message": format!("Successfully attach hotplugged volume {name} to VM"),
                "hotplugVolume": {"attachPodName": format!("hp-volume-{name}")},
                "persistentVolumeClaimInfo": {"claimName": claim}}));
            told.sort_by(|a, b| text(a, "/name").cmp(text(b, "/name")));
        }
        super::write_vmi_status(&self.vmis(), self.name, &json!({ "volumeStatus": told })).await.map_err(internal)
    }
}
