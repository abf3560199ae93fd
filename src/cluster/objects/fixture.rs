//! A scripted API server and the objects on it, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Secret;
use kube::client::Body;
use serde_json::{Value, json};

use crate::api::names::{MARK_ANNOTATION, RUN_LABEL, RunId};
use crate::cluster::Cluster;
use crate::ledger::Ledger;

pub(crate) type Answers = Arc<Mutex<Vec<(Method, String)>>>;

/// A cluster whose answers are given by `answer(method, path)`; what was asked is recorded.
pub(crate) fn mock<F>(answer: F) -> (Cluster, Answers)
where
    F: Fn(&Method, &str) -> (u16, Value) + Clone + Send + Sync + 'static,
{
    let asked: Answers = Arc::default();
    let seen = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        seen.lock().unwrap().push((method.clone(), path.clone()));
        let (code, mut body) = answer(&method, &path);
        if code >= 400 {
            body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                          "message": "refused", "reason": "x",
                          "details": {"name": path.rsplit('/').next().unwrap_or_default(), "kind": "secrets"}});
        }
        let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&body).unwrap())).unwrap();
        async move { Ok::<_, tower::BoxError>(response) }
    });
    let client = kube::Client::new(service, "default");
    (Cluster::from_client(client, "https://lab", Duration::from_secs(1)).unwrap(), asked)
}

pub(crate) fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(&dir.path().join("ledger.jsonl"), &RunId::parse("mm-abcdefghij").unwrap()).unwrap();
    (dir, Arc::new(ledger))
}

pub(crate) fn secret() -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some("s".into());
    secret.metadata.namespace = Some("ns".into());
    secret
}

/// The Secret as the cluster has it; `ledger`: made by its run, with its mark.
pub(crate) fn stored(ledger: Option<&Ledger>) -> Value {
    let labels: HashMap<&str, &str> = ledger.map(|ledger| (RUN_LABEL, ledger.run().as_str())).into_iter().collect();
    let mark = ledger.and_then(Ledger::marker).map(|marker| marker.by_id("Secret", "ns/s"));
    let annotations: HashMap<&str, String> = mark.map(|mark| (MARK_ANNOTATION, mark)).into_iter().collect();
    json!({"apiVersion": "v1", "kind": "Secret",
           "metadata": {"name": "s", "namespace": "ns", "uid": "u1", "resourceVersion": "1", "labels": labels,
                        "annotations": annotations}})
}

/// A cluster with one object that keeps what is patched.
pub(crate) fn with_object(object: Value) -> (Cluster, Arc<Mutex<Value>>) {
    let kept = Arc::new(Mutex::new(object));
    let state = Arc::clone(&kept);
    let service = tower::service_fn(move |request: Request<Body>| {
        let state = Arc::clone(&state);
        async move {
            let patches = request.method() == Method::PATCH;
            let body = request.into_body().collect_bytes().await?;
            let mut object = state.lock().unwrap();
            if patches {
                let patch: Value = serde_json::from_slice(&body)?;
                assert_eq!(patch["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"], "guarded");
                json_patch::merge(&mut object, &patch);
                let version = object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u32>().unwrap() + 1;
                object["metadata"]["resourceVersion"] = json!(version.to_string());
            }
            Ok::<_, tower::BoxError>(Response::new(Body::from(serde_json::to_vec(&*object)?)))
        }
    });
    let client = kube::Client::new(service, "default");
    (Cluster::from_client(client, "https://lab", Duration::from_secs(1)).unwrap(), kept)
}
