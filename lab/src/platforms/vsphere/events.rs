//! vCenter's events: those of the tasks that are remembered, oldest first. Asked at once, or through a collector that
//! remembers how far its client has read.

use super::dispatch::{Answer, Service, this};
use super::fault::{Fault, invalid_argument, object_gone};
use super::session::reference;
use super::tree::{Scope, task_info};
use super::value::{Obj, Val, mo, obj, time};
use super::xml::Node;
use crate::world::{EntityKind, Task, TaskState};

pub const METHODS: &[&str] = &[
    "QueryEvents",
    "CreateCollectorForEvents",
    "ReadNextEvents",
    "ReadPreviousEvents",
    "SetCollectorPageSize",
    "RewindCollector",
    "ResetCollector",
    "DestroyCollector",
];
/// vCenter's own.
const PAGE: usize = 1000;

/// Which events a client wants.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A VM's id; what is above VMs is about all of them.
    vm: Option<String>,
    kinds: Vec<String>,
    begin: Option<jiff::Timestamp>,
    end: Option<jiff::Timestamp>,
}

/// How far a client has read.
#[derive(Debug, Clone)]
pub struct EventCollector {
    filter: Filter,
    page: usize,
    /// Events that were read already.
    at: usize,
}

impl Filter {
    fn of(node: Option<&Node>) -> Result<Self, Fault> {
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

fn all(scope: &Scope<'_>, filter: &Filter) -> Vec<Val> {
    let mut events: Vec<Told<'_>> = scope.state.tasks.values().flat_map(of_task).collect();
    events.sort_by(|a, b| (a.at, &a.task.id).cmp(&(b.at, &b.task.id)));
    let kept = events.iter().enumerate().filter(|(_, event)| filter.wants(event));
    kept.map(|(key, event)| rendered(scope, key + 1, event).into()).collect()
}

/// The newest, newest first.
pub(super) fn latest_page(scope: &Scope<'_>, collector: &EventCollector) -> Val {
    let events = all(scope, &collector.filter).into_iter().rev().take(collector.page);
    Val::Array("Event", events.collect())
}

impl Service {
    pub(super) fn events(&self, key: &str, method: &Node) -> Result<Answer, Fault> {
        let count = method.number::<usize>("maxCount").unwrap_or(PAGE).min(PAGE);
        self.with_session(key, |session| {
            if method.name == "QueryEvents" {
                let filter = Filter::of(method.child("filter"))?;
                return self.scoped(session, |scope| Ok(Val::Array("Event", all(scope, &filter)).into()));
            }
            if method.name == "CreateCollectorForEvents" {
                let filter = Filter::of(method.child("filter"))?;
                let id = session.fresh_id();
                session.events.insert(id.clone(), EventCollector { filter, page: 10, at: 0 });
                return Ok(Val::Ref(mo("EventHistoryCollector", &id)).into());
            }
            let own = this(method);
            let Some(mut collector) = session.events.get(&own.id).cloned() else { return Err(object_gone(own)) };
            let events = self.scoped(session, |scope| Ok(all(scope, &collector.filter)))?;
            let mut read = Vec::new();
            match method.name.as_str() {
                "ReadNextEvents" => {
                    read = events.into_iter().skip(collector.at).take(count).collect();
                    collector.at += read.len();
                }
                "ReadPreviousEvents" => {
                    let from = collector.at.saturating_sub(count);
                    read = events.into_iter().take(collector.at).skip(from).rev().collect();
                    collector.at = from;
                }
                "SetCollectorPageSize" => collector.page = count.max(1),
                "RewindCollector" => collector.at = 0,
                "ResetCollector" => collector.at = events.len(),
                _ => {
                    session.events.remove(&own.id);
                    return Ok(Answer::default());
                }
            }
            session.events.insert(own.id, collector);
            if read.is_empty() { Ok(Answer::default()) } else { Ok(Val::Array("Event", read).into()) }
        })
    }
}
