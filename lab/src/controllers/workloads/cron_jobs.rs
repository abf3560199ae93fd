//! CronJobs: a Job at each time of the schedule, by the lab's clock, and no more of them than the limits keep
//! (Kubernetes' `pkg/controller/cronjob/cronjob_controllerv2.go`). Times that passed while nobody looked are made good by
//! one Job; `startingDeadlineSeconds` is not looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{Api, DeleteParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::{Hands, create, owned, retry, tell, tolerate};
use crate::clock::Clock;
use crate::cron::Schedule;

/// Who tells events of CronJobs.
const TELLS: &str = "cronjob-controller";
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// The shortest and the longest time until the next look, real: a clock may be fast, and a timer has an end.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(86_400));

struct Room {
    hands: Hands,
    clock: Clock,
    /// When the lab's time was the real one.
    began: Timestamp,
    /// The next time of each CronJob, in the lab's time, and the schedule that it is of.
    due: Mutex<HashMap<String, (String, Timestamp)>>,
}

pub(super) async fn run(hands: Hands, clock: Clock) {
    let client = hands.client.clone();
    let room = Room { hands, clock, began: Timestamp::now(), due: Mutex::default() };
    Controller::new(Api::<CronJob>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Job>::all(client), watcher::Config::default())
        .run(look, |_, error: &kube::Error, _| retry(error), Arc::new(room))
        .for_each(|_| async {})
        .await;
}

fn scaled(time: SignedDuration, factor: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(time)
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(time)
}

impl Room {
    fn now(&self) -> Timestamp {
        later(self.began, scaled(Timestamp::now().duration_since(self.began), self.clock.scale()))
    }

    /// When a time of the lab's is, by the clock that all other timestamps are of.
    fn real(&self, time: Timestamp) -> Timestamp {
        later(self.began, scaled(time.duration_since(self.began), 1.0 / self.clock.scale()))
    }

    /// The time that has come, if one has, and the next one.
    fn turn(&self, uid: &str, text: &str, zone: &TimeZone) -> (Option<Timestamp>, Option<Timestamp>) {
        let Ok(schedule) = Schedule::parse(text) else { return (None, None) };
        let now = self.now();
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.remove(uid).filter(|(of, _)| of == text).map(|(_, due)| due);
        let come = known.filter(|due| *due <= now);
        let next = known.filter(|due| *due > now).or_else(|| schedule.next(now, zone));
        if let Some(next) = next {
            all.insert(uid.to_owned(), (text.to_owned(), next));
        }
        (come, next)
    }

    fn forget(&self, uid: &str) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How a Job has ended, if it has.
fn ended(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ends = |kind: &str| kind == "Complete" || kind == "Failed";
    conditions.iter().find(|c| ends(&c.type_) && c.status == "True").map(|c| c.type_.as_str())
}

async fn look(cron: Arc<CronJob>, room: Arc<Room>) -> Result<Action, kube::Error> {
    let uid = cron.uid().unwrap_or_default();
    let object = json!(*cron);
    if cron.metadata.deletion_timestamp.is_some() {
        room.forget(&uid);
        return Ok(Action::await_change());
    }
    let jobs: Api<Job> = Api::namespaced(room.hands.client.clone(), &cron.namespace().unwrap_or_default());
    let own = owned(&jobs, &*cron).await?;
    tell_ends(&room, &cron, &object, &own).await;
    let kept = tidy(&room, &jobs, &cron, own).await?;
    let mut active: Vec<Job> = kept.iter().filter(|job| ended(job).is_none()).cloned().collect();
    let (mut come, mut next) = (None, None);
    if object["spec"]["suspend"] == true {
        room.forget(&uid);
    } else {
        let zone = object["spec"]["timeZone"].as_str().and_then(|name| TimeZone::get(name).ok());
        let schedule = object["spec"]["schedule"].as_str().unwrap_or_default();
        (come, next) = room.turn(&uid, schedule, &zone.unwrap_or(TimeZone::UTC));
    }
    let mut last = object["status"]["lastScheduleTime"].clone();
    if let Some(time) = come
        && may_start(&room, &jobs, &cron, &mut active).await?
    {
        last = json!(text(room.real(time)));
        active.extend(start(&room, &jobs, &cron, &object, time).await?);
    }
    status(&room, &cron, &object, &kept, (&active, last)).await?;
    Ok(next.map_or_else(Action::await_change, |next| {
        let real = Duration::try_from(next.duration_since(room.now())).map(|wait| room.clock.real(wait));
        Action::requeue(real.unwrap_or(LOOKS.0).clamp(LOOKS.0, LOOKS.1))
    }))
}

/// Jobs that were active when it was looked at last and have ended.
async fn tell_ends(room: &Room, cron: &CronJob, object: &Value, own: &[Job]) {
    let before: Vec<&str> =
        object["status"]["active"].as_array().into_iter().flatten().filter_map(|job| job["uid"].as_str()).collect();
    for job in own.iter().filter(|job| job.metadata.uid.as_deref().is_some_and(|uid| before.contains(&uid))) {
        if let Some(how) = ended(job) {
            let message = format!("Saw completed job: {}, condition: {how}", job.name_any());
            room.hands.events.normal(&cron.object_ref(&()), TELLS, "SawCompletedJob", &message).await;
        }
    }
}

/// Takes the oldest of those that have ended away; the rest.
async fn tidy(room: &Room, jobs: &Api<Job>, cron: &CronJob, mut own: Vec<Job>) -> Result<Vec<Job>, kube::Error> {
    own.sort_by_key(|job| (job.metadata.creation_timestamp.clone().map(|time| time.0), job.name_any()));
    let limits = [
        ("Complete", cron.spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", cron.spec.failed_jobs_history_limit.unwrap_or(1)),
    ];
    for (how, limit) in limits {
        let of: Vec<String> = own.iter().filter(|job| ended(job) == Some(how)).map(|job| job.name_any()).collect();
        let too_many = of.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        for name in of.iter().take(too_many) {
            remove(room, jobs, cron, name).await?;
            own.retain(|job| job.name_any() != *name);
        }
    }
    Ok(own)
}

async fn remove(room: &Room, jobs: &Api<Job>, cron: &CronJob, name: &str) -> Result<(), kube::Error> {
    tolerate(jobs.delete(name, &DeleteParams::background()).await, 404)?;
    let message = format!("Deleted job {name}");
    room.hands.events.normal(&cron.object_ref(&()), TELLS, "SuccessfulDelete", &message).await;
    Ok(())
}

/// What `concurrencyPolicy` says of a Job beside those that run.
async fn may_start(room: &Room, jobs: &Api<Job>, cron: &CronJob, active: &mut Vec<Job>) -> Result<bool, kube::Error> {
    let policy = cron.spec.concurrency_policy.as_deref().unwrap_or("Allow");
    if policy == "Forbid" && !active.is_empty() {
        let why = "Not starting job because prior execution is running and concurrency policy is Forbid";
        room.hands.events.normal(&cron.object_ref(&()), TELLS, "JobAlreadyActive", why).await;
        return Ok(false);
    }
    if policy == "Replace" {
        for job in active.drain(..) {
            remove(room, jobs, cron, &job.name_any()).await?;
        }
    }
    Ok(true)
}

/// Its name tells the minute (`getJobName`), so that no time has two Jobs.
async fn start(
    room: &Room,
    jobs: &Api<Job>,
    cron: &CronJob,
    object: &Value,
    time: Timestamp,
) -> Result<Option<Job>, kube::Error> {
    let template = &object["spec"]["jobTemplate"];
    let name = format!("{}-{}", cron.name_any(), time.as_second().div_euclid(60));
    let mut metadata = json!({"name": name, "namespace": cron.namespace(), "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"], "ownerReferences": [cron.controller_owner_ref(&())]});
    metadata["annotations"][SCHEDULED] = json!(text(time));
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]});
    let made = create(jobs, job).await?;
    if made.is_some() {
        let message = format!("Created job {name}");
        room.hands.events.normal(&cron.object_ref(&()), TELLS, "SuccessfulCreate", &message).await;
    }
    Ok(made)
}

async fn status(
    room: &Room,
    cron: &CronJob,
    object: &Value,
    kept: &[Job],
    (active, last): (&[Job], Value),
) -> Result<(), kube::Error> {
    let reference = |job: &Job| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": job.name_any(), "namespace": job.namespace(),
            "uid": job.uid(), "resourceVersion": job.resource_version()})
    };
    // A Job that changes is still the same one: its version is told once.
    let old = object["status"]["active"].as_array().into_iter().flatten();
    let known: HashMap<&str, &Value> = old.filter_map(|job| Some((job["uid"].as_str()?, job))).collect();
    let told = |job: &Job| {
        let known = job.metadata.uid.as_deref().and_then(|uid| known.get(uid));
        known.map_or_else(|| reference(job), |known| (*known).clone())
    };
    let active: Vec<Value> = active.iter().map(told).collect();
    let completed = kept.iter().filter(|job| ended(job) == Some("Complete"));
    let successes = completed.filter_map(|job| job.status.as_ref()?.completion_time.as_ref().map(|time| time.0));
    let successful =
        successes.max().map_or_else(|| object["status"]["lastSuccessfulTime"].clone(), |time| json!(text(time)));
    let status = json!({"active": if active.is_empty() { Value::Null } else { json!(active) }, "lastScheduleTime": last,
        "lastSuccessfulTime": successful});
    let api: Api<CronJob> = Api::namespaced(room.hands.client.clone(), &cron.namespace().unwrap_or_default());
    tell(&api, &cron.name_any(), &object["status"], status).await
}
