//! Creating so that the API server refuses what it does not know.
//!
//! Without `fieldValidation=Strict` an unknown field is dropped in silence: an MTV that is older
//! than a field would run another Plan than the one that was asked for, and nobody would see it.

use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::Request;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::retry;

/// Retries of one create last this many request timeouts.
const RETRY_FACTOR: u32 = 3;

/// An object as JSON, with the type that typed objects leave out.
pub fn typed<K: Serialize>(object: &K, kind: &ApiResource) -> serde_json::Result<Value> {
    let mut body = serde_json::to_value(object)?;
    json_patch::merge(&mut body, &json!({ "apiVersion": kind.api_version, "kind": kind.kind }));
    Ok(body)
}

/// Creates, again while that may help: the name is fixed, so that a second one is answered 409. An unknown
/// or doubled field is a 400 that names it. `what` is for the log, `timeout` one request's.
pub async fn create(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    what: &str,
    timeout: Duration,
) -> kube::Result<DynamicObject> {
    retry::transient(what, timeout * RETRY_FACTOR, || once(api, object)).await
}

/// Like [`Api::create`], but strict.
async fn once(api: &Api<DynamicObject>, object: &DynamicObject) -> kube::Result<DynamicObject> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(api.resource_url());
    let mut request = request.create(&PostParams::default(), body).map_err(kube::Error::BuildRequest)?;
    // kube's PostParams have no word for it. What it builds ends in `?`, with or without parameters.
    let uri = format!("{}&fieldValidation=Strict", request.uri());
    let uri = uri.parse().map_err(|e: http::uri::InvalidUri| {
        kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(http::Error::from(e)))
    })?;
    *request.uri_mut() = uri;
    api.clone().into_client().request(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use kube::client::Body;
    use kube::core::GroupVersionKind;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn a_create_asks_for_strict_validation() {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = asked.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            let body = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}"#;
            async move { Ok::<_, tower::BoxError>(Response::new(Body::from(body.as_bytes().to_vec()))) }
        });
        let client = kube::Client::new(service, "default");
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
        let api: Api<DynamicObject> = Api::namespaced_with(client, "ns", &kind);
        let timeout = Duration::from_secs(1);
        create(&api, &DynamicObject::new("s", &kind), "create Secret ns/s", timeout).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["POST /api/v1/namespaces/ns/secrets?&fieldValidation=Strict"]);
    }
}
