//! Source and destination Providers with their Secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use secrecy::{ExposeSecret, SecretString};

use super::adapter::ProviderWiring;
use super::inventory::ProviderPath;
use super::{MtvError, create_ready};
use crate::api::forklift::{ObjRef, Provider, ProviderSpec};
use crate::cluster::{Cluster, Tracked};

/// A Provider that is `Ready`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyProvider {
    pub reference: ObjRef,
    pub path: ProviderPath,
}

/// Creates the Secret and the Provider, and waits until it is `Ready`. A blocking condition (a
/// refused login, a wrong URL) ends the wait at once with MTV's own words: the environment's fault.
pub async fn create_source(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    platform: &str,
    wiring: ProviderWiring,
    limit: Duration,
) -> Result<ReadyProvider, MtvError> {
    let labels = BTreeMap::from([
        ("createdForProviderType".to_owned(), platform.to_owned()),
        ("createdForResource".to_owned(), name.to_owned()),
    ]);
    tracked.create(secret(namespace, name, labels, wiring.secret)).await?;
    create_and_wait(
        tracked,
        namespace,
        name,
        platform,
        wiring.url,
        ObjRef::new(namespace, name),
        wiring.settings,
        limit,
    )
    .await
}

/// The cluster that MTV itself runs on, as a destination: no URL, no Secret.
pub async fn create_local_destination(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    limit: Duration,
) -> Result<ReadyProvider, MtvError> {
    let settings = BTreeMap::new();
    create_and_wait(tracked, namespace, name, "openshift", String::new(), ObjRef::default(), settings, limit).await
}

/// What an explicit OpenShift destination needs.
pub struct RemoteDestination<'a> {
    pub url: &'a str,
    pub token: SecretString,
    pub insecure: bool,
    pub ca_pem: Option<String>,
}

/// A destination registered by URL and token.
pub async fn create_remote_destination(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    remote: RemoteDestination<'_>,
    limit: Duration,
) -> Result<ReadyProvider, MtvError> {
    let mut data = BTreeMap::from([
        ("token".to_owned(), remote.token),
        ("insecureSkipVerify".to_owned(), remote.insecure.to_string().into()),
    ]);
    if let Some(pem) = remote.ca_pem.filter(|_| !remote.insecure) {
        data.insert("cacert".to_owned(), pem.into());
    }
    let labels = BTreeMap::from([("createdForProviderType".to_owned(), "openshift".to_owned())]);
    tracked.create(secret(namespace, name, labels, data)).await?;
    let (url, reference) = (remote.url.to_owned(), ObjRef::new(namespace, name));
    create_and_wait(tracked, namespace, name, "openshift", url, reference, BTreeMap::new(), limit).await
}

fn secret(
    namespace: &str,
    name: &str,
    labels: BTreeMap<String, String>,
    data: BTreeMap<String, SecretString>,
) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        data: Some(data.into_iter().map(|(k, v)| (k, ByteString(v.expose_secret().as_bytes().to_vec()))).collect()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

#[expect(clippy::too_many_arguments, reason = "the fields of one Provider, given once by each of its three kinds")]
async fn create_and_wait(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    platform: &str,
    url: String,
    secret: ObjRef,
    settings: BTreeMap<String, String>,
    limit: Duration,
) -> Result<ReadyProvider, MtvError> {
    let spec = ProviderSpec { type_: platform.to_owned(), url, secret, settings };
    let provider =
        create_ready(tracked, namespace, Provider::new(name, spec), limit).await.map_err(|error| match error {
            // A Provider that does not get ready is a login, a certificate, a network: never MTV's fault alone.
            MtvError::Product(problem) | MtvError::Environment(problem) => MtvError::Environment(problem),
        })?;
    Ok(ReadyProvider {
        reference: ObjRef::new(namespace, name),
        path: ProviderPath {
            type_: platform.to_owned(),
            uid: provider.metadata.uid.unwrap_or_default(),
            name: name.to_owned(),
        },
    })
}

/// `insecureSkipVerify` as the Provider's Secret holds it now, and whether the Provider carries
/// `ConnectionInsecure`.
pub async fn read_tls_choice(cluster: &Cluster, provider: &ObjRef) -> (Result<String, String>, bool) {
    let (namespace, name) = (provider.namespace.clone().unwrap_or_default(), provider.name.clone().unwrap_or_default());
    let providers: kube::Api<Provider> = kube::Api::namespaced(cluster.client(), &namespace);
    let insecure_condition = match providers.get(&name).await {
        Ok(found) => found
            .status
            .is_some_and(|s| crate::api::condition::Conditions::holds(s.conditions.as_slice(), "ConnectionInsecure")),
        Err(error) => return (Err(format!("failed to read Provider {namespace}/{name}: {error}")), false),
    };
    let secrets: kube::Api<Secret> = kube::Api::namespaced(cluster.client(), &namespace);
    let value = match secrets.get(&name).await {
        Ok(secret) => match secret.data.unwrap_or_default().get("insecureSkipVerify") {
            Some(bytes) => Ok(String::from_utf8_lossy(&bytes.0).into_owned()),
            None => Err(format!("Secret {namespace}/{name} has no insecureSkipVerify")),
        },
        Err(error) => Err(format!("failed to read Secret {namespace}/{name}: {error}")),
    };
    (value, insecure_condition)
}
