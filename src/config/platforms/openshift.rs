//! OpenShift Virtualization as a source: the cluster of the run, or a second one.

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::keys::{Check, Common, Parts, given, given_secret};
use super::{Credentials, PlatformConfig};

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Keys {
    /// No effect: the Python suite's file must have it, empty.
    username: Option<String>,
    /// No effect: the Python suite's file must have it, empty.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// API URL of a *second* cluster; no effect without `token`.
    api_url: Option<String>,
    /// Bearer token of a *second* cluster at `api_url`. Without it the source is the cluster of the run, and
    /// `api_url`, `username` and `password` have no effect.
    #[schemars(with = "Option<String>")]
    token: Option<SecretString>,
    /// VirtualMachineClusterInstancetype of the source VMs; default `u1.small`.
    instance_type: Option<String>,
    /// VirtualMachineClusterPreference of the source VMs; default `rhel.9`.
    preference: Option<String>,
    /// Boot image of the source VMs, a CDI DataSource; default `rhel9`.
    data_source: Option<String>,
    /// Namespace of `data_source`; default `openshift-virtualization-os-images`.
    data_source_namespace: Option<String>,
    /// Size of the source VMs' disk; default `30Gi`.
    disk_size: Option<String>,
    /// Storage class of the source VMs' disk; the cluster's default for VMs where unset.
    storage_class: Option<String>,
    /// A second NIC, on a Multus bridge network of the VM's namespace; default `true`.
    extra_nic: Option<bool>,
}

/// Which cluster is the source, and what its VMs are made from.
#[derive(Debug, Clone)]
pub struct OpenshiftConfig {
    /// Bearer token of a second cluster at `api_url`; `None`: the cluster of the run is the source.
    pub token: Option<SecretString>,
    /// A `VirtualMachineClusterInstancetype`.
    pub instance_type: String,
    /// A `VirtualMachineClusterPreference`.
    pub preference: String,
    /// The boot image: a CDI `DataSource`.
    pub data_source: String,
    pub data_source_namespace: String,
    /// Size of the disk, a Kubernetes quantity.
    pub disk_size: String,
    /// Class of the source disk; `None`: the cluster's default for VMs.
    pub storage_class: Option<String>,
    /// The user that cloud-init makes; the password is generated for each VM.
    pub guest_user: String,
    /// Whether VMs have a second NIC, on a Multus network of their namespace.
    pub extra_nic: bool,
}

impl Default for OpenshiftConfig {
    fn default() -> Self {
        Self {
            token: None,
            instance_type: "u1.small".to_owned(),
            preference: "rhel.9".to_owned(),
            data_source: "rhel9".to_owned(),
            data_source_namespace: "openshift-virtualization-os-images".to_owned(),
            disk_size: "30Gi".to_owned(),
            storage_class: None,
            guest_user: "rhel".to_owned(),
            extra_nic: true,
        }
    }
}

impl super::keys::Keys for Keys {
    const IDLE: &'static [&'static str] = &["host", "verify_ssl", "ca_bundle"];

    fn profile(self, common: &Common, check: &mut Check) -> Parts {
        let token = given_secret(self.token);
        let written = given(self.api_url);
        let api_url = match (&token, written) {
            (Some(_), None) => {
                check.complain("api_url", "`api_url` is required beside the `token` of a second cluster");
                String::new()
            }
            (Some(_), url) => check.https(url, ""),
            (None, Some(url)) => {
                let text = "`api_url` has no effect without `token`: the source is the cluster of the run";
                check.warn("api_url", text);
                url
            }
            (None, None) => String::new(),
        };
        let password = self.password.unwrap_or_default();
        let username = given(self.username);
        for (key, said) in [("username", username.is_some()), ("password", !password.expose_secret().is_empty())] {
            if said {
                check.warn(key, format!("`{key}` has no effect: the source is asked with a token"));
            }
        }
        let usual = OpenshiftConfig::default();
        let config = OpenshiftConfig {
            token,
            instance_type: given(self.instance_type).unwrap_or(usual.instance_type),
            preference: given(self.preference).unwrap_or(usual.preference),
            data_source: given(self.data_source).unwrap_or(usual.data_source),
            data_source_namespace: given(self.data_source_namespace).unwrap_or(usual.data_source_namespace),
            disk_size: given(self.disk_size).unwrap_or(usual.disk_size),
            storage_class: given(self.storage_class),
            guest_user: given(common.guest_vm_linux_user.clone()).unwrap_or(usual.guest_user),
            extra_nic: self.extra_nic.unwrap_or(usual.extra_nic),
        };
        Parts {
            api_url,
            login: Credentials { username: username.unwrap_or_default(), password },
            vms: Default::default(),
            one_at_a_time: false,
            config: PlatformConfig::Openshift(config),
        }
    }
}
