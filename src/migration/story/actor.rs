//! What each step does: on MTV through `forklift`, on the source through its driver, on the migrated VMs by `verify`.

use std::time::Duration;

use kube::ResourceExt;

use super::super::Failure;
use super::super::context::RunContext;
use super::super::execute::{self, Migrated};
use super::super::prepared::{MIGRATION, Maps, PLAN, Prepared};
use super::super::settle::Look;
use super::super::verify::{self, Arrived};
use super::Acts;
use crate::api::forklift::Plan;
use crate::config::steps::{Goal, Moment, Step, VmName, Wait};
use crate::event::{EventKind, Level, Problem};
use crate::forklift::execution::{Ended, Execution};
use crate::forklift::{Patience, plan};
use crate::matrix::Cell;

/// How much later than its step a wait inside gives up.
const BEYOND: Duration = Duration::from_secs(5);

/// One attempt's story so far.
pub(in crate::migration) struct Actor<'a> {
    pub context: &'a RunContext,
    pub cell: &'a Cell,
    pub attempt: u32,
    pub prepared: &'a Prepared,
    pub maps: &'a Maps,
    /// The Plan as `create` makes it.
    pub plan: Plan,
    /// Set once MTV was told to migrate VMs that stay as they become.
    pub used_up: &'a mut bool,
    pub told: Told,
}

/// What the steps before have left for those that follow.
#[derive(Default)]
pub(in crate::migration) struct Told {
    /// The Plan that was made last; MTV puts it on what it makes.
    pub(super) plan_uid: String,
    /// Migrations made so far.
    migrations: u32,
    /// How the last one ended, where that was seen.
    pub(super) end: Option<Ended>,
    /// Set where a step has judged that end to be as it must.
    pub(super) migrated: Option<Migrated>,
    /// Where the platform's log stood before the first one.
    power_mark: Option<String>,
}

impl Acts for Actor<'_> {
    async fn act(&mut self, step: &Step) -> Result<(), Failure> {
        // The step's own bound ends it and says so in its words; what waits inside only has to end some time.
        let limit = step.deadline(&self.context.parts.settings.timeouts).0 + BEYOND;
        let patience = self.context.patience(limit);
        match step {
            Step::Create(_) => {
                let made = self.tracked().create(self.plan.clone()).await?;
                self.told.plan_uid = made.uid().unwrap_or_default();
                Ok(())
            }
            Step::Validate(validate) => {
                let (cluster, namespace) = (&self.context.parts.cluster, self.namespace());
                match &validate.condition {
                    None => plan::is_ready(cluster, &self.plan, patience).await?,
                    Some(type_) => plan::has_condition(cluster, namespace, PLAN, type_, limit).await?,
                }
                Ok(())
            }
            Step::Migrate(_) => self.migrate(patience).await,
            Step::Start(start) => self.start(start.cutover).await,
            Step::Wait(wait) => self.wait(wait, patience).await,
            Step::Cutover(cutover) => {
                if let Some(count) = cutover.after_precopies {
                    let goal = Goal::Precopies(count);
                    self.wait(&Wait { goal, ..Wait::default() }, patience).await?;
                }
                Ok(self.execution(&self.tracked(), &self.migration()).cut_over(cutover.at).await?)
            }
            Step::Cancel(cancel) => self.cancel(&cancel.vms, patience).await,
            Step::Expect(expect) => self.expect(expect, patience).await,
            Step::Retry(_) => {
                self.start(None).await?;
                self.end(patience).await.map(drop)
            }
            Step::Archive(_) => Ok(plan::archive(&self.context.parts.cluster, self.namespace(), PLAN, limit).await?),
            Step::Delete(delete) => self.delete(delete.what, limit).await,
            Step::Power(power) => self.switch(power).await,
            Step::Absent(absent) => self.absent(&absent.kinds, limit).await,
            Step::Verify(_) => self.look(Look::Arrived).await,
            Step::Boot(_) => self.look(Look::Booted).await,
        }
    }
}

impl Actor<'_> {
    pub(super) fn namespace(&self) -> &str {
        &self.prepared.namespace
    }

    pub(super) fn tracked(&self) -> crate::cluster::Tracked {
        self.context.tracked(Some(&self.cell.id))
    }

    /// The name of the Migration that was made last.
    pub(super) fn migration(&self) -> String {
        match self.told.migrations {
            0 | 1 => MIGRATION.to_owned(),
            further => format!("{MIGRATION}-{further}"),
        }
    }

    pub(super) fn execution<'b>(&'b self, tracked: &'b crate::cluster::Tracked, migration: &'b str) -> Execution<'b> {
        Execution { tracked, namespace: self.namespace(), plan: PLAN, migration }
    }

    /// The ids of the VMs that are named.
    pub(super) fn ids<'b>(&self, named: impl IntoIterator<Item = &'b VmName>) -> Result<Vec<String>, Failure> {
        let of = |vm: &VmName| {
            let index = vm.index(&self.cell.scenario.virtual_machines)?;
            let prepared = self.prepared.vms.get(index).ok_or_else(|| format!("VM {} was not made ready", vm.0))?;
            Ok(prepared.reference.id.clone())
        };
        named.into_iter().map(of).collect::<Result<_, String>>().map_err(|why| Failure::environment(Problem::new(why)))
    }

    fn progress(&self) -> impl FnMut(Vec<crate::event::VmProgress>) + Send {
        let (events, cell, attempt) = (self.context.parts.events.clone(), self.cell.id.clone(), self.attempt);
        move |vms| events.emit(EventKind::Progress { cell: cell.clone(), attempt, vms })
    }

    async fn start(&mut self, cutover: Option<Moment>) -> Result<(), Failure> {
        let open = &self.prepared.open;
        match open.access.driver() {
            Some(driver) if self.told.migrations == 0 => self.told.power_mark = driver.power_mark().await?,
            Some(_) => {}
            // Without a driver there was no clone: the VM that the profile names is migrated itself.
            None => {
                *self.used_up = true;
                let profile = &open.profile.name;
                self.prepared.vms.iter().for_each(|vm| self.context.migrated(profile, &vm.reference.id));
            }
        }
        self.told.migrations += 1;
        (self.told.end, self.told.migrated) = (None, None);
        Ok(self.execution(&self.tracked(), &self.migration()).start(cutover).await?)
    }

    /// Waits for the end, and remembers it.
    pub(super) async fn end(&mut self, patience: Patience) -> Result<Ended, Failure> {
        if let Some(end) = &self.told.end {
            return Ok(end.clone());
        }
        let end = self.execution(&self.tracked(), &self.migration()).end(patience, self.progress()).await?;
        self.told.end = Some(end.clone());
        Ok(end)
    }

    async fn migrate(&mut self, patience: Patience) -> Result<(), Failure> {
        let scenario = &self.cell.scenario;
        let rule = scenario.warm_migration.then(|| execute::cutover_rule(&self.context.parts.settings, scenario));
        self.start(rule.and_then(|rule| rule.after).map(Moment::In)).await?;
        let (tracked, migration) = (self.tracked(), self.migration());
        let execution = self.execution(&tracked, &migration);
        let end = execution.end(patience, self.progress());
        let cutover = async {
            match rule.and_then(|rule| rule.after_precopies) {
                Some(count) => execution.cut_over_after(count, patience.limit).await,
                None => Ok(()),
            }
        };
        let (end, ()) = futures::future::try_join(end, cutover).await?;
        self.told.end = Some(end.clone());
        let (migrated, failed_at) = execute::judge(scenario, end)?;
        if let Some(step) = failed_at {
            let message = format!("the migration failed at {step}, as the scenario expects");
            self.context.note(Some(&self.cell.id), Level::Info, message);
        }
        self.told.migrated = Some(migrated);
        Ok(())
    }

    async fn wait(&mut self, wait: &Wait, patience: Patience) -> Result<(), Failure> {
        if wait.goal == Goal::End && wait.vm.is_none() {
            return self.end(patience).await.map(drop);
        }
        let ids = self.ids(&wait.vm)?;
        let what = wait.to_string();
        let (tracked, migration) = (self.tracked(), self.migration());
        let execution = self.execution(&tracked, &migration);
        Ok(execution.reach((&wait.goal, &ids), &what, patience, self.progress()).await?)
    }

    async fn cancel(&mut self, named: &[VmName], patience: Patience) -> Result<(), Failure> {
        let ids = match named {
            [] => self.prepared.vms.iter().map(|vm| vm.reference.id.clone()).collect(),
            named => self.ids(named)?,
        };
        let (tracked, migration) = (self.tracked(), self.migration());
        let execution = self.execution(&tracked, &migration);
        execution.cancel(&ids).await?;
        let canceled = Goal::Condition("Canceled".to_owned());
        let what = "MTV to cancel the VMs";
        execution.reach((&canceled, &ids), what, patience, self.progress()).await?;
        if ids.len() == self.prepared.vms.len() {
            self.end(patience).await?;
        }
        Ok(())
    }

    /// Looks at the migrated VMs.
    async fn look(&mut self, look: Look) -> Result<(), Failure> {
        if self.told.migrated.is_none() {
            // No step has judged the end: then it must be the usual one.
            let patience = self.context.patience(self.context.parts.settings.timeouts.migrate);
            let end = self.end(patience).await?;
            self.told.migrated = Some(execute::expect_success(end)?);
        }
        let Some(migrated) = &self.told.migrated else { return Ok(()) };
        let (power_mark, migration) = (self.told.power_mark.as_deref(), self.migration());
        let arrived = Arrived { migrated, power_mark, migration: &migration };
        verify::verify(self.context, self.cell, self.attempt, self.prepared, self.maps, arrived, look).await
    }
}
