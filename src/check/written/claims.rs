//! The claims behind a migrated VM's disks: of this migration, owned by the VM, bound, each to a volume of its own.

use std::collections::BTreeSet;

use super::super::storage::came_from;
use super::super::{Facts, Judgement, TargetVm, major_minor, not_judged, platform, whole};
use super::{Compared, at, identity, list, text, unsaid};

pub(in crate::check) fn claims(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    if target.disks.is_empty() {
        return whole(not_judged("the migrated VM has no disk"));
    }
    let vm = &target.objects.vm;
    let (mut all, mut volumes, mut names) = (Compared::default(), BTreeSet::new(), BTreeSet::new());
    for disk in &target.disks {
        let name = disk.pvc.as_str();
        all.holds(names.insert(name), name, "one disk a claim", || "two disks share it".to_owned());
        let Some(claim) = target.objects.claims.get(name) else {
            all.wrong(name, "the claim of a disk", "no such PersistentVolumeClaim");
            continue;
        };
        let shared = facts.before.disks.iter().any(|source| source.shared && came_from(disk, source));
        if shared {
            all.same(&format!("{name} label shareable"), "true", text(claim, "/metadata/labels/shareable"));
            if facts.vm.migrate_shared_disks == Some(false) {
                // It is that of the VM that owns the disk, and judged there.
                all.same(&format!("{name} phase"), "Bound", text(claim, "/status/phase"));
                continue;
            }
        }
        let mut one = Compared::default();
        one.same("name", name, text(claim, "/metadata/name"));
        one.same("namespace", text(vm, "/metadata/namespace"), text(claim, "/metadata/namespace"));
        one.holds(unsaid(at(claim, "/metadata/deletionTimestamp")), "metadata", "a claim that stays", || {
            "it is being deleted".to_owned()
        });
        identity::labels(facts, at(claim, "/metadata/labels"), names_plan(facts), &mut one);
        let labels = ["resource", "app"].map(|label| (label, text(claim, &format!("/metadata/labels/{label}"))));
        for ((label, actual), wanted) in labels.into_iter().zip(["vm-config", "containerized-data-importer"]) {
            one.same_if_said(&format!("label {label}"), wanted, actual);
        }
        same_annotations(claim, &mut one);
        owner(vm, claim, &mut one);
        one.same("phase", "Bound", text(claim, "/status/phase"));
        let volume = text(claim, "/spec/volumeName");
        one.holds(!volume.is_empty() && volumes.insert(volume), "volume", "a volume of its own", || {
            if volume.is_empty() { "none".to_owned() } else { format!("{volume}, which another claim has too") }
        });
        let prefix = |(subject, outcome): Judgement| (subject.map(|s| format!("{name} {s}")), outcome);
        all.wrong.extend(one.wrong.into_iter().map(prefix));
        all.open.extend(one.open.into_iter().map(prefix));
    }
    all.judgements(format!("{} bound and owned by the VM", super::super::count(target.disks.len(), "claim")))
}

/// Whether the claims of this MTV say which Plan they are of. Of an unknown version nothing is asked.
fn names_plan(facts: &Facts<'_>) -> bool {
    // A populator's claim, whoever's: 2.11.7 beside 2.12.5.
    let since = platform::of(facts.platform).claims_name_plan_since.or(facts.scenario.copyoffload.then_some((2, 12)));
    let Some(since) = since else { return true };
    facts.mtv_version.and_then(major_minor).is_some_and(|now| now >= since)
}

/// The VM owns its claims: deleted with it, and not before. Garbage collection goes by the uid.
fn owner(vm: &serde_json::Value, claim: &serde_json::Value, compared: &mut Compared) {
    let owners = list(claim, "/metadata/ownerReferences");
    let by_vm = |owner: &&serde_json::Value| {
        ["kind", "name", "uid"].iter().all(|key| {
            let wanted = if *key == "kind" { "VirtualMachine" } else { text(vm, &format!("/metadata/{key}")) };
            text(owner, &format!("/{key}")) == wanted
        }) && text(owner, "/apiVersion").starts_with("kubevirt.io/")
    };
    // CDI's DataVolume may stand between the two.
    let by_data_volume = |owner: &&serde_json::Value| text(owner, "/kind") == "DataVolume";
    let found = owners.iter().find(by_vm).or_else(|| owners.iter().find(by_data_volume));
    compared.holds(found.is_some(), "owner", "the VirtualMachine", || match owners {
        [] => "nobody".to_owned(),
        some => super::shown(&serde_json::Value::Array(some.to_vec())),
    });
}

/// A DataVolume's claim carries MTV's labels as annotations, too.
fn same_annotations(claim: &serde_json::Value, compared: &mut Compared) {
    for key in ["plan", "migration", "vmID", "plan-name", "plan-namespace", "resource"] {
        let label = text(claim, &format!("/metadata/labels/{key}"));
        compared.same_if_said(
            &format!("annotation {key}"),
            label,
            text(claim, &format!("/metadata/annotations/{key}")),
        );
    }
}

/// Each claim names a disk of *this* source VM, and no two the same.
pub(in crate::check) fn disk_source(facts: &Facts<'_>, target: &TargetVm) -> Vec<Judgement> {
    let told: Vec<_> = target.disks.iter().filter(|disk| disk.disk_source.is_some()).collect();
    if told.is_empty() {
        return whole(not_judged("the claims do not tell their source"));
    }
    let (mut compared, mut seen) = (Compared::default(), BTreeSet::new());
    for disk in told {
        let said = disk.disk_source.as_deref().unwrap_or_default();
        compared
            .holds(seen.insert(said), &disk.pvc, "a source disk of its own", || format!("{said}, as another claim"));
        compared.holds(
            facts.before.disks.iter().any(|source| came_from(disk, source)),
            &disk.pvc,
            "a disk of the source VM",
            || said.to_owned(),
        );
    }
    for (disk, index) in target.disks.iter().zip(0..) {
        let Some(claim) = target.objects.claims.get(&disk.pvc) else { continue };
        let annotation = text(claim, "/metadata/annotations/forklift.konveyor.io~1disk-index");
        if !annotation.is_empty() && facts.before.disks.len() == target.disks.len() && seen.len() == target.disks.len()
        {
            let wanted = facts.before.disks.iter().position(|source| came_from(disk, source)).unwrap_or(index);
            compared.same(&format!("{} disk-index", disk.pvc), &wanted.to_string(), annotation);
        }
        // An oVirt populator's claim names its disk by a label, too; OpenStack's `imageID` is an image's.
        if let Some(source) = &disk.disk_source {
            let id = text(claim, "/metadata/labels/diskID");
            compared.same_if_said(&format!("{} diskID", disk.pvc), source, id);
        }
    }
    compared.judgements("every claim names its own source disk")
}
