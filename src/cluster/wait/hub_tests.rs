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

/// How often the server was asked for a list, and what it answers to it and to a watch.
#[derive(Default)]
struct Script {
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

fn join(hub: &Hub, client: &kube::Client) -> Arc<Shared> {
    hub.join(client, &ApiResource::erase::<Secret>(&()), Some("ns"))
}

/// Waits until `fits` of what is known about the Secret `a`.
async fn until(shared: &Shared, fits: impl Fn(&View) -> bool) {
    let mut changes = shared.changes();
    while !fits(&shared.view("a")) {
        changes.changed().await.unwrap();
    }
}

fn is_there(view: &View) -> bool {
    matches!(view, View::Known(Some(_)))
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_on_a_kind_share_one_watch_which_ends_with_the_last_of_them() {
    let (client, script) = server(Script { names: vec!["a"], ..Script::default() });
    let hub = Hub::default();
    let (first, second) = (join(&hub, &client), join(&hub, &client));
    until(&first, is_there).await;
    assert!(is_there(&second.view("a")));
    assert_eq!(script.lock().unwrap().lists, 1);
    drop(first);
    assert!(is_there(&second.view("a")), "the watch goes on for the other");
    drop(second);
    let third = join(&hub, &client);
    assert!(matches!(third.view("a"), View::Unknown(None)), "what nobody watched is known by nobody");
    until(&third, is_there).await;
    assert_eq!(script.lock().unwrap().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn an_object_comes_and_goes_with_the_events_of_the_watch() {
    let added = json!({"type": "ADDED", "object": secret("a")});
    let (client, _) = server(Script { events: vec![added], ..Script::default() });
    let shared = join(&Hub::default(), &client);
    until(&shared, is_there).await;

    let deleted = json!({"type": "DELETED", "object": secret("a")});
    let (client, _) = server(Script { names: vec!["a", "b"], events: vec![deleted], ..Script::default() });
    let shared = join(&Hub::default(), &client);
    until(&shared, |view| matches!(view, View::Known(None))).await;
    assert!(matches!(shared.view("b"), View::Known(Some(_))), "that one, and no other");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_refused_may_still_come_for_a_while_and_then_is_told_as_refused() {
    let (client, _) = server(Script { statuses: vec![403], ..Script::default() });
    let hub = Hub::default();
    let begun = Instant::now();
    let shared = join(&hub, &client);
    until(&shared, |view| matches!(view, View::Unknown(Some(_)))).await;
    until(&shared, |view| matches!(view, View::Refused(why) if why.contains("403"))).await;
    assert!(begun.elapsed() >= REFUSAL_PATIENCE);

    let (client, _) = server(Script { statuses: vec![403, 403, 200], names: vec!["a"], ..Script::default() });
    let shared = join(&Hub::default(), &client);
    until(&shared, is_there).await;
    assert!(shared.silence().is_none(), "rights of a new namespace come late");
}

#[tokio::test(start_paused = true)]
async fn while_nobody_answers_the_last_state_stands_and_its_age_is_told() {
    let (client, script) = server(Script { statuses: vec![503, 503, 200], names: vec!["a"], ..Script::default() });
    let hub = Hub::default();
    let shared = join(&hub, &client);
    until(&shared, |view| matches!(view, View::Unknown(Some(_)))).await;
    let (age, error) = shared.silence().unwrap();
    assert!(age < Duration::from_secs(1) && error.contains("503"), "{age:?}: {error}");
    let first = tokio::time::Instant::now();
    while script.lock().unwrap().lists < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (age, _) = shared.silence().unwrap();
    assert!(age >= first.elapsed(), "since the first failure, not the last: {age:?}");
    until(&shared, is_there).await;
    assert!(shared.silence().is_none());
    assert!(script.lock().unwrap().lists >= 3);
}
