//! OVA files on an NFS share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::keys::{Check, Common, Parts};
use super::{Credentials, PlatformConfig};

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Keys {
    /// The NFS share as MTV mounts it: `server:/path`, without `nfs://`. Required.
    api_url: Option<String>,
    /// Name in a scenario → name of the VM to take: `{"mtv-tests-rhel8": "1nisim-rhel9-efi"}`.
    vms: BTreeMap<String, String>,
}

impl super::keys::Keys for Keys {
    // The Python suite reads a login for every type; a share has none.
    const IDLE: &'static [&'static str] = &["username", "password"];

    fn profile(self, _: &Common, check: &mut Check) -> Parts {
        let api_url = check.required("api_url", self.api_url);
        if api_url.contains("://") {
            check.complain("api_url", "`api_url` is the share as it is mounted, server:/path, without a scheme");
        } else if !api_url.is_empty() && !api_url.contains(":/") {
            check.complain("api_url", "`api_url` is not a share such as nfs.example.com:/path");
        }
        Parts {
            api_url,
            login: Credentials { username: String::new(), password: String::new().into() },
            vms: self.vms,
            one_at_a_time: false,
            config: PlatformConfig::Ova,
        }
    }
}
