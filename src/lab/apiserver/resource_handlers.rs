//! The verbs on resources.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use super::error::{ApiError, json_response, text_response};
use super::patch::{PatchKind, patched};
use super::render::Renderer;
use super::request::{Form, Query, Target};
use super::resources::{ResourceDef, StatusMode};
use super::router::{json_bytes, parse_body};
use super::selectors::Selector;
use super::store::{ObjectKey, metadata};
use super::write::{DeleteOptions, Part, key};
use super::{State, apply, auth, paging, watch};

/// A request for a resource, read completely.
pub(super) struct Call {
    pub def: Arc<ResourceDef>,
    pub target: Target,
    pub query: Query,
    pub form: Form,
    pub content_type: String,
    pub body: Bytes,
    pub user: String,
}

impl Call {
    fn name(&self) -> Result<&str, ApiError> {
        self.target.name.as_deref().ok_or_else(ApiError::method_not_allowed)
    }
    fn namespace(&self) -> Option<&str> {
        self.target.namespace.as_deref()
    }
    fn key(&self) -> Result<ObjectKey, ApiError> {
        if self.def.namespaced && self.target.namespace.is_none() {
            return Err(ApiError::method_not_allowed());
        }
        Ok(key(&self.def, self.namespace(), self.name()?))
    }
    fn renderer(&self) -> Renderer {
        Renderer::new(self.def.clone(), self.form)
    }
    fn answer(&self, code: u16, object: &Value) -> Response {
        json_response(code, &self.renderer().object(object))
    }
    fn json(&self) -> Result<Value, ApiError> {
        parse_body(&self.body, &self.content_type)
    }
    /// Which part of the object the path addresses.
    fn part(&self) -> Result<Part, ApiError> {
        let path: Vec<&str> = self.target.subresource.iter().map(String::as_str).collect();
        match path.as_slice() {
            [] => Ok(Part::Main),
            ["status"] if self.def.status != StatusMode::None => Ok(Part::Status),
            ["finalize"] if self.def.is_namespaces() => Ok(Part::Finalize),
            _ => Err(ApiError::no_such_resource()),
        }
    }
}

pub(super) fn get(state: &State, call: &Call) -> Result<Response, ApiError> {
    if call.def.review || call.def.plural == "projectrequests" {
        return Err(ApiError::method_not_allowed());
    }
    if call.target.name.is_none() {
        if call.query.flag("watch") {
            return watch::watch(state, &call.def, &call.target, &call.query, call.renderer());
        }
        return list(state, call);
    }
    let name = call.name()?;
    let object = state.store.get(&call.key()?).ok_or_else(|| ApiError::not_found(&call.def, name))?;
    if call.def.plural == "pods" && call.target.subresource == ["log"] {
        let log = object["metadata"]["annotations"][LOG_ANNOTATION].as_str().unwrap_or_default();
        return Ok(text_response(200, tail(log, call.query.number("tailLines")?)));
    }
    call.part()?;
    Ok(call.answer(200, &object))
}

/// A pod's log in the lab is this annotation.
const LOG_ANNOTATION: &str = "lab.mtv-matrix.io/log";

fn tail(log: &str, lines: Option<u64>) -> String {
    let Some(lines) = lines.and_then(|l| usize::try_from(l).ok()) else { return log.to_owned() };
    let all: Vec<&str> = log.split_inclusive('\n').collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().concat()
}

fn list(state: &State, call: &Call) -> Result<Response, ApiError> {
    let selector = Selector::parse(call.query.get("labelSelector"), call.query.get("fieldSelector"))?;
    let (version, mut objects) = state.store.list(&call.def.storage, call.namespace());
    paging::check_version(&call.query, version)?;
    objects.retain(|o| selector.matches(o));
    let (objects, meta) = paging::page(&call.query, version, objects, selector.is_empty())?;
    let bytes = call.renderer().list(objects, meta).map_err(|e| ApiError::new(500, "InternalError", e.to_string()))?;
    Ok(json_bytes(200, bytes))
}

pub(super) fn post(state: &State, call: &Call) -> Result<Response, ApiError> {
    if call.def.review {
        return Ok(json_response(201, &auth::review(state, &call.def, call.json()?, &call.user)));
    }
    let path: Vec<&str> = call.target.subresource.iter().map(String::as_str).collect();
    match (call.target.name.as_deref(), call.def.plural.as_str(), path.as_slice()) {
        (None, _, _) => {}
        (Some(_), "pods", ["eviction"]) => return evict(state, call),
        (Some(_), "serviceaccounts", ["token"]) => {
            return auth::service_account_token(state, &call.key()?, call.json()?);
        }
        _ => return Err(ApiError::method_not_allowed()),
    }
    if call.def.namespaced && call.target.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let created = state.create(&call.def, call.namespace(), call.json()?, call.query.dry_run())?;
    if call.def.plural == "projectrequests"
        && let Some(projects) = state.registry.find(&call.def.group, &call.def.version, "projects")
    {
        return Ok(json_response(201, &Renderer::new(projects, call.form).object(&created)));
    }
    Ok(call.answer(201, &created))
}

fn evict(state: &State, call: &Call) -> Result<Response, ApiError> {
    state.delete(&call.def, &call.key()?, &DeleteOptions::default())?;
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(json_response(201, &body))
}

pub(super) fn put(state: &State, call: &Call) -> Result<Response, ApiError> {
    let (key, part, body) = (call.key()?, call.part()?, call.json()?);
    if !body.is_object() {
        return Err(ApiError::bad_request("the object provided is unrecognized"));
    }
    let lease = call.def.plural == "leases";
    if (call.def.custom || lease) && part == Part::Main && metadata(&body, "resourceVersion").is_empty() {
        let exists = state.store.get(&key).is_some();
        if exists {
            let why = "Invalid value: 0: must be specified for an update";
            return Err(ApiError::invalid(&call.def, &key.name, "metadata.resourceVersion", "FieldValueInvalid", why));
        }
    }
    if part == Part::Main
        && matches!(
            call.def.plural.as_str(),
            "leases" | "events" | "endpoints" | "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings"
        )
        && state.store.get(&key).is_none()
    {
        let created = state.create(&call.def, call.namespace(), body, call.query.dry_run())?;
        return Ok(call.answer(201, &created));
    }
    let updated = state.update(&call.def, &key, part, call.query.dry_run(), |_| Ok(body))?;
    Ok(call.answer(200, &updated))
}

pub(super) fn patch(state: &State, call: &Call) -> Result<Response, ApiError> {
    let Some(kind) = PatchKind::from_content_type(&call.content_type) else {
        return Err(ApiError::new(415, "UnsupportedMediaType", "415: Unsupported Media Type"));
    };
    if kind == PatchKind::Strategic && call.def.custom {
        return Err(ApiError::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    if kind != PatchKind::Apply && call.query.flag("force") {
        return Err(ApiError::new(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
        ));
    }
    let (key, part) = (call.key()?, call.part()?);
    let content_type = if kind == PatchKind::Apply { "application/yaml" } else { "application/json" };
    let body = parse_body(&call.body, content_type)?;
    if kind == PatchKind::Apply {
        let manager = call.query.get("fieldManager").ok_or_else(|| {
            ApiError::new(
                422,
                "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            )
        })?;
        let request = apply::Apply { manager, force: call.query.flag("force"), part, dry_run: call.query.dry_run() };
        let (object, created) = apply::apply(state, &call.def, &key, body, &request)?;
        return Ok(call.answer(if created { 201 } else { 200 }, &object));
    }
    let updated = state.update(&call.def, &key, part, call.query.dry_run(), |current| patched(kind, current, &body))?;
    Ok(call.answer(200, &updated))
}

fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let body = if call.body.is_empty() { Value::Null } else { call.json()? };
    let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let policy = text(&body["propagationPolicy"]).or_else(|| call.query.get("propagationPolicy").map(str::to_owned));
    if let Some(policy) = &policy
        && !matches!(policy.as_str(), "Background" | "Foreground" | "Orphan")
    {
        let message = format!(
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{policy}\": supported values: \"Background\", \"Foreground\", \"Orphan\""
        );
        return Err(ApiError::new(422, "Invalid", message));
    }
    Ok(DeleteOptions {
        policy,
        uid: text(&body["preconditions"]["uid"]),
        resource_version: text(&body["preconditions"]["resourceVersion"]),
        dry_run: call.query.dry_run() || body["dryRun"].as_array().is_some_and(|d| !d.is_empty()),
    })
}

pub(super) fn delete(state: &State, call: &Call) -> Result<Response, ApiError> {
    let options = delete_options(call)?;
    if call.def.review {
        return Err(ApiError::method_not_allowed());
    }
    if call.target.name.is_none() {
        return delete_collection(state, call, &options);
    }
    if !call.target.subresource.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let (object, gone) = state.delete(&call.def, &call.key()?, &options)?;
    if !gone || call.def.delete_returns_object {
        return Ok(call.answer(200, &object));
    }
    let mut details =
        json!({"name": metadata(&object, "name"), "kind": call.def.plural, "uid": metadata(&object, "uid")});
    if !call.def.group.is_empty() {
        details["group"] = json!(call.def.group);
    }
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Ok(json_response(200, &body))
}

fn delete_collection(state: &State, call: &Call, options: &DeleteOptions) -> Result<Response, ApiError> {
    if call.def.is_namespaces() || (call.def.namespaced && call.target.namespace.is_none()) {
        return Err(ApiError::method_not_allowed());
    }
    let selector = Selector::parse(call.query.get("labelSelector"), call.query.get("fieldSelector"))?;
    let mut deleted = Vec::new();
    for object in state.store.list(&call.def.storage, call.namespace()).1 {
        if !selector.matches(&object) {
            continue;
        }
        match state.delete(&call.def, &key(&call.def, call.namespace(), metadata(&object, "name")), options) {
            Ok((object, _)) => deleted.push(object),
            // Somebody else deleted it meanwhile.
            Err(e) if e.code == 404 => {}
            Err(e) => return Err(e),
        }
    }
    let meta = json!({"resourceVersion": state.store.version().to_string()});
    let bytes = call.renderer().list(deleted, meta).map_err(|e| ApiError::new(500, "InternalError", e.to_string()))?;
    Ok(json_bytes(200, bytes))
}
