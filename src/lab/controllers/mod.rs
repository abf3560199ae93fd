//! MTV, KubeVirt and storage, as clients of the API server.

pub mod mtv;
