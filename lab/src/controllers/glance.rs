//! Objects of which a part alone is looked at, or that are only written: the rest is not decoded, which for a pod or a
//! node is most of it. Knows nothing of what the part is for.

use http::HeaderValue;
use http::header::ACCEPT;
use kube::Resource;
use kube::api::{Api, DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A list, of whose items `T` is wanted.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct List<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Known {
    metadata: Uid,
}

#[derive(Deserialize)]
struct Uid {
    uid: String,
}

/// Which object has this name now.
pub(super) async fn uid_of<K: Resource + Clone>(api: &Api<K>, name: &str) -> Result<Option<String>, kube::Error> {
    let request = Request::new(api.resource_url()).get_metadata(name, &GetParams::default());
    let request = request.map_err(kube::Error::BuildRequest)?;
    match api.clone().into_client().request::<Known>(request).await {
        Ok(known) => Ok(Some(known.metadata.uid)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// That part of each object.
pub(super) async fn each<K: Resource + Clone, T: DeserializeOwned>(
    api: &Api<K>,
    which: &ListParams,
) -> Result<Vec<T>, kube::Error> {
    let request = Request::new(api.resource_url()).list(which).map_err(kube::Error::BuildRequest)?;
    api.clone().into_client().request::<List<T>>(request).await.map(|list| list.items)
}

/// Deletes them all at once; they are not read.
pub(super) async fn delete_all<K: Resource + Clone>(
    api: &Api<K>,
    how: &DeleteParams,
    which: &ListParams,
) -> Result<(), kube::Error> {
    let request = Request::new(api.resource_url()).delete_collection(how, which).map_err(kube::Error::BuildRequest)?;
    api.clone().into_client().request_text(request).await.map(drop)
}

/// Of an answer no more is asked for than an API server sends in any case.
const METADATA: HeaderValue = HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Sends a request whose answer nobody reads.
async fn send<K: Resource + Clone>(
    api: &Api<K>,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<(), kube::Error> {
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA);
    api.clone().into_client().request_text(request).await.map(drop)
}

/// Patches an object that is not looked at afterwards.
pub(super) async fn patch<K: Resource + Clone>(
    api: &Api<K>,
    name: &str,
    patch: &Patch<Value>,
) -> Result<(), kube::Error> {
    send(api, Request::new(api.resource_url()).patch(name, &PatchParams::default(), patch)).await
}

/// Likewise its status.
pub(super) async fn patch_status<K: Resource + Clone>(
    api: &Api<K>,
    name: &str,
    patch: &Patch<Value>,
) -> Result<(), kube::Error> {
    send(api, Request::new(api.resource_url()).patch_subresource("status", name, &PatchParams::default(), patch)).await
}

/// Makes an object that is not looked at afterwards.
pub(super) async fn create<K: Resource + Clone>(api: &Api<K>, object: &Value) -> Result<(), kube::Error> {
    let object = object.to_string().into_bytes();
    send(api, Request::new(api.resource_url()).create(&PostParams::default(), object)).await
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
    use kube::api::PostParams;
    use serde_json::json;

    use super::*;
    use crate::{Lab, LabOptions};

    #[tokio::test]
    async fn a_glance_sees_the_part_alone_and_tells_what_is_not_there_from_what_can_not_be_asked() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let lab = Lab::start(LabOptions::default()).await.unwrap();
        let api: Api<ConfigMap> = Api::namespaced(lab.client(), "default");
        for name in ["a", "b"] {
            let map = json!({"metadata": {"name": name, "labels": {"own": "yes"}}, "data": {"k": name}});
            api.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
        }
        assert_eq!(uid_of(&api, "a").await.unwrap(), api.get("a").await.unwrap().metadata.uid);
        assert_eq!(uid_of(&api, "none").await.unwrap(), None);
        let stranger: Api<kube::api::DynamicObject> = Api::all_with(
            lab.client(),
            &kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk("", "v1", "Nothing")),
        );
        assert!(each::<_, Value>(&stranger, &ListParams::default()).await.is_err());
        let own = ListParams::default().labels("own=yes");
        let data = each::<_, Value>(&api, &own).await.unwrap();
        assert_eq!(data.iter().map(|one| one["data"]["k"].clone()).collect::<Vec<_>>(), ["a", "b"]);
        let more = Patch::Merge(json!({"data": {"more": "1"}}));
        patch(&api, "a", &more).await.unwrap();
        assert_eq!(api.get("a").await.unwrap().data.unwrap()["more"], "1");
        assert!(patch(&api, "none", &more).await.is_err());
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(lab.client(), "default");
        let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}});
        let claim =
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec});
        create(&claims, &claim).await.unwrap();
        assert!(create(&claims, &claim).await.is_err(), "it is there");
        patch_status(&claims, "c", &Patch::Merge(json!({"status": {"phase": "Lost"}}))).await.unwrap();
        assert_eq!(claims.get("c").await.unwrap().status.unwrap().phase.as_deref(), Some("Lost"));
        delete_all(&api, &DeleteParams::default(), &own).await.unwrap();
        assert_eq!(each::<_, Value>(&api, &own).await.unwrap(), Vec::<Value>::new());
        lab.stop().await;
    }
}
