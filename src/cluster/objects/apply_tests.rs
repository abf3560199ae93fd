//! Tests of creating, adopting and undoing, against a scripted API server.

use super::*;
use crate::api::names::RunId;
use crate::ledger::Ledger;
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Secret;
use kube::client::Body;
use std::collections::HashMap;
use std::sync::Mutex;

type Answers = Arc<Mutex<Vec<(Method, String)>>>;

/// A cluster whose answers are given by `answer(method, path)`; what was asked is recorded.
fn mock<F>(answer: F) -> (Cluster, Answers)
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
                          "message": "refused", "reason": "x"});
        }
        let response = Response::builder().status(code).body(Body::from(serde_json::to_vec(&body).unwrap())).unwrap();
        async move { Ok::<_, tower::BoxError>(response) }
    });
    let client = kube::Client::new(service, "default");
    (Cluster::from_client(client, "https://lab", Duration::from_secs(1)).unwrap(), asked)
}

fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(&dir.path().join("ledger.jsonl"), &RunId::parse("mm-abc").unwrap()).unwrap();
    (dir, Arc::new(ledger))
}

fn secret() -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some("s".into());
    secret.metadata.namespace = Some("ns".into());
    secret
}

fn stored(run: Option<&str>) -> Value {
    let labels: HashMap<&str, &str> = run.map(|run| (RUN_LABEL, run)).into_iter().collect();
    json!({"apiVersion": "v1", "kind": "Secret",
           "metadata": {"name": "s", "namespace": "ns", "uid": "u1", "resourceVersion": "1", "labels": labels}})
}

#[tokio::test]
async fn a_conflict_with_this_runs_own_object_adopts_it() {
    let (cluster, _) =
        mock(|method, _| if method == Method::POST { (409, Value::Null) } else { (200, stored(Some("mm-abc"))) });
    let (_dir, ledger) = ledger();
    let made = Tracked::new(cluster, Arc::clone(&ledger), None).create(secret()).await.unwrap();
    assert_eq!(made.metadata.uid.as_deref(), Some("u1"));
    let open = ledger.open_entries();
    assert!(open[0].done && open[0].platform_id.as_deref() == Some("u1"));
}

#[tokio::test]
async fn a_conflict_with_a_strangers_object_is_an_error_and_leaves_no_entry() {
    let (cluster, asked) =
        mock(|method, _| if method == Method::POST { (409, Value::Null) } else { (200, stored(Some("mm-other"))) });
    let (_dir, ledger) = ledger();
    let error = Tracked::new(cluster, Arc::clone(&ledger), None).create(secret()).await.unwrap_err();
    assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
    assert!(ledger.open_entries().is_empty());
    assert!(asked.lock().unwrap().iter().all(|(method, _)| method != Method::DELETE));
}

#[tokio::test]
async fn a_definite_refusal_closes_the_entry_and_a_lost_answer_keeps_it() {
    let (_dir, ledger) = ledger();
    let (cluster, _) = mock(|_, _| (403, Value::Null));
    let error = Tracked::new(cluster, Arc::clone(&ledger), None).create(secret()).await.unwrap_err();
    assert_eq!(error.code(), Some(403));
    assert!(ledger.open_entries().is_empty());
    let (cluster, _) = mock(|_, _| (500, Value::Null));
    Tracked::new(cluster, Arc::clone(&ledger), None).create(secret()).await.unwrap_err();
    assert_eq!(ledger.open_entries().len(), 1);
}

#[tokio::test]
async fn undo_refuses_to_delete_what_lacks_the_runs_label() {
    let (_dir, ledger) = ledger();
    let (cluster, asked) = mock(|_, _| (200, stored(None)));
    let tracked = Tracked::new(cluster.clone(), Arc::clone(&ledger), None);
    let kind = ApiResource::erase::<Secret>(&());
    ledger.intent(None, tracked.object(&kind, Some("ns"), "s")).unwrap();
    let entry = ledger.open_entries().remove(0);
    let error = undo(&cluster, &ledger, &entry, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ApplyError::NotOurs { .. }), "{error}");
    assert_eq!(ledger.open_entries().len(), 1);
    assert!(asked.lock().unwrap().iter().all(|(method, _)| method != Method::DELETE));
}

#[tokio::test]
async fn undo_of_an_absent_object_closes_its_entry() {
    let (_dir, ledger) = ledger();
    let (cluster, _) = mock(|_, _| (404, Value::Null));
    let tracked = Tracked::new(cluster.clone(), Arc::clone(&ledger), None);
    ledger.intent(None, tracked.object(&ApiResource::erase::<Secret>(&()), Some("ns"), "s")).unwrap();
    let entry = ledger.open_entries().remove(0);
    undo(&cluster, &ledger, &entry, Duration::from_secs(1)).await.unwrap();
    assert!(ledger.open_entries().is_empty());
}

#[tokio::test]
async fn a_setting_that_somebody_else_changed_is_left_and_reported_once() {
    let (_dir, ledger) = ledger();
    let node =
        |value: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"a/b": value}}});
    let (cluster, asked) = mock(move |_, _| (200, node("theirs")));
    let thing = Thing::Setting {
        api_version: "v1".into(),
        kind: "Node".into(),
        plural: "nodes".into(),
        namespace: None,
        name: "n".into(),
        pointer: "/metadata/labels/a~1b".into(),
        before: None,
        after: json!("ours"),
        cluster: "https://lab".into(),
    };
    ledger.intent(None, thing).unwrap();
    let entry = ledger.open_entries().remove(0);
    let error = undo(&cluster, &ledger, &entry, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ApplyError::SettingChanged { .. }), "{error}");
    assert!(ledger.open_entries().is_empty());
    assert!(asked.lock().unwrap().iter().all(|(method, _)| method == Method::GET));
}

#[tokio::test]
async fn a_setting_that_has_the_value_already_is_not_borrowed() {
    let (_dir, ledger) = ledger();
    let (cluster, _) =
        mock(|_, _| (200, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "x"})));
    let tracked = Tracked::new(cluster, Arc::clone(&ledger), None);
    assert_eq!(tracked.borrow_setting::<Secret>(Some("ns"), "s", "/type", json!("x")).await.unwrap(), None);
    assert!(ledger.open_entries().is_empty());
    assert!(tracked.borrow_setting::<Secret>(Some("ns"), "s", "/type", json!("y")).await.unwrap().is_some());
    assert!(matches!(&ledger.open_entries()[0].thing, Thing::Setting { before: Some(b), .. } if b == "x"));
}

#[test]
fn a_pointer_becomes_a_nested_merge_patch() {
    assert_eq!(merge_for("/metadata/labels/a~1b", json!(1)), json!({"metadata": {"labels": {"a/b": 1}}}));
}

/// First watch: 410 at once; the relist shows the object in the wanted state.
#[tokio::test]
async fn a_wait_survives_an_expired_watch() {
    let lists = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let service = tower::service_fn(move |request: Request<Body>| {
        let watching = request.uri().query().is_some_and(|q| q.contains("watch=true"));
        let body = if watching {
            json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410,
                   "reason": "Expired", "message": "too old resource version"}})
        } else {
            let n = lists.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let items = if n == 0 { vec![] } else { vec![stored(None)] };
            json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "5"}, "items": items})
        };
        let mut bytes = serde_json::to_vec(&body).unwrap();
        bytes.push(b'\n');
        async move { Ok::<_, tower::BoxError>(Response::new(Body::from(bytes))) }
    });
    let client = kube::Client::new(service, "default");
    let cluster = Cluster::from_client(client, "https://lab", Duration::from_secs(1)).unwrap();
    let mut absent = 0;
    wait::until::<Secret, ()>(&cluster, Some("ns"), "s", "the secret", Duration::from_secs(20), |seen| match seen {
        None => {
            absent += 1;
            Poll::NotYet("absent".into())
        }
        Some(_) => Poll::Done(()),
    })
    .await
    .unwrap();
    assert!(absent > 0, "the initial state is shown");
}

/// A cluster with one object that keeps what is patched.
fn with_object(object: Value) -> (Cluster, Arc<Mutex<Value>>) {
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

#[tokio::test]
async fn of_runs_that_borrow_the_same_field_the_last_to_end_restores_it() {
    let mut object = stored(None);
    object["type"] = json!("before");
    let (cluster, kept) = with_object(object);
    let dir = tempfile::tempdir().unwrap();
    let borrow = async |run: &str| {
        let path = dir.path().join(run);
        let ledger = Arc::new(Ledger::create(&path, &RunId::parse(run).unwrap()).unwrap());
        let tracked = Tracked::new(cluster.clone(), Arc::clone(&ledger), None);
        assert!(tracked.borrow_setting::<Secret>(Some("ns"), "s", "/type", json!("ours")).await.unwrap().is_some());
        ledger
    };
    let give_back = async |ledger: &Arc<Ledger>| {
        let entry = ledger.open_entries().remove(0);
        undo(&cluster, ledger, &entry, Duration::from_secs(1)).await
    };
    let now = || kept.lock().unwrap()["type"].clone();
    let holders = || kept.lock().unwrap()["metadata"]["annotations"].as_object().map_or(0, serde_json::Map::len);

    let (first, second) = (borrow("mm-first").await, borrow("mm-second").await);
    assert_eq!((now(), holders()), (json!("ours"), 2));
    give_back(&first).await.unwrap();
    assert_eq!((now(), holders()), (json!("ours"), 1), "the second still needs it");
    let third = borrow("mm-third").await;
    give_back(&second).await.unwrap();
    give_back(&third).await.unwrap();
    assert_eq!((now(), holders()), (json!("before"), 0), "the value from before all of them");
    assert!(third.open_entries().is_empty());

    // Somebody else's change stands, and our mark goes all the same.
    let fourth = borrow("mm-fourth").await;
    kept.lock().unwrap()["type"] = json!("theirs");
    assert!(matches!(give_back(&fourth).await, Err(ApplyError::SettingChanged { .. })));
    assert_eq!((now(), holders()), (json!("theirs"), 0));
}
