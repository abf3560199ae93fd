//! The files that make the program a Job agree with the program: flags, settings, Secret keys, and
//! the security context that OpenShift's restricted-v2 asks for. And each Job's command line is run as its
//! pod spec says, with folders for mounts, against the lab.

// A helper of a test may unwrap, too: its panic is the report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Ended, LabServer, Place, Results, Running};
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

fn known_flags(command: &[&str]) -> BTreeSet<String> {
    let help = mtv_matrix(&[&["help"], command].concat());
    assert!(help.status.success(), "there is no command {command:?}");
    let text = String::from_utf8(help.stdout).unwrap();
    let long = text.split(|c: char| c.is_whitespace() || c == '`' || c == ',').filter(|w| w.starts_with("--"));
    long.map(str::to_owned).collect()
}

#[test]
fn every_manifest_is_yaml_and_every_kustomization_names_files_that_are_there() {
    for (file, document) in documents() {
        assert!(document.is_object(), "{file} holds no object");
        if matches!(document["kind"].as_str(), Some("Kustomization" | "Component")) {
            let dir = root().join(&file).parent().unwrap().to_owned();
            let components = document["components"].as_array().into_iter().flatten();
            for resource in document["resources"].as_array().unwrap().iter().chain(components) {
                assert!(dir.join(resource.as_str().unwrap()).exists(), "{file} names {resource}, which is not there");
            }
        }
    }
}

/// Cargo reads the manifest of every package before it builds one, so the image needs them all.
#[test]
fn the_image_is_built_from_every_package_of_the_workspace() {
    let text = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let manifest = text("Cargo.toml");
    let list = manifest.split_once("\nmembers = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    let members: Vec<&str> = list.split(',').map(|name| name.trim().trim_matches('"')).collect();
    assert!(members.len() > 2, "{members:?}");
    for member in members {
        assert!(text("Containerfile").contains(&format!("COPY {member} ./{member}\n")), "Containerfile lacks {member}");
        assert!(text(".containerignore").contains(&format!("!{member}\n")), ".containerignore keeps {member} out");
    }
}

#[test]
fn every_flag_of_a_manifest_is_a_flag_of_its_command() {
    let all = own_arguments();
    assert!(all.len() >= 8, "three Jobs, two CronJobs, the merge Job and two Tasks were expected, got {}", all.len());
    for (file, args) in all {
        let words = if args[0] == "report" { 2 } else { 1 };
        let command: Vec<&str> = args[..words].iter().map(String::as_str).collect();
        let known = known_flags(&command);
        for arg in &args[words..] {
            // A directory, or an array of Tekton's.
            if arg.starts_with('/') || arg.starts_with("$(") {
                continue;
            }
            let flag = arg.split('=').next().unwrap();
            assert!(flag.starts_with("--") && known.contains(flag), "{file}: `{command:?} {flag}` is not known");
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
                    let arg = arg.as_str().unwrap();
                    let path = arg.rsplit_once('=').map_or(arg, |(_, value)| value);
                    let mounted = paths.iter().any(|mount| path == *mount || path.starts_with(&format!("{mount}/")));
                    assert!(!path.starts_with('/') || mounted, "{file}: {path} is not mounted");
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
    assert!(seen >= 9, "only {seen} containers were found");
}

/// What a container may fill of its node, and what network policies know a pod by.
#[test]
fn every_pod_has_the_labels_of_the_network_policy_and_limits_for_what_it_writes() {
    let all = documents();
    let policy = &all.iter().find(|(_, d)| d["kind"] == "NetworkPolicy").unwrap().1["spec"];
    assert_eq!((&policy["policyTypes"], &policy["ingress"]), (&serde_json::json!(["Ingress"]), &serde_json::json!([])));
    let chosen = policy["podSelector"]["matchLabels"].as_object().unwrap();
    let mut seen = 0;
    for (file, document) in &all {
        for pod in pods(document) {
            for container in containers(pod) {
                let resources = if document["kind"] == "Task" { "computeResources" } else { "resources" };
                let limits = &container[resources]["limits"];
                assert!(limits["memory"].is_string() && limits["ephemeral-storage"].is_string(), "{file}: {limits}");
            }
            for volume in pod["volumes"].as_array().into_iter().flatten() {
                let dir = &volume["emptyDir"];
                assert!(dir.is_null() || dir["sizeLimit"].is_string(), "{file}: {volume} has no limit");
            }
            if document["kind"] == "Task" {
                continue;
            }
            let at = match document["kind"].as_str().unwrap() {
                "Pod" => "/metadata/labels",
                "Job" => "/spec/template/metadata/labels",
                _ => "/spec/jobTemplate/spec/template/metadata/labels",
            };
            let labels = document.pointer(at).unwrap_or_else(|| panic!("{file}: no labels at {at}"));
            assert!(chosen.iter().all(|(key, value)| labels[key] == *value), "{file}: {labels}");
            assert!(labels["app.kubernetes.io/component"].is_string(), "{file}: {labels}");
            seen += 1;
        }
    }
    assert!(seen >= 7, "only {seen} pods were found");
}

/// Rights of scenarios that not everybody runs are added, never there from the start.
#[test]
fn the_base_binds_what_the_base_run_needs_and_components_add_the_rest() {
    let all = documents();
    let of_kind = |folder: &str, kind: &str| -> Vec<&Value> {
        let found = all.iter().filter(|(file, d)| file.starts_with(folder) && d["kind"] == kind);
        found.map(|(_, document)| document).collect()
    };
    let kustomization = of_kind("manifests/base/", "Kustomization")[0];
    let listed: BTreeSet<String> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("manifests/base/{}", r.as_str().unwrap()))
        .collect();
    // Whatever lies in the folder and gives a right is in the base, and all of it is bound to the Job alone.
    let rights = |kind: &str| ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"].contains(&kind);
    for (file, document) in all
        .iter()
        .filter(|(file, d)| file.starts_with("manifests/base/") && rights(d["kind"].as_str().unwrap_or_default()))
    {
        assert!(listed.contains(file), "{file} is in no kustomization");
        for subject in document["subjects"].as_array().into_iter().flatten() {
            assert_eq!(
                (&subject["kind"], &subject["name"]),
                (&"ServiceAccount".into(), &"mtv-matrix".into()),
                "{file}"
            );
        }
    }
    let cluster_wide: Vec<&Value> = of_kind("manifests/base/", "ClusterRoleBinding");
    assert_eq!(cluster_wide.len(), 1, "one ClusterRole is bound: {cluster_wide:?}");
    let rules = of_kind("manifests/base/", "ClusterRole")[0]["rules"].as_array().unwrap();
    let may = |resource: &str, verb: &str| {
        let has = |rule: &Value, key: &str, word: &str| rule[key].as_array().unwrap().contains(&word.into());
        rules.iter().any(|rule| has(rule, "resources", resource) && has(rule, "verbs", verb))
    };
    for (resource, verb) in [
        ("persistentvolumeclaims", "create"),
        ("persistentvolumeclaims", "delete"),
        ("persistentvolumeclaims", "deletecollection"),
        ("virtualmachines", "patch"),
        ("virtualmachines", "deletecollection"),
        ("secrets", "delete"),
    ] {
        assert!(!may(resource, verb), "the base may {verb} {resource}");
    }
    assert!(rules.iter().all(|rule| !rule.to_string().contains('*')), "no wildcard");
    for name in ["remote", "openshift-source", "stories", "limited", "must-gather"] {
        let folder = format!("manifests/components/{name}/");
        let binding = of_kind(&folder, "ClusterRoleBinding");
        assert_eq!((of_kind(&folder, "Component").len(), binding.len()), (1, 1), "{name}");
        let role = of_kind(&folder, "ClusterRole")[0];
        assert_eq!(binding[0]["roleRef"]["name"], role["metadata"]["name"]);
    }
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

#[test]
fn the_programs_grace_ends_before_its_pods() {
    let place = Place::new();
    let shown = place.run("config show").exits(0).out;
    let default = shown.lines().find(|line| line.trim_start().starts_with("timeouts.grace")).unwrap();
    assert!(default.contains("20m"), "{default}");
    for (file, document) in documents() {
        for pod in pods(&document).into_iter().filter(|_| document["kind"] != "Task") {
            for container in containers(pod).filter(|c| c["args"][0] == "run") {
                let args: Vec<&str> =
                    container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
                let own = args.iter().find_map(|arg| arg.strip_prefix("--set=timeouts.grace="));
                let grace = own.map_or(20 * 60, |text| text.strip_suffix('s').unwrap().parse::<u64>().unwrap());
                let pods = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
                assert!(grace + 15 <= pods, "{file}: {grace} s of {pods} s");
            }
        }
    }
}

/// One pod of the cluster: its spec, with a folder for each volume.
struct Pod {
    spec: Value,
    place: Place,
    /// Folder by the volume's name.
    volumes: BTreeMap<String, PathBuf>,
}

impl Pod {
    /// A pod of the Job (or CronJob) `name` in `file`. `claims`: folders of claims, shared between pods.
    fn of(file: &str, name: &str, claims: &Path, secret: &BTreeMap<&str, String>) -> Self {
        let found = documents().into_iter().find(|(path, d)| path == file && d["metadata"]["name"] == name);
        let (_, document) = found.unwrap_or_else(|| panic!("{file} has no {name}"));
        let spec = pods(&document)[0].clone();
        let place = Place::new();
        let mut volumes = BTreeMap::new();
        for volume in spec["volumes"].as_array().unwrap() {
            let name = volume["name"].as_str().unwrap().to_owned();
            let mut folder = place.path(&format!("volumes/{name}"));
            if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                folder = claims.join(claim);
            }
            std::fs::create_dir_all(&folder).unwrap();
            if volume["configMap"]["name"] == "mtv-matrix-config" {
                let shipped = std::fs::read_to_string(root().join("manifests/base/settings.yaml")).unwrap();
                // The lab's minutes are short; those of a cutover are real. The long scenarios would show no more.
                let mut ours = format!("{shipped}cutover_after_precopies: 2\nscenarios:\n");
                for name in LEFT_OUT {
                    ours += &format!(
                        "  {name}: {{virtual_machines: [{{name: x}}], known_issues: [{{id: X-1, summary: long}}]}}\n"
                    );
                }
                std::fs::write(folder.join("settings.yaml"), ours).unwrap();
            } else if volume["secret"]["secretName"] == "mtv-matrix" {
                secret.iter().for_each(|(key, value)| std::fs::write(folder.join(key), value).unwrap());
            }
            volumes.insert(name, folder);
        }
        Self { spec, place, volumes }
    }

    fn container(&self) -> &Value {
        &self.spec["containers"][0]
    }

    /// A path in the container as one on this machine; other texts as they are.
    fn translate(&self, text: &str) -> String {
        let (head, path) = text.split_once('=').map_or(("", text), |(head, path)| (head, path));
        let mounts = self.container()["volumeMounts"].as_array().unwrap();
        let found = mounts.iter().find_map(|mount| {
            let inside = path.strip_prefix(mount["mountPath"].as_str().unwrap())?;
            let folder = &self.volumes[mount["name"].as_str().unwrap()];
            (inside.is_empty() || inside.starts_with('/')).then(|| format!("{}{inside}", folder.display()))
        });
        match found {
            Some(folder) if head.is_empty() => folder,
            Some(folder) => format!("{head}={folder}"),
            None => text.to_owned(),
        }
    }

    /// Starts the container's command line; `index` is that of an Indexed Job's pod.
    fn start(&self, index: Option<usize>) -> Running {
        let args = self.container()["args"].as_array().unwrap().iter().map(|arg| self.translate(arg.as_str().unwrap()));
        let mut command = self.place.command("");
        command.args(args);
        // Where the program looks by itself; the test may not write there.
        for (variable, inside) in [("MTV_SECRETS_DIR", "/etc/mtv-matrix/secrets"), ("TMPDIR", "/tmp")] {
            let folder = self.translate(inside);
            if folder != inside {
                command.env(variable, folder);
            }
        }
        for variable in self.container()["env"].as_array().into_iter().flatten() {
            let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
            let value = match (variable["value"].as_str(), field) {
                (Some(value), _) => value,
                (None, "metadata.labels['batch.kubernetes.io/controller-uid']") => "5f0c8d1e-uid",
                (None, other) => panic!("what is {other}?"),
            };
            command.env(variable["name"].as_str().unwrap(), value);
        }
        if self.container()["args"][1] == "--lab" {
            // Of the lab's many platforms one is enough here, too.
            command.env("MTV_SOURCE_PROVIDER", "vsphere");
        }
        if let Some(index) = index {
            command.env("JOB_COMPLETION_INDEX", index.to_string());
        }
        Running::start(&mut command)
    }

    fn run(&self) -> Ended {
        self.start(None).end()
    }
}

const LEFT_OUT: [&str; 3] =
    ["test_cold_migration_comprehensive", "test_warm_migration_comprehensive", "test_mtv_migration_warm_2disks2nics"];
const JOB: (&str, &str) = ("manifests/base/job.yaml", "mtv-matrix");
const CRON: &str = "manifests/overlays/nightly/cronjob.yaml";
const SHARDED: (&str, &str) = ("manifests/overlays/sharded/job.yaml", "mtv-matrix-sharded");
const MERGE: (&str, &str) = ("manifests/overlays/sharded/merge-job.yaml", "mtv-matrix-merge");
const LAB: (&str, &str) = ("manifests/overlays/lab/job.yaml", "mtv-matrix-lab");

#[test]
fn every_job_runs_as_its_pod_spec_says_and_leaves_its_reports_on_the_volume() {
    let place = Place::new();
    let lab = LabServer::start(&place, "--clock-scale 1500");
    // The four keys of the Python suite, and the lab's CA in place of the service account's.
    let all: Value = serde_json::from_str(&std::fs::read_to_string(&lab.providers).unwrap()).unwrap();
    let secret = |password: &str| -> BTreeMap<&str, String> {
        BTreeMap::from([
            // One platform is enough here.
            ("providers.json", serde_json::json!({"vsphere": all["vsphere"]}).to_string()),
            ("cluster_host", lab.url.clone()),
            ("cluster_username", "kubeadmin".to_owned()),
            ("cluster_password", password.to_owned()),
            ("cluster_ca_file", std::fs::read_to_string(&lab.ca).unwrap()),
        ])
    };
    let claims = |name: &str| place.path(&format!("claims-{name}"));
    let pod = |(file, name): (&str, &str), at: &Path| Pod::of(file, name, at, &secret("lab-admin"));
    let volume = |at: &Path, dir: &str| Results { dir: at.join("mtv-matrix-results").join(dir) };

    // All at the same time, because they mostly wait.
    let (single, sharded) = (claims("single"), claims("sharded"));
    let job = pod(JOB, &single);
    let shards: Vec<Pod> = (0..4).map(|_| pod(SHARDED, &sharded)).collect();
    let alone = pod(LAB, &claims("lab"));
    let running: Vec<Running> = shards.iter().zip(0..).map(|(pod, index)| pod.start(Some(index))).collect();
    let (job, alone_runs) = (job.start(None), alone.start(None));
    let ended: Vec<Ended> = running.into_iter().map(|run| run.end().exits(0)).collect();
    job.end().exits(0).says("3 passed, 5 skipped");
    alone_runs.end().exits(0).says("8 passed");

    let results = volume(&single, "latest");
    results.are_whole_and_tell_no_secret();
    let run = results.run();
    assert_eq!((&run["exit_code"], &run["counts"]["passed"]), (&serde_json::json!(0), &serde_json::json!(3)));
    Results { dir: alone.volumes["results"].join("latest") }.are_whole_and_tell_no_secret();

    // The last shard joined them all; so does the merge Job.
    assert!(ended.iter().any(|shard| shard.err.contains("this was the last shard of its set")));
    let merged = pod(MERGE, &sharded).run().exits(0);
    merged.says("3 passed, 5 skipped");
    for dir in ["latest", "merged"] {
        let whole = volume(&sharded, dir).run();
        assert_eq!((&whole["verdict"], &whole["counts"]), (&run["verdict"], &run["counts"]), "{dir}");
        assert!(whole["environment"]["notes"]["set"].as_str().unwrap().starts_with("5f0c8d1e-uid ("), "{whole:#}");
    }
    let one = volume(&sharded, "latest-3-of-4").dir;
    std::fs::remove_file(one.join("events.jsonl")).unwrap();
    pod(MERGE, &sharded).run().exits(2).says("shard 3/4: no run of it was found");

    // The night's run is the Job's; what differs is when it starts.
    let nightly = pod((CRON, "mtv-matrix-nightly"), &single);
    assert_eq!(nightly.container(), pod(JOB, &single).container());
    pod((CRON, "mtv-matrix-sweep"), &single).run().exits(0).says("0 removed, 0 left");

    // A wrong password is the environment's fault, and the reports say so.
    let locked_out = claims("locked-out");
    let (file, name) = JOB;
    Pod::of(file, name, &locked_out, &secret("not-the-password")).run().exits(3).says("user or password is wrong");
    let run = volume(&locked_out, "latest").run();
    assert_eq!((&run["exit_code"], &run["counts"]["skipped"]), (&serde_json::json!(3), &serde_json::json!(5)));
    volume(&locked_out, "latest").text("junit.xml");
    lab.ends_clean();
}

#[test]
fn the_image_bears_the_version_of_cargo_toml_and_holds_what_its_build_copies() {
    let containerfile = std::fs::read_to_string(root().join("Containerfile")).unwrap();
    assert!(containerfile.contains(&format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"))), "another version");
    let ignored = std::fs::read_to_string(root().join(".containerignore")).unwrap();
    let sent: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for line in containerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for copied in &words[..words.len() - 1] {
            assert!(sent.contains(copied), "{line}: .containerignore keeps {copied} back");
        }
    }
}
