//! Nothing foreign is touched, nothing of ours is lost: `clean` against a lab in which somebody planted things.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a test has threads, clocks and an output of its own"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::io::Write as _;

use common::{LabServer, Place, Running};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";
const WARM: &str = "test_sanity_warm_mtv_migration";
const CLOCK: &str = "--clock-scale 1500";

fn clean(lab: &LabServer, place: &Place, args: &str) -> common::Ended {
    Running::start(&mut lab.command(place, &format!("clean {args}"))).end()
}

/// A run that keeps everything; its id.
fn kept(lab: &LabServer, place: &Place) -> String {
    let keep = format!("run --results results --keep always -s {COLD}");
    Running::start(&mut lab.command(place, &keep)).end().exits(0);
    place.results().run_id()
}

/// Speaks to the lab's API server as somebody with a kubeconfig does.
fn with_api<T>(lab: &LabServer, work: impl AsyncFnOnce(Client) -> T) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kubeconfig = kube::config::Kubeconfig::read_from(&lab.kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        work(Client::try_from(config).unwrap()).await
    })
}

#[test]
fn clean_takes_nothing_for_a_run_id_that_is_none() {
    let place = Place::new();
    for text in ["mtv", "db", "true", "amd64", "mm-", "mm-abc"] {
        place.run(&format!("clean --run-id {text}")).exits(2).says("is not a run id").says("mm-abcdefghij");
    }
}

#[test]
fn a_planted_secret_and_a_planted_namespace_steer_no_sweep() {
    let place = Place::new();
    let lab = LabServer::start(&place, CLOCK);
    let planted = json!({"mtv-matrix.io/run-id": "mm-abcdefghij", "app.kubernetes.io/managed-by": "mtv-matrix"});
    let old = json!({"mtv-matrix.io/created-at": "2020-01-01T00:00:00Z", "mtv-matrix.io/mark": "abcdefghijabcdefghij"});
    let object = |name: &str| json!({"metadata": {"name": name, "labels": planted, "annotations": old}});
    with_api(&lab, async |client| {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
        let secret = serde_json::from_value(object("planted")).unwrap();
        secrets.create(&PostParams::default(), &secret).await.unwrap();
        let namespaces: Api<Namespace> = Api::all(client);
        let namespace = serde_json::from_value(object("mm-abcdefghij")).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    });
    clean(&lab, &place, "--older-than 0s --yes").exits(0).says("not ours, not touched: run mm-abcdefghij");
    // By name, too: nothing proves them, and without a secret nothing ever will but a person's yes.
    clean(&lab, &place, "--run-id mm-abcdefghij").exits(4).says("not proven ours").says("Secret default/planted");
    with_api(&lab, async |client| {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
        assert!(secrets.get_opt("planted").await.unwrap().is_some());
        assert!(Api::<Namespace>::all(client).get_opt("mm-abcdefghij").await.unwrap().is_some());
    });
}

#[test]
fn a_ledger_entry_that_names_a_strangers_vm_is_not_believed() {
    let place = Place::new();
    let lab = LabServer::start(&place, CLOCK);
    kept(&lab, &place);
    let entry = |number: u64, thing: Value| {
        let mut line = json!({"what": "intent", "entry": number, "at": "2026-01-01T00:00:00Z", "cell": null});
        line.as_object_mut().unwrap().extend(thing.as_object().unwrap().clone());
        format!("{line}\n")
    };
    let vm = |name: &str| json!({"thing": "source-vm", "profile": "vsphere", "platform": "vsphere", "name": name, "id": null});
    let namespace = json!({"thing": "object", "api_version": "v1", "kind": "Namespace", "plural": "namespaces",
                           "namespace": null, "name": "openshift-mtv", "cluster": lab.url});
    let path = place.results().dir.join("ledger.jsonl");
    let mut ledger = fs::OpenOptions::new().append(true).open(path).unwrap();
    ledger.write_all((entry(901, vm("mtv-tests-rhel8")) + &entry(902, namespace)).as_bytes()).unwrap();
    drop(ledger);

    let looked = clean(&lab, &place, "--results results --dry-run").exits(0);
    assert!(looked.out.contains("would remove VM ") && !looked.out.contains("  removed "), "{}", looked.out);
    let cleaned = clean(&lab, &place, "--results results");
    let cleaned =
        cleaned.says("not ours, not touched: VM mtv-tests-rhel8").says("not touched: Namespace openshift-mtv");
    assert!(cleaned.out.contains(", 0 left"), "{}", cleaned.out);
    // It is still there to be cloned.
    let run = format!("run --results results -s {COLD}");
    Running::start(&mut lab.command(&place, &run)).end().exits(0).says("1 passed");
}

#[test]
fn who_could_not_be_asked_is_told_and_one_bad_ledger_stops_no_other() {
    let place = Place::new();
    let mut lab = LabServer::start(&place, CLOCK);
    let id = kept(&lab, &place);
    for (name, bytes) in [("a", &b""[..]), ("b", b"{\"what\":\"ope"), ("c", b"\xff\xfe\n\n"), ("zz", b"[]\n")] {
        place.write(&format!("results/{name}/ledger.jsonl"), "");
        fs::write(place.path(&format!("results/{name}/ledger.jsonl")), bytes).unwrap();
    }
    let right = lab.providers.clone();
    let mut providers: Value = serde_json::from_str(&fs::read_to_string(&right).unwrap()).unwrap();
    providers["vsphere"]["password"] = json!("wrong");
    lab.providers = place.write("wrong.json", &providers.to_string());
    let cleaned =
        clean(&lab, &place, "--results results").exits(4).says("unknown: VM ").says("unknown: profile vsphere");
    assert!(cleaned.out.contains("results/a/ledger.jsonl"), "{}", cleaned.out);
    lab.providers = right;
    for name in ["a", "b", "c", "zz"] {
        fs::remove_dir_all(place.path(&format!("results/{name}"))).unwrap();
    }
    clean(&lab, &place, "--results results").exits(0).says(", 0 left");
    clean(&lab, &place, &format!("--run-id {id} --set results=elsewhere")).exits(0).says("0 removed, 0 left");
    lab.ends_clean();
}

/// The precopy interval as it stands, and how many hold it.
fn interval(lab: &LabServer) -> (Value, usize) {
    with_api(lab, async |client| {
        let gvk = kube::core::GroupVersionKind::gvk("forklift.konveyor.io", "v1beta1", "ForkliftController");
        let kind = kube::core::ApiResource::from_gvk(&gvk);
        let api: Api<kube::api::DynamicObject> = Api::namespaced_with(client, "openshift-mtv", &kind);
        let there = api.get("forklift-controller").await.unwrap();
        let held = there.metadata.annotations.unwrap_or_default();
        let held = held.keys().filter(|key| key.starts_with("mtv-matrix.io/borrowed-")).count();
        (there.data["spec"]["controller_precopy_interval"].clone(), held)
    })
}

#[test]
fn runs_with_different_intervals_wait_for_one_another_and_the_first_value_comes_back() {
    let place = Place::new();
    let lab = LabServer::start(&place, CLOCK);
    let before = interval(&lab);
    assert_eq!(before.1, 0);
    let warm = |minutes: u32, results: &str| {
        let args = format!("run --results {results} -s {WARM} --set snapshots_interval={minutes}");
        Running::start(&mut lab.command(&place, &args))
    };
    let (two, three) = (warm(2, "two"), warm(3, "three"));
    two.end().exits(0).says("precopy interval of openshift-mtv set to 2 minutes");
    three.end().exits(0).says("precopy interval of openshift-mtv set to 3 minutes");
    assert_eq!(interval(&lab), before);

    // Killed, and its ledger lost: the object itself says what is to come back.
    let mut killed = warm(5, "results");
    killed.until("set to 5 minutes");
    killed.signal("KILL");
    killed.end();
    assert_eq!(interval(&lab), (json!(5), 1));
    let id = place.results().run_id();
    fs::remove_file(place.results().dir.join("ledger.jsonl")).unwrap();
    clean(&lab, &place, &format!("--run-id {id} --yes"))
        .exits(0)
        .says("removed setting /spec/controller_precopy_interval");
    assert_eq!(interval(&lab), before);
    lab.ends_clean();
}

#[test]
fn a_migration_that_nobody_could_watch_is_errored_and_says_since_when() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 60");
    let bounds = "--set timeouts.migrate=10s --set timeouts.teardown=2s --set timeouts.request=1s";
    let args = format!("run --results results -s {WARM} {bounds}");
    let mut run = Running::start(&mut lab.command(&place, &args));
    run.until("migrate …");
    // So long that MTV has its Migration, and by far not so long that it ends.
    std::thread::sleep(std::time::Duration::from_secs(2));
    drop(lab);
    run.end().exits(3).says("nobody has answered since ");
    assert_eq!(place.results().verdict(&format!("vsphere/{WARM}")), "errored");
}
