//! A Plan that is migrated once more: what of the run before counts, and whether a conversion can be resumed (`begin`,
//! `pkg/controller/plan/migration.go`).

use kube::ResourceExt;

use super::MtvVersion;
use super::conditions::durable;
use super::pipeline::Path;
use super::sources::Source;
use crate::api::condition::{Condition, Conditions};
use crate::api::forklift::{Migration, Plan, VmStatus};

/// What the Plan's status tells of the run before.
pub(super) struct Before<'a> {
    vms: &'a [VmStatus],
    /// Uid of the Migration that MTV ran then: it labelled what it made with it.
    pub migration: Option<&'a str>,
}

impl<'a> Before<'a> {
    pub fn of(plan: &'a Plan) -> Self {
        let status = plan.status.as_ref().and_then(|status| status.migration.as_ref());
        let history = status.and_then(|migration| migration.history.last());
        Self {
            vms: status.map_or(&[], |migration| migration.vms.as_slice()),
            migration: history.and_then(|last| last.pointer("/migration/uid")).and_then(serde_json::Value::as_str),
        }
    }

    pub fn vm(&self, id: &str) -> Option<&'a VmStatus> {
        self.vms.iter().find(|vm| vm.id == id)
    }

    /// One that has arrived is not migrated again: its status stays.
    pub fn arrived(&self, id: &str) -> Option<&'a VmStatus> {
        self.vm(id).filter(|vm| vm.conditions.holds("Succeeded"))
    }

    /// One whose disks were copied before it failed.
    pub fn resumable(&self, id: &str) -> Option<&'a VmStatus> {
        self.vm(id).filter(|vm| can_resume(vm))
    }
}

fn can_resume(vm: &VmStatus) -> bool {
    vm.disks_copied == Some(true) && vm.conditions.holds("Failed")
}

/// Whether this Migration resumes a conversion.
pub(super) fn resumes(migration: &Migration, version: MtvVersion) -> bool {
    version.at_least(13) && migration.spec.resume_conversion == Some(true)
}

/// Whether disks are copied and converted one after the other (`HasSeparateCopyAndConversion`).
pub(super) fn separate(kind: &dyn Source, path: Path) -> bool {
    kind.resumes() && !path.v2v_transfer
}

/// Why nothing can be resumed, as the Plan's condition; `vms`: id, and whether its disks are copied by themselves.
pub(super) fn refusal(before: &Before<'_>, vms: &[(&str, bool)]) -> Option<Condition> {
    let failed = |message: &str| Condition { category: Some("Critical".to_owned()), ..durable("Failed", message) };
    if let Some((id, _)) = vms.iter().find(|(_, separate)| !separate) {
        return Some(failed(&format!(
            "Resume conversion is not supported for VM \"{id}\": disk copy and conversion are not separate phases."
        )));
    }
    let none = vms.iter().all(|(id, _)| before.resumable(id).is_none());
    none.then(|| failed("Resume conversion requires VMs with completed disk copy (DisksCopied=true)."))
}

/// What a failed Plan says of VMs that can be resumed.
pub(super) fn resumable(version: MtvVersion, vms: &[VmStatus]) -> Option<Condition> {
    let names: Vec<&str> = vms.iter().filter(|vm| can_resume(vm)).map(|vm| vm.name.as_str()).collect();
    (version.at_least(13) && !names.is_empty()).then(|| {
        let message =
            format!("{} VM(s) have migrated disks available for conversion resume: {}", names.len(), names.join(", "));
        durable("ConversionResumable", &message)
    })
}

/// The Plan that a Migration belongs to was deleted, or it is archived: by these labels MTV finds what it made.
pub(super) fn labels_of(plan: &Plan) -> String {
    format!("plan-name={},plan-namespace={}", plan.name_any(), plan.namespace().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(vms: serde_json::Value) -> Plan {
        let history = json!([{"migration": {"uid": "m-1"}}]);
        serde_json::from_value(json!({"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Plan",
            "metadata": {"name": "p", "namespace": "n"}, "spec": {"targetNamespace": "t", "vms": []},
            "status": {"migration": {"vms": vms, "history": history}}}))
        .unwrap()
    }

    fn vm(id: &str, end: &str, copied: bool) -> serde_json::Value {
        json!({"id": id, "name": id, "disksCopied": copied, "phase": "Completed",
            "conditions": [{"type": end, "status": "True"}]})
    }

    #[test]
    fn only_a_failed_vm_whose_disks_were_copied_apart_is_resumed() {
        let plan = plan(json!([vm("a", "Failed", true), vm("b", "Failed", false), vm("c", "Succeeded", true)]));
        let before = Before::of(&plan);
        assert_eq!(before.migration, Some("m-1"));
        assert!(before.resumable("a").is_some() && before.resumable("b").is_none() && before.resumable("c").is_none());
        assert!(before.arrived("c").is_some() && before.arrived("a").is_none());
        assert_eq!(refusal(&before, &[("a", true), ("b", true)]), None);
        let message = |vms: &[(&str, bool)]| refusal(&before, vms).unwrap().message.unwrap();
        assert!(message(&[("b", true)]).contains("DisksCopied=true"));
        assert!(message(&[("a", false)]).contains("not separate phases"));
        let told = resumable(
            MtvVersion::parse("2.13").unwrap(),
            &plan.status.as_ref().unwrap().migration.as_ref().unwrap().vms,
        );
        assert!(told.unwrap().message.unwrap().ends_with("resume: a"));
    }
}
