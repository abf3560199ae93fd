//! Logging in to a migrated guest: SSH through KubeVirt's port-forward subresource.

use std::time::Duration;

use super::Cluster;
use crate::api::vm::{GuestLogin, GuestOs};
use crate::config::Credentials;

/// Logs in over `…/virtualmachineinstances/NAME/portforward/22/tcp` and reads the guest's interfaces
/// (Linux and Windows). Tries until `limit`; never fails but by its result.
pub async fn login(
    cluster: &Cluster,
    namespace: &str,
    vm: &str,
    os: GuestOs,
    credentials: &Credentials,
    limit: Duration,
) -> GuestLogin {
    let _ = (cluster, namespace, vm, os, credentials, limit);
    unimplemented!()
}
