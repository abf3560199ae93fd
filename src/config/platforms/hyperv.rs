//! Hyper-V: the host by WinRM, the disks by SMB.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::keys::{Check, Common, Parts, given, pair};
use super::{Credentials, PlatformConfig};

/// Where MTV's WinRM listens on a Hyper-V host.
const WINRM_PORT: u16 = 5986;

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Keys {
    /// The user that MTV and the runner log in as. Required.
    username: Option<String>,
    /// The password of `username`. Required.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// The host; `fqdn` where unset. One of the two is required.
    api_url: Option<String>,
    /// Share with the VMs' disks: `//server/share`. Required.
    smb_url: Option<String>,
    /// The user of the share, where it wants another login than the host.
    smb_user: Option<String>,
    /// The password of `smb_user`.
    #[schemars(with = "Option<String>")]
    smb_password: Option<SecretString>,
    /// Port of WinRM over HTTPS; default 5986.
    #[schemars(range(min = 1, max = 65_535))]
    winrm_port: Option<u16>,
    /// `standalone` or `cluster` (MTV 2.12 and later).
    management_type: Option<ManagementType>,
    /// Name in a scenario → name of the VM to take: `{"mtv-tests-rhel8": "qe-rhel8"}`.
    vms: BTreeMap<String, String>,
}

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

impl super::keys::Keys for Keys {
    const IDLE: &'static [&'static str] = &[];

    fn profile(self, common: &Common, check: &mut Check) -> Parts {
        let api_url = given(self.api_url).unwrap_or_default();
        if api_url.is_empty() {
            check.required("fqdn", common.fqdn.clone());
        }
        Parts {
            api_url,
            login: check.login(self.username, self.password),
            vms: self.vms,
            one_at_a_time: true,
            config: PlatformConfig::Hyperv(HypervConfig {
                smb_url: check.required("smb_url", self.smb_url),
                smb: pair(self.smb_user, self.smb_password),
                winrm_port: self.winrm_port.unwrap_or(WINRM_PORT),
                management_type: self.management_type.map(|kind| kind.name().to_owned()),
            }),
        }
    }
}
