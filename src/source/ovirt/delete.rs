//! Removing a VM with its disks for good, also one whose clone is still being made.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::OvirtDriver;
use super::rest::{items, text, text_or_empty};
use crate::ledger::mark::{Claim, Judgement, Shown};
use crate::net::Poll;
use crate::source::{SourceError, VM, VmRef, permit};

/// How long a clone that was asked for and not answered may take to appear under its name.
const APPEARS: Duration = Duration::from_secs(10);

/// How MTV describes the snapshots of a warm migration.
const PRECOPY: &str = "Forklift Operator warm migration precopy";
/// MTV asks for a removal every 10 seconds (`SnapshotStatusCheckRate`): when nothing has moved for so
/// long, nobody is removing.
const AT_REST: Duration = Duration::from_secs(45);

impl OvirtDriver {
    /// The claimed VM and whose it is. Of several with its name the one that is proven.
    pub(super) async fn claimed(&self, claim: &Claim<'_>) -> Result<Option<(VmRef, Judgement)>, SourceError> {
        let mut candidates = self.named("vms", "vm", claim.name).await?;
        if let Some(id) = claim.id.filter(|id| candidates.iter().all(|vm| text_or_empty(vm, "id") != **id)) {
            let found = self.session.get_opt(&format!("vms/{id}"), &[]).await;
            candidates.extend(found.map_err(|e| self.session.failed(format!("read VM {id}"), e))?);
        }
        let mut found: Option<(VmRef, Judgement)> = None;
        for vm in &candidates {
            let reference = VmRef { id: text_or_empty(vm, "id"), name: text_or_empty(vm, "name") };
            let note = text(vm, "description");
            let shown = Shown { kind: VM, name: &reference.name, id: &reference.id, note: note.as_deref() };
            let judgement = claim.judge(shown);
            if judgement == Judgement::Ours {
                return Ok(Some((reference, judgement)));
            }
            found.get_or_insert((reference, judgement));
        }
        Ok(found)
    }

    pub(super) async fn delete(&self, claim: &Claim<'_>) -> Result<bool, SourceError> {
        let name = claim.name;
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let mut found = self.claimed(claim).await?;
        if found.is_none() && asked {
            let appears = format!("{name} to appear");
            let waited = self.session.until(&appears, APPEARS, || async move {
                Ok(match self.claimed(claim).await? {
                    Some(vm) => Poll::Done(vm),
                    None => Poll::NotYet("no such VM".to_owned()),
                })
            });
            found = match waited.await {
                Ok(vm) => Some(vm),
                Err(SourceError::Timeout { .. }) => None,
                Err(error) => return Err(error),
            };
        }
        let Some((vm, _)) = found else { return Ok(false) };
        let what = format!("delete {name}");
        self.snapshots_of_mtv_gone(&vm, &what).await?;
        let limit = self.session.timeouts().delete;
        self.permitted(&vm, claim, &what).await?;
        self.remove(&vm, limit, &what).await?;
        match self.status(&vm.id, &what).await? {
            None => Ok(true),
            Some(_) => Err(self.session.refused(what, format!("VM {} is still there after it was deleted", vm.id))),
        }
    }

    /// Read right before the delete.
    async fn permitted(&self, vm: &VmRef, claim: &Claim<'_>, what: &str) -> Result<(), SourceError> {
        let found = self.session.get_opt(&format!("vms/{}", vm.id), &[]).await;
        let Some(found) = found.map_err(|e| self.session.failed(what, e))? else { return Ok(()) };
        let (name, note) = (text_or_empty(&found, "name"), text(&found, "description"));
        permit(&self.profile.name, claim, Shown { kind: VM, name: &name, id: &vm.id, note: note.as_deref() })
    }

    /// Waits for the precopy snapshots that MTV takes off a VM after its migration ended, however it
    /// ended: a VM that goes meanwhile leaves MTV and the engine with tasks on nothing. Not for ever:
    /// an MTV that is gone removes none, and the VM is ours to delete.
    async fn snapshots_of_mtv_gone(&self, vm: &VmRef, what: &str) -> Result<(), SourceError> {
        let path = format!("vms/{}/snapshots", vm.id);
        let (path, limit) = (path.as_str(), self.session.timeouts().snapshot_removal);
        // How many were left, and since when it is so.
        let progress = Mutex::new((usize::MAX, Instant::now()));
        let progress = &progress;
        let gone = format!("MTV's snapshots of {} to go", vm.name);
        let waited = self.session.until(&gone, limit, || async move {
            let answer = self.session.get_opt(path, &[]).await.map_err(|e| self.session.failed(what, e))?;
            let answer = answer.unwrap_or_default();
            let of_mtv = |s: &&Value| text_or_empty(s, "description").starts_with(PRECOPY);
            let left: Vec<&Value> = items(&answer, "snapshot").iter().filter(of_mtv).collect();
            let busy = left.iter().any(|s| text_or_empty(s, "snapshot_status") != "ok");
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            if busy || left.len() < progress.0 {
                *progress = (left.len(), Instant::now());
            }
            Ok(match left.len() {
                0 => Poll::Done(()),
                _ if progress.1.elapsed() >= AT_REST => Poll::Done(()),
                left => Poll::NotYet(format!("{left} left")),
            })
        });
        match waited.await {
            Err(SourceError::Timeout { .. }) => Ok(()),
            ended => ended,
        }
    }

    /// A VM that was asked for without an answer, if it comes.
    pub(super) async fn appearing(&self, name: &str) -> Result<Option<VmRef>, SourceError> {
        let appears = format!("{name} to appear");
        let waited = self.session.until(&appears, APPEARS, || async move {
            Ok(match self.find_vm(name).await? {
                Some(vm) => Poll::Done(vm),
                None => Poll::NotYet("no such VM".to_owned()),
            })
        });
        match waited.await {
            Ok(vm) => Ok(Some(vm)),
            Err(SourceError::Timeout { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes as often as the engine says that the VM is not free: locked, or just going down.
    /// A clone that is being made keeps it locked, so that its time counts, too.
    async fn remove(&self, vm: &VmRef, limit: Duration, what: &str) -> Result<(), SourceError> {
        let free = self.session.timeouts().clone + limit;
        let path = format!("vms/{}", vm.id);
        let path = path.as_str();
        let begun = format!("{} to be free to delete", vm.name);
        let waited = self.session.until(&begun, free, || async move {
            match self.status(&vm.id, what).await?.as_deref() {
                None => return Ok(Poll::Done(())),
                Some("image_locked") => return Ok(Poll::NotYet("image_locked".to_owned())),
                Some("down") => {}
                Some(_) => self.force_off(vm, what).await?,
            }
            match self.session.delete(path).await {
                Ok(_) => Ok(Poll::Done(())),
                Err(error) if error.is(404) => Ok(Poll::Done(())),
                Err(error) if error.is(409) => Ok(Poll::NotYet(self.session.failed(what, error).to_string())),
                Err(error) => Err(self.session.failed(what, error)),
            }
        });
        waited.await?;
        let gone = format!("{} to be gone", vm.name);
        let gone = self.session.until(&gone, limit, || async move {
            Ok(match self.status(&vm.id, what).await? {
                None => Poll::Done(()),
                Some(status) => Poll::NotYet(status),
            })
        });
        gone.await
    }
}
