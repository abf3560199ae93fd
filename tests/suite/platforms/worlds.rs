//! Worlds and migrations that are recorded and played again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::{LabServer, Place, Running};

/// Speaks HTTPS to the lab's API server and to its inventory.
struct Wire {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    token: String,
}

impl Wire {
    fn to(lab: &LabServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            token: lab.token(),
        }
    }

    fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        self.runtime.block_on(async {
            let answer = request.bearer_auth(&self.token).send().await.unwrap();
            (answer.status().as_u16(), answer.json().await.unwrap_or_default())
        })
    }
    fn get(&self, url: &str) -> (u16, Value) {
        self.send(self.http.get(url))
    }
    fn post(&self, url: &str, body: &Value) -> Value {
        let (status, answer) = self.send(self.http.post(url).json(body));
        assert!(status < 300, "{url}: {status} {answer:#}");
        answer
    }
}

/// Makes a Provider in MTV's namespace and answers all that the inventory shows of it, once it shows VMs.
fn inventory(lab: &LabServer, platform: &str) -> BTreeMap<String, Vec<Value>> {
    let wire = Wire::to(lab);
    let profiles: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let profile = profiles.as_object().unwrap().values().find(|profile| profile["type"] == platform).unwrap();
    let mut login = json!({
        "url": profile["api_url"], "user": profile["username"], "username": profile["username"],
        "password": profile["password"], "insecureSkipVerify": "true",
    });
    if platform == "openstack" {
        login["authType"] = json!("password");
        login["projectName"] = profile["project_name"].clone();
        login["regionName"] = profile["region_name"].clone();
        login["domainName"] = json!("Default");
    }
    let core = format!("{}/api/v1/namespaces/openshift-mtv/secrets", lab.url);
    wire.post(
        &core,
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "recorded"}, "stringData": login}),
    );
    let providers = format!("{}/apis/forklift.konveyor.io/v1beta1/namespaces/openshift-mtv/providers", lab.url);
    let provider = json!({
        "apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Provider", "metadata": {"name": "recorded"},
        "spec": {"type": platform, "url": profile["api_url"], "secret": {"namespace": "openshift-mtv", "name": "recorded"}},
    });
    let uid = wire.post(&providers, &provider)["metadata"]["uid"].as_str().unwrap().to_owned();
    let routes = format!("{}/apis/route.openshift.io/v1/namespaces/openshift-mtv/routes/forklift-inventory", lab.url);
    let host = wire.get(&routes).1["spec"]["host"].as_str().unwrap().to_owned();
    let of = |collection: &str| wire.get(&format!("https://{host}/providers/{platform}/{uid}/{collection}?detail=all"));
    let all = match platform {
        "vsphere" => &["datacenters", "clusters", "hosts", "datastores", "networks", "folders", "vms"][..],
        "ovirt" => &[
            "datacenters",
            "clusters",
            "hosts",
            "storagedomains",
            "networks",
            "nicprofiles",
            "diskprofiles",
            "disks",
            "vms",
        ],
        _ => &["volumetypes", "networks", "subnets", "flavors", "images", "volumes", "snapshots", "vms"],
    };
    for _ in 0..150 {
        let (status, vms) = of("vms");
        if status == 200 && vms.as_array().is_some_and(|vms| !vms.is_empty()) {
            // What comes with the collector's next round is there then, too.
            std::thread::sleep(std::time::Duration::from_millis(1500));
            return all.iter().map(|name| ((*name).to_owned(), of(name).1.as_array().unwrap().clone())).collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("{platform}: MTV's inventory shows no VM");
}

/// A text with each UUID in it replaced by the name of what it is the id of.
fn without_ids(text: &str, names: &BTreeMap<String, String>) -> String {
    const LENGTH: usize = 36;
    if let Some(name) = names.get(text) {
        return name.clone();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..LENGTH).filter(|part| part.contains('-') && uuid::Uuid::parse_str(part).is_ok()) {
            Some(id) => {
                out.push_str(names.get(id).map_or("uuid", String::as_str));
                rest = &rest[LENGTH..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The same without ids and times. An id stands for the name of what has it, so that references are still compared.
fn plain(all: &BTreeMap<String, Vec<Value>>) -> Value {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (collection, items) in all {
        for item in items {
            let name = item["name"].as_str().unwrap_or_default();
            for key in ["id", "key"] {
                if let Some(id) = item[key].as_str() {
                    names.insert(id.to_owned(), format!("{collection}:{name}"));
                }
            }
        }
    }
    fn walk(key: &str, value: &Value, names: &BTreeMap<String, String>) -> Value {
        const TIMES: &[&str] = &[
            "revision",
            "revisionValidated",
            "created",
            "updated",
            "createdAt",
            "updatedAt",
            "selfLink",
            "CreatedAt",
            "checksum",
            "tenantID",
            "projectID",
            "userID",
            "hostID",
            "thumbprint",
            "timezone",
        ];
        match value {
            _ if TIMES.contains(&key) => json!("*"),
            // Of what is in no list, as a template of vSphere is.
            Value::String(text) if key == "id" && !names.contains_key(text) => json!("*"),
            Value::String(text) => json!(without_ids(text, names)),
            Value::Array(items) => {
                let mut items: Vec<Value> = items.iter().map(|item| walk("", item, names)).collect();
                // Servers answer lists in the order of their ids.
                if key != "disks" && key != "nics" && key != "diskAttachments" && key != "attachedVolumes" {
                    items.sort_by_key(ToString::to_string);
                }
                Value::Array(items)
            }
            Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), walk(key, value, names))).collect(),
            other => other.clone(),
        }
    }
    let mut out = serde_json::Map::new();
    for (collection, items) in all {
        let mut items: Vec<Value> = items.iter().map(|item| walk("", item, &names)).collect();
        items.sort_by_key(|item| (item["name"].to_string(), item.to_string()));
        out.insert(collection.clone(), Value::Array(items));
    }
    Value::Object(out)
}

/// The first places where two values differ.
fn differences(path: &str, one: &Value, other: &Value, out: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let none = Value::Null;
            for key in keys {
                differences(&format!("{path}/{key}"), a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none), out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{at}"), a, b, out);
            }
        }
        _ if one != other => out.push(format!("{path}: {one} | {other}")),
        _ => {}
    }
}

fn played_again(platform: &str) {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let first = inventory(&lab, platform);
    let record = |lab: &LabServer, more: &str| {
        Running::start(&mut lab.command(&place, &format!("record world --inventory recorded {more}"))).end()
    };
    record(&lab, "--out world.yaml").exits(0).says(&format!("of Provider recorded ({platform}) are in world.yaml"));
    record(&lab, "--vm db-prod-99 --out none.yaml").exits(2).says("there is no VM db-prod-99");
    record(&lab, "--anonymise --out plain.yaml").exits(0);
    let anonymous = fs::read_to_string(place.path("plain.yaml")).unwrap();
    let told: String = anonymous.lines().skip(1).collect();
    assert!(!told.contains("prod") && !told.contains("mtv-"), "{anonymous}");
    drop(lab);
    let other = Place::new();
    other.write("world.yaml", &fs::read_to_string(place.path("world.yaml")).unwrap());
    other.write("plain.yaml", &anonymous);
    other.write("none.yaml", "none:\n  virtual_machines: [{name: none}]\n");
    // The world is right; what the scenario names is not in it.
    other.run("scenario check none.yaml --world plain.yaml").exits(2).says("the world has no VM `none`");
    let lab = LabServer::start(&other, "--clock-scale 1500 --world world.yaml");
    let second = inventory(&lab, platform);
    let mut found = Vec::new();
    differences("", &plain(&first), &plain(&second), &mut found);
    assert!(found.is_empty(), "{platform}: {} differences\n{}", found.len(), found[..found.len().min(40)].join("\n"));
    assert!(first["vms"].len() > 1, "{platform}");
}

#[test]
fn vspheres_recorded_world_played_again_has_the_same_inventory() {
    played_again("vsphere");
}

#[test]
fn ovirts_recorded_world_played_again_has_the_same_inventory() {
    played_again("ovirt");
}

#[test]
fn openstacks_recorded_world_played_again_has_the_same_inventory() {
    played_again("openstack");
}

/// The folder of a run's artifacts of the only cell.
fn artifacts(place: &Place, results: &str) -> String {
    let cells = fs::read_dir(place.path(&format!("{results}/latest/artifacts"))).unwrap();
    let cell = cells.map(|entry| entry.unwrap().path()).next().unwrap();
    cell.join("attempt-1").display().to_string()
}

/// The step at which the Plan of a folder's Plans failed.
fn failed_at(folder: &str) -> String {
    let namespaces = fs::read_dir(Path::new(folder).join("namespaces")).unwrap().map(|entry| entry.unwrap().path());
    let plans = namespaces.map(|path| path.join("forklift.konveyor.io/plans")).find(|path| path.is_dir()).unwrap();
    let plan = fs::read_dir(plans).unwrap().next().unwrap().unwrap().path();
    let plan: Value = serde_saphyr::from_str(&fs::read_to_string(plan).unwrap()).unwrap();
    let pipeline = plan["status"]["migration"]["vms"][0]["pipeline"].as_array().unwrap().clone();
    pipeline.iter().find(|step| !step["error"].is_null()).map(|step| step["name"].as_str().unwrap().to_owned()).unwrap()
}

/// A run of ours that fails, told again from its artifacts; it must fail where it failed.
fn told_again(platform: &str, scenario: &str, world: &str, step: &str) {
    let place = Place::new();
    place.write("own/scenarios/own.yaml", scenario);
    place.write("world.yaml", world);
    let run =
        format!("-c own run --lab --lab-clock-scale 1500 --world world.yaml -p {platform} -s broken --results results");
    place.run(&run).exits(1);
    let folder = artifacts(&place, "results");
    assert_eq!(failed_at(&folder), step, "{platform}");
    place.run(&format!("record scenario {folder} --out told")).exits(0).says("play it: mtv-matrix -c told run --lab");
    let file = fs::read_dir(place.path("told/scenarios")).unwrap().next().unwrap().unwrap().path();
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("at: {step}")), "{text}");
    place
        .run(&format!("scenario check {} --world told/worlds/{name}.yaml", file.display()))
        .exits(0)
        .says(&format!("ok    {name}"));
    // The story proves the step; without what it expects the run fails there, too.
    let again = |results: &str, code| {
        let args = format!(
            "-c told run --lab --lab-clock-scale 1500 --world told/worlds/{name}.yaml -p {platform} -s {name} --results {results}"
        );
        place.run(&args).exits(code)
    };
    again("again", 0).says("1 passed").says("hold nothing that this run made");
    let steps = text.find("  steps:").unwrap();
    fs::write(&file, &text[..steps]).unwrap();
    again("plain", 1);
    assert_eq!(failed_at(&artifacts(&place, "plain")), step, "{platform}");
    assert!(Path::new(&folder).join("inventory.json").exists());
}

#[test]
fn a_failed_conversion_of_ours_is_told_again_from_its_artifacts() {
    let world = "vsphere:\n  vms:\n    - name: erp-win2022\n      os: win2022\n      firmware: efi\n      disks: [{size: 40Gi}, {size: 7Gi, datastore: nfs-us-mtv-v8, controller: sata}]\n      nics: [{network: mtv-portgroup}]\n      fails: {at: ImageConversion, error: \"virt-v2v: error: inspection could not detect the source guest\"}\n";
    told_again("vsphere", "broken:\n  virtual_machines: [{name: erp-win2022}]\n", world, "ImageConversion");
}

#[test]
fn a_failed_warm_transfer_of_ours_is_told_again_from_its_artifacts() {
    let world = "ovirt:\n  vms:\n    - name: erp-rhel9\n      os: rhel9\n      template: true\n      disks: [{size: 20Gi}, {size: 3Gi, datastore: data-nfs}]\n      nics: [{network: vm-net-120}]\n      fails: {at: DiskTransfer, error: \"Unable to process data: no route to host\"}\n";
    let scenario =
        "broken:\n  warm_migration: true\n  virtual_machines: [{name: erp-rhel9, source_vm_power: \"on\"}]\n";
    told_again("ovirt", scenario, world, "DiskTransfer");
}

#[test]
fn a_failed_hook_of_ours_is_told_again_from_its_artifacts() {
    let world = "openstack:\n  vms:\n    - {name: erp-rhel8, os: rhel8, flavor: m1.small, disks: [{size: 11Gi}]}\n";
    let scenario = "broken:\n  virtual_machines: [{name: erp-rhel8}]\n  pre_hook: {expected_result: fail}\n";
    told_again("openstack", scenario, world, "PreHook");
}
