//! Warm migration: snapshots and precopies until the cutover, then the final delta.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::conditions::now;
use super::execute::{COPY, Halt, PHASE, Walk};
use super::platform::PlatformClient;
use super::{Mtv, data_volumes, guest_conversions, target};
use crate::api::forklift::Precopy;
use crate::defects::Defect;
use crate::defects::conduct::Conduct;
use crate::inventory::model::InvVm;

/// What MTV calls its snapshots on vSphere.
const SNAPSHOT: &str = "forklift-migration-precopy";
/// Simulated time of copying a delta.
const DELTA: Duration = Duration::from_secs(90);

pub(super) async fn copy(walk: &Walk<'_>) -> Result<(), Halt> {
    walk.phase("CreateInitialSnapshot");
    let mut snapshot = walk.create_snapshot(SNAPSHOT).await?;
    walk.snapshot.get_or_init(|| snapshot.clone());
    walk.phase("StoreInitialSnapshotDeltas");
    walk.rest(PHASE).await;
    walk.end("Initialize");
    if walk.has("PreflightInspection") {
        walk.phase("PreflightInspection");
        walk.begin("PreflightInspection");
        if !walk.run.mtv.version.at_least(12) {
            // MTV's own pod inspects there, and the step counts how often it looked for the disks' parents.
            walk.annotate("PreflightInspection", "parentBackingRetries", "1");
        }
        let inspection = guest_conversions::inspect(walk, &snapshot).await;
        walk.rest(PHASE).await;
        if let Some(inspection) = inspection {
            inspection.end(walk, &snapshot).await;
        }
        walk.end("PreflightInspection");
    }
    walk.phase("CreateDataVolumes");
    target::create_volumes(walk).await.map_err(Halt::Failed)?;
    let interval = walk.precopy_interval().await;
    let late = walk.run.resolved.kind.removes_snapshots_late();
    let mut first = true;
    loop {
        open_round(walk, &snapshot);
        walk.phase("CopyDisks");
        walk.copy("DiskTransfer", if std::mem::take(&mut first) { COPY } else { DELTA }).await?;
        close_round(walk, interval);
        walk.phase("CopyingPaused");
        walk.leave_flight();
        if pause(walk, interval).await {
            break;
        }
        walk.phase("CreateSnapshot");
        let next = walk.create_snapshot(SNAPSHOT).await?;
        let copied = data_volumes::ends_at(walk, &snapshot).await;
        if !late {
            walk.phase("RemovePreviousSnapshot");
            walk.remove_snapshot(&snapshot).await?;
        }
        snapshot = next;
        walk.phase("AddCheckpoint");
        data_volumes::next(walk, &copied, &snapshot, false).await;
    }
    cut_over(walk, &snapshot).await
}

async fn cut_over(walk: &Walk<'_>, snapshot: &str) -> Result<(), Halt> {
    walk.begin("Cutover");
    walk.power_off_source().await?;
    walk.phase("CreateFinalSnapshot");
    let last = walk.create_snapshot(SNAPSHOT).await?;
    let copied = data_volumes::ends_at(walk, snapshot).await;
    let late = walk.run.resolved.kind.removes_snapshots_late();
    if !late {
        walk.phase("RemovePenultimateSnapshot");
        walk.remove_snapshot(snapshot).await?;
    }
    walk.phase("AddFinalCheckpoint");
    data_volumes::next(walk, &copied, &last, true).await;
    walk.phase("Finalize");
    open_final(walk, &last);
    walk.copy("Cutover", DELTA).await?;
    if !late && !walk.run.mtv.defects.has(Defect::LeftoverSnapshot) {
        walk.phase("RemoveFinalSnapshot");
        walk.remove_snapshot(&last).await?;
    }
    if walk.run.converts() {
        walk.convert().await?;
    }
    Ok(())
}

/// Waits for the next round; true when it is time to cut over.
async fn pause(walk: &Walk<'_>, interval: Duration) -> bool {
    let plan = &walk.run.plan;
    let bell = walk.run.mtv.migrations.bell(&plan.namespace().unwrap_or_default(), &plan.name_any());
    let end = tokio::time::Instant::now() + walk.run.mtv.clock.real(interval);
    loop {
        let rung = bell.notified();
        let deaf = walk.behaves(Conduct::IgnoresCutover);
        let cutover = walk.run.current().filter(|_| !deaf).and_then(|m| m.spec.cutover.clone());
        let cutover: Option<jiff::Timestamp> = cutover.and_then(|text| text.parse().ok());
        let now = jiff::Timestamp::now();
        if cutover.is_some_and(|at| at <= now) {
            return true;
        }
        // A cutover in the future is due at its own time, not at the end of the interval.
        let due = cutover.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        let due = tokio::time::Instant::now() + due.unwrap_or(Duration::from_secs(86_400));
        tokio::select! {
            () = rung => {}
            () = tokio::time::sleep_until(due) => {}
            () = tokio::time::sleep_until(end) => return false,
        }
    }
}

fn open_round(walk: &Walk<'_>, snapshot: &str) {
    walk.run.update(walk.index, |vm| {
        if let Some(warm) = &mut vm.warm {
            warm.precopies.push(Precopy { start: Some(now()), end: None, snapshot: Some(snapshot.to_owned()) });
        }
        if let Some(step) = vm.pipeline.iter_mut().find(|s| s.name == "DiskTransfer") {
            step.completed = None;
            step.progress.completed = 0;
            for task in &mut step.tasks {
                (task.progress.completed, task.completed, task.reason) = (0, None, None);
            }
        }
    });
}

/// The final delta is a precopy like the others, but its disks are the cutover's, and its end is told nowhere.
fn open_final(walk: &Walk<'_>, snapshot: &str) {
    walk.run.update(walk.index, |vm| {
        let Some(warm) = &mut vm.warm else { return };
        warm.precopies.push(Precopy { start: Some(now()), end: None, snapshot: Some(snapshot.to_owned()) });
        let count = warm.precopies.len().to_string();
        for task in vm.pipeline.iter_mut().filter(|s| s.name == "Cutover").flat_map(|step| &mut step.tasks) {
            task.annotations.insert("Precopy".to_owned(), count.clone());
        }
    });
}

fn close_round(walk: &Walk<'_>, interval: Duration) {
    let next =
        jiff::Timestamp::now() + jiff::SignedDuration::try_from(walk.run.mtv.clock.real(interval)).unwrap_or_default();
    walk.run.update(walk.index, |vm| {
        if let Some(warm) = &mut vm.warm {
            warm.successes += 1;
            warm.next_precopy_at = Some(next.to_string());
            if let Some(last) = warm.precopies.last_mut() {
                last.end = Some(now());
            }
        }
    });
}

/// Simulated time from the end of a migration to the first removal, and between two.
const LATE: Duration = Duration::from_secs(10);

/// Takes the snapshots off the source VMs after their migration has ended, however it ended, one after
/// the other (`Finalize` and `removePrecopies`, `pkg/controller/plan/adapter/ovirt/client.go`).
pub(super) async fn remove_late(mtv: Arc<Mtv>, client: Arc<dyn PlatformClient>, before: Vec<Arc<InvVm>>) {
    let inventory = client.collect().await.unwrap_or_default();
    for old in &before {
        let Some(vm) = inventory.vms.iter().find(|vm| vm.id == old.id) else { continue };
        let mut made: Vec<&String> = vm.snapshot_ids.iter().filter(|s| !old.snapshot_ids.contains(s)).collect();
        if mtv.defects.has(Defect::LeftoverSnapshot) {
            made.pop();
        }
        for snapshot in made {
            mtv.clock.sleep(LATE).await;
            let _ = client.remove_snapshot(&vm.id, snapshot).await;
        }
    }
    client.logout().await;
}

/// Removes what a cancelled or failed warm migration left on the source.
pub(super) async fn remove_snapshots(walk: &Walk<'_>) {
    if !walk.run.plan.spec.warm || walk.run.resolved.kind.removes_snapshots_late() {
        return;
    }
    let Ok(inventory) = walk.run.client.collect().await else { return };
    let Some(vm) = inventory.vms.iter().find(|vm| vm.id == walk.vm.id) else { return };
    for snapshot in vm.snapshot_ids.iter().filter(|s| !walk.vm.snapshot_ids.contains(s)) {
        let _ = walk.run.client.remove_snapshot(&vm.id, snapshot).await;
    }
}
