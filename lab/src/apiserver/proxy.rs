//! The service proxy: `/api/v1/namespaces/NS/services/https:NAME:PORT/proxy/PATH`.

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, header};

use super::State;
use super::error::{ApiError, text_response};

/// Where a service's requests go.
pub(super) struct Backend {
    pub base_url: String,
    pub client: reqwest::Client,
}

/// `https:NAME:PORT`, `NAME:PORT` or `NAME`.
fn service_name(text: &str) -> &str {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [_, name, _] => name,
        [name, ..] => name,
        [] => text,
    }
}

pub(super) async fn forward(
    state: &State,
    namespace: &str,
    service: &str,
    path: &[&str],
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let name = service_name(service);
    let Some(backend) = state.backend(namespace, name) else {
        let message = format!("no endpoints available for service \"{service}\"");
        return Err(ApiError::new(503, "ServiceUnavailable", message));
    };
    if request.method() != Method::GET {
        return Err(ApiError::method_not_allowed());
    }
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let url = format!("{}/{}{query}", backend.base_url.trim_end_matches('/'), path.join("/"));
    let mut forwarded = backend.client.get(url);
    for wanted in [header::ACCEPT, header::AUTHORIZATION] {
        if let Some(value) = request.headers().get(&wanted) {
            forwarded = forwarded.header(wanted, value);
        }
    }
    let answer = match forwarded.send().await {
        Ok(answer) => answer,
        Err(e) => return Ok(text_response(503, format!("error trying to reach service: {e}"))),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    let bytes = answer
        .bytes()
        .await
        .map_err(|e| ApiError::new(503, "ServiceUnavailable", format!("error trying to reach service: {e}")))?;
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}
