//! OpenShift's Routes, and one object read as its type or why it is not there.

use kube::api::{ApiResource, DynamicObject};

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
    let what = || described::<K>(namespace, name);
    let there = find::<K>(cluster, namespace, name).await?.ok_or_else(|| ReadError::Missing { what: what() })?;
    wait::parse::<K>(&there, &ApiResource::erase::<K>(&())).map_err(|e| ReadError::unreadable(what(), e))
}

/// The object as it stands, or `None`.
pub(super) async fn find<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<DynamicObject>, ReadError>
where
    K: kube::Resource<DynamicType = ()>,
{
    let api = dynamic_api(cluster, &ApiResource::erase::<K>(&()), namespace);
    let failed = |e: kube::Error| ReadError::failed(described::<K>(namespace, name), retry::short(&e));
    read(&api, name).await.map_err(failed)
}

fn described<K: kube::Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> String {
    format!("{} {}", K::kind(&()), namespace.map_or(name.to_owned(), |ns| format!("{ns}/{name}")))
}
