//! OpenShift's login by name and password: Basic credentials for a token, or for a code that is
//! exchanged for one, with PKCE where the client asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Request, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use sha2::Digest as _;

use super::State;
use super::auth::random_secret;
use super::error::{ApiError, json_response, text_response};
use super::request::Query;

/// Lifetime of an issued token in seconds, as clients are told; the lab forgets none.
const EXPIRES_IN: u32 = 86_400;
const CHALLENGING_CLIENT: &str = "openshift-challenging-client";
const CSRF_HINT: &str = "A non-empty X-CSRF-Token header is required to receive basic-auth challenges";
/// The largest form, in bytes.
const FORM_LIMIT: usize = 64 * 1024;

/// Authorization codes, each good for one token.
#[derive(Debug, Default)]
pub(super) struct Codes(Mutex<HashMap<String, Grant>>);

/// What a code stands for.
#[derive(Debug)]
struct Grant {
    user: String,
    challenge: Option<Challenge>,
}

/// What the client has to prove when it comes back.
#[derive(Debug)]
struct Challenge {
    value: String,
    hashed: bool,
}

impl Challenge {
    /// Why the client does not get its token, in osin's words (`handleAuthorizationCodeRequest` in `access.go`).
    fn refuses(&self, verifier: &str) -> Option<Response> {
        let refuse = |name| Some(error(400, name, "code_verifier invalid (rfc7636)"));
        match () {
            () if !is_verifier(verifier) => refuse("invalid_request"),
            () if !self.is_met(verifier) => refuse("invalid_grant"),
            () => None,
        }
    }
    fn is_met(&self, verifier: &str) -> bool {
        if self.hashed {
            self.value == URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(verifier.as_bytes()))
        } else {
            self.value == verifier
        }
    }
}

/// RFC 7636, section 4.1: osin's `pkceMatcher`, which nothing does not fit either.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"~._-".contains(&b))
}

/// `/.well-known/oauth-authorization-server`.
pub(super) fn metadata(url: &str) -> Response {
    let body = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/oauth/authorize"),
        "token_endpoint": format!("{url}/oauth/token"),
        "scopes_supported": ["user:check-access", "user:full", "user:info", "user:list-projects", "user:list-scoped-projects"],
        "response_types_supported": ["code", "token"],
        "grant_types_supported": ["authorization_code", "implicit"],
        "code_challenge_methods_supported": ["plain", "S256"],
    });
    json_response(200, &body)
}

fn with_header(mut response: Response, name: header::HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

fn error(code: u16, name: &str, description: &str) -> Response {
    json_response(code, &json!({"error": name, "error_description": description}))
}

/// `/oauth/authorize`: Basic credentials for a token or a code.
pub(super) fn authorize(state: &State, request: &Request<Body>) -> Response {
    let query = Query::parse(request.uri().query());
    let redirect = format!("{}/oauth/token/implicit", state.url);
    if query.get("client_id") != Some(CHALLENGING_CLIENT) {
        let why = "The client is not authorized to request a token using this method.";
        return error(400, "unauthorized_client", why);
    }
    let Some(user) = state.auth.login(request.headers()) else {
        let csrf = request.headers().get("x-csrf-token").is_some_and(|v| !v.is_empty());
        return if csrf {
            with_header(text_response(401, ""), header::WWW_AUTHENTICATE, "Basic realm=\"openshift\"")
        } else {
            with_header(text_response(401, CSRF_HINT), header::WARNING, &format!("199 Origin \"{CSRF_HINT}\""))
        };
    };
    let echo = query.get("state").map(|s| {
        let encoded: String = url::form_urlencoded::byte_serialize(s.as_bytes()).collect();
        format!("&state={encoded}")
    });
    let echo = echo.unwrap_or_default();
    let location = match query.get("response_type") {
        Some("token") => format!(
            "{redirect}#access_token={}&expires_in={EXPIRES_IN}&scope=user%3Afull&token_type=Bearer{echo}",
            state.auth.issue(&user)
        ),
        Some("code") => {
            let challenge = query.get("code_challenge").map(|value| Challenge {
                value: value.to_owned(),
                hashed: query.get("code_challenge_method") == Some("S256"),
            });
            let code = random_secret();
            let mut codes = state.auth.codes.0.lock().unwrap_or_else(PoisonError::into_inner);
            codes.insert(code.clone(), Grant { user, challenge });
            format!("{redirect}?code={code}{echo}")
        }
        _ => format!("{redirect}?error=unsupported_response_type{echo}"),
    };
    with_header(text_response(302, ""), header::LOCATION, &location)
}

/// `/oauth/token`: a code for a token. The parameters are a form in the body; older clients put them
/// into the query.
pub(super) async fn token(state: &Arc<State>, request: Request<Body>) -> Result<Response, ApiError> {
    let query = Query::parse(request.uri().query());
    let read = http_body_util::Limited::new(request.into_body(), FORM_LIMIT).collect().await;
    let body = read.map_err(|e| ApiError::bad_request(e.to_string()))?.to_bytes();
    let form = Query::parse(std::str::from_utf8(&body).ok());
    let parameter = |name: &str| form.get(name).or_else(|| query.get(name));
    if parameter("grant_type").is_some_and(|grant| grant != "authorization_code") {
        return Ok(error(400, "unsupported_grant_type", "only authorization codes are exchanged here"));
    }
    let code = parameter("code").unwrap_or_default();
    let mut codes = state.auth.codes.0.lock().unwrap_or_else(PoisonError::into_inner);
    let verifier = parameter("code_verifier").unwrap_or_default();
    let refused = codes.get(code).and_then(|grant| grant.challenge.as_ref()?.refuses(verifier));
    if let Some(refused) = refused {
        // The code stays good: osin takes it away with the token that it gives.
        return Ok(refused);
    }
    let Some(grant) = codes.remove(code) else { return Ok(error(400, "invalid_grant", "unknown code")) };
    drop(codes);
    Ok(json_response(
        200,
        &json!({
            "access_token": state.auth.issue(&grant.user),
            "expires_in": EXPIRES_IN,
            "scope": "user:full",
            "token_type": "Bearer",
        }),
    ))
}
