//! Cinder: volumes, snapshots and types. Times carry no zone; booleans of a volume are partly texts.

use axum::http::Method;
use serde_json::{Value, json};

use super::extras;
use super::glance;
use super::model::{Image, Next, Pending, Snapshot, State, Volume, now_bare, uuid};
use super::nova::texts;
use super::wire::{Reply, Request, Service, listing, number, text};
use super::{Cloud, PROJECT_ID, USER_ID, times};

const HERE: Service = Service::Volume;
/// Newest microversion: 3.70.
pub const NEWEST: u32 = 70;
/// From here on a snapshot of a volume in use needs no force.
const NO_FORCE: u32 = 66;

type Refused = Box<Reply>;

pub fn discovery(cloud: &Cloud, path: &[&str]) -> Option<Reply> {
    matches!(path, [] | ["v3"]).then(|| {
        let link = json!([{"rel": "self", "href": format!("{}/volume/v3/", cloud.base)}]);
        let version = json!({
            "id": "v3.0", "status": "CURRENT", "version": format!("3.{NEWEST}"), "min_version": "3.0",
            "updated": "2023-08-31T00:00:00Z", "links": link,
        });
        Reply::json(200, &json!({"versions": [version]}))
    })
}

fn volume_view(state: &State, volume: &Volume) -> Value {
    let attachments: Vec<Value> = volume
        .attached
        .iter()
        .map(|(server, device, attachment, since)| {
            json!({
                "id": volume.id, "attachment_id": attachment, "volume_id": volume.id, "server_id": server,
                "host_name": null, "device": device, "attached_at": since,
            })
        })
        .collect();
    let kind = state.types.iter().find(|(_, name)| *name == volume.kind).map(|(id, _)| id.as_str());
    let mut view = json!({
        "id": volume.id, "name": volume.name, "description": "", "size": volume.size, "status": volume.status,
        "bootable": if volume.bootable { "true" } else { "false" }, "encrypted": false, "multiattach": false,
        "availability_zone": "nova", "volume_type": volume.kind, "volume_type_id": kind, "snapshot_id": volume.snapshot,
        "source_volid": null, "metadata": volume.metadata, "attachments": attachments, "created_at": volume.created,
        "updated_at": volume.updated, "user_id": USER_ID, "replication_status": null, "consistencygroup_id": null,
        "migration_status": null, "links": [], "os-vol-tenant-attr:tenant_id": PROJECT_ID,
    });
    if !volume.image_metadata.is_empty() {
        view["volume_image_metadata"] = json!(volume.image_metadata);
    }
    view
}

fn snapshot_view(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id, "name": snapshot.name, "description": null, "volume_id": snapshot.volume, "size": snapshot.size,
        "status": snapshot.status, "metadata": snapshot.metadata, "created_at": snapshot.created,
        "updated_at": snapshot.updated,
    })
}

/// Exact filters, `name~` by parts, metadata as a Python dict.
fn filtered(all: Vec<Value>, request: &Request<'_>) -> Vec<Value> {
    let metadata: Value =
        request.param("metadata").and_then(|m| serde_json::from_str(&m.replace('\'', "\"")).ok()).unwrap_or_default();
    all.into_iter()
        .filter(|item| {
            let same = |key: &str| request.param(key).is_none_or(|wanted| item[key] == wanted);
            let part = request.param("name~").is_none_or(|part| text(item, "/name").contains(part));
            let marked = texts(&metadata).iter().all(|(k, v)| item["metadata"][k] == v.as_str());
            part && marked && ["name", "status", "volume_id", "bootable"].into_iter().all(same)
        })
        .collect()
}

pub fn handle(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    // From 3.67 the project may be left out.
    let path = match request.path.as_slice() {
        ["v3", project, rest @ ..] if *project == PROJECT_ID => rest,
        ["v3", rest @ ..] => rest,
        _ => return HERE.missing("Resource", &request.path.join("/")),
    };
    let base = format!("{}/volume", cloud.base);
    let brief = |v: &Value| json!({"id": v["id"], "name": v["name"], "links": []});
    match path {
        ["volumes"] if request.is(&Method::POST) => create_volume(cloud, state, &request.body["volume"]),
        ["volumes"] => {
            let all = filtered(state.volumes.values().rev().map(|v| volume_view(state, v)).collect(), request);
            listing("volumes", all.iter().map(brief).collect(), request, &base)
        }
        ["volumes", "detail"] => {
            let all = state.volumes.values().rev().map(|v| volume_view(state, v)).collect();
            listing("volumes", filtered(all, request), request, &base)
        }
        ["volumes", id, rest @ ..] if state.volumes.contains_key(*id) => volume(cloud, state, request, id, rest),
        ["volumes", id, ..] => HERE.missing("Volume", id),
        ["snapshots"] if request.is(&Method::POST) => create_snapshot(cloud, state, request),
        ["snapshots"] | ["snapshots", "detail"] => {
            let all = state.snapshots.values().rev().map(snapshot_view).collect();
            listing("snapshots", filtered(all, request), request, &base)
        }
        ["snapshots", id] => match state.snapshots.get_mut(*id) {
            None => HERE.missing("Snapshot", id),
            Some(found) if request.is(&Method::DELETE) => {
                if !matches!(found.status, "available" | "error") {
                    return HERE.error(400, "Invalid snapshot: Snapshot status must be available or error.");
                }
                found.status = "deleting";
                found.pending = Some(Pending { at: cloud.after(times::DELETE), next: Next::Gone });
                Reply::empty(202)
            }
            Some(found) => Reply::json(200, &json!({"snapshot": snapshot_view(found)})),
        },
        ["types", ..] if !request.is(&Method::GET) => {
            HERE.error(403, "Policy doesn't allow volume_extension:types_manage to be performed.")
        }
        ["types"] => {
            let all = state.types.iter().map(type_view).collect();
            listing("volume_types", all, request, &base)
        }
        ["types", id] => match state.types.iter().find(|(own, _)| own == id) {
            Some(found) => Reply::json(200, &json!({"volume_type": type_view(found)})),
            None => HERE.missing("Volume type", id),
        },
        other => extras::volume(state, request, other).unwrap_or_else(|| HERE.missing("Resource", &other.join("/"))),
    }
}

fn type_view((id, name): &(String, String)) -> Value {
    json!({
        "id": id, "name": name, "description": null, "is_public": true, "extra_specs": {"volume_backend_name": name},
        "qos_specs_id": null, "os-volume-type-access:is_public": true,
    })
}

fn volume(cloud: &Cloud, state: &mut State, request: &Request<'_>, id: &str, rest: &[&str]) -> Reply {
    if rest == ["action"] {
        return action(cloud, state, request, id);
    }
    if request.is(&Method::DELETE) {
        return delete_volume(cloud, state, request, id);
    }
    if request.is(&Method::PUT)
        && let Some(found) = state.volumes.get_mut(id)
    {
        if let Some(name) = request.body.pointer("/volume/name").and_then(Value::as_str) {
            found.name = name.to_owned();
        }
        found.updated = now_bare();
    }
    match state.volumes.get(id) {
        Some(found) => Reply::json(200, &json!({"volume": volume_view(state, found)})),
        None => HERE.missing("Volume", id),
    }
}

fn delete_volume(cloud: &Cloud, state: &mut State, request: &Request<'_>, id: &str) -> Reply {
    let cascade = request.param("cascade").is_some_and(|c| c.eq_ignore_ascii_case("true"));
    let has_snapshots = state.snapshots.values().any(|s| s.volume == id);
    let Some(found) = state.volumes.get_mut(id) else { return HERE.missing("Volume", id) };
    if found.attached.is_some() || !matches!(found.status, "available" | "error") || (has_snapshots && !cascade) {
        let message = "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer.";
        return HERE.error(400, message);
    }
    found.status = "deleting";
    found.updated = now_bare();
    found.pending = Some(Pending { at: cloud.after(times::DELETE), next: Next::Gone });
    Reply::empty(202)
}

fn create_volume(cloud: &Cloud, state: &mut State, wanted: &Value) -> Reply {
    let (name, kind) = (text(wanted, "/name"), text(wanted, "/volume_type"));
    if !kind.is_empty() && !state.types.iter().any(|(id, name)| name == kind || id == kind) {
        return HERE.missing("Volume type", kind);
    }
    let size = wanted.get("size").and_then(number).and_then(|n| u64::try_from(n).ok());
    let made = match (text(wanted, "/snapshot_id"), text(wanted, "/imageRef")) {
        ("", "") => blank(cloud, state, name, size, Some(kind).filter(|k| !k.is_empty())),
        ("", image) => from_image(cloud, state, name, image, size),
        (snapshot, _) => from_snapshot(cloud, state, name, snapshot, size),
    };
    match made {
        Ok(id) => {
            if let Some(made) = state.volumes.get_mut(&id) {
                made.metadata = texts(&wanted["metadata"]);
            }
            let view = state.volumes.get(&id).map(|v| volume_view(state, v));
            Reply::json(202, &json!({"volume": view}))
        }
        Err(reply) => *reply,
    }
}

fn add(cloud: &Cloud, state: &mut State, volume: Volume, time: std::time::Duration) -> String {
    let id = volume.id.clone();
    let pending = Some(Pending { at: cloud.after(time), next: Next::Ready });
    state.volumes.insert(id.clone(), Volume { pending, ..volume });
    id
}

fn empty(name: &str, size: u64, kind: &str) -> Volume {
    Volume {
        id: uuid(),
        name: name.to_owned(),
        size,
        status: "creating",
        bootable: false,
        kind: kind.to_owned(),
        snapshot: None,
        metadata: Default::default(),
        image_metadata: Default::default(),
        attached: None,
        guest: None,
        created: now_bare(),
        updated: now_bare(),
        pending: None,
    }
}

fn need_size(size: Option<u64>) -> Result<u64, Refused> {
    size.filter(|s| *s > 0).ok_or_else(|| Box::new(HERE.error(400, "Invalid volume size provided for create request: None (size argument must be an integer and greater than zero).")))
}

pub(super) fn blank(
    cloud: &Cloud,
    state: &mut State,
    name: &str,
    size: Option<u64>,
    kind: Option<&str>,
) -> Result<String, Refused> {
    let volume = empty(name, need_size(size)?, kind.unwrap_or("__DEFAULT__"));
    Ok(add(cloud, state, volume, times::BLANK))
}

pub(super) fn from_image(
    cloud: &Cloud,
    state: &mut State,
    name: &str,
    image: &str,
    size: Option<u64>,
) -> Result<String, Refused> {
    let Some(found) = state.images.get(image) else { return Err(Box::new(HERE.missing("Image", image))) };
    let mut volume = empty(name, need_size(size)?, "__DEFAULT__");
    volume.bootable = true;
    volume.guest = found.guest.clone();
    volume.image_metadata = found.properties.clone();
    volume.image_metadata.insert("image_id".to_owned(), image.to_owned());
    Ok(add(cloud, state, volume, times::VOLUME))
}

pub(super) fn from_snapshot(
    cloud: &Cloud,
    state: &mut State,
    name: &str,
    snapshot: &str,
    size: Option<u64>,
) -> Result<String, Refused> {
    let Some(found) = state.snapshots.get(snapshot) else { return Err(Box::new(HERE.missing("Snapshot", snapshot))) };
    // Nova waits for the snapshots of an image that it boots from; others must.
    if found.status != "available" && !name.is_empty() {
        let message = format!(
            "Invalid snapshot: Originating snapshot status must be one of 'available' values, it is {}.",
            found.status
        );
        return Err(Box::new(HERE.error(400, &message)));
    }
    let mut volume = empty(name, size.unwrap_or(found.size).max(found.size), &found.of.kind);
    volume.bootable = found.of.bootable;
    volume.image_metadata = found.of.image_metadata.clone();
    volume.guest = found.of.guest.clone();
    volume.snapshot = Some(snapshot.to_owned());
    Ok(add(cloud, state, volume, times::VOLUME))
}

/// Makes a snapshot; its id and size.
pub(super) fn snapshot_of(cloud: &Cloud, state: &mut State, volume: &str, name: &str) -> Option<(String, u64)> {
    let of = state.volumes.get(volume)?.clone();
    let snapshot = Snapshot {
        id: uuid(),
        name: name.to_owned(),
        volume: volume.to_owned(),
        size: of.size,
        status: "creating",
        metadata: Default::default(),
        of,
        created: now_bare(),
        updated: now_bare(),
        pending: Some(Pending { at: cloud.after(times::SNAPSHOT), next: Next::Ready }),
    };
    let made = (snapshot.id.clone(), snapshot.size);
    state.snapshots.insert(snapshot.id.clone(), snapshot);
    Some(made)
}

fn create_snapshot(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    let wanted = &request.body["snapshot"];
    let volume = text(wanted, "/volume_id");
    let Some(found) = state.volumes.get(volume) else { return HERE.missing("Volume", volume) };
    let forced = wanted["force"].as_bool().unwrap_or(false) || request.version >= NO_FORCE;
    if found.status != "available" && !(forced && found.status == "in-use") {
        return HERE.error(
            400,
            &format!(
                "Invalid volume: Volume {volume} status must be available, but current status is: {}.",
                found.status
            ),
        );
    }
    let Some((id, _)) = snapshot_of(cloud, state, volume, text(wanted, "/name")) else {
        return HERE.missing("Volume", volume);
    };
    if let Some(made) = state.snapshots.get_mut(&id) {
        made.metadata = texts(&wanted["metadata"]);
    }
    let view = state.snapshots.get(&id).map(snapshot_view);
    Reply::json(202, &json!({"snapshot": view}))
}

fn action(cloud: &Cloud, state: &mut State, request: &Request<'_>, id: &str) -> Reply {
    let Some((name, argument)) = request.body.as_object().and_then(|o| o.iter().next()) else {
        return HERE.error(400, "There is no action.");
    };
    let Some(found) = state.volumes.get_mut(id) else { return HERE.missing("Volume", id) };
    found.updated = now_bare();
    match name.as_str() {
        "os-set_image_metadata" => found.image_metadata.extend(texts(&argument["metadata"])),
        "os-unset_image_metadata" => {
            if found.image_metadata.remove(text(argument, "/key")).is_none() {
                return HERE.error(404, "Glance metadata for the volume does not have this key.");
            }
        }
        "os-set_bootable" => found.bootable = argument["bootable"].as_bool().unwrap_or(false),
        "os-volume_upload_image" => {
            let in_use = found.status == "in-use" && argument["force"].as_bool().unwrap_or(false);
            if found.status != "available" && !in_use {
                return HERE.error(
                    400,
                    &format!(
                        "Invalid volume: Volume {id} status must be available, but current status is: {}.",
                        found.status
                    ),
                );
            }
            found.status = "uploading";
            found.pending = Some(Pending { at: cloud.after(times::IMAGE), next: Next::Uploaded });
            let image = Image {
                disk_format: Some(text(argument, "/disk_format")).filter(|f| !f.is_empty()).unwrap_or("raw").to_owned(),
                size: Some(found.size << 30),
                properties: found.image_metadata.clone(),
                guest: found.guest.clone(),
                status: "queued",
                pending: Some(Pending { at: cloud.after(times::IMAGE), next: Next::Ready }),
                ..glance::blank(text(argument, "/image_name"))
            };
            let body = json!({"os-volume_upload_image": {
                "id": id, "status": "uploading", "image_id": image.id, "image_name": image.name, "size": found.size,
                "disk_format": image.disk_format, "container_format": "bare", "updated_at": found.updated,
                "volume_type": {"name": found.kind},
            }});
            state.images.insert(image.id.clone(), image);
            return Reply::json(202, &body);
        }
        other => return HERE.error(400, &format!("There is no such action: {other}")),
    }
    Reply::json(200, &json!({"metadata": found.image_metadata}))
}
