//! What happened, as clients read it: events at once, and events or tasks through a collector that remembers how far its
//! client has read.

use super::dispatch::{Answer, Service, this};
use super::events::{self, Filter};
use super::fault::{Fault, invalid_argument, object_gone};
use super::session::reference;
use super::tree::{Scope, task_info};
use super::value::{Val, mo};
use super::xml::Node;
use crate::world::{EntityKind, Task, TaskState};

pub const METHODS: &[&str] = &[
    "QueryEvents",
    "CreateCollectorForEvents",
    "ReadNextEvents",
    "ReadPreviousEvents",
    "CreateCollectorForTasks",
    "ReadNextTasks",
    "ReadPreviousTasks",
    "SetCollectorPageSize",
    "RewindCollector",
    "ResetCollector",
    "DestroyCollector",
];
/// vCenter's own.
const PAGE: usize = 1000;
/// How many the latest page has where nobody says.
const LATEST: usize = 10;

/// Which tasks a client wants.
#[derive(Debug, Clone, Default)]
struct TaskFilter {
    /// A VM's id; what is above VMs is about all of them.
    vm: Option<String>,
    users: Vec<String>,
    states: Vec<String>,
    /// Which of a task's times is meant.
    time: String,
    begin: Option<jiff::Timestamp>,
    end: Option<jiff::Timestamp>,
}

impl TaskFilter {
    fn of(node: Option<&Node>) -> Result<Self, Fault> {
        let Some(node) = node else { return Err(invalid_argument("filter")) };
        let entity = node.child("entity").and_then(|entity| entity.child("entity")).map(reference);
        let span = node.child("time");
        let at = |name: &str| span.and_then(|span| span.text(name)).and_then(|text| text.parse().ok());
        let users = node.child("userName").into_iter().flat_map(|by| by.all("userList"));
        Ok(Self {
            vm: entity.filter(|entity| entity.kind == "VirtualMachine").map(|entity| entity.id),
            users: users.map(|user| user.text.trim().to_owned()).collect(),
            states: node.all("state").map(|state| state.text.trim().to_owned()).collect(),
            time: span.and_then(|span| span.string("timeType")).unwrap_or_default(),
            begin: at("beginTime"),
            end: at("endTime"),
        })
    }

    fn wants(&self, task: &Task) -> bool {
        let state = match task.state {
            TaskState::Queued => "queued",
            TaskState::Running => "running",
            TaskState::Success(_) => "success",
            TaskState::Error(_) => "error",
        };
        let at = match self.time.as_str() {
            "startedTime" => task.started.as_ref(),
            "completedTime" => task.completed.as_ref(),
            _ => Some(&task.queued),
        };
        let at: Option<jiff::Timestamp> = at.and_then(|at| at.parse().ok());
        self.vm.as_ref().is_none_or(|vm| task.entity == (EntityKind::Vm, vm.clone()))
            && (self.users.is_empty() || self.users.iter().any(|user| user.eq_ignore_ascii_case(&task.user)))
            && (self.states.is_empty() || self.states.iter().any(|wanted| wanted == state))
            && self.begin.is_none_or(|begin| at.is_some_and(|at| at >= begin))
            && self.end.is_none_or(|end| at.is_some_and(|at| at <= end))
    }
}

/// What a collector is of.
#[derive(Debug, Clone)]
enum Of {
    Events(Filter),
    Tasks(TaskFilter),
}

impl Of {
    fn collector(&self) -> &'static str {
        match self {
            Self::Events(_) => "EventHistoryCollector",
            Self::Tasks(_) => "TaskHistoryCollector",
        }
    }

    fn element(&self) -> &'static str {
        match self {
            Self::Events(_) => "Event",
            Self::Tasks(_) => "TaskInfo",
        }
    }

    /// Oldest first.
    fn all(&self, scope: &Scope<'_>) -> Vec<Val> {
        match self {
            Self::Events(filter) => events::all(scope, filter),
            Self::Tasks(filter) => {
                let mut tasks: Vec<&Task> = scope.state.tasks.values().filter(|task| filter.wants(task)).collect();
                tasks.sort_by(|a, b| (&a.queued, &a.id).cmp(&(&b.queued, &b.id)));
                tasks.into_iter().map(|task| task_info(task).into()).collect()
            }
        }
    }
}

/// How far a client has read.
#[derive(Debug, Clone)]
pub struct History {
    of: Of,
    page: usize,
    /// Of the oldest, so many were read already.
    at: usize,
}

/// The newest, newest first.
pub(super) fn latest_page(scope: &Scope<'_>, history: &History) -> Val {
    let newest = history.of.all(scope).into_iter().rev().take(history.page);
    Val::Array(history.of.element(), newest.collect())
}

impl Service {
    pub(super) fn histories(&self, key: &str, method: &Node) -> Result<Answer, Fault> {
        let count = method.number::<usize>("maxCount").unwrap_or(PAGE).min(PAGE);
        let filter = method.child("filter");
        let of = match method.name.as_str() {
            "QueryEvents" => {
                let filter = Filter::of(filter)?;
                return self.with_scope(key, |scope| Ok(Val::Array("Event", events::all(scope, &filter)).into()));
            }
            "CreateCollectorForEvents" => Some(Of::Events(Filter::of(filter)?)),
            "CreateCollectorForTasks" => Some(Of::Tasks(TaskFilter::of(filter)?)),
            _ => None,
        };
        self.with_session(key, |session| {
            if let Some(of) = of {
                let (id, kind) = (session.fresh_id(), of.collector());
                session.histories.insert(id.clone(), History { of, page: LATEST, at: 0 });
                return Ok(Val::Ref(mo(kind, &id)).into());
            }
            let own = this(method);
            let Some(mut history) = session.histories.get(&own.id).cloned() else { return Err(object_gone(own)) };
            let all = self.scoped(session, |scope| Ok(history.of.all(scope)))?;
            let mut read = Vec::new();
            match method.name.as_str() {
                "ReadNextEvents" | "ReadNextTasks" => {
                    read = all.into_iter().skip(history.at).take(count).collect();
                    history.at += read.len();
                }
                "ReadPreviousEvents" | "ReadPreviousTasks" => {
                    let from = history.at.saturating_sub(count);
                    read = all.into_iter().take(history.at).skip(from).rev().collect();
                    history.at = from;
                }
                "SetCollectorPageSize" => history.page = count.max(1),
                "RewindCollector" => history.at = 0,
                "ResetCollector" => history.at = all.len(),
                _ => {
                    session.histories.remove(&own.id);
                    return Ok(Answer::default());
                }
            }
            let element = history.of.element();
            session.histories.insert(own.id, history);
            if read.is_empty() { Ok(Answer::default()) } else { Ok(Val::Array(element, read).into()) }
        })
    }
}
