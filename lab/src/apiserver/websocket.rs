//! Watches over a WebSocket: each event one text frame. Browsers, OpenShift's console and Java's
//! informers ask so. Knows nothing of watches but that their body comes line by line.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::State;

/// A browser cannot set headers, so its token is the end of a sub-protocol's name.
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// A client's wish to go on by WebSocket.
pub(super) struct Upgrade {
    on: OnUpgrade,
    /// `Sec-WebSocket-Accept`.
    accept: String,
    protocol: Option<String>,
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offered = headers.get_all("sec-websocket-protocol").iter().filter_map(|v| v.to_str().ok());
    offered.flat_map(|value| value.split(',')).map(str::trim)
}

/// The token that a browser offers as a sub-protocol.
pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let encoded = protocols(headers).find_map(|protocol| protocol.strip_prefix(BEARER))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()
}

impl Upgrade {
    /// Takes the wish out of a request.
    pub fn of(request: &mut Request<Body>) -> Option<Self> {
        let headers = request.headers();
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !text("upgrade").eq_ignore_ascii_case("websocket") || text("sec-websocket-key").is_empty() {
            return None;
        }
        let accept = derive_accept_key(text("sec-websocket-key").as_bytes());
        let protocol = protocols(headers).find(|protocol| !protocol.starts_with(BEARER)).map(str::to_owned);
        Some(Self { on: request.extensions_mut().remove::<OnUpgrade>()?, accept, protocol })
    }

    /// Sends a response's lines as frames; a refusal stays as it is.
    pub fn answer(self, state: &Arc<State>, response: Response) -> Response {
        if response.status() != StatusCode::OK {
            return response;
        }
        let stop = state.store.stop.clone();
        let body = response.into_body();
        let on = self.on;
        state.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = async {
                    if let Ok(upgraded) = on.await {
                        speak(upgraded, body).await;
                    }
                } => {}
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        for (name, value) in [("sec-websocket-accept", Some(self.accept)), ("sec-websocket-protocol", self.protocol)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Until the body ends or the client goes.
async fn speak(upgraded: Upgraded, body: Body) {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut to_client, mut from_client) = socket.split();
    let mut lines = body.into_data_stream();
    let outbound = async {
        while let Some(Ok(line)) = lines.next().await {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if to_client.send(Message::text(text)).await.is_err() {
                return;
            }
        }
        // The client may be gone already.
        let _ = to_client.send(Message::Close(None)).await;
    };
    let inbound = async {
        while let Some(Ok(message)) = from_client.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
    };
    tokio::select! { () = outbound => {}, () = inbound => {} }
}
