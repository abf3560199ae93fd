//! Opens a run, schedules its cells, closes it: under bounds of the whole run, of a profile and of a
//! scenario group, with deadlines, retries, cancellation and teardown.
//!
//! Floor 5. Emits events and knows no reporter.

mod caught;
mod cells;
mod decide;
mod run;
mod scheduler;

pub use decide::decide;
pub use run::{Ended, Request, StopTokens, run};
pub use scheduler::{EngineOptions, RunSummary};
