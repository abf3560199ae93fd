//! One question to one webhook: an AdmissionReview over HTTPS, and what its answer means.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::State;
use super::super::error::ApiError;
use super::super::resource_handlers::Call;
use super::super::store::metadata;
use super::matching::{Hook, Phase};

/// Of a webhook that says nothing.
const DEFAULT_TIMEOUT_SECONDS: u64 = 10;
/// The longest that a webhook may ask for.
const LONGEST_TIMEOUT_SECONDS: u64 = 30;

/// Clients by the CA that they trust (`caBundle` as it stands).
#[derive(Debug, Default)]
pub(in crate::apiserver) struct Clients(Mutex<HashMap<String, reqwest::Client>>);

/// What a webhook is asked about.
pub(super) struct Question<'a> {
    pub call: &'a Call,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: &'static str,
    /// Null for DELETE.
    pub object: Value,
    /// Null for CREATE.
    pub old: Value,
}

impl Clients {
    fn get(&self, bundle: &str) -> Result<reqwest::Client, String> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(bundle) {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        if !bundle.is_empty() {
            let pem = STANDARD.decode(bundle).map_err(|e| format!("unable to load root certificates: {e}"))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|e| format!("unable to load root certificates: {e}"))?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(|e| e.to_string())?;
        clients.insert(bundle.to_owned(), client.clone());
        Ok(client)
    }
}

/// The innermost cause: `connection refused` says more than `error sending request`.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn review(question: &Question<'_>, uid: &str) -> Value {
    let (call, def) = (question.call, &question.call.def);
    let kind = json!({"group": def.group, "version": def.version, "kind": def.kind});
    let resource = json!({"group": def.group, "version": def.version, "resource": def.plural});
    let name = [&question.object, &question.old].into_iter().map(|o| metadata(o, "name")).find(|name| !name.is_empty());
    let options = match question.operation {
        "CREATE" => "CreateOptions",
        "UPDATE" => "UpdateOptions",
        _ => "DeleteOptions",
    };
    let mut options = json!({"kind": options, "apiVersion": "meta.k8s.io/v1"});
    if let Some(manager) = call.query.get("fieldManager") {
        options["fieldManager"] = json!(manager);
    }
    let mut request = json!({
        "uid": uid,
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": name.unwrap_or_default(),
        "operation": question.operation,
        "userInfo": {"username": call.user.name, "groups": call.user.groups},
        "object": question.object,
        "oldObject": question.old,
        "dryRun": call.is_dry_run(),
        "options": options,
    });
    if let Some(below) = call.target.subresource.first() {
        request["subResource"] = json!(below);
        request["requestSubResource"] = json!(below);
    }
    if let Some(namespace) = call.target.namespace.as_deref().filter(|_| def.namespaced) {
        request["namespace"] = json!(namespace);
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

/// Where the webhook is, and a client that trusts it.
fn address(state: &State, hook: &Hook) -> Result<(String, reqwest::Client), String> {
    let config = &hook.spec()["clientConfig"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(url) = config["url"].as_str() {
        return Ok((url.to_owned(), state.webhook_clients.get(&text(&config["caBundle"]))?));
    }
    let (namespace, name) = (text(&config["service"]["namespace"]), text(&config["service"]["name"]));
    let backend =
        state.backend(&namespace, &name).ok_or_else(|| format!("no endpoints available for service \"{name}\""))?;
    let path = text(&config["service"]["path"]);
    Ok((format!("{}/{}", backend.base_url.trim_end_matches('/'), path.trim_start_matches('/')), backend.client.clone()))
}

async fn send(state: &State, hook: &Hook, review: &Value) -> Result<Value, String> {
    let (url, client) = address(state, hook)?;
    let seconds = hook.spec()["timeoutSeconds"].as_u64().unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let seconds = seconds.clamp(1, LONGEST_TIMEOUT_SECONDS);
    let asked = format!("{url}{}timeout={seconds}s", if url.contains('?') { "&" } else { "?" });
    let posted = client
        .post(&asked)
        .timeout(Duration::from_secs(seconds))
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(http::header::ACCEPT, "application/json, */*")
        .body(review.to_string())
        .send()
        .await;
    let failed = |why: String| format!("failed to call webhook: Post \"{asked}\": {why}");
    let late = "context deadline exceeded";
    let answer = posted.map_err(|e| failed(if e.is_timeout() { late.to_owned() } else { cause(&e) }))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!(
            "failed to call webhook: the server rejected our request for an unknown reason ({status})"
        ));
    }
    let body = answer.bytes().await.map_err(|e| failed(cause(&e)))?;
    let review: Value = serde_json::from_slice(&body).map_err(|e| format!("received invalid webhook response: {e}"))?;
    let response = &review["response"];
    if !response.is_object() {
        return Err("received invalid webhook response: webhook response was absent".to_owned());
    }
    Ok(response.clone())
}

/// Asks one webhook. `Some`: the JSON patch that it wants; an error: it refuses, or could not be asked
/// and must be.
pub(super) async fn ask(
    state: &State,
    hook: &Hook,
    question: &Question<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Value>, ApiError> {
    let name = hook.name();
    if question.call.is_dry_run() && !matches!(hook.spec()["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")) {
        return Err(ApiError::bad_request(format!("admission webhook \"{name}\" does not support dry run")));
    }
    let uid = uuid::Uuid::new_v4().to_string();
    let answer = match send(state, hook, &review(question, &uid)).await {
        Ok(answer) if answer["uid"] == json!(uid) => Ok(answer),
        Ok(answer) => Err(format!(
            "received invalid webhook response: expected response.uid=\"{uid}\", got \"{}\"",
            answer["uid"].as_str().unwrap_or_default()
        )),
        Err(why) => Err(why),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) if hook.may_fail() => {
            tracing::warn!("webhook {name} could not be asked, which it says is no matter: {why}");
            return Ok(None);
        }
        Err(why) => {
            let message = format!("failed calling webhook \"{name}\": {why}");
            let details = json!({"causes": [{"message": message}]});
            let error = ApiError::new(500, "InternalError", format!("Internal error occurred: {message}"));
            return Err(ApiError { details: Some(details), ..error });
        }
    };
    let said = answer["warnings"].as_array().into_iter().flatten();
    warnings.extend(said.filter_map(Value::as_str).map(str::to_owned));
    if answer["allowed"] != json!(true) {
        return Err(denied(name, &answer["status"]));
    }
    let patch = answer["patch"].as_str().filter(|_| hook.phase == Phase::Mutating);
    let Some(patch) = patch else { return Ok(None) };
    let decoded = STANDARD.decode(patch).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    decoded.map(Some).ok_or_else(|| {
        ApiError::new(500, "InternalError", format!("Internal error occurred: webhook \"{name}\" sent no JSON patch"))
    })
}

/// The refusal, in the webhook's own words.
fn denied(name: &str, status: &Value) -> ApiError {
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let message = match (text("message"), text("reason")) {
        (Some(why), _) | (None, Some(why)) => format!("admission webhook \"{name}\" denied the request: {why}"),
        (None, None) => format!("admission webhook \"{name}\" denied the request without explanation"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    let reason = match text("reason") {
        Some("Forbidden") => "Forbidden",
        Some("Invalid") => "Invalid",
        Some("Conflict") => "Conflict",
        Some("AlreadyExists") => "AlreadyExists",
        Some("NotFound") => "NotFound",
        Some("InternalError") => "InternalError",
        _ if code == Some(403) => "Forbidden",
        _ => "BadRequest",
    };
    let details = status.get("details").filter(|details| details.is_object()).cloned();
    ApiError { details, ..ApiError::new(code.unwrap_or(400), reason, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_webhooks_words_and_code() {
        let error = denied("plans", &json!({"code": 422, "message": "no such provider"}));
        assert_eq!((error.code, error.reason), (422, "BadRequest"));
        assert_eq!(error.message, "admission webhook \"plans\" denied the request: no such provider");
        assert_eq!(denied("p", &json!({})).message, "admission webhook \"p\" denied the request without explanation");
    }
}
