//! What is ours, how many hold it, how it is undone.
//!
//! Floor 3, below the engine. `undo` removes one thing of a cluster, `teardown` all that a ledger
//! holds in order, `borrowed` lends settings and gives them back, `sweep` finds what bears our marks,
//! `cleaner` finishes a run that did not finish itself. Knows no platform's words and no cell.

pub mod borrowed;
mod cleaner;
mod sweep;
pub mod teardown;
#[cfg(test)]
mod tests;
mod undo;

pub use cleaner::{Cleaned, Cleaner};
pub use teardown::{Leftover, Undo};
