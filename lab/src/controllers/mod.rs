//! MTV, KubeVirt and storage, as clients of the API server.
//!
//! They are ordinary Kubernetes clients, so that they run against any API server. Each part is one
//! function that runs until it is stopped and owns every task it starts.

mod copiers;
mod copy_log;
mod datavolumes;
mod given_volumes;
mod glance;
mod http_source;
pub mod kubelet;
pub mod kubevirt;
pub mod mtv;
pub mod namespaces;
pub mod objects;
mod pod_status;
mod said;
pub mod storage;
mod storage_profiles;
pub(crate) mod told;
mod uploads;
pub mod workloads;
mod xcopy;

pub(crate) use copiers::requested;
