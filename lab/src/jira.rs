//! A stand-in for Jira: one issue by its key, as its REST API tells it (`GET /rest/api/2/issue/KEY`), in Jira's words.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::LabError;
use crate::serve;

/// An issue: its key, status, the key of its status' category, resolution, versions that have the fix.
struct Issue(&'static str, &'static str, &'static str, Option<&'static str>, &'static [&'static str]);

const ISSUES: [Issue; 4] = [
    Issue("MTV-101", "Closed", "done", Some("Done"), &[]),
    Issue("MTV-102", "In Progress", "indeterminate", None, &["MTV 2.20.0"]),
    Issue("MTV-103", "Closed", "done", Some("Done"), &["MTV 2.11.4", "MTV 2.12.9"]),
    Issue("MTV-104", "Closed", "done", Some("Won't Do"), &[]),
];

/// The running stand-in.
pub struct Jira {
    url: String,
    token: String,
}

impl Jira {
    /// Serves it, without TLS, until `stop`.
    pub async fn start(
        listen: std::net::IpAddr,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, LabError> {
        let token = format!("lab-jira-{}", crate::api::names::random_chars(24));
        let router = Router::new().route("/rest/api/2/issue/{key}", get(issue)).with_state(Arc::new(token.clone()));
        let url = serve::plain("jira", listen, router, stop, tasks).await?;
        Ok(Self { url, token })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn token(&self) -> &str {
        &self.token
    }
}

/// How Jira tells that it will not.
fn refusal(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"errorMessages": [text], "errors": {}}))).into_response()
}

async fn issue(State(token): State<Arc<String>>, Path(key): Path<String>, headers: HeaderMap) -> Response {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    if given.and_then(|value| value.strip_prefix("Bearer ")) != Some(token.as_str()) {
        return refusal(StatusCode::UNAUTHORIZED, "You do not have the permission to see the specified issue.");
    }
    let Some(Issue(key, status, category, resolution, fixed)) = ISSUES.iter().find(|issue| issue.0 == key) else {
        return refusal(StatusCode::NOT_FOUND, "Issue Does Not Exist");
    };
    let fixed: Vec<Value> = fixed.iter().map(|name| json!({"name": name, "released": true})).collect();
    Json(json!({"key": key, "fields": {
        "status": {"name": status, "statusCategory": {"key": category}},
        "resolution": resolution.map(|name| json!({"name": name})),
        "fixVersions": fixed,
    }}))
    .into_response()
}
