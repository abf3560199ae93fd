//! An ESXi host as the source, whose clones a vCenter makes: a host by itself can't clone.
//!
//! The host is asked for everything that MTV asks it for, under its own ids; vCenter makes the clones, on that host, and takes
//! them away again. In the ledger a clone is one of the host's profile, with vCenter's id and instance.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::VsphereDriver;
use crate::api::vim::property::PropertySpec;
use crate::api::vm::{Power, SourceVm};
use crate::config::{Credentials, Platform, PlatformConfig, ProviderProfile};
use crate::ledger::Ledger;
use crate::ledger::mark::{Claim, Judgement};
use crate::net::Poll;
use crate::source::{
    About, CloneRequest, DriverOptions, KeyRequest, SourceDriver, SourceError, SourceItem, SourceNetwork, VmRef, poll,
};

/// By what both know a host.
const UUID: &str = "hardware.systemInfo.uuid";

/// The driver of a profile that names a `clone_provider`.
pub struct HostDriver {
    profile: Arc<ProviderProfile>,
    limit: Duration,
    /// The host itself.
    own: VsphereDriver,
    /// The vCenter that it belongs to.
    vcenter: VsphereDriver,
}

impl HostDriver {
    /// `cloner`: the vCenter's profile.
    pub fn new(
        profile: Arc<ProviderProfile>,
        cloner: &ProviderProfile,
        options: DriverOptions,
    ) -> Result<Self, SourceError> {
        // Under the host's name: what it writes into the ledger is this profile's.
        let mut cloner = ProviderProfile { name: profile.name.clone(), ..cloner.clone() };
        if let (PlatformConfig::Vsphere(theirs), PlatformConfig::Vsphere(ours)) = (&mut cloner.config, &profile.config)
        {
            theirs.copyoffload.clone_from(&ours.copyoffload);
        }
        Ok(Self {
            limit: options.timeouts.inventory,
            own: VsphereDriver::new(profile.clone(), options.clone())?,
            vcenter: VsphereDriver::new(Arc::new(cloner), options)?,
            profile,
        })
    }

    /// The host as its vCenter calls it.
    async fn in_vcenter(&self) -> Result<String, SourceError> {
        let read = async |driver: &VsphereDriver| {
            let props = vec![PropertySpec { kind: "HostSystem", paths: &["name", UUID] }];
            driver.session.list(props).await.map_err(|e| driver.session.failed("list the hosts", e))
        };
        let here = read(&self.own).await?;
        let uuid = here.first().and_then(|host| host.text(UUID)).unwrap_or_default().to_owned();
        let known = read(&self.vcenter).await?;
        let same = known.iter().find(|host| !uuid.is_empty() && host.text(UUID) == Some(uuid.as_str()));
        same.map(|host| host.obj.id.clone()).ok_or_else(|| {
            let cause = format!("none of the {} hosts of the `clone_provider` has its UUID ({uuid})", known.len());
            self.own.session.refused(format!("find host {} in its vCenter", self.profile.name), cause)
        })
    }

    /// The VM that vCenter has made, as the host calls it.
    async fn here(&self, made: &VmRef) -> Result<VmRef, SourceError> {
        let (what, deadline) = (format!("clone {} to appear on its host", made.name), Instant::now() + self.limit);
        poll::until(&self.profile.name, &what, deadline, || async {
            Ok(self.own.find(&made.name).await?.map_or_else(|| Poll::NotYet("it is not there".to_owned()), Poll::Done))
        })
        .await
    }
}

#[async_trait]
impl SourceDriver for HostDriver {
    fn platform(&self) -> Platform {
        Platform::Vsphere
    }

    async fn connect(&self) -> Result<About, SourceError> {
        self.vcenter.connect().await?;
        self.own.connect().await
    }

    /// Where the clones are made.
    async fn instance(&self) -> Result<Option<String>, SourceError> {
        self.vcenter.instance().await
    }

    /// A base that is cloned from is vCenter's, on whatever host it is.
    async fn find(&self, name: &str) -> Result<Option<VmRef>, SourceError> {
        self.vcenter.find(name).await
    }

    async fn networks_of(&self, base: &str) -> Result<Vec<SourceNetwork>, SourceError> {
        self.vcenter.networks_of(base).await
    }

    async fn clone_vm(&self, request: CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        let own = self.in_vcenter().await?;
        if request.host.is_some_and(|asked| asked != own && asked != self.profile.fqdn) {
            return Err(self.own.unsupported("a clone on another host than the source itself"));
        }
        let made = self.vcenter.clone_vm(CloneRequest { host: Some(&own), ..request }, ledger).await?;
        self.here(&made).await
    }

    async fn let_in(&self, request: &KeyRequest<'_>, ledger: &Ledger) -> Result<String, SourceError> {
        let host = self.in_vcenter().await?;
        self.vcenter.let_in(&KeyRequest { host: &host, ..request.clone() }, ledger).await
    }

    async fn delete_item(&self, kind: &str, claim: &Claim<'_>) -> Result<bool, SourceError> {
        self.vcenter.delete_item(kind, claim).await
    }

    async fn list_items_by_prefix(&self, prefix: &str) -> Result<Vec<SourceItem>, SourceError> {
        self.vcenter.list_items_by_prefix(prefix).await
    }

    async fn offload_obstacles(&self, storages: &[&str], lun: Option<&str>) -> Result<Vec<String>, SourceError> {
        self.vcenter.offload_obstacles(storages, lun).await
    }

    async fn set_power(&self, vm: &VmRef, on: bool) -> Result<String, SourceError> {
        self.own.set_power(vm, on).await
    }

    async fn wait_guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        self.own.wait_guest_info(vm, limit).await
    }

    async fn snapshot(&self, vm: &VmRef, name: &str) -> Result<(), SourceError> {
        self.own.snapshot(vm, name).await
    }

    async fn host_of(&self, vm: &VmRef) -> Result<Option<String>, SourceError> {
        self.own.host_of(vm).await
    }

    async fn share_disks(&self, owner: &VmRef, other: &VmRef) -> Result<usize, SourceError> {
        self.own.share_disks(owner, other).await
    }

    /// A host alone moves nothing; its vCenter may.
    async fn stay(&self, vm: &VmRef) -> Result<(), SourceError> {
        match self.vcenter.find(&vm.name).await? {
            Some(theirs) => self.vcenter.stay(&theirs).await,
            None => Ok(()),
        }
    }

    async fn add_disk(&self, vm: &VmRef, gib: u64) -> Result<(), SourceError> {
        self.own.add_disk(vm, gib).await
    }

    async fn describe(&self, vm: &VmRef) -> Result<SourceVm, SourceError> {
        self.own.describe(vm).await
    }

    async fn power(&self, vm: &VmRef) -> Result<Power, SourceError> {
        self.own.power(vm).await
    }

    async fn delete_vm(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        self.vcenter.delete_vm(claim).await
    }

    async fn judge(&self, kind: Option<&str>, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        self.vcenter.judge(kind, claim).await
    }

    async fn list_by_prefix(&self, prefix: &str) -> Result<Vec<VmRef>, SourceError> {
        self.vcenter.list_by_prefix(prefix).await
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
        self.own.run_in_guest(vm, login, program, arguments, limit).await
    }

    async fn disconnect(&self) {
        self.own.disconnect().await;
        self.vcenter.disconnect().await;
    }
}
