//! The vSphere endpoint (SOAP): the world in the words of vim25, as vCenter 8.0.3 speaks it.
//!
//! Knows the wire and the world; knows nothing of who is asking. Standard clients (pyVmomi, govc,
//! MTV's collector) are expected to work against it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::clock::Clock;
use super::super::serve::{self, Endpoint};
use crate::error::LabError;
use crate::faults::At;
use crate::levers::Levers;
use crate::pki::LabCa;
use crate::world::World;

pub mod agent;
mod browse;
mod collect;
mod collector;
mod dispatch;
mod events;
mod fault;
mod folders;
mod guest;
mod histories;
mod operations;
pub mod platform;
mod rest;
mod session;
mod spec;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod xml;

use agent::Agent;
use dispatch::Service;

/// How the endpoint is served.
pub struct VsphereOptions {
    pub listen: IpAddr,
    /// 0 picks a free one.
    pub port: u16,
    pub username: String,
    pub password: String,
    pub clock: Clock,
    pub faults: At,
    pub levers: Levers,
    /// A host's own API instead of vCenter's.
    pub agent: Option<Agent>,
}

/// A running endpoint.
pub struct VsphereEndpoint {
    endpoint: Endpoint,
    url: String,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl VsphereEndpoint {
    /// `https://127.0.0.1:PORT/sdk`
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Ends every connection and every running task, and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.endpoint.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for VsphereEndpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves `world` over HTTPS with a certificate of the lab's CA.
pub async fn start(world: Arc<World>, options: VsphereOptions, ca: &LabCa) -> Result<VsphereEndpoint, LabError> {
    let part = "vSphere";
    let tls = ca.server_config(&[options.listen.to_string(), "localhost".to_owned()])?;
    let listener = serve::bind(part, options.listen, options.port).await?;
    let (listen, faults) = (options.listen, options.faults.clone());
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let service = Arc::new(Service::new(world, options, stop.clone(), tasks.clone()));
    let endpoint = serve::https_with(part, listener, tls, router(service), &faults)?;
    let url = format!("https://{}/sdk", std::net::SocketAddr::new(listen, endpoint.port()));
    Ok(VsphereEndpoint { endpoint, url, stop, tasks })
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/sdk", post(soap))
        .route("/sdk/", post(soap))
        .route("/sdk/vimServiceVersions.xml", get(versions))
        .route("/sdk/vimService.wsdl", get(wsdl))
        .merge(rest::routes())
        .layer(axum::extract::DefaultBodyLimit::max(16 << 20))
        .with_state(service)
}

const SESSION_COOKIE: &str = "vmware_soap_session";

/// The session id of the cookie; quotes and attributes are dropped.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|text| text.split(';'))
        .filter_map(|part| part.trim().split_once('='))
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .filter(|value| !value.is_empty())
}

async fn soap(Extract(service): Extract<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    service.world.count_request();
    let mut asked = String::from_utf8_lossy(&body).into_owned();
    if let Some(agent) = &service.options.agent {
        asked = agent.inward(&asked);
    }
    let outcome = match xml::method(&asked) {
        Ok(method) => service.call(cookie(&headers), &method).await.map(|answer| (method.name, answer)),
        Err(cause) => Err(fault::fault("InvalidRequest", format!("The request is not understood: {cause}"))),
    };
    let (status, body, new_session) = match outcome {
        Ok((method, answer)) => {
            let body = format!("<{method}Response xmlns=\"urn:vim25\">{}</{method}Response>", answer.xml);
            (StatusCode::OK, body, answer.session)
        }
        Err(fault) => (StatusCode::INTERNAL_SERVER_ERROR, fault.xml(), None),
    };
    let body = match &service.options.agent {
        Some(agent) => agent.outward(&body),
        None => body,
    };
    let mut response =
        (status, [(header::CONTENT_TYPE, "text/xml; charset=utf-8")], xml::envelope(&body)).into_response();
    let cookie = new_session.map(|key| format!("{SESSION_COOKIE}=\"{key}\"; Path=/; HttpOnly; Secure"));
    if let Some(value) = cookie.and_then(|text| text.parse().ok()) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

async fn versions() -> Response {
    let prior: String =
        ["8.0.2.0", "8.0.1.0", "8.0.0.1", "7.0.3.2", "7.0.3.0", "7.0.0.0", "6.9.1", "6.8.7", "6.7.3", "6.7", "6.5"]
            .iter()
            .map(|version| format!("<version>{version}</version>"))
            .collect();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<namespaces version=\"1.0\"><namespace><name>urn:vim25</name>\
         <version>{}</version><priorVersions>{prior}</priorVersions></namespace></namespaces>",
        tree::API_VERSION
    );
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], body).into_response()
}

async fn wsdl() -> Response {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<definitions targetNamespace=\"urn:vim25Service\" \
                xmlns=\"http://schemas.xmlsoap.org/wsdl/\"><import location=\"vim.wsdl\" namespace=\"urn:vim25\"/>\
                </definitions>";
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], body).into_response()
}
