//! The inventory service: what MTV's collectors know, as REST.
//!
//! Loading shows as 404 and then 206, as the real one does (Forklift's inventory web handlers).
//! Key names and casing are those of MTV 2.11; each handler is a view of [`InventoryDb`].

mod demand;
pub mod model;
pub mod own;
mod release;
mod routes;
mod views;

pub use demand::Demand;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use serde_json::{Value, json};

use crate::gate::{Gate, Refused};
use crate::inventory::model::{InvVm, Inventory};
use crate::ports::LiveInventory;
use views::Detail;

/// One provider's part.
#[derive(Debug, Clone)]
pub struct Entry {
    pub type_: String,
    pub namespace: String,
    pub name: String,
    /// The Provider as last seen.
    pub object: Value,
    /// `None` while it is being loaded.
    pub content: Option<Arc<Inventory>>,
    pub demand: Arc<Demand>,
}

/// Everything collected, by Provider uid.
#[derive(Default)]
pub struct InventoryDb {
    entries: RwLock<HashMap<String, Entry>>,
}

impl InventoryDb {
    /// Registers a provider whose inventory is still being loaded, or updates its object.
    pub fn register(&self, uid: &str, mut entry: Entry) {
        if let Ok(mut entries) = self.entries.write() {
            if let Some(known) = entries.get(uid) {
                entry.content.clone_from(&known.content);
            }
            entries.insert(uid.to_owned(), entry);
        }
    }

    /// Stores what a collector saw.
    pub fn fill(&self, uid: &str, content: Arc<Inventory>) {
        if let Ok(mut entries) = self.entries.write()
            && let Some(entry) = entries.get_mut(uid)
        {
            entry.content = Some(content);
        }
    }

    /// Drops a provider; its REST resources answer 404 from now on.
    pub fn remove(&self, uid: &str) {
        if let Ok(mut entries) = self.entries.write() {
            entries.remove(uid);
        }
    }

    /// The loaded content of a provider.
    pub fn content(&self, uid: &str) -> Option<Arc<Inventory>> {
        let entries = self.entries.read().ok()?;
        let entry = entries.get(uid)?;
        entry.demand.look();
        entry.content.clone()
    }

    /// The same for somebody who only looks around: for that the platform is not asked more often.
    pub fn content_as_it_is(&self, uid: &str) -> Option<Arc<Inventory>> {
        self.entries.read().ok()?.get(uid)?.content.clone()
    }

    /// The first VM, of whichever provider, that `wanted` chooses.
    pub fn find_vm(&self, wanted: impl Fn(&InvVm) -> bool) -> Option<InvVm> {
        let entries = self.entries.read().ok()?;
        entries
            .values()
            .filter_map(|e| e.content.as_ref())
            .flat_map(|c| &c.vms)
            .find(|vm| wanted(vm))
            .map(|vm| vm.as_ref().clone())
    }

    fn entry(&self, uid: &str) -> Option<Entry> {
        let entry = self.entries.read().ok()?.get(uid).cloned()?;
        entry.demand.look();
        Some(entry)
    }

    fn all(&self) -> Vec<(String, Entry)> {
        self.entries.read().map(|e| e.iter().map(|(k, v)| (k.clone(), v.clone())).collect()).unwrap_or_default()
    }
}

#[derive(Clone)]
struct Service {
    db: Arc<InventoryDb>,
    /// Of OpenShift's Providers.
    live: Arc<dyn LiveInventory>,
    gate: Arc<Gate>,
    /// Of the MTV that is played: 2.`minor`.
    minor: u32,
}

/// The REST service of MTV 2.`minor`; `gate` judges bearer tokens.
pub fn router(db: Arc<InventoryDb>, live: Arc<dyn LiveInventory>, gate: Arc<Gate>, minor: u32) -> Router {
    Router::new()
        .route("/providers", get(providers))
        .route("/providers/{type}", get(providers_of))
        .route("/providers/{type}/{uid}", get(provider))
        .route("/providers/{type}/{uid}/{collection}", get(collection))
        .route("/providers/{type}/{uid}/{collection}/{id}", get(object))
        // gin has no 405 here (`HandleMethodNotAllowed` is off).
        .route_layer(axum::middleware::from_fn(routes::only_known))
        .method_not_allowed_fallback(routes::none)
        .fallback(routes::none)
        .with_state(Service { db, live, gate, minor })
}

impl Service {
    /// Who calls, or the answer to a stranger.
    async fn caller(&self, headers: &HeaderMap) -> Result<UserInfo, Box<Response>> {
        let header = headers.get("authorization").and_then(|h| h.to_str().ok()).unwrap_or_default();
        let token = header.strip_prefix("Bearer ").unwrap_or_default();
        self.gate.caller(token).await.map_err(|refused| Box::new(refusal(&refused)))
    }

    /// Lets a caller in who may list Providers in `namespace`; empty: in all.
    async fn may_list(&self, headers: &HeaderMap, namespace: &str) -> Result<(), Box<Response>> {
        let caller = self.caller(headers).await?;
        self.may(&caller, "list", namespace, "").await
    }

    async fn may(&self, caller: &UserInfo, verb: &str, namespace: &str, name: &str) -> Result<(), Box<Response>> {
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let what = ResourceAttributes {
            group: Some("forklift.konveyor.io".to_owned()),
            resource: Some("providers".to_owned()),
            verb: Some(verb.to_owned()),
            namespace: filled(namespace),
            name: filled(name),
            ..ResourceAttributes::default()
        };
        self.gate.may(caller, what).await.map_err(|refused| Box::new(refusal(&refused)))
    }

    /// The entry of a provider of this type, or the answer that says why not.
    async fn find(&self, headers: &HeaderMap, type_: &str, uid: &str) -> Result<Entry, Box<Response>> {
        let caller = self.caller(headers).await?;
        let entry = match self.db.entry(uid) {
            None => return Err(Box::new((StatusCode::NOT_FOUND, [("X-Reason", "ProviderNotFound")]).into_response())),
            Some(entry) if entry.type_ != type_ => return Err(Box::new(StatusCode::NOT_FOUND.into_response())),
            Some(entry) => entry,
        };
        self.may(&caller, "get", &entry.namespace, &entry.name).await?;
        Ok(entry)
    }
}

/// 401, 403 with the reason in a header, 500: all with an empty body.
fn refusal(refused: &Refused) -> Response {
    match refused {
        Refused::Stranger => StatusCode::UNAUTHORIZED.into_response(),
        Refused::Forbidden(why) => (StatusCode::FORBIDDEN, [("forklift-error-message", why.clone())]).into_response(),
        Refused::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn ok(value: &Value) -> Response {
    axum::Json(value).into_response()
}

type Fields = Query<HashMap<String, String>>;

async fn providers(State(service): State<Service>, headers: HeaderMap, Query(query): Fields) -> Response {
    let namespace = query.get("namespace").map_or("", String::as_str);
    if let Err(answer) = service.may_list(&headers, namespace).await {
        return *answer;
    }
    let mut by_type =
        json!({"openshift": [], "vsphere": [], "ovirt": [], "openstack": [], "ova": [], "hyperv": [], "ec2": []});
    for (uid, entry) in service.db.all() {
        if let Some(list) = by_type[entry.type_.as_str()].as_array_mut() {
            list.push(views::provider(&uid, &entry, service.live.as_ref()).await);
        }
    }
    ok(&by_type)
}

async fn providers_of(
    State(service): State<Service>,
    headers: HeaderMap,
    Path(type_): Path<String>,
    Query(query): Fields,
) -> Response {
    let namespace = query.get("namespace").map_or("", String::as_str);
    if let Err(answer) = service.may_list(&headers, namespace).await {
        return *answer;
    }
    let all = service.db.all();
    let mut list = Vec::new();
    for (uid, entry) in all.iter().filter(|(_, entry)| entry.type_ == type_) {
        list.push(views::provider(uid, entry, service.live.as_ref()).await);
    }
    ok(&Value::Array(list))
}

async fn provider(
    State(service): State<Service>,
    headers: HeaderMap,
    Path((type_, uid)): Path<(String, String)>,
) -> Response {
    match service.find(&headers, &type_, &uid).await {
        Ok(entry) => ok(&views::provider(&uid, &entry, service.live.as_ref()).await),
        Err(answer) => *answer,
    }
}

/// The items of a collection that `wanted` chooses, as far as they are asked for.
async fn items(
    service: &Service,
    entry: &Entry,
    (uid, collection): (&str, &str),
    detail: Detail,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>, Box<Response>> {
    if entry.type_ == "openshift" {
        let items = service.live.collection(&entry.object, collection).await;
        let items = items.ok_or_else(|| Box::new(StatusCode::INTERNAL_SERVER_ERROR.into_response()))?;
        let place = ("openshift", uid, collection);
        return Ok(items
            .iter()
            .filter(|item| wanted(item))
            .map(|item| views::item(place, item, detail, service.minor))
            .collect());
    }
    let content = entry.content.as_ref().ok_or_else(|| Box::new(StatusCode::PARTIAL_CONTENT.into_response()))?;
    let place = (entry.type_.as_str(), uid, collection);
    let all = content.collections.get(collection).ok_or_else(|| Box::new(StatusCode::NOT_FOUND.into_response()))?;
    Ok(all.iter().filter(|item| wanted(item)).map(|item| views::item(place, item, detail, service.minor)).collect())
}

async fn collection(
    State(service): State<Service>,
    headers: HeaderMap,
    Path((type_, uid, collection)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let entry = match service.find(&headers, &type_, &uid).await {
        Ok(entry) => entry,
        Err(answer) => return *answer,
    };
    let Some(detail) = Detail::parse(query.get("detail").map(String::as_str)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let name = query.get("name").map(String::as_str);
    let wanted = |item: &Value| name.is_none_or(|name| item["name"].as_str() == Some(name));
    match items(&service, &entry, (&uid, &collection), detail, wanted).await {
        Ok(list) => ok(&Value::Array(list)),
        Err(answer) => *answer,
    }
}

async fn object(
    State(service): State<Service>,
    headers: HeaderMap,
    Path((type_, uid, collection, id)): Path<(String, String, String, String)>,
) -> Response {
    let entry = match service.find(&headers, &type_, &uid).await {
        Ok(entry) => entry,
        Err(answer) => return *answer,
    };
    let wanted = |item: &Value| item["id"].as_str() == Some(&id);
    match items(&service, &entry, (&uid, &collection), Detail::All, wanted).await {
        Ok(list) => match list.first() {
            Some(found) => ok(found),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Err(answer) => *answer,
    }
}
