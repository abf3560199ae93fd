//! One token of the engine's SSO, shared by all calls of a profile: transport, login, renewal.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tracing::Instrument;

use super::rest::text;
use crate::config::{ProviderProfile, Timeouts};
use crate::net::{Failed, Poll, repeat, words};
use crate::source::http::{self, NoAnswer, Refusal};
use crate::source::poll;
use crate::source::slot::{Sessions, Slot};
use crate::source::{DriverOptions, SourceError};

/// Where the engine offers its own CA, without a login.
const CA: &str = "services/pki-resource?resource=ca-certificate&format=X509-PEM-CA";

/// The engine's answer when it refuses: HTTP status, its own words, and what repeating is worth.
#[derive(Debug)]
pub(super) struct Refused {
    status: u16,
    words: String,
    failed: Failed,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the engine answered {}: {}", self.status, self.words)
    }
}

impl Refusal for Refused {
    fn session_ended(&self) -> bool {
        self.status == 401
    }
    fn failed(&self) -> Failed {
        self.failed
    }
}

/// Why a call failed, before it is told to people.
pub(super) type CallError = http::CallError<Refused>;

impl CallError {
    pub(super) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused(refused) if refused.status == wanted)
    }
}

/// A login that worked.
#[derive(Debug)]
pub(super) struct Live {
    http: reqwest::Client,
    token: SecretString,
}

#[derive(Debug)]
pub(super) struct Session {
    profile: Arc<ProviderProfile>,
    options: DriverOptions,
    /// `https://engine/ovirt-engine`
    base: String,
    slot: Slot<Live>,
}

impl Session {
    pub(super) fn new(profile: Arc<ProviderProfile>, options: &DriverOptions, insecure: Option<bool>) -> Self {
        let url = profile.api_url.trim_end_matches('/');
        let base = url.strip_suffix("/v4").unwrap_or(url);
        let base = base.strip_suffix("/api").unwrap_or(base).to_owned();
        let insecure = insecure.unwrap_or(options.insecure);
        let options = DriverOptions { insecure, ..options.clone() };
        Self { slot: Slot::new(&profile.name), profile, options, base }
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
            CallError::NoAnswer(error, _) => *error,
            CallError::Refused(refused) => self.refused(what, refused.to_string()),
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
        F: Future<Output = Result<Poll<T>, SourceError>>,
    {
        poll::until(&self.profile.name, what, tokio::time::Instant::now() + limit, look).await
    }

    /// A try that got no usable answer.
    fn no_answer(&self, none: NoAnswer) -> CallError {
        CallError::NoAnswer(Box::new(self.unreachable(none.cause)), none.failed)
    }

    async fn client(&self, options: &DriverOptions) -> Result<reqwest::Client, CallError> {
        let client = http::builder(&self.profile, options, &self.base).await.map_err(|e| self.no_answer(e))?;
        client.timeout(self.timeouts().request).build().map_err(|e| self.no_answer(e.into()))
    }

    /// What the endpoint presents and the CA that the engine itself offers: trust on first use.
    pub(super) async fn fetch_ca(&self) -> Result<String, SourceError> {
        let url = url::Url::parse(&self.base).map_err(|e| self.unreachable(format!("no URL: {e}")))?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
        let presented = crate::source::fetch_ca(host, port, self.timeouts().connect).await;
        let mut pem = presented.map_err(|e| self.unreachable(words::plain(&e.to_string())))?;
        let anything = DriverOptions { insecure: true, ..self.options.clone() };
        let client = self.client(&anything).await.map_err(|e| self.failed("fetch the engine's CA", e))?;
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
        let answer = request.send().await.map_err(|e| self.no_answer(e.into()))?;
        self.slot.peer().has_answered();
        let (status, failed) = (answer.status().as_u16(), Failed::of_answer(answer.status(), answer.headers()));
        let bytes = answer.bytes().await.map_err(|e| self.no_answer(e.into()))?;
        let value = serde_json::from_slice(&bytes);
        if (200..300).contains(&status) {
            return match value {
                Ok(value) => Ok(value),
                // Answers to deletions are empty.
                Err(_) if bytes.is_empty() => Ok(Value::Null),
                Err(error) => {
                    let cause = format!("the answer is no JSON: {error}");
                    Err(self.no_answer(NoAnswer { failed: Failed::Unknown(None), cause }))
                }
            };
        }
        let value: Value = value.unwrap_or_default();
        let fault = value.get("fault").unwrap_or(&value);
        let words = match (text(fault, "reason"), text(fault, "detail")) {
            (Some(reason), Some(detail)) => format!("{reason}: {detail}"),
            (Some(words), None) | (None, Some(words)) => words,
            (None, None) => "no explanation".to_owned(),
        };
        Err(CallError::Refused(Refused { status, words, failed }))
    }

    /// One request, by the policy.
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
        let (what, method) = (format!("{method} {kind}"), &method);
        let send = |live: Arc<Live>| async move { self.send(&live, method, path, query, body).await };
        let answer = self.calling(&what, repeat::http(method, path, None), send).instrument(span.clone()).await;
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

impl Sessions for Session {
    type Live = Live;
    type Error = CallError;

    fn slot(&self) -> &Slot<Live> {
        &self.slot
    }

    fn request_timeout(&self) -> Duration {
        self.timeouts().request
    }

    async fn login(&self) -> Result<Live, CallError> {
        let http = self.client(&self.options).await?;
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
        let answer = request.send().await.map_err(|e| self.no_answer(e.into()))?;
        let (status, failed) = (answer.status().as_u16(), Failed::of_answer(answer.status(), answer.headers()));
        let body = answer.bytes().await.map_err(|e| self.no_answer(e.into()))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(token) = text(&body, "access_token").filter(|_| status == 200) {
            return Ok(Live { http, token: token.into() });
        }
        // Both shapes: the text is under `error` where there is an `error_code`.
        let code = text(&body, "error_code").or_else(|| text(&body, "error"));
        let words = text(&body, "error_description").or_else(|| text(&body, "error"));
        let error = match (code, words) {
            (Some(code), Some(words)) if code == "access_denied" || code == "invalid_grant" => {
                return Err(CallError::Source(SourceError::Login {
                    profile: self.profile.name.clone(),
                    endpoint: self.profile.api_url.clone(),
                    username: login.username.clone(),
                    cause: words,
                }));
            }
            (Some(code), Some(words)) => {
                self.unreachable(format!("its single sign-on answered {status}: {code}: {words}"))
            }
            _ => self.unreachable(format!("it does not answer as an oVirt engine does (HTTP {status})")),
        };
        // A proxy before the engine, or half an answer.
        let failed = if status == 200 { Failed::Unknown(None) } else { failed };
        Err(CallError::NoAnswer(Box::new(error), failed))
    }

    async fn logout(&self, live: &Live) {
        let form = [("scope", "ovirt-app-api"), ("token", live.token.expose_secret())];
        let logout = live.http.post(format!("{}/services/sso-logout", self.base)).form(&form);
        let _ = logout.timeout(self.timeouts().request).send().await;
    }
}
