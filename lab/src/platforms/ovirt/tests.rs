//! The engine's operations, step by step and without a clock.

use super::body::Body;
use super::model::State;
use super::operate::{Done, Fault, Later};
use super::read::{self, Params};
use super::{change, node, seed};
use axum::http::Method;
use serde_json::{Value, json};

/// Does one request; what follows is returned.
fn ask(state: &mut State, method: Method, path: &str, body: Value) -> Result<(Value, Option<Later>), Fault> {
    let path: Vec<&str> = path.split('/').collect();
    let body = Body::parse(body.to_string().as_bytes(), true).unwrap();
    let Done { node, then, .. } = change(state, &method, &path, &Params::new(), &body, "corr").unwrap()?;
    Ok((node::json(&node), then))
}

fn finish(state: &mut State, mut then: Option<Later>) {
    while let Some(later) = then {
        then = (later.step)(state);
    }
}

fn get(state: &State, path: &str, params: &[(&str, &str)]) -> Value {
    let path: Vec<&str> = path.split('/').collect();
    let params: Params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    read::get(state, &path, &params).map_or(Value::Null, |(_, node)| node::json(&node))
}

fn make(state: &mut State, name: &str) -> (String, Option<Later>) {
    let body = json!({"name": name, "cluster": {"id": state.cluster.id}, "template": {"name": "mtv-win2019-3disks"}});
    let (vm, then) = ask(state, Method::POST, "vms", body).unwrap();
    (vm["id"].as_str().unwrap().to_owned(), then)
}

fn codes(state: &State, id: &str) -> Vec<String> {
    let events = get(state, "events", &[("search", &format!("Vms.id = {id}"))]);
    events["event"]
        .as_array()
        .map_or(Vec::new(), |all| all.iter().map(|e| e["code"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn a_clone_is_locked_until_its_disks_are_copied() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let (id, then) = make(&mut state, "a");
    let path = format!("vms/{id}");
    assert_eq!(get(&state, &path, &[])["status"], "image_locked");
    for action in ["start", "stop", "shutdown"] {
        let refused = ask(&mut state, Method::POST, &format!("{path}/{action}"), json!({})).err().unwrap();
        assert_eq!(refused.status, 409, "{action}");
    }
    assert_eq!(ask(&mut state, Method::DELETE, &path, json!({})).err().unwrap().status, 409);
    finish(&mut state, then);
    let vm = get(&state, &path, &[("follow", "nics,disk_attachments.disk")]);
    assert_eq!(vm["status"], "down");
    assert_eq!(vm["disk_attachments"]["disk_attachment"][2]["disk"]["status"], "ok");
    assert!(vm["nics"]["nic"][0]["mac"]["address"].as_str().unwrap().starts_with("56:6f:"));
    assert_eq!(codes(&state, &id), ["53", "37"], "newest first");
    let body = json!({"name": "a", "cluster": {"id": state.cluster.id}, "template": {"name": "mtv-win2019-3disks"}});
    assert_eq!(ask(&mut state, Method::POST, "vms", body).err().unwrap().status, 409, "the name is taken");
    let incomplete = ask(&mut state, Method::POST, "vms", json!({"name": "b"})).err().unwrap();
    assert_eq!((incomplete.status, incomplete.reason), (400, "Incomplete parameters"));
}

#[test]
fn a_guest_that_is_asked_goes_down_otherwise_than_one_that_is_stopped() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let (id, then) = make(&mut state, "a");
    finish(&mut state, then);
    for (action, code) in [("shutdown", "73"), ("stop", "33")] {
        let (_, then) = ask(&mut state, Method::POST, &format!("vms/{id}/start"), json!({})).unwrap();
        finish(&mut state, then);
        let devices = get(&state, &format!("vms/{id}/reporteddevices"), &[]);
        assert_eq!(devices["reported_device"][0]["ips"]["ip"][0]["address"], "192.168.110.19");
        assert_eq!(ask(&mut state, Method::DELETE, &format!("vms/{id}"), json!({})).err().unwrap().status, 409);
        let (_, then) = ask(&mut state, Method::POST, &format!("vms/{id}/{action}"), json!({})).unwrap();
        finish(&mut state, then);
        assert_eq!(codes(&state, &id)[..2], ["61".to_owned(), code.to_owned()]);
    }
    let newest = state.events.last().unwrap().id.to_string();
    assert_eq!(get(&state, "events", &[("from", &newest)]), json!({}), "`from` is exclusive");
}

#[test]
fn a_step_of_a_boot_that_has_ended_does_nothing() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let (id, then) = make(&mut state, "a");
    finish(&mut state, then);
    let (_, boot) = ask(&mut state, Method::POST, &format!("vms/{id}/start"), json!({})).unwrap();
    let (_, stop) = ask(&mut state, Method::POST, &format!("vms/{id}/stop"), json!({})).unwrap();
    finish(&mut state, stop);
    finish(&mut state, boot);
    assert_eq!(get(&state, &format!("vms/{id}"), &[])["status"], "down");
}

#[test]
fn a_snapshot_locks_the_disks_and_has_a_layer_of_each() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let (id, then) = make(&mut state, "a");
    finish(&mut state, then);
    let path = format!("vms/{id}/snapshots");
    let (snapshot, then) = ask(&mut state, Method::POST, &path, json!({"description": "mine"})).unwrap();
    assert_eq!(snapshot["snapshot_status"], "locked");
    assert_eq!(ask(&mut state, Method::POST, &path, json!({})).err().unwrap().status, 409);
    finish(&mut state, then);
    let all = get(&state, &path, &[]);
    let kinds: Vec<&Value> = all["snapshot"].as_array().unwrap().iter().map(|s| &s["snapshot_type"]).collect();
    assert_eq!(kinds, ["active", "regular"]);
    let domain = get(&state, "storagedomains", &[])["storage_domain"][0]["id"].as_str().unwrap().to_owned();
    let layers = get(&state, &format!("storagedomains/{domain}/disksnapshots"), &[]);
    assert_eq!(layers["disk_snapshot"].as_array().unwrap().len(), 3);
    let own = format!("{path}/{}", snapshot["id"].as_str().unwrap());
    let (_, then) = ask(&mut state, Method::DELETE, &own, json!({})).unwrap();
    finish(&mut state, then);
    assert_eq!(get(&state, &own, &[]), Value::Null);
    assert_eq!(codes(&state, &id)[..4], ["356", "342", "68", "45"]);
}

#[test]
fn a_deleted_vm_takes_its_disks_and_its_events_with_it() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let disks = state.disks.len();
    let (id, then) = make(&mut state, "a");
    finish(&mut state, then);
    assert_eq!(state.disks.len(), disks + 3);
    let (_, then) = ask(&mut state, Method::DELETE, &format!("vms/{id}"), json!({})).unwrap();
    assert_eq!(get(&state, &format!("vms/{id}"), &[])["status"], "image_locked");
    finish(&mut state, then);
    assert_eq!(get(&state, &format!("vms/{id}"), &[]), Value::Null);
    assert_eq!(state.disks.len(), disks);
    assert!(codes(&state, &id).is_empty(), "the search joins the living VMs");
    assert_eq!(state.events.last().unwrap().code, 113);
}

#[test]
fn a_detached_disk_stays_unless_it_is_told_to_go() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let (id, then) = make(&mut state, "a");
    finish(&mut state, then);
    let path = format!("vms/{id}/diskattachments");
    let domain = get(&state, "storagedomains", &[])["storage_domain"][1]["id"].clone();
    let body = json!({"disk": {"name": "x", "provisioned_size": "1024", "storage_domains": {"storage_domain": [{"id": domain}]}}});
    let (made, then) = ask(&mut state, Method::POST, &path, body).unwrap();
    let disk = made["disk"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["id"], made["disk"]["id"], "an attachment has its disk's id");
    finish(&mut state, then);
    ask(&mut state, Method::DELETE, &format!("{path}/{disk}"), json!({})).unwrap();
    assert_eq!(get(&state, &format!("disks/{disk}"), &[])["status"], "ok");
    ask(&mut state, Method::DELETE, &format!("disks/{disk}"), json!({})).unwrap();
    assert_eq!(get(&state, &format!("disks/{disk}"), &[]), Value::Null);
}

#[test]
fn a_listing_is_searched_followed_and_paged() {
    let state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let versions = get(&state, "templates", &[("search", "name=mtv-tests-rhel8")]);
    assert_eq!(versions["template"].as_array().unwrap().len(), 2, "versions share a name");
    assert_eq!(get(&state, "vms", &[("search", "name=mtv*"), ("max", "5")])["vm"].as_array().unwrap().len(), 1);
    assert_eq!(get(&state, "vms", &[("search", "name=mtv* page 2"), ("max", "5")]), json!({}));
    let networks = get(&state, "networks", &[("follow", "vnic_profiles")]);
    assert!(networks["network"][0]["vnic_profiles"]["vnic_profile"][0]["id"].is_string());
    assert_eq!(networks["network"][1]["vlan"]["id"], "120");
}

#[test]
fn a_console_is_served_while_its_vm_is_on() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let (id, then) = make(&mut state, "a");
    finish(&mut state, then);
    let path = format!("vms/{id}/graphicsconsoles");
    let file = format!("{path}/766e63/remoteviewerconnectionfile");
    assert_eq!(get(&state, &path, &[])["graphics_console"][0]["protocol"], "vnc");
    assert_eq!(get(&state, &path, &[("current", "true")]), json!({}), "nothing is served of a VM that is off");
    assert_eq!(ask(&mut state, Method::POST, &file, json!({})).err().unwrap().status, 409);
    let (_, then) = ask(&mut state, Method::POST, &format!("vms/{id}/start"), json!({})).unwrap();
    finish(&mut state, then);
    let console = get(&state, &format!("{path}/766e63"), &[("current", "true")]);
    let host = get(&state, "hosts", &[])["host"][0]["address"].clone();
    assert_eq!((&console["address"], &console["vm"]["id"]), (&host, &json!(id)));
    let (told, _) = ask(&mut state, Method::POST, &file, json!({})).unwrap();
    let port = console["port"].as_str().unwrap();
    assert!(told["remote_viewer_connection_file"].as_str().unwrap().contains(&format!("\nport={port}\n")), "{told}");
    let (told, _) = ask(&mut state, Method::POST, &format!("vms/{id}/ticket"), json!({})).unwrap();
    assert!(told["ticket"]["value"].is_string(), "{told}");
    assert_eq!(get(&state, &format!("{path}/73"), &[]), Value::Null);
}

#[test]
fn blank_is_there_and_makes_a_vm_of_nothing_at_once() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let all = get(&state, "templates", &[]);
    let blank = &all["template"][0];
    assert_eq!((&blank["id"], &blank["name"]), (&json!("00000000-0000-0000-0000-000000000000"), &json!("Blank")));
    assert_eq!(get(&state, "templates", &[("search", "name=blank")])["template"].as_array().unwrap().len(), 1);
    let attached = format!("templates/{}/diskattachments", blank["id"].as_str().unwrap());
    assert_eq!(get(&state, &attached, &[]), json!({}));
    let body = json!({"name": "bare", "cluster": {"id": state.cluster.id}, "template": {"name": "Blank"}});
    let (vm, then) = ask(&mut state, Method::POST, "vms", body).unwrap();
    assert_eq!((&vm["status"], then.is_none()), (&json!("down"), true));
    assert_eq!(codes(&state, vm["id"].as_str().unwrap()), ["53", "37"]);
}

#[test]
fn tags_are_made_given_and_go_with_what_is_under_them() {
    let mut state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let vm = state.vms.keys().next().unwrap().clone();
    let (upper, _) = ask(&mut state, Method::POST, "tags", json!({"name": "upper"})).unwrap();
    assert_eq!(upper["parent"]["id"], "00000000-0000-0000-0000-000000000000");
    let body = json!({"name": "lower", "parent": {"name": "upper"}});
    let (lower, _) = ask(&mut state, Method::POST, "tags", body).unwrap();
    assert_eq!(lower["parent"]["id"], upper["id"]);
    assert_eq!(ask(&mut state, Method::POST, "tags", json!({"name": "upper"})).err().unwrap().status, 409);
    assert_eq!(ask(&mut state, Method::POST, "tags", json!({})).err().unwrap().reason, "Incomplete parameters");
    let own = format!("vms/{vm}/tags");
    assert_eq!(ask(&mut state, Method::POST, &own, json!({"name": "none"})).err().unwrap().status, 404);
    ask(&mut state, Method::POST, &own, json!({"name": "lower"})).unwrap();
    assert_eq!(get(&state, &own, &[])["tag"][0]["id"], lower["id"]);
    assert_eq!(get(&state, &format!("vms/{vm}"), &[("follow", "tags")])["tags"]["tag"][0]["name"], "lower");
    let given = format!("{own}/{}", lower["id"].as_str().unwrap());
    ask(&mut state, Method::DELETE, &given, json!({})).unwrap();
    assert_eq!(ask(&mut state, Method::DELETE, &given, json!({})).err().unwrap().status, 404);
    let path = format!("tags/{}", upper["id"].as_str().unwrap());
    ask(&mut state, Method::DELETE, &path, json!({})).unwrap();
    let left = get(&state, "tags", &[]);
    assert_eq!(left["tag"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect::<Vec<_>>(), ["root"]);
    assert_eq!(get(&state, &path, &[]), Value::Null);
}

#[test]
fn the_administrator_is_there_and_may_do_everything() {
    let state = seed::state(&crate::api::world::World::shipped().unwrap().ovirt);
    let permission = get(&state, "permissions", &[])["permission"][0].clone();
    let at = |what: &str| get(&state, &format!("{what}s/{}", permission[what]["id"].as_str().unwrap()), &[]);
    assert_eq!((&at("user")["user_name"], &at("role")["name"]), (&json!("admin@internal-authz"), &json!("SuperUser")));
    assert_eq!(get(&state, "users", &[("search", "name=nobody")]), json!({}));
    assert_eq!(get(&state, "users/none", &[]), Value::Null);
    assert!(get(&state, "roles", &[])["role"].as_array().unwrap().iter().any(|role| role["name"] == "UserRole"));
}
