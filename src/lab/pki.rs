//! The lab's certificate authority: one CA, a server certificate an endpoint.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::LabError;

/// A CA made anew for every lab; its key never leaves the process.
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
        let key = KeyPair::generate().map_err(failed)?;
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
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
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
