//! OpenShift's Routes, and one object read as its type or why it is not there.

use kube::api::ApiResource;
use serde::de::DeserializeOwned;

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
    K: kube::Resource<DynamicType = ()> + DeserializeOwned,
{
    let there = find::<K, K>(cluster, namespace, name).await?;
    there.ok_or_else(|| ReadError::Missing { what: described::<K>(namespace, name) })
}

/// The object of kind `K` as it stands, read as `T`, or `None`: of what the run has made as its own watch tells it, without a request.
pub(super) async fn find<K, T: DeserializeOwned>(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<T>, ReadError>
where
    K: kube::Resource<DynamicType = ()>,
{
    let kind = ApiResource::erase::<K>(&());
    let unreadable = |error| ReadError::unreadable(described::<K>(namespace, name), error);
    if let Some(seen) = cluster.hub().seen(&kind, namespace, name) {
        return seen.read().map(Some).map_err(unreadable);
    }
    let failed = |e: kube::Error| ReadError::failed(described::<K>(namespace, name), retry::short(&e));
    let found = read(&dynamic_api(cluster, &kind, namespace), name).await.map_err(failed)?;
    let parsed = found.map(|mut found| {
        // Who wrote which field is nobody's business here.
        found.metadata.managed_fields = None;
        wait::parse(&found, &kind)
    });
    parsed.transpose().map_err(unreadable)
}

/// The object as it stands, every field of it but who wrote which, or `None`.
pub async fn whole<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<serde_json::Value>, ReadError>
where
    K: kube::Resource<DynamicType = ()>,
{
    find::<K, serde_json::Value>(cluster, namespace, name).await
}

/// Every object of these kinds in a namespace that a label selector finds, whole. A kind that this cluster does
/// not have has none.
pub async fn marked(
    cluster: &Cluster,
    namespace: &str,
    selector: &str,
    kinds: &[ApiResource],
) -> Result<Vec<serde_json::Value>, ReadError> {
    let params = kube::api::ListParams::default().labels(selector);
    let mut found = Vec::new();
    for kind in kinds {
        let what = || format!("{} in {namespace}", kind.plural);
        let list = match dynamic_api(cluster, kind, Some(namespace)).list(&params).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(ReadError::failed(what(), retry::short(&error))),
        };
        for mut object in list.items {
            // A list says the kind once, for all.
            object
                .types
                .get_or_insert(kube::core::TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
            // That it is there is all that is asked of it: what it holds goes no further.
            if matches!(kind.kind.as_str(), "Secret" | "ConfigMap") {
                object.data = serde_json::Value::Object(serde_json::Map::new());
            }
            found.push(serde_json::to_value(object).map_err(|error| ReadError::unreadable(what(), error))?);
        }
    }
    Ok(found)
}

fn described<K: kube::Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> String {
    format!("{} {}", K::kind(&()), namespace.map_or(name.to_owned(), |ns| format!("{ns}/{name}")))
}
