//! Power, gently first, and what a running guest reports.

use std::time::Duration;

use super::VsphereDriver;
use super::session::CallError;
use super::wait::Waited;
use crate::api::vim::vm::{GuestIp, guest_nics};
use crate::api::vim::{MoRef, op};
use crate::net::Poll;
use crate::source::{SourceError, VmRef};

impl VsphereDriver {
    pub(super) async fn power_on(&self, vm: &VmRef) -> Result<String, SourceError> {
        let moref = Self::moref(vm);
        let what = format!("power on {}", vm.name);
        let limit = self.options.timeouts.power;
        let task = self.session.run_task("PowerOnVM_Task", &what, limit, |_| op::power_on(&moref)).await;
        match task {
            Ok(_) => {}
            Err(error) if error.is("InvalidPowerState") && self.state(&moref).await? == "poweredOn" => {
                return Ok("was on already".to_owned());
            }
            Err(error) => return Err(self.session.failed(&what, error)),
        }
        match self.wait_power(&moref, "poweredOn", limit).await? {
            Waited::Done(()) => Ok("powered on".to_owned()),
            Waited::Timeout { last } => Err(self.session.timeout(&what, limit, last)),
        }
    }

    /// Asks the guest where tools run, then forces.
    pub(super) async fn shut_down(&self, vm: &VmRef) -> Result<String, SourceError> {
        let moref = Self::moref(vm);
        let object = self.props(&moref, &["runtime.powerState", "guest.toolsRunningStatus"]).await?;
        if object.text("runtime.powerState") == Some("poweredOff") {
            return Ok("was off already".to_owned());
        }
        let limit = self.options.timeouts.power;
        let forced_because = if object.text("runtime.powerState") == Some("suspended") {
            "it was suspended".to_owned()
        } else if object.text("guest.toolsRunningStatus") != Some("guestToolsRunning") {
            "no guest tools run".to_owned()
        } else {
            match self.session.call(|_| op::shutdown_guest(&moref)).await {
                Ok(_) => match self.wait_power(&moref, "poweredOff", limit).await? {
                    Waited::Done(()) => return Ok("shut down by its guest".to_owned()),
                    Waited::Timeout { .. } => format!("the guest did not shut down within {limit:?}"),
                },
                Err(CallError::Refused(fault)) => format!("the guest refused to shut down: {fault}"),
                Err(CallError::Source(error)) => return Err(error),
                Err(CallError::NoAnswer(error, _)) => return Err(*error),
            }
        };
        self.force_off(&moref, &vm.name).await?;
        Ok(format!("powered off by force: {forced_because}"))
    }

    pub(super) async fn force_off(&self, moref: &MoRef, name: &str) -> Result<(), SourceError> {
        let what = format!("power off {name}");
        let limit = self.options.timeouts.power;
        match self.session.run_task("PowerOffVM_Task", &what, limit, |_| op::power_off(moref)).await {
            Ok(_) => {}
            // The guest may have gone down by itself in between.
            Err(error) if error.is("InvalidPowerState") => {}
            Err(error) => return Err(self.session.failed(&what, error)),
        }
        match self.wait_power(moref, "poweredOff", limit).await? {
            Waited::Done(()) => Ok(()),
            Waited::Timeout { last } => Err(self.session.timeout(&what, limit, last)),
        }
    }

    async fn state(&self, moref: &MoRef) -> Result<String, SourceError> {
        let object = self.props(moref, &["runtime.powerState"]).await?;
        Ok(object.text("runtime.powerState").unwrap_or("unknown").to_owned())
    }

    async fn wait_power(&self, moref: &MoRef, wanted: &str, limit: Duration) -> Result<Waited<()>, SourceError> {
        self.session
            .wait_for(std::slice::from_ref(moref), &["runtime.powerState"], limit, |known| {
                let state = known.get(moref).and_then(|p| p.get("runtime.powerState")).map(|e| e.text.clone());
                match state {
                    Some(state) if state == wanted => Poll::Done(()),
                    other => Poll::NotYet(other.unwrap_or_else(|| "no power state".to_owned())),
                }
            })
            .await
            .map_err(|e| self.session.failed(format!("watch the power of {moref}"), e))
    }

    pub(super) async fn guest_info(&self, vm: &VmRef, limit: Duration) -> Result<(), SourceError> {
        let moref = Self::moref(vm);
        let paths = ["runtime.powerState", "guest.toolsRunningStatus", "guest.net"];
        let waited = self
            .session
            .wait_for(std::slice::from_ref(&moref), &paths, limit, |known| {
                let Some(props) = known.get(&moref) else { return Poll::NotYet("no such VM".to_owned()) };
                let text = |path: &str| props.get(path).map(|e| e.text.as_str()).unwrap_or("unknown");
                if text("runtime.powerState") != "poweredOn" {
                    return Poll::NotYet(text("runtime.powerState").to_owned());
                }
                if text("guest.toolsRunningStatus") != "guestToolsRunning" {
                    return Poll::NotYet(format!("tools: {}", text("guest.toolsRunningStatus")));
                }
                if guest_nics(props).iter().any(|nic| nic.ips.iter().any(GuestIp::is_global)) {
                    Poll::Done(())
                } else {
                    Poll::NotYet("tools run, but no address is known".to_owned())
                }
            })
            .await
            .map_err(|e| self.session.failed(format!("watch the guest of {}", vm.name), e))?;
        match waited {
            Waited::Done(()) => Ok(()),
            Waited::Timeout { last } => {
                Err(self.session.timeout(&format!("the guest of {} to report its network", vm.name), limit, last))
            }
        }
    }
}
