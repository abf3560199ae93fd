//! The life of a VirtualMachineInstance, as pure functions.
//!
//! Source: cluster.md §1.5 to §1.8 and §1.10.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::json::{list, text};
use super::vm::Claims;
use crate::ports::GuestProfile;

/// Held by an instance until its guest has shut down.
pub const VMI_FINALIZER: &str = "kubevirt.io/foregroundDeleteVirtualMachine";

/// Simulated time in each phase.
const PENDING: Duration = Duration::from_secs(2);
const SCHEDULING: Duration = Duration::from_secs(5);
const SCHEDULED: Duration = Duration::from_secs(5);
/// From Running to a connected guest agent.
pub const AGENT: Duration = Duration::from_secs(60);
/// The same of a guest that takes its time.
pub const SLOW_AGENT: Duration = Duration::from_secs(400);
/// From the deletion to the end of the guest.
pub const SHUTDOWN: Duration = Duration::from_secs(10);

/// What surrounds an instance.
pub struct Around<'a> {
    pub claims: Claims,
    /// A claim that one node alone may mount, by which the instance is tied to it; asked once it is to run.
    pub tied_by: Option<String>,
    /// The node that fits, if any.
    pub node: Option<String>,
    pub guest: &'a GuestProfile,
    /// Simulated time since the phase (or the deletion) was first seen.
    pub elapsed: Duration,
    pub agent: Agent,
    /// What is told of a NIC behind masquerade is the pod's.
    pub pod_addresses: bool,
    pub now: &'a str,
}

/// When a guest's agent is connected, in simulated time since the instance runs.
#[derive(Debug, Clone, Copy)]
pub struct Agent {
    /// From then on; nothing: never.
    pub from: Option<Duration>,
    /// But not between these: the guest restarts by itself.
    pub reboot: Option<(Duration, Duration)>,
}

impl Agent {
    fn reboots(&self, elapsed: Duration) -> bool {
        self.reboot.is_some_and(|(begin, end)| (begin..end).contains(&elapsed))
    }
    fn connected(&self, elapsed: Duration) -> bool {
        self.from.is_some_and(|from| elapsed >= from) && !self.reboots(elapsed)
    }
    /// When that changes next.
    fn next(&self, elapsed: Duration) -> Option<Duration> {
        let from = self.from?;
        let (begin, end) = self.reboot.unwrap_or((from, from));
        [from, begin, end].into_iter().find(|at| *at > elapsed)
    }
}

/// The next move of an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing before this simulated time.
    Wait(Duration),
    /// Nothing until an event.
    Rest,
    /// Write this status and look again.
    Status(Value),
    /// The guest is down: let go of the object.
    Release,
}

/// The MACs of an instance's interfaces, in order, as they are in the guest.
pub fn macs(vmi: &Value) -> Vec<String> {
    let id = format!("{}/{}", text(vmi, "/metadata/namespace"), text(vmi, "/metadata/name"));
    list(vmi, "/spec/domain/devices/interfaces")
        .iter()
        .enumerate()
        .map(|(index, interface)| match text(interface, "/macAddress") {
            "" => {
                let digest = Sha256::digest(format!("{id}/{index}").as_bytes());
                format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", digest[0], digest[1], digest[2], digest[3], digest[4])
            }
            // A template may write dashes and capitals; the domain never does.
            mac => mac.to_lowercase().replace('-', ":"),
        })
        .collect()
}

/// The instance of a VM.
pub fn render(vm: &Value) -> Value {
    let mut spec = vm.pointer("/spec/template/spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(cpu) = spec.pointer_mut("/domain").and_then(Value::as_object_mut) {
        cpu.entry("devices").or_insert_with(|| json!({}));
        let cpu = cpu.entry("cpu").or_insert_with(|| json!({}));
        if let Some(fields) = cpu.as_object_mut() {
            if !["sockets", "cores", "threads"]
                .iter()
                .any(|key| fields.get(*key).and_then(Value::as_u64).unwrap_or(0) > 0)
            {
                fields.extend(["sockets", "cores", "threads"].map(|key| (key.to_owned(), json!(1))));
            }
            fields.entry("model").or_insert_with(|| json!("host-model"));
        }
    }
    if text(&spec, "/domain/memory/guest").is_empty() {
        let request = spec.pointer("/domain/resources/requests/memory").cloned();
        if let (Some(request), Some(domain)) = (request, spec.pointer_mut("/domain").and_then(Value::as_object_mut)) {
            domain.insert("memory".to_owned(), json!({"guest": request}));
        }
    }
    let own = |key: &str| vm.pointer(&format!("/spec/template/metadata/{key}")).cloned().unwrap_or_else(|| json!({}));
    let mut annotations = own("annotations");
    if let (Some(fields), Some(generation)) = (annotations.as_object_mut(), vm.pointer("/metadata/generation")) {
        fields.insert("kubevirt.io/vm-generation".to_owned(), json!(generation.to_string()));
    }
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {
            "name": text(vm, "/metadata/name"), "namespace": text(vm, "/metadata/namespace"),
            "labels": own("labels"), "annotations": annotations, "finalizers": [VMI_FINALIZER],
            "ownerReferences": [{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
                "name": text(vm, "/metadata/name"), "uid": text(vm, "/metadata/uid"),
                "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": spec,
    })
}

/// What comes next.
pub fn step(vmi: &Value, around: &Around<'_>) -> Step {
    let phase = text(vmi, "/status/phase");
    if super::vm::is_deleting(vmi) {
        return match phase {
            "Succeeded" | "Failed" => Step::Release,
            _ if around.elapsed < SHUTDOWN => Step::Wait(SHUTDOWN - around.elapsed),
            _ => Step::Status(ended(vmi, around)),
        };
    }
    let after = |limit: Duration, next: &dyn Fn() -> Step| {
        if around.elapsed < limit { Step::Wait(limit - around.elapsed) } else { next() }
    };
    match phase {
        "" => Step::Status(status(
            vmi,
            around,
            "Pending",
            vec![not_ready(around, "GuestNotRunning", "Guest VM is not reported as running")],
        )),
        "Pending" => after(PENDING, &|| pending(vmi, around)),
        "Scheduling" => after(SCHEDULING, &|| match &around.node {
            Some(_) => Step::Status(status(
                vmi,
                around,
                "Scheduled",
                vec![not_ready(around, "GuestNotRunning", "Guest VM is not reported as running")],
            )),
            None => unless_said(vmi, "PodScheduled", || {
                let blocked = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0 nodes are available: no node matches the VM's node selector/affinity",
                    "lastProbeTime": null, "lastTransitionTime": around.now});
                status(
                    vmi,
                    around,
                    "Scheduling",
                    vec![not_ready(around, "PodConditionMissing", "virt-launcher pod is not scheduled"), blocked],
                )
            }),
        }),
        "Scheduled" => after(SCHEDULED, &|| Step::Status(running(vmi, around, false))),
        "Running" => {
            let told = super::vm::condition(vmi, "AgentConnected").is_some();
            // What was seen earlier stands, unless the guest restarts.
            let connected = around.agent.connected(around.elapsed) || (told && !around.agent.reboots(around.elapsed));
            match around.agent.next(around.elapsed) {
                _ if told != connected => Step::Status(running(vmi, around, connected)),
                Some(at) => Step::Wait(at - around.elapsed),
                None => Step::Rest,
            }
        }
        _ => Step::Rest,
    }
}

/// Nothing again if the condition has been said already.
fn unless_said(vmi: &Value, kind: &str, status: impl FnOnce() -> Value) -> Step {
    match super::vm::condition(vmi, kind) {
        Some(_) => Step::Wait(Duration::from_secs(30)),
        None => Step::Status(status()),
    }
}

fn pending(vmi: &Value, around: &Around<'_>) -> Step {
    match around.claims {
        Claims::Bound => Step::Status(status(
            vmi,
            around,
            "Scheduling",
            vec![not_ready(around, "GuestNotRunning", "Guest VM is not reported as running")],
        )),
        Claims::Unbound | Claims::Provisioning => Step::Rest,
        Claims::Missing => unless_said(vmi, "Synchronized", || {
            let missing = json!({"type": "Synchronized", "status": "False", "reason": "FailedPvcNotFound",
                "message": "a PersistentVolumeClaim of the VirtualMachineInstance does not exist",
                "lastProbeTime": null, "lastTransitionTime": around.now});
            status(
                vmi,
                around,
                "Pending",
                vec![not_ready(around, "PodNotExists", "virt-launcher pod has not yet been scheduled"), missing],
            )
        }),
    }
}

fn not_ready(around: &Around<'_>, reason: &str, message: &str) -> Value {
    json!({"type": "Ready", "status": "False", "reason": reason, "message": message, "lastProbeTime": null, "lastTransitionTime": around.now})
}

/// The status in a phase: keeps what was there, stamps a new phase.
fn status(vmi: &Value, around: &Around<'_>, phase: &str, conditions: Vec<Value>) -> Value {
    let mut status = vmi.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}));
    let changed = text(vmi, "/status/phase") != phase;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("phase".to_owned(), json!(phase));
        fields.insert("conditions".to_owned(), Value::Array(conditions));
        if changed {
            let mut stamps = list(vmi, "/status/phaseTransitionTimestamps").to_vec();
            stamps.push(json!({"phase": phase, "phaseTransitionTimestamp": around.now}));
            fields.insert("phaseTransitionTimestamps".to_owned(), Value::Array(stamps));
        }
        if matches!(phase, "Scheduled" | "Running") {
            if let (None, Some(node)) = (fields.get("nodeName"), &around.node) {
                fields.insert("nodeName".to_owned(), json!(node));
                fields.insert("migrationTransport".to_owned(), json!("Unix"));
            }
            fields.insert("volumeStatus".to_owned(), volumes(vmi, phase == "Running"));
            fields.insert("interfaces".to_owned(), interfaces(vmi, around, phase == "Running", false));
        }
    }
    status
}

fn running(vmi: &Value, around: &Around<'_>, agent: bool) -> Value {
    let mut conditions = vec![
        json!({"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": around.now}),
        live_migratable(around.tied_by.as_deref()),
        json!({"type": "StorageLiveMigratable", "status": "True", "lastProbeTime": null, "lastTransitionTime": null}),
    ];
    // Who paused it takes that back.
    if let Some(paused) = super::vm::condition(vmi, "Paused") {
        conditions.push(paused.clone());
        if let (Some(before), Some(ready)) = (super::vm::condition(vmi, "Ready"), conditions.first_mut()) {
            *ready = before.clone();
        }
    }
    if agent {
        if let (Some(before), Some(ready)) = (super::vm::condition(vmi, "Ready"), conditions.first_mut()) {
            *ready = before.clone();
        }
        conditions.push(json!({"type": "AgentConnected", "status": "True", "lastProbeTime": around.now, "lastTransitionTime": null}));
    }
    let mut status = status(vmi, around, "Running", conditions);
    if !agent && status.get("guestOSInfo").is_some() {
        // A merge takes away what is null.
        status["guestOSInfo"] = Value::Null;
    }
    if agent {
        status["interfaces"] = interfaces(vmi, around, true, true);
        status["guestOSInfo"] = crate::guests::os_info(around.guest);
    }
    status["machine"] = json!({"type": "pc-q35-rhel9.6.0"});
    status
}

/// `calculateLiveMigrationCondition` (pkg/virt-handler/vm.go), as far as the lab's VMs go.
pub(super) fn live_migratable(tied_by: Option<&str>) -> Value {
    match tied_by {
        None => json!({"type": "LiveMigratable", "status": "True", "lastProbeTime": null, "lastTransitionTime": null}),
        Some(claim) => json!({"type": "LiveMigratable", "status": "False", "reason": "DisksNotLiveMigratable",
            "message": format!("cannot migrate VMI: PVC {claim} is not shared, live migration requires that all PVCs must \
                be shared (using ReadWriteMany access mode)"),
            "lastProbeTime": null, "lastTransitionTime": null}),
    }
}

fn ended(vmi: &Value, around: &Around<'_>) -> Value {
    status(vmi, around, "Succeeded", vec![not_ready(around, "PodTerminating", "virt-launcher pod is terminating")])
}

/// `status.interfaces`: the domain's view, and the guest's where its agent speaks. Without an agent
/// only an interface on the pod network has an address.
fn interfaces(vmi: &Value, around: &Around<'_>, domain: bool, agent: bool) -> Value {
    let on_pod_network =
        |name: &str| list(vmi, "/spec/networks").iter().any(|n| text(n, "/name") == name && n.get("pod").is_some());
    let mut all = Vec::new();
    for (index, (interface, mac)) in list(vmi, "/spec/domain/devices/interfaces").iter().zip(macs(vmi)).enumerate() {
        let name = text(interface, "/name");
        let primary = on_pod_network(name);
        let sources: Vec<&str> = [(domain, "domain"), (agent, "guest-agent"), (!primary, "multus-status")]
            .into_iter()
            .filter_map(|(is, source)| is.then_some(source))
            .collect();
        let mut entry = json!({"name": name, "mac": mac, "podInterfaceName": if primary { "eth0".to_owned() } else { format!("pod{index}") },
            "infoSource": sources.join(", "), "queueCount": 1, "linkState": if text(interface, "/state") == "down" { "down" } else { "up" }});
        let nic = around.guest.nics.get(index);
        let addresses: Vec<String> = match nic {
            // Its own, or what the pod network's DHCP gave the pod.
            Some(nic) if primary && masqueraded(interface) && around.pod_addresses => {
                vec![crate::guests::view::lease(&nic.mac).to_string()]
            }
            Some(nic) if agent || primary => nic.addresses.iter().map(|(address, _)| address.to_string()).collect(),
            _ => Vec::new(),
        };
        if let Some(fields) = entry.as_object_mut() {
            if let Some(first) = addresses.first() {
                fields.insert("ipAddress".to_owned(), json!(first));
                fields.insert("ipAddresses".to_owned(), json!(addresses));
            }
            if let (Some(nic), true) = (nic, agent) {
                fields.insert("interfaceName".to_owned(), json!(nic.name));
            }
        }
        // The pod network's interface is always the first.
        if primary { all.insert(0, entry) } else { all.push(entry) }
    }
    Value::Array(all)
}

fn masqueraded(interface: &Value) -> bool {
    interface.get("masquerade").is_some()
}

fn volumes(vmi: &Value, running: bool) -> Value {
    let mut all: Vec<Value> = list(vmi, "/spec/volumes")
        .iter()
        .enumerate()
        .map(|(index, volume)| {
            let letter = char::from(b'a' + u8::try_from(index % 26).unwrap_or(0));
            let claim = text(volume, "/persistentVolumeClaim/claimName");
            let mut entry = json!({"name": text(volume, "/name"), "target": if running { format!("vd{letter}") } else { String::new() }});
            if !claim.is_empty() {
                entry["persistentVolumeClaimInfo"] = json!({"claimName": claim});
            }
            entry
        })
        .collect();
    all.sort_by(|a, b| text(a, "/name").cmp(text(b, "/name")));
    Value::Array(all)
}
