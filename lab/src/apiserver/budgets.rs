//! PodDisruptionBudgets: how many of the pods that one selects may go, told in its status whenever a pod of the namespace
//! changes (`trySync`, Kubernetes' `pkg/controller/disruption/disruption.go`). Evictions are not refused by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::State;
use super::selectors::label_selector_matches;
use super::store::{is_deleting, metadata};
use super::write::{self, now};

/// Writes the status of every budget of a namespace.
pub(super) fn recount(state: &State, namespace: &str) {
    let find = |group, plural| state.registry.find(group, "v1", plural);
    let (Some(budgets), Some(pods)) = (find("policy", "poddisruptionbudgets"), find("", "pods")) else { return };
    let all = state.store.list(&budgets.storage, Some(namespace)).1;
    if all.is_empty() {
        return;
    }
    let pods = state.store.list(&pods.storage, Some(namespace)).1;
    for budget in all {
        let status = status(state, &budget, &pods);
        state.tell(&budgets, &budget, &status);
    }
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    !is_deleting(pod) && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn status(state: &State, budget: &Value, pods: &[Arc<Value>]) -> Value {
    let selector = &budget["spec"]["selector"];
    // None takes none, an empty one takes all.
    let takes =
        |pod: &&Arc<Value>| selector.is_object() && label_selector_matches(selector, &pod["metadata"]["labels"]);
    let pods: Vec<&Value> = pods.iter().filter(takes).map(|pod| &**pod).collect();
    let healthy = count(pods.iter().filter(|pod| is_ready(pod)).count());
    let (expected, desired) = wanted(&budget["spec"], count(pods.len()), || scale(state, &pods));
    let allowed = if expected > 0 { healthy.saturating_sub(desired).max(0) } else { 0 };
    json!({
        "observedGeneration": budget["metadata"]["generation"],
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": [condition(budget, allowed > 0)],
    })
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or_default()
}

/// How many pods are expected, and how many have to be healthy (`getExpectedPodCount`).
fn wanted(spec: &Value, there: i64, scale: impl Fn() -> i64) -> (i64, i64) {
    let (most, least) = (&spec["maxUnavailable"], &spec["minAvailable"]);
    if !most.is_null() {
        let expected = scale();
        return (expected, expected.saturating_sub(share(most, expected)).max(0));
    }
    match least.as_i64() {
        Some(least) => (there, least),
        None if least.is_string() => {
            let expected = scale();
            (expected, share(least, expected))
        }
        None => (0, 0),
    }
}

/// A number, or a percentage of `whole`, rounded up.
fn share(value: &Value, whole: i64) -> i64 {
    let percent = value.as_str().and_then(|text| text.trim_end_matches('%').parse::<i64>().ok()).unwrap_or_default();
    value.as_i64().unwrap_or_else(|| percent.saturating_mul(whole).saturating_add(99).div_euclid(100))
}

/// The replicas that the pods' controllers want, each counted once. A pod without a controller that has such a number is
/// one by itself.
fn scale(state: &State, pods: &[&Value]) -> i64 {
    let mut replicas: BTreeMap<String, i64> = BTreeMap::new();
    for pod in pods {
        let own = controller(state, pod);
        // A ReplicaSet is as large as its Deployment wants it.
        let upper = own.as_ref().and_then(|own| controller(state, own)).or(own);
        let known =
            upper.as_ref().and_then(|upper| Some((metadata(upper, "uid"), upper["spec"]["replicas"].as_i64()?)));
        let (uid, wanted) = known.unwrap_or((metadata(pod, "uid"), 1));
        replicas.insert(uid.to_owned(), wanted);
    }
    replicas.values().sum()
}

fn controller(state: &State, object: &Value) -> Option<Arc<Value>> {
    let mut owners = object["metadata"]["ownerReferences"].as_array()?.iter();
    let owner = owners.find(|owner| owner["controller"] == true)?;
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let def = state.registry.by_kind(text("apiVersion"), text("kind"))?;
    state.store.get(&write::key(&def, Some(metadata(object, "namespace")), text("name")))
}

/// `UpdateDisruptionAllowedCondition`: it keeps its time while its status stays.
fn condition(budget: &Value, allowed: bool) -> Value {
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let mut old = budget["status"]["conditions"].as_array().into_iter().flatten();
    let before = old.find(|c| c["type"] == "DisruptionAllowed" && c["status"] == status);
    let since = before.map_or_else(|| json!(now()), |before| before["lastTransitionTime"].clone());
    json!({"type": "DisruptionAllowed", "status": status, "reason": reason, "message": "", "lastTransitionTime": since,
        "observedGeneration": budget["metadata"]["generation"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_up_and_counts_what_controllers_want() {
        let of = |spec: Value| wanted(&spec, 2, || 3);
        assert_eq!(of(json!({"minAvailable": 1})), (2, 1));
        assert_eq!(of(json!({"minAvailable": "50%"})), (3, 2));
        assert_eq!(of(json!({"maxUnavailable": 1})), (3, 2));
        assert_eq!(of(json!({"maxUnavailable": "100%"})), (3, 0));
    }
}
