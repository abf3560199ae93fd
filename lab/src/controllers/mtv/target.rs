//! What MTV makes in the target namespace: volumes and the VirtualMachine.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::data_volumes;
use super::execute::Walk;
use super::networks::Map;
use super::plan::content;
use super::pvc_name::{DiskVars, render};
use super::sources::Shape;
use super::{Mtv, MtvVersion, validate};
use super::{again, offload, populators};
use crate::api::cdi::{ClaimPropertySet, StorageProfile};
use crate::api::condition::Conditions;
use crate::api::forklift::{Plan, Ref, StoragePair};
use crate::api::kubevirt::VirtualMachine;
use crate::api::openshift::ClusterVersion;
use crate::controllers::storage::tolerate;
use crate::controllers::{glance, said};
use crate::defects::conduct::Conduct;
use crate::defects::{Defect, new_mac};
use crate::inventory::model::InvDisk;
use crate::inventory::own::OwnDisk;

/// The labels by which MTV knows what it made.
pub(super) fn labels(walk: &Walk<'_>) -> Value {
    let plan = &walk.run.plan;
    let mut labels = json!({"plan": plan.uid(), "migration": walk.run.migration.uid(), "vmID": walk.vm.id});
    if walk.run.mtv.version.at_least(12) {
        labels["plan-name"] = json!(plan.name_any());
        labels["plan-namespace"] = json!(plan.namespace());
    }
    labels
}

/// The Plan's target namespace, made where it is not there (`ensureNamespace`, `pkg/controller/plan/util.go`). Tells whether
/// the Plan is still there.
///
/// A namespace of a cluster takes seconds to end, so that a pass over a Plan in it is over before. The lab's is gone
/// within milliseconds, and with it the Plan and the task of this pass: what was made for nobody is taken away by
/// another one.
pub(super) async fn ensure_namespace(mtv: &Mtv, there: &kube::Client, plan: &Plan) -> Result<bool, kube::Error> {
    let work = made_for(mtv.client.clone(), there.clone(), plan.clone());
    let stop = mtv.stop.clone();
    let done = mtv.afterwards.spawn(async move { stop.run_until_cancelled(work).await });
    // Nothing is said where the lab ends.
    done.await.ok().flatten().unwrap_or(Ok(false))
}

/// Real time between two looks at whether a namespace that was made is wanted, and how often.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;

async fn made_for(own: kube::Client, there: kube::Client, plan: Plan) -> Result<bool, kube::Error> {
    let plans: Api<Plan> = Api::namespaced(own.clone(), &plan.namespace().unwrap_or_default());
    let name = plan.name_any();
    let is_there = async || {
        let now = plans.get_metadata_opt(&name).await?;
        Ok::<bool, kube::Error>(now.is_some_and(|now| now.uid() == plan.uid()))
    };
    if !is_there().await? {
        return Ok(false);
    }
    let target = &plan.spec.target_namespace;
    let namespaces: Api<Namespace> = Api::all(there);
    let namespace = Namespace {
        metadata: kube::api::ObjectMeta { name: Some(target.clone()), ..Default::default() },
        ..Namespace::default()
    };
    let made = match namespaces.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => return Ok(true),
        made => made?,
    };
    let is_wanted = async || {
        let all = Api::<Plan>::all(own.clone()).list(&ListParams::default()).await?;
        Ok::<bool, kube::Error>(all.iter().any(|other| other.spec.target_namespace == *target))
    };
    // Nobody comes again for a Plan that is gone.
    let mut tries = TRIES;
    let (is_there, is_wanted) = loop {
        match (is_there().await, is_wanted().await) {
            (Ok(is_there), Ok(is_wanted)) => break (is_there, is_wanted),
            (Err(error), _) | (_, Err(error)) if tries == 0 => return Err(error),
            _ => tries -= 1,
        }
        tokio::time::sleep(AGAIN).await;
    };
    if !is_there && !is_wanted {
        let preconditions = Some(Preconditions { uid: made.uid(), resource_version: None });
        // Whoever was faster has done it.
        let _ = namespaces.delete(target, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
    }
    Ok(is_there)
}

fn target_name(walk: &Walk<'_>) -> String {
    let wanted = walk.run.plan.spec.vms.get(walk.index).and_then(|vm| vm.target_name.clone());
    validate::final_name(&walk.vm, wanted.as_deref())
}

/// The name of a disk's PVC: exact, or to be completed by the API server. `image`: what it is copied off, if not itself.
pub(super) fn pvc_name(
    walk: &Walk<'_>,
    disk: &InvDisk,
    image: Option<&str>,
    index: usize,
) -> (Option<String>, Option<String>) {
    let spec = &walk.run.plan.spec;
    let populated = walk.run.resolved.kind.populates(spec.warm) && !walk.run.mtv.version.at_least(13);
    if let Some(own) = populated.then(|| walk.run.resolved.kind.claim_name(&walk.vm, disk)).flatten() {
        return (None, Some(format!("{}-", image.unwrap_or(&own))));
    }
    let fallback = format!("{}-{}-", walk.run.plan.name_any(), walk.vm.id);
    let (kind, version) = (walk.run.resolved.kind, walk.run.mtv.version);
    let source_claim = kind.names_volumes_after_source().then(|| disk.source.split_once('/')).flatten();
    let applies = kind.names_pvcs(version) && !walk.run.mtv.defects.has(Defect::WrongPvcName);
    // From 2.13 on, of every platform, and where nobody wrote one.
    let standard = match source_claim {
        Some(_) => "{{.SourcePVCName}}",
        None => "{{trunc 15 .PlanName}}-{{trunc 15 .TargetVmName}}-disk-{{.DiskIndex}}",
    };
    let template = spec.pvc_name_template.as_deref().or(version.at_least(13).then_some(standard));
    let Some(template) = template.filter(|_| applies) else {
        return match source_claim.filter(|_| version.at_least(10)) {
            Some((_, claim)) => (Some(claim.to_owned()), None),
            None => (None, Some(fallback)),
        };
    };
    // 2.11 does not ask how a cluster's volumes are to be named.
    let unasked = source_claim.is_none() || !version.at_least(13);
    let generate = spec.pvc_name_template_use_generate_name.unwrap_or(unasked);
    let generate = generate && (source_claim.is_none() || version.at_least(12));
    let file = disk.source.rsplit(['/', ' ']).next().unwrap_or_default();
    let target = target_name(walk);
    let vars = DiskVars {
        vm_name: &walk.vm.name,
        target_vm_name: &target,
        plan_name: &walk.run.plan.name_any(),
        disk_index: index,
        file_name: file,
        source_claim,
    };
    match render(template, &vars) {
        // MTV logs it and goes on with its own name, as where nothing is rendered at all.
        Ok(name) if !validate::is_dns_label(&name) => (None, Some(fallback)),
        Ok(name) if generate => {
            let dash = if name.ends_with('-') { "" } else { "-" };
            (None, Some(format!("{name}{dash}")))
        }
        Ok(name) => (Some(name.trim_end_matches('-').to_owned()), None),
        Err(_) => (None, Some(fallback)),
    }
}

async fn claim_properties(walk: &Walk<'_>, class: &str) -> ClaimPropertySet {
    let api: Api<StorageProfile> = Api::all(walk.run.target.clone());
    let profile = api.get_opt(class).await.ok().flatten();
    let own = profile.as_ref().map(|p| p.spec.claim_property_sets.clone()).unwrap_or_default();
    let from_status = profile.and_then(|p| p.status).map(|s| s.claim_property_sets).unwrap_or_default();
    own.into_iter().chain(from_status).next().unwrap_or_else(|| ClaimPropertySet {
        access_modes: vec!["ReadWriteOnce".to_owned()],
        volume_mode: Some("Filesystem".to_owned()),
    })
}

/// The row of the StorageMap that speaks of a disk's storage.
pub(super) fn row_of<'a>(walk: &'a Walk<'_>, disk: &InvDisk) -> Option<&'a StoragePair> {
    walk.run.resolved.storage.spec.map.iter().find(|row| row_is(walk, &row.source, &disk.storage_id))
}

/// Creates one PVC a disk, in MTV's order.
pub(super) async fn create_volumes(walk: &Walk<'_>) -> Result<(), String> {
    if walk.run.offloads {
        return offload::create_claims(walk).await;
    }
    let mtv = &walk.run.mtv;
    let namespace = &walk.run.plan.spec.target_namespace;
    let api: Api<PersistentVolumeClaim> = Api::namespaced(walk.run.target.clone(), namespace);
    let mut disks = walk.run.resolved.kind.ordered(&walk.vm.disks);
    if mtv.defects.has(Defect::LostDisk) && disks.len() > 1 {
        disks.pop();
    }
    let last = disks.len().saturating_sub(1);
    for (index, disk) in disks.iter().enumerate() {
        let row = walk.run.resolved.storage.spec.map.iter().find(|row| row_is(walk, &row.source, &disk.storage_id));
        let Some(row) = row else { return Err(format!("no storage mapping of {}", disk.storage_id)) };
        let mut class = row.destination.storage_class.clone();
        let defaults = claim_properties(walk, &class).await;
        let mut modes = row.destination.access_mode.clone().map_or(defaults.access_modes, |mode| vec![mode]);
        let mut volume_mode =
            row.destination.volume_mode.clone().or(defaults.volume_mode).unwrap_or("Filesystem".to_owned());
        let mut bytes = disk.capacity_bytes;
        if index == 0 && mtv.defects.has(Defect::WrongStorageClass) {
            class = if class == "nfs" { "ocs-storagecluster-ceph-rbd-virtualization" } else { "nfs" }.to_owned();
        }
        if index == 0 && mtv.defects.has(Defect::WrongAccessMode) {
            modes = vec![if modes == ["ReadWriteOnce"] { "ReadWriteMany" } else { "ReadWriteOnce" }.to_owned()];
        }
        if index == 0 && mtv.defects.has(Defect::WrongVolumeMode) {
            volume_mode = if volume_mode == "Block" { "Filesystem" } else { "Block" }.to_owned();
        }
        if index == last && mtv.defects.has(Defect::TruncatedDisk) {
            bytes /= 2;
        }
        // One that can't be asked for is called by the name that MTV gave it.
        let image = walk.run.client.image_of(&walk.vm, disk).await.ok().flatten();
        let (name, generate) = pvc_name(walk, disk, image.as_deref(), index);
        let (mut labels, annotations) = marks(walk, disk, image.as_deref(), index);
        labels["lab.mtv-matrix.io/disk-index"] = json!(index.to_string());
        if disk.vsphere().is_some_and(|own| own.shared) {
            labels[SHAREABLE] = json!("true");
        }
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "generateName": generate, "namespace": namespace, "labels": labels,
                "annotations": annotations,
            },
            "spec": {
                "storageClassName": class, "accessModes": modes, "volumeMode": volume_mode,
                "resources": {"requests": {"storage": quantity(bytes)}},
            },
        });
        if let Some(named) = walk.run.resolved.kind.claim_name(&walk.vm, disk) {
            populators::leave(walk, &mut claim, &named, image.as_deref().unwrap_or(&disk.source)).await;
        }
        let claim = serde_json::from_value(claim).map_err(|e| e.to_string())?;
        let made = claim_or_wait(walk, &api, &claim).await?;
        data_volumes::leave(walk, disk, &made).await;
    }
    Ok(())
}

/// Simulated time between two tries of CDI's, about.
const RETRY: std::time::Duration = std::time::Duration::from_secs(30);

/// Claims of populators are MTV's own, and one that is refused fails the VM. The others are CDI's: it tries again, and
/// the step waits for it.
async fn claim_or_wait(
    walk: &Walk<'_>,
    api: &Api<PersistentVolumeClaim>,
    claim: &PersistentVolumeClaim,
) -> Result<PersistentVolumeClaim, String> {
    let own = walk.run.resolved.kind.populates(walk.run.plan.spec.warm);
    let gives_up = own || walk.behaves(Conduct::GivesUpOnClaims);
    let mut waits = false;
    loop {
        match api.create(&PostParams::default(), claim).await {
            Ok(made) => return Ok(made),
            Err(kube::Error::Api(refused)) if !gives_up && refused.message.contains("exceeded quota") => {
                if !std::mem::replace(&mut waits, true) {
                    walk.waits_for_claims();
                }
                walk.rest(RETRY).await;
            }
            Err(error) => return Err(format!("failed to create a PVC: {}", said::by(error))),
        }
    }
}

/// Labels and annotations of a disk's PVC. What a populator fills has fewer; what comes by a DataVolume
/// carries MTV's labels as annotations, too.
fn marks(walk: &Walk<'_>, disk: &InvDisk, image: Option<&str>, index: usize) -> (Value, Value) {
    let (kind, mut labels) = (walk.run.resolved.kind, labels(walk));
    let mut annotations = json!({"forklift.konveyor.io/disk-source": disk.source});
    if kind.populates(walk.run.plan.spec.warm) {
        if let Some(own) = labels.as_object_mut() {
            own.shift_remove("plan-name");
            own.shift_remove("plan-namespace");
            if !walk.run.mtv.version.at_least(12) {
                own.shift_remove("plan");
            }
        }
        if let Some(label) = kind.disk_label() {
            labels[label] = json!(image.unwrap_or(&disk.source));
        }
        return (labels, annotations);
    }
    labels["resource"] = json!("vm-config");
    if let (Some(own), Some(same)) = (labels.as_object(), annotations.as_object_mut()) {
        same.extend(own.clone());
    }
    if kind.tells_disk_index() {
        annotations["forklift.konveyor.io/disk-index"] = json!(index.to_string());
    }
    labels["app"] = json!("containerized-data-importer");
    if let Some(uuid) = walk.resumable().then(|| walk.vm.vsphere()).flatten().map(|own| &own.uuid) {
        labels["vmUUID"] = json!(uuid);
    }
    (labels, annotations)
}

/// Bytes as Kubernetes writes them: in the largest binary unit that divides them.
pub(super) fn quantity(bytes: u64) -> String {
    let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let fits = |shift: u32| bytes > 0 && bytes.trailing_zeros() >= shift;
    match units.iter().find(|(_, shift)| fits(*shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Whether a map row speaks of this datastore.
fn row_is(walk: &Walk<'_>, source: &Ref, datastore: &str) -> bool {
    let refs = walk.run.resolved.storage.status.as_ref().map_or(&[][..], |s| s.references.as_slice());
    refs.iter().any(|r| r.id.as_deref() == Some(datastore) && validate::same(source, r))
}

/// The claims of its disks, in MTV's order.
pub(super) async fn own_volumes(walk: &Walk<'_>) -> Result<Vec<PersistentVolumeClaim>, String> {
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(walk.run.target.clone(), &walk.run.plan.spec.target_namespace);
    // Those that are resumed with were made by a Migration before.
    let made_by = if walk.run.resumes() {
        format!("plan={}", walk.run.plan.uid().unwrap_or_default())
    } else {
        format!("migration={}", walk.run.migration.uid().unwrap_or_default())
    };
    let selector = format!("{made_by},vmID={}", walk.vm.id);
    let mut list = api.list(&ListParams::default().labels(&selector)).await.map_err(said::by)?.items;
    list.sort_by_key(|p| p.labels().get("lab.mtv-matrix.io/disk-index").and_then(|i| i.parse::<usize>().ok()));
    Ok(list)
}

/// Creates the VirtualMachine; KubeVirt takes it from there.
pub(super) async fn create_vm(walk: &Walk<'_>) -> Result<(), String> {
    let mtv = &walk.run.mtv;
    if mtv.defects.has(Defect::LostVm) {
        return Ok(());
    }
    all_claimed(walk).await?;
    let namespace = &walk.run.plan.spec.target_namespace;
    let volumes = own_volumes(walk).await?;
    let body = virtual_machine(walk, &volumes, &shared_volumes(walk).await?).await;
    let api: Api<VirtualMachine> = Api::namespaced(walk.run.target.clone(), namespace);
    let vm = serde_json::from_value(body).map_err(|e| e.to_string())?;
    let made = api
        .create(&PostParams::default(), &vm)
        .await
        .map_err(|e| format!("failed to create the VM: {}", said::by(e)))?;
    // The volumes live as long as their VM.
    let owner = json!([{
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": made.name_any(), "uid": made.uid(),
        "blockOwnerDeletion": true, "controller": false,
    }]);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(walk.run.target.clone(), namespace);
    for volume in volumes {
        populators::belongs_to(walk, &volume).await;
        let patch = kube::api::Patch::Merge(json!({"metadata": {"ownerReferences": owner}}));
        let _ = glance::patch(&claims, &volume.name_any(), &patch).await;
    }
    if walk.vm.name != made.name_any() {
        walk.run.update(walk.index, |vm| vm.new_name = Some(made.name_any()));
    }
    Ok(())
}

/// The VM runs from now on, as its source did (`kubevirt.io/restore-run-strategy`).
pub(super) async fn start(walk: &Walk<'_>) -> Result<(), String> {
    let api: Api<VirtualMachine> = Api::namespaced(walk.run.target.clone(), &walk.run.plan.spec.target_namespace);
    let name = walk.run.vm(walk.index, |vm| vm.new_name.clone()).flatten();
    let name = name.unwrap_or_else(|| walk.vm.name.clone());
    let patch = kube::api::Patch::Merge(json!({"spec": {"runStrategy": "Always"}}));
    let started = glance::patch(&api, &name, &patch).await;
    started.map(drop).map_err(|e| format!("failed to start the VM: {}", said::by(e)))
}

/// Before a conversion, and before it makes the VM, MTV looks for a claim of each disk that its inventory shows by then
/// (`mapDisks`, `pkg/controller/plan/adapter/vsphere/builder.go`): there is none of a disk that came meanwhile.
pub(super) async fn all_claimed(walk: &Walk<'_>) -> Result<(), String> {
    let later = came_later(walk).await;
    later.map_or(Ok(()), |file| Err(format!("failed to find persistent volume for disk {file}")))
}

/// The file of a disk that the source VM got while it was copied.
async fn came_later(walk: &Walk<'_>) -> Option<String> {
    if walk.behaves(Conduct::ForgetsDisks) {
        return None;
    }
    let inventory = content(&walk.run.mtv, &walk.run.resolved.source).await?;
    let now = inventory.find(Some(&walk.vm.id), None)?;
    let key = |disk: &InvDisk| match &disk.own {
        OwnDisk::Vsphere(own) => Some(own.key),
        _ => None,
    };
    let own = walk.vm.disks.iter().chain(&walk.shared);
    let known = |disk: &&InvDisk| key(disk).is_none() || own.clone().any(|own| key(own) == key(disk));
    now.disks.iter().find(|disk| !known(disk)).map(|disk| disk.source.clone())
}

async fn ocp_version(walk: &Walk<'_>) -> String {
    let api: Api<ClusterVersion> = Api::all(walk.run.mtv.client.clone());
    let found = api.get_opt("version").await.ok().flatten().and_then(|v| v.status);
    found.map(|s| s.desired.version).unwrap_or_default()
}

/// The claims of disks that another VM has brought, with their disks (`findSharedPVCs`, vsphere/utils.go); one that is
/// missing is left out without a word.
async fn shared_volumes(walk: &Walk<'_>) -> Result<Vec<(InvDisk, String)>, String> {
    if walk.shared.is_empty() {
        return Ok(Vec::new());
    }
    let namespace = &walk.run.plan.spec.target_namespace;
    let api: Api<PersistentVolumeClaim> = Api::namespaced(walk.run.target.clone(), namespace);
    let selector = format!("{SHAREABLE}=true");
    let claims = api.list(&ListParams::default().labels(&selector)).await.map_err(said::by)?.items;
    let of = |disk: &InvDisk| {
        let told = |claim: &&PersistentVolumeClaim| {
            claim.annotations().get("forklift.konveyor.io/disk-source").is_some_and(|source| *source == disk.source)
        };
        Some((disk.clone(), claims.iter().find(told)?.name_any()))
    };
    Ok(walk.shared.iter().filter_map(of).collect())
}

/// The label of claims whose disk several VMs write to.
const SHAREABLE: &str = "shareable";

async fn virtual_machine(walk: &Walk<'_>, volumes: &[PersistentVolumeClaim], shared: &[(InvDisk, String)]) -> Value {
    let (mtv, vm, spec) = (&walk.run.mtv, &walk.vm, &walk.run.plan.spec);
    let defect = |d| mtv.defects.has(d);
    let name = target_name(walk);
    let cores = vm.cores_per_socket.max(1);
    let sockets = vm.cpu_count / cores + u32::from(defect(Defect::WrongCpu));
    let memory = if defect(Defect::WrongMemory) { vm.memory_mb / 2 } else { vm.memory_mb };
    let efi = vm.firmware_efi != defect(Defect::WrongFirmware);
    let bootloader =
        if efi { json!({"efi": {"secureBoot": vm.firmware_efi && vm.secure_boot}}) } else { json!({"bios": {}}) };
    let mut claims: Vec<String> = volumes.iter().map(ResourceExt::name_any).collect();
    if defect(Defect::SwappedDisks) && claims.len() > 1 {
        claims.swap(0, 1);
    }
    let mut ordered = walk.run.resolved.kind.ordered(&vm.disks);
    if !shared.is_empty() {
        let mut by_disk: Vec<(InvDisk, String)> =
            ordered.into_iter().zip(claims).chain(shared.iter().cloned()).collect();
        let all: Vec<InvDisk> = by_disk.iter().map(|(disk, _)| disk.clone()).collect();
        ordered = walk.run.resolved.kind.ordered(&all);
        let place = |disk: &InvDisk| ordered.iter().position(|one| one == disk);
        by_disk.sort_by_key(|(disk, _)| place(disk));
        claims = by_disk.into_iter().map(|(_, claim)| claim).collect();
    }
    let disks: Vec<Value> = (0..claims.len())
        .map(|i| {
            let own = ordered.get(i).and_then(|disk| disk.vsphere());
            let (raw, shared) = (own.is_some_and(|own| own.raw), own.is_some_and(|own| own.shared));
            let mut disk = match raw && spec.rdm_as_lun == Some(true) {
                true => json!({"name": format!("vol-{i}"), "lun": {"bus": "scsi"}}),
                false => json!({"name": format!("vol-{i}"), "disk": {"bus": "virtio"}}),
            };
            if shared {
                disk["shareable"] = json!(true);
                disk["cache"] = json!("none");
            }
            if i == 0 {
                disk["bootOrder"] = json!(1);
            }
            disk
        })
        .collect();
    let volume_list: Vec<Value> = claims
        .iter()
        .enumerate()
        .map(|(i, claim)| json!({"name": format!("vol-{i}"), "persistentVolumeClaim": {"claimName": claim}}))
        .collect();
    let (interfaces, networks) = nics(walk);
    let mut template_labels = serde_json::Map::from_iter([("app".to_owned(), json!(name))]);
    template_labels.extend(spec.target_labels.iter().map(|(k, v)| (k.clone(), json!(v))));
    if defect(Defect::LostLabel)
        && let Some(lost) = spec.target_labels.keys().next()
    {
        template_labels.remove(lost);
    }
    let mut template = json!({
        "domain": {
            "cpu": {"sockets": sockets, "cores": cores},
            "memory": {"guest": quantity(memory << 20)},
            "firmware": {"bootloader": bootloader},
            "devices": {"disks": disks, "interfaces": interfaces, "tpm": if vm.tpm { json!({"persistent": true}) } else { json!({"enabled": false}) }},
        },
        "networks": networks, "volumes": volume_list,
    });
    // A Go struct that is always written.
    template["domain"]["resources"] = json!({});
    if vm.firmware_efi && vm.secure_boot && efi {
        template["domain"]["features"] = json!({"smm": {"enabled": true}});
    }
    if !spec.target_node_selector.is_empty() {
        template["nodeSelector"] = json!(spec.target_node_selector);
    }
    if let Some(affinity) = spec.target_affinity.as_ref().filter(|_| !defect(Defect::LostAffinity)) {
        template["affinity"] = affinity.clone();
    }
    let mut own_labels = labels(walk);
    own_labels["resource"] = json!("vm-config");
    if walk.run.resolved.kind.converts() {
        own_labels["guestConverted"] = json!((!walk.run.is_raw()).to_string());
    }
    let mut machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": spec.target_namespace, "labels": own_labels},
        "spec": {
            "runStrategy": run_strategy(walk),
            "template": {"metadata": {"labels": template_labels, "annotations": {
                "vm.kubevirt.io/flavor": "", "vm.kubevirt.io/os": "", "vm.kubevirt.io/workload": ""}}, "spec": template},
        },
    });
    let facts = Shape {
        version: mtv.version,
        ocp_version: &ocp_version(walk).await,
        settings: &walk.run.resolved.source.spec.settings,
    };
    walk.run.resolved.kind.shape(&facts, vm, &mut machine);
    if walk.run.is_raw() && spec.use_compatibility_mode.unwrap_or(true) {
        known_devices(&mut machine);
    }
    // `NestedVirtualizationSetting`, pkg/controller/plan/context/migration.go.
    let nested = spec.enable_nested_virtualization.filter(|_| walk.run.resolved.kind.asks_for_nesting(mtv.version));
    if let Some(on) = nested {
        let policy = if on { "optional" } else { "disable" };
        let features = ["vmx", "svm"].map(|name| json!({"name": name, "policy": policy}));
        machine["spec"]["template"]["spec"]["domain"]["cpu"]["features"] = json!(features);
    }
    if defect(Defect::WrongSerial) {
        machine["spec"]["template"]["spec"]["domain"]["firmware"]["serial"] =
            json!("00000000-0000-0000-0000-000000000000");
    }
    mtv.defects.write(&mut machine);
    machine
}

/// Devices that a guest knows into which nobody put drivers (`useCompatibilityModeBus`, vsphere/utils.go).
fn known_devices(machine: &mut Value) {
    let devices = &mut machine["spec"]["template"]["spec"]["domain"]["devices"];
    for (list, pointer, value) in
        [("disks", "/disk/bus", "sata"), ("interfaces", "/model", "e1000e"), ("inputs", "/bus", "usb")]
    {
        for device in devices[list].as_array_mut().into_iter().flatten() {
            if let Some(place) = device.pointer_mut(pointer) {
                *place = json!(value);
            }
        }
    }
}

fn run_strategy(walk: &Walk<'_>) -> &'static str {
    let spec = &walk.run.plan.spec;
    let own = spec.vms.get(walk.index).and_then(|vm| vm.target_power_state.as_deref());
    let wanted = own.or(spec.target_power_state.as_deref()).filter(|_| walk.run.mtv.version.at_least(10));
    let on = match wanted {
        _ if walk.run.reboots(walk.index, &walk.vm) => true,
        Some("on") => true,
        Some("off") => false,
        _ => walk.run.ran(walk.index),
    };
    if on != walk.run.mtv.defects.has(Defect::WrongPower) { "Always" } else { "Halted" }
}

/// Interfaces and networks, in the order of the source's NICs.
fn nics(walk: &Walk<'_>) -> (Vec<Value>, Vec<Value>) {
    let resolved = &walk.run.resolved;
    let (mut interfaces, mut networks) = (Vec::new(), Vec::new());
    let last = walk.vm.nics.len().saturating_sub(1);
    let map = Map { refs: resolved.network_refs(), rows: resolved.network_rows(), version: walk.run.mtv.version };
    let landed = map.built(&walk.vm.nics, resolved.kind.rows());
    for (index, (nic, row)) in walk.vm.nics.iter().zip(landed).enumerate() {
        let Some(row) = row.filter(|row| row.destination.type_ != "ignored") else { continue };
        let name = format!("net-{index}");
        let renewed = index == last && walk.run.mtv.defects.has(Defect::NewMac);
        let mac = if renewed { new_mac(&nic.mac) } else { nic.mac.clone() };
        let mut pod = row.destination.type_ == "pod";
        let mut nad = format!(
            "{}/{}",
            row.destination.namespace.as_deref().unwrap_or_default(),
            row.destination.name.as_deref().unwrap_or_default()
        );
        if index == last && walk.run.mtv.defects.has(Defect::WrongNetwork) {
            pod = false;
            nad = "default/somewhere-else".to_owned();
        }
        let mut interface = json!({"name": name, "model": "virtio"});
        // An exporter may leave it out; KubeVirt then makes one up.
        if !mac.is_empty() {
            interface["macAddress"] = json!(mac);
        }
        interface[if pod { "masquerade" } else { "bridge" }] = json!({});
        interfaces.push(interface);
        networks.push(if pod {
            json!({"name": name, "pod": {}})
        } else {
            json!({"name": name, "multus": {"networkName": nad}})
        });
    }
    (interfaces, networks)
}

/// What MTV takes away, as group, version, kind.
type Removed = (&'static str, &'static str, &'static str);
const VM: Removed = ("kubevirt.io", "v1", "VirtualMachine");
/// Before its claim, which CDI would make again.
const DATA_VOLUME: Removed = ("cdi.kubevirt.io", "v1beta1", "DataVolume");
const CLAIM: Removed = ("", "v1", "PersistentVolumeClaim");
const POD: Removed = ("", "v1", "Pod");

/// Removes what a VM that did not arrive left in the target namespace. `migration`: the uid of the one that made it.
pub(super) async fn remove(walk: &Walk<'_>, migration: &str) {
    // Up to 2.9 always, from 2.10 on where the Plan says so (the CRD's default from 2.11.3 on).
    let spec = &walk.run.plan.spec;
    let deletes = !walk.run.mtv.version.at_least(10) || spec.delete_vm_on_fail_migration != Some(false);
    // Claims of populators are found by the uid of the Migration at hand (`getPVCs`, `pkg/controller/plan/kubevirt.go`),
    // which is empty where that was deleted: they stay. What CDI fills goes with its DataVolume, found by the Plan.
    let forgets = walk.run.current().is_none() && walk.run.resolved.kind.populates(spec.warm);
    let kinds: &[Removed] = match (deletes, forgets) {
        (true, false) => &[VM, CLAIM, POD],
        (true, true) => &[VM, POD],
        (false, _) => &[POD],
    };
    let selector = format!("migration={migration},vmID={}", walk.vm.id);
    if deletes && data_volumes::are_left(walk) {
        sweep(&walk.run.target, &spec.target_namespace, &selector, &[DATA_VOLUME]).await;
    }
    sweep(&walk.run.target, &spec.target_namespace, &selector, kinds).await;
}

/// Removes the pods of a VM's conversion, and no more.
pub(super) async fn remove_pods(walk: &Walk<'_>, migration: &str) {
    let selector = format!("migration={migration},vmID={}", walk.vm.id);
    sweep(&walk.run.target, &walk.run.plan.spec.target_namespace, &selector, &[POD]).await;
}

/// What goes with an archived Plan: its pods, and what VMs that did not arrive have left.
pub(super) async fn archived(client: &kube::Client, plan: &Plan, version: MtvVersion) {
    let namespace = &plan.spec.target_namespace;
    let uid = plan.uid().unwrap_or_default();
    sweep(client, namespace, &format!("plan={uid}"), &[POD]).await;
    let deletes = !version.at_least(10) || plan.spec.delete_vm_on_fail_migration != Some(false);
    let vms = plan.status.iter().flat_map(|status| status.migration.iter()).flat_map(|migration| migration.vms.iter());
    for vm in vms.filter(|vm| deletes && !vm.conditions.holds("Succeeded")) {
        sweep(client, namespace, &format!("plan={uid},vmID={}", vm.id), &[VM, DATA_VOLUME, CLAIM]).await;
    }
}

/// What no MTV leaves of a deleted Plan ([`Conduct::OutlivesPlan`]): a VM.
pub(super) async fn outlived(client: &kube::Client, plan: &Plan) {
    let api: Api<VirtualMachine> = Api::namespaced(client.clone(), &plan.spec.target_namespace);
    let vm = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"generateName": "late-", "labels": {"plan": plan.uid()}},
        "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}}}}}});
    if let Ok(vm) = serde_json::from_value(vm) {
        let _ = api.create(&PostParams::default(), &vm).await;
    }
}

/// From 2.12 on what a deleted Plan made goes by its labels, but for VMs and their claims.
pub(super) async fn deleted(client: &kube::Client, plan: &Plan) {
    let (namespace, labels) = (&plan.spec.target_namespace, again::labels_of(plan));
    sweep(client, namespace, &labels, &[POD]).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let found = claims.list(&ListParams::default().labels(&labels)).await.map(|list| list.items).unwrap_or_default();
    let owned =
        |claim: &PersistentVolumeClaim| claim.owner_references().iter().any(|owner| owner.kind == "VirtualMachine");
    for claim in found.iter().filter(|claim| !owned(claim)) {
        if let Some(of) = claim.owner_references().iter().find(|owner| owner.kind == DATA_VOLUME.2) {
            let resource = crate::controllers::datavolumes::resource(DATA_VOLUME.2);
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            let _ = api.delete(&of.name, &DeleteParams::default()).await;
        }
        let _ = claims.delete(&claim.name_any(), &DeleteParams::default()).await;
    }
}

/// One by one, as Forklift does: the token of another cluster's Provider may not delete them all at once.
pub(super) async fn delete_each<K>(api: &Api<K>, which: &ListParams, how: &DeleteParams)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let all = match api.list_metadata(which).await {
        Ok(all) => all.items,
        Err(error) => return tracing::debug!(%error, "what is to be removed can't be listed"),
    };
    for name in all.into_iter().filter_map(|one| one.metadata.name) {
        if let Err(error) = tolerate(api.delete(&name, how).await, 404) {
            tracing::debug!(%error, name, "it can't be removed");
        }
    }
}

async fn sweep(client: &kube::Client, namespace: &str, selector: &str, kinds: &[Removed]) {
    for (group, version, kind) in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let labelled = ListParams::default().labels(selector);
        if *kind != POD.2 {
            let _ = glance::delete_all(&api, &DeleteParams::default(), &labelled).await;
            continue;
        }
        delete_each(&api, &labelled, &DeleteParams::default()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::quantity;

    #[test]
    fn a_quantity_has_the_largest_binary_unit_that_divides_it() {
        let of = [30 << 30, 2500 << 20, 40 << 40, 3 << 10, 1000, 0].map(quantity);
        assert_eq!(of, ["30Gi", "2500Mi", "40Ti", "3Ki", "1000", "0"]);
    }
}
