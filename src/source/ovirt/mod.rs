//! The oVirt (RHV) driver: one engine behind the trait of this room.
//!
//! Speaks the engine's REST API in JSON. Works only in a data center that is named for it and up;
//! clones are made from templates; every clone is in the ledger before it is asked for.

mod clone;
mod delete;
mod describe;
mod lookup;
mod power;
mod rest;
mod session;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::{About, CloneRequest, DriverOptions, SourceDriver, SourceError, SourceNetwork, VmRef};
use crate::api::vm::{Power, SourceVm};
use crate::config::{Platform, PlatformConfig, ProviderProfile};
use crate::ledger::Ledger;
use crate::ledger::mark::{Claim, Judgement};
use crate::net::Poll;
use crate::source::slot::Sessions as _;
use rest::{inner, text, text_or_empty};
use session::Session;

/// The driver of one oVirt profile.
#[derive(Debug)]
pub struct OvirtDriver {
    profile: Arc<ProviderProfile>,
    datacenter: String,
    session: Session,
    /// Clones that were asked for and not answered yet: what a dropped cell may leave behind.
    asked: Mutex<HashSet<String>>,
    /// The engine's own id, asked for once.
    instance: tokio::sync::OnceCell<Option<String>>,
}

impl OvirtDriver {
    pub fn new(profile: Arc<ProviderProfile>, options: DriverOptions) -> Result<Self, SourceError> {
        let PlatformConfig::Ovirt { insecure, datacenter } = &profile.config else {
            return Err(SourceError::Unsupported {
                profile: profile.name.clone(),
                platform: profile.platform,
                what: "driving it as oVirt".to_owned(),
            });
        };
        Ok(Self {
            datacenter: datacenter.clone(),
            session: Session::new(profile.clone(), &options, *insecure),
            profile,
            asked: Mutex::default(),
            instance: tokio::sync::OnceCell::new(),
        })
    }

    fn unsupported(&self, what: impl Into<String>) -> SourceError {
        SourceError::Unsupported { profile: self.profile.name.clone(), platform: Platform::Ovirt, what: what.into() }
    }
}

#[async_trait]
impl SourceDriver for OvirtDriver {
    fn platform(&self) -> Platform {
        Platform::Ovirt
    }

    async fn connect(&self) -> Result<About, SourceError> {
        self.session.connect().await.map_err(|e| self.session.failed("log in", e))?;
        let api = self.session.get("", &[]).await.map_err(|e| self.session.failed("read what the engine is", e))?;
        self.pass_gate().await?;
        let version = text(&api, "product_info/version/full_version");
        let mut facts = BTreeMap::from([("datacenter".to_owned(), self.datacenter.clone())]);
        if let Some(id) = text(&api, "product_info/instance_id") {
            facts.insert("instanceId".to_owned(), id);
        }
        Ok(About {
            product: text(&api, "product_info/name").unwrap_or_else(|| "oVirt Engine".to_owned()),
            version: version.unwrap_or_else(|| "of unknown version".to_owned()),
            facts,
        })
    }

    async fn instance(&self) -> Result<Option<String>, SourceError> {
        let known = self.instance.get_or_try_init(|| async {
            let api = self.session.get("", &[]).await.map_err(|e| self.session.failed("read what the engine is", e))?;
            Ok(text(&api, "product_info/instance_id"))
        });
        known.await.cloned()
    }

    async fn find(&self, name: &str) -> Result<Option<VmRef>, SourceError> {
        if let Some(vm) = self.find_vm(name).await? {
            return Ok(Some(vm));
        }
        let template = self.find_template(name).await?;
        Ok(template.map(|t| VmRef { id: text_or_empty(&t, "id"), name: name.to_owned() }))
    }

    async fn networks_of(&self, base: &str) -> Result<Vec<SourceNetwork>, SourceError> {
        self.networks_by_name(base).await
    }

    async fn clone_vm(&self, request: CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        self.make_clone(&request, ledger).await
    }

    async fn set_power(&self, vm: &VmRef, on: bool) -> Result<String, SourceError> {
        if on { self.power_on(vm).await } else { self.shut_down(vm).await }
    }

    async fn wait_guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        self.guest_info(vm, limit).await
    }

    async fn snapshot(&self, vm: &VmRef, name: &str) -> Result<(), SourceError> {
        let what = format!("snapshot {} as {name}", vm.name);
        let what = what.as_str();
        let path = format!("vms/{}/snapshots", vm.id);
        let body = json!({"description": name, "persist_memorystate": "false"});
        let made = self.session.post(&path, &[], &body).await.map_err(|e| self.session.failed(what, e))?;
        let own = format!("{path}/{}", text_or_empty(&made, "id"));
        let (own, whole) = (own.as_str(), format!("vms/{}", vm.id));
        let whole = whole.as_str();
        let limit = self.session.timeouts().clone;
        let waited = self.session.until(what, limit, || async move {
            let snapshot = self.session.get_opt(own, &[]).await.map_err(|e| self.session.failed(what, e))?;
            let Some(snapshot) = snapshot else {
                return Err(self.session.refused(what, "the engine has taken it back"));
            };
            let status = text_or_empty(&snapshot, "snapshot_status");
            if status != "ok" {
                return Ok(Poll::NotYet(format!("snapshot {status}")));
            }
            // The VM stays locked until its disks are free, too.
            let read = self.session.get(whole, &[("follow", "disk_attachments.disk")]).await;
            let read = read.map_err(|e| self.session.failed(what, e))?;
            let busy = inner(&read, "disk_attachments", "disk_attachment")
                .iter()
                .any(|a| text(a, "disk/status").as_deref() == Some("locked"));
            Ok(if busy { Poll::NotYet("a disk locked".to_owned()) } else { Poll::Done(()) })
        });
        waited.await
    }

    async fn describe(&self, vm: &VmRef) -> Result<SourceVm, SourceError> {
        let what = format!("read VM {}", vm.name);
        let failed = |e| self.session.failed(&what, e);
        let found = self.session.get_opt(&format!("vms/{}", vm.id), &[("follow", describe::FOLLOW)]).await;
        let found = found.map_err(failed)?.ok_or_else(|| SourceError::NotFound {
            profile: self.profile.name.clone(),
            kind: "VM".to_owned(),
            name: vm.name.clone(),
            hint: String::new(),
        })?;
        let reported = self.session.get(&format!("vms/{}/reporteddevices", vm.id), &[]).await.map_err(failed)?;
        let cluster = match text(&found, "cluster/id") {
            Some(id) => self.session.get(&format!("clusters/{id}"), &[]).await.map_err(failed)?,
            None => serde_json::Value::Null,
        };
        let (profiles, domains) = (self.profiles().await?, self.domains().await?);
        Ok(describe::source_vm(&found, &reported, &cluster, &profiles, &domains))
    }

    async fn power(&self, vm: &VmRef) -> Result<Power, SourceError> {
        let what = format!("read the power of {}", vm.name);
        let found = self.session.get(&format!("vms/{}", vm.id), &[]).await;
        Ok(describe::power(&found.map_err(|e| self.session.failed(what, e))?))
    }

    async fn delete_vm(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        self.delete(claim).await
    }

    async fn judge(&self, _: Option<&str>, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        Ok(self.claimed(claim).await?.map(|(_, judgement)| judgement))
    }

    async fn list_by_prefix(&self, prefix: &str) -> Result<Vec<VmRef>, SourceError> {
        self.beginning_with(prefix).await
    }

    async fn own_ca(&self) -> Result<Option<String>, SourceError> {
        self.session.fetch_ca().await.map(Some)
    }

    async fn power_mark(&self) -> Result<Option<String>, SourceError> {
        self.newest_event().await.map(|id| Some(id.to_string()))
    }

    async fn forced_off_since(&self, vm: &VmRef, mark: &str) -> Result<bool, SourceError> {
        self.forced_off_after(vm, mark).await
    }

    async fn disconnect(&self) {
        self.session.disconnect().await;
    }
}
