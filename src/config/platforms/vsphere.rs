//! vSphere: vCenter, or an ESXi host addressed directly.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::PlatformConfig;
use super::copyoffload::Copyoffload;
use super::keys::{Check, Common, Parts, given, given_secret};

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Keys {
    /// The user that MTV and the runner log in as. Required.
    username: Option<String>,
    /// The password of `username`. Required.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// The SOAP endpoint, e.g. `https://vc.example.com/sdk`; `spec.url` of MTV's Provider. Required.
    api_url: Option<String>,
    /// `vddkInitImage` of the Provider.
    vddk_init_image: Option<String>,
    /// `vcenter` (default) or `esxi`: a host addressed directly. It can't clone in this version, so its cells
    /// are skipped.
    endpoint_type: Option<EndpointType>,
    /// Opens encrypted disks (LUKS) of the VMs that a scenario says have one.
    #[schemars(with = "Option<String>")]
    luks_passphrase: Option<SecretString>,
    /// Storage array of the copy-offload scenarios, which are skipped without it; keys as in the Python
    /// suite. The datastores that it names can be used by `target_datastore_id` of a scenario.
    copyoffload: Option<Copyoffload>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum EndpointType {
    Vcenter,
    Esxi,
}

/// What only vSphere has.
#[derive(Debug, Clone, Default)]
pub struct VsphereConfig {
    pub vddk_init_image: Option<String>,
    /// An ESXi host addressed directly, instead of a vCenter.
    pub esxi: bool,
    pub luks_passphrase: Option<SecretString>,
    /// Environment overrides are applied.
    pub copyoffload: Option<Box<Copyoffload>>,
}

impl super::keys::Keys for Keys {
    const IDLE: &'static [&'static str] = &["clone_provider"];

    fn profile(self, _: &Common, check: &mut Check) -> Parts {
        Parts {
            api_url: check.https(self.api_url, "/sdk"),
            login: check.login(self.username, self.password),
            vms: Default::default(),
            one_at_a_time: false,
            config: PlatformConfig::Vsphere(VsphereConfig {
                vddk_init_image: given(self.vddk_init_image),
                luks_passphrase: given_secret(self.luks_passphrase),
                esxi: self.endpoint_type == Some(EndpointType::Esxi),
                copyoffload: self.copyoffload.map(Box::new),
            }),
        }
    }
}
