//! OpenStack: cold only; disks by way of images that MTV makes on the cloud; no serial number, no
//! secure boot, interfaces in no order.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::networks::Rows;
use super::super::pipeline::Path;
use super::super::validate::{Add, View, item};
use super::super::{Mtv, MtvVersion, populators};
use super::{Shape, Source, missing};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDisk, InvVm};
use crate::inventory::own::{OwnDisk, OwnVm};

mod client;
mod view;

pub(super) struct Openstack;

/// The image that MTV makes of a VM; what else it makes begins with this name.
fn image_name(vm: &InvVm) -> String {
    format!("forklift-migration-vm-{}", vm.id)
}

/// And of one of its disks.
fn image_of(vm: &InvVm, disk: &InvDisk) -> String {
    let image = image_name(vm);
    if disk.own == OwnDisk::Image { image } else { format!("{image}-volume-{}", disk.source) }
}

#[async_trait]
impl Source for Openstack {
    fn missing_keys(&self, login: &Login, _: MtvVersion) -> Vec<String> {
        let one_of = |keys: [&'static str; 2]| -> Option<&'static str> {
            keys.iter().all(|key| login.secret(key).is_empty()).then_some(keys[0])
        };
        let mut wanted = vec!["regionName"];
        match login.secret("authType") {
            "applicationcredential" => {
                wanted.push("applicationCredentialSecret");
                wanted.extend(one_of(["applicationCredentialID", "applicationCredentialName"]));
            }
            "token" => wanted.push("token"),
            _ => {
                wanted.push("password");
                wanted.extend(one_of(["username", "userID"]));
                wanted.extend(one_of(["projectName", "projectID"]));
            }
        }
        missing(login, &wanted, false)
    }

    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        client::connect(mtv, login).await
    }

    fn steps(&self, _: Path, _: MtvVersion) -> Vec<&'static str> {
        vec!["DiskTransfer", "ConvertOpenstackSnapshot", "VirtualMachineCreation"]
    }

    /// Its time is counted to `DiskTransfer`, so the step of that name never starts.
    fn last_copy_phase(&self) -> Option<&'static str> {
        Some("ConvertOpenstackSnapshot")
    }

    fn task_name(&self, vm: &InvVm, disk: &InvDisk) -> String {
        self.claim_name(vm, disk).unwrap_or_default()
    }

    fn claim_name(&self, vm: &InvVm, disk: &InvDisk) -> Option<String> {
        Some(image_of(vm, disk))
    }

    fn populator(&self, _: bool) -> Option<&'static str> {
        Some(populators::OPENSTACK)
    }

    fn logs_in_to_copy(&self) -> bool {
        true
    }

    fn disk_label(&self) -> Option<&'static str> {
        Some("imageID")
    }

    fn rows(&self) -> Rows {
        Rows::FirstOfOne
    }

    fn judge(&self, view: &View<'_>, vm: &InvVm, add: &mut Add<'_>) {
        if view.version.at_least(12) && matches!(&vm.own, OwnVm::Openstack(own) if own.critical_concerns) {
            let message = "One or more VMs in the plan have critical concerns that block migration.";
            add("VMCriticalConcerns", "Critical", "NotValid", message, item(vm));
        }
    }

    fn shape(&self, facts: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let OwnVm::Openstack(own) = &vm.own else { return };
        let spec = &mut machine["spec"]["template"]["spec"];
        spec["domain"]["cpu"]["threads"] = json!(own.threads);
        if let Some(devices) = spec["domain"]["devices"].as_object_mut() {
            devices.remove("tpm");
            devices.insert("autoattachGraphicsDevice".to_owned(), json!(true));
        }
        // A volume is called after the disk that it was made of.
        for (index, disk) in vm.disks.iter().enumerate() {
            let name = json!(format!("vol-{}", disk.source));
            if facts.version.at_least(13)
                && let Some(entry) = spec.pointer_mut(&format!("/domain/devices/disks/{index}"))
            {
                entry["serial"] = json!(disk.source.get(..20).unwrap_or(&disk.source));
            }
            for pointer in [format!("/domain/devices/disks/{index}"), format!("/volumes/{index}")] {
                if let Some(entry) = spec.pointer_mut(&pointer) {
                    entry["name"] = name.clone();
                    if entry.get("disk").is_some() {
                        entry["disk"]["bus"] = json!(own.disk_bus);
                    }
                }
            }
        }
        // The builder walks a map of networks, whose order is another every time.
        if let Some(interfaces) = spec["domain"]["devices"]["interfaces"].as_array_mut()
            && rand::random::<bool>()
        {
            interfaces.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn login(keys: &[(&str, &str)]) -> Login {
        Login {
            url: "https://k/v3".into(),
            secret: keys.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            settings: BTreeMap::new(),
            insecure: false,
            ca_pem: None,
        }
    }

    #[test]
    fn the_pipeline_has_a_step_for_the_snapshot() {
        let path = Path {
            warm: false,
            v2v_transfer: false,
            pre_hook: true,
            post_hook: true,
            preflight: true,
            reboots: false,
            resume: false,
            raw: false,
            live: false,
        };
        let version = MtvVersion::parse("2.11").unwrap();
        let steps = super::super::super::pipeline::steps(&Openstack, path, version, &[]);
        let names: Vec<&str> = steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(
            names,
            ["Initialize", "PreHook", "DiskTransfer", "ConvertOpenstackSnapshot", "VirtualMachineCreation", "PostHook"]
        );
    }

    #[test]
    fn each_auth_type_needs_its_own_keys_and_all_need_the_region() {
        let version = MtvVersion::parse("2.11").unwrap();
        assert_eq!(Openstack.missing_keys(&login(&[]), version), ["regionName", "password", "username", "projectName"]);
        let password = [("regionName", "r"), ("username", "u"), ("password", "p"), ("projectID", "x")];
        assert!(Openstack.missing_keys(&login(&password), version).is_empty());
        let credential =
            [("authType", "applicationcredential"), ("applicationCredentialName", "n"), ("regionName", "r")];
        assert_eq!(Openstack.missing_keys(&login(&credential), version), ["applicationCredentialSecret"]);
    }
}
