//! Making a source VM: its namespace, its second network, the VM itself, its disk from the image.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ObjectMeta};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Resource, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{NAMESPACE, OpenshiftDriver, SOURCE_LABEL};
use crate::api::cdi::DataVolume;
use crate::api::condition::Condition;
use crate::api::kubevirt::{VirtualMachine, VirtualMachineSpec};
use crate::api::multus::{NetworkAttachmentDefinition, NetworkAttachmentDefinitionSpec};
use crate::api::names::{
    CELL_LABEL, CREATED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, MARK_ANNOTATION, RUN_LABEL, random_chars,
};
use crate::cluster::apply::{code_of, dynamic_api, place};
use crate::cluster::strict;
use crate::cluster::wait::{self, Poll};
use crate::config::{OpenshiftConfig, Platform};
use crate::event::Problem;
use crate::ledger::{Ledger, Thing};
use crate::source::SourceDriver as _;
use crate::source::{CloneRequest, SourceError, VmRef};

/// The second network of every source VM; a NAD in the VM's namespace, and the name of its bridge.
pub(super) const NAD: &str = "mm-source";
/// 20 characters of 5 random bits.
const PASSWORD_CHARS: usize = 20;

impl OpenshiftDriver {
    pub(super) async fn create(&self, request: &CloneRequest<'_>, ledger: &Ledger) -> Result<VmRef, SourceError> {
        if !request.add_disks.is_empty() {
            return Err(SourceError::Unsupported {
                profile: self.profile.name.clone(),
                platform: Platform::Openshift,
                what: "adding disks to a source VM".to_owned(),
            });
        }
        self.require_parts().await?;
        let name = request.name.as_str();
        let instance = self.instance().await?;
        let entry = ledger.intent(
            Some(request.cell),
            Thing::SourceVm {
                profile: self.profile.name.clone(),
                platform: Platform::Openshift.name().to_owned(),
                name: name.to_owned(),
                id: None,
                instance,
            },
        )?;
        let labels = BTreeMap::from([
            (RUN_LABEL.to_owned(), request.run.to_string()),
            (CELL_LABEL.to_owned(), request.cell.slug()),
            (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
            (SOURCE_LABEL.to_owned(), self.source_label()),
        ]);
        let mut outer = labels.clone();
        // MACs are given by us and must stay as they are.
        outer.insert("mutatevirtualmachines.kubemacpool.io".to_owned(), "ignore".to_owned());
        let mut namespace = Namespace { metadata: meta(name, None, outer), ..Namespace::default() };
        if let Some(marker) = ledger.marker() {
            namespace.annotations_mut().insert(MARK_ANNOTATION.to_owned(), marker.by_id(NAMESPACE, name));
        }
        let wanted = namespace.annotations().get(MARK_ANNOTATION).cloned();
        let made = self.put(namespace).await?;
        if made.annotations().get(MARK_ANNOTATION).cloned() != wanted {
            return Err(self.failed(format!("create namespace {name}"), "it exists already and bears another mark"));
        }
        if self.config.extra_nic {
            let config = json!({"cniVersion": "0.3.1", "name": NAD, "type": "bridge", "bridge": NAD, "ipam": {}});
            let spec = NetworkAttachmentDefinitionSpec { config: config.to_string() };
            let mut nad = NetworkAttachmentDefinition::new(NAD, spec);
            nad.metadata = meta(NAD, Some(name), labels.clone());
            self.put(nad).await?;
        }
        let password = SecretString::from(random_chars(PASSWORD_CHARS));
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), password.clone());
        let spec = machine(&self.config, name, &password, &[random_mac(), random_mac()]);
        let mut vm = VirtualMachine::new(name, VirtualMachineSpec { fields: spec });
        vm.metadata = meta(name, Some(name), labels);
        let made = self.put(vm).await?;
        self.wait_disk(name).await?;
        let reference = VmRef { id: made.uid().unwrap_or_default(), name: name.to_owned() };
        // Volumes first: a VM is only then known as stopped.
        self.wait_power(&reference, false, self.options.timeouts.power).await?;
        ledger.done(entry, made.uid())?;
        Ok(reference)
    }

    /// Instance type, preference and image, before anything is made.
    async fn require_parts(&self) -> Result<(), SourceError> {
        let (config, client) = (&self.config, self.client().await?);
        let parts = [
            (
                "instancetype.kubevirt.io",
                "VirtualMachineClusterInstancetype",
                None,
                &config.instance_type,
                "instance_type",
            ),
            ("instancetype.kubevirt.io", "VirtualMachineClusterPreference", None, &config.preference, "preference"),
            ("cdi.kubevirt.io", "DataSource", Some(&config.data_source_namespace), &config.data_source, "data_source"),
        ];
        for (group, kind, namespace, name, key) in parts {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1beta1", kind));
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let place = namespace.map_or(name.clone(), |ns| format!("{ns}/{name}"));
            let found = api.get_opt(name).await.map_err(|e| self.refused(format!("read {kind} {place}"), &e))?;
            if found.is_none() {
                let url = self.cluster().await?.url();
                return Err(SourceError::NotFound {
                    profile: self.profile.name.clone(),
                    kind: kind.to_owned(),
                    name: place,
                    hint: format!(" on {url}, which source VMs are made from; see `{key}` of the profile"),
                });
            }
        }
        Ok(())
    }

    /// Creates an object; one of that name that is there already is this clone's own, because the
    /// name is random and the answer to the first try may have been lost.
    async fn put<K>(&self, object: K) -> Result<K, SourceError>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
    {
        let kind = ApiResource::erase::<K>(&());
        let (namespace, name) = (object.meta().namespace.clone(), object.name_any());
        let api = dynamic_api(self.cluster().await?, &kind, namespace.as_deref());
        let what = format!("create {} {}", kind.kind, place(namespace.as_deref(), &name));
        let broken = |e: serde_json::Error| self.failed(what.as_str(), e.to_string());
        let body: DynamicObject = strict::typed(&object, &kind).and_then(serde_json::from_value).map_err(broken)?;
        let made = match strict::create(&api, &body, &what, self.options.timeouts.request).await {
            Err(error) if code_of(&error) == Some(409) => api.get(&name).await,
            other => other,
        };
        let made = made.map_err(|e| self.refused(what.as_str(), &e))?;
        if made.labels().get(RUN_LABEL) != object.labels().get(RUN_LABEL) {
            return Err(self.failed(what, "it exists already and is not this run's; it was left alone"));
        }
        wait::parse::<K>(&made, &kind).map_err(broken)
    }

    /// Waits until CDI has filled the disk.
    async fn wait_disk(&self, name: &str) -> Result<(), SourceError> {
        let what = format!("DataVolume {name}/{name} to be filled from {}", self.config.data_source);
        let cluster = self.cluster().await?;
        let limit = self.options.timeouts.clone;
        wait::until(cluster, Some(name), name, &what, limit, |found: Option<&DataVolume>| {
            let Some(status) = found.and_then(|f| f.status.as_ref()) else {
                return Poll::NotYet("not there".to_owned());
            };
            let said: Vec<String> = status.conditions.iter().filter(|c| !c.is_true()).map(Condition::line).collect();
            match status.phase.as_str() {
                "Succeeded" => Poll::Done(()),
                "Failed" => Poll::Failed(Problem::new(format!("{what} failed: {}", said.join("; ")))),
                phase => Poll::NotYet(format!("phase `{phase}`; {}", said.join("; "))),
            }
        })
        .await
        .map_err(|e| self.waited(&format!("make the disk of {name}"), e))
    }
}

fn meta(name: &str, namespace: Option<&str>, labels: BTreeMap<String, String>) -> ObjectMeta {
    let created = (CREATED_ANNOTATION.to_owned(), crate::clock::now().to_string());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(labels),
        annotations: Some(BTreeMap::from([created])),
        ..ObjectMeta::default()
    }
}

/// A locally administered address. Without one in the template KubeVirt makes up another at every
/// start, and nothing could tell whether MTV kept it.
fn random_mac() -> String {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    format!("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4])
}

/// The spec of a source VM, stopped.
fn machine(config: &OpenshiftConfig, name: &str, password: &SecretString, macs: &[String; 2]) -> Value {
    let mut storage = json!({"resources": {"requests": {"storage": config.disk_size}}});
    if let Some(class) = &config.storage_class {
        storage["storageClassName"] = json!(class);
    }
    // Strings of JSON are strings of YAML.
    let user_data = format!(
        "#cloud-config\nuser: {}\npassword: {}\nchpasswd: {{expire: false}}\nssh_pwauth: true\n",
        json!(config.guest_user),
        json!(password.expose_secret())
    );
    let mut interfaces = vec![json!({"name": "default", "model": "virtio", "macAddress": macs[0], "masquerade": {}})];
    let mut networks = vec![json!({"name": "default", "pod": {}})];
    if config.extra_nic {
        interfaces.push(json!({"name": "extra", "model": "virtio", "macAddress": macs[1], "bridge": {}}));
        networks.push(json!({"name": "extra", "multus": {"networkName": format!("{name}/{NAD}")}}));
    }
    json!({
        "runStrategy": "Halted",
        "instancetype": {"name": config.instance_type, "kind": "VirtualMachineClusterInstancetype"},
        "preference": {"name": config.preference, "kind": "VirtualMachineClusterPreference"},
        "dataVolumeTemplates": [{
            "metadata": {"name": name, "annotations": {
                // A class that waits for a first consumer would leave the disk of a stopped VM empty.
                "cdi.kubevirt.io/storage.bind.immediate.requested": "true",
                "cdi.kubevirt.io/storage.deleteAfterCompletion": "false",
            }},
            "spec": {
                "sourceRef": {"kind": "DataSource", "name": config.data_source, "namespace": config.data_source_namespace},
                "storage": storage,
            },
        }],
        "template": {
            "metadata": {"labels": {"mtv-matrix.io/source-vm": name}},
            "spec": {
                "domain": {"devices": {
                    "disks": [
                        {"name": "rootdisk", "disk": {"bus": "virtio"}, "bootOrder": 1},
                        {"name": "cloudinitdisk", "disk": {"bus": "virtio"}},
                    ],
                    "interfaces": interfaces,
                }},
                "networks": networks,
                "terminationGracePeriodSeconds": 30,
                "volumes": [
                    {"name": "rootdisk", "dataVolume": {"name": name}},
                    {"name": "cloudinitdisk", "cloudInitNoCloud": {"userData": user_data}},
                ],
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(config: &OpenshiftConfig) -> Value {
        machine(config, "vm-1", &SecretString::from("p\"w"), &["02:00:00:00:00:01".into(), "02:00:00:00:00:02".into()])
    }

    #[test]
    fn a_source_vm_is_made_from_the_defaults_of_the_python_suite() {
        let spec = spec(&OpenshiftConfig::default());
        let at = |path: &str| spec.pointer(path).cloned().unwrap_or_default();
        assert_eq!(at("/instancetype/name"), "u1.small");
        assert_eq!(at("/preference/name"), "rhel.9");
        let source = json!({"kind": "DataSource", "name": "rhel9", "namespace": "openshift-virtualization-os-images"});
        assert_eq!(at("/dataVolumeTemplates/0/spec/sourceRef"), source);
        assert_eq!(at("/dataVolumeTemplates/0/spec/storage/resources/requests/storage"), "30Gi");
        assert_eq!(at("/template/spec/networks/1/multus/networkName"), "vm-1/mm-source");
        assert!(at("/dataVolumeTemplates/0/spec/storage/storageClassName").is_null());
    }

    #[test]
    fn the_password_reaches_cloud_init_as_a_quoted_text_and_no_second_nic_comes_unasked() {
        let spec = spec(&OpenshiftConfig { extra_nic: false, ..OpenshiftConfig::default() });
        let data = spec.pointer("/template/spec/volumes/1/cloudInitNoCloud/userData").unwrap().as_str().unwrap();
        assert!(data.starts_with("#cloud-config\n") && data.contains("password: \"p\\\"w\"\n"), "{data}");
        assert_eq!(spec.pointer("/template/spec/networks").unwrap().as_array().unwrap().len(), 1);
    }

    #[test]
    fn made_up_macs_are_locally_administered_and_differ() {
        let (a, b) = (random_mac(), random_mac());
        assert!(a.starts_with("02:") && a.len() == 17 && a != b);
    }
}
