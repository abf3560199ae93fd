//! One token, shared by all calls of a profile: login, renewal, and the calls themselves.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument;

use super::catalogue::{Endpoints, Service};
use super::error::{ApiError, CallError};
use crate::config::ProviderProfile;
use crate::config::platforms::{OpenstackAuth, OpenstackConfig};
use crate::net::{Failed, Poll, repeat};
use crate::source::http::{self as shared, NoAnswer};
use crate::source::poll;
use crate::source::slot::{Sessions, Slot};
use crate::source::{DriverOptions, SourceError};

/// One request to a service.
#[derive(Debug, Clone)]
pub(super) struct Call {
    service: Service,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    microversion: Option<&'static str>,
    body: Option<Value>,
}

impl Call {
    fn new(service: Service, method: Method, path: impl Into<String>) -> Self {
        Self { service, method, path: path.into(), query: Vec::new(), microversion: None, body: None }
    }
    pub(super) fn get(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::GET, path)
    }
    pub(super) fn delete(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::DELETE, path)
    }
    pub(super) fn post(service: Service, path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(service, Method::POST, path) }
    }
    pub(super) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }
    pub(super) fn put(service: Service, path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(service, Method::PUT, path) }
    }
    /// The call without its arguments.
    fn told(&self) -> String {
        let resource = self.path.split('/').nth(1).unwrap_or_default();
        format!("{} {} {resource}", self.method, self.service.name())
    }
    /// An action is the one key of its body.
    fn repeat(&self) -> repeat::Repeat {
        let action = self.body.as_ref().filter(|_| self.path.ends_with("/action"));
        match action.and_then(|body| body.as_object()?.keys().next()) {
            Some(action) => repeat::action(action),
            None => repeat::http(&self.method, &self.path, None),
        }
    }
    /// Without it a service answers in its oldest form.
    pub(super) fn version(mut self, microversion: &'static str) -> Self {
        self.microversion = Some(microversion);
        self
    }
}

/// What a service answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// `null` where there was none.
    pub body: Value,
    pub location: Option<String>,
}

/// A login that worked.
#[derive(Debug)]
pub(super) struct Live {
    http: reqwest::Client,
    token: SecretString,
    endpoints: Endpoints,
    /// `user@project`.
    pub(super) who: String,
    /// Id of the project.
    pub(super) project: Option<String>,
}

#[derive(Debug)]
pub(super) struct Session {
    profile: Arc<ProviderProfile>,
    config: OpenstackConfig,
    options: DriverOptions,
    /// Keystone's v3 URL.
    endpoint: String,
    slot: Slot<Live>,
}

impl Session {
    pub(super) fn new(profile: Arc<ProviderProfile>, config: OpenstackConfig, options: DriverOptions) -> Self {
        let url = profile.api_url.trim_end_matches('/');
        let endpoint = if url.ends_with("/v3") { url.to_owned() } else { format!("{url}/v3") };
        Self { slot: Slot::new(&profile.name), profile, config, options, endpoint }
    }

    fn unreachable(&self, cause: impl Into<String>) -> SourceError {
        let endpoint = self.endpoint.clone();
        SourceError::Unreachable { profile: self.profile.name.clone(), endpoint, cause: cause.into() }
    }

    pub(super) fn failed(&self, what: impl Into<String>, error: CallError) -> SourceError {
        match error {
            CallError::Source(error) => error,
            CallError::NoAnswer(error, _) => *error,
            CallError::Refused(error) => self.refused(what, error.to_string()),
        }
    }

    pub(super) fn refused(&self, what: impl Into<String>, cause: impl Into<String>) -> SourceError {
        SourceError::Operation { profile: self.profile.name.clone(), what: what.into(), cause: cause.into() }
    }

    /// A try that got no usable answer.
    fn no_answer(&self, none: NoAnswer) -> CallError {
        CallError::NoAnswer(Box::new(self.unreachable(none.cause)), none.failed)
    }

    fn user(&self) -> String {
        match &self.config.auth {
            OpenstackAuth::Password => self.profile.login.username.clone(),
            OpenstackAuth::ApplicationCredential { id, name, .. } => {
                format!("application credential {}", if id.is_empty() { name } else { id })
            }
        }
    }

    /// One call, by the policy.
    pub(super) async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let (what, call) = (call.told(), &call);
        self.calling(&what, call.repeat(), |live: Arc<Live>| async move { self.exchange(&live, call).await }).await
    }

    /// The call in its own span, which names the resource and nothing of its arguments.
    async fn exchange(&self, live: &Live, call: &Call) -> Result<Answer, CallError> {
        let span = tracing::info_span!(
            "openstack",
            otel.name = call.told(),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            mtv_matrix.profile = self.profile.name,
        );
        let answer = self.send(live, call).instrument(span.clone()).await;
        if answer.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        answer
    }

    async fn send(&self, live: &Live, call: &Call) -> Result<Answer, CallError> {
        let url = format!("{}{}", live.endpoints.url(call.service), call.path);
        let mut request = live
            .http
            .request(call.method.clone(), url)
            .timeout(self.options.timeouts.request)
            .header("X-Auth-Token", live.token.expose_secret())
            .header("Accept", "application/json");
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(version) = call.microversion {
            let kind = if call.service == Service::Volume { "volume" } else { "compute" };
            request = request.header("OpenStack-API-Version", format!("{kind} {version}"));
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let no_answer = |e: reqwest::Error| self.no_answer(e.into());
        let answer = request.send().await.map_err(no_answer)?;
        self.slot.peer().has_answered();
        let (status, failed) = (answer.status().as_u16(), Failed::of_answer(answer.status(), answer.headers()));
        let location = answer.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
        let text = answer.text().await.map_err(no_answer)?;
        if !(200..300).contains(&status) {
            return Err(CallError::Refused(ApiError::of(status, failed, &text)));
        }
        // Answers to actions and deletions are empty, or not worth reading; what was asked for is.
        match serde_json::from_str(&text) {
            Ok(body) => Ok(Answer { body, location }),
            Err(error) if call.method == Method::GET => {
                let cause = format!("the answer is no JSON: {error}");
                Err(self.no_answer(NoAnswer { failed: Failed::Unknown(None), cause }))
            }
            Err(_) => Ok(Answer { body: Value::Null, location }),
        }
    }

    /// The object under `key` of a GET; the whole body where the key is empty.
    pub(super) async fn read(&self, service: Service, path: String, key: &str) -> Result<Value, CallError> {
        let mut body = self.call(Call::get(service, path)).await?.body;
        Ok(if key.is_empty() { body } else { body.get_mut(key).map(Value::take).unwrap_or_default() })
    }

    /// Likewise; `None` when there is no such thing.
    pub(super) async fn look_up(&self, service: Service, path: String, key: &str) -> Result<Option<Value>, CallError> {
        match self.read(service, path, key).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All pages of a listing.
    pub(super) async fn list(&self, call: Call, collection: &str) -> Result<Vec<Value>, CallError> {
        let mut all: Vec<Value> = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let page = match &marker {
                Some(marker) => call.clone().with("marker", marker.clone()),
                None => call.clone(),
            };
            let mut body = self.call(page).await?.body;
            let more = has_next(&body, collection);
            let items = body.get_mut(collection).and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
            marker = items.last().and_then(|i| i.get("id")?.as_str()).map(str::to_owned);
            all.extend(items);
            if !more || marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// Looks until `look` is done; a service that is away for a moment does not end the wait.
    pub(super) async fn wait<T, F>(
        &self,
        what: &str,
        deadline: Instant,
        mut look: impl FnMut() -> F,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<Poll<T>, CallError>>,
    {
        poll::until(&self.profile.name, what, deadline, || {
            let seen = look();
            async move {
                match seen.await {
                    Ok(look) => Ok(look),
                    Err(error) if error.passes() => Ok(Poll::NotYet(error.text())),
                    Err(error) => Err(self.failed(format!("wait for {what}"), error)),
                }
            }
        })
        .await
    }
}

impl Sessions for Session {
    type Live = Live;
    type Error = CallError;

    fn slot(&self) -> &Slot<Live> {
        &self.slot
    }

    fn request_timeout(&self) -> Duration {
        self.options.timeouts.request
    }

    async fn login(&self) -> Result<Live, CallError> {
        let builder = shared::builder(&self.profile, &self.options, &self.endpoint).await;
        let http = builder.map_err(|e| self.no_answer(e))?.build().map_err(|e| self.no_answer(e.into()))?;
        let span = tracing::info_span!(
            "openstack",
            otel.name = "POST identity auth/tokens",
            otel.kind = "client",
            mtv_matrix.profile = self.profile.name,
        );
        let request = http
            .post(format!("{}/auth/tokens", self.endpoint))
            .timeout(self.options.timeouts.request)
            .json(&json!({"auth": auth(&self.profile, &self.config)}));
        let answer = request.send().instrument(span).await.map_err(|e| self.no_answer(e.into()))?;
        let (status, failed) = (answer.status().as_u16(), Failed::of_answer(answer.status(), answer.headers()));
        // The token is in a header, never in the body.
        let token = answer.headers().get("x-subject-token").and_then(|t| t.to_str().ok()).map(SecretString::from);
        let body = answer.text().await.map_err(|e| self.no_answer(e.into()))?;
        if status != 201 {
            let error = ApiError::of(status, failed, &body);
            return Err(match status {
                401 | 403 => CallError::Source(SourceError::Login {
                    profile: self.profile.name.clone(),
                    endpoint: self.endpoint.clone(),
                    username: self.user(),
                    cause: error.message,
                }),
                404 => self.unreachable("there is no Keystone v3 at this URL (HTTP 404)").into(),
                _ => CallError::NoAnswer(Box::new(self.unreachable(error.to_string())), failed),
            });
        }
        let token = token.ok_or_else(|| self.unreachable("the login was answered without X-Subject-Token"))?;
        let body: Value = serde_json::from_str(&body).map_err(|e| {
            let cause = format!("the login was answered with something else than JSON: {e}");
            self.no_answer(NoAnswer { failed: Failed::Unknown(None), cause })
        })?;
        let interface = if self.config.availability.is_empty() { "public" } else { &self.config.availability };
        let catalogue = body.pointer("/token/catalog").unwrap_or(&Value::Null);
        let endpoints = Endpoints::choose(catalogue, &self.config.region_name, interface)
            .map_err(|cause| self.refused("find the services", cause))?;
        let name = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
        let who = format!("{}@{}", name("/token/user/name"), name("/token/project/name"));
        let project = body.pointer("/token/project/id").and_then(Value::as_str).map(str::to_owned);
        Ok(Live { http, token, endpoints, who, project })
    }

    /// Revokes the token.
    async fn logout(&self, live: &Live) {
        let request = live.http.delete(format!("{}/auth/tokens", self.endpoint)).timeout(self.options.timeouts.request);
        let token = live.token.expose_secret();
        let _ = request.header("X-Auth-Token", token).header("X-Subject-Token", token).send().await;
    }
}

/// Nova, Cinder and Neutron link pages beside the collection, Glance in `next`.
fn has_next(body: &Value, collection: &str) -> bool {
    let links = body.get(format!("{collection}_links")).and_then(Value::as_array);
    let linked = links.into_iter().flatten().any(|l| l.get("rel").and_then(Value::as_str) == Some("next"));
    linked || body.get("next").is_some_and(Value::is_string)
}

/// A domain by id where there is one: with both, the id is what clients send.
fn domain(id: &str, name: &str) -> Value {
    if id.is_empty() { json!({"name": name}) } else { json!({"id": id}) }
}

fn auth(profile: &ProviderProfile, config: &OpenstackConfig) -> Value {
    let user_domain = domain(&config.user_domain_id, &config.user_domain_name);
    match &config.auth {
        OpenstackAuth::ApplicationCredential { id, name, secret } => {
            let credential = if id.is_empty() {
                json!({
                    "name": name, "secret": secret.expose_secret(),
                    "user": {"name": profile.login.username, "domain": user_domain},
                })
            } else {
                json!({"id": id, "secret": secret.expose_secret()})
            };
            // No scope: the credential carries its project.
            json!({"identity": {"methods": ["application_credential"], "application_credential": credential}})
        }
        OpenstackAuth::Password => {
            let project = if !config.project_id.is_empty() {
                json!({"id": config.project_id})
            } else {
                let own = (&config.project_domain_id, &config.project_domain_name);
                let domain =
                    if own.0.is_empty() && own.1.is_empty() { user_domain.clone() } else { domain(own.0, own.1) };
                json!({"name": config.project_name, "domain": domain})
            };
            let user = json!({
                "name": profile.login.username, "domain": user_domain,
                "password": profile.login.password.expose_secret(),
            });
            json!({
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": project},
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credentials, GuestCredentials, Platform, PlatformConfig};

    fn profile(config: &OpenstackConfig) -> ProviderProfile {
        ProviderProfile {
            vms: std::collections::BTreeMap::new(),
            name: "osp".into(),
            platform: Platform::Openstack,
            version: String::new(),
            fqdn: String::new(),
            api_url: "https://k/v3".into(),
            login: Credentials { username: "admin".into(), password: "pw".into() },
            guest: GuestCredentials::default(),
            max_concurrent: None,
            ca_pem: None,
            config: PlatformConfig::Openstack(config.clone()),
        }
    }

    fn body(config: OpenstackConfig) -> String {
        auth(&profile(&config), &config).to_string()
    }

    #[test]
    fn a_password_is_scoped_to_the_project_and_a_domain_is_given_by_id_where_it_has_one() {
        let config = OpenstackConfig {
            project_name: "demo".into(),
            user_domain_name: "Default".into(),
            user_domain_id: "default".into(),
            ..OpenstackConfig::default()
        };
        assert_eq!(
            body(config),
            r#"{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},"password":"pw"}}},"scope":{"project":{"name":"demo","domain":{"id":"default"}}}}"#
        );
    }

    #[test]
    fn an_application_credential_carries_no_scope() {
        let auth =
            |id: &str| OpenstackAuth::ApplicationCredential { id: id.into(), name: "ac".into(), secret: "s".into() };
        let config =
            |id: &str| OpenstackConfig { auth: auth(id), user_domain_name: "D".into(), ..OpenstackConfig::default() };
        assert_eq!(
            body(config("ac1")),
            r#"{"identity":{"methods":["application_credential"],"application_credential":{"id":"ac1","secret":"s"}}}"#
        );
        assert_eq!(
            body(config("")),
            r#"{"identity":{"methods":["application_credential"],"application_credential":{"name":"ac","secret":"s","user":{"name":"admin","domain":{"name":"D"}}}}}"#
        );
    }

    /// A cloud whose first token is worth nothing.
    async fn forgetful_cloud() -> String {
        use axum::Json;
        use axum::http::{HeaderMap, StatusCode};
        use axum::response::IntoResponse;
        use axum::routing::{get, post};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let logins = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let url = base.clone();
        let login = move || async move {
            let number = logins.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            let service = |kind: &str| json!({"type": kind, "endpoints": [{"interface": "public", "region": "one", "url": format!("{url}/v2.1")}]});
            let catalog = ["compute", "volumev3", "image", "network"].map(service);
            let body = Json(json!({"token": {"catalog": catalog}}));
            (StatusCode::CREATED, [("x-subject-token", format!("token-{number}"))], body).into_response()
        };
        let servers = |headers: HeaderMap| async move {
            match headers.get("x-auth-token").and_then(|t| t.to_str().ok()) {
                Some("token-2") => Json(json!({"servers": [{"id": "a"}]})).into_response(),
                _ => (StatusCode::UNAUTHORIZED, Json(json!({"error": {"message": "expired"}}))).into_response(),
            }
        };
        let router = axum::Router::new().route("/v3/auth/tokens", post(login)).route("/v2.1/servers", get(servers));
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    #[tokio::test]
    async fn a_token_that_ended_is_renewed_once_and_the_call_repeated() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = OpenstackConfig { region_name: "one".into(), ..OpenstackConfig::default() };
        let mut profile = profile(&config);
        profile.api_url = forgetful_cloud().await;
        let timeouts = crate::config::load(&crate::config::LoadRequest::default()).unwrap().settings.timeouts;
        let options = DriverOptions { timeouts, insecure: true, cluster: None };
        let session = Session::new(Arc::new(profile), config, options);
        let found = session.list(Call::get(Service::Compute, "/servers"), "servers").await.unwrap();
        assert_eq!(found, [json!({"id": "a"})]);
    }
}
