//! virt-v2v's pod: progress of its disks while it copies, then the converted VM, until it is told to go.
//!
//! Source of paths and bodies: Forklift's `pkg/virt-v2v/server` and its virt-v2v monitor.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, Patch};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::v2v_log::{Job, Until};
use super::{Ended, KubeletOptions, Ports};
use crate::api::world::Failure;
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::glance;
use crate::ports::GuestProfile;

/// Simulated time that virt-v2v works.
const WORK: Duration = Duration::from_secs(600);
/// The controller looks every three seconds, real ones; it wants to see a copy before its end.
const SHORTEST: Duration = Duration::from_millis(1500);
const METRICS: u16 = 2112;
const ANSWERS: u16 = 8080;
/// Where virt-v2v looks for keys of encrypted disks.
const KEYS: &str = "/etc/luks";
/// In libguestfs' words.
const NO_KEY: &str = "could not find key to open LUKS encrypted /dev/sda3.\n\nTry using --key on the command line.\n\n\
                      Original error: cryptsetup_open: cryptsetup exited with status 2: No key available with this passphrase. (0)";

/// What a pod was told about its VM.
struct Told {
    vm: String,
    disks: usize,
    in_place: bool,
}

fn told(pod: &Pod) -> Told {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let env = |name: &str| {
        let all = container.and_then(|c| c.env.as_deref()).unwrap_or_default();
        all.iter().find(|var| var.name == name).and_then(|var| var.value.clone()).unwrap_or_default()
    };
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    Told {
        vm: env("V2V_vmName"),
        disks: volumes.iter().filter(|volume| volume.persistent_volume_claim.is_some()).count(),
        in_place: env("V2V_inPlace") == "1",
    }
}

pub async fn run(options: &KubeletOptions, pod: &Pod, ports: &Ports) -> Ended {
    let told = told(pod);
    let guest = options.guests.by_name(&told.vm);
    let job = Job {
        vm: &told.vm,
        system: guest.as_ref().map_or("", |guest| guest.pretty_name.as_str()),
        disks: told.disks.max(1),
        in_place: told.in_place,
    };
    print(options, pod, &job.log(Until::Begun)).await;
    let time = options.clock.real(WORK).max(if told.in_place { Duration::ZERO } else { SHORTEST });
    let began = Instant::now();
    let disks = told.disks.max(1);
    let metrics = move || async move {
        let percent = (began.elapsed().as_secs_f64() / time.as_secs_f64() * 100.0).min(100.0);
        progress(disks, percent)
    };
    ports.open(METRICS, Router::new().route("/metrics", get(metrics)));
    let here = |fails: &&Failure| fails.is_in("ImageConversion") || fails.is_in("DiskTransferV2v");
    if let Some(fails) = guest.as_ref().and_then(|guest| guest.fails.as_ref()).filter(here) {
        tokio::time::sleep(time / 2).await;
        print(options, pod, &job.log(Until::Failed(&fails.error))).await;
        return Ended::Badly(fails.error.clone());
    }
    if let Some(passphrase) = guest.as_ref().and_then(|guest| guest.luks.as_deref())
        && !keys(options, pod).await.iter().any(|key| key.trim_end() == passphrase)
    {
        tokio::time::sleep(time / 10).await;
        print(options, pod, &job.log(Until::Failed(NO_KEY))).await;
        return Ended::Badly(NO_KEY.to_owned());
    }
    tokio::time::sleep(time).await;
    let gone = Arc::new(Notify::new());
    // The server of results comes up when virt-v2v has ended; before that its port is closed.
    ports.open(ANSWERS, answers(vm(disks, guest.as_ref()).to_string(), inspection(guest.as_ref()), gone.clone()));
    gone.notified().await;
    print(options, pod, &job.log(Until::Done)).await;
    Ended::Well
}

/// Every file of the folder of keys is one to try (`AddLUKSKeys`): the values of the Secret that is mounted there.
async fn keys(options: &KubeletOptions, pod: &Pod) -> Vec<String> {
    let Some(name) = keys_secret(pod) else { return Vec::new() };
    let api: Api<Secret> = Api::namespaced(options.client.clone(), &pod.namespace().unwrap_or_default());
    let data = api.get_opt(&name).await.ok().flatten().and_then(|secret| secret.data).unwrap_or_default();
    data.values().map(|value| String::from_utf8_lossy(&value.0).into_owned()).collect()
}

fn keys_secret(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mounts = spec.containers.first()?.volume_mounts.as_deref().unwrap_or_default();
    let mount = mounts.iter().find(|mount| mount.mount_path == KEYS)?;
    let volume = spec.volumes.as_deref().unwrap_or_default().iter().find(|volume| volume.name == mount.name)?;
    volume.secret.as_ref()?.secret_name.clone()
}

/// A pod whose log is not there migrates all the same.
async fn print(options: &KubeletOptions, pod: &Pod, text: &str) {
    let pods: Api<Pod> = Api::namespaced(options.client.clone(), &pod.namespace().unwrap_or_default());
    let log = json!({"metadata": {"annotations": {LOG_ANNOTATION: text}}});
    let _ = glance::patch(&pods, &pod.name_any(), &Patch::Merge(log)).await;
}

fn answers(vm: String, inspection: String, gone: Arc<Notify>) -> Router {
    let vm = || async move { ([(header::CONTENT_TYPE, "text/yaml")], vm) };
    let inspection = || async move { ([(header::CONTENT_TYPE, "application/xml")], inspection) };
    let shutdown = || async move {
        gone.notify_one();
        StatusCode::NO_CONTENT
    };
    Router::new()
        .route("/vm", get(vm))
        .route("/inspection", get(inspection))
        .route("/warnings", get(|| async { StatusCode::NO_CONTENT }))
        .route("/shutdown", post(shutdown))
}

/// Prometheus text of the monitor.
fn progress(disks: usize, percent: f64) -> String {
    let mut text =
        "# HELP v2v_disk_transfers Percent of the disk copied\n# TYPE v2v_disk_transfers counter\n".to_owned();
    for disk in 1..=disks {
        let _ = writeln!(text, "v2v_disk_transfers{{disk_id=\"{disk}\"}} {percent:.1}");
    }
    text
}

/// The converted VM as virt-v2v's KubeVirt output writes it: what a reader needs of it. JSON is YAML.
fn vm(disks: usize, guest: Option<&GuestProfile>) -> Value {
    let disk = |number: usize| {
        let mut disk = json!({"disk": {"bus": "virtio"}, "name": format!("disk-{number}")});
        if number == 0 {
            disk["bootOrder"] = json!(1);
        }
        disk
    };
    json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"name": guest.map(|guest| guest.hostname.as_str()).unwrap_or("vm")},
        "spec": {"template": {"spec": {"domain": {"devices": {"disks": (0..disks).map(disk).collect::<Vec<_>>()}}}}}})
}

/// What virt-v2v-inspector found of the system.
fn inspection(guest: Option<&GuestProfile>) -> String {
    let (name, distro, osinfo) = match guest {
        Some(guest) if guest.windows => ("windows", "windows", windows(&guest.pretty_name).to_owned()),
        Some(guest) => ("linux", "rhel", linux(&guest.pretty_name)),
        None => ("linux", "unknown", "unknown".to_owned()),
    };
    format!(
        "<?xml version='1.0' encoding='utf-8'?>\n<v2v-inspection><operatingsystem><name>{name}</name><distro>{distro}</distro>\
         <osinfo>{osinfo}</osinfo><arch>x86_64</arch></operatingsystem></v2v-inspection>\n"
    )
}

/// libosinfo's short id of a Windows Server.
fn windows(pretty_name: &str) -> &'static str {
    let known =
        [("2025", "win2k25"), ("2022", "win2k22"), ("2019", "win2k19"), ("2016", "win2k16"), ("2012", "win2k12r2")];
    known.iter().find(|(year, _)| pretty_name.contains(year)).map_or("win2k19", |(_, id)| id)
}

/// e.g. `rhel8.10` of `Red Hat Enterprise Linux 8.10 (Ootpa)`.
fn linux(pretty_name: &str) -> String {
    let version = pretty_name.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("rhel{}", version.unwrap_or("9"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_secret_that_is_mounted_where_virt_v2v_looks() {
        let pod = |path: &str| -> Pod {
            let pod = json!({"spec": {"containers": [{"name": "virt-v2v",
                "volumeMounts": [{"name": "other", "mountPath": "/x"}, {"name": "luks", "mountPath": path}]}],
                "volumes": [{"name": "other", "secret": {"secretName": "login"}},
                    {"name": "luks", "secret": {"secretName": "keys"}}]}});
            serde_json::from_value(pod).unwrap()
        };
        assert_eq!(keys_secret(&pod("/etc/luks")).as_deref(), Some("keys"));
        assert_eq!(keys_secret(&pod("/mnt")), None);
    }

    #[test]
    fn progress_is_told_of_each_disk_as_the_monitor_does() {
        let text = progress(2, 37.5);
        assert!(text.contains("v2v_disk_transfers{disk_id=\"1\"} 37.5\n"), "{text}");
        assert!(text.contains("v2v_disk_transfers{disk_id=\"2\"} 37.5\n"), "{text}");
    }

    #[test]
    fn the_inspection_names_the_guest_as_libosinfo_does() {
        let guest = |windows, pretty_name: &str| GuestProfile {
            files: Default::default(),
            fails: None,
            luks: None,
            shared: None,
            windows,
            hostname: "h".to_owned(),
            pretty_name: pretty_name.to_owned(),
            users: Vec::new(),
            nics: Vec::new(),
        };
        let seen = |windows, name: &str| inspection(Some(&guest(windows, name)));
        assert!(seen(true, "Microsoft Windows Server 2022 Standard").contains("<osinfo>win2k22</osinfo>"));
        assert!(seen(false, "Red Hat Enterprise Linux 8.10 (Ootpa)").contains("<osinfo>rhel8.10</osinfo>"));
    }
}
