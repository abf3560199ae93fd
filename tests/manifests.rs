//! The files that make the program a Job agree with the program: flags, settings, Secret keys, and
//! the security context that OpenShift's restricted-v2 asks for.

// A helper of a test may unwrap, too: its panic is the report.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            out.push(path);
        }
    }
}

/// Every document of every file, with its file's name. A document has a kind, settings have none.
fn documents() -> Vec<(String, Value)> {
    let mut files = Vec::new();
    yaml_files(&root().join("manifests"), &mut files);
    yaml_files(&root().join("tekton"), &mut files);
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!parsed.is_empty(), "{name} is empty");
        all.extend(parsed.into_iter().map(|document| (name.clone(), document)));
    }
    all
}

/// The pod specs in a document, and a Tekton Task's spec as one.
fn pods(document: &Value) -> Vec<&Value> {
    let at = match document["kind"].as_str().unwrap_or_default() {
        "Pod" | "Task" => "/spec",
        "Job" => "/spec/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => return Vec::new(),
    };
    vec![document.pointer(at).unwrap()]
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers", "steps"].into_iter().filter_map(|key| pod[key].as_array()).flatten()
}

/// Our own containers, with their arguments.
fn own_arguments() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (file, document) in documents() {
        for container in pods(&document).into_iter().flat_map(containers) {
            if let Some(args) = container["args"].as_array() {
                found.push((file.clone(), args.iter().map(|a| a.as_str().unwrap().to_owned()).collect()));
            }
        }
    }
    found
}

fn mtv_matrix(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_mtv-matrix")).args(args).env_remove("MTV_SECRETS_DIR").output().unwrap()
}

fn known_flags(command: &str) -> BTreeSet<String> {
    let help = mtv_matrix(&["help", command]);
    assert!(help.status.success(), "there is no command {command}");
    let text = String::from_utf8(help.stdout).unwrap();
    let long = text.split(|c: char| c.is_whitespace() || c == '`' || c == ',').filter(|w| w.starts_with("--"));
    long.map(str::to_owned).collect()
}

#[test]
fn every_manifest_is_yaml_and_every_kustomization_names_files_that_are_there() {
    for (file, document) in documents() {
        assert!(document.is_object(), "{file} holds no object");
        if document["kind"] == "Kustomization" {
            let dir = root().join(&file).parent().unwrap().to_owned();
            for resource in document["resources"].as_array().unwrap() {
                assert!(dir.join(resource.as_str().unwrap()).exists(), "{file} names {resource}, which is not there");
            }
        }
    }
}

#[test]
fn every_flag_of_a_manifest_is_a_flag_of_its_command() {
    let all = own_arguments();
    assert!(all.len() >= 5, "Job, two CronJobs, lab Job and Task were expected, got {}", all.len());
    for (file, args) in all {
        let known = known_flags(&args[0]);
        for arg in &args[1..] {
            let flag = arg.split('=').next().unwrap();
            assert!(flag.starts_with("--") && known.contains(flag), "{file}: `{} {flag}` is not known", args[0]);
        }
    }
}

#[test]
fn the_arguments_mount_points_belong_to_mounted_volumes() {
    for (file, document) in documents() {
        for pod in pods(&document).into_iter().filter(|_| document["kind"] != "Task") {
            let volumes: BTreeSet<&str> =
                pod["volumes"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
            for container in containers(pod) {
                let mounts = container["volumeMounts"].as_array().unwrap();
                for mount in mounts {
                    assert!(volumes.contains(mount["name"].as_str().unwrap()), "{file}: {mount} has no volume");
                }
                let paths: Vec<&str> = mounts.iter().map(|m| m["mountPath"].as_str().unwrap()).collect();
                for arg in container["args"].as_array().into_iter().flatten() {
                    if let Some((_, path)) = arg.as_str().unwrap().rsplit_once('=').filter(|(_, v)| v.starts_with('/'))
                    {
                        assert!(paths.contains(&path), "{file}: {path} is not mounted");
                    }
                }
            }
        }
    }
}

#[test]
fn every_container_fits_restricted_v2_and_a_read_only_root() {
    let mut seen = 0;
    for (file, document) in documents() {
        for pod in pods(&document) {
            assert!(pod["securityContext"]["runAsUser"].is_null(), "{file}: OpenShift gives the user");
            for container in containers(pod) {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{file}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{file}");
                assert_eq!(context["runAsNonRoot"], true, "{file}");
                assert_eq!(context["capabilities"]["drop"][0], "ALL", "{file}");
                assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{file}");
                assert!(context["runAsUser"].is_null() && context["privileged"].is_null(), "{file}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 6, "only {seen} containers were found");
}

#[test]
fn the_secret_has_the_four_keys_of_the_python_suite_and_loads_when_mounted() {
    let secrets: Vec<Value> = documents().into_iter().map(|(_, d)| d).filter(|d| d["kind"] == "Secret").collect();
    assert_eq!(secrets.len(), 1);
    let data = secrets[0]["stringData"].as_object().unwrap();
    let keys: BTreeSet<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["providers.json", "cluster_host", "cluster_username", "cluster_password"]));

    let dir = tempfile::tempdir().unwrap();
    for (key, value) in data {
        std::fs::write(dir.path().join(key), value.as_str().unwrap()).unwrap();
    }
    let config = root().join("manifests/base/settings.yaml");
    let mounted = dir.path().display().to_string();
    let shown = mtv_matrix(&["config", "show", "--config", &config.display().to_string(), "--secrets", &mounted]);
    let (out, err) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(shown.status.success(), "{err}");
    assert!(out.contains("vsphere-8.0") && out.contains("https://api.cluster.example.com:6443"), "{out}");
    assert!(!out.contains("CHANGE-ME"), "a password is shown:\n{out}");
}

#[test]
fn a_nightly_run_never_meets_the_next_and_the_sweep_comes_after_its_end() {
    let crons: Vec<Value> = documents().into_iter().map(|(_, d)| d).filter(|d| d["kind"] == "CronJob").collect();
    let of = |name: &str| crons.iter().find(|c| c["metadata"]["name"] == name).unwrap();
    let hour = |cron: &Value| cron["spec"]["schedule"].as_str().unwrap().split(' ').nth(1).unwrap().parse::<u64>();
    for cron in &crons {
        assert_eq!(cron["spec"]["concurrencyPolicy"], "Forbid");
        assert_eq!(cron["spec"]["jobTemplate"]["spec"]["backoffLimit"], 0);
    }
    let nightly = of("mtv-matrix-nightly");
    let job = &nightly["spec"]["jobTemplate"]["spec"];
    let late = nightly["spec"]["startingDeadlineSeconds"].as_u64().unwrap();
    let grace = job["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    // A late start moves the end; the sweep leaves what is younger than a day alone in any case.
    let longest = job["activeDeadlineSeconds"].as_u64().unwrap() + grace;
    assert!(longest + late < 24 * 3600);
    let between = (24 + hour(of("mtv-matrix-sweep")).unwrap() - hour(nightly).unwrap()) % 24;
    assert!(longest < between * 3600, "the sweep starts {between} h after the run, which may last {longest} s");
}
