//! What HTTP clients of source platforms share: whom they trust, and an error's cause in words.

use std::sync::Arc;

use super::{DriverOptions, tls};
use crate::config::ProviderProfile;

/// A client for `endpoint` that trusts the profile's CA, else what the endpoint presents now, else
/// anything, as configured. `Err`: the cause in words.
pub(super) async fn builder(
    profile: &Arc<ProviderProfile>,
    options: &DriverOptions,
    endpoint: &str,
) -> Result<reqwest::ClientBuilder, String> {
    let timeouts = &options.timeouts;
    let pem = if options.insecure {
        None
    } else if let Some(pem) = &profile.ca_pem {
        Some(pem.clone())
    } else {
        // Trust on first use, as for the Provider's Secret.
        let url = url::Url::parse(endpoint).map_err(|e| format!("no URL: {e}"))?;
        if url.scheme() == "https" {
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or(443);
            Some(super::fetch_ca(host, port, timeouts.connect).await.map_err(|e| plain_words(&e))?)
        } else {
            None
        }
    };
    let config = tls::client_config(pem.as_deref())?;
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config).connect_timeout(timeouts.connect))
}

/// Why a request got no answer, in words.
pub(super) fn cause(error: &reqwest::Error) -> String {
    plain_words(&chain_of(error))
}

/// The whole chain of an error's causes in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// What a transport error means to whoever reads the report.
fn plain_words(chain: &str) -> String {
    let lower = chain.to_lowercase();
    let meaning = if lower.contains("dns error") || lower.contains("lookup address") {
        "the host name cannot be resolved"
    } else if lower.contains("connection refused") {
        "the connection was refused: nothing listens there"
    } else if lower.contains("certificate") || lower.contains("unknownissuer") {
        "the certificate is not trusted"
    } else if lower.contains("handshake") || lower.contains("tls") {
        "TLS failed"
    } else if lower.contains("timed out") || lower.contains("deadline") || lower.contains("within") {
        "no answer in time"
    } else {
        return chain.to_owned();
    };
    format!("{meaning} ({chain})")
}
