//! Removing a VM for good, also one whose clone is still being made.

use std::sync::PoisonError;
use std::time::Duration;

use super::VsphereDriver;
use crate::api::vim::property::{FilterSpec, PropertySpec, Select};
use crate::api::vim::vm::TaskInfo;
use crate::api::vim::{MoRef, ObjectContent, decode_name, op};
use crate::ledger::mark::{Claim, Judgement, Shown};
use crate::net::Poll;
use crate::source::slot::Sessions as _;
use crate::source::{SourceError, VM, permit};

/// How often a VM is destroyed that others still work on: a task that a killed process had begun.
const DESTROY_TRIES: u32 = 3;

/// What a VM is judged and deleted by, in one read.
const SHOWN: &[&str] = &["name", "config.annotation", "runtime.powerState", "recentTask"];

fn shown<'a>(object: &'a ObjectContent, name: &'a str) -> Shown<'a> {
    Shown { kind: VM, name, id: &object.obj.id, note: object.text("config.annotation") }
}

impl VsphereDriver {
    /// The claimed VM and whose it is. Of several with its name the one that is proven.
    pub(super) async fn claimed(&self, claim: &Claim<'_>) -> Result<Option<(MoRef, Judgement)>, SourceError> {
        // What the run wrote down is found by its id; names are listed where that one is not there, or not proven.
        if let Some(id) = claim.id.filter(|_| claim.written) {
            let vm = MoRef::new("VirtualMachine", id);
            if self.judged(&vm, claim).await? == Some(Judgement::Ours) {
                return Ok(Some((vm, Judgement::Ours)));
            }
        }
        let mut candidates = self.refresh().await?.get(claim.name).cloned().unwrap_or_default();
        // One that somebody renamed is still the one with the id.
        if let Some(id) = claim.id.filter(|id| candidates.iter().all(|vm| vm.id != *id)) {
            candidates.push(MoRef::new("VirtualMachine", id));
        }
        let mut found: Option<(MoRef, Judgement)> = None;
        for vm in candidates {
            let Some(judgement) = self.judged(&vm, claim).await? else { continue };
            if judgement == Judgement::Ours {
                return Ok(Some((vm, judgement)));
            }
            found.get_or_insert((vm, judgement));
        }
        Ok(found)
    }

    /// Whose the VM is; `None`: it is not there.
    async fn judged(&self, vm: &MoRef, claim: &Claim<'_>) -> Result<Option<Judgement>, SourceError> {
        match self.props(vm, SHOWN).await {
            Ok(object) => {
                let name = decode_name(object.text("name").unwrap_or_default());
                Ok(Some(claim.judge(shown(&object, &name))))
            }
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn delete(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        let (name, limit) = (claim.name, self.options.timeouts.delete);
        self.stop_own_clone(name, limit).await?;
        let mut found = self.claimed(claim).await?;
        if found.is_none() && self.wait_for_other_clones(limit).await? {
            found = self.claimed(claim).await?;
        }
        let Some((vm, _)) = found else { return Ok(false) };
        let what = format!("delete {name}");
        let mut tries = 1;
        loop {
            let object = match self.props(&vm, SHOWN).await {
                Ok(object) => object,
                Err(SourceError::NotFound { .. }) => return Ok(true),
                Err(error) => return Err(error),
            };
            let now = decode_name(object.text("name").unwrap_or_default());
            permit(&self.profile.name, claim, shown(&object, &now))?;
            if object.text("runtime.powerState").is_some_and(|state| state != "poweredOff")
                && let Err(error) = self.force_off(&vm, name).await
            {
                if tries == DESTROY_TRIES {
                    return Err(error);
                }
                tries += 1;
                self.wait_tasks_over(&object.morefs("recentTask"), limit).await?;
                continue;
            }
            match self.session.run_task("Destroy_Task", &what, limit, |_| op::destroy(&vm)).await {
                Ok(_) => break,
                Err(error) if error.is("ManagedObjectNotFound") => break,
                Err(error)
                    if tries < DESTROY_TRIES && (error.is("InvalidPowerState") || error.is("TaskInProgress")) =>
                {
                    tries += 1;
                    self.wait_tasks_over(&object.morefs("recentTask"), limit).await?;
                }
                Err(error) => return Err(self.session.failed(&what, error)),
            }
        }
        self.forget(name);
        match self.props(&vm, &["name"]).await {
            Err(SourceError::NotFound { .. }) => Ok(true),
            Ok(_) => Err(self.session.refused(what, format!("{vm} is still there after it was destroyed"))),
            Err(error) => Err(error),
        }
    }

    /// Cancels a clone of that name that this process asked for, and waits for its end.
    async fn stop_own_clone(&self, name: &str, limit: Duration) -> Result<(), SourceError> {
        let task = self.cloning.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let Some(task) = task else { return Ok(()) };
        // Refused when it has ended or cannot be cancelled: then it is only waited for.
        let _ = self.session.call(|_| op::cancel_task(&task)).await;
        self.wait_tasks_over(&[task], limit).await
    }

    /// A clone that an earlier process began appears in the inventory late, and its task names the
    /// source only. So unfinished clones of our own login are waited for; they are never cancelled,
    /// because they may belong to another run. `false`: there were none.
    pub(super) async fn wait_for_other_clones(&self, limit: Duration) -> Result<bool, SourceError> {
        let live = self.session.live().await.map_err(|e| self.session.failed("log in", e))?;
        let Some(manager) = live.content.task_manager.clone() else { return Ok(false) };
        let tasks = self.props(&manager, &["recentTask"]).await?.morefs("recentTask");
        if tasks.is_empty() {
            return Ok(false);
        }
        let mut running: Vec<MoRef> = Vec::new();
        for task in &tasks {
            let props = vec![PropertySpec { kind: "Task", paths: &["info"] }];
            let spec = FilterSpec { props, select: Select::Objects(std::slice::from_ref(task)) };
            // A task may be purged between both reads.
            let Ok(found) = self.session.read(&spec).await else { continue };
            let ours = |info: &TaskInfo| info.user.as_ref().is_none_or(|user| user.eq_ignore_ascii_case(&live.user));
            let info = found.first().and_then(|o| o.props.get("info")).map(TaskInfo::parse);
            if info.is_some_and(|info| info.is_clone() && !info.is_over() && ours(&info)) {
                running.push(task.clone());
            }
        }
        if running.is_empty() {
            return Ok(false);
        }
        self.wait_tasks_over(&running, limit).await?;
        Ok(true)
    }

    /// Waits until none of the tasks runs any more, or the limit is over.
    pub(super) async fn wait_tasks_over(&self, tasks: &[MoRef], limit: Duration) -> Result<(), SourceError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let waited = self
            .session
            .wait_for(tasks, &["info"], limit, |known| {
                let infos = known.values().filter_map(|p| p.get("info")).map(TaskInfo::parse);
                match infos.filter(|info| !info.is_over()).count() {
                    0 => Poll::Done(()),
                    n => Poll::NotYet(format!("{n} clones run")),
                }
            })
            .await;
        match waited {
            Ok(_) => Ok(()),
            // Ended and purged.
            Err(error) if error.is("ManagedObjectNotFound") => Ok(()),
            Err(error) => Err(self.session.failed("wait for running clones", error)),
        }
    }
}
