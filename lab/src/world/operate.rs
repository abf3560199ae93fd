//! What may be done to the world. Each function checks and then acts, so that nothing half-done is
//! ever seen.

use super::WorldError;
use super::change::{CloneOrder, VmChange};
use super::model::{Disk, Folder, Snapshot, State, Vm, fresh_mac, fresh_uuid, now};
use super::task::{EntityKind, Task, TaskState};
use crate::api::world::Tools;

/// Tasks that are over and still told of.
const TASKS_KEPT: usize = 4096;
/// vSphere's limit.
const NAME_LIMIT: usize = 80;

pub(super) fn gone(kind: EntityKind, id: &str) -> WorldError {
    WorldError::Gone { kind, id: id.to_owned() }
}

impl State {
    pub fn vm(&self, id: &str) -> Result<&Vm, WorldError> {
        self.vms.get(id).ok_or_else(|| gone(EntityKind::Vm, id))
    }

    pub fn vm_mut(&mut self, id: &str) -> Result<&mut Vm, WorldError> {
        self.vms.get_mut(id).ok_or_else(|| gone(EntityKind::Vm, id))
    }

    /// Opens a task on an entity; `holds` makes the VM busy until [`State::close_task`].
    pub fn open_task(
        &mut self,
        operation: &'static str,
        vm: &str,
        user: &str,
        holds: bool,
    ) -> Result<String, WorldError> {
        let id = self.fresh_id("task");
        let target = self.vm_mut(vm)?;
        let held = target.busy.clone();
        if holds && held.is_none() {
            target.busy = Some(id.clone());
        }
        let entity_name = target.name.clone();
        let state = match (holds, held) {
            (true, Some(task)) => TaskState::Error(WorldError::Busy { task }),
            _ => TaskState::Queued,
        };
        let completed = matches!(state, TaskState::Error(_)).then(now);
        let task = Task {
            id: id.clone(),
            operation,
            entity: (EntityKind::Vm, vm.to_owned()),
            entity_name,
            user: user.to_owned(),
            state,
            progress: None,
            cancelable: false,
            cancelled: false,
            queued: now(),
            started: None,
            completed,
            reserves: None,
            found: Vec::new(),
        };
        self.tasks.insert(id.clone(), task);
        Ok(id)
    }

    /// A task on a datastore or a folder.
    pub fn open_on(&mut self, operation: &'static str, entity: (EntityKind, &str), user: &str) -> String {
        let id = self.fresh_id("task");
        let entity_name = match entity {
            (EntityKind::Folder, folder) => self.folders.get(folder).map(|folder| folder.name.clone()),
            (_, datastore) => self.datastore(datastore).map(|store| store.name.clone()),
        };
        let entity_name = entity_name.unwrap_or_default();
        let task = Task {
            id: id.clone(),
            operation,
            entity: (entity.0, entity.1.to_owned()),
            entity_name,
            user: user.to_owned(),
            state: TaskState::Running,
            progress: None,
            cancelable: false,
            cancelled: false,
            queued: now(),
            started: Some(now()),
            completed: None,
            reserves: None,
            found: Vec::new(),
        };
        self.tasks.insert(id.clone(), task);
        id
    }

    /// Ends a task and gives the VM free.
    pub fn close_task(&mut self, id: &str, outcome: Result<Option<(EntityKind, String)>, WorldError>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.completed = Some(now());
        task.reserves = None;
        task.state = match outcome {
            Ok(result) => {
                task.progress = Some(100);
                TaskState::Success(result)
            }
            Err(error) => TaskState::Error(error),
        };
        let held = task.entity.1.clone();
        if self.vms.get(&held).is_some_and(|vm| vm.busy.as_deref() == Some(id))
            && let Some(vm) = self.vms.get_mut(&held)
        {
            vm.busy = None;
        }
        self.over.push_back(id.to_owned());
        if self.over.len() > TASKS_KEPT
            && let Some(oldest) = self.over.pop_front()
        {
            self.tasks.remove(&oldest);
        }
    }

    /// Is this name free in this folder? `except` may have it.
    pub fn check_name(&self, folder: &str, name: &str, except: Option<&str>) -> Result<(), WorldError> {
        if name.is_empty() || name.chars().count() > NAME_LIMIT {
            return Err(WorldError::BadName { name: name.to_owned() });
        }
        let taken = |id: &str| WorldError::NameTaken { name: name.to_owned(), id: id.to_owned() };
        for vm in self.vms.values().filter(|vm| vm.folder == folder && vm.name == name) {
            if except != Some(vm.id.as_str()) {
                return Err(taken(&vm.id));
            }
        }
        let folder_of = |other: &&Folder| other.parent.as_deref() == Some(folder) && other.name == name;
        if let Some(other) = self.folders.values().find(folder_of) {
            return Err(taken(&other.id));
        }
        let reserved = |task: &&Task| task.reserves.as_ref().is_some_and(|(f, n)| f == folder && n == name);
        if let Some(task) = self.tasks.values().find(reserved) {
            return Err(taken(&task.entity.1));
        }
        Ok(())
    }

    /// Everything that can be wrong with an order before the copy begins.
    pub fn check_clone(&self, order: &CloneOrder) -> Result<(), WorldError> {
        let source = self.vm(&order.source)?;
        if !self.folders.contains_key(&order.folder) {
            return Err(gone(EntityKind::Folder, &order.folder));
        }
        if source.pool.is_none() && order.pool.is_none() && !order.template {
            return Err(WorldError::BadArgument { what: "spec.location.pool".to_owned() });
        }
        if let Some(pool) = &order.pool
            && !self.pools.iter().any(|known| known.id == *pool)
        {
            return Err(gone(EntityKind::Pool, pool));
        }
        if let Some(host) = &order.host
            && !self.hosts.iter().any(|known| known.id == *host)
        {
            return Err(gone(EntityKind::Host, host));
        }
        for store in order.datastore.iter().chain(order.disks.iter().filter_map(|disk| disk.datastore.as_ref())) {
            if self.datastore(store).is_none() {
                return Err(gone(EntityKind::Datastore, store));
            }
        }
        self.check_name(&order.folder, &order.name, None)
    }

    /// Makes the clone: new ids, new uuids, new MACs; then the order's own changes.
    pub fn finish_clone(&mut self, order: &CloneOrder) -> Result<String, WorldError> {
        let mut vm = self.vm(&order.source)?.clone();
        let id = self.fresh_id("vm");
        let name = &order.name;
        vm.id.clone_from(&id);
        vm.name.clone_from(name);
        vm.folder.clone_from(&order.folder);
        vm.template = order.template;
        vm.uuid = fresh_uuid();
        vm.instance_uuid = fresh_uuid();
        vm.powered_on = false;
        vm.tools_running = false;
        vm.busy = None;
        vm.snapshots.clear();
        vm.current_snapshot = None;
        vm.created = now();
        vm.boots = 0;
        vm.change_sequence = 0;
        if let Some(store) = &order.datastore {
            vm.datastore.clone_from(store);
        }
        if let Some(host) = &order.host {
            vm.host.clone_from(host);
        }
        vm.pool = if order.template { None } else { order.pool.clone().or(vm.pool) };
        for disk in &mut vm.disks {
            disk.uuid = fresh_uuid();
            // A raw device is copied as a file.
            disk.raw = None;
            if let Some(store) = &order.datastore {
                disk.datastore.clone_from(store);
            }
            if let Some(thin) = order.thin {
                disk.thin = thin;
                disk.eager = false;
            }
            if let Some(place) = order.disks.iter().find(|place| place.key == disk.key) {
                disk.datastore = place.datastore.clone().unwrap_or_else(|| disk.datastore.clone());
                disk.thin = place.thin.unwrap_or(disk.thin);
                disk.eager = place.eager.unwrap_or(disk.eager) && !disk.thin;
            }
        }
        vm.name_disks();
        for index in 0..vm.nics.len() {
            vm.nics[index].mac = fresh_mac(self);
            vm.nics[index].manual = false;
            vm.nics[index].connected = false;
        }
        self.apply(&mut vm, &order.change)?;
        if let Some(files) = self.files.get(&order.source).cloned() {
            self.files.insert(id.clone(), files);
        }
        self.vms.insert(id.clone(), vm);
        Ok(id)
    }

    /// Whether a VM can be powered on or off now.
    pub fn check_power(&self, id: &str, on: bool) -> Result<(), WorldError> {
        let vm = self.vm(id)?;
        if vm.template {
            return Err(WorldError::BadState { vm: vm.name.clone() });
        }
        // One that sleeps can be switched off.
        if vm.powered_on == on && (on || !vm.suspended) {
            let requested = if on { "poweredOn" } else { "poweredOff" };
            return Err(WorldError::WrongPower { vm: vm.name.clone(), requested, existing: vm.power() });
        }
        Ok(())
    }

    /// Powers a VM on or off; the answer is the number of this boot.
    pub fn set_power(&mut self, id: &str, on: bool) -> Result<u64, WorldError> {
        self.check_power(id, on)?;
        let vm = self.vm_mut(id)?;
        vm.powered_on = on;
        vm.suspended = false;
        vm.tools_running = false;
        for nic in &mut vm.nics {
            nic.connected = on && nic.start_connected;
        }
        if on {
            vm.boots += 1;
        }
        Ok(vm.boots)
    }

    /// Starts a running guest anew, as its reset button does; the answer is the number of this boot.
    pub fn reset(&mut self, id: &str) -> Result<u64, WorldError> {
        self.check_running(id)?;
        let vm = self.vm_mut(id)?;
        vm.tools_running = false;
        vm.boots += 1;
        Ok(vm.boots)
    }

    pub fn check_running(&self, id: &str) -> Result<(), WorldError> {
        let vm = self.vm(id)?;
        if vm.powered_on {
            return Ok(());
        }
        Err(WorldError::WrongPower { vm: vm.name.clone(), requested: "poweredOn", existing: vm.power() })
    }

    /// Puts a running guest to sleep.
    pub fn suspend(&mut self, id: &str) -> Result<(), WorldError> {
        self.check_running(id)?;
        self.set_power(id, false)?;
        self.vm_mut(id)?.suspended = true;
        Ok(())
    }

    /// Takes the VM back to a snapshot: its disks, and off, because no snapshot of the lab holds memory.
    pub fn revert(&mut self, snapshot: &str) -> Result<(), WorldError> {
        let gone = || WorldError::Gone { kind: EntityKind::Snapshot, id: snapshot.to_owned() };
        let (owner, disks) =
            self.snapshot(snapshot).map(|(vm, it)| (vm.id.clone(), it.disks.clone())).ok_or_else(gone)?;
        if self.vm(&owner)?.powered_on || self.vm(&owner)?.suspended {
            self.set_power(&owner, false)?;
        }
        let vm = self.vm_mut(&owner)?;
        vm.disks = disks.into_iter().map(|disk| Disk { change_id: None, ..disk }).collect();
        vm.current_snapshot = Some(snapshot.to_owned());
        vm.revision += 1;
        Ok(())
    }

    /// A folder below another of its kind.
    pub fn create_folder(&mut self, parent: &str, name: &str) -> Result<String, WorldError> {
        let gone = || WorldError::Gone { kind: EntityKind::Folder, id: parent.to_owned() };
        let kind = self.folders.get(parent).map(|folder| folder.kind).ok_or_else(gone)?;
        if name.is_empty() {
            return Err(WorldError::BadName { name: name.to_owned() });
        }
        let same = |folder: &&Folder| folder.parent.as_deref() == Some(parent) && folder.name == name;
        if let Some(taken) = self.folders.values().find(same) {
            return Err(WorldError::NameTaken { name: name.to_owned(), id: taken.id.clone() });
        }
        let id = self.fresh_id("group-v");
        let folder = Folder { id: id.clone(), name: name.to_owned(), kind, parent: Some(parent.to_owned()) };
        self.folders.insert(id.clone(), folder);
        Ok(id)
    }

    /// The guest's tools answer, if it is still the same boot.
    pub fn tools_up(&mut self, id: &str, boot: u64) {
        if let Some(vm) = self.vms.get_mut(id)
            && vm.powered_on
            && vm.boots == boot
        {
            vm.tools_running = vm.os.tools == Tools::Running;
        }
    }

    /// Makes a snapshot on top of the current one and answers its id.
    pub fn take_snapshot(
        &mut self,
        id: &str,
        name: &str,
        description: &str,
        quiesced: bool,
    ) -> Result<String, WorldError> {
        let snapshot_id = {
            self.vm(id)?;
            self.fresh_id("snapshot")
        };
        let vm = self.vm_mut(id)?;
        vm.change_sequence += 1;
        let sequence = vm.change_sequence;
        let tracks = vm.tracks_changes();
        let disks = vm
            .disks
            .iter()
            .map(|disk| {
                let mark = tracks && !disk.mode.starts_with("independent");
                Disk { change_id: mark.then(|| format!("{}/{sequence}", change_root(&disk.uuid))), ..disk.clone() }
            })
            .collect();
        let number = vm.snapshots.iter().map(|snapshot| snapshot.number).max().unwrap_or_default() + 1;
        vm.snapshots.push(Snapshot {
            id: snapshot_id.clone(),
            number,
            name: name.to_owned(),
            description: description.to_owned(),
            created: now(),
            quiesced,
            powered_on: vm.powered_on,
            parent: vm.current_snapshot.clone(),
            disks,
        });
        vm.current_snapshot = Some(snapshot_id.clone());
        Ok(snapshot_id)
    }

    /// Removes a snapshot; its children move up or go with it.
    pub fn remove_snapshot(&mut self, id: &str, children: bool) -> Result<(), WorldError> {
        let owner = self.snapshot(id).map(|(vm, _)| vm.id.clone()).ok_or_else(|| gone(EntityKind::Snapshot, id))?;
        let vm = self.vm_mut(&owner)?;
        let parent =
            vm.snapshots.iter().find(|snapshot| snapshot.id == id).and_then(|snapshot| snapshot.parent.clone());
        let mut going = vec![id.to_owned()];
        if children {
            // Parents stand before their children, so one pass finds the whole subtree.
            for snapshot in &vm.snapshots {
                if snapshot.parent.as_ref().is_some_and(|parent| going.contains(parent)) {
                    going.push(snapshot.id.clone());
                }
            }
        }
        vm.snapshots.retain(|snapshot| !going.contains(&snapshot.id));
        for snapshot in vm.snapshots.iter_mut().filter(|snapshot| snapshot.parent.as_deref() == Some(id)) {
            snapshot.parent.clone_from(&parent);
        }
        if vm.current_snapshot.as_ref().is_some_and(|current| going.contains(current)) {
            vm.current_snapshot = parent;
        }
        Ok(())
    }

    /// Whether a VM can be removed now.
    pub fn check_destroy(&self, id: &str) -> Result<(), WorldError> {
        let vm = self.vm(id)?;
        if vm.powered_on {
            return Err(WorldError::WrongPower { vm: vm.name.clone(), requested: "poweredOff", existing: "poweredOn" });
        }
        Ok(())
    }

    /// Removes a VM with its disks.
    pub fn destroy(&mut self, id: &str) -> Result<(), WorldError> {
        self.check_destroy(id)?;
        self.vms.remove(id);
        self.files.remove(id);
        Ok(())
    }

    /// Renames a VM or a folder.
    pub fn rename(&mut self, id: &str, name: &str) -> Result<(), WorldError> {
        if self.vms.contains_key(id) {
            let change = VmChange { name: Some(name.to_owned()), ..VmChange::default() };
            return self.reconfigure(id, &change);
        }
        let folder = self.folders.get(id).ok_or_else(|| gone(EntityKind::Folder, id))?;
        let parent = folder.parent.clone().unwrap_or_default();
        self.check_name(&parent, name, None)?;
        if let Some(folder) = self.folders.get_mut(id) {
            folder.name = name.to_owned();
        }
        Ok(())
    }
}

/// The constant part of a change id, in VMware's spelling: `52 de c0 …-…`.
fn change_root(uuid: &str) -> String {
    let hex: Vec<char> = uuid.chars().filter(|c| *c != '-').collect();
    let pairs: Vec<String> = hex.chunks(2).map(|pair| pair.iter().collect()).collect();
    let (head, tail) = pairs.split_at(pairs.len().min(8));
    format!("{}-{}", head.join(" "), tail.join(" "))
}
