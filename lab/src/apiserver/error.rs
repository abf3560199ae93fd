//! Errors as `Status` bodies, word for word as a real API server says them.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::resources::ResourceDef;
use super::schema::validate::Cause;

/// Marks an answer of bare text; never seen outside.
const NO_PAGE: &str = "NoPage";

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

impl Cause {
    pub fn new(field: &str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason, message: message.into() }
    }
    fn json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

/// `a: why`, or `[a: why, b: why]`; the same twice is said once.
fn listed(causes: &[Cause]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in causes.iter().map(|c| format!("{}: {}", c.field, c.message)) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.len() == 1 { lines.concat() } else { format!("[{}]", lines.join(", ")) }
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
    /// Several bad fields.
    pub fn invalid_fields(def: &ResourceDef, name: &str, causes: &[Cause]) -> Self {
        let kind = if def.group.is_empty() { def.kind.clone() } else { format!("{}.{}", def.kind, def.group) };
        let message = format!("{kind} \"{name}\" is invalid: {}", listed(causes));
        let all = causes.iter().map(Cause::json).collect();
        Self::new(422, "Invalid", message).about(def, name, all)
    }
    /// Bad options of a request, e.g. of kind `ListOptions`.
    pub fn invalid_options(kind: &str, causes: &[Cause]) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", listed(causes));
        let causes: Vec<Value> = causes.iter().map(Cause::json).collect();
        let details = json!({"group": "meta.k8s.io", "kind": kind, "causes": causes});
        Self { details: Some(details), ..Self::new(422, "Invalid", message) }
    }
    pub fn forbidden(def: &ResourceDef, name: &str, why: &str) -> Self {
        let what = if name.is_empty() { def.qualified() } else { format!("{} \"{name}\"", def.qualified()) };
        Self::new(403, "Forbidden", format!("{what} is forbidden: {why}")).about(def, name, vec![])
    }
    pub fn forbidden_path(message: String) -> Self {
        Self::new(403, "Forbidden", message).bare()
    }
    /// Custom resources name the verb.
    pub fn not_supported(def: &ResourceDef, verb: &str) -> Self {
        if !def.custom {
            return Self::method_not_allowed();
        }
        let message = format!("{verb} is not supported on resources of kind \"{}\"", def.qualified());
        Self::new(405, "MethodNotAllowed", message).about(def, "", vec![])
    }
    /// A body without a name, where the URL has one.
    pub fn unnamed(name: &str) -> Self {
        Self::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))
    }
    /// A patch whose result is no object of the kind.
    pub fn bad_patch(object: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {}: {why}", json!(object.to_string()));
        let causes = json!({"causes": [{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]});
        Self { details: Some(causes), ..Self::new(422, "Invalid", format!(" \"\" is invalid: patch: {message}")) }
    }
    /// A DELETE's precondition; the real server names the kind here, not the resource.
    pub fn failed_precondition(def: &ResourceDef, name: &str, why: &str) -> Self {
        let kind = if def.group.is_empty() { def.kind.clone() } else { format!("{}.{}", def.kind, def.group) };
        let mut error = Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}"),
        )
        .about(def, name, vec![]);
        if let Some(details) = &mut error.details {
            details["kind"] = json!(def.kind);
        }
        error
    }
    /// A PUT of a kind that must say which version it replaces.
    pub fn unversioned(def: &ResourceDef, name: &str, why: &str) -> Self {
        let cause = Cause::new("metadata.resourceVersion", "FieldValueInvalid", why);
        let mut error = Self::invalid_fields(def, name, std::slice::from_ref(&cause));
        error.message = format!("{} \"{name}\" is invalid: {}", def.qualified(), listed(&[cause]));
        if let Some(details) = &mut error.details {
            details["kind"] = json!(def.plural);
        }
        error
    }
    /// The refusal of an object that calls itself another kind names that kind.
    pub fn rename_kind(&mut self, kind: &str, def: &ResourceDef) {
        self.message = self.message.replacen(&format!("{}.", def.kind), &format!("{kind}."), 1);
        if let Some(details) = &mut self.details {
            details["kind"] = json!(kind);
        }
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
        });
        if let Some(map) = status.as_object_mut() {
            if !self.reason.is_empty() {
                map.insert("reason".into(), json!(self.reason));
            }
            if let Some(details) = &self.details {
                map.insert("details".into(), details.clone());
            }
            map.insert("code".into(), json!(self.code));
        }
        status
    }

    /// Not even a `Status`.
    pub fn no_page() -> Self {
        Self::new(404, NO_PAGE, "404 page not found\n")
    }

    pub fn response(&self) -> Response {
        if self.reason == NO_PAGE {
            return text_response(self.code, self.message.clone());
        }
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

/// A code and nothing else.
pub(super) fn bare_response(code: u16) -> Response {
    let mut response = text_response(code, "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
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
