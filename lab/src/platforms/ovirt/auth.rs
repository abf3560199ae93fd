//! The engine's single sign-on, and the CA that it gives to anybody.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Value, json};

use super::Engine;
use super::read::Params;

impl Engine {
    /// A token of ours, or name and password.
    pub(super) fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if let Some(token) = given.strip_prefix("Bearer ") {
            return self.tokens().contains(token.trim());
        }
        let basic = given.strip_prefix("Basic ").and_then(|b| base64::engine::general_purpose::STANDARD.decode(b).ok());
        let wanted = format!("{}:{}", self.options.username, self.options.password);
        basic.is_some_and(|given| given == wanted.as_bytes())
    }
}

/// What the container says, and not the API: a page for people.
pub(super) fn unauthorized() -> Response {
    let headers = [(header::WWW_AUTHENTICATE, "Basic realm=\"RESTAPI\""), (header::CONTENT_TYPE, "text/html")];
    (StatusCode::UNAUTHORIZED, headers, "<html><body>Unauthorized</body></html>").into_response()
}

fn form(bytes: &[u8]) -> Params {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

fn refused(code: &str, words: &str) -> Response {
    let body = json!({"error_code": code, "error": words});
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

pub(super) async fn token(Extract(engine): Extract<Arc<Engine>>, headers: HeaderMap, bytes: Bytes) -> Response {
    // Anything else, `*/*` included, is refused.
    if headers.get(header::ACCEPT).is_none_or(|v| v != "application/json") {
        return refused("invalid_request", "Missing parameter: 'Accept header'");
    }
    let form = form(&bytes);
    let value = |name: &str| form.get(name).map_or("", String::as_str);
    if value("grant_type") != "password" {
        return refused("unsupported_grant_type", "Grant type is not supported");
    }
    let user = value("username");
    let (name, profile) = user.rsplit_once('@').unwrap_or((user, ""));
    if user != engine.options.username || value("password") != engine.options.password {
        let words = if profile.is_empty() {
            format!("Cannot authenticate user '{name}': No valid profile found in credentials..")
        } else {
            format!("Cannot authenticate user '{name}@{profile}': The user name or password is incorrect..")
        };
        return refused("access_denied", &words);
    }
    let token = format!("lab-{}", crate::api::names::random_chars(32));
    engine.tokens().insert(token.clone());
    let scope = value("scope");
    // The end of the account's validity, not of the token's.
    axum::Json(json!({"access_token": token, "scope": scope, "exp": i64::MAX.to_string(), "token_type": "bearer"}))
        .into_response()
}

pub(super) async fn logout(Extract(engine): Extract<Arc<Engine>>, bytes: Bytes) -> Response {
    engine.tokens().remove(form(&bytes).get("token").map_or("", String::as_str));
    axum::Json(Value::Object(serde_json::Map::new())).into_response()
}

pub(super) async fn pki(Extract(engine): Extract<Arc<Engine>>, Query(query): Query<Params>) -> Response {
    match query.get("resource").map(String::as_str) {
        Some("ca-certificate" | "qemu-ca-certificate") => {
            ([(header::CONTENT_TYPE, "application/x-x509-ca-cert")], engine.ca_pem.clone()).into_response()
        }
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}
