//! One token of the engine's SSO, shared by all calls of a profile: transport, login, renewal.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::Instrument;

use super::rest::text;
use crate::config::{ProviderProfile, Timeouts};
use crate::source::poll::{self, Look};
use crate::source::{DriverOptions, SourceError, http};

/// Where the engine offers its own CA, without a login.
const CA: &str = "services/pki-resource?resource=ca-certificate&format=X509-PEM-CA";

/// Why a call failed, before it is told to people.
#[derive(Debug)]
pub(super) enum CallError {
    Source(SourceError),
    /// The engine's answer: HTTP status and its own words.
    Refused {
        status: u16,
        words: String,
    },
}

impl From<SourceError> for CallError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl CallError {
    pub(super) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }
}

/// A login that worked.
#[derive(Debug)]
struct Live {
    http: reqwest::Client,
    token: SecretString,
}

#[derive(Debug)]
pub(super) struct Session {
    profile: Arc<ProviderProfile>,
    options: DriverOptions,
    /// `https://engine/ovirt-engine`
    base: String,
    /// Held during a login, so that concurrent calls make one.
    live: Mutex<Option<Arc<Live>>>,
}

impl Session {
    pub(super) fn new(profile: Arc<ProviderProfile>, options: &DriverOptions, insecure: Option<bool>) -> Self {
        let url = profile.api_url.trim_end_matches('/');
        let base = url.strip_suffix("/v4").unwrap_or(url);
        let base = base.strip_suffix("/api").unwrap_or(base).to_owned();
        let insecure = insecure.unwrap_or(options.insecure);
        let options = DriverOptions { insecure, ..options.clone() };
        Self { profile, options, base, live: Mutex::new(None) }
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.options.timeouts
    }

    pub(super) fn unreachable(&self, cause: impl Into<String>) -> SourceError {
        SourceError::Unreachable {
            profile: self.profile.name.clone(),
            endpoint: self.profile.api_url.clone(),
            cause: cause.into(),
        }
    }

    pub(super) fn refused(&self, what: impl Into<String>, cause: impl Into<String>) -> SourceError {
        SourceError::Operation { profile: self.profile.name.clone(), what: what.into(), cause: cause.into() }
    }

    pub(super) fn failed(&self, what: impl Into<String>, error: CallError) -> SourceError {
        match error {
            CallError::Source(error) => error,
            CallError::Refused { status, words } => {
                self.refused(what, format!("the engine answered {status}: {words}"))
            }
        }
    }

    /// Looks again and again until it is done; the error at the limit tells what was seen last.
    pub(super) async fn until<T, F>(
        &self,
        what: &str,
        limit: Duration,
        look: impl FnMut() -> F,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<Look<T>, SourceError>>,
    {
        poll::until(&self.profile.name, what, tokio::time::Instant::now() + limit, look).await
    }

    /// Logs in anew.
    pub(super) async fn connect(&self) -> Result<(), SourceError> {
        self.disconnect().await;
        self.live().await.map(drop)
    }

    async fn live(&self) -> Result<Arc<Live>, SourceError> {
        let mut slot = self.live.lock().await;
        if let Some(live) = slot.as_ref() {
            return Ok(live.clone());
        }
        let live = Arc::new(self.login().await?);
        *slot = Some(live.clone());
        Ok(live)
    }

    /// Forgets `dead`, unless somebody logged in again already.
    async fn forget(&self, dead: &Arc<Live>) {
        let mut slot = self.live.lock().await;
        if slot.as_ref().is_some_and(|live| Arc::ptr_eq(live, dead)) {
            *slot = None;
        }
    }

    pub(super) async fn disconnect(&self) {
        let Some(live) = self.live.lock().await.take() else { return };
        let form = [("scope", "ovirt-app-api"), ("token", live.token.expose_secret())];
        let logout = live.http.post(format!("{}/services/sso-logout", self.base)).form(&form);
        // Best effort: the engine ends idle sessions by itself.
        let _ = logout.timeout(self.timeouts().request).send().await;
    }

    /// What the endpoint presents and the CA that the engine itself offers: trust on first use.
    pub(super) async fn fetch_ca(&self) -> Result<String, SourceError> {
        let url = url::Url::parse(&self.base).map_err(|e| self.unreachable(format!("no URL: {e}")))?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
        let presented = crate::source::fetch_ca(host, port, self.timeouts().connect).await;
        let mut pem = presented.map_err(|e| self.unreachable(http::words(&e)))?;
        let anything = DriverOptions { insecure: true, ..self.options.clone() };
        let client = http::builder(&self.profile, &anything, &self.base).await.map_err(|e| self.unreachable(e))?;
        let client = client.timeout(self.timeouts().request).build();
        let client = client.map_err(|e| self.unreachable(http::cause(&e)))?;
        let answer = client.get(format!("{}/{CA}", self.base)).send().await;
        if let Ok(answer) = answer
            && answer.status().is_success()
            && let Ok(own) = answer.text().await
            && own.contains("-----BEGIN CERTIFICATE-----")
            && !pem.contains(own.trim())
        {
            pem.push_str(own.trim());
            pem.push('\n');
        }
        Ok(pem)
    }

    async fn login(&self) -> Result<Live, SourceError> {
        let client = http::builder(&self.profile, &self.options, &self.base).await.map_err(|e| self.unreachable(e))?;
        let client = client.timeout(self.timeouts().request).build();
        let http = client.map_err(|e| self.unreachable(http::cause(&e)))?;
        let login = &self.profile.login;
        let form = [
            ("grant_type", "password"),
            ("scope", "ovirt-app-api"),
            ("username", login.username.as_str()),
            ("password", login.password.expose_secret()),
        ];
        // The engine compares this header with exactly this text.
        let request =
            http.post(format!("{}/sso/oauth/token", self.base)).header("Accept", "application/json").form(&form);
        let answer = request.send().await.map_err(|e| self.unreachable(http::cause(&e)))?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|e| self.unreachable(http::cause(&e)))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(token) = text(&body, "access_token").filter(|_| status == 200) {
            return Ok(Live { http, token: token.into() });
        }
        // Both shapes: the text is under `error` where there is an `error_code`.
        let code = text(&body, "error_code").or_else(|| text(&body, "error"));
        let words = text(&body, "error_description").or_else(|| text(&body, "error"));
        match (code, words) {
            (Some(code), Some(words)) if code == "access_denied" || code == "invalid_grant" => {
                Err(SourceError::Login {
                    profile: self.profile.name.clone(),
                    endpoint: self.profile.api_url.clone(),
                    username: login.username.clone(),
                    cause: words,
                })
            }
            (Some(code), Some(words)) => {
                Err(self.unreachable(format!("its single sign-on answered {status}: {code}: {words}")))
            }
            _ => Err(self.unreachable(format!("it does not answer as an oVirt engine does (HTTP {status})"))),
        }
    }

    async fn send(
        &self,
        live: &Live,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let url = format!("{}/api/{path}", self.base);
        let mut request = live
            .http
            .request(method.clone(), url.trim_end_matches('/'))
            .query(query)
            .header("Accept", "application/json")
            .header("Version", "4")
            .bearer_auth(live.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|e| self.unreachable(http::cause(&e)))?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(|e| self.unreachable(http::cause(&e)))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let fault = value.get("fault").unwrap_or(&value);
        let words = match (text(fault, "reason"), text(fault, "detail")) {
            (Some(reason), Some(detail)) => format!("{reason}: {detail}"),
            (Some(words), None) | (None, Some(words)) => words,
            (None, None) => "no explanation".to_owned(),
        };
        Err(CallError::Refused { status, words })
    }

    /// One request; a token that the engine has forgotten is renewed once. A request that was
    /// refused for it did nothing, so that every request may be repeated then.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let kind = path.split('/').next().unwrap_or_default();
        let span = tracing::info_span!(
            "rest",
            otel.name = format!("{method} {kind}"),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = %method,
            mtv_matrix.profile = self.profile.name,
        );
        let renewing = async {
            let live = self.live().await?;
            match self.send(&live, &method, path, query, body).await {
                Err(error) if error.is(401) => {
                    self.forget(&live).await;
                    let live = self.live().await?;
                    self.send(&live, &method, path, query, body).await
                }
                other => other,
            }
        };
        let answer = renewing.instrument(span.clone()).await;
        if answer.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        answer
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, CallError> {
        self.call(Method::GET, path, query, None).await
    }

    /// Something that may be gone: 404 is `None`.
    pub(super) async fn get_opt(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<Value>, CallError> {
        match self.get(path, query).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn post(&self, path: &str, query: &[(&str, &str)], body: &Value) -> Result<Value, CallError> {
        self.call(Method::POST, path, query, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, CallError> {
        self.call(Method::DELETE, path, &[], None).await
    }
}
