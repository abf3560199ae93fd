//! What HTTP clients of source platforms share: whom they trust, and an error's cause in words.

use std::sync::Arc;

use super::words::{chain_of, plain_words};
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

/// What the text of a transport error means, in words.
pub(super) fn words(text: &str) -> String {
    plain_words(text)
}

/// Why a request got no answer, in words.
pub(super) fn cause(error: &reqwest::Error) -> String {
    plain_words(&chain_of(error))
}
