//! `mtv-matrix lab` as a server, used by the real kubectl: skipped, with a line that says so, where
//! there is no kubectl.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running lab, stopped when dropped.
pub(super) struct Server {
    child: Child,
    dir: tempfile::TempDir,
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with(&[])
    }
    pub(super) fn with(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mtv-matrix"))
            .args(["lab", "--dir"])
            .arg(dir.path())
            .args(if more.contains(&"--clock-scale") { &[][..] } else { &["--clock-scale", "3000"] })
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, dir };
        // The last of the files for clients; each is there whole, or not yet.
        eventually("the lab is up", || server.file("ca.pem").is_file());
        server
    }
    /// Ends it as a service manager does, and waits for that.
    fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub(super) fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("kubectl")
            .args(args)
            .env("KUBECONFIG", self.file("kubeconfig"))
            .env("HOME", self.dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
    pub(super) fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).unwrap_or_else(|e| panic!("kubectl {args:?}: {e}"))
    }
    /// The address of the lab's vCenter, as its provider file names it.
    pub(super) fn vsphere(&self) -> String {
        let text = std::fs::read_to_string(self.file("providers.json")).unwrap();
        let profiles: serde_json::Value = serde_json::from_str(&text).unwrap();
        profiles["vsphere"]["api_url"].as_str().unwrap().to_owned()
    }
    fn server(&self) -> String {
        self.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"])
    }
    pub(super) fn apply(&self, manifest: &str) {
        let path = self.file("manifest.yaml");
        std::fs::write(&path, manifest).unwrap();
        self.kubectl(&["apply", "-f", path.to_str().unwrap()]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(super) fn no_kubectl() -> bool {
    let missing = !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|dir| Path::new(&dir).join("kubectl").is_file());
    if missing {
        println!("skipped: there is no kubectl on PATH");
    }
    missing
}

/// A Provider and its Secret in namespace `mig`.
fn provider(name: &str, url: &str, password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: mig}}\nstringData: {{user: administrator@vsphere.local, password: {password}, insecureSkipVerify: 'true'}}\n---\napiVersion: forklift.konveyor.io/v1beta1\nkind: Provider\nmetadata: {{name: {name}, namespace: mig}}\nspec: {{type: vsphere, url: '{url}', secret: {{name: {name}, namespace: mig}}}}\n"
    )
}

const PAIR: &str =
    "provider: {source: {name: vc, namespace: mig}, destination: {name: host, namespace: openshift-mtv}}";

#[test]
fn a_lab_gives_memory_back_by_whole_huge_pages() {
    let lab = Server::start();
    let of_the_allocator = |server: &Server| {
        let environment = std::fs::read(format!("/proc/{}/environ", server.child.id())).unwrap();
        let set = environment.split(|byte| *byte == 0).filter(|set| set.starts_with(b"MIMALLOC_"));
        set.map(|set| String::from_utf8_lossy(set).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_the_allocator(&lab), ["MIMALLOC_ALLOW_THP=2"]);
    let name = std::fs::read_to_string(format!("/proc/{}/comm", lab.child.id())).unwrap();
    assert_eq!(name.trim(), "mtv-matrix");
}

#[test]
fn kubectl_makes_and_removes_the_kinds_it_sends_as_protobuf() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    lab.kubectl(&["create", "namespace", "x"]);
    lab.kubectl(&["create", "secret", "generic", "s", "--from-literal=a=b", "-n", "x"]);
    lab.kubectl(&["create", "configmap", "c", "--from-literal=a=b", "-n", "x"]);
    lab.kubectl(&["create", "serviceaccount", "sa", "-n", "x"]);
    assert_eq!(lab.kubectl(&["get", "secret", "s", "-n", "x", "-o", "jsonpath={.data.a}"]), "Yg==");
    assert_eq!(lab.kubectl(&["get", "configmap", "c", "-n", "x", "-o", "jsonpath={.data.a}"]), "b");
    assert_eq!(lab.kubectl(&["auth", "can-i", "create", "pods"]).trim(), "yes");
    lab.kubectl(&["label", "configmap", "c", "-n", "x", "k=v"]);
    lab.kubectl(&["annotate", "configmap", "c", "-n", "x", "k=v"]);
    assert!(lab.kubectl(&["get", "configmap", "-n", "x", "-l", "k=v", "-o", "name"]).contains("configmap/c"));
    assert!(lab.kubectl(&["api-resources"]).contains("forklift.konveyor.io/v1beta1"));
    lab.kubectl(&["delete", "namespace", "x", "--timeout=10s"]);
    assert!(lab.try_kubectl(&["get", "namespace", "x"]).unwrap_err().contains("NotFound"));
}

#[test]
fn a_migration_applied_by_hand_runs_and_bad_ones_say_why() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    let url = lab.vsphere();
    lab.kubectl(&["create", "namespace", "mig"]);
    lab.apply(&format!("{}---\n{}", provider("vc", &url, "lab-vsphere"), provider("locked", &url, "wrong")));
    lab.kubectl(&["wait", "--for=condition=ConnectionAuthFailed", "provider/locked", "-n", "mig", "--timeout=10s"]);
    lab.kubectl(&["wait", "--for=condition=Ready", "provider/vc", "-n", "mig", "--timeout=10s"]);
    // Conditions vanish; they do not turn False.
    let conditions =
        lab.kubectl(&["get", "provider", "vc", "-n", "mig", "-o", "jsonpath={.status.conditions[*].type}"]);
    assert!(conditions.contains("InventoryCreated") && !conditions.contains("LoadInventory"), "{conditions}");
    let conditions =
        lab.kubectl(&["get", "provider", "locked", "-n", "mig", "-o", "jsonpath={.status.conditions[*].type}"]);
    assert!(!conditions.contains("Ready"), "{conditions}");
    lab.apply(&format!(
        "apiVersion: forklift.konveyor.io/v1beta1\nkind: StorageMap\nmetadata: {{name: m, namespace: mig}}\nspec: {{{PAIR}, map: [{{source: {{id: datastore-10}}, destination: {{storageClass: ocs-storagecluster-ceph-rbd-virtualization}}}}, {{source: {{id: datastore-11}}, destination: {{storageClass: ocs-storagecluster-ceph-rbd-virtualization}}}}]}}\n---\napiVersion: forklift.konveyor.io/v1beta1\nkind: NetworkMap\nmetadata: {{name: m, namespace: mig}}\nspec: {{{PAIR}, map: [{{source: {{id: network-7}}, destination: {{type: pod}}}}]}}\n"
    ));
    let plan = |name: &str, vm: &str| {
        format!(
            "apiVersion: forklift.konveyor.io/v1beta1\nkind: Plan\nmetadata: {{name: {name}, namespace: mig}}\nspec: {{{PAIR}, targetNamespace: mig, map: {{storage: {{name: m, namespace: mig}}, network: {{name: m, namespace: mig}}}}, vms: [{{{vm}}}]}}\n"
        )
    };
    lab.apply(&format!("{}---\n{}", plan("good", "name: mtv-tests-rhel8"), plan("bad", "id: vm-9999")));
    lab.kubectl(&["wait", "--for=condition=VMNotFound", "plan/bad", "-n", "mig", "--timeout=10s"]);
    lab.kubectl(&["wait", "--for=condition=Ready", "plan/good", "-n", "mig", "--timeout=10s"]);
    lab.apply("apiVersion: forklift.konveyor.io/v1beta1\nkind: Migration\nmetadata: {name: go, namespace: mig}\nspec: {plan: {name: good, namespace: mig}}\n");
    lab.kubectl(&["wait", "--for=condition=Succeeded", "migration/go", "-n", "mig", "--timeout=15s"]);
    let steps = lab.kubectl(&[
        "get",
        "plan",
        "good",
        "-n",
        "mig",
        "-o",
        "jsonpath={.status.migration.vms[0].pipeline[*].name}",
    ]);
    assert_eq!(steps, "Initialize DiskAllocation ImageConversion DiskTransferV2v VirtualMachineCreation");
    let vm = lab.kubectl(&["get", "vm", "mtv-tests-rhel8", "-n", "mig", "-o", "yaml"]);
    assert!(vm.contains("kind: VirtualMachine"), "{vm}");
}

/// Maps, and a Plan `p` for a VM into the namespace `mig-target`; the source is the Provider `vc`.
pub(super) fn maps_and_plan(storage: &str, network: &str, vm: &str) -> String {
    format!(
        "apiVersion: forklift.konveyor.io/v1beta1\nkind: StorageMap\nmetadata: {{name: m, namespace: mig}}\nspec: {{{PAIR}, map: [{{source: {{name: {storage}}}, destination: {{storageClass: nfs}}}}]}}\n---\napiVersion: forklift.konveyor.io/v1beta1\nkind: NetworkMap\nmetadata: {{name: m, namespace: mig}}\nspec: {{{PAIR}, map: [{{source: {{name: {network}}}, destination: {{type: pod}}}}]}}\n---\napiVersion: forklift.konveyor.io/v1beta1\nkind: Plan\nmetadata: {{name: p, namespace: mig}}\nspec: {{{PAIR}, targetNamespace: mig-target, map: {{storage: {{name: m, namespace: mig}}, network: {{name: m, namespace: mig}}}}, vms: [{{name: {vm}}}]}}\n"
    )
}

/// A vCenter, maps, and a Plan `p` for `mtv-tests-rhel8` into the namespace `mig-target`, which nobody made.
pub(super) fn planned(lab: &Server, vm_more: &str) {
    lab.kubectl(&["create", "namespace", "mig"]);
    lab.apply(&provider("vc", &lab.vsphere(), "lab-vsphere"));
    lab.kubectl(&["wait", "--for=condition=Ready", "provider/vc", "-n", "mig", "--timeout=10s"]);
    lab.apply(&maps_and_plan("datastore1", "VM Network", &format!("mtv-tests-rhel8{vm_more}")));
    lab.kubectl(&["wait", "--for=condition=Ready", "plan/p", "-n", "mig", "--timeout=10s"]);
}

pub(super) fn migrate(lab: &Server, name: &str, ends: &str) {
    lab.apply(&format!(
        "apiVersion: forklift.konveyor.io/v1beta1\nkind: Migration\nmetadata: {{name: {name}, namespace: mig}}\nspec: {{plan: {{name: p, namespace: mig}}}}\n"
    ));
    let (condition, migration) = (format!("--for=condition={ends}"), format!("migration/{name}"));
    lab.kubectl(&["wait", &condition, &migration, "-n", "mig", "--timeout=15s"]);
}

#[test]
fn mtv_makes_the_target_namespace_and_its_pods_leave_logs() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    // A Plan makes it, for the Job that looks at the image of VDDK.
    planned(&lab, "");
    migrate(&lab, "go", "Succeeded");
    lab.kubectl(&["get", "vm", "mtv-tests-rhel8", "-n", "mig-target"]);
    let row = lab.kubectl(&["get", "plans", "-n", "mig"]);
    let words = |line: usize| row.lines().nth(line).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0), ["NAME", "READY", "EXECUTING", "SUCCEEDED", "FAILED", "AGE"]);
    assert_eq!(words(1)[..3], ["p", "True", "True"]);
    let log = lab.kubectl(&["logs", "-l", "forklift.app=virt-v2v", "-n", "mig-target", "--tail=-1"]);
    let pods = lab.kubectl(&["get", "pods", "-n", "mig-target"]);
    assert!(pods.contains("Completed"), "{pods}");
    for line in ["Converting Red Hat Enterprise Linux 8", "Copying disk 1/1", "Finishing off"] {
        assert!(log.contains(line), "{line} is missing: {log}");
    }
    let reasons = lab.kubectl(&["get", "events", "-n", "mig-target", "-o", "jsonpath={.items[*].reason}"]);
    for reason in ["Scheduled", "Started", "ProvisioningSucceeded", "ImportSucceeded"] {
        assert!(reasons.contains(reason), "{reason} is missing: {reasons}");
    }
    let volumes = lab.kubectl(&["get", "datavolumes", "-n", "mig-target"]);
    assert!(volumes.contains("Succeeded") && volumes.contains("100.0%"), "{volumes}");
    lab.kubectl(&[
        "patch",
        "vm",
        "mtv-tests-rhel8",
        "-n",
        "mig-target",
        "--type=merge",
        "-p",
        r#"{"spec":{"runStrategy":"Always"}}"#,
    ]);
    lab.kubectl(&["wait", "--for=condition=Ready", "vmi/mtv-tests-rhel8", "-n", "mig-target", "--timeout=20s"]);
    let launcher = ["-n", "mig-target", "-l", "kubevirt.io=virt-launcher"];
    lab.kubectl(&[&["wait", "pod", "--for=condition=Ready", "--timeout=20s"], &launcher[..]].concat());
    let pod = lab.kubectl(&[&["get", "pods", "-o", "name"], &launcher[..]].concat());
    let domains = lab.kubectl(&["exec", "-n", "mig-target", pod.trim(), "--", "virsh", "list"]);
    assert!(domains.contains("mig-target_mtv-tests-rhel8"), "{domains}");
    assert!(lab.kubectl(&["top", "pods", "-n", "mig-target"]).contains("virt-launcher-mtv-tests-rhel8"));
    lab.kubectl(&["get", "configmap", "kube-root-ca.crt", "-n", "mig-target"]);
}

#[test]
fn a_warm_migrations_data_volume_is_paused_between_two_checkpoints_and_succeeds_at_the_cutover() {
    if no_kubectl() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let world = Command::new(env!("CARGO_BIN_EXE_mtv-matrix")).args(["config", "world"]).output().unwrap();
    let world = String::from_utf8(world.stdout).unwrap();
    // MTV refuses a warm Plan of a VM whose changed blocks nobody tracks.
    let tracked = "{name: mtv-tests-rhel8, os: rhel8, change_tracking: true, cpus: 1";
    let world = world.replacen("{name: mtv-tests-rhel8, os: rhel8, cpus: 1", tracked, 1);
    assert!(world.contains(tracked));
    let file = dir.path().join("world.yaml");
    std::fs::write(&file, world).unwrap();
    let lab = Server::with(&["--world", file.to_str().unwrap()]);
    planned(&lab, "");
    lab.kubectl(&["patch", "plan", "p", "-n", "mig", "--type=merge", "-p", r#"{"spec":{"warm":true}}"#]);
    lab.kubectl(&["wait", "--for=condition=Ready", "plan/p", "-n", "mig", "--timeout=10s"]);
    lab.apply(
        "apiVersion: forklift.konveyor.io/v1beta1\nkind: Migration\nmetadata: {name: go, namespace: mig}\nspec: {plan: {name: p, namespace: mig}}\n",
    );
    let volumes = ["-n", "mig-target", "dv", "--all", "--timeout=20s"];
    lab.kubectl(&["wait", "--for=create", "namespace/mig-target", "--timeout=20s"]);
    lab.kubectl(&["wait", "-n", "mig-target", "--for=create", "dv", "-l", "migration", "--timeout=20s"]);
    lab.kubectl(&[&["wait", "--for=jsonpath={.status.phase}=Paused"], &volumes[..]].concat());
    lab.kubectl(&[
        "patch",
        "migration",
        "go",
        "-n",
        "mig",
        "--type=merge",
        "-p",
        r#"{"spec":{"cutover":"2026-01-01T00:00:00Z"}}"#,
    ]);
    lab.kubectl(&[&["wait", "--for=jsonpath={.status.phase}=Succeeded"], &volumes[..]].concat());
    let told = "jsonpath={.items[0].spec.checkpoints} {.items[0].spec.finalCheckpoint} {.items[0].spec.source.vddk.backingFile}";
    let told = lab.kubectl(&["get", "dv", "-n", "mig-target", "-o", told]);
    let (checkpoints, rest) = told.split_once("] ").unwrap();
    let checkpoints: Vec<serde_json::Value> = serde_json::from_str(&format!("{checkpoints}]")).unwrap();
    assert!(rest.starts_with("true [datastore1] "), "{told}");
    assert_eq!(checkpoints[0]["previous"], "", "the first copies the whole disk");
    // From then on from a change id of vSphere's, whose last part counts.
    let later = checkpoints[1..].iter().all(|next| next["previous"].as_str().is_some_and(|id| id.contains('/')));
    assert!(checkpoints.len() > 1 && later, "{told}");
}

#[test]
fn platforms_have_port_443_of_an_address_of_their_own_where_that_is_asked_for_and_allowed() {
    // Whoever may not listen there is told so by the lab.
    if std::net::TcpListener::bind(("127.0.0.2", 443)).is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
    {
        return;
    }
    let (one, other) = (Server::with(&["--own-addresses"]), Server::with(&["--own-addresses"]));
    let hosts = |lab: &Server| {
        let profiles: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(lab.file("providers.json")).unwrap()).unwrap();
        ["vsphere", "ovirt", "openstack"].map(|platform| {
            let url = profiles[platform]["api_url"].as_str().unwrap().replace("https://", "");
            let host = url.split('/').next().unwrap().to_owned();
            let (address, port) = host.split_once(':').unwrap_or((&host, "443"));
            assert_eq!((port, address), ("443", profiles[platform]["fqdn"].as_str().unwrap()), "{platform}");
            address.to_owned()
        })
    };
    let all: Vec<String> = hosts(&one).into_iter().chain(hosts(&other)).collect();
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 6, "two labs side by side: {all:?}");
    let url = format!("https://{}/sdk/vimServiceVersions.xml", all[0]);
    let about = Command::new("curl").arg("-s").arg("--cacert").arg(one.file("ca.pem")).arg(url).output().unwrap();
    assert!(about.status.success(), "its certificate is for that address: {about:?}");
}

#[test]
fn a_lab_that_is_kept_is_the_same_cluster_when_it_is_started_again() {
    if no_kubectl() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let seen = || {
        let lab = Server::with(&["--state", state.path().to_str().unwrap()]);
        let _ = lab.try_kubectl(&["create", "configmap", "kept"]);
        let of = |what: &[&str]| lab.kubectl(what);
        let map = of(&["get", "configmap", "kept", "-o", "jsonpath={.metadata.uid}"]);
        let cluster = of(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]);
        let place =
            of(&["config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server} {.users[0].user.token}"]);
        let all = (map, cluster, place, lab.vsphere());
        let whoami = |token: &str| {
            // Another client than the one that the file names.
            let alone = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--server", &lab.server()];
            lab.try_kubectl(
                &[&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", "--token", token], &alone[..]]
                    .concat(),
            )
        };
        let given = std::fs::read_to_string(state.path().join("given")).unwrap_or_default();
        if given.is_empty() {
            std::fs::write(state.path().join("given"), lab.kubectl(&["create", "token", "default"]).trim()).unwrap();
        } else {
            assert_eq!(whoami(&given).as_deref(), Ok("system:serviceaccount:default:default"));
            assert!(whoami("sha256~nobody").is_err());
        }
        lab.end();
        all
    };
    assert_eq!(seen(), seen());
}

/// Runs `port-forward` and speaks with what is at its end.
fn forwarded(lab: &Server, args: &[&str], speak: impl FnOnce(std::net::TcpStream)) {
    let mut forward = Command::new("kubectl");
    forward.arg("port-forward").args(args).env("KUBECONFIG", lab.file("kubeconfig")).env("HOME", lab.dir.path());
    let mut forward = forward.stdout(Stdio::piped()).spawn().unwrap();
    // It says more: whoever closed it would end kubectl.
    let mut said = std::io::BufReader::new(forward.stdout.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    // `Forwarding from 127.0.0.1:PORT -> 22`
    let local = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
    speak(std::net::TcpStream::connect(&local).unwrap_or_else(|e| panic!("{line}: {e}")));
    forward.kill().unwrap();
    forward.wait().unwrap();
}

fn first(stream: &mut std::net::TcpStream) -> String {
    use std::io::Read as _;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; 64];
    let count = stream.read(&mut buffer).unwrap_or_default();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[test]
fn ports_of_pods_are_forwarded_to_what_listens_there() {
    use std::io::Write as _;
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    lab.apply("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: v}\nspec: {runStrategy: Always, template: {spec: {domain: {devices: {interfaces: [{name: a, masquerade: {}}]}, memory: {guest: 1Gi}}, networks: [{name: a, pod: {}}]}}}\n");
    lab.kubectl(&["wait", "--for=condition=Ready", "vmi/v", "--timeout=20s"]);
    lab.kubectl(&["wait", "pod", "--for=condition=Ready", "--timeout=20s", "-l", "kubevirt.io=virt-launcher"]);
    let pod = lab.kubectl(&["get", "pods", "-o", "name", "-l", "kubevirt.io=virt-launcher"]);
    forwarded(&lab, &[pod.trim(), ":22"], |mut ssh| assert!(first(&mut ssh).starts_with("SSH-2.0")));
    forwarded(&lab, &["-n", "openshift-mtv", "svc/forklift-inventory", ":8443"], |mut inventory| {
        // It answers by an alert, as who speaks TLS alone.
        inventory.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(!first(&mut inventory).is_empty());
    });
    forwarded(&lab, &[pod.trim(), ":80"], |mut nobody| assert_eq!(first(&mut nobody), ""));
}

#[test]
fn what_oc_gathers_is_there_once_its_first_container_has_ended() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    lab.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: g, labels: {app: must-gather}}\nspec: {restartPolicy: Never, containers: [{name: gather, image: 'quay.io/m:1'}, {name: copy, image: 'quay.io/m:1'}]}\n");
    let of = |at: &str| lab.kubectl(&["get", "pod", "g", "-o", &format!("jsonpath={{.status.{at}}}")]);
    eventually("it gathers", || of("containerStatuses[0].state.terminated.exitCode") == "0");
    assert_eq!(of("phase"), "Running");
    assert!(
        of("containerStatuses[1].state").contains("running")
            && of("containerStatuses[0].imageID").contains("quay.io/m@sha256:")
    );
    // It ends with its container, while the pod goes on.
    assert!(lab.kubectl(&["logs", "-f", "g", "-c", "gather"]).contains("Gathering data"));
    let copied = || lab.try_kubectl(&["exec", "g", "-c", "copy", "--", "tar", "-C", "/must-gather/", "-c", "."]);
    assert!(copied().is_err(), "an account without rights sees nothing");
    lab.kubectl(&[
        "create",
        "clusterrolebinding",
        "g",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:default",
    ]);
    let archive = copied().unwrap();
    assert!(archive.contains("./namespaces/openshift-mtv/forklift.konveyor.io/providers/host.yaml"));
    let operators = lab.kubectl(&["get", "clusteroperators,clusterversion"]);
    assert!(operators.contains("machine-config") && operators.contains("Cluster version is 4."), "{operators}");
}

#[test]
fn a_log_is_followed_until_its_pod_has_ended() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    lab.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {lab.mtv-matrix.io/log: \"one\\n\"}}\nspec: {restartPolicy: Always, containers: [{name: c, image: i}]}\n");
    lab.kubectl(&["wait", "--for=condition=Ready", "pod/p", "--timeout=10s"]);
    let mut follower = Command::new("kubectl");
    follower.args(["logs", "-f", "p"]).env("KUBECONFIG", lab.file("kubeconfig")).env("HOME", lab.dir.path());
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut told = std::io::BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "one", "what is there");
    lab.kubectl(&["annotate", "pod", "p", "--overwrite", "lab.mtv-matrix.io/log=one\ntwo\n"]);
    assert_eq!(told.next().unwrap().unwrap(), "two", "what is added");
    lab.kubectl(&["delete", "pod", "p", "--timeout=10s"]);
    assert!(told.next().is_none() && follower.wait().unwrap().success(), "it ends with the pod");
}

#[test]
fn a_plan_remembers_each_migration_of_it() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    lab.kubectl(&["create", "namespace", "hooks"]);
    // A playbook that fails: `- hosts: localhost`, `tasks: [{fail: {}}]`.
    lab.apply("apiVersion: forklift.konveyor.io/v1beta1\nkind: Hook\nmetadata: {name: h, namespace: hooks}\nspec: {image: quay.io/lab/hook, playbook: LSBob3N0czogbG9jYWxob3N0CiAgdGFza3M6IFt7ZmFpbDoge319XQo=}\n");
    planned(&lab, ", hooks: [{step: PreHook, hook: {name: h, namespace: hooks}}]");
    migrate(&lab, "first", "Failed");
    let job = lab.kubectl(&["get", "jobs", "-n", "mig", "-l", "step=PreHook", "-o", "name"]);
    let log = lab.kubectl(&["logs", "-n", "mig", job.trim()]);
    assert!(log.contains("FAILED!"), "a hook's Job has the log of its playbook: {log}");
    migrate(&lab, "second", "Failed");
    let history = "jsonpath={.status.migration.history[*].migration.name}";
    assert_eq!(lab.kubectl(&["get", "plan", "p", "-n", "mig", "-o", history]), "first second");
    let ends = "jsonpath={.status.migration.history[*].conditions[*].type}";
    assert_eq!(lab.kubectl(&["get", "plan", "p", "-n", "mig", "-o", ends]), "Failed Failed");
}

#[test]
fn workloads_come_up_and_end_and_what_kubectl_makes_is_made() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    let make = |args: &[&str]| lab.kubectl(&[&["create", "-n", "default"], args].concat());
    make(&["deployment", "web", "--image=nginx", "--replicas=2"]);
    make(&["job", "once", "--image=busybox", "--", "true"]);
    make(&["quota", "q", "--hard=pods=10"]);
    make(&["cronjob", "nightly", "--image=busybox", "--schedule=0 1 * * *", "--", "true"]);
    make(&["poddisruptionbudget", "pdb", "--selector=app=web", "--min-available=1"]);
    make(&["priorityclass", "high", "--value=5"]);
    assert!(make(&["token", "default"]).len() > 20);
    lab.kubectl(&["wait", "--for=condition=Available", "deployment/web", "--timeout=10s"]);
    lab.kubectl(&["rollout", "status", "deployment/web", "--timeout=10s"]);
    lab.kubectl(&["wait", "--for=condition=Complete", "job/once", "--timeout=10s"]);
    let nodes = lab.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    assert_eq!(nodes, "worker-0 worker-0");
    lab.apply("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n");
    lab.kubectl(&["wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--timeout=10s"]);
    let class = lab.kubectl(&["get", "pvc", "data", "-o", "jsonpath={.spec.storageClassName}"]);
    assert_eq!(class, "ocs-storagecluster-ceph-rbd-virtualization");
}

#[test]
fn a_running_vm_is_paused_goes_on_and_moves_to_another_node() {
    if no_kubectl() {
        return;
    }
    let lab = Server::start();
    let base = "/apis/subresources.kubevirt.io/v1";
    let listed = lab.kubectl(&["get", "--raw", base]);
    assert!(listed.contains("\"virtualmachineinstances/pause\"") && listed.contains("\"virtualmachines/migrate\""));
    lab.apply("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: v}\nspec: {runStrategy: Always, template: {spec: {domain: {devices: {}, memory: {guest: 1Gi}}}}}\n");
    let field = |at: &str| lab.kubectl(&["get", "vmi", "v", "-o", &format!("jsonpath={{{at}}}")]);
    lab.kubectl(&["wait", "--for=condition=Ready", "vm/v", "--timeout=10s"]);
    std::fs::write(lab.file("empty"), "{}").unwrap();
    let put = |path: &str| {
        let raw = format!("{base}/namespaces/default/{path}");
        lab.try_kubectl(&["replace", "--raw", &raw, "-f", lab.file("empty").to_str().unwrap()])
    };
    put("virtualmachineinstances/v/pause").unwrap();
    lab.kubectl(&["wait", "--for=jsonpath={.status.printableStatus}=Paused", "vm/v", "--timeout=10s"]);
    assert!(put("virtualmachineinstances/v/pause").unwrap_err().contains("VMI is already paused"));
    put("virtualmachineinstances/v/unpause").unwrap();
    lab.kubectl(&["wait", "--for=condition=Ready", "vm/v", "--timeout=10s"]);
    let from = field(".status.nodeName");
    put("virtualmachines/v/migrate").unwrap();
    lab.kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "vmim", "--all", "--timeout=10s"]);
    assert_ne!(field(".status.nodeName"), from);
    assert_eq!(field(".status.migrationState.completed"), "true");
}
