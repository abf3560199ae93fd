//! One logged-in session, shared by all calls of a profile: transport, login, renewal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tracing::Instrument;

use super::polls::Polls;
use crate::api::vim::op::{self, ServiceContent};
use crate::api::vim::property::{self, FilterSpec};
use crate::api::vim::{self, Element, Fault, MoRef, ObjectContent, WireError, envelope};
use crate::config::ProviderProfile;
use crate::net::{Failed, repeat};
use crate::source::http::{self, NoAnswer, Refusal};
use crate::source::slot::{Sessions, Slot, Tried};
use crate::source::{DriverOptions, SourceError};

/// Objects a page of a listing.
const PAGE: u32 = 500;

/// Why a call failed, before it is told to people.
pub(super) type CallError = http::CallError<Fault>;

impl Refusal for Fault {
    fn session_ended(&self) -> bool {
        self.is("NotAuthenticated")
    }
    fn failed(&self) -> Failed {
        Failed::Definite
    }
}

impl CallError {
    /// What a session holds (a view, a collector) ended with it: another session began between two calls.
    pub(super) fn of_a_session_before(&self) -> bool {
        matches!(self, Self::Refused(fault) if fault.is("ManagedObjectNotFound") && fault.text.contains("session["))
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        matches!(self, Self::Refused(fault) if fault.is(kind))
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
    made: Mutex<Made>,
}

/// What was made in a session and is used again: it goes with the session.
#[derive(Debug, Default)]
struct Made {
    /// Views of the whole inventory, by the kinds that they hold.
    views: HashMap<String, MoRef>,
    /// Collectors without a filter, which nobody uses.
    collectors: Vec<MoRef>,
}

impl Live {
    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A collector that is free.
    pub(super) fn free_collector(&self) -> Option<MoRef> {
        self.made().collectors.pop()
    }

    /// This one has no filter any more.
    pub(super) fn give_back(&self, collector: MoRef) {
        self.made().collectors.push(collector);
    }
}

#[derive(Debug)]
pub(super) struct Session {
    profile: Arc<ProviderProfile>,
    options: DriverOptions,
    endpoint: String,
    slot: Slot<Live>,
    pub(super) polls: Polls,
}

impl Session {
    pub(super) fn new(profile: Arc<ProviderProfile>, options: DriverOptions) -> Self {
        let endpoint =
            if profile.api_url.is_empty() { format!("https://{}/sdk", profile.fqdn) } else { profile.api_url.clone() };
        Self { slot: Slot::new(&profile.name), profile, options, endpoint, polls: Polls::default() }
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
            CallError::NoAnswer(error, _) => *error,
            CallError::Refused(fault) => self.refused(what, fault.to_string()),
        }
    }

    pub(super) fn refused(&self, what: impl Into<String>, cause: impl Into<String>) -> SourceError {
        SourceError::Operation { profile: self.profile.name.clone(), what: what.into(), cause: cause.into() }
    }

    /// A try that got no usable answer.
    fn no_answer(&self, none: NoAnswer) -> CallError {
        CallError::NoAnswer(Box::new(self.unreachable(none.cause)), none.failed)
    }

    async fn client(&self) -> Result<reqwest::Client, CallError> {
        let builder = http::builder(&self.profile, &self.options, &self.endpoint).await;
        let client = builder.map_err(|e| self.no_answer(e))?.http1_only().build();
        client.map_err(|e| self.no_answer(e.into()))
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
        let answer = request.send().await.map_err(|e| self.no_answer(e.into()))?;
        self.slot.peer().has_answered();
        let (status, failed) = (answer.status().as_u16(), Failed::of_answer(answer.status(), answer.headers()));
        let cookie = answer.headers().get_all("set-cookie").iter().find_map(|value| {
            let pair = value.to_str().ok()?.split(';').next()?.trim();
            pair.starts_with("vmware_soap_session=").then(|| pair.to_owned())
        });
        let bytes = answer.bytes().await.map_err(|e| self.no_answer(e.into()))?;
        match vim::returned(status, &bytes) {
            Ok(values) => Ok((values, cookie)),
            Err(WireError::Fault(fault)) => Err(CallError::Refused(fault)),
            // No envelope: a proxy before the server, or half an answer.
            Err(error) => {
                let failed = if (200..300).contains(&status) { Failed::Unknown(None) } else { failed };
                Err(CallError::NoAnswer(Box::new(self.unreachable(error.to_string())), failed))
            }
        }
    }

    /// One call on this very session, without renewal.
    pub(super) async fn post(&self, live: &Live, body: String, extra: Duration) -> Result<Vec<Element>, CallError> {
        let version = Some(live.content.api_version.as_str());
        self.exchange(&live.http, &live.cookie, version, body, extra).await.map(|(values, _)| values)
    }

    /// One call on this very session, repeated by the policy, without renewal.
    pub(super) async fn steady(&self, live: &Live, body: String, extra: Duration) -> Result<Vec<Element>, CallError> {
        let operation = operation(&body);
        let mut attempts =
            self.slot.peer().attempts(operation, repeat::soap(operation), self.options.timeouts.request + extra);
        loop {
            match self.post(live, body.clone(), extra).await {
                Err(error) if !error.session_ended() && attempts.again(error.failed(), || error.told()).await => {}
                other => return other,
            }
        }
    }

    /// One call, by the policy. `make` gets the session, whose objects (collector, managers) go into the
    /// request.
    pub(super) async fn call(&self, make: impl Fn(&Live) -> String + Send + Sync) -> Result<Vec<Element>, CallError> {
        let body = make(&*self.live().await?);
        let operation = operation(&body);
        let make = &make;
        let send = |live: Arc<Live>| async move { self.post(&live, make(&live), Duration::ZERO).await };
        self.calling(operation, repeat::soap(operation), send).await
    }

    /// Reads properties, all pages. A page that was lost can't be read again, the whole can.
    pub(super) async fn read(&self, spec: &FilterSpec<'_>) -> Result<Vec<ObjectContent>, CallError> {
        let timeout = self.options.timeouts.request;
        let mut attempts = self.slot.peer().attempts("RetrievePropertiesEx", repeat::Repeat::Safe, timeout);
        loop {
            match self.read_pages(spec).await {
                Err(error) if error.is_in_doubt() && attempts.again(error.failed(), || error.told()).await => {}
                other => return other,
            }
        }
    }

    async fn read_pages(&self, spec: &FilterSpec<'_>) -> Result<Vec<ObjectContent>, CallError> {
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

    /// Reads every object of some kinds in the inventory. A view that went with its session is made once more.
    pub(super) async fn list(&self, props: Vec<property::PropertySpec<'_>>) -> Result<Vec<ObjectContent>, CallError> {
        match self.list_once(props.clone()).await {
            Err(error) if error.of_a_session_before() => self.list_once(props).await,
            other => other,
        }
    }

    async fn list_once(&self, props: Vec<property::PropertySpec<'_>>) -> Result<Vec<ObjectContent>, CallError> {
        let kinds: Vec<&str> = props.iter().map(|p| p.kind).collect();
        let manager =
            |live: &Live| live.content.view_manager.clone().unwrap_or_else(|| MoRef::new("ViewManager", "ViewManager"));
        let known = self.live().await?.made().views.get(&kinds.join(",")).cloned();
        let view = match known {
            Some(view) => view,
            None => {
                let make = |live: &Live| op::create_container_view(&manager(live), &live.content.root_folder, &kinds);
                let values = self.call(make).await?;
                let view = envelope::reference("CreateContainerView", values)
                    .map_err(|e| CallError::Source(self.unreachable(e.to_string())))?;
                let before = self.live().await?.made().views.insert(kinds.join(","), view.clone());
                // Somebody else made one, too. It would live as long as the session; failing to drop it harms nobody.
                if let Some(before) = before {
                    let _ = self.call(|_| op::destroy_view(&before)).await;
                }
                view
            }
        };
        let read = self.read(&FilterSpec { props, select: property::Select::View(&view) }).await;
        if read.is_err() {
            self.live().await?.made().views.retain(|_, made| *made != view);
        }
        read
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
        let http = self.client().await?;
        let (values, _) = self.exchange(&http, "", None, op::retrieve_service_content(), Duration::ZERO).await?;
        let content = ServiceContent::parse(&values)
            .ok_or_else(|| self.unreachable("the server does not answer as a vSphere server does"))?;
        let manager = content.session_manager.clone().ok_or_else(|| self.unreachable("no session manager"))?;
        let login = &self.profile.login;
        let body = op::login(&manager, &login.username, login.password.expose_secret());
        let (values, cookie) =
            self.exchange(&http, "", Some(&content.api_version), body, Duration::ZERO).await.map_err(|e| match e {
                CallError::Refused(fault) => CallError::Source(SourceError::Login {
                    profile: self.profile.name.clone(),
                    endpoint: self.endpoint.clone(),
                    username: login.username.clone(),
                    cause: fault.to_string(),
                }),
                other => other,
            })?;
        let user = values.first().and_then(|s| s.text_at("userName")).unwrap_or(&login.username).to_owned();
        let cookie = cookie.ok_or_else(|| self.unreachable("the login was answered without a session cookie"))?;
        Ok(Live { http, cookie, collector: content.property_collector.clone(), content, user, made: Mutex::default() })
    }

    async fn logout(&self, live: &Live) {
        if let Some(manager) = &live.content.session_manager {
            let _ = self.post(live, op::logout(manager), Duration::ZERO).await;
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
