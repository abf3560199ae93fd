//! The OpenStack driver: one project of a cloud behind the trait of this room.
//!
//! Speaks to Keystone, Nova, Cinder, Glance and Neutron as JSON over HTTP. Nothing is pushed here,
//! so every wait asks again with growing pauses; everything that a clone is made of is in the ledger
//! before it is asked for.

mod catalogue;
mod clone;
mod delete;
mod describe;
mod error;
mod items;
mod lookup;
mod power;
mod session;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{About, CloneRequest, DriverOptions, SourceDriver, SourceError, SourceItem, SourceNetwork, VmRef};
use crate::api::vm::{Power, SourceVm};
use crate::config::{Platform, PlatformConfig, ProviderProfile};
use crate::ledger::Ledger;
use crate::ledger::mark::{Claim, Judgement};
use crate::source::slot::Sessions as _;
use catalogue::Service;
use describe::{Parts, text};
use items::Kind;
use session::{Call, Session};

/// From here on a server tells its flavor in full, also one whose flavor is gone.
const EMBEDDED_FLAVOR: &str = "2.47";
/// From here on a server has a description.
const DESCRIPTION: &str = "2.19";

/// The driver of one OpenStack profile.
#[derive(Debug)]
pub struct OpenstackDriver {
    profile: Arc<ProviderProfile>,
    options: DriverOptions,
    session: Session,
}

impl OpenstackDriver {
    pub fn new(profile: Arc<ProviderProfile>, options: DriverOptions) -> Result<Self, SourceError> {
        let PlatformConfig::Openstack(config) = &profile.config else {
            return Err(SourceError::Unsupported {
                profile: profile.name.clone(),
                platform: profile.platform,
                what: "driving it as OpenStack".to_owned(),
            });
        };
        let session = Session::new(profile.clone(), config.clone(), options.clone());
        Ok(Self { session, profile, options })
    }

    /// Flavor and its extra specs.
    async fn flavor(&self, server: &Value) -> Result<(Value, Value), SourceError> {
        let failed = |e| self.session.failed(format!("read the flavor of {}", text(server, "/name")), e);
        let path = format!("/flavors/{}", text(server, "/flavor/id"));
        if let Some(flavor) = self.session.look_up(Service::Compute, path.clone(), "flavor").await.map_err(failed)? {
            let specs = self.session.read(Service::Compute, format!("{path}/os-extra_specs"), "extra_specs").await;
            // Extra specs may be for administrators only.
            return Ok((flavor, specs.unwrap_or_default()));
        }
        let call = Call::get(Service::Compute, format!("/servers/{}", text(server, "/id"))).version(EMBEDDED_FLAVOR);
        let body = self.session.call(call).await.map_err(failed)?.body;
        let flavor = body.pointer("/server/flavor").cloned().unwrap_or_default();
        let specs = flavor.get("extra_specs").cloned().unwrap_or_default();
        Ok((flavor, specs))
    }

    async fn parts(&self, vm: &VmRef) -> Result<Parts, SourceError> {
        let server = self.server(vm).await?;
        let failed = |e| self.session.failed(format!("read server {}", vm.name), e);
        let ((flavor, extra_specs), volumes, ports) =
            futures::future::try_join3(self.flavor(&server), self.volumes_of(&server), self.ports_of(&server)).await?;
        let image = match server.pointer("/image/id").and_then(Value::as_str) {
            Some(id) => {
                let found = self.session.look_up(Service::Image, format!("/images/{id}"), "").await;
                found.map_err(failed)?.unwrap_or_default()
            }
            None => Value::Null,
        };
        let networks = self.networks(&ports).await?;
        let list = |call: Call, key: &'static str| self.session.list(call, key);
        let subnets = list(Call::get(Service::Network, "/subnets"), "subnets").await.map_err(failed)?;
        let types = list(Call::get(Service::Volume, "/types"), "volume_types").await.map_err(failed)?;
        let snapshots = volumes.iter().map(|attached| {
            list(Call::get(Service::Volume, "/snapshots/detail").with("volume_id", attached.id()), "snapshots")
        });
        let snapshots = futures::future::try_join_all(snapshots).await.map_err(failed)?.concat();
        Ok(Parts { server, flavor, extra_specs, image, volumes, ports, networks, subnets, types, snapshots })
    }
}

#[async_trait]
impl SourceDriver for OpenstackDriver {
    fn platform(&self) -> Platform {
        Platform::Openstack
    }

    async fn connect(&self) -> Result<About, SourceError> {
        let live = self.session.connect().await.map_err(|e| self.session.failed("log in", e))?;
        // What the driver will need is asked for now, so that a service that is away is known at once.
        let versions = self.session.list(Call::get(Service::Compute, "/flavors"), "flavors").await;
        let flavors = versions.map_err(|e| self.session.failed("list the flavors", e))?;
        let facts = BTreeMap::from([("flavors".to_owned(), flavors.len().to_string())]);
        Ok(About { product: "OpenStack".to_owned(), version: format!("as {}", live.who), facts })
    }

    /// Keystone tells no id of its own; a project has one, and everything lies in a project.
    async fn instance(&self) -> Result<Option<String>, SourceError> {
        let live = self.session.live().await.map_err(|e| self.session.failed("log in", e))?;
        Ok(live.project.clone())
    }

    async fn find(&self, name: &str) -> Result<Option<VmRef>, SourceError> {
        let found = self.find_server(name).await?;
        Ok(found.map(|server| VmRef { id: text(&server, "/id").to_owned(), name: name.to_owned() }))
    }

    async fn networks_of(&self, base: &str) -> Result<Vec<SourceNetwork>, SourceError> {
        let server = self.require(base).await?;
        let ports = self.ports_of(&server).await?;
        self.networks(&ports).await
    }

    async fn clone_vm(&self, request: CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        self.make_clone(&request, ledger).await
    }

    async fn set_power(&self, vm: &VmRef, on: bool) -> Result<String, SourceError> {
        self.switch(vm, on).await
    }

    async fn wait_guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        self.addresses_known(vm, limit).await
    }

    /// A snapshot of every volume: a server has none of its own.
    async fn snapshot(&self, vm: &VmRef, name: &str) -> Result<(), SourceError> {
        let server = self.server(vm).await?;
        let deadline = Instant::now() + self.options.timeouts.clone;
        for attached in self.volumes_of(&server).await? {
            let body = json!({"snapshot": {"volume_id": attached.id(), "name": name, "force": true}});
            let call = Call::post(Service::Volume, "/snapshots", body);
            let what = format!("snapshot {} as {name}", vm.name);
            let answer = self.session.call(call).await.map_err(|e| self.session.failed(what, e))?;
            let id = text(&answer.body, "/snapshot/id");
            self.wait_status(Kind::Snapshot, id, name, "available", deadline).await?;
        }
        Ok(())
    }

    async fn describe(&self, vm: &VmRef) -> Result<SourceVm, SourceError> {
        Ok(describe::source_vm(&self.parts(vm).await?))
    }

    /// By its description: that moves `updated`, which metadata and tags do not.
    async fn touch(&self, vm: &VmRef) -> Result<(), SourceError> {
        let text = format!("mtv-matrix looked at this clone at {}", crate::clock::now());
        let body = json!({"server": {"description": text}});
        let call = Call::put(Service::Compute, format!("/servers/{}", vm.id), body).version(DESCRIPTION);
        self.session.call(call).await.map_err(|e| self.session.failed(format!("touch server {}", vm.name), e))?;
        Ok(())
    }

    async fn power(&self, vm: &VmRef) -> Result<Power, SourceError> {
        Ok(describe::power(&self.server(vm).await?))
    }

    async fn delete_vm(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        self.delete(claim).await
    }

    async fn delete_item(&self, kind: &str, claim: &Claim<'_>) -> Result<bool, SourceError> {
        // By name: an id is not known where the run was killed between asking and the answer.
        self.delete_one(kind, claim).await
    }

    async fn judge(&self, kind: Option<&str>, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        match kind {
            None => Ok(self.claimed(claim).await?.map(|(_, judgement)| judgement)),
            Some(kind) => self.judge_item(kind, claim).await,
        }
    }

    async fn list_by_prefix(&self, prefix: &str) -> Result<Vec<VmRef>, SourceError> {
        let mut found: Vec<VmRef> = self
            .servers_like(prefix)
            .await?
            .iter()
            .filter(|server| text(server, "/name").starts_with(prefix))
            .map(|server| VmRef { id: text(server, "/id").to_owned(), name: text(server, "/name").to_owned() })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn list_items_by_prefix(&self, prefix: &str) -> Result<Vec<SourceItem>, SourceError> {
        self.items_like(prefix).await
    }

    async fn disconnect(&self) {
        self.session.disconnect().await;
    }
}
