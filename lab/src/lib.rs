//! The lab: a simulated OpenShift, MTV, KubeVirt, vSphere and guests, in one process.
//!
//! A package of its own that knows `mtv-matrix-api` alone. The runner talks to it as it would to the
//! real thing: HTTP, SOAP, WebSocket and SSH over loopback. Only the command line starts it.

#![recursion_limit = "256"]

use futures::FutureExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::world::{Kind, Vm, World};
use mtv_matrix_api as api;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::LabError;
pub use options::{LabOptions, Mtv};

use clock::Clock;
use controllers::kubelet::{self, KubeletOptions, Pods};
use controllers::kubevirt::exports::{self, ExportOptions};
use controllers::kubevirt::{self, KubevirtOptions, Subresources};
use controllers::mtv::{self, Clusters, MtvOptions, MtvVersion};
use controllers::namespaces;
use controllers::storage::{self, StorageOptions};
use controllers::told::Teller;
use controllers::workloads;
use defects::Defects;
use faults::{Dialect, Faults};
use forklift::{Build, Forklift, Surroundings};
use gate::Gate;
use guests::Guests;
use guests::collected::CollectedGuests;
use host::Host;
use inventory::InventoryDb;
use levers::{Levered, Levers};
use listening::Listening;
use pki::LabCa;
use platforms::{AllGuests, LabPlatform, PlatformOptions};
use ports::GuestDirectory;
use seed::SeedOptions;
use serve::Endpoint;
use state::{Kept, Parts};
use weather::Sky;

/// MTV's own namespace.
const MTV_NAMESPACE: &str = "openshift-mtv";

pub mod aap;
mod aggregated;
mod apiserver;
mod census;
pub mod clock;
mod controllers;
mod cron;
pub mod defects;
mod error;
pub mod esxi;
pub mod faults;
pub mod forklift;
mod gate;
mod guests;
mod host;
mod inventory;
pub mod jira;
mod kept;
pub mod levers;
mod listening;
mod monitoring;
mod options;
mod outside;
pub mod pki;
pub mod platforms;
mod ports;
mod scratch;
mod seed;
pub mod serve;
mod state;
mod uploads;
pub mod weather;
mod world;

/// A running lab.
pub struct Lab {
    kept: Option<Kept>,
    guests: Arc<Guests>,
    world: World,
    ca: LabCa,
    clock: Clock,
    host: Host,
    platforms: Vec<Box<dyn LabPlatform>>,
    endpoints: Vec<Endpoint>,
    controllers: TaskTracker,
    stop: CancellationToken,
    forklift: Option<Forklift>,
    /// Objects that the lab started with.
    baseline: BTreeSet<String>,
    faults: Faults,
    levers: Levers,
    aap: aap::Aap,
    jira: jira::Jira,
}

impl Lab {
    /// Starts every part; returns when clients can connect.
    pub async fn start(options: LabOptions) -> Result<Self, LabError> {
        let Some(dir) = options.state.clone() else { return Self::begin(options, None).await };
        let kept = Kept::open(&dir)?;
        let ports = kept.ports();
        state::PORTS.scope(ports, Self::begin(options, Some(kept)).boxed()).await
    }

    async fn begin(options: LabOptions, kept: Option<Kept>) -> Result<Self, LabError> {
        let defects = Defects::parse(&options.defects)?;
        let sky = Sky::parse(&options.weather)?;
        let version = MtvVersion::parse(&options.mtv_version)
            .ok_or_else(|| LabError::UnknownVersion { version: options.mtv_version.clone() })?;
        let shipped =
            World::shipped().map_err(|e| LabError::Start { part: "world".to_owned(), cause: e.to_string() })?;
        let world = options.world.as_deref().unwrap_or(&shipped).clone();
        let clock = Clock::new(options.clock_scale);
        let key = kept.as_ref().and_then(Kept::ca_key);
        let ca = key.map_or_else(LabCa::new, LabCa::kept)?;
        let stop = CancellationToken::new();
        let controllers = TaskTracker::new();

        let faults = Faults::new(options.faults);
        let levers = Levers::new(faults.clone(), clock);
        let host = Host::start(&options, kept.as_ref(), &ca, &faults).await?;

        let (listen, cluster) = (options.listen, host.client());
        // The lab's own MTV reads a cluster's VMs without.
        let exports = !matches!(options.mtv, Mtv::Own);
        let platform_options = PlatformOptions {
            listen,
            own_addresses: options.own_addresses,
            clock,
            ca: &ca,
            cluster,
            exports,
            faults: faults.clone(),
            levers: levers.clone(),
            sky: sky.clone(),
            world: &world,
            kept: kept.as_ref().map(Kept::platforms),
        };
        let platforms = platforms::start(&platform_options).await?;
        let db = Arc::new(InventoryDb::default());
        // Platforms from outside come last: their VMs are known by what was collected.
        let collected: Arc<dyn GuestDirectory> = Arc::new(CollectedGuests(db.clone()));
        let all = AllGuests(platforms.iter().map(|p| p.guests()).chain([collected]).collect());
        let directory: Arc<dyn GuestDirectory> = Arc::new(Levered::new(all, levers.clone()));

        let inventory_listener = host.bind_for_route("inventory", options.listen).await?;
        let thanos_listener = host.bind_for_route("monitoring", options.listen).await?;
        let upload = match host.upload_tokens() {
            Some(tokens) => Some((tokens, host.bind_for_route("upload proxy", options.listen).await?)),
            None => None,
        };
        let address = |listener: &tokio::net::TcpListener| {
            listener
                .local_addr()
                .map(|a| a.to_string().trim_end_matches(":443").to_owned())
                .map_err(|e| LabError::Start { part: "endpoints".to_owned(), cause: e.to_string() })
        };
        let (inventory_addr, thanos_addr) = (address(&inventory_listener)?, address(&thanos_listener)?);
        let build = match &options.mtv {
            Mtv::Forklift(forklift) => Some(&forklift.build),
            Mtv::Own | Mtv::Elsewhere => None,
        };
        let played = build.map_or(Some(version), |build| MtvVersion::parse(&build.version));
        let seed_options = SeedOptions {
            mtv_version: build.map_or_else(|| options.mtv_version.clone(), |build| build.version.clone()),
            mtv_crds: build.map(|build| build.crds.clone()),
            mtv_image: build.map_or_else(|| seed::OWN_MTV.to_owned(), Build::image),
            ocp_version: options.ocp_version.clone(),
            inventory_addr: inventory_addr.clone(),
            thanos_addr: thanos_addr.clone(),
            upload_addr: upload.as_ref().map(|(_, listener)| address(listener)).transpose()?,
            own_server: host.is_own(),
            api_url: host.url(),
            cluster: world.cluster.clone(),
        };
        match options.mtv {
            Mtv::Own | Mtv::Forklift(_) => seed::seed(&host.client(), &seed_options).await?,
            Mtv::Elsewhere => seed::seed_cluster(&host.client(), &seed_options).await?,
        }

        let guests = Arc::new(Guests::new(directory.clone(), defects.clone(), sky.clone(), clock));
        if let Some(left) = kept.as_ref().and_then(Kept::guests) {
            guests.restore(left)?;
        }
        let subresources = Arc::new(Subresources::new(host.client(), guests.clone()));
        let pods = Arc::new(Pods::default());
        let listening = Arc::new(Listening {
            pods: pods.clone(),
            guests: subresources.clone(),
            inventory: inventory_addr.clone(),
            tasks: controllers.clone(),
            stop: stop.clone(),
        });
        host.serve(subresources, listening, &inventory_addr, &ca, options.listen).await?;
        let gate = Arc::new(Gate::new(host.client()));
        let clusters = Clusters::new(host.client());
        let names = [options.listen.to_string(), "localhost".to_owned(), inventory_addr, thanos_addr];
        let tls = ca.server_config(&names.map(|name| name.split(':').next().unwrap_or_default().to_owned()))?;
        let mut endpoints = vec![serve::https_with(
            "monitoring",
            thanos_listener,
            tls.clone(),
            monitoring::router(host.client(), gate.clone()),
            &faults.at("monitoring", Dialect::Rest),
        )?];
        if let Some((tokens, listener)) = upload {
            let router = uploads::router(host.client(), tokens);
            endpoints.push(serve::https("upload proxy", listener, tls.clone(), router)?);
        }
        let aap = aap::Aap::start(options.listen, clock, &stop, &controllers).await?;
        let jira = jira::Jira::start(options.listen, &stop, &controllers).await?;
        let mut further = vec![aap.url().to_owned()];
        if exports {
            let own = ExportOptions { client: host.client(), clock, ca: &ca, listen: options.listen };
            let endpoint = exports::start(own, &stop, &controllers).await?;
            further.push(format!("https://{}", endpoint.addr()));
            endpoints.push(endpoint);
        }
        let events = Teller::new(&host.controllers_client(), options.events && host.is_own());
        // On a cluster from outside pods are its own affair, where no real Forklift needs them.
        let own_mtv = matches!(options.mtv, Mtv::Own);
        if options.nodes && (host.is_own() || !own_mtv) {
            controllers.spawn(
                kubelet::run(KubeletOptions {
                    client: host.controllers_client(),
                    clock,
                    guests: directory.clone(),
                    pods: pods.clone(),
                    others_migrate: own_mtv,
                    events: events.clone(),
                    stop: stop.clone(),
                })
                .boxed(),
            );
        }
        let mut forklift = None;
        match &options.mtv {
            Mtv::Own => {
                let router = inventory::router(db.clone(), Arc::new(clusters.clone()), gate, version.minor());
                let wire = faults.at("inventory", Dialect::Rest);
                endpoints.push(serve::https_with("inventory", inventory_listener, tls, router, &wire)?);
                let options = MtvOptions {
                    nodes: options.nodes && host.is_own(),
                    client: host.controllers_client(),
                    clock,
                    version,
                    namespace: MTV_NAMESPACE.to_owned(),
                    clusters,
                    defects: defects.clone(),
                    guests: directory.clone(),
                    events: events.clone(),
                    stop: stop.clone(),
                };
                controllers.spawn(mtv::run(options, db).boxed());
            }
            Mtv::Forklift(own) => {
                further.extend(platforms.iter().flat_map(|p| p.further_urls()));
                let profiles = platforms.iter().flat_map(|p| p.profiles()).map(|(_, p)| p.to_string());
                let reachable: Vec<String> = profiles.chain(further).collect();
                let around = Surroundings {
                    client: host.client(),
                    api_url: host.url(),
                    token: host.service_token().await?,
                    trusted: host.trusted(&ca),
                    ca: &ca,
                    reachable: reachable.concat(),
                    directories: platforms.iter().flat_map(|platform| platform.directories()).collect(),
                    inventory: inventory_listener,
                    ocp_version: options.ocp_version.clone(),
                    pods,
                };
                forklift = Some(Forklift::start(own, around).boxed().await?);
            }
            Mtv::Elsewhere => drop(inventory_listener),
        }
        let baseline = host.objects();
        controllers.spawn(
            kubevirt::run(KubevirtOptions {
                client: host.controllers_client(),
                clock,
                defects,
                sky,
                guests: directory.clone(),
                events: events.clone(),
                stop: stop.clone(),
            })
            .boxed(),
        );
        controllers.spawn(workloads::run(host.controllers_client(), clock, events.clone(), stop.clone()).boxed());
        if options.nodes && host.is_own() {
            controllers.spawn(namespaces::run(host.controllers_client(), ca.ca_pem().to_owned(), stop.clone()).boxed());
        }
        let pods = !matches!(options.mtv, Mtv::Own);
        controllers.spawn(
            storage::run(StorageOptions {
                client: host.controllers_client(),
                clock,
                guests: directory,
                pods,
                mtv: played,
                populators: tokio::sync::Mutex::default(),
                events,
                stop: stop.clone(),
            })
            .boxed(),
        );
        Ok(Self {
            kept,
            guests,
            world,
            ca,
            clock,
            host,
            platforms,
            endpoints,
            controllers,
            stop,
            forklift,
            baseline,
            faults,
            levers,
            aap,
            jira,
        })
    }

    /// API server URL.
    pub fn url(&self) -> String {
        self.host.url()
    }
    /// PEM of the CA that signed every endpoint of the lab.
    pub fn ca_pem(&self) -> &str {
        self.ca.ca_pem()
    }
    /// A cluster-admin token.
    pub fn token(&self) -> &str {
        self.host.token()
    }
    /// User and password for `oc login`; none on a cluster from outside.
    pub fn login(&self) -> Option<(&'static str, &'static str)> {
        self.host.login()
    }
    /// A kubeconfig as YAML; its CA also signed what Routes lead to.
    pub fn kubeconfig(&self) -> String {
        self.host.kubeconfig(self.ca_pem())
    }
    /// Version, and commit where it is known, of the real Forklift in the lab.
    pub fn forklift(&self) -> Option<&str> {
        self.forklift.as_ref().map(Forklift::label)
    }
    /// Where the real Forklift writes its logs.
    pub fn forklift_logs(&self) -> Option<PathBuf> {
        self.forklift.as_ref().map(Forklift::logs)
    }
    /// The Automation Platform that hooks may use.
    pub fn aap(&self) -> &aap::Aap {
        &self.aap
    }
    /// The Jira that known issues may be asked of.
    pub fn jira(&self) -> &jira::Jira {
        &self.jira
    }
    /// A `providers.json` with the lab's profiles.
    pub fn providers_json(&self) -> String {
        let profiles: serde_json::Map<String, serde_json::Value> =
            self.platforms.iter().flat_map(|p| p.profiles()).collect();
        let profiles = serde_json::Value::Object(profiles);
        format!("{profiles:#}\n")
    }
    /// The clock by which everything in the lab happens.
    pub fn clock(&self) -> Clock {
        self.clock
    }
    /// The storage class that the lab offers first.
    pub fn storage_class(&self) -> &str {
        let classes = &self.world.cluster.storage_classes;
        let first = classes.iter().find(|class| class.default).or(classes.first());
        first.map(|class| class.name.as_str()).unwrap_or_default()
    }
    /// What the lab was started with.
    pub fn world(&self) -> &World {
        &self.world
    }
    /// Adds VMs to the platforms of this kind, as if they had been there from the start.
    pub fn grow(&self, kind: Kind, vms: &[Vm]) -> Result<(), LabError> {
        let failed = |e: std::io::Error| LabError::Start { part: kind.name().to_owned(), cause: e.to_string() };
        self.platforms.iter().try_for_each(|platform| platform.grow(kind, vms)).map_err(failed)
    }
    /// What stands in the lab beyond what it started with: objects in the API server, VMs and
    /// snapshots on the platforms. Empty after a clean run. Garbage collection gets a moment.
    pub async fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for _ in 0..30 {
            left = self.host.objects().difference(&self.baseline).cloned().collect();
            left.extend(self.platforms.iter().flat_map(|p| p.leftovers()));
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        left
    }
    /// A client inside of the process, as cluster admin; faults do not meet it.
    pub fn client(&self) -> kube::Client {
        self.host.client()
    }
    /// The whole world, a line a thing, with what of it must not change: for an oracle that does not believe
    /// what a run says.
    pub fn census(&self) -> BTreeMap<String, serde_json::Value> {
        let mut all = self.host.census();
        all.extend(self.platforms.iter().flat_map(|p| p.census()));
        all
    }
    /// Takes an endpoint away for a while (`api`, `inventory`, `vsphere` …), as a restart does: its connections
    /// are cut, and an API server forgets old versions.
    pub fn restart(&self, endpoint: &str, lasts: std::time::Duration) {
        self.faults.outage(endpoint, lasts);
        if endpoint == "api" {
            self.host.compact();
        }
    }
    /// What can be made to go wrong while it runs.
    pub fn levers(&self) -> &Levers {
        &self.levers
    }
    /// How its wire breaks, and what broke.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
    /// Counts since the start, for benchmarks.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let platforms = self.platforms.iter().map(|p| p.requests()).map(|(name, count)| (name.to_owned(), count));
        std::iter::once(("api_requests".to_owned(), self.host.request_count())).chain(platforms).collect()
    }
    /// Stops every task and waits for them; a lab that is kept is written before.
    pub async fn stop(self) {
        if let Some(forklift) = &self.forklift {
            forklift.stop().await;
        }
        self.stop.cancel();
        self.controllers.close();
        self.controllers.wait().await;
        for endpoint in &self.endpoints {
            endpoint.stop().await;
        }
        for platform in &self.platforms {
            platform.stop().await;
        }
        // Nobody works on it any more.
        if let (Some(kept), Some(api)) = (&self.kept, self.host.kept()) {
            let platforms = self.platforms.iter().filter_map(|platform| platform.kept());
            let platforms = platforms.map(|(part, kept)| (part.to_owned(), kept)).collect();
            let parts = Parts { api, platforms, guests: self.guests.kept() };
            if let Err(error) = kept.write(self.host.token(), self.ca.key_pem(), parts) {
                tracing::error!(%error, "the lab is not kept");
            }
        }
        self.host.stop().await;
    }
    /// Writes kubeconfig, CA and providers.json for other clients; returns the kubeconfig's path.
    pub fn write_client_files(&self, dir: &Path) -> Result<PathBuf, LabError> {
        let failed = |e: std::io::Error| LabError::Start {
            part: "client files".to_owned(),
            cause: format!("failed to write to {}: {e}", dir.display()),
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let kubeconfig = dir.join("kubeconfig");
        for (path, text) in [
            (kubeconfig.clone(), self.kubeconfig()),
            (dir.join("providers.json"), self.providers_json()),
            (dir.join("ca.pem"), self.ca_pem().to_owned()),
        ] {
            appears(dir, &path, &text).map_err(failed)?;
        }
        Ok(kubeconfig)
    }
}

/// Writes a file that others wait for: it is there whole, or not yet.
fn appears(dir: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    // As any file that is made: what the umask leaves.
    let readable = std::fs::Permissions::from_mode(0o666);
    let mut beside = tempfile::Builder::new().permissions(readable).tempfile_in(dir)?;
    beside.write_all(text.as_bytes())?;
    beside.persist(path).map(drop).map_err(|e| e.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_clients_file_never_reads_a_part_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let text = "server: https://127.0.0.1\n".repeat(100_000);
        for n in 0..20 {
            let path = dir.path().join(format!("kubeconfig-{n}"));
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    loop {
                        if let Ok(read) = std::fs::read_to_string(&path) {
                            break read;
                        }
                    }
                });
                appears(dir.path(), &path, &text).unwrap();
                assert_eq!(reader.join().unwrap().len(), text.len());
            });
        }
    }
}
