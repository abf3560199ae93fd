//! Which program a pod runs, by its containers, and how each of them lives.

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch};
use serde_json::json;

use super::{Ended, KubeletOptions, LOOK, Ports, SHORT, inspection, must_gather, playbook, v2v};
use crate::apiserver::LOG_ANNOTATION;
use crate::controllers::glance;
use crate::controllers::kubevirt::vmi_resource;
use crate::controllers::storage::tolerate;

/// The programs that the lab knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Copies and converts a guest, or converts it where it is.
    VirtV2v,
    /// Looks into a snapshot and tells what it found when asked.
    DeepInspection,
    /// Runs a playbook that a ConfigMap holds.
    Hook { config_map: String },
    /// Watches a guest's console until it has restarted.
    WaitForReboot { namespace: String, vmi: String },
    /// Serves for as long as the pod is there.
    Service,
    /// Gathers for `oc adm must-gather` in its first container; the other one waits to be asked for it.
    Gather,
    /// Asks `file` what something is.
    File { path: String },
    /// Does something short and ends.
    Short,
}

pub(super) fn env<'a>(container: &'a Container, name: &str) -> &'a str {
    let all = container.env.as_deref().unwrap_or_default();
    all.iter().find(|var| var.name == name).and_then(|var| var.value.as_deref()).unwrap_or_default()
}

impl Program {
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = pod.spec.as_ref() else { return Self::Short };
        let Some(first) = spec.containers.first() else { return Self::Short };
        // One that somebody else calls so has no playbook.
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        let playbook = volumes.iter().find_map(|volume| Some(volume.config_map.as_ref()?.name.clone()));
        match first.name.as_str() {
            "virt-v2v" => Self::VirtV2v,
            "deep-inspection" => Self::DeepInspection,
            "hook" if playbook.is_some() => Self::Hook { config_map: playbook.unwrap_or_default() },
            "forklift-wait-for-reboot" => Self::WaitForReboot {
                namespace: env(first, "VMI_NAMESPACE").to_owned(),
                vmi: env(first, "VMI_NAME").to_owned(),
            },
            // They end when their disk is copied, which others know.
            "importer" | "populate" => Self::Service,
            // virt-launcher's, which goes with its instance.
            "compute" => Self::Service,
            // It waits to be asked for what was gathered.
            "copy" if must_gather::gathering(pod).is_some() => Self::Service,
            "gather" if must_gather::is_of_oc(pod) => Self::Gather,
            "validator" if asks_file(first).is_some() => {
                Self::File { path: asks_file(first).unwrap_or_default().to_owned() }
            }
            _ if matches!(spec.restart_policy.as_deref(), Some("Never" | "OnFailure")) => Self::Short,
            _ => Self::Service,
        }
    }

    /// Whether the pod copies, converts or looks into a guest, whose end MTV itself knows.
    pub fn migrates(pod: &Pod) -> bool {
        let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let copies = first.is_some_and(|first| matches!(first.name.as_str(), "importer" | "populate"));
        copies
            || match Self::of(pod) {
                Self::VirtV2v | Self::DeepInspection | Self::WaitForReboot { .. } => true,
                Self::Hook { .. } | Self::File { .. } | Self::Service | Self::Short | Self::Gather => false,
            }
    }

    pub async fn run(self, options: &KubeletOptions, pod: &Pod, ports: &Ports) -> Result<Ended, kube::Error> {
        match self {
            Self::VirtV2v => Ok(v2v::run(options, pod, ports).await),
            Self::DeepInspection => {
                let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
                let vm = first.map(|first| env(first, "VM_MOREF")).unwrap_or_default();
                Ok(inspection::run(options, vm, ports).await)
            }
            Self::Hook { config_map } => playbook::run(options, pod, &config_map).await,
            Self::WaitForReboot { namespace, vmi } => reboot(options, &namespace, &vmi).await,
            Self::Gather => {
                must_gather::gather_for_oc(options, pod).await?;
                std::future::pending().await
            }
            Self::Service => std::future::pending().await,
            Self::File { path } => {
                options.clock.sleep(SHORT).await;
                print(options, pod, &said_by_file(&path)).await?;
                Ok(Ended::Well)
            }
            Self::Short => {
                options.clock.sleep(SHORT).await;
                Ok(Ended::Well)
            }
        }
    }
}

/// What the Job that looks at the image of VDDK asks about (`validateVddkImageJob`, pkg/controller/plan/validation.go).
fn asks_file(container: &Container) -> Option<&str> {
    match container.command.as_deref().unwrap_or_default() {
        [file, option, path] if file == "file" && option == "-E" => Some(path),
        _ => None,
    }
}

/// VMware's archives hold the library as a link to that of its major version, and the image copies it as it is.
fn said_by_file(path: &str) -> String {
    format!("{path}: symbolic link to {}.8\n", path.rsplit('/').next().unwrap_or_default())
}

async fn print(options: &KubeletOptions, pod: &Pod, text: &str) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(options.client.clone(), &pod.namespace().unwrap_or_default());
    let log = json!({"metadata": {"annotations": {LOG_ANNOTATION: text}}});
    tolerate(glance::patch(&pods, &pod.name_any(), &Patch::Merge(log)).await, 404)
}

/// A converted Windows restarts once by itself, soon after it first runs.
async fn reboot(options: &KubeletOptions, namespace: &str, name: &str) -> Result<Ended, kube::Error> {
    let vmis: Api<DynamicObject> = Api::namespaced_with(options.client.clone(), namespace, &vmi_resource());
    loop {
        let found = vmis.get_opt(name).await?;
        if found.is_some_and(|vmi| vmi.data.pointer("/status/phase").is_some_and(|phase| phase == "Running")) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    options.clock.sleep(SHORT).await;
    Ok(Ended::Well)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(container: serde_json::Value, policy: &str) -> Program {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": policy, "containers": [container],
            "volumes": [{"name": "hook", "configMap": {"name": "play"}}]}});
        Program::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pods_program_is_told_by_its_first_container() {
        assert_eq!(program(json!({"name": "virt-v2v"}), "Never"), Program::VirtV2v);
        assert_eq!(program(json!({"name": "hook"}), "Never"), Program::Hook { config_map: "play".to_owned() });
        let wait = json!({"name": "forklift-wait-for-reboot",
            "env": [{"name": "VMI_NAME", "value": "w"}, {"name": "VMI_NAMESPACE", "value": "n"}]});
        let expected = Program::WaitForReboot { namespace: "n".to_owned(), vmi: "w".to_owned() };
        assert_eq!(program(wait, "Never"), expected);
        let migrates = |name: &str| {
            let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": name}]}});
            Program::migrates(&serde_json::from_value(pod).unwrap())
        };
        assert!(["virt-v2v", "deep-inspection", "importer", "populate"].into_iter().all(migrates));
        assert!(!migrates("nginx"));
        let hook = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "hook"}],
            "volumes": [{"name": "hook", "configMap": {"name": "play"}}]}});
        assert!(!Program::migrates(&serde_json::from_value(hook).unwrap()), "a kubelet knows how a playbook ends");
        assert_eq!(program(json!({"name": "validator"}), "OnFailure"), Program::Short);
        let library = "/opt/vmware-vix-disklib-distrib/lib64/libvixDiskLib.so";
        let asks = program(json!({"name": "validator", "command": ["file", "-E", library]}), "Never");
        assert_eq!(asks, Program::File { path: library.to_owned() });
        assert_eq!(said_by_file(library), format!("{library}: symbolic link to libvixDiskLib.so.8\n"));
        assert_eq!(program(json!({"name": "server"}), "Always"), Program::Service);
        assert_eq!(program(json!({"name": "importer"}), "OnFailure"), Program::Service);
    }
}
