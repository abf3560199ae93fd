//! What changes the world: at once, or as a task that takes simulated time.

use std::sync::Arc;
use std::time::Duration;

use super::browse::Search;
use super::dispatch::{Answer, Service, this};
use super::fault::{Fault, fault, invalid_argument, object_gone};
use super::session::reference;
use super::spec::{clone_order, relocation, vm_change};
use super::value::{Val, mo, obj};
use super::xml::Node;
use crate::levers::Lever;
use crate::world::{CloneOrder, EntityKind, State, Task, TaskState, WorldError};

const CLONE: Duration = Duration::from_secs(120);
const POWER: Duration = Duration::from_secs(10);
const SNAPSHOT: Duration = Duration::from_secs(5);
pub(super) const RECONFIGURE: Duration = Duration::from_secs(3);
const DESTROY: Duration = Duration::from_secs(4);
/// From power-on until the guest's tools answer.
const BOOT: Duration = Duration::from_secs(60);
/// From asking the guest until it is off.
const SHUTDOWN: Duration = Duration::from_secs(20);
/// A running task shows its progress in this many steps.
const STEPS: u32 = 4;
/// Changed since the last snapshot, where anybody asks.
const CHANGED_BYTES: i64 = 64 << 20;

type Made = Result<Option<(EntityKind, String)>, WorldError>;
type Check = Box<dyn FnOnce(&State) -> Result<(), WorldError> + Send>;
type Finish = Box<dyn FnOnce(&mut State) -> Made + Send>;

/// A task to run: what it is called, how long it takes, what it does at its end.
struct Job {
    operation: &'static str,
    takes: Duration,
    /// Other tasks on the VM have to wait.
    holds: bool,
    reserves: Option<(String, String)>,
    cancelable: bool,
    /// Refusals that are known before any work is done.
    check: Check,
    finish: Finish,
}

impl Job {
    fn new(operation: &'static str, takes: Duration, finish: impl FnOnce(&mut State) -> Made + Send + 'static) -> Self {
        let check = Box::new(|_: &State| Ok(()));
        Self { operation, takes, holds: true, reserves: None, cancelable: false, check, finish: Box::new(finish) }
    }
    fn check(mut self, check: impl FnOnce(&State) -> Result<(), WorldError> + Send + 'static) -> Self {
        self.check = Box::new(check);
        self
    }
}

impl Service {
    /// Everything that is neither reading nor searching.
    pub(super) fn operate(self: &Arc<Self>, key: &str, method: &Node) -> Result<Answer, Fault> {
        let user = self.with_session(key, |session| Ok(session.user.clone()))?;
        let object = this(method);
        if !self.with_scope(key, |scope| Ok(scope.exists(&object)))? {
            return Err(object_gone(object));
        }
        let id = object.id.clone();
        let vm = id.clone();
        let job = match (object.kind.as_str(), method.name.as_str()) {
            ("VirtualMachine", "CloneVM_Task") => {
                let order = self.world.read(|state| clone_order(state, &id, method))?;
                self.clone_job(order)?
            }
            ("VirtualMachine", "ReconfigVM_Task") => {
                let spec = method.child("spec").ok_or_else(|| invalid_argument("spec"))?;
                let change = self.world.read(|state| vm_change(state, spec))?;
                Job::new("ReconfigVM_Task", RECONFIGURE, move |state| state.reconfigure(&vm, &change).map(|()| None))
            }
            ("VirtualMachine", "RelocateVM_Task") => {
                let order = relocation(method)?;
                let (checked, target) = (order.clone(), id.clone());
                let job = Job::new("RelocateVM_Task", CLONE, move |state| state.move_vm(&vm, &order).map(|()| None));
                job.check(move |state| state.check_move(&target, &checked))
            }
            ("Folder", name) if super::folders::METHODS.contains(&name) => return self.folder(&id, method, &user),
            ("VirtualMachine", "PowerOnVM_Task") => self.power_job(id.clone(), true),
            ("VirtualMachine", "PowerOffVM_Task") => self.power_job(id.clone(), false),
            ("VirtualMachine", "ResetVM_Task") => {
                let (service, checked) = (self.clone(), id.clone());
                Job::new("ResetVM_Task", POWER, move |state| {
                    let boot = state.reset(&vm)?;
                    service.boot(&vm, boot);
                    Ok(None)
                })
                .check(move |state| state.check_running(&checked))
            }
            ("VirtualMachine", "SuspendVM_Task") => {
                let checked = id.clone();
                Job::new("SuspendVM_Task", POWER, move |state| state.suspend(&vm).map(|()| None))
                    .check(move |state| state.check_running(&checked))
            }
            ("VirtualMachine", "RebootGuest") => {
                let boot = self.world.change(|state| match state.vm(&id) {
                    Ok(vm) if vm.powered_on && !vm.tools_running => Err(WorldError::NoTools { vm: vm.name.clone() }),
                    _ => state.reset(&id),
                })?;
                self.boot(&id, boot);
                return Ok(Answer::default());
            }
            ("VirtualMachine", "RevertToCurrentSnapshot_Task") => {
                let current = self.world.read(|state| state.vm(&id).ok().and_then(|vm| vm.current_snapshot.clone()));
                let current =
                    current.ok_or_else(|| fault("NotFound", "The virtual machine has no current snapshot."))?;
                Job::new("RevertToCurrentSnapshot_Task", SNAPSHOT, move |state| state.revert(&current).map(|()| None))
            }
            ("VirtualMachineSnapshot", "RevertToSnapshot_Task") => {
                let owner = self.world.read(|state| state.snapshot(&id).map(|(vm, _)| vm.id.clone()));
                let owner = owner.ok_or_else(|| object_gone(object))?;
                let snapshot = id.clone();
                let job =
                    Job::new("RevertToSnapshot_Task", SNAPSHOT, move |state| state.revert(&snapshot).map(|()| None));
                return self.run(&owner, &user, job);
            }
            ("HostDatastoreBrowser", "SearchDatastore_Task" | "SearchDatastoreSubFolders_Task") => {
                let search = self.world.read(|state| Search::of(state, &id, method))?;
                return Ok(self.search(search, &method.name, &user));
            }
            ("VirtualMachine", "ShutdownGuest") => return self.shutdown_guest(&id),
            ("VirtualMachine", "CreateSnapshot_Task" | "CreateSnapshotEx_Task") => {
                let name = method.string("name").ok_or_else(|| invalid_argument("name"))?;
                let description = method.string("description").unwrap_or_default();
                let quiesced = method.flag("quiesce").unwrap_or(false);
                let levers = self.options.levers.clone();
                Job::new("CreateSnapshot_Task", SNAPSHOT, move |state| {
                    if levers.is_pulled(Lever::DatastoreFull) {
                        let disk = state.vm(&vm)?.disks.first();
                        let datastore = disk.map(|disk| disk.datastore.clone()).unwrap_or_default();
                        return Err(WorldError::NoSpace { datastore });
                    }
                    let made = state.take_snapshot(&vm, &name, &description, quiesced)?;
                    Ok(Some((EntityKind::Snapshot, made)))
                })
            }
            ("VirtualMachine", "RemoveAllSnapshots_Task") => {
                Job::new("RemoveAllSnapshots_Task", SNAPSHOT, move |state| {
                    let vm = state.vm_mut(&vm)?;
                    vm.snapshots.clear();
                    vm.current_snapshot = None;
                    Ok(None)
                })
            }
            ("VirtualMachineSnapshot", "RemoveSnapshot_Task") => {
                let children = method.flag("removeChildren").unwrap_or(false);
                let owner = self.world.read(|state| state.snapshot(&id).map(|(vm, _)| vm.id.clone()));
                let owner = owner.ok_or_else(|| object_gone(object))?;
                let snapshot = id.clone();
                let job = Job::new("RemoveSnapshot_Task", SNAPSHOT, move |state| {
                    state.remove_snapshot(&snapshot, children).map(|()| None)
                });
                return self.run(&owner, &user, job);
            }
            ("VirtualMachine", "Destroy_Task") => {
                let checked = id.clone();
                Job::new("Destroy_Task", DESTROY, move |state| state.destroy(&vm).map(|()| None))
                    .check(move |state| state.check_destroy(&checked))
            }
            ("VirtualMachine", "Rename_Task") => {
                let name = method.string("newName").ok_or_else(|| invalid_argument("newName"))?;
                Job::new("Rename_Task", RECONFIGURE, move |state| state.rename(&vm, &name).map(|()| None))
            }
            ("ClusterComputeResource", "ReconfigureComputeResource_Task") => {
                let spec = method.child("spec").ok_or_else(|| invalid_argument("spec"))?;
                let overrides = spec.all("drsVmConfigSpec").filter_map(|one| {
                    let info = one.child("info")?;
                    Some((info.string("key")?, info.flag("enabled").unwrap_or(true)))
                });
                let overrides: Vec<(String, bool)> = overrides.collect();
                // The world's one cluster is nobody's to hold; what is changed is of these VMs.
                let Some((first, _)) = overrides.first().cloned() else { return Err(invalid_argument("spec")) };
                let job = Job::new("ReconfigureComputeResource_Task", RECONFIGURE, move |state| {
                    for (vm, enabled) in &overrides {
                        state.vm_mut(vm)?.without_drs = !enabled;
                    }
                    Ok(None)
                });
                return self.run(&first, &user, job);
            }
            ("VirtualMachine", "MarkAsTemplate" | "MarkAsVirtualMachine" | "UnregisterVM") => {
                return self.at_once(&id, method);
            }
            ("VirtualMachine", "QueryChangedDiskAreas") => return self.changed_areas(&id, method),
            ("Task", "CancelTask") => return self.cancel_task(&id),
            ("FileManager", "MakeDirectory") | ("VirtualMachine", "RefreshStorageInfo") => {
                return Ok(Answer::default());
            }
            (kind, name) => {
                let mut unknown =
                    fault("MethodNotFound", format!("The method {name} is not known to vim.{kind} in this lab."));
                unknown.detail = unknown.detail.set("receiver", object.clone()).set("method", name);
                return Err(unknown);
            }
        };
        self.run(&id, &user, job)
    }

    fn clone_job(self: &Arc<Self>, order: CloneOrder) -> Result<Job, Fault> {
        // A wrong parameter is refused at once; what the world holds against it fails the task.
        if let Err(error @ (WorldError::BadArgument { .. } | WorldError::Gone { .. })) =
            self.world.read(|state| state.check_clone(&order))
        {
            return Err(error.into());
        }
        let reserves = Some((order.folder.clone(), order.name.clone()));
        let (checked, service) = (order.clone(), self.clone());
        let job = Job::new("CloneVM_Task", CLONE, move |state| {
            let id = state.finish_clone(&order)?;
            if order.power_on {
                let boot = state.set_power(&id, true)?;
                service.boot(&id, boot);
            }
            Ok(Some((EntityKind::Vm, id)))
        })
        .check(move |state| state.check_clone(&checked));
        Ok(Job { holds: false, cancelable: true, reserves, ..job })
    }

    fn power_job(self: &Arc<Self>, id: String, on: bool) -> Job {
        let service = self.clone();
        let checked = id.clone();
        let operation = if on { "PowerOnVM_Task" } else { "PowerOffVM_Task" };
        Job::new(operation, POWER, move |state| {
            let boot = state.set_power(&id, on)?;
            if on {
                service.boot(&id, boot);
            }
            Ok(None)
        })
        .check(move |state| state.check_power(&checked, on))
    }

    fn search(self: &Arc<Self>, search: Search, method: &str, user: &str) -> Answer {
        let deep = method == "SearchDatastoreSubFolders_Task";
        let operation = if deep { "SearchDatastoreSubFolders_Task" } else { "SearchDatastore_Task" };
        let task =
            self.world.change(|state| state.open_on(operation, (EntityKind::Datastore, search.datastore()), user));
        let (service, id) = (self.clone(), task.clone());
        self.tasks.spawn(async move {
            if !service.pass(RECONFIGURE).await {
                return;
            }
            service.world.change(|state| {
                let found = search.run(state);
                if let (Ok(found), Some(task)) = (&found, state.tasks.get_mut(&id)) {
                    task.found.clone_from(found);
                }
                state.close_task(&id, found.map(|_| None));
            });
        });
        Val::Ref(mo("Task", &task)).into()
    }

    /// The guest comes up; its tools answer a while later.
    fn boot(self: &Arc<Self>, id: &str, boot: u64) {
        let (service, id) = (self.clone(), id.to_owned());
        self.tasks.spawn(async move {
            if service.pass(BOOT).await {
                service.world.change(|state| state.tools_up(&id, boot));
            }
        });
    }

    /// Lets simulated time pass; false where the endpoint stops first.
    pub(super) async fn pass(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = self.options.clock.sleep(time) => true,
        }
    }

    fn run(self: &Arc<Self>, vm: &str, user: &str, job: Job) -> Result<Answer, Fault> {
        let Job { operation, takes, holds, reserves, cancelable, check, finish } = job;
        let opened = self.world.change(|state| {
            let id = state.open_task(operation, vm, user, holds)?;
            if state.tasks.get(&id).is_some_and(Task::is_over) {
                return Ok((id, false));
            }
            if let Err(error) = check(state) {
                state.close_task(&id, Err(error));
                return Ok((id, false));
            }
            if let Some(task) = state.tasks.get_mut(&id) {
                task.cancelable = cancelable;
                task.reserves = reserves;
            }
            Ok::<_, WorldError>((id, true))
        });
        let (id, goes_on) = opened?;
        if goes_on {
            let (service, task) = (self.clone(), id.clone());
            self.tasks.spawn(async move { service.carry_out(task, takes, finish).await });
        }
        Ok(Val::Ref(mo("Task", &id)).into())
    }

    async fn carry_out(self: Arc<Self>, id: String, takes: Duration, finish: Finish) {
        for step in 0..STEPS {
            let cancelled = self.world.change(|state| {
                let task = state.tasks.get_mut(&id)?;
                if task.cancelled {
                    return None;
                }
                task.state = TaskState::Running;
                task.started.get_or_insert_with(|| jiff::Timestamp::now().to_string());
                task.progress = u8::try_from(step * 100 / STEPS).ok().filter(|_| step > 0);
                Some(())
            });
            if cancelled.is_none() {
                break;
            }
            if !self.pass(takes / STEPS).await {
                return;
            }
        }
        self.world.change(|state| {
            let outcome = match state.tasks.get(&id) {
                Some(task) if task.cancelled => Err(WorldError::Canceled),
                // The name stays reserved until the clone stands.
                Some(_) => {
                    if let Some(task) = state.tasks.get_mut(&id) {
                        task.reserves = None;
                    }
                    finish(state)
                }
                None => return,
            };
            state.close_task(&id, outcome);
        });
    }

    fn shutdown_guest(self: &Arc<Self>, id: &str) -> Result<Answer, Fault> {
        let boot = self.world.read(|state| {
            let vm = state.vm(id)?;
            if !vm.powered_on {
                let name = vm.name.clone();
                return Err(WorldError::WrongPower { vm: name, requested: "poweredOff", existing: "poweredOff" });
            }
            if !vm.tools_running {
                return Err(WorldError::NoTools { vm: vm.name.clone() });
            }
            Ok(vm.boots)
        })?;
        let (service, id) = (self.clone(), id.to_owned());
        self.tasks.spawn(async move {
            if !service.pass(SHUTDOWN).await {
                return;
            }
            service.world.change(|state| {
                if state.vm(&id).is_ok_and(|vm| vm.powered_on && vm.boots == boot) {
                    // Checked in the same step: cannot be refused.
                    let _ = state.set_power(&id, false);
                }
            });
        });
        Ok(Answer::default())
    }

    fn at_once(&self, id: &str, method: &Node) -> Result<Answer, Fault> {
        self.world.change(|state| {
            let pool = method.child("pool").map(|node| reference(node).id);
            if method.name == "UnregisterVM" {
                return state.destroy(id);
            }
            let vm = state.vm_mut(id)?;
            if vm.powered_on {
                let name = vm.name.clone();
                return Err(WorldError::WrongPower { vm: name, requested: "poweredOff", existing: "poweredOn" });
            }
            vm.template = method.name == "MarkAsTemplate";
            vm.pool = if vm.template { None } else { pool };
            Ok(())
        })?;
        Ok(Answer::default())
    }

    fn cancel_task(&self, id: &str) -> Result<Answer, Fault> {
        self.world.change(|state| match state.tasks.get_mut(id) {
            Some(task) if task.cancelable && !task.is_over() => {
                task.cancelled = true;
                Ok(Answer::default())
            }
            Some(_) => Err(fault("InvalidState", "The task cannot be canceled.")),
            None => Err(object_gone(mo("Task", id))),
        })
    }

    /// Everything for `*`, a little for a later change id.
    fn changed_areas(&self, id: &str, method: &Node) -> Result<Answer, Fault> {
        let key: i32 = method.number("deviceKey").ok_or_else(|| invalid_argument("deviceKey"))?;
        let start: i64 = method.number("startOffset").unwrap_or(0);
        let change = method.text("changeId").unwrap_or_default();
        let (capacity, tracked) = self.world.read(|state| {
            let vm = state.vm(id).map_err(Fault::from)?;
            let disk = vm.disks.iter().find(|disk| disk.key == key).ok_or_else(|| invalid_argument("deviceKey"))?;
            Ok::<_, Fault>((disk.capacity, vm.tracks_changes()))
        })?;
        if start >= capacity || start < 0 {
            return Err(invalid_argument("startOffset"));
        }
        if !tracked || (change != "*" && !change.contains('/')) {
            return Err(invalid_argument("changeId"));
        }
        let end = if change == "*" { capacity / 3 } else { CHANGED_BYTES.min(capacity) };
        let areas = if start < end {
            vec![obj("DiskChangeExtent").set("start", start).set("length", end - start).into()]
        } else {
            Vec::new()
        };
        let info = obj("DiskChangeInfo").set("startOffset", start).set("length", capacity - start).list(
            "changedArea",
            "DiskChangeExtent",
            areas,
        );
        Ok(Val::Obj(info).into())
    }
}
