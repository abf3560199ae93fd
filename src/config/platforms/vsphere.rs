//! vSphere: vCenter, or an ESXi host addressed directly.

use std::sync::Arc;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::copyoffload::Copyoffload;
use super::keys::{Check, Common, Parts, given, given_secret};
use super::{PlatformConfig, ProviderProfile};

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
    /// `vcenter` (default) or `esxi`: a host addressed directly. A host can't clone, so that its cells are skipped where no
    /// `clone_provider` is named.
    endpoint_type: Option<EndpointType>,
    /// With `endpoint_type: esxi`: the profile of the vCenter that the host belongs to, which makes the clones on it.
    clone_provider: Option<String>,
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
    /// Name of the profile that clones for it.
    pub clone_provider: Option<String>,
    /// That profile.
    pub cloner: Option<Arc<ProviderProfile>>,
    pub luks_passphrase: Option<SecretString>,
    /// Environment overrides are applied.
    pub copyoffload: Option<Box<Copyoffload>>,
}

impl super::keys::Keys for Keys {
    const IDLE: &'static [&'static str] = &[];

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
                clone_provider: given(self.clone_provider),
                cloner: None,
                copyoffload: self.copyoffload.map(Box::new),
            }),
        }
    }
}

/// Looks up the profiles that clone for others. What is wrong, by profile.
pub(crate) fn find_cloners(all: &mut super::Providers) -> Vec<(String, String)> {
    let known = all.clone();
    let mut wrong = Vec::new();
    for (name, profile) in all.iter_mut() {
        let PlatformConfig::Vsphere(config) = &mut profile.config else { continue };
        let Some(cloner) = config.clone_provider.clone().filter(|_| config.esxi) else { continue };
        match known.get(&cloner) {
            Some(found) if matches!(&found.config, PlatformConfig::Vsphere(theirs) if !theirs.esxi) => {
                config.cloner = Some(Arc::new(found.clone()));
            }
            Some(_) => wrong.push((name.clone(), format!("`{cloner}` is no vCenter"))),
            None => wrong.push((name.clone(), format!("there is no profile `{cloner}`"))),
        }
    }
    wrong
}
