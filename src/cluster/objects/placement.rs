//! Which worker a cell's VMs are to land on.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde_json::Value;

use super::apply::list_labelled;
use super::routes::route_url;
use crate::cluster::{Cluster, ReadError};
use crate::net::Peer;

/// The label of workers.
const WORKER_LABEL: &str = "node-role.kubernetes.io/worker";
/// cluster.md §4.6. `max` drops the duplicates of a doubled kube-state-metrics.
const ALLOCATABLE: &str = r#"max by (node) (kube_node_status_allocatable{resource="memory"})"#;
const REQUESTED: &str = "sum by (node) (cluster:namespace:pod_memory:active:kube_pod_container_resource_requests)";

const METRICS: &str = "free memory of nodes";

/// A worker and how it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub node: String,
    /// `Some`: free memory could not be read, and why; the choice is then the first ready worker.
    pub fallback: Option<String>,
}

/// The schedulable worker with most free memory by Prometheus; a visible fallback otherwise.
pub async fn choose_worker(cluster: &Cluster) -> Result<Choice, ReadError> {
    let nodes: Vec<Node> =
        list_labelled(cluster, None, WORKER_LABEL).await.map_err(|e| ReadError::failed("Nodes", e.to_string()))?;
    let mut workers: Vec<String> = nodes.iter().filter(|n| takes_vms(n)).map(ResourceExt::name_any).collect();
    workers.sort();
    let Some(first) = workers.first().cloned() else {
        let what = format!("worker that is ready and schedulable ({} have the label {WORKER_LABEL})", nodes.len());
        return Err(ReadError::Missing { what });
    };
    match free_memory(cluster).await {
        Ok(free) => Ok(match most_free(&workers, &free) {
            Some(node) => Choice { node, fallback: None },
            None => Choice { node: first, fallback: Some("the metrics know none of the workers".to_owned()) },
        }),
        Err(because) => Ok(Choice { node: first, fallback: Some(because.to_string()) }),
    }
}

fn takes_vms(node: &Node) -> bool {
    let cordoned = node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false);
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    !cordoned && conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// The worker with most free memory; of equals the first by name.
fn most_free(workers: &[String], free: &BTreeMap<String, f64>) -> Option<String> {
    let mut best: Option<(&String, f64)> = None;
    for (worker, free) in workers.iter().filter_map(|w| free.get(w).map(|f| (w, *f))) {
        if best.is_none_or(|(_, most)| free > most) {
            best = Some((worker, free));
        }
    }
    best.map(|(worker, _)| worker.clone())
}

/// Free memory by node: allocatable less requested.
async fn free_memory(cluster: &Cluster) -> Result<BTreeMap<String, f64>, ReadError> {
    let base = route_url(cluster, "openshift-monitoring", "thanos-querier").await?;
    let allocatable = query(cluster, &base, ALLOCATABLE).await?;
    let requested = query(cluster, &base, REQUESTED).await?;
    Ok(allocatable
        .into_iter()
        .map(|(node, bytes)| {
            let used = requested.get(&node).copied().unwrap_or(0.0);
            (node, (bytes - used).max(0.0))
        })
        .collect())
}

async fn query(cluster: &Cluster, base: &str, query: &str) -> Result<BTreeMap<String, f64>, ReadError> {
    let peer = Peer::new("prometheus");
    let answer = cluster.get_route(&peer, &format!("{base}/api/v1/query"), &[("query", query)]).await?;
    let status = answer.status;
    if !status.is_success() {
        return Err(ReadError::failed(METRICS, format!("Prometheus answered HTTP {status}")));
    }
    let body: Value =
        serde_json::from_slice(&answer.body).map_err(|e| ReadError::unreadable("Prometheus' answer", e))?;
    parse_vector(&body)
}

/// Node → value of an instant query's vector. Values are strings.
fn parse_vector(body: &Value) -> Result<BTreeMap<String, f64>, ReadError> {
    if body.get("status").and_then(Value::as_str) != Some("success") {
        let error = body.get("error").and_then(Value::as_str).unwrap_or("no reason given");
        return Err(ReadError::failed(METRICS, format!("Prometheus refused the query: {error}")));
    }
    let result = body.pointer("/data/result").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(result
        .iter()
        .filter_map(|sample| {
            let node = sample.pointer("/metric/node")?.as_str()?.to_owned();
            Some((node, sample.pointer("/value/1")?.as_str()?.parse().ok()?))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_worker_with_most_free_memory_wins_and_ties_go_by_name() {
        let workers: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let free = BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.0), ("c".to_owned(), 2.0)]);
        assert_eq!(most_free(&workers, &free).as_deref(), Some("b"));
        assert_eq!(most_free(&workers, &BTreeMap::new()), None);
    }

    #[test]
    fn prometheus_values_are_strings_and_its_refusals_are_told() {
        let body = json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"node": "n1"}, "value": [1.5, "1.6e+10"]}]}});
        assert_eq!(parse_vector(&body).unwrap()["n1"], 1.6e10);
        assert!(parse_vector(&json!({"status": "error", "error": "bad"})).unwrap_err().to_string().contains("bad"));
    }

    #[test]
    fn cordoned_and_unready_workers_are_passed_over() {
        let node = |cordoned: bool, ready: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"unschedulable": cordoned},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap()
        };
        assert!(takes_vms(&node(false, "True")));
        assert!(!takes_vms(&node(true, "True")) && !takes_vms(&node(false, "Unknown")));
    }
}
