//! The guests: an SSH server for every migrated VM, spoken to over an in-memory stream.
//!
//! Knows what is installed on a VM's disks (through the guest directory) and the MACs it runs
//! with; knows nothing of the cluster. Shared with the KubeVirt part is only [`view`]: what a guest
//! looks like now, so that the agent's report and the guest's own answer agree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use russh::keys::{Algorithm, PrivateKey};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::defects::{Defect, Defects};
use crate::clock::Clock;
use crate::ports::{GuestDirectory, GuestNic, GuestProfile, GuestStream};
use crate::weather::{Sky, Weather};

pub mod collected;
mod linux;
pub mod shell;
mod ssh;
pub mod view;
mod windows;

/// Bytes in flight in each direction of a stream to a guest.
const STREAM_BYTES: usize = 64 * 1024;
/// Simulated time in which a guest lets nobody in after the first question.
const BOOTING: Duration = Duration::from_secs(20);
/// Simulated time after the first question in which static addresses may be missing.
const ADDRESSES: Duration = Duration::from_secs(120);

/// All guests of a lab. Dropping it ends every session.
pub struct Guests {
    directory: Arc<dyn GuestDirectory>,
    defects: Defects,
    sky: Sky,
    clock: Clock,
    /// When each guest was first spoken to, by its MACs.
    spoken: Mutex<HashMap<Vec<String>, Instant>>,
    config: Arc<russh::server::Config>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Guests {
    /// Makes one host key for all guests, as clones of one template have.
    pub fn new(directory: Arc<dyn GuestDirectory>, defects: Defects, sky: Sky, clock: Clock) -> Self {
        let keys = match PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519) {
            Ok(key) => vec![key],
            Err(error) => {
                tracing::error!(%error, "the lab's guests have no host key");
                Vec::new()
            }
        };
        let config = russh::server::Config {
            // No guessing protection in a simulated guest: a refusal should not cost the run a second.
            auth_rejection_time: Duration::from_millis(20),
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: Some(Duration::from_secs(120)),
            keys,
            ..russh::server::Config::default()
        };
        Self {
            directory,
            defects,
            sky,
            clock,
            spoken: Mutex::default(),
            config: Arc::new(config),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// A stream to port 22 of the guest whose adapters have these MACs, in the VM's order. `None`:
    /// it has no adapter, or the lab was stopped.
    pub fn connect(&self, macs: &[String]) -> Option<Box<dyn GuestStream>> {
        if macs.is_empty() || self.stop.is_cancelled() {
            return None;
        }
        let mut guest = view::current(self.directory.as_ref(), &self.defects, macs);
        let awake = self.awake(macs);
        if self.sky.has(Weather::LateAddresses) && awake < self.clock.real(ADDRESSES) {
            guest.nics.iter_mut().for_each(view::with_dhcp);
        }
        if self.sky.has(Weather::Bridges) && !guest.windows {
            guest.nics = behind_bridges(guest.nics);
        }
        let door = match () {
            () if self.sky.has(Weather::NoLogin) && awake < self.clock.real(BOOTING) => ssh::Door::Booting,
            () if self.defects.has(Defect::LoginRefused) => ssh::Door::Shut,
            () => ssh::Door::Open,
        };
        let session = ssh::GuestSession::new(guest, door);
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let (config, stop) = (self.config.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let serve = async {
                match russh::server::run_stream(config, ours, session).await {
                    Ok(running) => drop(running.await),
                    Err(error) => tracing::debug!(%error, "a client left before the SSH handshake"),
                }
            };
            tokio::select! { () = stop.cancelled() => {}, () = serve => {} }
        });
        Some(Box::new(theirs))
    }

    /// How long ago the guest was first spoken to.
    fn awake(&self, macs: &[String]) -> Duration {
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        spoken.entry(macs.to_vec()).or_insert_with(Instant::now).elapsed()
    }

    /// What the guest with these MACs looks like now.
    pub fn view(&self, macs: &[String]) -> GuestProfile {
        view::current(self.directory.as_ref(), &self.defects, macs)
    }
}

/// Each NIC with a bridge before it, which has its MAC and what was its own.
fn behind_bridges(nics: Vec<GuestNic>) -> Vec<GuestNic> {
    let both = |(index, nic): (usize, GuestNic)| {
        let bridge = GuestNic { name: format!("br{index}"), ..nic.clone() };
        [bridge, GuestNic { addresses: Vec::new(), is_static: false, gateway: None, dns: Vec::new(), ..nic }]
    };
    nics.into_iter().enumerate().flat_map(both).collect()
}

/// What the guest agent reports of the system (`guestOSInfo`).
pub fn os_info(guest: &GuestProfile) -> Value {
    let version = linux::version_of(&guest.pretty_name);
    let kernel = if guest.windows { windows::version(&guest.pretty_name) } else { linux::KERNEL };
    json!({
        "name": linux::name_of(&guest.pretty_name), "prettyName": guest.pretty_name, "version": version,
        "versionId": version, "id": linux::os_id(guest), "kernelRelease": kernel, "kernelVersion": kernel,
        "machine": "x86_64",
    })
}

impl Drop for Guests {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
