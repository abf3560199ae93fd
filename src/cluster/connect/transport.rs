//! The tower layer around kube's stack: bearer token, one deadline a request, bounded retries.
//!
//! Every call of every room passes here, so the policy is written once. Watches and upgrades live
//! long and are only bounded by the connection's read timeout.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use secrecy::{ExposeSecret, SecretString};
use tower::{BoxError, Layer, Service};
use tracing::Instrument;

use super::retry::{Pauses, is_transient_status};
use super::token::Tokens;
use crate::cluster::wait::pause;

/// How long one request may take, as a multiple of the configured time, with all its retries.
const RETRY_FACTOR: u32 = 3;
/// Before the first answer ever, a wrong address is likelier than weather: say so soon.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);

/// Adds [`Transport`] to a stack.
#[derive(Clone)]
pub struct TransportLayer {
    pub tokens: Arc<Tokens>,
    pub request_timeout: Duration,
    /// The server has answered at least once.
    answered: Arc<AtomicBool>,
}

impl TransportLayer {
    pub fn new(tokens: Arc<Tokens>, request_timeout: Duration) -> Self {
        Self { tokens, request_timeout, answered: Arc::default() }
    }
}

impl<S> Layer<S> for TransportLayer {
    type Service = Transport<S>;
    fn layer(&self, inner: S) -> Transport<S> {
        Transport { inner: Arc::new(Mutex::new(inner)), rules: self.clone() }
    }
}

/// The service.
pub struct Transport<S> {
    /// kube's boxed stack can't be cloned; it is locked only to start a call, never across an await.
    inner: Arc<Mutex<S>>,
    rules: TransportLayer,
}

#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error("failed to get a token: {0}")]
    Token(String),
    #[error("the connection is broken by an earlier panic")]
    Broken,
}

type Calling<R> = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

impl<S, B> Service<Request<Body>> for Transport<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Calling<Response<B>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        let rules = self.rules.clone();
        let span = request_span(&request);
        let told = span.clone();
        let call = async move {
            let (parts, body) = request.into_parts();
            // Bodies of API requests are in memory; the bytes are kept to send them again.
            let body = body.collect().await?.to_bytes();
            let answer = rules.run(&inner, parts, body).await;
            match &answer {
                Ok(answer) => {
                    told.record("http.response.status_code", i64::from(answer.status().as_u16()));
                }
                Err(_) => {
                    told.record("otel.status_code", "ERROR");
                }
            }
            answer
        };
        Box::pin(call.instrument(span))
    }
}

/// A span for traces. Without the query and the headers: they may hold what nobody should keep.
fn request_span(request: &Request<Body>) -> tracing::Span {
    let (method, path) = (request.method().as_str(), request.uri().path());
    tracing::info_span!(
        "request",
        otel.name = format!("{method} {path}"),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        http.request.method = method,
        http.response.status_code = tracing::field::Empty,
        url.path = path,
    )
}

impl TransportLayer {
    async fn run<S, B>(&self, inner: &Mutex<S>, parts: Parts, body: Bytes) -> Result<Response<B>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    {
        let whole = self.request_timeout * RETRY_FACTOR;
        let answered = self.answered.load(Ordering::Relaxed);
        let mut pauses = Pauses::new(if answered { whole } else { whole.min(FIRST_PATIENCE) });
        let mut token = self.tokens.current().await.map_err(TransportError::Token)?;
        let mut renewed = false;
        loop {
            let answer = self.once(inner, &parts, &body, token.as_ref()).await;
            // Taken out first: a borrowed answer must not live across an await.
            let status = answer.as_ref().ok().map(Response::status);
            self.answered.fetch_or(answer.is_ok(), Ordering::Relaxed);
            let asked = answer.as_ref().ok().and_then(after);
            if status == Some(StatusCode::UNAUTHORIZED) && !renewed && self.tokens.can_renew() {
                renewed = true;
                let Some(refused) = token.clone() else { return answer };
                match self.tokens.renew(&refused).await.map_err(TransportError::Token)? {
                    Some(fresh) => token = Some(fresh),
                    None => return answer,
                }
                continue;
            }
            if !may_repeat(&parts, status) {
                return answer;
            }
            match pauses.next(asked) {
                Some(time) => pause(time).await,
                None => return answer,
            }
        }
    }

    async fn once<S, B>(
        &self,
        inner: &Mutex<S>,
        parts: &Parts,
        body: &Bytes,
        token: Option<&SecretString>,
    ) -> Result<Response<B>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    {
        let mut request = Request::from_parts(parts.clone(), Body::from(body.to_vec()));
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let mut request = Some(request);
        let started = poll_fn(|cx| {
            let Ok(mut inner) = inner.lock() else {
                return Poll::Ready(Err(BoxError::from(TransportError::Broken)));
            };
            match inner.poll_ready(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => match request.take() {
                    Some(request) => Poll::Ready(Ok(inner.call(request))),
                    None => Poll::Ready(Err(TransportError::Broken.into())),
                },
            }
        });
        let call = async { started.await?.await };
        if lives_long(parts) {
            return call.await;
        }
        match tokio::time::timeout(self.request_timeout, call).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::NoAnswer(self.request_timeout).into()),
        }
    }
}

fn lives_long(parts: &Parts) -> bool {
    parts.headers.contains_key(UPGRADE)
        || parts
            .uri
            .query()
            .is_some_and(|q| q.split('&').any(|p| matches!(p, "watch=1" | "watch=true" | "follow=true")))
}

/// Whether the same request may be sent again after `status` (`None`: after no answer at all).
fn may_repeat(parts: &Parts, status: Option<StatusCode>) -> bool {
    // A waiter has its own pauses; an upgrade belongs to its caller.
    if lives_long(parts) {
        return false;
    }
    let merge =
        || parts.headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/merge-patch"));
    let idempotent =
        parts.method == Method::GET || parts.method == Method::DELETE || (parts.method == Method::PATCH && merge());
    match status {
        // Refused before it was looked at, whatever it was.
        Some(StatusCode::TOO_MANY_REQUESTS) => true,
        Some(status) => idempotent && is_transient_status(status),
        None => idempotent,
    }
}

fn after<B>(response: &Response<B>) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::connect::token::Source;
    use std::sync::atomic::AtomicU32;

    fn client<F>(tokens: Tokens, answer: F) -> kube::Client
    where
        F: Fn(&Request<Body>) -> Response<Body> + Clone + Send + 'static,
    {
        let layer = TransportLayer::new(Arc::new(tokens), Duration::from_secs(5));
        let inner = tower::service_fn(move |request: Request<Body>| {
            let answer = answer(&request);
            async move { Ok::<_, BoxError>(answer) }
        });
        kube::Client::new(layer.layer(inner), "default")
    }

    fn status(code: u16, body: &str) -> Response<Body> {
        Response::builder().status(code).body(Body::from(body.as_bytes().to_vec())).unwrap()
    }

    #[tokio::test]
    async fn a_refused_token_is_renewed_once_and_the_request_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "old").unwrap();
        let tokens = Tokens::new(Source::File(path.clone()));
        tokens.current().await.unwrap();
        std::fs::write(&path, "new").unwrap();
        let client = client(tokens, |r| {
            let given = r.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
            if given == "Bearer new" { status(200, "fine") } else { status(401, "{}") }
        });
        let text = client.request_text(Request::get("/x").body(Vec::new()).unwrap()).await.unwrap();
        assert_eq!(text, "fine");
    }

    #[tokio::test(start_paused = true)]
    async fn reads_are_repeated_on_503_and_creates_are_not() {
        let calls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&calls);
        let client = client(Tokens::new(Source::None), move |_| {
            if seen.fetch_add(1, Ordering::SeqCst) < 2 { status(503, "{}") } else { status(200, "fine") }
        });
        let text = client.request_text(Request::get("/x").body(Vec::new()).unwrap()).await.unwrap();
        assert_eq!((text.as_str(), calls.load(Ordering::SeqCst)), ("fine", 3));
        calls.store(0, Ordering::SeqCst);
        assert!(client.request_text(Request::post("/x").body(Vec::new()).unwrap()).await.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}
