//! Changing a VM's configuration and devices.

use super::WorldError;
use super::change::{DeviceChange, NicEdit, VmChange};
use super::model::{
    Controller, ControllerKind, Disk, GuestAdapter, Nic, SPARE_LUN, SPARE_LUN_BYTES, State, Vm, fresh_mac, fresh_uuid,
};

impl State {
    /// Changes a VM's configuration, all of it or nothing.
    pub fn reconfigure(&mut self, id: &str, change: &VmChange) -> Result<(), WorldError> {
        let mut vm = self.vm(id)?.clone();
        if let Some(name) = &change.name {
            self.check_name(&vm.folder, name, Some(id))?;
            vm.name.clone_from(name);
        }
        let hardware = change.cpus.is_some() || change.memory_mb.is_some() || change.efi.is_some();
        if vm.powered_on && hardware {
            return Err(WorldError::WrongPower { vm: vm.name, requested: "poweredOff", existing: "poweredOn" });
        }
        self.apply(&mut vm, change)?;
        self.vms.insert(id.to_owned(), vm);
        Ok(())
    }

    pub(super) fn apply(&self, vm: &mut Vm, change: &VmChange) -> Result<(), WorldError> {
        fn set<T: Clone>(target: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                target.clone_from(value);
            }
        }
        set(&mut vm.annotation, change.annotation.as_ref());
        set(&mut vm.os.guest_id, change.guest_id.as_ref());
        set(&mut vm.uuid, change.uuid.as_ref());
        set(&mut vm.instance_uuid, change.instance_uuid.as_ref());
        set(&mut vm.cpus, change.cpus.as_ref());
        set(&mut vm.cores_per_socket, change.cores_per_socket.as_ref());
        set(&mut vm.memory_mb, change.memory_mb.as_ref());
        set(&mut vm.efi, change.efi.as_ref());
        set(&mut vm.secure_boot, change.secure_boot.as_ref());
        set(&mut vm.change_tracking, change.change_tracking.as_ref());
        for (key, value) in &change.extra_config {
            vm.extra_config.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
            if !value.is_empty() {
                vm.extra_config.push((key.clone(), value.clone()));
            }
        }
        let mut temporary: Vec<(i32, i32)> = Vec::new();
        for (index, device) in change.devices.iter().enumerate() {
            self.apply_device(vm, device, &mut temporary).ok_or(WorldError::BadDevice { index })?;
        }
        vm.revision += 1;
        Ok(())
    }

    fn apply_device(&self, vm: &mut Vm, change: &DeviceChange, temporary: &mut Vec<(i32, i32)>) -> Option<()> {
        match change {
            DeviceChange::AddController { key, bus, kind } => {
                let base = match kind {
                    ControllerKind::ParaVirtual | ControllerKind::LsiSas => 1000,
                    ControllerKind::Sata => 15000,
                    ControllerKind::Nvme => 31000,
                };
                if vm.controllers.iter().any(|known| known.key == base + bus) {
                    return None;
                }
                vm.controllers.push(Controller { key: base + bus, bus: *bus, kind: *kind });
                temporary.push((*key, base + bus));
            }
            DeviceChange::AddDisk {
                controller,
                unit,
                capacity,
                thin,
                eager,
                mode,
                datastore,
                path,
                raw,
                shared,
                there,
            } => {
                let asked = controller.or_else(|| vm.controllers.first().map(|known| known.key))?;
                let key = temporary.iter().find(|(from, _)| *from == asked).map_or(asked, |(_, to)| *to);
                let (bus, scsi) = vm.controllers.iter().find(|known| known.key == key).map(|known| {
                    (known.bus, matches!(known.kind, ControllerKind::ParaVirtual | ControllerKind::LsiSas))
                })?;
                let used = |unit: i32| vm.disks.iter().any(|disk| disk.controller == key && disk.unit == unit);
                let reserved = |unit: i32| scsi && unit == 7;
                let unit = (*unit).or_else(|| (0..16).find(|unit| !used(*unit) && !reserved(*unit)))?;
                // A mapping is as big as its LUN.
                let capacity = match raw {
                    Some((device, _)) if device.ends_with(SPARE_LUN) => SPARE_LUN_BYTES,
                    Some(_) => return None,
                    None => *capacity,
                };
                if used(unit) || reserved(unit) || capacity <= 0 {
                    return None;
                }
                let base = if scsi { 2000 } else { 2000 + key };
                let datastore = datastore.clone().unwrap_or_else(|| vm.datastore.clone());
                self.datastore(&datastore)?;
                let number = vm.disks.iter().filter(|disk| disk.datastore == datastore).count();
                let name = &vm.name;
                let file =
                    if number == 0 { format!("{name}/{name}.vmdk") } else { format!("{name}/{name}_{number}.vmdk") };
                let same = |disk: &&Disk| disk.datastore == datastore && Some(&disk.path) == path.as_ref();
                let known = self.vms.values().flat_map(|vm| &vm.disks).find(same);
                // Whoever names a file that is there means that very disk.
                if *there && known.is_none() {
                    return None;
                }
                let uuid = known.filter(|_| *there).map_or_else(fresh_uuid, |disk| disk.uuid.clone());
                vm.disks.push(Disk {
                    key: base + 16 * bus + unit,
                    controller: key,
                    unit,
                    capacity,
                    thin: *thin,
                    eager: *eager && !*thin,
                    mode: mode.clone(),
                    datastore,
                    path: path.clone().unwrap_or(file),
                    uuid,
                    raw: raw.clone(),
                    shared: *shared,
                    encrypted: false,
                    change_id: None,
                });
            }
            DeviceChange::EditDisk { key, capacity, mode } => {
                let disk = vm.disks.iter_mut().find(|disk| disk.key == *key)?;
                // Disks only grow.
                disk.capacity = capacity.unwrap_or(disk.capacity).max(disk.capacity);
                disk.mode = mode.clone().unwrap_or_else(|| disk.mode.clone());
            }
            DeviceChange::AddNic { adapter, edit } => {
                let key = (4000..4010).find(|key| !vm.nics.iter().any(|nic| nic.key == *key))?;
                let position = key - 4000;
                let mut nic = Nic {
                    key,
                    adapter: *adapter,
                    mac: fresh_mac(self),
                    manual: false,
                    network: edit.network.clone()?,
                    start_connected: true,
                    connected: vm.powered_on,
                    guest: GuestAdapter {
                        name: if vm.os.windows { format!("Ethernet{position}") } else { format!("eth{position}") },
                        addresses: Vec::new(),
                        is_static: false,
                        dns: Vec::new(),
                    },
                };
                self.edit_nic(&mut nic, edit)?;
                vm.nics.push(nic);
            }
            DeviceChange::EditNic { key, edit } => {
                let nic = vm.nics.iter_mut().find(|nic| nic.key == *key)?;
                self.edit_nic(nic, edit)?;
            }
            DeviceChange::Remove { key } => {
                let before = vm.disks.len() + vm.nics.len() + vm.controllers.len();
                vm.disks.retain(|disk| disk.key != *key);
                vm.nics.retain(|nic| nic.key != *key);
                vm.controllers.retain(|controller| controller.key != *key);
                if before == vm.disks.len() + vm.nics.len() + vm.controllers.len() {
                    return None;
                }
            }
            DeviceChange::Other => {}
        }
        Some(())
    }

    fn edit_nic(&self, nic: &mut Nic, edit: &NicEdit) -> Option<()> {
        if let Some(network) = &edit.network {
            nic.network.clone_from(&self.network(network)?.id);
        }
        if edit.generate {
            nic.mac = fresh_mac(self);
            nic.manual = false;
        } else if let Some(mac) = &edit.mac
            && mac.to_ascii_lowercase() != nic.mac
        {
            nic.mac = mac.to_ascii_lowercase();
            nic.manual = true;
        }
        nic.start_connected = edit.start_connected.unwrap_or(nic.start_connected);
        nic.connected = edit.connected.unwrap_or(nic.connected);
        Some(())
    }
}
