//! What a VirtualMachine asks for and what its status says: pure functions of the objects.
//!
//! Source: cluster.md §1.2 to §1.4.

use serde_json::{Value, json};

use super::json::{list, text};

/// Held by a VM until its instance is gone.
pub const VM_FINALIZER: &str = "kubevirt.io/virtualMachineControllerFinalize";

/// What to do now, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub create_vmi: bool,
    pub delete_vmi: bool,
    /// All owed to a deleted VM is done.
    pub release: bool,
    /// The whole new `status`.
    pub status: Value,
}

/// Where the claims of a VM stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claims {
    Bound,
    Unbound,
    Missing,
    /// A DataVolume is still being filled.
    Provisioning,
}

/// The strategy, `running` translated.
pub fn run_strategy(vm: &Value) -> String {
    match (text(vm, "/spec/runStrategy"), vm.pointer("/spec/running").and_then(Value::as_bool)) {
        ("", Some(true)) => "Always".to_owned(),
        ("", _) => "Halted".to_owned(),
        (strategy, _) => strategy.to_owned(),
    }
}

pub fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|stamp| !stamp.is_null())
}

/// Whether the instance has ended.
pub fn is_final(vmi: &Value) -> bool {
    matches!(text(vmi, "/status/phase"), "Succeeded" | "Failed")
}

/// The claims that a pod or VM template's volumes name.
pub fn claim_names(pod_spec: &Value) -> Vec<String> {
    list(pod_spec, "/volumes")
        .iter()
        .filter_map(|volume| {
            let claim = text(volume, "/persistentVolumeClaim/claimName");
            let name = if claim.is_empty() { text(volume, "/dataVolume/name") } else { claim };
            (!name.is_empty()).then(|| name.to_owned())
        })
        .collect()
}

/// Decides over a VM, its instance and its claims.
pub fn decide(vm: &Value, vmi: Option<&Value>, claims: Claims, now: &str) -> Decision {
    let strategy = run_strategy(vm);
    let deleting = is_deleting(vm);
    let mut requests: Vec<Value> = list(vm, "/status/stateChangeRequests").to_vec();
    let asked = |action: &str, requests: &[Value]| requests.first().is_some_and(|r| text(r, "/action") == action);
    let gone = vmi.is_none();
    let ending = vmi.is_some_and(is_deleting);
    let ended = vmi.is_some_and(is_final);
    let (mut create, mut delete) = (false, false);

    if deleting {
        delete = !gone && !ending;
    } else {
        if asked("Stop", &requests) {
            delete = !gone && !ending;
            if gone || ending {
                requests.remove(0);
            }
        } else if asked("Start", &requests) {
            create = gone;
            delete = ended && !ending;
            if vmi.is_some_and(|_| !ended && !ending) {
                requests.remove(0);
            }
        } else {
            let remembered = text(vm, "/status/runStrategy");
            match strategy.as_str() {
                "Always" => {
                    create = gone;
                    delete = ended && !ending;
                }
                "RerunOnFailure" => {
                    create = gone && remembered != "RerunOnFailure";
                    delete = ended && !ending;
                    if vmi.is_some_and(|vmi| text(vmi, "/status/phase") == "Failed") && !ending {
                        requests.push(json!({"action": "Start"}));
                    }
                }
                "Once" => create = gone && remembered != "Once",
                "Manual" => {}
                _ => delete = !gone && !ending,
            }
        }
    }

    // An instance comes once its disks are filled.
    create &= claims != Claims::Provisioning;
    let mut status = vm.get("status").filter(|status| status.is_object()).cloned().unwrap_or_else(|| json!({}));
    let printable = printable_status(&Facts { vm, vmi, claims, strategy: &strategy, create, delete });
    let ready = vmi.is_some_and(|vmi| condition(vmi, "Ready").is_some_and(|c| text(c, "/status") == "True"));
    let conditions = conditions(vm, vmi, now);
    if let Some(fields) = status.as_object_mut() {
        // Go leaves out what is false; a null takes it away.
        for (field, holds) in [("created", !gone), ("ready", ready)] {
            match (holds, vm.pointer("/status").and_then(|status| status.get(field))) {
                (true, _) => drop(fields.insert(field.to_owned(), json!(true))),
                (false, Some(_)) => drop(fields.insert(field.to_owned(), Value::Null)),
                (false, None) => {}
            }
        }
        fields.insert("printableStatus".to_owned(), json!(printable));
        fields.insert("conditions".to_owned(), conditions);
        fields
            .insert("stateChangeRequests".to_owned(), if requests.is_empty() { Value::Null } else { json!(requests) });
        let generation = vm.pointer("/metadata/generation").cloned().unwrap_or(json!(1));
        fields.insert("desiredGeneration".to_owned(), generation.clone());
        if vmi.is_some() {
            fields.insert("runStrategy".to_owned(), json!(strategy));
            fields.entry("observedGeneration").or_insert(generation);
        }
        if requests.is_empty() && vm.pointer("/status/stateChangeRequests").is_none() {
            fields.shift_remove("stateChangeRequests");
        }
    }
    Decision { create_vmi: create, delete_vmi: delete, release: deleting && gone, status }
}

struct Facts<'a> {
    vm: &'a Value,
    vmi: Option<&'a Value>,
    claims: Claims,
    strategy: &'a str,
    create: bool,
    delete: bool,
}

/// `status.printableStatus`: the first that matches (cluster.md §1.3).
fn printable_status(facts: &Facts<'_>) -> &'static str {
    if is_deleting(facts.vm) {
        return "Terminating";
    }
    let to_run = facts.strategy != "Halted" && (facts.vmi.is_some() || facts.create);
    let Some(vmi) = facts.vmi else {
        return match () {
            () if facts.claims == Claims::Provisioning => "Provisioning",
            () if to_run && facts.claims == Claims::Unbound => "WaitingForVolumeBinding",
            () if facts.create => "Starting",
            () => "Stopped",
        };
    };
    let failed = |kind: &str, reason: &str| {
        condition(vmi, kind).is_some_and(|c| text(c, "/status") == "False" && text(c, "/reason") == reason)
    };
    match text(vmi, "/status/phase") {
        _ if !is_final(vmi) && (is_deleting(vmi) || facts.delete) => "Stopping",
        "Running" if condition(vmi, "Paused").is_some_and(|c| text(c, "/status") == "True") => "Paused",
        "Running" => "Running",
        _ if failed("Synchronized", "FailedPvcNotFound") => "ErrorPvcNotFound",
        _ if failed("PodScheduled", "Unschedulable") => "ErrorUnschedulable",
        "Succeeded" | "Failed" => "Stopped",
        _ if facts.claims == Claims::Unbound => "WaitingForVolumeBinding",
        _ => "Starting",
    }
}

/// A condition of any object.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|c| text(c, "/type") == kind)
}

/// Those of the instance, or the last ones seen with `Ready` turned False.
fn conditions(vm: &Value, vmi: Option<&Value>, now: &str) -> Value {
    let mut all: Vec<Value> = match vmi {
        Some(vmi) => list(vmi, "/status/conditions").to_vec(),
        None => list(vm, "/status/conditions").to_vec(),
    };
    all.retain(|c| text(c, "/type") != "Ready");
    let of_vmi = vmi.and_then(|vmi| condition(vmi, "Ready")).cloned();
    let (reason, message) = match vmi {
        None => ("VMINotExists", "VMI does not exist"),
        Some(_) => ("VMIConditionMissing", "VMI is missing the Ready condition"),
    };
    let mut ready = of_vmi.unwrap_or_else(|| json!({"type": "Ready", "status": "False", "reason": reason, "message": message, "lastProbeTime": null, "lastTransitionTime": now}));
    // A condition that says the same as before keeps its time: else every reconcile would be a write.
    let same = |before: &Value| ["/status", "/reason"].iter().all(|at| text(before, at) == text(&ready, at));
    if let Some(before) = condition(vm, "Ready").filter(|before| same(before)) {
        ready["lastTransitionTime"] = before["lastTransitionTime"].clone();
    }
    all.insert(0, ready);
    Value::Array(all)
}
