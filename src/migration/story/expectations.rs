//! `expect`: how a migration ended, a condition, the source VMs.

use super::super::Failure;
use super::super::execute::{self, Migrated};
use super::super::prepared::PreparedVm;
use super::actor::Actor;
use crate::api::forklift::VmStatus;
use crate::api::vm::SourceVm;
use crate::config::steps::{End, Expect, Goal};
use crate::event::Problem;
use crate::forklift::Patience;
use crate::forklift::execution::{self, Ended};
use crate::source;

impl Actor<'_> {
    pub(super) async fn expect(&mut self, expect: &Expect, patience: Patience) -> Result<(), Failure> {
        let ids = self.ids(&expect.vm)?;
        if let Some(wanted) = expect.ended {
            match ids.first() {
                None => {
                    let end = self.end(patience).await?;
                    self.told.migrated = Some(plan_ended(expect, wanted, end)?);
                }
                Some(id) => self.vm_ended(expect, wanted, id, patience).await?,
            }
        }
        if let Some(type_) = &expect.condition {
            let goal = Goal::Condition(type_.clone());
            let (tracked, migration) = (self.tracked(), self.migration());
            let what = format!("the condition {type_}");
            self.execution(&tracked, &migration).reach((&goal, &ids), &what, patience, |_| {}).await?;
        }
        if let Some(span) = expect.ignored {
            let (tracked, migration) = (self.tracked(), self.migration());
            self.execution(&tracked, &migration).is_ignored(span).await?;
            self.was_ignored();
        }
        if expect.pvcs.is_some() {
            self.claims_kept(&ids).await?;
        }
        if expect.source.is_some() {
            self.source_unchanged(&ids, patience).await?;
        }
        Ok(())
    }

    async fn vm_ended(&self, expect: &Expect, wanted: End, id: &str, patience: Patience) -> Result<(), Failure> {
        let (tracked, migration) = (self.tracked(), self.migration());
        let execution = self.execution(&tracked, &migration);
        let ids = [id.to_owned()];
        execution.reach((&Goal::End, &ids), "the end of the VM's migration", patience, |_| {}).await?;
        let statuses = execution.statuses().await?;
        let vm: Vec<VmStatus> = statuses.into_iter().filter(|vm| vm.id == id).collect();
        let found = vm.first().map(execute::own_end);
        match found {
            Some(Some(found)) if found == wanted => failure_is_as_expected(expect, &vm),
            Some(found) => Err(otherwise(expect, wanted, found, &vm)),
            None => Err(Failure::product(Problem::new(format!("MTV's Plan lists no VM {id}")))),
        }
    }

    /// The source VMs must be as before: a MTV that gives up gives them back.
    async fn source_unchanged(&self, ids: &[String], patience: Patience) -> Result<(), Failure> {
        let Some(driver) = self.prepared.open.access.driver() else {
            let message = "`source: unchanged` can't be judged: nobody here can look at VMs of this platform";
            return Err(Failure::skipped(message));
        };
        for vm in self.prepared.vms.iter().filter(|vm| ids.is_empty() || ids.contains(&vm.reference.id)) {
            let settled = |now: &SourceVm| differences(vm, now).map_or(Ok(()), Err);
            let now = source::describe_settled(driver.as_ref(), &vm.reference, patience.limit, settled).await?;
            if let Some(differences) = differences(vm, &now) {
                let message = format!("source VM {} is not as before its migration: {differences}", vm.reference.name);
                return Err(Failure::product(Problem::new(message)));
            }
        }
        Ok(())
    }
}

/// What tells a source VM from itself before; `None`: nothing.
fn differences(vm: &PreparedVm, now: &SourceVm) -> Option<String> {
    let before = &vm.before;
    let mut out = Vec::new();
    if now.power != before.power {
        out.push(format!("it was {} and is {}", before.power, now.power));
    }
    if now.snapshots != before.snapshots {
        out.push(format!("it had {} snapshots and has {}", before.snapshots.len(), now.snapshots.len()));
    }
    let sizes = |vm: &SourceVm| vm.disks.iter().map(|disk| disk.capacity_bytes).collect::<Vec<_>>();
    if sizes(now) != sizes(before) {
        out.push(format!("its disks were {:?} and are {:?} bytes", sizes(before), sizes(now)));
    }
    (!out.is_empty()).then(|| out.join("; "))
}

fn end_of(end: &Ended) -> (End, &[VmStatus]) {
    match end {
        Ended::Succeeded(vms) => (End::Succeeded, vms),
        Ended::Failed(vms) => (End::Failed, vms),
        Ended::Canceled(vms) => (End::Canceled, vms),
    }
}

/// What a migration that ended so has left; an error where it was to end otherwise.
fn plan_ended(expect: &Expect, wanted: End, end: Ended) -> Result<Migrated, Failure> {
    let (found, vms) = end_of(&end);
    if found != wanted {
        return Err(otherwise(expect, wanted, Some(found), vms));
    }
    if wanted == End::Failed {
        let failed: Vec<VmStatus> =
            vms.iter().filter(|vm| execute::own_end(vm) == Some(End::Failed)).cloned().collect();
        failure_is_as_expected(expect, if failed.is_empty() { vms } else { &failed })?;
    }
    let has_targets = found == End::Succeeded || vms.iter().any(|vm| !execute::leaves_no_vm(vm));
    Ok(Migrated { vms: vms.to_vec(), has_targets })
}

fn failure_is_as_expected(expect: &Expect, vms: &[VmStatus]) -> Result<(), Failure> {
    for vm in vms {
        let step = execution::failed_step(vm);
        if let Some(wanted) = expect.at.as_ref().filter(|wanted| step.as_ref() != Some(wanted)) {
            let found = step.as_deref().unwrap_or("a step that MTV does not name");
            let message = format!("expected {} to fail at {wanted}, but it failed at {found}", vm.name);
            return Err(told(message, vms));
        }
        let lines = execution::failure_lines(vm);
        if let Some(wanted) = expect.error.as_ref().filter(|wanted| !lines.iter().any(|line| wanted.matches(line))) {
            let message = format!("expected an error like `{}` of {}, but MTV says otherwise", wanted.text(), vm.name);
            return Err(told(message, vms));
        }
    }
    Ok(())
}

fn otherwise(expect: &Expect, wanted: End, found: Option<End>, vms: &[VmStatus]) -> Failure {
    let whose =
        expect.vm.as_ref().map_or_else(|| "the migration".to_owned(), |vm| format!("the migration of {}", vm.0));
    let at = expect.at.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
    let found = found.map_or("has no end", End::name);
    told(format!("expected {whose} to end {}{at}, but it {found}{}", wanted.name(), execute::at_steps(vms)), vms)
}

fn told(message: String, vms: &[VmStatus]) -> Failure {
    let mut problem = Problem::new(message);
    problem.details = vms.iter().flat_map(execution::failure_lines).collect();
    Failure::product(problem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vm(name: &str, end: &str, step: Option<&str>) -> VmStatus {
        let error = json!({"phase": "Running", "reasons": ["the playbook failed"]});
        let pipeline = step.map(|step| json!({"name": step, "error": error})).into_iter().collect::<Vec<_>>();
        let condition = json!({"type": end, "status": "True", "category": "Advisory"});
        serde_json::from_value(json!({"id": name, "name": name, "pipeline": pipeline, "conditions": [condition]}))
            .unwrap()
    }

    fn expects(text: &str) -> Expect {
        serde_json::from_str(text).unwrap()
    }

    fn said(expect: &str, end: Ended) -> String {
        let expect = expects(expect);
        match plan_ended(&expect, expect.ended.unwrap(), end) {
            Ok(migrated) => format!("taken, targets: {}", migrated.has_targets),
            Err(failure) => failure.problem.message,
        }
    }

    #[test]
    fn an_end_is_taken_only_where_it_step_and_error_are_as_expected() {
        let failed = || Ended::Failed(vec![vm("a", "Failed", Some("PreHook")), vm("b", "Succeeded", None)]);
        assert_eq!(
            said(r#"{"ended": "failed", "at": "PreHook", "error": "playbook"}"#, failed()),
            "taken, targets: true"
        );
        let elsewhere = said(r#"{"ended": "failed", "at": "PostHook"}"#, failed());
        assert_eq!(elsewhere, "expected a to fail at PostHook, but it failed at PreHook");
        let other = said(r#"{"ended": "failed", "error": "no space"}"#, failed());
        assert_eq!(other, "expected an error like `no space` of a, but MTV says otherwise");
        let end = said(r#"{"ended": "succeeded"}"#, failed());
        assert_eq!(end, "expected the migration to end succeeded, but it failed at PreHook");
        let canceled = Ended::Canceled(vec![vm("a", "Canceled", None)]);
        assert_eq!(said(r#"{"ended": "canceled"}"#, canceled), "taken, targets: false");
    }
}
