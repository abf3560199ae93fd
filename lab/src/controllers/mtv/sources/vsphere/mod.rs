//! vSphere: snapshots and change tracking, conversion by virt-v2v, VMware's own serial numbers.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::pipeline::Path;
use super::super::validate::{Add, View, item};
use super::super::{Mtv, MtvVersion, provider};
use super::{Shape, Source, missing};
use crate::api::forklift::Provider;
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDisk, InvVm};
use crate::inventory::own::{OwnVm, VsphereDisk};

mod client;
mod view;

pub(super) struct Vsphere;

#[async_trait]
impl Source for Vsphere {
    fn preserves_static_ips(&self) -> bool {
        true
    }

    fn tells_insecure(&self) -> bool {
        true
    }

    fn host_of<'a>(&self, vm: &'a InvVm) -> Option<&'a str> {
        match &vm.own {
            OwnVm::Vsphere(own) => Some(&own.host_id),
            _ => None,
        }
    }

    fn missing_keys(&self, login: &Login, _: MtvVersion) -> Vec<String> {
        missing(login, &["user", "password"], true)
    }

    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        client::connect(login, &mtv.transports).await
    }

    async fn begins(&self, mtv: &Mtv, provider: &Provider) {
        provider::ensure_ssh_keys(mtv, provider).await;
    }

    async fn can_warm(&self, _: &Mtv) -> bool {
        true
    }

    fn logs_in_to_copy(&self) -> bool {
        true
    }

    fn copies_by_vddk(&self) -> bool {
        true
    }

    fn names_pvcs(&self, _: MtvVersion) -> bool {
        true
    }

    fn v2v_transfer(&self, warm: bool, local_destination: bool) -> bool {
        !warm && local_destination
    }

    fn converts(&self) -> bool {
        true
    }

    fn steps(&self, path: Path, version: MtvVersion) -> Vec<&'static str> {
        let mut names = Vec::new();
        if path.warm {
            if path.preflight && version.at_least(10) {
                names.push("PreflightInspection");
            }
            names.extend(["DiskTransfer", "Cutover", "ImageConversion"]);
        } else if path.v2v_transfer {
            names.extend(["DiskAllocation", "ImageConversion", "DiskTransferV2v"]);
        } else {
            names.extend(["DiskTransfer", "ImageConversion"]);
            if !version.at_least(12) {
                names.push("DiskTransferV2v");
            }
        }
        names.push("VirtualMachineCreation");
        names
    }

    fn last_steps(&self, path: Path, version: MtvVersion) -> Vec<&'static str> {
        if path.warm && version.at_least(12) { vec!["WaitForFinalSnapshotConsolidation"] } else { Vec::new() }
    }

    fn judge(&self, view: &View<'_>, vm: &InvVm, add: &mut Add<'_>) {
        let Some(own) = vm.vsphere() else { return };
        if view.plan.spec.warm {
            if !own.changed_block_tracking {
                let message = "Changed Block Tracking (CBT) has not been enabled on some VM. This feature is a prerequisite for VM warm migration.";
                add("VMMissingChangedBlockTracking", "Critical", "MissingChangedBlockTracking", message, item(vm));
            }
            if view.version.at_least(10) && !vm.snapshot_ids.is_empty() {
                let message = "VM has pre-existing snapshots which are incompatible with warm migration.";
                add("VMHasSnapshots", "Critical", "NotValid", message, item(vm));
            }
        }
        let shared: Vec<&InvDisk> = vm.disks.iter().filter(|d| d.vsphere().is_some_and(|own| own.shared)).collect();
        if !shared.is_empty() {
            shared_disks(view, vm, &shared, add);
        }
        if view.version.at_least(11) && vm.power_on && !own.tools_running {
            add("GuestToolsIssue", "Critical", "NotValid", "VMware Tools issues detected.", item(vm));
        }
        if view.plan.spec.preserve_static_ips == Some(true) && own.guest_networks.is_empty() {
            let advice = if view.version.at_least(12) {
                "Make sure VMware Tools is installed and the VM is running."
            } else {
                "If this machine has static IP, make sure VMware tools are installed and the VM is running."
            };
            let message = format!("Guest information on vNICs is missing, cannot preserve static IPs. {advice}");
            add("VMMissingGuestIPs", "Warn", "MissingGuestInformation", &message, item(vm));
        }
    }

    fn ordered(&self, disks: &[InvDisk]) -> Vec<InvDisk> {
        let bus = |d: &VsphereDisk| match d.bus.as_str() {
            "sata" => 0,
            "ide" => 1,
            "scsi" => 2,
            _ => 3,
        };
        let mut disks = disks.to_vec();
        disks.sort_by_key(|d| d.vsphere().map(|d| (bus(d), d.controller_key, d.unit_number, d.key)));
        disks
    }

    fn shape(&self, facts: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let uuid = vm.vsphere().map(|own| own.uuid.as_str()).unwrap_or_default();
        let serial = serial(uuid, facts.ocp_version, facts.version.at_least(10));
        let domain = &mut machine["spec"]["template"]["spec"]["domain"];
        domain["firmware"]["serial"] = json!(serial);
        domain["clock"] = json!({"timezone": "UTC"});
        domain["devices"]["inputs"] = json!([{"bus": "virtio", "name": "tablet", "type": "tablet"}]);
        // What starts disconnected stays so in main (`InterfaceStateLinkDown`).
        if facts.version.at_least(13) {
            let cut_off = |mac: &str| {
                let nic = vm.nics.iter().find(|nic| nic.mac == mac).and_then(|nic| nic.vsphere.as_ref());
                nic.is_some_and(|nic| !nic.connected)
            };
            for interface in domain["devices"]["interfaces"].as_array_mut().into_iter().flatten() {
                if interface["macAddress"].as_str().is_some_and(cut_off) {
                    interface["state"] = json!("down");
                }
            }
        }
    }
}

/// `SharedDisks` of vsphere/validator.go: they are not copied warm, and not while a VM that has them runs.
fn shared_disks(view: &View<'_>, vm: &InvVm, shared: &[&InvDisk], add: &mut Add<'_>) {
    if view.plan.spec.warm {
        let message = "The shared disks cannot be used with warm migration";
        return add(&format!("SharedWarnDisks-{}", vm.id), "Warn", "NotValid", message, item(vm));
    }
    let has = |other: &&std::sync::Arc<InvVm>| {
        other.power_on && other.disks.iter().any(|disk| shared.iter().any(|one| one.source == disk.source))
    };
    let running: Vec<String> = view.inventory.vms.iter().filter(has).map(|vm| format!("'{}'", vm.name)).collect();
    if !running.is_empty() {
        let names = running.join(", ");
        let message = format!("Virtual Machines {names} are running with attached shared disk, please power them off");
        add(&format!("SharedDisks-{}", vm.id), "Critical", "NotValid", &message, item(vm));
    }
}

/// The serial number by release rule: OpenShift 4.20 and later get VMware's own form.
fn serial(uuid: &str, ocp: &str, feature: bool) -> String {
    let mut numbers = ocp.split(['.', '-']).filter_map(|n| n.parse::<u32>().ok());
    let newer = (numbers.next(), numbers.next()) >= (Some(4), Some(20));
    let hex: Vec<char> = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    if !newer || !feature || hex.len() != 32 {
        return uuid.to_owned();
    }
    let pairs: Vec<String> = hex.chunks(2).map(|c| c.iter().collect::<String>().to_lowercase()).collect();
    format!("VMware-{}-{}", pairs[..8].join(" "), pairs[8..].join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::own::OwnDisk;

    #[test]
    fn the_serial_follows_the_openshift_release() {
        let uuid = "421e5a0b-7c11-2233-aabb-ccddeeff0011";
        assert_eq!(serial(uuid, "4.19.9", true), uuid);
        assert_eq!(serial(uuid, "4.20.0-rc.1", true), "VMware-42 1e 5a 0b 7c 11 22 33-aa bb cc dd ee ff 00 11");
        assert_eq!(serial(uuid, "4.20.0", false), uuid);
    }

    #[test]
    fn disks_are_numbered_by_bus_controller_and_unit() {
        let disk = |bus: &str, controller_key, unit_number| InvDisk {
            source: format!("{bus}{controller_key}{unit_number}"),
            own: OwnDisk::Vsphere(VsphereDisk {
                unit_number,
                controller_key,
                bus: bus.to_owned(),
                ..VsphereDisk::default()
            }),
            ..InvDisk::default()
        };
        let order: Vec<String> = Vsphere
            .ordered(&[disk("scsi", 1001, 0), disk("scsi", 1000, 1), disk("sata", 15000, 0), disk("scsi", 1000, 0)])
            .into_iter()
            .map(|d| d.source)
            .collect();
        assert_eq!(order, ["sata150000", "scsi10000", "scsi10001", "scsi10010"]);
    }
}
