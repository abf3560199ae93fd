//! Objects of which a part alone is looked at, or that are only written: the rest is not decoded, which for a pod or a
//! node is most of it. Knows nothing of what the part is for.

use std::borrow::Cow;
use std::marker::PhantomData;

use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{Api, DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object as a watch brings it: which one it is has been read, the rest is read by who wants it.
#[derive(Debug, Clone)]
pub(super) struct Unread<K> {
    /// Its name, namespace, uid, generation and version, no more.
    metadata: ObjectMeta,
    text: Box<RawValue>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Unread<K> {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text.get())
    }
}

impl<'de, K> Deserialize<'de> for Unread<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            metadata: Which,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Which {
            name: Option<String>,
            namespace: Option<String>,
            uid: Option<String>,
            generation: Option<i64>,
            resource_version: Option<String>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Object { metadata } = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let Which { name, namespace, uid, generation, resource_version } = metadata;
        let metadata = ObjectMeta { name, namespace, uid, generation, resource_version, ..ObjectMeta::default() };
        Ok(Self { metadata, text, kind: PhantomData })
    }
}

impl<K: Resource> Resource for Unread<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }
    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }
    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }
    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

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
    let known = asked::<_, Known>(api, request).await?;
    Ok(known.map(|known| known.metadata.uid))
}

/// That part of an object; `None` where it is not there.
pub(super) async fn one<K: Resource + Clone, T: DeserializeOwned>(
    api: &Api<K>,
    name: &str,
) -> Result<Option<T>, kube::Error> {
    asked(api, Request::new(api.resource_url()).get(name, &GetParams::default())).await
}

async fn asked<K: Resource + Clone, T: DeserializeOwned>(
    api: &Api<K>,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Option<T>, kube::Error> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    match api.clone().into_client().request::<T>(request).await {
        Ok(part) => Ok(Some(part)),
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
pub(super) const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

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

    #[test]
    fn of_an_unread_object_it_is_known_which_one_it_is_and_the_rest_is_read_on_demand() {
        let text = r#"{"data":{"k":"v"},"metadata":{"name":"a","namespace":"n","uid":"u","generation":3,
            "resourceVersion":"7","labels":{"own":"yes"}}}"#;
        let unread: Unread<ConfigMap> = serde_json::from_str(text).unwrap();
        assert_eq!(unread.meta().uid.as_deref(), Some("u"));
        assert_eq!((unread.meta().generation, unread.meta().resource_version.as_deref()), (Some(3), Some("7")));
        let map: ConfigMap = unread.read().unwrap();
        assert_eq!((map.metadata.labels.unwrap()["own"].as_str(), map.data.unwrap()["k"].as_str()), ("yes", "v"));
        assert!(unread.read::<Vec<String>>().is_err());
        assert_eq!(Unread::<ConfigMap>::url_path(&(), Some("n")), ConfigMap::url_path(&(), Some("n")));
    }

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
        let there = one::<_, Value>(&api, "a").await.unwrap().unwrap();
        assert_eq!(there["metadata"]["uid"].as_str(), api.get("a").await.unwrap().metadata.uid.as_deref());
        assert_eq!(one::<_, Value>(&api, "none").await.unwrap(), None);
        let stranger: Api<kube::api::DynamicObject> = Api::all_with(
            lab.client(),
            &kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk("", "v1", "Nothing")),
        );
        assert!(each::<_, Value>(&stranger, &ListParams::default()).await.is_err());
        assert!(one::<_, Vec<String>>(&api, "a").await.is_err(), "it is no list");
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
