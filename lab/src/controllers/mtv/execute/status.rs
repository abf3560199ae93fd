//! What an execution tells of itself: its VMs' status, from the first to the last, in the Plan and its Migration. Knows
//! nothing of how a VM is moved.

use std::time::Duration;

use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::again::{self, Before};
use super::super::conditions::{durable, now, settle, write_status};
use super::super::{migrations, pipeline, plan::content};
use super::{RECONCILE, Run};
use crate::api::condition::Condition;
use crate::api::forklift::{PlanMigration, VmStatus, Warm};
use crate::defects::Defect;
use crate::inventory::model::{InvVm, Inventory};

/// Real time in which the inventory shows what was done to a source.
const SHOWN: Duration = Duration::from_secs(30);

/// What an execution has told the Plan, and tells it again with what has changed: written as a `PlanStatus`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    /// The Plan's conditions of before.
    #[serde(skip)]
    before: Vec<Condition>,
    conditions: Vec<Condition>,
    observed_generation: i64,
    migration: PlanMigration,
}

/// Which state of an object an execution was made from.
fn snapshot<K: kube::Resource>(object: &K) -> Value {
    json!({"namespace": object.namespace(), "name": object.name_any(), "uid": object.uid(),
        "generation": object.meta().generation.unwrap_or_default()})
}

impl Run {
    pub(super) fn first_status(&self, before: &Before<'_>, index: usize, vm: &InvVm) -> VmStatus {
        if let Some(kept) = before.vm(&vm.id).filter(|_| !self.takes_up(before, &vm.id)) {
            return kept.clone();
        }
        let fresh = self.initial(index, vm);
        match before.vm(&vm.id).filter(|_| self.resumes()) {
            Some(old) => VmStatus {
                disks_copied: old.disks_copied,
                warm: old.warm.clone(),
                restore_power_state: old.restore_power_state.clone(),
                ..fresh
            },
            None => fresh,
        }
    }

    /// Ends the Migration before it began.
    pub(super) async fn refuse(&self, mut conditions: Vec<Condition>, failed: Condition, started: &str) {
        let old = self.plan.status.as_ref().and_then(|status| status.migration.clone()).unwrap_or_default();
        conditions.retain(|c| c.type_ != "Failed");
        conditions.push(failed);
        self.mtv.migrations.mark_ended(&self.migration);
        self.write(&mut self.untold(started), &conditions, old.vms, Some("Failed")).await;
    }

    fn initial(&self, index: usize, vm: &InvVm) -> VmStatus {
        let disks: Vec<(String, i64)> = vm
            .disks
            .iter()
            .map(|d| (self.resolved.kind.task_name(vm, d), i64::try_from(d.capacity_bytes >> 20).unwrap_or(i64::MAX)))
            .collect();
        let converts = self.converts();
        VmStatus {
            id: vm.id.clone(),
            name: vm.name.clone(),
            phase: "Started".to_owned(),
            namespace: self.plan.spec.vms.get(index).and_then(|vm| vm.namespace.clone()),
            operating_system: converts.then(|| vm.guest_id.clone()),
            detected_boot_disk: (converts && self.mtv.version.at_least(12)).then_some(0),
            luks: self.plan.spec.vms.get(index).map(|vm| vm.luks.clone().unwrap_or_default()),
            hooks: self.plan.spec.vms.get(index).map(|vm| vm.hooks.clone()).unwrap_or_default(),
            pipeline: pipeline::steps(self.resolved.kind, self.path(index, vm), self.mtv.version, &disks),
            warm: self.plan.spec.warm.then(Warm::default),
            ..VmStatus::default()
        }
    }

    pub(in crate::controllers::mtv) fn statuses(&self) -> Vec<VmStatus> {
        self.vms.lock().map(|v| v.clone()).unwrap_or_default()
    }

    /// What one VM's status says now; nothing of one that is not there.
    pub(in crate::controllers::mtv) fn vm<T>(&self, index: usize, look: impl FnOnce(&VmStatus) -> T) -> Option<T> {
        self.vms.lock().ok()?.get(index).map(look)
    }

    /// Before anything is told: the executions of before stay as they ended, and the last one is this (`NewSnapshot`).
    pub(super) fn untold(&self, started: &str) -> Told {
        let old = self.plan.status.as_ref();
        let executed = json!({
            "conditions": [],
            "migration": snapshot(self.migration.as_ref()),
            "plan": snapshot(&self.plan),
            "map": {"network": snapshot(&self.resolved.network), "storage": snapshot(&self.resolved.storage)},
            "provider": {
                "source": snapshot(&self.resolved.source),
                "destination": snapshot(&self.resolved.destination),
            },
        });
        let history = old.and_then(|old| old.migration.as_ref()).map(|migration| migration.history.as_slice());
        let of_before = |entry: &&Value| entry.pointer("/migration/uid") != executed.pointer("/migration/uid");
        let mut history: Vec<Value> = history.unwrap_or_default().iter().filter(of_before).cloned().collect();
        history.push(executed);
        let observed_generation = self.plan.metadata.generation.unwrap_or_default();
        Told {
            before: old.map(|old| old.conditions.clone()).unwrap_or_default(),
            conditions: Vec::new(),
            observed_generation,
            migration: PlanMigration { started: Some(started.to_owned()), history, ..PlanMigration::default() },
        }
    }

    /// Whether the VMs are as they were told last.
    pub(super) fn is_told(&self, told: &Told) -> bool {
        self.vms.lock().is_ok_and(|vms| *vms == told.migration.vms)
    }

    /// Tells of VMs in the Plan and in its Migration.
    pub(super) async fn write(&self, told: &mut Told, conditions: &[Condition], vms: Vec<VmStatus>, end: Option<&str>) {
        told.conditions = settle(conditions.to_vec(), &told.before);
        told.migration.vms = vms;
        told.migration.completed = end.map(|_| now());
        if let Some(executed) = told.migration.history.last_mut() {
            executed["conditions"] = conditions.iter().filter(|c| c.durable == Some(true)).map(|c| json!(c)).collect();
        }
        write_status(&self.mtv.client, &self.plan, told).await;
        let started = told.migration.started.as_deref().unwrap_or_default();
        migrations::reflect(&self.mtv, &self.migration, &mut told.migration.vms, started, end).await;
    }

    pub(super) async fn finish(&self, mut told: Told, mut conditions: Vec<Condition>) {
        let vms = self.statuses();
        let any = |type_: &str| vms.iter().any(|vm| vm.conditions.iter().any(|c| c.type_ == type_));
        let (word, text) = if any("Failed") {
            ("Failed", "The plan execution has FAILED.")
        } else if any("Succeeded") {
            ("Succeeded", "The plan execution has SUCCEEDED.")
        } else {
            ("Canceled", "The plan execution has been CANCELED.")
        };
        // Before the word is out: whoever waits for it may look at the source at once.
        if word == "Succeeded" && self.mtv.defects.has(Defect::SourceLeftOn) {
            self.leave_on(&vms).await;
        }
        if self.current().is_none() {
            // Its Migration was deleted: MTV gives the Plan no end then.
            self.write(&mut told, &conditions, vms, None).await;
            return;
        }
        conditions.push(durable(word, text));
        if word == "Failed" {
            conditions.extend(again::resumable(self.mtv.version, &vms));
        }
        self.mtv.migrations.mark_ended(&self.migration);
        self.write(&mut told, &conditions, vms, Some(word)).await;
    }

    /// Switches the sources on again, and waits until the inventory shows it: of some platforms nobody sees more.
    async fn leave_on(&self, vms: &[VmStatus]) {
        let mut on = Vec::new();
        for vm in vms {
            // Some platforms' VMs never run.
            if self.client.power(&vm.id, true).await.is_ok() && self.client.power_state(&vm.id).await == Ok(true) {
                on.push(vm);
            }
        }
        let is_on = |shown: &Inventory| on.iter().all(|vm| shown.find(Some(&vm.id), None).is_none_or(|vm| vm.power_on));
        let shown = async {
            while !content(&self.mtv, &self.resolved.source).await.as_deref().is_some_and(is_on) {
                self.mtv.clock.sleep(RECONCILE).await;
            }
        };
        // Collecting takes real time, however fast the clock is.
        if !on.is_empty() && tokio::time::timeout(SHOWN, shown).await.is_err() {
            tracing::warn!(plan = self.plan.name_any(), "the inventory does not show a source that was switched on");
        }
    }

    /// Changes one VM's status.
    pub fn update(&self, index: usize, change: impl FnOnce(&mut VmStatus)) {
        if let Ok(mut vms) = self.vms.lock()
            && let Some(vm) = vms.get_mut(index)
        {
            change(vm);
            self.touched.notify_one();
        }
    }
}
