//! StatefulSets and DaemonSets.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::{Again, REVISION_HASH, create, delete, hash, is_over, is_ready, owned, pod, tell};

/// The label of nodes that take ordinary pods.
const WORKER: &str = "node-role.kubernetes.io/worker";

fn number(count: usize) -> Value {
    if count > 0 { json!(count) } else { Value::Null }
}

fn is_of(pod: &Pod, hash: &str) -> bool {
    pod.labels().get(REVISION_HASH).is_some_and(|own| own == hash)
}

pub(super) async fn stateful_set(set: Arc<StatefulSet>, client: Client) -> Result<Again, kube::Error> {
    let namespace = set.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let own = owned(&pods, &*set).await?;
    let object = json!(*set);
    let template = &object["spec"]["template"];
    let revision = format!("{}-{}", set.name_any(), hash(template));
    let wanted = set.spec.replicas.and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
    let in_order = object["spec"]["podManagementPolicy"] != "Parallel";
    for at in 0..wanted {
        let name = format!("{}-{at}", set.name_any());
        match own.iter().find(|pod| pod.name_any() == name) {
            Some(old) if is_over(old) || !is_of(old, &revision) => {
                delete(&pods, old).await?;
                break;
            }
            Some(pod) if is_ready(pod) || !in_order => {}
            // The next one comes when this one answers.
            Some(_) => break,
            None => {
                let volumes = claims(&client, &set, &object, at).await?;
                let labels = [
                    (REVISION_HASH, revision.clone()),
                    ("statefulset.kubernetes.io/pod-name", name.clone()),
                    ("apps.kubernetes.io/pod-index", at.to_string()),
                ];
                let spec = json!({"hostname": name, "subdomain": object["spec"]["serviceName"], "volumes": volumes});
                create(&pods, pod(&*set, template, &labels, json!({ "name": name }), spec)).await?;
                if in_order {
                    break;
                }
            }
        }
    }
    let index =
        |pod: &Pod| pod.name_any().rsplit('-').next().and_then(|at| at.parse::<usize>().ok()).unwrap_or_default();
    if let Some(last) = own.iter().filter(|pod| index(pod) >= wanted).max_by_key(|pod| index(pod)) {
        delete(&pods, last).await?;
    }
    let ready = own.iter().filter(|pod| is_ready(pod)).count();
    let updated = own.iter().filter(|pod| is_of(pod, &revision)).count();
    let status = json!({"observedGeneration": set.metadata.generation, "replicas": own.len(), "readyReplicas": number(ready),
        "availableReplicas": ready, "currentReplicas": number(updated), "updatedReplicas": number(updated),
        "currentRevision": revision, "updateRevision": revision, "collisionCount": 0});
    tell(&Api::<StatefulSet>::namespaced(client, &namespace), &set.name_any(), &object["status"], status).await?;
    Ok(None)
}

/// Makes a pod's claims; the pod's volumes with them.
async fn claims(client: &Client, set: &StatefulSet, object: &Value, at: usize) -> Result<Value, kube::Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &set.namespace().unwrap_or_default());
    let mut volumes = object["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    for template in object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let volume = template["metadata"]["name"].as_str().unwrap_or_default();
        let name = format!("{volume}-{}-{at}", set.name_any());
        create(
            &api,
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "labels": object["spec"]["selector"]["matchLabels"]}, "spec": template["spec"]}),
        )
        .await?;
        volumes.retain(|own| own["name"] != volume);
        volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": name}}));
    }
    Ok(json!(volumes))
}

pub(super) async fn daemon_set(set: Arc<DaemonSet>, client: Client) -> Result<Again, kube::Error> {
    let namespace = set.namespace().unwrap_or_default();
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let object = json!(*set);
    let template = &object["spec"]["template"];
    let revision = hash(template);
    let selector = template["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
    let mut places = nodes.list(&ListParams::default()).await?.items;
    places.retain(|node| {
        let chosen = selector.iter().all(|(key, value)| node.labels().get(key).map(String::as_str) == value.as_str());
        chosen && (!selector.is_empty() || node.labels().contains_key(WORKER))
    });
    let own = owned(&pods, &*set).await?;
    let on = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    for node in &places {
        match own.iter().find(|pod| on(pod) == node.name_any()) {
            Some(old) if is_over(old) || !is_of(old, &revision) => delete(&pods, old).await?,
            Some(_) => {}
            None => {
                let labels = [(REVISION_HASH, revision.clone()), ("pod-template-generation", "1".to_owned())];
                let name = json!({"generateName": format!("{}-", set.name_any())});
                create(&pods, pod(&*set, template, &labels, name, json!({"nodeName": node.name_any()}))).await?;
            }
        }
    }
    for stray in own.iter().filter(|pod| !places.iter().any(|node| node.name_any() == on(pod))) {
        delete(&pods, stray).await?;
    }
    let ready = own.iter().filter(|pod| is_ready(pod)).count();
    let updated = own.iter().filter(|pod| is_of(pod, &revision)).count();
    let status = json!({"observedGeneration": set.metadata.generation, "desiredNumberScheduled": places.len(),
        "currentNumberScheduled": own.len(), "updatedNumberScheduled": number(updated), "numberMisscheduled": 0,
        "numberReady": ready, "numberAvailable": number(ready), "numberUnavailable": number(places.len() - ready.min(places.len()))});
    tell(&Api::<DaemonSet>::namespaced(client, &namespace), &set.name_any(), &object["status"], status).await?;
    Ok(None)
}
