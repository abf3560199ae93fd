//! TLS towards source platforms: pinned certificates, and reading what an endpoint presents.

use std::sync::Arc;
use std::time::Duration;

use crate::net::proxy::{Proxies, ProxyError};
use crate::net::words::chain;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// How the peer's certificate is judged.
#[derive(Debug)]
enum Trust {
    /// Any certificate will do.
    Anything,
    /// Exactly one of these, or one that these signed.
    Pinned { certificates: Vec<CertificateDer<'static>>, chain: Option<Arc<WebPkiServerVerifier>> },
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Anything => Ok(ServerCertVerified::assertion()),
            // Self-signed certificates of appliances are rarely fit to be a CA, so an exact match counts.
            Trust::Pinned { certificates, .. } if certificates.iter().any(|c| c == leaf) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Pinned { chain: Some(chain), .. } => chain.verify_server_cert(leaf, intermediates, name, ocsp, now),
            Trust::Pinned { chain: None, .. } => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the CA is not PEM: {0}")]
    NotPem(String),
    #[error("the CA holds no certificate")]
    EmptyCa,
    #[error("no TLS: {0}")]
    Unsupported(#[from] Error),
    #[error("`{0}` is no host name")]
    NotAHost(String),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("{0}")]
    NoConnection(String),
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[from] std::io::Error),
    #[error("no TLS handshake within {0:?}")]
    Late(Duration),
    #[error("the endpoint presented no certificate")]
    NothingPresented,
}

/// A client configuration that trusts the certificates in `pem` (a leaf or its issuers); with
/// `None` it trusts anything.
pub fn client_config(pem: Option<&str>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = match pem {
        None => Trust::Anything,
        Some(pem) => {
            let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|e| TlsError::NotPem(e.to_string()))?;
            if certificates.is_empty() {
                return Err(TlsError::EmptyCa);
            }
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
            Trust::Pinned { certificates, chain }
        }
    };
    let verifier = Arc::new(Verifier { provider: provider.clone(), trust });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// The chain that `host:port` presents, leaf first.
pub async fn presented_chain(host: &str, port: u16, limit: Duration) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let handshake = async {
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::NotAHost(host.to_owned()))?;
        let proxies = Proxies::from_env()?;
        let socket = proxies.dial(bare, port, limit).await.map_err(|e| TlsError::NoConnection(chain(&*e)))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(None)?));
        let stream = connector.connect(name, socket).await?;
        let chain = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or(TlsError::NothingPresented)?;
        Ok(chain.iter().map(|c| c.clone().into_owned()).collect())
    };
    match tokio::time::timeout(limit, handshake).await {
        Ok(chain) => chain,
        Err(_) => Err(TlsError::Late(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TLS server with a fresh self-signed certificate; its port and its certificate.
    async fn serve() -> (u16, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = acceptor.accept(socket).await;
            }
        });
        (port, crate::api::pem::of_der(&[made.cert.der().clone()]))
    }

    async fn handshake(port: u16, pem: &str) -> bool {
        let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(Some(pem)).unwrap()));
        connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.is_ok()
    }

    #[tokio::test]
    async fn what_an_endpoint_presents_is_trusted_afterwards_and_nothing_else() {
        let (port, pem) = serve().await;
        let (_, stranger) = serve().await;
        let fetched = crate::source::fetch_ca("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        assert_eq!(fetched, pem);
        assert!(handshake(port, &fetched).await);
        assert!(!handshake(port, &stranger).await);
    }

    #[test]
    fn a_ca_that_is_no_pem_is_refused() {
        assert!(client_config(Some("")).is_err());
        assert!(client_config(Some("no pem")).is_err());
    }
}
