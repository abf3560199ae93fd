//! `inspect`: MTV looks into source VMs without migrating them.

use std::time::Duration;

use serde_json::Value;

use super::super::Failure;
use super::super::prepared::PreparedVm;
use super::actor::Actor;
use crate::api::forklift::{ConversionStatus, ForkliftController};
use crate::cluster::objects::routes::whole;
use crate::cluster::wait::{self, Poll};
use crate::config::steps::Inspect;
use crate::event::{Level, Problem};
use crate::forklift::inspection::{self, SNAPSHOT, Wanted};

impl Actor<'_> {
    pub(super) async fn inspect(&mut self, step: &Inspect, limit: Duration) -> Result<(), Failure> {
        let vms: Vec<PreparedVm> = self.named(step.vm.as_ref())?.into_iter().cloned().collect();
        for vm in &vms {
            self.told.inspections += 1;
            self.inspect_one(step, vm, limit).await?;
        }
        Ok(())
    }

    async fn inspect_one(&self, step: &Inspect, vm: &PreparedVm, limit: Duration) -> Result<(), Failure> {
        let cluster = &self.context.parts.cluster;
        let open = &self.prepared.open;
        let name = match self.name {
            Some(plan) => format!("inspect-{plan}-{}", self.told.inspections),
            None => format!("inspect-{}", self.told.inspections),
        };
        let image = match open.adapter.vddk_image(&open.profile) {
            _ if !step.vddk => None,
            Some(own) => Some(own.to_owned()),
            None => Some(self.common_vddk_image().await?),
        };
        let wanted = Wanted {
            namespace: self.namespace(),
            name: &name,
            vm: (&vm.reference.id, &vm.reference.name),
            target: self.namespace(),
            vddk_image: image.as_deref(),
        };
        let wiring = self.context.wiring(open).await?;
        inspection::start(&self.tracked(), &wanted, wiring).await?;
        let of = (self.namespace(), name.as_str());
        if let Some(condition) = &step.condition {
            return Ok(inspection::has_condition(cluster, of, condition, limit).await?);
        }
        if step.cancel {
            let (namespace, pod) = inspection::pod(cluster, of, limit).await?;
            self.snapshot_is(vm, true, limit).await?;
            inspection::cancel(cluster, of).await?;
            inspection::gone(cluster, (&namespace, &pod), limit).await?;
        }
        let ended = inspection::end(cluster, of, limit).await?;
        // MTV's part of it is over; the snapshot's removal may still be under way.
        self.snapshot_is(vm, false, limit).await?;
        let message = judge(&ended, step.cancel).map_err(|why| {
            let look = format!("oc -n {} get conversion {name} -o yaml", self.namespace());
            Failure::product(Problem::new(format!("{}: {why}", vm.reference.name)).look_at(look))
        })?;
        self.context.note(Some(&self.cell.id), Level::Info, format!("{}: {message}", vm.reference.name));
        Ok(())
    }

    /// The image that MTV takes where a Provider names none.
    async fn common_vddk_image(&self) -> Result<String, Failure> {
        let parts = &self.context.parts;
        let namespace = Some(parts.settings.mtv_namespace.as_str());
        let found = whole::<ForkliftController>(&parts.cluster, namespace, "forklift-controller").await;
        let found = found.map_err(|error| Failure::environment(Problem::new(error.to_string())))?;
        let image = found.as_ref().and_then(|it| it.pointer("/spec/vddk_image")).and_then(Value::as_str);
        match image.filter(|image| !image.is_empty()) {
            Some(image) => Ok(image.to_owned()),
            None => Err(Failure::skipped(
                "an inspection needs a VDDK image: `vddk_init_image` of the profile, or `vddk_image` of the ForkliftController",
            )),
        }
    }

    /// Waits until MTV's snapshot is there, or is gone.
    async fn snapshot_is(&self, vm: &PreparedVm, there: bool, limit: Duration) -> Result<(), Failure> {
        let Some(driver) = self.prepared.open.access.driver() else { return Ok(()) };
        let what = format!("snapshot {SNAPSHOT} of {} to {}", vm.reference.name, if there { "come" } else { "go" });
        let looked = wait::poll(&what, limit, || async {
            match driver.describe(&vm.reference).await {
                Ok(now) if now.snapshots.iter().any(|snapshot| snapshot.name == SNAPSHOT) == there => Poll::Done(()),
                Ok(now) => Poll::NotYet(format!("{} snapshots", now.snapshots.len())),
                Err(error) => Poll::NotYet(error.to_string()),
            }
        });
        looked.await.map_err(|error| Failure::product(error.problem()))
    }
}

/// What an inspection told, in a line; `Err`: what is wrong with it.
fn judge(ended: &ConversionStatus, canceled: bool) -> Result<String, String> {
    let wanted = if canceled { "Canceled" } else { "Succeeded" };
    if ended.phase != wanted {
        return Err(format!("the inspection has ended {}, not {wanted}: {}", ended.phase, ended.message));
    }
    if canceled {
        return Ok("the inspection was canceled, and its pod and its snapshot are gone".to_owned());
    }
    let Some(result) = &ended.inspection_result else { return Err("the inspection tells no result".to_owned()) };
    let system = result.os_info.as_ref().map(|os| os.name.as_str()).filter(|name| !name.is_empty());
    let Some(system) = system else { return Err("the inspection does not tell the guest's system".to_owned()) };
    if result.filesystems.is_empty() {
        return Err("the inspection found no file system".to_owned());
    }
    if result.all_checks_passed != result.concerns.is_empty() {
        let count = result.concerns.len();
        return Err(format!("`allChecksPassed` is {} with {count} concerns", result.all_checks_passed));
    }
    let concerns: Vec<&str> = result.concerns.iter().map(|concern| concern.label.as_str()).collect();
    let concerns = if concerns.is_empty() { "no concern".to_owned() } else { concerns.join(", ") };
    Ok(format!("inspected: {system}, {} file systems, {concerns}", result.filesystems.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_inspection_tells_a_system_and_file_systems_and_does_not_contradict_itself() {
        let whole = json!({"phase": "Succeeded", "inspectionResult": {"allChecksPassed": true, "osInfo": {"name": "RHEL 9"},
            "filesystems": [{"device": "/dev/sda1", "type": "xfs"}]}});
        let said = |path: &str, value: serde_json::Value| {
            let mut told = whole.clone();
            if let Some(field) = told.pointer_mut(path) {
                *field = value;
            }
            judge(&serde_json::from_value(told).unwrap(), false)
        };
        assert_eq!(said("/none", json!(0)).unwrap(), "inspected: RHEL 9, 1 file systems, no concern");
        for (path, value, why) in [
            ("/phase", json!("Failed"), "ended Failed"),
            ("/inspectionResult/osInfo/name", json!(""), "the guest's system"),
            ("/inspectionResult/filesystems", json!([]), "no file system"),
            ("/inspectionResult/allChecksPassed", json!(false), "`allChecksPassed` is false"),
            ("/inspectionResult", json!(null), "no result"),
        ] {
            assert!(said(path, value).unwrap_err().contains(why), "{path}");
        }
        let canceled: ConversionStatus = serde_json::from_value(json!({"phase": "Canceled"})).unwrap();
        assert!(judge(&canceled, true).is_ok() && judge(&canceled, false).is_err());
    }
}
