//! The verbs on resources.

use std::cell::Cell;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Value, json};

use super::error::{ApiError, json_response, typed_response};
use super::patch::{PatchKind, patched};
use super::prepare::check_types;
use super::rbac::User;
use super::render::Renderer;
use super::request::{Form, Query, Target, WATCH_PATH};
use super::resources::{ResourceDef, StatusMode};
use super::router::{json_bytes, parse_body};
use super::schema::validate::Cause;
use super::selectors::Selector;
use super::store::{ObjectKey, metadata};
use super::webhooks::Admission;
use super::write::{DeleteOptions, OfStatus, Part, Verb, Write, key};
use super::written::{Written, append_partial};
use super::{State, apply, auth, logs, metrics, options, paging, project_requests, scale, watch};

/// A request for a resource, read completely.
pub(super) struct Call {
    pub def: Arc<ResourceDef>,
    pub target: Target,
    pub query: Query,
    pub form: Form,
    /// `PartialObjectMetadata` was asked for, not a list of it.
    pub one_wanted: bool,
    pub content_type: String,
    pub body: Bytes,
    pub user: User,
    /// What webhooks have to say.
    pub admission: Admission,
    /// The client never looks at `metadata.managedFields`.
    pub bare: bool,
    /// The client's program, by which its fields are known where it names no manager.
    pub agent: String,
}

impl Call {
    fn name(&self) -> Result<&str, ApiError> {
        self.target.name.as_deref().ok_or_else(ApiError::method_not_allowed)
    }
    fn namespace(&self) -> Option<&str> {
        self.target.namespace.as_deref()
    }
    fn key(&self) -> Result<ObjectKey, ApiError> {
        if self.def.namespaced != self.target.namespace.is_some() {
            return Err(ApiError::no_such_resource());
        }
        Ok(key(&self.def, self.namespace(), self.name()?))
    }
    pub fn renderer(&self) -> Renderer {
        let include = self.query.get("includeObject").unwrap_or_default();
        let mut renderer = Renderer::new(self.def.clone(), self.form, include);
        renderer.bare = self.bare;
        renderer
    }
    fn answer(&self, code: u16, object: &Value) -> Response {
        let renderer = self.renderer();
        if renderer.is_as_stored(object) {
            return json_bytes(code, Written::new(object, self.bare).bytes());
        }
        if renderer.is_partial() {
            let mut bytes = Vec::new();
            append_partial(&mut bytes, object, self.bare);
            return json_bytes(code, bytes);
        }
        let object = renderer.object(object);
        if self.form == Form::Yaml
            && let Ok(text) = serde_saphyr::to_string(&sorted(&object))
        {
            return typed_response(code, "application/yaml", text);
        }
        json_response(code, &object)
    }
    /// The answer to a write, with its warnings.
    fn written(&self, code: u16, object: &Value, write: &Write<'_>) -> Response {
        let mut response = self.answer(code, object);
        for warning in write.warnings.borrow().iter() {
            if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", json!(warning))) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }
    fn json(&self) -> Result<Value, ApiError> {
        parse_body(&self.body, &self.content_type, &self.def.kind).map(|(value, _)| value)
    }
    fn write(&self, verb: Verb) -> Result<Write<'_>, ApiError> {
        let mut write = options::write(&self.query, verb, &self.agent)?;
        write.dry_run |= self.admission.is_draft();
        write.admission = &self.admission;
        Ok(write)
    }
    /// Whether the client wants nothing stored.
    pub fn is_dry_run(&self) -> bool {
        !self.query.all("dryRun").is_empty()
            || self.target.name.is_some() && delete_options(self).is_ok_and(|options| options.dry_run)
    }
    /// Which part of the object the path addresses.
    fn part(&self) -> Result<Part, ApiError> {
        let path: Vec<&str> = self.target.subresource.iter().map(String::as_str).collect();
        match path.as_slice() {
            [] => Ok(Part::Main),
            ["status"] if self.def.status != StatusMode::None => Ok(Part::Status),
            ["finalize"] if self.def.is_namespaces() => Ok(Part::Finalize),
            ["scale"] if self.def.scale.is_some() => Ok(Part::Scale),
            _ if self.def.custom => Err(ApiError::not_found(&self.def, self.name()?)),
            _ => Err(ApiError::no_such_resource()),
        }
    }
}

pub(super) fn get(state: &State, call: &Call) -> Result<Response, ApiError> {
    if call.def.review {
        return Err(ApiError::method_not_allowed());
    }
    if call.def.group == metrics::GROUP {
        return metrics::answer(state, call);
    }
    // Asked before a project is: whether the user may.
    if project_requests::is_of(&call.def) {
        return Ok(json_response(200, &project_requests::list(state, &call.user)?));
    }
    if call.target.name.is_none() || call.query.get(WATCH_PATH).is_some() {
        if call.query.flag("watch") {
            return watch::watch(state, &call.def, &call.target, &call.query, call.renderer());
        }
        return list(state, call);
    }
    let name = call.name()?;
    let key = call.key()?;
    let log = call.def.plural == "pods" && call.target.subresource == ["log"];
    let part = if log { Part::Main } else { call.part()? };
    paging::check_version(&call.query, state.store.version())?;
    let object = state.store.get(&key).ok_or_else(|| ApiError::not_found(&call.def, name))?;
    if part == Part::Scale {
        return Ok(json_response(200, &scale::of(&call.def, &object)));
    }
    if log {
        return logs::read(state, &call.def, &key, &object, &call.query);
    }
    Ok(call.answer(200, &object))
}

/// With its fields in the order of the alphabet, as YAML comes from Go.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut all: Vec<_> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(all.into_iter().collect())
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn list(state: &State, call: &Call) -> Result<Response, ApiError> {
    if !call.def.namespaced && call.target.namespace.is_some() {
        return Err(ApiError::no_such_resource());
    }
    options::check_list(&call.query, false)?;
    if call.form == Form::Partial && call.one_wanted {
        let place = call.def.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
        let kind = if call.def.custom {
            "unstructured.UnstructuredList".to_owned()
        } else {
            format!("{place}.{}List", call.def.kind)
        };
        let message = format!("you requested PartialObjectMetadata, but the requested object is a list (*{kind})");
        return Err(ApiError::new(406, "NotAcceptable", message));
    }
    call.query.number("timeoutSeconds")?;
    let selector = Selector::parse(&call.def, call.query.get("labelSelector"), call.query.get("fieldSelector"))?;
    let (version, mut objects) = paging::state_of(state, &call.def, call.namespace(), &call.query)?;
    objects.retain(|o| selector.matches(o));
    let (objects, meta) = paging::page(&call.query, &call.def, version, objects, selector.is_empty())?;
    Ok(json_bytes(200, call.renderer().list(&objects, meta)))
}

/// A token for the upload proxy, as CDI's own API server gives it for a claim that is there.
fn upload_token(state: &State, call: &Call) -> Result<Response, ApiError> {
    let mut body = call.json()?;
    if !matches!(body.get("metadata"), None | Some(Value::Null | Value::Object(_))) {
        return Err(ApiError::bad_request("UploadTokenRequest: metadata must be an object"));
    }
    let (namespace, name) =
        (call.namespace().unwrap_or_default(), body["spec"]["pvcName"].as_str().unwrap_or_default());
    let claims = state.registry.find("", "v1", "persistentvolumeclaims").ok_or_else(ApiError::no_such_resource)?;
    let claim = state.store.get(&super::write::key(&claims, Some(namespace), name));
    let claim = claim.ok_or_else(|| ApiError::not_found(&claims, name))?;
    if claim["metadata"]["annotations"][crate::uploads::POD_PHASE] == "Succeeded" {
        return Err(ApiError::bad_request(format!("PVC {name} already successfully imported/cloned/updated")));
    }
    body["status"] = json!({"token": state.uploads.issue(namespace, name)});
    body["metadata"]["namespace"] = json!(namespace);
    Ok(json_response(200, &body))
}

pub(super) fn post(state: &State, call: &Call) -> Result<Response, ApiError> {
    if call.def.group == metrics::GROUP {
        return Err(ApiError::not_supported(&call.def, "create"));
    }
    if call.def.plural == "uploadtokenrequests" {
        return upload_token(state, call);
    }
    if call.def.review {
        return Ok(json_response(201, &auth::review(state, &call.def, call.json()?, &call.user)?));
    }
    let path: Vec<&str> = call.target.subresource.iter().map(String::as_str).collect();
    match (call.target.name.as_deref(), call.def.plural.as_str(), path.as_slice()) {
        (None, _, _) => {}
        (Some(_), "pods", ["eviction"]) => return evict(state, call),
        (Some(_), "pods", ["binding"]) => return bind(state, call),
        (Some(_), "serviceaccounts", ["token"]) => {
            return auth::service_account_token(state, &call.key()?, call.json()?);
        }
        // Custom resources take a POST to an object for one to the collection.
        (Some(_), _, []) if call.def.custom => {}
        _ => return Err(ApiError::not_supported(&call.def, "create")),
    }
    if call.def.namespaced && call.target.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let mut write = call.write(Verb::Create)?;
    let (mut body, twice) = parse_body(&call.body, &call.content_type, &call.def.kind)?;
    write.twice = twice;
    let project = project_requests::is_of(&call.def);
    if project {
        project_requests::may_be_named(state, &body)?;
        project_requests::annotate(&mut body, &call.user);
    }
    let created = state.create(&call.def, call.namespace(), body, &write)?;
    if project && let Some(projects) = state.registry.find(&call.def.group, &call.def.version, "projects") {
        return Ok(json_response(201, &Renderer::new(projects, call.form, "").object(&created)));
    }
    Ok(call.written(201, &created, &write))
}

fn done() -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    json_response(201, &body)
}

fn evict(state: &State, call: &Call) -> Result<Response, ApiError> {
    state.delete(&call.def, &call.key()?, &DeleteOptions::default())?;
    Ok(done())
}

/// A scheduler's word: on which node the pod runs.
fn bind(state: &State, call: &Call) -> Result<Response, ApiError> {
    let (body, key) = (call.json()?, call.key()?);
    let node = body["target"]["name"].as_str().unwrap_or_default();
    state.update(&call.def, &key, Part::Main, &Write::inside(Verb::Patch), |pod| {
        if let Some(has) = pod["spec"]["nodeName"].as_str().filter(|has| !has.is_empty()) {
            let why = format!("pod {} is already assigned to node \"{has}\"", key.name);
            return Err(ApiError::conflict(&call.def, &key.name, &why));
        }
        let mut bound = pod.clone();
        bound["spec"]["nodeName"] = json!(node);
        Ok(bound)
    })?;
    Ok(done())
}

pub(super) fn put(state: &State, call: &Call) -> Result<Response, ApiError> {
    if call.target.name.is_none() && call.def.custom {
        return Err(ApiError::bad_request("name must be provided"));
    }
    call.name()?;
    let (key, part) = (call.key()?, call.part()?);
    let mut write = call.write(Verb::Update)?;
    let (mut body, twice) = parse_body(&call.body, &call.content_type, &call.def.kind)?;
    write.twice = twice;
    if part == Part::Scale {
        return Ok(json_response(200, &scale::change(state, &call.def, &key, None, &body, &write)?));
    }
    check_types(&call.def, &mut body)?;
    let lease = call.def.plural == "leases";
    if (call.def.custom || lease) && part == Part::Main && metadata(&body, "resourceVersion").is_empty() {
        let exists = state.store.get(&key).is_some();
        if exists {
            let why = "Invalid value: 0: must be specified for an update";
            return Err(ApiError::unversioned(&call.def, &key.name, why));
        }
    }
    if part == Part::Main
        && matches!(
            call.def.plural.as_str(),
            "leases" | "events" | "endpoints" | "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings"
        )
        && state.store.get(&key).is_none()
    {
        let created = state.create(&call.def, call.namespace(), body, &write)?;
        return Ok(call.written(201, &created, &write));
    }
    // Asked for once: a PUT is of the whole object.
    let body = Cell::new(body);
    let updated = state.update(&call.def, &key, part, &write, |_| Ok(body.take()))?;
    Ok(call.written(200, &updated, &write))
}

pub(super) fn patch(state: &State, call: &Call) -> Result<Response, ApiError> {
    let Some(kind) =
        PatchKind::from_content_type(&call.content_type).filter(|k| *k != PatchKind::Strategic || !call.def.custom)
    else {
        if call.def.custom {
            return Err(ApiError::new(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            ));
        }
        let bare = ApiError::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        return Err(ApiError { details: Some(json!({})), ..bare });
    };
    call.name()?;
    let (key, part) = (call.key()?, call.part()?);
    let write = call.write(if kind == PatchKind::Apply { Verb::Apply } else { Verb::Patch })?;
    let parsed = || {
        serde_json::from_slice::<Value>(&call.body).map_err(|e| {
            let why = if e.is_eof() { "unexpected end of JSON input".to_owned() } else { e.to_string() };
            ApiError::bad_request(format!("error decoding patch: {why}"))
        })
    };
    let mut body = match kind {
        PatchKind::Apply => parse_body(&call.body, "application/yaml", &call.def.kind)?.0,
        _ => parsed()?,
    };
    if part == Part::Scale {
        return Ok(json_response(200, &scale::change(state, &call.def, &key, Some(kind), &body, &write)?));
    }
    if kind == PatchKind::Apply {
        let manager = call.query.get("fieldManager").unwrap_or_default();
        let request = apply::Apply { manager, force: call.query.flag("force"), part };
        let (object, created) = apply::apply(state, &call.def, &key, body, &request, &write)?;
        return Ok(call.written(if created { 201 } else { 200 }, &object, &write));
    }
    let write = Write { of_status: kind.of_status(&body), ..write };
    // Nothing is applied to what is thrown away, and no copy made: a status is large, and goes on many times.
    let status = body.pointer_mut("/0/value").filter(|_| write.of_status == Some(OfStatus::Replaces)).map(Value::take);
    let updated = if status.is_some() {
        let status = Cell::new(status);
        state.update(&call.def, &key, part, &write, |current| {
            let mut object = current.clone();
            // It is gone where this is tried again.
            object["status"] = status.take().map_or_else(|| Ok(parsed()?[0]["value"].take()), Ok)?;
            Ok(object)
        })?
    } else {
        state.update(&call.def, &key, part, &write, |current| patched(kind, current, &body, call.def.schema()))?
    };
    Ok(call.written(200, &updated, &write))
}

fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let body = if call.body.is_empty() { Value::Null } else { call.json()? };
    let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let policy = text(&body["propagationPolicy"]).or_else(|| call.query.get("propagationPolicy").map(str::to_owned));
    let mut causes = Vec::new();
    match &policy {
        Some(policy) if !matches!(policy.as_str(), "Background" | "Foreground" | "Orphan") => {
            let message = format!(
                "Unsupported value: \"{policy}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            );
            causes.push(Cause::new("propagationPolicy", "FieldValueNotSupported", message));
        }
        Some(policy) if body["orphanDependents"].is_boolean() => {
            let message =
                format!("Invalid value: \"{policy}\": orphanDependents and deletionPropagation cannot be both set");
            causes.push(Cause::new("propagationPolicy", "FieldValueInvalid", message));
        }
        _ => {}
    }
    let mut dry = call.query.all("dryRun");
    dry.extend(body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    causes.extend(options::dry_run_cause(&dry));
    if !causes.is_empty() {
        return Err(ApiError::invalid_options("DeleteOptions", &causes));
    }
    let orphan = body["orphanDependents"] == json!(true);
    Ok(DeleteOptions {
        policy: policy.or_else(|| orphan.then(|| "Orphan".to_owned())),
        uid: text(&body["preconditions"]["uid"]),
        resource_version: text(&body["preconditions"]["resourceVersion"]),
        dry_run: !dry.is_empty(),
    })
}

pub(super) fn delete(state: &State, call: &Call) -> Result<Response, ApiError> {
    let options = delete_options(call)?;
    if call.def.review {
        return Err(ApiError::no_such_resource());
    }
    if call.target.name.is_none() {
        return delete_collection(state, call, &options);
    }
    if !call.target.subresource.is_empty() {
        return Err(ApiError::not_supported(&call.def, "delete"));
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

/// The objects that a DELETE is about; none when there is no such object.
pub(super) fn doomed(state: &State, call: &Call) -> Result<Vec<Arc<Value>>, ApiError> {
    if call.target.name.is_some() {
        return Ok(state.store.get(&call.key()?).into_iter().collect());
    }
    let selector = Selector::parse(&call.def, call.query.get("labelSelector"), call.query.get("fieldSelector"))?;
    let mut objects = state.store.list(&call.def.storage, call.namespace()).1;
    objects.retain(|object| selector.matches(object));
    Ok(objects)
}

fn delete_collection(state: &State, call: &Call, options: &DeleteOptions) -> Result<Response, ApiError> {
    if call.def.is_namespaces() || (call.def.namespaced && call.target.namespace.is_none()) {
        return Err(if call.def.custom { ApiError::no_page() } else { ApiError::method_not_allowed() });
    }
    let mut deleted = Vec::new();
    for object in doomed(state, call)? {
        match state.delete(&call.def, &key(&call.def, call.namespace(), metadata(&object, "name")), options) {
            // Told as it was before.
            Ok(_) => deleted.push(object),
            // Somebody else deleted it meanwhile.
            Err(e) if e.code == 404 => {}
            Err(e) => return Err(e),
        }
    }
    let mut meta = json!({"resourceVersion": state.store.version().to_string()});
    if call.def.custom {
        meta["continue"] = json!("");
    }
    Ok(json_bytes(200, call.renderer().list(&deleted, meta)))
}
