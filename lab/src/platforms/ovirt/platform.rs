//! oVirt as one of the lab's platforms: the engine with its login, its guests and its start.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::{LabPlatform, PlatformOptions};
use super::model::{Machine, State};
use super::{Engine, OvirtEndpoint, OvirtOptions};
use crate::api::world::{Kind, Vm};
use crate::error::LabError;
use crate::faults::Dialect;
use crate::kept;
use crate::ports::{GuestDirectory, GuestNic, GuestProfile};

/// The login; it guards nothing.
const USER: &str = "admin@internal";
const PASSWORD: &str = "lab-ovirt";

/// By which it is kept.
const PART: &str = "oVirt";

/// The lab's engine.
pub struct Ovirt {
    endpoint: OvirtEndpoint,
    baseline: Mutex<BTreeMap<String, String>>,
}

impl Ovirt {
    pub async fn start(options: &PlatformOptions<'_>) -> Result<Self, LabError> {
        let own = OvirtOptions {
            listen: options.listen,
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
            clock: options.clock,
            faults: options.faults.at("ovirt", Dialect::Rest),
        };
        let endpoint = super::start(own, &options.world.ovirt, options.ca).await?;
        if let Some(kept) = options.before(PART) {
            *endpoint.engine.lock() = kept::read(PART, kept)?;
        }
        let baseline = Mutex::new(marks(&endpoint.engine.lock()));
        Ok(Self { endpoint, baseline })
    }
}

/// What a run could leave behind or take away, by id, in a line each.
fn marks(state: &State) -> BTreeMap<String, String> {
    let machine = |kind: &str, m: &Machine| {
        let snapshots: Vec<&str> = m.snapshots.iter().map(|s| s.description.as_str()).collect();
        let macs: Vec<&str> = m.nics.iter().map(|n| n.mac.as_str()).collect();
        let (disks, status) = (m.attachments.len(), m.status);
        (
            m.id.clone(),
            format!("oVirt {kind} {} ({status}, {disks} disks, NICs {macs:?}, snapshots {snapshots:?})", m.name),
        )
    };
    // A disk is the VM's that it is attached to: who is told of the one knows of the other.
    let owner = |disk: &str| {
        let holds = |m: &&Machine| m.attachments.iter().any(|a| a.disk == disk);
        state.vms.values().find(holds).map(|m| format!(" of {}", m.name)).unwrap_or_default()
    };
    let disk = |d: &super::model::Disk| (d.id.clone(), format!("oVirt disk {}{} ({})", d.name, owner(&d.id), d.status));
    let mut all: BTreeMap<String, String> = state.vms.values().map(|m| machine("VM", m)).collect();
    all.extend(state.templates.values().map(|m| machine("template", m)));
    all.extend(state.disks.values().map(disk));
    all.extend(state.tags.values().map(|tag| (tag.id.clone(), format!("oVirt tag {} of {:?}", tag.name, tag.vms))));
    all
}

#[async_trait]
impl LabPlatform for Ovirt {
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile = json!({
            "type": "ovirt",
            "version": "4.5",
            "fqdn": super::super::host_of(self.endpoint.url()),
            "api_url": self.endpoint.url(),
            "username": USER,
            "password": PASSWORD,
            "guest_vm_linux_user": "root",
            "guest_vm_linux_password": "lab-linux",
            "guest_vm_win_user": "Administrator",
            "guest_vm_win_password": "lab-windows",
        });
        vec![("ovirt".to_owned(), profile)]
    }

    fn kept(&self) -> Option<(&'static str, Value)> {
        Some((PART, kept::written(PART, &self.endpoint.engine.lock().settled())))
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.endpoint.engine.clone()
    }

    fn leftovers(&self) -> Vec<String> {
        let now = marks(&self.endpoint.engine.lock());
        let baseline = self.baseline.lock().unwrap_or_else(PoisonError::into_inner);
        let new = now.iter().filter(|(id, mark)| baseline.get(*id) != Some(mark));
        let mut found: Vec<String> = new.map(|(id, mark)| format!("{mark} ({id}) is left over or changed")).collect();
        let gone = baseline.iter().filter(|(id, _)| !now.contains_key(*id));
        found.extend(gone.map(|(id, mark)| format!("{mark} ({id}) is gone")));
        found
    }

    fn grow(&self, kind: Kind, vms: &[Vm]) -> std::io::Result<()> {
        if kind == Kind::Ovirt {
            let mut state = self.endpoint.engine.lock();
            super::seed::grow(&mut state, vms);
            *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = marks(&state);
        }
        Ok(())
    }

    fn requests(&self) -> (&'static str, u64) {
        ("ovirt_requests", self.endpoint.engine.requests.load(Ordering::Relaxed))
    }

    async fn stop(&self) {
        self.endpoint.stop().await;
    }
}

impl GuestDirectory for Engine {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        let mac = mac.to_ascii_lowercase();
        let state = self.lock();
        let vm = state.vms.values().find(|vm| vm.nics.iter().any(|nic| nic.mac == mac))?;
        let login = if vm.guest.windows { ("Administrator", "lab-windows") } else { ("root", "lab-linux") };
        let nic = |nic: &super::model::Nic| {
            let (address, prefix) = nic.address();
            GuestNic {
                name: nic.guest_name.clone(),
                mac: nic.mac.clone(),
                addresses: vec![(IpAddr::V4(address), prefix)],
                is_static: nic.is_static,
                gateway: Some(IpAddr::V4(nic.gateway())),
                dns: vec![IpAddr::from([10, 51, 0, 2])],
            }
        };
        Some(GuestProfile {
            files: Default::default(),
            fails: vm.guest.fails.clone(),
            luks: None,
            shared: None,
            windows: vm.guest.windows,
            hostname: vm.guest.hostname.clone(),
            pretty_name: vm.guest.pretty_name.clone(),
            users: vec![(login.0.to_owned(), login.1.to_owned())],
            nics: vm.nics.iter().map(nic).collect(),
        })
    }
}
