//! Executing a Plan for one Migration: every VM walks its phases, one writer tells the status.

mod status;
mod steps;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use kube::ResourceExt;
use serde_json::Value;

use super::again::{self, Before};
use super::conditions::{durable, now};
use super::pipeline::Path;
use super::plan::{Resolved, content};
use super::pods::{self, Worker, Workers};
use super::{Mtv, flight, guest_conversions, hooks, keys, migrations, offload, populators, provider};
use super::{target, tidy, transfers, warm};
use crate::api::condition::Condition;
use crate::api::forklift::{Migration, Plan, Step, VmStatus};
use crate::api::world::Failure;
use crate::controllers::mtv::platform::PlatformClient;
use crate::defects::Defect;
use crate::defects::conduct::Conduct;
use crate::inventory::model::{InvDisk, InvVm};
use crate::ports::GuestProfile;

/// Simulated time of a short phase.
pub(super) const PHASE: Duration = Duration::from_secs(45);
/// Simulated time of a conversion by virt-v2v.
pub(super) const CONVERSION: Duration = Duration::from_secs(180);
/// Simulated time of copying one disk; disks are copied side by side.
pub(super) const COPY: Duration = Duration::from_secs(420);
/// Simulated time between two looks at a running Plan: MTV's own.
const RECONCILE: Duration = Duration::from_secs(3);

/// Phase and step in which MTV waits for a Windows guest.
const REBOOTS: &str = "WaitForGuestReboots";

/// Why a VM's walk ended early.
pub(super) enum Halt {
    /// Phase and reason.
    Failed(String),
    Canceled,
}

/// What is to be executed.
pub(super) struct Order {
    pub plan: Plan,
    pub migration: Arc<Migration>,
    pub resolved: Resolved,
    /// What the Plan says of itself.
    pub base: Vec<Condition>,
}

/// One execution.
pub(super) struct Run {
    pub mtv: Arc<Mtv>,
    pub plan: Plan,
    pub migration: Arc<Migration>,
    pub resolved: Resolved,
    pub client: Arc<dyn PlatformClient>,
    /// The cluster where VMs are made.
    pub target: kube::Client,
    /// This MTV waits for the reboots of Windows guests.
    windows_reboots: bool,
    /// Populators let a storage array copy the disks (`SupportsVolumePopulators`).
    pub offloads: bool,
    vms: Mutex<Vec<VmStatus>>,
    /// Rings when a VM's status changes.
    touched: tokio::sync::Notify,
}

/// One VM in it.
pub(super) struct Walk<'a> {
    pub run: &'a Run,
    pub index: usize,
    /// Without the disks that another VM brings.
    pub vm: Arc<InvVm>,
    /// Those.
    pub shared: Vec<InvDisk>,
    /// While its disks are copied.
    seat: Mutex<Option<flight::Seat>>,
    /// Rings when a step begins.
    begun: tokio::sync::Notify,
    /// Its disks have been copied by populators.
    offloaded: AtomicBool,
    /// The first of a warm migration's snapshots.
    pub snapshot: OnceLock<String>,
    /// Its disk is encrypted, and none of the keys opens it.
    refused: OnceLock<Failure>,
}

/// Runs to the end and leaves the Plan's and the Migration's status in their final state. Most of a thousand of these wait
/// for MTV's limit: what comes before and after that is boxed, so that it takes its room when its time has come.
pub(super) async fn execute(mtv: Arc<Mtv>, order: Box<Order>) {
    migrations::adopt(&mtv, &order.plan, &order.migration).boxed().await;
    let _alone = if mtv.defects.behaves(Conduct::OnePlanAtATime) { Some(mtv.alone.lock().await) } else { None };
    let started = now();
    let Some((run, vms, base)) = prepared(&mtv, order).boxed().await else { return };
    run.moves(vms, base, &started).await;
}

/// What is needed to move the VMs, these, and what the Plan says of itself; nothing where it is not there yet, or the Plan
/// is not any more.
async fn prepared(mtv: &Arc<Mtv>, order: Box<Order>) -> Option<(Box<Run>, Vec<Arc<InvVm>>, Vec<Condition>)> {
    let Order { plan, migration, resolved, base } = *order;
    let Ok(client) = provider::connect(mtv, &resolved.source).await else {
        // The provider's own conditions will say it; come again.
        mtv.clock.sleep(PHASE).await;
        return None;
    };
    let Ok(target) = mtv.clusters.of(&resolved.destination).await else {
        mtv.clock.sleep(PHASE).await;
        return None;
    };
    let inventory = content(mtv, &resolved.source).await;
    let vms: Vec<Arc<InvVm>> = plan
        .spec
        .vms
        .iter()
        .filter_map(|w| inventory.as_deref()?.find(w.id.as_deref(), w.name.as_deref()).cloned())
        .collect();
    if vms.len() != plan.spec.vms.len() {
        // A VM went away since validation, which will say so in a moment.
        mtv.clock.sleep(PHASE).await;
        return None;
    }
    match target::ensure_namespace(mtv, &target, &plan).await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => {
            // MTV gives it back to its queue and comes again.
            tracing::warn!(plan = plan.name_any(), %error, "the lab's MTV has no target namespace");
            mtv.clock.sleep(PHASE).await;
            return None;
        }
    }
    let offloads =
        offload::is_used(&resolved.storage) && mtv.switch("feature_copy_offload", mtv.version.at_least(11)).await;
    let run = Run {
        offloads,
        mtv: mtv.clone(),
        plan,
        migration,
        resolved,
        client,
        target,
        windows_reboots: mtv.version.at_least(12) && mtv.switch("feature_windows_wait_for_reboot", true).await,
        vms: Mutex::new(Vec::new()),
        touched: tokio::sync::Notify::new(),
    };
    Some((Box::new(run), vms, base))
}

impl Run {
    /// Moves the VMs, each by its own walk, and tells of them to the end.
    async fn moves(&self, vms: Vec<Arc<InvVm>>, base: Vec<Condition>, started: &str) {
        let mtv = &self.mtv;
        let sources = vms.clone();
        let (vms, mut shared): (Vec<_>, Vec<_>) =
            vms.into_iter().enumerate().map(|(index, vm)| self.without_shared(index, vm)).unzip();
        let before = Before::of(&self.plan);
        if self.resumes() {
            let all: Vec<(&str, bool)> = vms
                .iter()
                .enumerate()
                .map(|(i, vm)| (vm.id.as_str(), again::separate(self.resolved.kind, self.path(i, vm))))
                .collect();
            if let Some(failed) = again::refusal(&before, &all) {
                return self.refuse(base, failed, started).boxed().await;
            }
        }
        let statuses = vms.iter().enumerate().map(|(i, vm)| self.first_status(&before, i, vm)).collect();
        if let Ok(mut list) = self.vms.lock() {
            *list = statuses;
        }
        // Ended executions of before are gone from the conditions while this one runs.
        let mut conditions = base;
        conditions.retain(|c| !matches!(c.type_.as_str(), "Failed" | "Canceled" | "Executing" | "ConversionResumable"));
        conditions.push(durable("Executing", "The plan is EXECUTING."));

        let done = tokio_util::sync::CancellationToken::new();
        let walks = async {
            let walks = vms.into_iter().enumerate().filter(|(_, vm)| self.takes_up(&before, &vm.id));
            join_all(walks.map(|(index, vm)| {
                Walk {
                    run: self,
                    index,
                    vm,
                    shared: shared.get_mut(index).map(std::mem::take).unwrap_or_default(),
                    seat: Mutex::default(),
                    begun: tokio::sync::Notify::default(),
                    offloaded: AtomicBool::new(false),
                    snapshot: OnceLock::new(),
                    refused: OnceLock::new(),
                }
                .walk(before.migration)
            }))
            .await;
            done.cancel();
        };
        let mut told = self.untold(started);
        let writer = async {
            loop {
                if !self.is_told(&told) {
                    self.write(&mut told, &conditions, self.statuses(), None).boxed().await;
                }
                let next = async {
                    self.touched.notified().await;
                    mtv.clock.sleep(RECONCILE).await;
                };
                tokio::select! { () = done.cancelled() => break, () = next => {} }
            }
        };
        tokio::join!(walks, writer);
        // It is not executing any more.
        conditions.pop();
        self.finish(told, conditions).boxed().await;
        if self.plan.spec.warm && self.resolved.kind.removes_snapshots_late() {
            // Not this Plan's task: that ends with the Plan, and the snapshots go all the same.
            let late = warm::remove_late(mtv.clone(), self.client.clone(), sources);
            let stop = mtv.stop.clone();
            mtv.afterwards.spawn(async move { stop.run_until_cancelled(late).await });
        } else {
            self.client.logout().await;
        }
    }

    /// Whether disks that several VMs write to come with this one (`shouldMigrateSharedDisks`, vsphere/builder.go).
    fn migrates_shared(&self, index: usize) -> bool {
        let own = self.plan.spec.vms.get(index).and_then(|vm| vm.migrate_shared_disks);
        own.or(self.plan.spec.migrate_shared_disks).unwrap_or(true)
    }

    /// The VM as it is migrated, and the disks that another brings (`RemoveSharedDisks`).
    fn without_shared(&self, index: usize, vm: Arc<InvVm>) -> (Arc<InvVm>, Vec<InvDisk>) {
        let is_shared = |disk: &InvDisk| disk.vsphere().is_some_and(|own| own.shared);
        if self.migrates_shared(index) || !vm.disks.iter().any(is_shared) {
            return (vm, Vec::new());
        }
        let mut own = (*vm).clone();
        let shared;
        (shared, own.disks) = std::mem::take(&mut own.disks).into_iter().partition(is_shared);
        (Arc::new(own), shared)
    }

    pub fn path(&self, index: usize, vm: &InvVm) -> Path {
        let has = |step: &str| self.plan.spec.vms.get(index).is_some_and(|vm| vm.hooks.iter().any(|h| h.step == step));
        let (warm, raw) = (self.plan.spec.warm, self.is_raw());
        Path {
            warm,
            raw,
            live: self.is_live(),
            v2v_transfer: !raw
                && !offload::is_used(&self.resolved.storage)
                // It would copy them, too (`ShouldUseV2vForTransfer`).
                && self.migrates_shared(index)
                && self.resolved.kind.v2v_transfer(warm, self.resolved.destination.spec.url.is_empty()),
            pre_hook: has("PreHook"),
            post_hook: has("PostHook"),
            preflight: self.plan.spec.run_preflight_inspection.unwrap_or(true),
            resume: self.resumes(),
            // It starts every Windows guest, and waits for those that it converted.
            reboots: self.converts() && self.reboots(index, vm),
        }
    }

    /// Whether the disks are copied as they are (`RequiresConversion`, `pkg/controller/plan/migrator/base/migrator.go`).
    pub fn is_raw(&self) -> bool {
        self.plan.spec.skip_guest_conversion == Some(true)
            && self.mtv.version.at_least(9)
            && self.resolved.kind.converts()
    }

    /// Whether the VMs go on running.
    pub fn is_live(&self) -> bool {
        self.plan.spec.type_.as_deref() == Some("live")
    }

    pub fn converts(&self) -> bool {
        self.resolved.kind.converts() && !self.is_raw()
    }

    /// Whether MTV starts the VM, so that Windows goes through the reboots that finish a conversion.
    pub fn reboots(&self, index: usize, vm: &InvVm) -> bool {
        let spec = &self.plan.spec;
        let own = spec.vms.get(index).and_then(|vm| vm.target_power_state.as_deref());
        let off = own.or(spec.target_power_state.as_deref()) == Some("off");
        self.windows_reboots && !off && vm.is_windows()
    }

    /// Whether the source VM ran when its power was stored (`restorePowerState`): asked of the platform then, because
    /// the inventory may be older than the last time that somebody switched it.
    pub fn ran(&self, index: usize) -> bool {
        let vms = self.vms.lock();
        vms.is_ok_and(|vms| vms.get(index).is_some_and(|vm| vm.restore_power_state.as_deref() == Some("On")))
    }

    /// Whether only a conversion is done anew.
    pub fn resumes(&self) -> bool {
        again::resumes(&self.migration, self.mtv.version)
    }

    /// Whether the VM is migrated in this run: one that has arrived before is not, and of a conversion that is resumed
    /// only those whose disks are there.
    fn takes_up(&self, before: &Before<'_>, id: &str) -> bool {
        let arrived = before.arrived(id).is_some() && !self.mtv.defects.behaves(Conduct::RunsArrivedAgain);
        !arrived && (!self.resumes() || before.resumable(id).is_some())
    }

    /// The Migration as it stands; `None` when it was deleted.
    pub fn current(&self) -> Option<Arc<Migration>> {
        self.mtv.migrations.get(&self.migration)
    }

    fn is_cancelled(&self, vm: &InvVm) -> bool {
        if self.mtv.defects.behaves(Conduct::IgnoresCancel) {
            return false;
        }
        self.current().is_none_or(|m| {
            m.spec.cancel.iter().any(|r| r.id.as_deref() == Some(&vm.id) || r.name.as_deref() == Some(&vm.name))
        })
    }
}

impl Walk<'_> {
    /// Waits until MTV's limit lets the VM begin.
    async fn board(&self) {
        let run = self.run;
        let kind = run.resolved.kind;
        let host = kind.host_of(&self.vm);
        // virt-v2v copies one disk after the other; importers all of a VM's at once, which hosts feel.
        let by_disk = host.is_some() && !run.offloads && !run.path(self.index, &self.vm).v2v_transfer;
        let cost = if by_disk { self.vm.disks.len().max(1) } else { 1 };
        let key = (run.resolved.source.uid().unwrap_or_default(), host.unwrap_or_default().to_owned());
        let seat = flight::take(&run.mtv, key, cost).await;
        if let Ok(mut own) = self.seat.lock() {
            *own = Some(seat);
        }
    }

    /// Its disks are copied, or it pauses: others may begin.
    pub fn leave_flight(&self) {
        let seat = self.seat.lock().ok().and_then(|mut own| own.take());
        drop(seat);
    }

    /// `before`: the Migration that made what a run before has left.
    async fn walk(self, before: Option<&str>) {
        // One that is canceled while it waits learns of it when its turn comes, as with MTV.
        self.board().await;
        self.travel(before).boxed().await;
    }

    async fn travel(&self, before: Option<&str>) {
        self.run.update(self.index, |vm| vm.started = Some(now()));
        let cancelled = async {
            let plan = &self.run.plan;
            let bell = self.run.mtv.migrations.bell(&plan.namespace().unwrap_or_default(), &plan.name_any());
            loop {
                let rung = bell.notified();
                if self.run.is_cancelled(&self.vm) {
                    return;
                }
                rung.await;
            }
        };
        if before.is_some() {
            self.put_away(guest_conversions::Kind::All).await;
        }
        match before {
            Some(before) if self.run.resumes() && !self.behaves(Conduct::CopiesAnewOnResume) => {
                target::remove_pods(self, before).await
            }
            Some(before) => target::remove(self, before).await,
            None => {}
        }
        let result = tokio::select! {
            result = self.phases() => result,
            halt = self.trouble() => Err(halt),
            () = cancelled => Err(Halt::Canceled),
        };
        // What was made on the source to copy from is not needed any more, however the walk ended; but MTV does not come
        // to `Finalize` where its Migration is gone.
        if self.run.current().is_some()
            && let Err(error) = self.run.client.finish_copy(&self.vm).await
        {
            tracing::warn!(vm = self.vm.name, error, "the lab's MTV left something on the source");
        }
        let ended = match result {
            Ok(()) => {
                // Up to 2.11 all of it is there until the Plan is archived (`cleanup`, pkg/controller/plan/migration.go).
                if self.run.mtv.version.at_least(12) {
                    self.put_away(guest_conversions::Kind::Inspections).await;
                }
                durable("Succeeded", "The VM migration has SUCCEEDED.")
            }
            Err(Halt::Failed(reason)) => {
                self.fail(&reason);
                pods::fail(self, &reason).await;
                guest_conversions::fail(self).await;
                warm::remove_snapshots(self).await;
                durable("Failed", "The VM migration has FAILED.")
            }
            Err(Halt::Canceled) => {
                self.clean_up().await;
                let mut canceled = durable("Canceled", "The migration has been canceled.");
                let why = if self.run.current().is_some() { "UserRequested" } else { "Modified" };
                canceled.reason = Some(why.to_owned());
                canceled
            }
        };
        self.run.update(self.index, |vm| {
            vm.phase = "Completed".to_owned();
            vm.completed = Some(now());
            vm.conditions.push(ended);
        });
    }

    /// What the world says of this VM: its migration fails in mid-step. Pending where nothing is said.
    async fn trouble(&self) -> Halt {
        loop {
            // Asked for before looking, so that a step that begins meanwhile is not missed.
            let begun = self.begun.notified();
            let fails = match self.failure() {
                Some(fails) => Some(fails),
                None => keys::refused(self).await.map(|refused| self.refused.get_or_init(|| refused).clone()),
            };
            if let Some(fails) = fails {
                let runs = |step: &Step| step.phase == "Running" && fails.is_in(&step.name);
                if self.has_step(runs) {
                    self.pause(PHASE / 2).await;
                    return Halt::Failed(fails.error);
                }
            }
            begun.await;
        }
    }

    /// How the VM's migration fails, if it does: as the world or a lever says now.
    pub(super) fn failure(&self) -> Option<Failure> {
        let guests = &self.run.mtv.guests;
        let known = self.vm.nics.iter().find_map(|nic| guests.failure_by_mac(&nic.mac));
        known.or_else(|| guests.by_name(&self.vm.name).map(|guest| guest.fails)).flatten()
    }

    pub fn guest(&self) -> Option<GuestProfile> {
        let guests = &self.run.mtv.guests;
        self.vm.nics.iter().find_map(|nic| guests.by_mac(&nic.mac)).or_else(|| guests.by_name(&self.vm.name))
    }

    async fn phases(&self) -> Result<(), Halt> {
        self.begin("Initialize");
        self.rest(PHASE).await;
        self.hook("PreHook").await?;
        if self.run.is_live() {
            self.live().await?;
            return self.hook("PostHook").await;
        }
        if self.run.resumes() {
            self.end("Initialize");
            if self.behaves(Conduct::CopiesAnewOnResume) {
                target::create_volumes(self).await.map_err(Halt::Failed)?;
            }
            self.convert().await?;
        } else if self.run.plan.spec.warm {
            warm::copy(self).await?;
        } else {
            self.cold_copy().await?;
        }
        self.phase("CreateVM");
        let kind = self.run.resolved.kind;
        self.begin(kind.create_step());
        self.rest(PHASE).await;
        target::create_vm(self).await.map_err(Halt::Failed)?;
        self.end(kind.create_step());
        if self.has(REBOOTS) {
            self.phase(REBOOTS);
            self.begin(REBOOTS);
            self.rest(CONVERSION).await;
            self.end(REBOOTS);
        }
        self.pass(kind.after_create()).await;
        self.hook("PostHook").await?;
        if self.has("WaitForFinalSnapshotConsolidation") {
            self.phase("WaitForFinalSnapshotRemoval");
            self.begin("WaitForFinalSnapshotConsolidation");
            self.rest(PHASE).await;
            self.end("WaitForFinalSnapshotConsolidation");
        }
        Ok(())
    }

    /// The other cluster gets the VM and its empty disks; KubeVirt there and here bring what it holds over while it runs
    /// (`live.go`). Both migrations of KubeVirt's are there while it lasts; in the lab they carry nothing.
    async fn live(&self) -> Result<(), Halt> {
        self.end("Initialize");
        self.phase("EnsureDataVolumes");
        self.begin("PrepareTarget");
        target::create_volumes(self).await.map_err(Halt::Failed)?;
        self.rest(PHASE).await;
        self.phase("CreateTarget");
        target::create_vm(self).await.map_err(Halt::Failed)?;
        target::start(self).await.map_err(Halt::Failed)?;
        self.end("PrepareTarget");
        self.phase("WaitForTargetVMI");
        self.begin("Synchronization");
        self.rest(PHASE).await;
        self.phase("CreateVirtualMachineInstanceMigrations");
        self.rest(PHASE).await;
        self.phase("WaitForStateTransfer");
        self.rest(COPY).await;
        // What arrived runs there; KubeVirt halts the source.
        self.power(false).await?;
        self.end("Synchronization");
        Ok(())
    }

    async fn cold_copy(&self) -> Result<(), Halt> {
        self.power_off_source().await?;
        self.pass(self.run.resolved.kind.before_copy()).await;
        self.phase("CreateDataVolumes");
        self.prepare_copy().await?;
        tidy::begin(self, self.keeps_snapshots()).await;
        target::create_volumes(self).await.map_err(Halt::Failed)?;
        self.rest(PHASE).await;
        self.end("Initialize");
        if self.run.path(self.index, &self.vm).v2v_transfer {
            self.phase("AllocateDisks");
            self.begin("DiskAllocation");
            self.rest(PHASE).await;
            self.end("DiskAllocation");
            self.phase("ConvertGuest");
            self.begin("ImageConversion");
            target::all_claimed(self).await.map_err(Halt::Failed)?;
            let mut v2v = Some(Workers::start(self, Worker::VirtV2v).await);
            self.work("ImageConversion", CONVERSION, &mut v2v).await?;
            self.phase("CopyDisksVirtV2V");
            self.transfer("DiskTransferV2v", COPY, &mut v2v).await?;
            self.done(v2v).await;
            self.leave_flight();
        } else {
            self.phase("CopyDisks");
            self.copy("DiskTransfer", COPY).await?;
            self.leave_flight();
            if let Some(phase) = self.run.resolved.kind.last_copy_phase() {
                self.phase(phase);
                self.rest(PHASE).await;
            }
            if self.run.converts() {
                self.convert().await?;
            }
        }
        Ok(())
    }

    /// Copies the disks by pods where the platform has such.
    pub async fn copy(&self, step: &str, time: Duration) -> Result<(), Halt> {
        // A warm migration's deltas come by importers.
        if self.run.offloads && step == "DiskTransfer" && !self.offloaded.swap(true, Ordering::Relaxed) {
            return offload::copy(self, step).await;
        }
        let kind = self.run.resolved.kind;
        let worker = if kind.populates(self.run.plan.spec.warm) { Worker::Populator } else { Worker::Importer };
        let mut workers = if kind.copies_by_pods() { Some(Workers::start(self, worker).await) } else { None };
        self.transfer(step, time, &mut workers).await?;
        self.done(workers).await;
        Ok(())
    }

    async fn done(&self, workers: Option<Workers>) {
        if let Some(workers) = workers {
            workers.end(self).await;
        }
    }

    /// CDI has no room for the claims yet: MTV is in the phase that waits for them.
    pub fn waits_for_claims(&self) {
        let v2v = self.run.path(self.index, &self.vm).v2v_transfer;
        self.phase(if v2v { "AllocateDisks" } else { "CopyDisks" });
    }

    /// Whether MTV (2.13 and later) can convert again from the disks that were copied.
    pub fn resumable(&self) -> bool {
        let separate = again::separate(self.run.resolved.kind, self.run.path(self.index, &self.vm));
        self.run.mtv.version.at_least(13) && separate
    }

    /// Conversion in place, after another copied the disks.
    pub async fn convert(&self) -> Result<(), Halt> {
        if self.resumable() {
            self.run.update(self.index, |vm| vm.disks_copied = Some(true));
        }
        self.phase("ConvertGuest");
        self.begin("ImageConversion");
        target::all_claimed(self).await.map_err(Halt::Failed)?;
        let mut v2v = Some(Workers::start(self, Worker::VirtV2v).await);
        self.work("ImageConversion", CONVERSION, &mut v2v).await?;
        if self.has("DiskTransferV2v") {
            self.transfer("DiskTransferV2v", PHASE, &mut v2v).await?;
        }
        self.done(v2v).await;
        Ok(())
    }

    pub async fn power_off_source(&self) -> Result<(), Halt> {
        self.phase("StorePowerState");
        let on = self.power_state().await?;
        self.run.update(self.index, |vm| vm.restore_power_state = Some(if on { "On" } else { "Off" }.to_owned()));
        self.phase("PowerOffSource");
        if on {
            self.power(false).await?;
        }
        self.phase("WaitForPowerOff");
        self.rest(PHASE).await;
        Ok(())
    }

    async fn hook(&self, step: &str) -> Result<(), Halt> {
        let hooks = self.run.plan.spec.vms.get(self.index).map(|vm| vm.hooks.clone()).unwrap_or_default();
        let Some(hook) = hooks.iter().find(|h| h.step == step) else { return Ok(()) };
        self.phase(step);
        self.begin(step);
        let (plan, migration) = (&self.run.plan, &self.run.migration);
        hooks::execute(&self.run.mtv, plan, migration, &self.vm, step, &hook.hook).await.map_err(Halt::Failed)?;
        self.end(step);
        Ok(())
    }

    pub fn behaves(&self, conduct: Conduct) -> bool {
        self.run.mtv.defects.behaves(conduct)
    }

    fn keeps_snapshots(&self) -> bool {
        self.run.mtv.defects.has(Defect::LeftoverSnapshot)
    }

    /// What is there to be looked at while the VM is migrated, and no longer. Of one that failed it stays: MTV comes to it
    /// when the VM begins anew, is canceled, or its Plan is archived.
    async fn put_away(&self, conversions: guest_conversions::Kind) {
        guest_conversions::clean_up(self, conversions).await;
        transfers::clean_up(self).await;
        populators::clean_up(self).await;
        offload::clean_up(self).await;
        populators::remove_pods(self).await;
        hooks::clean_up(self).await;
    }

    /// MTV's cleanup of a cancelled VM: what was made goes, the source comes back.
    async fn clean_up(&self) {
        if self.behaves(Conduct::KeepsAfterCancel) {
            return;
        }
        // Before its claims, by which the pods of populators are found.
        self.put_away(guest_conversions::Kind::All).await;
        target::remove(self, &self.run.migration.uid().unwrap_or_default()).await;
        warm::remove_snapshots(self).await;
        if self.run.ran(self.index) {
            let _ = self.run.client.power(&self.vm.id, true).await;
        }
    }

    /// The precopy interval in force, simulated minutes; MTV's default where it is not a number.
    pub async fn precopy_interval(&self) -> Duration {
        let minutes = self.run.mtv.setting("controller_precopy_interval").await;
        let minutes = minutes.as_ref().and_then(Value::as_u64).unwrap_or(60);
        Duration::from_secs(minutes * 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of what such a function returns.
    fn room<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_vm_that_waits_for_its_turn_has_no_room_for_its_whole_way() {
        let waits = room::<Walk<'static>, Option<&'static str>, _>(Walk::walk);
        let travels = room::<&'static Walk<'static>, Option<&'static str>, _>(Walk::travel);
        println!("waits: {waits}, travels: {travels}");
        assert!(waits < 2048 && travels > 4 * waits, "{waits} and {travels} bytes");
    }
}
