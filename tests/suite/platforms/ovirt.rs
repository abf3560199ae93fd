//! oVirt: the driver against the lab's engine, and the binary against the whole lab.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Expired, LabServer, Place, RUN, Running};
use mtv_matrix::api::names::{CellId, RunId};
use mtv_matrix::api::vm::Power;
use mtv_matrix::api::world::World as Facts;
use mtv_matrix::config::{LoadRequest, load};
use mtv_matrix::lab::clock::Clock;
use mtv_matrix::lab::pki::LabCa;
use mtv_matrix::lab::platforms::ovirt::{self, OvirtEndpoint, OvirtOptions};
use mtv_matrix::ledger::Ledger;
use mtv_matrix::ledger::mark::{Claim, Consent, Marker};
use mtv_matrix::source::{self, CloneRequest, DriverOptions, SourceDriver, SourceError};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";
const WARM: &str = "test_sanity_warm_mtv_migration";
const PASSWORD: &str = "lab-ovirt";

/// An engine of the lab's, and drivers for it.
struct World {
    engine: OvirtEndpoint,
    ledger: Ledger,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = OvirtOptions {
            listen: [127, 0, 0, 1].into(),
            username: "admin@internal".to_owned(),
            password: PASSWORD.to_owned(),
            clock: Clock::new(1500.0),
            faults: Default::default(),
        };
        let engine = ovirt::start(options, &Facts::shipped().unwrap().ovirt, &LabCa::new().unwrap()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("none")).unwrap();
        let ledger = Ledger::create(&dir.path().join("ledger.jsonl"), &RunId::random()).unwrap();
        Self { engine, ledger, dir }
    }

    /// A driver by a profile as users write it; `change` makes it another.
    fn driver(&self, change: impl FnOnce(&mut Value)) -> Arc<dyn SourceDriver> {
        let mut profile = json!({
            "type": "ovirt", "api_url": self.engine.url(), "username": "admin@internal", "password": PASSWORD,
        });
        change(&mut profile);
        let loaded = load(&LoadRequest {
            secrets_dir: Some(self.dir.path().join("none")),
            providers_text: Some((json!({"rhv": profile}).to_string(), "test".to_owned())),
            ..LoadRequest::default()
        });
        let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
        let options = DriverOptions { timeouts: loaded.settings.timeouts.clone(), insecure: false, cluster: None };
        let profile = Arc::new(loaded.providers["rhv"].clone());
        source::access(&profile, &options).unwrap().driver().unwrap().clone()
    }

    /// A name that only this run gives.
    fn name(&self, of: &str) -> String {
        format!("{}{of}", self.ledger.run().clone_prefix())
    }

    async fn delete(&self, driver: &dyn SourceDriver, name: &str) -> Result<bool, SourceError> {
        let (run, marker) = (self.ledger.run(), self.ledger.marker());
        let consent = Consent::Proven;
        driver.delete_vm(&Claim { run, marker, name, id: None, written: true, consent }).await
    }

    async fn clone(&self, driver: &dyn SourceDriver, base: &str, name: &str) -> Result<source::VmRef, SourceError> {
        let (cell, run) = (CellId::new("rhv", "s", None), self.ledger.run().clone());
        let request = CloneRequest {
            host: None,
            add_nic: None,
            cell: &cell,
            run: &run,
            base,
            name: name.to_owned(),
            warm: false,
            disk_type: None,
            add_disks: &[],
            target_storage: None,
        };
        driver.clone_vm(request, &self.ledger).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_cloned_from_the_newest_template_powered_snapshotted_described_and_deleted() {
    let world = World::new().await;
    let driver = world.driver(|_| {});
    let about = driver.connect().await.unwrap();
    assert_eq!((about.product.as_str(), about.version.as_str()), ("oVirt Engine", "4.5.10-1.el8ev"));
    let networks = driver.networks_of("mtv-rhel8-warm-2disks2nics").await.unwrap();
    assert_eq!(networks.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["ovirtmgmt", "vm-net-120"]);

    let vm = world.clone(&*driver, "mtv-tests-rhel8", &world.name("one")).await.unwrap();
    assert_eq!(driver.find(&world.name("one")).await.unwrap(), Some(vm.clone()));
    assert_eq!(driver.find(&world.name("one").to_uppercase()).await.unwrap(), None, "the engine's search ignores case");
    let before = driver.describe(&vm).await.unwrap();
    assert_eq!(before.power, Power::Off);
    assert_eq!(before.disks[0].capacity_bytes, 16 << 30, "the older version has a smaller disk");
    assert_eq!(before.nics[0].network_name, "ovirtmgmt");
    assert_eq!(before.uuid.as_deref(), Some(vm.id.as_str()));
    let entries = world.ledger.open_entries();
    assert_eq!((entries.len(), entries[0].platform_id.as_deref()), (1, Some(vm.id.as_str())));

    assert_eq!(driver.set_power(&vm, true).await.unwrap(), "powered on");
    assert_eq!(driver.set_power(&vm, true).await.unwrap(), "was on already");
    driver.wait_guest_info(&vm, Duration::from_secs(20)).await.unwrap();
    let running = driver.describe(&vm).await.unwrap();
    assert_eq!(running.guest_agent_running, Some(true));
    assert_eq!(running.nics[0].guest.as_ref().unwrap().addresses.len(), 1);
    let mark = driver.power_mark().await.unwrap().unwrap();
    assert_eq!(driver.set_power(&vm, false).await.unwrap(), "shut down by its guest");
    assert!(!driver.forced_off_since(&vm, &mark).await.unwrap());

    driver.snapshot(&vm, "mine").await.unwrap();
    let snapshots = driver.describe(&vm).await.unwrap().snapshots;
    assert_eq!(snapshots.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["mine"]);

    world.clone(&*driver, "mtv-tests-rhel8", &world.name("one-more")).await.unwrap();
    let names: Vec<String> =
        driver.list_by_prefix(&world.name("one")).await.unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(names, [world.name("one"), world.name("one-more")]);
    driver.set_power(&vm, true).await.unwrap();
    assert!(world.delete(&*driver, &world.name("one")).await.unwrap(), "also while it runs");
    assert!(!world.delete(&*driver, &world.name("one")).await.unwrap());
    assert!(world.delete(&*driver, &world.name("one-more")).await.unwrap());
    assert!(driver.list_by_prefix(&world.name("")).await.unwrap().is_empty());
    driver.disconnect().await;
    world.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_vm_is_not_deleted_whatever_a_ledger_names() {
    let world = World::new().await;
    let driver = world.driver(|_| {});
    driver.connect().await.unwrap();
    let refused = world.delete(&*driver, "db-prod-02").await.unwrap_err();
    assert!(matches!(refused, SourceError::NotOurs { .. }), "{refused}");
    assert!(driver.find("db-prod-02").await.unwrap().is_some());
    // Ours, with another secret: a ledger of the same run id that somebody made up.
    world.clone(&*driver, "mtv-tests-rhel8", &world.name("one")).await.unwrap();
    let (run, marker) = (world.ledger.run(), Marker::random(world.ledger.run()));
    let name = world.name("one");
    let made_up =
        Claim { run, marker: Some(&marker), name: &name, id: None, written: true, consent: Consent::Unproven };
    assert!(matches!(driver.delete_vm(&made_up).await, Err(SourceError::NotOurs { .. })));
    assert!(world.delete(&*driver, &name).await.unwrap());
    world.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_token_is_renewed_and_a_dropped_clone_is_deleted() {
    let world = World::new().await;
    let driver = world.driver(|_| {});
    driver.connect().await.unwrap();
    world.engine.forget_sessions();
    assert!(driver.find("db-prod-02").await.unwrap().is_some());
    // The engine goes on with a clone whose asker goes away as soon as it has begun.
    let watcher = world.driver(|_| {});
    let begun = async { while watcher.find(&world.name("dropped")).await.unwrap().is_none() {} };
    let name = world.name("dropped");
    tokio::select! {
        made = world.clone(&*driver, "mtv-win2019-79", &name) => drop(made.unwrap()),
        () = begun => {}
    }
    assert!(world.delete(&*driver, &world.name("dropped")).await.unwrap());
    assert!(driver.list_by_prefix(&world.name("")).await.unwrap().is_empty());
    assert_eq!(world.ledger.open_entries().len(), 1, "written before it was asked for");
    world.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_stopped_by_force_is_told_from_one_whose_guest_was_asked() {
    let world = World::new().await;
    let driver = world.driver(|_| {});
    let vm = world.clone(&*driver, "mtv-tests-rhel8", &world.name("forced")).await.unwrap();
    driver.set_power(&vm, true).await.unwrap();
    let mark = driver.power_mark().await.unwrap().unwrap();
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let stop =
        http.post(format!("{}/vms/{}/stop", world.engine.url(), vm.id)).basic_auth("admin@internal", Some(PASSWORD));
    let answer = stop.header("Accept", "application/json").send().await.unwrap();
    assert!(answer.status().is_success());
    assert!(driver.forced_off_since(&vm, &mark).await.unwrap());
    let later = driver.power_mark().await.unwrap().unwrap();
    assert!(!driver.forced_off_since(&vm, &later).await.unwrap(), "an older event does not count");
    assert!(world.delete(&*driver, &world.name("forced")).await.unwrap());
    world.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_refuses_with_profile_endpoint_and_cause() {
    let world = World::new().await;
    let error = async |change: fn(&mut Value)| world.driver(change).connect().await.unwrap_err().to_string();
    let url = world.engine.url();
    let login = error(|p| p["password"] = json!("not-the-password")).await;
    assert!(login.starts_with(&format!("rhv: {url} refused the login of admin@internal:")), "{login}");
    assert!(login.contains("The user name or password is incorrect"), "{login}");
    let nowhere = error(|p| p["datacenter"] = json!("Nowhere")).await;
    assert!(nowhere.contains("no such data center, it has MTV-CNV, Default"), "{nowhere}");
    let not_up = error(|p| p["datacenter"] = json!("Default")).await;
    assert!(not_up.contains("the data center is uninitialized, not up"), "{not_up}");
    let other = error(|p| p["api_url"] = json!(p["api_url"].as_str().unwrap().replace("ovirt-engine", "sdk"))).await;
    assert!(other.contains("does not answer as an oVirt engine does (HTTP 404)"), "{other}");
    let refused = error(|p| p["api_url"] = json!("https://127.0.0.1:1/ovirt-engine/api")).await;
    assert!(refused.contains("nothing listens there"), "{refused}");
    let driver = world.driver(|_| {});
    let missing = world.clone(&*driver, "no-such-template", "x").await.unwrap_err().to_string();
    assert_eq!(missing, format!("rhv: there is no template called no-such-template at {url}"));
    let vm = world.clone(&*driver, "db-prod-02", "x").await.unwrap_err().to_string();
    assert!(vm.ends_with("(a VM has that name, but clones are made from a template)"), "{vm}");
    assert!(world.ledger.open_entries().is_empty(), "nothing was asked for");
    world.engine.stop().await;
}

#[test]
fn every_shipped_scenario_passes_on_ovirt_and_nothing_is_left() {
    let place = Place::new();
    let ended = place.run("run --lab --lab-clock-scale 1200 -p ovirt --results results").exits(0);
    ended.says("hold nothing that this run made").says("8 passed");
    place.results().are_whole_and_tell_no_secret();
}

/// Names of the checks with this outcome, of all cells.
fn checks(place: &Place, outcome: &str) -> BTreeSet<String> {
    let events = place.results().lines("events.jsonl");
    let findings = events.iter().map(|e| &e["finding"]).filter(|f| f["outcome"] == outcome);
    findings.filter_map(|f| f["check"].as_str()).map(str::to_owned).collect()
}

#[test]
fn what_goes_wrong_with_an_ovirt_vm_is_found_by_its_own_check() {
    let found = [
        ("wrong-serial", COLD, "serial"),
        ("wrong-firmware", COLD, "firmware"),
        ("lost-disk", "test_mtv_migration_warm_2disks2nics", "disk-count"),
        ("swapped-disks", "test_mtv_migration_warm_2disks2nics", "disk-order"),
        ("wrong-network", "test_mtv_migration_warm_2disks2nics", "network"),
        ("leftover-snapshot", WARM, "snapshots"),
    ];
    let one = |(defect, scenario, check): &(&str, &str, &str)| {
        let place = Place::new();
        let args =
            format!("run --lab --lab-clock-scale 1200 -p ovirt -s {scenario} --defect {defect} --results results");
        place.run(&args).exits(1);
        let failed = checks(&place, "failed");
        // A disk's serial is its id on the engine: each has the other's, too.
        let also = (*defect == "swapped-disks").then_some("disk-devices");
        let expected: Vec<&str> = also.into_iter().chain([*check]).collect();
        assert_eq!(failed.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{defect}");
    };
    std::thread::scope(|scope| {
        for chunk in found.chunks(2) {
            scope.spawn(move || chunk.iter().for_each(one));
        }
    });
}

/// Runs `scenario` with further profiles beside the lab's own.
fn run_with(place: &Place, lab: &LabServer, more: &[(&str, Value)], flags: &str) -> crate::common::Ended {
    let mut providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let mut names = String::from("-p ovirt");
    for (name, change) in more {
        let mut profile = providers["ovirt"].clone();
        profile.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        providers[*name] = profile;
        names.push_str(&format!(" -p {name}"));
    }
    let file = place.write("profiles.json", &providers.to_string());
    let args = format!("--config own --providers-json {} run {RUN} {names} --results results {flags}", file.display());
    Running::start(place.command(&args).env("KUBECONFIG", &lab.kubeconfig)).end()
}

#[test]
fn a_profile_that_cannot_be_used_errs_alone_with_its_name_its_endpoint_and_the_cause() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    let missing = "own_missing:\n  virtual_machines:\n    - name: no-such-template\n";
    place.write("own/scenarios/own.yaml", missing);
    let providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let url = providers["ovirt"]["api_url"].as_str().unwrap().to_owned();
    let expired = Expired::start();
    let late = format!("https://127.0.0.1:{}/ovirt-engine/api", expired.port);
    let nobody = "https://127.0.0.1:1/ovirt-engine/api";
    let profiles = [
        ("bad-password", json!({"password": "not-the-password"})),
        ("nobody", json!({"api_url": nobody})),
        ("expired", json!({"api_url": late, "ca_pem": expired.ca_pem})),
        ("nowhere", json!({"datacenter": "Nowhere"})),
    ];
    let flags = format!("-j 6 --set timeouts.provider_ready=5s -s {COLD} -s own_missing");
    run_with(&place, &lab, &profiles, &flags).exits(3);
    let results = place.results();
    results.are_whole_and_tell_no_secret();
    assert_eq!(results.verdict(&format!("ovirt/{COLD}")), "passed");
    let expected = [
        (format!("bad-password/{COLD}"), url.as_str(), "The user name or password is incorrect"),
        (format!("nobody/{COLD}"), nobody, "nothing listens there"),
        (format!("expired/{COLD}"), late.as_str(), "x509: certificate has expired or is not yet valid"),
        (format!("nowhere/{COLD}"), url.as_str(), "the engine has no such data center"),
        ("ovirt/own_missing".to_owned(), url.as_str(), "there is no template called no-such-template"),
    ];
    for (cell, endpoint, cause) in expected {
        let told = results.cell(&cell);
        assert_eq!(told["verdict"], "errored", "{told:#}");
        let problem = told["problem"].to_string();
        for word in [cell.split('/').next().unwrap(), endpoint, cause] {
            assert!(problem.contains(word), "{cell}: no `{word}` in {problem}");
        }
        assert!(told["duration_ms"].as_u64().unwrap() < 15_000, "{told:#}");
    }
    lab.ends_clean();
}

#[test]
fn the_ca_is_in_the_secret_even_where_tls_is_not_verified() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    place.write("own/scenarios/own.yaml", "own_unused:\n  virtual_machines:\n    - name: mtv-tests-rhel8\n");
    let flags = format!("-s {COLD} --set source_provider_insecure_skip_verify=true --keep always");
    run_with(&place, &lab, &[], &flags).exits(0);
    let secret = kubectl_get(&lab, &format!("namespaces/{}/secrets", place.results().run_id()));
    let data = &secret["items"].as_array().unwrap().iter().find(|s| s["data"]["user"].is_string()).unwrap()["data"];
    let text = |key: &str| base64_text(data[key].as_str().unwrap());
    assert_eq!(text("insecureSkipVerify"), "true");
    assert!(text("cacert").contains("-----BEGIN CERTIFICATE-----"));
    assert!(text("cacert").contains(fs::read_to_string(Path::new(&lab.ca)).unwrap().trim()), "the engine's own CA");
}

fn base64_text(text: &str) -> String {
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn kubectl_get(lab: &LabServer, path: &str) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
        let request = http.get(format!("{}/api/v1/{path}", lab.url)).bearer_auth(lab.token());
        request.send().await.unwrap().json().await.unwrap()
    })
}
