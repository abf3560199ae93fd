//! Who asks: bearer tokens, passwords, and reviews.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::error::{ApiError, json_response};
use super::rbac::{BOOTSTRAP, User, Wish};
use super::resources::ResourceDef;
use super::schema::validate::Cause;
use super::store::ObjectKey;
use super::write::now;
use super::{State, oauth, websocket};

/// Lifetime of a service account's token that asks for none, in seconds. The lab forgets no token.
const TOKEN_SECONDS: i64 = 3600;

/// Tokens and passwords.
pub(super) struct Auth {
    users: Vec<(String, String)>,
    tokens: Mutex<HashMap<String, String>>,
    pub codes: oauth::Codes,
}

pub(super) fn random_secret() -> String {
    let mut bytes = uuid::Uuid::new_v4().into_bytes().to_vec();
    bytes.extend(uuid::Uuid::new_v4().into_bytes());
    format!("sha256~{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return websocket::bearer(headers) };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

impl Auth {
    pub fn new(users: Vec<(String, String)>, admin_token: String) -> Self {
        let tokens = HashMap::from([(admin_token, "system:admin".to_owned())]);
        Self { users, tokens: Mutex::new(tokens), codes: oauth::Codes::default() }
    }

    /// Who holds this token.
    pub fn holder(&self, token: &str) -> Option<String> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// The user of a request; 401 for a token that nobody holds.
    pub fn user(&self, headers: &HeaderMap) -> Result<User, ApiError> {
        match bearer(headers) {
            None => Ok(User::anonymous()),
            Some(token) => self.holder(&token).map(|name| User::named(&name)).ok_or_else(ApiError::unauthorized),
        }
    }

    pub fn issue(&self, user: &str) -> String {
        let token = random_secret();
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), user.to_owned());
        token
    }

    /// Tokens and who holds them.
    pub fn kept(&self) -> Value {
        json!(*self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Beside those that there are.
    pub fn restore(&self, kept: &Value) {
        let holders = kept.as_object().into_iter().flatten();
        let holders = holders.filter_map(|(token, holder)| Some((token.clone(), holder.as_str()?.to_owned())));
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).extend(holders);
    }

    /// The user whom the Basic credentials name, if the password is right.
    pub fn login(&self, headers: &HeaderMap) -> Option<String> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        let known = self.users.iter().any(|(n, p)| n == name && p == password);
        // The login name of the bootstrap administrator differs from the user that it becomes.
        known.then(|| if name == "kubeadmin" { BOOTSTRAP.to_owned() } else { name.to_owned() })
    }
}

/// What `users/~` tells who has not logged in.
pub(super) const NOBODY: &str = "users.user.openshift.io \"~\" is forbidden: User \"system:anonymous\" cannot get resource \
     \"users\" in API group \"user.openshift.io\" at the cluster scope";

/// `users/~`.
pub(super) fn user_object(user: &User) -> Value {
    // OpenShift shows them sorted (openshift-apiserver, `pkg/user/apiserver/registry/user/etcd/etcd.go`).
    let groups: std::collections::BTreeSet<&String> = user.groups.iter().collect();
    json!({
        "kind": "User",
        "apiVersion": "user.openshift.io/v1",
        "metadata": {"name": user.name},
        "identities": [],
        "groups": groups,
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
    let seconds = body["spec"]["expirationSeconds"].as_i64().unwrap_or(TOKEN_SECONDS);
    let least = 600;
    if seconds < least {
        let why = format!("Invalid value: {seconds}: may not specify a duration less than 10 minutes");
        let cause = json!({"reason": "FieldValueInvalid", "message": why, "field": "spec.expirationSeconds"});
        let details = json!({"group": "authentication.k8s.io", "kind": "TokenRequest", "causes": [cause]});
        let message = format!("TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: {why}");
        return Err(ApiError { details: Some(details), ..ApiError::new(422, "Invalid", message) });
    }
    body["spec"]["expirationSeconds"] = json!(seconds);
    if body["spec"]["audiences"].as_array().is_none_or(Vec::is_empty) {
        body["spec"]["audiences"] = json!(["https://kubernetes.default.svc"]);
    }
    body["metadata"] = json!({"name": key.name, "namespace": key.namespace, "creationTimestamp": now()});
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    body["status"] = json!({"token": token, "expirationTimestamp": expires});
    Ok(json_response(201, &body))
}
