//! OpenShift's Routes, and one object read as its type or why it is not there.

use kube::api::ApiResource;

use super::apply::{dynamic_api, read};
use crate::api::openshift::Route;
use crate::cluster::{Cluster, ReadError, retry, wait};

/// `https://HOST` of a Route, without a trailing slash. The host may carry a port.
pub async fn route_url(cluster: &Cluster, namespace: &str, name: &str) -> Result<String, ReadError> {
    let route: Route = get(cluster, Some(namespace), name).await?;
    if route.spec.host.is_empty() {
        return Err(ReadError::Incomplete { what: format!("Route {namespace}/{name}"), lacks: "host yet" });
    }
    Ok(format!("https://{}", route.spec.host))
}

/// The object of this kind and name; `Err` says that it is not there, or why it can't be read.
pub(crate) async fn get<K>(cluster: &Cluster, namespace: Option<&str>, name: &str) -> Result<K, ReadError>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned,
{
    let kind = ApiResource::erase::<K>(&());
    let thing = format!("{} {}", kind.kind, namespace.map_or(name.to_owned(), |ns| format!("{ns}/{name}")));
    match read(&dynamic_api(cluster, &kind, namespace), name).await {
        Ok(Some(there)) => wait::parse::<K>(&there, &kind).map_err(|e| ReadError::unreadable(thing, e)),
        Ok(None) => Err(ReadError::Missing { what: thing }),
        Err(error) => Err(ReadError::failed(thing, retry::short(&error))),
    }
}
