//! The OpenStack endpoint: Keystone, Nova, Cinder, Glance and Neutron of one small cloud, on one port.
//!
//! Knows the wire and its own world; knows nothing of who is asking. Standard clients (openstacksdk,
//! gophercloud as MTV uses it) are expected to work against it: microversions, regular expressions
//! where Nova has them, exact names elsewhere, each service's own form of times and refusals.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;

use super::super::clock::Clock;
use crate::api::world::Source;
use model::State;
use wire::{Reply, Request, Service};

mod baseline;
mod boot;
mod cinder;
mod console;
mod extras;
mod glance;
mod keystone;
mod model;
mod neutron;
mod nova;
pub mod platform;
mod seed;
#[cfg(test)]
mod tests;
mod wire;

/// The cloud's one user and one project; the logins guard nothing.
const USER: &str = "mtv-admin";
const USER_ID: &str = "5c5d4b1f3f6e4d0c8a9d7f7a0f3b1c22";
const PASSWORD: &str = "lab-openstack";
const PROJECT: &str = "mtv";
const PROJECT_ID: &str = "0f6d2c7d8a8b4b1e9d5b3f0f6c1d2e33";
const REGION: &str = "RegionOne";
const CREDENTIAL_ID: &str = "7a1f8c5e2d3b4a6c9e8f7d6c5b4a3f21";
const CREDENTIAL_NAME: &str = "mtv-matrix";
const CREDENTIAL_SECRET: &str = "lab-openstack-credential";
const SECURITY_GROUP: &str = "c1d2e3f4-0000-4000-8000-000000000001";
/// Largest body of a request: an image that a client uploads in a test.
const BODY: usize = 64 << 20;

/// Simulated time that things take.
mod times {
    use std::time::Duration;

    pub const BUILD: Duration = Duration::from_secs(45);
    pub const STOP: Duration = Duration::from_secs(25);
    pub const START: Duration = Duration::from_secs(20);
    pub const DELETE: Duration = Duration::from_secs(15);
    pub const SNAPSHOT: Duration = Duration::from_secs(20);
    pub const VOLUME: Duration = Duration::from_secs(40);
    pub const BLANK: Duration = Duration::from_secs(10);
    pub const IMAGE: Duration = Duration::from_secs(60);
}

/// The cloud and its endpoint's address.
pub struct Cloud {
    state: Mutex<State>,
    clock: Clock,
    /// `https://127.0.0.1:PORT`
    base: String,
    requests: AtomicU64,
}

impl Cloud {
    fn new(source: &Source, clock: Clock, base: String) -> Self {
        Self { state: Mutex::new(seed::state(source)), clock, base, requests: AtomicU64::new(0) }
    }

    /// The state as it is now.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle(Instant::now());
        state
    }

    /// The moment at which `simulated` will have passed.
    fn after(&self, simulated: Duration) -> Instant {
        Instant::now() + self.clock.real(simulated)
    }
}

fn router(cloud: Arc<Cloud>) -> Router {
    Router::new().fallback(handle).layer(axum::extract::DefaultBodyLimit::max(BODY)).with_state(cloud)
}

async fn handle(
    Extract(cloud): Extract<Arc<Cloud>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> Response {
    cloud.requests.fetch_add(1, Ordering::Relaxed);
    answer(&cloud, &method, &uri, &headers, raw).into_response()
}

fn answer(cloud: &Cloud, method: &Method, uri: &Uri, headers: &HeaderMap, raw: Bytes) -> Reply {
    let segments: Vec<&str> = uri.path().split('/').filter(|s| !s.is_empty()).collect();
    let Some((service, path)) = segments.split_first().and_then(|(first, rest)| Some((Service::of(first)?, rest)))
    else {
        return Reply::empty(404);
    };
    let discovered = match service {
        Service::Identity => keystone::discovery(cloud, path),
        Service::Compute => nova::discovery(cloud, path),
        Service::Volume => cinder::discovery(cloud, path),
        Service::Image => glance::discovery(cloud, path),
        Service::Network => neutron::discovery(cloud, path),
    };
    if let Some(document) = discovered.filter(|_| method == Method::GET) {
        return document;
    }
    let query = uri.query().unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let version = match microversion(service, headers) {
        Ok(version) => version,
        Err(refused) => return *refused,
    };
    let body = if raw.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(&raw).unwrap_or_default() };
    let request = Request { method, path: path.to_vec(), query, headers, version, body, raw };
    let mut state = cloud.lock();
    if service == Service::Identity && path == ["v3", "auth", "tokens"] && *method == Method::POST {
        return keystone::login(cloud, &mut state, &request);
    }
    let token = headers.get("x-auth-token").and_then(|t| t.to_str().ok()).unwrap_or_default();
    match state.tokens.get(token) {
        Some(scoped) if *scoped || service == Service::Identity => {}
        _ => {
            let refused = Service::Identity.error(401, "The request you have made requires authentication.");
            return refused.with("www-authenticate", format!("Keystone uri=\"{}/identity\"", cloud.base));
        }
    }
    let reply = match service {
        Service::Identity => keystone::handle(cloud, &mut state, &request),
        Service::Compute => nova::handle(cloud, &mut state, &request),
        Service::Volume => cinder::handle(cloud, &mut state, &request),
        Service::Image => glance::handle(cloud, &mut state, &request),
        Service::Network => neutron::handle(cloud, &mut state, &request),
    };
    match service {
        Service::Compute => {
            let version = format!("2.{}", version.max(1));
            reply
                .with("openstack-api-version", format!("compute {version}"))
                .with("x-openstack-nova-api-version", version)
                .with("vary", "OpenStack-API-Version, X-OpenStack-Nova-API-Version")
        }
        Service::Volume => reply.with("openstack-api-version", format!("volume 3.{version}")),
        _ => reply,
    }
}

/// The minor number asked for; 0 where none was. One that is too new is refused.
fn microversion(service: Service, headers: &HeaderMap) -> Result<u32, Box<Reply>> {
    let header = |name: &str| headers.get(name).and_then(|h| h.to_str().ok());
    let (word, major, newest) = match service {
        Service::Compute => ("compute ", "2.", nova::NEWEST),
        Service::Volume => ("volume ", "3.", cinder::NEWEST),
        _ => return Ok(0),
    };
    let given = header("openstack-api-version").and_then(|v| v.strip_prefix(word));
    let legacy = || header("x-openstack-nova-api-version").filter(|_| service == Service::Compute);
    let Some(given) = given.or_else(legacy) else { return Ok(0) };
    if given == "latest" {
        return Ok(newest);
    }
    match given.strip_prefix(major).and_then(|minor| minor.parse().ok()) {
        Some(minor) if minor <= newest => Ok(minor),
        _ => {
            let message = format!(
                "Version {given} is not supported by the API. Minimum is {major}{} and maximum is {major}{newest}.",
                u32::from(service == Service::Compute)
            );
            Err(Box::new(service.error(406, &message)))
        }
    }
}
