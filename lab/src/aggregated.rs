//! KubeVirt's subresources as an aggregated API: what virt-api is to a real cluster. The API server
//! authenticates and authorizes, then forwards; WebSockets go through it, too.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{Request, StatusCode};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::apiserver::subresources::{GROUP, Serving, resource_list, respond};
use super::outside::{FIELD_MANAGER, soon};
use super::serve::{self, Endpoint};
use crate::error::LabError;
use crate::pki::LabCa;
use crate::ports::KubevirtSubresources;

const VERSION: &str = "v1";
const NAMESPACE: &str = "openshift-cnv";
const SERVICE: &str = "virt-api";

/// The running server, and its registration.
pub struct Aggregated {
    client: kube::Client,
    endpoint: Endpoint,
    serving: Serving,
}

fn failed(cause: impl std::fmt::Display) -> LabError {
    LabError::Start { part: "aggregated API".to_owned(), cause: cause.to_string() }
}

impl Aggregated {
    /// Listens, registers, and waits until the API server finds it available.
    pub async fn start(
        client: kube::Client,
        hook: Arc<dyn KubevirtSubresources>,
        ca: &LabCa,
        listen: IpAddr,
    ) -> Result<Self, LabError> {
        let serving = Serving { hook, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let listener = serve::bind("aggregated API", listen, 0).await?;
        // The aggregator dials the address but verifies the service's name.
        let tls = ca.server_config(&[format!("{SERVICE}.{NAMESPACE}.svc"), "localhost".to_owned()])?;
        let router = {
            let serving = serving.clone();
            Router::new().fallback(move |request: Request<Body>| answer(serving.clone(), request))
        };
        let endpoint = serve::https("aggregated API", listener, tls, router)?;
        let aggregated = Self { client, endpoint, serving };
        aggregated.register(ca).await?;
        Ok(aggregated)
    }

    async fn register(&self, ca: &LabCa) -> Result<(), LabError> {
        let port = self.endpoint.port();
        // A name outside of the cluster is the one way from a Service to loopback.
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"name": "https", "port": port}]}});
        let force = PatchParams::apply(FIELD_MANAGER).force();
        let services: Api<k8s_openapi::api::core::v1::Service> = Api::namespaced(self.client.clone(), NAMESPACE);
        services.patch(SERVICE, &force, &Patch::Apply(&service)).await.map_err(failed)?;
        let registration = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": registration_name()},
            "spec": {"group": GROUP, "version": VERSION, "groupPriorityMinimum": 1000, "versionPriority": 15,
                "caBundle": base64::engine::general_purpose::STANDARD.encode(ca.ca_pem()),
                "service": {"name": SERVICE, "namespace": NAMESPACE, "port": port}}});
        let api = registrations(&self.client);
        api.patch(&registration_name(), &force, &Patch::Apply(&registration)).await.map_err(failed)?;
        let available = || async {
            let found = api.get_opt(&registration_name()).await.ok().flatten()?;
            let conditions = found.data.pointer("/status/conditions")?.as_array()?;
            conditions.iter().any(|c| c["type"] == "Available" && c["status"] == "True").then_some(())
        };
        soon("the API server to find KubeVirt's subresources", available).await
    }

    /// Takes the registration back: without its server it would break discovery.
    pub async fn stop(&self) {
        if let Err(error) = registrations(&self.client).delete(&registration_name(), &DeleteParams::default()).await {
            tracing::debug!(%error, "the aggregated API is still registered");
        }
        self.serving.stop.cancel();
        self.serving.tasks.close();
        self.serving.tasks.wait().await;
        self.endpoint.stop().await;
    }
}

fn registration_name() -> String {
    format!("{VERSION}.{GROUP}")
}

fn registrations(client: &kube::Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, "apiservices"))
}

async fn answer(serving: Serving, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["apis"] => Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]})).into_response(),
        ["apis", GROUP] => Json(group()).into_response(),
        ["apis", GROUP, VERSION] => Json(resource_list(VERSION)).into_response(),
        ["apis", GROUP, VERSION, "namespaces", namespace, rest @ ..] => {
            respond(&serving, namespace, rest, request).await
        }
        _ => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

fn group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version})
}
