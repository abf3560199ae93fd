//! One entry of `providers.json`, from its keys to a typed profile.
//!
//! Every key of the Python suite's file is accepted (peer.md §1.4). No `Debug`: passwords.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::providers::{
    Credentials, Ec2Config, GuestCredentials, HypervConfig, OpenshiftConfig, OpenstackAuth, OpenstackConfig, Platform,
    PlatformConfig, ProviderProfile, VsphereConfig,
};

/// A profile as written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfile {
    #[serde(rename = "type")]
    pub platform: Platform,
    #[serde(default)]
    version: Option<String>,
    /// Host name of the endpoint; the host of `api_url` where unset.
    #[serde(default)]
    fqdn: Option<String>,
    /// `spec.url` of the Provider.
    #[serde(default)]
    api_url: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    guest_vm_linux_user: Option<String>,
    #[serde(default)]
    guest_vm_linux_password: Option<String>,
    #[serde(default)]
    guest_vm_win_user: Option<String>,
    #[serde(default)]
    guest_vm_win_password: Option<String>,
    /// Cells at once on this profile.
    #[serde(default)]
    max_concurrent: Option<usize>,
    /// PEM of the endpoint's CA.
    #[serde(default)]
    ca_pem: Option<String>,
    /// The same in a file.
    #[serde(default)]
    ca_file: Option<String>,
    // vSphere
    #[serde(default)]
    vddk_init_image: Option<String>,
    /// `vcenter` or `esxi`.
    #[serde(default)]
    endpoint_type: Option<EndpointType>,
    /// Profile that clones for an ESXi endpoint.
    #[serde(default)]
    clone_provider: Option<String>,
    #[serde(default)]
    luks_passphrase: Option<String>,
    #[serde(default)]
    copyoffload: Option<BTreeMap<String, serde_json::Value>>,
    // oVirt
    /// Whether the runner's own session with the engine skips TLS verification; unset: as
    /// `source_provider_insecure_skip_verify`.
    #[serde(default)]
    insecure: Option<bool>,
    /// The data center that must be up; `MTV-CNV` where unset.
    #[serde(default)]
    datacenter: Option<String>,
    // OpenStack
    #[serde(default)]
    project_name: Option<String>,
    #[serde(default)]
    region_name: Option<String>,
    #[serde(default)]
    user_domain_name: Option<String>,
    #[serde(default)]
    user_domain_id: Option<String>,
    #[serde(default)]
    project_domain_id: Option<String>,
    /// Instead of `project_name`.
    #[serde(default)]
    project_id: Option<String>,
    /// Where the project is in another domain than the user.
    #[serde(default)]
    project_domain_name: Option<String>,
    /// `password` (the default) or `applicationcredential`.
    #[serde(default)]
    auth_type: Option<AuthType>,
    /// Id of the application credential.
    #[serde(default)]
    application_credential_id: Option<String>,
    /// Its name, where there is no id; needs `username` and `user_domain_name`.
    #[serde(default)]
    application_credential_name: Option<String>,
    #[serde(default)]
    application_credential_secret: Option<String>,
    /// Interface of the catalogue's endpoints: `public` (the default), `internal` or `admin`.
    #[serde(default)]
    availability: Option<String>,
    // OpenShift
    /// Accepted, not used.
    #[serde(default)]
    host: Option<String>,
    /// Bearer token of a second cluster at `api_url`.
    #[serde(default)]
    token: Option<String>,
    /// VirtualMachineClusterInstancetype of the source VMs; `u1.small`.
    #[serde(default)]
    instance_type: Option<String>,
    /// VirtualMachineClusterPreference of the source VMs; `rhel.9`.
    #[serde(default)]
    preference: Option<String>,
    /// DataSource that the source VMs boot from; `rhel9`.
    #[serde(default)]
    data_source: Option<String>,
    /// Namespace of the DataSource; `openshift-virtualization-os-images`.
    #[serde(default)]
    data_source_namespace: Option<String>,
    /// Size of the source VMs' disk; `30Gi`.
    #[serde(default)]
    disk_size: Option<String>,
    /// Storage class of the source VMs' disk; the cluster's default for VMs.
    #[serde(default)]
    storage_class: Option<String>,
    /// Give the source VMs a second NIC, on a Multus network; true.
    #[serde(default)]
    extra_nic: Option<bool>,
    // Hyper-V
    #[serde(default)]
    smb_url: Option<String>,
    #[serde(default)]
    smb_user: Option<String>,
    #[serde(default)]
    smb_password: Option<String>,
    /// Port of WinRM over HTTPS; 5986 where unset.
    #[serde(default)]
    winrm_port: Option<u16>,
    /// `standalone` or `cluster`.
    #[serde(default)]
    management_type: Option<ManagementType>,
    // EC2
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    access_key_id: Option<String>,
    #[serde(default)]
    secret_access_key: Option<String>,
    #[serde(default)]
    target_region: Option<String>,
    #[serde(default)]
    target_az: Option<String>,
    #[serde(default)]
    target_access_key_id: Option<String>,
    #[serde(default)]
    target_secret_access_key: Option<String>,
    // OVA, Hyper-V, EC2
    /// Name in a scenario → name of the VM to take on the platform.
    #[serde(default)]
    vms: BTreeMap<String, String>,
}

/// MTV's words for the Secret's `authType`.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AuthType {
    Password,
    ApplicationCredential,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum EndpointType {
    Vcenter,
    Esxi,
}

/// The data center that oVirt VMs are made in, by the convention of the Python suite.
const OVIRT_DATACENTER: &str = "MTV-CNV";

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ManagementType {
    Standalone,
    Cluster,
}

impl ManagementType {
    fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Cluster => "cluster",
        }
    }
}

/// Where MTV's WinRM listens on a Hyper-V host.
const WINRM_PORT: u16 = 5986;

/// Keys of a copy-offload section; those with `true` have a `COPYOFFLOAD_…` variable.
pub(crate) const COPYOFFLOAD_KEYS: &[(&str, bool)] = &[
    ("storage_vendor_product", false),
    ("datastore_id", false),
    ("secondary_datastore_id", false),
    ("non_xcopy_datastore_id", false),
    ("default_vm_name", false),
    ("template_name", false),
    ("resource_pool", false),
    ("storage_hostname", true),
    ("storage_username", true),
    ("storage_password", true),
    ("ontap_svm", true),
    ("vantara_storage_id", true),
    ("vantara_storage_port", true),
    ("vantara_hostgroup_id_list", true),
    ("pure_cluster_prefix", true),
    ("powerflex_system_id", true),
    ("powermax_symmetrix_id", true),
    ("storage_secret_extra", true),
    ("dedicated_migration_hosts", false),
    ("esxi_clone_method", false),
    ("esxi_host", true),
    ("esxi_user", true),
    ("esxi_password", true),
    ("rdm_lun_uuid", false),
];

/// What is wrong: the key it is about, and a sentence without values.
pub(crate) type Complaint = (String, String);

fn given(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.trim().is_empty())
}

fn pair(user: Option<String>, password: Option<String>) -> Option<Credentials> {
    Some(Credentials { username: given(user)?, password: SecretString::from(given(password)?) })
}

/// Host of a URL, or what stands before the first `:` or `/` (NFS shares).
fn host_of(url: &str) -> String {
    let parsed = url::Url::parse(url).ok().and_then(|u| u.host_str().map(str::to_owned));
    parsed.unwrap_or_else(|| url.trim_start_matches('/').split([':', '/']).next().unwrap_or_default().to_owned())
}

impl RawProfile {
    /// The typed profile, or all complaints about it. Warnings go to `warnings`.
    pub fn into_profile(self, name: &str, warnings: &mut Vec<Complaint>) -> Result<ProviderProfile, Vec<Complaint>> {
        let mut complaints: Vec<Complaint> = Vec::new();
        let platform = self.platform;
        let mut required = |key: &str, value: Option<String>, needed: bool| -> String {
            let value = given(value);
            if needed && value.is_none() {
                complaints.push((key.to_owned(), format!("`{key}` is required for a profile of type {platform}")));
            }
            value.unwrap_or_default()
        };
        let logs_in = matches!(platform, Platform::Vsphere | Platform::Ovirt | Platform::Openstack | Platform::Hyperv);
        let has_url = matches!(platform, Platform::Vsphere | Platform::Ovirt | Platform::Openstack | Platform::Ova);
        let openstack = platform == Platform::Openstack;
        // An application credential carries user and project; by name it still needs its user.
        let credential = openstack && self.auth_type == Some(AuthType::ApplicationCredential);
        let by_name = credential && given(self.application_credential_id.clone()).is_none();
        let mut api_url = required("api_url", self.api_url, has_url);
        let (username, password);
        let region = required("region", self.region, platform == Platform::Ec2);
        let target_az = required("target_az", self.target_az, platform == Platform::Ec2);
        if platform == Platform::Ec2 {
            username = required("access_key_id", self.access_key_id.clone(), true);
            password = required("secret_access_key", self.secret_access_key.clone(), true);
            if api_url.is_empty() {
                api_url = format!("https://ec2.{region}.amazonaws.com");
            }
        } else {
            username = required("username", self.username, logs_in && (!credential || by_name));
            password = required("password", self.password, logs_in && !credential);
        }
        let password = SecretString::from(password);
        let smb_url = required("smb_url", self.smb_url, platform == Platform::Hyperv);
        let auth = if credential {
            OpenstackAuth::ApplicationCredential {
                id: self.application_credential_id.unwrap_or_default(),
                name: required("application_credential_name", self.application_credential_name, by_name),
                secret: required("application_credential_secret", self.application_credential_secret, true).into(),
            }
        } else {
            OpenstackAuth::Password
        };
        let no_project_id = given(self.project_id.clone()).is_none();
        let no_domain_id = given(self.user_domain_id.clone()).is_none();
        let mut fqdn = given(self.fqdn);
        if platform == Platform::Hyperv && fqdn.is_none() && api_url.is_empty() {
            required("fqdn", None, true);
        }
        let openstack_config = OpenstackConfig {
            auth,
            project_name: required("project_name", self.project_name, openstack && !credential && no_project_id),
            project_id: self.project_id.unwrap_or_default(),
            region_name: required("region_name", self.region_name, openstack),
            user_domain_name: required(
                "user_domain_name",
                self.user_domain_name,
                openstack && no_domain_id && (!credential || by_name),
            ),
            user_domain_id: self.user_domain_id.unwrap_or_default(),
            project_domain_name: self.project_domain_name.unwrap_or_default(),
            project_domain_id: self.project_domain_id.unwrap_or_default(),
            availability: self.availability.unwrap_or_default(),
        };
        let token = given(self.token.clone());
        if platform == Platform::Openshift && token.is_some() && api_url.is_empty() {
            complaints.push(("api_url".into(), "`api_url` is required beside the `token` of a second cluster".into()));
        }
        if platform == Platform::Openshift && token.is_none() && !api_url.is_empty() {
            let text = "`api_url` has no effect without `token`: the source is the cluster of the run";
            warnings.push(("api_url".into(), text.into()));
        }
        let usual = OpenshiftConfig::default();
        let openshift_config = OpenshiftConfig {
            token: token.map(SecretString::from),
            instance_type: given(self.instance_type.clone()).unwrap_or(usual.instance_type),
            preference: given(self.preference.clone()).unwrap_or(usual.preference),
            data_source: given(self.data_source.clone()).unwrap_or(usual.data_source),
            data_source_namespace: given(self.data_source_namespace.clone()).unwrap_or(usual.data_source_namespace),
            disk_size: given(self.disk_size.clone()).unwrap_or(usual.disk_size),
            storage_class: given(self.storage_class.clone()),
            guest_user: given(self.guest_vm_linux_user.clone()).unwrap_or(usual.guest_user),
            extra_nic: self.extra_nic.unwrap_or(usual.extra_nic),
        };
        let mut ca_pem = given(self.ca_pem);
        if let Some(path) = given(self.ca_file) {
            match std::fs::read_to_string(&path) {
                Ok(pem) => ca_pem = Some(pem),
                Err(error) => complaints.push(("ca_file".into(), format!("`ca_file` {path} can't be read: {error}"))),
            }
        }
        if ca_pem.as_ref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
            complaints.push(("ca_pem".into(), "the CA is not a PEM certificate".into()));
        }
        if self.max_concurrent == Some(0) {
            complaints.push(("max_concurrent".into(), "`max_concurrent` must be at least 1".into()));
        }
        let adopts = matches!(platform, Platform::Ova | Platform::Hyperv | Platform::Ec2);
        for (key, idle) in [
            ("luks_passphrase", self.luks_passphrase.is_some()),
            ("copyoffload", self.copyoffload.is_some() && platform != Platform::Vsphere),
            ("vddk_init_image", self.vddk_init_image.is_some() && platform != Platform::Vsphere),
            ("datacenter", self.datacenter.is_some() && platform != Platform::Ovirt),
            ("host", self.host.is_some() && platform != Platform::Openshift),
            ("storage_class", self.storage_class.is_some() && platform != Platform::Openshift),
            ("winrm_port", self.winrm_port.is_some() && platform != Platform::Hyperv),
            ("access_key_id", self.access_key_id.is_some() && platform != Platform::Ec2),
            ("vms", !self.vms.is_empty() && !adopts),
            ("token", self.token.is_some() && platform != Platform::Openshift),
            ("instance_type", self.instance_type.is_some() && platform != Platform::Openshift),
            ("preference", self.preference.is_some() && platform != Platform::Openshift),
            ("data_source", self.data_source.is_some() && platform != Platform::Openshift),
            ("data_source_namespace", self.data_source_namespace.is_some() && platform != Platform::Openshift),
            ("disk_size", self.disk_size.is_some() && platform != Platform::Openshift),
            ("extra_nic", self.extra_nic.is_some() && platform != Platform::Openshift),
        ] {
            if idle {
                warnings.push((key.to_owned(), format!("`{key}` has no effect on a profile of type {platform}")));
            }
        }
        for key in self.copyoffload.iter().flat_map(BTreeMap::keys) {
            if !COPYOFFLOAD_KEYS.iter().any(|(known, _)| known == key) {
                let known = COPYOFFLOAD_KEYS.iter().map(|(k, _)| *k);
                let hint = super::errors::hint(key, known, "");
                complaints.push((format!("copyoffload.{key}"), format!("`{key}` is not a key of copyoffload{hint}")));
            }
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        let config = match platform {
            Platform::Vsphere => PlatformConfig::Vsphere(VsphereConfig {
                vddk_init_image: given(self.vddk_init_image),
                esxi: self.endpoint_type == Some(EndpointType::Esxi),
                clone_provider: given(self.clone_provider),
                copyoffload: self.copyoffload,
            }),
            Platform::Ovirt => PlatformConfig::Ovirt {
                insecure: self.insecure,
                datacenter: given(self.datacenter).unwrap_or_else(|| OVIRT_DATACENTER.to_owned()),
            },
            Platform::Openstack => PlatformConfig::Openstack(openstack_config),
            Platform::Openshift => PlatformConfig::Openshift(openshift_config),
            Platform::Ova => PlatformConfig::Ova,
            Platform::Hyperv => PlatformConfig::Hyperv(HypervConfig {
                smb_url,
                smb: pair(self.smb_user, self.smb_password),
                winrm_port: self.winrm_port.unwrap_or(WINRM_PORT),
                management_type: self.management_type.map(|kind| kind.name().to_owned()),
            }),
            Platform::Ec2 => PlatformConfig::Ec2(Ec2Config {
                region,
                target_region: given(self.target_region),
                target_az,
                target_account: pair(self.target_access_key_id, self.target_secret_access_key),
            }),
        };
        Ok(ProviderProfile {
            name: name.to_owned(),
            platform,
            version: self.version.unwrap_or_default(),
            fqdn: fqdn.take().unwrap_or_else(|| host_of(&api_url)),
            api_url,
            login: Credentials { username, password },
            guest: GuestCredentials {
                linux: pair(self.guest_vm_linux_user, self.guest_vm_linux_password),
                windows: pair(self.guest_vm_win_user, self.guest_vm_win_password),
            },
            // Their cells share source VMs, which MTV powers off: one at a time unless told otherwise.
            max_concurrent: self.max_concurrent.or((adopts && platform != Platform::Ova).then_some(1)),
            ca_pem,
            vms: self.vms,
            config,
        })
    }
}
