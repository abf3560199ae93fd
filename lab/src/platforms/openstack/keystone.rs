//! Keystone: tokens, the catalogue, and the few lists that clients ask for.

use axum::http::Method;
use serde_json::{Value, json};

use super::model::{State, uuid};
use super::wire::{Reply, Request, Service, text};
use super::{
    CREDENTIAL_ID, CREDENTIAL_NAME, CREDENTIAL_SECRET, Cloud, PASSWORD, PROJECT, PROJECT_ID, REGION, USER, USER_ID,
};

const HERE: Service = Service::Identity;
/// How long a token is said to hold.
const LIFETIME: jiff::SignedDuration = jiff::SignedDuration::from_hours(4);

/// Version documents; nobody needs a token for them.
pub fn discovery(cloud: &Cloud, path: &[&str]) -> Option<Reply> {
    let version = json!({
        "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{}/identity/v3/", cloud.base)}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    });
    match path {
        [] => Some(Reply::json(300, &json!({"versions": {"values": [version]}}))),
        ["v3"] => Some(Reply::json(200, &json!({"version": version}))),
        _ => None,
    }
}

fn denied() -> Reply {
    HERE.error(401, "The request you have made requires authentication.")
}

fn is_domain(domain: &Value) -> bool {
    match (domain["id"].as_str(), domain["name"].as_str()) {
        (Some(id), _) => id == "default",
        (None, Some(name)) => name == "Default",
        (None, None) => false,
    }
}

/// Whether a named user of a domain, or a user by id, is the one of this cloud.
fn is_user(user: &Value) -> bool {
    match user["id"].as_str() {
        Some(id) => id == USER_ID,
        None => text(user, "/name") == USER && is_domain(&user["domain"]),
    }
}

fn is_project(project: &Value) -> bool {
    match project["id"].as_str() {
        Some(id) => id == PROJECT_ID,
        None => text(project, "/name") == PROJECT && is_domain(&project["domain"]),
    }
}

/// `POST /v3/auth/tokens`.
pub fn login(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    let auth = &request.body["auth"];
    let identity = &auth["identity"];
    let Some(method) = identity["methods"].get(0).and_then(Value::as_str) else {
        return HERE.error(400, "Expecting to find identity in auth.");
    };
    let own = match method {
        "password" => {
            let user = &identity["password"]["user"];
            is_user(user) && text(user, "/password") == PASSWORD
        }
        "application_credential" => {
            let credential = &identity["application_credential"];
            let known = match credential["id"].as_str() {
                Some(id) => id == CREDENTIAL_ID,
                None => text(credential, "/name") == CREDENTIAL_NAME && is_user(&credential["user"]),
            };
            known && text(credential, "/secret") == CREDENTIAL_SECRET && auth.get("scope").is_none()
        }
        "token" => state.tokens.contains_key(text(&identity["token"], "/id")),
        _ => false,
    };
    let project = &auth["scope"]["project"];
    if !own || (project.is_object() && !is_project(project)) {
        return denied();
    }
    let scoped = project.is_object() || method == "application_credential";
    let token = format!("gAAAAAB{}", crate::api::names::random_chars(120));
    state.tokens.insert(token.clone(), scoped);
    Reply::json(201, &json!({"token": describe(cloud, method, scoped)})).with("x-subject-token", token)
}

fn describe(cloud: &Cloud, method: &str, scoped: bool) -> Value {
    let now = jiff::Timestamp::now();
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let domain = json!({"id": "default", "name": "Default"});
    let mut token = json!({
        "methods": [method], "audit_ids": [uuid()], "issued_at": time(now),
        "expires_at": time(now.checked_add(LIFETIME).unwrap_or(now)),
        "user": {"id": USER_ID, "name": USER, "domain": domain, "password_expires_at": null},
    });
    if scoped {
        token["project"] = json!({"id": PROJECT_ID, "name": PROJECT, "domain": domain});
        token["is_domain"] = json!(false);
        token["roles"] = json!([{"id": "9fe2ff9ee4384b1894a90878d3e92bab", "name": "member"}]);
        token["catalog"] = catalogue(cloud);
    }
    token
}

fn catalogue(cloud: &Cloud) -> Value {
    let base = &cloud.base;
    let services = [
        ("identity", "keystone", format!("{base}/identity")),
        ("compute", "nova", format!("{base}/compute/v2.1")),
        ("volumev3", "cinderv3", format!("{base}/volume/v3/{PROJECT_ID}")),
        ("block-storage", "cinder", format!("{base}/volume/v3/{PROJECT_ID}")),
        ("image", "glance", format!("{base}/image")),
        ("network", "neutron", format!("{base}/network")),
    ];
    services
        .iter()
        .map(|(kind, name, url)| {
            let endpoints: Vec<Value> = ["public", "internal", "admin"]
                .iter()
                .map(|interface| {
                    json!({"id": format!("{name}-{interface}"), "interface": interface, "region": REGION, "region_id": REGION, "url": url})
                })
                .collect();
            json!({"id": name, "type": kind, "name": name, "endpoints": endpoints})
        })
        .collect()
}

/// Everything else; the caller has a token.
pub fn handle(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    let region = json!({"id": REGION, "description": "", "parent_region_id": null, "links": {}});
    let project = json!({
        "id": PROJECT_ID, "name": PROJECT, "domain_id": "default", "parent_id": "default", "enabled": true,
        "is_domain": false, "description": "", "tags": [], "options": {},
    });
    let credential = json!({
        "id": CREDENTIAL_ID, "name": CREDENTIAL_NAME, "project_id": PROJECT_ID, "description": null,
        "roles": [{"id": "9fe2ff9ee4384b1894a90878d3e92bab", "name": "member"}], "expires_at": null, "unrestricted": false,
    });
    let list = |key: &str, one: &Value| Reply::json(200, &json!({key: [one], "links": {"next": null}}));
    match request.path.as_slice() {
        ["v3", "auth", "tokens"] => {
            let subject = request.headers.get("x-subject-token").and_then(|t| t.to_str().ok()).unwrap_or_default();
            let Some(scoped) = state.tokens.get(subject).copied() else { return HERE.missing("Token", "") };
            if request.is(&Method::DELETE) {
                state.tokens.remove(subject);
                return Reply::empty(204);
            }
            Reply::json(200, &json!({"token": describe(cloud, "password", scoped)})).with("x-subject-token", subject)
        }
        ["v3", "regions"] => list("regions", &region),
        ["v3", "regions", REGION] => Reply::json(200, &json!({"region": region})),
        ["v3", "regions", other] => HERE.missing("region", other),
        ["v3", "projects"] | ["v3", "auth", "projects"] | ["v3", "users", USER_ID, "projects"] => {
            list("projects", &project)
        }
        ["v3", "projects", PROJECT_ID] => Reply::json(200, &json!({"project": project})),
        ["v3", "users", USER_ID, "application_credentials"] => {
            let wanted = request.param("name").is_none_or(|name| name == CREDENTIAL_NAME);
            let found: Vec<&Value> = if wanted { vec![&credential] } else { Vec::new() };
            Reply::json(200, &json!({"application_credentials": found, "links": {"next": null}}))
        }
        ["v3", "users", USER_ID, "application_credentials", CREDENTIAL_ID] => {
            Reply::json(200, &json!({"application_credential": credential}))
        }
        other => HERE.missing("resource", &other.join("/")),
    }
}
