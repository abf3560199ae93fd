//! Provider profiles: the entries of `providers.json`, typed.
//!
//! An existing file of the Python suite loads unchanged (peer.md §1.4). This module only holds the
//! types and the parse of one entry; reading files and layers is `layers`' work.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// A source platform, as MTV names it in a Provider's `spec.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    Vsphere,
    Ovirt,
    Openstack,
    Openshift,
    Ova,
    Hyperv,
    Ec2,
}

impl Platform {
    pub fn name(self) -> &'static str {
        match self {
            Self::Vsphere => "vsphere",
            Self::Ovirt => "ovirt",
            Self::Openstack => "openstack",
            Self::Openshift => "openshift",
            Self::Ova => "ova",
            Self::Hyperv => "hyperv",
            Self::Ec2 => "ec2",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone)]
pub struct Credentials {
    pub username: String,
    pub password: SecretString,
}

/// Logins into guests, by operating system.
#[derive(Debug, Clone, Default)]
pub struct GuestCredentials {
    pub linux: Option<Credentials>,
    pub windows: Option<Credentials>,
}

/// One source platform with its credentials.
#[derive(Debug, Clone)]
pub struct ProviderProfile {
    /// The key in `providers.json`.
    pub name: String,
    pub platform: Platform,
    pub version: String,
    /// Host name of the endpoint; falls back to the host of `api_url`.
    pub fqdn: String,
    /// `spec.url` of the Provider.
    pub api_url: String,
    pub login: Credentials,
    pub guest: GuestCredentials,
    /// Cells at once on this profile; `None`: the settings' `max_concurrent`.
    pub max_concurrent: Option<usize>,
    /// PEM of a pinned CA; without it the CA is fetched from the endpoint when TLS is verified.
    pub ca_pem: Option<String>,
    /// The VM to take for one that a scenario names, where the platform can't clone.
    pub vms: BTreeMap<String, String>,
    pub config: PlatformConfig,
}

/// What only one platform has.
#[derive(Debug, Clone)]
pub enum PlatformConfig {
    Vsphere(VsphereConfig),
    Ovirt {
        /// Whether the runner's own session skips TLS verification; `None`: as
        /// `source_provider_insecure_skip_verify` says.
        insecure: Option<bool>,
        /// The data center that must be up before anything is touched.
        datacenter: String,
    },
    Openstack(OpenstackConfig),
    Openshift(OpenshiftConfig),
    Ova,
    Hyperv(HypervConfig),
    Ec2(Ec2Config),
}

#[derive(Debug, Clone, Default)]
pub struct HypervConfig {
    /// `//server/share` with the VMs' disks.
    pub smb_url: String,
    /// Where the share wants another login than the host.
    pub smb: Option<Credentials>,
    /// WinRM over HTTPS.
    pub winrm_port: u16,
    /// `standalone` or `cluster` (MTV 2.12 and later); `None`: not said.
    pub management_type: Option<String>,
}

/// The login's user name is the access key's id, its password the secret access key.
#[derive(Debug, Clone, Default)]
pub struct Ec2Config {
    pub region: String,
    /// Where MTV creates the EBS volumes; the cluster's own region by default.
    pub target_region: Option<String>,
    /// The availability zone of the workers that attach them; MTV makes no volume without it.
    pub target_az: String,
    /// Key pair of the account that the cluster runs in, where it is another.
    pub target_account: Option<Credentials>,
}

#[derive(Clone, Default)]
pub struct VsphereConfig {
    pub vddk_init_image: Option<String>,
    /// An ESXi host addressed directly, instead of a vCenter.
    pub esxi: bool,
    /// Name of the profile that clones for an ESXi endpoint.
    pub clone_provider: Option<String>,
    /// The copy-offload section as given, environment overrides applied; typed by its own scenarios.
    pub copyoffload: Option<BTreeMap<String, serde_json::Value>>,
}

// By hand: the copy-offload section holds passwords.
impl fmt::Debug for VsphereConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VsphereConfig")
            .field("vddk_init_image", &self.vddk_init_image)
            .field("esxi", &self.esxi)
            .field("clone_provider", &self.clone_provider)
            .field("copyoffload", &self.copyoffload.as_ref().map(|c| c.keys().collect::<Vec<_>>()))
            .finish()
    }
}

/// How Keystone is asked for a token.
#[derive(Debug, Clone, Default)]
pub enum OpenstackAuth {
    /// `username` and `password`, scoped to the project.
    #[default]
    Password,
    /// An application credential: by id, or by name with `username` and the user's domain. It carries
    /// its own project.
    ApplicationCredential { id: String, name: String, secret: SecretString },
}

/// Texts are empty where the profile does not say.
#[derive(Debug, Clone, Default)]
pub struct OpenstackConfig {
    pub auth: OpenstackAuth,
    pub project_name: String,
    pub project_id: String,
    pub region_name: String,
    pub user_domain_name: String,
    pub user_domain_id: String,
    pub project_domain_name: String,
    pub project_domain_id: String,
    /// Interface of the catalogue's endpoints: `public` (the default), `internal` or `admin`.
    pub availability: String,
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

/// All profiles by name.
pub type Providers = BTreeMap<String, ProviderProfile>;
