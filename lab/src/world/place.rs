//! VMs that are moved, and those that are made from nothing but a specification.

use super::model::State;
use super::operate::gone;
use super::{CloneOrder, EntityKind, FolderKind, VmChange, WorldError, seed};
use crate::api::world::Vm as Told;

/// A VM to make.
#[derive(Debug, Clone, Default)]
pub struct CreateOrder {
    pub folder: String,
    pub pool: String,
    pub host: Option<String>,
    pub datastore: Option<String>,
    pub change: VmChange,
}

impl State {
    /// Whether a VM may go where an order says: only its places count.
    pub fn check_move(&self, id: &str, order: &CloneOrder) -> Result<(), WorldError> {
        let vm = self.vm(id)?;
        if !order.folder.is_empty() && !self.folders.contains_key(&order.folder) {
            return Err(gone(EntityKind::Folder, &order.folder));
        }
        if let Some(pool) = order.pool.as_ref().filter(|pool| !self.pools.iter().any(|known| known.id == **pool)) {
            return Err(gone(EntityKind::Pool, pool));
        }
        if let Some(host) = order.host.as_ref().filter(|host| !self.hosts.iter().any(|known| known.id == **host)) {
            return Err(gone(EntityKind::Host, host));
        }
        let own = order.disks.iter().filter_map(|disk| disk.datastore.as_ref());
        if let Some(store) = order.datastore.iter().chain(own).find(|store| self.datastore(store).is_none()) {
            return Err(gone(EntityKind::Datastore, store));
        }
        match order.folder.as_str() {
            "" => Ok(()),
            folder => self.check_name(folder, &vm.name, Some(id)),
        }
    }

    /// Moves a VM to another host, pool, folder or datastore; a disk that is not named goes with it.
    pub fn move_vm(&mut self, id: &str, order: &CloneOrder) -> Result<(), WorldError> {
        self.check_move(id, order)?;
        let vm = self.vm_mut(id)?;
        if !order.folder.is_empty() {
            vm.folder.clone_from(&order.folder);
        }
        vm.pool = order.pool.clone().or(vm.pool.take());
        if let Some(host) = &order.host {
            vm.host.clone_from(host);
        }
        if let Some(store) = &order.datastore {
            vm.datastore.clone_from(store);
        }
        for disk in &mut vm.disks {
            let place = order.disks.iter().find(|place| place.key == disk.key);
            let store = place.and_then(|place| place.datastore.as_ref()).or(order.datastore.as_ref());
            if let Some(store) = store {
                disk.datastore.clone_from(store);
            }
            disk.thin = place.and_then(|place| place.thin).or(order.thin).unwrap_or(disk.thin);
            disk.eager &= !disk.thin;
        }
        vm.revision += 1;
        Ok(())
    }

    pub fn check_create(&self, order: &CreateOrder) -> Result<(), WorldError> {
        if !self.folders.contains_key(&order.folder) {
            return Err(gone(EntityKind::Folder, &order.folder));
        }
        if !self.pools.iter().any(|pool| pool.id == order.pool) {
            return Err(gone(EntityKind::Pool, &order.pool));
        }
        if let Some(store) = order.datastore.as_ref().filter(|store| self.datastore(store).is_none()) {
            return Err(gone(EntityKind::Datastore, store));
        }
        self.check_name(&order.folder, order.change.name.as_deref().unwrap_or_default(), None)
    }

    /// Makes a VM with an empty system, off, and with no more devices than its specification names.
    pub fn create_vm(&mut self, order: &CreateOrder) -> Result<String, WorldError> {
        self.check_create(order)?;
        let windows = order.change.guest_id.as_deref().is_some_and(|guest| guest.contains("win"));
        let os = if windows { "win2019" } else { "rhel9" };
        let bad = |e: serde_json::Error| WorldError::BadArgument { what: e.to_string() };
        let told: Told =
            serde_json::from_value(serde_json::json!({"name": order.change.name, "os": os})).map_err(bad)?;
        let before: Vec<String> = self.vms.keys().cloned().collect();
        seed::grow(self, &[told]);
        let made = self.vms.keys().find(|id| !before.contains(id)).cloned();
        let id = made.ok_or_else(|| WorldError::BadArgument { what: "config".to_owned() })?;
        let mut vm = self.vm(&id)?.clone();
        vm.folder.clone_from(&order.folder);
        vm.pool = Some(order.pool.clone());
        vm.host = order.host.clone().unwrap_or(vm.host);
        vm.datastore = order.datastore.clone().unwrap_or(vm.datastore);
        vm.powered_on = false;
        vm.tools_running = false;
        vm.disks.clear();
        vm.nics.clear();
        vm.controllers.clear();
        let applied = self.apply(&mut vm, &order.change);
        if applied.is_err() {
            self.vms.remove(&id);
        }
        applied?;
        for disk in vm.disks.iter_mut().filter(|disk| disk.datastore.is_empty()) {
            disk.datastore.clone_from(&vm.datastore);
        }
        for (position, nic) in vm.nics.iter_mut().enumerate() {
            nic.guest.name = if windows { format!("Ethernet{position}") } else { format!("eth{position}") };
        }
        self.vms.insert(id.clone(), vm);
        Ok(id)
    }

    /// Puts VMs and folders into a folder; all of them, or none.
    pub fn move_into(&mut self, folder: &str, ids: &[String]) -> Result<(), WorldError> {
        for id in ids {
            if let Some(vm) = self.vms.get(id) {
                self.check_name(folder, &vm.name, Some(id))?;
                continue;
            }
            let moved = self.folders.get(id).ok_or_else(|| gone(EntityKind::Folder, id))?;
            if self.inside(folder, id) {
                return Err(WorldError::BadArgument { what: "list".to_owned() });
            }
            if moved.parent.as_deref() != Some(folder) {
                self.check_name(folder, &moved.name, None)?;
            }
        }
        for id in ids {
            if let Some(vm) = self.vms.get_mut(id) {
                folder.clone_into(&mut vm.folder);
            } else if let Some(moved) = self.folders.get_mut(id) {
                moved.parent = Some(folder.to_owned());
            }
        }
        Ok(())
    }

    /// Whether a folder is another, or somewhere in it.
    fn inside(&self, folder: &str, other: &str) -> bool {
        let mut at = Some(folder);
        while let Some(id) = at {
            if id == other {
                return true;
            }
            at = self.folders.get(id).and_then(|folder| folder.parent.as_deref());
        }
        false
    }

    /// Removes a folder that somebody made, with what is in it; VMs only where they are off.
    pub fn destroy_folder(&mut self, id: &str) -> Result<(), WorldError> {
        let own = self.folders.get(id).ok_or_else(|| gone(EntityKind::Folder, id))?;
        if own.parent.as_ref().is_none_or(|parent| !self.folders.contains_key(parent)) || own.kind != FolderKind::Vm {
            // The root, and the datacenter's own four.
            return Err(WorldError::BadArgument { what: "folder".to_owned() });
        }
        let folders: Vec<String> = self.folders.keys().filter(|one| self.inside(one, id)).cloned().collect();
        let vms: Vec<String> =
            self.vms.values().filter(|vm| folders.contains(&vm.folder)).map(|vm| vm.id.clone()).collect();
        vms.iter().try_for_each(|vm| self.check_destroy(vm))?;
        for vm in &vms {
            self.destroy(vm)?;
        }
        for folder in &folders {
            self.folders.remove(folder);
        }
        Ok(())
    }
}
