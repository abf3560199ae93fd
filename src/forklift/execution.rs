//! Running a Plan: the Migration, its progress, its end, and cancelling it.
//!
//! A Plan's own status is what is watched: the controller writes it first (peer.md §6.5), and it
//! carries every VM's pipeline.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::ApiResource;

use super::ready::{self, Look, Patience};
use super::status::{conditions, ended, vms};
use super::{MtvError, goals};

pub use super::status::{Ended, failure_lines};
use crate::api::condition::Conditions;
use crate::api::forklift::{Migration, MigrationSpec, ObjRef, Plan, Ref, Step, VmStatus};
use crate::cluster::apply::patch_merge;
use crate::cluster::connect::server_time;
use crate::cluster::wait::{self, Poll};
use crate::cluster::{Cluster, Tracked, WaitError};
use crate::config::steps::{Goal, Moment};
use crate::event::{Problem, VmProgress};

/// When a warm migration is cut over. Whichever comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CutoverRule {
    pub after_precopies: Option<u32>,
    /// Counted from the moment the Migration is created.
    pub after: Option<Duration>,
}

/// One Migration of a Plan: where it is and what it is called.
#[derive(Clone, Copy)]
pub struct Execution<'a> {
    pub tracked: &'a Tracked,
    pub namespace: &'a str,
    pub plan: &'a str,
    pub migration: &'a str,
}

impl Execution<'_> {
    /// Creates the Migration. The cutover time is fixed now where there is one.
    pub async fn start(&self, cutover: Option<Moment>) -> Result<(), MtvError> {
        self.create(cutover, None).await
    }

    /// Creates a Migration that converts again what the one before has copied.
    pub async fn resume(&self) -> Result<(), MtvError> {
        self.create(None, Some(true)).await
    }

    async fn create(&self, cutover: Option<Moment>, resume_conversion: Option<bool>) -> Result<(), MtvError> {
        let at = match cutover {
            Some(moment) => Some(time_of(&self.tracked.cluster, moment).await?),
            None => None,
        };
        let spec = MigrationSpec {
            plan: ObjRef::new(self.namespace, self.plan),
            cancel: Vec::new(),
            cutover: at,
            resume_conversion,
        };
        let mut migration = Migration::new(self.migration, spec);
        migration.metadata.namespace = Some(self.namespace.to_owned());
        self.tracked.create(migration).await?;
        Ok(())
    }

    /// Waits for the end, telling `progress` of every change. Blockers count before the migration executes; while it
    /// executes MTV itself decides (forklift.md §4.3).
    pub async fn end(
        &self,
        patience: Patience,
        progress: impl FnMut(Vec<VmProgress>) + Send,
    ) -> Result<Ended, MtvError> {
        let what = format!("Plan {}/{} to end", self.namespace, self.plan);
        self.watch(&what, patience, progress, |plan, last| match ended(plan) {
            Some(end) => Look::Done(end),
            None => Look::NotYet(describe(last, || conditions(plan).summary())),
        })
        .await
    }

    /// Waits until the VMs with these ids (empty: every VM of the Plan) have reached `goal`. `what` completes "waiting
    /// for …".
    pub async fn reach(
        &self,
        (goal, ids): (&Goal, &[String]),
        what: &str,
        patience: Patience,
        progress: impl FnMut(Vec<VmProgress>) + Send,
    ) -> Result<(), MtvError> {
        self.watch(what, patience, progress, |plan, _| goals::look(plan, goal, ids, what)).await
    }

    /// Looks for so long whether MTV takes up this Migration, which it must not.
    pub async fn is_ignored(&self, span: Duration) -> Result<(), MtvError> {
        let Self { tracked, namespace, plan, migration } = *self;
        let what = format!("Migration {namespace}/{migration} to be taken up");
        let taken = wait::until(&tracked.cluster, Some(namespace), plan, &what, span, |found: Option<&Plan>| {
            let begun = |found: &Plan| runs(found, migration) || conditions(found).holds("Executing");
            match found {
                Some(found) if begun(found) => Poll::Done(conditions(found).summary()),
                Some(found) => Poll::NotYet(conditions(found).summary()),
                None => Poll::NotYet("the Plan is gone".to_owned()),
            }
        });
        match taken.await {
            Err(WaitError::Timeout { .. }) => Ok(()),
            Ok(seen) => {
                let message = format!("expected MTV to leave Migration {migration} alone, but it took it up: {seen}");
                Err(MtvError::Product(Problem::new(message)))
            }
            Err(error) => Err(MtvError::Environment(error.problem())),
        }
    }

    /// Looks at the Plan while it runs this Migration, telling `progress` of every change.
    async fn watch<T: Send>(
        &self,
        what: &str,
        patience: Patience,
        mut progress: impl FnMut(Vec<VmProgress>) + Send,
        mut look: impl FnMut(&Plan, &[VmProgress]) -> Look<T> + Send,
    ) -> Result<T, MtvError> {
        let Self { tracked, namespace, plan, migration } = *self;
        let mut last = Vec::new();
        ready::until(&tracked.cluster, namespace, plan, what, patience, |found: Option<&Plan>| {
            let Some(found) = found else {
                return Look::Failed(Problem::new(format!("Plan {namespace}/{plan} is gone while its migration ran")));
            };
            let conditions = conditions(found);
            let looked = if runs(found, migration) {
                let now: Vec<VmProgress> = vms(found).iter().map(vm_progress).collect();
                if now != last {
                    progress(now.clone());
                    last = now;
                }
                look(found, &last)
            } else {
                Look::NotYet(format!("Migration {migration} has not begun; {}", conditions.summary()))
            };
            match looked {
                Look::NotYet(seen) if !conditions.holds("Executing") => {
                    ready::blocked(&format!("Plan {namespace}/{plan}"), conditions).unwrap_or(Look::NotYet(seen))
                }
                looked => looked,
            }
        })
        .await
        .map_err(|error| ready::product(error, format!("oc -n {namespace} describe plan {plan}")))
    }

    /// Tells MTV when to cut over.
    pub async fn cut_over(&self, at: Moment) -> Result<(), MtvError> {
        let at = time_of(&self.tracked.cluster, at).await?;
        let patch = serde_json::json!({"spec": {"cutover": at}});
        patch_merge::<Migration>(&self.tracked.cluster, Some(self.namespace), self.migration, &patch).await?;
        Ok(())
    }

    /// Waits until every VM has made `count` precopies, then cuts over now. Ends quietly when the migration ends first.
    pub async fn cut_over_after(&self, count: u32, limit: Duration) -> Result<(), MtvError> {
        let Self { tracked, namespace, plan, migration } = *self;
        let what = format!("{count} precopies of Plan {namespace}/{plan}");
        let due = wait::until(&tracked.cluster, Some(namespace), plan, &what, limit, |found: Option<&Plan>| {
            let Some(found) = found else { return Poll::Done(false) };
            // The end of a Migration before it is none of this one.
            if !runs(found, migration) {
                return Poll::NotYet(format!("Migration {migration} has not begun"));
            }
            if ended(found).is_some() {
                return Poll::Done(false);
            }
            let made: Vec<i64> = vms(found).iter().map(|vm| vm.warm.as_ref().map_or(0, |w| w.successes)).collect();
            let enough = !made.is_empty() && made.iter().all(|&n| n >= i64::from(count));
            if enough { Poll::Done(true) } else { Poll::NotYet(format!("precopies so far: {made:?}")) }
        })
        .await
        .map_err(|error| ready::product(error, format!("oc -n {namespace} describe plan {plan}")))?;
        if due { self.cut_over(Moment::Now).await } else { Ok(()) }
    }

    /// Asks MTV to cancel the VMs with these ids, beside those that it was asked to cancel before.
    pub async fn cancel(&self, ids: &[String]) -> Result<(), MtvError> {
        let api: kube::Api<Migration> = kube::Api::namespaced(self.tracked.cluster.client(), self.namespace);
        let failed = |error: kube::Error| {
            MtvError::Environment(Problem::new(format!("Migration {} could not be cancelled: {error}", self.migration)))
        };
        let mut refs = api.get(self.migration).await.map_err(failed)?.spec.cancel;
        refs.extend(ids.iter().cloned().map(Ref::by_id));
        ask_to_cancel(&api, self.migration, &refs).await.map_err(failed)
    }

    /// How the Plan's VMs stand now.
    pub async fn statuses(&self) -> Result<Vec<VmStatus>, MtvError> {
        Ok(self.told().await?.1)
    }

    /// Likewise, and when MTV took up the migration.
    pub async fn told(&self) -> Result<(Option<String>, Vec<VmStatus>), MtvError> {
        let api: kube::Api<Plan> = kube::Api::namespaced(self.tracked.cluster.client(), self.namespace);
        let plan = api.get(self.plan).await.map_err(|error| {
            MtvError::Environment(Problem::new(format!("Plan {}/{}: {error}", self.namespace, self.plan)))
        })?;
        let begun = plan.status.as_ref().and_then(|status| status.migration.as_ref()?.started.clone());
        Ok((begun, vms(&plan).to_vec()))
    }
}

/// Whether the Plan's status speaks of this Migration: one that is made again keeps the end of the one before until MTV
/// takes up the next. (The Plan's history names it.)
fn runs(plan: &Plan, migration: &str) -> bool {
    let history = plan.status.as_ref().and_then(|status| status.migration.as_ref()?.history.last());
    let named = history.and_then(|last| last.pointer("/migration/name")).and_then(serde_json::Value::as_str);
    named.is_none_or(|name| name.is_empty() || name == migration)
}

/// A moment by the clock that MTV compares it with: this machine's may be hours off, and a cutover that is hours away
/// looks like a migration that does not end.
async fn time_of(cluster: &Cluster, moment: Moment) -> Result<String, MtvError> {
    let now = server_time(cluster)
        .await
        .map_err(|cause| MtvError::Environment(Problem::new(format!("the cutover has no time: {cause}"))))?;
    let span = |span| jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX);
    Ok(rfc3339(match moment {
        Moment::Now => now,
        Moment::In(later) => now.checked_add(span(later)).unwrap_or(Timestamp::MAX),
        Moment::Ago(before) => now.checked_sub(span(before)).unwrap_or(Timestamp::MIN),
    }))
}

fn rfc3339(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}

/// Whether a Plan of this run's and all Migrations of it are seen to be at rest, without asking anybody. `false`: it
/// runs, or nobody can tell.
pub fn rests(cluster: &Cluster, namespace: &str, plan: &str) -> bool {
    let kind = ApiResource::erase::<Plan>(&());
    let Some(Ok(found)) = cluster.hub().seen(&kind, Some(namespace), plan).map(|seen| seen.read::<Plan>()) else {
        return false;
    };
    let kind = ApiResource::erase::<Migration>(&());
    let Some(all) = cluster.hub().seen_in(&kind, namespace) else { return false };
    let over = |migration: &Migration| migration.spec.plan.name.as_deref() != Some(plan) || is_over(migration);
    !conditions(&found).holds("Executing")
        && all.iter().all(|migration| migration.read().is_ok_and(|migration| over(&migration)))
}

/// Whether a Migration has ended, however.
pub fn is_over(migration: &Migration) -> bool {
    let conditions = migration.status.as_ref().map_or(&[][..], |status| status.conditions.as_slice());
    ["Succeeded", "Failed", "Canceled"].iter().any(|end| conditions.holds(end))
}

/// Cancels every VM of a running Migration and waits until MTV says so. A migration that has ended
/// (or that never began) is left as it is.
pub async fn cancel(cluster: &Cluster, namespace: &str, plan: &str, limit: Duration) -> Result<(), WaitError> {
    let plans: kube::Api<Plan> = kube::Api::namespaced(cluster.client(), namespace);
    let watch_error =
        |what: &str, error: kube::Error| WaitError::Watch { what: what.to_owned(), cause: error.to_string() };
    let Some(found) = plans.get_opt(plan).await.map_err(|e| watch_error("the Plan to cancel", e))? else {
        return Ok(());
    };
    let migrations: kube::Api<Migration> = kube::Api::namespaced(cluster.client(), namespace);
    let all = migrations
        .list(&kube::api::ListParams::default())
        .await
        .map_err(|e| watch_error("the Migrations to cancel", e))?;
    let running: Vec<&Migration> = all
        .items
        .iter()
        .filter(|m| m.spec.plan.name.as_deref() == Some(plan))
        .filter(|migration| !is_over(migration))
        .collect();
    if running.is_empty() || ended(&found).is_some() {
        return Ok(());
    }
    let refs: Vec<Ref> = found.spec.vms.iter().filter_map(|vm| vm.id.clone()).map(Ref::by_id).collect();
    for migration in running {
        let name = migration.metadata.name.as_deref().unwrap_or_default();
        ask_to_cancel(&migrations, name, &refs).await.map_err(|e| watch_error("the Migration to be cancelled", e))?;
    }
    let what = format!("Plan {namespace}/{plan} to be cancelled");
    wait::until(cluster, Some(namespace), plan, &what, limit, |found: Option<&Plan>| match found {
        None => Poll::Done(()),
        Some(found) if ended(found).is_some() => Poll::Done(()),
        Some(found) => {
            Poll::NotYet(found.status.as_ref().map_or_else(|| "no status".to_owned(), |s| s.conditions.summary()))
        }
    })
    .await
}

async fn ask_to_cancel(migrations: &kube::Api<Migration>, name: &str, refs: &[Ref]) -> Result<(), kube::Error> {
    let patch = kube::api::Patch::Merge(serde_json::json!({"spec": {"cancel": refs}}));
    migrations.patch(name, &kube::api::PatchParams::default(), &patch).await.map(drop)
}

fn running_step(vm: &VmStatus) -> Option<&Step> {
    vm.pipeline.iter().find(|step| step.phase == "Running")
}

pub(super) fn vm_progress(vm: &VmStatus) -> VmProgress {
    let step = running_step(vm);
    let percent = step
        .filter(|s| s.progress.total > 0)
        .map(|s| (s.progress.completed as f64 * 100.0 / s.progress.total as f64).clamp(0.0, 100.0).round());
    VmProgress {
        vm: vm.name.clone(),
        phase: vm.phase.clone(),
        step: step.map(|s| s.name.clone()),
        percent,
        precopies: vm.warm.as_ref().and_then(|w| u32::try_from(w.successes).ok()),
        total_mb: step
            .filter(|s| s.name.starts_with("DiskTransfer") && s.progress.total > 0)
            .and_then(|s| u64::try_from(s.progress.total).ok()),
    }
}

fn describe(vms: &[VmProgress], otherwise: impl FnOnce() -> String) -> String {
    if vms.is_empty() {
        return otherwise();
    }
    let lines: Vec<String> = vms
        .iter()
        .map(|vm| {
            let percent = vm.percent.map(|p| format!(" {p:.0}%")).unwrap_or_default();
            format!("{} in {}{percent}", vm.vm, vm.step.as_deref().unwrap_or(&vm.phase))
        })
        .collect();
    lines.join("; ")
}

/// The pipeline step at which a VM failed: the first with an error, else the phase of the VM's error.
pub fn failed_step(vm: &VmStatus) -> Option<String> {
    let step = vm.pipeline.iter().find(|step| step.error.is_some()).map(|step| step.name.clone());
    step.or_else(|| vm.error.as_ref().map(|error| error.phase.clone()).filter(|phase| !phase.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::Condition;
    use crate::api::forklift::{PlanMigration, PlanSpec, PlanStatus, StepError};

    #[tokio::test]
    async fn a_cutover_is_told_by_the_clusters_clock_and_not_by_this_machines() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            let answer = http::Response::builder().header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
            answer.body(kube::client::Body::empty()).map_err(tower::BoxError::from)
        });
        let client = kube::Client::new(service, "default");
        let cluster = Cluster::from_client(client, "https://lab", Duration::from_secs(1)).unwrap();
        let at = async |moment| time_of(&cluster, moment).await.unwrap();
        assert_eq!(at(Moment::In(Duration::from_secs(83))).await, "1994-11-06T08:51:00Z");
        assert_eq!(at(Moment::Ago(Duration::from_secs(3600))).await, "1994-11-06T07:49:37Z");
    }

    fn plan(conditions: &[&str]) -> Plan {
        let mut plan = Plan::new("p", PlanSpec::default());
        plan.status = Some(PlanStatus {
            conditions: conditions
                .iter()
                .map(|t| Condition { type_: (*t).to_owned(), status: "True".to_owned(), ..Condition::default() })
                .collect(),
            migration: Some(PlanMigration::default()),
            ..PlanStatus::default()
        });
        plan
    }

    #[test]
    fn canceled_is_an_end_and_executing_is_none() {
        assert_eq!(ended(&plan(&["Ready", "Executing"])), None);
        assert_eq!(ended(&plan(&["Canceled"])), Some(Ended::Canceled(Vec::new())));
        assert_eq!(ended(&plan(&["Ready", "Succeeded"])), Some(Ended::Succeeded(Vec::new())));
        assert_eq!(ended(&plan(&["Ready"])), None);
    }

    #[test]
    fn a_plan_that_is_migrated_again_has_not_ended_by_the_end_before() {
        let mut plan = plan(&["Failed"]);
        let history = serde_json::json!({"migration": {"name": "migration"}});
        plan.status.as_mut().unwrap().migration.as_mut().unwrap().history.push(history);
        assert!(runs(&plan, "migration") && !runs(&plan, "migration-2"));
    }

    #[test]
    fn the_failed_step_is_the_first_that_carries_an_error() {
        let mut vm = VmStatus { name: "a".to_owned(), ..VmStatus::default() };
        vm.pipeline = ["PreHook", "DiskTransfer", "PostHook"]
            .iter()
            .map(|n| Step { name: (*n).to_owned(), ..Step::default() })
            .collect();
        assert_eq!(failed_step(&vm), None);
        vm.pipeline[2].error = Some(StepError { phase: "Running".to_owned(), reasons: vec!["Job failed".to_owned()] });
        assert_eq!(failed_step(&vm).as_deref(), Some("PostHook"));
        assert_eq!(failure_lines(&vm), ["a: PostHook: Job failed"]);
    }
}
