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

/// A socket that a client went on by.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

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

    /// Takes the wish out of a request, where one of these protocols is offered: the first of ours.
    pub fn to_one_of(request: &mut Request<Body>, ours: &[&str]) -> Option<Self> {
        let offered: Vec<String> = protocols(request.headers()).map(str::to_owned).collect();
        let chosen = ours.iter().find(|own| offered.iter().any(|offer| offer == *own))?;
        Some(Self { protocol: Some((*chosen).to_owned()), ..Self::of(request)? })
    }

    /// Switches, and lets `serve` speak with the client until it is done.
    pub fn switch<F>(self, state: &Arc<State>, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send,
    {
        let (stop, on) = (state.store.stop.clone(), self.on);
        state.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = async {
                    if let Ok(upgraded) = on.await {
                        serve(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await;
                    }
                } => {}
            }
        });
        switching(self.accept, self.protocol)
    }

    /// Sends a response's lines as frames; a refusal stays as it is.
    pub fn answer(self, state: &Arc<State>, response: Response) -> Response {
        if response.status() != StatusCode::OK {
            return response;
        }
        let body = response.into_body();
        self.switch(state, |socket| speak(socket, body))
    }
}

fn switching(accept: String, protocol: Option<String>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    for (name, value) in [("sec-websocket-accept", Some(accept)), ("sec-websocket-protocol", protocol)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

/// Until the body ends or the client goes.
async fn speak(socket: Socket, body: Body) {
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
