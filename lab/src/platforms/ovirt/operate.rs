//! What clients ask the engine to do with whole VMs: make, start, stop, change, delete.
//!
//! An operation changes the state at once as far as the engine does so before it answers, and
//! says what happens later; it keeps no time itself.

use std::time::Duration;

use super::body::Body;
use super::extras;
use super::model::{Attachment, Disk, Going, Job, Machine, Nic, State, fresh_id, now};
use super::node::{Node, Object};
use super::read::Params;
use super::view::{Follow, reference};
use super::view_vm;
use crate::api::world::Tools;

/// Simulated times.
const CLONE: Duration = Duration::from_secs(180);
const LAUNCH: Duration = Duration::from_secs(15);
const BOOT: Duration = Duration::from_secs(20);
const AGENT: Duration = Duration::from_secs(20);
const SHUTDOWN: Duration = Duration::from_secs(40);
const STOP: Duration = Duration::from_secs(8);
const REMOVE: Duration = Duration::from_secs(15);

/// Why the engine refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub reason: &'static str,
    pub detail: String,
}

impl Fault {
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self { status: 409, reason: "Operation Failed", detail: format!("[{}]", detail.into()) }
    }
    pub fn bad(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status: 400, reason, detail: detail.into() }
    }
    /// The body of such an answer is empty.
    pub fn gone() -> Self {
        Self { status: 404, reason: "", detail: String::new() }
    }
}

/// A step that happens after some simulated time.
pub struct Later {
    pub after: Duration,
    pub step: Step,
}

pub type Step = Box<dyn FnOnce(&mut State) -> Option<Later> + Send>;

pub fn later(after: Duration, step: impl FnOnce(&mut State) -> Option<Later> + Send + 'static) -> Option<Later> {
    Some(Later { after, step: Box::new(step) })
}

/// An answer, and what follows from it.
pub struct Done {
    pub status: u16,
    pub root: &'static str,
    pub node: Node,
    pub then: Option<Later>,
}

impl Done {
    pub fn object(status: u16, root: &'static str, object: Object, then: Option<Later>) -> Self {
        Self { status, root, node: Node::Object(object), then }
    }

    /// The engine's word for an action that is under way.
    pub fn action(job: Option<&str>, then: Option<Later>) -> Self {
        let object = Object::new().text("status", "complete").maybe("job", job.map(|id| reference("jobs", id)));
        Self::object(200, "action", object, then)
    }
}

impl State {
    pub(super) fn job(&mut self, description: String) -> String {
        let id = fresh_id();
        self.jobs.push(Job { id: id.clone(), description, status: "started", start: now(), end: None });
        id
    }

    pub(super) fn job_over(&mut self, id: &str) {
        if let Some(job) = self.jobs.iter_mut().find(|j| j.id == id) {
            (job.status, job.end) = ("finished", Some(now()));
        }
    }

    pub(super) fn vm(&self, id: &str) -> Result<&Machine, Fault> {
        self.vms.get(id).ok_or_else(Fault::gone)
    }
}

fn shown(state: &State, id: &str) -> Object {
    state.vms.get(id).map(|vm| view_vm::vm(state, vm, &Follow::default())).unwrap_or_default()
}

/// `POST /vms`
pub fn create(state: &mut State, body: &Body, correlation: &str) -> Result<Done, Fault> {
    for needed in ["name", "cluster", "template"] {
        if body.at(needed).is_none() {
            let detail = format!("Vm [{needed}] required for add");
            return Err(Fault::bad("Incomplete parameters", detail));
        }
    }
    let cluster = body.text("cluster/id").is_some_and(|id| id == state.cluster.id)
        || body.text("cluster/name").is_some_and(|name| name == state.cluster.name);
    if !cluster {
        let detail = "Entity not found: Cluster".to_owned();
        return Err(Fault { status: 404, reason: "Operation Failed", detail });
    }
    let named = |t: &&Machine| body.text("template/id") == Some(&t.id) || body.text("template/name") == Some(&t.name);
    let blank = extras::blank();
    let all = state.templates.values().chain(std::iter::once(&blank));
    let template = all.filter(named).max_by_key(|t| t.version).cloned();
    let Some(template) = template else {
        let detail = "Entity not found: Template".to_owned();
        return Err(Fault { status: 404, reason: "Operation Failed", detail });
    };
    let overrides = overrides(&template, body)?;
    let (id, then) = copy(state, &template, body, &overrides, correlation)?;
    // Of a template without disks nothing is copied.
    if template.attachments.is_empty() {
        let then = then.and_then(|now| (now.step)(state));
        return Ok(Done::object(201, "vm", shown(state, &id), then));
    }
    Ok(Done::object(202, "vm", shown(state, &id).text("creation_status", "in_progress"), then))
}

/// Overrides of disks, matched by the template's disk ids.
fn overrides<'a>(template: &Machine, body: &'a Body) -> Result<Vec<&'a Body>, Fault> {
    let Some(all) = body.at("disk_attachments") else { return Ok(Vec::new()) };
    let disks: Vec<&Body> = all.all("disk_attachment").filter_map(|a| a.at("disk")).collect();
    let known = |d: &&Body| template.attachments.iter().any(|a| d.text("id") == Some(&a.disk));
    if disks.iter().all(known) { Ok(disks) } else { Err(Fault::gone()) }
}

/// `POST /vms/{id}/clone`
pub fn clone_vm(state: &mut State, id: &str, body: &Body, correlation: &str) -> Result<Done, Fault> {
    let source = state.vm(id)?.clone();
    if source.status != "down" || state.is_locked(&source) {
        return Err(Fault::conflict("Cannot clone VM. VM is not down or locked."));
    }
    let wanted = body.at("vm").cloned().unwrap_or_default();
    let (_, then) = copy(state, &source, &wanted, &[], correlation)?;
    Ok(Done::action(None, then))
}

/// A full copy under a new name, its disks locked until they are copied.
fn copy(
    state: &mut State,
    source: &Machine,
    body: &Body,
    overrides: &[&Body],
    correlation: &str,
) -> Result<(String, Option<Later>), Fault> {
    let name = body.text("name").ok_or_else(|| Fault::bad("Incomplete parameters", "Vm [name] required for add"))?;
    if state.vms.values().any(|vm| vm.name == name) {
        let detail = "Cannot add VM. The VM name is already in use, please choose a unique name and try again.";
        return Err(Fault::conflict(detail));
    }
    let mut attachments = Vec::new();
    for attachment in &source.attachments {
        let Some(old) = state.disks.get(&attachment.disk) else { continue };
        let own = overrides.iter().find(|d| d.text("id") == Some(&attachment.disk));
        let own = |path: &str| own.and_then(|d| d.text(path));
        let disk = Disk {
            id: fresh_id(),
            name: old.name.replacen(&source.name, name, 1),
            status: "locked",
            image: fresh_id(),
            domain: own("storage_domains/storage_domain/id").unwrap_or(&old.domain).to_owned(),
            format: own("format").unwrap_or(&old.format).to_owned(),
            sparse: own("sparse").map_or(old.sparse, |sparse| sparse == "true"),
            size: old.size,
            shared: old.shared,
        };
        attachments.push(Attachment { disk: disk.id.clone(), ..attachment.clone() });
        state.disks.insert(disk.id.clone(), disk);
    }
    let mut nics = Vec::new();
    for nic in &source.nics {
        nics.push(Nic { id: fresh_id(), mac: state.fresh_mac(), ..nic.clone() });
    }
    let bytes = |path: &str| body.text(path).and_then(|text| text.parse().ok());
    let id = fresh_id();
    let vm = Machine {
        id: id.clone(),
        name: name.to_owned(),
        description: body.text("description").unwrap_or_default().to_owned(),
        memory: bytes("memory").unwrap_or(source.memory),
        nics,
        attachments,
        snapshots: Vec::new(),
        status: "image_locked",
        created: now(),
        template: Some(source.id.clone()),
        host: None,
        reports: false,
        goes: None,
        boots: 0,
        active: fresh_id(),
        ..source.clone()
    };
    state.vms.insert(id.clone(), vm);
    let job = state.job(format!("Creating VM {name} from {}", source.name));
    state.event(37, format!("VM {name} creation was initiated by lab."), Some(&id), correlation);
    let (own, correlation) = (id.clone(), correlation.to_owned());
    let then = later(CLONE, move |state| {
        state.set_disks(&own, "ok");
        if let Some(vm) = state.vms.get_mut(&own) {
            vm.status = "down";
            let text = format!("VM {} creation has been completed.", vm.name);
            state.event(53, text, Some(&own), &correlation);
        }
        state.job_over(&job);
        None
    });
    Ok((id, then))
}

/// `POST /vms/{id}/start`
pub fn start(state: &mut State, id: &str, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    if state.is_locked(vm) {
        return Err(Fault::conflict(format!("Cannot run VM. The following disks are locked: {}_Disk1.", vm.name)));
    }
    if vm.status != "down" {
        return Err(Fault::conflict("Cannot run VM. VM is running."));
    }
    if vm.attachments.is_empty() {
        return Err(Fault::conflict("Cannot run VM without at least one bootable disk."));
    }
    let host = state.hosts[0].clone();
    let job = state.job(format!("Launching VM {}", vm.name));
    let Some(vm) = state.vms.get_mut(id) else { return Err(Fault::gone()) };
    vm.boots += 1;
    (vm.status, vm.host) = ("wait_for_launch", Some(host.id.clone()));
    let (boot, name) = (vm.boots, vm.name.clone());
    state.event(153, format!("VM {name} was started by lab (Host: {}).", host.name), Some(id), correlation);
    let (id, over, correlation) = (id.to_owned(), job.clone(), correlation.to_owned());
    // A step of a boot that has ended meanwhile does nothing.
    let step = move |state: &mut State, from: &str, to: &'static str| {
        let vm = state.vms.get_mut(&id).filter(|vm| vm.boots == boot && vm.status == from)?;
        vm.status = to;
        Some(id.clone())
    };
    let then = later(LAUNCH, move |state| {
        step(state, "wait_for_launch", "powering_up")?;
        later(BOOT, move |state| {
            let id = step(state, "powering_up", "up")?;
            state.event(32, format!("VM {name} started on Host {}", host.name), Some(&id), &correlation);
            state.job_over(&over);
            later(AGENT, move |state| {
                let vm = state.vms.get_mut(&id).filter(|vm| vm.boots == boot && vm.status == "up")?;
                vm.reports = vm.guest.tools == Tools::Running;
                None
            })
        })
    });
    Ok(Done::action(Some(&job), then))
}

/// `POST /vms/{id}/shutdown` asks the guest; `stop` does not.
pub fn power_off(state: &mut State, id: &str, by_force: bool, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    let verb = if by_force { "stop" } else { "shutdown" };
    if vm.status == "image_locked" {
        return Err(Fault::conflict(format!("Cannot {verb} VM. VM is locked.")));
    }
    if vm.status == "down" {
        return Err(Fault::conflict(format!("Cannot {verb} VM. VM is not running.")));
    }
    let job = state.job(format!("Stopping VM {}", vm.name));
    let Some(vm) = state.vms.get_mut(id) else { return Err(Fault::gone()) };
    vm.status = "powering_down";
    let (boot, name) = (vm.boots, vm.name.clone());
    if by_force {
        state.event(33, format!("VM {name} powered off by lab."), Some(id), correlation);
    } else {
        state.event(73, format!("VM shutdown initiated by lab on VM {name}."), Some(id), correlation);
    }
    let (id, over, correlation) = (id.to_owned(), job.clone(), correlation.to_owned());
    let then = later(if by_force { STOP } else { SHUTDOWN }, move |state| {
        let vm = state.vms.get_mut(&id).filter(|vm| vm.boots == boot && vm.status == "powering_down")?;
        (vm.status, vm.host, vm.reports) = ("down", None, false);
        let how = if by_force { "Admin shut down from the engine" } else { "User shut down from within the guest" };
        state.event(61, format!("VM {name} is down. Exit message: {how}"), Some(&id), &correlation);
        state.job_over(&over);
        None
    });
    Ok(Done::action(Some(&job), then))
}

pub fn reboot(state: &State, id: &str) -> Result<Done, Fault> {
    match state.vm(id)?.status {
        "up" => Ok(Done::action(None, None)),
        _ => Err(Fault::conflict("Cannot reboot VM. VM is not running.")),
    }
}

/// `PUT /vms/{id}`
pub fn update(state: &mut State, id: &str, body: &Body, correlation: &str) -> Result<Done, Fault> {
    state.vm(id)?;
    if let Some(name) = body.text("name")
        && state.vms.values().any(|vm| vm.id != id && vm.name == name)
    {
        return Err(Fault::conflict("Cannot edit VM. The VM name is already in use."));
    }
    let Some(vm) = state.vms.get_mut(id) else { return Err(Fault::gone()) };
    if let Some(name) = body.text("name") {
        vm.name = name.to_owned();
    }
    if let Some(description) = body.text("description") {
        vm.description = description.to_owned();
    }
    if let Some(memory) = body.text("memory").and_then(|text| text.parse().ok()) {
        vm.memory = memory;
    }
    let text = format!("VM {} configuration was updated by lab.", vm.name);
    state.event(35, text, Some(id), correlation);
    Ok(Done::object(200, "vm", shown(state, id), None))
}

/// `DELETE /vms/{id}`
pub fn remove(state: &mut State, id: &str, params: &Params, correlation: &str) -> Result<Done, Fault> {
    let vm = state.vm(id)?;
    if state.is_locked(vm) {
        return Err(Fault::conflict("Cannot remove VM. VM is locked. Related operation is currently in progress."));
    }
    if vm.status != "down" {
        return Err(Fault::conflict("Cannot remove VM. VM is running."));
    }
    let keep_disks = params.get("detach_only").is_some_and(|v| matches!(v.as_str(), "true" | "1" | ""));
    if keep_disks && !vm.snapshots.is_empty() {
        return Err(Fault::conflict("Cannot remove VM. Cannot detach disks, snapshots exist."));
    }
    let name = vm.name.clone();
    let job = state.job(format!("Removing VM {name} from system"));
    if let Some(vm) = state.vms.get_mut(id) {
        (vm.status, vm.goes) = ("image_locked", Some(if keep_disks { Going::Alone } else { Going::WithDisks }));
    }
    state.set_disks(id, "locked");
    let (own, over, correlation) = (id.to_owned(), job.clone(), correlation.to_owned());
    let then = later(REMOVE, move |state| {
        let vm = state.vms.remove(&own)?;
        for attachment in &vm.attachments {
            if keep_disks {
                if let Some(disk) = state.disks.get_mut(&attachment.disk) {
                    disk.status = "ok";
                }
            } else {
                state.disks.remove(&attachment.disk);
            }
        }
        state.event_of(113, format!("VM {name} was successfully removed."), Some((vm.id, vm.name)), &correlation);
        state.job_over(&over);
        None
    });
    Ok(Done::action(Some(&job), then))
}
