//! What a broken endpoint says: in the words of the API server, of vSphere, or of a load balancer.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{StatusCode, header};
use serde_json::json;

use super::class;
use super::plan::Fault;

/// Who speaks at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Kubernetes,
    Soap,
    Rest,
}

/// The answer of a request that was refused or lost; `None`: this fault has no answer.
pub(super) fn refusal(dialect: Dialect, fault: Fault) -> Option<Response> {
    let (code, reason, message) = match fault {
        Fault::TooMany | Fault::RetryAfter => (429, "TooManyRequests", "too many requests, please try again later"),
        Fault::Internal => (500, "InternalError", "etcdserver: leader changed"),
        Fault::Unavailable => (503, "ServiceUnavailable", ""),
        Fault::GatewayTimeout => (504, "Timeout", ""),
        Fault::Unauthorized => (401, "Unauthorized", "Unauthorized"),
        Fault::Gone => (410, "Expired", "The provided continue parameter is too old"),
        _ => return None,
    };
    if fault == Fault::Unauthorized && dialect == Dialect::Soap {
        return Some(answer(500, "text/xml; charset=utf-8", NOT_AUTHENTICATED.to_owned(), false));
    }
    // Who is not asked can't answer in its own words.
    let balancer = message.is_empty() || dialect != Dialect::Kubernetes;
    let (kind, body) = if balancer {
        let name = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason()).unwrap_or_default();
        ("text/html", format!("<html><body><h1>{code} {name}</h1>\nNo server is available.\n</body></html>\n"))
    } else {
        ("application/json", status(code, reason, message).to_string())
    };
    Some(answer(code, kind, body, fault == Fault::RetryAfter))
}

/// The refusal of a right, as each of them words it.
pub(super) fn forbidden(dialect: Dialect, parts: &Parts) -> Response {
    match dialect {
        Dialect::Kubernetes => {
            let wish = class::wish(parts);
            let resource = match wish.group.is_empty() {
                true => wish.resource.clone(),
                false => format!("{}.{}", wish.resource, wish.group),
            };
            let name = wish.name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let place = match wish.namespace {
                Some(namespace) => format!("in the namespace \"{namespace}\""),
                None => "at the cluster scope".to_owned(),
            };
            let message = format!(
                "{resource}{name} is forbidden: User \"lab\" cannot {} resource \"{}\" in API group \"{}\" {place}",
                wish.verb, wish.resource, wish.group
            );
            answer(403, "application/json", status(403, "Forbidden", &message).to_string(), false)
        }
        Dialect::Soap => answer(500, "text/xml; charset=utf-8", NO_PERMISSION.to_owned(), false),
        Dialect::Rest => answer(403, "application/json", "{\"detail\": \"not allowed\"}".to_owned(), false),
    }
}

/// The event with which a watch ends whose version is forgotten.
pub(super) fn expired_event() -> String {
    let status = status(410, "Expired", "too old resource version: 1 (2)");
    format!("{}\n", json!({"type": "ERROR", "object": status}))
}

fn status(code: u16, reason: &str, message: &str) -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code})
}

fn answer(code: u16, kind: &str, body: String, retry_after: bool) -> Response {
    let mut answer = Response::builder().status(code).header(header::CONTENT_TYPE, kind);
    if retry_after {
        answer = answer.header(header::RETRY_AFTER, "1");
    }
    answer.body(Body::from(body)).unwrap_or_default()
}

/// As vCenter tells a session that has ended.
const NOT_AUTHENTICATED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\
    \"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\
    \"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n<soapenv:Fault><faultcode>ServerFaultCode\
    </faultcode><faultstring>The session is not authenticated.</faultstring><detail><NotAuthenticatedFault xmlns=\
    \"urn:vim25\" xsi:type=\"NotAuthenticated\"><object type=\"Folder\">group-d1</object><privilegeId>System.View\
    </privilegeId></NotAuthenticatedFault></detail></soapenv:Fault>\n</soapenv:Body>\n</soapenv:Envelope>";

/// As vCenter refuses a right.
const NO_PERMISSION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\
    \"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\
    \"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n<soapenv:Fault><faultcode>ServerFaultCode\
    </faultcode><faultstring>Permission to perform this operation was denied.</faultstring><detail>\
    <NoPermissionFault xmlns=\"urn:vim25\" xsi:type=\"NoPermission\"><object type=\"Folder\">group-d1</object>\
    <privilegeId>VirtualMachine.Inventory.Delete</privilegeId></NoPermissionFault></detail></soapenv:Fault>\n\
    </soapenv:Body>\n</soapenv:Envelope>";
