//! Loading as a whole: layers, places, refusals.

mod suite;
pub(super) mod valid;

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::config::platforms::OpenstackAuth;

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
fn the_defaults_load_alone_with_the_eight_scenarios_and_those_that_run_only_where_they_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load(&request(dir.path())).unwrap_or_else(|e| panic!("{e}"));
    let usual = loaded.scenarios.values().filter(|scenario| !scenario.opt_in);
    assert_eq!(usual.count(), 8, "{:?}", loaded.scenarios.keys());
    let named = loaded.scenarios.values().filter(|scenario| scenario.opt_in);
    let tagged = |tag: &str| named.clone().filter(|one| one.tags.contains(&tag.to_owned())).count();
    let catalogue = tagged("tier1") + tagged("ova");
    assert!(tagged("lifecycle") > 7 && catalogue > 10, "{:?}", loaded.scenarios.keys());
    let offloaded = named.clone().filter(|one| one.copyoffload);
    let alone = offloaded.clone().filter(|one| one.tags.contains(&"alone".to_owned())).count();
    assert_eq!(offloaded.clone().count(), 30, "{:?}", loaded.scenarios.keys());
    assert_eq!(
        tagged("lifecycle") + tagged("alone") - alone + tagged("copyoffload") + tagged("live") + catalogue,
        named.clone().count()
    );
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
    let text = "one:\n  virtual_machines:\n    - name: a\n      snapshots: 99\ntwo:\n  preserve_static_ips: true\n  virtual_machines: [{name: b}]\n  pre_hook: {expected_result: fail, playbook_base64: eA==}\n  target_node_selector: {a: null, b: null}\nthree:\n  virtual_machines:\n    - name: c\n      source_vm_power: maybe\nfour:\n  virtual_machines: [{name: d}]\n  post_hook:\n    playbook_base64: \"not base64\"\n";
    request.config.push(write(dir.path(), "scenarios/mine.yaml", text));
    let text = refused(&request, dir.path());
    for line in [
        "scenarios/mine.yaml:4: scenario `one`: `virtual_machines.0.snapshots`: 99 is not from 0 to 32",
        "scenarios/mine.yaml:8: scenario `two`: `pre_hook` needs exactly one of `expected_result`, `playbook_base64` and `aap_job_template_id`",
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
    assert_eq!(section.storage_username.as_deref(), Some("env-user"));
    assert_eq!(section.storage_password.as_ref().unwrap().expose_secret(), "st-secret");
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
    assert_eq!(loaded.scenarios.values().filter(|scenario| !scenario.opt_in).count(), 9);
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
    let schema = crate::config::known::settings();
    let Ok(defaults) = crate::config::node::parse_yaml(crate::config::shipped::DEFAULTS.1) else { panic!("parses") };
    for key in schema["properties"].as_object().unwrap().keys() {
        assert!(defaults.get(key).is_some(), "{key} is missing in config/default.yaml");
    }
    assert!(crate::config::platforms::providers_schema()["additionalProperties"].is_object());
    assert!(crate::config::known::scenarios_file()["additionalProperties"].is_object());
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
    let text = include_str!("../../../providers.json.example");
    serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (providers, warnings) = profiles(text);
    assert_eq!(warnings, Vec::<String>::new());
    let types: std::collections::BTreeSet<Platform> = providers.values().map(|p| p.platform).collect();
    use Platform::{Ec2, Hyperv, Openshift, Openstack, Ova, Ovirt, Vsphere};
    let all = [Vsphere, Ovirt, Openstack, Openshift, Ova, Hyperv, Ec2];
    assert!(all.iter().all(|platform| types.contains(platform)), "{types:?}");
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

/// What a provider file's text is refused with.
fn refused_profiles(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let request = LoadRequest {
        secrets_dir: Some(dir.path().to_owned()),
        providers_text: Some((text.to_owned(), "p.json".to_owned())),
        ..LoadRequest::default()
    };
    load(&request).unwrap_err().to_string()
}

#[test]
fn a_key_of_another_type_and_one_without_effect_are_told_with_their_lines() {
    let (providers, warnings) = profiles(
        "{\"o\": {\"type\": \"ovirt\", \"api_url\": \"https://e/ovirt-engine/api\", \"username\": \"u\", \"password\": \"p\",\n\
          \"vddk_init_image\": \"x\", \"smb_url\": \"\",\n \"region\": \"eu\",\n \"cluster_name\": \"c\", \"admin_password\": \"hush\"}}",
    );
    assert_eq!(providers.len(), 1);
    assert_eq!(
        warnings,
        [
            "test:2: profile `o`: `vddk_init_image` is a key of vsphere; it has no effect on type ovirt",
            "test:3: profile `o`: `region` is a key of ec2; it has no effect on type ovirt",
            "test:4: profile `o`: no effect: `cluster_name` (line 4), `admin_password` (line 4)",
        ]
    );
}

#[test]
fn everything_that_is_wrong_with_a_profile_is_told_at_once() {
    let text = refused_profiles(
        "{\"v\": {\"type\": \"vsphere\",\n\"api_url\": \"https://me:hush@vc/sdk\",\n\"usrname\": \"u\",\n\"password\": 12,\n\
          \"max_concurrent\": 0,\n\"copyoffload\": {\"ontap_svn\": \"x\"},\n\"endpoint_type\": \"esx\"},\n\
         \"w\": {\"type\": \"vspere\"}}",
    );
    for line in [
        "p.json:2: profile `v`: `api_url` holds a login; write it as `username` and `password`",
        "p.json:3: profile `v`: `usrname` is not a profile key; did you mean `username`?",
        "p.json:4: profile `v`: `password`: expected a text; put it in quotes",
        "p.json:5: profile `v`: `max_concurrent`: 0 is not from 1 to 10000",
        "p.json:6: profile `v`: `copyoffload.ontap_svn` is not a profile key; did you mean `copyoffload.ontap_svm`?",
        "p.json:1: profile `v`: `username` is required for a profile of type vsphere",
    ] {
        assert!(text.lines().any(|l| l == line), "missing: {line}\nin:\n{text}");
    }
    assert!(text.contains("p.json:7: profile `v`: `endpoint_type`: unknown variant `esx`"), "{text}");
    assert!(
        text.contains("p.json:8: profile `w`: `type`: `vspere` is not one of")
            && text.contains("did you mean `vsphere`?")
    );
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn an_endpoint_without_scheme_or_path_is_completed_and_told() {
    let profile = |url: &str| {
        profiles(&format!(
            "{{\"v\": {{\"type\": \"vsphere\", \"api_url\": \"{url}\", \"username\": \"u\", \"password\": \"p\"}}}}"
        ))
    };
    for (written, taken) in [
        ("127.0.0.1:1/sdk", "https://127.0.0.1:1/sdk"),
        ("vc.example.com", "https://vc.example.com/sdk"),
        ("https://vc.example.com:8443", "https://vc.example.com:8443/sdk"),
    ] {
        let (providers, warnings) = profile(written);
        assert_eq!(providers["v"].api_url, taken);
        assert_eq!(warnings, [format!("test:1: profile `v`: `api_url` `{written}` is taken as {taken}")]);
    }
    let (_, warnings) = profile("http://vc.example.com/sdk");
    assert!(warnings[0].contains("without TLS"), "{warnings:?}");
    let refused = refused_profiles("{\"a\": {\"type\": \"ova\", \"api_url\": \"nfs://h/x\"}}");
    assert!(refused.contains("without a scheme"), "{refused}");
}

/// A provider file of the Python suite's first years.
const OLDER_FILE: &str = r#"{
  "vsphere-8.0.1": {"type": "vsphere", "version": "8.0.1", "fqdn": "vc.example.com", "api_url": "https://vc.example.com/sdk",
    "username": "administrator@vsphere.local", "password": "pw", "admin_username": "a", "admin_password": "hush",
    "non_admin_username": "na", "non_admin_password": "hush", "cluster_name": "", "default": "True", "vm_folder": "qe",
    "host_list": [{"migration_host_id": "host-8", "user": "root", "password": "hush", "default": "True"}]},
  "openshift-localhost": {"type": "openshift", "version": "localhost", "default": "True", "verify_ssl": false,
    "ca_bundle": "x", "networks": [{"type": "pod"}], "storages": [{"name": "hostpath-csi-basic"}]},
  "ova-nfs": {"type": "ova", "version": "nfs", "fqdn": "", "api_url": "nfs.example.com:/home/share", "username": "ova", "password": ""}
}"#;

#[test]
fn an_older_provider_file_of_the_python_suite_loads_and_says_what_has_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    request.providers_text = Some((OLDER_FILE.to_owned(), "p.json".to_owned()));
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.providers.len(), 3);
    for words in [
        "`host_list` (line 5)",
        "`verify_ssl` (line 6), `ca_bundle` (line 7)",
        "`ova-nfs`: no effect: `username` (line 8)",
    ] {
        assert!(loaded.warnings.iter().any(|w| w.contains(words)), "{words}: {:?}", loaded.warnings);
    }
    // An empty value asks for nothing.
    assert!(!loaded.warnings.iter().any(|w| w.contains("cluster_name")));
    assert!(!format!("{:?}", loaded).contains("hush"), "a secret of a key without effect is shown");
}

#[test]
fn a_dotted_name_is_reached_by_set_by_a_secret_file_and_by_a_variable() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let profile = r#"{"type": "vsphere", "api_url": "https://vc/sdk", "username": "u", "password": "p"}"#;
    let hyperv = r#"{"type": "hyperv", "fqdn": "h", "username": "u", "password": "p", "smb_url": "//h/s"}"#;
    request.providers_text = Some((
        format!("{{\"vsphere-8.0\": {profile}, \"vsphere-8\": {profile}, \"hyperv\": {hyperv}}}"),
        "p.json".into(),
    ));
    request.set.push("providers.vsphere-8.0.max_concurrent=2".into());
    write(dir.path(), "no-secrets/providers.vsphere-8.0.password", "from-file\n");
    request.env.insert("MTV_PROVIDERS__VSPHERE_8_0__FQDN".into(), "by.env\r\n".into());
    request.env.insert("MTV_PROVIDERS__HYPERV__WINRM_PORT".into(), "1234".into());
    // A Service called mtv-web; its variables are nobody's settings.
    for name in ["MTV_WEB_SERVICE_HOST", "MTV_WEB_SERVICE_PORT", "MTV_WEB_PORT", "MTV_WEB_PORT_80_TCP_ADDR"] {
        request.env.insert(name.into(), "10.0.0.1".into());
    }
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let vsphere = &loaded.providers["vsphere-8.0"];
    assert_eq!((vsphere.max_concurrent, vsphere.fqdn.as_str()), (Some(2), "by.env"));
    assert_eq!(vsphere.login.password.expose_secret(), "from-file");
    assert_eq!(loaded.providers["vsphere-8"].max_concurrent, None);
    let PlatformConfig::Hyperv(config) = &loaded.providers["hyperv"].config else { panic!("hyperv") };
    assert_eq!(config.winrm_port, 1234);

    request.providers_text = Some((
        format!("{{\"vsphere-8.0\": {profile}, \"vsphere_8_0\": {profile}, \"hyperv\": {hyperv}}}"),
        "p.json".into(),
    ));
    let text = refused(&request, dir.path());
    assert!(text.contains("`VSPHERE_8_0` stands for more than one profile: `vsphere-8.0` and `vsphere_8_0`"), "{text}");
    request.env.clear();
    request.env.insert("MTV_SMTP_PORT".into(), "25".into());
    let text = refused(&request, dir.path());
    assert!(text.contains("environment MTV_SMTP_PORT: `smtp_port` is not a setting"), "{text}");
}

#[test]
fn numbers_out_of_bounds_and_variables_that_are_no_text_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    for set in [
        "jobs=4611686018427387904",
        "retries=18446744073709551615",
        "max_concurrent=0",
        "timeouts.power=18446744073709551615",
    ] {
        request.set.push(set.into());
    }
    request.config.push(write(dir.path(), "my.yaml", "plan_wait_timeot: 10\nsnapshots_interval: -1\n"));
    request.env_not_text.extend(["MTV_JOBS".to_owned(), "LESSOPEN".to_owned()]);
    let text = refused(&request, dir.path());
    for line in [
        "my.yaml:1: `plan_wait_timeot` is not a setting; did you mean `plan_wait_timeout`?",
        "my.yaml:2: `snapshots_interval`: -1 is not from 1 to 1440",
        "environment MTV_JOBS: its value is not UTF-8 text",
        "--set jobs: `jobs`: 4611686018427387904 is not from 1 to 10000",
        "--set retries: `retries`: 18446744073709551615 is not from 0 to 100",
        "--set max_concurrent: `max_concurrent`: 0 is not from 1 to 10000",
        "--set timeouts.power: `timeouts.power`: is longer than a duration may be: 366 days",
    ] {
        assert!(text.lines().any(|l| l == line), "missing: {line}\nin:\n{text}");
    }
    assert_eq!(text.lines().count(), 7, "{text}");
}

#[test]
fn a_mark_or_a_line_end_at_an_edge_is_no_part_of_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    request.providers_text = Some((
        "\u{feff}{\"v\": {\"type\": \"vsphere\",\r\n\"api_url\": \"https://vc/sdk\\n\", \"username\": \"u\", \"password\": \"p\\r\\n\"}}".into(),
        "p.json".into(),
    ));
    for (name, value) in [("CLUSTER_TOKEN", "t\n"), ("CLUSTER_HOST", " api.example.com:6443\r\n")] {
        request.env.insert(name.into(), value.into());
    }
    write(dir.path(), "no-secrets/mtv_namespace", "\u{feff}own\r\n");
    request.config.push(write(dir.path(), "my.yaml", "\u{feff}jobs: 3\r\nkubeconfig_context: \"c\\n\"\r\n"));
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let s = &loaded.settings;
    assert_eq!(s.cluster_token.as_ref().unwrap().expose_secret(), "t");
    assert_eq!(s.cluster_host.as_deref(), Some("https://api.example.com:6443"));
    assert_eq!((s.mtv_namespace.as_str(), s.jobs, s.kubeconfig_context.as_deref()), ("own", 3, Some("c")));
    assert_eq!(loaded.providers["v"].api_url, "https://vc/sdk");
    assert_eq!(loaded.providers["v"].login.password.expose_secret(), "p");
}

#[test]
fn problems_of_every_file_and_kind_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let providers = write(dir.path(), "p.json", "{\"a\": {\"type\": \"ovirt\"},\n \"a\": {\"type\": \"ovirt\"}}");
    request.config.push(write(dir.path(), "my.yaml", "jbos: 1\nretries: -1\ncluster_host: https://me:hush@h\n"));
    request.config.push(write(dir.path(), "scenarios/s.yaml", "a: {virtual_machines: []}\nb: [\n"));
    request.config.push(write(
        dir.path(),
        "more.yaml",
        "scenarios: {c: {virtual_machines: [{name: x, clone: 3}], group: [1]}}\n",
    ));
    request.set.push(format!("providers_json={}", providers.display()));
    let text = refused(&request, dir.path());
    for words in [
        "my.yaml:1: `jbos` is not a setting",
        "my.yaml:2: `retries`: -1 is not from",
        "my.yaml:3: `cluster_host` holds a login",
        "p.json:2: the key stands twice: `a` in line 1 and in line 2",
        "scenarios/s.yaml:",
        "scenario `c`: `virtual_machines[0].clone`: expected true or false",
        "scenario `c`: `group`: expected a string",
    ] {
        assert!(text.contains(words), "{words}\nin:\n{text}");
    }
    assert!(!text.contains("hush"));
}

/// Newer scenario keys of the Python suite.
const NEWER_KEYS: &str = r#"
n1: {virtual_machines: [{name: a, add_nic: true, add_nic_start_connected: false}]}
n2: {virtual_machines: [{name: a}], per_nic_network_map: true}
n3: {virtual_machines: [{name: a, luks: true, luks_passphrase: x}]}
n4: {virtual_machines: [{name: a, migrate_shared_disks: true}], migrate_shared_disks: false}
n5: {virtual_machines: [{name: a}], xfs_compatibility: true, xfs_check: {command: c, mount_point: m, expected_output: o}}
n6: {virtual_machines: [{name: a}], clone_to_same_host: true, enable_nested_virtualization: false, run_preflight_inspection: true}
n7: {virtual_machines: [{name: a, target_esxi_host: h}], clone_to_same_host: true}
n8: {virtual_machines: [{name: a}], inventory_timeout: 300, guest_agent_timeout: 120, skip_clone: true}
n9: {virtual_machines: [{name: a}], pvc_name_template: {vsphere: "{{.VmName}}", default: "x"}}
n10: {virtual_machines: [{name: a}], pre_hook: {aap_job_template_id: 5}}
n11: {virtual_machines: [{name: a, snapshots: 2, clone: true, win_os: false, add_nic: false}], multus_namespace: default}
n12: {virtual_machines: [{name: a}], virtal_machines: 3}
"#;

#[test]
fn a_file_of_scenarios_is_known_as_one_wherever_it_lies_and_settings_are_not_taken_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = LoadRequest { scenarios_default: true, ..LoadRequest::default() };
    request.config.push(write(dir.path(), "new.yaml", NEWER_KEYS));
    let loaded = load(&request).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.scenarios.contains_key("n1") && loaded.scenarios.contains_key("n11"));
    request.config.push(write(dir.path(), "settings.yaml", "jobs: 2\nmine: {virtual_machines: [{name: a}]}\n"));
    assert!(load(&request).unwrap_err().to_string().contains("settings.yaml:2: `mine` is not a setting"));
}

#[test]
fn newer_scenario_keys_of_the_python_suite_are_known_or_are_said_to_have_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    request.config.push(write(dir.path(), "scenarios/new.yaml", NEWER_KEYS));
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let reason = |name: &str| loaded.scenarios[name].not_built.join("; ");
    for name in ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11"] {
        assert_eq!(reason(name), "", "{name}");
    }
    let steps = loaded.scenarios["n5"].steps.as_deref().unwrap_or_default();
    let told: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert!(told.len() == 3 && told[2].contains("c m"), "{told:?}");
    assert_eq!(loaded.scenarios["n1"].virtual_machines[0].add_nic_start_connected, Some(false));
    assert!(loaded.scenarios["n3"].virtual_machines[0].luks_passphrase.is_some());
    assert_eq!(loaded.scenarios["n4"].migrate_shared_disks, Some(false));
    assert_eq!(loaded.scenarios["n7"].virtual_machines[0].target_esxi_host.as_deref(), Some("h"));
    assert!(loaded.scenarios["n6"].clone_to_same_host);
    assert_eq!(loaded.scenarios["n6"].run_preflight_inspection, Some(true));
    assert_eq!(loaded.scenarios["n2"].per_nic_network_map, Some(true));
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].ends_with("scenario `n8`: `inventory_timeout` has no effect; set `timeouts.inventory`"));
    assert_eq!(loaded.scenarios["n9"].pvc_name_templates["vsphere"], "{{.VmName}}");
    let refused = &loaded.scenarios["n12"].refused;
    assert!(
        refused[0].contains("`virtal_machines` is not a scenario key; did you mean `virtual_machines`?"),
        "{refused:?}"
    );
}

#[test]
fn a_scenario_of_a_shipped_name_keeps_what_a_file_of_the_python_suite_cannot_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path());
    let text = "tests_params:\n  test_cold_remote_ocp:\n    virtual_machines: [{name: a}]\n  test_sanity_cold_mtv_migration:\n    tags: [own]\n    virtual_machines: [{name: a}]\n";
    request.config.push(write(dir.path(), "suite.yaml", text));
    let loaded = load(&request).unwrap_or_else(|e| panic!("{e}"));
    let remote = &loaded.scenarios["test_cold_remote_ocp"];
    assert_eq!(remote.destination, crate::config::scenarios::Destination::Remote);
    assert_eq!((remote.tags.as_slice(), remote.virtual_machines.len()), (["remote".to_owned()].as_slice(), 1));
    assert_eq!(loaded.scenarios["test_sanity_cold_mtv_migration"].tags, ["own"]);
    let told: Vec<&String> = loaded.warnings.iter().filter(|w| w.contains("kept from the shipped")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(
        "suite.yaml:2: scenario `test_cold_remote_ocp`: `destination`, `tags` kept from the shipped scenario"
    ));
}

#[test]
fn the_schema_of_a_settings_file_accepts_what_the_program_accepts() {
    let schema = crate::config::known::settings_file();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<(String, String)> = ["config/default.yaml", "manifests/base/settings.yaml"]
        .iter()
        .map(|file| ((*file).to_owned(), std::fs::read_to_string(root.join(file)).unwrap()))
        .collect();
    let own = "insecure_verify_skip: \"True\"\njobs: \"4\"\nplan_wait_timeout: 1800\nsource_provider_type: vsphere\nsource_provider_version: 8.0\nstorage_class: nfs\ntimeouts: {plan: 90}\n$schema: x\nproviders:\n";
    texts.push(("own".to_owned(), format!("{own}tests_params:{}", NEWER_KEYS.replace('\n', "\n  "))));
    texts.push(("empty".to_owned(), "storage_class:\ntimeouts: {}\n".to_owned()));
    texts.push(("providers".to_owned(), format!("providers: {}", OLDER_FILE.replace('\n', " "))));
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in texts {
        // n12 has a key that nobody knows, and is refused by both.
        let text: String = text.lines().filter(|l| !l.contains("n12")).map(|l| format!("{l}\n")).collect();
        let Ok(node) = crate::config::node::parse_yaml(&text) else { panic!("{name} parses") };
        let errors = valid::errors(&schema, &node.to_json());
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let mut request = request(dir.path());
        request.config.push(write(dir.path(), "f.yaml", &text));
        load(&request).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    for wrong in [json!({"jbos": 1}), json!({"jobs": 0}), json!({"timeouts": {"plam": "1m"}}), json!({"keep": "ever"})]
    {
        assert!(!valid::errors(&schema, &wrong).is_empty(), "{wrong}");
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
    assert_eq!(shown.get("metrics_push").map(String::as_str), Some("https://********@push/"));
}
