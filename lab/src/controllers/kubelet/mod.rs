//! The simulated kubelet: pods get an address, and live as their containers would, so that who waits
//! for a Deployment or a Job sees it become ready. The scheduler is one worker for all.
//!
//! Which program a pod runs is told by its containers ([`program`]); what the program does while it
//! runs is a file of its own ([`v2v`], [`playbook`]). Ports of pods are served through [`Pods`],
//! wherever the connection came from. Knows no Plan: only pods, and what stands in them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::copiers::node;
use super::objects::{Restart, one_task_each};
pub use super::pod_status::Ended;
use super::pod_status::{self, Stage};
use super::told::Teller;
use crate::clock::Clock;
use crate::ports::GuestDirectory;

mod events;
pub mod inspection;
mod must_gather;
pub(in crate::controllers) mod playbook;
mod program;
mod v2v;
pub(in crate::controllers) mod v2v_log;

use program::Program;

/// Addresses of pods.
pub const POD_NETWORK: &str = "10.129.0.0/16";
/// Simulated time from a pod's creation to its first container.
const STARTS: Duration = Duration::from_secs(5);
/// Simulated time of a program that nobody asks anything.
const SHORT: Duration = Duration::from_secs(10);
/// Between two looks at something without events, real time.
const LOOK: Duration = Duration::from_millis(200);

/// What the kubelet works with.
pub struct KubeletOptions {
    pub client: kube::Client,
    pub clock: Clock,
    pub guests: Arc<dyn GuestDirectory>,
    pub pods: Arc<Pods>,
    /// Pods that copy and convert are played by somebody else: the lab's own MTV tells of its own.
    pub others_migrate: bool,
    /// Tells of pods that come up.
    pub(crate) events: Teller,
    pub stop: CancellationToken,
}

/// The pods that answer, by address. Which addresses those are can be watched: whoever leads
/// connections here lets the others be refused, as a port that nobody listens on does.
pub struct Pods {
    last: AtomicU16,
    routers: watch::Sender<HashMap<SocketAddr, Router>>,
}

impl Default for Pods {
    fn default() -> Self {
        // The first address belongs to the node.
        Self { last: AtomicU16::new(1), routers: watch::Sender::new(HashMap::new()) }
    }
}

impl Pods {
    /// A fresh address of the pod network.
    fn address(&self) -> IpAddr {
        let [high, low] = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1).to_be_bytes();
        Ipv4Addr::new(10, 129, high, low).into()
    }

    fn open(&self, address: SocketAddr, router: Router) {
        self.routers.send_modify(|all| drop(all.insert(address, router)));
    }

    fn close(&self, address: IpAddr) {
        self.routers.send_modify(|all| all.retain(|own, _| own.ip() != address));
    }

    /// The addresses that answer now; pending until they are others than `known`.
    pub async fn changed(&self, known: &BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
        let of = |all: &HashMap<SocketAddr, Router>| all.keys().copied().collect::<BTreeSet<_>>();
        let mut routers = self.routers.subscribe();
        let changed = routers.wait_for(|all| of(all) != *known).await.ok().map(|all| of(&all));
        match changed {
            Some(addresses) => addresses,
            // The sender is ours.
            None => std::future::pending().await,
        }
    }

    /// Whether something answers there.
    pub fn answers(&self, address: &SocketAddr) -> bool {
        self.routers.borrow().contains_key(address)
    }

    /// Answers HTTP on a stream to a pod's port; without a server there the stream just ends.
    pub async fn serve<S>(&self, address: SocketAddr, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(router) = self.routers.borrow().get(&address).cloned() else { return };
        let builder = auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
    }
}

/// Closes a pod's ports when its task ends, however it does.
struct Ports {
    pods: Arc<Pods>,
    address: IpAddr,
}

impl Ports {
    fn open(&self, port: u16, router: Router) {
        self.pods.open(SocketAddr::new(self.address, port), router);
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.pods.close(self.address);
    }
}

/// Runs until `stop`.
pub async fn run(options: KubeletOptions) {
    let (client, stop) = (options.client.clone(), options.stop.clone());
    let options = Arc::new(options);
    one_task_each(
        client,
        &(),
        Restart::Never(&|_| {}),
        stop,
        move |pod| {
            let options = options.clone();
            async move {
                if let Err(error) = live(&options, pod).await {
                    tracing::debug!(%error, "a pod's life was cut short");
                }
            }
        },
        |_| {},
    )
    .await;
}

/// A pod's life. The task ends with the pod.
async fn live(options: &KubeletOptions, pod: Pod) -> Result<(), kube::Error> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    // Pods of the seed run already.
    if !matches!(phase, "" | "Pending") || pod.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    if options.others_migrate && Program::migrates(&pod) {
        came_up(options, &pod).await;
        return Ok(());
    }
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(options.client.clone(), &namespace);
    schedule(options, &pod, &api).await?;
    let told = pod_status::tell(&api, &pod, Stage::Waits, None).await?;
    claims_bound(options, &pod, &namespace).await?;
    options.clock.sleep(STARTS).await;
    if let Some(container) = must_gather::gathering(&pod) {
        let ended = must_gather::gather(options, &pod, container).await?;
        if ended != Ended::Well {
            return pod_status::tell(&api, &told, Stage::Over(&ended), None).await.map(drop);
        }
    }
    let program = Program::of(&pod);
    let ports = Ports { pods: options.pods.clone(), address: options.pods.address() };
    let told = pod_status::tell(&api, &told, Stage::Runs, Some(ports.address)).await?;
    came_up(options, &told).await;
    let ended = program.run(options, &pod, &ports).await?;
    pod_status::tell(&api, &told, Stage::Over(&ended), None).await.map(drop)
}

/// Tells its events, which name the node that it is on.
async fn came_up(options: &KubeletOptions, pod: &Pod) {
    if !options.events.is_on() {
        return;
    }
    let node = match pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
        Some(own) => own,
        None => node(&options.client).await.unwrap_or_default(),
    };
    events::came_up(&options.events, pod, &node).await;
}

/// Gives it a node, where it has none.
async fn schedule(options: &KubeletOptions, pod: &Pod, api: &Api<Pod>) -> Result<(), kube::Error> {
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
        return Ok(());
    }
    let Some(node) = node(&options.client).await else { return Ok(()) };
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let bound: Result<Value, _> =
        api.create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await;
    match bound {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        bound => bound.map(drop),
    }
}

/// A pod does not start before its volumes are there.
async fn claims_bound(options: &KubeletOptions, pod: &Pod, namespace: &str) -> Result<(), kube::Error> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(options.client.clone(), namespace);
    for name in volumes.into_iter().filter_map(|volume| Some(volume.persistent_volume_claim?.claim_name)) {
        loop {
            let claim = claims.get_opt(&name).await?;
            if claim.and_then(|claim| claim.status?.phase).as_deref() == Some("Bound") {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pods_have_addresses_of_their_own_and_close_their_ports_when_they_end() {
        let pods = Arc::new(Pods::default());
        let (first, second) = (pods.address(), pods.address());
        assert_ne!(first, second);
        assert!(first.to_string().starts_with("10.129."));
        let ports = Ports { pods: pods.clone(), address: first };
        ports.open(8080, Router::new());
        let open = pods.changed(&BTreeSet::new()).await;
        assert_eq!(open, BTreeSet::from([SocketAddr::new(first, 8080)]));
        drop(ports);
        assert!(pods.changed(&open).await.is_empty());
    }
}
