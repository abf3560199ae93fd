//! What MTV does differently for each type of source provider, one file a type.
//!
//! Everything that is the same for all of them (conditions, hooks, maps, the walk of a VM) lives
//! beside this folder and asks here. A new platform is a file here and a line in [`of`].

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::networks::Rows;
use super::pipeline::Path;
use super::validate::{Add, View};
use super::{Mtv, MtvVersion};
use crate::api::forklift::Provider;
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDisk, InvVm};

mod ec2;
mod hyperv;
pub(crate) mod openshift;
mod openstack;
mod ova;
mod ovirt;
mod standin;
pub(super) mod transport;
mod vsphere;

/// The source of a Provider's type; `None` for a type that this MTV does not know.
pub(super) fn of(type_: &str) -> Option<&'static dyn Source> {
    match type_ {
        "vsphere" => Some(&vsphere::Vsphere),
        "openshift" => Some(&openshift::Openshift),
        "ovirt" => Some(&ovirt::Ovirt),
        "ova" => Some(&ova::Ova),
        "hyperv" => Some(&hyperv::Hyperv),
        "ec2" => Some(&ec2::Ec2),
        "openstack" => Some(&openstack::Openstack),
        _ => None,
    }
}

/// What the shape of a target VM depends on, the source VM aside.
pub(super) struct Shape<'a> {
    pub version: MtvVersion,
    /// Of the cluster that MTV runs on.
    pub ocp_version: &'a str,
    /// `spec.settings` of the source Provider.
    pub settings: &'a std::collections::BTreeMap<String, String>,
}

/// One type of source provider, as MTV treats it.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Whether a Provider without `spec.url` is refused.
    fn needs_url(&self) -> bool {
        true
    }

    /// What is wrong with the form of `spec.url`, if anything.
    fn bad_url(&self, _: &str, _: MtvVersion) -> Option<&'static str> {
        None
    }

    /// Keys that the Secret lacks; not empty: condition `SecretNotValid`.
    fn missing_keys(&self, login: &Login, version: MtvVersion) -> Vec<String>;

    /// Whether a Provider that skips TLS verification carries `ConnectionInsecure`.
    fn tells_insecure(&self) -> bool {
        false
    }

    /// Logs in by a Provider's Secret.
    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError>;

    /// Done once for a Provider, before its first login.
    async fn begins(&self, _: &Mtv, _: &Provider) {}

    /// Whether a migrated VM may keep its static addresses, which the pod network can't give it.
    fn preserves_static_ips(&self) -> bool {
        false
    }

    /// The host that limits how many of its VMs are copied at once; `None`: the Provider as a whole does.
    fn host_of<'a>(&self, _: &'a InvVm) -> Option<&'a str> {
        None
    }

    /// Whether the inventory is asked from the platform at every look, instead of being collected.
    fn live(&self) -> bool {
        false
    }

    /// Whether this MTV migrates from here warm, as it is configured now.
    async fn can_warm(&self, _: &Mtv) -> bool {
        false
    }

    /// Whether virt-v2v copies the disks itself.
    fn v2v_transfer(&self, _warm: bool, _local_destination: bool) -> bool {
        false
    }

    /// Whether virt-v2v converts the guest.
    fn converts(&self) -> bool {
        false
    }

    /// Whether a conversion that failed can be resumed from the copied disks (`HasSeparateCopyAndConversion`).
    fn resumes(&self) -> bool {
        self.converts()
    }

    /// Whether this MTV names PVCs by the Plan's template. Main does for every platform.
    fn names_pvcs(&self, version: MtvVersion) -> bool {
        version.at_least(13)
    }

    /// The steps between `Initialize` (and `PreHook`) and `PostHook`.
    fn steps(&self, path: Path, version: MtvVersion) -> Vec<&'static str>;

    /// Steps between the source's power-off and the first copy, beyond what all have.
    fn before_copy(&self) -> &'static [&'static str] {
        &[]
    }

    /// The step that creates the VirtualMachine.
    fn create_step(&self) -> &'static str {
        "VirtualMachineCreation"
    }

    /// Steps that follow it.
    fn after_create(&self) -> &'static [&'static str] {
        &[]
    }

    /// The steps after `PostHook`.
    fn last_steps(&self, _: Path, _: MtvVersion) -> Vec<&'static str> {
        Vec::new()
    }

    /// What the builder makes of several NICs of a VM on one network.
    fn rows(&self) -> Rows {
        Rows::Shared
    }

    /// What speaks against migrating this VM, beyond what is asked of every platform.
    fn judge(&self, _: &View<'_>, _: &InvVm, _: &mut Add<'_>) {}

    /// Whether a volume is called like the claim that it is a copy of; a disk's source is then
    /// `namespace/claim`.
    fn names_volumes_after_source(&self) -> bool {
        false
    }

    /// Whether what a Plan says of nested virtualization comes to the VM.
    fn asks_for_nesting(&self, version: MtvVersion) -> bool {
        version.at_least(11)
    }

    /// Disks in the order in which MTV numbers them.
    fn ordered(&self, disks: &[InvDisk]) -> Vec<InvDisk> {
        disks.to_vec()
    }

    /// The phase that follows the copy, where there is one without a step of its own.
    fn last_copy_phase(&self) -> Option<&'static str> {
        None
    }

    /// Whether the snapshots of a warm migration stay until the migration has ended, and are taken off
    /// in the background then.
    fn removes_snapshots_late(&self) -> bool {
        false
    }

    /// What a disk's task is called in the pipeline.
    fn task_name(&self, _: &InvVm, disk: &InvDisk) -> String {
        disk.source.clone()
    }

    /// Whether a populator fills the claims, not a DataVolume.
    fn populates(&self, warm: bool) -> bool {
        self.populator(warm).is_some()
    }

    /// Whether pods copy the disks: CDI's importers, or populators.
    fn copies_by_pods(&self) -> bool {
        true
    }

    /// The kind of the objects that tell populators what to copy.
    fn populator(&self, _warm: bool) -> Option<&'static str> {
        None
    }

    /// Whether the pods that copy log in to the source by Secrets of their own.
    fn logs_in_to_copy(&self) -> bool {
        false
    }

    /// Whether disks are read by VMware's library, which the user must have made an image of.
    fn copies_by_vddk(&self) -> bool {
        false
    }

    /// The label by which a populator's claim tells its disk.
    fn disk_label(&self) -> Option<&'static str> {
        None
    }

    /// Whether claims tell the number of their disk.
    fn tells_disk_index(&self) -> bool {
        true
    }

    /// What a disk's PVC is called (and then a generated end), where it does not follow the Plan's
    /// template.
    fn claim_name(&self, _: &InvVm, _: &InvDisk) -> Option<String> {
        None
    }

    /// Gives the VirtualMachine what only this platform's VMs have. `machine` has everything that
    /// all have: cpu, memory, bootloader, disks `vol-<i>`, interfaces `net-<i>`.
    fn shape(&self, _: &Shape<'_>, _: &InvVm, _machine: &mut Value) {}
}

/// Where virt-v2v always copies and converts in one go.
const V2V_STEPS: &[&str] = &["DiskAllocation", "ImageConversion", "DiskTransferV2v", "VirtualMachineCreation"];

/// Keys of the Secret among `wanted` that are absent or empty, and `cacert` where TLS is verified
/// without one.
fn missing(login: &Login, wanted: &[&str], wants_ca: bool) -> Vec<String> {
    let mut missing: Vec<String> =
        wanted.iter().filter(|key| login.secret(key).is_empty()).map(|key| (*key).to_owned()).collect();
    if wants_ca && !login.insecure && login.ca_pem.is_none() {
        // As conditions name it, though `cacert` is read, too.
        missing.push("ca.crt".to_owned());
    }
    missing
}
