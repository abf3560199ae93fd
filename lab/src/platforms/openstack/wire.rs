//! Requests and replies, and the form in which each service says no.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

/// One request, its service's part of the path taken off.
pub struct Request<'a> {
    pub method: &'a Method,
    /// Segments after the service's base.
    pub path: Vec<&'a str>,
    pub query: Vec<(String, String)>,
    pub headers: &'a HeaderMap,
    /// Microversion asked for; 0 where none was.
    pub version: u32,
    pub body: Value,
    pub raw: Bytes,
}

impl Request<'_> {
    pub fn param(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
    pub fn is(&self, method: &Method) -> bool {
        self.method == method
    }
}

/// One answer.
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
    pub headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub fn empty(status: u16) -> Self {
        Self { status, body: Bytes::new(), headers: Vec::new() }
    }
    pub fn json(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/json", body.to_string())
    }
    pub fn typed(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), headers: vec![("content-type", kind.to_owned())] }
    }
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    pub fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// The services, by the first segment of their path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Identity,
    Compute,
    Volume,
    Image,
    Network,
}

impl Service {
    pub fn of(segment: &str) -> Option<Self> {
        Some(match segment {
            "identity" => Self::Identity,
            "compute" => Self::Compute,
            "volume" => Self::Volume,
            "image" => Self::Image,
            "network" => Self::Network,
            _ => return None,
        })
    }

    /// A refusal in this service's own form.
    pub fn error(self, status: u16, message: &str) -> Reply {
        match self {
            Self::Identity => {
                let title = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
                Reply::json(status, &json!({"error": {"code": status, "message": message, "title": title}}))
            }
            Self::Compute | Self::Volume => {
                let key = match status {
                    400 => "badRequest",
                    401 => "unauthorized",
                    403 => "forbidden",
                    404 => "itemNotFound",
                    405 => "badMethod",
                    409 => "conflictingRequest",
                    413 | 429 => "overLimit",
                    _ => "computeFault",
                };
                Reply::json(status, &json!({key: {"code": status, "message": message}}))
            }
            Self::Image => {
                let title = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
                let page = format!(
                    "<html>\n <head>\n  <title>{status} {title}</title>\n </head>\n <body>\n  <h1>{status} {title}</h1>\n  {message}<br /><br />\n\n\n </body>\n</html>"
                );
                Reply::typed(status, "text/html; charset=UTF-8", page)
            }
            Self::Network => {
                let kind = match status {
                    403 => "PolicyNotAuthorized",
                    404 => "ResourceNotFound",
                    409 => "Conflict",
                    _ => "BadRequest",
                };
                Reply::json(status, &json!({"NeutronError": {"type": kind, "message": message, "detail": ""}}))
            }
        }
    }

    pub fn missing(self, what: &str, id: &str) -> Reply {
        match self {
            Self::Image => self.error(404, &format!("Failed to find {what} {id}")),
            _ => self.error(404, &format!("{what} {id} could not be found.")),
        }
    }
}

/// A text of a body.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number; the SDK's cloud layer sends them as texts.
pub fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// A page of a listing by `limit` and `marker`, and whether there is more.
pub fn page(mut all: Vec<Value>, request: &Request<'_>) -> (Vec<Value>, bool) {
    if let Some(marker) = request.param("marker") {
        let at = all.iter().position(|item| item["id"] == marker).map_or(0, |at| at + 1);
        all.drain(..at);
    }
    let limit = request.param("limit").and_then(|l| l.parse().ok()).filter(|l| *l > 0).unwrap_or(1000usize);
    let more = all.len() > limit;
    all.truncate(limit);
    (all, more)
}

/// A collection with the link to its next page, as Nova, Cinder and Neutron write it.
pub fn listing(key: &str, all: Vec<Value>, request: &Request<'_>, base: &str) -> Reply {
    let (items, more) = page(all, request);
    let mut body = json!({key: items});
    if more && let Some(last) = items.last() {
        let mut query: Vec<(String, String)> = request.query.iter().filter(|(k, _)| k != "marker").cloned().collect();
        query.push(("marker".to_owned(), last["id"].as_str().unwrap_or_default().to_owned()));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let href = format!("{base}/{}?{query}", request.path.join("/"));
        body[format!("{key}_links")] = json!([{"rel": "next", "href": href}]);
    }
    Reply::json(200, &body)
}
