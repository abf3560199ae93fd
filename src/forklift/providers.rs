//! Source and destination Providers with their Secrets.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::MtvError;
use super::adapter::ProviderWiring;
use super::inventory::ProviderPath;
use super::ready::{self, Conditioned, Look, Patience};
use crate::api::forklift::{ObjRef, Provider, ProviderSpec};
use crate::cluster::objects::routes;
use crate::cluster::wait::{self, Poll};
use crate::cluster::{Cluster, Tracked};

/// MTV's word for a cluster as a Provider.
const OPENSHIFT: &str = "openshift";

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
    patience: Patience,
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
        patience,
    )
    .await
}

/// Name of the Provider that MTV's operator makes of its own cluster, in MTV's own namespace.
const HOST: &str = "host";

/// Whether a session may migrate to MTV's own Provider of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostProvider {
    Usable(ReadyProvider),
    /// Why not, in a few words.
    Not(String),
}

/// MTV's own Provider of its cluster, once it is `Ready`: the only one without URL that sees the
/// networks of every namespace. A Plan may name it for whoever may *get* it. It is nobody's but
/// MTV's, so it is only read.
pub async fn host_destination(
    cluster: &Cluster,
    mtv_namespace: &str,
    patience: Patience,
) -> Result<HostProvider, MtvError> {
    let what = format!("Provider {mtv_namespace}/{HOST}");
    let providers: kube::Api<Provider> = kube::Api::namespaced(cluster.client(), mtv_namespace);
    // Asked again and again, not watched: the right to get it is all that a Plan needs.
    let since = Instant::now();
    let waiting = format!("{what} to be Ready");
    let ready = wait::poll(&waiting, patience.limit, || async {
        match providers.get_opt(HOST).await {
            Ok(Some(found)) if found.spec.type_ == OPENSHIFT && found.spec.url.is_empty() => {
                match ready::ready(&what, found.conditions()) {
                    Look::Done(()) => Poll::Done(HostProvider::Usable(ready_provider(mtv_namespace, HOST, &found))),
                    Look::NotYet(seen) => Poll::NotYet(seen),
                    Look::Held(problem) if since.elapsed() < patience.grace => Poll::NotYet(problem.message),
                    Look::Held(problem) | Look::Failed(problem) => Poll::Failed(problem),
                }
            }
            Ok(Some(_)) => Poll::Done(HostProvider::Not(format!("{what} is not MTV's own cluster"))),
            Ok(None) => Poll::Done(HostProvider::Not(format!("there is no {what}"))),
            Err(kube::Error::Api(refused)) if refused.code == 403 => {
                Poll::Done(HostProvider::Not(format!("this session may not use {what}")))
            }
            Err(error) => Poll::NotYet(format!("{what} can't be read: {error}")),
        }
    });
    ready.await.map_err(|error| MtvError::Environment(error.problem()))
}

/// The cluster that MTV itself runs on, as a destination: no URL, no Secret. It sees the networks of
/// `namespace` and of `default` only.
pub async fn create_local_destination(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    patience: Patience,
) -> Result<ReadyProvider, MtvError> {
    let settings = BTreeMap::new();
    create_and_wait(tracked, namespace, name, OPENSHIFT, String::new(), ObjRef::default(), settings, patience).await
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
    patience: Patience,
) -> Result<ReadyProvider, MtvError> {
    let mut data = BTreeMap::from([
        ("token".to_owned(), remote.token),
        ("insecureSkipVerify".to_owned(), remote.insecure.to_string().into()),
    ]);
    if let Some(pem) = remote.ca_pem.filter(|_| !remote.insecure) {
        data.insert("cacert".to_owned(), pem.into());
    }
    let labels = BTreeMap::from([("createdForProviderType".to_owned(), OPENSHIFT.to_owned())]);
    tracked.create(secret(namespace, name, labels, data)).await?;
    let (url, reference) = (remote.url.to_owned(), ObjRef::new(namespace, name));
    create_and_wait(tracked, namespace, name, OPENSHIFT, url, reference, BTreeMap::new(), patience).await
}

/// Creates a Secret with a way in to a platform.
pub async fn create_secret(
    tracked: &Tracked,
    namespace: &str,
    name: &str,
    data: BTreeMap<String, SecretString>,
) -> Result<(), MtvError> {
    tracked.create(secret(namespace, name, BTreeMap::new(), data)).await?;
    Ok(())
}

pub fn secret(
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
    patience: Patience,
) -> Result<ReadyProvider, MtvError> {
    let spec = ProviderSpec { type_: platform.to_owned(), url, secret, settings };
    let provider = ready::create(tracked, namespace, Provider::new(name, spec), patience, ready::nothing)
        .await
        .map_err(|error| match error {
            // A Provider that does not get ready is a login, a certificate, a network: never MTV's fault alone.
            MtvError::Product(problem) | MtvError::Environment(problem) => MtvError::Environment(problem),
        })?;
    Ok(ready_provider(namespace, name, &provider))
}

fn ready_provider(namespace: &str, name: &str, provider: &Provider) -> ReadyProvider {
    ReadyProvider {
        reference: ObjRef::new(namespace, name),
        path: ProviderPath {
            type_: provider.spec.type_.clone(),
            uid: provider.metadata.uid.clone().unwrap_or_default(),
            name: name.to_owned(),
        },
    }
}

/// `insecureSkipVerify` as the Provider's Secret holds it now (MTV takes one that is not there for `false`), and
/// whether the Provider carries `ConnectionInsecure`; the error is why one of them could not be read.
pub async fn read_tls_choice(cluster: &Cluster, provider: &ObjRef) -> (Result<String, String>, bool) {
    let (namespace, name) = (provider.namespace.clone().unwrap_or_default(), provider.name.clone().unwrap_or_default());
    let insecure_condition = match routes::get::<Provider>(cluster, Some(&namespace), &name).await {
        Ok(found) => found
            .status
            .is_some_and(|s| crate::api::condition::Conditions::holds(s.conditions.as_slice(), "ConnectionInsecure")),
        Err(error) => return (Err(format!("failed to read Provider {namespace}/{name}: {error}")), false),
    };
    let secrets: kube::Api<Secret> = kube::Api::namespaced(cluster.client(), &namespace);
    let value = match secrets.get(&name).await {
        Ok(secret) => match secret.data.unwrap_or_default().get("insecureSkipVerify") {
            Some(bytes) => Ok(String::from_utf8_lossy(&bytes.0).into_owned()),
            None => Ok("false".to_owned()),
        },
        Err(error) => Err(format!("failed to read Secret {namespace}/{name}: {error}")),
    };
    (value, insecure_condition)
}
