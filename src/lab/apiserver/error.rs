//! Errors as `Status` bodies, word for word as a real API server says them.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::resources::ResourceDef;

/// An answer other than 2xx.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// `None`: no `details` key at all.
    pub details: Option<Value>,
}

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }
    fn about(mut self, def: &ResourceDef, name: &str, causes: Vec<Value>) -> Self {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), json!(name));
        }
        if !def.group.is_empty() {
            details.insert("group".into(), json!(def.group));
        }
        details.insert("kind".into(), json!(if self.code == 422 { &def.kind } else { &def.plural }));
        if !causes.is_empty() {
            details.insert("causes".into(), Value::Array(causes));
        }
        self.details = Some(Value::Object(details));
        self
    }
    fn bare(mut self) -> Self {
        self.details = Some(json!({}));
        self
    }

    pub fn not_found(def: &ResourceDef, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", def.qualified())).about(def, name, vec![])
    }
    pub fn namespace_not_found(namespace: &str) -> Self {
        Self {
            details: Some(json!({"name": namespace, "kind": "namespaces"})),
            ..Self::new(404, "NotFound", format!("namespaces \"{namespace}\" not found"))
        }
    }
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").bare()
    }
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource").bare()
    }
    pub fn already_exists(def: &ResourceDef, name: &str, deleting: bool) -> Self {
        let head = if deleting { "object is being deleted: " } else { "" };
        Self::new(409, "AlreadyExists", format!("{head}{} \"{name}\" already exists", def.qualified())).about(
            def,
            name,
            vec![],
        )
    }
    pub fn conflict(def: &ResourceDef, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", def.qualified());
        Self::new(409, "Conflict", message).about(def, name, vec![])
    }
    pub fn stale(def: &ResourceDef, name: &str) -> Self {
        Self::conflict(
            def,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }
    pub fn terminating(def: &ResourceDef, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            def.qualified()
        );
        let cause = json!({
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        });
        Self::new(403, "Forbidden", message).about(def, name, vec![cause])
    }
    /// One bad field. `why` is what follows the field's path, e.g. `Invalid value: "x": …`.
    pub fn invalid(def: &ResourceDef, name: &str, field: &str, reason: &str, why: &str) -> Self {
        let kind = if def.group.is_empty() { def.kind.clone() } else { format!("{}.{}", def.kind, def.group) };
        let cause = json!({"reason": reason, "message": why, "field": field});
        Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {field}: {why}")).about(def, name, vec![cause])
    }
    /// A bare 422, as a JSON patch that cannot be applied gets.
    pub fn unprocessable() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request").bare()
    }
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn body(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        });
        if let Some(map) = status.as_object_mut() {
            if let Some(details) = &self.details {
                map.insert("details".into(), details.clone());
            }
            map.insert("code".into(), json!(self.code));
        }
        status
    }

    pub fn response(&self) -> Response {
        json_response(self.code, &self.body())
    }
}

/// A JSON answer with the headers that every answer of an API server has.
pub(super) fn json_response(code: u16, body: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => typed_response(code, "application/json", bytes),
        Err(e) => typed_response(500, "text/plain; charset=utf-8", e.to_string()),
    }
}

pub(super) fn text_response(code: u16, text: impl Into<String>) -> Response {
    typed_response(code, "text/plain; charset=utf-8", text.into())
}

pub(super) fn typed_response(code: u16, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        headers.insert("audit-id", id);
    }
    response
}
