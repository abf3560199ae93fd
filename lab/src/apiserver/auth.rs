//! Who asks: bearer tokens, OpenShift's password login, and reviews.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Request, header};
use serde_json::{Value, json};

use super::State;
use super::error::{ApiError, json_response, text_response};
use super::rbac::{User, Wish};
use super::request::Query;
use super::resources::ResourceDef;
use super::schema::validate::Cause;
use super::store::ObjectKey;
use super::write::now;

/// Lifetime of an issued token in seconds, as clients are told; the lab forgets none.
const EXPIRES_IN: u32 = 86_400;
const CHALLENGING_CLIENT: &str = "openshift-challenging-client";
const CSRF_HINT: &str = "A non-empty X-CSRF-Token header is required to receive basic-auth challenges";

/// Tokens and passwords.
pub(super) struct Auth {
    users: Vec<(String, String)>,
    tokens: Mutex<HashMap<String, String>>,
    /// Authorization codes, each good for one token.
    codes: Mutex<HashMap<String, String>>,
}

fn random_secret() -> String {
    let mut bytes = uuid::Uuid::new_v4().into_bytes().to_vec();
    bytes.extend(uuid::Uuid::new_v4().into_bytes());
    format!("sha256~{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Auth {
    pub fn new(users: Vec<(String, String)>, admin_token: String) -> Self {
        let tokens = HashMap::from([(admin_token, "system:admin".to_owned())]);
        Self { users, tokens: Mutex::new(tokens), codes: Mutex::default() }
    }

    /// Who holds this token.
    pub fn holder(&self, token: &str) -> Option<String> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// The user of a request; 401 for a token that nobody holds.
    pub fn user(&self, headers: &HeaderMap) -> Result<User, ApiError> {
        match bearer(headers) {
            None => Ok(User::anonymous()),
            Some(token) => self.holder(token).map(|name| User::named(&name)).ok_or_else(ApiError::unauthorized),
        }
    }

    fn issue(&self, user: &str) -> String {
        let token = random_secret();
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), user.to_owned());
        token
    }

    /// The user whom the Basic credentials name, if the password is right.
    fn login(&self, headers: &HeaderMap) -> Option<String> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        let known = self.users.iter().any(|(n, p)| n == name && p == password);
        // The login name of the bootstrap administrator differs from the user that it becomes.
        known.then(|| if name == "kubeadmin" { "kube:admin".to_owned() } else { name.to_owned() })
    }
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

/// `/oauth/authorize`: Basic credentials for a token or a code.
pub(super) fn authorize(state: &State, request: &Request<Body>) -> Response {
    let query = Query::parse(request.uri().query());
    let redirect = format!("{}/oauth/token/implicit", state.url);
    if query.get("client_id") != Some(CHALLENGING_CLIENT) {
        let error = json!({
            "error": "unauthorized_client",
            "error_description": "The client is not authorized to request a token using this method.",
        });
        return json_response(400, &error);
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
            let code = random_secret();
            state.auth.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), user);
            format!("{redirect}?code={code}{echo}")
        }
        _ => format!("{redirect}?error=unsupported_response_type{echo}"),
    };
    with_header(text_response(302, ""), header::LOCATION, &location)
}

/// `/oauth/token`: a code for a token; the parameters are in the query.
pub(super) fn token(state: &State, request: &Request<Body>) -> Response {
    let query = Query::parse(request.uri().query());
    let code = query.get("code").unwrap_or_default();
    let user = state.auth.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(code);
    match user {
        Some(user) => json_response(
            200,
            &json!({
                "access_token": state.auth.issue(&user),
                "expires_in": EXPIRES_IN,
                "scope": "user:full",
                "token_type": "Bearer",
            }),
        ),
        None => json_response(400, &json!({"error": "invalid_grant", "error_description": "unknown code"})),
    }
}

fn groups() -> Value {
    json!(["system:authenticated", "system:masters"])
}

/// `users/~`.
pub(super) fn user_object(user: &str) -> Value {
    json!({
        "kind": "User",
        "apiVersion": "user.openshift.io/v1",
        "metadata": {"name": user},
        "identities": [],
        "groups": groups(),
    })
}

fn info(user: &User) -> Value {
    json!({"username": user.name, "uid": user.name, "groups": user.groups})
}

/// Why a review asks for nothing that can be answered.
fn refused(def: &ResourceDef, spec: &Value) -> Option<ApiError> {
    let refuse = |field: &str, message: String| {
        let cause = Cause::new(field, "FieldValueInvalid", message);
        let mut error = ApiError::invalid_fields(def, "", std::slice::from_ref(&cause));
        error.message = format!(".{} \"\" is invalid: {field}: {}", def.group, cause.message);
        if let Some(details) = error.details.as_mut().and_then(Value::as_object_mut) {
            details.shift_remove("kind");
        }
        Some(error)
    };
    if def.plural == "tokenreviews" {
        let message = "token is required for TokenReview in authentication";
        return spec["token"].as_str().is_none_or(str::is_empty).then(|| ApiError::bad_request(message));
    }
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() && path.is_object() {
        let text = |field: &str| path[field].as_str().unwrap_or_default().to_owned();
        let shown = json!({"Path": text("path"), "Verb": text("verb")});
        let message = format!("Invalid value: {shown}: cannot be specified in combination with resourceAttributes");
        return refuse("spec.nonResourceAttributes", message);
    }
    if !resource.is_object() && !path.is_object() {
        let message =
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
        return refuse("spec.resourceAttributes", message.to_owned());
    }
    let nobody = spec["user"].as_str().is_none_or(str::is_empty) && spec["groups"].as_array().is_none_or(Vec::is_empty);
    if !def.plural.starts_with("self") && nobody {
        return refuse("spec.user", "Invalid value: \"\": at least one of user or group must be specified".to_owned());
    }
    None
}

/// The user whom a review is about.
fn reviewed(def: &ResourceDef, spec: &Value, asking: &User) -> User {
    if def.plural.starts_with("self") {
        return asking.clone();
    }
    let groups = spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    User { name: spec["user"].as_str().unwrap_or_default().to_owned(), groups: groups.collect() }
}

fn access(state: &State, user: &User, spec: &Value) -> Value {
    let resource = &spec["resourceAttributes"];
    let text = |field: &str| resource[field].as_str().unwrap_or_default();
    let allowed = if resource.is_object() {
        let wish = Wish {
            verb: text("verb"),
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
        };
        state.may(user, &wish)
    } else {
        user.is_master()
    };
    let reason = if allowed { "the lab's roles allow it" } else { "" };
    json!({"allowed": allowed, "reason": reason})
}

/// Answers a question about a user or a token.
pub(super) fn review(state: &State, def: &Arc<ResourceDef>, mut body: Value, user: &User) -> Result<Value, ApiError> {
    let questions = def.plural.ends_with("accessreviews") || def.plural == "tokenreviews";
    if let Some(error) = refused(def, &body["spec"]).filter(|_| questions) {
        return Err(error);
    }
    let status = match def.plural.as_str() {
        "tokenreviews" => {
            let token = body["spec"]["token"].as_str().unwrap_or_default();
            match state.auth.holder(token) {
                Some(holder) => json!({"authenticated": true, "user": info(&User::named(&holder))}),
                None => json!({"user": {}, "error": "invalid bearer token"}),
            }
        }
        "selfsubjectreviews" => json!({"userInfo": info(user)}),
        "selfsubjectrulesreviews" => {
            let namespace = body["spec"]["namespace"].as_str().unwrap_or_default().to_owned();
            body["spec"] = json!({});
            json!({
                "resourceRules": state.rules(user, &namespace),
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            })
        }
        _ => access(state, &reviewed(def, &body["spec"], user), &body["spec"]),
    };
    body["kind"] = json!(def.kind);
    body["apiVersion"] = json!(def.api_version());
    body["metadata"]["creationTimestamp"] = if def.plural == "selfsubjectreviews" { json!(now()) } else { Value::Null };
    body["status"] = status;
    Ok(body)
}

/// `serviceaccounts/NAME/token`.
pub(super) fn service_account_token(state: &State, key: &ObjectKey, mut body: Value) -> Result<Response, ApiError> {
    if state.store.get(key).is_none() {
        let message = format!("serviceaccounts \"{}\" not found", key.name);
        let details = json!({"name": key.name, "kind": "serviceaccounts"});
        return Err(ApiError { details: Some(details), ..ApiError::new(404, "NotFound", message) });
    }
    let token = state.auth.issue(&format!("system:serviceaccount:{}:{}", key.namespace, key.name));
    body["kind"] = json!("TokenRequest");
    body["apiVersion"] = json!("authentication.k8s.io/v1");
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    body["status"] = json!({"token": token, "expirationTimestamp": expires});
    Ok(json_response(201, &body))
}
