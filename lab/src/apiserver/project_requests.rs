//! `projectrequests` of OpenShift: somebody asks for a project, or whether he may. There is nothing to get, to watch, to
//! change or to delete: its storage is a Lister and a Creater (openshift-apiserver,
//! `pkg/project/apiserver/registry/projectrequest/delegated/delegated.go`).

use http::Method;
use serde_json::{Value, json};

use super::State;
use super::error::ApiError;
use super::rbac::{User, Wish};
use super::request::{Query, Target};
use super::resources::ResourceDef;

const REFUSED: &str = "You may not request a new project via this API.";
/// `ForbiddenNames`; with a dash behind they are `ForbiddenPrefixes`.
const RESERVED: [&str; 3] = ["openshift", "kubernetes", "kube"];

pub(super) fn is_of(def: &ResourceDef) -> bool {
    def.plural == "projectrequests"
}

/// Refuses what has no route: a request by name is not found, another method is not allowed.
pub(super) fn routed(def: &ResourceDef, method: &Method, target: &Target, query: &Query) -> Result<(), ApiError> {
    if !is_of(def) {
        return Ok(());
    }
    if target.name.is_some() || target.namespace.is_some() {
        return Err(ApiError::no_such_resource());
    }
    if query.flag("watch") {
        let message = format!("watch is not supported on resources of kind \"{}\"", def.qualified());
        let details = Some(details("", "projectrequests"));
        return Err(ApiError { message, details, ..ApiError::method_not_allowed() });
    }
    if matches!(*method, Method::GET | Method::POST) { Ok(()) } else { Err(ApiError::method_not_allowed()) }
}

fn details(name: &str, kind: &str) -> Value {
    let mut details = json!({"name": name, "group": "project.openshift.io", "kind": kind});
    if name.is_empty()
        && let Some(fields) = details.as_object_mut()
    {
        fields.shift_remove("name");
    }
    details
}

/// Whether the user may ask for a project: `List` asks for the right to create.
pub(super) fn list(state: &State, user: &User) -> Result<Value, ApiError> {
    let create = Wish { verb: "create", group: "project.openshift.io", resource: "projectrequests", ..Wish::default() };
    if state.may(user, &create) {
        return Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}));
    }
    let details = Some(details("", "projectrequest"));
    Err(ApiError { details, ..ApiError::new(403, "Forbidden", REFUSED) })
}

/// Refuses a name that is reserved or taken. OpenShift says `project` here, in the singular.
pub(super) fn may_be_named(state: &State, body: &Value) -> Result<(), ApiError> {
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let failed = |code, reason, why: String| {
        let message = format!("project.project.openshift.io \"{name}\" {why}");
        Err(ApiError { details: Some(details(name, "project")), ..ApiError::new(code, reason, message) })
    };
    if RESERVED.contains(&name) {
        return failed(403, "Forbidden", format!("is forbidden: cannot request a project with the name \"{name}\""));
    }
    let prefix = RESERVED.iter().map(|word| format!("{word}-")).find(|prefix| name.starts_with(prefix.as_str()));
    if let Some(prefix) = prefix {
        return failed(403, "Forbidden", format!("is forbidden: cannot request a project starting with \"{prefix}\""));
    }
    let Some(namespaces) = state.registry.find("", "v1", "namespaces") else { return Ok(()) };
    match state.store.get(&super::write::key(&namespaces, None, name)) {
        Some(_) => failed(409, "AlreadyExists", "already exists".to_owned()),
        None => Ok(()),
    }
}

/// What a request says becomes annotations of the project.
pub(super) fn annotate(body: &mut Value, user: &User) {
    let texts = ["displayName", "description"].map(|field| body.as_object_mut().and_then(|b| b.shift_remove(field)));
    let [title, description] = texts.map(|text| text.unwrap_or_else(|| json!("")));
    for (name, value) in [("description", description), ("display-name", title), ("requester", json!(user.name))] {
        body["metadata"]["annotations"][format!("openshift.io/{name}")] = value;
    }
}
