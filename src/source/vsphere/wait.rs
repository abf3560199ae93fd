//! Waiting on vSphere: long polls of the property collector, with a deadline. Nothing sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::session::{CallError, Live, Session};
use crate::api::vim::property::{FilterSpec, ObjectUpdate, PropertySpec, Select, UpdateKind, UpdateSet};
use crate::api::vim::vm::{TaskInfo, TaskState};
use crate::api::vim::{Element, MoRef, Props, envelope, op};
use crate::net::Poll;
use crate::source::SourceError;
use crate::source::slot::Sessions as _;

/// How a wait ended.
pub(super) enum Waited<T> {
    Done(T),
    /// The deadline came first; the last state seen.
    Timeout {
        last: String,
    },
}

impl Session {
    /// Waits until `look` is content with `paths` of `objects`, by updates of a private collector.
    /// An object that is gone has no properties.
    pub(super) async fn wait_for<T>(
        &self,
        objects: &[MoRef],
        paths: &[&str],
        limit: Duration,
        mut look: impl FnMut(&BTreeMap<MoRef, Props>) -> Poll<T>,
    ) -> Result<Waited<T>, CallError> {
        let deadline = Instant::now() + limit;
        let mut live = self.live().await?;
        let mut renewed = false;
        loop {
            match self.poll_until(&live, objects, paths, deadline, &mut look).await {
                Err(error) if (error.is("NotAuthenticated") || error.of_a_session_before()) && !renewed => {
                    renewed = true;
                    live = self.renew(&live).await?;
                }
                other => return other,
            }
        }
    }

    async fn poll_until<T>(
        &self,
        live: &Live,
        objects: &[MoRef],
        paths: &[&str],
        deadline: Instant,
        look: &mut impl FnMut(&BTreeMap<MoRef, Props>) -> Poll<T>,
    ) -> Result<Waited<T>, CallError> {
        let reference = |what: &str, values| {
            envelope::reference(what, values).map_err(|e| CallError::Source(self.unreachable(e.to_string())))
        };
        let collector = match live.free_collector() {
            Some(free) => free,
            None => {
                let make = op::create_property_collector(&live.collector);
                reference("CreatePropertyCollector", self.steady(live, make, Duration::ZERO).await?)?
            }
        };
        let polled = async {
            let spec = watched(objects, paths);
            let filter = self.steady(live, op::create_filter(&collector, &spec), Duration::ZERO).await?;
            let found = self.poll_collector(live, &collector, deadline, look).await?;
            Ok((found, reference("CreateFilter", filter)))
        };
        // A collector whose filter is gone serves the next wait; one that stays goes with the session.
        match polled.await {
            Ok((found, Ok(filter))) => {
                if self.post(live, op::destroy_property_filter(&filter), Duration::ZERO).await.is_ok() {
                    live.give_back(collector);
                }
                Ok(found)
            }
            Ok((found, Err(_))) => {
                let _ = self.post(live, op::destroy_property_collector(&collector), Duration::ZERO).await;
                Ok(found)
            }
            Err(error) => {
                let _ = self.post(live, op::destroy_property_collector(&collector), Duration::ZERO).await;
                Err(error)
            }
        }
    }

    async fn poll_collector<T>(
        &self,
        live: &Live,
        collector: &MoRef,
        deadline: Instant,
        look: &mut impl FnMut(&BTreeMap<MoRef, Props>) -> Poll<T>,
    ) -> Result<Waited<T>, CallError> {
        let mut known: BTreeMap<MoRef, Props> = BTreeMap::new();
        let mut version = String::new();
        loop {
            let poll = |longest: u64| {
                let left = deadline.saturating_duration_since(Instant::now());
                let seconds = left.as_secs().clamp(1, longest);
                (op::wait_for_updates(collector, &version, seconds), Duration::from_secs(seconds))
            };
            // The first is answered at once. Who is lost in a turn is asked again without one: others wait for it.
            let once = async |longest: u64| {
                let (poll, seconds) = poll(longest);
                self.post(live, poll, seconds).await
            };
            let turned = if version.is_empty() { None } else { self.polls.turn(deadline, once).await };
            let polled = match turned {
                Some(Err(error)) if error.is_in_doubt() => None,
                other => other,
            };
            let polled = match polled {
                Some(polled) => polled,
                None => {
                    let (poll, seconds) = poll(1);
                    self.steady(live, poll, seconds).await
                }
            };
            let values = match polled {
                // An answer was lost on the way, and the collector is past the version that is known here: anew.
                Err(error) if error.is("InvalidCollectorVersion") && !version.is_empty() => {
                    version.clear();
                    known.clear();
                    continue;
                }
                other => other?,
            };
            if let Some(set) = UpdateSet::parse(&values) {
                version = set.version;
                for update in &set.updates {
                    apply(update, &mut known);
                }
                if set.truncated {
                    continue;
                }
            }
            match look(&known) {
                Poll::Done(value) => return Ok(Waited::Done(value)),
                Poll::Failed(problem) => return Err(self.refused("wait", problem.message).into()),
                Poll::NotYet(last) if Instant::now() >= deadline => return Ok(Waited::Timeout { last }),
                Poll::NotYet(_) => {}
            }
        }
    }

    /// Waits for a task; its result, where it has one.
    pub(super) async fn finish(&self, task: &MoRef, what: &str, limit: Duration) -> Result<Option<Element>, CallError> {
        let waited = self
            .wait_for(std::slice::from_ref(task), TaskState::PATHS, limit, |known| {
                match known.get(task).and_then(TaskState::of) {
                    Some(TaskState::Success(result)) => Poll::Done(Ok(result)),
                    Some(TaskState::Error(fault)) => Poll::Done(Err(fault)),
                    Some(state) => Poll::NotYet(state.to_string()),
                    None => Poll::NotYet("the task tells nothing".to_owned()),
                }
            })
            .await?;
        match waited {
            Waited::Done(result) => result.map_err(CallError::Refused),
            Waited::Timeout { last } => {
                let last = self.progress(task).await.unwrap_or(last);
                Err(CallError::Source(self.timeout(what, limit, last)))
            }
        }
    }

    /// How far a task is, for who gives up on it. While it is waited for nobody asks: each percent would be an answer.
    async fn progress(&self, task: &MoRef) -> Option<String> {
        let props = vec![PropertySpec { kind: &task.kind, paths: &["info"] }];
        let read = self.read(&FilterSpec { props, select: Select::Objects(std::slice::from_ref(task)) }).await.ok()?;
        read.first()?.props.get("info").map(|info| TaskInfo::parse(info).state.to_string())
    }

    /// Starts a task and waits for it.
    pub(super) async fn run_task(
        &self,
        method: &str,
        what: &str,
        limit: Duration,
        make: impl Fn(&Live) -> String + Send + Sync,
    ) -> Result<Option<Element>, CallError> {
        let values = self.call(make).await?;
        let task =
            envelope::reference(method, values).map_err(|e| CallError::Source(self.refused(what, e.to_string())))?;
        self.finish(&task, what, limit).await
    }

    pub(super) fn timeout(&self, what: &str, waited: Duration, last: String) -> SourceError {
        SourceError::Timeout { profile: self.profile_name().to_owned(), what: what.to_owned(), waited, last }
    }
}

/// These properties of these objects.
fn watched<'a>(objects: &'a [MoRef], paths: &'a [&'a str]) -> FilterSpec<'a> {
    let mut kinds: Vec<&str> = objects.iter().map(|o| o.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let props = kinds.into_iter().map(|kind| PropertySpec { kind, paths }).collect();
    FilterSpec { props, select: Select::Objects(objects) }
}

fn apply(update: &ObjectUpdate, known: &mut BTreeMap<MoRef, Props>) {
    if update.kind == UpdateKind::Leave {
        known.remove(&update.obj);
        return;
    }
    update.apply(known.entry(update.obj.clone()).or_default());
}
