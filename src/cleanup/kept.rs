//! The run's secret, kept where a `clean` without the ledger finds it: in a Secret of the run's namespace.
//!
//! A Secret and its namespace prove one another: the namespace bears a mark that only this secret makes.
//! A Secret that somebody plants elsewhere, with our label and any date, therefore says nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt;
use kube::api::{Api, ApiResource};
use secrecy::{ExposeSecret, SecretString};

use super::proof::{self, Judgement};
use crate::api::names::RunId;
use crate::cluster::apply::{dynamic_api, is_absent, read};
use crate::cluster::{ApplyError, Cluster, Tracked, retry};
use crate::ledger::mark::Marker;

const NAME: &str = "mtv-matrix-run";
const KEY: &str = "mark-secret";

/// Writes the run's secret into the run's namespace. Without a secret there is nothing to keep.
pub async fn keep_secret(tracked: &Tracked) -> Result<(), ApplyError> {
    let Some(marker) = tracked.ledger.marker() else { return Ok(()) };
    let mut secret = Secret::default();
    secret.metadata.name = Some(NAME.to_owned());
    secret.metadata.namespace = Some(tracked.ledger.run().namespace());
    let bytes = ByteString(marker.secret().expose_secret().as_bytes().to_vec());
    secret.data = Some(BTreeMap::from([(KEY.to_owned(), bytes)]));
    tracked.create(secret).await?;
    Ok(())
}

/// A run as the cluster knows it.
#[derive(Debug, Clone)]
pub(super) struct KnownRun {
    pub run: RunId,
    pub marker: Marker,
    /// When the API server made the run's namespace.
    pub since: Timestamp,
}

/// The run of this id, when its namespace and the Secret in it prove one another. `Err`: why not.
pub(super) async fn find(cluster: &Cluster, run: &RunId) -> Result<KnownRun, Unknown> {
    let namespace = run.namespace();
    let kind = ApiResource::erase::<Namespace>(&());
    let unasked = |error: &kube::Error| Unknown::NotAsked(format!("namespace {namespace}: {}", retry::short(error)));
    let there = read(&dynamic_api(cluster, &kind, None), &namespace).await.map_err(|e| unasked(&e))?;
    let Some(there) = there else { return Err(Unknown::Absent) };
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), &namespace);
    let secret = match secrets.get(NAME).await {
        Ok(secret) => secret,
        Err(error) if is_absent(&error) => return Err(Unknown::NoSecret),
        Err(error) => return Err(unasked(&error)),
    };
    let text = secret.data.unwrap_or_default().remove(KEY).and_then(|bytes| String::from_utf8(bytes.0).ok());
    let Some(text) = text else { return Err(Unknown::NoSecret) };
    let marker = Marker::new(run, SecretString::from(text));
    match proof::of_object(&there, "Namespace", run, Some(&marker)) {
        Judgement::Ours => {}
        Judgement::Unproven(why) | Judgement::Foreign(why) => return Err(Unknown::Foreign(why)),
    }
    let Some(since) = there.creation_timestamp().map(|at| at.0) else { return Err(Unknown::NoSecret) };
    Ok(KnownRun { run: run.clone(), marker, since })
}

/// Why the cluster does not know a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It has no namespace of the run's.
    Absent,
    /// The namespace holds no secret of the run: made by version 0.1, or taken away.
    NoSecret,
    /// Somebody else's namespace or Secret.
    Foreign(String),
    /// Nobody answered, or this login may not ask.
    NotAsked(String),
}
