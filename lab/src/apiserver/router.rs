//! From a request to the part that answers it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::error::{ApiError, json_response, text_response, typed_response};
use super::protobuf::{self, Refusal};
use super::rbac::{User, Wish};
use super::request::{Form, Query, Target};
use super::schema::prune;
use super::webhooks::Admission;
use super::websocket::Upgrade;
use super::{
    InProcess, State, auth, containers, discovery, forward, oauth, openapi, project_requests, proxy, resource_handlers,
    subresources, webhooks,
};

/// The largest body that a real API server takes, in bytes.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Serves one request, from outside or from inside the process.
pub(super) async fn handle(state: Arc<State>, request: Request<Body>) -> Response {
    let inside = request.extensions().get::<InProcess>().is_some();
    if !inside {
        state.requests.fetch_add(1, Ordering::Relaxed);
    }
    match route(&state, request, inside).await {
        Ok(response) => response,
        Err(error) => error.response(),
    }
}

/// Path segments, percent-decoded.
fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|s| !s.is_empty()).map(decode).collect()
}

fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    // `+` is a plus in a path, so it is escaped before the form decoder sees it.
    let text = format!("x={}", segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D"));
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
}

async fn route(state: &Arc<State>, request: Request<Body>, inside: bool) -> Result<Response, ApiError> {
    let path = segments(request.uri().path());
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [".well-known", "oauth-authorization-server"] => return Ok(oauth::metadata(&state.url)),
        ["oauth", "authorize"] => return Ok(oauth::authorize(state, &request)),
        ["oauth", "token", ..] => return oauth::token(state, request).await,
        _ => {}
    }
    let user = if inside { User::named("system:admin") } else { state.auth.user(request.headers())? };
    let user = impersonated(user, request.headers())?;
    match parts.as_slice() {
        ["version"] if request.method() != Method::GET => return Err(ApiError::method_not_allowed()),
        ["version"] => return Ok(json_response(200, &discovery::version(&state.kubernetes_version))),
        ["healthz" | "livez" | "readyz", ..] => return Ok(text_response(200, "ok")),
        [] if !user.is_anonymous() => return Ok(json_response(200, &discovery::paths(&state.registry))),
        _ => {}
    }
    let is_resource = matches!(parts.as_slice(), ["api", _, _, ..] | ["apis", _, _, _, ..]);
    if user.is_anonymous() && !is_resource {
        let verb = request.method().as_str().to_lowercase();
        let path = request.uri().path();
        return Err(ApiError::forbidden_path(format!(
            "forbidden: User \"{}\" cannot {verb} path \"{path}\"",
            user.name
        )));
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    match parts.as_slice() {
        ["api"] => Ok(discovery::core_versions(&state.registry, &accept)),
        ["apis"] => Ok(discovery::groups(&state.registry, state.subresources().is_some(), &accept)),
        ["apis", subresources::GROUP, rest @ ..] if rest.len() < 3 && state.subresources().is_some() => {
            discovery::of_virtual_machines(rest).ok_or_else(ApiError::no_page)
        }
        ["apis", group] => discovery::group(&state.registry, group),
        ["api", "v1"] => discovery::resources(&state.registry, "", "v1"),
        ["apis", group, version] => discovery::resources(&state.registry, group, version),
        ["openapi", rest @ ..] => Ok(openapi::serve(&state.registry, rest, &accept)),
        ["api", "v1", "namespaces", namespace, "services", service, "proxy", rest @ ..] => {
            let wish = Wish {
                verb: "get",
                resource: "services",
                subresource: "proxy",
                namespace,
                name: service,
                ..Wish::default()
            };
            authorize(state, &user, "", "v1", "services", &wish)?;
            proxy::forward(state, namespace, service, rest, request).await
        }
        ["apis", "subresources.kubevirt.io", "v1" | "v1alpha3", "namespaces", namespace, rest @ ..] => {
            if let [kind, name, below, ..] = rest {
                let wish = Wish {
                    verb: if request.method() == Method::GET { "get" } else { "update" },
                    group: "subresources.kubevirt.io",
                    resource: kind,
                    subresource: below,
                    namespace,
                    name,
                };
                authorize(state, &user, "kubevirt.io", "v1", kind, &wish)?;
            }
            subresources::serve(state, namespace, rest, request).await
        }
        ["apis", "user.openshift.io", "v1", "users", "~"] if user.is_anonymous() => {
            Err(ApiError::forbidden_path(auth::NOBODY.to_owned()))
        }
        ["apis", "user.openshift.io", "v1", "users", "~"] => Ok(json_response(200, &auth::user_object(&user))),
        ["api", "v1", ..] => resource(state, "", "v1", path.get(2..).unwrap_or_default(), request, &user).await,
        ["apis", group, version, ..] => {
            resource(state, group, version, path.get(3..).unwrap_or_default(), request, &user).await
        }
        _ => Ok(text_response(404, "404 page not found\n")),
    }
}

async fn resource(
    state: &Arc<State>,
    group: &str,
    version: &str,
    path: &[String],
    mut request: Request<Body>,
    user: &User,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let path = match path.split_first() {
        Some((first, rest)) if first == "watch" => {
            query.set_watch();
            rest
        }
        _ => path,
    };
    if !state.registry.serves(group, version) {
        return Err(discovery::unserved(&state.registry, group));
    }
    let target = Target::parse(path).ok_or_else(ApiError::no_such_resource)?;
    let found = state.registry.find(group, version, &target.plural);
    let def = found.ok_or_else(|| discovery::unserved(&state.registry, group))?;
    let verb = verb_of(request.method(), &target, &query);
    let below = target.subresource.first().map(String::as_str).unwrap_or_default();
    let wish = Wish {
        verb: &verb,
        group,
        resource: &target.plural,
        subresource: below,
        namespace: target.namespace.as_deref().unwrap_or_default(),
        name: if verb == "create" { "" } else { target.name.as_deref().unwrap_or_default() },
    };
    state.authorize(user, &def, &wish)?;
    project_requests::routed(&def, request.method(), &target, &query)?;
    if group.is_empty() && target.plural == "pods" && matches!(below, "exec" | "attach" | "portforward") {
        let (namespace, name) = (target.namespace.as_deref(), target.name.as_deref().unwrap_or_default());
        let key = super::write::key(&def, namespace, name);
        let pod = state.store.get(&key).ok_or_else(|| ApiError::not_found(&def, name))?;
        if below == "portforward" {
            return forward::serve(state, &key, &pod, &query, &mut request);
        }
        return containers::serve(state, &key, &pod, &query, &mut request, below == "attach");
    }
    let bare = request.extensions().get::<InProcess>().is_some_and(|inside| inside.bare);
    let upgrade = if verb == "watch" { Upgrade::of(&mut request) } else { None };
    let (parts, body) = request.into_parts();
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let read = http_body_util::Limited::new(body, BODY_LIMIT).collect().await;
    let body = read.map_err(|_| {
        ApiError::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {BODY_LIMIT}"))
    })?;
    let typed = content_type.split(';').next().unwrap_or_default().trim();
    let known = matches!(typed, "" | "application/json" | "application/yaml" | "application/vnd.kubernetes.protobuf");
    if matches!(parts.method, Method::POST | Method::PUT) && !known {
        return Err(ApiError::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ));
    }
    let agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("unknown");
    let agent: String = agent.split('/').next().unwrap_or_default().chars().take(128).collect();
    let call = resource_handlers::Call {
        form: Form::accepted(&parts.headers, def.custom, verb == "watch")?,
        one_wanted: accepts_one(&parts.headers),
        def,
        target,
        query,
        content_type,
        body: body.to_bytes(),
        user: user.clone(),
        admission: Admission::Off,
        bare,
        agent: if agent.is_empty() { "unknown".to_owned() } else { agent },
    };
    match parts.method {
        Method::GET => {
            let response = resource_handlers::get(state, &call)?;
            Ok(match upgrade {
                Some(upgrade) => upgrade.answer(state, response),
                None => response,
            })
        }
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
            webhooks::write(state, &parts.method, call).await
        }
        _ => Err(ApiError::not_supported(&call.def, "")),
    }
}

/// Administrators may ask as somebody else.
fn impersonated(user: User, headers: &http::HeaderMap) -> Result<User, ApiError> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let Some(name) = headers.get("impersonate-user").map(text).filter(|name| !name.is_empty()) else {
        return Ok(user);
    };
    if !user.is_master() {
        let message = format!(
            "users \"{name}\" is forbidden: User \"{}\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            user.name
        );
        let details = json!({"name": name, "kind": "users"});
        return Err(ApiError { details: Some(details), ..ApiError::new(403, "Forbidden", message) });
    }
    let groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
    Ok(User::impersonated(&name, groups))
}

fn accepts_one(headers: &http::HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accept.split([',', ';']).any(|part| part.trim() == "as=PartialObjectMetadata")
}

/// The verb that roles grant.
fn verb_of(method: &Method, target: &Target, query: &Query) -> String {
    let one = target.name.is_some();
    match *method {
        Method::GET if query.flag("watch") => "watch",
        Method::GET if one => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE => "deletecollection",
        _ => return method.as_str().to_lowercase(),
    }
    .to_owned()
}

fn authorize(
    state: &State,
    user: &User,
    group: &str,
    version: &str,
    plural: &str,
    wish: &Wish<'_>,
) -> Result<(), ApiError> {
    let def = state.registry.find(group, version, plural).ok_or_else(ApiError::no_such_resource)?;
    state.authorize(user, &def, wish)
}

/// A body as JSON, with the fields that it has twice; YAML is taken, too, and protobuf of the kinds
/// that kubectl sends so.
pub(super) fn parse_body(bytes: &[u8], content_type: &str, kind: &str) -> Result<(Value, Vec<String>), ApiError> {
    if content_type.starts_with("application/vnd.kubernetes.protobuf") {
        return protobuf::decode(bytes).map(|value| (value, Vec::new())).map_err(|refusal| match refusal {
            Refusal::Malformed => ApiError::bad_request("the object provided is no valid protobuf of Kubernetes"),
            Refusal::Kind(kind) => ApiError::new(
                415,
                "UnsupportedMediaType",
                format!("the lab does not take a {kind} as protobuf - accepted media types include: application/json, application/yaml"),
            ),
        });
    }
    let failed = |e: String| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {e}"
        ))
    };
    let parsed = match prune::parse(bytes) {
        Ok(parsed) => parsed,
        Err(_) if content_type.contains("yaml") => {
            let text = std::str::from_utf8(bytes).map_err(|e| failed(e.to_string()))?;
            let value = serde_saphyr::from_str(text).map_err(|e| {
                ApiError::bad_request(format!("error decoding YAML: error converting YAML to JSON: {e}"))
            })?;
            (value, Vec::new())
        }
        Err(e) if e.is_eof() => return Err(failed(format!("unexpected end of JSON input ({})", excerpt(bytes)))),
        Err(e) => return Err(failed(format!("{e} ({})", excerpt(bytes)))),
    };
    if !parsed.0.is_object() {
        let found = if parsed.0.is_array() { "array" } else { "string" };
        let head =
            r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
        let why = format!("json: cannot unmarshal {found} into Go value of type {head} ({})", excerpt(bytes));
        return Err(failed(why));
    }
    Ok(parsed)
}

/// The beginning of a body for a message: an object's text, anything else in hex.
fn excerpt(bytes: &[u8]) -> String {
    const LIMIT: usize = 30;
    match std::str::from_utf8(bytes) {
        Ok("") => "<empty>".to_owned(),
        Ok(text) if text.starts_with('{') && text.len() <= LIMIT => text.to_owned(),
        Ok(text) if text.starts_with('{') => format!("{} ...", text.chars().take(LIMIT).collect::<String>()),
        _ => bytes.iter().take(LIMIT).map(|b| format!("{b:02x}")).collect(),
    }
}

pub(super) fn json_bytes(code: u16, bytes: Vec<u8>) -> Response {
    typed_response(code, "application/json", bytes)
}
