//! Tests of undoing and lending, against a scripted API server.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ApiResource;
use serde_json::{Value, json};

use super::borrowed::borrow;
use super::undo::undo;
use crate::api::names::RunId;
use crate::cluster::objects::fixture::{ledger, mock, stored, with_object};
use crate::cluster::{ApplyError, Tracked};
use crate::ledger::{Ledger, Thing};

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
    assert_eq!(borrow::<Secret>(&tracked, Some("ns"), "s", "/type", json!("x")).await.unwrap(), None);
    assert!(ledger.open_entries().is_empty());
    assert!(borrow::<Secret>(&tracked, Some("ns"), "s", "/type", json!("y")).await.unwrap().is_some());
    assert!(matches!(&ledger.open_entries()[0].thing, Thing::Setting { before: Some(b), .. } if b == "x"));
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
        assert!(borrow::<Secret>(&tracked, Some("ns"), "s", "/type", json!("ours")).await.unwrap().is_some());
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
