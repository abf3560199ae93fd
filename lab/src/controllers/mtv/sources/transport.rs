//! HTTP to a source, and its failures in the words of Go's client, which is what MTV's users read in a Provider's
//! condition and search for (`net/url.Error`, `net.OpError`, `crypto/x509`). Knows no platform.

use std::error::Error;
use std::io;

use reqwest::Method;

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
        if let Some(refusal) = text.strip_prefix("invalid peer certificate: ") {
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

/// rustls' reasons as x509 calls them.
fn of_certificate(refusal: &str, place: &str) -> String {
    let reason = refusal.split([' ', ':', '(', '{']).next().unwrap_or_default();
    match reason {
        "UnknownIssuer" | "BadSignature" => "certificate signed by unknown authority".to_owned(),
        "certificate" if refusal.contains("expired") => "certificate has expired or is not yet valid".to_owned(),
        "certificate" if refusal.contains("not valid yet") => "certificate has expired or is not yet valid".to_owned(),
        "certificate" if refusal.contains("not valid for") => {
            format!("certificate is not valid for {}", place.rsplit_once(':').map_or(place, |(host, _)| host))
        }
        _ => refusal.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(url: &str) -> String {
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

    #[test]
    fn what_rustls_says_of_a_certificate_is_told_as_x509_says_it() {
        let of = |text: &str| cause(&io::Error::other(text.to_owned()), "vc.example:443", false);
        let unknown = of("invalid peer certificate: UnknownIssuer");
        assert_eq!(unknown, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
        let old = of(
            "invalid peer certificate: certificate expired: verification time 1 (UNIX), but certificate is not valid after 0 (1 seconds ago)",
        );
        assert!(old.ends_with("x509: certificate has expired or is not yet valid"), "{old}");
        let other = of(
            "invalid peer certificate: certificate not valid for name \"vc.example\"; certificate is only valid for DnsName(\"x\")",
        );
        assert!(other.ends_with("certificate is not valid for vc.example"), "{other}");
        assert_eq!(of("something else"), "something else");
    }
}
