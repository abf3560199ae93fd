//! What each step does for one Plan: on MTV through `forklift`, on the source through its driver, on the migrated VMs by
//! `verify`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::ResourceExt;

use super::super::Failure;
use super::super::context::RunContext;
use super::super::execute::{self, Migrated};
use super::super::marker::Marker;
use super::super::offload;
use super::super::prepared::{Maps, Prepared, PreparedVm};
use super::super::settle::Look;
use super::super::verify::{self, Arrived};
use super::Acts;
use crate::api::forklift::Plan;
use crate::api::vm::SourceVm;
use crate::config::steps::{Faulty, Goal, Moment, Step, VmName, Wait};
use crate::event::{EventKind, Level, Problem, Verdict};
use crate::forklift::execution::{Ended, Execution};
use crate::forklift::offload::Populators;
use crate::forklift::{Patience, blame, hook_output, plan};
use crate::matrix::Cell;
use crate::tasks::boxed;

/// How a Migration begins.
enum Begins {
    Anew(Option<Moment>),
    /// With the conversion of what was copied before.
    Resumed,
}

/// How much later than its step a wait inside gives up.
const BEYOND: Duration = Duration::from_secs(5);

/// The story of one Plan so far, at one attempt.
pub(in crate::migration) struct Actor<'a> {
    pub context: &'a RunContext,
    /// What steps call it; `None`: it is the only one.
    pub name: Option<&'a str>,
    /// The cell as it is for this Plan.
    pub cell: &'a Cell,
    /// The whole of it, whose list of VMs steps name them by; they as they were made ready.
    pub whole: (&'a Cell, &'a [PreparedVm]),
    pub attempt: u32,
    /// As it was made ready, with what the story itself has done to the sources since: that is expected.
    pub prepared: Prepared,
    /// As it was made, with what the story itself has changed.
    pub maps: Maps,
    /// The Plan as `create` makes it.
    pub plan: Plan,
    /// Set once MTV was told to migrate VMs that stay as they become.
    pub used_up: &'a AtomicBool,
    pub told: Told,
}

/// What the steps before have left for those that follow.
#[derive(Default)]
pub(in crate::migration) struct Told {
    /// The Plan that was made last; MTV puts it on what it makes.
    pub(super) plan_uid: String,
    /// Conversions made so far.
    pub(super) inspections: u32,
    /// Migrations made so far.
    migrations: u32,
    /// How the last one ended, where that was seen.
    pub(super) end: Option<Ended>,
    /// That and what it left, of the Migration before the last.
    before: (Option<Ended>, Option<Migrated>),
    /// Set where a step has judged that end to be as it must.
    pub(super) migrated: Option<Migrated>,
    /// Where the platform's log stood before the first one.
    power_mark: Option<String>,
    /// UIDs of the VMs' claims before the last step that may take them away.
    pub(super) claims: Option<BTreeSet<String>>,
    /// Nodes that the story has drained.
    pub(super) drained: Vec<String>,
    /// What was written into guests, by the id of the source VM; `Err`: why it came to nothing where the platform can.
    pub(super) markers: BTreeMap<String, Result<Marker, String>>,
    /// What the file system on the disk that VMs share is called; `Err`: why nobody could name it.
    pub(super) label: Option<Result<String, String>>,
    /// What the populators of a copy-offload plan do, since the first Migration.
    populators: Option<Populators>,
}

impl Acts for Actor<'_> {
    async fn act(&mut self, step: &Step) -> Result<(), Failure> {
        let done = self.perform(step).await;
        match done {
            Err(failure) if failure.verdict == Verdict::Failed => Err(boxed(self.with_evidence(failure)).await),
            done => done,
        }
    }
}

/// How long the output of a failed hook, and who is to blame, is looked for.
const EVIDENCE: Duration = Duration::from_secs(10);

impl Actor<'_> {
    /// Adds what a failed hook printed, and errs where what MTV ran on is to blame; where no step has judged that failure
    /// to be as it must.
    async fn with_evidence(&self, mut failure: Failure) -> Failure {
        let (Some(Ended::Failed(vms)), None) = (&self.told.end, &self.told.migrated) else { return failure };
        let cluster = &self.context.parts.cluster;
        let printed = hook_output::of(cluster, self.namespace(), vms);
        failure.problem.details.extend(tokio::time::timeout(EVIDENCE, printed).await.unwrap_or_default());
        let sources: Vec<SourceVm> = self.prepared.vms.iter().map(|vm| vm.before.clone()).collect();
        let target = (&self.prepared.destination.cluster, self.prepared.target_namespace.as_str());
        let failed = blame::Failed { cluster, plan: &self.plan.spec, vms, target, sources: &sources };
        let found = tokio::time::timeout(EVIDENCE, blame::environment(&failed)).await.unwrap_or_default();
        if found.is_empty() {
            return failure;
        }
        failure.problem.details.extend(found);
        Failure::environment(failure.problem)
    }

    /// What the populators of this Plan left, for the artifacts.
    pub(super) async fn keep_traces(&self) {
        if let Some(populators) = &self.told.populators {
            offload::keep(self.context, (self.cell, self.attempt), &self.prepared, populators).await;
        }
    }

    async fn perform(&mut self, step: &Step) -> Result<(), Failure> {
        // The step's own bound ends it and says so in its words; what waits inside only has to end some time.
        let limit = step.deadline(&self.context.parts.settings.timeouts).0 + BEYOND;
        let patience = self.context.patience(limit);
        // Each on the heap while it lasts: the longest of all kinds would be held for every cell.
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
                    Some(type_) => plan::has_condition(cluster, namespace, &self.prepared.plan, type_, limit).await?,
                }
                Ok(())
            }
            Step::Migrate(_) => boxed(self.migrate(patience)).await,
            Step::Start(start) => boxed(self.start(start.cutover)).await,
            Step::Wait(wait) => boxed(self.wait(wait, patience)).await,
            Step::Cutover(cutover) => {
                if let Some(count) = cutover.after_precopies {
                    let goal = Goal::Precopies(count);
                    self.wait(&Wait { goal, ..Wait::default() }, patience).await?;
                }
                Ok(self.execution(&self.tracked(), &self.migration()).cut_over(cutover.at).await?)
            }
            Step::Cancel(cancel) => boxed(self.cancel(&cancel.vms, patience)).await,
            Step::Expect(expect) => boxed(self.expect(expect, patience)).await,
            Step::Retry(_) => {
                self.told.claims = Some(self.claims(&[]).await?);
                boxed(self.run_to_end(patience)).await.map(drop)
            }
            Step::Resume(_) => {
                self.told.claims = Some(self.claims(&[]).await?);
                self.begin(Begins::Resumed).await?;
                boxed(self.end(patience)).await.map(drop)
            }
            Step::Archive(_) => {
                self.told.claims = Some(self.claims(&[]).await?);
                let (cluster, name) = (&self.context.parts.cluster, &self.prepared.plan);
                Ok(plan::archive(cluster, self.namespace(), name, limit).await?)
            }
            Step::Delete(delete) => {
                self.told.claims = Some(self.claims(&[]).await?);
                boxed(self.delete(delete.what, limit)).await
            }
            Step::Power(power) => boxed(self.switch(power)).await,
            Step::Absent(absent) => boxed(self.absent(&absent.kinds, limit)).await,
            Step::Verify(_) => boxed(self.look(Look::Arrived)).await,
            Step::Boot(_) => boxed(self.look(Look::Booted)).await,
            Step::Snapshot(snapshot) => boxed(self.snapshot(snapshot)).await,
            Step::AddDisk(disk) => boxed(self.add_disk(disk)).await,
            Step::Patch(patch) => boxed(self.patch(patch)).await,
            Step::Kill(kill) => boxed(self.kill(kill, limit)).await,
            Step::Fault(fault) if fault.what == Faulty::Quota => boxed(self.quota(fault, limit)).await,
            Step::Fault(fault) if fault.what == Faulty::Drain => boxed(self.drain(fault, limit)).await,
            // The lab's own are all Plans' and so the cast's.
            Step::Fault(_) => Ok(()),
            Step::WriteMarker(step) => boxed(self.write_markers(step.vm.as_ref())).await,
            Step::ReadMarker(read) => boxed(self.read_markers(read)).await,
            Step::LabelDisk(_) => boxed(self.label_disk()).await,
            Step::ShareData(_) => boxed(self.share_data()).await,
            Step::Run(run) => boxed(self.run(run)).await,
            Step::Shutdown(step) => boxed(self.shut_down(step.vm.as_ref(), limit)).await,
            Step::Inspect(inspect) => boxed(self.inspect(inspect, limit)).await,
            Step::Upgrade(_) => boxed(self.upgrade(limit)).await,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.prepared.namespace
    }

    pub(super) fn tracked(&self) -> crate::cluster::Tracked {
        self.context.tracked(Some(&self.cell.id))
    }

    /// Whether a Migration was made.
    pub(super) fn has_begun(&self) -> bool {
        self.told.migrations > 0
    }

    /// The name of the Migration that was made last.
    pub(super) fn migration(&self) -> String {
        self.migration_of(self.told.migrations)
    }

    fn migration_of(&self, number: u32) -> String {
        let first = &self.prepared.migration;
        match number {
            0 | 1 => first.clone(),
            further => format!("{first}-{further}"),
        }
    }

    pub(super) fn execution<'b>(&'b self, tracked: &'b crate::cluster::Tracked, migration: &'b str) -> Execution<'b> {
        Execution { tracked, namespace: self.namespace(), plan: &self.prepared.plan, migration }
    }

    /// The ids of those of this Plan's VMs that are named.
    pub(super) fn ids<'b>(&self, named: impl IntoIterator<Item = &'b VmName>) -> Result<Vec<String>, Failure> {
        let (cell, all) = self.whole;
        let of = |vm: &VmName| {
            let index = vm.index(&cell.scenario.virtual_machines)?;
            let prepared = all.get(index).ok_or_else(|| format!("VM {} was not made ready", vm.0))?;
            Ok(prepared.reference.id.clone())
        };
        let ids: Result<Vec<String>, String> = named.into_iter().map(of).collect();
        let mut ids = ids.map_err(|why| Failure::environment(Problem::new(why)))?;
        ids.retain(|id| self.prepared.vms.iter().any(|vm| vm.reference.id == *id));
        Ok(ids)
    }

    /// This Plan's VMs that are named; none is named: all.
    pub(super) fn named(&self, vm: Option<&VmName>) -> Result<Vec<&PreparedVm>, Failure> {
        let ids = self.ids(vm)?;
        let wanted = |one: &&PreparedVm| ids.is_empty() || ids.contains(&one.reference.id);
        Ok(self.prepared.vms.iter().filter(wanted).collect())
    }

    fn progress(&self) -> impl FnMut(Vec<crate::event::VmProgress>) + Send {
        let (events, cell, attempt) = (self.context.parts.events.clone(), self.cell.id.clone(), self.attempt);
        move |vms| events.emit(EventKind::Progress { cell: cell.clone(), attempt, vms })
    }

    async fn start(&mut self, cutover: Option<Moment>) -> Result<(), Failure> {
        self.begin(Begins::Anew(cutover)).await
    }

    async fn begin(&mut self, how: Begins) -> Result<(), Failure> {
        let open = &self.prepared.open;
        match open.access.driver() {
            Some(driver) if self.told.migrations == 0 => self.told.power_mark = driver.power_mark().await?,
            Some(_) => {}
            // Without a driver there was no clone: the VM that the profile names is migrated itself.
            None => {
                self.used_up.store(true, Ordering::Relaxed);
                let profile = &open.profile.name;
                self.prepared.vms.iter().for_each(|vm| self.context.migrated(profile, &vm.reference.id));
            }
        }
        if self.cell.scenario.copyoffload && self.told.populators.is_none() {
            self.told.populators = Some(offload::follow(&self.prepared));
        }
        self.told.migrations += 1;
        self.told.before = (self.told.end.take(), self.told.migrated.take());
        let (tracked, migration) = (self.tracked(), self.migration());
        let execution = self.execution(&tracked, &migration);
        match how {
            Begins::Anew(cutover) => execution.start(cutover).await?,
            Begins::Resumed => execution.resume().await?,
        }
        Ok(())
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

    /// Starts the migration, cuts a warm one over as the scenario and the settings say, and waits for its end.
    async fn run_to_end(&mut self, patience: Patience) -> Result<Ended, Failure> {
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
        Ok(end)
    }

    async fn migrate(&mut self, patience: Patience) -> Result<(), Failure> {
        let end = self.run_to_end(patience).await?;
        let (migrated, failed_at) = execute::judge(&self.cell.scenario, end)?;
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

    /// MTV has left the Migration that was made last alone: what the one before left is what there is.
    pub(super) fn was_ignored(&mut self) {
        self.told.migrations = self.told.migrations.saturating_sub(1);
        (self.told.end, self.told.migrated) = std::mem::take(&mut self.told.before);
    }

    /// What the migration has left; where no step has judged its end, that must be the usual one.
    pub(super) async fn migrated(&mut self) -> Result<&Migrated, Failure> {
        let migrated = match self.told.migrated.take() {
            Some(migrated) => migrated,
            None => {
                let patience = self.context.patience(self.context.parts.settings.timeouts.migrate);
                execute::expect_success(self.end(patience).await?)?
            }
        };
        Ok(self.told.migrated.insert(migrated))
    }

    /// Looks at the migrated VMs.
    async fn look(&mut self, look: Look) -> Result<(), Failure> {
        self.migrated().await?;
        let Some(migrated) = &self.told.migrated else { return Ok(()) };
        let power_mark = self.told.power_mark.as_deref();
        let migrations: Vec<String> =
            (1..=self.told.migrations.max(1)).map(|number| self.migration_of(number)).collect();
        let arrived =
            Arrived { migrated, power_mark, migrations: &migrations, populators: self.told.populators.as_ref() };
        verify::verify(self.context, self.cell, self.attempt, &self.prepared, &self.maps, arrived, look).await
    }
}
