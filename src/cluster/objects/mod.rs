//! Objects of the cluster: created through the ledger, changed, read, undone.
//!
//! `apply` is the way to create, `undo` the way to remove. Knows Kubernetes, OpenShift and KubeVirt.

pub mod apply;
pub mod health;
mod holders;
pub mod placement;
pub mod quantity;
pub mod strict;
pub mod sweep;
pub mod target;
pub(crate) mod undo;
pub mod versions;
