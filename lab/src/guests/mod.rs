//! The guests: an SSH server for every migrated VM, spoken to over an in-memory stream.
//!
//! Knows what is installed on a VM's disks (through the guest directory) and the MACs it runs
//! with; knows nothing of the cluster. Shared with the KubeVirt part is only [`view`]: what a guest
//! looks like now, so that the agent's report and the guest's own answer agree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::defects::{Defect, Defects};
use crate::clock::Clock;
use crate::error::LabError;
use crate::kept;
use crate::ports::{GuestDirectory, GuestNic, GuestProfile, GuestStream};
use crate::weather::{Sky, Weather};
use access::Access;
use machine::{Disk, Machine};
use terminal::Terminal;

pub mod access;
pub mod collected;
pub mod container;
mod directory;
mod files;
mod filter;
pub(crate) mod gathered;
pub(crate) mod inspected;
mod linux;
mod machine;
mod powershell;
mod sftp;
pub mod shell;
mod ssh;
mod system;
pub mod tar;
pub mod terminal;
pub mod view;
pub mod vnc;
mod windows;

pub use machine::raw;

/// Bytes in flight in each direction of a stream to a guest.
const STREAM_BYTES: usize = 64 * 1024;
/// Simulated time in which a guest lets nobody in after the first question.
const BOOTING: Duration = Duration::from_secs(20);
/// Simulated time after the first question in which static addresses may be missing.
const ADDRESSES: Duration = Duration::from_secs(120);

/// What sessions left on a disk ([`Disk`]).
type Left = std::collections::BTreeMap<String, Option<String>>;

/// What is remembered of one guest.
struct Known {
    since: Instant,
    disk: Disk,
}

/// All guests of a lab. Dropping it ends every session.
pub struct Guests {
    directory: Arc<dyn GuestDirectory>,
    defects: Defects,
    sky: Sky,
    clock: Clock,
    /// What each guest has been through, by its MACs.
    known: Mutex<HashMap<Vec<String>, Known>>,
    config: Arc<russh::server::Config>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Guests {
    /// One host key for all guests, as clones of one template have; every lab's is the same, so that who has once said yes
    /// is not warned of each new lab. It keeps no secret: the way to a guest is the API server's, or memory.
    pub fn new(directory: Arc<dyn GuestDirectory>, defects: Defects, sky: Sky, clock: Clock) -> Self {
        let seed: [u8; 32] = Sha256::digest("the host key of the lab's guests").into();
        let keys = match PrivateKey::new(Ed25519Keypair::from_seed(&seed).into(), "") {
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
            known: Mutex::default(),
            config: Arc::new(config),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// A stream to port 22 of the guest whose adapters have these MACs, in the VM's order, with disks of so many bytes, and
    /// what was put into it from outside. `None`: it has no adapter, or the lab was stopped.
    pub fn connect(&self, macs: &[String], disks: Vec<u64>, access: &Access) -> Option<Box<dyn GuestStream>> {
        if macs.is_empty() || self.stop.is_cancelled() {
            return None;
        }
        let mut guest = access.on(view::current(self.directory.as_ref(), &self.defects, macs));
        let (awake, disk) = self.known(macs);
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
        let session = ssh::GuestSession::new(guest, self.machine(awake, disks), disk, door);
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

    /// A stream to the serial console of such a guest.
    pub fn console(&self, macs: &[String], disks: Vec<u64>) -> Box<dyn GuestStream> {
        let (awake, disk) = self.known(macs);
        let mut terminal = Terminal::console(self.view(macs), self.machine(awake, disks), disk);
        self.serve(|mut line| async move {
            let mut typed = [0; 1024];
            while let Ok(count @ 1..) = line.read(&mut typed).await {
                let shown = terminal.type_in(typed.get(..count).unwrap_or_default());
                if line.write_all(&shown.bytes).await.is_err() {
                    return;
                }
                if shown.left.is_some() {
                    terminal.log_out();
                }
            }
        })
    }

    /// A stream to a screen.
    pub fn screen(&self, name: String) -> Box<dyn GuestStream> {
        self.serve(|stream| async move {
            if let Err(error) = vnc::serve(stream, &name).await {
                tracing::debug!(%error, "a viewer left");
            }
        })
    }

    /// Plays the other end of a stream until it or the lab ends.
    fn serve<F>(&self, play: impl FnOnce(DuplexStream) -> F) -> Box<dyn GuestStream>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let (play, stop) = (play(ours), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = play => {} }
        });
        Box::new(theirs)
    }

    /// It has run for as long as the lab's clock says since it was first spoken to.
    fn machine(&self, awake: Duration, disks: Vec<u64>) -> Machine {
        Machine { disks, up: BOOTING + awake.mul_f64(self.clock.scale()), cwd: String::new() }
    }

    /// How long ago the guest was first spoken to, and what is on its disks since.
    fn known(&self, macs: &[String]) -> (Duration, Disk) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            known.entry(macs.to_vec()).or_insert_with(|| Known { since: Instant::now(), disk: Disk::default() });
        (known.since.elapsed(), known.disk.clone())
    }

    /// What sessions left on disks, by the guest's MACs.
    pub fn kept(&self) -> Value {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let left = known.iter().map(|(macs, known)| (macs, known.disk.kept())).filter(|(_, disk)| !disk.is_empty());
        json!(left.collect::<Vec<_>>())
    }

    /// Puts it back there. They have run since now.
    pub fn restore(&self, kept: &Value) -> Result<(), LabError> {
        let all: Vec<(Vec<String>, Left)> = kept::read("guests", kept)?;
        let all = all.into_iter().map(|(macs, left)| (macs, Known { since: Instant::now(), disk: Disk::of(left) }));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
        Ok(())
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

/// What the guest agent reports of its file systems, with disks of so many bytes (`filesystemlist`).
pub fn filesystems(guest: &GuestProfile, disks: &[u64]) -> Vec<Value> {
    let row = |disk: &str, kind: &str, mount: &str, total: u64, used: u64| {
        json!({"diskName": disk, "fileSystemType": kind, "mountPoint": mount, "totalBytes": total, "usedBytes": used,
            "disk": [{"busType": "virtio"}]})
    };
    if guest.windows {
        let size = disks.first().copied().unwrap_or(system::USUAL);
        return vec![row("Harddisk0", "NTFS", "C:\\", size, size / 2)];
    }
    let mounted = system::mounted(guest, disks);
    let real = mounted.iter().filter(|system| system.1 == "xfs");
    let name = |device: &str| device.rsplit('/').next().unwrap_or(device).to_owned();
    real.map(|(device, kind, size, used, mount)| row(&name(device), kind, mount, *size, *used)).collect()
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
