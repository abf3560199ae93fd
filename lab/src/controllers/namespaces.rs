//! What a cluster's own controllers put into every namespace: the CA by which pods know the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

use super::objects::{Restart, one_task_each};

/// Its name is every cluster's.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

/// Runs until `stop`.
pub async fn run(client: kube::Client, ca_pem: String, stop: CancellationToken) {
    let work = |namespace: Namespace| publish(client.clone(), ca_pem.clone(), namespace.name_any());
    one_task_each(client.clone(), &(), Restart::Never(&|_| {}), stop, work, |_| {}).await;
}

async fn publish(client: kube::Client, ca_pem: String, namespace: String) {
    let description = [("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned())];
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(ROOT_CA.to_owned()),
            annotations: Some(BTreeMap::from(description)),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("ca.crt".to_owned(), ca_pem)])),
        ..ConfigMap::default()
    };
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    if let Err(error) = maps.create(&PostParams::default(), &map).await {
        // It is there already, or the namespace goes.
        tracing::debug!(namespace, %error, "no root CA was published");
    }
}
