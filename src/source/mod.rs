//! Source platforms behind one trait: find, clone, power, read, delete.
//!
//! Floor 2. A platform's words stay in its own file; nobody above may name one. A driver holds one
//! session for a profile, shared by all cells of that profile, and is safe to call concurrently.
//! Every clone is written to the ledger before it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::api::names::{CellId, RunId};
use crate::api::vm::{Power, SourceVm};
use crate::cluster::Cluster;
use crate::config::platforms::VsphereConfig;
use crate::config::scenarios::{AddDisk, DiskType};
use crate::config::{Credentials, Platform, PlatformConfig, ProviderProfile, Timeouts};
use crate::ledger::mark::{Claim, Judgement, Shown};
use crate::ledger::{Ledger, LedgerError};

mod http;
pub mod openshift;
pub mod openstack;
pub mod ovirt;
mod poll;
mod slot;
mod tls;
pub mod vsphere;

/// Why a source platform did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Unreachable, TLS, timeout: the environment.
    #[error("{profile}: failed to reach {endpoint}: {cause}")]
    Unreachable { profile: String, endpoint: String, cause: String },
    #[error("{profile}: {endpoint} refused the login of {username}: {cause}")]
    Login { profile: String, endpoint: String, username: String, cause: String },
    #[error("{profile}: there is no {kind} called {name}{hint}")]
    NotFound { profile: String, kind: String, name: String, hint: String },
    /// The platform answered that the operation failed.
    #[error("{profile}: failed to {what}: {cause}")]
    Operation { profile: String, what: String, cause: String },
    /// The wait ended first; `last` is the last state seen.
    #[error("{profile}: gave up after {waited:?} waiting for {what}; last seen: {last}")]
    Timeout { profile: String, what: String, waited: Duration, last: String },
    /// The scenario asks for something that this platform cannot do.
    #[error("{profile}: {what} is not possible on {platform}")]
    Unsupported { profile: String, platform: Platform, what: String },
    /// A thing of that name is there and fails the proof.
    #[error("{profile}: {what} is not ours: {}", why(.judgement))]
    NotOurs { profile: String, what: String, judgement: Judgement },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl SourceError {
    /// Whether somebody answered, and what was asked is not to be had: no reach, no login and no ledger are the
    /// environment's instead.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::Operation { .. }
            | Self::Timeout { .. }
            | Self::Unsupported { .. }
            | Self::NotOurs { .. } => true,
            Self::Unreachable { .. } | Self::Login { .. } | Self::Ledger(_) => false,
        }
    }
}

fn why(judgement: &Judgement) -> &str {
    match judgement {
        Judgement::Ours => "",
        Judgement::Unproven(why) | Judgement::Foreign(why) => why,
    }
}

/// Whether the thing may be deleted now, as the error of a profile's platform.
fn permit(profile: &str, claim: &Claim<'_>, shown: Shown<'_>) -> Result<(), SourceError> {
    claim.permits(shown).map_err(|judgement| SourceError::NotOurs {
        profile: profile.to_owned(),
        what: format!("{} {} ({})", shown.kind, shown.name, shown.id),
        judgement,
    })
}

/// The kind under which a platform's VM is marked.
const VM: &str = "VM";

/// A VM on the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmRef {
    /// The id that MTV's inventory uses.
    pub id: String,
    pub name: String,
}

/// A clone to make for a cell.
#[derive(Debug, Clone)]
pub struct CloneRequest<'a> {
    pub cell: &'a CellId,
    pub run: &'a RunId,
    /// Source VM or template.
    pub base: &'a str,
    /// The exact name of the clone, from `api::names`.
    pub name: String,
    /// Make the clone fit for warm migration (vSphere: changed block tracking).
    pub warm: bool,
    pub disk_type: Option<DiskType>,
    pub add_disks: &'a [AddDisk],
    pub target_storage: Option<&'a str>,
    /// The host that it is put on, by id or name.
    pub host: Option<&'a str>,
    /// One more NIC, and whether it is connected when the VM starts.
    pub add_nic: Option<bool>,
}

/// A key to let in on a host while a cell migrates.
#[derive(Debug, Clone)]
pub struct KeyRequest<'a> {
    pub cell: &'a CellId,
    pub run: &'a RunId,
    /// The host, by id or name.
    pub host: &'a str,
    /// As `authorized_keys` has it: options, type, key.
    pub line: &'a str,
}

/// A network of a VM or template, known before a clone exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNetwork {
    pub id: String,
    pub name: String,
}

/// Something on a platform that belongs to a run and is no VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceItem {
    /// The platform's word: `volume`, `snapshot` …
    pub kind: String,
    pub name: String,
    pub id: String,
}

/// Who is answering: for reports and version rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// e.g. `VMware vCenter Server`.
    pub product: String,
    pub version: String,
    pub facts: BTreeMap<String, String>,
}

/// One profile's platform.
#[async_trait]
pub trait SourceDriver: Send + Sync {
    fn platform(&self) -> Platform;

    /// Logs in (again) and reads who is there. The session is kept.
    async fn connect(&self) -> Result<About, SourceError>;

    /// Finds a VM (or template) by its exact name.
    async fn find(&self, name: &str) -> Result<Option<VmRef>, SourceError>;

    /// Distinct networks of a VM or template in the order of its NICs.
    async fn networks_of(&self, base: &str) -> Result<Vec<SourceNetwork>, SourceError>;

    /// Clones; returns when the clone exists, powered off. Writes intent before and *done* after.
    async fn clone_vm(&self, request: CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError>;

    /// Powers on or off and waits for it. Off asks the guest first where tools run, then forces;
    /// the returned text says which it was.
    async fn set_power(&self, vm: &VmRef, on: bool) -> Result<String, SourceError>;

    /// Waits until the guest of a running VM reports its network (tools running, addresses known).
    async fn wait_guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError>;

    /// Makes a snapshot, without memory.
    async fn snapshot(&self, vm: &VmRef, name: &str) -> Result<(), SourceError>;

    /// Adds an empty disk of so many GiB, also to a VM that runs or is migrated.
    async fn add_disk(&self, _vm: &VmRef, _gib: u64) -> Result<(), SourceError> {
        Err(SourceError::Unsupported {
            profile: self.platform().name().to_owned(),
            platform: self.platform(),
            what: "adding a disk to a VM".to_owned(),
        })
    }

    /// Reads everything that the checks compare. Never changes power.
    async fn describe(&self, vm: &VmRef) -> Result<SourceVm, SourceError>;

    /// Changes something of the VM that nobody needs, so that whoever follows the platform reads it
    /// anew. Nothing where nobody has a use for it.
    async fn touch(&self, _vm: &VmRef) -> Result<(), SourceError> {
        Ok(())
    }

    /// Power only: cheaper than [`SourceDriver::describe`].
    async fn power(&self, vm: &VmRef) -> Result<Power, SourceError>;

    /// Removes the claimed VM with its disks and verifies that it is gone. What proves it to be ours is
    /// read right before ([`SourceError::NotOurs`] where it does not). Waits for a clone of that name that
    /// is still being made. `Ok(false)`: there was none.
    async fn delete_vm(&self, claim: &Claim<'_>) -> Result<bool, SourceError>;

    /// Removes the claimed item ([`crate::ledger::Thing::SourceItem`]) likewise. What still uses it is
    /// waited for. `Ok(false)`: there was none.
    async fn delete_item(&self, kind: &str, claim: &Claim<'_>) -> Result<bool, SourceError> {
        Err(SourceError::Unsupported {
            profile: self.platform().name().to_owned(),
            platform: self.platform(),
            what: format!("removing {kind} {}", claim.name),
        })
    }

    /// Whose the claimed thing is; `kind` `None`: a VM. `None`: there is none of that name. Changes nothing.
    async fn judge(&self, kind: Option<&str>, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError>;

    /// VMs whose name begins with `prefix` (a run's `clone_prefix`), for a sweep.
    async fn list_by_prefix(&self, prefix: &str) -> Result<Vec<VmRef>, SourceError>;

    /// The CA that the platform itself offers, PEM, where it has a way of its own; `None`: what the
    /// endpoint presents will do.
    async fn own_ca(&self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// A mark in the platform's event log, for [`SourceDriver::forced_off_since`]; `None` where the
    /// platform does not tell how a VM was powered off.
    async fn power_mark(&self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// Whether somebody powered the VM off by force, without asking its guest, since that mark.
    async fn forced_off_since(&self, _vm: &VmRef, _mark: &str) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// The id of the host that a VM is on; `None` where the platform does not tell.
    async fn host_of(&self, _vm: &VmRef) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// The id of a host that works and sees this storage (by id or name; `None`: any), and is none of these (by id or name).
    async fn host_beside(&self, _others: &[String], _storage: Option<&str>) -> Result<String, SourceError> {
        Err(SourceError::Unsupported {
            profile: self.platform().name().to_owned(),
            platform: self.platform(),
            what: "choosing a host".to_owned(),
        })
    }

    /// Gives `other` the disks of `owner` that several VMs may write to, in place of its own of that kind, which are copies.
    async fn share_disks(&self, _owner: &VmRef, other: &VmRef) -> Result<usize, SourceError> {
        Err(SourceError::Unsupported {
            profile: self.platform().name().to_owned(),
            platform: self.platform(),
            what: format!("sharing disks with {}", other.name),
        })
    }

    /// Keeps whoever balances the hosts from moving a VM.
    async fn stay(&self, vm: &VmRef) -> Result<(), SourceError> {
        Err(SourceError::Unsupported {
            profile: self.platform().name().to_owned(),
            platform: self.platform(),
            what: format!("keeping {} on its host", vm.name),
        })
    }

    /// What speaks against letting an array copy from these storages, by id or name: that there is no such, or of a kind
    /// that none copies from; and that there is no such LUN to map. Everything at once.
    async fn offload_obstacles(&self, _storages: &[&str], _lun: Option<&str>) -> Result<Vec<String>, SourceError> {
        Ok(vec![format!("no array copies from {}", self.platform())])
    }

    /// Lets a key in on a host; its entry is in the ledger before, and [`SourceDriver::delete_item`] takes it away again.
    /// The host's name.
    async fn let_in(&self, request: &KeyRequest<'_>, _ledger: &Ledger) -> Result<String, SourceError> {
        Err(SourceError::Unsupported {
            profile: self.platform().name().to_owned(),
            platform: self.platform(),
            what: format!("letting a key in on host {}", request.host),
        })
    }

    /// The login into a guest that this driver made itself; `None`: the profile's logins hold.
    fn guest_login(&self, _: &VmRef) -> Option<Credentials> {
        None
    }

    /// Whether programs can be run in the guests of its VMs ([`SourceDriver::run_in_guest`]).
    fn reaches_guests(&self) -> bool {
        false
    }

    /// Runs a program in the guest of a running VM with this login, and waits for its end; its exit code.
    async fn run_in_guest(
        &self,
        _vm: &VmRef,
        _login: &Credentials,
        program: &str,
        _arguments: &str,
        _limit: Duration,
    ) -> Result<i32, SourceError> {
        Err(SourceError::Unsupported {
            profile: self.platform().name().to_owned(),
            platform: self.platform(),
            what: format!("running {program} in a guest"),
        })
    }

    /// Likewise what is no VM: what clones are made of.
    async fn list_items_by_prefix(&self, _prefix: &str) -> Result<Vec<SourceItem>, SourceError> {
        Ok(Vec::new())
    }

    /// Which platform this is, by an id that it has for ever and tells itself: no URL, no name. `None` where it
    /// has none.
    async fn instance(&self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// API URL of the cluster that this platform is, where it is another than the run's own.
    fn cluster_url(&self) -> Option<String> {
        None
    }

    /// The cluster that this platform is; `None`: it is none.
    async fn as_cluster(&self) -> Result<Option<Cluster>, SourceError> {
        Ok(None)
    }

    /// Ends the session.
    async fn disconnect(&self);
}

/// What a driver is made from.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    pub timeouts: Timeouts,
    /// Skip TLS verification towards the platform.
    pub insecure: bool,
    /// The cluster of the run, for the platform that is a cluster itself.
    pub cluster: Option<Cluster>,
}

/// The driver of a profile. No connection is made yet.
pub fn driver(profile: &Arc<ProviderProfile>, options: &DriverOptions) -> Result<Arc<dyn SourceDriver>, SourceError> {
    match profile.platform {
        Platform::Vsphere => match &profile.config {
            PlatformConfig::Vsphere(VsphereConfig { esxi: true, cloner: Some(cloner), .. }) => {
                Ok(Arc::new(vsphere::host::HostDriver::new(profile.clone(), cloner, options.clone())?))
            }
            _ => Ok(Arc::new(vsphere::VsphereDriver::new(profile.clone(), options.clone())?)),
        },
        Platform::Ovirt => Ok(Arc::new(ovirt::OvirtDriver::new(profile.clone(), options.clone())?)),
        Platform::Openshift => Ok(Arc::new(openshift::OpenshiftDriver::new(profile.clone(), options.clone())?)),
        Platform::Openstack => Ok(Arc::new(openstack::OpenstackDriver::new(profile.clone(), options.clone())?)),
        platform => Err(SourceError::Unsupported {
            profile: profile.name.clone(),
            platform,
            what: "driving source VMs".to_owned(),
        }),
    }
}

/// How the VMs of a profile's platform are reached.
#[derive(Clone)]
pub enum SourceAccess {
    /// Cloned, powered, read and deleted through the platform itself.
    Driver(Arc<dyn SourceDriver>),
    /// Only MTV's inventory tells of them: the VM that the scenario names is migrated as it is, and
    /// nothing on the source is touched.
    InventoryOnly,
}

impl SourceAccess {
    /// `None` for a platform that is known by the inventory alone.
    pub fn driver(&self) -> Option<&Arc<dyn SourceDriver>> {
        match self {
            Self::Driver(driver) => Some(driver),
            Self::InventoryOnly => None,
        }
    }
}

/// How a profile's VMs are reached. No connection is made yet.
pub fn access(profile: &Arc<ProviderProfile>, options: &DriverOptions) -> Result<SourceAccess, SourceError> {
    match profile.platform {
        Platform::Ova | Platform::Hyperv | Platform::Ec2 => Ok(SourceAccess::InventoryOnly),
        _ => driver(profile, options).map(SourceAccess::Driver),
    }
}

/// Reads a VM again and again until `settled` takes it, or the limit is over: then as it is. For what
/// somebody else still changes.
pub async fn describe_settled(
    driver: &dyn SourceDriver,
    vm: &VmRef,
    limit: Duration,
    settled: impl Fn(&SourceVm) -> Result<(), String> + Send + Sync,
) -> Result<SourceVm, SourceError> {
    let what = format!("{} to settle", vm.name);
    let settled = &settled;
    let deadline = tokio::time::Instant::now() + limit;
    let last = std::sync::Mutex::new(None);
    let seen = &last;
    let waited = poll::until(driver.platform().name(), &what, deadline, || async move {
        let now = driver.describe(vm).await?;
        Ok(match settled(&now) {
            Ok(()) => crate::net::Poll::Done(now),
            Err(why) => {
                if let Ok(mut seen) = seen.lock() {
                    *seen = Some(now);
                }
                crate::net::Poll::NotYet(why)
            }
        })
    });
    match waited.await {
        Err(SourceError::Timeout { .. }) => match last.into_inner() {
            Ok(Some(last)) => Ok(last),
            _ => driver.describe(vm).await,
        },
        ended => ended,
    }
}

/// The certificate chain that `host:port` presents, PEM, by one TLS handshake that validates
/// nothing. Only for storing a CA that the user chose to trust on first use.
pub async fn fetch_ca(host: &str, port: u16, limit: Duration) -> Result<String, tls::TlsError> {
    Ok(crate::api::pem::of_der(&tls::presented_chain(host, port, limit).await?))
}
