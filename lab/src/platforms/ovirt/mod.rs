//! The oVirt endpoint: an engine's single sign-on, REST API and CA, in XML and JSON.
//!
//! Knows the wire and its own small world; knows nothing of who is asking. Standard clients (the
//! Python SDK, MTV's collector) are expected to work against it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::clock::Clock;
use super::super::serve::{self, Endpoint};
use crate::api::world::Source;
use crate::error::LabError;
use crate::faults::At;
use crate::pki::LabCa;

mod auth;
mod body;
mod devices;
mod extras;
mod model;
mod node;
mod operate;
pub mod platform;
mod read;
mod search;
mod seed;
#[cfg(test)]
mod tests;
mod view;
mod view_vm;

use body::Body;
use model::State;
use node::{Node, Object};
use operate::{Done, Fault, Later};
use read::Params;

/// How the endpoint is served.
pub struct OvirtOptions {
    pub listen: IpAddr,
    pub username: String,
    pub password: String,
    pub clock: Clock,
    pub faults: At,
}

/// The engine behind the wire.
struct Engine {
    state: Mutex<State>,
    options: OvirtOptions,
    tokens: Mutex<HashSet<String>>,
    ca_pem: String,
    requests: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A running endpoint.
pub struct OvirtEndpoint {
    endpoint: Endpoint,
    url: String,
    engine: Arc<Engine>,
}

impl OvirtEndpoint {
    /// `https://127.0.0.1:PORT/ovirt-engine/api`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forgets every token, as an engine does after its idle limit.
    pub fn forget_sessions(&self) {
        self.engine.tokens().clear();
    }

    /// Ends every connection and every running operation, and waits for them.
    pub async fn stop(&self) {
        self.engine.stop.cancel();
        self.endpoint.stop().await;
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
    }
}

impl Drop for OvirtEndpoint {
    fn drop(&mut self) {
        self.engine.stop.cancel();
    }
}

/// Serves an engine with these things over HTTPS with a certificate of the lab's CA.
pub async fn start(options: OvirtOptions, source: &Source, ca: &LabCa) -> Result<OvirtEndpoint, LabError> {
    let part = "oVirt";
    let tls = ca.server_config(&[options.listen.to_string(), "localhost".to_owned()])?;
    let listener = serve::bind(part, options.listen, 0).await?;
    let (listen, faults) = (options.listen, options.faults.clone());
    let engine = Arc::new(Engine {
        state: Mutex::new(seed::state(source)),
        options,
        tokens: Mutex::default(),
        ca_pem: ca.ca_pem().to_owned(),
        requests: AtomicU64::new(0),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let endpoint = serve::https_with(part, listener, tls, router(engine.clone()), &faults)?;
    let url = format!("https://{}{}", std::net::SocketAddr::new(listen, endpoint.port()), view::API);
    Ok(OvirtEndpoint { endpoint, url, engine })
}

fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/ovirt-engine/sso/oauth/token", post(auth::token))
        .route("/ovirt-engine/services/sso-logout", post(auth::logout))
        .route("/ovirt-engine/services/pki-resource", get(auth::pki))
        .route("/ovirt-engine/api", any(api))
        .route("/ovirt-engine/api/", any(api))
        .route("/ovirt-engine/api/{*path}", any(api))
        .with_state(engine)
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panicking test may poison the lock; the state itself is changed in whole steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> MutexGuard<'_, HashSet<String>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what follows, step after step.
    fn follow_up(self: &Arc<Self>, then: Option<Later>) {
        let Some(mut later) = then else { return };
        let engine = self.clone();
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = engine.stop.cancelled() => return,
                    () = engine.options.clock.sleep(later.after) => {}
                }
                match (later.step)(&mut engine.lock()) {
                    Some(next) => later = next,
                    None => return,
                }
            }
        });
    }
}

/// What a client said of the representation.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// Answers in JSON.
    accepts_json: bool,
    /// Sends JSON.
    sends_json: bool,
}

impl Form {
    fn of(headers: &HeaderMap, params: &Params) -> Self {
        let says = |name: header::HeaderName| {
            headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("application/json"))
        };
        let accept = params.get("accept").map(|v| v.contains("application/json"));
        Self { accepts_json: accept.unwrap_or_else(|| says(header::ACCEPT)), sends_json: says(header::CONTENT_TYPE) }
    }

    fn answer(self, status: u16, root: &str, node: &Node) -> Response {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, text) = if self.accepts_json {
            ("application/json", node::json(node).to_string())
        } else {
            ("application/xml;charset=UTF-8", node::xml(root, node))
        };
        (status, [(header::CONTENT_TYPE, kind)], text).into_response()
    }

    /// An action tells its fault inside of itself.
    fn fault(self, fault: &Fault, of_action: bool) -> Response {
        if fault.status == 404 && fault.detail.is_empty() {
            return StatusCode::NOT_FOUND.into_response();
        }
        let object = Object::new().text("detail", &fault.detail).text("reason", fault.reason);
        if of_action {
            let object = Object::new().object("fault", object).text("status", "failed");
            return self.answer(fault.status, "action", &Node::Object(object));
        }
        self.answer(fault.status, "fault", &Node::Object(object))
    }
}

/// From the query, then from matrix parameters of the last segment; names without case.
fn params(query: &str, last: Option<&str>) -> Params {
    let mut all = Params::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        all.insert(name.to_lowercase(), value.into_owned());
    }
    for pair in last.into_iter().flat_map(|segment| segment.split(';').skip(1)) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        all.entry(name.to_lowercase()).or_insert_with(|| value.to_owned());
    }
    all
}

/// Foreign characters are dropped, and what is too long is cut.
fn correlation(headers: &HeaderMap, params: &Params) -> String {
    let header = headers.get("correlation-id").and_then(|v| v.to_str().ok());
    let given = params.get("correlation_id").map(String::as_str).or(header).unwrap_or_default();
    given.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).take(36).collect()
}

async fn api(
    Extract(engine): Extract<Arc<Engine>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    engine.requests.fetch_add(1, Ordering::Relaxed);
    let path = uri.path().strip_prefix(view::API).unwrap_or_default().trim_matches('/');
    let params = params(uri.query().unwrap_or_default(), path.rsplit('/').next());
    let form = Form::of(&headers, &params);
    if !engine.is_logged_in(&headers) {
        return auth::unauthorized();
    }
    if headers.get("version").is_some_and(|v| v != "4") {
        return form.fault(&Fault::bad("Operation Failed", "Unsupported API version"), false);
    }
    let mut segments: Vec<&str> =
        path.split('/').map(|s| s.split(';').next().unwrap_or_default()).filter(|s| !s.is_empty()).collect();
    if segments.first() == Some(&"v4") {
        segments.remove(0);
    }
    if let [collection @ ("vms" | "templates" | "disks"), id, ..] = segments.as_slice()
        && uuid::Uuid::parse_str(id).is_err()
    {
        let detail = format!("`{id}` is no id of {collection}");
        return form.fault(&Fault::bad("Operation Failed", detail), false);
    }
    if matches!(method, Method::GET | Method::HEAD) {
        return match read::get(&engine.lock(), &segments, &params) {
            Some((root, node)) => form.answer(200, root, &node),
            None => form.fault(&Fault::gone(), false),
        };
    }
    let Some(body) = Body::parse(&bytes, form.sends_json) else {
        return form.fault(&Fault::bad("Invalid value", "the request body can't be read"), false);
    };
    let correlation = correlation(&headers, &params);
    let done = change(&mut engine.lock(), &method, &segments, &params, &body, &correlation);
    match done {
        Some(Ok(done)) => {
            engine.follow_up(done.then);
            form.answer(done.status, done.root, &done.node)
        }
        Some(Err(fault)) => form.fault(&fault, of_action(&method, &segments)),
        None => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

/// `vms/ID/ACTION`, or an action of a console: other things that are made tell a fault as such.
fn of_action(method: &Method, path: &[&str]) -> bool {
    let deep = matches!(path, [_, _, "graphicsconsoles", _, _]);
    method == Method::POST && (deep || matches!(path, [_, _, what] if !matches!(*what, "nics" | "tags")))
}

/// `None`: the resource knows no such method.
fn change(
    state: &mut State,
    method: &Method,
    path: &[&str],
    params: &Params,
    body: &Body,
    correlation: &str,
) -> Option<Result<Done, Fault>> {
    Some(match (method.as_str(), path) {
        ("POST", ["vms"]) => operate::create(state, body, correlation),
        ("PUT", ["vms", id]) => operate::update(state, id, body, correlation),
        ("DELETE", ["vms", id]) => operate::remove(state, id, params, correlation),
        ("POST", ["vms", id, "start"]) => operate::start(state, id, correlation),
        ("POST", ["vms", id, "shutdown"]) => operate::power_off(state, id, false, correlation),
        ("POST", ["vms", id, "stop"]) => operate::power_off(state, id, true, correlation),
        ("POST", ["vms", id, "reboot" | "reset"]) => operate::reboot(state, id),
        ("POST", ["vms", id, "clone"]) => operate::clone_vm(state, id, body, correlation),
        ("POST", ["vms", id, "snapshots"]) => devices::add_snapshot(state, id, body, correlation),
        ("DELETE", ["vms", id, "snapshots", sid]) => devices::remove_snapshot(state, id, sid, correlation),
        ("POST", ["vms", id, "nics"]) => devices::add_nic(state, id, body, correlation),
        ("DELETE", ["vms", id, "nics", nic]) => devices::remove_nic(state, id, nic, correlation),
        ("POST", ["vms", id, "diskattachments"]) => devices::attach(state, id, body, correlation),
        ("DELETE", ["vms", id, "diskattachments", disk]) => devices::detach(state, id, disk, params, correlation),
        ("POST", ["disks"]) => devices::create_disk(state, body, correlation),
        ("DELETE", ["disks", id]) => devices::remove_disk(state, id, correlation),
        _ => return extras::change(state, method.as_str(), path, body),
    })
}
