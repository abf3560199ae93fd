//! Starting and stopping a VM of the cluster by KubeVirt's own verbs, as a person does with `virtctl`.

use http::Request;
use kube::api::Api;

use super::apply::code_of;
use crate::api::kubevirt::VirtualMachine;
use crate::cluster::Cluster;
use crate::cluster::apply::ApplyError;

/// Asks KubeVirt to start the VM, or to stop it gently: its guest gets its whole grace period. That it is so already
/// is success: the answer to a request may be lost, and the request sent again.
pub async fn switch(cluster: &Cluster, namespace: &str, name: &str, on: bool) -> Result<(), ApplyError> {
    let verb = if on { "start" } else { "stop" };
    let thing = format!("VirtualMachine {namespace}/{name}");
    let path = format!("/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}/{verb}");
    let request = Request::put(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(b"{}".to_vec())
        .map_err(|error| ApplyError::Malformed { thing: thing.clone(), cause: error.to_string() })?;
    let Err(error) = cluster.client().request_text(request).await else { return Ok(()) };
    if code_of(&error) == Some(409) {
        let api: Api<VirtualMachine> = Api::namespaced(cluster.client(), namespace);
        if api.get(name).await.is_ok_and(|vm| is_asked_to(&vm, on)) {
            return Ok(());
        }
    }
    Err(ApplyError::request(verb, &thing, &error))
}

/// Whether the VM's own run strategy (or the older `running`) says what was asked for.
fn is_asked_to(vm: &VirtualMachine, run: bool) -> bool {
    let spec = &vm.spec.fields;
    let (strategy, running) = (spec["runStrategy"].as_str(), spec["running"].as_bool());
    match (strategy, running) {
        (Some("Halted"), _) | (None, Some(false)) => !run,
        (Some("Always" | "RerunOnFailure" | "Once"), _) | (None, Some(true)) => run,
        // `Manual`: only the answer says it.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_vm_that_is_as_it_was_asked_to_be_is_no_conflict() {
        let vm = |spec| -> VirtualMachine { serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap() };
        let asked = |spec, run| is_asked_to(&vm(spec), run);
        assert!(asked(json!({"runStrategy": "Halted"}), false) && !asked(json!({"runStrategy": "Halted"}), true));
        assert!(asked(json!({"runStrategy": "Always"}), true) && !asked(json!({"runStrategy": "Always"}), false));
        assert!(asked(json!({"running": false}), false));
        assert!(!asked(json!({"runStrategy": "Manual"}), true) && !asked(json!({"runStrategy": "Manual"}), false));
    }
}
