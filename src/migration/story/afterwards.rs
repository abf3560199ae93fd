//! What a story does to a Plan after its migration, and to the source: delete, power, and whether anything is left.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{ApiResource, ListParams};

use super::super::Failure;
use super::actor::Actor;
use crate::cleanup::{self, Consent};
use crate::cluster::apply::{dynamic_api, resource};
use crate::cluster::wait::{self, Poll};
use crate::config::PowerState;
use crate::config::steps::{Deletable, Kind, Power};
use crate::event::{Level, Problem};
use crate::ledger::Thing;

impl Actor<'_> {
    /// Deletes the Plan, or the Migration that was made last, on proof and through the ledger, and waits until it is gone.
    pub(super) async fn delete(&mut self, what: Deletable, limit: Duration) -> Result<(), Failure> {
        let (kind, name) = match what {
            Deletable::Plan => ("Plan", self.prepared.plan.clone()),
            Deletable::Migration => ("Migration", self.migration()),
        };
        let (cluster, ledger) = (&self.context.parts.cluster, &self.context.parts.ledger);
        let entry = ledger.open_entries_of(Some(&self.cell.id)).into_iter().find(|entry| match &entry.thing {
            Thing::Object { kind: own, namespace, name: called, .. } => {
                own == kind && namespace.as_deref() == Some(self.namespace()) && *called == name
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
    pub(super) async fn switch(&self, power: &Power) -> Result<(), Failure> {
        let Some(driver) = self.prepared.open.access.driver() else {
            return Err(Failure::skipped("a `power` step can't be told: nobody here can switch VMs of this platform"));
        };
        for vm in self.named(power.vm.as_ref())? {
            let how = driver.set_power(&vm.reference, power.state == PowerState::On).await?;
            let message = format!("source VM {} switched {}: {how}", vm.reference.name, power.state.name());
            self.context.note(Some(&self.cell.id), Level::Info, message);
        }
        Ok(())
    }

    /// Waits until MTV's label with this Plan is on nothing of these kinds in the target namespace.
    pub(super) async fn absent(&self, kinds: &[Kind], limit: Duration) -> Result<(), Failure> {
        let kinds = if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds.to_vec() };
        let (cluster, namespace) = (&self.prepared.destination.cluster, self.prepared.target_namespace.as_str());
        let selector = ListParams::default().labels(&format!("plan={}", self.told.plan_uid));
        let look = async || {
            let mut left = Vec::new();
            for kind in &kinds {
                let api = dynamic_api(cluster, &resource_of(*kind), Some(namespace));
                match api.list(&selector).await {
                    Ok(list) => {
                        left.extend(list.items.iter().map(|item| format!("{} {}", kind.words(), item.name_any())));
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
