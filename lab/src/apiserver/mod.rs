//! The embedded API server: the Kubernetes API in memory, well enough for kube-rs, kubectl and
//! other clients.
//!
//! It knows how an API server behaves (`store`, `write`, `watch`, `patch`, `apply`, `gc`) and which
//! resources there are (`builtin`). It does not know what controllers make of them: those are
//! clients, over HTTPS or, inside the process, over the same router without TLS.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::body::Body;
use http::Request;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::serve::{self, Endpoint};
use crate::error::LabError;
use crate::faults::At;
use crate::pki::LabCa;
use crate::ports::{KubevirtSubresources, PodPorts};
use crate::uploads::UploadTokens;

mod apply;
mod auth;
mod budgets;
mod builtin;
mod classes;
mod columns;
mod containers;
mod defaults;
mod discovery;
mod ends;
mod error;
mod events;
mod forward;
mod gc;
mod kept;
mod logs;
mod managers;
mod metrics;
mod oauth;
mod openapi;
mod options;
mod paging;
mod patch;
mod prepare;
mod project_requests;
mod protobuf;
mod proxy;
mod quota;
mod rbac;
mod render;
mod request;
mod resource_handlers;
mod resources;
mod router;
mod rules;
mod scale;
mod schema;
mod selectors;
mod spdy;
mod store;
pub(super) mod subresources;
mod table;
#[cfg(test)]
mod tests;
mod validate;
mod watch;
mod webhooks;
mod websocket;
mod write;
mod written;

pub(crate) use logs::LOG_ANNOTATION;
pub(crate) use schema::QUANTITY;

/// A struct of Kubernetes' own by its short name (`core.v1.Affinity`), as a CustomResourceDefinition
/// writes it out.
pub(crate) fn native_shape(name: &str) -> Option<serde_json::Value> {
    schema::written_out(name)
}

/// Namespaces that every cluster starts with.
const FIRST_NAMESPACES: [&str; 2] = ["default", "kube-system"];

/// How the server is started.
pub struct ApiServerOptions {
    /// By which its port is remembered.
    pub part: &'static str,
    pub listen: IpAddr,
    /// 0 picks a free one.
    pub port: u16,
    /// e.g. `v1.33.5`.
    pub kubernetes_version: String,
    /// Names and passwords for the OAuth login.
    pub users: Vec<(String, String)>,
    /// A cluster-admin bearer token.
    pub token: String,
    /// May also come later, by [`ApiServer::set_subresources`].
    pub subresources: Option<Arc<dyn KubevirtSubresources>>,
    /// Where the service proxy finds `openshift-mtv/forklift-inventory`; may also come later, by
    /// [`ApiServer::set_service_proxy`].
    pub inventory: Option<SocketAddr>,
    /// How the wire to its clients breaks; its own client is inside.
    pub faults: At,
}

/// One object, by name, for telling what stands in the lab.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectSummary {
    pub api_version: String,
    pub kind: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// Marks requests that do not come from outside: they need no token and are not counted.
#[derive(Clone, Copy)]
struct InProcess {
    /// Answers and watches leave `metadata.managedFields` out.
    bare: bool,
}

/// Everything that a request may need.
struct State {
    store: store::Store,
    registry: resources::Registry,
    auth: auth::Auth,
    url: String,
    kubernetes_version: String,
    subresources: RwLock<Option<Arc<dyn KubevirtSubresources>>>,
    backends: RwLock<HashMap<(String, String), Arc<proxy::Backend>>>,
    pod_ports: RwLock<Option<Arc<dyn PodPorts>>>,
    requests: AtomicU64,
    webhook_clients: webhooks::Clients,
    tasks: TaskTracker,
    containers: containers::Remembered,
    uploads: Arc<UploadTokens>,
}

impl State {
    fn subresources(&self) -> Option<Arc<dyn KubevirtSubresources>> {
        self.subresources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn pod_ports(&self) -> Option<Arc<dyn PodPorts>> {
        self.pod_ports.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn backend(&self, namespace: &str, service: &str) -> Option<Arc<proxy::Backend>> {
        let backends = self.backends.read().unwrap_or_else(PoisonError::into_inner);
        backends.get(&(namespace.to_owned(), service.to_owned())).cloned()
    }
}

/// A running API server; dropping it stops it, [`ApiServer::stop`] also waits.
pub struct ApiServer {
    state: Arc<State>,
    endpoint: Endpoint,
}

fn failed(cause: impl std::fmt::Display) -> LabError {
    LabError::Start { part: "API server".to_owned(), cause: cause.to_string() }
}

impl ApiServer {
    pub async fn start(options: ApiServerOptions, ca: &LabCa) -> Result<Self, LabError> {
        let listener = serve::bind(options.part, options.listen, options.port).await?;
        let address = listener.local_addr().map_err(failed)?;
        let (store, inbox) = store::Store::new();
        let state = Arc::new(State {
            store,
            registry: resources::Registry::builtin(),
            auth: auth::Auth::new(options.users, options.token),
            url: format!("https://{}", SocketAddr::new(reachable(address.ip()), address.port())),
            kubernetes_version: options.kubernetes_version,
            subresources: RwLock::new(options.subresources),
            backends: RwLock::default(),
            pod_ports: RwLock::default(),
            requests: AtomicU64::new(0),
            webhook_clients: webhooks::Clients::default(),
            tasks: TaskTracker::new(),
            containers: containers::Remembered::default(),
            uploads: Arc::default(),
        });
        state.tasks.spawn(gc::run(state.clone(), inbox));
        let namespaces = state.registry.find("", "v1", "namespaces").ok_or_else(|| failed("no namespaces"))?;
        for name in FIRST_NAMESPACES {
            state
                .create(
                    &namespaces,
                    None,
                    json!({"metadata": {"name": name}}),
                    &write::Write::inside(write::Verb::Create),
                )
                .map_err(failed)?;
        }
        let names = ["localhost", "127.0.0.1", "kubernetes.default.svc", &reachable(address.ip()).to_string()]
            .map(str::to_owned);
        let service = state.clone();
        let router = Router::new().fallback(move |request: Request<Body>| router::handle(service.clone(), request));
        let endpoint = serve::https_with("API server", listener, ca.server_config(&names)?, router, &options.faults)?;
        let server = Self { state, endpoint };
        if let Some(inventory) = options.inventory {
            let url = format!("https://{inventory}");
            server.set_service_proxy("openshift-mtv", "forklift-inventory", url, ca.ca_pem().to_owned());
        }
        Ok(server)
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.state.url.clone()
    }

    /// A client inside the process: the same router without TLS, as cluster admin.
    pub fn client(&self) -> kube::Client {
        self.inside(InProcess { bare: false })
    }

    /// Likewise, for who never looks at `metadata.managedFields`: a third of an object, and the lab's controllers are told
    /// of each change of each object. What such a client writes without them keeps those that there are.
    pub fn controllers_client(&self) -> kube::Client {
        self.inside(InProcess { bare: true })
    }

    fn inside(&self, mark: InProcess) -> kube::Client {
        let state = self.state.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let state = state.clone();
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(mark);
                Ok::<_, std::convert::Infallible>(router::handle(state, request).await)
            }
        });
        kube::Client::new(service, "default")
    }

    /// Late binding, because KubeVirt needs a client first.
    pub fn set_subresources(&self, hook: Arc<dyn KubevirtSubresources>) {
        *self.state.subresources.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// By which the upload proxy knows who may fill a claim.
    pub fn upload_tokens(&self) -> Arc<UploadTokens> {
        self.state.uploads.clone()
    }

    /// What port-forwards to pods lead to; late, for the same reason.
    pub fn set_pod_ports(&self, ports: Arc<dyn PodPorts>) {
        *self.state.pod_ports.write().unwrap_or_else(PoisonError::into_inner) = Some(ports);
    }

    /// Where `GET /api/v1/namespaces/NS/services/https:NAME:PORT/proxy/PATH` goes. `ca_pem` signed
    /// the certificate of `base_url`.
    pub fn set_service_proxy(&self, namespace: &str, service: &str, base_url: String, ca_pem: String) {
        let certificates = reqwest::Certificate::from_pem_bundle(ca_pem.as_bytes()).unwrap_or_default();
        // Its own proxy settings and roots are no business of the lab's.
        let builder =
            reqwest::Client::builder().user_agent(super::faults::OWN_AGENT).no_proxy().tls_certs_only(certificates);
        let client = match builder.build() {
            Ok(client) => client,
            Err(e) => {
                tracing::warn!("no proxy for service {namespace}/{service}: {e}");
                return;
            }
        };
        let backend = Arc::new(proxy::Backend { base_url, client });
        let mut backends = self.state.backends.write().unwrap_or_else(PoisonError::into_inner);
        backends.insert((namespace.to_owned(), service.to_owned()), backend);
    }

    /// Every object, ordered by resource, namespace and name.
    pub fn snapshot(&self) -> Vec<ObjectSummary> {
        let summary = |object: &serde_json::Value| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
            ObjectSummary {
                api_version: text(&object["apiVersion"]),
                kind: text(&object["kind"]),
                namespace: text(&object["metadata"]["namespace"]),
                name: text(&object["metadata"]["name"]),
                labels: labels.map(|(k, v)| (k.clone(), text(v))).collect(),
            }
        };
        self.state.store.everything().iter().map(|(_, object)| summary(object)).collect()
    }

    /// Every object as it is stored.
    pub fn objects(&self) -> Vec<Arc<serde_json::Value>> {
        self.state.store.everything().into_iter().map(|(_, object)| object).collect()
    }

    /// Requests from outside since the start.
    pub fn request_count(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Forgets the history of changes, as a compaction of etcd does: watches from an older
    /// version get 410.
    pub fn compact(&self) {
        self.state.store.compact();
    }

    /// Ends every watch and connection, and waits for all tasks.
    pub async fn stop(&self) {
        self.state.store.stop.cancel();
        self.endpoint.stop().await;
        self.state.tasks.close();
        self.state.tasks.wait().await;
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.state.store.stop.cancel();
    }
}

/// An address that clients can dial: loopback where the server listens on all addresses.
fn reachable(address: IpAddr) -> IpAddr {
    if address.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { address }
}
