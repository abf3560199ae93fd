//! Removing a VM with its disks for good, also one whose clone is still being made.

use std::sync::PoisonError;
use std::time::Duration;

use super::OvirtDriver;
use crate::net::Poll;
use crate::source::{SourceError, VmRef};

/// How long a clone that was asked for and not answered may take to appear under its name.
const APPEARS: Duration = Duration::from_secs(10);

impl OvirtDriver {
    pub(super) async fn delete(&self, name: &str) -> Result<bool, SourceError> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let mut found = self.find_vm(name).await?;
        if found.is_none() && asked {
            found = self.appearing(name).await?;
        }
        let Some(vm) = found else { return Ok(false) };
        let what = format!("delete {name}");
        let limit = self.session.timeouts().delete;
        self.remove(&vm, limit, &what).await?;
        match self.find_vm(name).await? {
            None => Ok(true),
            Some(left) => {
                Err(self.session.refused(what, format!("VM {} is still there after it was deleted", left.id)))
            }
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
