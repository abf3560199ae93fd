//! oVirt: disks are copied as they are, guests are not converted, VMs keep the engine's names of disks.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::pipeline::Path;
use super::super::{Mtv, MtvVersion, populators};
use super::{Shape, Source, missing};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDisk, InvVm};
use crate::inventory::own::OwnVm;

mod client;
mod records;

pub(super) struct Ovirt;

#[async_trait]
impl Source for Ovirt {
    fn tells_insecure(&self) -> bool {
        true
    }

    fn removes_snapshots_late(&self) -> bool {
        true
    }

    fn missing_keys(&self, login: &Login, _: MtvVersion) -> Vec<String> {
        missing(login, &["user", "password"], true)
    }

    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        client::connect(mtv, login).await
    }

    /// By the ForkliftController's switch, which its operator turns on where it is not written.
    async fn can_warm(&self, mtv: &Mtv) -> bool {
        mtv.switch("controller_ovirt_warm_migration", true).await
    }

    fn steps(&self, path: Path, _: MtvVersion) -> Vec<&'static str> {
        if path.warm {
            vec!["DiskTransfer", "Cutover", "VirtualMachineCreation"]
        } else {
            vec!["DiskTransfer", "VirtualMachineCreation"]
        }
    }

    fn populator(&self, warm: bool) -> Option<&'static str> {
        (!warm).then_some(populators::OVIRT)
    }

    fn logs_in_to_copy(&self) -> bool {
        true
    }

    fn disk_label(&self) -> Option<&'static str> {
        Some("diskID")
    }

    fn tells_disk_index(&self) -> bool {
        false
    }

    fn claim_name(&self, _: &InvVm, disk: &InvDisk) -> Option<String> {
        Some(disk.source.clone())
    }

    fn shape(&self, _: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let OwnVm::Ovirt(own) = &vm.own else { return };
        let spec = &mut machine["spec"]["template"]["spec"];
        for (index, attachment) in own.attachments.iter().enumerate() {
            let (disks, volumes) = (spec["domain"]["devices"]["disks"].as_array(), spec["volumes"].as_array());
            // A defect may have left a disk out.
            if disks.is_none_or(|d| index >= d.len()) || volumes.is_none_or(|v| index >= v.len()) {
                break;
            }
            let mut disk = json!({
                "name": attachment.disk, "serial": attachment.disk, "disk": {"bus": bus(&attachment.interface)},
            });
            if attachment.bootable {
                disk["bootOrder"] = json!(1);
            }
            spec["domain"]["devices"]["disks"][index] = disk;
            spec["volumes"][index]["name"] = json!(attachment.disk);
        }
        for interface in spec["domain"]["devices"]["interfaces"].as_array_mut().into_iter().flatten() {
            let model = interface["macAddress"].as_str().and_then(|mac| own.models.get(mac));
            if let Some(model) = model {
                interface["model"] = json!(model);
            }
        }
        let domain = &mut spec["domain"];
        if !vm.tpm
            && let Some(devices) = domain["devices"].as_object_mut()
        {
            devices.shift_remove("tpm");
        }
        domain["devices"]["inputs"] = json!([{"bus": "virtio", "name": "tablet", "type": "tablet"}]);
        domain["cpu"]["threads"] = json!(1);
        domain["firmware"]["uuid"] = json!(vm.id);
        domain["firmware"]["serial"] = json!(own.serial.as_ref().unwrap_or(&vm.id));
        domain["clock"] = json!({"timezone": own.timezone.as_deref().unwrap_or("Etc/GMT")});
    }
}

fn bus(interface: &str) -> &'static str {
    match interface {
        "virtio_scsi" => "scsi",
        "sata" | "ide" => "sata",
        _ => "virtio",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_convert_nothing() {
        let cold = Path {
            warm: false,
            v2v_transfer: false,
            pre_hook: false,
            post_hook: false,
            preflight: true,
            reboots: false,
            resume: false,
            raw: false,
            live: false,
        };
        let version = MtvVersion::parse("2.12").unwrap();
        assert_eq!(Ovirt.steps(cold, version), ["DiskTransfer", "VirtualMachineCreation"]);
        assert_eq!(
            Ovirt.steps(Path { warm: true, ..cold }, version),
            ["DiskTransfer", "Cutover", "VirtualMachineCreation"]
        );
    }

    #[test]
    fn the_target_has_the_engines_disk_ids_and_models() {
        let inventory = records::inventory(&records::tests::answers(), 1);
        let vm = inventory.vms.iter().find(|vm| vm.name == "win").unwrap();
        let mut machine = json!({"spec": {"template": {"spec": {
            "domain": {"cpu": {"sockets": 2}, "firmware": {"bootloader": {"efi": {"secureBoot": false}}}, "devices": {
                "disks": [{"name": "vol-0", "bootOrder": 1}, {"name": "vol-1"}],
                "interfaces": [{"name": "net-0", "model": "virtio", "macAddress": "56:6f:00:00:00:01"}]}},
            "volumes": [{"name": "vol-0", "persistentVolumeClaim": {"claimName": "a"}}, {"name": "vol-1"}]}}}});
        let settings = std::collections::BTreeMap::new();
        let facts = Shape { version: MtvVersion::parse("2.11").unwrap(), ocp_version: "4.20", settings: &settings };
        Ovirt.shape(&facts, vm, &mut machine);
        let spec = &machine["spec"]["template"]["spec"];
        let domain = &spec["domain"];
        assert_eq!(domain["firmware"]["serial"], "v1");
        assert_eq!(domain["firmware"]["uuid"], "v1");
        assert_eq!(domain["devices"]["disks"][0], json!({"name": "d1", "serial": "d1", "disk": {"bus": "scsi"}}));
        assert_eq!(domain["devices"]["disks"][1]["bootOrder"], 1);
        assert_eq!(spec["volumes"][0], json!({"name": "d1", "persistentVolumeClaim": {"claimName": "a"}}));
        assert_eq!(domain["devices"]["interfaces"][0]["model"], "e1000");
    }
}
