//! What MTV's operator puts into the cluster besides what the seed has: maps of operating systems,
//! and the webhook configurations.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::MTV_NAMESPACE;

pub const OVIRT_OS_MAP: &str = "forklift-ovirt-osmap";
pub const VSPHERE_OS_MAP: &str = "forklift-vsphere-osmap";
pub const VIRT_CUSTOMIZE_MAP: &str = "forklift-virt-customize";
const MANAGER: &str = "mtv-matrix-lab";
/// Guest as the source names it, preference as KubeVirt does; the lab's platforms have no others.
const OVIRT: &[(&str, &str)] = &[
    ("rhel_8x64", "rhel.8"),
    ("rhel_9x64", "rhel.9"),
    ("windows_2019x64", "windows.2k19.virtio"),
    ("windows_2022", "windows.2k22.virtio"),
];
const VSPHERE: &[(&str, &str)] = &[
    ("rhel8_64Guest", "rhel.8"),
    ("rhel9_64Guest", "rhel.9"),
    ("windows2019srv_64Guest", "windows.2k19"),
    ("windows2019srvNext_64Guest", "windows.2k22"),
];
/// Path of the webhook, plural, whether it changes objects, group.
const WEBHOOKS: &[(&str, &str, bool, &str)] = &[
    ("/plan-mutate", "plans", true, "forklift.konveyor.io"),
    ("/provider-mutate", "providers", true, "forklift.konveyor.io"),
    ("/secret-mutate", "secrets", true, ""),
    ("/plan-validate", "plans", false, "forklift.konveyor.io"),
    ("/provider-validate", "providers", false, "forklift.konveyor.io"),
    ("/migration-validate", "migrations", false, "forklift.konveyor.io"),
    ("/secret-validate", "secrets", false, ""),
];

/// What has to be there before the controllers start.
pub async fn before(client: &kube::Client) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), MTV_NAMESPACE);
    let force = PatchParams::apply(MANAGER).force();
    for (name, rows) in [(OVIRT_OS_MAP, OVIRT), (VSPHERE_OS_MAP, VSPHERE), (VIRT_CUSTOMIZE_MAP, &[])] {
        let data: serde_json::Map<String, Value> = rows.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": MTV_NAMESPACE, "labels": {"app": "forklift", "service": "forklift-controller"}},
            "data": data});
        api.patch(name, &force, &Patch::Apply(&map)).await?;
    }
    Ok(())
}

/// The webhooks by URL: no Service leads to a process of this machine.
pub async fn webhooks(client: &kube::Client, port: u16, ca_pem: &str) -> Result<(), kube::Error> {
    let bundle = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ca_pem);
    let force = PatchParams::apply(MANAGER).force();
    for (path, plural, mutates, group) in WEBHOOKS {
        let name = format!("forklift-api-{plural}");
        let selector = match *plural {
            // Only Secrets that were made for MTV.
            "secrets" => json!({"matchExpressions": [{"key": "createdForResourceType", "operator": "Exists"}]}),
            _ => json!({}),
        };
        let hook = json!({"name": format!("{plural}.forklift.konveyor"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": format!("https://127.0.0.1:{port}{path}"), "caBundle": bundle},
            "failurePolicy": "Fail", "matchPolicy": "Equivalent", "objectSelector": selector, "timeoutSeconds": 30,
            "rules": [{"apiGroups": [group], "apiVersions": ["v1beta1", "v1"], "operations": ["CREATE", "UPDATE"], "resources": [plural]}]});
        let kind = if *mutates { "MutatingWebhookConfiguration" } else { "ValidatingWebhookConfiguration" };
        let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": [hook]});
        let patch = Patch::Apply(&object);
        if *mutates {
            let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
            api.patch(&name, &force, &patch).await?;
        } else {
            let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
            api.patch(&name, &force, &patch).await?;
        }
    }
    Ok(())
}
