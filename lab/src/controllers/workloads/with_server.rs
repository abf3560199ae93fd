//! Workloads against the API server of the lab, without kubelets: pods stay as they are made.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams, Patch, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Teller;
use crate::apiserver::{ApiServer, ApiServerOptions};
use crate::clock::Clock;
use crate::pki::LabCa;

/// An API server and the workloads' controllers; a minute takes a tenth of a second.
async fn world() -> (ApiServer, Client, CancellationToken) {
    let options = ApiServerOptions {
        part: "API server",
        listen: IpAddr::from([127, 0, 0, 1]),
        port: 0,
        kubernetes_version: "v1.33.5".to_owned(),
        users: Vec::new(),
        token: "right".to_owned(),
        subresources: None,
        inventory: None,
        faults: Default::default(),
    };
    let server = ApiServer::start(options, &LabCa::new().unwrap()).await.unwrap();
    let (client, stop) = (server.client(), CancellationToken::new());
    tokio::spawn(super::run(client.clone(), Clock::new(600.0), Teller::new(&client, true), stop.clone()));
    (server, client, stop)
}

/// What `find` finds, soon.
async fn soon<T>(find: impl AsyncFn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = find().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap()
}

async fn told(client: &Client, kind: &str, reason: &str) -> Option<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), "default");
    let all = events.list(&ListParams::default()).await.unwrap().items;
    let event = all
        .into_iter()
        .find(|event| event.involved_object.kind.as_deref() == Some(kind) && event.reason.as_deref() == Some(reason));
    event.and_then(|event| event.message)
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_deployment_and_its_replica_set_tell_what_they_made() {
    let (server, client, stop) = world().await;
    let deployment: Deployment = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "web"}}, "template": template()}}))
    .unwrap();
    let api: Api<Deployment> = Api::namespaced(client.clone(), "default");
    api.create(&PostParams::default(), &deployment).await.unwrap();
    let scaled = soon(async || told(&client, "Deployment", "ScalingReplicaSet").await).await;
    assert!(scaled.starts_with("Scaled up replica set web-") && scaled.ends_with(" from 0 to 2"), "{scaled}");
    let made = soon(async || told(&client, "ReplicaSet", "SuccessfulCreate").await).await;
    assert!(made.starts_with("Created pod: web-"), "{made}");
    stop.cancel();
    server.stop().await;
}

#[tokio::test]
async fn a_cron_job_makes_jobs_by_the_labs_clock_and_keeps_as_many_as_its_limits_say() {
    let (server, client, stop) = world().await;
    let mut pod = template();
    pod["spec"]["restartPolicy"] = json!("Never");
    let cron = |schedule: &str| -> CronJob {
        serde_json::from_value(json!({"metadata": {"name": "tick"}, "spec": {"schedule": schedule,
            "successfulJobsHistoryLimit": 1, "jobTemplate": {"spec": {"template": pod}}}}))
        .unwrap()
    };
    let api: Api<CronJob> = Api::namespaced(client.clone(), "default");
    let refused = api.create(&PostParams::default(), &cron("nonsense")).await.unwrap_err();
    let why = "spec.schedule: Invalid value: \"nonsense\": expected exactly 5 fields, found 1: [nonsense]";
    assert!(refused.to_string().contains(why), "{refused}");
    api.create(&PostParams::default(), &cron("* * * * *")).await.unwrap();
    let jobs: Api<Job> = Api::namespaced(client.clone(), "default");
    let made = soon(async || told(&client, "CronJob", "SuccessfulCreate").await).await;
    assert!(made.starts_with("Created job tick-"), "{made}");
    let several = async || {
        let all = jobs.list(&ListParams::default()).await.unwrap().items;
        (all.len() > 2).then_some(all)
    };
    let all = soon(several).await;
    assert!(api.get("tick").await.unwrap().status.unwrap().last_schedule_time.is_some());
    let suspended = Patch::Merge(json!({"spec": {"suspend": true}}));
    api.patch("tick", &Default::default(), &suspended).await.unwrap();
    for job in &all {
        let done = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}});
        jobs.patch_status(&job.name_any(), &Default::default(), &Patch::Merge(done)).await.unwrap();
    }
    soon(async || told(&client, "CronJob", "SuccessfulDelete").await).await;
    soon(async || told(&client, "CronJob", "SawCompletedJob").await).await;
    stop.cancel();
    server.stop().await;
}
