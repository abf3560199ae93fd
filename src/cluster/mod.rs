//! The OpenShift side: connecting, creating, waiting, reading, logging in to guests.
//!
//! Floor 1. `apply` is the only way to create (through the ledger), `wait` the only place that
//! waits on the cluster. Knows Kubernetes, OpenShift and KubeVirt; MTV's kinds are `forklift`'s.

pub mod apply;
pub mod connect;
pub mod guest;
pub mod guest_parse;
pub mod health;
mod holders;
mod hub;
mod oauth;
pub mod placement;
pub mod quantity;
pub mod retry;
pub mod strict;
pub mod sweep;
pub mod target;
mod token;
mod transport;
mod tunnel;
mod undo;
pub mod versions;
pub mod wait;

pub use apply::{ApplyError, Tracked, undo};
pub use connect::{Cluster, ClusterError};
pub use wait::{Poll, WaitError};
