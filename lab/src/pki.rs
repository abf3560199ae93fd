//! The lab's certificate authority: one CA, a server certificate an endpoint.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::LabError;

/// A CA made anew for every lab; its key leaves the process only where a lab is kept.
pub struct LabCa {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

fn failed(cause: impl std::fmt::Display) -> LabError {
    LabError::Start { part: "certificate authority".to_owned(), cause: cause.to_string() }
}

impl LabCa {
    pub fn new() -> Result<Self, LabError> {
        Self::of(KeyPair::generate().map_err(failed)?)
    }

    /// The CA that a lab before had: who trusted it, trusts this one.
    pub fn kept(key_pem: &str) -> Result<Self, LabError> {
        Self::of(KeyPair::from_pem(key_pem).map_err(failed)?)
    }

    /// Its key, for a lab that is kept.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    fn of(key: KeyPair) -> Result<Self, LabError> {
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "mtv-matrix lab CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// A server configuration for these DNS names and addresses; the chain holds the CA, too, as
    /// real endpoints of this field do, because that is what people pin. Speaks HTTP/2 and HTTP/1.1.
    pub fn server_config(&self, names: &[String]) -> Result<Arc<ServerConfig>, LabError> {
        self.configured(CertificateParams::new(names.to_vec()).map_err(failed)?, names)
    }

    /// Likewise, with a certificate that expired years ago: for showing what a client says of it.
    pub fn expired_server_config(&self, names: &[String]) -> Result<Arc<ServerConfig>, LabError> {
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.configured(params, names)
    }

    /// A certificate with its chain, and its key, as PEM: for servers that are programs of their own.
    pub fn server_pem(&self, names: &[String]) -> Result<(String, String), LabError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("lab", String::as_str));
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((format!("{}{}", certificate.pem(), self.pem), key.serialize_pem()))
    }

    fn configured(&self, mut params: CertificateParams, names: &[String]) -> Result<Arc<ServerConfig>, LabError> {
        let key = KeyPair::generate().map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("lab", String::as_str));
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain = vec![certificate.der().clone(), self.der.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn handshake(expired: bool) -> Result<(), String> {
        let ca = LabCa::new().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let tls = if expired { ca.expired_server_config(&names) } else { ca.server_config(&names) };
        let listener = super::super::serve::bind("test", [127, 0, 0, 1].into(), 0).await.unwrap();
        let endpoint = super::super::serve::https("test", listener, tls.unwrap(), axum::Router::new()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = tokio::net::TcpStream::connect(endpoint.addr()).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await;
        connected.map(drop).map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn an_expired_certificate_is_refused_for_that_and_a_valid_one_is_not() {
        handshake(false).await.unwrap();
        let refused = handshake(true).await.unwrap_err();
        assert!(refused.contains("expired"), "{refused}");
    }
}
