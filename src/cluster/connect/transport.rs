//! The tower layer around kube's stack: bearer token, one deadline a request, retries by the one policy.
//!
//! Every call of every room passes here. Answers are read to their end inside a try, so that one that was
//! cut is asked for again. Watches and upgrades live long: a watch is bounded by the time that it asked
//! the server for, and no connection is silent for longer.

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body as HttpBody, Frame};
use kube::client::Body;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, Sleep};
use tower::{BoxError, Layer, Service};
use tracing::Instrument;

use super::token::Tokens;
use crate::net::fetch::{CUT, is_cut};
use crate::net::rate::Rate;
use crate::net::words::chain;
use crate::net::{Failed, Peer, pauses, repeat};

/// What a watch may take beyond the time that it asked for before it counts as dead.
const WATCH_SLACK: Duration = Duration::from_secs(10);
/// A watch that asks for no time of its own.
const WATCH_LONGEST: Duration = Duration::from_secs(300);

/// Adds [`Transport`] to a stack.
#[derive(Clone)]
pub struct TransportLayer {
    pub tokens: Arc<Tokens>,
    pub request_timeout: Duration,
    peer: Arc<Peer>,
    /// `None`: nothing bounds how many requests a second are made.
    rate: Option<Arc<Rate>>,
}

impl TransportLayer {
    pub fn new(tokens: Arc<Tokens>, request_timeout: Duration) -> Self {
        Self { tokens, request_timeout, peer: Arc::new(Peer::new("cluster")), rate: None }
    }

    /// With so many requests a second at most; 0: without a bound.
    pub fn at_most(mut self, qps: u32) -> Self {
        self.rate = NonZeroU32::new(qps).map(|qps| Arc::new(Rate::per_second(qps)));
        self
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
    #[error("{CUT}")]
    Cut,
    #[error("failed to get a token: {0}")]
    Token(String),
    #[error("the watch was not ended by the server and was silent: it lived {0:?}")]
    SilentWatch(Duration),
    #[error("the connection is broken by an earlier panic")]
    Broken,
}

/// An answer that was read to its end, or one that goes on.
pub type Reply<B> = Either<Full<Bytes>, Bounded<B>>;

type Calling<R> = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

impl<S, B> Service<Request<Body>> for Transport<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Reply<B>>;
    type Error = BoxError;
    type Future = Calling<Self::Response>;

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
    async fn run<S, B>(&self, inner: &Mutex<S>, parts: Parts, body: Bytes) -> Result<Response<Reply<B>>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let repeat = repeat::http(&parts.method, parts.uri.path(), content_type);
        let what = format!("{} {}", parts.method, parts.uri.path());
        let mut attempts = self.peer.attempts(what, repeat, self.request_timeout);
        let mut token = self.tokens.current().await.map_err(TransportError::Token)?;
        let (mut renewed, mut believed) = (false, false);
        let lives = Lives::of(&parts);
        loop {
            let turn = if lives.is_short() { self.peer.turn().await } else { None };
            // Last, so that what has its turn is sent at once: those who wait for a slow server have none saved up for
            // when it is well again.
            if let Some(rate) = &self.rate {
                rate.turn().await;
            }
            let answer = self.once(inner, &parts, &body, token.as_ref()).await;
            drop(turn);
            let refused = answer.as_ref().is_ok_and(|a| a.status() == StatusCode::UNAUTHORIZED);
            if refused && !renewed && self.tokens.can_renew() {
                renewed = true;
                let Some(old) = token.clone() else { return answer };
                if let Some(fresh) = self.tokens.renew(&old).await.map_err(TransportError::Token)? {
                    token = Some(fresh);
                    continue;
                }
            }
            // A waiter has its own pauses; an upgrade belongs to its caller.
            if !lives.is_short() {
                return answer;
            }
            // What the kubelet behind the API server does not tell, it does not tell in the next seconds either.
            if lives == Lives::Log && is_silence(&answer) {
                return answer;
            }
            // Taken out first: a borrowed answer must not live across an await.
            let (failed, cause) = match &answer {
                // The same login had been taken before, and nothing was done: a server whose webhook for tokens did not
                // answer says so, too. Who means it says it twice.
                Ok(_) if refused && !std::mem::replace(&mut believed, true) => {
                    (Failed::Undone(None), "HTTP 401 Unauthorized".to_owned())
                }
                Ok(answer) => {
                    let status = answer.status();
                    (Failed::of_answer(status, answer.headers()), format!("HTTP {status}"))
                }
                Err(error) => (Failed::of_error(&**error), chain(&**error)),
            };
            if !attempts.again(failed, || cause).await {
                return answer;
            }
        }
    }

    /// One try. A short answer is read to its end.
    async fn once<S, B>(
        &self,
        inner: &Mutex<S>,
        parts: &Parts,
        body: &Bytes,
        token: Option<&SecretString>,
    ) -> Result<Response<Reply<B>>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
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
        let lives = Lives::of(parts);
        let call = async {
            let (head, body) = started.await?.await?.into_parts();
            self.peer.has_answered();
            let body = match lives {
                Lives::Shortly | Lives::Log => {
                    let whole = body.collect().await.map_err(Into::into)?.to_bytes();
                    if is_cut(&head.headers, &whole) {
                        return Err(TransportError::Cut.into());
                    }
                    Either::Left(Full::new(whole))
                }
                Lives::AtMost(limit) => Either::Right(Bounded::new(body, Some(limit))),
                Lives::Upgraded => Either::Right(Bounded::new(body, None)),
            };
            Ok(Response::from_parts(head, body))
        };
        let limit = match lives {
            Lives::Log => self.request_timeout.min(LOG_TIMEOUT),
            Lives::Shortly | Lives::AtMost(_) | Lives::Upgraded => self.request_timeout,
        };
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::NoAnswer(limit).into()),
        }
    }
}

/// Whether nothing came back in time.
pub fn had_no_answer(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(TransportError::NoAnswer(_)) = error.downcast_ref() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Longest time for a pod's log: the API server asks the kubelet of its node, which may be down.
const LOG_TIMEOUT: Duration = Duration::from_secs(15);

/// Whether the API server had no answer from whom it asked.
fn is_silence<T>(answer: &Result<Response<T>, BoxError>) -> bool {
    match answer {
        Ok(answer) => matches!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT),
        Err(error) => matches!(error.downcast_ref(), Some(TransportError::NoAnswer(_))),
    }
}

/// How long an answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lives {
    /// Within one request's time.
    Shortly,
    /// Likewise: a pod's log so far, which the API server asks a kubelet for.
    Log,
    /// A watch, or a log that is followed.
    AtMost(Duration),
    /// A connection of the caller's own.
    Upgraded,
}

impl Lives {
    fn of(parts: &Parts) -> Self {
        if parts.headers.contains_key(UPGRADE) {
            return Self::Upgraded;
        }
        let pairs = || parts.uri.query().unwrap_or_default().split('&');
        if !pairs().any(|pair| matches!(pair, "watch=1" | "watch=true" | "follow=true")) {
            let path = parts.uri.path();
            let is_log = path.contains("/pods/") && path.ends_with("/log");
            return if is_log { Self::Log } else { Self::Shortly };
        }
        let asked = pairs().find_map(|pair| pair.strip_prefix("timeoutSeconds=")?.parse().ok());
        Self::AtMost(asked.map_or(WATCH_LONGEST, Duration::from_secs) + WATCH_SLACK)
    }

    /// Whether the whole answer is read within the request's time.
    fn is_short(self) -> bool {
        match self {
            Self::Shortly | Self::Log => true,
            Self::AtMost(_) | Self::Upgraded => false,
        }
    }
}

/// A body that ends in an error after its time: the server promised to end it earlier.
pub struct Bounded<B> {
    inner: B,
    limit: Duration,
    end: Option<Pin<Box<Sleep>>>,
}

impl<B> Bounded<B> {
    fn new(inner: B, limit: Option<Duration>) -> Self {
        let end = limit.map(|limit| Box::pin(pauses::end_at(Instant::now() + limit)));
        Self { inner, limit: limit.unwrap_or_default(), end }
    }
}

impl<B> HttpBody for Bounded<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Err(TransportError::SilentWatch(this.limit).into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::connect::token::Source;
    use std::sync::atomic::{AtomicU32, Ordering};

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
    async fn a_login_that_is_refused_once_is_shown_again_and_one_that_is_refused_twice_is_not_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "same").unwrap();
        for source in [Source::None, Source::Fixed("t".to_owned().into()), Source::File(path)] {
            let (calls, refusals) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(1)));
            let (seen, times) = (Arc::clone(&calls), Arc::clone(&refusals));
            let client = client(Tokens::new(source), move |_| {
                let refuses = seen.fetch_add(1, Ordering::SeqCst) < times.load(Ordering::SeqCst);
                if refuses { status(401, "{}") } else { status(200, "fine") }
            });
            // Nothing was done: a change is sent again, too.
            let patch = || client.request_text(Request::patch("/x").body(Vec::new()).unwrap());
            assert_eq!((patch().await.unwrap().as_str(), calls.load(Ordering::SeqCst)), ("fine", 2));
            calls.store(0, Ordering::SeqCst);
            refusals.store(9, Ordering::SeqCst);
            assert!(patch().await.is_err());
            assert_eq!(calls.load(Ordering::SeqCst), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_over_few_connections_and_a_watch_waits_for_nobody() {
        let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (running, peak) = (Arc::clone(&now), Arc::clone(&most));
        let inner = tower::service_fn(move |request: Request<Body>| {
            let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
            async move {
                if request.uri().query() != Some("watch=true") {
                    peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    pauses::pause(Duration::from_secs(1)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }
                Ok::<_, BoxError>(status(200, "fine"))
            }
        });
        let layer = TransportLayer::new(Arc::new(Tokens::new(Source::None)), Duration::from_secs(5));
        let client = kube::Client::new(layer.layer(inner), "default");
        let begun = Instant::now();
        let get = |path: &str| client.request_text(Request::get(path).body(Vec::new()).unwrap());
        let (all, watched) = tokio::join!(futures::future::join_all((0..100).map(|_| get("/x"))), async {
            get("/x?watch=true").await.unwrap();
            begun.elapsed().as_secs()
        });
        assert!(all.iter().all(Result::is_ok));
        assert_eq!((most.load(Ordering::SeqCst), begun.elapsed().as_secs(), watched), (32, 4, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_a_second_are_made_than_asked_for() {
        let layer = TransportLayer::new(Arc::new(Tokens::new(Source::None)), Duration::from_secs(5)).at_most(10);
        let inner = tower::service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(status(200, "fine")) });
        let client = kube::Client::new(layer.layer(inner), "default");
        let begun = Instant::now();
        let get = |_| client.request_text(Request::get("/x").body(Vec::new()).unwrap());
        let all = futures::future::join_all((0..50).map(get)).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(begun.elapsed().as_millis(), 4900);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_slow_server_does_not_come_all_at_once_when_it_is_well_again() {
        let slow = Duration::from_secs(10);
        let (begun, sent) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&sent);
        let inner = tower::service_fn(move |_: Request<Body>| {
            seen.lock().unwrap().push(begun.elapsed());
            async move {
                pauses::pause(slow.saturating_sub(begun.elapsed())).await;
                Ok::<_, BoxError>(status(200, "fine"))
            }
        });
        let layer = TransportLayer::new(Arc::new(Tokens::new(Source::None)), 3 * slow).at_most(10);
        let client = kube::Client::new(layer.layer(inner), "default");
        let get = |_| client.request_text(Request::get("/x").body(Vec::new()).unwrap());
        let all = futures::future::join_all((0..100).map(get)).await;
        assert!(all.iter().all(Result::is_ok));
        let sent = sent.lock().unwrap();
        let second = Duration::from_secs(1);
        let busiest =
            sent.iter().map(|from| sent.iter().filter(|at| (*from..*from + second).contains(*at)).count()).max();
        // Ten, and ten that were saved up.
        assert!(busiest.is_some_and(|most| most <= 20), "{busiest:?} in a second: {sent:?}");
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

    #[tokio::test(start_paused = true)]
    async fn a_log_that_a_kubelet_does_not_tell_is_asked_for_once_and_fifteen_seconds_long() {
        let calls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&calls);
        let answered = client(Tokens::new(Source::None), move |_| {
            if seen.fetch_add(1, Ordering::SeqCst) == 0 { status(503, "{}") } else { status(500, "dial tcp: refused") }
        });
        let log = || Request::get("/api/v1/namespaces/n/pods/p/log?container=c").body(Vec::new()).unwrap();
        let error = answered.request_text(log()).await.unwrap_err();
        assert_eq!(calls.load(Ordering::SeqCst), 2, "the API server itself was busy once: {error}");
        assert!(!had_no_answer(&error));
        let silent = client_of_silence();
        let begun = tokio::time::Instant::now();
        let error = silent.request_text(log()).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), 15);
        assert!(had_no_answer(&error), "{error:?}");
    }

    /// Whoever is asked says nothing.
    fn client_of_silence() -> kube::Client {
        let layer = TransportLayer::new(Arc::new(Tokens::new(Source::None)), Duration::from_secs(30));
        let silent = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());
        kube::Client::new(layer.layer(silent), "default")
    }

    /// A server that closes each connection after writing what `answer` gives for the n-th request.
    async fn server(answer: impl Fn(u32) -> Option<Vec<u8>> + Send + 'static) -> (String, Arc<AtomicU32>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                match answer(counted.fetch_add(1, Ordering::SeqCst)) {
                    Some(bytes) => stream.write_all(&bytes).await.unwrap(),
                    // Nothing is said for ever.
                    None => std::mem::forget(stream),
                }
            }
        });
        (url, calls)
    }

    fn real_client(url: &str) -> kube::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = kube::Config::new(url.parse().unwrap());
        let layer = TransportLayer::new(Arc::new(Tokens::new(Source::None)), Duration::from_secs(5));
        super::super::client_of(&config, &layer, &crate::net::proxy::Proxies::default(), layer.request_timeout).unwrap()
    }

    const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine";

    #[tokio::test]
    async fn a_read_survives_resets_cut_bodies_and_requests_for_patience() {
        let (url, calls) = server(|n| {
            Some(match n {
                0 => Vec::new(),
                1 => FINE[..FINE.len() - 2].to_vec(),
                3 => b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\nconnection: close\r\n\r\n{\"a\"".to_vec(),
                2 => b"HTTP/1.1 429 x\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
                _ => FINE.to_vec(),
            })
        })
        .await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        let teller: crate::net::told::Teller = Arc::new(move |retry| hears.lock().unwrap().push(retry.cause.clone()));
        let get = async { real_client(&url).request_text(Request::get("/x").body(Vec::new()).unwrap()).await };
        assert_eq!(crate::net::told::scope(teller, get).await.unwrap(), "fine");
        assert_eq!(calls.load(Ordering::SeqCst), 5);
        let told = told.lock().unwrap();
        assert!(told.len() == 4 && told[2].contains("429") && told[3].contains(CUT), "{told:?}");
    }

    #[tokio::test]
    async fn a_create_whose_answer_was_cut_is_not_sent_twice() {
        let (url, calls) = server(|n| Some(if n == 0 { FINE[..FINE.len() - 2].to_vec() } else { FINE.to_vec() })).await;
        let posted = real_client(&url).request_text(Request::post("/x").body(Vec::new()).unwrap()).await;
        assert!(posted.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_create_that_never_reached_the_server_is_sent_again() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = real_client(&format!("http://{address}"));
        let post = client.request_text(Request::post("/x").body(Vec::new()).unwrap());
        let serve = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut bytes = [0_u8; 4096];
            let _ = stream.read(&mut bytes).await;
            stream.write_all(FINE).await.unwrap();
        };
        let (posted, ()) = tokio::join!(post, serve);
        assert_eq!(posted.unwrap(), "fine");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_the_server_does_not_end_is_dead_soon_after_its_time() {
        let request = Request::get("/api/v1/pods?watch=true&timeoutSeconds=45").body(Body::empty()).unwrap();
        let of = |request: Request<Body>| Lives::of(&request.into_parts().0);
        assert_eq!(of(request), Lives::AtMost(Duration::from_secs(55)));
        let log = |query: &str| Request::get(format!("/api/v1/namespaces/n/pods/p/log{query}")).body(Body::empty());
        assert_eq!(of(log("").unwrap()), Lives::Log);
        assert!(!of(log("?follow=true").unwrap()).is_short());
        let silent = http_body_util::StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let begun = Instant::now();
        let said = Bounded::new(silent, Some(Duration::from_secs(55))).collect().await.unwrap_err().to_string();
        assert!(said.contains("silent"), "{said}");
        assert_eq!(begun.elapsed(), Duration::from_secs(55));
    }
}
