//! The client of MTV's inventory service.
//!
//! GET only. A provider that is being loaded answers 404 or 206; both mean *not yet*
//! (forklift.md §8.3).

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::cluster::wait::{self, Poll, WaitError};
use crate::event::Problem;
use crate::net::Peer;

use super::address::{self, InventoryAddress};

/// Id and host of a VM as the inventory lists it; `None`: the platform's VMs have no host.
pub fn host_of(vm: &Value) -> Option<(String, String)> {
    let text = |key: &str| vm.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    Some((text("id")?, text("host")?))
}

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
            Err(cause) => Answer::Refused(cause.to_string()),
        }
    }

    /// The VM with this id, once `fit` says that the inventory's view of it is complete. By id, because a
    /// name is none of its own: the inventory takes `/` in one for a path, and two VMs may share it.
    pub async fn wait_vm(
        &self,
        provider: &ProviderPath,
        id: &str,
        limit: Duration,
        fit: impl Fn(&Value) -> Result<(), String> + Send + Sync,
    ) -> Result<Value, WaitError> {
        let what = format!("VM {id} in MTV's inventory of {}", provider.name);
        let fit = &fit;
        wait::poll(&what, limit, || async move {
            match self.get(&provider.object("vms", id)).await {
                Answer::Found(vm) => match fit(&vm) {
                    Ok(()) => Poll::Done(vm),
                    Err(why) => Poll::NotYet(why),
                },
                // A restart of the inventory shows as 5xx for a while, so only the deadline ends the wait.
                Answer::NotYet(why) | Answer::Refused(why) => Poll::NotYet(why),
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
            match self.get(&provider.object(collection, id)).await {
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

/// Why what the inventory's policy says of a VM does not count yet: it was asked when the inventory did
/// not know everything that the VM refers to (OpenStack's servers come before their volumes), and the
/// error became a critical concern that stays until the VM changes
/// (`pkg/controller/validation/policy/client.go`).
pub fn judged_too_early(vm: &Value) -> Option<String> {
    const NO_SUCH_OBJECT: &str = "sql: no rows in result set";
    let concerns = vm.get("concerns").and_then(Value::as_array);
    let early = concerns.into_iter().flatten().any(|concern| {
        ["assessment", "label"]
            .iter()
            .any(|key| concern.get(*key).and_then(Value::as_str).is_some_and(|text| text.contains(NO_SUCH_OBJECT)))
    });
    early.then(|| format!("the inventory judged it before it knew all of it (concern `{NO_SUCH_OBJECT}`)"))
}

/// Why there is no judgement of a VM as it is now: its last revision was not validated yet. `None` where there is one, or
/// where the inventory tells no revisions.
pub fn not_judged(vm: &Value) -> Option<String> {
    let number = |key: &str| vm.get(key).and_then(Value::as_i64);
    let (now, judged) = (number("revision")?, number("revisionValidated")?);
    (judged < now).then(|| format!("the inventory has not judged revision {now} of it (only {judged})"))
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

    /// Path of one object in full detail. An id is the platform's text, so nothing in it may be taken
    /// for a part of the path.
    fn object(&self, collection: &str, id: &str) -> String {
        format!("{}/{collection}/{}", self.base(), utf8_percent_encode(id, NOT_IN_A_SEGMENT))
    }
}

/// Everything but RFC 3986's unreserved characters.
const NOT_IN_A_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_character_of_an_id_is_taken_for_a_part_of_the_path() {
        let provider = ProviderPath { type_: "vsphere".into(), uid: "u".into(), name: "p".into() };
        assert_eq!(provider.object("vms", "vm-12"), "providers/vsphere/u/vms/vm-12");
        assert_eq!(provider.object("vms", "a/b+c&d#e%f?gä"), "providers/vsphere/u/vms/a%2Fb%2Bc%26d%23e%25f%3Fg%C3%A4");
    }

    #[test]
    fn a_concern_about_a_missing_row_is_a_judgement_made_too_early() {
        let concern = |text: &str| json!({"concerns": [{"category": "Critical", "label": text, "assessment": text}]});
        assert!(judged_too_early(&concern("sql: no rows in result set")).is_some());
        assert_eq!(judged_too_early(&concern("Unsupported disk")), None);
        assert_eq!(judged_too_early(&json!({"concerns": null})), None);
        assert!(not_judged(&json!({"revision": 1, "revisionValidated": 0})).is_some(), "the judgement may still come");
        assert_eq!(not_judged(&json!({"revision": 2, "revisionValidated": 2})), None);
        assert_eq!(not_judged(&json!({"id": "vm-1"})), None);
    }
}
