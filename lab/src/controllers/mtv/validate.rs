//! What speaks against a Plan: its validation conditions, from what the inventory and the maps say.

use std::collections::BTreeSet;

use super::MtvVersion;
use super::conditions::condition;
use super::networks::{Landing, Map, Rows};
use super::pvc_name::{DiskVars, render};
use super::sources::Source;
use crate::api::condition::Condition;
use crate::api::forklift::{NetworkPair, Plan, PlanVm, Ref};
use crate::inventory::model::{InvVm, Inventory, POD_NETWORK};

/// Everything that VM validation looks at.
pub(super) struct View<'a> {
    pub source: &'static dyn Source,
    pub plan: &'a Plan,
    pub inventory: &'a Inventory,
    /// Resolved sources of the maps.
    pub storage_refs: &'a [Ref],
    pub network_refs: &'a [Ref],
    pub network_rows: &'a [NetworkPair],
    /// Names of VMs in the target namespace that this Plan did not make.
    pub taken: &'a BTreeSet<String>,
    pub version: MtvVersion,
}

/// A VM as conditions name it.
pub(super) fn item(vm: &InvVm) -> String {
    format!(" id:{} name:'{}' ", vm.id, vm.name)
}

/// The target name that MTV gives a VM; from 2.10 a name that is no DNS name is rewritten.
pub(super) fn target_name(source: &str) -> String {
    let mapped: String = source
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            'a'..='z' | '0'..='9' | '.' | '-' => Some(c),
            '_' | '+' | '*' | ' ' | '/' | '\\' => Some('-'),
            _ => None,
        })
        .collect();
    let parts: Vec<String> = mapped
        .split('.')
        .map(|part| {
            let mut part = part.trim_matches('-').to_owned();
            while part.contains("--") && source != part {
                part = part.replace("--", "-");
            }
            part
        })
        .filter(|p| !p.is_empty())
        .collect();
    let joined = parts.join(".");
    joined.get(..63.min(joined.len())).unwrap_or_default().trim_matches(['-', '.']).to_owned()
}

/// What a name of a PVC must be.
pub(super) fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_dns_subdomain(name)
}

fn is_dns_subdomain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

/// The name of the migrated VM.
pub(super) fn final_name(vm: &InvVm, wanted: Option<&str>) -> String {
    match wanted {
        Some(name) => name.to_owned(),
        None if is_dns_subdomain(&vm.name) => vm.name.clone(),
        None => target_name(&vm.name),
    }
}

/// Conditions about the VMs of a Plan, one a type.
pub(super) fn vms(view: &View<'_>) -> Vec<Condition> {
    let mut found: Vec<Condition> = Vec::new();
    let mut add = |type_: &str, category: &str, reason: &str, message: &str, item: String| match found
        .iter_mut()
        .find(|c| c.type_ == type_)
    {
        Some(known) => known.items.push(item),
        None => found.push(Condition { items: vec![item], ..condition(type_, category, reason, message) }),
    };
    let mut seen = BTreeSet::new();
    for wanted in &view.plan.spec.vms {
        let label = wanted.id.clone().or_else(|| wanted.name.clone()).unwrap_or_default();
        if label.is_empty() {
            add("VMRefNotValid", "Critical", "NotSet", "Either `ID` or `Name` required.", String::new());
            continue;
        }
        let Some(vm) = view.inventory.find(wanted.id.as_deref(), wanted.name.as_deref()) else {
            add("VMNotFound", "Critical", "NotFound", "VM not found.", format!(" id:{label} name:'' "));
            continue;
        };
        if !seen.insert(vm.id.clone()) {
            add("DuplicateVM", "Critical", "NotUnique", "Duplicate (source) VM.", item(vm));
        }
        if wanted.target_name.is_none() && !is_dns_subdomain(&vm.name) {
            add("TargetNameNotValid", "Warn", "NotValid", "Target VM name does not comply with DNS1123 RFC.", item(vm));
        }
        if view.taken.contains(&final_name(vm, wanted.target_name.as_deref())) {
            add("VMAlreadyExists", "Critical", "NotUnique", "Target VM already exists.", item(vm));
        }
        judge_names(view, wanted, vm, &mut add);
        judge_mappings(view, vm, &mut add);
        view.source.judge(view, vm, &mut add);
    }
    found
}

/// What a VM's own names in the Plan must be (`validateVM`, `pkg/controller/plan/validation.go`).
fn judge_names(view: &View<'_>, wanted: &PlanVm, vm: &InvVm, add: &mut Add<'_>) {
    let target = final_name(vm, wanted.target_name.as_deref());
    if !is_dns_subdomain(&target) {
        add("NotValid", "Critical", "", "TargetName is invalid.", item(vm));
    }
    let template = view.plan.spec.pvc_name_template.as_deref().filter(|_| view.source.names_pvcs(view.version));
    let Some(template) = template else { return };
    let plan = view.plan.metadata.name.as_deref().unwrap_or_default();
    let bad = view.source.ordered(&vm.disks).iter().enumerate().find_map(|(index, disk)| {
        let source_claim = view.source.names_volumes_after_source().then(|| disk.source.split_once('/')).flatten();
        let file_name = disk.source.rsplit(['/', ' ']).next().unwrap_or_default();
        let (vm_name, target_vm_name) = (vm.name.as_str(), target.as_str());
        let vars = DiskVars { vm_name, target_vm_name, plan_name: plan, disk_index: index, file_name, source_claim };
        match render(template, &vars) {
            Ok(name) if is_dns_label(&name) => None,
            Ok(name) => Some(format!("Template output is invalid k8s label [{name}]")),
            Err(why) => Some(format!("Template execution failed caused by: '{why}'")),
        }
    });
    if let Some(why) = bad {
        let told = format!("{} template:{template} error:{why}", item(vm));
        add("NotValid", "Critical", "", "VM PVC name template is invalid.", told);
    }
}

/// Takes type, category, reason, message and the VM that it is about.
pub(super) type Add<'a> = dyn FnMut(&str, &str, &str, &str, String) + 'a;

fn judge_mappings(view: &View<'_>, vm: &InvVm, add: &mut Add<'_>) {
    let mapped = |refs: &[Ref], id: &str| refs.iter().any(|r| means(r, id));
    if vm.nics.iter().any(|n| !mapped(view.network_refs, &n.network_id)) {
        add("VMNetworksNotMapped", "Critical", "NotValid", "VM has unmapped networks.", item(vm));
    }
    if vm.disks.iter().any(|d| !mapped(view.storage_refs, &d.storage_id)) {
        add("VMStorageNotMapped", "Critical", "NotValid", "VM has unmapped storage.", item(vm));
    }
    let map = Map { refs: view.network_refs, rows: view.network_rows, version: view.version };
    // OpenStack's validator goes by the VM's networks, and has each of them once.
    let mut seen = BTreeSet::new();
    let once = view.source.rows() == Rows::FirstOfOne;
    let nics: Vec<_> = vm.nics.iter().filter(|nic| seen.insert(&nic.network_id) || !once).cloned().collect();
    let landings = map.shared_out(&nics);
    if landings.contains(&Landing::UsedUp) && !view.version.at_least(13) {
        let message = "Multiple VM NICs mapped to the same Multus NAD. Add additional NetworkMap entries with different \
                       destination NADs for the same source network.";
        add("VMDuplicateNADMappings", "Critical", "NotValid", message, item(vm));
    }
    let on_pod = |landing: &&Landing<'_>| matches!(landing, Landing::By(row) if row.destination.type_ == "pod");
    if landings.iter().filter(on_pod).count() > 1 {
        let message = "VM has more than one interface mapped to the pod network.";
        add("VMMultiplePodNetworkMappings", "Critical", "NotValid", message, item(vm));
    }
}

/// Whether a resolved reference is the network or storage with this id.
pub(super) fn means(resolved: &Ref, id: &str) -> bool {
    match &resolved.id {
        Some(own) => own == id,
        None => id == POD_NETWORK && resolved.type_.as_deref() == Some(POD_NETWORK),
    }
}

/// Whether a map row's source is this resolved reference.
pub(super) fn same(row: &Ref, resolved: &Ref) -> bool {
    match (&row.id, &row.name) {
        (Some(id), _) => resolved.id.as_ref() == Some(id),
        (None, Some(name)) => {
            let own = resolved.name.as_deref();
            own.is_some() && (own == Some(name) || own == name.rsplit('/').next())
        }
        (None, None) => row.type_.is_some() && row.type_ == resolved.type_,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_rewritten_as_mtv_does() {
        for (source, target) in [("My_VM 01", "my-vm-01"), ("Prod.DB_1", "prod.db-1"), ("__x__", "x"), ("VM(1)", "vm1")]
        {
            assert_eq!(target_name(source), target, "{source}");
        }
    }
}
