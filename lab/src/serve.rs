//! Serving an axum router over TLS on loopback: every HTTP endpoint of the lab goes through here.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::LabError;
use crate::faults::{At, Cuttable, Injector};
use crate::state;

/// A running HTTPS endpoint; dropping it stops it, [`Endpoint::stop`] also waits.
pub struct Endpoint {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Endpoint {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    pub fn port(&self) -> u16 {
        self.addr.port()
    }
    /// Cancels every connection and waits for its task.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const HTTPS_PORT: u16 = 443;
/// 127.0.0.2 to here are tried.
const LOOPBACK_ADDRESSES: u8 = 200;

/// Port 443 of a loopback address of its own, for who knows no other port. The error is that of the last address.
pub async fn bind_https() -> std::io::Result<TcpListener> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for number in 2..=LOOPBACK_ADDRESSES {
        match TcpListener::bind((Ipv4Addr::new(127, 0, 0, number), HTTPS_PORT)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Binds `address:port` (0: a free port; on a loopback address that is not the usual one 443, where that is free) before the router exists, so that it may know its own port.
pub async fn bind(part: &str, address: IpAddr, port: u16) -> Result<TcpListener, LabError> {
    // A lab that is kept has the ports that it had, where nobody took them.
    let before = if port == 0 { state::port_of(part) } else { 0 };
    let own = port == 0 && before == 0 && address.is_loopback() && address != IpAddr::from([127, 0, 0, 1]);
    let first = if own { HTTPS_PORT } else { before.max(port) };
    let bound = match TcpListener::bind((address, first)).await {
        // Its first part has it.
        Err(_) if own => TcpListener::bind((address, port)).await,
        Err(error) if before != 0 => {
            tracing::warn!(%error, part, before, "the port of before is taken");
            TcpListener::bind((address, port)).await
        }
        bound => bound,
    };
    let listener = bound.map_err(|e| LabError::Start {
        part: part.to_owned(),
        cause: format!("cannot listen on {address}:{port}: {e}"),
    })?;
    if let Ok(bound) = listener.local_addr() {
        state::remember(part, bound.port());
    }
    Ok(listener)
}

/// Serves `router` on a free port without TLS, and without faults, until `stop`; its URL.
pub async fn plain(
    part: &str,
    listen: IpAddr,
    router: Router,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<String, LabError> {
    let listener = bind(part, listen, 0).await?;
    let failed = |e: std::io::Error| LabError::Start { part: part.to_owned(), cause: e.to_string() };
    let url = format!("http://{}", listener.local_addr().map_err(failed)?);
    let (stopped, part) = (stop.clone().cancelled_owned(), part.to_owned());
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::warn!(%error, part, "an endpoint of the lab ended");
        }
    });
    Ok(url)
}

/// Serves `router` over TLS until the endpoint is stopped. HTTP/1.1 upgrades work.
pub fn https(part: &str, listener: TcpListener, tls: Arc<ServerConfig>, router: Router) -> Result<Endpoint, LabError> {
    https_with(part, listener, tls, router, &At::default())
}

/// [`https`] over a wire that breaks as `faults` say.
pub fn https_with(
    part: &str,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    faults: &At,
) -> Result<Endpoint, LabError> {
    let addr = listener.local_addr().map_err(|e| LabError::Start { part: part.to_owned(), cause: e.to_string() })?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let acceptor = TlsAcceptor::from(tls);
    let (accept_stop, accept_tasks) = (stop.clone(), tasks.clone());
    let injector = faults.injector(&tasks, &stop);
    let wire = faults.clone();
    tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                () = accept_stop.cancelled() => break,
                accepted = listener.accept() => match accepted { Ok((stream, _)) => stream, Err(_) => continue },
            };
            let _ = stream.set_nodelay(true);
            let (acceptor, router, stop) = (acceptor.clone(), router.clone(), accept_stop.clone());
            let (injector, wire) = (injector.clone(), wire.clone());
            accept_tasks.spawn(async move {
                let serve = async {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let Some(injector) = injector else {
                        let Some(line) = wire.connect() else { return };
                        let service = TowerToHyperService::new(router);
                        let builder = auto::Builder::new(TokioExecutor::new());
                        // A client that goes away in mid-answer is not an error of the lab.
                        let serve = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
                        tokio::select! { () = line.cancelled() => {}, _ = serve => {} }
                        return;
                    };
                    serve_broken(tls, router, injector).await;
                };
                tokio::select! { () = stop.cancelled() => {}, () = serve => {} }
            });
        }
    });
    Ok(Endpoint { addr, stop, tasks })
}

/// One connection with faults on its way. Its end is also the end of every request on it.
async fn serve_broken(tls: TlsStream<TcpStream>, router: Router, injector: Injector) {
    let Some(line) = injector.connect() else { return };
    let stream = Cuttable::new(tls, line.clone());
    let own = line.clone();
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (injector, router, line) = (injector.clone(), router.clone(), own.clone());
        async move { Ok::<_, Infallible>(injector.serve(router, line, request.map(Body::new)).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let serve = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::select! { () = line.cancelled() => {}, _ = serve => {} }
}
