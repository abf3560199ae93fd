//! Removing a VM with its disks for good, also one whose clone is still being made.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::OvirtDriver;
use super::rest::{items, text_or_empty};
use crate::source::poll::Look;
use crate::source::{SourceError, VmRef};

/// How long a clone that was asked for and not answered may take to appear under its name.
const APPEARS: Duration = Duration::from_secs(10);

/// How MTV describes the snapshots of a warm migration.
const PRECOPY: &str = "Forklift Operator warm migration precopy";
/// MTV asks for a removal every 10 seconds (`SnapshotStatusCheckRate`): when nothing has moved for so
/// long, nobody is removing.
const AT_REST: Duration = Duration::from_secs(45);

impl OvirtDriver {
    pub(super) async fn delete(&self, name: &str) -> Result<bool, SourceError> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let mut found = self.find_vm(name).await?;
        if found.is_none() && asked {
            let appears = format!("{name} to appear");
            let waited = self.session.until(&appears, APPEARS, || async move {
                Ok(match self.find_vm(name).await? {
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
        let Some(vm) = found else { return Ok(false) };
        let what = format!("delete {name}");
        self.snapshots_of_mtv_gone(&vm, &what).await?;
        let limit = self.session.timeouts().delete;
        self.remove(&vm, limit, &what).await?;
        match self.find_vm(name).await? {
            None => Ok(true),
            Some(left) => {
                Err(self.session.refused(what, format!("VM {} is still there after it was deleted", left.id)))
            }
        }
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
                0 => Look::Done(()),
                _ if progress.1.elapsed() >= AT_REST => Look::Done(()),
                left => Look::NotYet(format!("{left} left")),
            })
        });
        match waited.await {
            Err(SourceError::Timeout { .. }) => Ok(()),
            ended => ended,
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
