//! Instance types and preferences: what a VirtualMachine would run with once they are merged in.
//!
//! Source: cluster.md §1.11. CPU, memory and firmware only; a VM's own values stay.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::json::text;

/// A matcher of the VM's spec: `instancetype` or `preference`.
/// The kind that is meant, and whether it is of the cluster. KubeVirt takes it in any case and number: MTV writes
/// `virtualmachineclusterpreference`.
fn kind_of(said: &str, what: &str) -> (String, bool) {
    let of_cluster = said.is_empty() || said.to_lowercase().contains("cluster");
    (format!("VirtualMachine{}{what}", if of_cluster { "Cluster" } else { "" }), of_cluster)
}

async fn matched(client: &Client, vm: &Value, matcher: &str, what: &str) -> Result<Option<Value>, kube::Error> {
    let name = text(vm, &format!("/spec/{matcher}/name"));
    if name.is_empty() {
        return Ok(None);
    }
    let (kind, of_cluster) = kind_of(text(vm, &format!("/spec/{matcher}/kind")), what);
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("instancetype.kubevirt.io", "v1beta1", &kind));
    let api: Api<DynamicObject> = if of_cluster {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), text(vm, "/metadata/namespace"), &resource)
    };
    Ok(Some(super::value(&api.get(name).await?)))
}

/// The VM with what it refers to merged in and the matchers removed.
pub async fn expanded(client: &Client, vm: &Value) -> Result<Value, kube::Error> {
    let instancetype = matched(client, vm, "instancetype", "Instancetype").await?;
    let preference = matched(client, vm, "preference", "Preference").await?;
    Ok(merge(vm, instancetype.as_ref(), preference.as_ref()))
}

/// Merges without asking anybody.
pub fn merge(vm: &Value, instancetype: Option<&Value>, preference: Option<&Value>) -> Value {
    let mut vm = vm.clone();
    if let Some(spec) = vm.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.shift_remove("instancetype");
        spec.shift_remove("preference");
    }
    let Some(domain) = vm.pointer_mut("/spec/template/spec/domain").filter(|d| d.is_object()) else { return vm };
    let none = Value::Null;
    let preference = preference.and_then(|p| p.get("spec")).unwrap_or(&none);
    if let Some(spec) = instancetype.and_then(|i| i.get("spec")) {
        let guest = spec.pointer("/cpu/guest").and_then(Value::as_u64).unwrap_or(1);
        let key = match text(preference, "/cpu/preferredCPUTopology") {
            "cores" | "preferCores" => "cores",
            "threads" | "preferThreads" => "threads",
            _ => "sockets",
        };
        let mut cpu = json!({"sockets": 1, "cores": 1, "threads": 1});
        cpu[key] = json!(guest);
        domain["cpu"] = cpu;
        domain["memory"] = json!({"guest": text(spec, "/memory/guest")});
    }
    let flag = |pointer: &str| preference.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    let efi = flag("/firmware/preferredUseEfi") || preference.pointer("/firmware/preferredEfi").is_some();
    if efi && domain.pointer("/firmware/bootloader").is_none() {
        let secure = flag("/firmware/preferredUseSecureBoot") || flag("/firmware/preferredEfi/secureBoot");
        domain["firmware"]["bootloader"] = json!({"efi": {"secureBoot": secure}});
        if secure {
            domain["features"]["smm"] = json!({"enabled": true});
        }
    }
    if let Some(tpm) = preference.pointer("/devices/preferredTPM")
        && domain.pointer("/devices/tpm").is_none()
    {
        domain["devices"]["tpm"] = tpm.clone();
    }
    vm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_taken_in_any_case_and_number() {
        for said in [
            "",
            "VirtualMachineClusterPreference",
            "virtualmachineclusterpreference",
            "virtualmachineclusterpreferences",
        ] {
            assert_eq!(kind_of(said, "Preference"), ("VirtualMachineClusterPreference".to_owned(), true), "{said}");
        }
        assert_eq!(
            kind_of("virtualmachineinstancetype", "Instancetype"),
            ("VirtualMachineInstancetype".to_owned(), false)
        );
    }

    #[test]
    fn an_instance_type_gives_cpu_and_memory_and_a_preference_their_shape_and_the_firmware() {
        let vm = json!({"spec": {"instancetype": {"name": "i"}, "preference": {"name": "p"},
            "template": {"spec": {"domain": {"devices": {}}}}}});
        let instancetype = json!({"spec": {"cpu": {"guest": 4}, "memory": {"guest": "2Gi"}}});
        let preference = json!({"spec": {"cpu": {"preferredCPUTopology": "cores"},
            "firmware": {"preferredUseEfi": true, "preferredUseSecureBoot": true}}});
        let merged = merge(&vm, Some(&instancetype), Some(&preference));
        let domain = &merged["spec"]["template"]["spec"]["domain"];
        assert_eq!(domain["cpu"], json!({"sockets": 1, "cores": 4, "threads": 1}));
        assert_eq!(domain["memory"]["guest"], "2Gi");
        assert_eq!(domain["firmware"]["bootloader"]["efi"]["secureBoot"], true);
        assert!(merged["spec"].get("instancetype").is_none() && merged["spec"].get("preference").is_none());
    }

    #[test]
    fn a_vm_without_either_stays_as_it_is() {
        let vm = json!({"spec": {"template": {"spec": {"domain": {"cpu": {"cores": 2}}}}}});
        assert_eq!(merge(&vm, None, None), vm);
    }
}
