//! The OpenShift side: connecting, creating, waiting, reading, logging in to guests.
//!
//! Floor 2. `objects::apply` creates (through the ledger), `wait` is the only place that waits on the
//! cluster. Knows Kubernetes, OpenShift and KubeVirt; MTV's kinds are `forklift`'s.

pub mod connect;
pub mod guest;
pub mod objects;
pub mod wait;

pub use connect::{Cluster, ClusterError, Limits, ReadError, retry};
pub use objects::apply::{ApplyError, Tracked};
pub use objects::{apply, exec, placement, strict, switch, target};
pub use wait::{Poll, WaitError};
