//! EC2 as MTV sees it (forklift.md §2.3, §2.4, §3.3, §8.7): the VM's `object` is AWS's own instance,
//! with AWS's capital letters.

use std::collections::BTreeMap;

use serde_json::Value;

use super::adapter::{Adapter, Collections, ProviderWiring, SourceRef, distinct};
use super::read::{guest_os, items, number, text};
use crate::api::forklift::Ref;
use crate::api::vm::{CpuTopology, Firmware, FirmwareKind, Mac, Power, SourceDisk, SourceNic, SourceVm};
use crate::config::{PlatformConfig, ProviderProfile};

pub(super) struct Ec2;

impl Adapter for Ec2 {
    fn wants_ca(&self, _: &ProviderProfile) -> bool {
        false
    }

    fn wire(&self, profile: &ProviderProfile, insecure: bool, _: Option<&str>) -> ProviderWiring {
        let mut secret = BTreeMap::from([
            ("accessKeyId".to_owned(), profile.login.username.clone().into()),
            ("secretAccessKey".to_owned(), profile.login.password.clone()),
            ("insecureSkipVerify".to_owned(), insecure.to_string().into()),
        ]);
        let mut settings = BTreeMap::new();
        if let PlatformConfig::Ec2(config) = &profile.config {
            secret.insert("region".to_owned(), config.region.clone().into());
            if let Some(account) = &config.target_account {
                secret.insert("targetAccessKeyId".to_owned(), account.username.clone().into());
                secret.insert("targetSecretAccessKey".to_owned(), account.password.clone());
            }
            settings.insert("target-az".to_owned(), config.target_az.clone());
            if let Some(region) = &config.target_region {
                settings.insert("target-region".to_owned(), region.clone());
            }
        }
        ProviderWiring { secret, settings, url: profile.api_url.clone() }
    }

    fn collections(&self) -> &'static [&'static str] {
        &["volumes"]
    }

    fn read_vm(&self, vm: &Value, collections: &Collections) -> Result<SourceVm, String> {
        let instance = vm.get("object").ok_or("the inventory shows no instance behind it")?;
        let power = match text(vm, "powerState") {
            "On" => Power::On,
            "Off" => Power::Off,
            other => Power::Other(other.to_owned()),
        };
        let nics = items(instance, "NetworkInterfaces").map(|nic| SourceNic {
            label: text(nic, "NetworkInterfaceId").to_owned(),
            mac: Mac::new(text(nic, "MacAddress")),
            network_id: text(nic, "SubnetId").to_owned(),
            network_name: text(nic, "SubnetId").to_owned(),
            connected: true,
            starts_connected: None,
            model: None,
            guest: None,
        });
        // Cores and threads of the machine itself; MTV makes all of them cores of one socket.
        let options = instance.get("CpuOptions").unwrap_or(&Value::Null);
        let cpus = number(options, "CoreCount") * number(options, "ThreadsPerCore").max(1);
        let cores = u32::try_from(cpus).ok().filter(|cores| *cores > 0);
        let kind = match text(instance, "BootMode") {
            "uefi" | "uefi-preferred" => FirmwareKind::Efi,
            _ => FirmwareKind::Bios,
        };
        Ok(SourceVm {
            id: text(vm, "id").to_owned(),
            uuid: None,
            name: text(vm, "name").to_owned(),
            power,
            os: match text(instance, "Platform") {
                // AWS says so for Windows only.
                "" => guest_os(text(instance, "PlatformDetails"), text(vm, "name")),
                platform => guest_os(platform, ""),
            },
            cpu: cores.map(|cores| CpuTopology { sockets: 1, cores, threads: 1 }),
            // The instance names a type, not a size.
            memory_mib: None,
            firmware: Some(Firmware { kind, secure_boot: false, tpm: false }),
            nics: nics.collect(),
            disks: items(instance, "BlockDeviceMappings")
                .filter_map(|device| disk(device, collections).transpose())
                .collect::<Result<_, _>>()?,
            snapshots: Vec::new(),
            guest_agent_running: None,
        })
    }

    /// EBS volume types, by name.
    fn storages(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        let types =
            distinct(vms.iter().flat_map(|vm| vm.disks.iter().map(|d| (d.storage_id.clone(), d.storage_name.clone()))));
        types.into_iter().map(|found| SourceRef { reference: Ref::by_name(found.name.clone()), ..found }).collect()
    }

    fn networks(&self, vms: &[SourceVm]) -> Vec<SourceRef> {
        distinct(vms.iter().flat_map(|vm| vm.nics.iter().map(|n| (n.network_id.clone(), n.network_name.clone()))))
    }
}

/// A device with an EBS volume behind it; instance stores are not migrated.
fn disk(device: &Value, collections: &Collections) -> Result<Option<SourceDisk>, String> {
    let id = device.get("Ebs").map(|ebs| text(ebs, "VolumeId")).unwrap_or_default();
    if id.is_empty() {
        return Ok(None);
    }
    let volumes = collections.get("volumes").into_iter().flatten();
    let volume = volumes.filter_map(|volume| volume.get("object").filter(|_| text(volume, "id") == id)).next();
    let volume = volume.ok_or_else(|| format!("its volume {id} is not in the inventory"))?;
    let type_ = text(volume, "VolumeType").to_owned();
    Ok(Some(SourceDisk {
        // What MTV writes on the disk's PVC, too.
        id: id.to_owned(),
        label: text(device, "DeviceName").to_owned(),
        file_name: None,
        interface: None,
        capacity_bytes: number(volume, "Size") << 30,
        storage_id: type_.clone(),
        storage_name: type_,
        raw: false,
        shared: false,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::vm::GuestOs;

    #[test]
    fn an_instance_is_read_with_the_sizes_of_its_volumes() {
        let vm = json!({"id": "i-1", "name": "web", "powerState": "Off", "object": {
            "InstanceId": "i-1", "InstanceType": "m5.xlarge", "PlatformDetails": "Red Hat Enterprise Linux", "BootMode": "uefi",
            "CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 2},
            "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeId": "vol-1"}}, {"DeviceName": "/dev/sdb"}],
            "NetworkInterfaces": [{"NetworkInterfaceId": "eni-1", "SubnetId": "subnet-1", "MacAddress": "0e:1a:2b:00:00:01"}]}});
        let volumes = vec![json!({"id": "vol-1", "object": {"VolumeId": "vol-1", "Size": 16, "VolumeType": "gp3"}})];
        let read = Ec2.read_vm(&vm, &Collections::from([("volumes".to_owned(), volumes)])).unwrap();
        assert_eq!((read.os, read.power.clone(), read.memory_mib), (GuestOs::Linux, Power::Off, None));
        assert_eq!(read.cpu, Some(CpuTopology { sockets: 1, cores: 4, threads: 1 }));
        assert_eq!((read.disks.len(), read.disks[0].capacity_bytes), (1, 16 << 30));
        assert_eq!(Ec2.storages(std::slice::from_ref(&read))[0].reference, Ref::by_name("gp3"));
        assert_eq!(Ec2.networks(&[read])[0].reference, Ref::by_id("subnet-1"));
        let lost = Ec2.read_vm(&vm, &Collections::new()).unwrap_err();
        assert_eq!(lost, "its volume vol-1 is not in the inventory");
    }
}
