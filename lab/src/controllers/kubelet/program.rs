//! Which program a pod runs, by its containers, and how each of them lives.

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{Api, DynamicObject};

use super::{Ended, KubeletOptions, LOOK, Ports, SHORT, inspection, must_gather, playbook, v2v};
use crate::controllers::kubevirt::vmi_resource;

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
        match first.name.as_str() {
            "virt-v2v" => Self::VirtV2v,
            "deep-inspection" => Self::DeepInspection,
            "hook" => {
                let volumes = spec.volumes.as_deref().unwrap_or_default();
                let config_map = volumes.iter().find_map(|volume| Some(volume.config_map.as_ref()?.name.clone()));
                Self::Hook { config_map: config_map.unwrap_or_default() }
            }
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
            _ if matches!(spec.restart_policy.as_deref(), Some("Never" | "OnFailure")) => Self::Short,
            _ => Self::Service,
        }
    }

    /// Whether the pod copies or converts a guest, or runs a hook: work of a migration.
    pub fn migrates(pod: &Pod) -> bool {
        let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let copies = first.is_some_and(|first| matches!(first.name.as_str(), "importer" | "populate"));
        copies || !matches!(Self::of(pod), Self::Service | Self::Short | Self::Gather)
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
            Self::Short => {
                options.clock.sleep(SHORT).await;
                Ok(Ended::Well)
            }
        }
    }
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
    use serde_json::json;

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
        assert!(["virt-v2v", "hook", "importer", "populate"].into_iter().all(migrates));
        assert!(!migrates("nginx"));
        assert_eq!(program(json!({"name": "validator"}), "OnFailure"), Program::Short);
        assert_eq!(program(json!({"name": "server"}), "Always"), Program::Service);
        assert_eq!(program(json!({"name": "importer"}), "OnFailure"), Program::Service);
    }
}
