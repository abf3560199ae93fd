//! KubeVirt's subresources: power, guest data, and port-forward over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::State;
use super::error::{ApiError, json_response, text_response};
use crate::guests::vnc::screenshot;
use crate::ports::{GuestStream, KubevirtSubresources, SubresourceError};

/// The group, and its versions.
pub(crate) const GROUP: &str = "subresources.kubevirt.io";
pub(crate) const VERSIONS: [&str; 2] = ["v1", "v1alpha3"];
/// What virt-api lists of what the lab serves; port-forwards to VMs and volumes of VMs are served and not listed there
/// either.
const LISTED: [(&str, &[&str]); 2] = [
    (
        "virtualmachineinstances",
        &[
            "portforward",
            "console",
            "vnc",
            "vnc/screenshot",
            "pause",
            "unpause",
            "freeze",
            "unfreeze",
            "reset",
            "softreboot",
            "guestosinfo",
            "userlist",
            "filesystemlist",
        ],
    ),
    ("virtualmachines", &["start", "stop", "restart", "migrate", "expand-spec"]),
];
/// The largest body, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
const PROTOCOL: &str = "plain.kubevirt.io";
/// virt-api pings once a second.
const PING_EVERY: Duration = Duration::from_secs(1);
const BUFFER: usize = 32 * 1024;

/// The `APIResourceList` of a version, with neither kinds nor verbs, as virt-api's.
pub(crate) fn resource_list(version: &str) -> Value {
    let row = |name: String| json!({"name": name, "singularName": "", "namespaced": true, "kind": "", "verbs": null});
    let all = LISTED.iter().flat_map(|(parent, below)| below.iter().map(move |name| row(format!("{parent}/{name}"))));
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/{version}"),
        "resources": all.collect::<Vec<_>>()})
}

/// The same for aggregated discovery: parents are made up.
pub(super) fn aggregated_item() -> Value {
    let nothing = json!({"group": "", "version": "", "kind": ""});
    let below = |name: &&str| json!({"subresource": name, "responseKind": nothing, "verbs": []});
    let parent = |(parent, names): &(&str, &[&str])| {
        json!({"resource": parent, "responseKind": nothing, "scope": "Namespaced", "singularResource": "", "verbs": [],
            "subresources": names.iter().map(below).collect::<Vec<_>>()})
    };
    let resources: Vec<Value> = LISTED.iter().map(parent).collect();
    let version = |version| json!({"version": version, "freshness": "Current", "resources": resources});
    json!({"metadata": {"name": GROUP}, "versions": VERSIONS.map(version)})
}

/// What a client sent, empty where it sent nothing.
async fn sent(request: Request<Body>) -> Result<Value, ApiError> {
    let read = http_body_util::Limited::new(request.into_body(), BODY_LIMIT).collect().await;
    let bytes = read.map_err(|e| ApiError::bad_request(e.to_string()))?.to_bytes();
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    let yaml = || std::str::from_utf8(&bytes).ok().and_then(|text| serde_saphyr::from_str(text).ok());
    let unread = || ApiError::bad_request("Can not unmarshal Request body to struct");
    serde_json::from_slice(&bytes).ok().or_else(yaml).ok_or_else(unread)
}

fn status(error: &SubresourceError, name: &str, kind: &str) -> Response {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "details": {"name": name, "group": "kubevirt.io", "kind": kind},
        "code": error.code,
    });
    json_response(error.code, &body)
}

/// What a server of subresources works with, be it the API server or one behind its aggregator.
#[derive(Clone)]
pub(crate) struct Serving {
    pub hook: Arc<dyn KubevirtSubresources>,
    /// Ends port-forwards.
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

/// Answers `GROUP/VERSION/namespaces/NAMESPACE/PATH`.
pub(crate) async fn respond(serving: &Serving, namespace: &str, path: &[&str], request: Request<Body>) -> Response {
    answer(serving, namespace, path, request).await.unwrap_or_else(|error| error.response())
}

pub(super) async fn serve(
    state: &Arc<State>,
    namespace: &str,
    path: &[&str],
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let Some(hook) = state.subresources() else {
        return Ok(text_response(503, "service unavailable"));
    };
    let serving = Serving { hook, stop: state.store.stop.clone(), tasks: state.tasks.clone() };
    answer(&serving, namespace, path, request).await
}

async fn answer(
    serving: &Serving,
    namespace: &str,
    path: &[&str],
    mut request: Request<Body>,
) -> Result<Response, ApiError> {
    let hook = &serving.hook;
    let (kind, name) = match path {
        ["virtualmachines", name, ..] => ("virtualmachine", *name),
        ["virtualmachineinstances", name, ..] => ("virtualmachineinstance", *name),
        _ => return Err(ApiError::no_such_resource()),
    };
    match (request.method(), path.get(2..).unwrap_or_default()) {
        (&Method::PUT, [verb @ ("start" | "stop" | "restart")]) if kind == "virtualmachine" => {
            Ok(match hook.power(namespace, name, verb).await {
                Ok(()) => text_response(202, ""),
                Err(e) => status(&e, name, kind),
            })
        }
        (&Method::PUT, [verb @ ("migrate" | "addvolume" | "removevolume" | "memorydump" | "removememorydump")])
            if kind == "virtualmachine" =>
        {
            let body = sent(request).await?;
            Ok(match hook.act(namespace, name, verb, &body).await {
                Ok(()) => text_response(202, ""),
                Err(e) => status(&e, name, kind),
            })
        }
        (&Method::PUT, [verb @ ("pause" | "unpause" | "freeze" | "unfreeze" | "reset" | "softreboot")])
            if kind == "virtualmachineinstance" =>
        {
            Ok(match hook.act(namespace, name, verb, &Value::Null).await {
                Ok(()) => text_response(200, ""),
                Err(e) => status(&e, name, kind),
            })
        }
        // Of a VM's instance volumes are plugged by way of the VM.
        (&Method::PUT, ["addvolume" | "removevolume"]) => {
            Err(ApiError::bad_request(format!("VMI {namespace}/{name} is owned by a VM")))
        }
        (&Method::GET, ["expand-spec"]) if kind == "virtualmachine" => {
            Ok(match hook.expand_spec(namespace, name).await {
                Ok(vm) => json_response(200, &vm),
                Err(e) => status(&e, name, kind),
            })
        }
        (&Method::GET, [what @ ("guestosinfo" | "userlist" | "filesystemlist")])
            if kind == "virtualmachineinstance" =>
        {
            Ok(match hook.guest_info(namespace, name, what).await {
                Ok(info) => json_response(200, &info),
                // virt-api answers these with bare text, whatever went wrong.
                Err(e) => text_response(500, e.message),
            })
        }
        (&Method::GET, ["portforward", port] | ["portforward", port, "tcp"]) => {
            let port: u16 = port.parse().map_err(|_| ApiError::bad_request(format!("{port:?} is no port")))?;
            let Some(accept) = accept_key(request.headers()) else {
                return Err(ApiError::bad_request("unable to upgrade: the client is not using the websocket protocol"));
            };
            let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
                return Err(ApiError::bad_request("unable to upgrade: this connection cannot be upgraded"));
            };
            match hook.portforward(namespace, name, port).await {
                Ok(guest) => Ok(switch(serving, upgrade, guest, &accept)),
                Err(e) => Ok(status(&e, name, kind)),
            }
        }
        (&Method::GET, [what @ ("console" | "vnc")]) if kind == "virtualmachineinstance" => {
            let Some(accept) = accept_key(request.headers()) else {
                return Err(ApiError::bad_request("unable to upgrade: the client is not using the websocket protocol"));
            };
            let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
                return Err(ApiError::bad_request("unable to upgrade: this connection cannot be upgraded"));
            };
            match hook.screen(namespace, name, what).await {
                Ok(screen) => Ok(switch(serving, upgrade, screen, &accept)),
                Err(e) => Ok(status(&e, name, kind)),
            }
        }
        (&Method::GET, ["vnc", "screenshot"]) if kind == "virtualmachineinstance" => {
            Ok(match hook.screen(namespace, name, "vnc").await {
                Ok(_) => picture(screenshot()),
                Err(e) => status(&e, name, kind),
            })
        }
        _ => Err(ApiError::no_such_resource()),
    }
}

fn picture(png: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(png));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    response
}

/// The value of `Sec-WebSocket-Accept`, if this is a request for our sub-protocol.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let offered = headers.get_all("sec-websocket-protocol").iter().filter_map(|v| v.to_str().ok());
    let ours = offered.flat_map(|v| v.split(',')).any(|p| p.trim() == PROTOCOL);
    let key = text("sec-websocket-key");
    (ours && text("upgrade").eq_ignore_ascii_case("websocket") && !key.is_empty())
        .then(|| derive_accept_key(key.as_bytes()))
}

fn switch(serving: &Serving, upgrade: OnUpgrade, guest: Box<dyn GuestStream>, accept: &str) -> Response {
    let stop = serving.stop.clone();
    serving.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = async {
                if let Ok(upgraded) = upgrade.await {
                    splice(upgraded, guest).await;
                }
            } => {}
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert("sec-websocket-accept", accept);
    }
    response
}

/// Copies both ways until either end is done; then both are dropped, without a Close frame, as
/// virt-api does.
async fn splice(upgraded: Upgraded, guest: Box<dyn GuestStream>) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut to_client, mut from_client) = socket.split();
    let (mut from_guest, mut to_guest) = tokio::io::split(guest);
    let inbound = async {
        while let Some(Ok(message)) = from_client.next().await {
            match message {
                Message::Binary(bytes) => {
                    let written = to_guest.write_all(&bytes).await;
                    if written.is_err() || to_guest.flush().await.is_err() {
                        return;
                    }
                }
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outbound = async {
        let mut buffer = vec![0; BUFFER];
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            let message = tokio::select! {
                read = from_guest.read(&mut buffer) => match read {
                    Ok(n) if n > 0 => Message::Binary(Bytes::copy_from_slice(&buffer[..n])),
                    _ => return,
                },
                _ = ping.tick() => Message::Ping(Bytes::from_static(b"keep alive")),
            };
            if to_client.send(message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = inbound => {}, () = outbound => {} }
}
