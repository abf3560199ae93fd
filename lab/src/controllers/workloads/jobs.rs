//! Jobs: pods until enough of them have succeeded or too many have failed. Which program a pod runs, and
//! how it ends, is its kubelet's business. Indexed completions, pod failure policies and pauses between
//! retries are not played.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::{Again, Hands, condition, create, delete, is_ready, now, owned, pod, tell, tolerate};

/// Who tells events of Jobs.
const TELLS: &str = "job-controller";
/// Kubernetes' default.
const BACKOFF_LIMIT: usize = 6;

/// What a Job asks for, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Facts {
    /// None: one success is enough, and then no more pods are started.
    completions: Option<usize>,
    parallelism: usize,
    backoff_limit: usize,
    suspended: bool,
    /// Longer than `activeDeadlineSeconds`.
    overdue: bool,
    active: usize,
    succeeded: usize,
    failed: usize,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Start(usize),
    /// Take so many running pods away.
    Stop(usize),
    Complete,
    /// Reason and message.
    Fail(&'static str, &'static str),
}

fn next(facts: Facts) -> Next {
    let enough = match facts.completions {
        Some(wanted) => facts.succeeded >= wanted,
        None => facts.succeeded > 0 && facts.active == 0,
    };
    if enough {
        return Next::Complete;
    }
    if facts.failed > facts.backoff_limit {
        return Next::Fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if facts.overdue {
        return Next::Fail("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let wanted = match facts.completions {
        _ if facts.suspended => 0,
        Some(completions) => facts.parallelism.min(completions - facts.succeeded),
        None if facts.succeeded > 0 => facts.active,
        None => facts.parallelism,
    };
    if facts.active > wanted { Next::Stop(facts.active - wanted) } else { Next::Start(wanted - facts.active) }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// What is left of so many seconds since a time; all of them when there is no time yet.
fn left(seconds: u64, since: &Value) -> Again {
    let then: Option<jiff::Timestamp> = since.as_str().and_then(|text| text.parse().ok());
    let gone = then.map_or(0, |then| jiff::Timestamp::now().as_second() - then.as_second());
    let left = seconds.saturating_sub(u64::try_from(gone).unwrap_or_default());
    (left > 0).then(|| Duration::from_secs(left))
}

/// When a finished Job finished.
fn ended(status: &Value) -> &Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let last = conditions.into_iter().find(|c| c["type"] == "Complete" || c["type"] == "Failed");
    last.map_or(&Value::Null, |condition| &condition["lastTransitionTime"])
}

pub(super) async fn job(job: Arc<Job>, Hands { client, events }: Hands) -> Result<Again, kube::Error> {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let object = json!(*job);
    let (spec, old) = (&object["spec"], &object["status"]);
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let finished = old["conditions"].as_array().into_iter().flatten();
    if finished.into_iter().any(|c| (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True") {
        let Some(stays) = spec["ttlSecondsAfterFinished"].as_u64() else { return Ok(None) };
        let left = left(stays, ended(old));
        if left.is_none() {
            tolerate(jobs.delete(&name, &DeleteParams::background()).await, 404)?;
        }
        return Ok(left);
    }
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let own = owned(&pods, &*job).await?;
    let of = |wanted: &str| own.iter().filter(|pod| phase(pod) == wanted).count();
    let (succeeded, failed) = (of("Succeeded"), of("Failed"));
    let running: Vec<&Pod> = own.iter().filter(|pod| !matches!(phase(pod), "Succeeded" | "Failed")).collect();
    let number = |field: &str| spec[field].as_u64().and_then(|number| usize::try_from(number).ok());
    let deadline = spec["activeDeadlineSeconds"].as_u64().filter(|_| spec["suspend"] != true);
    let left = deadline.and_then(|most| left(most, &old["startTime"]));
    let facts = Facts {
        completions: number("completions"),
        parallelism: number("parallelism").unwrap_or(1),
        backoff_limit: number("backoffLimit").unwrap_or(BACKOFF_LIMIT),
        suspended: spec["suspend"] == true,
        overdue: deadline.is_some() && left.is_none(),
        active: running.len(),
        succeeded,
        failed,
    };
    let next = next(facts);
    let mut active = running.len();
    match next {
        Next::Start(count) => {
            for _ in 0..count {
                let own = format!("{name}-{}", crate::api::names::random_chars(5));
                let named = json!({"name": own, "generateName": format!("{name}-")});
                create(&pods, pod(&*job, &spec["template"], &[], named, Value::Null)).await?;
                events.normal(&job.object_ref(&()), TELLS, "SuccessfulCreate", &format!("Created pod: {own}")).await;
            }
            active += count;
        }
        Next::Stop(count) => {
            for extra in running.iter().rev().take(count) {
                delete(&pods, *extra).await?;
            }
            active -= count;
        }
        Next::Complete | Next::Fail(..) => {
            for left in &running {
                delete(&pods, *left).await?;
            }
            active = 0;
        }
    }
    let count = |number: usize| if number > 0 { json!(number) } else { Value::Null };
    let started = if facts.suspended { Value::Null } else { old["startTime"].clone() };
    let mut status = json!({
        "active": count(active),
        "ready": running.iter().filter(|pod| is_ready(pod)).count(),
        "succeeded": count(succeeded),
        "failed": count(failed),
        "startTime": if started.is_null() && !facts.suspended { json!(now()) } else { started },
        "uncountedTerminatedPods": {},
    });
    let told = |kind: &str, reason: &str, message: &str| {
        let mut told = condition(old, kind, true, reason, message);
        if let Some(fields) = told.as_object_mut() {
            fields.shift_remove("lastUpdateTime");
            fields.entry("lastProbeTime").or_insert_with(|| json!(now()));
        }
        told
    };
    match next {
        Next::Complete => {
            let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods");
            status["conditions"] =
                json!([told("SuccessCriteriaMet", reason, message), told("Complete", reason, message)]);
            status["completionTime"] = json!(now());
            status["ready"] = json!(0);
        }
        Next::Fail(reason, message) => {
            status["conditions"] = json!([told("FailureTarget", reason, message), told("Failed", reason, message)]);
            status["ready"] = json!(0);
        }
        Next::Start(_) | Next::Stop(_) => {}
    }
    tell(&jobs, &name, old, status).await?;
    match next {
        Next::Complete => events.normal(&job.object_ref(&()), TELLS, "Completed", "Job completed").await,
        Next::Fail(reason, message) => events.warning(&job.object_ref(&()), TELLS, reason, message).await,
        Next::Start(_) | Next::Stop(_) => {}
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(active: usize, succeeded: usize, failed: usize) -> Facts {
        Facts { completions: Some(3), parallelism: 2, backoff_limit: 1, active, succeeded, failed, ..Facts::default() }
    }

    #[test]
    fn a_job_keeps_as_many_pods_running_as_it_may_until_enough_have_succeeded() {
        assert_eq!(next(facts(0, 0, 0)), Next::Start(2));
        assert_eq!(next(facts(2, 0, 0)), Next::Start(0));
        assert_eq!(next(facts(1, 1, 0)), Next::Start(1));
        assert_eq!(next(facts(0, 2, 1)), Next::Start(1), "one is left, and a failure is made good");
        assert_eq!(next(facts(0, 3, 0)), Next::Complete);
    }

    #[test]
    fn too_many_failures_or_too_much_time_end_it() {
        assert!(matches!(next(facts(0, 0, 2)), Next::Fail("BackoffLimitExceeded", _)));
        assert!(matches!(next(Facts { overdue: true, ..facts(1, 0, 0) }), Next::Fail("DeadlineExceeded", _)));
    }

    #[test]
    fn a_suspended_job_stops_its_pods() {
        assert_eq!(next(Facts { suspended: true, ..facts(2, 1, 0) }), Next::Stop(2));
    }

    #[test]
    fn without_a_number_of_completions_one_success_is_enough() {
        let open = |active, succeeded| Facts { completions: None, ..facts(active, succeeded, 0) };
        assert_eq!(next(open(0, 0)), Next::Start(2));
        assert_eq!(next(open(1, 1)), Next::Start(0));
        assert_eq!(next(open(0, 1)), Next::Complete);
    }
}
