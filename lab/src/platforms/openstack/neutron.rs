//! Neutron: networks, subnets and ports.

use axum::http::Method;
use serde_json::{Value, json};

use super::extras;
use super::model::{Network, Port, State, Subnet, later_z};
use super::wire::{Reply, Request, Service, listing, text};
use super::{Cloud, PROJECT_ID, SECURITY_GROUP};

const HERE: Service = Service::Network;

fn network(state: &State, network: &Network) -> Value {
    let subnets: Vec<&str> = state.subnets.iter().filter(|s| s.network == network.id).map(|s| s.id.as_str()).collect();
    json!({
        "id": network.id, "name": network.name, "description": "", "subnets": subnets, "admin_state_up": true,
        "status": "ACTIVE", "shared": false, "tenant_id": PROJECT_ID, "project_id": PROJECT_ID, "mtu": 1450,
        "availability_zone_hints": [], "availability_zones": ["nova"], "tags": [], "router:external": false,
        "port_security_enabled": true, "revision_number": 2, "created_at": network.created, "updated_at": network.created,
    })
}

fn subnet(subnet: &Subnet) -> Value {
    let at = |host: u32| std::net::Ipv4Addr::from(u32::from(subnet.base) + host).to_string();
    json!({
        "id": subnet.id, "name": subnet.name, "network_id": subnet.network, "ip_version": 4,
        "cidr": format!("{}/24", subnet.base), "gateway_ip": at(1), "enable_dhcp": true,
        "allocation_pools": [{"start": at(10), "end": at(249)}], "host_routes": [], "dns_nameservers": ["10.50.0.2"],
        "service_types": [], "ipv6_address_mode": null, "ipv6_ra_mode": null, "subnetpool_id": null, "tags": [],
        "revision_number": 0, "description": "", "tenant_id": PROJECT_ID, "project_id": PROJECT_ID,
    })
}

fn port(state: &State, port: &Port) -> Value {
    let fixed: Vec<Value> = port.fixed.iter().map(|(s, ip)| json!({"subnet_id": s, "ip_address": ip})).collect();
    let on = state.servers.get(&port.device).is_some_and(|s| s.status == "ACTIVE");
    json!({
        "id": port.id, "name": port.name, "network_id": port.network, "mac_address": port.mac, "fixed_ips": fixed,
        "device_id": port.device, "device_owner": if port.device.is_empty() { "" } else { "compute:nova" },
        "status": if on { "ACTIVE" } else { "DOWN" }, "admin_state_up": true, "security_groups": [SECURITY_GROUP],
        "tenant_id": PROJECT_ID, "project_id": PROJECT_ID, "binding:vnic_type": "normal", "port_security_enabled": true,
        "allowed_address_pairs": [], "description": port.description, "tags": [], "revision_number": 1,
        "created_at": port.created, "updated_at": port.updated,
    })
}

/// Exact filters; a key given twice means either, one that the resource does not have is ignored.
fn filtered(all: Vec<Value>, request: &Request<'_>) -> Vec<Value> {
    let keys = ["name", "id", "network_id", "device_id", "mac_address", "status", "tenant_id", "project_id"];
    all.into_iter()
        .filter(|item| {
            keys.iter().all(|key| {
                let mut wanted = request.query.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).peekable();
                wanted.peek().is_none() || item[*key].as_str().is_none_or(|own| wanted.any(|w| w == own))
            })
        })
        .collect()
}

pub fn discovery(cloud: &Cloud, path: &[&str]) -> Option<Reply> {
    path.is_empty().then(|| {
        let link = json!([{"rel": "self", "href": format!("{}/network/v2.0/", cloud.base)}]);
        Reply::json(200, &json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": link}]}))
    })
}

pub fn handle(cloud: &Cloud, state: &mut State, request: &Request<'_>) -> Reply {
    let base = format!("{}/network", cloud.base);
    let list = |key: &str, all: Vec<Value>| listing(key, filtered(all, request), request, &base);
    let path = match request.path.as_slice() {
        ["v2.0", rest @ ..] => rest,
        _ => return HERE.missing("Resource", &request.path.join("/")),
    };
    match path {
        [what @ ("networks" | "subnets" | "security-groups" | "floatingips"), ..] if !request.is(&Method::GET) => {
            let verb = match *request.method {
                Method::POST => "create",
                Method::DELETE => "delete",
                _ => "update",
            };
            let kind = what.trim_end_matches('s').replace('-', "_");
            HERE.error(403, &format!("(rule:{verb}_{kind}) is disallowed by policy"))
        }
        ["networks"] => list("networks", state.networks.iter().map(|n| network(state, n)).collect()),
        ["networks", id] => match state.network(id) {
            Some(found) => Reply::json(200, &json!({"network": network(state, found)})),
            None => HERE.missing("Network", id),
        },
        ["subnets"] => list("subnets", state.subnets.iter().map(subnet).collect()),
        ["subnets", id] => match state.subnets.iter().find(|s| s.id == *id) {
            Some(found) => Reply::json(200, &json!({"subnet": subnet(found)})),
            None => HERE.missing("Subnet", id),
        },
        ["security-groups"] => {
            let default =
                json!({"id": SECURITY_GROUP, "name": "default", "description": "", "security_group_rules": []});
            list("security_groups", vec![default])
        }
        ["floatingips"] => list("floatingips", Vec::new()),
        ["extensions"] => list("extensions", Vec::new()),
        ["ports"] if request.is(&Method::POST) => create_port(state, &request.body["port"]),
        ["ports"] => list("ports", state.ports.values().map(|p| port(state, p)).collect()),
        ["ports", id] => one_port(state, request, id),
        other => extras::network(state, request, other).unwrap_or_else(|| HERE.missing("Resource", &other.join("/"))),
    }
}

fn create_port(state: &mut State, wanted: &Value) -> Reply {
    let network = text(wanted, "/network_id");
    if state.network(network).is_none() {
        return HERE.missing("Network", network);
    }
    let mac = wanted["mac_address"].as_str().map(str::to_lowercase);
    if let Some(mac) = &mac
        && state.ports.values().any(|p| p.network == network && p.mac == *mac)
    {
        return HERE.error(
            409,
            &format!("Unable to complete operation for network {network}. The mac address {mac} is in use."),
        );
    }
    let fixed = wanted["fixed_ips"].as_array().cloned().unwrap_or_default();
    let subnets: Vec<String> =
        fixed.iter().map(|f| text(f, "/subnet_id").to_owned()).filter(|s| !s.is_empty()).collect();
    let id = state.add_port(text(wanted, "/name"), network, mac, &subnets);
    if let Some(made) = state.ports.get_mut(&id) {
        made.description = text(wanted, "/description").to_owned();
        for (place, asked) in made.fixed.iter_mut().zip(&fixed) {
            if let Ok(ip) = text(asked, "/ip_address").parse() {
                place.1 = ip;
            }
        }
    }
    match state.ports.get(&id) {
        Some(made) => Reply::json(201, &json!({"port": port(state, made)})),
        None => HERE.missing("Port", &id),
    }
}

fn one_port(state: &mut State, request: &Request<'_>, id: &str) -> Reply {
    if !state.ports.contains_key(id) {
        return HERE.missing("Port", id);
    }
    if request.is(&Method::DELETE) {
        state.ports.shift_remove(id);
        for server in state.servers.values_mut() {
            server.ports.retain(|p| p != id);
        }
        return Reply::empty(204);
    }
    if request.is(&Method::PUT)
        && let Some(name) = request.body.pointer("/port/name").and_then(Value::as_str)
        && let Some(port) = state.ports.get_mut(id)
    {
        port.name = name.to_owned();
        port.updated = later_z(&port.updated);
    }
    match state.ports.get(id) {
        Some(found) => Reply::json(200, &json!({"port": port(state, found)})),
        None => HERE.missing("Port", id),
    }
}
