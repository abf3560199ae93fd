//! A cell's Plans, each with an actor of its own: a step is told to all that it is about, at once.

use std::sync::atomic::AtomicBool;

use super::super::Failure;
use super::super::context::RunContext;
use super::super::prepared::{Maps, Prepared};
use super::actor::{Actor, Told};
use super::{Acts, together};
use crate::api::forklift::Plan;
use crate::config::scenarios::plans::Part;
use crate::config::steps::{Step, order};
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
            let (cell, prepared, maps, plan) = (&role.cell, &role.prepared, &role.maps, role.plan.clone());
            let name = role.part.name.as_deref();
            Actor { context, name, cell, whole, attempt, prepared, maps, plan, used_up, told: Told::default() }
        };
        Self { cell, roles, actors: roles.iter().map(actor).collect() }
    }
}

impl Acts for Cast<'_> {
    async fn act(&mut self, step: &Step) -> Result<(), Failure> {
        let told = |role: &Role| order::is_told(&self.cell.scenario, &role.part, step);
        // What all share is done once.
        let once = matches!(step, Step::Patch(patch) if patch.what.is_shared());
        let actors = self.actors.iter_mut().zip(self.roles).filter(|(_, role)| told(role)).map(|(actor, _)| actor);
        let acts = actors.take(if once { 1 } else { usize::MAX }).map(|actor| actor.act(step));
        futures::future::try_join_all(acts).await?;
        if let Step::Expect(expect) = step {
            together::judge(expect, &self.actors).await?;
        }
        Ok(())
    }
}
