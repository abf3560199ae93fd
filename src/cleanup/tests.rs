//! Tests of undoing and lending, against a scripted API server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject};
use kube::client::Body;
use serde_json::{Value, json};

use super::borrowed::{self, borrow};
use super::proof::Consent;
use super::undo::{How, undo};
use super::{kept, sweep};
use crate::api::names::{CellId, MARK_ANNOTATION, RunId};
use crate::cluster::objects::fixture::{ledger, mock, stored, with_object};
use crate::cluster::{ApplyError, Cluster, Tracked};
use crate::ledger::{Ledger, OpenEntry, Thing};

const SOON: Duration = Duration::from_secs(5);

fn entry_of_secret(cluster: &Cluster, ledger: &Arc<Ledger>) -> OpenEntry {
    let tracked = Tracked::new(cluster.clone(), Arc::clone(ledger), None);
    ledger.intent(None, tracked.object(&ApiResource::erase::<Secret>(&()), Some("ns"), "s")).unwrap();
    ledger.open_entries().remove(0)
}

async fn undone(cluster: &Cluster, ledger: &Ledger, entry: &OpenEntry) -> Result<(), ApplyError> {
    undo(cluster, ledger, entry, how(Consent::Proven)).await
}

fn how(consent: Consent) -> How {
    How { consent, limit: Duration::from_secs(1), late: Duration::ZERO }
}

#[tokio::test]
async fn undo_deletes_nothing_without_the_runs_label_and_its_mark() {
    let (_dir, ledger) = ledger();
    let marked = stored(Some(&ledger));
    let with = |annotations: Value| {
        let mut there = marked.clone();
        there["metadata"]["annotations"] = annotations;
        there
    };
    let copied = ledger.marker().unwrap().by_id("Secret", "ns/another");
    for there in [stored(None), with(json!({})), with(json!({MARK_ANNOTATION: copied}))] {
        let (cluster, asked) = mock(move |_, _| (200, there.clone()));
        let entry = entry_of_secret(&cluster, &ledger);
        let error = undone(&cluster, &ledger, &entry).await.unwrap_err();
        assert!(matches!(error, ApplyError::NotOurs { .. }), "{error}");
        assert!(asked.lock().unwrap().iter().all(|(method, _)| method != Method::DELETE));
    }
}

#[tokio::test]
async fn a_delete_holds_for_exactly_what_was_read() {
    let (_dir, ledger) = ledger();
    let there = stored(Some(&ledger));
    let sent: Arc<Mutex<Vec<Value>>> = Arc::default();
    let seen = Arc::clone(&sent);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, there) = (Arc::clone(&seen), there.clone());
        async move {
            let deletes = request.method() == Method::DELETE;
            let body = request.into_body().collect_bytes().await?;
            let mut seen = seen.lock().unwrap();
            if deletes {
                seen.push(serde_json::from_slice(&body)?);
            }
            let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                              "message": "gone", "reason": "NotFound", "details": {"name": "s"}});
            let (code, body) = if deletes || seen.is_empty() { (200, there) } else { (404, gone) };
            let body = Body::from(serde_json::to_vec(&body)?);
            Ok::<_, tower::BoxError>(Response::builder().status(code).body(body)?)
        }
    });
    let client = kube::Client::new(service, "default");
    let cluster = Cluster::from_client(client, "https://lab", SOON).unwrap();
    let entry = entry_of_secret(&cluster, &ledger);
    undone(&cluster, &ledger, &entry).await.unwrap();
    let sent = sent.lock().unwrap();
    assert_eq!(sent[0]["preconditions"], json!({"uid": "u1", "resourceVersion": "1"}));
    assert!(ledger.open_entries().is_empty());
}

#[tokio::test]
async fn what_a_run_without_a_secret_left_is_removed_with_a_persons_yes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let ledger = Arc::new(Ledger::create_with(&path, &RunId::parse("mm-abcdefghij").unwrap(), None).unwrap());
    let there = stored(Some(&ledger));
    let (cluster, asked) = mock(move |_, _| (200, there.clone()));
    let entry = entry_of_secret(&cluster, &ledger);
    let error = undone(&cluster, &ledger, &entry).await.unwrap_err();
    assert!(matches!(error, ApplyError::Unproven { .. }), "{error}");
    let deletes = || asked.lock().unwrap().iter().filter(|(method, _)| method == Method::DELETE).count();
    assert_eq!(deletes(), 0);
    // It never goes away here; that it was asked to is what counts.
    let _ = undo(&cluster, &ledger, &entry, How { limit: Duration::from_millis(50), ..how(Consent::Unproven) }).await;
    assert_eq!(deletes(), 1);
}

#[tokio::test]
async fn that_a_kind_is_unknown_does_not_mean_that_its_object_is_gone() {
    let (_dir, ledger) = ledger();
    let service = tower::service_fn(|_: Request<Body>| async {
        let answer = Response::builder().status(404).body(Body::from(b"404 page not found\n".to_vec()));
        answer.map_err(tower::BoxError::from)
    });
    let cluster = Cluster::from_client(kube::Client::new(service, "default"), "https://lab", SOON).unwrap();
    let entry = entry_of_secret(&cluster, &ledger);
    let error = undone(&cluster, &ledger, &entry).await.unwrap_err();
    assert!(matches!(error, ApplyError::UnknownKind { .. }), "{error}");
    assert_eq!(ledger.open_entries().len(), 1);
}

#[tokio::test]
async fn undo_of_an_absent_object_closes_its_entry() {
    let (_dir, ledger) = ledger();
    let (cluster, _) = mock(|_, _| (404, Value::Null));
    let entry = entry_of_secret(&cluster, &ledger);
    undone(&cluster, &ledger, &entry).await.unwrap();
    assert!(ledger.open_entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_never_answered_for_is_looked_for_until_it_can_not_come_any_more() {
    let (_dir, ledger) = ledger();
    let there = stored(Some(&ledger));
    let state = Arc::new(Mutex::new((0, false)));
    let seen = Arc::clone(&state);
    // It comes after the third look, as a write that was on its way does.
    let (cluster, _) = mock(move |method, _| {
        let mut state = seen.lock().unwrap();
        if method == Method::DELETE {
            state.1 = true;
            return (200, there.clone());
        }
        state.0 += 1;
        if state.0 > 3 && !state.1 { (200, there.clone()) } else { (404, Value::Null) }
    });
    let entry = entry_of_secret(&cluster, &ledger);
    let late = How { late: Duration::from_secs(20), ..how(Consent::Proven) };
    undo(&cluster, &ledger, &entry, late).await.unwrap();
    assert!(state.lock().unwrap().1, "it came and was not removed");
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
        holder: None,
        cluster: "https://lab".into(),
    };
    ledger.intent(None, thing).unwrap();
    let entry = ledger.open_entries().remove(0);
    let error = undone(&cluster, &ledger, &entry).await.unwrap_err();
    assert!(matches!(error, ApplyError::SettingChanged { .. }), "{error}");
    assert!(ledger.open_entries().is_empty());
    assert!(asked.lock().unwrap().iter().all(|(method, _)| method == Method::GET));
}

/// A run with a ledger of its own.
fn tracked(cluster: &Cluster, dir: &tempfile::TempDir, run: &str) -> Tracked {
    let run = RunId::of_text("mm", run);
    let ledger = Ledger::create(&dir.path().join(run.as_str()), &run).unwrap();
    Tracked::new(cluster.clone(), Arc::new(ledger), None)
}

async fn lend(tracked: &Tracked, value: &str) -> Result<bool, ApplyError> {
    let lent = borrow::<Secret>(tracked, Some("ns"), "s", "/type", json!(value), SOON).await?;
    Ok(lent.is_some())
}

async fn give_back(tracked: &Tracked) -> Result<(), ApplyError> {
    let entry = tracked.ledger.open_entries().remove(0);
    undone(&tracked.cluster, &tracked.ledger, &entry).await
}

/// A shared object with a field, and a look at the field and at how many hold it.
fn shared(value: &str) -> (Cluster, impl Fn() -> (Value, usize), Arc<Mutex<Value>>) {
    let mut object = stored(None);
    object["type"] = json!(value);
    let (cluster, kept) = with_object(object);
    let seen = Arc::clone(&kept);
    let look = move || {
        let object = seen.lock().unwrap();
        (object["type"].clone(), object["metadata"]["annotations"].as_object().map_or(0, serde_json::Map::len))
    };
    (cluster, look, kept)
}

#[tokio::test]
async fn of_runs_that_borrow_the_same_field_the_last_to_end_restores_it() {
    let (cluster, look, kept) = shared("before");
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| tracked(&cluster, &dir, name);
    let (first, second, third, fourth) = (run("1"), run("2"), run("3"), run("4"));
    assert!(lend(&first, "ours").await.unwrap() && lend(&second, "ours").await.unwrap());
    assert_eq!(look(), (json!("ours"), 2));
    give_back(&first).await.unwrap();
    assert_eq!(look(), (json!("ours"), 1), "the second still needs it");
    lend(&third, "ours").await.unwrap();
    give_back(&second).await.unwrap();
    give_back(&third).await.unwrap();
    assert_eq!(look(), (json!("before"), 0), "the value from before all of them");
    assert!(third.ledger.open_entries().is_empty());

    // Somebody else's change stands, and our mark goes all the same.
    lend(&fourth, "ours").await.unwrap();
    kept.lock().unwrap()["type"] = json!("theirs");
    assert!(matches!(give_back(&fourth).await, Err(ApplyError::SettingChanged { .. })));
    assert_eq!(look(), (json!("theirs"), 0));
}

#[tokio::test]
async fn an_object_that_goes_while_its_field_is_given_back_has_taken_the_field_with_it() {
    let (cluster, _, kept) = shared("before");
    let dir = tempfile::tempdir().unwrap();
    let run = tracked(&cluster, &dir, "run");
    lend(&run, "ours").await.unwrap();
    let there = kept.lock().unwrap().clone();
    let (going, _) = mock(move |method, _| match method {
        &Method::GET => (200, there.clone()),
        _ => (404, Value::Null),
    });
    let entry = run.ledger.open_entries().remove(0);
    undone(&going, &run.ledger, &entry).await.unwrap();
    assert!(run.ledger.open_entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_needs_another_value_waits_for_those_who_hold_it_and_the_first_value_comes_back() {
    let (cluster, look, _) = shared("1");
    let dir = tempfile::tempdir().unwrap();
    let (two, three) = (tracked(&cluster, &dir, "two"), tracked(&cluster, &dir, "three"));
    lend(&two, "2").await.unwrap();
    let busy = lend(&three, "3").await.unwrap_err().to_string();
    assert!(busy.contains(two.ledger.run().as_str()) && busy.contains("\"2\""), "{busy}");
    assert_eq!(look(), (json!("2"), 1), "and took nothing");
    let ((), lent) = tokio::join!(async { give_back(&two).await.unwrap() }, lend(&three, "3"));
    assert!(lent.unwrap());
    give_back(&three).await.unwrap();
    assert_eq!(look(), (json!("1"), 0));
}

#[tokio::test]
async fn two_cells_of_one_run_hold_a_field_each_for_itself() {
    let (cluster, look, _) = shared("before");
    let dir = tempfile::tempdir().unwrap();
    let first = Tracked { cell: Some(CellId::new("p", "a", None)), ..tracked(&cluster, &dir, "run") };
    let second = Tracked { cell: Some(CellId::new("p", "b", None)), ..first.clone() };
    lend(&first, "ours").await.unwrap();
    lend(&second, "ours").await.unwrap();
    let of_first = first.ledger.open_entries_of(first.cell.as_ref()).remove(0);
    undone(&cluster, &first.ledger, &of_first).await.unwrap();
    assert_eq!(look(), (json!("ours"), 1), "the second cell still needs it");
    give_back(&second).await.unwrap();
    assert_eq!(look(), (json!("before"), 0));
}

#[tokio::test]
async fn a_run_that_died_without_a_ledger_is_known_by_the_object_and_its_setting_comes_back() {
    let (cluster, look, kept) = shared("1");
    let dir = tempfile::tempdir().unwrap();
    let dead = tracked(&cluster, &dir, "dead");
    lend(&dead, "2").await.unwrap();
    // A third run comes with the same value, and ends.
    let third = tracked(&cluster, &dir, "third");
    lend(&third, "2").await.unwrap();
    give_back(&third).await.unwrap();
    assert_eq!(look(), (json!("2"), 1), "nobody can tell that the first is dead");

    let object: DynamicObject = serde_json::from_value(kept.lock().unwrap().clone()).unwrap();
    let held = borrowed::held_by(&object, dead.ledger.run());
    let [(holder, lent)] = held.as_slice() else { panic!("{held:?}") };
    let found = Thing::Setting {
        api_version: "v1".into(),
        kind: "Secret".into(),
        plural: "secrets".into(),
        namespace: Some("ns".into()),
        name: "s".into(),
        pointer: lent.pointer.clone(),
        before: lent.before.clone(),
        after: lent.after.clone(),
        holder: Some(holder.as_str().to_owned()),
        cluster: "https://lab".into(),
    };
    let scratch = Ledger::create_with(&dir.path().join("scratch"), dead.ledger.run(), None).unwrap();
    scratch.intent(None, found).unwrap();
    undone(&cluster, &scratch, &scratch.open_entries()[0]).await.unwrap();
    assert_eq!(look(), (json!("1"), 0));
}

#[tokio::test]
async fn a_field_that_has_the_value_is_held_and_not_changed() {
    let (cluster, look, _) = shared("x");
    let dir = tempfile::tempdir().unwrap();
    let run = tracked(&cluster, &dir, "run");
    assert!(!lend(&run, "x").await.unwrap());
    assert_eq!(look(), (json!("x"), 1), "so that nobody else changes it meanwhile");
    give_back(&run).await.unwrap();
    assert_eq!(look(), (json!("x"), 0));
}

#[tokio::test]
async fn a_setting_without_our_annotation_is_not_ours_to_give_back() {
    let (cluster, look, kept) = shared("before");
    let dir = tempfile::tempdir().unwrap();
    let run = tracked(&cluster, &dir, "run");
    lend(&run, "ours").await.unwrap();
    kept.lock().unwrap()["metadata"]["annotations"] = json!({});
    assert!(matches!(give_back(&run).await, Err(ApplyError::Unproven { .. })));
    assert_eq!(look(), (json!("ours"), 0));
}

#[tokio::test]
async fn a_sweep_that_may_not_look_says_so_and_finds_no_run() {
    let (cluster, _) = mock(|_, _| (403, Value::Null));
    let run = RunId::parse("mm-abcdefghij").unwrap();
    let swept = sweep::find_by_run(&cluster, &run, Some("openshift-mtv")).await;
    assert!(swept.things.is_empty());
    for what in ["namespaces", "secrets", "plans", "nodes", "forkliftcontrollers"] {
        assert!(swept.unasked.iter().any(|(asked, _)| asked.starts_with(what)), "{what}: {:?}", swept.unasked);
    }
    let aged = sweep::runs_older_than(&cluster, Duration::ZERO).await;
    assert!(aged.old.is_empty() && aged.unasked.len() == 1, "{aged:?}");
    assert!(matches!(kept::find(&cluster, &run).await, Err(kept::Unknown::NotAsked(_))));
}
