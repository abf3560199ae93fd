//! Deployments and ReplicaSets.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::{
    Again, Hands, TEMPLATE_HASH, condition, create, delete, hash, is_over, is_ready, owned, pod, tell, tolerate,
};
use crate::controllers::glance;
use crate::controllers::told::Teller;

const REVISION: &str = "deployment.kubernetes.io/revision";
/// Who tells events of ReplicaSets.
const SETS: &str = "replicaset-controller";

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

fn revision(set: &ReplicaSet) -> u64 {
    set.annotations().get(REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Whether a Deployment says already that all is well and nobody of ours made it so: the lab starts
/// with such.
fn is_given(object: &Value, sets: &[ReplicaSet]) -> bool {
    let (status, generation) = (&object["status"], &object["metadata"]["generation"]);
    sets.is_empty()
        && status["readyReplicas"].is_number()
        && status["readyReplicas"] == object["spec"]["replicas"]
        && &status["observedGeneration"] == generation
}

/// In the words of Kubernetes' `scaleReplicaSet` (`pkg/controller/deployment/sync.go`).
async fn tell_scaled(deployment: &Deployment, events: &Teller, set: &str, from: i32, to: i32) {
    let way = if to > from { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {set} from {from} to {to}");
    events.normal(&deployment.object_ref(&()), "deployment-controller", "ScalingReplicaSet", &message).await;
}

async fn scale(
    (deployment, events): (&Deployment, &Teller),
    sets: &Api<ReplicaSet>,
    set: &ReplicaSet,
    to: i32,
) -> Result<(), kube::Error> {
    let from = replicas(set);
    if from == to {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"spec": {"replicas": to}}));
    tolerate(glance::patch(sets, &set.name_any(), &patch).await, 404)?;
    tell_scaled(deployment, events, &set.name_any(), from, to).await;
    Ok(())
}

pub(super) async fn deployment(
    deployment: Arc<Deployment>,
    Hands { client, events }: Hands,
) -> Result<Again, kube::Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &namespace);
    let all = owned(&sets, &*deployment).await?;
    let object = json!(*deployment);
    if is_given(&object, &all) {
        return Ok(None);
    }
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let template = &object["spec"]["template"];
    let hash = hash(template);
    let current = all.iter().find(|set| set.labels().get(TEMPLATE_HASH) == Some(&hash));
    let newest = all.iter().map(revision).max().unwrap_or_default();
    let Some(current) = current else {
        // Its status comes with the events of the new set.
        let made = create(&sets, replica_set_of(&deployment, &object, &hash, newest + 1)).await?;
        if let Some(set) = made.filter(|_| wanted > 0) {
            tell_scaled(&deployment, &events, &set.name_any(), 0, wanted).await;
        }
        return Ok(None);
    };
    if revision(current) < newest {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {REVISION: (newest + 1).to_string()}}}));
        tolerate(glance::patch(&sets, &current.name_any(), &patch).await, 404)?;
    }
    scale((&deployment, &events), &sets, current, wanted).await?;
    let complete = available(current) >= wanted;
    let recreate = object["spec"]["strategy"]["type"] == "Recreate";
    for old in all.iter().filter(|set| set.uid() != current.uid()) {
        if complete || recreate {
            scale((&deployment, &events), &sets, old, 0).await?;
        }
    }
    let old = &object["status"];
    let there = |of: fn(&ReplicaSet) -> i32| all.iter().map(of).sum::<i32>();
    let total = there(|set| set.status.as_ref().map_or(0, |status| status.replicas));
    let ready = there(|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default());
    let running = there(available);
    let (enough, done) = (running >= wanted, complete && total == wanted);
    let name = current.name_any();
    let conditions = if enough {
        condition(old, "Available", true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        let message = "Deployment does not have minimum availability.";
        condition(old, "Available", false, "MinimumReplicasUnavailable", message)
    };
    let progressing = if done {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        condition(old, "Progressing", true, "NewReplicaSetAvailable", &message)
    } else {
        condition(old, "Progressing", true, "ReplicaSetUpdated", &format!("ReplicaSet \"{name}\" is progressing."))
    };
    let number = |count: i32| if count > 0 { json!(count) } else { Value::Null };
    let status = json!({
        "observedGeneration": deployment.metadata.generation,
        "replicas": number(total),
        "updatedReplicas": number(current.status.as_ref().map_or(0, |status| status.replicas)),
        "readyReplicas": number(ready),
        "availableReplicas": number(running),
        "unavailableReplicas": number(wanted.max(total) - running),
        "conditions": [conditions, progressing],
    });
    if deployment.annotations().get(REVISION) != Some(&revision(current).max(1).to_string()) {
        let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        let patch =
            Patch::Merge(json!({"metadata": {"annotations": {REVISION: revision(current).max(1).to_string()}}}));
        tolerate(glance::patch(&api, &deployment.name_any(), &patch).await, 404)?;
    }
    tell(&Api::<Deployment>::namespaced(client, &namespace), &deployment.name_any(), old, status).await?;
    Ok(None)
}

fn replica_set_of(deployment: &Deployment, object: &Value, hash: &str, revision: u64) -> Value {
    let mut spec = json!({"replicas": object["spec"]["replicas"], "selector": object["spec"]["selector"],
        "template": object["spec"]["template"]});
    let mut labels = object["spec"]["template"]["metadata"]["labels"].clone();
    labels[TEMPLATE_HASH] = json!(hash);
    spec["template"]["metadata"]["labels"][TEMPLATE_HASH] = json!(hash);
    spec["selector"]["matchLabels"][TEMPLATE_HASH] = json!(hash);
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("{}-{hash}", deployment.name_any()), "namespace": deployment.namespace(), "labels": labels,
            "annotations": {REVISION: revision.to_string()}, "ownerReferences": [deployment.controller_owner_ref(&())]},
        "spec": spec})
}

pub(super) async fn replica_set(set: Arc<ReplicaSet>, Hands { client, events }: Hands) -> Result<Again, kube::Error> {
    let namespace = set.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut own = owned(&pods, &*set).await?;
    own.retain(|pod| !is_over(pod));
    let object = json!(*set);
    let wanted = usize::try_from(replicas(&set)).unwrap_or_default();
    for _ in own.len()..wanted {
        let name = json!({"generateName": format!("{}-", set.name_any())});
        let made = create(&pods, pod(&*set, &object["spec"]["template"], &[], name, Value::Null)).await?;
        if let Some(pod) = made {
            let message = format!("Created pod: {}", pod.name_any());
            events.normal(&set.object_ref(&()), SETS, "SuccessfulCreate", &message).await;
        }
    }
    // Those that do not answer go first.
    own.sort_by_key(|pod| (!is_ready(pod), pod.name_any()));
    for extra in own.iter().rev().take(own.len().saturating_sub(wanted)) {
        delete(&pods, extra).await?;
        let message = format!("Deleted pod: {}", extra.name_any());
        events.normal(&set.object_ref(&()), SETS, "SuccessfulDelete", &message).await;
    }
    let ready = own.iter().filter(|pod| is_ready(pod)).count();
    let number = |count: usize| if count > 0 { json!(count) } else { Value::Null };
    let status = json!({"observedGeneration": set.metadata.generation, "replicas": own.len(),
        "fullyLabeledReplicas": number(own.len()), "readyReplicas": number(ready), "availableReplicas": number(ready)});
    tell(&Api::<ReplicaSet>::namespaced(client, &namespace), &set.name_any(), &object["status"], status).await?;
    Ok(None)
}
