//! The OpenShift side: connecting, creating, waiting, reading, logging in to guests.
//!
//! Floor 1. `apply` is the only way to create (through the ledger), `wait` the only place that
//! waits on the cluster. Knows Kubernetes, OpenShift and KubeVirt; MTV's kinds are `forklift`'s.

pub mod apply;
pub mod connect;
pub mod guest;
pub mod placement;
pub mod target;
pub mod versions;
pub mod wait;

pub use apply::{ApplyError, Tracked};
pub use connect::{Cluster, ClusterError};
pub use wait::{Poll, WaitError};
