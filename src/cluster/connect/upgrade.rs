//! A WebSocket through the API server, for subresources that stream.
//!
//! `kube::Client::connect` offers other sub-protocols and refuses the answer, so the upgrade is made here.

use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Cluster, retry};

/// An open one.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why there is none.
#[derive(Debug)]
pub struct Refused {
    /// What the server answered, where one did.
    pub status: Option<u16>,
    pub why: String,
}

/// Asks for it. `what` it is for stands in messages: *port-forward*.
pub async fn open(cluster: &Cluster, path: &str, protocol: &str, what: &str) -> Result<Socket, Refused> {
    let no_answer = |why: String| Refused { status: None, why };
    let key = generate_key();
    let request = Request::get(path)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Body::empty())
        .map_err(|e| no_answer(format!("`{path}` is not a path: {e}")))?;
    let answer = cluster.client().send(request).await;
    let answer = answer.map_err(|e| no_answer(format!("failed to ask for the {what}: {}", retry::short(&e))))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        let why = format!("the {what} was refused: {} (HTTP {status})", refusal(&body));
        return Err(Refused { status: Some(status), why });
    }
    agreed(answer.headers(), &key, protocol, what).map_err(no_answer)?;
    let upgraded = hyper::upgrade::on(answer).await;
    let upgraded = upgraded.map_err(|e| no_answer(format!("the {what} broke: {}", retry::chain(&e))))?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await)
}

/// Whether the server speaks WebSocket and our sub-protocol.
fn agreed(headers: &http::HeaderMap, key: &str, protocol: &str, what: &str) -> Result<(), String> {
    let says = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if says(header::SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(format!("the {what} was answered by something that is no WebSocket server"));
    }
    if says(header::SEC_WEBSOCKET_PROTOCOL) != Some(protocol) {
        return Err(format!("the {what} did not agree to the sub-protocol {protocol}"));
    }
    Ok(())
}

/// The message of a Status, or the text itself.
fn refusal(body: &[u8]) -> String {
    let status: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = status.as_ref().and_then(|s| s.get("message")).and_then(|m| m.as_str());
    match message {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).trim().chars().take(200).collect(),
    }
}
