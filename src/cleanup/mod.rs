//! What is ours, how many hold it, how it is undone.
//!
//! Floor 3, below the engine. Knows no platform's words and no cell's story.
//!
//! # Who may delete what, on which proof
//!
//! | what | who deletes it | on which proof |
//! |---|---|---|
//! | an object of a cluster | `undo`, from a ledger's entry or a sweep | our label *and* our mark ([`proof`]), read right before; the delete holds for exactly that uid and resourceVersion |
//! | what is in a namespace of ours | goes with it | the namespace's own |
//! | a VM, volume, snapshot, image, port of a source platform | its driver, from the run's ledger | a name that only the run gives *and* the mark in its notes; the mark binds its id, or its name together with the id in the ledger |
//! | the same, without a ledger of ours | its driver, with `--yes` | the same |
//! | a pod that works for the run's own Plan, or the controller's | `kill`, where a scenario says so | MTV's label with the id of the cell's VM, or the claim of it; exactly that uid |
//! | a borrowed setting | `borrowed`, from the ledger or from the annotations on the object | our annotation on it, and the value still being ours; the last holder restores the value from before all of them |
//! | the run's own namespace | `teardown`, last | as any namespace; not while anything else of the run is left, because what proves that is in it ([`kept`]) |
//! | things of version 0.1, and of runs whose secret is lost | the same, with `--yes` | our label, or our name and a note that names the run |
//! | runs by their age | `sweep` picks them | a run's namespace and the Secret in it prove one another; times are the API server's |
//!
//! A mark is made from a secret of the run ([`crate::ledger::mark`]), so what others can write (a label, a
//! name, a date, a line of a ledger) proves nothing. What fails is told as *not ours* and left alone; who
//! could not be asked is told, too, and is never taken for *gone*.

pub mod borrowed;
mod cleaner;
pub mod kept;
pub mod proof;
pub mod results;
#[cfg(test)]
mod results_tests;
pub mod sweep;
pub mod teardown;
#[cfg(test)]
mod tests;
mod undo;

pub use cleaner::{Cleaned, Cleaner};
pub use proof::Consent;
pub use teardown::{Leftover, Standing, Undo};
pub use undo::{How, evict, kill, undo as undo_one};
