//! Nova: servers as they are shown and changed. Without a microversion it answers as 2.1.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::boot;
use super::console;
use super::extras;
use super::model::{Flavor, Pending, Server, ServerNext, State, later_z};
use super::wire::{Reply, Request, Service, listing, text};
use super::{Cloud, PROJECT_ID, USER_ID, times};

const HERE: Service = Service::Compute;
/// Newest microversion: 2.96.
pub const NEWEST: u32 = 96;

pub fn discovery(cloud: &Cloud, path: &[&str]) -> Option<Reply> {
    let version = json!({
        "id": "v2.1", "status": "CURRENT", "version": format!("2.{NEWEST}"), "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z", "links": [{"rel": "self", "href": format!("{}/compute/v2.1/", cloud.base)}],
    });
    match path {
        [] => Some(Reply::json(200, &json!({"versions": [version]}))),
        ["v2.1"] => Some(Reply::json(200, &json!({"version": version}))),
        _ => None,
    }
}

fn flavor_view(flavor: &Flavor, version: u32) -> Value {
    let mut view = json!({
        "id": flavor.id, "name": flavor.name, "ram": flavor.ram, "vcpus": flavor.vcpus, "disk": flavor.disk, "swap": "",
        "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": false, "os-flavor-access:is_public": true,
        "rxtx_factor": 1.0, "links": [],
    });
    if version >= 55 {
        view["description"] = Value::Null;
    }
    if version >= 61 {
        view["extra_specs"] = json!(flavor.extra);
    }
    view
}

/// Addresses by the network's *name*; empty until the server has been built.
fn addresses(state: &State, server: &Server) -> Value {
    let mut by_name: Map<String, Value> = Map::new();
    if server.status == "BUILD" {
        return Value::Object(by_name);
    }
    for port in server.ports.iter().filter_map(|id| state.ports.get(id)) {
        let name = state.network(&port.network).map(|n| n.name.clone()).unwrap_or_default();
        let list = by_name.entry(name).or_insert_with(|| json!([]));
        for (_, ip) in &port.fixed {
            if let Some(list) = list.as_array_mut() {
                list.push(json!({
                    "version": 4, "addr": ip, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": port.mac,
                }));
            }
        }
    }
    Value::Object(by_name)
}

pub(super) fn server_view(state: &State, server: &Server, version: u32) -> Value {
    let (power, vm_state) = match server.status {
        "ACTIVE" => (1, "active"),
        "SHUTOFF" => (4, "stopped"),
        "ERROR" => (0, "error"),
        "DELETED" => (0, "deleted"),
        _ => (0, "building"),
    };
    let image = server.image.as_ref().map_or(json!(""), |id| json!({"id": id, "links": []}));
    let flavor = match state.flavor(&server.flavor) {
        Some(f) if version >= 47 => json!({
            "vcpus": f.vcpus, "ram": f.ram, "disk": f.disk, "ephemeral": 0, "swap": 0, "original_name": f.name,
            "extra_specs": f.extra,
        }),
        _ => json!({"id": server.flavor, "links": []}),
    };
    let attached: Vec<Value> = server
        .volumes
        .iter()
        .map(|a| {
            let mut view = json!({"id": a.volume});
            if version >= 3 {
                view["delete_on_termination"] = json!(a.delete_on_termination);
            }
            view
        })
        .collect();
    let mut view = json!({
        "id": server.id, "name": server.name, "status": server.status, "tenant_id": PROJECT_ID, "user_id": USER_ID,
        "created": server.created, "updated": server.updated, "hostId": "4f2d0a", "progress": 0, "accessIPv4": "",
        "accessIPv6": "", "metadata": server.metadata, "key_name": server.key, "config_drive": "", "links": [],
        "image": image, "flavor": flavor, "addresses": addresses(state, server),
        "security_groups": [{"name": "default"}], "os-extended-volumes:volumes_attached": attached,
        "OS-EXT-STS:power_state": power, "OS-EXT-STS:task_state": server.task, "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-AZ:availability_zone": "nova", "OS-DCF:diskConfig": "MANUAL",
        "OS-SRV-USG:launched_at": null, "OS-SRV-USG:terminated_at": null,
    });
    if version >= 19 {
        view["description"] = json!(server.description);
    }
    if version >= 26 {
        view["tags"] = json!([]);
    }
    if let Some(message) = server.fault.as_ref().filter(|_| matches!(server.status, "ERROR" | "DELETED")) {
        view["fault"] = json!({"code": 500, "created": server.updated, "message": message});
    }
    view
}

/// Query keys of a listing; from 2.75 another one is refused, before it is ignored.
const FILTERS: [&str; 12] = [
    "name",
    "status",
    "image",
    "flavor",
    "limit",
    "marker",
    "changes-since",
    "changes-before",
    "all_tenants",
    "sort_key",
    "sort_dir",
    "deleted",
];

fn list_servers(cloud: &Cloud, state: &State, request: &Request<'_>, full: bool) -> Reply {
    if request.version >= 75
        && let Some((key, _)) = request.query.iter().find(|(key, _)| !FILTERS.contains(&key.as_str()))
    {
        return HERE
            .error(400, &format!("Invalid input for query parameters {key}. Additional properties are not allowed"));
    }
    // The database compares names with a regular expression, not anchored.
    let name =
        match request.param("name").map(|pattern| regex::RegexBuilder::new(pattern).case_insensitive(true).build()) {
            Some(Err(_)) => return HERE.error(400, "Invalid filter field: name."),
            Some(Ok(pattern)) => Some(pattern),
            None => None,
        };
    let since = request.param("changes-since").map(|t| t.trim_end_matches('Z').to_owned());
    let deleted = state.deleted.iter().filter(|_| since.is_some());
    let all = state
        .servers
        .values()
        .rev()
        .chain(deleted)
        .filter(|s| name.as_ref().is_none_or(|name| name.is_match(&s.name)))
        .filter(|s| request.param("status").is_none_or(|status| s.status.eq_ignore_ascii_case(status)))
        .filter(|s| since.as_ref().is_none_or(|since| s.updated.trim_end_matches('Z') >= since.as_str()))
        .map(|s| {
            if full { server_view(state, s, request.version) } else { json!({"id": s.id, "name": s.name, "links": []}) }
        })
        .collect();
    listing("servers", all, request, &format!("{}/compute", cloud.base))
}

pub fn handle(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    let path = match request.path.as_slice() {
        ["v2.1", rest @ ..] => rest,
        _ => return HERE.missing("Resource", &request.path.join("/")),
    };
    if let Some(reply) = extras::compute(cloud, state, request, path) {
        return reply;
    }
    match path {
        ["servers"] if request.is(&Method::POST) => boot::create(cloud, state, request),
        ["servers"] => list_servers(cloud, state, request, false),
        ["servers", "detail"] => list_servers(cloud, state, request, true),
        ["servers", id, rest @ ..] if state.servers.contains_key(*id) => server(cloud, state, request, id, rest),
        ["servers", id, ..] => HERE.missing("Instance", id),
        ["flavors", ..] if !request.is(&Method::GET) => {
            HERE.error(403, "Policy doesn't allow os_compute_api:os-flavor-manage to be performed.")
        }
        ["flavors"] => {
            let brief = state.flavors.iter().map(|f| json!({"id": f.id, "name": f.name, "links": []})).collect();
            listing("flavors", brief, request, &format!("{}/compute", cloud.base))
        }
        ["flavors", "detail"] => {
            let all = state.flavors.iter().map(|f| flavor_view(f, request.version)).collect();
            listing("flavors", all, request, &format!("{}/compute", cloud.base))
        }
        ["flavors", id, rest @ ..] => match (state.flavor(id), rest) {
            (Some(flavor), []) => Reply::json(200, &json!({"flavor": flavor_view(flavor, request.version)})),
            (Some(flavor), ["os-extra_specs"]) => Reply::json(200, &json!({"extra_specs": flavor.extra})),
            _ => HERE.missing("Flavor", id),
        },
        other => HERE.missing("Resource", &other.join("/")),
    }
}

fn server(cloud: &Cloud, state: &mut State, request: &Request<'_>, id: &str, rest: &[&str]) -> Reply {
    match rest {
        [] if request.is(&Method::DELETE) => {
            if let Some(server) = state.servers.get_mut(id) {
                server.task = Some("deleting");
                server.pending = Some(Pending { at: cloud.after(times::DELETE), next: ServerNext::Gone });
            }
            Reply::empty(204)
        }
        [] => {
            if request.is(&Method::PUT)
                && let Some(server) = state.servers.get_mut(id)
            {
                let text = |key: &str| request.body.pointer(key).and_then(Value::as_str).map(str::to_owned);
                let name = text("/server/name").unwrap_or_else(|| server.name.clone());
                let description = text("/server/description").or_else(|| server.description.clone());
                // A row that does not change keeps its time.
                if (&name, &description) != (&server.name, &server.description) {
                    (server.name, server.description) = (name, description);
                    server.updated = later_z(&server.updated);
                }
            }
            match state.servers.get(id) {
                Some(server) => Reply::json(200, &json!({"server": server_view(state, server, request.version)})),
                None => HERE.missing("Instance", id),
            }
        }
        ["remote-consoles"] if request.is(&Method::POST) && request.version >= console::REMOTE => {
            match state.servers.get(id) {
                Some(server) => console::remote(cloud, server, request),
                None => HERE.missing("Instance", id),
            }
        }
        ["action"] => action(cloud, state, request, id),
        ["os-volume_attachments", ..] => attachments(state, request, id, rest),
        ["os-interface"] => {
            let ports = state.servers.get(id).map(|s| s.ports.clone()).unwrap_or_default();
            let views: Vec<Value> = ports
                .iter()
                .filter_map(|p| state.ports.get(p))
                .map(|p| {
                    let fixed: Vec<Value> =
                        p.fixed.iter().map(|(s, ip)| json!({"subnet_id": s, "ip_address": ip})).collect();
                    json!({
                        "port_id": p.id, "net_id": p.network, "mac_addr": p.mac, "port_state": "ACTIVE", "fixed_ips": fixed,
                    })
                })
                .collect();
            Reply::json(200, &json!({"interfaceAttachments": views}))
        }
        ["metadata"] => {
            let Some(server) = state.servers.get_mut(id) else { return HERE.missing("Instance", id) };
            server.metadata.extend(texts(&request.body["metadata"]));
            Reply::json(200, &json!({"metadata": server.metadata}))
        }
        other => HERE.missing("Resource", &other.join("/")),
    }
}

/// The texts of an object.
pub(super) fn texts(object: &Value) -> BTreeMap<String, String> {
    let entries = object.as_object().into_iter().flatten();
    entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

fn action(cloud: &Cloud, state: &mut State, request: &Request<'_>, id: &str) -> Reply {
    let Some((name, argument)) = request.body.as_object().and_then(|o| o.iter().next()) else {
        return HERE.error(400, "There is no action.");
    };
    if name == "createImage" {
        return boot::create_image(cloud, state, request, id, argument);
    }
    let Some(server) = state.servers.get_mut(id) else { return HERE.missing("Instance", id) };
    match name.as_str() {
        "os-getConsoleOutput" => return console::output(server, argument),
        "os-getVNCConsole" => return console::vnc(cloud, server, request, argument),
        _ => {}
    }
    let conflict = |verb: &str, server: &Server| {
        let vm_state = match server.status {
            "ACTIVE" => "active",
            "SHUTOFF" => "stopped",
            _ => "building",
        };
        HERE.error(409, &format!("Cannot '{verb}' instance {} while it is in vm_state {vm_state}", server.id))
    };
    let (task, time, next) = match (name.as_str(), server.status) {
        ("os-stop", "ACTIVE" | "ERROR") if server.task.is_none() => ("powering-off", times::STOP, ServerNext::Shutoff),
        ("os-stop", _) => return conflict("stop", server),
        ("os-start", "SHUTOFF") if server.task.is_none() => ("powering-on", times::START, ServerNext::Active),
        ("os-start", _) => return conflict("start", server),
        ("reboot", "ACTIVE") => ("rebooting", times::START, ServerNext::Active),
        ("forceDelete", _) => ("deleting", times::DELETE, ServerNext::Gone),
        (other, _) => return HERE.error(400, &format!("There is no such action: {other}")),
    };
    server.task = Some(task);
    server.updated = later_z(&server.updated);
    server.pending = Some(Pending { at: cloud.after(time), next });
    Reply::empty(202)
}

fn attachments(state: &mut State, request: &Request<'_>, id: &str, rest: &[&str]) -> Reply {
    let view = |server: &Server| -> Vec<Value> {
        server
            .volumes
            .iter()
            .map(|a| {
                let mut view = json!({"volumeId": a.volume, "serverId": server.id, "device": a.device});
                if request.version >= 89 {
                    view["attachment_id"] = json!(a.id);
                    view["bdm_uuid"] = json!(a.id);
                } else {
                    view["id"] = json!(a.volume);
                }
                if request.version >= 79 {
                    view["delete_on_termination"] = json!(a.delete_on_termination);
                    view["tag"] = Value::Null;
                }
                view
            })
            .collect()
    };
    match rest {
        [_, volume] if request.is(&Method::DELETE) => {
            let Some(server) = state.servers.get_mut(id) else { return HERE.missing("Instance", id) };
            server.volumes.retain(|a| a.volume != *volume);
            server.updated = later_z(&server.updated);
            if let Some(volume) = state.volumes.get_mut(*volume) {
                volume.attached = None;
                volume.status = "available";
            }
            Reply::empty(202)
        }
        _ if request.is(&Method::POST) => {
            let volume = text(&request.body, "/volumeAttachment/volumeId").to_owned();
            match boot::attach(state, id, &volume, false) {
                Ok(()) => {
                    let made = state.servers.get(id).map(view).unwrap_or_default().pop();
                    Reply::json(200, &json!({"volumeAttachment": made}))
                }
                Err(reply) => *reply,
            }
        }
        _ => Reply::json(200, &json!({"volumeAttachments": state.servers.get(id).map(view).unwrap_or_default()})),
    }
}
