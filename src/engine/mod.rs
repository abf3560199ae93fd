//! Runs cells under bounds: whole run, per profile, per scenario group; with deadlines, retries,
//! cancellation and teardown.
//!
//! Floor 3. Emits events and knows no reporter.

mod scheduler;

pub use scheduler::{Engine, EngineOptions, RunSummary};
