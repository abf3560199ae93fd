//! What all cells of a run share: the cluster, the ledger, the open profiles, the destinations.
//!
//! Things that many cells need are made once, by the first that asks, and awaited by the others:
//! a source Provider, a destination, the precopy interval. A failure is shared, too: the cells of a
//! profile whose login is refused all end with that one problem. A retry tries again
//! ([`RunContext::forget_failures`]): what was refused a minute ago may be given now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};

use super::Failure;
use crate::api::names::{CellId, RunId};
use crate::cleanup::kept;
use crate::cluster::{Cluster, Tracked, target};
use crate::config::scenarios::{CaKey, Destination, LimitedDestination, ProviderTls};
use crate::config::{ProviderProfile, Settings};
use crate::event::{EventKind, Events, Level, Problem, Stage};
use crate::forklift::adapter::{Adapter, ProviderWiring};
use crate::forklift::inventory::Inventory;
use crate::forklift::providers::{self, HostProvider, ReadyProvider, RemoteDestination};
use crate::forklift::{Patience, adapter, limited};
use crate::ledger::Ledger;
use crate::source::{self, DriverOptions, SourceAccess, SourceDriver};

/// Access modes and volume mode that a class gets where a map names none.
/// `None` when that could not be read.
pub type StorageDefaults = Option<(Vec<String>, Option<String>)>;

/// Read once.
type OnceDefaults = Arc<OnceCell<StorageDefaults>>;

/// A profile that is connected and whose Provider is `Ready`.
#[derive(Clone)]
pub struct OpenProfile {
    pub profile: Arc<ProviderProfile>,
    pub access: SourceAccess,
    pub adapter: &'static dyn Adapter,
    pub provider: ReadyProvider,
    /// Whether MTV was told to skip TLS verification towards the platform.
    pub insecure: bool,
    /// `spec.url` of the Provider, for messages.
    pub endpoint: String,
}

/// Where migrated VMs go: the cluster where they can be looked at, and MTV's Provider of it.
#[derive(Clone)]
pub struct OpenDestination {
    pub cluster: Cluster,
    /// `None`: each cell makes one of its own ([`RunContext::own_destination`]), because a Provider
    /// without URL outside MTV's namespace sees no networks but those beside it.
    pub shared: Option<ReadyProvider>,
}

/// Something made once, by the first that asks.
pub(super) struct Shared<T>(std::sync::Mutex<Arc<OnceCell<Result<T, Failure>>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(std::sync::Mutex::new(Arc::new(OnceCell::new())))
    }
}

impl<T: Clone> Shared<T> {
    fn cell(&self) -> Arc<OnceCell<Result<T, Failure>>> {
        // Only whole values are ever put in, so one from a thread that panicked is as good.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) async fn get_or_make(&self, make: impl AsyncFnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let cell = self.cell();
        cell.get_or_init(|| make()).await.clone()
    }

    /// What was made, if it was.
    fn made(&self) -> Option<T> {
        self.cell().get().and_then(|made| made.as_ref().ok()).cloned()
    }

    /// The next that asks makes it anew, where it failed. Those that wait for it now get what they waited for.
    fn forget_failure(&self) {
        let mut slot = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slot.get().is_some_and(Result::is_err) {
            *slot = Arc::new(OnceCell::new());
        }
    }
}

/// Makes the span that a stage of a cell runs in; what it is for is the maker's matter.
pub type StageSpan = Arc<dyn Fn(&CellId, u32, Stage) -> tracing::Span + Send + Sync>;

/// What a context is made from.
pub struct ContextParts {
    pub run: RunId,
    pub settings: Arc<Settings>,
    pub cluster: Cluster,
    pub ledger: Arc<Ledger>,
    pub events: Events,
    pub inventory: Inventory,
    pub mtv_version: Option<String>,
    pub ocp_version: Option<String>,
    /// Every key of the ForkliftController's `spec` that reads as a boolean.
    pub flags: BTreeMap<String, bool>,
    pub profiles: Vec<Arc<ProviderProfile>>,
    pub results: PathBuf,
    /// PEM of the API server's CA where the connection pins one: a remote destination needs it.
    pub cluster_ca: Option<String>,
    pub stage_span: StageSpan,
    /// Wakes the stages at work to tell what they wait for.
    pub asked: Arc<Notify>,
    /// Of the lab that the run is on.
    pub levers: Option<Arc<dyn super::levers::Levers>>,
}

/// Shared by every cell of a run.
pub struct RunContext {
    pub parts: ContextParts,
    access: BTreeMap<String, Result<SourceAccess, String>>,
    opened: BTreeMap<String, Shared<OpenProfile>>,
    local: Shared<OpenDestination>,
    remote: Shared<OpenDestination>,
    pub(super) precopy: Shared<()>,
    /// By cluster.
    pub(super) nfs: Mutex<BTreeMap<String, Arc<Shared<()>>>>,
    /// By cluster and class.
    defaults: tokio::sync::Mutex<BTreeMap<(String, String), OnceDefaults>>,
    /// The MTV that a story has brought.
    upgraded: Mutex<Option<String>>,
    /// Cells that MTV's must-gather image was run for.
    gathered_for: AtomicU32,
    /// VMs of platforms without a driver that this run has migrated, by profile and id.
    migrated: Mutex<BTreeSet<(String, String)>>,
}

impl RunContext {
    pub fn new(parts: ContextParts) -> Self {
        let options = DriverOptions {
            timeouts: parts.settings.timeouts.clone(),
            insecure: parts.settings.source_provider_insecure_skip_verify,
            cluster: Some(parts.cluster.clone()),
        };
        let access = parts
            .profiles
            .iter()
            .map(|p| (p.name.clone(), source::access(p, &options).map_err(|e| e.to_string())))
            .collect();
        let opened = parts.profiles.iter().map(|p| (p.name.clone(), Shared::default())).collect();
        Self {
            parts,
            access,
            opened,
            local: Shared::default(),
            remote: Shared::default(),
            precopy: Shared::default(),
            nfs: Mutex::default(),
            defaults: tokio::sync::Mutex::default(),
            upgraded: Mutex::default(),
            gathered_for: AtomicU32::new(0),
            migrated: Mutex::default(),
        }
    }

    /// The MTV that is installed now.
    pub fn mtv_version(&self) -> Option<String> {
        let upgraded = self.upgraded.lock().ok().and_then(|upgraded| upgraded.clone());
        upgraded.or_else(|| self.parts.mtv_version.clone())
    }

    /// From now on it is this one.
    pub(super) fn upgraded(&self, now: String) {
        if let Ok(mut upgraded) = self.upgraded.lock() {
            *upgraded = Some(now);
        }
    }

    /// Whether one more cell may be gathered for.
    pub(super) fn may_gather(&self, most: u32) -> bool {
        let next = |count: u32| (count < most).then_some(count + 1);
        self.gathered_for.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// MTV was told to migrate a VM that is nobody's clone: from now on its state is of this run's making.
    pub(super) fn migrated(&self, profile: &str, vm: &str) {
        if let Ok(mut migrated) = self.migrated.lock() {
            migrated.insert((profile.to_owned(), vm.to_owned()));
        }
    }

    pub(super) fn has_migrated(&self, profile: &str, vm: &str) -> bool {
        self.migrated.lock().is_ok_and(|migrated| migrated.contains(&(profile.to_owned(), vm.to_owned())))
    }

    /// Creates the run's own namespace, and in it what proves the run's things to be its own. Done once,
    /// before the first cell.
    pub async fn open(&self) -> Result<(), Failure> {
        let tracked = self.tracked(None);
        tracked.create_namespace(&self.parts.run.namespace(), &[]).await?;
        Ok(kept::keep_secret(&tracked).await?)
    }

    /// How long MTV gets for something whose bound is `limit`.
    pub fn patience(&self, limit: Duration) -> Patience {
        Patience { limit, grace: self.parts.settings.timeouts.blocker_grace }
    }

    /// The way to create things for a cell (`None`: for the run).
    pub fn tracked(&self, cell: Option<&CellId>) -> Tracked {
        self.tracked_at(&self.parts.cluster, cell)
    }

    /// Likewise on another cluster.
    pub fn tracked_at(&self, cluster: &Cluster, cell: Option<&CellId>) -> Tracked {
        Tracked::new(cluster.clone(), self.parts.ledger.clone(), cell.cloned())
    }

    /// The cluster of the remote destination, where it is open and another than the run's own.
    pub fn other_cluster(&self) -> Option<Cluster> {
        let open = self.remote.made()?;
        (open.cluster.id() != self.parts.cluster.id()).then_some(open.cluster)
    }

    /// Tells a line of a cell's story.
    pub fn note(&self, cell: Option<&CellId>, level: Level, message: impl Into<String>) {
        self.parts.events.emit(EventKind::Note { cell: cell.cloned(), level, message: message.into() });
    }

    /// The driver of a profile, connected or not; `None` where the platform has none.
    pub fn driver(&self, profile: &str) -> Option<&Arc<dyn SourceDriver>> {
        self.access.get(profile).and_then(|access| access.as_ref().ok()).and_then(SourceAccess::driver)
    }

    /// Ends every platform session.
    pub async fn disconnect(&self) {
        let drivers = self.access.values().flatten().filter_map(SourceAccess::driver);
        futures::future::join_all(drivers.map(|d| d.disconnect())).await;
    }

    /// The profile's Provider and session; the first caller makes them.
    pub async fn profile(&self, profile: &Arc<ProviderProfile>) -> Result<OpenProfile, Failure> {
        let Some(cell) = self.opened.get(&profile.name) else {
            return Err(Failure::environment(Problem::new(format!(
                "profile {} is not part of this run",
                profile.name
            ))));
        };
        cell.get_or_make(async || self.open_profile(profile).await).await
    }

    /// Before a further attempt: what a cell shares with others and could not be made is made again.
    pub fn forget_failures(&self) {
        self.opened.values().for_each(Shared::forget_failure);
        self.local.forget_failure();
        self.remote.forget_failure();
        self.precopy.forget_failure();
        if let Ok(nfs) = self.nfs.lock() {
            nfs.values().for_each(|shared| shared.forget_failure());
        }
    }

    async fn open_profile(&self, profile: &Arc<ProviderProfile>) -> Result<OpenProfile, Failure> {
        let access = match self.access.get(&profile.name) {
            Some(Ok(access)) => access.clone(),
            Some(Err(cause)) => return Err(Failure::environment(Problem::new(cause.clone()))),
            None => {
                return Err(Failure::environment(Problem::new(format!(
                    "profile {} is not part of this run",
                    profile.name
                ))));
            }
        };
        let adapter = adapter(profile.platform);
        let settings = &self.parts.settings;
        let own = adapter.is_own_cluster(profile);
        let filled = if own { Arc::new(self.own_cluster(profile).await?) } else { profile.clone() };
        let profile = &filled;
        let insecure = if own { settings.insecure_verify_skip } else { settings.source_provider_insecure_skip_verify };
        let wanted = adapter.always_wants_ca() || (adapter.wants_ca(profile) && !insecure);
        let ca = if wanted { Some(self.ca_of(profile, adapter, access.driver()).await?) } else { None };
        let wiring = self.wire(adapter, profile, insecure, ca.as_deref());
        let endpoint = wiring.url.clone();
        let name = self.parts.run.object(&profile.name);
        // MTV's Provider comes first: what it says of a refused login is what users will search for.
        let provider = providers::create_source(
            &self.tracked(None),
            &self.parts.run.namespace(),
            &name,
            profile.platform.name(),
            wiring,
            self.patience(settings.timeouts.provider_ready),
        )
        .await
        .map_err(|error| {
            let mut failure = Failure::from(error);
            failure.problem.details.insert(0, format!("profile {}, endpoint {endpoint}", profile.name));
            failure
        })?;
        let who = match access.driver() {
            Some(driver) => {
                let about = driver.connect().await?;
                format!("{} {}", about.product, about.version)
            }
            None => format!("{endpoint}, known by MTV's inventory alone"),
        };
        self.note(None, Level::Info, format!("{}: {who}, Provider {name} is Ready", profile.name));
        Ok(OpenProfile { profile: profile.clone(), access, adapter, provider, insecure, endpoint })
    }

    /// The profile with the login of the run's own cluster in it.
    async fn own_cluster(&self, profile: &ProviderProfile) -> Result<ProviderProfile, Failure> {
        let cluster = &self.parts.cluster;
        let Some(token) = cluster.token().await else {
            let message = format!(
                "{}: MTV reads this cluster as a source by a bearer token, and this connection has none: set \
                 `token_service_account`, `cluster_token`, or user and password",
                profile.name
            );
            return Err(Failure::environment(Problem::new(message)));
        };
        let mut filled = profile.clone();
        filled.api_url = cluster.url().to_owned();
        filled.login.password = token;
        filled.ca_pem = filled.ca_pem.or_else(|| self.parts.cluster_ca.clone());
        Ok(filled)
    }

    async fn ca_of(
        &self,
        profile: &ProviderProfile,
        adapter: &dyn Adapter,
        driver: Option<&Arc<dyn SourceDriver>>,
    ) -> Result<String, Failure> {
        if let Some(pem) = &profile.ca_pem {
            return Ok(pem.clone());
        }
        if let Some(driver) = driver
            && let Some(pem) = driver.own_ca().await?
        {
            return Ok(pem);
        }
        let (host, port) = adapter.tls_endpoint(profile);
        source::fetch_ca(&host, port, self.parts.settings.timeouts.connect).await.map_err(|cause| {
            let message = format!("{}: failed to fetch the certificate of {host}:{port}: {cause}", profile.name);
            Failure::environment(
                Problem::new(message).detail(
                    "set `ca_file` of the profile, or `source_provider_insecure_skip_verify: true` to go without",
                ),
            )
        })
    }

    /// The profile's Provider and session, where they were made.
    pub(super) fn open_profile_of(&self, profile: &str) -> Option<OpenProfile> {
        self.opened.get(profile)?.made()
    }

    /// Where a scenario's VMs go; the first caller looks or makes.
    pub async fn destination(&self, destination: Destination) -> Result<OpenDestination, Failure> {
        match destination {
            Destination::Local => self.local.get_or_make(async || self.open_local().await).await,
            Destination::Remote => self.remote.get_or_make(async || self.open_remote().await).await,
        }
    }

    /// MTV's own Provider of its cluster, where this session may use it.
    async fn open_local(&self) -> Result<OpenDestination, Failure> {
        let (cluster, settings) = (&self.parts.cluster, &self.parts.settings);
        let patience = self.patience(settings.timeouts.provider_ready);
        let shared = match providers::host_destination(cluster, &settings.mtv_namespace, patience).await? {
            HostProvider::Usable(provider) => Some(provider),
            HostProvider::Not(why) => {
                let message = format!("each cell gets a destination Provider beside its networks: {why}");
                self.note(None, Level::Info, message);
                None
            }
        };
        Ok(OpenDestination { cluster: cluster.clone(), shared })
    }

    /// A destination Provider for one attempt at a cell, in the namespace of its networks.
    pub async fn own_destination(
        &self,
        cell: &CellId,
        attempt: u32,
        namespace: &str,
    ) -> Result<ReadyProvider, Failure> {
        let name = cell.destination(&self.parts.run, attempt);
        let patience = self.patience(self.parts.settings.timeouts.provider_ready);
        Ok(providers::create_local_destination(&self.tracked(Some(cell)), namespace, &name, patience).await?)
    }

    /// A destination for one attempt at a cell, by the token of an account of few rights in its target namespace.
    pub(super) async fn limited_destination(
        &self,
        cluster: &Cluster,
        cell: &CellId,
        attempt: u32,
        (namespace, target): (&str, &str),
        wanted: LimitedDestination,
    ) -> Result<ReadyProvider, Failure> {
        let parts = &self.parts;
        let name = cell.destination(&parts.run, attempt);
        let there = self.tracked_at(cluster, Some(cell));
        let token = limited::account_with_few_rights(&there, target, &name, wanted.scc).await?;
        let own = cluster.id() == parts.cluster.id();
        let ca_pem = if own { parts.cluster_ca.clone() } else { cluster.ca_pem().map(str::to_owned) };
        let remote =
            RemoteDestination { url: cluster.url(), token, insecure: parts.settings.insecure_verify_skip, ca_pem };
        let patience = self.patience(parts.settings.timeouts.provider_ready);
        let tracked = self.tracked(Some(cell));
        let provider = providers::create_remote_destination(&tracked, namespace, &name, remote, patience).await?;
        let scc = if wanted.scc { ", with the privileged SCC for its pods" } else { "" };
        let message = format!("destination Provider {name} by ServiceAccount {target}/{name} of few rights{scc}");
        self.note(Some(cell), Level::Info, message);
        Ok(provider)
    }

    /// What a Secret with the way in to an open profile holds.
    pub(super) async fn wiring(&self, open: &OpenProfile) -> Result<ProviderWiring, Failure> {
        let (adapter, profile) = (open.adapter, &open.profile);
        let wanted = adapter.always_wants_ca() || (adapter.wants_ca(profile) && !open.insecure);
        let ca = if wanted { Some(self.ca_of(profile, adapter, open.access.driver()).await?) } else { None };
        Ok(self.wire(adapter, profile, open.insecure, ca.as_deref()))
    }

    fn wire(
        &self,
        adapter: &dyn Adapter,
        profile: &ProviderProfile,
        insecure: bool,
        ca: Option<&str>,
    ) -> ProviderWiring {
        let mut wiring = adapter.wire(profile, insecure, ca);
        adapter.suit(&mut wiring, self.mtv_version().as_deref());
        wiring
    }

    /// A source Provider for one attempt at a cell, which verifies the platform as its scenario says; the runner's own
    /// session is the profile's.
    pub(super) async fn own_source(
        &self,
        open: &OpenProfile,
        cell: &CellId,
        attempt: u32,
        namespace: &str,
        tls: ProviderTls,
    ) -> Result<OpenProfile, Failure> {
        let (adapter, profile) = (open.adapter, &open.profile);
        let insecure = tls.insecure_skip_verify.unwrap_or(open.insecure);
        let wanted = adapter.always_wants_ca() || (adapter.wants_ca(profile) && !insecure);
        let ca = if wanted { Some(self.ca_of(profile, adapter, open.access.driver()).await?) } else { None };
        let mut wiring = self.wire(adapter, profile, insecure, ca.as_deref());
        if tls.ca_key == CaKey::CaCrt {
            wiring.name_ca("ca.crt");
        }
        let patience = self.patience(self.parts.settings.timeouts.provider_ready);
        let name = cell.source(&self.parts.run, attempt);
        let platform = profile.platform.name();
        let tracked = self.tracked(Some(cell));
        let provider = providers::create_source(&tracked, namespace, &name, platform, wiring, patience).await?;
        let verified = if insecure { "without verification" } else { "verified" };
        self.note(Some(cell), Level::Info, format!("{}: Provider {name} of its own, {verified}", profile.name));
        Ok(OpenProfile { provider, insecure, ..open.clone() })
    }

    /// The profile that the setting names, else the run's own cluster registered by its URL.
    async fn open_remote(&self) -> Result<OpenDestination, Failure> {
        let parts = &self.parts;
        let named = parts.profiles.iter().find(|p| p.name == parts.settings.remote_ocp_cluster);
        if let Some(profile) = named
            && let Some(driver) = self.driver(&profile.name).filter(|d| d.cluster_url().is_some())
        {
            let open = self.profile(profile).await?;
            if let Some(cluster) = driver.as_cluster().await? {
                return Ok(OpenDestination { shared: Some(open.provider), cluster });
            }
        }
        let (url, wanted) = (parts.cluster.url().to_owned(), &parts.settings.remote_ocp_cluster);
        if !url.contains(wanted.as_str()) {
            return Err(Failure::environment(Problem::new(format!(
                "`remote_ocp_cluster` is {wanted}, but the connected cluster is {url}: refusing to migrate to the wrong cluster"
            ))));
        }
        let Some(token) = parts.cluster.token().await else {
            return Err(Failure::environment(Problem::new(
                "a remote destination needs a bearer token, and this connection has none: set `token_service_account`, `cluster_token`, or user and password",
            )));
        };
        let remote = RemoteDestination {
            url: &url,
            token,
            insecure: parts.settings.insecure_verify_skip,
            ca_pem: parts.cluster_ca.clone(),
        };
        let patience = self.patience(parts.settings.timeouts.provider_ready);
        let name = parts.run.object("remote");
        let (tracked, namespace) = (self.tracked(None), parts.run.namespace());
        let provider = providers::create_remote_destination(&tracked, &namespace, &name, remote, patience).await?;
        Ok(OpenDestination { shared: Some(provider), cluster: parts.cluster.clone() })
    }

    /// What CDI gives a class where a map names no modes.
    pub async fn storage_defaults(&self, cluster: &Cluster, class: &str) -> StorageDefaults {
        let key = (cluster.url().to_owned(), class.to_owned());
        let cell = self.defaults.lock().await.entry(key).or_default().clone();
        let read = async || match target::storage_defaults(cluster, class).await {
            Ok(defaults) => Some(defaults),
            Err(cause) => {
                let message = format!("what CDI gives storage class {class} by default is not known: {cause}");
                self.note(None, Level::Warning, message);
                None
            }
        };
        cell.get_or_init(read).await.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_shared_until_it_is_forgotten_and_a_success_for_good() {
        let shared: Shared<u32> = Shared::default();
        let fails = async || Err(Failure::environment(Problem::new("no")));
        let refused = shared.get_or_make(fails).await.unwrap_err();
        assert_eq!(refused.problem.message, "no");
        assert!(shared.get_or_make(async || Ok(1)).await.is_err(), "everybody gets the one failure");
        shared.forget_failure();
        assert_eq!(shared.get_or_make(async || Ok(2)).await.unwrap(), 2);
        shared.forget_failure();
        assert_eq!(shared.get_or_make(async || Ok(3)).await.unwrap(), 2, "a success is kept");
        assert_eq!(shared.made(), Some(2));
    }
}
