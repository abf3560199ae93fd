//! What a story does to a Plan after its migration, and to the source: delete, power, disks, and whether anything is left.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{ApiResource, ListParams};

use super::super::Failure;
use super::actor::Actor;
use crate::api::vm::Power;
use crate::cleanup::{self, Consent};
use crate::cluster::apply::{dynamic_api, resource};
use crate::cluster::wait::{self, Poll};
use crate::config::PowerState;
use crate::config::steps::{Deletable, Kind, NewDisk, Power as Switched};
use crate::event::{Level, Problem};
use crate::ledger::Thing;
use crate::source::VmRef;

/// How the Jobs are called by which MTV looks at a VDDK image.
const VALIDATOR: &str = "vddk-validator-";

impl Actor<'_> {
    /// Deletes the Plan, or the Migration that was made last, on proof and through the ledger, and waits until it is gone.
    pub(super) async fn delete(&mut self, what: Deletable, limit: Duration) -> Result<(), Failure> {
        let (kind, name) = match what {
            Deletable::Plan => ("Plan", self.prepared.plan.clone()),
            Deletable::Migration => ("Migration", self.migration()),
        };
        let namespace = self.namespace().to_owned();
        self.undo_one(kind, Some(&namespace), &name, limit).await
    }

    /// Undoes one object of this cell, on proof and through the ledger.
    pub(super) async fn undo_one(
        &self,
        kind: &str,
        at: Option<&str>,
        name: &str,
        limit: Duration,
    ) -> Result<(), Failure> {
        let (cluster, ledger) = (&self.context.parts.cluster, &self.context.parts.ledger);
        let entry = ledger.open_entries_of(Some(&self.cell.id)).into_iter().find(|entry| match &entry.thing {
            Thing::Object { kind: own, namespace, name: called, .. } => {
                own == kind && namespace.as_deref() == at && called == name
            }
            _ => false,
        });
        let Some(entry) = entry else {
            return Err(Failure::environment(Problem::new(format!("{kind} {name} is not in the ledger of this cell"))));
        };
        let how = cleanup::How { consent: Consent::Proven, limit, late: Duration::ZERO };
        Ok(cleanup::undo_one(cluster, ledger, &entry, how).await?)
    }

    /// Switches source VMs: one that MTV has let go of can be used.
    pub(super) async fn switch(&mut self, power: &Switched) -> Result<(), Failure> {
        let Some(driver) = self.prepared.open.access.driver().cloned() else {
            return Err(Failure::skipped("a `power` step can't be told: nobody here can switch VMs of this platform"));
        };
        let named: Vec<VmRef> = self.named(power.vm.as_ref())?.iter().map(|vm| vm.reference.clone()).collect();
        let before = !self.has_begun();
        for vm in named {
            let how = driver.set_power(&vm, power.state == PowerState::On).await?;
            let message = format!("source VM {} switched {}: {how}", vm.name, power.state.name());
            self.context.note(Some(&self.cell.id), Level::Info, message);
            let own = self.prepared.vms.iter_mut().find(|own| own.reference == vm);
            if let Some(own) = own.filter(|_| before) {
                own.before.power = match power.state {
                    PowerState::On => Power::On,
                    PowerState::Off => Power::Off,
                };
            }
        }
        Ok(())
    }

    /// Adds a disk to source VMs. From then on it is expected of them.
    pub(super) async fn add_disk(&mut self, disk: &NewDisk) -> Result<(), Failure> {
        let Some(driver) = self.prepared.open.access.driver().cloned() else {
            return Err(Failure::skipped(
                "an `add-disk` step can't be told: nobody here can change VMs of this platform",
            ));
        };
        let named: Vec<VmRef> = self.named(disk.vm.as_ref())?.iter().map(|vm| vm.reference.clone()).collect();
        for vm in named {
            driver.add_disk(&vm, u64::from(disk.size_gb)).await?;
            let message = format!("source VM {}: a disk of {} GiB added", vm.name, disk.size_gb);
            self.context.note(Some(&self.cell.id), Level::Info, message);
            let now = driver.describe(&vm).await?.disks;
            if let Some(own) = self.prepared.vms.iter_mut().find(|own| own.reference == vm) {
                let known: BTreeSet<String> = own.before.disks.iter().map(|old| old.id.clone()).collect();
                own.before.disks.extend(now.into_iter().filter(|disk| !known.contains(&disk.id)));
            }
        }
        Ok(())
    }

    /// Waits until MTV's label with this Plan is on nothing of these kinds in the target namespace.
    pub(super) async fn absent(&self, kinds: &[Kind], limit: Duration) -> Result<(), Failure> {
        let whole = kinds.is_empty();
        let kinds = if whole { Kind::ALL.to_vec() } else { kinds.to_vec() };
        let (cluster, namespace) = (&self.prepared.destination.cluster, self.prepared.target_namespace.as_str());
        let selector = ListParams::default().labels(&format!("plan={}", self.told.plan_uid));
        let look = async || {
            let mut left = Vec::new();
            for kind in &kinds {
                let api = dynamic_api(cluster, &resource_of(*kind), Some(namespace));
                match api.list(&selector).await {
                    Ok(list) => {
                        // Of the Plan, not of a migration: MTV keeps it until the Plan is archived.
                        let counts = |name: &String| !(whole && name.starts_with(VALIDATOR));
                        let names = list.items.iter().map(ResourceExt::name_any).filter(counts);
                        left.extend(names.map(|name| format!("{} {name}", kind.words())));
                    }
                    Err(error) => left.push(format!("{} could not be listed: {error}", kind.words())),
                }
            }
            if left.is_empty() { Poll::Done(()) } else { Poll::NotYet(left.join(", ")) }
        };
        let what = format!("nothing of the Plan to be left in {namespace}");
        let gone = wait::poll(&what, limit, look).await;
        gone.map_err(|error| Failure::product(error.problem().look_at(format!("oc -n {namespace} get all"))))
    }
}

fn resource_of(kind: Kind) -> ApiResource {
    match kind {
        Kind::Vms => resource("kubevirt.io/v1", "VirtualMachine", "virtualmachines"),
        Kind::Pods => resource("v1", "Pod", "pods"),
        Kind::Pvcs => resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        Kind::DataVolumes => resource("cdi.kubevirt.io/v1beta1", "DataVolume", "datavolumes"),
        Kind::Secrets => resource("v1", "Secret", "secrets"),
        Kind::Jobs => resource("batch/v1", "Job", "jobs"),
    }
}
