//! The controllers of the lab: MTV, KubeVirt and storage, each an ordinary client of the API server.

pub mod kubevirt;
pub mod storage;
