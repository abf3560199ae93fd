//! Steps: the typed actions that a scenario's story is made of.
//!
//! Parsed once, here, from `steps:`; every later room gets types. What a step does on a cluster is `migration`'s
//! matter: this room knows how it is written, what it is called, and how long it may take by default.

mod arguments;
mod limit;
pub(crate) mod order;
mod read;
pub mod story;
mod words;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::settings::Timeouts;
use crate::event::Stage;

pub use arguments::*;

pub(crate) use read::{extend, normalise, schema, unknown};

/// One action of a story. Written as its name, as `name: value` for its main argument, or as `name: {argument: …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes the Plan. Told by itself before the first step that needs one.
    Create(Plain),
    /// Waits until the Plan is `Ready`, or has the condition that is expected instead. Nothing is migrated. Told by itself
    /// after `create`.
    Validate(Validate),
    /// Starts the migration and waits for its end, which must be as `expected_migration_result` says; a warm one is cut
    /// over as `cutover` of the scenario and the settings say.
    Migrate(Plain),
    /// Starts the migration and does not wait. A warm one is not cut over.
    Start(Start),
    /// Waits for something in the running migration.
    Wait(Wait),
    /// Cuts a running warm migration over.
    Cutover(Cutover),
    /// Cancels VMs of the running migration and waits until MTV says so.
    Cancel(Cancel),
    /// Judges how the migration of the Plan, or of one VM, ends or ended, a condition, or the source VMs.
    Expect(Expect),
    /// Starts the migration of a Plan that failed or was canceled once more, and waits for its end.
    Retry(Plain),
    /// Converts again what a failed migration has copied (`resumeConversion`, MTV 2.13 and later), and waits for its end.
    Resume(Plain),
    /// Archives the Plan and waits until MTV has done so.
    Archive(Plain),
    /// Deletes the Plan or its Migration, and waits until it is gone.
    Delete(Delete),
    /// Switches source VMs on or off: whether they can still be used.
    Power(Power),
    /// Makes a snapshot of source VMs.
    Snapshot(Snapshot),
    /// Adds an empty disk to source VMs, also while they are migrated.
    AddDisk(NewDisk),
    /// Changes an object of MTV's; it is given back as it was.
    Patch(Patch),
    /// Kills pods that work for the Plan's VMs, as soon as there are such, or the pod of MTV's controller.
    Kill(Kill),
    /// Makes something go wrong from now on, for a time or until it is said to be over; at the latest until the cell ends.
    Fault(Fault),
    /// Waits until nothing with the Plan's label is left in the target namespace; without `kinds` but for the Job that
    /// validates its VDDK image, which MTV keeps until the Plan is archived.
    Absent(Absent),
    /// Reads every migrated VM and judges it.
    Verify(Plain),
    /// Starts each migrated VM that is off, waits for its guest, judges that, shuts it down gently and leaves it off.
    Boot(Plain),
    /// Writes a file with a checksum into the guests of the source VMs, where the platform can; one that is off is started
    /// for it and shut down again.
    WriteMarker(OfVms),
    /// Reads the file back in the migrated guests, over SSH. Where the platform can't write one `command` stands for it;
    /// without that it is not judged.
    ReadMarker(ReadMarker),
    /// Calls the file system on the disk that VMs share by a name of this run's, in the guest of the source VM that owns it
    /// (Windows; the one NTFS beside the system's own disk). `share-data` finds it by that. A VM that is off is started for it
    /// and shut down again. Guests of other kinds are left alone.
    LabelDisk(Plain),
    /// Has the migrated VMs read, through the disk that they share, what the others wrote on it: the owner writes, the others
    /// read that and write, the owner reads those. On Linux the disk has a file system that nobody has mounted, on Windows one
    /// that `label-disk` has named.
    ShareData(Plain),
    /// Runs a command in the migrated guests, over SSH; one that is off is started for it and shut down again.
    Run(Run),
    /// Shuts migrated VMs down gently.
    Shutdown(OfVms),
    /// Has MTV inspect source VMs deeply (a Conversion of type DeepInspection, MTV 2.12 and later), and judges what it tells.
    Inspect(Inspect),
    /// Runs `upgrade_command` of the settings, which brings MTV to another release, and waits until that is there.
    Upgrade(Plain),
}

impl Step {
    /// As it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Validate(_) => "validate",
            Self::Migrate(_) => "migrate",
            Self::Start(_) => "start",
            Self::Wait(_) => "wait",
            Self::Cutover(_) => "cutover",
            Self::Cancel(_) => "cancel",
            Self::Expect(_) => "expect",
            Self::Retry(_) => "retry",
            Self::Resume(_) => "resume",
            Self::Archive(_) => "archive",
            Self::Delete(_) => "delete",
            Self::Power(_) => "power",
            Self::Absent(_) => "absent",
            Self::Verify(_) => "verify",
            Self::Boot(_) => "boot",
            Self::Snapshot(_) => "snapshot",
            Self::AddDisk(_) => "add-disk",
            Self::Patch(_) => "patch",
            Self::Kill(_) => "kill",
            Self::Fault(_) => "fault",
            Self::WriteMarker(_) => "write-marker",
            Self::ReadMarker(_) => "read-marker",
            Self::LabelDisk(_) => "label-disk",
            Self::ShareData(_) => "share-data",
            Self::Run(_) => "run",
            Self::Shutdown(_) => "shutdown",
            Self::Inspect(_) => "inspect",
            Self::Upgrade(_) => "upgrade",
        }
    }

    fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Create(plain)
            | Self::Migrate(plain)
            | Self::Retry(plain)
            | Self::Resume(plain)
            | Self::Archive(plain)
            | Self::Verify(plain)
            | Self::Upgrade(plain)
            | Self::LabelDisk(plain)
            | Self::ShareData(plain)
            | Self::Boot(plain) => plain.timeout,
            Self::Validate(step) => step.timeout,
            Self::Start(step) => step.timeout,
            Self::Wait(step) => step.timeout,
            Self::Cutover(step) => step.timeout,
            Self::Cancel(step) => step.timeout,
            Self::Expect(step) => step.timeout,
            Self::Delete(step) => step.timeout,
            Self::Power(step) => step.timeout,
            Self::Absent(step) => step.timeout,
            Self::Snapshot(step) => step.timeout,
            Self::AddDisk(step) => step.timeout,
            Self::Patch(step) => step.timeout,
            Self::Kill(step) => step.timeout,
            Self::Fault(step) => step.timeout,
            Self::WriteMarker(step) | Self::Shutdown(step) => step.timeout,
            Self::ReadMarker(step) => step.timeout,
            Self::Run(step) => step.timeout,
            Self::Inspect(step) => step.timeout,
        }
    }

    /// The Plan that it is about; `None`: every Plan that has the VMs that it names.
    pub fn plan(&self) -> Option<&PlanName> {
        match self {
            Self::Create(plain)
            | Self::Migrate(plain)
            | Self::Retry(plain)
            | Self::Resume(plain)
            | Self::Archive(plain)
            | Self::Verify(plain)
            | Self::LabelDisk(plain)
            | Self::ShareData(plain)
            | Self::Boot(plain) => plain.plan.as_ref(),
            Self::Validate(step) => step.plan.as_ref(),
            Self::Start(step) => step.plan.as_ref(),
            Self::Wait(step) => step.plan.as_ref(),
            Self::Cutover(step) => step.plan.as_ref(),
            Self::Cancel(step) => step.plan.as_ref(),
            Self::Expect(step) => step.plan.as_ref(),
            Self::Delete(step) => step.plan.as_ref(),
            Self::Absent(step) => step.plan.as_ref(),
            Self::Patch(step) => step.plan.as_ref(),
            Self::Kill(step) => step.plan.as_ref(),
            Self::Fault(_)
            | Self::Power(_)
            | Self::Snapshot(_)
            | Self::AddDisk(_)
            | Self::WriteMarker(_)
            | Self::ReadMarker(_)
            | Self::Run(_)
            | Self::Inspect(_)
            | Self::Upgrade(_)
            | Self::Shutdown(_) => None,
        }
    }

    /// The VMs that it names; empty: all.
    pub fn vms(&self) -> Vec<&VmName> {
        match self {
            Self::Wait(step) => step.vm.iter().collect(),
            Self::Expect(step) => step.vm.iter().collect(),
            Self::Power(step) => step.vm.iter().collect(),
            Self::Cancel(step) => step.vms.iter().collect(),
            Self::Snapshot(step) => step.vm.iter().collect(),
            Self::AddDisk(step) => step.vm.iter().collect(),
            Self::WriteMarker(step) | Self::Shutdown(step) => step.vm.iter().collect(),
            Self::ReadMarker(step) => step.vm.iter().collect(),
            Self::Run(step) => step.vm.iter().collect(),
            Self::Kill(step) => step.vm.iter().collect(),
            Self::Fault(step) => step.vm.iter().collect(),
            Self::Inspect(step) => step.vm.iter().collect(),
            Self::Create(_)
            | Self::Validate(_)
            | Self::Migrate(_)
            | Self::Start(_)
            | Self::Cutover(_)
            | Self::Retry(_)
            | Self::Resume(_)
            | Self::Archive(_)
            | Self::Delete(_)
            | Self::Absent(_)
            | Self::Patch(_)
            | Self::Verify(_)
            | Self::Upgrade(_)
            | Self::LabelDisk(_)
            | Self::ShareData(_)
            | Self::Boot(_) => Vec::new(),
        }
    }

    /// Whether it may disturb others: then it is told on a system of one's own alone, or where that is allowed.
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::Patch(patch) => patch.what.is_shared(),
            Self::Kill(kill) => kill.what == Killed::Controller,
            Self::Fault(fault) => fault.what.is_of_the_lab(),
            Self::Upgrade(_) => true,
            _ => false,
        }
    }

    /// Whether it is told once, however many Plans the scenario has: what it touches they share.
    pub(crate) fn is_told_once(&self) -> bool {
        self.is_disruptive()
            || matches!(self, Self::Fault(_))
            || matches!(self, Self::Patch(patch) if !patch.what.is_of_a_plan())
    }

    /// Whether it is told of the source VMs alone, so that no Plan is needed for it.
    pub(crate) fn needs_plan(&self) -> bool {
        match self {
            Self::Create(_)
            | Self::Power(_)
            | Self::Snapshot(_)
            | Self::AddDisk(_)
            | Self::WriteMarker(_)
            | Self::LabelDisk(_)
            | Self::Inspect(_)
            | Self::Upgrade(_)
            | Self::Fault(_) => false,
            Self::Patch(patch) => patch.what.is_of_a_plan(),
            _ => true,
        }
    }

    /// How long the step may take: its own `timeout`, else a setting's, whose name comes with it.
    pub fn deadline(&self, timeouts: &Timeouts) -> (Duration, &'static str) {
        if let Some(own) = self.timeout() {
            return (own, "the step's `timeout`");
        }
        match self {
            Self::Create(_) | Self::Validate(_) | Self::Start(_) => (timeouts.plan, "`timeouts.plan`"),
            Self::Migrate(_)
            | Self::Retry(_)
            | Self::Resume(_)
            | Self::Wait(_)
            | Self::Cutover(_)
            | Self::Kill(_)
            | Self::Inspect(_)
            | Self::Upgrade(_) => (timeouts.migrate, "`timeouts.migrate`"),
            // An end is waited for; everything else is there already, or comes with MTV's next look.
            Self::Expect(expect) if expect.ended.is_some() => (timeouts.migrate, "`timeouts.migrate`"),
            Self::Cancel(_) | Self::Expect(_) | Self::Archive(_) | Self::Delete(_) | Self::Absent(_) => {
                (timeouts.teardown, "`timeouts.teardown`")
            }
            Self::Power(_)
            | Self::Snapshot(_)
            | Self::AddDisk(_)
            | Self::WriteMarker(_)
            | Self::LabelDisk(_)
            | Self::Patch(_)
            | Self::Fault(_) => (timeouts.prepare, "`timeouts.prepare`"),
            Self::Verify(_)
            | Self::Boot(_)
            | Self::ReadMarker(_)
            | Self::ShareData(_)
            | Self::Run(_)
            | Self::Shutdown(_) => (timeouts.verify, "`timeouts.verify`"),
        }
    }

    /// The stage of the engine's that the step belongs to where no later one has begun.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Create(_)
            | Self::Validate(_)
            | Self::Power(_)
            | Self::Snapshot(_)
            | Self::AddDisk(_)
            | Self::WriteMarker(_)
            | Self::LabelDisk(_)
            | Self::Patch(_)
            | Self::Upgrade(_)
            | Self::Inspect(_)
            | Self::Fault(_) => Stage::Plan,
            Self::Migrate(_)
            | Self::Start(_)
            | Self::Wait(_)
            | Self::Cutover(_)
            | Self::Cancel(_)
            | Self::Expect(_)
            | Self::Retry(_)
            | Self::Resume(_)
            | Self::Kill(_)
            | Self::Archive(_)
            | Self::Delete(_)
            | Self::Absent(_) => Stage::Migrate,
            Self::Verify(_)
            | Self::Boot(_)
            | Self::ReadMarker(_)
            | Self::ShareData(_)
            | Self::Run(_)
            | Self::Shutdown(_) => Stage::Verify,
        }
    }
}

#[cfg(test)]
mod tests;
