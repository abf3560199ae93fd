//! Between a connection and its router: asks the plan, and lets the request through, breaks it, or both.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::aim;
use super::body::{self, STALL};
use super::class::{self, Effect};
use super::plan::{self, Fault, Planned};
use super::{Dialect, Endpoint, words};

/// How late a slow answer is.
const SLOW: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1500));
/// How late one of the mild faults is.
const SLOW_MILD: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(120));
/// When a write comes whose connection was cut before.
const LATE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(2500));
/// How long what was upgraded lives before it is cut.
const UPGRADED: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(800));
/// After at most so many frames a watch is cut.
const FRAMES: u64 = 8;

/// The faults of one endpoint, on every connection's way.
#[derive(Clone)]
pub(crate) struct Injector {
    endpoint: Arc<Endpoint>,
    /// What goes on after its request: late writes, and cuts to come.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Injector {
    pub(super) fn new(endpoint: Arc<Endpoint>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { endpoint, tasks, stop }
    }

    /// What cuts a connection that begins now. `None`: the endpoint is away, and the connection ends here.
    pub(crate) fn connect(&self) -> Option<CancellationToken> {
        self.endpoint.line()
    }

    /// One request. `line` cuts its connection.
    pub(crate) async fn serve(self, router: Router, line: CancellationToken, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        if class::spared(&parts) {
            return pass(&router, Request::from_parts(parts, body)).await;
        }
        // Whole before it is judged: what follows may send it later, or twice.
        let Ok(read) = body.collect().await else { return gone(&line).await };
        let body = read.to_bytes();
        let (class, effect) = class::of(self.endpoint.dialect, &parts, &body);
        let count = self.endpoint.count(&class);
        let options = self.endpoint.inner.options();
        let key = key(&parts, &body);
        let planned = (self.endpoint.inner.aimed(self.endpoint.name, &class, effect, count))
            .or_else(|| plan::decide(options, self.endpoint.name, &class, effect, count))
            .or_else(|| self.endpoint.mildly(options, &class, effect, count, &key));
        let planned = planned.filter(|planned| planned.fault != Fault::Stale || self.earlier(&key).is_some());
        match effect {
            Effect::Write => self.endpoint.asked(&key),
            Effect::Read | Effect::ReadOn | Effect::Watch => _ = self.endpoint.reads.fetch_add(1, Ordering::Relaxed),
            Effect::Upgrade | Effect::Login => {}
        }
        let router = Way {
            router,
            makes: self.makes(&class, effect, &body).then(|| (self.endpoint.clone(), class.clone(), key.clone())),
        };
        if let Some(planned) = planned {
            self.endpoint.inner.journal.broke(self.endpoint.name, &class, count, planned.fault);
            return Box::pin(self.broken(router, line, parts, body, planned, &key, effect)).await;
        }
        let response = router.pass(rebuilt(parts, body)).await;
        if effect != Effect::Read || options.rate <= 0.0 {
            return response;
        }
        let (response, kept) = body::keep(response).await;
        if let Some(kept) = kept {
            super::locked(&self.endpoint.earlier).insert(key, kept);
        }
        response
    }

    fn makes(&self, class: &str, effect: Effect, body: &[u8]) -> bool {
        effect == Effect::Write
            && match self.endpoint.dialect {
                Dialect::Kubernetes => false,
                Dialect::Soap => aim::makes(true, class, body),
                Dialect::Rest => aim::makes(false, class, body),
            }
    }

    fn earlier(&self, key: &str) -> Option<body::Kept> {
        super::locked(&self.endpoint.earlier).get(key).cloned()
    }

    #[expect(clippy::too_many_arguments, reason = "a request, its connection and its fault")]
    async fn broken(
        self,
        router: Way,
        line: CancellationToken,
        parts: Parts,
        body: Bytes,
        planned: Planned,
        key: &str,
        effect: Effect,
    ) -> Response {
        let again = || rebuilt(copy(&parts), body.clone());
        let frames = usize::try_from(planned.dice % FRAMES).unwrap_or_default();
        match planned.fault {
            Fault::Gone if effect == Effect::Watch => {
                body::cut_watch(router.pass(rebuilt(parts, body)).await, frames, None)
            }
            Fault::TooMany
            | Fault::RetryAfter
            | Fault::Internal
            | Fault::Unavailable
            | Fault::Unauthorized
            | Fault::Gone => words::refusal(self.endpoint.dialect, planned.fault).unwrap_or_default(),
            Fault::Forbidden => words::forbidden(self.endpoint.dialect, &parts),
            Fault::ResetBefore => gone(&line).await,
            Fault::Stalled => {
                tokio::time::sleep(STALL).await;
                gone(&line).await
            }
            Fault::Slow => {
                let slow = if planned.mild { SLOW_MILD } else { SLOW };
                tokio::time::sleep(planned.between(slow.0, slow.1)).await;
                router.pass(rebuilt(parts, body)).await
            }
            Fault::ResetInBody if effect == Effect::Watch => {
                body::cut_watch(router.pass(rebuilt(parts, body)).await, frames, Some(line))
            }
            Fault::ResetInBody => body::half(router.pass(rebuilt(parts, body)).await, Some(line)).await,
            Fault::CutBody => body::cut(router.pass(rebuilt(parts, body)).await).await,
            Fault::StalledBody => body::half(router.pass(rebuilt(parts, body)).await, None).await,
            Fault::Stale => match self.earlier(key) {
                Some(kept) => kept.response(),
                None => router.pass(rebuilt(parts, body)).await,
            },
            Fault::LostAnswer => {
                drop(router.pass(rebuilt(parts, body)).await);
                gone(&line).await
            }
            Fault::GatewayTimeout => {
                drop(router.pass(rebuilt(parts, body)).await);
                words::refusal(self.endpoint.dialect, planned.fault).unwrap_or_default()
            }
            Fault::LateWrite => {
                let late = planned.between(LATE.0, LATE.1);
                let (stop, endpoint, key) = (self.stop.clone(), self.endpoint.clone(), key.to_owned());
                let asked = endpoint.times_asked(&key);
                self.tasks.spawn(async move {
                    let due = stop.run_until_cancelled(tokio::time::sleep(late)).await.is_some();
                    // Whoever asked again has his answer; a second one of it would be a write from long before.
                    if due && endpoint.times_asked(&key) == asked {
                        drop(router.pass(rebuilt(parts, body)).await);
                    }
                });
                gone(&line).await
            }
            Fault::Duplicate => {
                // The first is the wire's doing, not the client's.
                drop(pass(&router.router, again()).await);
                router.pass(rebuilt(parts, body)).await
            }
            Fault::SilentWatch => body::silent(router.pass(rebuilt(parts, body)).await),
            Fault::DuplicateEvents => body::doubled(router.pass(rebuilt(parts, body)).await),
            Fault::BrokenStream => {
                let after = planned.between(UPGRADED.0, UPGRADED.1);
                let stop = self.stop.clone();
                self.tasks.spawn(async move {
                    let _ = stop.run_until_cancelled(tokio::time::timeout(after, line.cancelled())).await;
                    line.cancel();
                });
                router.pass(rebuilt(parts, body)).await
            }
        }
    }
}

/// The way of one request to its router.
#[derive(Clone)]
struct Way {
    router: Router,
    /// Where it makes something: whose endpoint, class and key it has.
    makes: Option<(Arc<Endpoint>, String, String)>,
}

impl Way {
    async fn pass(&self, request: Request<Body>) -> Response {
        let response = pass(&self.router, request).await;
        if let Some((endpoint, class, key)) = self.makes.as_ref().filter(|_| response.status().is_success()) {
            endpoint.has_made(class, key);
        }
        response
    }
}

/// Cuts the connection; no answer gets out any more.
async fn gone(line: &CancellationToken) -> Response {
    line.cancel();
    std::future::pending().await
}

async fn pass(router: &Router, request: Request<Body>) -> Response {
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn rebuilt(parts: Parts, body: Bytes) -> Request<Body> {
    Request::from_parts(parts, Body::from(body))
}

/// Without extensions: an upgrade can't be had twice.
fn copy(parts: &Parts) -> Parts {
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    request.into_parts().0
}

/// What tells a question from others.
fn key(parts: &Parts, body: &Bytes) -> String {
    format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(body))
}

/// A stream that can be cut, also after an upgrade has taken it from its connection.
pub(crate) struct Cuttable<S> {
    inner: S,
    line: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Cuttable<S> {
    pub(crate) fn new(inner: S, line: CancellationToken) -> Self {
        Self { inner, cut: Box::pin(line.clone().cancelled_owned()), line }
    }

    fn whole(&self) -> io::Result<()> {
        if self.line.is_cancelled() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cuttable<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Only the reader waits for the cut: a connection always reads.
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cuttable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
