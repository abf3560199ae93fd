//! Where MTV's inventory answers, and one authenticated GET there.

use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Service;
use kube::client::Body;
use serde_json::Value;

use crate::cluster::objects::routes::{get, route_url};
use crate::cluster::{Cluster, ReadError, retry};
use crate::net::Peer;

const INVENTORY: &str = "forklift-inventory";
const INVENTORY_PORT: u16 = 8443;

/// Where the inventory answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InventoryAddress {
    /// Base URL of the Route, without a trailing slash.
    Route(String),
    /// Path prefix of the Service behind the API server's proxy.
    Proxy(String),
}

/// The Route where OpenShift has one, else the Service through the API server's proxy.
pub async fn inventory_address(cluster: &Cluster, mtv_namespace: &str) -> Result<InventoryAddress, ReadError> {
    let no_route = match route_url(cluster, mtv_namespace, INVENTORY).await {
        Ok(url) => return Ok(InventoryAddress::Route(url)),
        Err(because) => because,
    };
    let service: Service = get(cluster, Some(mtv_namespace), INVENTORY).await.map_err(|no_service| {
        ReadError::NoWay { what: "MTV's inventory", first: no_route.into(), second: no_service.into() }
    })?;
    let ports = service.spec.and_then(|s| s.ports).unwrap_or_default();
    let port = ports.first().map_or(INVENTORY_PORT.into(), |p| p.port);
    Ok(InventoryAddress::Proxy(format!("/api/v1/namespaces/{mtv_namespace}/services/https:{INVENTORY}:{port}/proxy")))
}

/// An authenticated GET of `path` below the address: HTTP status and JSON (`null` when the body is none).
/// `Err`: no answer at all.
pub async fn get_json(
    cluster: &Cluster,
    peer: &Peer,
    address: &InventoryAddress,
    path: &str,
) -> Result<(u16, Value), ReadError> {
    let path = path.trim_start_matches('/');
    match address {
        InventoryAddress::Route(base) => {
            let fetched = cluster.get_route(peer, &format!("{base}/{path}"), &[]).await?;
            Ok((fetched.status.as_u16(), serde_json::from_slice(&fetched.body).unwrap_or(Value::Null)))
        }
        InventoryAddress::Proxy(prefix) => by_proxy(cluster, &format!("{prefix}/{path}")).await,
    }
}

async fn by_proxy(cluster: &Cluster, path: &str) -> Result<(u16, Value), ReadError> {
    let request = Request::get(path).body(Body::empty()).map_err(|e| ReadError::failed(path, e.to_string()))?;
    let failed = |e: &kube::Error| ReadError::failed(path, retry::short(e));
    let answer = cluster.client().send(request).await.map_err(|e| failed(&e))?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
