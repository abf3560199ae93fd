//! EC2: EBS snapshots become volumes in the cluster's own zone; the template is built anew.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::pipeline::Path;
use super::super::{Mtv, MtvVersion};
use super::standin::{Catalogue, Machine, StandIn, Translation, record};
use super::{Shape, Source, missing};
use crate::controllers::mtv::platform::{ConnectError, Login, PlatformClient};
use crate::inventory::model::{InvDatastore, InvNetwork, InvVm, Inventory};

/// Simulated time between two looks.
const LOOK: Duration = Duration::from_secs(10);
/// Volume types that a region has.
const TYPES: &[&str] = &["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"];
/// The type of all volumes here.
const TYPE: &str = "gp3";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

pub(super) struct Ec2;

#[async_trait]
impl Source for Ec2 {
    /// Volumes are made of EBS snapshots.
    fn copies_by_pods(&self) -> bool {
        false
    }

    fn missing_keys(&self, login: &Login, _: MtvVersion) -> Vec<String> {
        missing(&Login { insecure: true, ..login.clone() }, &["region", "accessKeyId", "secretAccessKey"], false)
    }

    async fn connect(&self, mtv: &Mtv, login: &Login) -> Result<Arc<dyn PlatformClient>, ConnectError> {
        // AWS has certificates that everybody trusts, so its Secret carries no CA.
        let trusting = Login { insecure: true, ..login.clone() };
        let credentials = (login.secret("accessKeyId"), login.secret("secretAccessKey"));
        let look = mtv.clock.real(LOOK).max(Duration::from_millis(250));
        let translation = Translation { inventory, id: instance_id };
        let base = login.url.trim_end_matches('/').to_owned();
        let (client, catalogue) = StandIn::connect(mtv, &trusting, base, credentials, translation, look).await?;
        let region = catalogue.facts["region"].as_str().unwrap_or_default();
        if login.secret("region") != region {
            let cause = format!("region {} is not behind {}", login.secret("region"), login.url);
            return Err(ConnectError::Failed(cause));
        }
        Ok(client)
    }

    fn resumes(&self) -> bool {
        false
    }

    fn converts(&self) -> bool {
        true
    }

    fn before_copy(&self) -> &'static [&'static str] {
        &["PrepareSource", "CreateSnapshots"]
    }

    fn create_step(&self) -> &'static str {
        "CreateVM"
    }

    fn after_create(&self) -> &'static [&'static str] {
        &["Cleanup"]
    }

    fn steps(&self, _: Path, _: MtvVersion) -> Vec<&'static str> {
        vec!["PrepareSource", "CreateSnapshots", "DiskTransfer", "ImageConversion", "CreateVM", "Cleanup"]
    }

    /// What the Plan adds to a template is not in this one.
    fn shape(&self, facts: &Shape<'_>, vm: &InvVm, machine: &mut Value) {
        let template = &mut machine["spec"]["template"];
        template["metadata"]["labels"] = json!({});
        let spec = &mut template["spec"];
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("affinity");
            fields.remove("nodeSelector");
        }
        if let Some(zone) = facts.settings.get("target-az") {
            spec["nodeSelector"] = json!({ZONE_LABEL: zone});
        }
        let domain = &mut spec["domain"];
        let memory = domain["memory"]["guest"].clone();
        domain["resources"] = json!({"requests": {"memory": memory}});
        domain["firmware"]["serial"] = json!(vm.id);
        if domain["firmware"]["bootloader"].get("efi").is_some() {
            domain["firmware"]["bootloader"] = json!({"efi": {"secureBoot": false}});
            domain["features"] = json!({"acpi": {}, "smm": {"enabled": true}});
        }
        domain.as_object_mut().map(|domain| domain.remove("memory"));
        domain["devices"].as_object_mut().map(|devices| devices.remove("tpm"));
        let rename = |item: &mut Value| {
            if let Some(name) = item["name"].as_str().and_then(|name| name.strip_prefix("vol-")) {
                item["name"] = json!(format!("disk-{name}"));
            }
        };
        domain["devices"]["disks"].as_array_mut().into_iter().flatten().for_each(rename);
        spec["volumes"].as_array_mut().into_iter().flatten().for_each(rename);
    }
}

/// `i-` and 17 hexadecimal digits.
fn instance_id(machine: &Machine) -> String {
    format!("i-{}", machine.uuid.replace('-', "").chars().take(17).collect::<String>())
}

fn volume_id(machine: &Machine, index: usize) -> String {
    format!("vol-{}{index}", machine.uuid.replace('-', "").chars().take(16).collect::<String>())
}

fn subnet(index: usize) -> String {
    format!("subnet-0a1b2c3d4e5f6000{index}")
}

fn instance_type(machine: &Machine) -> &'static str {
    match machine.cpus {
        1 => "t2.small",
        2 => "t3.medium",
        4 => "m5.xlarge",
        _ => "m5.2xlarge",
    }
}

/// MTV's own table, by the size in the type's name.
fn memory_mib(machine: &Machine) -> u64 {
    match instance_type(machine) {
        "t2.small" => 2048,
        "t3.medium" => 4096,
        "m5.xlarge" => 16384,
        _ => 32768,
    }
}

fn inventory(catalogue: &Catalogue) -> Inventory {
    let zone = catalogue.facts["zone"].as_str().unwrap_or_default();
    let mut content = Inventory::default();
    let (mut vms, mut volumes) = (Vec::new(), Vec::new());
    for machine in &catalogue.machines {
        let id = instance_id(machine);
        let disk = |index| (volume_id(machine, index), TYPE.to_owned());
        let own = record(machine, id.clone(), subnet, disk);
        let own = InvVm { memory_mb: memory_mib(machine), secure_boot: false, tpm: false, ..own };
        content.vms.push(Arc::new(own));
        for (index, gib) in machine.disks.iter().enumerate() {
            let id = volume_id(machine, index);
            let object = json!({"VolumeId": id, "Size": gib, "VolumeType": TYPE, "AvailabilityZone": zone, "State": "in-use", "Encrypted": false});
            volumes.push(json!({"id": id, "name": id, "revision": 1, "object": object}));
        }
        vms.push(vm_json(machine, zone));
    }
    let storages = TYPES.iter().map(|kind| {
        let object = json!({"id": kind, "name": kind, "kind": "Storage", "provider": "", "revision": 1, "type": kind, "description": "", "maxIOPS": 16000, "maxThroughput": 1000});
        json!({"id": kind, "name": kind, "revision": 1, "object": object})
    });
    let networks = catalogue.networks.iter().enumerate().map(|(index, name)| {
        let object = json!({"SubnetId": subnet(index), "AvailabilityZone": zone, "CidrBlock": format!("172.31.{index}.0/24"), "Tags": [{"Key": "Name", "Value": name}]});
        json!({"id": subnet(index), "name": name, "revision": 1, "networkType": "subnet", "object": object})
    });
    content.show("networks", networks);
    content.show("storages", storages);
    content.show("volumes", volumes);
    content.show("vms", vms);
    content.networks = (catalogue.networks.iter().enumerate())
        .map(|(index, name)| InvNetwork {
            id: subnet(index),
            name: name.clone(),
            kind: "Network".to_owned(),
            key: None,
        })
        .collect();
    content.datastores = TYPES
        .iter()
        .map(|kind| InvDatastore {
            id: (*kind).to_owned(),
            name: (*kind).to_owned(),
            capacity: 0,
            free: 0,
            kind: "EBS".to_owned(),
        })
        .collect();
    content
}

fn vm_json(machine: &Machine, zone: &str) -> Value {
    let id = instance_id(machine);
    let power = if machine.on { "On" } else { "Off" };
    let state =
        if machine.on { json!({"Code": 16, "Name": "running"}) } else { json!({"Code": 80, "Name": "stopped"}) };
    let devices: Vec<Value> = (0..machine.disks.len())
        .map(|index| {
            let letter = char::from(b'a' + u8::try_from(index).unwrap_or_default());
            json!({"DeviceName": format!("/dev/sd{letter}"), "Ebs": {"VolumeId": volume_id(machine, index), "Status": "attached"}})
        })
        .collect();
    let nics: Vec<Value> = (machine.nics.iter().enumerate())
        .map(|(index, nic)| {
            let eni = format!("eni-{}{index}", id.trim_start_matches("i-"));
            json!({"NetworkInterfaceId": eni, "SubnetId": subnet(nic.network), "MacAddress": nic.mac, "Status": "in-use"})
        })
        .collect();
    let mut object = json!({
        "InstanceId": id, "InstanceType": instance_type(machine), "State": state, "Placement": {"AvailabilityZone": zone},
        "BlockDeviceMappings": devices, "NetworkInterfaces": nics, "Tags": [{"Key": "Name", "Value": machine.name}],
        "CpuOptions": {"CoreCount": machine.cpus, "ThreadsPerCore": 1}, "BootMode": if machine.efi { "uefi" } else { "legacy-bios" },
        "PlatformDetails": if machine.windows { "Windows" } else { "Red Hat Enterprise Linux" }, "RootDeviceName": "/dev/sda",
        "id": id, "name": machine.name, "kind": "VM", "provider": "", "revision": 1, "powerState": power,
    });
    if machine.windows {
        object["Platform"] = json!("windows");
    }
    json!({"id": id, "revision": 1 + u64::from(machine.on), "name": machine.name, "powerState": power, "object": object})
}
