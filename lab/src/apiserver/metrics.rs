//! `metrics.k8s.io`, for `kubectl top`. Nothing runs in the lab, so the figures are made up: a third of what a container
//! asks for, or little; of a node what its pods use and something for itself. The same pod always has the same.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::error::{ApiError, json_response};
use super::resource_handlers::Call;
use super::router::json_bytes;
use super::selectors::Selector;
use super::{State, resources::StorageKey};
use crate::api::quantity;

pub(super) const GROUP: &str = "metrics.k8s.io";
/// What a container uses that asks for nothing, and a node for itself.
const LEAST: Usage = Usage { milli: 3, mebi: 24 };
const NODE: Usage = Usage { milli: 310, mebi: 3072 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    milli: u64,
    mebi: u64,
}

impl Usage {
    fn json(self) -> Value {
        json!({"cpu": format!("{}m", self.milli), "memory": format!("{}Mi", self.mebi)})
    }
    fn plus(self, other: Self) -> Self {
        Self { milli: self.milli + other.milli, mebi: self.mebi + other.mebi }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `500m` or `2` of a CPU, in thousandths.
fn milli(text: &str) -> Option<u64> {
    match text.strip_suffix('m') {
        Some(number) => number.parse().ok(),
        None => text.parse::<u64>().ok().map(|cores| cores * 1000),
    }
}

fn of_container(container: &Value) -> Usage {
    let asked = |what: &str| text(container, &format!("/resources/requests/{what}"));
    let third = |number: u64| number / 3;
    Usage {
        milli: milli(asked("cpu")).map_or(LEAST.milli, third).max(LEAST.milli),
        mebi: quantity::bytes(asked("memory")).map_or(LEAST.mebi, |bytes| third(bytes >> 20)).max(LEAST.mebi),
    }
}

fn of_pod(pod: &Value) -> Usage {
    let none = Usage { milli: 0, mebi: 0 };
    pod["spec"]["containers"].as_array().into_iter().flatten().map(of_container).fold(none, Usage::plus)
}

fn told(object: &Value, kind: &str, usage: Value) -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut metadata = json!({"name": text(object, "/metadata/name"), "creationTimestamp": now});
    for field in ["namespace", "labels"] {
        if let Some(own) = object["metadata"].get(field) {
            metadata[field] = own.clone();
        }
    }
    let mut told = json!({"kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": metadata, "timestamp": now,
        "window": "30s"});
    if let (Some(told), Value::Object(usage)) = (told.as_object_mut(), usage) {
        told.extend(usage);
    }
    told
}

fn all(state: &State, plural: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
    let stored = |plural: &str, namespace| {
        let key: StorageKey = (String::new(), plural.to_owned());
        state.store.list(&key, namespace).1
    };
    let mut pods = stored("pods", if plural == "pods" { namespace } else { None });
    pods.retain(|pod| pod["status"]["phase"] == "Running");
    if plural == "pods" {
        let container = |container: &Value| json!({"name": container["name"], "usage": of_container(container).json()});
        let pod = |pod: &Arc<Value>| {
            let containers: Vec<Value> =
                pod["spec"]["containers"].as_array().into_iter().flatten().map(container).collect();
            Arc::new(told(pod, "PodMetrics", json!({ "containers": containers })))
        };
        return pods.iter().map(pod).collect();
    }
    let node = |node: Arc<Value>| {
        let own = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node["metadata"]["name"]);
        let usage = own.map(|pod| of_pod(pod)).fold(NODE, Usage::plus);
        Arc::new(told(&node, "NodeMetrics", json!({"usage": usage.json()})))
    };
    stored("nodes", None).into_iter().map(node).collect()
}

pub(super) fn answer(state: &State, call: &Call) -> Result<Response, ApiError> {
    let (plural, namespace) = (call.def.plural.as_str(), call.target.namespace.as_deref());
    if call.query.flag("watch") {
        return Err(ApiError::method_not_allowed());
    }
    let mut objects = all(state, plural, namespace);
    if let Some(name) = call.target.name.as_deref() {
        let found = objects.iter().find(|object| text(object, "/metadata/name") == name);
        return found.map(|object| json_response(200, object)).ok_or_else(|| ApiError::not_found(&call.def, name));
    }
    let selector = Selector::parse(&call.def, call.query.get("labelSelector"), call.query.get("fieldSelector"))?;
    objects.retain(|object| selector.matches(object));
    Ok(json_bytes(200, call.renderer().list(&objects, json!({}))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_uses_a_third_of_what_it_asks_for() {
        let usage = of_container(&json!({"resources": {"requests": {"cpu": "2", "memory": "3Gi"}}}));
        assert_eq!(usage, Usage { milli: 666, mebi: 1024 });
        assert_eq!(of_container(&json!({})), LEAST);
        assert_eq!(milli("500m"), Some(500));
    }
}
