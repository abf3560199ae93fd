//! Tests of creating and adopting, against a scripted API server.

use super::*;
use crate::cluster::objects::fixture::{Answers, ledger, mock, secret, stored};
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Secret;
use kube::client::Body;

/// Refuses to create, and shows `there`.
fn taken(there: Value) -> (Cluster, Answers) {
    mock(move |method, _| if method == Method::POST { (409, Value::Null) } else { (200, there.clone()) })
}

#[tokio::test]
async fn a_conflict_with_this_runs_own_object_adopts_it() {
    let (_dir, ledger) = ledger();
    let (cluster, _) = taken(stored(Some(&ledger)));
    let made = Tracked::new(cluster, Arc::clone(&ledger), None).create(secret()).await.unwrap();
    assert_eq!(made.metadata.uid.as_deref(), Some("u1"));
    let open = ledger.open_entries();
    assert!(open[0].done && open[0].platform_id.as_deref() == Some("u1"));
}

#[tokio::test]
async fn a_conflict_with_a_strangers_object_is_an_error_and_leaves_no_entry() {
    let (_dir, ledger) = ledger();
    // The run's label is anybody's to write; its mark is not.
    let mut planted = stored(Some(&ledger));
    planted["metadata"]["annotations"][MARK_ANNOTATION] = json!("abcdefghijabcdefghij");
    for there in [stored(None), planted] {
        let (cluster, asked) = taken(there);
        let error = Tracked::new(cluster, Arc::clone(&ledger), None).create(secret()).await.unwrap_err();
        assert!(matches!(error, ApplyError::Foreign { .. }), "{error}");
        assert!(ledger.open_entries().is_empty());
        assert!(asked.lock().unwrap().iter().all(|(method, _)| method != Method::DELETE));
    }
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
