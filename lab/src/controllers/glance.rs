//! Objects of which a part alone is looked at: the rest is not decoded, which for a pod or a node is most of it. Knows
//! nothing of what the part is for.

use kube::Resource;
use kube::api::{Api, DeleteParams, GetParams, ListParams};
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;

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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::PostParams;
    use serde_json::{Value, json};

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
        delete_all(&api, &DeleteParams::default(), &own).await.unwrap();
        assert_eq!(each::<_, Value>(&api, &own).await.unwrap(), Vec::<Value>::new());
        lab.stop().await;
    }
}
