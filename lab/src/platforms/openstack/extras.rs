//! What Nova, Cinder and Neutron answer beside servers, volumes and networks: key pairs, quotas and limits, hypervisors,
//! availability zones, extensions. Nothing is limited here, so limits of what is counted are -1, as of a cloud's
//! administrator; they can be read only.

use axum::http::Method;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::model::{Flavor, State, now_bare};
use super::wire::{Reply, Request, Service, listing, page, text};
use super::{Cloud, USER_ID};

/// From here on a key pair has a type, and is made with 201 and removed with 204.
const KEY_TYPES: u32 = 2;
/// From here on Nova makes no keys: the public one must be given.
const KEYS_GIVEN: u32 = 92;
/// From here on quotas of networks are Neutron's own affair.
const NO_NETWORKS: u32 = 36;
/// From here on there are no injected files.
const NO_FILES: u32 = 57;
/// From here on a hypervisor's id is a UUID.
const HYPERVISOR_UUID: u32 = 53;
/// From here on a hypervisor's own use of resources is Placement's affair.
const NO_USAGE: u32 = 88;

const UNLIMITED: i64 = -1;
const HYPERVISOR: &str = "7c1d2e3f-0000-4000-8000-000000000001";
const HOST: &str = "compute-0.lab.example";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyPair {
    pub id: u64,
    pub name: String,
    pub kind: String,
    pub public: String,
    pub fingerprint: String,
    pub created: String,
}

/// Of Nova; `None`: it is none of these.
pub fn compute(cloud: &Cloud, state: &mut State, request: &Request<'_>, path: &[&str]) -> Option<Reply> {
    let here = Service::Compute;
    let reading = request.is(&Method::GET);
    Some(match path {
        ["os-keypairs"] if request.is(&Method::POST) => create_key(state, request),
        ["os-keypairs"] => {
            let all =
                state.keypairs.values().map(|key| json!({"id": key.name, "keypair": key_view(key, request, false)}));
            // The marker of this listing is a name.
            let (mut found, _) = page(all.collect(), request);
            for one in &mut found {
                one.as_object_mut().map(|one| one.shift_remove("id"));
            }
            Reply::json(200, &json!({"keypairs": found}))
        }
        ["os-keypairs", name] if !state.keypairs.contains_key(*name) => {
            here.error(404, &format!("Keypair {name} not found for user {USER_ID}"))
        }
        ["os-keypairs", name] if request.is(&Method::DELETE) => {
            state.keypairs.shift_remove(*name);
            Reply::empty(if request.version >= KEY_TYPES { 204 } else { 202 })
        }
        ["os-keypairs", name] => {
            Reply::json(200, &json!({"keypair": key_view(state.keypairs.get(*name)?, request, true)}))
        }
        ["os-quota-sets", _] | ["os-quota-sets", _, "defaults" | "detail"] if !reading => {
            let verb = if request.is(&Method::DELETE) { "delete" } else { "update" };
            here.error(403, &format!("Policy doesn't allow os_compute_api:os-quota-sets:{verb} to be performed."))
        }
        ["os-quota-sets", project] | ["os-quota-sets", project, "defaults"] => quota_set(
            compute_quotas(state, request.version).into_iter().map(|(key, limit, _)| (key, json!(limit))),
            project,
        ),
        ["os-quota-sets", project, "detail"] => {
            let detail = |(key, limit, used)| (key, json!({"limit": limit, "in_use": used, "reserved": 0}));
            quota_set(compute_quotas(state, request.version).into_iter().map(detail), project)
        }
        ["limits"] if reading => {
            Reply::json(200, &json!({"limits": {"rate": [], "absolute": compute_limits(state, request)}}))
        }
        ["os-hypervisors"] if reading => Reply::json(200, &json!({"hypervisors": [hypervisor(state, request, false)]})),
        ["os-hypervisors", "detail"] if reading => {
            Reply::json(200, &json!({"hypervisors": [hypervisor(state, request, true)]}))
        }
        ["os-hypervisors", id]
            if reading && hypervisor(state, request, false)["id"].to_string().trim_matches('"') == *id =>
        {
            Reply::json(200, &json!({"hypervisor": hypervisor(state, request, true)}))
        }
        ["os-hypervisors", id] => here.error(404, &format!("Compute host {id} could not be found.")),
        ["os-availability-zone"] if reading => zones(false),
        ["os-availability-zone", "detail"] if reading => zones(true),
        ["extensions"] if reading => listing("extensions", extensions(), request, &format!("{}/compute", cloud.base)),
        ["extensions", alias] if reading => match extensions().into_iter().find(|found| found["alias"] == *alias) {
            Some(found) => Reply::json(200, &json!({"extension": found})),
            None => here.error(404, "The resource could not be found."),
        },
        _ => return None,
    })
}

/// Of Cinder; `None`: it is none of these.
pub fn volume(state: &State, request: &Request<'_>, path: &[&str]) -> Option<Reply> {
    if !request.is(&Method::GET) {
        let refused =
            || Service::Volume.error(403, "Policy doesn't allow volume_extension:quotas:update to be performed.");
        return matches!(path, ["os-quota-sets", ..]).then(refused);
    }
    let usage = request.param("usage").is_some_and(|usage| usage.eq_ignore_ascii_case("true"));
    let quotas = volume_quotas(state).into_iter();
    Some(match path {
        ["os-quota-sets", project] if usage => {
            let detail =
                |(key, limit, used)| (key, json!({"limit": limit, "in_use": used, "reserved": 0, "allocated": 0}));
            quota_set(quotas.map(detail), project)
        }
        ["os-quota-sets", project] | ["os-quota-sets", project, "defaults"] => {
            quota_set(quotas.map(|(key, limit, _)| (key, json!(limit))), project)
        }
        ["limits"] => {
            let absolute = json!({
                "maxTotalVolumes": UNLIMITED, "maxTotalSnapshots": UNLIMITED, "maxTotalVolumeGigabytes": UNLIMITED,
                "maxTotalBackups": 10, "maxTotalBackupGigabytes": 1000, "totalVolumesUsed": state.volumes.len(),
                "totalSnapshotsUsed": state.snapshots.len(), "totalGigabytesUsed": gigabytes(state, None),
                "totalBackupsUsed": 0, "totalBackupGigabytesUsed": 0,
            });
            Reply::json(200, &json!({"limits": {"rate": [], "absolute": absolute}}))
        }
        _ => return None,
    })
}

/// Of Neutron; `None`: it is none of these.
pub fn network(state: &State, request: &Request<'_>, path: &[&str]) -> Option<Reply> {
    let quotas = [
        ("network", UNLIMITED, state.networks.len()),
        ("subnet", UNLIMITED, state.subnets.len()),
        ("port", UNLIMITED, state.ports.len()),
        ("subnetpool", UNLIMITED, 0),
        ("router", 10, 0),
        ("floatingip", 50, 0),
        ("security_group", 10, 1),
        ("security_group_rule", 100, 0),
        ("rbac_policy", 10, 0),
    ];
    let told = |detail: bool| -> Map<String, Value> {
        let one = |(key, limit, used): &(&str, i64, usize)| {
            let plain = json!(limit);
            ((*key).to_owned(), if detail { json!({"limit": limit, "used": used, "reserved": 0}) } else { plain })
        };
        quotas.iter().map(one).collect()
    };
    Some(match path {
        ["quotas", ..] if !request.is(&Method::GET) => {
            let verb = if request.is(&Method::DELETE) { "delete" } else { "update" };
            Service::Network.error(403, &format!("(rule:{verb}_quota) is disallowed by policy"))
        }
        // Of projects with quotas of their own.
        ["quotas"] => Reply::json(200, &json!({"quotas": []})),
        ["quotas", _] | ["quotas", _, "default"] => Reply::json(200, &json!({"quota": told(false)})),
        ["quotas", _, "details"] | ["quotas", _, "details.json"] => Reply::json(200, &json!({"quota": told(true)})),
        _ => return None,
    })
}

fn quota_set(quotas: impl Iterator<Item = (String, Value)>, project: &str) -> Reply {
    let mut set: Map<String, Value> = Map::new();
    set.insert("id".to_owned(), json!(project));
    set.extend(quotas);
    Reply::json(200, &json!({"quota_set": set}))
}

/// Cores, MiB.
fn in_use(state: &State) -> (u64, u64) {
    let all: Vec<&Flavor> = state.servers.values().filter_map(|server| state.flavor(&server.flavor)).collect();
    (all.iter().map(|flavor| u64::from(flavor.vcpus)).sum(), all.iter().map(|flavor| flavor.ram).sum())
}

/// Name, limit, what is used.
fn compute_quotas(state: &State, version: u32) -> Vec<(String, i64, u64)> {
    let (cores, ram) = in_use(state);
    let mut all = vec![
        ("instances", UNLIMITED, state.servers.len() as u64),
        ("cores", UNLIMITED, cores),
        ("ram", UNLIMITED, ram),
        ("key_pairs", 100, 0),
        ("metadata_items", 128, 0),
        ("server_groups", 10, 0),
        ("server_group_members", 10, 0),
    ];
    if version < NO_NETWORKS {
        all.extend([
            ("fixed_ips", UNLIMITED, 0),
            ("floating_ips", UNLIMITED, 0),
            ("security_groups", UNLIMITED, 0),
            ("security_group_rules", UNLIMITED, 0),
        ]);
    }
    if version < NO_FILES {
        all.extend([
            ("injected_files", 5, 0),
            ("injected_file_content_bytes", 10240, 0),
            ("injected_file_path_bytes", 255, 0),
        ]);
    }
    all.into_iter().map(|(name, limit, used)| (name.to_owned(), limit, used)).collect()
}

fn compute_limits(state: &State, request: &Request<'_>) -> Value {
    let (cores, ram) = in_use(state);
    let mut absolute = json!({
        "maxTotalInstances": UNLIMITED, "maxTotalCores": UNLIMITED, "maxTotalRAMSize": UNLIMITED, "maxTotalKeypairs": 100,
        "maxServerMeta": 128, "maxServerGroups": 10, "maxServerGroupMembers": 10, "totalInstancesUsed": state.servers.len(),
        "totalCoresUsed": cores, "totalRAMUsed": ram, "totalServerGroupsUsed": 0,
    });
    if request.version < NO_NETWORKS {
        for key in ["maxSecurityGroups", "maxSecurityGroupRules", "maxTotalFloatingIps"] {
            absolute[key] = json!(UNLIMITED);
        }
        for key in ["totalSecurityGroupsUsed", "totalFloatingIpsUsed"] {
            absolute[key] = json!(0);
        }
    }
    if request.version < NO_FILES {
        absolute["maxImageMeta"] = json!(128);
        absolute["maxPersonality"] = json!(5);
        absolute["maxPersonalitySize"] = json!(10240);
    }
    absolute
}

/// GiB of volumes and snapshots, of a type or of all.
fn gigabytes(state: &State, kind: Option<&str>) -> u64 {
    let wanted = |own: &str| kind.is_none_or(|kind| kind == own);
    let volumes = state.volumes.values().filter(|volume| wanted(&volume.kind)).map(|volume| volume.size);
    let snapshots = state.snapshots.values().filter(|snapshot| wanted(&snapshot.of.kind)).map(|snapshot| snapshot.size);
    volumes.chain(snapshots).sum()
}

fn volume_quotas(state: &State) -> Vec<(String, i64, u64)> {
    let of = |kind: Option<&str>| {
        let wanted = |own: &str| kind.is_none_or(|kind| kind == own);
        let suffix = kind.map(|kind| format!("_{kind}")).unwrap_or_default();
        let volumes = state.volumes.values().filter(|volume| wanted(&volume.kind)).count() as u64;
        let snapshots = state.snapshots.values().filter(|snapshot| wanted(&snapshot.of.kind)).count() as u64;
        [
            (format!("volumes{suffix}"), UNLIMITED, volumes),
            (format!("snapshots{suffix}"), UNLIMITED, snapshots),
            (format!("gigabytes{suffix}"), UNLIMITED, gigabytes(state, kind)),
        ]
    };
    let mut all: Vec<(String, i64, u64)> = of(None).into();
    all.extend(state.types.iter().flat_map(|(_, name)| of(Some(name))));
    let rest = [("per_volume_gigabytes", UNLIMITED), ("backups", 10), ("backup_gigabytes", 1000), ("groups", 10)];
    all.extend(rest.map(|(name, limit)| (name.to_owned(), limit, 0)));
    all
}

fn key_view(key: &KeyPair, request: &Request<'_>, full: bool) -> Value {
    let mut view = json!({"name": key.name, "public_key": key.public, "fingerprint": key.fingerprint});
    if request.version >= KEY_TYPES {
        view["type"] = json!(key.kind);
    }
    if full {
        view["id"] = json!(key.id);
        view["user_id"] = json!(USER_ID);
        view["created_at"] = json!(key.created);
        view["deleted"] = json!(false);
        view["deleted_at"] = Value::Null;
        view["updated_at"] = Value::Null;
    }
    view
}

/// MD5 of the key, as Nova shows it.
fn fingerprint(key: &PublicKey) -> Option<String> {
    let digest = md5::compute(key.to_bytes().ok()?);
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

fn create_key(state: &mut State, request: &Request<'_>) -> Reply {
    let here = Service::Compute;
    let wanted = &request.body["keypair"];
    let name = text(wanted, "/name");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '@' | '.');
    if name.is_empty() || name.len() > 255 || (request.version < KEYS_GIVEN && !name.chars().all(plain)) {
        return here.error(400, &format!("Invalid input for field/attribute name. Value: {name}."));
    }
    let kind = Some(text(wanted, "/type")).filter(|kind| !kind.is_empty()).unwrap_or("ssh");
    if kind != "ssh" {
        return here.error(400, &format!("Invalid input for field/attribute type. Value: {kind}."));
    }
    if state.keypairs.contains_key(name) {
        return here.error(409, &format!("Key pair '{name}' already exists."));
    }
    let (public, private) = match wanted["public_key"].as_str() {
        Some(given) => (given.to_owned(), None),
        None if request.version >= KEYS_GIVEN => {
            return here.error(400, "Invalid input for field/attribute keypair. 'public_key' is a required property");
        }
        None => match generated() {
            Some((public, private)) => (public, Some(private)),
            None => return here.error(500, "The key pair could not be generated."),
        },
    };
    let Some(fingerprint) = PublicKey::from_openssh(&public).ok().as_ref().and_then(fingerprint) else {
        return here.error(400, "Keypair data is invalid: failed to generate fingerprint");
    };
    let id = state.keypairs.values().map(|key| key.id).max().unwrap_or_default() + 1;
    let made = KeyPair { id, name: name.to_owned(), kind: kind.to_owned(), public, fingerprint, created: now_bare() };
    let mut view = key_view(&made, request, false);
    view["user_id"] = json!(USER_ID);
    if let Some(private) = private {
        view["private_key"] = json!(private);
    }
    state.keypairs.insert(name.to_owned(), made);
    Reply::json(if request.version >= KEY_TYPES { 201 } else { 200 }, &json!({"keypair": view}))
}

/// A public key and its private one.
fn generated() -> Option<(String, String)> {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).ok()?;
    let private = key.to_openssh(LineEnding::LF).ok()?;
    Some((format!("{} Generated-by-Nova", key.public_key().to_openssh().ok()?.trim_end()), private.to_string()))
}

fn hypervisor(state: &State, request: &Request<'_>, full: bool) -> Value {
    let id = if request.version >= HYPERVISOR_UUID { json!(HYPERVISOR) } else { json!(1) };
    let mut view = json!({"id": id, "hypervisor_hostname": HOST, "state": "up", "status": "enabled"});
    if !full {
        return view;
    }
    view["hypervisor_type"] = json!("QEMU");
    view["hypervisor_version"] = json!(9_001_000);
    view["host_ip"] = json!("127.0.0.1");
    view["service"] = json!({"id": id, "host": HOST, "disabled_reason": null});
    if request.version >= NO_USAGE {
        view["uptime"] = Value::Null;
        return view;
    }
    let (cores, ram) = in_use(state);
    let running = state.servers.values().filter(|server| server.status == "ACTIVE").count();
    // As large as what is on it, and as much again.
    let (vcpus, memory) = ((cores * 2).max(64), (ram * 2).max(262_144));
    let disk: u64 = state.volumes.values().map(|volume| volume.size).sum();
    let numbers = json!({
        "vcpus": vcpus, "vcpus_used": cores, "memory_mb": memory, "memory_mb_used": ram, "free_ram_mb": memory - ram,
        "local_gb": disk * 2, "local_gb_used": disk, "free_disk_gb": disk, "disk_available_least": disk,
        "running_vms": running, "current_workload": 0,
        "cpu_info": {"arch": "x86_64", "model": "Cascadelake-Server", "vendor": "Intel", "features": [], "topology": {}},
    });
    for (key, value) in numbers.as_object().into_iter().flatten() {
        view[key] = value.clone();
    }
    view
}

fn zones(full: bool) -> Reply {
    let service = |name: &str| json!({name: {"active": true, "available": true, "updated_at": now_bare()}});
    let mut zones = vec![json!({"zoneName": "nova", "zoneState": {"available": true}, "hosts": null})];
    if full {
        zones[0]["hosts"] = json!({HOST: service("nova-compute")});
        let hosts = json!({"controller-0.lab.example": service("nova-scheduler")});
        zones.insert(0, json!({"zoneName": "internal", "zoneState": {"available": true}, "hosts": hosts}));
    }
    Reply::json(200, &json!({"availabilityZoneInfo": zones}))
}

/// Of Nova's list, which has been frozen since API 2.1, those that the lab plays.
fn extensions() -> Vec<Value> {
    let all = [
        ("os-availability-zone", "AvailabilityZone"),
        ("os-console-output", "ConsoleOutput"),
        ("os-extended-volumes", "ExtendedVolumes"),
        ("os-hypervisors", "Hypervisors"),
        ("os-keypairs", "Keypairs"),
        ("os-quota-sets", "Quotas"),
        ("os-remote-consoles", "Consoles"),
        ("os-volumes", "Volumes"),
    ];
    let one = |(alias, name): (&str, &str)| {
        json!({
            "alias": alias, "name": name, "description": "", "links": [], "updated": "2014-12-03T00:00:00Z",
            "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        })
    };
    all.map(one).into()
}
