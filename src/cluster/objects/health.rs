//! Whether MTV is well, and where its inventory answers.

use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, ListParams};
use kube::client::Body;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::apply::{dynamic_api, read};
use crate::api::openshift::Route;
use crate::cluster::{Cluster, retry, wait};
use crate::config::Settings;

/// The deployments without which MTV migrates nothing (forklift.md §9.3).
const DEPLOYMENTS: [&str; 4] =
    ["forklift-controller", "forklift-api", "forklift-validation", "forklift-volume-populator-controller"];
const INVENTORY: &str = "forklift-inventory";
const INVENTORY_PORT: u16 = 8443;

/// One finding about the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub name: String,
    pub ok: bool,
    pub message: String,
}

impl Probe {
    fn new(name: impl Into<String>, result: Result<String, String>) -> Self {
        let (ok, message) = match result {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        Self { name: name.into(), ok, message }
    }
}

/// Where the inventory answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InventoryAddress {
    /// Base URL of the Route, without a trailing slash.
    Route(String),
    /// Path prefix of the Service behind the API server's proxy.
    Proxy(String),
}

/// MTV's deployments, its inventory, and the storage classes of the settings.
pub async fn probe_mtv(cluster: &Cluster, settings: &Settings) -> Vec<Probe> {
    let namespace = settings.mtv_namespace.as_str();
    let mut probes = Vec::new();
    for name in DEPLOYMENTS {
        probes.push(Probe::new(format!("deployment {name}"), deployment(cluster, namespace, name).await));
    }
    probes.push(Probe::new("inventory", inventory(cluster, namespace).await));
    for class in &settings.storage_class {
        probes.push(Probe::new(format!("storage class {class}"), storage_class(cluster, class).await));
    }
    if settings.storage_class.is_empty() {
        probes.push(Probe::new("default storage class", default_storage_class(cluster).await));
    }
    probes
}

/// The class that VMs get where none is named: the cluster's default for VMs, else its default.
pub async fn default_storage_class(cluster: &Cluster) -> Result<String, String> {
    const FOR_VMS: &str = "storageclass.kubevirt.io/is-default-virt-class";
    const FOR_ALL: &str = "storageclass.kubernetes.io/is-default-class";
    let classes = Api::<StorageClass>::all(cluster.client());
    let listed = classes.list(&ListParams::default()).await;
    let listed = listed.map_err(|e| format!("failed to list StorageClasses: {}", retry::short(&e)))?;
    let marked = |annotation: &str| {
        let is_default = |c: &&StorageClass| c.annotations().get(annotation).is_some_and(|v| v == "true");
        listed.items.iter().find(is_default).map(ResourceExt::name_any)
    };
    marked(FOR_VMS)
        .or_else(|| marked(FOR_ALL))
        .ok_or_else(|| "no StorageClass is the cluster's default; name one with `storage_class`".to_owned())
}

async fn deployment(cluster: &Cluster, namespace: &str, name: &str) -> Result<String, String> {
    let there: Deployment = get(cluster, Some(namespace), name).await?;
    let conditions = there.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().find(|c| c.type_.as_deref() == Some("Available")) {
        Some(c) if c.status.as_deref() == Some("True") => Ok("available".to_owned()),
        Some(c) => Err(format!("not available: {}", c.message.as_deref().unwrap_or("no reason given"))),
        None => Err("not available yet: it has no Available condition".to_owned()),
    }
}

async fn storage_class(cluster: &Cluster, class: &str) -> Result<String, String> {
    let there: StorageClass = get(cluster, None, class).await?;
    Ok(format!("provisioned by {}", there.provisioner))
}

async fn inventory(cluster: &Cluster, namespace: &str) -> Result<String, String> {
    let address = inventory_address(cluster, namespace).await?;
    match get_json(cluster, &address, "providers").await? {
        (200, _) => Ok(match address {
            InventoryAddress::Route(url) => format!("answers at {url}"),
            InventoryAddress::Proxy(path) => format!("answers through the API server at {path}"),
        }),
        (status, _) => Err(format!("answered HTTP {status}")),
    }
}

/// The Route where OpenShift has one, else the Service through the API server's proxy.
pub async fn inventory_address(cluster: &Cluster, mtv_namespace: &str) -> Result<InventoryAddress, String> {
    let no_route = match route_url(cluster, mtv_namespace, INVENTORY).await {
        Ok(url) => return Ok(InventoryAddress::Route(url)),
        Err(because) => because,
    };
    let service: Service = get(cluster, Some(mtv_namespace), INVENTORY)
        .await
        .map_err(|no_service| format!("MTV's inventory has no address: {no_route}; {no_service}"))?;
    let ports = service.spec.and_then(|s| s.ports).unwrap_or_default();
    let port = ports.first().map_or(INVENTORY_PORT.into(), |p| p.port);
    Ok(InventoryAddress::Proxy(format!("/api/v1/namespaces/{mtv_namespace}/services/https:{INVENTORY}:{port}/proxy")))
}

/// `https://HOST` of a Route, without a trailing slash. The host may carry a port.
pub async fn route_url(cluster: &Cluster, namespace: &str, name: &str) -> Result<String, String> {
    let route: Route = get(cluster, Some(namespace), name).await?;
    if route.spec.host.is_empty() {
        return Err(format!("Route {namespace}/{name} has no host yet"));
    }
    Ok(format!("https://{}", route.spec.host))
}

/// An authenticated GET of `path` below the address: HTTP status and JSON (`null` when the body is none).
/// `Err`: no answer at all.
pub async fn get_json(cluster: &Cluster, address: &InventoryAddress, path: &str) -> Result<(u16, Value), String> {
    let path = path.trim_start_matches('/');
    match address {
        InventoryAddress::Route(base) => by_route(cluster, &format!("{base}/{path}")).await,
        InventoryAddress::Proxy(prefix) => by_proxy(cluster, &format!("{prefix}/{path}")).await,
    }
}

async fn by_route(cluster: &Cluster, url: &str) -> Result<(u16, Value), String> {
    let mut token = cluster.token().await;
    let mut renewed = false;
    loop {
        let mut request = cluster.http().get(url);
        if let Some(token) = &token {
            request = request.bearer_auth(token.expose_secret());
        }
        let failed = |e: reqwest::Error| format!("failed to read {url}: {}", retry::chain(&e.without_url()));
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        if status == 401
            && !renewed
            && let Some(refused) = &token
            && let Some(fresh) = cluster.renewed_token(refused).await
        {
            token = Some(fresh);
            renewed = true;
            continue;
        }
        let body = answer.bytes().await.map_err(failed)?;
        return Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)));
    }
}

async fn by_proxy(cluster: &Cluster, path: &str) -> Result<(u16, Value), String> {
    let request = Request::get(path).body(Body::empty()).map_err(|e| format!("`{path}` is not a path: {e}"))?;
    let failed = |e: &kube::Error| format!("failed to read {path}: {}", retry::short(e));
    let answer = cluster.client().send(request).await.map_err(|e| failed(&e))?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

async fn get<K>(cluster: &Cluster, namespace: Option<&str>, name: &str) -> Result<K, String>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    let thing = format!("{} {}", kind.kind, namespace.map_or(name.to_owned(), |ns| format!("{ns}/{name}")));
    match read(&dynamic_api(cluster, &kind, namespace), name).await {
        Ok(Some(there)) => wait::parse::<K>(&there, &kind).map_err(|e| format!("{thing} can't be read: {e}")),
        Ok(None) => Err(format!("there is no {thing}")),
        Err(error) => Err(format!("failed to read {thing}: {}", retry::short(&error))),
    }
}
