//! The lab's MTV: Providers, maps, hooks, Plans and Migrations as Forklift's controllers treat them.
//!
//! What is emulated, field by field, is in Forklift's source; versions 2.9 to 2.12, and main (2.13). Talks to the
//! API server and to source platforms only as a client.

mod again;
pub mod conditions;
mod conversions;
mod data_volumes;
mod execute;
mod feed;
mod flight;
mod guest_conversions;
mod hooks;
mod jobs;
mod keys;
#[cfg(test)]
mod left;
mod maps;
mod migrations;
mod networks;
pub(super) mod offload;
mod patience;
mod pipeline;
mod plan;
pub mod platform;
mod pods;
mod populators;
mod provider;
mod pvc_name;
mod reach;
pub(crate) mod sources;
mod target;
mod tidy;
mod transfers;
mod validate;
mod vddk;
mod warm;

use futures::FutureExt as _;
use std::sync::Arc;

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::glance;
use super::told::Teller;
use crate::api::forklift::ForkliftController;
use crate::api::names::LAB_CLOCK_SCALE;
use crate::api::version::Version;
use crate::clock::Clock;
use crate::defects::Defects;
use crate::inventory::InventoryDb;
use crate::ports::GuestDirectory;
use feed::Feeds;
use migrations::Migrations;
pub(crate) use sources::openshift::Clusters;
use sources::transport::Transports;

/// The MTV release that is played: only the minor matters, the major is 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MtvVersion(u32);

impl MtvVersion {
    /// `2.9` to `2.13`, which is what upstream's main calls itself; a patch level is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let version = Version::parse(text)?;
        (version.major == 2 && (9..=13).contains(&version.minor)).then_some(Self(version.minor))
    }
    /// The `N` of 2.N.
    pub fn minor(self) -> u32 {
        self.0
    }

    /// Whether this release is 2.`minor` or later.
    pub fn at_least(self, minor: u32) -> bool {
        self.0 >= minor
    }
}

/// What MTV needs to run.
pub struct MtvOptions {
    pub client: Client,
    pub clock: Clock,
    pub version: MtvVersion,
    /// MTV's own namespace.
    pub namespace: String,
    /// Shared with the inventory.
    pub clusters: Clusters,
    pub defects: Defects,
    /// Whose migration fails, as the world says.
    pub guests: Arc<dyn GuestDirectory>,
    /// Tells of a migration's objects; where it does, what is there to be looked at alone is there, too.
    pub(crate) events: Teller,
    /// Whether a kubelet ends the pods of Jobs.
    pub nodes: bool,
    pub stop: CancellationToken,
}

/// Shared by all of MTV's controllers.
struct Mtv {
    pub client: Client,
    pub clock: Clock,
    pub version: MtvVersion,
    pub namespace: String,
    pub defects: Defects,
    pub guests: Arc<dyn GuestDirectory>,
    pub events: Teller,
    pub nodes: bool,
    pub db: Arc<InventoryDb>,
    pub clusters: Clusters,
    pub feeds: Feeds,
    /// To the sources.
    pub transports: Transports,
    pub migrations: Migrations,
    pub flights: flight::Flights,
    /// Held by a migration where one Plan migrates after the other.
    pub alone: tokio::sync::Mutex<()>,
    /// Held while a populator's claim is looked at: their controller has one worker.
    pub populators: tokio::sync::Mutex<()>,
    /// Whether its pod is there: without it nothing goes on.
    pub up: tokio::sync::watch::Sender<bool>,
    /// What goes on after a migration has ended, as MTV's goroutines do: ended with the controllers.
    pub afterwards: TaskTracker,
    pub stop: CancellationToken,
}

impl Mtv {
    /// Says how fast its time passes, for who compares its times with what it was told. One that can't write it is
    /// taken for a clock like the wall's.
    async fn tell_scale(&self) {
        let api: Api<ForkliftController> = Api::namespaced(self.client.clone(), &self.namespace);
        let scale = self.clock.scale().to_string();
        let patch = serde_json::json!({"metadata": {"annotations": {LAB_CLOCK_SCALE: scale}}});
        let _ = api.patch("forklift-controller", &PatchParams::default(), &Patch::Merge(patch)).await;
    }
    /// What the ForkliftController says; nothing where there is none.
    async fn settings(&self) -> Result<serde_json::Value, kube::Error> {
        #[derive(serde::Deserialize)]
        struct Settings {
            #[serde(default)]
            spec: serde_json::Value,
        }
        let api: Api<ForkliftController> = Api::namespaced(self.client.clone(), &self.namespace);
        let controller = glance::one::<_, Settings>(&api, "forklift-controller").await?;
        Ok(controller.map(|controller| controller.spec).unwrap_or_default())
    }
    /// What it says of something; nothing where it can't be asked, too.
    async fn setting(&self, key: &str) -> Option<serde_json::Value> {
        self.settings().await.ok()?.get(key).cloned()
    }
    /// A switch of the ForkliftController; `default` where nothing is written.
    async fn switch(&self, key: &str, default: bool) -> bool {
        match self.setting(key).await {
            Some(serde_json::Value::Bool(on)) => on,
            Some(serde_json::Value::String(text)) => text == "true",
            _ => default,
        }
    }
}

/// Runs every controller until `stop`. Each is boxed: what a future holds is then proven `Send` once, and not
/// again by everything that holds it, which is most of what this package costs to compile.
pub async fn run(options: MtvOptions, db: Arc<InventoryDb>) {
    let mtv = Arc::new(Mtv {
        client: options.client,
        clock: options.clock,
        version: options.version,
        namespace: options.namespace,
        defects: options.defects,
        guests: options.guests,
        events: options.events,
        nodes: options.nodes,
        db,
        clusters: options.clusters,
        feeds: Feeds::default(),
        transports: Transports::default(),
        migrations: Migrations::default(),
        flights: flight::Flights::default(),
        alone: tokio::sync::Mutex::default(),
        populators: tokio::sync::Mutex::default(),
        up: tokio::sync::watch::Sender::new(true),
        afterwards: TaskTracker::new(),
        stop: options.stop.clone(),
    });
    mtv.tell_scale().await;
    let stop = options.stop;
    tokio::join!(
        provider::run(mtv.clone(), stop.clone()).boxed(),
        maps::run(mtv.clone(), stop.clone()).boxed(),
        hooks::run(mtv.clone(), stop.clone()).boxed(),
        plan::run(mtv.clone(), stop.clone()).boxed(),
        migrations::run(mtv.clone(), stop.clone()).boxed(),
        conversions::run(mtv.clone(), stop.clone()).boxed(),
        pods::controller(mtv.clone(), stop).boxed(),
    );
    mtv.afterwards.close();
    mtv.afterwards.wait().await;
}

#[cfg(test)]
mod tests {
    use super::MtvVersion;

    #[test]
    fn the_lab_plays_the_four_supported_releases() {
        assert!(MtvVersion::parse("2.8").is_none() && MtvVersion::parse("2.14").is_none());
        assert!(MtvVersion::parse("2.11.7").is_some_and(|v| v.at_least(11) && !v.at_least(12)));
    }
}
