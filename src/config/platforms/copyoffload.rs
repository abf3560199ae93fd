//! The copy-offload section of a vSphere profile: the storage array that copies for MTV.
//!
//! Keys are the Python suite's (peer.md §1.4), typed; `COPYOFFLOAD_<KEY>` in the environment beats the file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::keys::text_or_number;
use crate::config::Credentials;

/// As given; what a vendor needs is asked for where it is used.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Copyoffload {
    /// Vendor plug-in of the StorageMap, e.g. `ontap`, `vantara`, `pureFlashArray`.
    pub storage_vendor_product: Option<String>,
    /// Datastore of the clones, by id.
    pub datastore_id: Option<String>,
    /// Datastore of added disks, by id.
    pub secondary_datastore_id: Option<String>,
    /// A datastore without VAAI/XCOPY, by id.
    pub non_xcopy_datastore_id: Option<String>,
    /// Replaces the name of every VM with `clone: true`.
    pub default_vm_name: Option<String>,
    /// In the Python suite's examples; never read.
    pub template_name: Option<String>,
    /// Where clones are put.
    pub resource_pool: Option<String>,
    /// The array's management host.
    pub storage_hostname: Option<String>,
    /// Login of the array.
    pub storage_username: Option<String>,
    /// Password of the array.
    #[schemars(with = "Option<String>")]
    pub storage_password: Option<SecretString>,
    /// SVM, for `ontap`.
    pub ontap_svm: Option<String>,
    /// Storage id, for `vantara`.
    #[serde(deserialize_with = "text_or_number")]
    #[schemars(with = "Option<super::keys::TextOrNumber>")]
    pub vantara_storage_id: Option<String>,
    /// Port, for `vantara`.
    #[serde(deserialize_with = "text_or_number")]
    #[schemars(with = "Option<super::keys::TextOrNumber>")]
    pub vantara_storage_port: Option<String>,
    /// Host groups, for `vantara`.
    pub vantara_hostgroup_id_list: Option<String>,
    /// Cluster prefix, for `pureFlashArray`.
    pub pure_cluster_prefix: Option<String>,
    /// System id, for `powerflex`.
    pub powerflex_system_id: Option<String>,
    /// Symmetrix id, for `powermax`.
    pub powermax_symmetrix_id: Option<String>,
    /// Further keys of the array's Secret; the environment's JSON object on top.
    #[serde(deserialize_with = "extra")]
    #[schemars(with = "BTreeMap<String, Option<Extra>>")]
    pub storage_secret_extra: BTreeMap<String, SecretString>,
    /// ESXi hosts that migrate, by id.
    pub dedicated_migration_hosts: Vec<String>,
    /// How the disk is cloned on the ESXi host: `vib` (default) or `ssh`.
    pub esxi_clone_method: Option<EsxiCloneMethod>,
    /// ESXi host that clones are placed on, and that SSH goes to.
    pub esxi_host: Option<String>,
    /// Login of the ESXi hosts, for `ssh`: MTV's key is put into their `authorized_keys` while a cell migrates.
    pub esxi_user: Option<String>,
    /// Password of the ESXi hosts.
    #[schemars(with = "Option<String>")]
    pub esxi_password: Option<SecretString>,
    /// Where the sshd of an ESXi host is, by the host's id or name, as `address:port`; unset: the host's name in vCenter, port 22.
    pub esxi_ssh_endpoints: BTreeMap<String, String>,
    /// NAA id of the LUN for raw device mappings.
    pub rdm_lun_uuid: Option<String>,
}

/// How MTV's populator reaches the ESXi host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EsxiCloneMethod {
    Vib,
    Ssh,
}

impl Copyoffload {
    /// The key of the datastore that clones are put on where a scenario names none.
    pub const PRIMARY: &'static str = "datastore_id";
    /// The key of the datastore that no array copies from.
    pub const NON_XCOPY: &'static str = "non_xcopy_datastore_id";

    /// The datastore that a scenario names by its key here.
    pub fn datastore(&self, key: &str) -> Option<&str> {
        let id = match key {
            "datastore_id" => &self.datastore_id,
            "secondary_datastore_id" => &self.secondary_datastore_id,
            "non_xcopy_datastore_id" => &self.non_xcopy_datastore_id,
            _ => return None,
        };
        id.as_deref().filter(|id| !id.is_empty())
    }

    /// MTV's word for how its populator reaches the host that copies.
    pub fn clone_method(&self) -> &'static str {
        match self.esxi_clone_method {
            Some(EsxiCloneMethod::Ssh) => "ssh",
            Some(EsxiCloneMethod::Vib) | None => "vib",
        }
    }

    /// User and password for the hosts' sshd, where MTV's key is to be put there; `Err`: what is missing for it.
    pub fn host_login(&self) -> Option<Result<Credentials, String>> {
        if self.esxi_clone_method != Some(EsxiCloneMethod::Ssh) {
            return None;
        }
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let password = self.esxi_password.clone().filter(|password| !password.expose_secret().is_empty());
        Some(match (given(&self.esxi_user), password) {
            (Some(username), Some(password)) => Ok(Credentials { username, password }),
            _ => Err(
                "`esxi_clone_method: ssh` needs `esxi_user` and `esxi_password`: MTV's key has to get onto the hosts"
                    .to_owned(),
            ),
        })
    }

    /// Whether a scenario's word for a datastore is a key of this section, and no id.
    pub fn is_key(word: &str) -> bool {
        matches!(word, "datastore_id" | "secondary_datastore_id" | "non_xcopy_datastore_id")
    }
}

/// Keys that have a variable, `COPYOFFLOAD_<KEY>` (peer.md §1.4); the others are the file's alone.
pub(crate) const WITH_VARIABLE: &[&str] = &[
    "storage_hostname",
    "storage_username",
    "storage_password",
    "ontap_svm",
    "vantara_storage_id",
    "vantara_storage_port",
    "vantara_hostgroup_id_list",
    "pure_cluster_prefix",
    "powerflex_system_id",
    "powermax_symmetrix_id",
    "storage_secret_extra",
    "esxi_host",
    "esxi_user",
    "esxi_password",
];

/// Every key of the section.
pub(crate) fn keys() -> Vec<String> {
    let schema = schemars::schema_for!(Copyoffload).to_value();
    let properties = schema.get("properties").and_then(serde_json::Value::as_object);
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

/// For the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Extra {
    Text(String),
    Flag(bool),
}

/// Booleans become `true` and `false`; what is null or empty is dropped.
fn extra<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, SecretString>, D::Error> {
    use serde_json::Value;
    let given = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    let mut out = BTreeMap::new();
    for (key, value) in given {
        if key.is_empty() {
            return Err(de::Error::custom("a key is empty"));
        }
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text,
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(de::Error::custom(format!("`{key}` must be a text or a boolean"))),
        };
        out.insert(key, SecretString::from(text));
    }
    Ok(out)
}
