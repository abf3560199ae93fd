//! The life of one cell: prepare, maps, then its story, step by step.
//!
//! Floor 4. Knows no platform's words: those are in `source` and in `forklift`'s adapters. Says
//! what happens by events only. A cell's future may be dropped at any await: whatever it created
//! is in the ledger, and `cleanup` undoes it from there.

mod adopt;
pub mod artifacts;
mod boot;
mod cell;
pub mod context;
mod evidence;
mod execute;
mod inside;
mod lent;
pub mod levers;
mod marker;
mod must_gather;
mod offload;
mod prepare;
mod prepared;
mod settle;
mod stages;
mod story;
mod verify;

pub use cell::{Outcome, run};
pub use context::{ContextParts, RunContext, StageSpan};

use crate::cluster::{ApplyError, WaitError};
use crate::event::{Problem, Verdict};
use crate::forklift::MtvError;
use crate::source::SourceError;

/// Why a stage did not pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// `Failed`, `Errored`, `Blocked` or `Skipped`.
    pub verdict: Verdict,
    pub problem: Problem,
}

impl Failure {
    fn of(verdict: Verdict, problem: Problem) -> Self {
        Self { verdict, problem }
    }
    /// MTV or the migrated VM is wrong.
    pub fn product(problem: Problem) -> Self {
        Self::of(Verdict::Failed, problem)
    }
    /// Seen too late for the matrix: the cell can't be, and nobody is to blame.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::of(Verdict::Skipped, Problem::new(reason))
    }
    /// The world has changed, so that the cell can't be: a run that goes on being green for that would be green by
    /// attrition. `reason` says what to put right.
    pub fn blocked(reason: impl std::fmt::Display) -> Self {
        Self::of(Verdict::Blocked, Problem::new(reason.to_string()))
    }
    /// The environment or the harness broke.
    pub fn environment(problem: Problem) -> Self {
        Self::of(Verdict::Errored, problem)
    }
}

impl From<MtvError> for Failure {
    fn from(error: MtvError) -> Self {
        match error {
            MtvError::Product(problem) => Self::product(problem),
            MtvError::Environment(problem) => Self::environment(problem),
        }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::environment(Problem::new(error.to_string()))
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        Self::environment(Problem::new(error.to_string()))
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        Self::environment(error.problem())
    }
}
