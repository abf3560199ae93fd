//! VMs, disks, networks and datastores that every platform shows in its own words.
//!
//! One state behind one lock and one change counter. It knows what machines are and what may be
//! done to them; it knows no protocol, and it keeps no time: whoever serves it says when an
//! operation ends.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::api::world::{Failure, Source};
use crate::esxi::{EsxiHost, EsxiHosts};
use crate::ports::{GuestDirectory, GuestNic, GuestProfile, SharedDisk};
use crate::weather::Sky;

mod baseline;
mod change;
mod kept;
mod model;
mod operate;
mod place;
mod reconfigure;
mod seed;
mod task;
#[cfg(test)]
mod tests;
mod touched;
mod untidy;

pub use change::{CloneOrder, DeviceChange, DiskPlacement, NicEdit, VmChange};
pub use model::SPARE_LUN;
pub use model::{
    Adapter, Controller, ControllerKind, Datastore, Disk, FolderKind, Host, Network, Nic, Snapshot, State, Vm,
};
pub use place::CreateOrder;
pub use task::{EntityKind, Found, Task, TaskState};
use touched::Waiting;
pub use touched::{Interest, Subscription};

/// The storage array behind the datastores, of whatever vendor: its management host, and the one login that it knows.
pub struct ArrayLogin {
    pub host: &'static str,
    pub user: &'static str,
    pub password: &'static str,
    /// Pure's API token, in the place of a user's login.
    pub token: &'static str,
}
pub const ARRAY_LOGIN: ArrayLogin =
    ArrayLogin { host: "array.lab.example", user: "lab", password: "lab-array", token: "lab-array-token" };

/// Why the world refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    #[error("{kind} {id} does not exist")]
    Gone { kind: EntityKind, id: String },
    #[error("the name '{name}' already exists ({id})")]
    NameTaken { name: String, id: String },
    #[error("the name '{name}' is not valid")]
    BadName { name: String },
    #[error("VM {vm} is {existing}, which does not allow this")]
    WrongPower { vm: String, requested: &'static str, existing: &'static str },
    #[error("another task is already in progress: {task}")]
    Busy { task: String },
    #[error("VMware Tools are not running in VM {vm}")]
    NoTools { vm: String },
    #[error("a specified parameter was not correct: {what}")]
    BadArgument { what: String },
    #[error("invalid configuration for device '{index}'")]
    BadDevice { index: usize },
    #[error("the operation is not allowed in the current state of {vm}")]
    BadState { vm: String },
    #[error("File {path} was not found")]
    NoFile { path: String },
    #[error("the task was canceled by a user")]
    Canceled,
    /// In the words of vCenter.
    #[error("An error occurred while saving the snapshot: No space left on device.")]
    NoSpace { datastore: String },
}

/// The simulated source world.
pub struct World {
    state: Mutex<State>,
    waiting: Waiting,
    requests: AtomicU64,
    baseline: Mutex<baseline::Baseline>,
    /// The hosts' own sshd, where it runs.
    esxi: OnceLock<EsxiHosts>,
}

impl World {
    /// The world that these facts describe, in fair weather: for tests of one part of the lab.
    #[cfg(test)]
    pub fn new(source: &Source) -> Arc<Self> {
        Self::under(source, &Sky::fair())
    }

    /// The world that these facts describe, under this weather.
    pub fn under(source: &Source, sky: &Sky) -> Arc<Self> {
        let mut state = seed::state(source);
        untidy::make(&mut state, sky);
        state.sky = sky.clone();
        state.record();
        let baseline = Mutex::new(baseline::Baseline::of(&state));
        Arc::new(Self {
            state: Mutex::new(state),
            waiting: Waiting::default(),
            requests: AtomicU64::new(0),
            baseline,
            esxi: OnceLock::new(),
        })
    }

    /// Adds VMs that were there from the start, as far as anybody asks for what was left behind.
    pub fn grow(&self, vms: &[crate::api::world::Vm]) {
        let baseline = self.change(|state| {
            seed::grow(state, vms);
            baseline::Baseline::of(state)
        });
        *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = baseline;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panicking test may poison the lock; the state itself is changed in whole steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state. Must not call back into the world.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and tells everybody who waits for what was touched. Must not call back into
    /// the world.
    pub fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let answer = act(&mut state);
        let touched = state.record();
        drop(state);
        self.waiting.wake(touched.iter().map(String::as_str));
        answer
    }

    /// Wakes at every change of what is of interest, from now on.
    pub fn subscribe(&self, interest: Interest) -> Subscription<'_> {
        Subscription::new(&self.waiting, interest)
    }

    /// Platform endpoints count their requests here.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests of all platform endpoints since the start.
    pub fn request_count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What differs from the start: further VMs, missing VMs, snapshots, power, folders.
    pub fn baseline_diff(&self) -> Vec<String> {
        let baseline = self.baseline.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.read(|state| baseline.diff(state));
        left.extend(self.esxi().map(EsxiHosts::leftovers).unwrap_or_default());
        left
    }

    /// The hosts' sshd, where it runs.
    pub fn esxi(&self) -> Option<&EsxiHosts> {
        self.esxi.get()
    }

    /// Starts the sshd of each host.
    pub async fn start_esxi(&self, listen: IpAddr) -> std::io::Result<()> {
        let (hosts, stores): (Vec<_>, BTreeSet<_>) = self.read(|state| {
            let stores = state.datastores.iter().filter(|store| store.xcopy).map(|store| store.name.clone()).collect();
            (state.hosts.iter().map(|host| (host.id.clone(), host.name.clone())).collect(), stores)
        });
        let own = EsxiHosts::start(listen, &hosts, &stores).await?;
        let _ = self.esxi.set(own);
        Ok(())
    }
}

impl GuestDirectory for World {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        let mac = mac.to_ascii_lowercase();
        self.read(|state| state.macs.vm(&mac).and_then(|id| state.vms.get(id)).map(|vm| profile(state, vm)))
    }
    fn failure_by_mac(&self, mac: &str) -> Option<Option<Failure>> {
        let mac = mac.to_ascii_lowercase();
        self.read(|state| state.macs.vm(&mac).and_then(|id| state.vms.get(id)).map(|vm| vm.os.fails.clone()))
    }
    fn by_name(&self, name: &str) -> Option<GuestProfile> {
        self.read(|state| state.vms.values().find(|vm| vm.name == name).map(|vm| profile(state, vm)))
    }
    fn by_id(&self, id: &str) -> Option<GuestProfile> {
        self.read(|state| state.vms.get(id).map(|vm| profile(state, vm)))
    }
    fn xcopies(&self, datastore: &str) -> bool {
        let called = |store: &&Datastore| store.id == datastore || store.name == datastore;
        self.read(|state| state.datastores.iter().find(called).is_none_or(|store| store.xcopy))
    }
    fn host_name(&self, id: &str) -> Option<String> {
        self.read(|state| state.hosts.iter().find(|host| host.id == id).map(|host| host.name.clone()))
    }
    fn esxi(&self, host: &str) -> Option<Arc<EsxiHost>> {
        self.esxi.get()?.host(host)
    }
}

pub(crate) fn profile(state: &State, vm: &Vm) -> GuestProfile {
    GuestProfile {
        files: state.files.get(&vm.id).cloned().unwrap_or_default(),
        fails: vm.os.fails.clone(),
        luks: vm.os.luks.clone(),
        shared: vm
            .disks
            .iter()
            .find(|disk| disk.shared)
            .map(|disk| SharedDisk { file: format!("[{}] {}", disk.datastore, disk.path), all: state.shared.clone() }),
        windows: vm.os.windows,
        hostname: vm.os.hostname.clone(),
        pretty_name: vm.os.pretty_name.clone(),
        users: vm.os.users.clone(),
        nics: guest_nics(vm),
    }
}

/// A guest has one default route, through its first NIC: what its tools tell, too.
fn guest_nics(vm: &Vm) -> Vec<GuestNic> {
    vm.nics.iter().enumerate().map(|(index, nic)| guest_nic(nic, index == 0)).collect()
}

fn guest_nic(nic: &Nic, default_route: bool) -> GuestNic {
    GuestNic {
        name: nic.guest.name.clone(),
        mac: nic.mac.clone(),
        addresses: nic.addresses(),
        is_static: nic.guest.is_static,
        gateway: default_route.then(|| nic.gateway()),
        dns: nic.guest.dns.clone(),
    }
}
