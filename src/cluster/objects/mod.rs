//! Objects of the cluster: created through the ledger, changed, read.
//!
//! `apply` is the way to create; removing is `cleanup`'s. Knows Kubernetes, OpenShift and KubeVirt.

pub mod apply;
pub mod exec;
#[cfg(test)]
pub(crate) mod fixture;
pub mod placement;
pub mod routes;
pub mod strict;
pub mod switch;
pub mod target;
