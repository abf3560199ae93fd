//! The ESXi hosts' own sshd: root's password, root's `authorized_keys`, and the wrapper of vmkfstools that MTV's populator
//! runs through a key with a restricted command (`cmd/vsphere-copy-offload-populator` of Forklift).
//!
//! Knows its hosts' files and which datastores an array copies from; knows no VM and no cluster.

pub mod client;
mod keys;
mod session;
mod shell;
mod wrapper;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Root's login; it guards nothing.
pub const USER: &str = "root";
pub const PASSWORD: &str = "lab-esxi";
/// Where an ESXi host keeps root's keys.
pub const KEYS: &str = "/etc/ssh/keys-root/authorized_keys";
/// Bytes in flight in each direction of a stream.
const STREAM_BYTES: usize = 64 * 1024;

/// What lies on a host's disks, and what its wrapper works at.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub files: BTreeMap<String, String>,
    pub directories: BTreeSet<String>,
    pub tasks: BTreeMap<String, wrapper::Task>,
}

/// One host.
pub struct EsxiHost {
    pub id: String,
    pub name: String,
    disk: Mutex<Disk>,
    /// Names of datastores that an array copies from.
    xcopies: BTreeSet<String>,
    config: Arc<russh::server::Config>,
}

/// All hosts of a vCenter. Dropping it ends every session.
#[derive(Default)]
pub struct EsxiHosts {
    hosts: BTreeMap<String, (Arc<EsxiHost>, SocketAddr)>,
    /// What stands in each host's file at the start: the administrator's own key.
    strangers: String,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The administrator's key, which everybody must leave alone. Its line has no end, as an editor may leave it.
fn strangers_line() -> String {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)
        .ok()
        .and_then(|key| key.public_key().to_openssh().ok())
        .map(|key| format!("# keys of the storage team\n{} admin@jump.lab.example", key.trim_end()))
        .unwrap_or_default()
}

impl EsxiHosts {
    /// `hosts`: id and name. Each listens on a port of its own.
    pub async fn start(
        listen: IpAddr,
        hosts: &[(String, String)],
        xcopies: &BTreeSet<String>,
    ) -> std::io::Result<Self> {
        let keys = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).into_iter().collect();
        let config = Arc::new(russh::server::Config {
            // No guessing protection in a simulated host: a refusal should not cost the run a second.
            auth_rejection_time: Duration::from_millis(20),
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: Some(Duration::from_secs(120)),
            keys,
            ..russh::server::Config::default()
        });
        let mut all = Self::default();
        all.strangers = strangers_line();
        for (id, name) in hosts {
            let disk = Disk {
                files: BTreeMap::from([(KEYS.to_owned(), all.strangers.clone())]),
                directories: BTreeSet::from(["/etc/ssh/keys-root".to_owned(), "/tmp".to_owned()]),
                tasks: BTreeMap::new(),
            };
            let host = Arc::new(EsxiHost {
                id: id.clone(),
                name: name.clone(),
                disk: Mutex::new(disk),
                xcopies: xcopies.clone(),
                config: config.clone(),
            });
            let listener = tokio::net::TcpListener::bind((listen, 0)).await?;
            let address = listener.local_addr()?;
            let (own, stop, tasks) = (host.clone(), all.stop.clone(), all.tasks.clone());
            all.tasks.spawn(async move {
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (own, stop) = (own.clone(), stop.clone());
                        tasks.spawn(async move {
                            tokio::select! { () = stop.cancelled() => {}, () = own.serve(stream) => {} }
                        });
                    }
                };
                tokio::select! { () = stop.cancelled() => {}, () = accept => {} }
            });
            all.hosts.insert(id.clone(), (host, address));
        }
        Ok(all)
    }

    /// By id or name.
    pub fn host(&self, wanted: &str) -> Option<Arc<EsxiHost>> {
        self.hosts.values().map(|(host, _)| host).find(|host| host.id == wanted || host.name == wanted).cloned()
    }

    /// Where each host's sshd listens, by the host's id.
    pub fn addresses(&self) -> BTreeMap<String, String> {
        self.hosts.iter().map(|(id, (_, at))| (id.clone(), at.to_string())).collect()
    }

    /// What differs from the start, one line each.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (host, _) in self.hosts.values() {
            let disk = host.disk();
            let text = disk.files.get(KEYS).cloned().unwrap_or_default();
            let before: Vec<&str> = self.strangers.lines().collect();
            let now: Vec<&str> = text.lines().collect();
            left.extend(now.iter().filter(|line| !line.is_empty() && !before.contains(line)).map(|line| {
                let end = line.rsplit_once(' ').map_or(*line, |(head, _)| head);
                let short: String = end.chars().rev().take(90).collect::<Vec<_>>().into_iter().rev().collect();
                format!("a key on host {}: …{short}", host.id)
            }));
            left.extend(
                before
                    .iter()
                    .filter(|line| !now.contains(line))
                    .map(|line| format!("lost on host {}: {line}", host.id)),
            );
            let tmp = disk.files.keys().chain(&disk.directories).filter(|path| path.starts_with("/tmp/"));
            left.extend(tmp.map(|path| format!("{path} on host {}", host.id)));
        }
        left
    }

    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for EsxiHosts {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl EsxiHost {
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wrapper comes by the datastore's own way, not by SSH: all hosts see it.
    pub fn upload(&self, datastore: &str, name: &str) {
        self.disk().files.insert(format!("/vmfs/volumes/{datastore}/{name}"), "#!/bin/sh\n".to_owned());
    }

    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let config = self.config.clone();
        match russh::server::run_stream(config, stream, session::HostSession::new(self)).await {
            Ok(running) => drop(running.await),
            Err(error) => tracing::debug!(%error, "a client left before the SSH handshake"),
        }
    }

    /// A stream to its port 22, for who is in the same network.
    pub fn connect(self: &Arc<Self>) -> (DuplexStream, impl Future<Output = ()> + Send + 'static) {
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        (theirs, self.clone().serve(ours))
    }
}

#[cfg(test)]
mod tests;
