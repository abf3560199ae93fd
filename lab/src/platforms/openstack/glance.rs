//! Glance: images. Objects come without a wrapper, custom properties as texts beside the others,
//! refusals as HTML.

use axum::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use super::model::{Image, Next, Pending, State, later_z, now_z, uuid};
use super::wire::{Reply, Request, Service, page, text};
use super::{Cloud, PROJECT_ID, times};

const HERE: Service = Service::Image;

/// An image without data.
pub(super) fn blank(name: &str) -> Image {
    Image {
        id: uuid(),
        name: name.to_owned(),
        status: "queued",
        disk_format: "raw".to_owned(),
        container_format: "bare".to_owned(),
        visibility: "private".to_owned(),
        size: None,
        virtual_size: None,
        min_disk: 0,
        properties: Default::default(),
        data: Bytes::new(),
        guest: None,
        created: now_z(),
        updated: now_z(),
        pending: None,
    }
}

pub fn discovery(cloud: &Cloud, path: &[&str]) -> Option<Reply> {
    path.is_empty().then(|| {
        let link = json!([{"rel": "self", "href": format!("{}/image/v2/", cloud.base)}]);
        Reply::json(300, &json!({"versions": [{"id": "v2.16", "status": "CURRENT", "links": link}]}))
    })
}

fn view(image: &Image) -> Value {
    let mut view = json!({
        "id": image.id, "name": image.name, "status": image.status, "visibility": image.visibility, "owner": PROJECT_ID,
        "size": image.size, "virtual_size": image.virtual_size, "min_disk": image.min_disk, "min_ram": 0,
        "disk_format": image.disk_format, "container_format": image.container_format, "checksum": null,
        "os_hash_algo": null, "os_hash_value": null, "os_hidden": false, "protected": false, "tags": [],
        "created_at": image.created, "updated_at": image.updated, "file": format!("/v2/images/{}/file", image.id),
        "schema": "/v2/schemas/image", "self": format!("/v2/images/{}", image.id),
    });
    for (key, value) in &image.properties {
        view[key] = json!(value);
    }
    view
}

/// Keys of a listing that are no filter.
const PAGING: [&str; 6] = ["limit", "marker", "sort_key", "sort_dir", "sort", "member_status"];

fn fits(item: &Value, key: &str, wanted: &str) -> bool {
    match (key, wanted.split_once(':')) {
        (key, _) if PAGING.contains(&key) => true,
        ("updated_at" | "created_at", Some((operator, time))) => {
            let own = text(item, &format!("/{key}"));
            match operator {
                "gt" => own > time,
                "gte" => own >= time,
                "lt" => own < time,
                "lte" => own <= time,
                "neq" => own != time,
                _ => own == time,
            }
        }
        ("name", Some(("in", names))) => names.split(',').any(|n| n.trim_matches('"') == text(item, "/name")),
        ("os_hidden", _) => wanted.eq_ignore_ascii_case("true") == item["os_hidden"].as_bool().unwrap_or(false),
        _ => item[key].as_str().is_some_and(|own| own == wanted),
    }
}

pub fn handle(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    let path = match request.path.as_slice() {
        ["v2", rest @ ..] => rest,
        _ => return HERE.missing("resource", &request.path.join("/")),
    };
    match path {
        ["images"] if request.is(&Method::POST) => create(state, request),
        ["images"] => list(state, request),
        ["images", id, rest @ ..] if state.images.contains_key(*id) => image(cloud, state, request, id, rest),
        ["images", id, ..] => HERE.missing("image", id),
        other => HERE.missing("resource", &other.join("/")),
    }
}

fn list(state: &State, request: &Request<'_>) -> Reply {
    // Newest first unless told otherwise.
    let oldest_first = request.param("sort_dir") == Some("asc");
    let mut all: Vec<Value> = state.images.values().map(view).collect();
    if !oldest_first {
        all.reverse();
    }
    all.retain(|item| request.query.iter().all(|(key, wanted)| fits(item, key, wanted)));
    let (items, more) = page(all, request);
    let mut body = json!({"images": items, "first": "/v2/images", "schema": "/v2/schemas/images"});
    if more && let Some(last) = items.last() {
        let limit = request.param("limit").unwrap_or("1000");
        body["next"] = json!(format!("/v2/images?limit={limit}&marker={}", text(last, "/id")));
    }
    Reply::json(200, &body)
}

fn create(state: &mut State, request: &Request<'_>) -> Reply {
    let wanted = &request.body;
    let mut image = blank(text(wanted, "/name"));
    for (key, value) in wanted.as_object().into_iter().flatten() {
        let word = value.as_str().unwrap_or_default().to_owned();
        match key.as_str() {
            "name" | "tags" | "protected" | "id" | "os_hidden" | "min_ram" => {}
            "disk_format" => image.disk_format = word,
            "container_format" => image.container_format = word,
            "visibility" => image.visibility = word,
            "min_disk" => image.min_disk = value.as_u64().unwrap_or_default(),
            _ => {
                image.properties.insert(key.clone(), word);
            }
        }
    }
    let body = view(&image);
    let location = format!("/v2/images/{}", image.id);
    state.images.insert(image.id.clone(), image);
    Reply::json(201, &body)
        .with("location", location)
        .with("openstack-image-import-methods", "glance-direct,web-download")
}

fn image(cloud: &Cloud, state: &mut State, request: &Request<'_>, id: &str, rest: &[&str]) -> Reply {
    let Some(found) = state.images.get_mut(id) else { return HERE.missing("image", id) };
    match rest {
        [] if request.is(&Method::DELETE) => {
            state.images.shift_remove(id);
            Reply::empty(204)
        }
        [] if request.is(&Method::PATCH) => {
            for operation in request.body.as_array().into_iter().flatten() {
                let key = crate::api::text::pointer_key(text(operation, "/path").trim_start_matches('/'));
                match (text(operation, "/op"), key.as_str()) {
                    ("remove", _) => {
                        found.properties.remove(&key);
                    }
                    (_, "name") => found.name = text(operation, "/value").to_owned(),
                    _ => {
                        found.properties.insert(key, text(operation, "/value").to_owned());
                    }
                }
            }
            found.updated = later_z(&found.updated);
            Reply::json(200, &view(found))
        }
        [] => Reply::json(200, &view(found)),
        ["file"] if request.is(&Method::PUT) => {
            found.data = request.raw.clone();
            found.size = Some(request.raw.len() as u64);
            found.status = "active";
            found.updated = later_z(&found.updated);
            Reply::empty(204)
        }
        ["file"] if found.data.is_empty() => Reply::empty(204),
        ["file"] => Reply::typed(200, "application/octet-stream", found.data.clone()),
        ["stage"] => {
            found.data = request.raw.clone();
            found.status = "uploading";
            Reply::empty(204)
        }
        ["import"] => {
            found.size = Some(found.data.len() as u64);
            found.status = "importing";
            found.pending = Some(Pending { at: cloud.after(times::IMAGE), next: Next::Ready });
            Reply::empty(202)
        }
        other => HERE.missing("resource", &other.join("/")),
    }
}
