//! OpenShift: another cluster, by URL and token.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::pipeline::Path;
use super::super::platform::{ConnectError, Inventory, Login, PlatformClient};
use super::super::{Mtv, MtvVersion};
use super::{Source, http_client, missing};

pub(super) struct Openshift;

#[async_trait]
impl Source for Openshift {
    fn missing_keys(&self, login: &Login) -> Vec<String> {
        missing(login, &["token"], false)
    }

    /// A real request to the other cluster with the Secret's token, TLS as the Secret asks.
    async fn connect(&self, _: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        let client = http_client(login)?;
        let request = client.get(format!("{}/api/v1/namespaces?limit=1", login.url));
        let answer = request.bearer_auth(login.secret("token")).send().await;
        match answer.map_err(|e| ConnectError::Failed(e.to_string()))?.status().as_u16() {
            200..=299 => Ok(Arc::new(OpenshiftClient)),
            code @ (400 | 401) => Err(ConnectError::Auth(format!("the server answered {code}"))),
            code => Err(ConnectError::Failed(format!("the server answered {code}"))),
        }
    }

    fn names_pvcs(&self, version: MtvVersion) -> bool {
        version.at_least(11)
    }

    fn steps(&self, _: Path, _: MtvVersion) -> Vec<&'static str> {
        vec!["DiskTransfer", "VirtualMachineCreation"]
    }
}

/// A cluster's inventory is read live by the inventory service, so there is nothing to collect.
struct OpenshiftClient;

#[async_trait]
impl PlatformClient for OpenshiftClient {
    async fn collect(&self) -> Result<Inventory, String> {
        Ok(Inventory::default())
    }
    async fn changed(&self) -> Result<(), String> {
        std::future::pending().await
    }
    async fn power(&self, vm_id: &str, _: bool) -> Result<(), String> {
        Err(format!("there is no VM {vm_id}"))
    }
    async fn power_state(&self, vm_id: &str) -> Result<bool, String> {
        Err(format!("there is no VM {vm_id}"))
    }
    async fn create_snapshot(&self, vm_id: &str, _: &str) -> Result<String, String> {
        Err(format!("there is no VM {vm_id}"))
    }
    async fn remove_snapshot(&self, vm_id: &str, _: &str) -> Result<(), String> {
        Err(format!("there is no VM {vm_id}"))
    }
    async fn logout(&self) {}
}
