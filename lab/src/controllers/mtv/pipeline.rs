//! Which steps a VM's pipeline has, by path and release (Forklift's itineraries).

use std::collections::BTreeMap;

use super::MtvVersion;
use super::sources::Source;
use crate::api::forklift::{Progress, Step};

/// What decides a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    pub warm: bool,
    /// virt-v2v copies the disks itself: cold, to the cluster that MTV runs on.
    pub v2v_transfer: bool,
    pub pre_hook: bool,
    pub post_hook: bool,
    pub preflight: bool,
    /// MTV waits until a Windows guest has come through its reboots.
    pub reboots: bool,
    /// The disks are there already, and are only converted.
    pub resume: bool,
    /// The disks are copied as they are.
    pub raw: bool,
    /// The VM goes on running (`pkg/controller/plan/migrator/ocp/live.go`).
    pub live: bool,
}

const CONVERSION: &str = "ImageConversion";

/// The steps of a conversion that is resumed (`resumeConversionItinerary`, `pkg/controller/plan/migrator/base`).
const RESUMED: &[&str] = &[CONVERSION, "VirtualMachineCreation"];

/// The steps in order, all `Pending`: the platform's own between the hooks that every path may have.
pub(super) fn steps(source: &dyn Source, path: Path, version: MtvVersion, disks: &[(String, i64)]) -> Vec<Step> {
    let mut names = vec!["Initialize"];
    if path.pre_hook {
        names.push("PreHook");
    }
    let own = if path.resume { RESUMED.to_vec() } else { source.steps(path, version) };
    for step in own.into_iter().filter(|step| !(path.raw && matches!(*step, CONVERSION | "DiskTransferV2v"))) {
        names.push(step);
        if step == "VirtualMachineCreation" && path.reboots {
            names.push("WaitForGuestReboots");
        }
    }
    if path.post_hook {
        names.push("PostHook");
    }
    if !path.resume {
        names.extend(source.last_steps(path, version));
    }
    names.into_iter().map(|name| step(name, disks)).collect()
}

/// The step that a phase belongs to where they are not called alike (`Step`, `pkg/controller/plan/migrator/base`).
pub(super) fn of_phase(phase: &str, warm: bool) -> Option<&'static str> {
    Some(match phase {
        "Started" | "CreateInitialSnapshot" | "WaitForInitialSnapshot" | "StoreInitialSnapshotDeltas" => "Initialize",
        "CreateDataVolumes" if warm => "DiskTransfer",
        "CreateDataVolumes" => "Initialize",
        "AllocateDisks" => "DiskAllocation",
        "CopyDisks" | "CopyingPaused" | "RemovePreviousSnapshot" | "CreateSnapshot" | "AddCheckpoint" => "DiskTransfer",
        "RemovePenultimateSnapshot"
        | "CreateFinalSnapshot"
        | "AddFinalCheckpoint"
        | "Finalize"
        | "RemoveFinalSnapshot" => "Cutover",
        "StorePowerState" | "PowerOffSource" | "WaitForPowerOff" if warm => "Cutover",
        "StorePowerState" | "PowerOffSource" | "WaitForPowerOff" => "Initialize",
        "ConvertGuest" => "ImageConversion",
        "CopyDisksVirtV2V" => "DiskTransferV2v",
        "CreateVM" => "VirtualMachineCreation",
        _ => return None,
    })
}

fn description(name: &str) -> &'static str {
    match name {
        "Initialize" => "Initialize migration.",
        "PreHook" => "Run pre-migration hook.",
        "DiskAllocation" => "Allocate disks.",
        "DiskTransfer" => "Transfer disks.",
        "DiskTransferV2v" => "Copy disks.",
        "ImageConversion" => "Convert image to kubevirt.",
        "ConvertOpenstackSnapshot" => "Convert OpenStack snapshot.",
        "PreflightInspection" => "Inspect VM before migration.",
        "Cutover" => "Finalize disk transfer.",
        "VirtualMachineCreation" => "Create VM.",
        "WaitForGuestReboots" => "Wait for Windows guest reboot after conversion.",
        "PostHook" => "Run post-migration hook.",
        "PrepareSource" => "Stop source EC2 instance.",
        "CreateSnapshots" => "Create EBS volume snapshots.",
        "CreateVM" => "Create VirtualMachine on target.",
        "Cleanup" => "Clean up EBS snapshots.",
        "PrepareTarget" => "Prepare target namespace.",
        "Synchronization" => "Synchronize source and target VMs.",
        "WaitForFinalSnapshotConsolidation" => "Waiting for final snapshot removal and consolidation",
        _ => "Unknown",
    }
}

/// Disk steps count megabytes with a task a disk; the others count to one.
fn step(name: &str, disks: &[(String, i64)]) -> Step {
    let by_disk =
        matches!(name, "DiskAllocation" | "DiskTransfer" | "DiskTransferV2v" | "Cutover" | "ConvertOpenstackSnapshot");
    let unit = || BTreeMap::from([("unit".to_owned(), "MB".to_owned())]);
    let total = if by_disk { disks.iter().map(|(_, mb)| mb).sum() } else { 1 };
    let tasks = disks.iter().filter(|_| by_disk).map(|(file, mb)| Step {
        // A task has no phase before it runs.
        name: file.clone(),
        progress: Progress { completed: 0, total: *mb },
        annotations: unit(),
        ..Step::default()
    });
    Step {
        name: name.to_owned(),
        description: description(name).to_owned(),
        // MTV gives Cutover no initial phase.
        phase: if name == "Cutover" { String::new() } else { "Pending".to_owned() },
        progress: Progress { completed: 0, total },
        annotations: if by_disk { unit() } else { BTreeMap::new() },
        tasks: tasks.collect(),
        ..Step::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: Path, version: &str) -> String {
        let version = MtvVersion::parse(version).unwrap();
        steps(super::super::sources::of("vsphere").unwrap(), path, version, &[])
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn pipelines_follow_path_and_release() {
        let cold = Path {
            warm: false,
            v2v_transfer: true,
            pre_hook: true,
            post_hook: true,
            preflight: true,
            reboots: false,
            resume: false,
            raw: false,
            live: false,
        };
        assert_eq!(
            names(cold, "2.11"),
            "Initialize PreHook DiskAllocation ImageConversion DiskTransferV2v VirtualMachineCreation PostHook"
        );
        let remote = Path { v2v_transfer: false, pre_hook: false, post_hook: false, ..cold };
        assert_eq!(
            names(remote, "2.11"),
            "Initialize DiskTransfer ImageConversion DiskTransferV2v VirtualMachineCreation"
        );
        assert_eq!(names(remote, "2.12"), "Initialize DiskTransfer ImageConversion VirtualMachineCreation");
        assert_eq!(
            names(Path { reboots: true, ..remote }, "2.12"),
            "Initialize DiskTransfer ImageConversion VirtualMachineCreation WaitForGuestReboots"
        );
        let raw = Path { raw: true, ..remote };
        assert_eq!(names(raw, "2.12"), "Initialize DiskTransfer VirtualMachineCreation");
        let warm = Path { warm: true, ..remote };
        assert_eq!(names(warm, "2.9"), "Initialize DiskTransfer Cutover ImageConversion VirtualMachineCreation");
        assert_eq!(
            names(warm, "2.12"),
            "Initialize PreflightInspection DiskTransfer Cutover ImageConversion VirtualMachineCreation WaitForFinalSnapshotConsolidation"
        );
    }
}
