//! Loading as a whole: layers, places, refusals.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::providers::OpenstackAuth;
use super::*;

fn request(dir: &Path) -> LoadRequest {
    // An empty Secret directory keeps the machine's own out of the test.
    let secrets = dir.join("no-secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    LoadRequest { secrets_dir: Some(secrets), scenarios_default: true, ..LoadRequest::default() }
}

fn write(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn refused(request: &LoadRequest, dir: &Path) -> String {
    load(request).unwrap_err().to_string().replace(&format!("{}/", dir.display()), "")
}

#[test]
fn the_defaults_load_alone_with_the_eight_scenarios() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load(&request(dir.path())).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.scenarios.len(), 8, "{:?}", loaded.scenarios.keys());
    assert_eq!(loaded.settings.jobs, 4);
    assert_eq!(loaded.settings.timeouts.migrate, Duration::from_secs(3600));
    assert!(!loaded.settings.insecure_verify_skip);
    assert_eq!(loaded.provenance["timeouts.plan"].layer, Layer::Default);
    assert!(loaded.warnings.is_empty());
    let cold = &loaded.scenarios["test_cold_migration_comprehensive"];
    assert_eq!(cold.target_node_selector["mtv-comprehensive-node"], None);
    assert_eq!(cold.target_labels["test-type"].as_deref(), Some("comprehensive"));
}

#[test]
fn each_layer_beats_the_one_before_it_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let text = "jobs: 5\nretries: 1\nmtv_namespace: a\nmax_concurrent: 2\nsnapshots_interval: 9\n";
    request.config.push(write(dir.path(), "my.yaml", text));
    write(dir.path(), "no-secrets/retries", "2\n");
    write(dir.path(), "no-secrets/cluster_password", "from-secret\n");
    write(dir.path(), "no-secrets/mtv_namespace", "b");
    write(dir.path(), "no-secrets/max_concurrent", "3");
    for (k, v) in [("MTV_MTV_NAMESPACE", "c"), ("MTV_MAX_CONCURRENT", "6"), ("MTV_TIMEOUTS__PLAN", "7m")] {
        request.env.insert(k.into(), v.into());
    }
    request.set.push("max_concurrent=8".into());
    request.flags.push(("storage_class".into(), json!(["nfs", "rbd"]), "--storage-class".into()));
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let s = &loaded.settings;
    assert_eq!((s.jobs, s.retries, s.mtv_namespace.as_str(), s.max_concurrent), (5, 2, "c", 8));
    assert_eq!((s.snapshots_interval, s.timeouts.plan), (9, Duration::from_secs(420)));
    assert_eq!(s.storage_class, ["nfs", "rbd"]);
    let place = |key: &str| (loaded.provenance[key].layer, loaded.provenance[key].line);
    assert_eq!(place("jobs"), (Layer::File, Some(1)));
    assert_eq!(place("snapshots_interval"), (Layer::File, Some(5)));
    assert_eq!(place("retries"), (Layer::Secret, None));
    assert_eq!(place("timeouts.plan"), (Layer::Environment, None));
    assert_eq!(place("max_concurrent"), (Layer::Flag, None));
    let shown = format!("{:?}", loaded.shown);
    assert!(!shown.contains("from-secret") && shown.contains("********"), "{shown}");
    assert!(!format!("{loaded:?}").contains("from-secret"));
    assert_eq!(s.cluster_password.as_ref().unwrap().expose_secret(), "from-secret");
}

#[test]
fn every_problem_is_told_with_file_line_and_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let text = "# mine\nmtv_namespce: x\njobs: lots\ntimeouts:\n  plam: 5m\n  plan: soon\ncluster_password: 12345\n";
    request.config.push(write(dir.path(), "my.yaml", text));
    request.env.insert("MTV_JOBZ".into(), "3".into());
    request.set.push("timeouts.verify=later".into());
    let text = refused(&request, dir.path());
    for line in [
        "my.yaml:2: `mtv_namespce` is not a setting; did you mean `mtv_namespace`?",
        "my.yaml:3: `jobs`: expected a whole number, got string \"lots\"",
        "my.yaml:5: `timeouts.plam` is not a setting; did you mean `timeouts.plan`?",
        "my.yaml:6: `timeouts.plan`: `soon` is not a duration: write 90s, 5m, 1h 30m, or a number of seconds",
        "my.yaml:7: `cluster_password`: expected a text; put it in quotes",
        "environment MTV_JOBZ: `jobz` is not a setting; did you mean `jobs`?",
        "--set timeouts.verify: `timeouts.verify`: `later` is not a duration: write 90s, 5m, 1h 30m, or a number of seconds",
    ] {
        assert!(text.lines().any(|l| l == line), "missing: {line}\nin:\n{text}");
    }
    assert!(!text.contains("12345"));
    assert_eq!(text.lines().count(), 7, "{text}");
}

#[test]
fn a_scenario_is_refused_with_the_line_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let text = "one:\n  virtual_machines:\n    - name: a\n      source_vm_powr: \"on\"\ntwo:\n  preserve_static_ips: true\n  virtual_machines: [{name: b}]\n  pre_hook: {expected_result: fail, playbook_base64: eA==}\n  target_node_selector: {a: null, b: null}\nthree:\n  virtual_machines:\n    - name: c\n      source_vm_power: maybe\nfour:\n  virtual_machines: [{name: d}]\n  post_hook:\n    playbook_base64: \"not base64\"\n";
    request.config.push(write(dir.path(), "scenarios/mine.yaml", text));
    let text = refused(&request, dir.path());
    for line in [
        "scenarios/mine.yaml:4: scenario `one`: `virtual_machines.0.source_vm_powr` is not a scenario key; did you mean `virtual_machines.0.source_vm_power`?",
        "scenarios/mine.yaml:8: scenario `two`: `pre_hook` needs exactly one of `expected_result` and `playbook_base64`",
        "scenarios/mine.yaml:9: scenario `two`: `target_node_selector` has at most one entry",
        "scenarios/mine.yaml:16: scenario `four`: `post_hook.playbook_base64` is not base64",
    ] {
        assert!(text.lines().any(|l| l == line), "missing: {line}\nin:\n{text}");
    }
    assert!(text.contains("scenarios/mine.yaml:7: scenario `two`: `preserve_static_ips` needs"), "{text}");
    assert!(text.contains("scenarios/mine.yaml:13: scenario `three`: `virtual_machines[0].source_vm_power`"), "{text}");
}

const PEER_FILE: &str = r#"{
  "$schema": "./providers.schema.json",
  "vsphere-8.0.1": {
    "type": "vsphere", "version": "8.0.1", "fqdn": "", "api_url": "https://vc.example.com:443/sdk",
    "username": "me", "password": "vc-secret", "guest_vm_linux_user": "root", "guest_vm_linux_password": "l-secret",
    "copyoffload": {"storage_vendor_product": "ontap", "datastore_id": "datastore-1", "storage_username": "file-user",
      "storage_password": "st-secret"}
  },
  "openshift-1": {"type": "openshift", "version": "1", "fqdn": "", "api_url": "", "username": "", "password": "",
    "host": "x", "storage_class": "y"},
  "ova-1": {"type": "ova", "version": "1", "api_url": "nfs.example.com:/share", "username": "", "password": ""},
  "osp": {"type": "openstack", "version": 17, "api_url": "https://k.example.com/v3", "username": "u",
    "password": "osp-hidden", "project_name": "p", "user_domain_name": "d", "region_name": "r", "user_domain_id": "x",
    "project_domain_id": "y"}
}"#;

#[test]
fn a_provider_file_of_the_python_suite_loads_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    write(dir.path(), "no-secrets/providers.json", PEER_FILE);
    request.env.insert("COPYOFFLOAD_STORAGE_USERNAME".into(), "env-user".into());
    request.env.insert("COPYOFFLOAD_STORAGE_PASSWORD".into(), String::new());
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.providers.len(), 4);
    let vsphere = &loaded.providers["vsphere-8.0.1"];
    assert_eq!(vsphere.fqdn, "vc.example.com");
    assert!(vsphere.guest.windows.is_none() && vsphere.guest.linux.is_some());
    let PlatformConfig::Vsphere(config) = &vsphere.config else { panic!("vsphere") };
    let section = config.copyoffload.as_ref().unwrap();
    assert_eq!(section["storage_username"], "env-user");
    assert_eq!(section["storage_password"], "st-secret");
    assert_eq!(loaded.providers["ova-1"].fqdn, "nfs.example.com");
    assert_eq!(loaded.providers["osp"].version, "17");
    assert_eq!(loaded.provenance["providers.vsphere-8.0.1.copyoffload.storage_username"].layer, Layer::Environment);
    assert_eq!(loaded.provenance["providers.vsphere-8.0.1.password"].line, Some(5));
    let debug = format!("{loaded:?}");
    assert!(!debug.contains("-secret\""), "{debug}");
    for secret in ["vc-secret", "l-secret", "st-secret", "osp-hidden"] {
        assert!(!debug.contains(secret), "{secret}");
    }
}

#[test]
fn a_wrong_profile_is_refused_with_its_name_and_line_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let text = "{\n  \"v\": {\n    \"type\": \"vsphere\",\n    \"api_url\": \"https://x/sdk\",\n    \"usrname\": \"a\",\n    \"password\": 987654\n  },\n  \"w\": {\n    \"type\": \"vmware\"\n  },\n  \"o\": {\"type\": \"ovirt\"}\n}";
    request.flags.push(("providers_json".into(), json!(write(dir.path(), "p.json", text)), "--providers-json".into()));
    let text = refused(&request, dir.path());
    assert!(text.contains("p.json:5: profile `v`: `usrname` is not a profile key; did you mean `username`?"), "{text}");
    assert!(text.contains("p.json:6: profile `v`: `password`: expected a text; put it in quotes"), "{text}");
    assert!(text.contains("p.json:9: profile `w`: `type`:"), "{text}");
    assert!(text.contains("p.json:11: profile `o`: `api_url` is required for a profile of type ovirt"), "{text}");
    assert!(!text.contains("987654"));
}

#[test]
fn an_openstack_profile_needs_what_its_auth_type_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let profile = |more: &str| {
        format!("{{\"o\": {{\"type\": \"openstack\", \"api_url\": \"https://k/v3\", \"region_name\": \"r\", {more}}}}}")
    };
    let credential = "\"auth_type\": \"applicationcredential\", \"application_credential_secret\": \"hidden-one\"";
    let with = |request: &mut LoadRequest, text: String| {
        request.providers_text = Some((text, "p.json".into()));
    };
    with(&mut request, profile(&format!("{credential}, \"application_credential_id\": \"ac1\"")));
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let PlatformConfig::Openstack(config) = &loaded.providers["o"].config else { panic!("openstack") };
    assert!(matches!(&config.auth, OpenstackAuth::ApplicationCredential { id, .. } if id == "ac1"));
    assert!(!format!("{loaded:?}").contains("hidden-one"));
    with(&mut request, profile(credential));
    let text = refused(&request, dir.path());
    for key in ["username", "application_credential_name", "user_domain_name"] {
        assert!(text.contains(&format!("`{key}` is required")), "{key}: {text}");
    }
    with(&mut request, profile("\"username\": \"u\", \"password\": \"p\""));
    let text = refused(&request, dir.path());
    assert!(text.contains("`project_name` is required") && text.contains("`user_domain_name` is required"), "{text}");
}

#[test]
fn names_of_the_python_suite_keep_their_meaning() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let text = "insecure_verify_skip: \"True\"\nplan_wait_timeout: 1800\ntarget_ocp_version: \"4.18\"\nsource_provider_type: vsphere\nsource_provider_version: 8.0.1\nstorage_class: nfs\ntests_params:\n  mine:\n    virtual_machines: [{name: a}]\n";
    request.config.push(write(dir.path(), "tc.yaml", text));
    request.env.insert("CLUSTER_HOST".into(), "https://api.example.com:6443".into());
    request.set.push("scenarios.test_post_hook_retain_failed_vm.post_hook.expected_result=succeed".into());
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let s = &loaded.settings;
    assert!(s.insecure_verify_skip);
    assert_eq!(s.timeouts.migrate, Duration::from_secs(1800));
    assert_eq!(loaded.provenance["timeouts.migrate"].line, Some(2));
    assert_eq!(s.source_provider.as_deref(), Some("vsphere-8.0.1"));
    assert_eq!(s.storage_class, ["nfs"]);
    assert_eq!(s.cluster_host.as_deref(), Some("https://api.example.com:6443"));
    assert!(loaded.warnings.iter().any(|w| w.ends_with("tc.yaml:3: `target_ocp_version` has no effect")));
    assert_eq!(loaded.scenarios.len(), 9);
    let hook = loaded.scenarios["test_post_hook_retain_failed_vm"].post_hook.as_ref().unwrap();
    assert_eq!(hook.expected_result, Some(ExpectedResult::Succeed));
    request.env.insert("CLUSTER_VERIFY_SSL".into(), "yes".into());
    assert!(!load(&request).unwrap_or_else(|e| panic!("{e}")).settings.insecure_verify_skip);
}

#[test]
fn the_example_provider_file_loads() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/providers.json.example"));
    request.providers_text = Some((text.into(), "providers.json.example".into()));
    assert_eq!(load(&request).unwrap_or_else(|e| panic!("{e}")).providers.len(), 9);
}

#[test]
fn every_setting_is_in_the_default_file_and_the_schemas_are_objects() {
    let schema = super::schema::settings();
    let Ok(defaults) = super::node::parse_yaml(super::shipped::DEFAULTS.1) else { panic!("parses") };
    for key in schema["properties"].as_object().unwrap().keys() {
        assert!(defaults.get(key).is_some(), "{key} is missing in config/default.yaml");
    }
    assert!(super::schema::providers()["additionalProperties"].is_object());
    assert!(super::schema::scenarios()["additionalProperties"].is_object());
}

/// Profiles of a provider file's text, and the warnings about them.
fn profiles(text: &str) -> (Providers, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let request = LoadRequest {
        secrets_dir: Some(dir.path().to_owned()),
        providers_text: Some((text.to_owned(), "test".to_owned())),
        scenarios_default: true,
        ..LoadRequest::default()
    };
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    (loaded.providers, loaded.warnings)
}

#[test]
fn the_example_is_strict_json_with_a_profile_of_every_type_and_nothing_to_complain_of() {
    let text = include_str!("../../providers.json.example");
    serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (providers, warnings) = profiles(text);
    assert_eq!(warnings, Vec::<String>::new());
    let types: std::collections::BTreeSet<Platform> = providers.values().map(|p| p.platform).collect();
    use Platform::{Ec2, Hyperv, Openshift, Openstack, Ova, Ovirt, Vsphere};
    let all = [Vsphere, Ovirt, Openstack, Openshift, Ova, Hyperv, Ec2];
    assert!(all.iter().all(|platform| types.contains(platform)), "{types:?}");
}

#[test]
fn every_key_of_a_profile_is_documented() {
    let page = include_str!("../../docs/providers.md");
    let schema = super::schema::profile();
    let keys = schema["properties"].as_object().unwrap().keys();
    let missing: Vec<&String> = keys.filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/providers.md does not say what these mean: {missing:?}");
}

#[test]
fn hyperv_and_ec2_profiles_are_typed_and_ask_for_what_mtv_needs() {
    let (providers, _) = profiles(
        r#"{"hv": {"type": "hyperv", "fqdn": "h.example", "username": "u", "password": "p", "smb_url": "//h/s"},
            "aws": {"type": "ec2", "region": "eu-west-1", "access_key_id": "AK", "secret_access_key": "SK", "target_az": "eu-west-1a"}}"#,
    );
    let PlatformConfig::Hyperv(hyperv) = &providers["hv"].config else { panic!() };
    assert_eq!((hyperv.winrm_port, providers["hv"].max_concurrent), (5986, Some(1)));
    assert_eq!(providers["aws"].api_url, "https://ec2.eu-west-1.amazonaws.com");
    assert_eq!(providers["aws"].login.username, "AK");

    let dir = tempfile::tempdir().unwrap();
    let request = LoadRequest {
        secrets_dir: Some(dir.path().to_owned()),
        providers_text: Some((
            r#"{"a": {"type": "ec2", "regoin": "x"}, "h": {"type": "hyperv"}}"#.to_owned(),
            "t".to_owned(),
        )),
        ..LoadRequest::default()
    };
    let refused = load(&request).unwrap_err().to_string();
    for words in [
        "did you mean `region`?",
        "`target_az` is required",
        "`access_key_id` is required",
        "`fqdn` is required",
        "`smb_url` is required",
    ] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[test]
fn values_of_the_environment_come_without_the_newline_of_the_file_that_filled_them() {
    let mut request = LoadRequest::default();
    for (name, value) in [
        ("CLUSTER_HOST", "https://api.example.com:6443\n"),
        ("CLUSTER_USERNAME", "kubeadmin\r\n"),
        ("CLUSTER_PASSWORD", "pw \n"),
        ("CLUSTER_TOKEN", "sha256~x\n"),
        ("MTV_JOBS", "3\n"),
    ] {
        request.env.insert(name.into(), value.into());
    }
    let settings = load(&request).unwrap().settings;
    assert_eq!(settings.cluster_host.as_deref(), Some("https://api.example.com:6443"));
    assert_eq!(settings.cluster_username.as_deref(), Some("kubeadmin"));
    assert_eq!(settings.cluster_password.unwrap().expose_secret(), "pw ");
    assert_eq!(settings.cluster_token.unwrap().expose_secret(), "sha256~x");
    assert_eq!(settings.jobs, 3);
}

#[test]
fn a_login_in_a_url_is_refused_and_not_told() {
    let mut request = LoadRequest::default();
    request.env.insert("CLUSTER_HOST".into(), "https://me:canary@api.example.com:6443".into());
    let text = r#"{"v": {"type": "vsphere", "api_url": "https://me:canary@vc/sdk", "username": "u", "password": "p"}}"#;
    request.providers_text = Some((text.into(), "providers.json".into()));
    let said = load(&request).err().unwrap().to_string();
    assert!(said.contains("`cluster_host`: the URL holds a login; write https://api.example.com:6443"), "{said}");
    assert!(said.contains("`api_url`: the URL holds a login; write https://vc/sdk"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    let mut request = LoadRequest::default();
    request.set.push("metrics_push=https://me:canary@push/".into());
    let shown = load(&request).unwrap().shown;
    assert_eq!(shown.get("metrics_push").map(String::as_str), Some("https://push/"));
}
