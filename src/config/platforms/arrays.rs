//! The storage arrays that MTV offloads copies to: one row a vendor, with the keys of its Secret.
//!
//! Keys are those that Forklift's populator reads (`cmd/vsphere-copy-offload-populator` at 2.12.5: `handleArgs` and the
//! vendor's package); where the Python suite's documents say otherwise, its code is right.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use super::copyoffload::Copyoffload;

/// A key of an array's Secret, and where its value comes from.
struct Key {
    name: &'static str,
    /// The key of the profile's section; `None`: it comes by `storage_secret_extra` alone.
    given_by: Option<(&'static str, Given)>,
    /// Whether the populator refuses to begin without it.
    needed: bool,
}

type Given = fn(&Copyoffload) -> Option<&str>;

const fn key(name: &'static str, section: &'static str, given: Given, needed: bool) -> Key {
    Key { name, given_by: Some((section, given)), needed }
}

/// What every vendor has. A token may stand for user and password.
const HOST: Key = key("STORAGE_HOSTNAME", "storage_hostname", |s| s.storage_hostname.as_deref(), true);
const USER: Key = key("STORAGE_USERNAME", "storage_username", |s| s.storage_username.as_deref(), true);
const PASSWORD: Key = key(
    "STORAGE_PASSWORD",
    "storage_password",
    |s| s.storage_password.as_ref().map(|password| password.expose_secret()),
    true,
);
const TOKEN: &str = "STORAGE_TOKEN";

/// MTV's word for a vendor's product, and the keys that are its own.
const VENDORS: &[(&str, &[Key])] = &[
    ("flashsystem", &[]),
    ("infinibox", &[]),
    ("ontap", &[key("ONTAP_SVM", "ontap_svm", |s| s.ontap_svm.as_deref(), true)]),
    ("powerflex", &[key("POWERFLEX_SYSTEM_ID", "powerflex_system_id", |s| s.powerflex_system_id.as_deref(), true)]),
    (
        "powermax",
        &[
            key("POWERMAX_SYMMETRIX_ID", "powermax_symmetrix_id", |s| s.powermax_symmetrix_id.as_deref(), true),
            // The suite has no key for it.
            Key { name: "POWERMAX_PORT_GROUP_NAME", given_by: None, needed: true },
        ],
    ),
    ("powerstore", &[]),
    ("primera3par", &[]),
    (
        "pureFlashArray",
        &[key("PURE_CLUSTER_PREFIX", "pure_cluster_prefix", |s| s.pure_cluster_prefix.as_deref(), true)],
    ),
    (
        "vantara",
        &[
            key("STORAGE_ID", "vantara_storage_id", |s| s.vantara_storage_id.as_deref(), true),
            key("STORAGE_PORT", "vantara_storage_port", |s| s.vantara_storage_port.as_deref(), true),
            key("HOSTGROUP_ID_LIST", "vantara_hostgroup_id_list", |s| s.vantara_hostgroup_id_list.as_deref(), false),
        ],
    ),
];

/// MTV's words for the products of all vendors.
pub fn vendors() -> impl Iterator<Item = &'static str> {
    VENDORS.iter().map(|(name, _)| *name)
}

impl Copyoffload {
    /// The Secret of the array. `Err`: everything that is missing or wrong, a sentence each.
    pub fn storage_secret(&self) -> Result<BTreeMap<String, SecretString>, Vec<String>> {
        let mut wrong = Vec::new();
        let product = self.storage_vendor_product.as_deref().unwrap_or_default();
        let own = VENDORS.iter().find(|(name, _)| *name == product).map_or(&[][..], |(_, keys)| *keys);
        if vendors().all(|name| name != product) {
            let known: Vec<&str> = vendors().collect();
            wrong.push(match product {
                "" => "`storage_vendor_product` is missing".to_owned(),
                other => format!("`storage_vendor_product: {other}` is none of {}", known.join(", ")),
            });
        }
        let mut secret = BTreeMap::new();
        for key in [HOST, USER, PASSWORD].iter().chain(own) {
            let given = key.given_by.and_then(|(_, given)| given(self)).filter(|value| !value.is_empty());
            let by_token = matches!(key.name, "STORAGE_USERNAME" | "STORAGE_PASSWORD")
                && self.storage_secret_extra.contains_key(TOKEN);
            if let Some(value) = given {
                secret.insert(key.name.to_owned(), SecretString::from(value.to_owned()));
            } else if key.needed && !by_token && !self.storage_secret_extra.contains_key(key.name) {
                wrong.push(match key.given_by {
                    Some((section, _)) => format!("`{section}` is missing ({})", key.name),
                    None => format!("`storage_secret_extra.{}` is missing", key.name),
                });
            }
        }
        secret.extend(self.storage_secret_extra.clone());
        if wrong.is_empty() { Ok(secret) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(given: serde_json::Value) -> Copyoffload {
        serde_json::from_value(given).unwrap()
    }

    fn keys(given: serde_json::Value) -> Vec<String> {
        section(given).storage_secret().unwrap().into_keys().collect()
    }

    #[test]
    fn a_vendors_own_keys_are_in_its_secret_and_no_other_vendors() {
        let login = |own: serde_json::Value| {
            let mut all = serde_json::json!({"storage_hostname": "array", "storage_username": "u", "storage_password": "p",
                "ontap_svm": "svm", "pure_cluster_prefix": "px"});
            all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            all
        };
        let base = ["STORAGE_HOSTNAME", "STORAGE_PASSWORD", "STORAGE_USERNAME"];
        assert_eq!(keys(login(serde_json::json!({"storage_vendor_product": "primera3par"}))), base);
        let ontap = keys(login(serde_json::json!({"storage_vendor_product": "ontap"})));
        assert_eq!(ontap, ["ONTAP_SVM", base[0], base[1], base[2]]);
    }

    #[test]
    fn everything_that_a_vendor_lacks_is_told_at_once() {
        let lacks = section(serde_json::json!({"storage_vendor_product": "powermax", "storage_username": "u"}));
        let wrong = lacks.storage_secret().unwrap_err().join("; ");
        for wanted in
            ["storage_hostname", "storage_password", "POWERMAX_SYMMETRIX_ID", "extra.POWERMAX_PORT_GROUP_NAME"]
        {
            assert!(wrong.contains(wanted), "{wanted}: {wrong}");
        }
        let unknown = section(serde_json::json!({"storage_vendor_product": "netapp"})).storage_secret().unwrap_err();
        assert!(unknown[0].contains("none of flashsystem, infinibox, ontap"), "{unknown:?}");
    }

    #[test]
    fn a_token_stands_for_the_login_and_what_is_extra_beats_what_the_section_says() {
        let extra = serde_json::json!({"STORAGE_TOKEN": "t", "STORAGE_HOSTNAME": "other"});
        let section =
            section(serde_json::json!({"storage_vendor_product": "pureFlashArray", "storage_hostname": "array",
            "pure_cluster_prefix": "px", "storage_secret_extra": extra}));
        let secret = section.storage_secret().unwrap();
        assert_eq!(secret["STORAGE_HOSTNAME"].expose_secret(), "other");
        assert!(!secret.contains_key("STORAGE_USERNAME"));
    }
}
