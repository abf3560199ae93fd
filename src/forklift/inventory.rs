//! The client of MTV's inventory service.
//!
//! GET only. A provider that is being loaded answers 404 or 206; both mean *not yet*
//! (forklift.md §8.3).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::cluster::wait::{self, Poll, WaitError};
use crate::event::Problem;
use crate::net::Peer;

use super::address::{self, InventoryAddress};

/// What the inventory answered to one question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Found(Value),
    /// 404, 206 or an empty body: not there, or not yet.
    NotYet(String),
    /// 401, 403, 5xx.
    Refused(String),
}

/// The inventory of one cluster's MTV.
#[derive(Clone)]
pub struct Inventory {
    cluster: Cluster,
    address: InventoryAddress,
    peer: Arc<Peer>,
}

impl Inventory {
    pub fn new(cluster: Cluster, address: InventoryAddress) -> Self {
        Self { cluster, address, peer: Arc::new(Peer::new("inventory")) }
    }

    /// `path` begins with `providers`.
    pub async fn get(&self, path: &str) -> Answer {
        match address::get_json(&self.cluster, &self.peer, &self.address, path).await {
            Ok((200, Value::Null)) => Answer::NotYet("200 with an empty body".to_owned()),
            Ok((200, body)) => Answer::Found(body),
            Ok((code @ (404 | 206), _)) => Answer::NotYet(format!("the inventory answers {code} for {path}")),
            Ok((code, _)) => Answer::Refused(format!("the inventory answers {code} for {path}")),
            Err(cause) => Answer::Refused(cause),
        }
    }

    /// The VM of exactly this name, once `fit` says that the inventory's view of it is complete.
    pub async fn wait_vm(
        &self,
        provider: &ProviderPath,
        name: &str,
        limit: Duration,
        fit: impl Fn(&Value) -> Result<(), String> + Send + Sync,
    ) -> Result<Value, WaitError> {
        let what = format!("VM {name} in MTV's inventory of {}", provider.name);
        let fit = &fit;
        wait::poll(&what, limit, || async move {
            let list = match self.get(&format!("{}/vms?name={name}&detail=all", provider.base())).await {
                Answer::Found(list) => list,
                Answer::NotYet(why) => return Poll::NotYet(why),
                // A restart of the inventory shows as 5xx for a while, so only the deadline ends the wait.
                Answer::Refused(why) => return Poll::NotYet(why),
            };
            let found =
                list.as_array().into_iter().flatten().find(|vm| vm.get("name").and_then(Value::as_str) == Some(name));
            let Some(vm) = found else { return Poll::NotYet("not in the inventory".to_owned()) };
            match fit(vm) {
                Ok(()) => Poll::Done(vm.clone()),
                Err(why) => Poll::NotYet(why),
            }
        })
        .await
    }

    /// An object of a collection, once the inventory knows it.
    pub async fn wait_object(
        &self,
        provider: &ProviderPath,
        collection: &str,
        id: &str,
        limit: Duration,
    ) -> Result<(), WaitError> {
        let what = format!("{id} among the {collection} of MTV's inventory of {}", provider.name);
        wait::poll(&what, limit, || async move {
            match self.get(&format!("{}/{collection}/{id}", provider.base())).await {
                Answer::Found(_) => Poll::Done(()),
                Answer::NotYet(why) | Answer::Refused(why) => Poll::NotYet(why),
            }
        })
        .await
    }

    /// A collection of a provider in full detail, once the inventory has it.
    pub async fn wait_list(
        &self,
        provider: &ProviderPath,
        collection: &str,
        limit: Duration,
    ) -> Result<Vec<Value>, WaitError> {
        let what = format!("{collection} in MTV's inventory of {}", provider.name);
        wait::poll(&what, limit, || async move {
            match self.get(&format!("{}/{collection}?detail=all", provider.base())).await {
                Answer::Found(Value::Array(items)) => Poll::Done(items),
                Answer::Found(_) => Poll::Done(Vec::new()),
                Answer::NotYet(why) | Answer::Refused(why) => Poll::NotYet(why),
            }
        })
        .await
    }

    /// A collection of a provider, e.g. `datastores`.
    pub async fn list(&self, provider: &ProviderPath, collection: &str) -> Result<Vec<Value>, Problem> {
        match self.get(&format!("{}/{collection}?detail=all", provider.base())).await {
            Answer::Found(Value::Array(items)) => Ok(items),
            Answer::Found(_) => Ok(Vec::new()),
            Answer::NotYet(why) | Answer::Refused(why) => Err(Problem::new(format!(
                "failed to read {collection} of {} from MTV's inventory: {why}",
                provider.name
            ))),
        }
    }
}

/// The name of an inventory object; empty where it has none.
pub fn name_of(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Where a provider's part of the inventory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderPath {
    /// `vsphere` …
    pub type_: String,
    pub uid: String,
    /// For messages.
    pub name: String,
}

impl ProviderPath {
    fn base(&self) -> String {
        format!("providers/{}/{}", self.type_, self.uid)
    }
}
