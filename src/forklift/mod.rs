//! MTV as operations: providers, maps, plan, migration, and its inventory.
//!
//! Floor 1; speaks through `cluster`. Knows MTV's resources and what their conditions mean. What
//! differs between platforms sits in an adapter ([`adapter`]), one file a platform.

pub mod adapter;
pub mod execution;
pub mod inventory;
pub mod maps;
pub mod plan;
pub mod providers;
mod vsphere;

use crate::api::condition::{Condition, Conditions};
use crate::cluster::wait::Poll;
use crate::cluster::{ApplyError, WaitError};
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
