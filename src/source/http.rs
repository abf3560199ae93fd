//! What HTTP clients of source platforms share: whom they trust, which way they go, and what a failed
//! try proves.

use std::sync::Arc;

use super::slot::Tried;
use super::tls::TlsError;
use super::{DriverOptions, SourceError, tls};
use crate::config::ProviderProfile;
use crate::net::proxy::Proxies;
use crate::net::{Failed, IDLE_CONNECTIONS, words};

/// A client for `endpoint` that trusts the profile's CA, else what the endpoint presents now, else
/// anything, as configured. `Err`: what it proves, and the cause in words.
pub(super) async fn builder(
    profile: &Arc<ProviderProfile>,
    options: &DriverOptions,
    endpoint: &str,
) -> Result<reqwest::ClientBuilder, NoAnswer> {
    let timeouts = &options.timeouts;
    let never = |cause: String| NoAnswer { failed: Failed::Definite, cause };
    let pem = if options.insecure {
        None
    } else if let Some(pem) = &profile.ca_pem {
        Some(pem.clone())
    } else {
        // Trust on first use, as for the Provider's Secret.
        let url = url::Url::parse(endpoint).map_err(|e| never(format!("no URL: {e}")))?;
        if url.scheme() == "https" {
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or(443);
            // A handshake that failed changed nothing.
            let undone = |e: TlsError| NoAnswer { failed: Failed::Undone(None), cause: words::plain(&e.to_string()) };
            Some(super::fetch_ca(host, port, timeouts.connect).await.map_err(undone)?)
        } else {
            None
        }
    };
    let config = tls::client_config(pem.as_deref()).map_err(|e| never(e.to_string()))?;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(timeouts.connect)
        .pool_max_idle_per_host(IDLE_CONNECTIONS);
    Ok(Proxies::from_env().map_err(|e| never(e.to_string()))?.apply(builder))
}

/// A try without a usable answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub failed: Failed,
    /// In words.
    pub cause: String,
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        Self { failed: Failed::of_error(&error), cause: words::cause(error) }
    }
}

/// Why a call failed, before it is told to people; `R` is what the platform itself says when it refuses.
#[derive(Debug)]
pub(super) enum CallError<R> {
    /// No usable answer; what that proves.
    NoAnswer(Box<SourceError>, Failed),
    /// Told already; repeating does not change it.
    Source(SourceError),
    Refused(R),
}

impl<R> From<SourceError> for CallError<R> {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// What a platform says when it refuses, as far as repeating goes.
pub(super) trait Refusal: std::fmt::Display {
    /// It knows the session no more, and did nothing.
    fn session_ended(&self) -> bool;
    fn failed(&self) -> Failed;
}

impl<R: Refusal + Send + Sync> Tried for CallError<R> {
    fn session_ended(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.session_ended())
    }

    fn failed(&self) -> Failed {
        match self {
            Self::NoAnswer(_, failed) => *failed,
            Self::Source(_) => Failed::Definite,
            Self::Refused(refusal) => refusal.failed(),
        }
    }

    fn told(&self) -> String {
        match self {
            Self::NoAnswer(error, _) => error.to_string(),
            Self::Source(error) => error.to_string(),
            Self::Refused(refusal) => refusal.to_string(),
        }
    }
}

impl<R> CallError<R> {
    /// Whether the call may have been carried out although nobody answered.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self, Self::NoAnswer(_, Failed::Unknown(_)))
    }
}
