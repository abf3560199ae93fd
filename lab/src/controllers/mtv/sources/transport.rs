//! HTTP to a source, and its failures in the words of Go's client, which is what MTV's users read in a Provider's
//! condition and search for (`net/url.Error`, `net.OpError`, `crypto/x509`). Knows no platform.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use reqwest::Method;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::super::platform::{ConnectError, Login};

/// A client that trusts what the Secret says.
pub(super) fn http_client(login: &Login) -> Result<reqwest::Client, ConnectError> {
    let failed = |e: reqwest::Error| ConnectError::Failed(e.to_string());
    let builder = reqwest::Client::builder().no_proxy().user_agent(crate::faults::OWN_AGENT);
    let mut builder = builder.timeout(std::time::Duration::from_secs(30));
    if login.insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    } else if let Some(pem) = &login.ca_pem {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)?);
    }
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
}
