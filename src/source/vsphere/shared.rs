//! Disks that several VMs write to: a clone has a copy, and gets the other clone's file again.

use super::VsphereDriver;
use crate::api::vim::device::{Disk, Hardware};
use crate::api::vim::op;
use crate::api::vim::spec::{ConfigSpec, DeviceChange};
use crate::source::{SourceError, VmRef};

/// What the copies become of the owner's disks: each copy goes with its file, and each shared disk comes in the place of
/// one. `Err`: they do not match.
fn changes(owner: &[Disk], copies: &[Disk]) -> Result<Vec<DeviceChange>, String> {
    if owner.is_empty() {
        return Err("the owner has no disk that several VMs may write to".to_owned());
    }
    if owner.len() != copies.len() {
        return Err(format!("the owner has {} shared disks, the other VM {}", owner.len(), copies.len()));
    }
    let mut all: Vec<DeviceChange> = copies.iter().map(|copy| DeviceChange::DestroyDisk { key: copy.key }).collect();
    for ((disk, copy), key) in owner.iter().zip(copies).zip((i64::MIN..=-101).rev()) {
        let Some(datastore) = disk.datastore.clone() else {
            return Err(format!("{} has no datastore", disk.label));
        };
        all.push(DeviceChange::ShareDisk {
            key,
            file_name: disk.file.clone(),
            datastore,
            controller_key: copy.controller_key,
            unit: copy.unit,
            capacity_kb: disk.capacity_bytes / 1024,
        });
    }
    Ok(all)
}

impl VsphereDriver {
    pub(super) async fn share(&self, owner: &VmRef, other: &VmRef) -> Result<usize, SourceError> {
        let what = format!("share the disks of {} with {}", owner.name, other.name);
        let mut sides = Vec::new();
        for vm in [owner, other] {
            let object = self.props(&Self::moref(vm), &["config.hardware.device"]).await?;
            let disks = Hardware::of(&object.props).disks;
            sides.push(disks.into_iter().filter(|disk| disk.shared).collect::<Vec<_>>());
        }
        let [of_owner, copies] = sides.as_slice() else { return Ok(0) };
        let changes = changes(of_owner, copies).map_err(|cause| self.session.refused(&what, cause))?;
        let spec = ConfigSpec { device_changes: changes, ..ConfigSpec::default() };
        let (moref, limit) = (Self::moref(other), self.options.timeouts.clone);
        let done = self.session.run_task("ReconfigVM_Task", &what, limit, |_| op::reconfigure(&moref, &spec)).await;
        done.map_err(|e| self.session.failed(&what, e))?;
        Ok(of_owner.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::vim::MoRef;

    fn disk(key: i64, file: &str) -> Disk {
        Disk {
            key,
            label: format!("Hard disk {key}"),
            controller_key: 1000,
            unit: key - 2000,
            file: file.to_owned(),
            datastore: Some(MoRef::new("Datastore", "datastore-1")),
            capacity_bytes: 5 << 30,
            mode: "persistent".to_owned(),
            backing: "VirtualDiskFlatVer2BackingInfo".to_owned(),
            shared: true,
        }
    }

    #[test]
    fn each_copy_goes_and_the_owners_disk_comes_in_its_place() {
        let made = changes(&[disk(2001, "[ds] a/a_1.vmdk")], &[disk(2003, "[ds] b/b_1.vmdk")]).unwrap();
        let [DeviceChange::DestroyDisk { key }, DeviceChange::ShareDisk { file_name, controller_key, unit, .. }] =
            made.as_slice()
        else {
            panic!("{made:?}")
        };
        assert_eq!((*key, file_name.as_str(), *controller_key, *unit), (2003, "[ds] a/a_1.vmdk", 1000, 3));
        assert!(changes(&[], &[disk(2001, "x")]).is_err_and(|why| why.contains("no disk that several VMs")));
        assert!(changes(&[disk(2001, "x")], &[]).is_err_and(|why| why.contains("1 shared disks, the other VM 0")));
    }
}
