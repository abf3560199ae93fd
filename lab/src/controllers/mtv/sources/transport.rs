//! HTTP to a source, and its failures in the words of Go's client, which is what MTV's users read in a Provider's
//! condition and search for (`net/url.Error`, `net.OpError`, `crypto/x509`). Knows no platform and no session: who has
//! logged in is told in each request.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::super::platform::{ConnectError, Login};

/// One request; to connect, where requests take as long as they say themselves.
const REQUEST: Duration = Duration::from_secs(30);
/// Connections to one host that wait for a next request, and how long; real time. A thousand Plans may wait for their
/// turn: none of them keeps one. The twenty VMs that MTV has in flight ask at once, and need not connect anew each time.
const IDLE: usize = 32;
const IDLE_FOR: Duration = Duration::from_secs(15);
/// How many are kept. A lab has a few sources; one whose CAs change often does not grow.
const KEPT: usize = 8;

/// What is trusted of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    Anything,
    Ca(String),
    /// What everybody trusts.
    Public,
}

impl Trust {
    fn of(login: &Login) -> Self {
        match &login.ca_pem {
            _ if login.insecure => Self::Anything,
            Some(pem) => Self::Ca(pem.clone()),
            None => Self::Public,
        }
    }
}

/// How a platform is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Rest,
    /// HTTP/1 alone, as vSphere is spoken to, and polls that say themselves how long they last.
    Soap,
}

/// The clients that all logins share which trust the same: with its connections each would take more room than
/// everything else of a Plan that waits.
#[derive(Default)]
pub(in crate::controllers::mtv) struct Transports(Mutex<Vec<Transport>>);

struct Transport {
    trust: Trust,
    protocol: Protocol,
    client: reqwest::Client,
}

impl Transports {
    /// A client that trusts what the Secret says.
    pub(super) fn of(&self, login: &Login, protocol: Protocol) -> Result<reqwest::Client, ConnectError> {
        let trust = Trust::of(login);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|one| one.trust == trust && one.protocol == protocol);
        let own = match known {
            Some(at) => all.remove(at),
            None => Transport { client: build(&trust, protocol)?, trust, protocol },
        };
        let client = own.client.clone();
        // The last is the one that was used last. Who still has one that is forgotten keeps it.
        all.push(own);
        if all.len() > KEPT {
            all.remove(0);
        }
        Ok(client)
    }
}

fn build(trust: &Trust, protocol: Protocol) -> Result<reqwest::Client, ConnectError> {
    let failed = |e: reqwest::Error| ConnectError::Failed(e.to_string());
    let builder = reqwest::Client::builder().no_proxy().user_agent(crate::faults::OWN_AGENT);
    let builder = builder.pool_max_idle_per_host(IDLE).pool_idle_timeout(IDLE_FOR);
    let builder = match protocol {
        Protocol::Rest => builder.timeout(REQUEST),
        Protocol::Soap => builder.http1_only().connect_timeout(REQUEST),
    };
    let builder = match trust {
        Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        Trust::Ca(pem) => {
            builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)?)
        }
        Trust::Public => builder,
    };
    builder.build().map_err(failed)
}

/// `Post "https://vc.example/sdk": dial tcp vc.example:443: connect: connection refused`.
pub(super) fn told(method: &Method, error: &reqwest::Error) -> String {
    let Some(url) = error.url() else { return cause(error, "", error.is_timeout()) };
    let host = url.host_str().unwrap_or_default();
    let place = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    let verb = match *method {
        Method::POST => "Post",
        Method::PUT => "Put",
        Method::PATCH => "Patch",
        Method::DELETE => "Delete",
        _ => "Get",
    };
    format!("{verb} \"{url}\": {}", cause(error, &place, error.is_timeout()))
}

/// The innermost cause; `place` is `host:port`.
fn cause(error: &(dyn Error + 'static), place: &str, late: bool) -> String {
    let mut inner = error;
    loop {
        if let Some(known) = inner.downcast_ref::<io::Error>().and_then(|io| of_system(io, place)) {
            return known;
        }
        let text = inner.to_string();
        if text.starts_with("dns error") || text.starts_with("failed to lookup address") {
            let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
            return format!("dial tcp: lookup {host}: no such host");
        }
        if let Some(refusal) = refused_certificate(inner) {
            return format!("tls: failed to verify certificate: x509: {}", of_certificate(refusal, place));
        }
        match inner.source() {
            Some(next) => inner = next,
            None if late => {
                return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned();
            }
            None => return text,
        }
    }
}

fn of_system(error: &io::Error, place: &str) -> Option<String> {
    let said = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused",
        io::ErrorKind::HostUnreachable => "connect: no route to host",
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable",
        io::ErrorKind::TimedOut => "i/o timeout",
        io::ErrorKind::ConnectionReset => return Some(format!("read tcp {place}: connection reset by peer")),
        io::ErrorKind::UnexpectedEof => return Some("EOF".to_owned()),
        _ => return None,
    };
    Some(format!("dial tcp {place}: {said}"))
}

/// An error of the connection holds that of TLS, which it shows as its own and not as its source.
fn refused_certificate<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    if let Some(held) = error.downcast_ref::<io::Error>().and_then(|io| io.get_ref()) {
        return refused_certificate(held);
    }
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(refusal) => Some(refusal),
        _ => None,
    }
}

/// rustls' reasons as x509 calls them (`HostnameError`, `CertificateInvalidError`, `UnknownAuthorityError`).
fn of_certificate(refusal: &CertificateError, place: &str) -> String {
    let stale = "certificate has expired or is not yet valid";
    match refusal {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("{stale}: current time {} is after {}", utc(*time), utc(*not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("{stale}: current time {} is before {}", utc(*time), utc(*not_before))
        }
        CertificateError::Expired | CertificateError::NotValidYet => stale.to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => of_names(&expected.to_str(), presented),
        CertificateError::NotValidForName => of_names(place.rsplit_once(':').map_or(place, |(host, _)| host), &[]),
        other => other.to_string(),
    }
}

/// `presented`: as rustls tells the names of a certificate, `DnsName("x")` and `IpAddress(127.0.0.1)`.
fn of_names(wanted: &str, presented: &[String]) -> String {
    let inside = |kind: &str, name: &String| {
        let rest = name.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')')?;
        Some(rest.trim_matches('"').to_owned())
    };
    let of = |kind: &str| presented.iter().filter_map(|name| inside(kind, name)).collect::<Vec<_>>().join(", ");
    let by_address = wanted.parse::<IpAddr>().is_ok();
    match (by_address, of(if by_address { "IpAddress" } else { "DnsName" })) {
        (true, valid) if valid.is_empty() => {
            format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs")
        }
        (false, valid) if valid.is_empty() => {
            format!("certificate is not valid for any names, but wanted to match {wanted}")
        }
        (_, valid) => format!("certificate is valid for {valid}, not {wanted}"),
    }
}

fn utc(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    async fn refused(url: &str) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        told(&Method::POST, &client.post(url).send().await.unwrap_err())
    }

    #[tokio::test]
    async fn a_transport_error_reads_as_gos() {
        let nobody = refused("https://127.0.0.1:1/sdk").await;
        assert_eq!(nobody, "Post \"https://127.0.0.1:1/sdk\": dial tcp 127.0.0.1:1: connect: connection refused");
        let unknown = refused("https://vc.invalid/sdk").await;
        assert_eq!(unknown, "Post \"https://vc.invalid/sdk\": dial tcp: lookup vc.invalid: no such host");
    }

    /// What a client says of a server with this certificate, which it trusts.
    async fn refused_by_name(names: &[&str], host: &str, until: i32) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let (pem, chain) = (own.pem(), vec![own.der().clone()]);
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config)).accept(stream).await;
        };
        let client = reqwest::Client::builder()
            .no_proxy()
            .resolve(host, at)
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap())
            .build()
            .unwrap();
        let asked = client.get(format!("https://{host}:{}/", at.port())).send();
        let (said, ()) = tokio::join!(asked, server);
        let said = told(&Method::GET, &said.unwrap_err());
        said.split_once("x509: ").map_or_else(|| said.clone(), |(_, rest)| rest.to_owned())
    }

    #[tokio::test]
    async fn a_certificate_that_is_refused_is_told_as_x509_tells_it() {
        let other = refused_by_name(&["a.example", "b.example"], "vc.example", 2090).await;
        assert_eq!(other, "certificate is valid for a.example, b.example, not vc.example");
        let address = refused_by_name(&["10.0.0.1"], "127.0.0.1", 2090).await;
        assert_eq!(address, "certificate is valid for 10.0.0.1, not 127.0.0.1");
        let no_address = refused_by_name(&["a.example"], "127.0.0.1", 2090).await;
        assert_eq!(no_address, "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs");
        let none = refused_by_name(&["10.0.0.1"], "vc.example", 2090).await;
        assert_eq!(none, "certificate is not valid for any names, but wanted to match vc.example");
        let old = refused_by_name(&["vc.example"], "vc.example", 2020).await;
        assert!(old.starts_with("certificate has expired or is not yet valid: current time 20"), "{old}");
        assert!(old.ends_with("Z is after 2020-01-01T00:00:00Z"), "{old}");
    }

    fn login(insecure: bool, ca_pem: Option<&str>) -> Login {
        let ca_pem = ca_pem.map(str::to_owned);
        Login { url: String::new(), secret: Default::default(), settings: Default::default(), insecure, ca_pem }
    }

    fn own_certificate() -> (rcgen::KeyPair, rcgen::Certificate) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = params.self_signed(&key).unwrap();
        (key, own)
    }

    /// A server of HTTP/1 that answers everything with nothing, and how many connections it has had and has.
    struct Counting {
        url: String,
        ca: String,
        had: Arc<AtomicUsize>,
        has: Arc<AtomicUsize>,
        _task: AbortOnDropHandle<()>,
    }

    impl Counting {
        async fn start() -> Self {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let (key, own) = own_certificate();
            let (ca, chain) = (own.pem(), vec![own.der().clone()]);
            let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}/", listener.local_addr().unwrap());
            let (had, has) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            let counts = (had.clone(), has.clone());
            let task = AbortOnDropHandle::new(tokio::spawn(async move {
                let mut open = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, (had, has)) = (acceptor.clone(), counts.clone());
                    open.spawn(async move {
                        let Ok(mut stream) = acceptor.accept(stream).await else { return };
                        had.fetch_add(1, Ordering::SeqCst);
                        has.fetch_add(1, Ordering::SeqCst);
                        let mut read = [0; 4096];
                        while stream.read(&mut read).await.is_ok_and(|count| count > 0) {
                            // So that requests that are sent at once are there at once.
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                        }
                        has.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }));
            Self { url, ca, had, has, _task: task }
        }

        /// Asks it; its connections so far.
        async fn ask(&self, client: &reqwest::Client) -> Result<usize, String> {
            client.get(&self.url).send().await.map_err(|e| told(&Method::GET, &e))?;
            // The connection is free for the next one.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(self.had.load(Ordering::SeqCst))
        }
    }

    #[tokio::test]
    async fn logins_that_trust_the_same_share_connections_and_no_others() {
        let server = Counting::start().await;
        let transports = Transports::default();
        let asked = async |login: &Login, protocol| server.ask(&transports.of(login, protocol).unwrap()).await;
        let own = login(false, Some(&server.ca));
        let other_user = Login { secret: [("user".to_owned(), "b".to_owned())].into(), ..own.clone() };
        assert_eq!(asked(&own, Protocol::Soap).await, Ok(1));
        assert_eq!(asked(&other_user, Protocol::Soap).await, Ok(1));
        assert_eq!(asked(&own, Protocol::Rest).await, Ok(2), "another protocol");
        assert_eq!(asked(&login(true, None), Protocol::Soap).await, Ok(3), "who trusts anything");
        let ca = own_certificate().1.pem();
        for stranger in [login(false, Some(&ca)), login(false, None)] {
            let refused = asked(&stranger, Protocol::Soap).await.unwrap_err();
            assert!(refused.ends_with("x509: certificate signed by unknown authority"), "{refused}");
        }
        // One that trusts anything does so whatever CA its Secret bears.
        assert_eq!(asked(&login(true, Some(&ca)), Protocol::Soap).await, Ok(3));
    }

    #[tokio::test]
    async fn of_many_connections_a_few_wait_for_a_next_request() {
        let server = Counting::start().await;
        let client = Transports::default().of(&login(true, None), Protocol::Soap).unwrap();
        let all = futures::future::join_all((0..3 * IDLE).map(|_| server.ask(&client))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(server.had.load(Ordering::SeqCst), 3 * IDLE);
        let began = std::time::Instant::now();
        while server.has.load(Ordering::SeqCst) > IDLE {
            assert!(began.elapsed() < IDLE_FOR / 2, "{} are open", server.has.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_transport_that_is_used_stays_and_those_of_old_cas_are_forgotten() {
        let server = Counting::start().await;
        let transports = Transports::default();
        for _ in 0..2 * KEPT {
            let used = transports.of(&login(true, None), Protocol::Soap).unwrap();
            assert_eq!(server.ask(&used).await, Ok(1));
            transports.of(&login(false, Some(&own_certificate().1.pem())), Protocol::Soap).unwrap();
        }
        assert_eq!(transports.0.lock().unwrap().len(), KEPT);
    }
}
