//! The Secrets and ConfigMaps with which the pods of a transfer reach its source, where somebody looks into the lab: nothing
//! reads them here. Follows `ensureSecret` and `ensureConfigMap` (pkg/controller/plan/kubevirt.go at 2.12.5). Of another
//! OpenShift cluster, whose exports have tokens of their own, there are none; other clusters are not looked into.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::execute::Walk;
use super::pods::Worker;
use super::{again, target};
use crate::api::forklift::Plan;
use crate::controllers::glance;

/// The Provider's Secret.
pub(super) type Login = BTreeMap<String, ByteString>;

/// Whether this VM's transfer leaves anything to look at.
pub(super) fn are_left(walk: &Walk<'_>) -> bool {
    let run = walk.run;
    run.mtv.events.is_on() && run.resolved.destination.spec.url.is_empty() && run.resolved.kind.logs_in_to_copy()
}

/// The name of the Secret for who works so on this VM, made where there is none.
pub(super) async fn secret(walk: &Walk<'_>, whom: Worker) -> Option<String> {
    if !are_left(walk) {
        return None;
    }
    let login = login(walk).await?;
    let (mark, data) = match whom {
        Worker::Populator => ("isPopulator", login),
        Worker::Importer => ("isDV", of_cdi(walk, &login)),
        Worker::VirtV2v => ("isV2V", of_cdi(walk, &login)),
    };
    let mut labels = labels(walk);
    labels[mark] = json!("true");
    ensure::<Secret>(walk, &labels, json!({"type": "Opaque", "data": data})).await
}

/// The name of the ConfigMap for CDI's importers of this VM, made where there is none: the source's CA, where they want it
/// from there.
pub(super) async fn config_map(walk: &Walk<'_>) -> Option<String> {
    if !are_left(walk) {
        return None;
    }
    let login = login(walk).await?;
    let body = match login.get("cacert").filter(|_| walk.vm.vsphere().is_none()) {
        Some(ca) => json!({"binaryData": {"ca.pem": ca}}),
        None => json!({}),
    };
    ensure::<ConfigMap>(walk, &labels(walk), body).await
}

/// The Provider's Secret, as it is now.
pub(super) async fn login(walk: &Walk<'_>) -> Option<Login> {
    let wanted = &walk.run.resolved.source.spec.secret;
    let namespace = wanted.namespace.as_deref().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(walk.run.mtv.client.clone(), namespace);
    api.get_opt(wanted.name.as_deref().unwrap_or_default()).await.ok().flatten()?.data
}

/// As CDI's importers read a login; vSphere's bears the CA, too.
fn of_cdi(walk: &Walk<'_>, login: &Login) -> Login {
    let mut keys = vec![("accessKeyId", "user"), ("secretKey", "password")];
    if walk.vm.vsphere().is_some() {
        keys.push(("cacert", "cacert"));
    }
    keys.into_iter().filter_map(|(to, from)| Some((to.to_owned(), login.get(from)?.clone()))).collect()
}

/// The VM has ended: what it was copied with goes (`DeleteSecret`, `DeleteConfigMap`).
pub(super) async fn clean_up(walk: &Walk<'_>) {
    if are_left(walk) {
        let own = format!("plan={},vmID={}", walk.run.plan.uid().unwrap_or_default(), walk.vm.id);
        remove(&walk.run.target, &walk.run.plan.spec.target_namespace, &own).await;
    }
}

/// Likewise of all VMs of an archived Plan.
pub(super) async fn archived(client: &kube::Client, plan: &Plan) {
    let own = format!("plan={}", plan.uid().unwrap_or_default());
    remove(client, &plan.spec.target_namespace, &own).await;
}

/// Likewise of one that was deleted, by what labels alone say then (`cleanupOrphanedResources`, from 2.12 on).
pub(super) async fn deleted(client: &kube::Client, plan: &Plan) {
    remove(client, &plan.spec.target_namespace, &again::labels_of(plan)).await;
}

async fn remove(client: &kube::Client, namespace: &str, labels: &str) {
    let own = ListParams::default().labels(&format!("{labels},resource=vm-config"));
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let _ = glance::delete_all(&secrets, &DeleteParams::default(), &own).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let _ = glance::delete_all(&maps, &DeleteParams::default(), &own).await;
}

fn labels(walk: &Walk<'_>) -> Value {
    let mut labels = target::labels(walk);
    labels["resource"] = json!("vm-config");
    labels
}

/// The one of these labels, or a new one.
async fn ensure<K>(walk: &Walk<'_>, labels: &Value, mut body: Value) -> Option<String>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug,
    K: Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(walk.run.target.clone(), &walk.run.plan.spec.target_namespace);
    let pairs = labels.as_object()?.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let own = ListParams::default().labels(&pairs.collect::<Vec<_>>().join(","));
    if let Some(there) = api.list(&own).await.ok()?.items.first() {
        return Some(there.name_any());
    }
    body["metadata"] = json!({"labels": labels,
        "generateName": format!("{}-{}-", walk.run.plan.name_any(), walk.vm.id)});
    let made = api.create(&PostParams::default(), &serde_json::from_value(body).ok()?).await.ok()?;
    Some(made.name_any())
}
