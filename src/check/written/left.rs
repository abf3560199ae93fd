//! What must not be there: a twin of the VM, and what MTV and CDI made on the way.

use serde_json::Value;

use super::super::{Facts, Judgement, TargetVm, major_minor, not_judged, whole};
use super::{Compared, is_so, list, migration, text};

/// Everything marked with this migration and this VM.
fn of_this_vm<'a>(facts: &'a Facts<'_>) -> Result<impl Iterator<Item = &'a Value>, String> {
    let id = facts.before.id.as_str();
    match &facts.ran.marked {
        Ok(marked) => Ok(marked.iter().filter(move |object| text(object, "/metadata/labels/vmID") == id)),
        Err(why) => Err(format!("what the migration made could not be listed: {why}")),
    }
}

pub(in crate::check) fn twins(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let all = match of_this_vm(facts) {
        Ok(all) => all,
        Err(why) => return whole(not_judged(why)),
    };
    let mut compared = Compared::default();
    for vm in all.filter(|object| text(object, "/kind") == "VirtualMachine") {
        let name = text(vm, "/metadata/name");
        compared.holds(name == target.name, name, "one VM of this source VM", || "a second one".to_owned());
    }
    compared.judgements("no twin")
}

/// Whether MTV has cleaned up after this VM: one that failed keeps what its transfer was given (the real 2.12.5, with a
/// post-hook that fails), and before 2.12 all do until the Plan is archived (the real 2.11.7; a later 2.11 may not).
fn cleaned_up(facts: &Facts<'_>) -> bool {
    if facts.mtv_version.and_then(major_minor).is_none_or(|now| now < (2, 12)) {
        return false;
    }
    let Ok(Some(told)) = &facts.ran.migration else { return false };
    let vm = migration::own(facts, list(told, "/status/vms"));
    vm.is_some_and(|vm| is_so(list(vm, "/conditions"), "Succeeded"))
}

/// Claims that no disk uses, prime claims and pods of populators, pods that still copy or convert, unfinished
/// DataVolumes, Secrets and ConfigMaps of the transfer. What has ended by itself (a finished pod, a DataVolume that
/// succeeded) MTV leaves, too.
pub(in crate::check) fn left(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let all = match of_this_vm(facts) {
        Ok(all) => all,
        Err(why) => return whole(not_judged(why)),
    };
    let mut compared = Compared::default();
    for object in all {
        let (kind, name, phase) =
            (text(object, "/kind"), text(object, "/metadata/name"), text(object, "/status/phase"));
        let subject = format!("{kind} {name}");
        match kind {
            "PersistentVolumeClaim" => {
                let used = target.disks.iter().any(|disk| disk.pvc == name);
                compared.holds(used, &subject, "a claim of the VM's", || "no disk uses it".to_owned());
            }
            "Pod" => compared.holds(!matches!(phase, "Pending" | "Running"), &subject, "ended", || phase.to_owned()),
            // By these labels MTV takes away what a VM's transfer was given (`kubevirt.go`, `DeleteSecret`,
            // `DeleteConfigMap`); others of the Plan's stay as long as it does.
            "Secret" | "ConfigMap" if text(object, "/metadata/labels/resource") == "vm-config" && cleaned_up(facts) => {
                compared.wrong(subject, "gone with the transfer", "it is there");
            }
            "DataVolume" => compared.holds(phase == "Succeeded", &subject, "Succeeded", || phase.to_owned()),
            _ => {}
        }
    }
    compared.judgements("nothing left")
}
