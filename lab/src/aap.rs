//! A stand-in for the Ansible Automation Platform: as much of its controller's REST API as MTV's hooks call
//! (`pkg/lib/aap/client.go`), in AWX's words. Its jobs take simulated time and end as their template says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::error::LabError;
use crate::serve;

/// Simulated time that a job runs, and that it waits before.
const RUNS: Duration = Duration::from_secs(150);
const PENDS: Duration = Duration::from_secs(15);
const NOT_FOUND: &str = "Not found.";

/// A job template.
struct Template {
    id: i64,
    name: &'static str,
    ends: &'static str,
}

const TEMPLATES: [Template; 3] = [
    Template { id: 7, name: "mtv-pre-hook", ends: "successful" },
    Template { id: 8, name: "mtv-post-hook", ends: "successful" },
    Template { id: 9, name: "mtv-failing-hook", ends: "failed" },
];

struct Job {
    template: &'static Template,
    launched: Instant,
    /// As it was asked with.
    extra_vars: Value,
}

struct Shared {
    token: String,
    clock: Clock,
    jobs: Mutex<Vec<Job>>,
}

/// The running stand-in.
pub struct Aap {
    url: String,
    shared: Arc<Shared>,
}

impl Aap {
    /// Serves it, without TLS, until `stop`.
    pub async fn start(
        listen: std::net::IpAddr,
        clock: Clock,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, LabError> {
        let token = format!("lab-aap-{}", crate::api::names::random_chars(24));
        let shared = Arc::new(Shared { token, clock, jobs: Mutex::default() });
        let url = serve::plain("automation platform", listen, router(shared.clone()), stop, tasks).await?;
        Ok(Self { url, shared })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// Each job that was launched: its template's name and what it was asked with.
    pub fn launched(&self) -> Vec<(&'static str, Value)> {
        let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().map(|job| (job.template.name, job.extra_vars.clone())).collect()
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/", get(versions))
        .route("/api/v2/job_templates/", get(templates))
        .route("/api/v2/job_templates/{id}/launch/", post(launch))
        .route("/api/v2/jobs/{id}/", get(job))
        .with_state(shared)
}

/// The root answers anybody.
async fn versions() -> Json<Value> {
    Json(
        json!({"description": "AWX REST API", "current_version": "/api/v2/", "available_versions": {"v2": "/api/v2/"}}),
    )
}

fn detail(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"detail": text}))).into_response()
}

impl Shared {
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        if given.and_then(|value| value.strip_prefix("Bearer ")) == Some(self.token.as_str()) {
            return None;
        }
        let text = "Authentication credentials were not provided. To establish a login session, visit /api/login/.";
        Some(detail(StatusCode::UNAUTHORIZED, text))
    }
}

async fn templates(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(refused) = shared.refusal(&headers) {
        return refused;
    }
    let results: Vec<Value> = TEMPLATES.iter().map(|one| json!({"id": one.id, "name": one.name})).collect();
    Json(json!({"count": results.len(), "next": null, "previous": null, "results": results})).into_response()
}

async fn launch(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    body: Option<Json<Value>>,
) -> Response {
    if let Some(refused) = shared.refusal(&headers) {
        return refused;
    }
    let Some(template) = TEMPLATES.iter().find(|template| template.id == id) else {
        return detail(StatusCode::NOT_FOUND, NOT_FOUND);
    };
    let extra_vars = body.map(|Json(body)| body["extra_vars"].clone()).unwrap_or_default();
    let mut jobs = shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    jobs.push(Job { template, launched: Instant::now(), extra_vars });
    let id = jobs.len();
    let made = json!({"job": id, "ignored_fields": {}, "id": id, "type": "job", "name": template.name,
        "job_template": template.id, "status": "pending", "failed": false, "finished": null});
    (StatusCode::CREATED, Json(made)).into_response()
}

async fn job(State(shared): State<Arc<Shared>>, Path(id): Path<usize>, headers: HeaderMap) -> Response {
    if let Some(refused) = shared.refusal(&headers) {
        return refused;
    }
    let jobs = shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(job) = id.checked_sub(1).and_then(|at| jobs.get(at)) else {
        return detail(StatusCode::NOT_FOUND, NOT_FOUND);
    };
    let (pends, runs) = (shared.clock.real(PENDS), shared.clock.real(PENDS + RUNS));
    let status = match job.launched.elapsed() {
        age if age < pends => "pending",
        age if age < runs => "running",
        _ => job.template.ends,
    };
    let finished = (status == job.template.ends).then(|| jiff::Timestamp::now().to_string());
    Json(json!({"id": id, "type": "job", "name": job.template.name, "job_template": job.template.id, "status": status,
        "failed": status == "failed", "finished": finished, "extra_vars": job.extra_vars.to_string()}))
    .into_response()
}
