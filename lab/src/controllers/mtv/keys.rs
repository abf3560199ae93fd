//! Keys of encrypted disks: virt-v2v opens a disk with what the Secret holds that the Plan names for the VM, or not at all
//! (`podVolumeMounts` and `secretLUKS`, `pkg/controller/plan/kubevirt.go`; 2.12 and later copy it for the Conversion).

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;

use super::execute::Walk;
use crate::api::world::Failure;

/// How the VM's migration fails where nothing that MTV was given opens its disk.
pub(super) async fn refused(walk: &Walk<'_>) -> Option<Failure> {
    let passphrase = walk.guest()?.luks?;
    if given(walk).await.iter().any(|value| value.trim_end() == passphrase) {
        return None;
    }
    // In MTV's words.
    let error = "Guest conversion failed. See pod logs for details.".to_owned();
    Some(Failure { at: "ImageConversion".to_owned(), error })
}

/// Every value of the Secret is a key to try.
async fn given(walk: &Walk<'_>) -> Vec<String> {
    let plan = &walk.run.plan;
    let Some(reference) = plan.spec.vms.get(walk.index).and_then(|vm| vm.luks.as_ref()) else { return Vec::new() };
    let Some(name) = reference.name.as_deref().filter(|name| !name.is_empty()) else { return Vec::new() };
    let own = plan.namespace().unwrap_or_default();
    // Up to 2.11 it is looked for beside the Plan, whatever the reference says.
    let named = reference.namespace.clone().filter(|_| walk.run.mtv.version.at_least(12));
    let api: Api<Secret> = Api::namespaced(walk.run.mtv.client.clone(), &named.unwrap_or(own));
    let data = api.get_opt(name).await.ok().flatten().and_then(|secret| secret.data).unwrap_or_default();
    data.values().map(|value| String::from_utf8_lossy(&value.0).into_owned()).collect()
}
