//! The services' peculiarities, one sentence a test, without a network.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};

use super::wire::{Reply, text};
use super::{CREDENTIAL_ID, CREDENTIAL_SECRET, Cloud, PASSWORD, PROJECT, PROJECT_ID, USER, answer};
use crate::clock::Clock;

struct Client {
    cloud: Arc<Cloud>,
    token: String,
}

impl Client {
    /// Logged in to a cloud where everything is done at once.
    fn new() -> Self {
        let cloud = Arc::new(Cloud::new(
            &crate::api::world::World::shipped().unwrap().openstack,
            Clock::new(1e12),
            "https://cloud".to_owned(),
        ));
        let mut client = Self { cloud, token: String::new() };
        let user = json!({"name": USER, "domain": {"id": "default"}, "password": PASSWORD});
        let scope = json!({"project": {"name": PROJECT, "domain": {"name": "Default"}}});
        let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}});
        let reply = client.reply(Method::POST, "/identity/v3/auth/tokens", "", &body);
        assert_eq!(reply.status, 201);
        client.token = header(&reply, "x-subject-token");
        client
    }

    fn reply(&self, method: Method, uri: &str, version: &str, body: &Value) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-token", HeaderValue::from_str(&self.token).unwrap());
        if !version.is_empty() {
            let name = HeaderName::from_static("openstack-api-version");
            headers.insert(name, HeaderValue::from_str(version).unwrap());
        }
        let raw = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        answer(&self.cloud, &method, &uri.parse::<Uri>().unwrap(), &headers, raw)
    }

    fn call(&self, method: Method, uri: &str, body: &Value) -> (u16, Value) {
        let reply = self.reply(method, uri, "", body);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    fn get(&self, uri: &str) -> Value {
        let (status, body) = self.call(Method::GET, uri, &Value::Null);
        assert_eq!(status, 200, "{uri}: {body}");
        body
    }

    fn volumes(&self, path: &str) -> String {
        format!("/volume/v3/{PROJECT_ID}{path}")
    }

    /// The server of exactly this name.
    fn server(&self, name: &str) -> Value {
        let all = self.get("/compute/v2.1/servers/detail");
        all["servers"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone()
    }
}

fn header(reply: &Reply, name: &str) -> String {
    reply.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone()).unwrap_or_default()
}

fn names(list: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = list.as_array().unwrap().iter().map(|i| text(i, "/name")).collect();
    names.sort_unstable();
    names
}

#[test]
fn novas_names_are_patterns_and_the_others_are_exact() {
    let client = Client::new();
    let found = client.get("/compute/v2.1/servers?name=mtv-tests-rhel8");
    assert_eq!(names(&found["servers"]), ["mtv-tests-rhel8", "mtv-tests-rhel8-old"]);
    let found = client.get("/compute/v2.1/servers?name=%5Emtv.tests.rhel8%24");
    assert_eq!(names(&found["servers"]), ["mtv-tests-rhel8"]);
    assert_eq!(client.call(Method::GET, "/compute/v2.1/servers?name=(", &Value::Null).0, 400);
    let found = client.get(&client.volumes("/volumes/detail?name=mtv-tests-rhel8"));
    assert_eq!(found["volumes"], json!([]));
    let found = client.get(&client.volumes("/volumes/detail?name=mtv-tests-rhel8-boot"));
    assert_eq!(found["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(names(&client.get("/image/v2/images?name=rhel-8.10-x86_64")["images"]), ["rhel-8.10-x86_64"]);
    assert_eq!(client.get("/image/v2/images?name=rhel")["images"], json!([]));
    assert_eq!(names(&client.get("/network/v2.0/networks?name=vm-network")["networks"]), ["vm-network"]);
}

#[test]
fn a_microversion_decides_the_form_of_flavors_and_of_create_image() {
    let client = Client::new();
    let server = client.server("mtv-tests-rhel8");
    assert!(server["flavor"]["id"].is_string());
    let path = format!("/compute/v2.1/servers/{}", text(&server, "/id"));
    let reply = client.reply(Method::GET, &path, "compute 2.47", &Value::Null);
    assert_eq!(header(&reply, "openstack-api-version"), "compute 2.47");
    let new: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(new["server"]["flavor"]["original_name"], "m1.small");
    assert!(new["server"]["flavor"]["id"].is_null());

    let action = format!("{path}/action");
    let old = client.reply(Method::POST, &action, "", &json!({"createImage": {"name": "a"}}));
    assert!(header(&old, "location").contains("/v2/images/") && old.body.is_empty());
    let new = client.reply(Method::POST, &action, "compute 2.45", &json!({"createImage": {"name": "b"}}));
    assert!(header(&new, "location").is_empty());
    assert!(serde_json::from_slice::<Value>(&new.body).unwrap()["image_id"].is_string());

    assert_eq!(client.reply(Method::GET, &path, "compute 2.97", &Value::Null).status, 406);
    let odd = "/compute/v2.1/servers?nmae=x";
    assert_eq!(client.reply(Method::GET, odd, "", &Value::Null).status, 200);
    assert_eq!(client.reply(Method::GET, odd, "compute 2.75", &Value::Null).status, 400);
}

#[test]
fn every_service_refuses_in_its_own_form() {
    let mut client = Client::new();
    let (status, body) = client.call(Method::GET, "/compute/v2.1/servers/none", &Value::Null);
    assert_eq!((status, text(&body, "/itemNotFound/message")), (404, "Instance none could not be found."));
    let (status, body) = client.call(Method::GET, "/network/v2.0/ports/none", &Value::Null);
    assert_eq!((status, text(&body, "/NeutronError/message")), (404, "Port none could not be found."));
    let (status, body) = client.call(Method::GET, "/identity/v3/regions/none", &Value::Null);
    assert_eq!((status, text(&body, "/error/title")), (404, "Not Found"));
    let reply = client.reply(Method::GET, "/image/v2/images/none", "", &Value::Null);
    assert_eq!((reply.status, header(&reply, "content-type").as_str()), (404, "text/html; charset=UTF-8"));
    let id = client.server("mtv-tests-rhel8")["id"].clone();
    let path = format!("/compute/v2.1/servers/{}/action", id.as_str().unwrap());
    let (status, body) = client.call(Method::POST, &path, &json!({"os-stop": null}));
    assert_eq!(status, 409);
    assert!(text(&body, "/conflictingRequest/message").ends_with("while it is in vm_state stopped"), "{body}");
    client.token = "nobody's".to_owned();
    let reply = client.reply(Method::GET, "/compute/v2.1/servers", "", &Value::Null);
    assert_eq!((reply.status, header(&reply, "www-authenticate").starts_with("Keystone uri=")), (401, true));
}

#[test]
fn an_application_credential_logs_in_without_a_scope_only() {
    let client = Client::new();
    let login = |credential: Value, scope: Option<Value>| {
        let identity = json!({"methods": ["application_credential"], "application_credential": credential});
        let mut auth = json!({"identity": identity});
        if let Some(scope) = scope {
            auth["scope"] = scope;
        }
        client.call(Method::POST, "/identity/v3/auth/tokens", &json!({"auth": auth}))
    };
    let credential = json!({"id": CREDENTIAL_ID, "secret": CREDENTIAL_SECRET});
    let (status, body) = login(credential.clone(), None);
    assert_eq!((status, text(&body, "/token/project/id")), (201, PROJECT_ID));
    assert_eq!(login(credential, Some(json!({"project": {"id": PROJECT_ID}}))).0, 401);
    assert_eq!(login(json!({"id": CREDENTIAL_ID, "secret": "other"}), None).0, 401);
}

#[test]
fn an_image_of_a_server_on_volumes_leaves_its_snapshots_behind() {
    let client = Client::new();
    let server = client.server("mtv-win2019-3disks");
    let path = format!("/compute/v2.1/servers/{}/action", text(&server, "/id"));
    client.call(Method::POST, &path, &json!({"createImage": {"name": "x"}}));
    let images = client.get("/image/v2/images?name=x");
    let image = &images["images"][0];
    assert_eq!((&image["size"], text(image, "/status")), (&json!(0), "active"));
    let (status, _) = client.call(Method::DELETE, &format!("/image/v2/images/{}", text(image, "/id")), &Value::Null);
    assert_eq!(status, 204);
    let left = client.get(&client.volumes("/snapshots?name=snapshot+for+x"));
    assert_eq!(left["snapshots"].as_array().unwrap().len(), 3);
    // Nor can a volume go that has one.
    let volume = text(&left, "/snapshots/0/volume_id");
    let (status, _) = client.call(Method::DELETE, &client.volumes(&format!("/volumes/{volume}")), &Value::Null);
    assert_eq!(status, 400);
}

#[test]
fn a_volume_goes_only_when_nobody_has_it_and_with_its_snapshots_by_cascade() {
    let client = Client::new();
    let (_, made) =
        client.call(Method::POST, &client.volumes("/volumes"), &json!({"volume": {"name": "v", "size": 1}}));
    let path = client.volumes(&format!("/volumes/{}", text(&made, "/volume/id")));
    assert_eq!(text(&client.get(&path), "/volume/status"), "available");
    let snapshot = json!({"snapshot": {"volume_id": made["volume"]["id"], "name": "s"}});
    assert_eq!(client.call(Method::POST, &client.volumes("/snapshots"), &snapshot).0, 202);
    assert_eq!(client.call(Method::DELETE, &path, &Value::Null).0, 400);
    assert_eq!(client.call(Method::DELETE, &format!("{path}?cascade=true"), &Value::Null).0, 202);
    assert_eq!(client.call(Method::GET, &path, &Value::Null).0, 404);
    assert_eq!(client.get(&client.volumes("/snapshots?name=s"))["snapshots"], json!([]));
    // In use: a snapshot must be forced.
    let attached = client.server("mtv-tests-rhel8")["os-extended-volumes:volumes_attached"][0]["id"].clone();
    let mut wanted = json!({"snapshot": {"volume_id": attached, "name": "s"}});
    assert_eq!(client.call(Method::POST, &client.volumes("/snapshots"), &wanted).0, 400);
    wanted["snapshot"]["force"] = json!(true);
    assert_eq!(client.call(Method::POST, &client.volumes("/snapshots"), &wanted).0, 202);
}

#[test]
fn times_have_a_zone_everywhere_but_in_cinder_and_pages_are_linked() {
    let client = Client::new();
    assert!(text(&client.server("mtv-tests-rhel8"), "/updated").ends_with('Z'));
    let volumes = client.get(&client.volumes("/volumes/detail?limit=1"));
    assert!(!text(&volumes, "/volumes/0/created_at").ends_with('Z'));
    let next = text(&volumes, "/volumes_links/0/href").trim_start_matches("https://cloud").to_owned();
    let second = client.get(&next);
    assert_ne!(second["volumes"][0]["id"], volumes["volumes"][0]["id"]);
    let servers = client.get("/compute/v2.1/servers?limit=1");
    client.get(text(&servers, "/servers_links/0/href").trim_start_matches("https://cloud"));
}

#[test]
fn two_changes_in_one_second_are_told_as_of_two() {
    let first = super::model::now_z();
    let second = super::model::later_z(&first);
    assert!(second > first, "{first} {second}");
    assert!(super::model::later_z(&second) > second);
    assert!(super::model::later_z("no time") >= first, "whatever stood there before");
}

#[test]
fn a_key_pair_is_made_shown_given_to_a_server_and_removed() {
    let client = Client::new();
    let keys = "/compute/v2.1/os-keypairs";
    let wanted = |name: &str, key: Option<&str>| json!({"keypair": {"name": name, "public_key": key}});
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl lab@example";
    let (status, made) = client.call(Method::POST, keys, &wanted("given", Some(public)));
    assert_eq!((status, text(&made, "/keypair/public_key")), (200, public));
    assert_eq!(text(&made, "/keypair/fingerprint"), "65:96:2d:fc:e8:d5:a9:11:64:0c:0f:ea:00:6e:5b:bd");
    assert!(made["keypair"].get("private_key").is_none());
    let (status, body) = client.call(Method::POST, keys, &wanted("given", Some(public)));
    assert_eq!((status, text(&body, "/conflictingRequest/message")), (409, "Key pair 'given' already exists."));
    assert_eq!(client.call(Method::POST, keys, &wanted("odd", Some("no key"))).0, 400);

    let made = client.reply(Method::POST, keys, "compute 2.2", &json!({"keypair": {"name": "made"}}));
    let body: Value = serde_json::from_slice(&made.body).unwrap();
    assert_eq!((made.status, text(&body, "/keypair/type")), (201, "ssh"));
    let private = russh::keys::PrivateKey::from_openssh(text(&body, "/keypair/private_key")).unwrap();
    assert!(text(&body, "/keypair/public_key").starts_with(&private.public_key().to_openssh().unwrap()));
    assert_eq!(client.reply(Method::POST, keys, "compute 2.92", &json!({"keypair": {"name": "x"}})).status, 400);

    let all = client.get(&format!("{keys}?limit=1&marker=given"));
    assert_eq!(text(&all, "/keypairs/0/keypair/name"), "made");
    assert_eq!(client.get(&format!("{keys}/given"))["keypair"]["deleted"], false);
    let flavors = client.get("/compute/v2.1/flavors");
    let images = client.get("/image/v2/images?name=rhel-8.10-x86_64");
    let mut server = json!({"server": {
        "name": "keyed", "flavorRef": flavors["flavors"][0]["id"], "imageRef": images["images"][0]["id"], "key_name": "none",
    }});
    assert_eq!(client.call(Method::POST, "/compute/v2.1/servers", &server).0, 400);
    server["server"]["key_name"] = json!("given");
    assert_eq!(client.call(Method::POST, "/compute/v2.1/servers", &server).0, 202);
    assert_eq!(client.server("keyed")["key_name"], "given");
    assert_eq!(client.call(Method::DELETE, &format!("{keys}/given"), &Value::Null).0, 202);
    assert_eq!(client.call(Method::DELETE, &format!("{keys}/given"), &Value::Null).0, 404);
}

#[test]
fn quotas_and_limits_count_what_there_is_and_can_only_be_read() {
    let client = Client::new();
    let servers = client.get("/compute/v2.1/servers")["servers"].as_array().unwrap().len();
    let quota = format!("/compute/v2.1/os-quota-sets/{PROJECT_ID}");
    let detail = client.get(&format!("{quota}/detail"));
    assert_eq!(detail["quota_set"]["instances"], json!({"limit": -1, "in_use": servers, "reserved": 0}));
    assert_eq!(client.get(&quota)["quota_set"]["id"], PROJECT_ID);
    assert_eq!(client.get(&format!("{quota}/defaults"))["quota_set"]["fixed_ips"], -1);
    let newer = client.reply(Method::GET, &quota, "compute 2.57", &Value::Null);
    let newer: Value = serde_json::from_slice(&newer.body).unwrap();
    assert!(newer["quota_set"].get("fixed_ips").is_none() && newer["quota_set"]["cores"] == -1, "{newer}");
    assert_eq!(client.call(Method::PUT, &quota, &json!({"quota_set": {"cores": 1}})).0, 403);
    let limits = client.get("/compute/v2.1/limits");
    assert_eq!(limits["limits"]["absolute"]["totalInstancesUsed"], servers);
    assert!(limits["limits"]["absolute"]["totalRAMUsed"].as_u64().unwrap() > 0);

    let volumes = client.get(&client.volumes("/volumes/detail"))["volumes"].as_array().unwrap().clone();
    let size: u64 = volumes.iter().map(|volume| volume["size"].as_u64().unwrap()).sum();
    let absolute = client.get(&client.volumes("/limits"))["limits"]["absolute"].clone();
    assert_eq!((&absolute["totalVolumesUsed"], &absolute["totalGigabytesUsed"]), (&json!(volumes.len()), &json!(size)));
    let quota = client.volumes(&format!("/os-quota-sets/{PROJECT_ID}"));
    assert_eq!(client.get(&quota)["quota_set"]["gigabytes"], -1);
    let used = client.get(&format!("{quota}?usage=True"));
    assert_eq!(used["quota_set"]["gigabytes"]["in_use"], size);
    let kind = text(&volumes[0], "/volume_type");
    assert!(used["quota_set"][format!("volumes_{kind}")]["in_use"].as_u64().unwrap() > 0, "{used}");
    assert_eq!(client.call(Method::PUT, &quota, &json!({})).0, 403);

    let quota = format!("/network/v2.0/quotas/{PROJECT_ID}");
    let networks = client.get("/network/v2.0/networks")["networks"].as_array().unwrap().len();
    assert_eq!(client.get(&format!("{quota}/details"))["quota"]["network"]["used"], networks);
    assert_eq!(client.get(&quota)["quota"]["port"], -1);
    let (status, body) = client.call(Method::DELETE, &quota, &Value::Null);
    assert_eq!((status, text(&body, "/NeutronError/type")), (403, "PolicyNotAuthorized"));
    for path in ["/network/v2.0/security-groups", "/compute/v2.1/flavors", &client.volumes("/types")] {
        assert_eq!(client.call(Method::POST, path, &json!({})).0, 403, "{path}");
    }
}

#[test]
fn a_server_that_is_on_has_said_who_it_is_and_has_a_screen() {
    let client = Client::new();
    let path = |name: &str| format!("/compute/v2.1/servers/{}", text(&client.server(name), "/id"));
    let (linux, windows) = (path("mtv-tests-rhel8"), path("mtv-win2019-3disks"));
    let said = |path: &str, length: Value| {
        let body = json!({"os-getConsoleOutput": {"length": length}});
        client.call(Method::POST, &format!("{path}/action"), &body)
    };
    let screen = json!({"os-getVNCConsole": {"type": "novnc"}});
    assert_eq!(said(&linux, Value::Null), (200, json!({"output": ""})), "it is off");
    assert_eq!(client.call(Method::POST, &format!("{linux}/action"), &screen).0, 409);
    for path in [&linux, &windows] {
        client.call(Method::POST, &format!("{path}/action"), &json!({"os-start": null}));
    }
    let (_, all) = said(&linux, Value::Null);
    assert!(text(&all, "/output").starts_with("[    0.000000] Command line:"), "{all}");
    let (_, last) = said(&linux, json!(1));
    let last = text(&last, "/output");
    assert!(last.ends_with(" login: \n") && last.lines().count() == 1, "{last}");
    assert_eq!(said(&linux, json!("2")).1["output"].as_str().unwrap().lines().count(), 2);
    assert_eq!(said(&linux, json!("many")).0, 400);
    assert_eq!(said(&windows, Value::Null), (200, json!({"output": ""})));

    let (status, body) = client.call(Method::POST, &format!("{linux}/action"), &screen);
    assert_eq!((status, text(&body, "/console/type")), (200, "novnc"));
    assert_eq!(client.reply(Method::POST, &format!("{linux}/action"), "compute 2.6", &screen).status, 404);
    let remote = json!({"remote_console": {"protocol": "vnc", "type": "novnc"}});
    let remote = client.reply(Method::POST, &format!("{linux}/remote-consoles"), "compute 2.6", &remote);
    let remote: Value = serde_json::from_slice(&remote.body).unwrap();
    assert!(text(&remote, "/remote_console/url").starts_with("https://cloud/"), "{remote}");
}

#[test]
fn hypervisors_zones_and_extensions_are_told() {
    let client = Client::new();
    let brief = client.get("/compute/v2.1/os-hypervisors");
    assert_eq!((&brief["hypervisors"][0]["id"], brief["hypervisors"][0].get("vcpus")), (&json!(1), None));
    let full = client.get("/compute/v2.1/os-hypervisors/1")["hypervisor"].clone();
    assert_eq!(full["vcpus_used"], client.get("/compute/v2.1/limits")["limits"]["absolute"]["totalCoresUsed"]);
    let newest = client.reply(Method::GET, "/compute/v2.1/os-hypervisors/detail", "compute 2.88", &Value::Null);
    let newest: Value = serde_json::from_slice(&newest.body).unwrap();
    let newest = &newest["hypervisors"][0];
    assert!(newest["id"].is_string() && newest.get("vcpus").is_none() && newest["state"] == "up", "{newest}");
    assert_eq!(client.call(Method::GET, "/compute/v2.1/os-hypervisors/9", &Value::Null).0, 404);
    let zones = client.get("/compute/v2.1/os-availability-zone");
    assert_eq!(text(&zones, "/availabilityZoneInfo/0/zoneName"), "nova");
    let zones = client.get("/compute/v2.1/os-availability-zone/detail");
    assert_eq!(text(&zones, "/availabilityZoneInfo/0/zoneName"), "internal");
    let extensions = client.get("/compute/v2.1/extensions");
    assert!(extensions["extensions"].as_array().unwrap().iter().any(|one| one["alias"] == "os-keypairs"));
    assert_eq!(text(&client.get("/compute/v2.1/extensions/os-keypairs"), "/extension/name"), "Keypairs");
    assert_eq!(client.call(Method::GET, "/compute/v2.1/extensions/none", &Value::Null).0, 404);
}
