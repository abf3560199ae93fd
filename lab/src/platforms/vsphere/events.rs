//! vCenter's events: those of the tasks that are remembered, oldest first.

use super::fault::{Fault, invalid_argument};
use super::session::reference;
use super::tree::{Scope, task_info};
use super::value::{Obj, Val, mo, obj, time};
use super::xml::Node;
use crate::world::{EntityKind, Task, TaskState};

/// Which events a client wants.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A VM's id; what is above VMs is about all of them.
    vm: Option<String>,
    kinds: Vec<String>,
    begin: Option<jiff::Timestamp>,
    end: Option<jiff::Timestamp>,
}

impl Filter {
    pub(super) fn of(node: Option<&Node>) -> Result<Self, Fault> {
        let Some(node) = node else { return Err(invalid_argument("filter")) };
        let entity = node.child("entity").and_then(|entity| entity.child("entity")).map(reference);
        let at = |name: &str| node.child("time").and_then(|span| span.text(name)).and_then(|text| text.parse().ok());
        Ok(Self {
            vm: entity.filter(|entity| entity.kind == "VirtualMachine").map(|entity| entity.id),
            kinds: node.all("eventTypeId").map(|kind| kind.text.trim().to_owned()).collect(),
            begin: at("beginTime"),
            end: at("endTime"),
        })
    }

    fn wants(&self, event: &Told<'_>) -> bool {
        let at: Option<jiff::Timestamp> = event.at.parse().ok();
        self.vm.as_ref().is_none_or(|vm| event.task.entity.1 == *vm)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.ends_with(event.kind)))
            && self.begin.is_none_or(|begin| at.is_some_and(|at| at >= begin))
            && self.end.is_none_or(|end| at.is_some_and(|at| at <= end))
    }
}

/// One event.
struct Told<'a> {
    task: &'a Task,
    kind: &'static str,
    at: &'a str,
    text: String,
}

/// What a task tells: that it was asked for, and what it did.
fn of_task(task: &Task) -> Vec<Told<'_>> {
    let asked = format!("Task: {}", task.operation.trim_end_matches("_Task"));
    let mut told = vec![Told { task, kind: "TaskEvent", at: &task.queued, text: asked }];
    let done = match (task.operation, &task.state) {
        (_, TaskState::Queued | TaskState::Running | TaskState::Error(_)) => None,
        ("PowerOnVM_Task", _) => Some(("VmPoweredOnEvent", "is powered on")),
        ("PowerOffVM_Task", _) => Some(("VmPoweredOffEvent", "is powered off")),
        ("SuspendVM_Task", _) => Some(("VmSuspendedEvent", "is suspended")),
        ("Destroy_Task", _) => Some(("VmRemovedEvent", "was removed")),
        _ => None,
    };
    if let (Some((kind, what)), Some(at)) = (done, task.completed.as_deref()) {
        told.push(Told { task, kind, at, text: format!("{} {what}", task.entity_name) });
    }
    told
}

fn rendered(scope: &Scope<'_>, key: usize, event: &Told<'_>) -> Obj {
    let about_vm = event.task.entity.0 == EntityKind::Vm;
    let key = i32::try_from(key).unwrap_or(i32::MAX);
    let datacenter = &scope.state.datacenter;
    let mut told = obj(event.kind)
        .set("key", key)
        .set("chainId", key)
        .set("createdTime", time(event.at))
        .set("userName", &event.task.user)
        .set(
            "datacenter",
            obj("DatacenterEventArgument")
                .set("name", &datacenter.1)
                .set("datacenter", mo("Datacenter", &datacenter.0)),
        );
    if about_vm {
        let vm = obj("VmEventArgument")
            .set("name", &event.task.entity_name)
            .set("vm", mo("VirtualMachine", &event.task.entity.1));
        told = told.set("vm", vm);
    }
    told = told.set("fullFormattedMessage", &event.text);
    match event.kind {
        "TaskEvent" => told.set("info", task_info(event.task)),
        _ => told.set("template", false),
    }
}

pub(super) fn all(scope: &Scope<'_>, filter: &Filter) -> Vec<Val> {
    let mut events: Vec<Told<'_>> = scope.state.tasks.values().flat_map(of_task).collect();
    events.sort_by(|a, b| (a.at, &a.task.id).cmp(&(b.at, &b.task.id)));
    let kept = events.iter().enumerate().filter(|(_, event)| filter.wants(event));
    kept.map(|(key, event)| rendered(scope, key + 1, event).into()).collect()
}
