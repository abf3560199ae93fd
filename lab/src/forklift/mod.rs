//! The real Forklift in place of the lab's MTV: its own executables, as children of the lab.
//!
//! They want fixed ports, files under `/var/run/secrets` and pods that answer on their addresses, so
//! they live in namespaces of their own (network, mount, processes) under a [`supervisor`] that is
//! this program once more. Nothing leads into or out of those namespaces but the [`relay`]: Forklift
//! reaches the lab's endpoints at the addresses they have outside, the lab reaches its inventory and
//! webhooks, and pods' addresses lead to the lab's kubelet. When the lab goes, however it goes, the
//! supervisor reads the end of its pipe and takes everything with it.
//!
//! Knows Forklift's executables and what its operator puts around them; nothing of migrations.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::Api;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::forklift::ForkliftController;
use crate::controllers::kubelet::Pods;
use crate::pki::LabCa;
use crate::{LabError, MTV_NAMESPACE};

pub mod build;
mod environment;
mod objects;
mod operator;
mod orders;
mod relay;
mod sandbox;
pub mod supervisor;

pub use build::Build;
pub use orders::Died;
use orders::{ChildSpec, Order, Orders};
use sandbox::Sandbox;

/// Where the inventory listens inside; forklift-api has 8443 and 8444 for itself.
const INVENTORY_PORT: u16 = 8445;
const WEBHOOK_PORT: u16 = 8443;
/// For a part of Forklift to open its port.
const OPENS: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// Which Forklift, and how it is started.
#[derive(Debug, Clone)]
pub struct ForkliftOptions {
    /// The folder with the executables and `crds/`.
    pub build: Build,
    /// The program and arguments that run [`supervisor::supervise`].
    pub supervisor: Vec<OsString>,
    /// Where the logs go and stay; without it they are in a directory that goes with the lab.
    pub logs: Option<PathBuf>,
    /// Called for each child that ends by itself once all of Forklift has started.
    pub heard: fn(&Died),
}

/// What the lab has around Forklift.
pub struct Surroundings<'a> {
    pub client: kube::Client,
    /// Of the API server, e.g. `https://127.0.0.1:6443`.
    pub api_url: String,
    /// A cluster admin's.
    pub token: String,
    /// PEM of everybody whom Forklift has to trust.
    pub trusted: String,
    pub ca: &'a LabCa,
    /// Texts with URLs, as the sources' profiles: whatever listens on loopback there is reachable inside.
    pub reachable: String,
    /// Directories of the lab, removed with Forklift's own when the lab is gone.
    pub directories: Vec<PathBuf>,
    /// What the Route of the inventory leads to.
    pub inventory: TcpListener,
    pub ocp_version: String,
    pub pods: Arc<Pods>,
}

/// A running Forklift.
pub struct Forklift {
    label: String,
    sandbox: Arc<Sandbox>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

fn failed(cause: impl std::fmt::Display) -> LabError {
    LabError::Start { part: "Forklift".to_owned(), cause: cause.to_string() }
}

impl Forklift {
    /// Starts the children; returns when the inventory and the webhooks answer. The CRDs and the
    /// objects of MTV's operator have to be there.
    pub async fn start(options: &ForkliftOptions, around: Surroundings<'_>) -> Result<Self, LabError> {
        let api = relay::loopback(&around.api_url).ok_or_else(|| {
            failed(format!(
                "the API server has to listen on 127.0.0.1 to be reached from Forklift's namespace, and is {}",
                around.api_url
            ))
        })?;
        let mut ports = relay::loopback_ports(&around.reachable);
        ports.insert(api.port());
        let names = [
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            around.inventory.local_addr().map_err(failed)?.ip().to_string(),
        ];
        let (certificate, key) = around.ca.server_pem(&names)?;
        let files = environment::files(&around, &certificate, &key);
        let settings = settings(&around.client).await?;
        let context = environment::Context { api, ocp_version: around.ocp_version.clone() };
        let mut children = vec![
            child(options, "main", environment::main(&settings, &context)),
            child(options, "inventory", environment::inventory(&settings, &context)),
        ];
        if let Some(api) = &options.build.api {
            children.insert(
                0,
                ChildSpec { name: "api".to_owned(), program: api.clone(), env: environment::webhooks(&context) },
            );
        }
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        objects::before(&around.client).await.map_err(failed)?;
        let dirs = around.directories.clone();
        let orders = Orders { ports, files, children, dirs, dir: PathBuf::new(), logs: PathBuf::new() };
        let sandbox = Arc::new(Sandbox::start(options, orders, around.pods.clone(), &stop, &tasks).await?);
        let forklift = Self { label: options.build.label(), sandbox: sandbox.clone(), stop: stop.clone(), tasks };
        let (client, pods) = (around.client.clone(), around.pods.clone());
        if let Err(error) = forklift.open(around, options.build.api.is_some()).await {
            forklift.stop().await;
            return Err(error);
        }
        forklift.tasks.spawn(hear(sandbox.died(), options.heard, stop.clone()));
        forklift.tasks.spawn(lead_to_pods(pods, sandbox.clone(), stop.clone()));
        forklift.tasks.spawn(operator::run(client, settings, context, sandbox, stop));
        Ok(forklift)
    }

    /// Leads to the inventory and the webhooks once they answer.
    async fn open(&self, around: Surroundings<'_>, webhooks: bool) -> Result<(), LabError> {
        relay::inward(around.inventory, self.sandbox.socket(), INVENTORY_PORT, &self.stop, &self.tasks);
        self.opens("inventory", INVENTORY_PORT).await?;
        if webhooks {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
            let port = listener.local_addr().map_err(failed)?.port();
            relay::inward(listener, self.sandbox.socket(), WEBHOOK_PORT, &self.stop, &self.tasks);
            self.opens("api", WEBHOOK_PORT).await?;
            objects::webhooks(&around.client, port, around.ca.ca_pem()).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Version, and commit where it is known.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The logs of the children, by name.
    pub fn logs(&self) -> PathBuf {
        self.sandbox.logs()
    }

    async fn opens(&self, child: &str, port: u16) -> Result<(), LabError> {
        let began = Instant::now();
        loop {
            if let Some(died) = self.sandbox.died().borrow().first() {
                return Err(failed(died));
            }
            if relay::answers(&self.sandbox.socket(), port).await {
                return Ok(());
            }
            if began.elapsed() > OPENS {
                let log = self.sandbox.logs().join(format!("{child}.log"));
                return Err(failed(format!(
                    "{child} did not open port {port} within {OPENS:?}; its log is {}",
                    log.display()
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends the children and the supervisor, and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.sandbox.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn child(options: &ForkliftOptions, name: &str, env: BTreeMap<String, String>) -> ChildSpec {
    ChildSpec { name: name.to_owned(), program: options.build.controller.clone(), env }
}

/// The ForkliftController's spec.
async fn settings(client: &kube::Client) -> Result<Value, LabError> {
    let api: Api<ForkliftController> = Api::namespaced(client.clone(), MTV_NAMESPACE);
    let found = api.get_opt("forklift-controller").await.map_err(failed)?;
    Ok(found.and_then(|own| serde_json::to_value(own.spec).ok()).unwrap_or_default())
}

/// Tells of each child that ends by itself.
async fn hear(mut died: watch::Receiver<Vec<Died>>, heard: fn(&Died), stop: CancellationToken) {
    let mut told = 0;
    loop {
        let all = died.borrow_and_update().clone();
        all.iter().skip(told).for_each(heard);
        told = all.len();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = died.changed() => if changed.is_err() { return },
        }
    }
}

/// Tells the supervisor which ports of pods are open.
async fn lead_to_pods(pods: Arc<Pods>, sandbox: Arc<Sandbox>, stop: CancellationToken) {
    let mut known = BTreeSet::new();
    loop {
        known = tokio::select! {
            () = stop.cancelled() => return,
            changed = pods.changed(&known) => changed,
        };
        sandbox.order(&Order::Pods { addresses: known.clone() });
    }
}
