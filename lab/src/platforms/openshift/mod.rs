//! OpenShift as one of the lab's platforms: the lab's own cluster, whose VMs are made by the runner.
//!
//! There is no endpoint beside the API server's. What this part adds is who runs on a VM that was
//! made from an image: its user and password are those that cloud-init was told.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{LabPlatform, PlatformOptions};
use crate::controllers::kubevirt::json::{list, text};
use crate::controllers::kubevirt::vm_resource;
use crate::ports::{GuestDirectory, GuestNic, GuestProfile};

mod far;

pub use far::FarOpenshift;

/// The lab's own cluster as a source.
pub struct Openshift {
    machines: Arc<Machines>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Openshift {
    pub fn start(options: &PlatformOptions<'_>) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let machines = Arc::new(Machines(follow(&options.cluster, &stop, &tasks)));
        Self { machines, stop, tasks }
    }
}

/// Every VirtualMachine of a cluster, kept up to date until `stop`.
fn follow(client: &kube::Client, stop: &CancellationToken, tasks: &TaskTracker) -> Store<DynamicObject> {
    let resource = vm_resource();
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let writer = reflector::store::Writer::new(resource);
    let store = writer.as_reader();
    let events = reflector::reflector(writer, watcher::watcher(api, watcher::Config::default()));
    let stop = stop.clone();
    tasks.spawn(async move {
        // Errors of the stream are retried by the watcher, after its own pause.
        let mut events = std::pin::pin!(events);
        while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
            if event.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    });
    store
}

#[async_trait]
impl LabPlatform for Openshift {
    /// Blank keys, as a file of the Python suite has them: the source is the cluster of the run.
    fn profiles(&self) -> Vec<(String, Value)> {
        let profile =
            json!({"type": "openshift", "version": "4.20", "fqdn": "", "api_url": "", "username": "", "password": ""});
        vec![("openshift".to_owned(), profile)]
    }

    fn guests(&self) -> Arc<dyn GuestDirectory> {
        self.machines.clone()
    }

    /// The API server's own comparison covers this cluster.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Counted by the API server.
    fn requests(&self) -> (&'static str, u64) {
        ("openshift_requests", 0)
    }

    async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The guests of VMs that cloud-init set up.
struct Machines(Store<DynamicObject>);

impl GuestDirectory for Machines {
    fn by_mac(&self, mac: &str) -> Option<GuestProfile> {
        self.0.state().iter().find_map(|vm| guest(vm.metadata.name.as_deref().unwrap_or_default(), &vm.data, mac))
    }
}

/// A value of cloud-init's user data: `key: value`, the value plain or a quoted text.
fn told(user_data: &str, key: &str) -> Option<String> {
    let line = user_data.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim();
    Some(serde_json::from_str::<String>(line).unwrap_or_else(|_| line.to_owned()))
}

/// Who runs on this VM, if one of its adapters has the MAC and cloud-init set it up.
fn guest(name: &str, vm: &Value, mac: &str) -> Option<GuestProfile> {
    let spec = vm.pointer("/spec/template/spec")?;
    let macs: Vec<String> = list(spec, "/domain/devices/interfaces")
        .iter()
        .map(|interface| text(interface, "/macAddress").to_lowercase().replace('-', ":"))
        .collect();
    if !macs.iter().any(|own| own.eq_ignore_ascii_case(mac)) {
        return None;
    }
    let user_data = list(spec, "/volumes").iter().find_map(|v| v.pointer("/cloudInitNoCloud/userData")?.as_str())?;
    let user = told(user_data, "user").unwrap_or_else(|| "cloud-user".to_owned());
    Some(GuestProfile {
        files: Default::default(),
        fails: None,
        luks: None,
        shared: None,
        windows: false,
        hostname: name.to_owned(),
        pretty_name: "Red Hat Enterprise Linux 9.4 (Plow)".to_owned(),
        users: told(user_data, "password").map(|password| (user, password)).into_iter().collect(),
        nics: macs.into_iter().enumerate().map(|(index, mac)| adapter(index, mac)).collect(),
    })
}

/// Adapters of an image ask DHCP.
fn adapter(index: usize, mac: String) -> GuestNic {
    GuestNic {
        name: format!("eth{index}"),
        mac,
        addresses: Vec::new(),
        is_static: false,
        gateway: None,
        dns: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_of_a_guest_is_what_cloud_init_was_told() {
        let data = "#cloud-config\nuser: \"rhel\"\npassword: \"s\\\"1\"\nchpasswd: {expire: false}\n";
        let vm = json!({"spec": {"template": {"spec": {
            "domain": {"devices": {"interfaces": [{"name": "a", "macAddress": "02:AA:00:00:00:01"}]}},
            "volumes": [{"name": "c", "cloudInitNoCloud": {"userData": data}}]}}}});
        let found = guest("vm", &vm, "02:aa:00:00:00:01").unwrap();
        assert_eq!(found.users, [("rhel".to_owned(), "s\"1".to_owned())]);
        assert!(guest("vm", &vm, "02:aa:00:00:00:02").is_none());
    }
}
