//! MTV as operations: providers, maps, plan, migration, and its inventory.
//!
//! Floor 2; speaks through `cluster`. Knows MTV's resources and what their conditions mean. What
//! differs between platforms sits in an adapter ([`adapter`]), one file a platform.

pub mod adapter;
pub mod address;
mod ec2;
pub mod execution;
mod hyperv;
pub mod inventory;
pub mod maps;
mod openshift;
mod openstack;
mod ova;
mod ovirt;
pub mod plan;
pub mod providers;
mod read;
mod vsphere;

use std::time::Duration;

use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{Hook, NetworkMap, Plan, Provider, StorageMap};
use crate::cluster::wait::{self, Poll};
use crate::cluster::{ApplyError, Tracked, WaitError};
use crate::event::Problem;

/// Why an operation on MTV did not succeed, and whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum MtvError {
    /// MTV refused or broke what it should do.
    #[error("{}", .0.message)]
    Product(Problem),
    /// The environment, or a request that did not go through.
    #[error("{}", .0.message)]
    Environment(Problem),
}

impl From<ApplyError> for MtvError {
    fn from(error: ApplyError) -> Self {
        Self::Environment(Problem::new(error.to_string()))
    }
}

/// A resource of MTV's whose readiness is a condition.
pub(crate) trait Conditioned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// `None` before the controller has written a status.
    fn conditions(&self) -> Option<&[Condition]>;
}

macro_rules! conditioned {
    ($($kind:ty),*) => {$(
        impl Conditioned for $kind {
            fn conditions(&self) -> Option<&[Condition]> {
                self.status.as_ref().map(|status| status.conditions.as_slice())
            }
        }
    )*};
}
conditioned!(Provider, StorageMap, NetworkMap, Hook, Plan);

/// Creates an object in `namespace` and waits until it is `Ready`, or until a condition blocks it.
async fn create_ready<K: Conditioned>(
    tracked: &Tracked,
    namespace: &str,
    mut object: K,
    limit: Duration,
) -> Result<K, MtvError> {
    object.meta_mut().namespace = Some(namespace.to_owned());
    let name = object.name_any();
    tracked.create(object).await?;
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    let waiting = format!("{what} to be Ready");
    wait::until(&tracked.cluster, Some(namespace), &name, &waiting, limit, |found: Option<&K>| {
        let Some(found) = found else { return Poll::NotYet("not there".to_owned()) };
        match ready(&what, found.conditions()) {
            Poll::Done(()) => Poll::Done(found.clone()),
            Poll::NotYet(seen) => Poll::NotYet(seen),
            Poll::Failed(problem) => Poll::Failed(problem),
        }
    })
    .await
    .map_err(|error| product(error, format!("oc -n {namespace} describe {} {name}", K::kind(&()).to_lowercase())))
}

/// A wait on one of MTV's objects that should become ready: its blockers and its silence are MTV's.
fn product(error: WaitError, look_at: String) -> MtvError {
    match error {
        WaitError::Watch { .. } => MtvError::Environment(error.problem().look_at(look_at)),
        other => MtvError::Product(other.problem().look_at(look_at)),
    }
}

/// Looks at the conditions of an object that is to become `Ready`: ready, blocked, or not yet.
fn ready(what: &str, conditions: Option<&[Condition]>) -> Poll<()> {
    let Some(conditions) = conditions else {
        return Poll::NotYet("no status yet".to_owned());
    };
    let blockers = conditions.blockers();
    if !blockers.is_empty() {
        let mut problem = Problem::new(format!(
            "{what} is blocked: {}",
            blockers.iter().map(|c| c.line()).collect::<Vec<_>>().join("; ")
        ));
        problem.details = conditions.iter().filter(|c| c.is_true()).map(Condition::line).collect();
        return Poll::Failed(problem);
    }
    if conditions.holds("Ready") { Poll::Done(()) } else { Poll::NotYet(conditions.summary()) }
}
