//! Removing a VM with its disks for good, also one whose clone is still being made.

use std::sync::PoisonError;
use std::time::Duration;

use super::OvirtDriver;
use super::rest::{text, text_or_empty};
use crate::ledger::mark::{Claim, Judgement, Shown};
use crate::source::poll::Look;
use crate::source::{SourceError, VM, VmRef, permit};

/// How long a clone that was asked for and not answered may take to appear under its name.
const APPEARS: Duration = Duration::from_secs(10);

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
                    Some(vm) => Look::Done(vm),
                    None => Look::NotYet("no such VM".to_owned()),
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

    /// Deletes as often as the engine says that the VM is not free: locked, or just going down.
    /// A clone that is being made keeps it locked, so that its time counts, too.
    async fn remove(&self, vm: &VmRef, limit: Duration, what: &str) -> Result<(), SourceError> {
        let free = self.session.timeouts().clone + limit;
        let path = format!("vms/{}", vm.id);
        let path = path.as_str();
        let begun = format!("{} to be free to delete", vm.name);
        let waited = self.session.until(&begun, free, || async move {
            match self.status(&vm.id, what).await?.as_deref() {
                None => return Ok(Look::Done(())),
                Some("image_locked") => return Ok(Look::NotYet("image_locked".to_owned())),
                Some("down") => {}
                Some(_) => self.force_off(vm, what).await?,
            }
            match self.session.delete(path).await {
                Ok(_) => Ok(Look::Done(())),
                Err(error) if error.is(404) => Ok(Look::Done(())),
                Err(error) if error.is(409) => Ok(Look::NotYet(self.session.failed(what, error).to_string())),
                Err(error) => Err(self.session.failed(what, error)),
            }
        });
        waited.await?;
        let gone = format!("{} to be gone", vm.name);
        let gone = self.session.until(&gone, limit, || async move {
            Ok(match self.status(&vm.id, what).await? {
                None => Look::Done(()),
                Some(status) => Look::NotYet(status),
            })
        });
        gone.await
    }
}
