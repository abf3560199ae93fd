//! The little of the REST API that MTV asks for: a session, and that there are no tags.

use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use serde_json::json;

use super::dispatch::Service;

pub fn routes() -> Router<Arc<Service>> {
    let session = post(login).delete(|| async { StatusCode::OK });
    Router::new()
        .route("/rest/com/vmware/cis/session", session)
        .route("/rest/com/vmware/cis/tagging/tag", get(nothing))
        .route("/rest/com/vmware/cis/tagging/tag-association", post(nothing))
}

async fn nothing(Extract(service): Extract<Arc<Service>>) -> Response {
    service.world.count_request();
    Json(json!({ "value": [] })).into_response()
}

async fn login(Extract(service): Extract<Arc<Service>>, headers: HeaderMap) -> Response {
    service.world.count_request();
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Basic "))
        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    match given.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((user, password)) if service.accepts(user, password) => {
            Json(json!({ "value": uuid::Uuid::new_v4().simple().to_string() })).into_response()
        }
        _ => {
            let body = json!({ "type": "com.vmware.vapi.std.errors.unauthenticated", "value": { "messages": [] } });
            (StatusCode::UNAUTHORIZED, Json(body)).into_response()
        }
    }
}
