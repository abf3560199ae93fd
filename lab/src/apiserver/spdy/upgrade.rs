//! How a connection becomes one of SPDY: tunnelled in a WebSocket, or by an upgrade of its own.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::super::{State, websocket};
use super::session::Wire;

/// What the two ends speak in the streams.
const VERSION_HEADER: &str = "x-stream-protocol-version";
const SPDY: &str = "SPDY/3.1";

/// A client's wish to go on by SPDY.
pub struct Upgrade(Way);

enum Way {
    Tunnel(websocket::Upgrade),
    Own { on: OnUpgrade, protocol: &'static str },
}

impl Upgrade {
    /// Takes the wish out of a request that offers `protocol` for its streams, or the WebSocket protocol `tunnel`.
    pub fn of(request: &mut Request<Body>, protocol: &'static str, tunnel: Option<&'static str>) -> Option<Self> {
        if let Some(tunnel) = tunnel
            && let Some(upgrade) = websocket::Upgrade::to_one_of(request, &[tunnel])
        {
            return Some(Self(Way::Tunnel(upgrade)));
        }
        let texts = |name: &str| request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        let asks = texts("upgrade").any(|value| value.eq_ignore_ascii_case(SPDY));
        let offered = texts(VERSION_HEADER).flat_map(|value| value.split(',')).any(|offer| offer.trim() == protocol);
        if !(asks && offered) {
            return None;
        }
        let on = request.extensions_mut().remove::<OnUpgrade>()?;
        Some(Self(Way::Own { on, protocol }))
    }

    /// Switches, and lets `serve` speak with the client until it is done.
    pub fn switch<F>(self, state: &Arc<State>, serve: impl FnOnce(Wire) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send,
    {
        let (on, protocol) = match self.0 {
            Way::Tunnel(upgrade) => {
                return upgrade.switch(state, |socket| serve(Wire::Socket(Box::new(socket))));
            }
            Way::Own { on, protocol } => (on, protocol),
        };
        let stop = state.store.stop.clone();
        state.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = async {
                    if let Ok(upgraded) = on.await {
                        serve(Wire::Raw(TokioIo::new(upgraded))).await;
                    }
                } => {}
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(VERSION_HEADER, HeaderValue::from_static(protocol));
        response
    }
}
