//! From a request to the part that answers it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;

use super::error::{ApiError, json_response, text_response, typed_response};
use super::protobuf::{self, Refusal};
use super::request::{Form, Query, Target};
use super::{InProcess, State, auth, discovery, proxy, resource_handlers, subresources};

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
    // `+` is a plus in a path, so it is escaped before the form decoder sees it.
    let text = format!("x={}", segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D"));
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
}

async fn route(state: &Arc<State>, request: Request<Body>, inside: bool) -> Result<Response, ApiError> {
    let path = segments(request.uri().path());
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["version"] => return Ok(json_response(200, &discovery::version(&state.kubernetes_version))),
        ["healthz" | "livez" | "readyz", ..] => return Ok(text_response(200, "ok")),
        [".well-known", "oauth-authorization-server"] => return Ok(auth::metadata(&state.url)),
        ["oauth", "authorize"] => return Ok(auth::authorize(state, &request)),
        ["oauth", "token", ..] => return Ok(auth::token(state, &request)),
        _ => {}
    }
    let user = if inside { "system:admin".to_owned() } else { state.auth.user(request.headers())? };
    let accept = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    match parts.as_slice() {
        ["api"] => Ok(discovery::core_versions(&state.registry, &accept)),
        ["apis"] => Ok(discovery::groups(&state.registry, &accept)),
        ["apis", group] => discovery::group(&state.registry, group),
        ["api", "v1"] => discovery::resources(&state.registry, "", "v1"),
        ["apis", group, version] => discovery::resources(&state.registry, group, version),
        ["openapi", rest @ ..] => discovery::openapi(&state.registry, rest),
        ["api", "v1", "namespaces", namespace, "services", service, "proxy", rest @ ..] => {
            proxy::forward(state, namespace, service, rest, request).await
        }
        ["apis", "subresources.kubevirt.io", "v1" | "v1alpha3", "namespaces", namespace, rest @ ..] => {
            subresources::serve(state, namespace, rest, request).await
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
    request: Request<Body>,
    user: &str,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let path = match path.split_first() {
        Some((first, rest)) if first == "watch" => {
            query.set_watch();
            rest
        }
        _ => path,
    };
    if state.registry.in_version(group, version).is_empty() {
        return Ok(text_response(404, "404 page not found\n"));
    }
    let target = Target::parse(path).ok_or_else(ApiError::no_such_resource)?;
    let def = state.registry.find(group, version, &target.plural).ok_or_else(ApiError::no_such_resource)?;
    let (parts, body) = request.into_parts();
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let read = http_body_util::Limited::new(body, BODY_LIMIT).collect().await;
    let body = read.map_err(|_| {
        ApiError::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {BODY_LIMIT}"))
    })?;
    let call = resource_handlers::Call {
        def,
        target,
        query,
        form: Form::accepted(&parts.headers),
        content_type,
        body: body.to_bytes(),
        user: user.to_owned(),
    };
    match parts.method {
        Method::GET => resource_handlers::get(state, &call),
        Method::POST => resource_handlers::post(state, &call),
        Method::PUT => resource_handlers::put(state, &call),
        Method::PATCH => resource_handlers::patch(state, &call),
        Method::DELETE => resource_handlers::delete(state, &call),
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// A body as JSON; YAML is taken, too, and protobuf of the kinds that kubectl sends so.
pub(super) fn parse_body(bytes: &[u8], content_type: &str) -> Result<Value, ApiError> {
    if content_type.starts_with("application/vnd.kubernetes.protobuf") {
        return protobuf::decode(bytes).map_err(|refusal| match refusal {
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
            "the object provided is unrecognized: couldn't get version/kind; json parse error: {e}"
        ))
    };
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(_) if content_type.contains("yaml") => {
            let text = std::str::from_utf8(bytes).map_err(|e| failed(e.to_string()))?;
            serde_saphyr::from_str(text).map_err(|e| failed(e.to_string()))
        }
        Err(e) => Err(failed(e.to_string())),
    }
}

pub(super) fn json_bytes(code: u16, bytes: Vec<u8>) -> Response {
    typed_response(code, "application/json", bytes)
}
