//! Nothing foreign is touched, nothing of ours is lost: `clean` against a lab in which somebody planted things.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::common::{LabServer, Place, Running};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

const COLD: &str = "test_sanity_cold_mtv_migration";
const WARM: &str = "test_sanity_warm_mtv_migration";
const CLOCK: &str = "--clock-scale 1500";

fn clean(lab: &LabServer, place: &Place, args: &str) -> crate::common::Ended {
    Running::start(&mut lab.command(place, &format!("clean {args}"))).end()
}

/// A run that keeps everything; its id.
fn kept(lab: &LabServer, place: &Place) -> String {
    let keep = format!("run --results results --keep always -s {COLD}");
    Running::start(&mut lab.command(place, &keep)).end().exits(0);
    place.results().run_id()
}

/// Root's keys on every ESXi host of the lab, by SSH as an administrator reads them.
fn keys_on_hosts(lab: &LabServer) -> String {
    struct AnyHost;
    impl russh::client::Handler for AnyHost {
        type Error = russh::Error;
        async fn check_server_key(&mut self, _: &russh::keys::PublicKeyOrCertificate) -> Result<bool, Self::Error> {
            Ok(true)
        }
    }
    let providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let section = &providers["vsphere"]["copyoffload"];
    let text = |key: &str| section[key].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut all = String::new();
        for (host, at) in section["esxi_ssh_endpoints"].as_object().unwrap() {
            let mut ssh = russh::client::connect(Default::default(), at.as_str().unwrap(), AnyHost).await.unwrap();
            assert!(ssh.authenticate_password(text("esxi_user"), text("esxi_password")).await.unwrap().success());
            let mut channel = ssh.channel_open_session().await.unwrap();
            channel.exec(true, "cat /etc/ssh/keys-root/authorized_keys").await.unwrap();
            all.push_str(&format!("# {host}\n"));
            while let Some(message) = channel.wait().await {
                if let russh::ChannelMsg::Data { data } = message {
                    all.push_str(&String::from_utf8_lossy(&data));
                }
            }
            all.push_str(if all.ends_with('\n') { "" } else { "\n" });
        }
        all
    })
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

#[test]
fn a_ledger_is_finished_under_another_profiles_name_and_never_on_another_platform() {
    const PLATFORMS: [&str; 3] = ["vsphere", "ovirt", "openstack"];
    let place = Place::new();
    let mut lab = LabServer::start(&place, CLOCK);
    let keep = format!("run --results results --keep always -s {COLD} -p {}", PLATFORMS.join(" -p "));
    Running::start(&mut lab.command(&place, &keep)).end().exits(0);
    let path = place.results().dir.join("ledger.jsonl");
    let written = fs::read_to_string(&path).unwrap();
    let vms: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let vms = PLATFORMS.map(|profile| {
        let of_it = |line: &&Value| line["thing"] == "source-vm" && line["profile"] == profile;
        vms.iter().find(of_it).unwrap_or_else(|| panic!("{written}"))
    });
    // The same profiles and URLs, but behind each there is another platform than the run's was.
    let other = "11111111-2222-3333-4444-555555555555";
    let moved = vms.iter().fold(written.clone(), |text, vm| text.replace(vm["instance"].as_str().unwrap(), other));
    fs::write(&path, moved).unwrap();
    let mut refused = clean(&lab, &place, "--results results").exits(4);
    for (profile, vm) in PLATFORMS.iter().zip(vms) {
        let instance = vm["instance"].as_str().unwrap();
        refused = refused.says(&format!("it was made on the platform {other}; profile {profile} is {instance}"));
        assert!(!refused.out.contains(&format!("removed VM {}", vm["name"].as_str().unwrap())), "{}", refused.out);
    }

    // Other names for the same platforms.
    fs::write(&path, &written).unwrap();
    let providers: Value = serde_json::from_str(&fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let renamed = PLATFORMS.map(|profile| (format!("renamed-{profile}"), providers[profile].clone()));
    lab.providers = place.write("renamed.json", &Value::from_iter(renamed).to_string());
    let mut cleaned = clean(&lab, &place, "--results results").exits(0).says(", 0 left");
    for vm in vms {
        cleaned = cleaned.says(&format!("removed VM {}", vm["name"].as_str().unwrap()));
    }
    lab.ends_clean();
}

#[test]
fn what_may_still_come_is_waited_for_in_all_ledgers_at_once_and_not_for_what_is_long_ago() {
    let place = Place::new();
    let lab = LabServer::start(&place, CLOCK);
    let intent = |run: &str| {
        let at = jiff::Timestamp::now();
        let opened = json!({"what": "opened", "version": 2, "run": run, "at": at, "secret": "abcdefghijabcdefghij"});
        let asked = json!({"what": "intent", "entry": 1, "at": at, "cell": null, "thing": "object", "api_version": "v1",
            "kind": "Namespace", "plural": "namespaces", "namespace": null, "name": run, "cluster": lab.url});
        format!("{opened}\n{asked}\n")
    };
    let runs = ["mm-aaaaaaaaaa", "mm-bbbbbbbbbb", "mm-cccccccccc", "mm-dddddddddd"];
    let clean = || {
        let begun = Instant::now();
        clean(&lab, &place, "--results results --set timeouts.request=2s").exits(0).says("4 removed, 0 left");
        begun.elapsed()
    };
    // Each may come for four times the time of a request, which is eight seconds.
    for run in runs {
        place.write(&format!("results/{run}/ledger.jsonl"), &intent(run));
    }
    let took = clean();
    assert!((Duration::from_secs(5)..Duration::from_secs(24)).contains(&took), "{took:?}");
    // Written an hour ago; the entries' own times are of a clock that was wrong, and count for nothing.
    for run in runs {
        let path = place.write(&format!("results/{run}/ledger.jsonl"), &intent(run));
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    let took = clean();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_clone_whose_answer_never_came_and_whose_task_goes_on_is_waited_for_and_removed() {
    let place = Place::new();
    // A clone takes two minutes of the lab's time: twelve seconds here, and what has no task may come for eight.
    let lab = LabServer::start(&place, "--clock-scale 10");
    let args = format!("run --results results -s {COLD} --set timeouts.request=2s");
    let run = Running::start(&mut lab.command(&place, &args));
    let ledger = || fs::read_to_string(place.results().dir.join("ledger.jsonl")).unwrap_or_default();
    let begun = Instant::now();
    while !ledger().contains("source-vm") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", ledger());
        std::thread::sleep(Duration::from_millis(5));
    }
    // The platform has it by now, and is at it for seconds.
    std::thread::sleep(Duration::from_millis(500));
    run.signal("KILL");
    run.end();
    let asked: Vec<Value> = ledger().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let vm = asked.iter().find(|line| line["thing"] == "source-vm").unwrap();
    assert!(!asked.iter().any(|line| line["what"] == "done" && line["entry"] == vm["entry"]), "{asked:?}");
    let removed = format!("removed VM {}", vm["name"].as_str().unwrap());
    clean(&lab, &place, "--results results --set timeouts.request=2s").exits(0).says(&removed).says(", 0 left");
    lab.ends_clean();
}

/// A kubeconfig of an account that may do everything, until its role is made smaller.
fn account(lab: &LabServer, place: &Place) -> std::path::PathBuf {
    let token = with_api(lab, async |client| {
        let account = serde_json::from_value(json!({"metadata": {"name": "tester"}})).unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let rules = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        let role = serde_json::from_value(json!({"metadata": {"name": "tester"}, "rules": rules})).unwrap();
        Api::<ClusterRole>::all(client.clone()).create(&PostParams::default(), &role).await.unwrap();
        let binding = json!({"metadata": {"name": "tester"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tester"},
            "subjects": [{"kind": "ServiceAccount", "name": "tester", "namespace": "default"}]});
        let bindings: Api<ClusterRoleBinding> = Api::all(client);
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let request: TokenRequest = serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}})).unwrap();
        let answer = accounts.create_token_request("tester", &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token.unwrap()
    });
    let text = fs::read_to_string(&lab.kubeconfig).unwrap();
    place.write("tester.kubeconfig", &text.replace(&lab.token(), &token))
}

#[test]
fn a_right_that_is_taken_away_in_mid_run_is_errored_with_the_rule_to_add() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 300");
    let kubeconfig = account(&lab, &place);
    let args = format!("run --results results -s {COLD}");
    let mut run = Running::start(lab.command(&place, &args).env("KUBECONFIG", &kubeconfig));
    run.until("migrate …");
    with_api(&lab, async |client| {
        let groups = [
            "",
            "apps",
            "batch",
            "cdi.kubevirt.io",
            "config.openshift.io",
            "forklift.konveyor.io",
            "k8s.cni.cncf.io",
            "monitoring.coreos.com",
            "operators.coreos.com",
            "route.openshift.io",
            "storage.k8s.io",
            "subresources.kubevirt.io",
        ];
        let but_get = ["list", "watch", "create", "patch", "delete"];
        let rules = json!([{"verbs": but_get, "apiGroups": ["*"], "resources": ["*"]},
                           {"verbs": ["get"], "apiGroups": groups, "resources": ["*"]}]);
        let patch = kube::api::Patch::Merge(json!({"rules": rules}));
        Api::<ClusterRole>::all(client).patch("tester", &Default::default(), &patch).await.unwrap();
    });
    let rule = r#"{apiGroups: ["kubevirt.io"], resources: ["virtualmachines"], verbs: ["get"]}"#;
    run.end().exits(3).says("cannot get resource \"virtualmachines\"").says(rule);
    assert_eq!(place.results().verdict(&format!("vsphere/{COLD}")), "errored");
    assert!(place.results().text("junit.xml").contains("the right is missing"));
}

/// Lets the account of [`account`] do everything, or everything but read the running instances of VMs.
fn may_read_instances(lab: &LabServer, may: bool) {
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let known = ["virtualmachines", "virtualmachineinstancemigrations", "kubevirts"];
    let groups = [
        "",
        "apps",
        "batch",
        "cdi.kubevirt.io",
        "config.openshift.io",
        "forklift.konveyor.io",
        "k8s.cni.cncf.io",
        "monitoring.coreos.com",
        "operators.coreos.com",
        "route.openshift.io",
        "storage.k8s.io",
        "subresources.kubevirt.io",
    ];
    let less = json!([{"verbs": ["list", "watch", "create", "patch", "delete"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["get"], "apiGroups": groups, "resources": ["*"]},
        {"verbs": ["get"], "apiGroups": ["kubevirt.io"], "resources": known}]);
    let patch = kube::api::Patch::Merge(json!({"rules": if may { all } else { less }}));
    with_api(lab, async |client| {
        Api::<ClusterRole>::all(client).patch("tester", &Default::default(), &patch).await.unwrap();
    });
}

#[test]
fn a_cell_that_errs_first_and_then_passes_is_flaky_and_that_fails_a_run_that_asks_for_it() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 300");
    let kubeconfig = account(&lab, &place);
    let args = format!("run --results results --retries 1 --flaky fail -s {COLD}");
    let mut run = Running::start(lab.command(&place, &args).env("KUBECONFIG", &kubeconfig));
    run.until("migrate …");
    may_read_instances(&lab, false);
    run.until("will retry");
    may_read_instances(&lab, true);
    run.end().exits(1).says("1 flaky");
    let results = place.results();
    let cell = results.cell(&format!("vsphere/{COLD}"));
    assert_eq!((&cell["verdict"], &cell["flaky"]), (&json!("passed"), &json!(true)), "{cell:#}");
    assert_eq!(cell["attempt_verdicts"], json!(["errored", "passed"]));
}

/// What the StorageProfile of `nfs` asks for and tells, and how many hold it.
fn nfs(lab: &LabServer) -> (Value, Value, usize) {
    with_api(lab, async |client| {
        let gvk = kube::core::GroupVersionKind::gvk("cdi.kubevirt.io", "v1beta1", "StorageProfile");
        let api: Api<kube::api::DynamicObject> = Api::all_with(client, &kube::core::ApiResource::from_gvk(&gvk));
        let there = api.get("nfs").await.unwrap();
        let held = there.metadata.annotations.unwrap_or_default();
        let held = held.keys().filter(|key| key.starts_with("mtv-matrix.io/borrowed-")).count();
        let told = there.data["status"]["claimPropertySets"].clone();
        (there.data["spec"]["claimPropertySets"].clone(), told, held)
    })
}

#[test]
fn the_storage_profile_of_nfs_is_lent_while_a_run_lasts_and_comes_back_without_its_ledger_too() {
    let place = Place::new();
    let lab = LabServer::start(&place, CLOCK);
    let before = nfs(&lab);
    let many = json!([{"accessModes": ["ReadWriteMany"], "volumeMode": "Filesystem"}]);
    assert_eq!(before, (Value::Null, many, 0));
    let cold = |results: &str, more: &str| {
        let args = format!("--set storage_class=nfs {more} run --results {results} -s {COLD}");
        Running::start(&mut lab.command(&place, &args))
    };
    let said = "set to ReadWriteOnce, Filesystem for this run";
    cold("one", "").end().exits(0).says("StorageProfile nfs of").says(said);
    assert_eq!(nfs(&lab), before);
    let own = cold("two", "--set borrow_nfs_profile=false").end().exits(0);
    assert!(!own.out.contains(said), "{}", own.out);

    let mut killed = cold("results", "");
    killed.until(said);
    killed.signal("KILL");
    killed.end();
    let once = json!([{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}]);
    assert_eq!(nfs(&lab), (once.clone(), once, 1));
    let id = place.results().run_id();
    fs::remove_file(place.results().dir.join("ledger.jsonl")).unwrap();
    clean(&lab, &place, &format!("--run-id {id} --yes"))
        .exits(0)
        .says("removed setting /spec/claimPropertySets of StorageProfile nfs");
    assert_eq!(nfs(&lab), before);
    lab.ends_clean();
}

#[test]
fn mtvs_key_is_on_the_host_while_it_copies_and_goes_with_the_cell_after_a_crash_by_clean_and_no_other_key_does() {
    const OFFLOAD: &str = "test_copyoffload_thin_migration";
    let place = Place::new();
    let world = place.write("world.yaml", "vsphere: {esxi_clone_method: ssh}\n");
    let lab = LabServer::start(&place, &format!("--clock-scale 400 --world {}", world.display()));
    let before = keys_on_hosts(&lab);
    assert!(before.contains("admin@jump.lab.example"), "{before}");
    let run = |results: &str| {
        let args = format!("run --results {results} -p vsphere -s {OFFLOAD}");
        Running::start(&mut lab.command(&place, &args))
    };
    // The lab's populator comes by its key alone: a cell that passes had it there.
    let said = "MTV's key is on host esxi-";
    run("one").end().exits(0).says(said).says("1 passed");
    assert_eq!(keys_on_hosts(&lab), before);

    for without_ledger in [false, true] {
        let _ = fs::remove_dir_all(place.path("results"));
        let mut killed = run("results");
        killed.until(said);
        killed.signal("KILL");
        killed.end();
        let id = place.results().run_id();
        let there = keys_on_hosts(&lab);
        let ours: Vec<&str> = there.lines().filter(|line| line.contains(&format!(" mtv-matrix run {id} "))).collect();
        assert_eq!(ours.len(), 1, "{there}");
        assert!(ours[0].starts_with("command=\"sh -c 'DS=$(echo "), "{}", ours[0]);
        assert!(before.lines().all(|line| there.lines().any(|other| other == line)), "{there}");
        let args = if without_ledger {
            fs::remove_file(place.results().dir.join("ledger.jsonl")).unwrap();
            clean(&lab, &place, &format!("--run-id {id}")).says("no ledger of ours knows it");
            format!("--run-id {id} --yes")
        } else {
            "--results results".to_owned()
        };
        clean(&lab, &place, &args).exits(0).says(&format!("removed authorized-key {id}-key-host-"));
        assert_eq!(keys_on_hosts(&lab), before);
    }
    lab.ends_clean();
}

#[test]
fn a_host_as_the_source_has_its_clones_made_by_its_vcenter_and_taken_away_after_a_crash_too() {
    let place = Place::new();
    let world = place.write("world.yaml", "vsphere: {esxi_endpoint: esxi-2.lab.example}\n");
    let lab = LabServer::start(&place, &format!("--clock-scale 600 --world {}", world.display()));
    let run = |results: &str| {
        let args = format!("run --results {results} -p esxi -s {COLD} -s {WARM}");
        Running::start(&mut lab.command(&place, &args))
    };
    run("one").end().exits(0).says("2 passed").says("esxi: VMware ESXi 8.0.3");
    let mut killed = run("results");
    killed.until(" cloned mtv-tests-rhel8 as ");
    killed.signal("KILL");
    killed.end();
    let id = place.results().run_id();
    clean(&lab, &place, "--results results").exits(0).says(&format!("removed VM {id}-mtv-tests-rhel8-"));
    lab.ends_clean();
}
