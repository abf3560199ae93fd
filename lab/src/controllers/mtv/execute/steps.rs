//! How the steps of a VM's pipeline begin, take their time, go on, end and fail, and what is told of them. Which steps
//! there are, and what is done in them, is the walk's.

use std::time::Duration;

use super::super::conditions::now;
use super::super::pipeline;
use super::super::pods::Workers;
use super::{Halt, PHASE, REBOOTS, Walk};
use crate::api::forklift::{Step, StepError};
use crate::defects::conduct::Conduct;

/// Steps that MTV completes without ever counting their progress: they end at 0 of 1.
fn without_progress(step: &str) -> bool {
    matches!(
        step,
        "Initialize" | "PreflightInspection" | "VirtualMachineCreation" | REBOOTS | "WaitForFinalSnapshotConsolidation"
    )
}

/// Whether MTV tells when each disk of a step began and ended; of the disks that virt-v2v copies it
/// knows the progress alone.
fn tells_of_tasks(step: &str) -> bool {
    step != "DiskTransferV2v"
}

impl Walk<'_> {
    /// Steps of a platform's own that only take time.
    pub(super) async fn pass(&self, steps: &[&str]) {
        for step in steps {
            self.begin(step);
            self.rest(PHASE).await;
            self.end(step);
        }
    }

    /// Whether the VM fails in a step that runs.
    fn is_doomed(&self) -> bool {
        let Some(fails) = self.failure().or_else(|| self.refused.get().cloned()) else { return false };
        self.has_step(|step| step.phase == "Running" && fails.is_in(&step.name))
    }

    /// Simulated time passes, and more of it while the controller's pod is gone. A step that fails does not end: on a busy
    /// machine both may be due at once, and the VM would fail in a later one. Who lets it fail is told, because a lever may
    /// have been pulled after the step began.
    pub async fn rest(&self, time: Duration) {
        self.pause(time).await;
        while self.is_doomed() {
            self.begun.notify_waiters();
            self.pause(PHASE).await;
        }
    }

    pub(super) async fn pause(&self, time: Duration) {
        self.run.mtv.clock.sleep(time).await;
        // Its sender is never dropped while a walk is on.
        let _ = self.run.mtv.up.subscribe().wait_for(|up| *up).await;
    }

    pub fn phase(&self, name: &str) {
        self.run.update(self.index, |vm| vm.phase = name.to_owned());
    }

    pub fn has(&self, step: &str) -> bool {
        self.has_step(|own| own.name == step)
    }

    pub(super) fn has_step(&self, such: impl Fn(&Step) -> bool) -> bool {
        self.run.vm(self.index, |vm| vm.pipeline.iter().any(such)).unwrap_or(false)
    }

    pub(super) fn step(&self, name: &str, change: impl FnOnce(&mut Step)) {
        self.run.update(self.index, |vm| {
            if let Some(step) = vm.pipeline.iter_mut().find(|s| s.name == name) {
                change(step);
            }
        });
    }

    /// Writes an annotation on a step.
    pub fn annotate(&self, name: &str, key: &str, value: &str) {
        self.step(name, |step| {
            step.annotations.insert(key.to_owned(), value.to_owned());
        });
    }

    pub(super) fn task(&self, step: &str, disk: &str, change: impl FnOnce(&mut Step)) {
        self.step(step, |step| {
            if let Some(task) = step.tasks.iter_mut().find(|task| task.name == disk) {
                change(task);
            }
            step.progress.completed = step.tasks.iter().map(|task| task.progress.completed).sum();
        });
    }

    /// Writes an annotation on the task of a disk.
    pub fn annotate_task(&self, step: &str, disk: &str, key: &str, value: &str) {
        self.task(step, disk, |task| {
            task.annotations.insert(key.to_owned(), value.to_owned());
        });
    }

    /// So much of a disk is copied.
    pub fn task_progress(&self, step: &str, disk: &str, percent: u32) {
        self.task(step, disk, |task| {
            task.phase = "Running".to_owned();
            task.started.get_or_insert_with(now);
            task.progress.completed = task.progress.total * i64::from(percent) / 100;
        });
    }

    pub fn begin(&self, name: &str) {
        self.step(name, |step| {
            step.phase = "Running".to_owned();
            step.started.get_or_insert_with(now);
        });
        self.begun.notify_waiters();
    }

    pub fn end(&self, name: &str) {
        self.step(name, |step| {
            for task in &mut step.tasks {
                task.progress.completed = task.progress.total;
                if tells_of_tasks(name) {
                    task.phase = "Completed".to_owned();
                    task.reason = Some("Transfer completed.".to_owned());
                    task.started.get_or_insert_with(now);
                    task.completed.get_or_insert_with(now);
                }
            }
            if !without_progress(name) {
                step.progress.completed = step.progress.total;
            }
            step.phase = "Completed".to_owned();
            step.completed = Some(now());
        });
    }

    /// Runs a step whose progress nobody counts; it begins anew where its pod is made again.
    pub(super) async fn work(&self, name: &str, time: Duration, workers: &mut Option<Workers>) -> Result<(), Halt> {
        const TICKS: u32 = 4;
        self.begin(name);
        let mut tick = 0;
        while tick < TICKS {
            self.rest(time / TICKS).await;
            tick = if self.was_killed(workers).await? { 0 } else { tick + 1 };
        }
        self.end(name);
        Ok(())
    }

    pub(super) async fn was_killed(&self, workers: &mut Option<Workers>) -> Result<bool, Halt> {
        match workers {
            Some(workers) => workers.look(self).await,
            None => Ok(false),
        }
    }

    /// Runs a disk step: every task grows side by side, and the step with them. It begins anew where a pod is made again.
    pub(super) async fn transfer(&self, name: &str, time: Duration, workers: &mut Option<Workers>) -> Result<(), Halt> {
        const TICKS: u32 = 8;
        self.begin(name);
        let mut tick = 0;
        while tick < TICKS {
            self.rest(time / TICKS).await;
            tick = if self.was_killed(workers).await? { 0 } else { tick + 1 };
            if let Some(workers) = workers {
                workers.copied(self, 100 * tick / TICKS).await;
            }
            self.step(name, |step| {
                for task in &mut step.tasks {
                    if tells_of_tasks(name) {
                        task.phase = "Running".to_owned();
                        task.started.get_or_insert_with(now);
                    }
                    task.progress.completed = task.progress.total * i64::from(tick) / i64::from(TICKS);
                }
                step.progress.completed = step.tasks.iter().map(|t| t.progress.completed).sum();
            });
        }
        self.end(name);
        Ok(())
    }

    /// Puts the error where MTV puts it: on the step of the VM's phase, then on the VM. (A hook's phase is called as its
    /// step is, and `Initialize` still runs while a PreHook does.)
    pub(super) fn fail(&self, reason: &str) {
        let warm = self.run.plan.spec.warm;
        let elsewhere = self.behaves(Conduct::FailsElsewhere);
        let reason = if elsewhere { "it broke" } else { reason };
        self.run.update(self.index, |vm| {
            let phase = vm.phase.clone();
            let error = StepError { phase: "Running".to_owned(), reasons: vec![reason.to_owned()] };
            let named = |name: &str| vm.pipeline.iter().position(|step| step.name == name);
            let own = named(&phase).or_else(|| pipeline::of_phase(&phase, warm).and_then(named));
            let at = own.or_else(|| vm.pipeline.iter().position(|step| step.phase == "Running"));
            let at = if elsewhere { vm.pipeline.len().checked_sub(1) } else { at };
            if let Some(step) = at.and_then(|at| vm.pipeline.get_mut(at)) {
                step.error = Some(error);
                // MTV leaves the step of a hook as it was.
                if !matches!(step.name.as_str(), "PreHook" | "PostHook") {
                    step.phase = "Completed".to_owned();
                }
                step.completed = Some(now());
            }
            vm.error = Some(StepError { phase, reasons: vec![reason.to_owned()] });
        });
    }
}
