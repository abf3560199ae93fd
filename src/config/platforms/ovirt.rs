//! oVirt and Red Hat Virtualization.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::PlatformConfig;
use super::keys::{Check, Common, Parts, given};

/// The data center that oVirt VMs are made in, by the convention of the Python suite.
const DATACENTER: &str = "MTV-CNV";

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Keys {
    /// The user that MTV and the runner log in as. Required.
    username: Option<String>,
    /// The password of `username`. Required.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// The engine's REST API, e.g. `https://engine.example.com/ovirt-engine/api`; `spec.url` of MTV's Provider.
    /// Required.
    api_url: Option<String>,
    /// The data center that must be there and up before anything is touched; default `MTV-CNV`.
    datacenter: Option<String>,
    /// Whether the runner's own session with the engine skips TLS verification; unset: as
    /// `source_provider_insecure_skip_verify`. MTV's Provider follows the setting only.
    insecure: Option<bool>,
}

impl super::keys::Keys for Keys {
    const IDLE: &'static [&'static str] = &[];

    fn profile(self, _: &Common, check: &mut Check) -> Parts {
        Parts {
            api_url: check.https(self.api_url, "/ovirt-engine/api"),
            login: check.login(self.username, self.password),
            vms: Default::default(),
            one_at_a_time: false,
            config: PlatformConfig::Ovirt {
                insecure: self.insecure,
                datacenter: given(self.datacenter).unwrap_or_else(|| DATACENTER.to_owned()),
            },
        }
    }
}
