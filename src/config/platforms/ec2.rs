//! Amazon EC2.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::keys::{Check, Common, Parts, given, pair};
use super::{Credentials, PlatformConfig};

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Keys {
    /// `https://ec2.<region>.amazonaws.com` where unset.
    api_url: Option<String>,
    /// Region of the instances. Required.
    region: Option<String>,
    /// Id of the key pair. Required.
    access_key_id: Option<String>,
    /// Secret of the key pair. Required.
    #[schemars(with = "Option<String>")]
    secret_access_key: Option<SecretString>,
    /// Availability zone of the cluster's workers: MTV makes the EBS volumes there. Required.
    target_az: Option<String>,
    /// Region of `target_az`, where it is another than `region`.
    target_region: Option<String>,
    /// Key pair of the cluster's account, where it is another.
    target_access_key_id: Option<String>,
    /// Secret of the key pair of the cluster's account.
    #[schemars(with = "Option<String>")]
    target_secret_access_key: Option<SecretString>,
    /// Name in a scenario → name of the instance to take: `{"mtv-tests-rhel8": "qe-rhel8"}`.
    vms: BTreeMap<String, String>,
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

impl super::keys::Keys for Keys {
    const IDLE: &'static [&'static str] = &["username", "password"];

    fn profile(self, _: &Common, check: &mut Check) -> Parts {
        let region = check.required("region", self.region);
        let api_url = match given(self.api_url) {
            Some(url) => check.https(Some(url), ""),
            None => format!("https://ec2.{region}.amazonaws.com"),
        };
        Parts {
            api_url,
            login: Credentials {
                username: check.required("access_key_id", self.access_key_id),
                password: check.required_secret("secret_access_key", self.secret_access_key),
            },
            vms: self.vms,
            one_at_a_time: true,
            config: PlatformConfig::Ec2(Ec2Config {
                region,
                target_region: given(self.target_region),
                target_az: check.required("target_az", self.target_az),
                target_account: pair(self.target_access_key_id, self.target_secret_access_key),
            }),
        }
    }
}
