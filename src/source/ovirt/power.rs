//! Power, gently first; what a running guest reports; who powered a VM off.

use std::time::Duration;

use serde_json::json;

use super::OvirtDriver;
use super::describe::has_address;
use super::rest::{items, parsed, text_or_empty};
use crate::net::Poll;
use crate::source::{SourceError, VmRef};

/// The engine's event for a VM that somebody powered off by force.
const FORCED_OFF: u32 = 33;

impl OvirtDriver {
    /// The VM's status; `None` when it is gone.
    pub(super) async fn status(&self, id: &str, what: &str) -> Result<Option<String>, SourceError> {
        let vm = self.session.get_opt(&format!("vms/{id}"), &[]).await;
        Ok(vm.map_err(|e| self.session.failed(what, e))?.map(|vm| text_or_empty(&vm, "status")))
    }

    pub(super) async fn wait_status(
        &self,
        vm: &VmRef,
        wanted: &str,
        limit: Duration,
        what: &str,
    ) -> Result<(), SourceError> {
        let look = || async move {
            Ok(match self.status(&vm.id, what).await? {
                Some(status) if status == wanted => Poll::Done(()),
                Some(status) => Poll::NotYet(status),
                None => return Err(self.session.refused(what, "the VM is gone")),
            })
        };
        self.session.until(&format!("{} to be {wanted}", vm.name), limit, look).await
    }

    async fn act(&self, vm: &VmRef, action: &str) -> Result<(), super::session::CallError> {
        self.session.post(&format!("vms/{}/{action}", vm.id), &[], &json!({})).await.map(drop)
    }

    pub(super) async fn power_on(&self, vm: &VmRef) -> Result<String, SourceError> {
        let what = format!("power on {}", vm.name);
        let limit = self.session.timeouts().power;
        match self.status(&vm.id, &what).await?.as_deref() {
            Some("up") => return Ok("was on already".to_owned()),
            None => return Err(self.session.refused(what, "the VM is gone")),
            Some(_) => {}
        }
        match self.act(vm, "start").await {
            Ok(()) => {}
            // It may have been started in between; the wait below says.
            Err(error) if error.is(409) && self.is_on(vm, &what).await? => {}
            Err(error) => return Err(self.session.failed(&what, error)),
        }
        self.wait_status(vm, "up", limit, &what).await?;
        Ok("powered on".to_owned())
    }

    async fn is_on(&self, vm: &VmRef, what: &str) -> Result<bool, SourceError> {
        let status = self.status(&vm.id, what).await?;
        Ok(matches!(status.as_deref(), Some("up" | "powering_up" | "wait_for_launch")))
    }

    /// Asks the guest, then forces.
    pub(super) async fn shut_down(&self, vm: &VmRef) -> Result<String, SourceError> {
        let what = format!("power off {}", vm.name);
        let limit = self.session.timeouts().power;
        let status = self.status(&vm.id, &what).await?;
        let forced_because = match status.as_deref() {
            None => return Err(self.session.refused(what, "the VM is gone")),
            Some("down") => return Ok("was off already".to_owned()),
            Some("up" | "powering_down") => match self.act(vm, "shutdown").await {
                Ok(()) => match self.wait_status(vm, "down", limit, &what).await {
                    Ok(()) => return Ok("shut down by its guest".to_owned()),
                    Err(SourceError::Timeout { .. }) => format!("the guest did not shut down within {limit:?}"),
                    Err(error) => return Err(error),
                },
                // It went down between the look and the request, or by a request whose answer was lost.
                Err(error) if error.is(409) && self.status(&vm.id, &what).await?.as_deref() == Some("down") => {
                    return Ok("shut down by its guest".to_owned());
                }
                Err(error) if error.is(409) || error.is(400) => {
                    format!("the engine refused to shut it down: {}", self.session.failed(&what, error))
                }
                Err(error) => return Err(self.session.failed(&what, error)),
            },
            Some(other) => format!("it was {other}"),
        };
        self.force_off(vm, &what).await?;
        Ok(format!("powered off by force: {forced_because}"))
    }

    pub(super) async fn force_off(&self, vm: &VmRef, what: &str) -> Result<(), SourceError> {
        let limit = self.session.timeouts().power;
        match self.act(vm, "stop").await {
            Ok(()) => {}
            // The guest may have gone down by itself in between; a locked VM is waited for.
            Err(error) if error.is(409) => {}
            Err(error) => return Err(self.session.failed(what, error)),
        }
        self.wait_status(vm, "down", limit, what).await
    }

    pub(super) async fn guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        let what = format!("the guest of {} to report its network", vm.name);
        let (path, doing) = (format!("vms/{}/reporteddevices", vm.id), format!("watch the guest of {}", vm.name));
        let (path, doing) = (path.as_str(), doing.as_str());
        let waited = self.session.until(&what, limit, || async move {
            match self.status(&vm.id, doing).await?.as_deref() {
                Some("up") => {}
                other => return Ok(Poll::NotYet(other.unwrap_or("gone").to_owned())),
            }
            let devices = self.session.get(path, &[]).await.map_err(|e| self.session.failed(doing, e))?;
            Ok(match items(&devices, "reported_device").iter().any(has_address) {
                true => Poll::Done(()),
                false => Poll::NotYet("up, but its guest agent reports no address".to_owned()),
            })
        });
        waited.await
    }

    /// The newest event's id: what happens from now on has a higher one.
    pub(super) async fn newest_event(&self) -> Result<u64, SourceError> {
        let list = self.session.get("events", &[("max", "1")]).await;
        let list = list.map_err(|e| self.session.failed("read the engine's events", e))?;
        Ok(items(&list, "event").first().and_then(|e| parsed(e, "id")).unwrap_or_default())
    }

    /// Whether the engine told of a power-off by force of this VM after event `mark`. The search
    /// joins the living VMs, so it is asked before the VM is deleted.
    pub(super) async fn forced_off_after(&self, vm: &VmRef, mark: &str) -> Result<bool, SourceError> {
        let search = format!("Vms.id = {}", vm.id);
        let list = self.session.get("events", &[("search", search.as_str()), ("from", mark)]).await;
        let list = list.map_err(|e| self.session.failed(format!("read the events of {}", vm.name), e))?;
        Ok(items(&list, "event").iter().any(|e| parsed::<u32>(e, "code") == Some(FORCED_OFF)))
    }
}
