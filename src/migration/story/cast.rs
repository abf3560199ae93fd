//! A cell's Plans, each with an actor of its own: a step is told to all that it is about, at once.

use std::sync::atomic::AtomicBool;

use super::super::Failure;
use super::super::context::RunContext;
use super::super::levers::Pulled;
use super::super::prepared::{Maps, Prepared};
use super::actor::{Actor, Told};
use super::{Acts, together};
use crate::api::forklift::Plan;
use crate::config::scenarios::plans::Part;
use crate::config::steps::{Step, VmName, order};
use crate::matrix::Cell;

/// One Plan of the cell, and what it has of the cell.
pub(in crate::migration) struct Role {
    pub part: Part,
    /// The cell as it is for this Plan: its VMs, its options.
    pub cell: Cell,
    pub prepared: Prepared,
    pub maps: Maps,
    pub plan: Plan,
}

/// All of them.
pub(in crate::migration) struct Cast<'a> {
    cell: &'a Cell,
    roles: &'a [Role],
    actors: Vec<Actor<'a>>,
    /// What the story has made go wrong.
    pulled: Pulled,
}

impl<'a> Cast<'a> {
    /// `used_up`: set once MTV was told to migrate VMs that stay as they become.
    pub fn new(
        context: &'a RunContext,
        cell: &'a Cell,
        attempt: u32,
        prepared: &'a Prepared,
        roles: &'a [Role],
        used_up: &'a AtomicBool,
    ) -> Self {
        let whole = (cell, prepared.vms.as_slice());
        let actor = |role: &'a Role| {
            let (cell, plan) = (&role.cell, role.plan.clone());
            let (prepared, maps) = (role.prepared.clone(), role.maps.clone());
            let name = role.part.name.as_deref();
            Actor { context, name, cell, whole, attempt, prepared, maps, plan, used_up, told: Told::default() }
        };
        let pulled = Pulled::new(context.parts.levers.clone(), cell.profile.platform);
        Self { cell, roles, actors: roles.iter().map(actor).collect(), pulled }
    }
}

impl Cast<'_> {
    /// Keeps what populators left, among the artifacts: MTV has taken their pods away by now.
    pub async fn keep_traces(&self) {
        for actor in &self.actors {
            actor.keep_traces().await;
        }
    }

    /// The adapters of the VM that is named.
    fn macs(&self, named: Option<&VmName>) -> Result<Vec<String>, Failure> {
        let Some(named) = named else { return Ok(Vec::new()) };
        let mut macs = Vec::new();
        for actor in &self.actors {
            // Of a Plan without the VM none is named.
            for id in actor.ids(Some(named))? {
                let own = actor.prepared.vms.iter().filter(|vm| vm.reference.id == id);
                macs.extend(own.flat_map(|vm| vm.before.nics.iter().map(|nic| nic.mac.to_string())));
            }
        }
        Ok(macs)
    }
}

impl Acts for Cast<'_> {
    async fn act(&mut self, step: &Step) -> Result<(), Failure> {
        let told = |role: &Role| order::is_told(&self.cell.scenario, &role.part, step);
        if let Step::Fault(fault) = step
            && fault.what.is_a_lever()
        {
            if fault.over {
                self.pulled.release(fault.what);
            } else {
                let macs = self.macs(fault.vm.as_ref())?;
                self.pulled.pull(fault.what, fault.lasts, &macs);
            }
            return Ok(());
        }
        // What all share is done once.
        let once = step.is_told_once();
        let actors = self.actors.iter_mut().zip(self.roles).filter(|(_, role)| told(role)).map(|(actor, _)| actor);
        let acts = actors.take(if once { 1 } else { usize::MAX }).map(|actor| actor.act(step));
        futures::future::try_join_all(acts).await?;
        if let Step::Expect(expect) = step {
            together::judge(expect, &self.actors).await?;
        }
        Ok(())
    }
}
