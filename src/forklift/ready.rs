//! Waiting for one of MTV's objects to be `Ready`, and which of its blockers are worth waiting out.
//!
//! MTV tries again every few seconds what it could not do (a connection, a Provider that is not ready
//! yet), and takes the condition back when it succeeds. What the object's own text got wrong it can't.

use std::time::Duration;

use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::MtvError;
use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{Hook, NetworkMap, Plan, Provider, StorageMap};
use crate::cluster::wait::{self, Poll};
use crate::cluster::{Cluster, Tracked, WaitError};
use crate::event::Problem;

/// How long MTV gets for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the whole of it.
    pub limit: Duration,
    /// For a blocker that may pass by itself, or a silence, to end.
    pub grace: Duration,
}

/// A resource of MTV's whose readiness is a condition.
pub(super) trait Conditioned:
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

/// What an object of MTV's says of an end that is waited for.
pub(super) enum Look<T> {
    Done(T),
    NotYet(String),
    /// Stopped by something that may pass.
    Held(Problem),
    /// Stopped by something that can't.
    Failed(Problem),
}

/// Blockers that no later try of MTV's takes back, whatever their reason: it does not log in again
/// with a refused password, and an image that can't be pulled or a type that it does not know stays
/// so (`pkg/controller/provider/validation.go`, `pkg/controller/plan/validation.go`).
const FINAL: [&str; 7] = [
    "ConnectionAuthFailed",
    "MigrationTypeNotValid",
    "NetMapDestinationNADNotValid",
    "ProviderTypeNotSupported",
    "TargetNameNotValid",
    "VDDKInitImageUnavailable",
    "VDDKInvalid",
];
/// Reasons that speak of the object's own text. `NotFound` is none of them: MTV's caches and its
/// inventory learn late of what was made a moment ago.
const OF_THE_TEXT: [&str; 9] = [
    "Ambiguous",
    "DataErr",
    "DataError",
    "Malformed",
    "NotSet",
    "NotSupported",
    "NotUnique",
    "NotValid",
    "TypeNotValid",
];

/// Blockers that speak of a VM as the inventory has it, whatever their reason. Of one that was made a moment ago it may
/// not have the image or flavour yet: 2.12.5 says `VMCriticalConcerns`, NotValid, `sql: no rows in result set`. Of one whose
/// migration just failed it has MTV's own snapshot a while longer, and of one that was just started, tools that do not run.
const OF_THE_INVENTORY: [&str; 3] = ["GuestToolsIssue", "VMCriticalConcerns", "VMHasSnapshots"];

fn is_final(blocker: &Condition) -> bool {
    let kind = blocker.type_.as_str();
    let of_the_text = blocker.reason.as_deref().is_some_and(|reason| OF_THE_TEXT.contains(&reason));
    FINAL.contains(&kind) || (of_the_text && !OF_THE_INVENTORY.contains(&kind))
}

/// What stops an object with these conditions, if something does.
pub(super) fn blocked<T>(what: &str, conditions: &[Condition]) -> Option<Look<T>> {
    let blockers = conditions.blockers();
    if blockers.is_empty() {
        return None;
    }
    let lines: Vec<String> = blockers.iter().map(|c| c.line()).collect();
    let mut problem = Problem::new(format!("{what} is blocked: {}", lines.join("; ")));
    problem.details = conditions.iter().filter(|c| c.is_true()).map(Condition::line).collect();
    Some(if blockers.iter().any(|c| is_final(c)) { Look::Failed(problem) } else { Look::Held(problem) })
}

/// Looks at the conditions of an object that is to become `Ready`.
pub(super) fn ready(what: &str, conditions: Option<&[Condition]>) -> Look<()> {
    let Some(conditions) = conditions else {
        return Look::NotYet(NO_STATUS.to_owned());
    };
    match blocked(what, conditions) {
        Some(blocked) => blocked,
        None if conditions.holds("Ready") => Look::Done(()),
        None => Look::NotYet(conditions.summary()),
    }
}

const NO_STATUS: &str = "no status yet";

/// Waits until `look` says done or failed, or says *held* for the whole of a grace.
pub(super) async fn until<K, T>(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    waiting: &str,
    patience: Patience,
    mut look: impl FnMut(Option<&K>) -> Look<T> + Send,
) -> Result<T, WaitError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
    T: Send,
{
    let deadline = Instant::now() + patience.limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let seen = wait::until(cluster, Some(namespace), name, waiting, left, |found: Option<&K>| match look(found) {
            Look::Done(value) => Poll::Done(Some(value)),
            Look::Held(_) => Poll::Done(None),
            Look::NotYet(seen) => Poll::NotYet(seen),
            Look::Failed(problem) => Poll::Failed(problem),
        });
        if let Some(value) = seen.await? {
            return Ok(value);
        }
        let grace = patience.grace.min(deadline.saturating_duration_since(Instant::now()));
        let mut held = None;
        let passed =
            wait::until(cluster, Some(namespace), name, waiting, grace, |found: Option<&K>| match look(found) {
                Look::Done(value) => Poll::Done(Some(value)),
                Look::NotYet(_) => Poll::Done(None),
                Look::Held(problem) => {
                    let seen = problem.message.clone();
                    held = Some(problem);
                    Poll::NotYet(seen)
                }
                Look::Failed(problem) => Poll::Failed(problem),
            });
        match (passed.await, held) {
            (Ok(Some(value)), _) => return Ok(value),
            (Ok(None), _) => {}
            (Err(WaitError::Timeout { waited, .. }), Some(problem)) => {
                return Err(WaitError::Failed(stayed(problem, waited)));
            }
            (Err(error), _) => return Err(error),
        }
    }
}

fn stayed(problem: Problem, waited: Duration) -> Problem {
    problem.detail(format!("it might have passed, but stayed for {waited:?}"))
}

/// Creates an object in `namespace` and waits until it is `Ready`.
pub(super) async fn create<K: Conditioned>(
    tracked: &Tracked,
    namespace: &str,
    mut object: K,
    patience: Patience,
    missing: impl AsyncFn() -> Vec<String>,
) -> Result<K, MtvError> {
    object.meta_mut().namespace = Some(namespace.to_owned());
    let name = object.name_any();
    tracked.create(object).await?;
    is_ready(&tracked.cluster, namespace, &name, patience, missing).await
}

/// Waits until an object is `Ready`, or until a condition blocks it for good. Where MTV writes no status for a whole
/// grace, `missing` is asked what does not exist.
pub(super) async fn is_ready<K: Conditioned>(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    patience: Patience,
    missing: impl AsyncFn() -> Vec<String>,
) -> Result<K, MtvError> {
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    let waiting = format!("{what} to be Ready");
    let look_at = format!("oc -n {namespace} describe {} {name}", K::kind(&()).to_lowercase());
    let deadline = Instant::now() + patience.limit;
    let spoken = wait::until(
        cluster,
        Some(namespace),
        name,
        &waiting,
        patience.grace.min(patience.limit),
        |found: Option<&K>| match found.map(Conditioned::conditions) {
            Some(Some(_)) => Poll::Done(()),
            Some(None) => Poll::NotYet(NO_STATUS.to_owned()),
            None => Poll::NotYet("not there".to_owned()),
        },
    );
    if let Err(silence @ WaitError::Timeout { .. }) = spoken.await {
        // MTV writes no status at all while it fails to read something that the object refers to.
        let missing = missing().await;
        if !missing.is_empty() {
            let mut problem = Problem::new(format!("{what} gets no status from MTV: {}", missing.join("; ")));
            problem.details.push(silence.to_string());
            return Err(MtvError::Product(problem.look_at(look_at)));
        }
        if Instant::now() >= deadline {
            return Err(product(silence, look_at));
        }
    }
    let left = Patience { limit: deadline.saturating_duration_since(Instant::now()), ..patience };
    let ready = until(cluster, namespace, name, &waiting, left, |found: Option<&K>| {
        let Some(found) = found else { return Look::NotYet("not there".to_owned()) };
        match ready(&what, found.conditions()) {
            Look::Done(()) => Look::Done(found.clone()),
            Look::NotYet(seen) => Look::NotYet(seen),
            Look::Held(problem) => Look::Held(problem),
            Look::Failed(problem) => Look::Failed(problem),
        }
    });
    ready.await.map_err(|error| product(error, look_at))
}

/// For objects whose own status tells of every reference that is missing.
pub(super) async fn nothing() -> Vec<String> {
    Vec::new()
}

/// A wait on one of MTV's objects that should become ready: its blockers and its silence are MTV's.
pub(super) fn product(error: WaitError, look_at: String) -> MtvError {
    match error {
        WaitError::Watch { .. } => MtvError::Environment(error.problem().look_at(look_at)),
        other => MtvError::Product(other.problem().look_at(look_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(type_: &str, reason: &str) -> &'static str {
        let condition = Condition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            category: Some("Critical".to_owned()),
            reason: Some(reason.to_owned()),
            ..Condition::default()
        };
        match ready("Provider ns/p", Some(&[condition])) {
            Look::Failed(_) => "final",
            Look::Held(_) => "passing",
            Look::Done(()) | Look::NotYet(_) => "no blocker",
        }
    }

    #[test]
    fn only_what_mtv_cannot_take_back_is_final() {
        for (type_, reason) in [
            ("ConnectionAuthFailed", "Tested"),
            ("SecretNotValid", "DataErr"),
            ("ProviderTypeNotSupported", "NotSupported"),
            ("VDDKInitImageUnavailable", "ErrImagePull"),
            ("VDDKInitImageUnavailable", "NotSet"),
            ("UrlNotValid", "Malformed"),
        ] {
            assert_eq!(look(type_, reason), "final", "{type_} {reason}");
        }
        for (type_, reason) in [
            ("ConnectionTestFailed", "Tested"),
            ("SourceProviderNotReady", ""),
            ("DestinationNetworkNotValid", "NotFound"),
            ("VMCriticalConcerns", "NotValid"),
            ("VMHasSnapshots", "NotValid"),
            ("GuestToolsIssue", "NotValid"),
        ] {
            assert_eq!(look(type_, reason), "passing", "{type_} {reason}");
        }
    }
}
