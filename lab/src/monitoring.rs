//! The fake Thanos querier: instant queries over the memory of nodes, answered by metric name.
//!
//! Reads nodes and pods as any client; knows no PromQL. Source: cluster.md §4.6.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::gate::{Gate, Refused};
use crate::api::quantity;

#[derive(Clone)]
struct Shared {
    client: Client,
    gate: Arc<Gate>,
}

/// `GET` and `POST /api/v1/query`.
pub fn router(client: Client, gate: Arc<Gate>) -> Router {
    Router::new().route("/api/v1/query", get(by_get).post(by_post)).with_state(Shared { client, gate })
}

async fn by_get(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Query(fields): Query<HashMap<String, String>>,
) -> Response {
    answer(&shared, &headers, "get", fields.get("query").cloned()).await
}

async fn by_post(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Query(fields): Query<HashMap<String, String>>,
    body: String,
) -> Response {
    let form = url::form_urlencoded::parse(body.as_bytes())
        .find(|(key, _)| key == "query")
        .map(|(_, value)| value.into_owned());
    answer(&shared, &headers, "create", form.or_else(|| fields.get("query").cloned())).await
}

/// The question that the proxy in front of Thanos asks about its callers.
fn may_query(verb: &str) -> ResourceAttributes {
    ResourceAttributes {
        group: Some("monitoring.coreos.com".to_owned()),
        resource: Some("prometheuses".to_owned()),
        subresource: Some("api".to_owned()),
        name: Some("k8s".to_owned()),
        namespace: Some("openshift-monitoring".to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

async fn answer(shared: &Shared, headers: &HeaderMap, verb: &str, query: Option<String>) -> Response {
    let token = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    let ruling = async {
        let caller = shared.gate.caller(token.unwrap_or_default()).await?;
        shared.gate.may(&caller, may_query(verb)).await
    };
    match ruling.await {
        Ok(()) => {}
        Err(Refused::Stranger) => return (StatusCode::UNAUTHORIZED, "Unauthorized\n").into_response(),
        Err(Refused::Forbidden(why)) => return (StatusCode::FORBIDDEN, format!("Forbidden {why}\n")).into_response(),
        Err(Refused::Broken(why)) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        let body = json!({"status": "error", "errorType": "bad_data", "error": "invalid parameter \"query\": unknown position: parse error: no expression found in input"});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };
    match sums(&shared.client, &query).await {
        Ok(sums) => Json(vector(&sums)).into_response(),
        Err(error) => {
            let body = json!({"status": "error", "errorType": "execution", "error": error.to_string()});
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
    }
}

/// Bytes by node; both metrics in one query: allocatable less requested.
async fn sums(client: &Client, query: &str) -> Result<BTreeMap<String, f64>, kube::Error> {
    let wants_requests = query.contains("kube_pod_container_resource_requests");
    let wants_allocatable = query.contains("kube_node_status_allocatable");
    let mut by_node = BTreeMap::new();
    if !wants_requests && !wants_allocatable {
        return Ok(by_node);
    }
    for node in Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items {
        let memory =
            node.status.as_ref().and_then(|s| s.allocatable.as_ref()).and_then(|a| a.get("memory")).map_or(0.0, bytes);
        by_node.insert(node.name_any(), if wants_allocatable { memory } else { 0.0 });
    }
    if wants_requests {
        for pod in Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?.items {
            let Some(spec) = pod.spec else { continue };
            let containers =
                spec.containers.iter().filter_map(|c| c.resources.as_ref()?.requests.as_ref()?.get("memory"));
            let sum: f64 = containers.map(bytes).sum();
            if let Some(total) = spec.node_name.and_then(|node| by_node.get_mut(&node)) {
                *total += if wants_allocatable { -sum } else { sum };
            }
        }
    }
    Ok(by_node)
}

/// What can't be read is nothing.
fn bytes(text: &Quantity) -> f64 {
    quantity::amount(&text.0).unwrap_or_default()
}

fn vector(sums: &BTreeMap<String, f64>) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let result: Vec<Value> =
        sums.iter().map(|(node, sum)| json!({"metric": {"node": node}, "value": [now, sum.to_string()]})).collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": result}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_vector_are_strings() {
        let answer = vector(&BTreeMap::from([("worker-0".to_owned(), bytes(&Quantity("1Gi".to_owned())))]));
        assert_eq!(answer["data"]["result"][0]["value"][1], "1073741824");
    }
}
