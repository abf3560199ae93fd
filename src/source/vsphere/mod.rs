//! The vSphere driver: one vCenter (or ESXi host) behind the trait of this room.
//!
//! Speaks SOAP through `api::vim`. Every wait is a long poll on a private property collector;
//! every clone is in the ledger before it is asked for.

mod clone;
mod delete;
mod describe;
mod esxi;
mod guest;
pub mod host;
mod lookup;
mod offload;
mod placement;
mod polls;
mod power;
mod session;
mod shared;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    About, CloneRequest, DriverOptions, KeyRequest, SourceDriver, SourceError, SourceItem, SourceNetwork, VmRef,
};
use crate::api::vim::device::Hardware;
use crate::api::vim::{MoRef, op};
use crate::api::vm::{Power, SourceVm};
use crate::config::platforms::VsphereConfig;
use crate::config::{Credentials, Platform, PlatformConfig, ProviderProfile};
use crate::ledger::Ledger;
use crate::ledger::mark::{Claim, Judgement};
use crate::source::slot::Sessions as _;
use session::Session;

/// The driver of one vSphere profile.
#[derive(Debug)]
pub struct VsphereDriver {
    profile: Arc<ProviderProfile>,
    options: DriverOptions,
    config: VsphereConfig,
    session: Session,
    index: Mutex<lookup::Index>,
    listings: lookup::Listings<lookup::Index>,
    /// Clones that this process asked for and did not see end: what a dropped cell leaves behind.
    cloning: Mutex<HashMap<String, MoRef>>,
    /// Held while a host's keys are changed, by the host's id.
    keys: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl VsphereDriver {
    pub fn new(profile: Arc<ProviderProfile>, options: DriverOptions) -> Result<Self, SourceError> {
        let PlatformConfig::Vsphere(config) = &profile.config else {
            return Err(SourceError::Unsupported {
                profile: profile.name.clone(),
                platform: profile.platform,
                what: "driving it as vSphere".to_owned(),
            });
        };
        Ok(Self {
            config: config.clone(),
            session: Session::new(profile.clone(), options.clone()),
            profile,
            options,
            index: Mutex::default(),
            listings: lookup::Listings::default(),
            cloning: Mutex::default(),
            keys: Mutex::default(),
        })
    }

    fn unsupported(&self, what: impl Into<String>) -> SourceError {
        SourceError::Unsupported { profile: self.profile.name.clone(), platform: Platform::Vsphere, what: what.into() }
    }

    fn moref(vm: &VmRef) -> MoRef {
        MoRef::new("VirtualMachine", &vm.id)
    }
}

#[async_trait]
impl SourceDriver for VsphereDriver {
    fn platform(&self) -> Platform {
        Platform::Vsphere
    }

    async fn connect(&self) -> Result<About, SourceError> {
        let live = self.session.connect().await.map_err(|e| self.session.failed("log in", e))?;
        let content = &live.content;
        let mut facts = BTreeMap::from([
            ("apiType".to_owned(), content.api_type.clone()),
            ("apiVersion".to_owned(), content.api_version.clone()),
            ("build".to_owned(), content.build.clone()),
        ]);
        if let Some(uuid) = &content.instance_uuid {
            facts.insert("instanceUuid".to_owned(), uuid.clone());
        }
        Ok(About { product: content.name.clone(), version: content.version.clone(), facts })
    }

    /// A vCenter has one, a host alone has none.
    async fn instance(&self) -> Result<Option<String>, SourceError> {
        let live = self.session.live().await.map_err(|e| self.session.failed("log in", e))?;
        Ok(live.content.instance_uuid.clone())
    }

    async fn find(&self, name: &str) -> Result<Option<VmRef>, SourceError> {
        Ok(self.find_vm(name).await?.map(|vm| self.vm_ref(name, &vm)))
    }

    async fn networks_of(&self, base: &str) -> Result<Vec<SourceNetwork>, SourceError> {
        let vm = self.require(base).await?;
        let object = self.props(&vm, &["config.hardware.device", "network"]).await?;
        let (networks, _) = self.surroundings(&object.morefs("network"), &[]).await?;
        let mut found: Vec<SourceNetwork> = Vec::new();
        for nic in Hardware::of(&object.props).nics {
            let Some(network) = nic.backing.find(&networks) else {
                let what = format!("resolve the network of {} of {base}", nic.label);
                return Err(self
                    .session
                    .refused(what, "the VM does not list the network that this card is plugged into"));
            };
            let one = SourceNetwork { id: network.moref.id.clone(), name: network.name.clone() };
            if !found.contains(&one) {
                found.push(one);
            }
        }
        Ok(found)
    }

    async fn clone_vm(&self, request: CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        self.make_clone(&request, ledger).await
    }

    async fn offload_obstacles(&self, storages: &[&str], lun: Option<&str>) -> Result<Vec<String>, SourceError> {
        self.obstacles(storages, lun).await
    }

    async fn set_power(&self, vm: &VmRef, on: bool) -> Result<String, SourceError> {
        if on { self.power_on(vm).await } else { self.shut_down(vm).await }
    }

    async fn wait_guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        self.guest_info(vm, limit).await
    }

    async fn snapshot(&self, vm: &VmRef, name: &str) -> Result<(), SourceError> {
        let what = format!("snapshot {} as {name}", vm.name);
        let body = op::create_snapshot(&Self::moref(vm), name, "made by mtv-matrix", false, false);
        self.session
            .run_task("CreateSnapshot_Task", &what, self.options.timeouts.clone, |_| body.clone())
            .await
            .map_err(|e| self.session.failed(&what, e))?;
        Ok(())
    }

    async fn host_of(&self, vm: &VmRef) -> Result<Option<String>, SourceError> {
        let object = self.props(&Self::moref(vm), &["runtime.host"]).await?;
        Ok(object.moref("runtime.host").map(|host| host.id))
    }

    async fn host_beside(&self, others: &[String], storage: Option<&str>) -> Result<String, SourceError> {
        self.another_host(others, storage).await
    }

    async fn share_disks(&self, owner: &VmRef, other: &VmRef) -> Result<usize, SourceError> {
        self.share(owner, other).await
    }

    async fn stay(&self, vm: &VmRef) -> Result<(), SourceError> {
        self.without_drs(vm).await
    }

    async fn add_disk(&self, vm: &VmRef, gib: u64) -> Result<(), SourceError> {
        self.attach_disk(vm, gib).await
    }

    async fn describe(&self, vm: &VmRef) -> Result<SourceVm, SourceError> {
        let object = self.props(&Self::moref(vm), describe::PATHS).await?;
        if object.text("config.hardware.numCPU").is_none() {
            let why = object.missing.first().map(|(path, fault)| format!("{path}: {fault}"));
            let cause =
                why.unwrap_or_else(|| "it has no configuration: inaccessible, orphaned or still being made".to_owned());
            return Err(self.session.refused(format!("read VM {}", vm.name), cause));
        }
        let (networks, datastores) = self.surroundings(&object.morefs("network"), &object.morefs("datastore")).await?;
        Ok(describe::source_vm(&object, &networks, &datastores))
    }

    async fn power(&self, vm: &VmRef) -> Result<Power, SourceError> {
        let object = self.props(&Self::moref(vm), &["runtime.powerState"]).await?;
        Ok(describe::power(object.text("runtime.powerState")))
    }

    async fn delete_vm(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        self.delete(claim).await
    }

    async fn let_in(&self, request: &KeyRequest<'_>, ledger: &Ledger) -> Result<String, SourceError> {
        self.add_key(request, ledger).await
    }

    async fn delete_item(&self, kind: &str, claim: &Claim<'_>) -> Result<bool, SourceError> {
        if kind != esxi::KIND {
            return Err(self.unsupported(format!("removing {kind} {}", claim.name)));
        }
        self.remove_key(claim).await
    }

    async fn list_items_by_prefix(&self, prefix: &str) -> Result<Vec<SourceItem>, SourceError> {
        self.keys_like(prefix).await
    }

    async fn judge(&self, kind: Option<&str>, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        if kind == Some(esxi::KIND) {
            return self.judge_key(claim).await;
        }
        Ok(self.claimed(claim).await?.map(|(_, judgement)| judgement))
    }

    async fn list_by_prefix(&self, prefix: &str) -> Result<Vec<VmRef>, SourceError> {
        let mut found: Vec<VmRef> = Vec::new();
        for (name, vms) in self.refresh().await?.iter() {
            if name.starts_with(prefix) {
                found.extend(vms.iter().map(|vm| self.vm_ref(name, vm)));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn reaches_guests(&self) -> bool {
        true
    }

    async fn run_in_guest(
        &self,
        vm: &VmRef,
        login: &Credentials,
        program: &str,
        arguments: &str,
        limit: Duration,
    ) -> Result<i32, SourceError> {
        self.in_guest(vm, login, program, arguments, limit).await
    }

    async fn disconnect(&self) {
        self.session.disconnect().await;
    }
}
