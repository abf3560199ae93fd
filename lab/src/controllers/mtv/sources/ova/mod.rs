//! OVA: MTV's provider server mounts the share, reads its OVF files, and virt-v2v takes the disks.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::pipeline::Path;
use super::super::{Mtv, MtvVersion};
use super::{Shape, Source, V2V_STEPS, missing};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDatastore, InvDisk, InvNetwork, InvNic, InvVm, Inventory};

mod ovf;

/// How deep below the share's top MTV looks for files.
const DEPTH: usize = 3;
/// Simulated time between two looks at the share.
const LOOK: Duration = Duration::from_secs(60);

pub(super) struct Ova;

#[async_trait]
impl Source for Ova {
    fn bad_url(&self, url: &str, _: MtvVersion) -> Option<&'static str> {
        let valid = url.split_once(":/").is_some_and(|(server, path)| {
            !server.is_empty() && !server.contains(':') && path.chars().next().is_some_and(|first| first != ':')
        });
        (!valid || url.contains("://")).then_some("The NFS path is malformed")
    }

    fn missing_keys(&self, login: &Login, _: MtvVersion) -> Vec<String> {
        missing(login, &["url"], false)
    }

    /// Mounting stands for a look at the local directory; no other server has shares here.
    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        let (server, path) = login.url.split_once(':').unwrap_or_default();
        if !matches!(server, "127.0.0.1" | "localhost") {
            return Err(ConnectError::Failed(format!("mount.nfs: Connection timed out for {}", login.url)));
        }
        let share = PathBuf::from(path);
        if !share.is_dir() {
            let cause =
                format!("mount.nfs: mounting {} failed, reason given by server: No such file or directory", login.url);
            return Err(ConnectError::Failed(cause));
        }
        Ok(Arc::new(ShareClient { share, look: mtv.clock.real(LOOK).max(Duration::from_millis(500)) }))
    }

    fn v2v_transfer(&self, _: bool, _: bool) -> bool {
        true
    }

    fn converts(&self) -> bool {
        true
    }

    fn steps(&self, _: Path, _: MtvVersion) -> Vec<&'static str> {
        V2V_STEPS.to_vec()
    }

    fn shape(&self, _: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let domain = &mut machine["spec"]["template"]["spec"]["domain"];
        domain["firmware"]["serial"] = json!(vm.id);
        // MTV says nothing of TPM and of the order in which an OVA's disks boot.
        if let Some(devices) = domain["devices"].as_object_mut() {
            devices.remove("tpm");
        }
        for disk in domain["devices"]["disks"].as_array_mut().into_iter().flatten() {
            disk.as_object_mut().map(|disk| disk.remove("bootOrder"));
        }
    }
}

struct ShareClient {
    share: PathBuf,
    look: Duration,
}

#[async_trait]
impl PlatformClient for ShareClient {
    async fn collect(&self) -> Result<Inventory, String> {
        let mut files = Vec::new();
        find(&self.share, DEPTH, &mut files).map_err(|e| format!("{}: {e}", self.share.display()))?;
        files.sort();
        let mut machines = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            let inside = file.strip_prefix(&self.share).unwrap_or(&file);
            let seen = format!("/ova/{}", inside.display());
            machines.extend(ovf::read(&text, &seen).map_err(|e| format!("{}: {e}", file.display()))?);
        }
        Ok(inventory(&machines))
    }

    async fn changed(&self) -> Result<bool, String> {
        tokio::time::sleep(self.look).await;
        Ok(true)
    }

    async fn power(&self, _: &str, _: bool) -> Result<(), String> {
        Ok(())
    }

    async fn power_state(&self, _: &str) -> Result<bool, String> {
        Ok(false)
    }

    async fn create_snapshot(&self, _: &str, _: &str) -> Result<String, String> {
        Err("an OVA has no snapshots".to_owned())
    }

    async fn remove_snapshot(&self, _: &str, _: &str) -> Result<(), String> {
        Err("an OVA has no snapshots".to_owned())
    }

    async fn logout(&self) {}
}

fn find(dir: &FilePath, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && depth > 1 {
            find(&path, depth - 1, found)?;
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ovf")) {
            found.push(path);
        }
    }
    Ok(())
}

/// The JSON of the real service: base keys in lower case, everything nested capitalised.
fn inventory(machines: &[ovf::Machine]) -> Inventory {
    let mut content = Inventory { vms: machines.iter().map(vm).map(Arc::new).collect(), ..Inventory::default() };
    let (mut networks, mut disks, mut storages) = (BTreeMap::new(), Vec::new(), Vec::new());
    for machine in machines {
        for network in &machine.networks {
            let item =
                json!({"id": network.id, "name": network.name, "path": network.id, "Description": network.description});
            networks.insert(network.id.clone(), (network.name.clone(), item));
        }
        for disk in &machine.disks {
            let mut item = disk_json(disk);
            for key in ["ID", "Name", "Variant", "Revision"] {
                item.as_object_mut().map(|item| item.remove(key));
            }
            item["id"] = json!(disk.id);
            item["name"] = json!(disk.name);
            item["path"] = json!(disk.id);
            disks.push(item);
            storages.push(json!({"id": disk.id, "name": disk.name, "path": disk.id}));
            content.datastores.push(InvDatastore {
                id: disk.id.clone(),
                name: disk.name.clone(),
                capacity: 0,
                free: 0,
                kind: "OVA".to_owned(),
            });
        }
    }
    for (id, (name, item)) in networks {
        content.networks.push(InvNetwork { id, name, kind: "Network".to_owned(), key: None });
        content.show("networks", [item]);
    }
    content.show("disks", disks);
    content.show("storages", storages);
    content.show("vms", machines.iter().map(vm_json));
    content
}

fn disk_json(disk: &ovf::Disk) -> Value {
    json!({
        "ID": disk.id, "Variant": "", "Name": disk.name, "Revision": 1, "FilePath": disk.file_path,
        "Capacity": disk.capacity, "CapacityAllocationUnits": disk.units, "DiskId": disk.disk_id,
        "FileRef": disk.file_ref, "Format": disk.format, "PopulatedSize": 0,
    })
}

fn vm_json(machine: &ovf::Machine) -> Value {
    let nics: Vec<Value> = machine
        .nics
        .iter()
        .map(|nic| json!({"Name": nic.name, "MAC": nic.mac, "Network": nic.network, "Config": null}))
        .collect();
    let networks: Vec<Value> = machine
        .networks
        .iter()
        .map(|n| json!({"ID": n.id, "Variant": "", "Name": n.name, "Revision": 1, "Description": n.description}))
        .collect();
    let disks: Vec<Value> = machine.disks.iter().map(disk_json).collect();
    json!({
        "id": machine.id, "name": machine.name, "path": machine.id, "revisionValidated": 1, "policyVersion": 1,
        "concerns": [], "ovfPath": machine.path, "exportSource": "VMware", "osType": machine.os_type, "uuid": machine.id,
        "firmware": machine.firmware, "secureBoot": machine.secure_boot, "cpuAffinity": null, "cpuHotAddEnabled": false,
        "cpuHotRemoveEnabled": false, "memoryHotAddEnabled": false, "faultToleranceEnabled": false,
        "cpuCount": machine.cpus, "coresPerSocket": machine.cores_per_socket, "memoryMB": machine.memory,
        "memoryUnits": machine.memory_units, "cpuUnits": machine.cpu_units, "balloonedMemory": 0, "ipAddress": "",
        "numaNodeAffinity": null, "storageUsed": 0, "changeTrackingEnabled": false,
        "devices": machine.devices.iter().map(|kind| json!({"Kind": kind})).collect::<Vec<_>>(),
        "nics": nics, "disks": disks, "networks": networks,
    })
}

fn vm(machine: &ovf::Machine) -> InvVm {
    let network_id = |name: &str| {
        machine.networks.iter().find(|network| network.name == name).map(|n| n.id.clone()).unwrap_or_default()
    };
    let nic =
        |nic: &ovf::Nic| InvNic { mac: nic.mac.to_lowercase(), network_id: network_id(&nic.network), vsphere: None };
    let disk = |disk: &ovf::Disk| InvDisk {
        source: format!("{}::{}", disk.file_path, disk.name),
        storage_id: disk.id.clone(),
        capacity_bytes: disk.capacity * ovf::unit(&disk.units, 1),
        ..InvDisk::default()
    };
    InvVm {
        id: machine.id.clone(),
        name: machine.name.clone(),
        firmware_efi: machine.firmware == "efi",
        secure_boot: machine.secure_boot,
        cpu_count: machine.cpus,
        cores_per_socket: machine.cores_per_socket.max(1),
        memory_mb: (machine.memory * ovf::unit(&machine.memory_units, 1 << 20)) >> 20,
        guest_id: machine.os_type.clone(),
        guest_name: machine.os_type.clone(),
        nics: machine.nics.iter().map(nic).collect(),
        disks: machine.disks.iter().map(disk).collect(),
        ..InvVm::default()
    }
}
