//! What clients ask the engine to do with parts of a VM: snapshots, disks, NICs.

use std::time::Duration;

use super::body::Body;
use super::model::{Attachment, Disk, Nic, Snapshot, State, fresh_id, now};
use super::operate::{Done, Fault, later};
use super::read::Params;
use super::view::Follow;
use super::{view, view_vm};

/// Simulated times.
const SNAPSHOT: Duration = Duration::from_secs(25);
const DISK: Duration = Duration::from_secs(20);

/// `POST /vms/{id}/snapshots`
pub fn add_snapshot(state: &mut State, id: &str, body: &Body, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    if state.is_locked(vm) {
        let detail = "Cannot create Snapshot. VM is locked: performing an operation on a Snapshot.";
        return Err(Fault::conflict(detail));
    }
    let images: Vec<(String, String)> = vm
        .attachments
        .iter()
        .filter_map(|a| state.disks.get(&a.disk))
        .map(|d| (d.id.clone(), d.image.clone()))
        .collect();
    let snapshot = Snapshot {
        goes: false,
        id: fresh_id(),
        description: body.text("description").unwrap_or_default().to_owned(),
        date: now(),
        status: "locked",
        images,
    };
    let name = vm.name.clone();
    let what = format!("'{}' creation for VM '{name}'", snapshot.description);
    // What runs on goes into a new layer.
    for (disk, _) in &snapshot.images {
        if let Some(disk) = state.disks.get_mut(disk) {
            disk.image = fresh_id();
        }
    }
    state.set_disks(id, "locked");
    let own = snapshot.id.clone();
    if let Some(vm) = state.vms.get_mut(id) {
        vm.snapshots.push(snapshot.clone());
    }
    let job = state.job(format!("Creating VM Snapshot {what}"));
    state.event(45, format!("Snapshot {what} was initiated by lab."), Some(id), correlation);
    let shown = state.vms.get(id).map(|vm| view_vm::snapshot(vm, &snapshot)).unwrap_or_default();
    let (id, correlation) = (id.to_owned(), correlation.to_owned());
    let then = later(SNAPSHOT, move |state| {
        state.set_disks(&id, "ok");
        let made = state.vms.get_mut(&id)?.snapshots.iter_mut().find(|s| s.id == own)?;
        made.status = "ok";
        state.event(68, format!("Snapshot {what} has been completed."), Some(&id), &correlation);
        state.job_over(&job);
        None
    });
    Ok(Done::object(202, "snapshot", shown, then))
}

/// `DELETE /vms/{id}/snapshots/{sid}`
pub fn remove_snapshot(state: &mut State, id: &str, snapshot: &str, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    if vm.active == snapshot {
        return Err(Fault::conflict("Cannot remove Snapshot. The operation is only allowed for regular snapshots."));
    }
    let found = vm.snapshots.iter().find(|s| s.id == snapshot).ok_or_else(Fault::gone)?;
    if state.is_locked(vm) {
        return Err(Fault::conflict("Cannot remove Snapshot. VM is locked: performing an operation on a Snapshot."));
    }
    let what = format!("'{}' deletion for VM '{}'", found.description, vm.name);
    if let Some(found) = state.vms.get_mut(id).and_then(|vm| vm.snapshots.iter_mut().find(|s| s.id == snapshot)) {
        (found.status, found.goes) = ("locked", true);
    }
    state.set_disks(id, "locked");
    let job = state.job(format!("Removing Snapshot {what}"));
    state.event(342, format!("Snapshot {what} was initiated by lab."), Some(id), correlation);
    let (id, snapshot, correlation, over) = (id.to_owned(), snapshot.to_owned(), correlation.to_owned(), job.clone());
    let then = later(SNAPSHOT, move |state| {
        state.set_disks(&id, "ok");
        state.vms.get_mut(&id)?.snapshots.retain(|s| s.id != snapshot);
        state.event(356, format!("Snapshot {what} has been completed."), Some(&id), &correlation);
        state.job_over(&over);
        None
    });
    Ok(Done::action(Some(&job), then))
}

/// `POST /vms/{id}/nics`
pub fn add_nic(state: &mut State, id: &str, body: &Body, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    let name = body.text("name").ok_or_else(|| Fault::bad("Incomplete parameters", "Nic [name] required for add"))?;
    let mac = body.text("mac/address").map_or_else(|| state.fresh_mac(), str::to_lowercase);
    if state.vms.values().flat_map(|vm| &vm.nics).any(|nic| nic.mac == mac) {
        return Err(Fault::conflict(format!("Cannot add Interface. MAC address in use: {mac}.")));
    }
    let (count, windows) = (vm.nics.len(), vm.guest.windows);
    let nic = Nic {
        id: fresh_id(),
        name: name.to_owned(),
        interface: body.text("interface").unwrap_or("virtio").to_owned(),
        profile: body.text("vnic_profile/id").map(str::to_owned),
        mac,
        guest_name: if windows { format!("Ethernet{count}") } else { format!("eth{count}") },
        fixed: None,
        is_static: false,
        plugged: true,
    };
    let shown = view_vm::nic(vm, &nic, &Follow::default());
    if let Some(vm) = state.vms.get_mut(id) {
        vm.nics.push(nic);
    }
    state.event(932, format!("Interface {name} was added to VM."), Some(id), correlation);
    Ok(Done::object(201, "nic", shown, None))
}

/// `DELETE /vms/{id}/nics/{nid}`
pub fn remove_nic(state: &mut State, id: &str, nic: &str, correlation: &str) -> Result<Done, Fault> {
    state.vm(id)?.nics.iter().find(|n| n.id == nic).ok_or_else(Fault::gone)?;
    if let Some(vm) = state.vms.get_mut(id) {
        vm.nics.retain(|n| n.id != nic);
    }
    state.event(930, "Interface was removed from VM.".to_owned(), Some(id), correlation);
    Ok(Done::action(None, None))
}

fn new_disk(state: &State, body: &Body, fallback_name: &str) -> Result<Disk, Fault> {
    let size = body.text("provisioned_size").and_then(|text| text.parse().ok());
    let size = size.ok_or_else(|| Fault::bad("Incomplete parameters", "Disk [provisionedSize] required for add"))?;
    let wanted = body.at("storage_domains/storage_domain");
    let named = |d: &&super::model::Domain| {
        wanted.is_some_and(|w| w.text("id") == Some(&d.id) || w.text("name") == Some(&d.name))
    };
    let domain = state.domains.iter().find(named);
    let domain = domain.ok_or_else(|| Fault::conflict("Cannot add Virtual Disk. Storage Domain doesn't exist."))?;
    let name = body.text("name").or_else(|| body.text("alias")).unwrap_or(fallback_name);
    Ok(Disk {
        id: fresh_id(),
        name: name.to_owned(),
        size,
        status: "locked",
        domain: domain.id.clone(),
        image: fresh_id(),
        format: body.text("format").unwrap_or("cow").to_owned(),
        sparse: body.flag("sparse").unwrap_or(true),
        shared: false,
    })
}

/// `POST /vms/{id}/diskattachments`: a disk that is there, or a new one.
pub fn attach(state: &mut State, id: &str, body: &Body, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    let wanted = body.at("disk").cloned().unwrap_or_default();
    let interface = body.text("interface").unwrap_or("virtio_scsi").to_owned();
    let bootable = body.flag("bootable").unwrap_or(false);
    let existing = wanted.text("id").map(str::to_owned);
    let (status, disk) = match existing {
        Some(disk) => {
            if !state.disks.contains_key(&disk) {
                return Err(Fault::gone());
            }
            if state.vms.values().any(|vm| vm.attachments.iter().any(|a| a.disk == disk)) {
                return Err(Fault::conflict("Cannot attach Virtual Disk. The disk is already attached to VM."));
            }
            (201, disk)
        }
        None => {
            let disk = new_disk(state, &wanted, &format!("{}_DiskN", vm.name))?;
            let id = disk.id.clone();
            state.disks.insert(id.clone(), disk);
            (202, id)
        }
    };
    let attachment = Attachment { disk: disk.clone(), interface, bootable };
    let Some(vm) = state.vms.get_mut(id) else { return Err(Fault::gone()) };
    vm.attachments.push(attachment.clone());
    let shown = state.vms.get(id).map(|vm| view_vm::attachment(state, vm, &attachment, &Follow::default()));
    let (id, correlation) = (id.to_owned(), correlation.to_owned());
    let then = if status == 202 {
        later(DISK, move |state| {
            state.disks.get_mut(&disk)?.status = "ok";
            state.event(97, "Disk was successfully added to VM.".to_owned(), Some(&id), &correlation);
            None
        })
    } else {
        state.event(2016, "Disk was attached to VM.".to_owned(), Some(&id), &correlation);
        None
    };
    Ok(Done::object(status, "disk_attachment", shown.unwrap_or_default(), then))
}

/// `DELETE /vms/{id}/diskattachments/{did}`: keeps the disk unless told otherwise.
pub fn detach(state: &mut State, id: &str, disk: &str, params: &Params, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    vm.attachments.iter().find(|a| a.disk == disk).ok_or_else(Fault::gone)?;
    if state.is_locked(vm) {
        return Err(Fault::conflict("Cannot detach Virtual Disk. The disks are locked."));
    }
    if let Some(vm) = state.vms.get_mut(id) {
        vm.attachments.retain(|a| a.disk != disk);
    }
    if params.get("detach_only").is_some_and(|v| v == "false") {
        state.disks.remove(disk);
        state.event(80, "Disk was removed from VM.".to_owned(), Some(id), correlation);
    } else {
        state.event(2018, "Disk was detached from VM.".to_owned(), Some(id), correlation);
    }
    Ok(Done::action(None, None))
}

/// `POST /disks`
pub fn create_disk(state: &mut State, body: &Body, correlation: &str) -> Result<Done, Fault> {
    let disk = new_disk(state, body, "disk")?;
    let (id, shown, correlation) = (disk.id.clone(), view::disk(&disk), correlation.to_owned());
    state.disks.insert(id.clone(), disk);
    let then = later(DISK, move |state| {
        state.disks.get_mut(&id)?.status = "ok";
        state.event(2021, "The disk was successfully added.".to_owned(), None, &correlation);
        None
    });
    Ok(Done::object(202, "disk", shown, then))
}

/// `DELETE /disks/{id}`
pub fn remove_disk(state: &mut State, id: &str, correlation: &str) -> Result<Done, Fault> {
    let disk = state.disks.get(id).ok_or_else(Fault::gone)?;
    if disk.status == "locked" {
        return Err(Fault::conflict("Cannot remove Virtual Disk. Disk is locked."));
    }
    let all = state.vms.values().chain(state.templates.values());
    for machine in all {
        if machine.attachments.iter().any(|a| a.disk == id) && machine.status != "down" {
            return Err(Fault::conflict("Cannot remove Virtual Disk. The disk is in use by a VM or template."));
        }
    }
    state.disks.remove(id);
    for vm in state.vms.values_mut() {
        vm.attachments.retain(|a| a.disk != id);
    }
    state.event(2014, "Disk was successfully removed.".to_owned(), None, correlation);
    Ok(Done::action(None, None))
}
