//! One logged-in session, shared by all calls of a profile: transport, login, renewal.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tracing::Instrument;

use crate::api::vim::op::{self, ServiceContent};
use crate::api::vim::property::{self, FilterSpec};
use crate::api::vim::{self, Element, Fault, MoRef, ObjectContent, WireError, envelope};
use crate::config::ProviderProfile;
use crate::source::{DriverOptions, SourceError, http};

/// Objects a page of a listing.
const PAGE: u32 = 500;

/// Why a call failed, before it is told to people.
#[derive(Debug)]
pub(super) enum CallError {
    Source(SourceError),
    Fault(Fault),
}

impl From<SourceError> for CallError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl CallError {
    pub(super) fn is(&self, kind: &str) -> bool {
        matches!(self, Self::Fault(fault) if fault.is(kind))
    }
}

/// The operation that an envelope calls: the first element of its body.
fn operation(envelope: &str) -> &str {
    let called = envelope.split_once("Body>").map_or("", |(_, rest)| rest.trim_start());
    let name = called.strip_prefix('<').unwrap_or_default();
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    name.get(..end).filter(|name| !name.is_empty()).unwrap_or("call")
}

/// A login that worked.
#[derive(Debug)]
pub(super) struct Live {
    http: reqwest::Client,
    cookie: String,
    pub(super) content: ServiceContent,
    pub(super) collector: MoRef,
    /// The user as the server names it in tasks.
    pub(super) user: String,
}

#[derive(Debug)]
pub(super) struct Session {
    profile: Arc<ProviderProfile>,
    options: DriverOptions,
    endpoint: String,
    /// Held during a login, so that concurrent calls make one.
    live: Mutex<Option<Arc<Live>>>,
}

impl Session {
    pub(super) fn new(profile: Arc<ProviderProfile>, options: DriverOptions) -> Self {
        let endpoint =
            if profile.api_url.is_empty() { format!("https://{}/sdk", profile.fqdn) } else { profile.api_url.clone() };
        Self { profile, options, endpoint, live: Mutex::new(None) }
    }

    pub(super) fn profile_name(&self) -> &str {
        &self.profile.name
    }

    pub(super) fn unreachable(&self, cause: impl Into<String>) -> SourceError {
        SourceError::Unreachable {
            profile: self.profile.name.clone(),
            endpoint: self.endpoint.clone(),
            cause: cause.into(),
        }
    }

    pub(super) fn failed(&self, what: impl Into<String>, error: CallError) -> SourceError {
        match error {
            CallError::Source(error) => error,
            CallError::Fault(fault) => self.refused(what, fault.to_string()),
        }
    }

    pub(super) fn refused(&self, what: impl Into<String>, cause: impl Into<String>) -> SourceError {
        SourceError::Operation { profile: self.profile.name.clone(), what: what.into(), cause: cause.into() }
    }

    /// The session, logged in where it is not yet.
    pub(super) async fn live(&self) -> Result<Arc<Live>, SourceError> {
        let mut slot = self.live.lock().await;
        if let Some(live) = slot.as_ref() {
            return Ok(live.clone());
        }
        let live = Arc::new(self.login().await?);
        *slot = Some(live.clone());
        Ok(live)
    }

    /// Logs in anew.
    pub(super) async fn connect(&self) -> Result<Arc<Live>, SourceError> {
        self.disconnect().await;
        self.live().await
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
        if let Some(manager) = &live.content.session_manager {
            // Best effort: the server ends idle sessions by itself.
            let _ = self.post(&live, op::logout(manager), Duration::ZERO).await;
        }
    }

    async fn client(&self) -> Result<reqwest::Client, SourceError> {
        let builder = http::builder(&self.profile, &self.options, &self.endpoint).await;
        let client = builder.map_err(|e| self.unreachable(e))?.http1_only().build();
        client.map_err(|e| self.unreachable(http::cause(&e)))
    }

    async fn login(&self) -> Result<Live, SourceError> {
        let http = self.client().await?;
        let (values, _) = self
            .exchange(&http, "", None, op::retrieve_service_content(), Duration::ZERO)
            .await
            .map_err(|e| self.failed("read what the server is", e))?;
        let content = ServiceContent::parse(&values)
            .ok_or_else(|| self.unreachable("the server does not answer as a vSphere server does"))?;
        let manager = content.session_manager.clone().ok_or_else(|| self.unreachable("no session manager"))?;
        let login = &self.profile.login;
        let body = op::login(&manager, &login.username, login.password.expose_secret());
        let (values, cookie) =
            self.exchange(&http, "", Some(&content.api_version), body, Duration::ZERO).await.map_err(|e| match e {
                CallError::Fault(fault) => SourceError::Login {
                    profile: self.profile.name.clone(),
                    endpoint: self.endpoint.clone(),
                    username: login.username.clone(),
                    cause: fault.to_string(),
                },
                CallError::Source(error) => error,
            })?;
        let user = values.first().and_then(|s| s.text_at("userName")).unwrap_or(&login.username).to_owned();
        let cookie = cookie.ok_or_else(|| self.unreachable("the login was answered without a session cookie"))?;
        Ok(Live { http, cookie, collector: content.property_collector.clone(), content, user })
    }

    /// One POST in its own span, which names the operation and nothing of its arguments.
    async fn exchange(
        &self,
        http: &reqwest::Client,
        cookie: &str,
        api_version: Option<&str>,
        body: String,
        extra: Duration,
    ) -> Result<(Vec<Element>, Option<String>), CallError> {
        let operation = operation(&body).to_owned();
        let span = tracing::info_span!(
            "soap",
            otel.name = operation,
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            rpc.system = "soap",
            rpc.method = operation,
            mtv_matrix.profile = self.profile.name,
        );
        let answer = self.send(http, cookie, api_version, body, extra).instrument(span.clone()).await;
        if answer.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        answer
    }

    /// `extra` is added to the request's bound, for long polls.
    async fn send(
        &self,
        http: &reqwest::Client,
        cookie: &str,
        api_version: Option<&str>,
        body: String,
        extra: Duration,
    ) -> Result<(Vec<Element>, Option<String>), CallError> {
        let mut request = http
            .post(&self.endpoint)
            .header("SOAPAction", vim::soap_action(api_version))
            .header("Content-Type", vim::CONTENT_TYPE)
            .timeout(self.options.timeouts.request + extra)
            .body(body);
        if !cookie.is_empty() {
            request = request.header("Cookie", cookie);
        }
        let answer = request.send().await.map_err(|e| self.unreachable(http::cause(&e)))?;
        let status = answer.status().as_u16();
        let cookie = answer.headers().get_all("set-cookie").iter().find_map(|value| {
            let pair = value.to_str().ok()?.split(';').next()?.trim();
            pair.starts_with("vmware_soap_session=").then(|| pair.to_owned())
        });
        let bytes = answer.bytes().await.map_err(|e| self.unreachable(http::cause(&e)))?;
        match vim::returned(status, &bytes) {
            Ok(values) => Ok((values, cookie)),
            Err(WireError::Fault(fault)) => Err(CallError::Fault(fault)),
            Err(error) => Err(self.unreachable(error.to_string()).into()),
        }
    }

    /// One call on this very session, without renewal.
    pub(super) async fn post(&self, live: &Live, body: String, extra: Duration) -> Result<Vec<Element>, CallError> {
        let version = Some(live.content.api_version.as_str());
        self.exchange(&live.http, &live.cookie, version, body, extra).await.map(|(values, _)| values)
    }

    /// One call; a session that the server has ended is renewed once. A refused call did nothing,
    /// so that every operation may be repeated then. `make` gets the session, whose objects
    /// (collector, managers) go into the request.
    pub(super) async fn call(&self, make: impl Fn(&Live) -> String) -> Result<Vec<Element>, CallError> {
        let live = self.live().await?;
        match self.post(&live, make(&live), Duration::ZERO).await {
            Err(error) if error.is("NotAuthenticated") => {
                self.forget(&live).await;
                let live = self.live().await?;
                self.post(&live, make(&live), Duration::ZERO).await
            }
            other => other,
        }
    }

    /// Drops a session that turned out to be dead in the middle of several calls.
    pub(super) async fn renew(&self, dead: &Arc<Live>) -> Result<Arc<Live>, SourceError> {
        self.forget(dead).await;
        self.live().await
    }

    /// Reads properties, all pages.
    pub(super) async fn read(&self, spec: &FilterSpec<'_>) -> Result<Vec<ObjectContent>, CallError> {
        let first = self.call(|live| op::retrieve_properties(&live.collector, spec, Some(PAGE))).await?;
        let (mut objects, mut token) = property::page(&first);
        while let Some(next) = token {
            let values = self.call(|live| op::continue_retrieve(&live.collector, &next)).await?;
            let (more, following) = property::page(&values);
            objects.extend(more);
            token = following;
        }
        Ok(objects)
    }

    /// Reads every object of some kinds in the inventory.
    pub(super) async fn list(&self, props: Vec<property::PropertySpec<'_>>) -> Result<Vec<ObjectContent>, CallError> {
        let kinds: Vec<&str> = props.iter().map(|p| p.kind).collect();
        let manager =
            |live: &Live| live.content.view_manager.clone().unwrap_or_else(|| MoRef::new("ViewManager", "ViewManager"));
        let values =
            self.call(|live| op::create_container_view(&manager(live), &live.content.root_folder, &kinds)).await?;
        let view = envelope::reference("CreateContainerView", values)
            .map_err(|e| CallError::Source(self.unreachable(e.to_string())))?;
        let read = self.read(&FilterSpec { props, select: property::Select::View(&view) }).await;
        // The view would live as long as the session; failing to drop it harms nobody.
        let _ = self.call(|_| op::destroy_view(&view)).await;
        read
    }
}
