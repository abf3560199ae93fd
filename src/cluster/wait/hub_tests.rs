//! Shared watches against a scripted API server, on a clock that stands still.

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::Secret;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::cluster::wait::known::TOLD_HOLDS;
use kube::runtime::watcher::Event;
use tokio::time::Instant;

/// How often the server was asked for a list, and what it answers to it and to a watch.
#[derive(Default)]
struct Script {
    /// Path and query of each list.
    queries: Vec<String>,
    lists: u32,
    /// HTTP status of lists, in their order; the last holds for all that follow.
    statuses: Vec<u16>,
    /// Names in the list, and the events of the first watch.
    names: Vec<&'static str>,
    events: Vec<Value>,
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "ns", "resourceVersion": "1"}})
}

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

fn answer(script: &mut Script, request: &Request<Body>) -> Answer {
    if request.uri().query().unwrap_or_default().contains("watch=") {
        let events = std::mem::take(&mut script.events);
        let lines =
            events.into_iter().map(|event| Ok::<_, std::io::Error>(Frame::data(Bytes::from(format!("{event}\n")))));
        return Response::new(StreamBody::new(stream::iter(lines).chain(stream::pending())).boxed_unsync());
    }
    script.queries.push(request.uri().to_string());
    let nth = script.lists as usize;
    script.lists += 1;
    let status = script.statuses.get(nth).or(script.statuses.last()).copied().unwrap_or(200);
    let body = if status == 200 {
        let items: Vec<Value> = script.names.iter().map(|name| secret(name)).collect();
        json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": items})
    } else {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": "no", "reason": "x"})
    };
    let body = Full::from(serde_json::to_vec(&body).unwrap()).map_err(|never| match never {});
    Response::builder().status(status).body(body.boxed_unsync()).unwrap()
}

fn server(script: Script) -> (kube::Client, Arc<Mutex<Script>>) {
    let script = Arc::new(Mutex::new(script));
    let state = Arc::clone(&script);
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer(&mut state.lock().unwrap(), &request);
        async move { Ok::<_, tower::BoxError>(answer) }
    });
    (kube::Client::new(service, "default"), script)
}

fn kind() -> ApiResource {
    ApiResource::erase::<Secret>(&())
}

fn join(hub: &Hub, client: &kube::Client, name: &str) -> Joined {
    hub.join(client, &kind(), Some("ns"), name)
}

/// Waits until `fits` of what is known about the Secret.
async fn until(joined: &mut Joined, fits: impl Fn(&View) -> bool) {
    while !fits(&joined.view()) {
        assert!(joined.changed().await);
    }
}

fn is_there(view: &View) -> bool {
    matches!(view, View::Known(Some(_)))
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_on_a_kind_share_one_watch_which_ends_with_the_last_of_them() {
    let (client, script) = server(Script { names: vec!["a"], ..Script::default() });
    let hub = Hub::default();
    let (mut first, second) = (join(&hub, &client, "a"), join(&hub, &client, "a"));
    until(&mut first, is_there).await;
    assert!(is_there(&second.view()));
    assert_eq!(script.lock().unwrap().lists, 1);
    drop(first);
    assert!(is_there(&second.view()), "the watch goes on for the other");
    drop(second);
    let mut third = join(&hub, &client, "a");
    assert!(matches!(third.view(), View::Unknown(None)), "what nobody watched is known by nobody");
    until(&mut third, is_there).await;
    assert_eq!(script.lock().unwrap().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn an_object_comes_and_goes_with_the_events_of_the_watch() {
    let added = json!({"type": "ADDED", "object": secret("a")});
    let (client, _) = server(Script { events: vec![added], ..Script::default() });
    let mut shared = join(&Hub::default(), &client, "a");
    until(&mut shared, is_there).await;

    let deleted = json!({"type": "DELETED", "object": secret("a")});
    let (client, _) = server(Script { names: vec!["a", "b"], events: vec![deleted], ..Script::default() });
    let hub = Hub::default();
    let (mut shared, other) = (join(&hub, &client, "a"), join(&hub, &client, "b"));
    until(&mut shared, |view| matches!(view, View::Known(None))).await;
    assert!(matches!(other.view(), View::Known(Some(_))), "that one, and no other");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_refused_may_still_come_for_a_while_and_then_is_told_as_refused() {
    let (client, _) = server(Script { statuses: vec![403], ..Script::default() });
    let hub = Hub::default();
    let begun = Instant::now();
    let mut shared = join(&hub, &client, "a");
    until(&mut shared, |view| matches!(view, View::Unknown(Some(_)))).await;
    until(&mut shared, |view| matches!(view, View::Refused(why) if why.contains("403"))).await;
    assert!(begun.elapsed() >= REFUSAL_PATIENCE);

    let (client, _) = server(Script { statuses: vec![403, 403, 200], names: vec!["a"], ..Script::default() });
    let mut shared = join(&Hub::default(), &client, "a");
    until(&mut shared, is_there).await;
    assert!(shared.silence().is_none(), "rights of a new namespace come late");
}

#[tokio::test(start_paused = true)]
async fn while_nobody_answers_the_last_state_stands_and_its_age_is_told() {
    let (client, script) = server(Script { statuses: vec![503, 503, 200], names: vec!["a"], ..Script::default() });
    let hub = Hub::default();
    let mut shared = join(&hub, &client, "a");
    until(&mut shared, |view| matches!(view, View::Unknown(Some(_)))).await;
    let (age, error) = shared.silence().unwrap();
    assert!(age < Duration::from_secs(1) && error.contains("503"), "{age:?}: {error}");
    let first = tokio::time::Instant::now();
    while script.lock().unwrap().lists < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (age, _) = shared.silence().unwrap();
    assert!(age >= first.elapsed(), "since the first failure, not the last: {age:?}");
    until(&mut shared, is_there).await;
    assert!(shared.silence().is_none());
    assert!(script.lock().unwrap().lists >= 3);
}

/// The run's own Secret `a`, watched wide.
fn own(hub: &Hub, client: &kube::Client) -> Joined {
    hub.own("run", &kind(), Some("ns"), "a");
    join(hub, client, "a")
}

fn object(name: &str, uid: &str, version: u64) -> DynamicObject {
    let mut object: DynamicObject = serde_json::from_value(secret(name)).unwrap();
    (object.metadata.uid, object.metadata.resource_version) = (Some(uid.to_owned()), Some(version.to_string()));
    object
}

#[tokio::test(start_paused = true)]
async fn what_the_run_made_is_told_by_one_watch_of_its_label_that_goes_on_without_waiters() {
    let (client, script) = server(Script { names: vec!["a", "b"], ..Script::default() });
    let hub = Hub::default();
    let mut first = own(&hub, &client);
    until(&mut first, is_there).await;
    drop(first);
    assert!(is_there(&own(&hub, &client).view()), "known at once");
    assert!(hub.seen(&kind(), Some("ns"), "a").is_some() && hub.seen(&kind(), Some("ns"), "c").is_none());
    assert_eq!(hub.seen_in(&kind(), "ns").unwrap().len(), 2);
    assert_eq!(hub.seen_in(&kind(), "n").unwrap().len(), 0);
    let queries = script.lock().unwrap().queries.clone();
    assert!(
        queries.iter().all(|query| query.starts_with("/api/v1/secrets?") && query.contains("run-id%3Drun")),
        "{queries:?}"
    );
    // What others made has not its label, and is watched where it is.
    let mut foreign = hub.join(&client, &kind(), Some("ns"), "b");
    until(&mut foreign, is_there).await;
    assert!(script.lock().unwrap().queries.last().unwrap().starts_with("/api/v1/namespaces/ns/secrets?"));
    hub.gone(&ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&()), None, "ns");
    assert!(!hub.is_wide(&kind(), Some("ns"), "a"), "it went with its namespace");
}

#[tokio::test(start_paused = true)]
async fn where_all_namespaces_may_not_be_watched_each_is_by_itself() {
    let (client, script) = server(Script { statuses: vec![403, 200], names: vec!["a"], ..Script::default() });
    let hub = Hub::default();
    let begun = Instant::now();
    let mut wide = own(&hub, &client);
    until(&mut wide, |view| matches!(view, View::TooWide)).await;
    hub.too_wide(&kind());
    until(&mut own(&hub, &client), is_there).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody's patience is tried");
    assert!(script.lock().unwrap().queries.last().unwrap().starts_with("/api/v1/namespaces/ns/secrets?"));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_wakes_for_its_own_object_alone() {
    let (client, _) = server(Script { names: vec!["a", "b"], ..Script::default() });
    let hub = Hub::default();
    let mut a = own(&hub, &client);
    until(&mut a, is_there).await;
    a.mark();
    hub.told(&kind(), &object("b", "1", 9));
    assert!(!a.changes.has_changed().unwrap());
    hub.told(&kind(), &object("a", "1", 9));
    assert!(a.changes.has_changed().unwrap());
}

fn nothing_known() -> Known {
    Known::new(TypeMeta { api_version: "v1".to_owned(), kind: "Secret".to_owned() })
}

fn told(name: &str, uid: &str, version: u64) -> Told {
    serde_json::from_str(&serde_json::to_string(&object(name, uid, version)).unwrap()).unwrap()
}

#[test]
fn an_answer_to_our_own_write_is_seen_at_once_and_never_undone_by_what_was_on_its_way() {
    let (a, mut known) = (name_in(Some("ns"), "a"), nothing_known());
    let seen = |known: &Known| known.find(&a).and_then(|object| object.version);
    known.take(Event::InitDone);
    known.take(Event::Apply(told("a", "1", 5)));
    known.told(&object("a", "1", 7));
    assert_eq!(seen(&known), Some(7));
    known.take(Event::Apply(told("a", "1", 6)));
    assert_eq!(seen(&known), Some(7), "older than the answer");
    known.take(Event::Apply(told("a", "1", 8)));
    assert_eq!(seen(&known), Some(8));
    // The end of the one before is not the end of the one that was made in its place.
    known.told(&object("a", "2", 12));
    known.take(Event::Delete(told("a", "1", 11)));
    assert_eq!(seen(&known), Some(12));
    known.take(Event::Delete(told("a", "2", 13)));
    assert_eq!(seen(&known), None);
    known.told(&object("a", "2", 12));
    assert_eq!(seen(&known), None, "an answer that came late brings nothing back");
    // A list that was made before the answer does not undo it.
    known.told(&object("a", "3", 20));
    known.take(Event::Init);
    known.take(Event::InitDone);
    assert_eq!(seen(&known), Some(20));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_no_watch_confirms_is_not_believed_for_ever() {
    let (a, mut known) = (name_in(Some("ns"), "a"), nothing_known());
    known.take(Event::InitDone);
    known.told(&object("a", "1", 7));
    assert!(known.find(&a).is_some());
    tokio::time::advance(TOLD_HOLDS).await;
    assert!(known.find(&a).is_none());
}

#[test]
fn those_who_wait_no_more_are_forgotten_before_they_are_many() {
    let mut known = nothing_known();
    let about = |n: usize| About::Object(name_in(Some("ns"), &n.to_string()));
    let stays: Vec<_> = (0..100).map(|n| known.waiter(&about(n))).collect();
    (100..10_000).for_each(|n| drop(known.waiter(&about(n))));
    assert!(known.remembered() <= 256, "{} are remembered", known.remembered());
    known.take(Event::Apply(told("7", "1", 5)));
    let woken: Vec<usize> = (0..100).filter(|&n| stays[n].has_changed().unwrap()).collect();
    assert_eq!(woken, [7], "who waits still wakes for its own");
}

#[test]
fn what_was_in_a_namespace_is_gone_with_it_and_nothing_beside_it() {
    let hub = Hub::default();
    let namespaces = ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&());
    for namespace in ["a", "ab", "b"] {
        hub.own("mm-abcdefghij", &namespaces, None, namespace);
        ["x", "y"].iter().for_each(|name| hub.own("mm-abcdefghij", &kind(), Some(namespace), name));
    }
    hub.gone(&namespaces, None, "a");
    let left: Vec<String> = hub.state().own.iter().map(|(at, _)| format!("{}/{}", at.0, at.1)).collect();
    assert_eq!(left, ["/ab", "/b", "ab/x", "ab/y", "b/x", "b/y"]);
}
